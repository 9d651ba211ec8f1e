"""Libraries that --track passes a run on to (results/tracking.py). To add one, add a class and a row to LIBRARIES.

They are imported when a run begins: none need be installed.
"""

import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tfbench.files.paths import Path, Remote

PROJECT = "tfbench"  # W&B's project and MLflow's experiment, where the environment names none
AT_ONCE = 100  # parameters in a request to MLflow


class Service(Protocol):
    """A run in a library.

    Args:
      name: to show. known: id of the run that is continued, None for a new one. settings: of the run.
      folder: for files.

    Attributes:
      id: of the run there.
    """

    id: str

    def __init__(self, name: str, known: str | None, settings: Mapping[str, Any], folder: Path): ...

    def log(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Logs numbers by name; those of group "" are of the whole run, without steps."""

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED."""


class MLflow:
    """A run in MLflow, made by its client: `mlflow.start_run` would add the user, the script's path and Git's state."""

    def __init__(self, name: str, known: str | None, settings: Mapping[str, Any], folder: Path):
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # of 7, in which training would stand for minutes
        import mlflow
        from mlflow.entities import Metric, Param

        self._client, self._metric = mlflow.MlflowClient(), Metric
        if known and self._is_there(known):
            self._client.update_run(known, status="RUNNING")
            self.id = known
        else:
            title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(title)
            experiment = found.experiment_id if found else self._client.create_experiment(title)
            self.id = self._client.create_run(experiment, run_name=name).info.run_id
            params = [Param(key, str(value)) for key, value in settings.items()]
            for first in range(0, len(params), AT_ONCE):
                self._client.log_batch(self.id, params=params[first:first + AT_ONCE])

    def _is_there(self, known: str) -> bool:
        """Whether the server has this run: it may be another than the one that it was begun on."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_run(known).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def log(self, group: str, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self.id, metrics=[
            self._metric(f"{group}/{key}" if group else key, value, now, step) for key, value in values.items()])

    def end(self, status: str) -> None:
        self._client.set_terminated(self.id, status)


class WandB:
    """A run in Weights & Biases, without what it collects by itself."""

    def __init__(self, name: str, known: str | None, settings: Mapping[str, Any], folder: Path):
        import wandb

        if not isinstance(folder, Remote):
            folder.mkdir(parents=True, exist_ok=True)
        self._groups: set[str] = set()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=name, id=known, resume="allow" if known else None,
            config=dict(settings), dir=None if isinstance(folder, Remote) else str(folder),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, host="",
                                    x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True,
                                    x_save_requirements=False))
        self.id = self._run.id

    def log(self, group: str, values: Mapping[str, float], step: int) -> None:
        if not group:
            self._run.summary.update(dict(values))
            return
        if group not in self._groups:  # each has steps of its own
            self._groups.add(group)
            self._run.define_metric(f"{group}/*", step_metric=f"{group}/step")
        self._run.log({f"{group}/{key}": value for key, value in {**values, "step": step}.items()})

    def end(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)


LIBRARIES: dict[str, type[Service]] = {"mlflow": MLflow, "wandb": WandB}
