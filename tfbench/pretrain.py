"""Trains a network on a source data set and writes its weights for the three regimes.

The paper's recipe for ImageNet, without its length the same for any source: warm-up, exponential decay, a moving
average of the weights, and four switches – batch-norm scale, label smoothing, dropout, auxiliary classifier. Trained on
the source's training split and tested once; that accuracy is what the analysis correlates transfer with. Writes
RESULTS_DIR/weights/NAME.weights.h5 and its metadata NAME.json, which the other programs take as --weights=FILE, and
a row in RESULTS_DIR/rows. The same command again continues what was interrupted.

  python -m tfbench.pretrain --model=inception_v4 --dataset=imagenet2012
  python -m tfbench.pretrain --model=inception_v4 --dataset=imagenet2012 --flagfile=flags/ablation_1.flags
  python -m tfbench.pretrain --model=resnet_50 --dataset=glyphs --image_size=32 --batch_size=64 \\
      --steps=500 --learning_rate=0.01 --weight_decay=1e-4 --warmup_epochs=1 --decay_per_epoch=0.3
"""

import time

from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.errors import UserError
from tfbench.files.paths import Path, as_path
from tfbench.models.weights import ENDING
from tfbench.results import record as records
from tfbench.results import store

RECIPE = ("learning_rate", "weight_decay", "warmup_epochs", "decay_per_epoch", "ema", "label_smoothing", "dropout",
          "auxiliary_head")


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_run_flags(fv)
    cli.define_pretraining_flags(fv)


def weights_file(results_dir, spec: dict) -> Path:
    """Where the weights of a pretraining run lie, or will."""
    return as_path(results_dir) / "weights" / f"{store.name_of(spec)}{ENDING}"


def specify(options, found: program.Resolved) -> dict:
    """What determines the outcome of the run that `options` describe (results/record.py).

    Raises:
      UserError: a data set with several labels per image.
    """
    if found.dataset.multi_label:
        raise UserError("pretrain takes a data set with one label per image, e.g. --dataset=glyphs; "
                        f"{found.dataset.name} has several")
    images = found.manifest["splits"]["train"]["n"]
    steps = options.steps or max(round(options.epochs * images / options.batch_size), 1)
    return records.make_spec(
        options, "pretrain", dataset=found.dataset, manifest=found.manifest, metadata=None, steps=steps,
        epochs=options.epochs if options.steps is None else steps * options.batch_size / images,
        **{name: options[name].value for name in RECIPE}, **records.step_spec(options))


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
    from tfbench.training import search

    # ---- data and model ----------------------------------------------------------------------------
    start = time.monotonic()
    search.prepare_devices(options)
    train = load_split(dataset, "train", options.data_dir)
    task = search.make_task(spec, options, dataset, len(train.labels), progress)

    # ---- optimize ----------------------------------------------------------------------------------
    progress.stage(f"training {spec['steps']:,} steps")
    steps_per_epoch = len(train.labels) / options.batch_size
    rates = {"learning_rate": options.learning_rate, "warmup_steps": options.warmup_epochs * steps_per_epoch,
             "decay_per_step": options.decay_per_epoch ** (1 / steps_per_epoch)}
    other_seconds = time.monotonic() - start
    outcome = task.train(train, task.engine.random_weights, "pretraining", steps=spec["steps"],
                         l2=options.weight_decay, rates=rates)
    if not outcome.finite:
        raise UserError(f"training diverged at --learning_rate={options.learning_rate:g}: try a smaller one")
    task.engine.trainer.use_averages()

    # ---- evaluate: one look at the test split ------------------------------------------------------
    start = time.monotonic()
    test = load_split(dataset, "test", options.data_dir)
    logits = task.predict(test)
    accuracy = task.accuracy(logits, test.labels)
    if accuracy is None:
        raise UserError("the trained network's outputs are not finite: try a smaller --learning_rate")

    # ---- record: the row comes last, so where it is, the weights are --------------------------------
    row = records.make_record(
        spec, dataset, manifest, accuracy=accuracy,
        selected={name: spec[name] for name in ("learning_rate", "weight_decay")},
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, distribution=task.engine.distribution(),
        refit=outcome._asdict() | {"images": len(train.labels)},
        seconds=outcome.seconds + other_seconds + time.monotonic() - start)
    if task.chief:
        weights.save(task.engine.trainer.model, path, {
            "network": network.name, "dataset": dataset.name, "metric": dataset.metric, "accuracy": accuracy,
            "n_test": len(test.labels), "value_range": spec["value_range"], "spec": spec, "versions": records.versions()})
        store.write_record(options.results_dir, row, records.test_predictions(logits, test),
                        cli.flagfile(options, "pretrain"))
    task.forget("pretraining")
    return row, True


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    row, = program.run_each("pretrain", run, options)
    print(f"weights: {weights_file(options.results_dir, row['spec'])}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
