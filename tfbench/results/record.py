"""Record: what a run found out, one JSON file per run, with the facts about the machine that go into it."""

import dataclasses
import datetime
import functools
import importlib.metadata
import itertools
import math
import os
import platform
import socket
import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfbench.config import SCHEMA, key_of
from tfbench.data import verify
from tfbench.data.catalog import Dataset
from tfbench.errors import UserError
from tfbench.files.fields import AMOUNT, COUNT, FRACTION, GROUP, INDEX, LIST, NUMBER, SWITCH, TEXT, short, wrong
from tfbench.models.catalog import Network
from tfbench.regimes import REGIMES, RUNS
from tfbench.results.deviations import deviations
from tfbench.results.titles import record_label
from tfbench.version import __version__
from tfbench.wording import count

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "tf-models-official", "numpy", "scikit-learn")


class Fitted(NamedTuple):
    """What the trials of a run and its refit come to.

    Attributes:
      trials: their number, without the refit. fits: with it.
      images_per_second: median over trainings, None where none was one.
      certified: how many regressions are. iterations: of all. largest_relative_gap: NaN where none tells its gap.
    """

    trials: int
    fits: int
    images_per_second: float | None
    certified: int
    iterations: float
    largest_relative_gap: float


@dataclasses.dataclass(frozen=True)
class Record(Mapping[str, Any]):
    """What a finished run found out. It is a mapping too: record["accuracy"], record.get("search").

    Attributes:
      schema: version of this layout. key: hash of `spec`.
      regime, network, dataset, metric: names.
      accuracy: on the test split, in [0, 1]. n_test: test examples, each counted once.
      validation_accuracy: at the chosen hyperparameters, in [0, 1]; None where nothing was chosen.
      selected: hyperparameters that were chosen on validation. Where the whole network is trained, also test_crop, the
        part of the image that is seen: "whole" or "central" (87.5 % of its sides).
      trials: one dictionary per trial, with its accuracy and seconds. Where the whole network is trained: the accuracy
        at both crops in "validation", "diverged" (it counts as the worst), "images_per_second", "input_wait" (share of
        the time in [0, 1]), "replicas" and "steps".
      source: of the pretrained network, None without: {"dataset", "accuracy", "n_test", "weights_sha256"} and how its
        accuracy was taken: "image_size" in pixels and "crop", "whole", "central" (87.5 % of the sides) or
        "central_square" (of the shorter side), where its metadata say so. The dataset is "imagenet" for public
        weights, "imagenet2012" for those trained here.
      test_split: {"n", "expected", "sha256"}: hash of the sorted keys of the test examples; "expected" is the number
        that the paper's data set has, None for a custom set.
      verification: {level: "PASS", "FAIL" or "UNKNOWN"} of the data set (data/verify.py).
      spec: all that determines the outcome (RunConfig.spec).
      deviations: where the run departs from the paper, in words.
      warnings: what to mind, e.g. the best value on the edge of its grid.
      versions, hardware, seconds, finished: of the computation; finished is ISO 8601 in UTC.
      host: the machine that wrote it and did its refit; trials of a search have their own.
      search: where the whole network is trained: {"kind": "grid" or "halving", "steps", "grid_steps"}: steps of all
        trials, and those of every point trained in full.
      refit: the last fit, on training + validation. Logistic regression (its trials have these too): {"objective",
        "gap", "certified", "iterations", "seconds"}; gap bounds how far the objective lies above its minimum, certified
        says whether that is little enough (linear/logistic.py). Otherwise {"finite", "seconds", "images_per_second",
        "input_wait", "images"} (training/trial.py).
      features: logistic regression only: {"folder", "precision", "relative_error", "images_per_second"} of the cached
        features; the error is that of less precision, None in float32; the speed is that of computing them.
      estimates: logistic regression on single labels only: {name of stats/transferability.ESTIMATES: value} and
        "seconds", of the features that it was trained on; those of the source's classes where the weights have a
        classifier. Records of earlier versions have none.
      distribution: where the whole network is trained: {"strategy", "replicas", "hosts", "images_per_replica"}; batch
        norm averages over the images of one replica, or of all with spec's sync_batch_norm.
      own_network: of a custom network only: {"architecture", "parameters", "multiply_adds", "image_size",
        "feature_width"} (models/catalog.py).
      path: of its file; no part of it.
      fitted: what trials and refit come to, where they are not read yet (results/index.py); no part of the file.
    """

    schema: int
    key: str
    regime: str
    network: str
    dataset: str
    metric: str
    accuracy: float
    n_test: int
    validation_accuracy: float | None = None
    selected: dict = dataclasses.field(default_factory=dict)
    trials: list = dataclasses.field(default_factory=list)
    source: dict | None = None
    test_split: dict = dataclasses.field(default_factory=dict)
    verification: dict = dataclasses.field(default_factory=dict)
    spec: dict = dataclasses.field(default_factory=dict)
    deviations: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)
    versions: dict = dataclasses.field(default_factory=dict)
    hardware: dict = dataclasses.field(default_factory=dict)
    host: str | None = None
    seconds: float = 0.0
    finished: str | None = None
    search: dict | None = None
    refit: dict | None = None
    features: dict | None = None
    estimates: dict | None = None
    distribution: dict | None = None
    own_network: dict | None = None
    path: str | None = None
    fitted: Fitted | None = None

    @classmethod
    def from_json(cls, value, *, path, cure: str, key: str | None = None) -> "Record":
        """The record that a JSON file holds. This is the one check of its layout.

        Args:
          value: what the file holds, of SCHEMA or an earlier one. path: of the file.
          cure: what to do where it is no record.
          key: of the run that it should be of; None: whichever its specification tells.

        Raises:
          UserError: it is no record, a field is damaged (fault_of), or a newer tfbench added one.
        """
        missing = [name for name in REQUIRED if not isinstance(value, dict) or name not in value]
        if missing:
            raise UserError(f"{path} is no record of tfbench (missing: {', '.join(sorted(missing))}): {cure}")
        if value["schema"] == SCHEMA and (unknown := sorted(value.keys() - FIELD_NAMES)):
            raise UserError(f"{path} has a field {unknown[0]!r} that no record has, it is damaged or was written by a "
                            f"newer tfbench: update tfbench, or {cure}")
        fields = {name: value[name] for name in FIELDS if value.get(name) is not None or name in REQUIRED}
        if fault := fault_of(fields, key) or _fault_of_numbers(fields):
            raise UserError(f"{path}: {fault}: {cure}")
        return cls(**fields, path=str(path))

    def to_json(self) -> dict:
        """What its file holds; facts that its kind of run does not have are left out."""
        return {name: getattr(self, name) for name in FIELDS
                if name not in ONLY_OF_SOME or getattr(self, name) is not None}

    # A mapping of what the file holds, and "path": record["accuracy"] is record.accuracy.

    def __iter__(self) -> Iterator[str]:
        yield from self.to_json()
        if self.path:
            yield "path"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        if name not in _KEYS:
            raise KeyError(name)
        value = getattr(self, name)
        if value is None and name in ONLY_OF_SOME:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping; Mapping's own would raise and catch an error for each field that is not there."""
        value = getattr(self, name) if name in _KEYS else default
        return default if value is None and name in ONLY_OF_SOME else value


