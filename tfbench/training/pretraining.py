"""Pretraining: trains on a source data set by the paper's recipe for ImageNet, tests once, writes the weights."""

import time

from tfbench.errors import UserError
from tfbench.inputs import RunInputs
from tfbench.models import weights
from tfbench.results import store
from tfbench.results.record import Record, make_record, test_predictions, versions
from tfbench.training.search import make_task, prepare_devices

FOLDER = "pretraining"  # of its checkpoints, in the run's work folder


def run(inputs: RunInputs, progress) -> Record:
    """Trains, tests, and writes weights and record.

    Raises:
      UserError: training diverged.
    """
    config, spec, data = inputs.config, inputs.spec, inputs.data

    # ---- data and model ----------------------------------------------------------------------------
    start = time.monotonic()
    prepare_devices(config)
    train = data.load("train")
    task = make_task(inputs, len(train.labels), progress)

    # ---- optimize ----------------------------------------------------------------------------------
    progress.stage(f"training {spec['steps']:,} steps")
    steps_per_epoch = len(train.labels) / config.batch_size
    rates = {"learning_rate": config.learning_rate, "warmup_steps": config.warmup_epochs * steps_per_epoch,
             "decay_per_step": config.decay_per_epoch ** (1 / steps_per_epoch)}
    other_seconds = time.monotonic() - start
    outcome = task.train(train, task.engine.random_weights, FOLDER, steps=spec["steps"], l2=config.weight_decay,
                         rates=rates)
    if not outcome.finite:
        raise UserError(f"training diverged at --learning_rate={config.learning_rate:g}: try a smaller one")
    task.engine.trainer.use_averages()

    # ---- evaluate: one look at the test split ------------------------------------------------------
    start = time.monotonic()
    test = data.load("test")
    logits = task.predict(test)
    accuracy = task.accuracy(logits, test.labels)
    if accuracy is None:
        raise UserError("the trained network's outputs are not finite: try a smaller --learning_rate")

    # ---- record: it comes last, so where it is, the weights are -------------------------------------
    record = make_record(
        spec, inputs.network, data.dataset, data.manifest, accuracy=accuracy,
        selected={name: spec[name] for name in ("learning_rate", "weight_decay")},
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, distribution=task.engine.distribution(),
        refit=outcome._asdict() | {"images": len(train.labels)},
        seconds=outcome.seconds + other_seconds + time.monotonic() - start)
    if task.chief:
        weights.save(task.engine.trainer.model, store.weights_path(config.results_dir, spec), {
            "network": inputs.network.name, "dataset": data.dataset.name, "metric": data.dataset.metric,
            "accuracy": accuracy, "n_test": len(test.labels), "value_range": spec["value_range"], "spec": spec,
            "versions": versions()}, cure=store.CURE)
    record = store.write_record(config.results_dir, record, test_predictions(logits, test), config.flagfile(),
                                task.chief)
    task.forget(FOLDER)
    return record
