"""Where rows lie and how they are written: atomically, once, named by what determines them.

    RESULTS_DIR
      rows/NAME.json     the row
      rows/NAME.npz      its per-example test predictions
      rows/NAME.flags    flagfile that repeats the run
      work/NAME/         results of the trials so far, trialN.json, checkpoints, TensorBoard summaries
      weights/           what pretrain made
      ray.json           what the last study on Ray is doing or came to (cli/ray_executor.py)

NAME is regime-network-dataset-KEY, KEY the hash of the run's *specification*: everything that
determines its outcome (weights' hash, split hash, hyperparameters, seed, schema version; see
results/row.py). So a repeated command finds its row, and a changed one never meets another's.
RESULTS_DIR is a folder, or an address such as gs://bucket/study (results/places.py).
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import socket
import tempfile
import time
import zipfile
import zlib

import numpy as np

from tfbench import UserError
from tfbench.results import places
from tfbench.results.places import place

SEEN_WITHIN = 90.0  # seconds after which every machine sees what one wrote; NFS caches folders for up to 60


def key_of(spec: dict) -> str:
    """First 16 hex digits of the SHA-256 of `spec` as JSON with sorted keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def name_of(spec: dict) -> str:
    """The run's file name without ending, e.g. "finetune-resnet_50-digits-0123456789abcdef"."""
    parts = (spec["regime"], spec["network"], spec["dataset"])
    return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts) + "-" + key_of(spec)


def file_sha256(path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    path = place(path)
    if isinstance(path, places.Remote):
        return places.sha256(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path, content: bytes) -> None:
    """Writes a file that is either whole or not there, whatever happens in between."""
    path = place(path)
    try:
        if isinstance(path, places.Remote):
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}): make the folder writable and free some space, "
            "or choose another with --results_dir=DIR") from error


def write_json(path, value) -> None:
    """Atomically writes `value` as JSON, indented, for people too."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def check_writable(results_dir) -> None:
    """Raises UserError unless rows can be written below `results_dir` (created when missing)."""
    probe = place(results_dir) / "rows" / ".tfbench-can-write"
    write_atomically(probe, b"")
    probe.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(results_dir, say):
    """Within it, no other process is within it for the same folder: waits for that. What dies makes way.

    Args:
      say: called with a line where there is something to wait for, or where that cannot be known.
    """
    path = place(results_dir) / ".study-lock"
    check_writable(results_dir)
    if isinstance(path, places.Remote):
        say(f"warning: {results_dir} cannot be locked: see to it that only one study writes there")
        yield
        return
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another study is at work in {results_dir}: waiting for its end")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            say(f"warning: {path} cannot be locked ({error.strerror}): see to it that only one study writes there")
        yield


def is_locked(results_dir) -> bool:
    """Whether a process is within `alone` for the folder; False too where its file system cannot tell."""
    path = place(results_dir) / ".study-lock"
    if isinstance(path, places.Remote):
        return False
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_json(path, *, cure: str):
    """Reads JSON; a damaged file raises UserError that says `cure`."""
    try:
        return json.loads(place(path).read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged, it does not hold whole JSON ({error}): {cure}") from error


def row_path(results_dir, spec: dict) -> places.Place:
    """Where the row of the run that `spec` describes lies, or will."""
    return place(f"{results_dir}/rows/{name_of(spec)}.json")


def work_folder(results_dir, spec: dict) -> places.Place:
    """Where the run that `spec` describes keeps its trials and checkpoints while it is not finished."""
    return place(results_dir) / "work" / name_of(spec)


def trial_path(work, number: int) -> places.Place:
    """Where the result of a search's trial lies in the run's work folder; `number` from 1."""
    return place(work) / f"trial{number}.json"


def read_trials(work) -> dict[int, dict]:
    """The trials that are recorded in a work folder, by their number and in its order.

    Raises:
      UserError: a record is damaged.
    """
    paths = {int(path.stem.removeprefix("trial")): path for path in place(work).glob("trial[0-9]*.json")}
    return {number: read_json(paths[number], cure="delete it, its trial is then run again")
            for number in sorted(paths)}


def await_trials(work, numbers) -> dict[int, dict]:
    """read_trials, once those with these numbers are seen here: they come from other machines.

    Raises:
      UserError: some are not, after SEEN_WITHIN seconds.
    """
    seen_here(lambda: all(trial_path(work, number).exists() for number in numbers), f"the trials of {work}")
    return read_trials(work)


def seen_here(there, what: str, flag: str = "--results_dir") -> None:
    """Waits until `there()`: a shared folder can show what other machines wrote a minute late.

    Raises:
      UserError: it is not there after SEEN_WITHIN seconds.
    """
    end = time.monotonic() + SEEN_WITHIN
    while not there():
        if time.monotonic() > end:
            raise UserError(f"{socket.gethostname()} does not see {what}, which another machine wrote "
                            f"{SEEN_WITHIN:.0f} s ago: expected {flag} to be one folder that all machines share")
        time.sleep(0.5)


def forget_trials(work) -> None:
    """Deletes the records of a work folder's trials: the row has them."""
    for path in place(work).glob("trial[0-9]*.json"):
        path.unlink(missing_ok=True)


