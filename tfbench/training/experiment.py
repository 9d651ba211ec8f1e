"""Regimes 2 and 3, what they share: search on validation, refit on train + validation, test once.

`search` sees the training and the validation split only; nothing that chooses hyperparameters has a
handle on the test split.
"""

import dataclasses
import gc
import pathlib
import time

import numpy as np

from tfbench import UserError
from tfbench.data.catalog import Dataset
from tfbench.data.examples import join, load_split
from tfbench.data.pipeline import evaluation_batches, to_network, training_batches
from tfbench.models import weights as weights_files
from tfbench.models.build import build_network, set_batch_norm_momentum
from tfbench.results import store
from tfbench.results.row import edge_warnings, make_row, test_predictions
from tfbench.stats import metrics
from tfbench.training import protocol, trial
from tfbench.training.devices import make_strategy, set_determinism
from tfbench.training.trainer import Predictor, Trainer


@dataclasses.dataclass(frozen=True)
class Engine:
    """A network on its devices: the traced training step, traced prediction, initial weights."""

    trainer: Trainer
    predict: Predictor
    random_weights: list[np.ndarray]

    def pretrained_weights(self, path) -> list[np.ndarray]:
        """The weights file's network below the randomly initialised classifier."""
        for variable, value in zip(self.trainer.model.variables, self.random_weights, strict=True):
            variable.assign(value)
        weights_files.load(self.trainer.model, path, classifier=False)
        return self.trainer.weights()


_engine: dict[tuple, Engine] = {}  # the latest one: the regimes of one (network, data set) share what was traced


def shared_engine(*key) -> Engine:
    """make_engine(*key), or the latest one if it was made with the same key."""
    if key not in _engine:
        _engine.clear()
        gc.collect()  # traced functions and their network refer to each other
        _engine[key] = make_engine(*key)
    return _engine[key]


def make_engine(network: str, num_classes: int, image_size: int, bn_scale: bool, batch_size: int, devices: int,
                seed: int, multi_label: bool, batch_norm_momentum: float, value_range: str) -> Engine:
    """Builds and places a network; its graphs are traced at first use."""
    strategy = make_strategy(devices)
    if batch_size % strategy.num_replicas_in_sync:
        raise UserError(f"--batch_size={batch_size} cannot be shared equally by "
                        f"{strategy.num_replicas_in_sync} devices: take a multiple of it")

    def make_model():
        model = build_network(network, num_classes=num_classes, image_size=image_size, bn_scale=bn_scale, seed=seed)
        set_batch_norm_momentum(model, batch_norm_momentum)
        return model

    trainer = Trainer(strategy, make_model, batch_size=batch_size, multi_label=multi_label,
                      to_input=lambda batch: to_network(batch[0], value_range, batch[1]))
    predictor = Predictor(strategy, lambda images: trainer.model(to_network(images, value_range), training=False))
    return Engine(trainer, predictor, trainer.weights())


@dataclasses.dataclass(frozen=True)
class Task:
    """How one run turns examples into batches and accuracies."""

    engine: Engine
    spec: dict
    dataset: Dataset
    folder: pathlib.Path
    checkpoint_every: int
    progress: object

    def train(self, examples, weights, point: dict, name: str) -> bool:
        """Trains on `examples` at `point`; returns whether it stayed finite."""
        spec = self.spec
        return trial.train(
            self.engine.trainer, weights,
            lambda first_step: training_batches(
                examples, image_size=spec["image_size"], batch_size=spec["batch_size"], seed=spec["seed"],
                first_step=first_step, steps=spec["steps"], min_crop_area=spec["min_crop_area"],
                mirror=self.dataset.mirror),
            **point, steps=spec["steps"], folder=self.folder / name,
            checkpoint_every=self.checkpoint_every, report=self.progress.images)

    def predict(self, examples) -> np.ndarray:
        """Logits of all examples, [n, classes] float32."""
        batches = evaluation_batches(examples, image_size=self.spec["image_size"], batch_size=self.spec["batch_size"])
        return self.engine.predict(batches, len(examples.labels), "logits", self.progress.images)

    def accuracy(self, logits, labels) -> float:
        """The data set's metric in [0, 1]; 0 for a network that diverged."""
        return metrics.score(self.dataset.metric, logits, labels) if np.isfinite(logits).all() else 0.0


