"""Trains a network on a data set from random initial weights: regime 3 of the paper.

As tfbench.finetune, with a grid and a length of its own and no pretrained weights: every point of
the grid is scored on the validation split, the best is trained again on train + validation and
tested once. The same command again continues what was interrupted, or shows the finished row.

  python -m tfbench.train_from_scratch --model=inception_v4 --dataset=birdsnap
  python -m tfbench.train_from_scratch --model=resnet_50 --dataset=digits --image_size=32 \\
      --batch_size=64 --steps=100 --learning_rate=0.03,0.1 --weight_decay=0
"""

from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.results import record as records
from tfbench.results import store
from tfbench.training import halving

REGIME = "train_from_scratch"


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_run_flags(fv)
    cli.define_bn_scale_flag(fv)
    cli.define_search_flags(fv, REGIME)


def specify(options, found: program.Resolved) -> dict:
    """What determines the outcome of the run that `options` describe (results/record.py)."""
    return records.search_spec(options, REGIME, cli.search_of(options, REGIME), dataset=found.dataset,
                            manifest=found.manifest, metadata=None)


def run(options, progress, only: int | None = None) -> tuple[dict | None, bool]:
    """Runs, continues or finds the run that `options`, one of cli.flags.single_runs, describe.

    Args:
      only: the number of the one trial of the search to run, from 1; 0: only the refit, other processes ran the
        trials; None: what is missing of all.

    Returns:
      (its row, None while it is not finished; whether anything was computed now).
    """
    found = program.resolve(options, progress)
    spec = specify(options, found)
    if finished := store.finished(options.results_dir, spec):
        return finished, False
    if only and halving.is_not_needed(spec, store.work_dir(options.results_dir, spec), only):
        return None, False

    from tfbench.training import search  # TensorFlow, only now that there is something to compute

    return search.run(spec, options, found.dataset, found.manifest, weights_file=None, source=None,
                          flagfile=cli.flagfile(options, REGIME), progress=progress, only=only), True


def main(argv) -> None:
    del argv
    program.run_each(REGIME, run, cli.own(define_flags))


if __name__ == "__main__":
    define_flags()
    app.run(main)
