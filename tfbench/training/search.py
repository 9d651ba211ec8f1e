"""The search regimes, fine-tuning and training from scratch: search on validation, refit on train + validation, test.

`search` sees the training and the validation split only; nothing that chooses hyperparameters has a handle on the test
split.
"""

import dataclasses
import itertools
import socket
import time
from typing import Any

import numpy as np

from tfbench.config import ALL, REFIT
from tfbench.data.examples import Examples, join, subset
from tfbench.data.pipeline import evaluation_batches, training_batches
from tfbench.errors import UserError
from tfbench.files.atomic import patiently, write_json
from tfbench.files.paths import Path
from tfbench.inputs import RunInputs
from tfbench.results import kept_models, store
from tfbench.results.record import Record, edge_warnings, make_record, source_of, test_predictions
from tfbench.stats import metrics
from tfbench.training import halving, trial
from tfbench.training.devices import is_chief, make_strategy, preempt_on_lost_host, set_determinism
from tfbench.training.engine import Engine, shared_engine
from tfbench.wording import agree

EVAL_BATCH_FACTOR = 2  # images in a batch, times those of training: no gradients, less memory, a third faster
ESTIMATE_AFTER = 10  # steps of a first trial, after which its time left is told
CROPS = {"whole": 1.0, "central": 0.875}  # of a test image, of its height and width: chosen on validation


@dataclasses.dataclass(frozen=True)
class Task:
    """How one run turns examples into batches and accuracies."""

    engine: Engine
    inputs: RunInputs
    progress: Any

    @property
    def folder(self) -> Path:
        """Where trials and checkpoints of the unfinished run lie."""
        return store.work_dir(self.inputs.config.results_dir, self.inputs.spec)

    @property
    def chief(self) -> bool:
        """Whether this process writes files; of several hosts, only the first does."""
        return is_chief(self.engine.trainer.strategy)

    def train(self, examples, weights, name: str, *, steps: int, l2: float, rates: dict, pace: float | None = None,
              ahead: int = 0, until: int | None = None) -> trial.Outcome:
        """Trains on `examples` for `steps` steps.

        Args:
          until: see trial.train.
          l2, rates: see Trainer.reset.
          pace: seconds that a step of earlier trials took, with evaluation; None where there are none.
          ahead: steps of the trainings to come. Both make the estimate of the time left.
        """
        spec, config, trainer = self.inputs.spec, self.inputs.config, self.engine.trainer

        first: list[int] = []

        def report(step, images, loss=None, **facts):
            self.progress.images(images)
            if loss is None:
                first.append(step)
                return
            seconds_per_step = float(trainer.elapsed.numpy()) / step
            left = (steps - step) * seconds_per_step + ahead * (pace or seconds_per_step)
            if step - first[0] < ESTIMATE_AFTER and pace is None:
                left = None  # the first steps trace the graph
            if self.chief and self.inputs.tracker:
                self.inputs.tracker.training(name, step, loss, facts["images_per_second"])
            self.progress.training(step, steps, loss, facts["images_per_second"], facts["input_wait"], left=left)

        def batches(first_step, shard):
            return training_batches(
                examples, image_size=spec["image_size"], batch_size=config.batch_size, seed=config.seed,
                first_step=first_step, steps=steps, min_crop_area=config.min_crop_area,
                mirror=self.inputs.data.dataset.mirror, method=config.resize, color_distortion=config.color_distortion,
                shard=shard)

        with preempt_on_lost_host(trainer.strategy):
            return trial.train(trainer, weights, batches, l2=l2, rates=rates, steps=steps, until=until,
                               folder=self.folder / name, checkpoint_every=config.checkpoint_every, report=report)

    def predict(self, examples, crop: str = "whole") -> np.ndarray:
        """Logits of all examples, [n, classes] float32, seen as CROPS says."""
        def batches(shard):
            return evaluation_batches(examples, image_size=self.inputs.spec["image_size"], shard=shard,
                                      batch_size=EVAL_BATCH_FACTOR * self.inputs.config.batch_size,
                                      central_fraction=CROPS[crop], method=self.inputs.config.resize)

        with preempt_on_lost_host(self.engine.trainer.strategy):
            return self.engine.predict(batches, len(examples.labels), "logits", self.progress.images)

    def accuracy(self, logits, labels) -> float | None:
        """The data set's metric in [0, 1]; None for a network that diverged."""
        return metrics.score(self.inputs.data.dataset.metric, logits, labels) if np.isfinite(logits).all() else None

    def write(self, path, value) -> None:
        """Writes JSON, on one host only."""
        if self.chief:
            patiently(lambda: write_json(path, value, cure=store.CURE))

    def forget(self, name: str) -> None:
        """Deletes the checkpoints of a trial whose result is recorded."""
        if self.chief:
            trial.delete_checkpoints(self.folder / name)


