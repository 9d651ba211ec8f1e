"""Trains a network on a data set from random initial weights: regime 3 of the paper.

As tfbench.finetune, with a grid and a length of its own and no pretrained weights: every point of
the grid is scored on the validation split, the best is trained again on train + validation and
tested once. The same command again continues what was interrupted, or shows the finished record.

  python -m tfbench.train_from_scratch --model=inception_v4 --dataset=birdsnap
  python -m tfbench.train_from_scratch --model=resnet_50 --dataset=digits --image_size=32 \\
      --batch_size=64 --steps=100 --learning_rate=0.03,0.1 --weight_decay=0
"""

from tfbench.config import RunConfig
from tfbench.sweep import run


def main(config: RunConfig) -> None:
    run.execute_all(config)


if __name__ == "__main__":
    run.start("train_from_scratch", __doc__, main)
