"""--track: what a run does and comes to, also in MLflow or Weights & Biases, through their own Python APIs.

The libraries are optional, and their environment variables say where to: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME,
WANDB_PROJECT, WANDB_MODE and so on. What is sent is the specification and the numbers of steps, trials and record: no
folder, command line or output. The record holds all of it: where a server is lost, the training goes on without.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfbench.config import key_of
from tfbench.errors import Preempted, UserError
from tfbench.files import atomic
from tfbench.files.paths import Path
from tfbench.results.record import Record
from tfbench.results.trackers import LIBRARIES, Service

IDS = "tracking{part}.json"  # in the work folder: library → id of the run there, which goes on after an interruption
NUMBERS = ("accuracy", "validation_accuracy", "n_test", "seconds")  # of a record


class Tracker:
    """What a run tells of itself, passed on to a library, if to any.

    Args:
      service: of trackers.LIBRARIES; None: nothing is passed on. say: prints a line.
    """

    def __init__(self, service: Service | None = None, say=print):
        self._service, self._say, self._trials = service, say, set[int]()

    def training(self, name: str, step: int, loss: float, images_per_second: float) -> None:
        """Tells how far a training is; `name`: "trial1", "refit", …"""
        self._log(name, {"loss": loss, "images_per_second": images_per_second}, step)

    def trial(self, number: int, result: Mapping[str, Any]) -> None:
        """Tells what a trial came to; number from 1."""
        self._trials.add(number)
        self._log("trials", result, number)

    def finish(self, record: Record | None) -> None:
        """Tells what the run came to, with the trials that were not told; None: it is a part of a run."""
        if record is None:
            return
        for number in sorted({*range(1, len(record.trials) + 1)} - self._trials):
            self.trial(number, record.trials[number - 1])
        self._log("", {name: record.get(name) for name in NUMBERS} | record.selected, 0)

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED, in MLflow's words."""
        self._pass_on(lambda service: service.end(status))

    def _log(self, group: str, values: Mapping[str, Any], step: int) -> None:
        self._pass_on(lambda service: service.log(group, numbers_of(values), step))

    def _pass_on(self, call) -> None:
        if self._service is None:
            return
        try:
            call(self._service)
        except Exception as error:  # whatever a server or a library does, the training goes on
            self._service = None
            self._say(f"--track: tracked no more ({_first_line(error)}): the run goes on, its record will have all")


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among values."""
    return {name: float(value) for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)}


def settings_of(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A specification without levels, {"data.content": …}; of paths the last part, lists as text."""
    flat: dict[str, Any] = {}
    for name, value in spec.items():
        if isinstance(value, Mapping):
            flat |= settings_of(value, f"{prefix}{name}.")
        elif value is not None:
            flat[prefix + name] = ", ".join(map(str, value)) if isinstance(value, list) else _without_folder(value)
    return flat


def _without_folder(value):
    """A path's last part, also behind "folder:"; anything else as it is."""
    if not isinstance(value, str) or value.startswith("tfds:"):
        return value
    kind, colon, path = value.rpartition(":")
    return kind + colon + path.rstrip("/").rpartition("/")[2]


@contextlib.contextmanager
def tracked(library: str | None, spec: Mapping[str, Any], folder: Path, say, *, part: str = "",
            must: bool = False) -> Iterator[Tracker]:
    """A Tracker while a run goes on; it tells the library how the run ended.

    Args:
      library: of trackers.LIBRARIES; None: nothing is tracked.
      spec: of the run. folder: its work folder. say: prints a line. part: of the run, done here; "" for all of it.
      must: whether to raise where the library cannot begin, instead of saying so.

    Raises UserError where it must and cannot.
    """
    service = None
    if library and _writes_files():
        try:
            service = _begin(library, dict(spec), folder, part)
            say(f"tracked by {library}, its run {service.id}")
        except Exception as error:  # of a library that is not there, a server, an account
            text = f"--track={library}: cannot begin ({_first_line(error)})"
            if must:
                raise UserError(f"{text}: see to the server and the library's environment variables (manual, \"Follow "
                                "runs\"), or leave --track out") from error
            say(f"{text}: the run goes on without")
    tracker = Tracker(service, say)
    try:
        yield tracker
    except BaseException as error:
        tracker.end("KILLED" if isinstance(error, KeyboardInterrupt | Preempted) else "FAILED")
        raise
    tracker.end("FINISHED")


def _begin(library: str, spec: dict, folder: Path, part: str) -> Service:
    path, settings = folder / IDS.format(part=part), settings_of(spec)
    ids = atomic.read_json(path, cure="move it away") if path.exists() else {}
    name = "-".join([*(str(settings[name]) for name in ("regime", "network", "dataset")), key_of(spec)]) + part
    service = LIBRARIES[library](name, ids.get(library), settings, folder)
    atomic.write_json(path, ids | {library: service.id})
    return service


def _writes_files() -> bool:
    """Whether this is the first, or the only, of several hosts that train together."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        task, has_chief = config.get("task", {}), "chief" in config.get("cluster", {})
        return task.get("type") == "chief" or not has_chief and not int(task.get("index", 0))
    except (ValueError, AttributeError):
        return True  # training/devices.py refuses it


def _first_line(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0] or type(error).__name__
    return re.sub(r"//[^/@\s]+@", "//", text)  # a name and password in an address
