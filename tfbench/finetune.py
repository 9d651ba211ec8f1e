"""Fine-tunes every weight of a pretrained network on a data set: regime 2 of the paper.

Every learning rate and weight decay of the grid is trained on the training split and scored on the
validation split; the best is trained again on both and tested once. The result is a row in
RESULTS_DIR/rows. The same command again continues what was interrupted, or shows the finished row.

  python -m tfbench.finetune --model=inception_v4 --dataset=birdsnap
  python -m tfbench.finetune --model=resnet_50 --dataset=digits --image_size=32 --batch_size=64 \\
      --steps=100 --learning_rate=0.01,0.03 --weight_decay=0 --weights=results/weights/FILE.weights.h5
"""

from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.results import row as rows
from tfbench.results import store
from tfbench.training import protocol

# The paper's experiment (v3 appendix A.5; the number of steps is read off its convergence figure).
STEPS = 19531
LEARNING_RATES = protocol.log_spaced(1e-4, 1e-1, 7)
WEIGHT_DECAYS = (0.0, *protocol.log_spaced(1e-6, 1e-3, 7))


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_run_flags(fv)
    cli.define_weights_flag(fv)
    cli.define_training_flags(fv, steps=STEPS, learning_rate=LEARNING_RATES, weight_decay=WEIGHT_DECAYS,
                              origin="fine-tuning in v3 appendix A.5")


def specify(options, found: program.Resolved) -> dict:
    """What determines the outcome of the run that `options` describe (results/row.py)."""
    return rows.training_spec(options, "finetune", dataset=found.dataset, manifest=found.manifest,
                              certificate=found.certificate)


def run(options, progress) -> tuple[dict, bool]:
    """Runs, continues or finds the run that `options` describe.

    Returns:
      (its row, whether it was computed now).
    """
    found = program.resolve(options, progress)
    spec = specify(options, found)
    if finished := store.finished(options.results_dir, spec):
        return finished, False

    from tfbench.training import experiment  # TensorFlow, only now that there is something to compute

    return experiment.run(spec, options, found.dataset, found.manifest, weights_file=program.weights_path(options),
                          source=rows.source_of(found.certificate), flagfile=cli.flagfile(options, "finetune"),
                          progress=progress), True


def main(argv) -> None:
    del argv
    program.run_one("finetune", run, cli.own(define_flags))


if __name__ == "__main__":
    define_flags()
    app.run(main)