def read_row(path) -> dict:
    """One row.

    Raises:
      UserError: the file is cut, is no row, or was written by a newer tfbench.
    """
    cure = f"delete it and run its command again (its flags are in {os.path.splitext(str(path))[0]}.flags)"
    row = read_json(path, cure=cure)
    missing = {"schema", "key", "regime", "network", "dataset", "metric", "accuracy", "n_test"} - set(
        row if isinstance(row, dict) else ())
    if missing:
        raise UserError(f"{path} is no row of tfbench (missing: {', '.join(sorted(missing))}): {cure}")
    return row


def finished(results_dir, spec: dict) -> dict | None:
    """The row of the run that `spec` describes, or None while it is not finished."""
    path = row_path(results_dir, spec)
    return read_row(path) if path.exists() else None


def read_rows(*results_dirs) -> list[dict]:
    """All rows below the folders, folder by folder in the order of their file names, each with its file as "path".

    Raises:
      UserError: a folder does not exist, or a row is damaged (see read_row).
    """
    for folder in results_dirs:
        if not place(folder).is_dir():
            raise UserError(f"there is no results folder {folder}: name an existing one with --results_dir=DIR")
    return [read_row(path) | {"path": str(path)} for folder in results_dirs
            for path in sorted(place(folder).glob("rows/*.json"))]


def read_predictions(row: dict, names=("labels", "predictions", "scores")) -> dict[str, np.ndarray] | None:
    """Those of the arrays `names` that lie beside a row of read_rows (results/row.py); None where there is no file.

    Raises:
      UserError: the file is damaged.
    """
    path = place(row["path"]).with_suffix(".npz")
    try:
        with np.load(places.readable(path)) as arrays:
            return {name: arrays[name] for name in names if name in arrays}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged, it does not hold whole predictions ({error}): delete it to go without its "
                        "tests, or delete its row too and run its command again") from error


def write_row(results_dir, row: dict, predictions: dict[str, np.ndarray], flagfile: str) -> places.Place:
    """Writes predictions and flags, then the row: where a row is, everything beside it is whole.

    Args:
      row: see results/row.py; `row["spec"]` names the files.
      predictions: arrays with one entry per test example, in the order of the split's keys.
      flagfile: text that repeats the run as `--flagfile=NAME.flags`.
    """
    path = row_path(results_dir, row["spec"])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **predictions)
    write_atomically(path.with_suffix(".npz"), buffer.getvalue())
    write_atomically(path.with_suffix(".flags"), flagfile.encode())
    write_json(path, row)
    return path
