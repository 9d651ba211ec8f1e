"""Trains a network on a source data set and writes its weights for the three regimes.

Trained on the source's training split and tested once; that accuracy is what the analysis correlates
transfer with. Writes RESULTS_DIR/weights/NAME.weights.h5 and its certificate NAME.json, which the other
programs take as --weights=FILE, and a row in RESULTS_DIR/rows.

  python -m tfbench.pretrain --model=resnet_50 --dataset=glyphs --image_size=32 --batch_size=64 \\
      --steps=500
"""

import pathlib
import time

from tfbench import UserError
from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.models.weights import ENDING
from tfbench.results import row as rows
from tfbench.results import store

# Ours, for small source sets: the paper's ImageNet recipe is not in this version.
STEPS = 10000
LEARNING_RATE = (0.1,)
WEIGHT_DECAY = (1e-5,)


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_run_flags(fv)
    cli.define_training_flags(fv, steps=STEPS, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY,
                              origin="ours, one value each")


def weights_file(results_dir, spec: dict) -> pathlib.Path:
    """Where the weights of a pretraining run lie, or will."""
    return pathlib.Path(results_dir) / "weights" / f"{store.name_of(spec)}{ENDING}"


def specify(options, found: program.Resolved) -> dict:
    """What determines the outcome of the run that `options` describe (results/row.py).

    Raises:
      UserError: a grid of more than one point, or a data set with several labels per image.
    """
    if len(options.learning_rate) * len(options.weight_decay) != 1 or found.dataset.multi_label:
        raise UserError("pretrain trains once on a data set with one label per image: give one --learning_rate, "
                        "one --weight_decay and such a data set, e.g. --dataset=glyphs")
    return rows.training_spec(options, "pretrain", dataset=found.dataset, manifest=found.manifest, certificate=None)


def finished(results_dir, spec: dict) -> dict | None:
    """store.finished for a pretraining: a row without its weights is none."""
    return store.finished(results_dir, spec) if weights_file(results_dir, spec).exists() else None


def run(options, progress) -> tuple[dict, bool]:
    """Runs, continues or finds the run that `options` describe.

    Returns:
      (its row, whether it was computed now).
    """
    # ---- what to run -------------------------------------------------------------------------------
    found = program.resolve(options, progress)
    network, dataset, manifest, _ = found
    spec = specify(options, found)
    path = weights_file(options.results_dir, spec)
    if row := finished(options.results_dir, spec):
        return row, False

    from tfbench.data.examples import load_split  # TensorFlow, only now that there is something to compute
    from tfbench.models import weights
    from tfbench.training import experiment

    # ---- data and model ----------------------------------------------------------------------------
    start = time.monotonic()
    train = load_split(dataset, "train", options.data_dir)
    task = experiment.make_task(spec, options, dataset, len(train.labels), progress)

    # ---- optimize ----------------------------------------------------------------------------------
    progress.stage(f"training {options.steps} steps")
    point = {"learning_rate": options.learning_rate[0], "weight_decay": options.weight_decay[0]}
    if not task.train(train, task.engine.random_weights, point, "pretraining"):
        raise UserError(f"training diverged at --learning_rate={point['learning_rate']:g}: try a smaller one")

    # ---- evaluate: one look at the test split ------------------------------------------------------
    test = load_split(dataset, "test", options.data_dir)
    logits = task.predict(test)
    accuracy = task.accuracy(logits, test.labels)

    # ---- record: the row comes last, so where it is, the weights are --------------------------------
    weights.save(task.engine.trainer.model, path, {
        "network": network.name, "dataset": dataset.name, "metric": dataset.metric, "accuracy": accuracy,
        "n_test": len(test.labels), "value_range": spec["value_range"], "spec": spec, "versions": rows.versions()})
    row = rows.make_row(spec, dataset, manifest, accuracy=accuracy, selected=point,
                        test_split={"n": len(test.labels), "sha256": test.split_sha256},
                        seconds=time.monotonic() - start)
    store.write_row(options.results_dir, row, rows.test_predictions(logits, test),
                    cli.flagfile(options, "pretrain"))
    return row, True


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    row = program.run_one("pretrain", run, options)
    print(f"weights: {weights_file(options.results_dir, row['spec'])}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