FIELDS = [field.name for field in dataclasses.fields(Record) if field.name not in ("path", "fitted")]
FIELD_NAMES = frozenset(FIELDS)
_KEYS = FIELD_NAMES | {"path"}
REQUIRED = [field.name for field in dataclasses.fields(Record)
            if field.default is field.default_factory is dataclasses.MISSING]
ONLY_OF_SOME = ("search", "refit", "features", "estimates", "distribution", "own_network", "path")


# ---- what the fields of a record may hold ----------------------------------------------------------


_RECORD = {
    "schema": COUNT, "key": TEXT, "regime": TEXT, "network": TEXT, "dataset": TEXT, "metric": TEXT,
    "accuracy": FRACTION, "n_test": COUNT, "validation_accuracy": FRACTION, "selected": GROUP, "trials": LIST,
    "source": GROUP, "test_split": GROUP, "verification": GROUP, "spec": GROUP, "deviations": LIST,
    "warnings": LIST, "versions": GROUP, "hardware": GROUP, "host": TEXT, "seconds": AMOUNT, "finished": TEXT,
    "search": GROUP, "refit": GROUP, "features": GROUP, "estimates": GROUP, "distribution": GROUP, "own_network": GROUP}
_SOURCE = {"dataset": TEXT, "accuracy": FRACTION, "n_test": COUNT}
_SPEC = {"steps": COUNT, "batch_size": COUNT, "image_size": COUNT, "learning_rate": LIST, "weight_decay": LIST,
         "l2": LIST, "examples_per_class": COUNT, "subset_seed": INDEX}
