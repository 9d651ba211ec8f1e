"""Checkpoints of a trial. The two latest are kept; the newest that can be read counts.

    FOLDER/step-00001000.data-00000-of-00001, step-00001000.index

TensorFlow writes the index last, under another name first: a checkpoint without its index was interrupted and is
ignored. Every tensor has a checksum, so damage is found when it is read. tf.train.CheckpointManager is not used: it
does not fall back from a damaged checkpoint to the one before, and leaves what a failed write has written.
"""

import contextlib
import re

import tensorflow as tf

from tfbench.errors import Unwritable
from tfbench.wording import say

MAX_TO_KEEP = 2


def save(state: tf.train.Checkpoint, folder, step: int) -> None:
    """Writes `state` as the checkpoint of `step`, then deletes all but the MAX_TO_KEEP latest.

    Raises:
      Unwritable: it cannot be written; the earlier ones are as they were.
    """
    prefix = _prefix(folder, step)
    try:
        tf.io.gfile.makedirs(str(folder))
        state.write(prefix)
    except (tf.errors.OpError, OSError) as error:
        _delete(prefix)
        raise unwritable(f"the checkpoint of step {step} in {folder}", error) from error
    for old_step in saved_steps(folder)[:-MAX_TO_KEEP]:
        _delete(_prefix(folder, old_step))


def restore(state: tf.train.Checkpoint, folder) -> int | None:
    """Reads the newest undamaged checkpoint into `state`; warns on stderr of damaged ones.

    Returns:
      Its step, or None if there is none. Then `state` may hold parts of a damaged one.
    """
    for step in reversed(saved_steps(folder)):
        prefix = _prefix(folder, step)
        try:
            state.read(prefix).assert_consumed()
            return step
        except (tf.errors.OpError, OSError, AssertionError, ValueError, IndexError) as error:  # as the damage is
            say(f"warning: the checkpoint {prefix} is damaged and left aside ({_reason(error)}); the one before it "
                "counts", error=True)
    return None


def saved_steps(folder) -> list[int]:
    """Steps of the checkpoints in a folder, ascending."""
    if not tf.io.gfile.isdir(str(folder)):
        return []
    matches = (re.fullmatch(r"step-(\d+)\.index", name) for name in tf.io.gfile.listdir(str(folder)))
    return sorted(int(match[1]) for match in matches if match)


def delete_all(folder) -> None:
    """Deletes a folder of checkpoints that are of no more use, if it is there; what cannot be deleted stays."""
    with contextlib.suppress(tf.errors.OpError):
        if tf.io.gfile.isdir(str(folder)):
            tf.io.gfile.rmtree(str(folder))


def unwritable(what, error: Exception) -> Unwritable:
    """The error, with its remedy, where a file of a trial cannot be written."""
    return Unwritable(f"cannot write {what} ({_reason(error)}): make the folder writable and free some space; the same "
                     "command then goes on from the last checkpoint")


def _prefix(folder, step: int) -> str:
    return f"{folder}/step-{step:08d}"


def _delete(prefix: str) -> None:
    """Deletes a checkpoint, its index first; what cannot be deleted stays."""
    try:
        for path in sorted(tf.io.gfile.glob(f"{prefix}.*"), reverse=True):
            tf.io.gfile.remove(path)
    except (tf.errors.OpError, OSError):
        pass


def _reason(error: Exception) -> str:
    """The first line of an error's message, without the names of operations."""
    first_line = (str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", first_line)[-200:]
