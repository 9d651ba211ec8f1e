"""Regimes 2 and 3, what they share: search on validation, refit on train + validation, test once.

`search` sees the training and the validation split only; nothing that chooses hyperparameters has a
handle on the test split.
"""

import dataclasses
import itertools
import time

import numpy as np

from tfbench import UserError
from tfbench.data.catalog import Dataset
from tfbench.data.examples import join, load_split, subset
from tfbench.data.pipeline import evaluation_batches, training_batches
from tfbench.results import store
from tfbench.results.places import Place
from tfbench.results.row import edge_warnings, make_row, test_predictions
from tfbench.stats import metrics
from tfbench.training import trial
from tfbench.training.devices import hosts_heard, is_chief, make_strategy, set_determinism
from tfbench.training.engine import Engine, settings_of, shared_engine

EVALUATED = 2  # times as many images in a batch as in training: no gradients, less memory, a third less time when small
CROPS = {"whole": 1.0, "central": 0.875}  # of a test image, of its height and width: chosen on validation


@dataclasses.dataclass(frozen=True)
class Task:
    """How one run turns examples into batches and accuracies.

    Attributes:
      chief: whether this process writes files; of several hosts, only the first does.
    """

    engine: Engine
    spec: dict
    dataset: Dataset
    folder: Place
    checkpoint_every: int
    progress: object
    chief: bool

    def train(self, examples, weights, name: str, *, l2: float, rates: dict, before=(),
              ahead: int = 0) -> trial.Outcome:
        """Trains on `examples`.

        Args:
          l2, rates: see Trainer.reset.
          before: seconds of the trials done; ahead: trials to come. They make the estimate of the time left.
        """
        spec, trainer = self.spec, self.engine.trainer

        def report(step, images, loss=None, **facts):
            self.progress.images(images)
            if loss is not None:
                pace = float(trainer.elapsed.numpy()) / step
                whole = np.mean(before) if len(before) else spec["steps"] * pace
                self.progress.training(step, spec["steps"], loss, facts["images_per_second"], facts["input_wait"],
                                       left=(spec["steps"] - step) * pace + ahead * whole)

        def batches(first_step, part):
            return training_batches(
                examples, image_size=spec["image_size"], batch_size=spec["batch_size"], seed=spec["seed"],
                first_step=first_step, steps=spec["steps"], min_crop_area=spec["min_crop_area"],
                mirror=self.dataset.mirror, part=part)

        with hosts_heard(trainer.strategy):
            return trial.train(trainer, weights, batches, l2=l2, rates=rates, steps=spec["steps"],
                               folder=self.folder / name, checkpoint_every=self.checkpoint_every, report=report)

    def predict(self, examples, crop: str = "whole") -> np.ndarray:
        """Logits of all examples, [n, classes] float32, seen as CROPS says."""
        def batches(part):
            return evaluation_batches(examples, image_size=self.spec["image_size"], part=part,
                                      batch_size=EVALUATED * self.spec["batch_size"], central_fraction=CROPS[crop])

        with hosts_heard(self.engine.trainer.strategy):
            return self.engine.predict(batches, len(examples.labels), "logits", self.progress.images)

    def accuracy(self, logits, labels) -> float | None:
        """The data set's metric in [0, 1]; None for a network that diverged."""
        return metrics.score(self.dataset.metric, logits, labels) if np.isfinite(logits).all() else None

    def write(self, path, value) -> None:
        """Writes JSON, on one host only."""
        if self.chief:
            store.write_json(path, value)

    def forget(self, name: str) -> None:
        """Deletes the checkpoints of a trial whose result is recorded."""
        if self.chief:
            trial.forget(self.folder / name)


def make_task(spec: dict, options, dataset: Dataset, train_images: int, progress) -> Task:
    """The task of the run that `spec` describes.

    Args:
      train_images: images of the longest training, which set the batch-norm momentum.
    """
    engine = shared_engine(settings_of(spec, options, classes=dataset.classes, multi_label=dataset.multi_label,
                                       train_images=train_images))
    return Task(engine, spec, dataset, store.work_folder(options.results_dir, spec), options.checkpoint_every, progress,
                is_chief(engine.trainer.strategy))


def prepare_devices(options) -> None:
    """What must be settled before TensorFlow computes anything: determinism, and joining the other hosts."""
    set_determinism(options.deterministic)
    make_strategy(options.devices, options.strategy, options.tpu)


def at_point(learning_rate: float, weight_decay: float, steps: int) -> dict:
    """Settings of a trial at one point of the grid: a weight decay is divided by the learning rate before use."""
    return {"l2": weight_decay / learning_rate, "rates": {"learning_rate": learning_rate, "steps": steps}}


def search(task: Task, weights, train, validation, only: int | None = None) -> list[dict]:
    """Trains at every point of the grid on `train` and scores it on `validation`.

    Each trial's result is a file of its own in the run's work folder: an interrupted search goes on with what is
    missing, and several processes can share a search.

    Args:
      only: the number of the one trial to run, from 1; 0: none, other processes ran all; None: all that are missing.

    Returns:
      One dict per point whose result is there: learning_rate, weight_decay, validation_accuracy in [0, 1] at the
      better test_crop, both in validation, diverged, seconds with evaluation, and how fast it was.
    """
    rates, decays = task.spec["learning_rate"], task.spec["weight_decay"]
    done = (store.await_trials(task.folder, len(rates) * len(decays)) if only == 0 else
            store.read_trials(task.folder))
    grid = {number: {"learning_rate": rate, "weight_decay": decay}
            for number, (rate, decay) in enumerate(itertools.product(rates, decays), start=1)}
    for number in grid:
        trial.agree(task.engine.trainer.strategy, number * (number in done))
    task.progress.grid(list(done.values()), rates, decays)
    for number in [only] if only else grid:
        if number in done:
            continue
        task.progress.stage(f"trial {number}/{len(grid)}: learning rate {grid[number]['learning_rate']:g}, "
                            f"weight decay {grid[number]['weight_decay']:g}")
        done[number] = _trial(task, weights, train, validation, number, grid[number], ahead=len(grid) - len(done),
                              before=[earlier["seconds"] for earlier in done.values()])
        task.progress.grid(list(done.values()), rates, decays)
    return [done[number] for number in grid if number in done]