_FIT = {"validation_accuracy": FRACTION, "seconds": AMOUNT, "images_per_second": AMOUNT, "diverged": SWITCH,
        "certified": SWITCH, "host": TEXT}  # what is read of a finished run's trials and refit
_TRIAL = {"learning_rate": AMOUNT, "weight_decay": AMOUNT, "steps": COUNT, **_FIT}
ROUNDING = 1e-7  # of an accuracy on single labels: what float32 explains


def fault_of(record: Mapping[str, Any], key: str | None = None) -> str | None:
    """What is wrong with the fields of a record, in words; None where nothing is. This is the one check of them.

    Besides kinds and ranges: names and key must be those of the specification.

    Args:
      key: that it must have; None: the hash of its specification.
    """
    if fault := wrong(record, _RECORD, required=[name for name in REQUIRED if name != "schema"]):
        return fault
    if record["regime"] not in RUNS:
        return f"expected a regime among {', '.join(RUNS)}, found {short(record['regime'])}"
    source, spec = record.get("source") or {}, record.get("spec") or {}
    if fault := wrong(source, _SOURCE, "source ") or (
            wrong(spec, _SPEC, "spec.") if record["regime"] in REGIMES else None):
        return fault
    if absent := [name for name in _SOURCE if source.get("accuracy") is not None and source.get(name) is None]:
        return f"expected source {absent[0]} as {_SOURCE[absent[0]].words}, found null"
    for name in ("selected", "warnings", "deviations"):
        values = record.get(name) or ()
        for value in values.values() if isinstance(values, Mapping) else values:
            if not (isinstance(value, str) or name == "selected" and AMOUNT.accepts((value,))):
                return f"expected {name} of texts{' and numbers' if name == 'selected' else ''}, found {short(value)}"
    for name in ("regime", "network", "dataset"):
        if spec.get(name, record[name]) != record[name]:
            return f"expected {name} {short(spec[name])} of its specification, found {short(record[name])}"
    if key is None:  # what no run of tfbench wrote has no schema in its specification
        key = key_of(spec) if "schema" in spec else record["key"]
    if record["key"] != key:
        return f"expected the key {key} of its specification, found {short(record['key'])}"
    if fault := fault_of_fits(record.get("trials") or ()):
        return f"trial {fault}"
    return wrong(record.get("refit") or {}, _FIT, "refit.") or wrong(
        record.get("features") or {}, {"images_per_second": AMOUNT}, "features.") or wrong(
        record.get("estimates") or {}, dict.fromkeys(record.get("estimates") or {}, NUMBER), "estimates.")


def _fault_of_numbers(record: Mapping[str, Any]) -> str | None:
    """What is wrong with the numbers of a record that tfbench wrote, which rounds none; None where nothing is.

    On single labels, accuracy × n_test is a whole number. Means over classes and average precisions are not.
    """
    n, right = record["n_test"], record["accuracy"] * record["n_test"]
    if (split := record.get("test_split") or {}).get("n", n) != n:
        return f"expected n_test {short(split['n'])} of its test_split, found {n}"
    if record["metric"] == "top1" and abs(right - round(right)) > ROUNDING * n:
        return (f"expected accuracy × n_test as a whole number of test examples, found {record['accuracy']!r} × {n} = "
                f"{right:,.2f}")
    return None


def fault_of_fits(fits: Iterable[dict]) -> str | None:
    """The first of several trials that is wrong, its number from 1, and how; None where none is."""
    fits = list(fits)
    if not GROUP.accepts(fits):
        number = next(number for number, fit in enumerate(fits, start=1) if type(fit) is not dict)
        return f"{number}: expected a group of fields, found {short(fits[number - 1])}"
    for name, kind in _FIT.items():  # field by field, not trial by trial: a study has hundreds of thousands of trials
        values = [value for fit in fits if (value := fit.get(name)) is not None]
        if values and not kind.accepts(values):
            return next(f"{number}: {fault}" for number, fit in enumerate(fits, start=1)
                        if (fault := wrong(fit, {name: kind})))
    return None


