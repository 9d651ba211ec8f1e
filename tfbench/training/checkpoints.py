"""Checkpoints of a trial: the two latest, each whole or not there, the newest that can be read counts.

    FOLDER/step-00001000.data-00000-of-00001, step-00001000.index

TensorFlow writes a checkpoint's index last and under another name first: one without its index was cut and is not
seen. Every tensor has a checksum, so damage is found when it is read.
"""

import re
import sys

import tensorflow as tf

from tfbench.errors import UserError

KEPT = 2


def save(state: tf.train.Checkpoint, folder, step: int) -> None:
    """Writes `state` as the checkpoint of `step`, then deletes all but the KEPT latest.

    Raises:
      UserError: it cannot be written; the earlier ones are as they were.
    """
    prefix = f"{folder}/step-{step:08d}"
    try:
        tf.io.gfile.makedirs(str(folder))
        state.write(prefix)
    except (tf.errors.OpError, OSError) as error:
        _delete(prefix)
        raise unwritable(f"the checkpoint of step {step} in {folder}", error) from error
    for older in steps(folder)[:-KEPT]:
        _delete(f"{folder}/step-{older:08d}")


def unwritable(what, error: Exception) -> UserError:
    """What to do where something of a trial cannot be written."""
    return UserError(f"cannot write {what} ({_reason(error)}): make the folder writable and free some space; the same "
                     "command then goes on from the last checkpoint")


def restore(state: tf.train.Checkpoint, folder) -> int | None:
    """Reads the newest checkpoint that is whole into `state`; says on stderr which ones are not.

    Returns:
      Its step, or None if there is none: then `state` may hold parts of a damaged one.
    """
    for step in reversed(steps(folder)):
        prefix = f"{folder}/step-{step:08d}"
        try:
            state.read(prefix).assert_consumed()
            return step
        except (tf.errors.OpError, OSError, AssertionError, ValueError, IndexError) as error:  # as the damage is
            print(f"warning: the checkpoint {prefix} is damaged and left aside ({_reason(error)}); the one before it "
                  "counts", file=sys.stderr)
    return None


def steps(folder) -> list[int]:
    """Steps of the checkpoints that are there, ascending."""
    if not tf.io.gfile.isdir(str(folder)):
        return []
    found = (re.fullmatch(r"step-(\d+)\.index", name) for name in tf.io.gfile.listdir(str(folder)))
    return sorted(int(match[1]) for match in found if match)


def clear(folder) -> None:
    """Deletes all checkpoints of a trial that is recorded."""
    if tf.io.gfile.isdir(str(folder)):
        tf.io.gfile.rmtree(str(folder))


def _delete(prefix: str) -> None:
    """Deletes a checkpoint, its index first; what cannot be deleted stays."""
    try:
        for path in sorted(tf.io.gfile.glob(f"{prefix}.*"), reverse=True):
            tf.io.gfile.remove(path)
    except (tf.errors.OpError, OSError):
        pass


def _reason(error: Exception) -> str:
    """What TensorFlow or the system says, without the names of operations."""
    said = (str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", said)[-200:]