def make_task(spec: dict, options, dataset: Dataset, train_images: int, progress) -> Task:
    """The task of the run that `spec` describes.

    Args:
      train_images: images of the longest training, which set the batch-norm momentum.
    """
    set_determinism(spec["deterministic"])
    engine = shared_engine(
        spec["network"], dataset.classes, spec["image_size"], spec["bn_scale"], spec["batch_size"], options.devices,
        spec["seed"], dataset.multi_label, protocol.batch_norm_momentum(train_images, spec["batch_size"]),
        spec["value_range"])
    folder = store.work_folder(options.results_dir, spec)
    return Task(engine, spec, dataset, folder, options.checkpoint_every, progress)


def search(task: Task, weights, train, validation) -> list[dict]:
    """Trains at every point of the grid on `train` and scores it on `validation`.

    A trial's result is kept in the run's work folder: an interrupted search goes on with what is missing.

    Returns:
      One dict per point: learning_rate, weight_decay, validation_accuracy in [0, 1], diverged, seconds.
    """
    record = task.folder / "trials.json"
    done = store.read_json(record, cure="delete it, its trials are then run again") if record.exists() else []
    grid = [{"learning_rate": rate, "weight_decay": decay}
            for rate in task.spec["learning_rate"] for decay in task.spec["weight_decay"]]
    for number, point in enumerate(grid[len(done):], start=len(done) + 1):
        start = time.monotonic()
        task.progress.stage(f"trial {number}/{len(grid)}: learning rate {point['learning_rate']:g}, "
                            f"weight decay {point['weight_decay']:g}")
        finite = task.train(train, weights, point, f"trial{number}")
        accuracy = task.accuracy(task.predict(validation), validation.labels) if finite else 0.0
        done.append(point | {"validation_accuracy": accuracy, "diverged": not finite,
                             "seconds": round(time.monotonic() - start, 2)})
        store.write_json(record, done)
    return done


def run(spec: dict, options, dataset: Dataset, manifest: dict, *, weights_file: str | None, source: dict | None,
        flagfile: str, progress) -> dict:
    """Runs a regime that trains the whole network and writes its row.

    Args:
      spec: what determines the outcome, with the grid in "learning_rate" and "weight_decay".
      options: flag values, for folders, devices and checkpoints.
      weights_file: pretrained weights to start from, or None for random ones.

    Returns:
      The row.
    """
    start = time.monotonic()

    # ---- data and model ----------------------------------------------------------------------------
    train, validation = (load_split(dataset, split, options.data_dir) for split in ("train", "validation"))
    both = join(train, validation)
    task = make_task(spec, options, dataset, len(both.labels), progress)
    engine = task.engine
    weights = engine.pretrained_weights(weights_file) if weights_file else engine.random_weights

    # ---- optimize: choose on validation, refit on everything ---------------------------------------
    trials = search(task, weights, train, validation)
    best = max(trials, key=lambda trial: trial["validation_accuracy"])
    selected = {name: best[name] for name in ("learning_rate", "weight_decay")}
    progress.stage("refit on train + validation")
    finite = task.train(both, weights, selected, "refit")

    # ---- evaluate: one look at the test split ------------------------------------------------------
    test = load_split(dataset, "test", options.data_dir)
    logits = task.predict(test)
    accuracy = task.accuracy(logits, test.labels)

    # ---- record ------------------------------------------------------------------------------------
    warnings = edge_warnings({name: spec[name] for name in selected}, selected)
    if not finite or any(trial["diverged"] for trial in trials):
        warnings.append("a trial or the refit diverged; it counts as accuracy 0")
    row = make_row(spec, dataset, manifest, accuracy=accuracy,
                   test_split={"n": len(test.labels), "sha256": test.split_sha256}, selected=selected,
                   validation_accuracy=best["validation_accuracy"], trials=trials, source=source,
                   warnings=warnings, seconds=time.monotonic() - start)
    store.write_row(options.results_dir, row, test_predictions(logits, test), flagfile)
    (task.folder / "trials.json").unlink()
    return row
