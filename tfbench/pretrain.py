"""Trains a network on a source data set and writes its weights for the three regimes.

The paper's recipe for ImageNet, without its length the same for any source: warm-up, exponential decay, a moving
average of the weights, and four switches – batch-norm scale, label smoothing, dropout, auxiliary classifier. Trained on
the source's training split and tested once; that accuracy is what the analysis correlates transfer with. Writes
RESULTS_DIR/weights/NAME.weights.h5 and its metadata NAME.json, which the other programs take as --weights=FILE, and
a record in RESULTS_DIR/rows. The same command again continues what was interrupted.

  python -m tfbench.pretrain --model=inception_v4 --dataset=imagenet2012
  python -m tfbench.pretrain --model=inception_v4 --dataset=imagenet2012 --flagfile=flags/ablation_1.flags
  python -m tfbench.pretrain --model=resnet_50 --dataset=glyphs --image_size=32 --batch_size=64 \\
      --steps=500 --learning_rate=0.01 --weight_decay=1e-4 --warmup_epochs=1 --decay_per_epoch=0.3
"""

from tfbench.config import RunConfig
from tfbench.results import store
from tfbench.sweep import run
from tfbench.wording import say


def main(config: RunConfig) -> None:
    record, = run.execute_all(config)
    say(f"weights: {store.weights_path(config.results_dir, record['spec'])}")


if __name__ == "__main__":
    run.start("pretrain", __doc__, main)
