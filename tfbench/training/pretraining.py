"""Pretraining: trains on a source data set by the paper's recipe for ImageNet, tests once, writes the weights.

With --select_steps, the number of steps is chosen first: one training without the held-out images is stopped after each
number, and its averaged weights are scored on them. The test split, ImageNet's official validation images, is looked at
once, after the training on all training images.
"""

import dataclasses
import socket
import time

import numpy as np

from tfbench.data.examples import Examples, PreparedDataset, join, select
from tfbench.data.splits import held_out
from tfbench.errors import UserError
from tfbench.files.atomic import patiently
from tfbench.inputs import RunInputs
from tfbench.models import weights
from tfbench.results import store
from tfbench.results.record import Record, edge_warnings, make_record, test_predictions, versions
from tfbench.training import trial
from tfbench.training.search import Task, make_task, prepare_devices

FOLDER, SELECTION = "pretraining", "selection"  # of checkpoints, in the run's work folder


@dataclasses.dataclass(frozen=True)
class Selection:
    """Images to choose the number of steps by: to train on, and to score on."""

    train: Examples
    validation: Examples


def run(inputs: RunInputs, progress) -> Record:
    """Trains, tests, and writes weights and record.

    Raises:
      UserError: training diverged.
    """
    config, spec, data = inputs.config, inputs.spec, inputs.data

    # ---- data and model ----------------------------------------------------------------------------
    start = time.monotonic()
    prepare_devices(config)
    train, selection = training_images(data, bool(config.select_steps))
    task = make_task(inputs, len(train.labels), progress)
    crop = spec.get("test_crop", "whole")
    steps_per_epoch = len(train.labels) / config.batch_size
    rates = {"learning_rate": config.learning_rate, "warmup_steps": config.warmup_epochs * steps_per_epoch,
             "decay_per_step": config.decay_per_epoch ** (1 / steps_per_epoch)}
    other_seconds = time.monotonic() - start

    # ---- optimize: choose the number of steps, then train on everything ------------------------------
    trials = score_steps(task, selection, rates, crop) if selection else []
    steps, selected = spec["steps"], {name: spec[name] for name in ("learning_rate", "weight_decay")}
    best = max(trials, key=lambda score: (not score["diverged"], score["validation_accuracy"], -score["steps"]),
               default=None)
    if best:
        if best["diverged"]:
            raise _diverged(config)
        steps = selected["steps"] = best["steps"]
    progress.stage(f"training {steps:,} steps")
    outcome = task.train(train, task.engine.random_weights, FOLDER, steps=steps, l2=config.weight_decay, rates=rates)
    if not outcome.finite:
        raise _diverged(config)
    task.engine.trainer.use_averages()

    # ---- evaluate: one look at the test split ------------------------------------------------------
    start = time.monotonic()
    test = data.load("test")
    logits = task.predict(test, crop)
    accuracy = task.accuracy(logits, test.labels)
    if accuracy is None:
        raise UserError("the trained network's outputs are not finite: try a smaller --learning_rate")

    # ---- record: it comes last, so where it is, the weights are -------------------------------------
    record = make_record(
        spec, inputs.network, data.dataset, data.manifest, accuracy=accuracy, selected=selected | {"test_crop": crop},
        validation_accuracy=best["validation_accuracy"] if best else None, trials=trials,
        warnings=edge_warnings({"steps": spec["select_steps"]}, selected) if best else [],
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, distribution=task.engine.distribution(),
        refit=outcome._asdict() | {"images": len(train.labels)},
        seconds=sum(score["seconds"] for score in trials) + outcome.seconds + other_seconds + time.monotonic() - start)
    if task.chief:
        metadata = {
            "network": inputs.network.name, "dataset": data.dataset.name, "metric": data.dataset.metric,
            "accuracy": accuracy, "crop": crop, "n_test": len(test.labels), "value_range": spec["value_range"],
            "spec": spec, "versions": versions()}
        patiently(lambda: weights.save(task.engine.trainer.model, store.weights_path(config.results_dir, spec),
                                       metadata, cure=store.CURE))
    record = store.write_record(config.results_dir, record, test_predictions(logits, test), config.flagfile(),
                                task.chief)
    for folder in (FOLDER, SELECTION):
        task.forget(folder)
    if task.chief:
        store.delete_trials(task.folder)
    return record


def training_images(data: PreparedDataset, selecting: bool) -> tuple[Examples, Selection | None]:
    """The images to train on in the end, and those to choose the number of steps by, if that is asked for.

    To choose by are the data set's training and validation split, which make all images together; where there is no
    validation split, dataset.selection of the training images are held out.
    """
    train, dataset = data.load("train"), data.dataset
    if not selecting:
        return train, None
    if dataset.validation:
        validation = data.load("validation")
        return join(train, validation), Selection(train, validation)
    chosen = held_out(train.keys, train.labels, dataset.selection, dataset.split_seed)
    return train, Selection(*(select(train, np.flatnonzero(part)) for part in (~chosen, chosen)))


def score_steps(task: Task, images: Selection, rates: dict, crop: str) -> list[dict]:
    """Trains once, and scores the averaged weights after each number of steps of spec["select_steps"].

    Each score is a file in the run's work folder as those of a search: an interrupted selection goes on.

    Returns:
      One dict per number of steps, ascending: steps, validation_accuracy in [0, 1] at test_crop, diverged (it counts as
      the worst, as do all that follow), seconds with evaluation since the one before, and how fast it was.
    """
    config, numbers = task.inputs.config, task.inputs.spec["select_steps"]
    done, seconds_before = store.read_trials(task.folder, task.inputs.spec), 0.0
    trial.check_same_on_all_hosts(task.engine.trainer.strategy, len(done))
    for number, steps in enumerate(numbers, start=1):
        if number in done:
            seconds_before = done[number]["trained_seconds"]
            if done[number]["diverged"]:
                break
            continue
        task.progress.stage(f"choosing the number of steps: {steps:,} of {numbers[-1]:,}")
        outcome = task.train(images.train, task.engine.random_weights, SELECTION, steps=numbers[-1], until=steps,
                             l2=config.weight_decay, rates=rates)
        start, accuracy = time.monotonic(), None
        if outcome.finite:
            task.engine.trainer.use_averages()  # the next training begins with its checkpoint
            accuracy = task.accuracy(task.predict(images.validation, crop), images.validation.labels)
        seconds = outcome.seconds - seconds_before + time.monotonic() - start
        result = {
            "steps": steps, "validation_accuracy": accuracy or 0.0, "test_crop": crop, "diverged": accuracy is None,
            "seconds": round(seconds, 2), "trained_seconds": outcome.seconds,
            "images_per_second": outcome.images_per_second, "input_wait": outcome.input_wait,
            "replicas": task.engine.trainer.strategy.num_replicas_in_sync, "host": socket.gethostname()}
        task.write(store.trial_path(task.folder, number), result)
        done[number], seconds_before = result, outcome.seconds
        task.progress.result("diverged" if accuracy is None else f"{100 * accuracy:.1f} % on held-out images")
        if accuracy is None:
            break
    return [done[number] for number in sorted(done)]


def _diverged(config) -> UserError:
    return UserError(f"training diverged at --learning_rate={config.learning_rate:g}: try a smaller one")
