"""Fine-tunes every weight of a pretrained network on a data set: regime 2 of the paper.

Every learning rate and weight decay of the grid is trained on the training split and scored on the
validation split; the best is trained again on both and tested once. The result is a record in
RESULTS_DIR/rows. The same command again continues what was interrupted, or shows the finished record.

  python -m tfbench.finetune --model=inception_v4 --dataset=birdsnap
  python -m tfbench.finetune --model=resnet_50 --dataset=digits --image_size=32 --batch_size=64 \\
      --steps=100 --learning_rate=0.01,0.03 --weight_decay=0 --weights=results/weights/FILE.weights.h5
  python -m tfbench.finetune --model=inception_v4 --dataset=pets --steps=1000 --grid=3x2      cheaper
  python -m tfbench.finetune --model=inception_v4 --dataset=pets --steps_curve=76,152,305,610,1220,2441,4882,9765,19531
"""

from tfbench.config import RunConfig
from tfbench.sweep import run


def main(config: RunConfig) -> None:
    run.execute_all(config)


if __name__ == "__main__":
    run.start("finetune", __doc__, main)