def make_task(inputs: RunInputs, train_images: int, progress) -> Task:
    """The task of a run.

    Args:
      train_images: images of the longest training, which set the batch-norm momentum.
    """
    return Task(shared_engine(inputs, train_images), inputs, progress)


def prepare_devices(config) -> None:
    """Settles what must be before TensorFlow computes anything: determinism, and joining the other hosts."""
    set_determinism(config.deterministic)
    make_strategy(config.devices, config.strategy, config.tpu)


def trial_settings(learning_rate: float, weight_decay: float, steps: int) -> dict:
    """Settings of a trial at one point of the grid: a weight decay is divided by the learning rate before use."""
    return {"steps": steps, "l2": weight_decay / learning_rate,
            "rates": {"learning_rate": learning_rate, "steps": steps}}


def search(task: Task, weights, train: Examples, validation: Examples) -> list[dict]:
    """Trains at every point of the grid on `train` and scores it on `validation`.

    Each trial's result is a file of its own in the run's work folder: an interrupted search goes on with what is
    missing, and several processes can share a search. config.trial says what this process runs of it.

    Returns:
      One dict per trial whose result is there, in the order of their numbers (training/halving.py): learning_rate,
      weight_decay, steps, validation_accuracy in [0, 1] at the better test_crop, both in validation, diverged, seconds
      with evaluation, and how fast it was.
    """
    config, spec = task.inputs.config, task.inputs.spec
    only = config.trial_number
    rates, decays = spec["learning_rate"], spec["weight_decay"]
    grid, rungs = list(itertools.product(rates, decays)), halving.rungs(spec)
    done = store.read_trials(task.folder, spec)

    def show(entrants) -> None:
        task.progress.grid([done[number] for number in entrants if number in done], rates, decays, len(entrants))

    for rung, (steps, _) in enumerate(rungs):
        entrants = halving.entrants(done, rung, spec)
        if config.trial == REFIT or only and rung < halving.rung_of(only, len(grid)):  # other processes run these
            done = store.await_trials(task.folder, entrants, spec)
            continue
        for number in entrants:
            trial.check_same_on_all_hosts(task.engine.trainer.strategy, number * (number in done))
        show(entrants)
        for position, number in enumerate(entrants, start=1):
            if number in done or only not in (None, number):
                continue
            point = dict(zip(("learning_rate", "weight_decay"), grid[(number - 1) % len(grid)], strict=True))
            length = f" of {steps} steps" if len(rungs) > 1 else ""
            task.progress.stage(f"trial {position}/{len(entrants)}{length}: learning rate {point['learning_rate']:g}, "
                                f"weight decay {point['weight_decay']:g}")
            done[number] = _trial(task, weights, train, validation, number, point, steps, pace=_pace(done),
                                  ahead=halving.steps_left(spec, done) - steps + spec["steps"])
            show(entrants)
        if only:
            break
    return [done[number] for number in sorted(done)]


def _pace(done: dict[int, dict]) -> float | None:
    """Seconds per step of the trials done, their evaluation included."""
    if not done:
        return None
    return sum(trial["seconds"] for trial in done.values()) / sum(trial["steps"] for trial in done.values())


def _trial(task: Task, weights, train, validation, number: int, point: dict, steps: int, **estimate) -> dict:
    """Runs one trial of a search and writes its result; `estimate` as for Task.train."""
    name = f"trial{number}"
    outcome = task.train(train, weights, name, **trial_settings(**point, steps=steps), **estimate)
    start = time.monotonic()
    accuracies = {crop: task.accuracy(task.predict(validation, crop), validation.labels) if outcome.finite else None
                  for crop in CROPS}
    diverged = None in accuracies.values()
    scores = {crop: score or 0.0 for crop, score in accuracies.items()}
    best = max(scores, key=lambda crop: scores[crop])
    result = point | {
        "steps": steps, "validation_accuracy": 0.0 if diverged else scores[best], "test_crop": best,
        "validation": scores, "diverged": diverged, "seconds": round(outcome.seconds + time.monotonic() - start, 2),
        "images_per_second": outcome.images_per_second, "input_wait": outcome.input_wait,
        "replicas": task.engine.trainer.strategy.num_replicas_in_sync, "host": socket.gethostname()}
    task.write(store.trial_path(task.folder, number), result)
    if task.chief:
        trial.summarise(task.folder / name, steps, {f"accuracy/{crop}": score for crop, score in scores.items()} | {
            "validation_accuracy": result["validation_accuracy"]}, hyperparameters=point | {"steps": steps} | {
                setting: task.inputs.spec[setting] for setting in ("regime", "network", "dataset")})
        if task.inputs.tracker:
            task.inputs.tracker.trial(number, result)
    task.forget(name)
    task.progress.result(
        f"diverged after {result['seconds']:.0f} s: it counts as the worst" if diverged else
        f"validation {100 * scores[best]:.1f} % on the {best} image, {result['seconds']:.0f} s")
    return result