def _trial(task: Task, weights, train, validation, number: int, point: dict, *, ahead: int, before) -> dict:
    """Runs one trial of a search and writes its result."""
    name, steps = f"trial{number}", task.spec["steps"]
    outcome = task.train(train, weights, name, **at_point(**point, steps=steps), ahead=ahead, before=before)
    start = time.monotonic()
    scores = {crop: task.accuracy(task.predict(validation, crop), validation.labels) if outcome.finite else None
              for crop in CROPS}
    diverged = None in scores.values()
    scores = {crop: score or 0.0 for crop, score in scores.items()}
    best = max(scores, key=scores.get)
    found = point | {
        "validation_accuracy": 0.0 if diverged else scores[best], "test_crop": best, "validation": scores,
        "diverged": diverged, "seconds": round(outcome.seconds + time.monotonic() - start, 2),
        "images_per_second": outcome.images_per_second, "input_wait": outcome.input_wait,
        "replicas": task.engine.trainer.strategy.num_replicas_in_sync}
    task.write(store.trial_path(task.folder, number), found)
    if task.chief:
        trial.summarise(task.folder / name, steps, {f"accuracy/{crop}": score for crop, score in scores.items()})
    task.forget(name)
    task.progress.result(
        f"diverged after {found['seconds']:.0f} s: it counts as the worst" if diverged else
        f"validation {100 * scores[best]:.1f} % on the {best} image, {found['seconds']:.0f} s")
    return found


def choose(trials: list[dict]) -> dict:
    """The best trial, of equal ones the first.

    Raises:
      UserError: all of them diverged.
    """
    if all(trial["diverged"] for trial in trials):
        raise UserError(f"all {len(trials)} trials diverged: expected one at least that stays finite, try a smaller "
                        "--learning_rate")
    return max(trials, key=lambda trial: (not trial["diverged"], trial["validation_accuracy"]))


def run(spec: dict, options, dataset: Dataset, manifest: dict, *, weights_file: str | None, source: dict | None,
        flagfile: str, progress, only: int | None = None) -> dict | None:
    """Runs a regime that trains the whole network and writes its row.

    Args:
      spec: what determines the outcome, with the grid in "learning_rate" and "weight_decay".
      options: flag values, for folders, devices and checkpoints.
      weights_file: pretrained weights to start from, or None for random ones.
      only: the number of the one trial of the search to run, from 1; 0: only the refit, other processes ran the
        trials; None: what is missing of all.

    Returns:
      The row; None for a trial alone.
    """
    start = time.monotonic()
    prepare_devices(options)

    # ---- data and model ----------------------------------------------------------------------------
    train, validation = (load_split(dataset, split, options.data_dir) for split in ("train", "validation"))
    both = join(train, validation)
    if spec["examples_per_class"]:
        train, both = (subset(part, spec["examples_per_class"], spec["subset_seed"]) for part in (train, both))
    task = make_task(spec, options, dataset, len(both.labels), progress)
    engine = task.engine
    weights = engine.pretrained_weights(weights_file) if weights_file else engine.random_weights
    other_seconds = time.monotonic() - start

    # ---- optimize: choose on validation, refit on everything ---------------------------------------
    trials = search(task, weights, train, validation, only)
    if only:
        return None
    best = choose(trials)
    selected = {name: best[name] for name in ("learning_rate", "weight_decay", "test_crop")}
    progress.stage("refit on train + validation")
    outcome = task.train(both, weights, "refit", **at_point(best["learning_rate"], best["weight_decay"], spec["steps"]))

    # ---- evaluate: one look at the test split ------------------------------------------------------
    start = time.monotonic()
    test = load_split(dataset, "test", options.data_dir)
    logits = task.predict(test, best["test_crop"])
    accuracy = task.accuracy(logits, test.labels) if outcome.finite else None
    other_seconds += time.monotonic() - start

    # ---- record ------------------------------------------------------------------------------------
    warnings = edge_warnings({name: spec[name] for name in ("learning_rate", "weight_decay")}, selected)
    if diverged := sum(trial["diverged"] for trial in trials):
        warnings.append(f"{diverged} of {len(trials)} trials diverged; they count as the worst")
    if accuracy is None:
        warnings.append("the refit diverged, other than the trial it repeats with more images; it counts as accuracy 0")
    row = make_row(
        spec, dataset, manifest, accuracy=accuracy or 0.0,
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, selected=selected,
        validation_accuracy=best["validation_accuracy"], trials=trials, source=source, warnings=warnings,
        refit=outcome._asdict() | {"images": len(both.labels)}, distribution=engine.distribution(),
        seconds=sum(trial["seconds"] for trial in trials) + outcome.seconds + other_seconds)
    if task.chief:
        store.write_row(options.results_dir, row, test_predictions(np.nan_to_num(logits), test), flagfile)
        store.forget_trials(task.folder)
        for folder in task.folder.glob("*/checkpoints"):  # the refit's, and what a kill left of a recorded trial
            trial.forget(folder.parent)
    return row
