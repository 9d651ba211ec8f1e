"""Where rows lie and how they are written: atomically, once, named by what determines them.

    RESULTS_DIR
      rows/NAME.json     the row
      rows/NAME.npz      its per-example test predictions
      rows/NAME.flags    flagfile that repeats the run
      work/NAME/         results of the trials so far, trialN.json, checkpoints, TensorBoard summaries
      weights/           what pretrain made
      ray.json           what the last study on Ray is doing or came to (sweep/executors/ray_cluster.py)

NAME is regime-network-dataset-KEY, KEY the hash of the run's *specification*: everything that
determines its outcome (weights' hash, split hash, hyperparameters, seed, schema version; see
results/record.py). So a repeated command finds its row, and a changed one never meets another's.
RESULTS_DIR is a folder, or an address such as gs://bucket/study (files/paths.py).
"""

import hashlib
import io
import json
import os
import re
import zipfile
import zlib

import numpy as np

from tfbench.errors import UserError
from tfbench.files import atomic, paths, sharing
from tfbench.files.paths import as_path


def key_of(spec: dict) -> str:
    """First 16 hex digits of the SHA-256 of `spec` as JSON with sorted keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def name_of(spec: dict) -> str:
    """The run's file name without ending, e.g. "finetune-resnet_50-digits-0123456789abcdef"."""
    parts = (spec["regime"], spec["network"], spec["dataset"])
    return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts) + "-" + key_of(spec)


def check_writable(results_dir) -> None:
    """Raises UserError unless rows can be written below `results_dir` (created when missing)."""
    probe = as_path(results_dir) / "rows" / ".tfbench-can-write"
    atomic.write_atomically(probe, b"")
    probe.unlink(missing_ok=True)


def record_path(results_dir, spec: dict) -> paths.Path:
    """Where the row of the run that `spec` describes lies, or will."""
    return as_path(f"{results_dir}/rows/{name_of(spec)}.json")


def work_dir(results_dir, spec: dict) -> paths.Path:
    """Where the run that `spec` describes keeps its trials and checkpoints while it is not finished."""
    return as_path(results_dir) / "work" / name_of(spec)


def trial_path(work, number: int) -> paths.Path:
    """Where the result of a search's trial lies in the run's work folder; `number` from 1."""
    return as_path(work) / f"trial{number}.json"


def read_trials(work) -> dict[int, dict]:
    """The trials that are recorded in a work folder, by their number and in its order.

    Raises:
      UserError: a record is damaged.
    """
    paths = {int(path.stem.removeprefix("trial")): path for path in as_path(work).glob("trial[0-9]*.json")}
    return {number: atomic.read_json(paths[number], cure="delete it, its trial is then run again")
            for number in sorted(paths)}


def await_trials(work, numbers) -> dict[int, dict]:
    """read_trials, once those with these numbers are seen here: they come from other machines.

    Raises:
      UserError: some are not, after SEEN_WITHIN seconds.
    """
    sharing.wait_until_visible(lambda: all(trial_path(work, number).exists() for number in numbers), f"the trials of {work}")
    return read_trials(work)


def forget_trials(work) -> None:
    """Deletes the records of a work folder's trials: the row has them."""
    for path in as_path(work).glob("trial[0-9]*.json"):
        path.unlink(missing_ok=True)


def read_record(path) -> dict:
    """One row.

    Raises:
      UserError: the file is cut, is no row, or was written by a newer tfbench.
    """
    cure = f"delete it and run its command again (its flags are in {os.path.splitext(str(path))[0]}.flags)"
    row = atomic.read_json(path, cure=cure)
    missing = {"schema", "key", "regime", "network", "dataset", "metric", "accuracy", "n_test"} - set(
        row if isinstance(row, dict) else ())
    if missing:
        raise UserError(f"{path} is no row of tfbench (missing: {', '.join(sorted(missing))}): {cure}")
    return row


def finished(results_dir, spec: dict) -> dict | None:
    """The row of the run that `spec` describes, or None while it is not finished."""
    path = record_path(results_dir, spec)
    return read_record(path) if path.exists() else None


def read_records(*results_dirs) -> list[dict]:
    """All rows below the folders, folder by folder in the order of their file names, each with its file as "path".

    Raises:
      UserError: a folder does not exist, or a row is damaged (see read_record).
    """
    for folder in results_dirs:
        if not as_path(folder).is_dir():
            raise UserError(f"there is no results folder {folder}: name an existing one with --results_dir=DIR")
    return [read_record(path) | {"path": str(path)} for folder in results_dirs
            for path in sorted(as_path(folder).glob("rows/*.json"))]


def read_predictions(row: dict, names=("labels", "predictions", "scores")) -> dict[str, np.ndarray] | None:
    """Those of the arrays `names` that lie beside a row of read_records (results/record.py); None where there is no file.

    Raises:
      UserError: the file is damaged.
    """
    path = as_path(row["path"]).with_suffix(".npz")
    try:
        with np.load(paths.readable(path)) as arrays:
            return {name: arrays[name] for name in names if name in arrays}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged, it does not hold whole predictions ({error}): delete it to go without its "
                        "tests, or delete its row too and run its command again") from error


def write_record(results_dir, row: dict, predictions: dict[str, np.ndarray], flagfile: str) -> paths.Path:
    """Writes predictions and flags, then the row: where a row is, everything beside it is whole.

    Args:
      row: see results/record.py; `row["spec"]` names the files.
      predictions: arrays with one entry per test example, in the order of the split's keys.
      flagfile: text that repeats the run as `--flagfile=NAME.flags`.
    """
    path = record_path(results_dir, row["spec"])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **predictions)
    atomic.write_atomically(path.with_suffix(".npz"), buffer.getvalue())
    atomic.write_atomically(path.with_suffix(".flags"), flagfile.encode())
    atomic.write_json(path, row)
    return path