def fault_of_trial(trial, number: int, spec: dict | None = None) -> str | None:
    """What is wrong with a recorded trial of a search, or score of a pretraining's --select_steps, in words.

    Args:
      number: of the trial, from 1.
      spec: of the run; the trial must be at its point of the grid, or its number of steps. None: of whichever run.

    Returns:
      None where nothing is.
    """
    if fault := wrong(trial, _TRIAL, required=("steps", "validation_accuracy", "diverged", "seconds")):
        return fault
    if trial.get("test_crop") not in ("whole", "central"):
        return f"expected test_crop as whole or central, found {short(trial.get('test_crop'))}"
    if spec is None:
        return None
    if scored := spec.get("select_steps"):
        if trial["steps"] not in scored[number - 1:number]:
            return f"expected one of the steps of --select_steps as number {number}, found {trial['steps']:,}"
        return None
    if fault := wrong(trial, _TRIAL, required=("learning_rate", "weight_decay")):
        return fault
    grid = list(itertools.product(spec["learning_rate"], spec["weight_decay"]))
    for name, value in zip(("learning_rate", "weight_decay"), grid[(number - 1) % len(grid)], strict=True):
        if not math.isclose(trial[name], value, rel_tol=1e-9):
            return f"expected {name} {value:g} in trial {number} of this search, found {trial[name]:g}"
    return None


