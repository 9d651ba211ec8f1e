"""Logistic regression on the fixed features of a pretrained network: regime 1 of the paper.

Every image passes through the frozen network once; L2-regularised logistic regression is fitted to
the training features for every strength, scored on validation, refitted at the best strength on
both and tested once. The result is a record in RESULTS_DIR/rows; the same command again shows it.

  python -m tfbench.logistic_regression --model=inception_v4 --dataset=birdsnap
  python -m tfbench.logistic_regression --model=resnet_50 --dataset=digits --image_size=32 \\
      --weights=results/weights/FILE.weights.h5
  python -m tfbench.logistic_regression --features=mine.npz      features of your own: X, y, split (no network)
"""

from tfbench.cli.progress import Display
from tfbench.config import RunConfig
from tfbench.results import store, tracking
from tfbench.sweep import run
from tfbench.wording import say


def main(config: RunConfig) -> None:
    if not config.features:
        run.execute_all(config)
        return
    from tfbench.linear import feature_file  # and NumPy: --help does without

    file = feature_file.read(config.features, config.split_seed, config.standardize)
    for note in file.notes:
        say(f"{config.features}: {note}")
    from tfbench.linear import regression  # and TensorFlow

    with Display(1) as progress:
        record, new = regression.run_file(config, file, progress)
        if new:
            folder = store.work_dir(config.results_dir, record.spec)
            with tracking.tracked(config.track, record.spec, folder, progress.line) as tracker:
                tracker.finish(record)
    run.tell(record, new)


if __name__ == "__main__":
    run.start("logistic_regression", __doc__, main)
