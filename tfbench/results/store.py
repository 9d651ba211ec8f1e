"""Where records lie and how they are written: atomically, once, named by what determines them.

    RESULTS_DIR
      rows/NAME.json     the record
      rows/NAME.npz      its per-example test predictions
      rows/NAME.flags    flagfile that repeats the run
      work/NAME/         results of the trials so far, trialN.json, checkpoints, TensorBoard summaries
      weights/           what pretrain made
      ray.json           what the last study on Ray is doing or came to (sweep/executors/ray_cluster.py)

NAME is regime-network-dataset-KEY, KEY the hash of the run's specification (RunConfig.spec). So a repeated command
finds its record, and a changed one never meets another's. RESULTS_DIR is a folder, or an address such as
gs://bucket/study (files/paths.py).
"""

import dataclasses
import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfbench.config import name_of
from tfbench.errors import UserError
from tfbench.files import atomic, paths, sharing
from tfbench.files.paths import as_path
from tfbench.models.weights import ENDING
from tfbench.regimes import PRETRAIN
from tfbench.results.record import Record

CURE = atomic.make_writable("--results_dir")


def record_path(results_dir, spec: dict) -> paths.Path:
    """Where the record of the run that `spec` describes lies, or will."""
    return as_path(f"{results_dir}/rows/{name_of(spec)}.json")


def weights_path(results_dir, spec: dict) -> paths.Path:
    """Where the weights of the pretraining that `spec` describes lie, or will."""
    return as_path(results_dir) / "weights" / f"{name_of(spec)}{ENDING}"


def work_dir(results_dir, spec: dict) -> paths.Path:
    """Where the run that `spec` describes keeps its trials and checkpoints while it is not finished."""
    return as_path(results_dir) / "work" / name_of(spec)


# ---- trials of a search that is not finished -------------------------------------------------------


def trial_path(work, number: int) -> paths.Path:
    """Where the result of a search's trial lies in the run's work folder; `number` from 1."""
    return as_path(work) / f"trial{number}.json"


def read_trials(work) -> dict[int, dict]:
    """The trials that are recorded in a work folder, by their number and in its order.

    Raises:
      UserError: a record is damaged.
    """
    files = {int(path.stem.removeprefix("trial")): path for path in as_path(work).glob("trial[0-9]*.json")}
    return {number: atomic.read_json(files[number], cure="delete it, its trial is then run again")
            for number in sorted(files)}


def await_trials(work, numbers) -> dict[int, dict]:
    """read_trials, once those with these numbers are seen here: they come from other machines.

    Raises:
      UserError: some are not, after sharing.SEEN_WITHIN seconds.
    """
    sharing.wait_until_visible(lambda: all(trial_path(work, number).exists() for number in numbers),
                               f"the trials of {work}")
    return read_trials(work)


def delete_trials(work) -> None:
    """Deletes the results of a work folder's trials: the record has them."""
    for path in as_path(work).glob("trial[0-9]*.json"):
        path.unlink(missing_ok=True)


# ---- records of finished runs ----------------------------------------------------------------------


def read_record(path) -> Record:
    """One record.

    Raises:
      UserError: the file is cut, is no record, or was written by a newer tfbench.
    """
    cure = f"delete it and run its command again (its flags are in {os.path.splitext(str(path))[0]}.flags)"
    return Record.from_json(atomic.read_json(path, cure=cure), path=path, cure=cure)


def finished(results_dir, spec: dict) -> Record | None:
    """The record of the run that `spec` describes, or None while it is not finished.

    A pretraining without its weights is not finished.
    """
    path = record_path(results_dir, spec)
    if not path.exists() or (spec["regime"] == PRETRAIN.name and not weights_path(results_dir, spec).exists()):
        return None
    return read_record(path)


def read_records(*results_dirs) -> list[Record]:
    """All records below the folders, folder by folder in the order of their file names.

    Raises:
      UserError: a folder does not exist, or a record is damaged (see read_record).
    """
    for folder in results_dirs:
        if not as_path(folder).is_dir():
            raise UserError(f"there is no results folder {folder}: name an existing one with --results_dir=DIR")
    return [read_record(path) for folder in results_dirs for path in sorted(as_path(folder).glob("rows/*.json"))]


def read_predictions(record: Mapping[str, Any],
                     names=("labels", "predictions", "scores")) -> dict[str, np.ndarray] | None:
    """Those of the arrays `names` that lie beside a record of read_records; None where there is no file.

    Raises:
      UserError: the file is damaged.
    """
    path = as_path(record["path"]).with_suffix(".npz")
    try:
        with np.load(paths.readable(path)) as arrays:
            return {name: arrays[name] for name in names if name in arrays}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged, it does not hold whole predictions ({error}): delete it to go without its "
                        "tests, or delete its row too and run its command again") from error


def write_record(results_dir, record: Record, predictions: dict[str, np.ndarray], flagfile: str,
                 chief: bool = True) -> Record:
    """Writes predictions and flags, then the record: where a record is, everything beside it is whole.

    Args:
      record: its spec names the files.
      predictions: arrays with one entry per test example, in the order of the split's keys.
      flagfile: text that repeats the run as `--flagfile=NAME.flags`.
      chief: False on the hosts of a run that write nothing.

    Returns:
      The record with its path.
    """
    path = record_path(results_dir, record.spec)
    record = dataclasses.replace(record, path=str(path))
    if not chief:
        return record
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **predictions)  # type: ignore[arg-type]
    atomic.write_atomically(path.with_suffix(".npz"), buffer.getvalue(), cure=CURE)
    atomic.write_atomically(path.with_suffix(".flags"), flagfile.encode(), cure=CURE)
    atomic.write_json(path, record.to_json(), cure=CURE)
    return record