def check_same_outcome(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raises UserError where two records of one run tell different outcomes."""
    for name in ("accuracy", "n_test", "validation_accuracy", "selected"):
        values = [record.get(name) for record in (one, other)]
        if values[0] != values[1]:
            paths = [record.get("path") or record_label(record) for record in (one, other)]
            raise UserError(f"two records of one run differ, {name} is {short(values[0])} in {paths[0]} and "
                            f"{short(values[1])} in {paths[1]}: move the one that does not count to a folder of its "
                            "own")


def make_record(spec: dict, network: Network | None, dataset: Dataset, manifest: dict, *, accuracy: float,
                test_split: dict, seconds: float, **more) -> Record:
    """The record of a run that has just ended, with the facts about this machine.

    Args:
      spec: all that determines the outcome. network: None on features of a file. dataset, manifest: of the prepared
        data set.
      test_split: {"n", "sha256"}. The others: as of Record.
    """
    custom = None
    if network and network.custom:  # the analysis, which builds no network, is to know these
        names = ("architecture", "parameters", "multiply_adds", "image_size", "feature_width")
        custom = {name: getattr(network, name) for name in names}
    if skipped := manifest.get("skipped"):
        left_out = f"{count(len(skipped), 'unreadable image')} of the data set left out"
        more["warnings"] = [*more.get("warnings", ()), left_out]
    return Record(
        schema=SCHEMA, key=key_of(spec), regime=spec["regime"], network=spec["network"], dataset=spec["dataset"],
        metric=dataset.metric, accuracy=accuracy, n_test=test_split["n"],
        test_split={"n": test_split["n"], "sha256": test_split["sha256"],
                    "expected": None if dataset.custom else dataset.test},
        verification=verify.results(manifest["verification"]), spec=spec,
        deviations=deviations(spec, network, more.get("source")),
        versions=versions(), hardware=hardware(), host=socket.gethostname(), seconds=round(seconds, 2),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), own_network=custom, **more)


def source_of(metadata: dict) -> dict:
    """The `source` of a record: where the pretrained weights come from and how good they were."""
    spec = metadata.get("spec") or {}  # of a pretraining here
    taken = {"image_size": metadata.get("image_size") or spec.get("image_size"), "crop": metadata.get("crop")}
    return {name: metadata[name] for name in ("dataset", "accuracy", "n_test")} | {
        "weights_sha256": metadata["sha256"]} | {name: value for name, value in taken.items() if value}


def test_predictions(scores: np.ndarray, test, class_names: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """What is kept of every test example: key, label and predicted class, or all scores if multi-label.

    With the names of the classes these are kept too, and the probabilities, float16 [n, classes]: the softmax of the
    scores. Multi-label scores are enough, the probabilities are their sigmoid.

    Args:
      scores: float [n, classes], logits.
      test: the Examples scored.
    """
    kept = {"keys": np.array(test.keys), "labels": test.labels}
    if names := list(map(str, class_names)):
        kept["class_names"] = np.array(names)
    if test.labels.ndim == 2:
        return kept | {"scores": scores.astype(np.float32)}
    if names:
        probabilities = np.empty(scores.shape, np.float16)
        for first in range(0, len(scores), 4096):  # a part at a time: the whole in float64 may be large
            part = scores[first:first + 4096].astype(np.float64)
            part = np.exp(part - part.max(axis=1, keepdims=True))
            probabilities[first:first + 4096] = part / part.sum(axis=1, keepdims=True)
        kept["probabilities"] = probabilities
    return kept | {"predictions": scores.argmax(axis=1).astype(np.int32)}


def summary(record) -> str:
    """One line on a record for the terminal."""
    chosen = ", ".join(f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, 'g')}"
                       for name, value in record["selected"].items())
    expected = record["test_split"].get("expected")
    number = f"{record['n_test']:,}"
    if expected not in (None, record["n_test"]):
        number += f" of {expected:,}"
    spec = record["spec"]
    search = RUNS[spec["regime"]].search
    variant = f" {spec['steps']:,} steps" if search and spec["steps"] != search.steps else ""
    if spec.get("examples_per_class"):
        variant += f" {spec['examples_per_class']} per class"
        if spec["subset_seed"] is not None:  # None: they are all examples
            variant += f", subset {spec['subset_seed']}"
    return (f"{record['regime']} {record['network']} {record['dataset']}{variant}: {100 * record['accuracy']:.1f} % "
            f"{record['metric'].replace('_', ' ')} on {number} test images" + (f" ({chosen})" if chosen else ""))


def fits(trials: Iterable[dict], refit: dict | None) -> list[dict]:
    """The trials of a run and its refit, those that are there."""
    return [fit for fit in (*trials, refit) if isinstance(fit, dict)]


def fitted_of(record) -> Fitted:
    """What a record's trials and refit come to."""
    if known := getattr(record, "fitted", None):
        return known
    trials = record.get("trials") or ()
    done = fits(trials, record.get("refit"))
    gaps = [(fit.get("gap"), fit.get("objective")) for fit in done]
    relative = [gap / abs(objective) for gap, objective in gaps if _is_number(gap) and _is_number(objective)
                and objective]
    iterations = float(sum(fit["iterations"] for fit in done if _is_number(fit.get("iterations"))))
    return Fitted(len(trials), len(done), images_per_second(done), sum(fit.get("certified") is True for fit in done),
                  iterations, max(relative, default=math.nan))


def _is_number(value) -> bool:
    return isinstance(value, int | float)


def speed_of(record) -> float | None:
    """Images per second of a record's trainings (median), or of computing its fixed features; None if unknown."""
    return fitted_of(record).images_per_second or (record.get("features") or {}).get("images_per_second")


def images_per_second(done: Iterable[dict]) -> float | None:
    """Median over fits; None where none was a training."""
    speeds = [fit["images_per_second"] for fit in done if fit.get("images_per_second")]
    return float(statistics.median(speeds)) if speeds else None


def edge_warnings(grids: dict[str, Iterable[float]], selected: dict[str, float]) -> list[str]:
    """A warning for each selected value that lies on the edge of a grid of three or more."""
    warnings = []
    for name, grid in grids.items():
        values, chosen = list(grid), selected[name]
        if len(values) > 2 and chosen in (min(values), max(values)) and chosen != 0:
            warnings.append(f"the selected {name} {chosen:g} lies on the edge of its grid")
    return warnings


def versions() -> dict[str, str]:
    """Versions of tfbench, Python and the packages that compute."""
    return {"tfbench": __version__, "python": platform.python_version()} | _package_versions()


@functools.cache  # each reads and parses a file: a third of what a record takes
def _package_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def hardware() -> dict[str, object]:
    """Processor, cores and system this process runs on."""
    return {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}