def choose(trials: list[dict]) -> dict:
    """The best of the longest trials, of equal ones the first.

    Raises:
      UserError: all of them diverged.
    """
    steps = max(trial["steps"] for trial in trials)
    trials = [trial for trial in trials if trial["steps"] == steps]
    if all(trial["diverged"] for trial in trials):
        raise UserError(f"all {len(trials)} trials diverged: expected one at least that stays finite, try a smaller "
                        "--learning_rate")
    return max(trials, key=lambda trial: (not trial["diverged"], trial["validation_accuracy"]))


def run(inputs: RunInputs, progress) -> Record | None:
    """Runs what is missing of a search regime, or the part of it that config.trial names, and writes its record.

    Where the record is there and only the network is wanted, it is trained again at the point that the record names.

    Returns:
      The record; None for a trial alone.
    """
    config, spec, data = inputs.config, inputs.spec, inputs.data
    start = time.monotonic()
    finished = store.finished(config.results_dir, spec)
    prepare_devices(config)

    # ---- data and model ----------------------------------------------------------------------------
    train, validation = data.load("train"), data.load("validation")
    both = join(train, validation)
    if spec["examples_per_class"]:  # there is no refit on train + validation (v3 section 4.7)
        train = both = subset(train, spec["examples_per_class"], spec["subset_seed"] or 0)
    task = make_task(inputs, len(both.labels), progress)
    weights = task.engine.random_weights
    if inputs.weights:
        weights = task.engine.pretrained_weights(inputs.weights)
    other_seconds = time.monotonic() - start

    # ---- optimize: choose on validation, refit on everything ---------------------------------------
    trials = [] if finished else search(task, weights, train, validation)
    if config.trial not in (ALL, REFIT):
        return None
    best = finished.selected if finished else choose(trials)
    selected = {name: best[name] for name in ("learning_rate", "weight_decay", "test_crop")}
    few = spec["examples_per_class"]
    progress.stage("the best trial again, for its weights" if few else "refit on train + validation")
    outcome = task.train(both, weights, "refit",
                         **trial_settings(best["learning_rate"], best["weight_decay"], spec["steps"]))

    # ---- evaluate: one look at the test split ------------------------------------------------------
    start = time.monotonic()
    test = data.load("test")
    logits = task.predict(test, best["test_crop"])
    accuracy = task.accuracy(logits, test.labels) if outcome.finite else None
    other_seconds += time.monotonic() - start

    # ---- record ------------------------------------------------------------------------------------
    def keep(record: Record) -> None:
        if config.keep_model and task.chief and accuracy is not None:
            kept_models.save(task.engine.trainer.model, inputs, record, accuracy, resize=config.resize,
                             test_crop=best["test_crop"])

    if finished:
        keep(finished)
        task.forget("refit")
        return finished
    warnings = edge_warnings({name: spec[name] for name in ("learning_rate", "weight_decay")}, selected)
    if diverged := sum(trial["diverged"] for trial in trials):
        warnings.append(f"{diverged} of {len(trials)} trials diverged; "
                        f"{agree(diverged, 'it counts', 'they count')} as the worst")
    if accuracy is None:
        warnings.append("the refit diverged, other than the trial it repeats with more images; it counts as accuracy 0")
    warnings += metrics.absent_classes(data.dataset.metric, test.labels, data.class_names)
    record = make_record(
        spec, inputs.network, data.dataset, data.manifest, accuracy=accuracy or 0.0,
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, selected=selected,
        validation_accuracy=best["validation_accuracy"], trials=trials,
        source=source_of(inputs.metadata) if inputs.metadata else None, warnings=warnings,
        search=halving.facts(trials, spec), refit=outcome._asdict() | {"images": len(both.labels)},
        distribution=task.engine.distribution(),
        seconds=sum(trial["seconds"] for trial in trials) + outcome.seconds + other_seconds)
    keep(record)
    predictions = test_predictions(np.nan_to_num(logits), test, data.class_names)
    record = store.write_record(config.results_dir, record, predictions, config.flagfile(), task.chief)
    if task.chief:
        store.delete_trials(task.folder)
        for folder in task.folder.glob("*/checkpoints"):  # the refit's, and what a kill left of a recorded trial
            trial.delete_checkpoints(folder.parent)
    return record
