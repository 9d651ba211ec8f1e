"""Folders that several processes or machines share: one writer at a time, and waiting for what others wrote."""

import contextlib
import datetime
import fcntl
import functools
import io
import json
import os
import socket
import time
from collections.abc import Iterator

from tfbench.errors import UserError
from tfbench.files import atomic, paths
from tfbench.files.paths import as_path

SEEN_WITHIN = 90.0  # seconds after which every machine sees what one wrote; NFS caches folders for up to 60 s


@contextlib.contextmanager
def exclusive_lock(results_dir, say, part: str = ""):
    """Context manager that one process at a time can enter for a folder; others wait. It ends with its process.

    Args:
      say: called with a line of text before waiting, or where the folder cannot be locked.
      part: of a study that several processes share, each of which has a lock of its own; "" for the whole.
    """
    path = as_path(results_dir) / f".study-lock{part}"
    if isinstance(path, paths.Remote):
        say(f"warning: {results_dir} cannot be locked: see to it that only one study writes there")
        yield
        return
    atomic.check_writable(path.parent, cure=atomic.make_writable("--results_dir"))
    path.parent.mkdir(parents=True, exist_ok=True)
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
    """Whether a process holds `exclusive_lock` for the folder or a part; False where its file system cannot tell."""
    folder = as_path(results_dir)
    return not isinstance(folder, paths.Remote) and any(map(_is_held, folder.glob(".study-lock*")))


def _is_held(path) -> bool:
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def owned(lock, what: str, say) -> Iterator[bool]:
    """Context manager that one process at a time, on whatever machine, can enter; others wait.

    It ends with its process, so that what a dead one had is taken over.

    Args:
      lock: the file by which they know of each other; it says who works since when, and goes at the end. In a bucket
        there is none.
      what: is worked on, in words. say: called with a line of text before waiting, or where nothing can be locked.

    Yields:
      Whether another one had it before.

    Raises:
      UserError: the folder cannot be written.
    """
    lock, waited = as_path(lock), False
    if isinstance(lock, paths.Remote):
        yield False
        return
    while True:
        with atomic.patiently(functools.partial(_open, lock)) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = True
                say(f"{what}: {_in_words(owner_of(lock))}: waiting for its end")
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                say(f"warning: {lock} cannot be locked ({error.strerror}): see to it that only one process works on it")
                yield waited
                return
            if not _is_still(file, lock):  # its owner has just ended and taken it away
                continue
            owner = {"host": socket.gethostname(), "process": os.getpid(),
                     "since": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds")}
            with contextlib.suppress(OSError):  # a full disk: it is locked all the same
                file.truncate(0)
                file.write(json.dumps(owner).encode())
            try:
                yield waited
            finally:
                atomic.delete(lock)  # where it stays, nobody holds it
            return


def _open(lock) -> io.FileIO:
    """Opens a file for adding to it, without a buffer; makes its folder. Raises Unwritable or UserError."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return open(lock, "ab", buffering=0)
    except OSError as error:
        raise atomic.cannot_write(lock, error, atomic.make_writable("--results_dir")) from error


def owner_of(lock) -> dict | None:
    """{"host", "process", "since"} of who holds `owned`, {} where that is not known; None where nobody does."""
    if isinstance(lock, paths.Remote) or not lock.exists() or not _is_held(lock):
        return None
    try:
        owner = json.loads(lock.read_text("utf-8"))
        return owner if set(owner) == {"host", "process", "since"} else {}
    except (OSError, ValueError, TypeError):
        return {}


def _in_words(owner: dict | None) -> str:
    if not owner:
        return "another process works on it"
    return f"process {owner['process']} on {owner['host']} works on it since {owner['since']}"


def _is_still(file, path) -> bool:
    """Whether an open file is what lies at its path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def wait_until_visible(is_visible, what: str, flag: str = "--results_dir") -> None:
    """Waits until `is_visible()`: a shared folder can show what other machines wrote a minute late.

    Args:
      what: is waited for, in words.
      flag: that names the shared folder.

    Raises:
      UserError: it is not there after SEEN_WITHIN seconds.
    """
    end = time.monotonic() + SEEN_WITHIN
    while not is_visible():
        if time.monotonic() > end:
            raise UserError(f"{socket.gethostname()} does not see {what}, which another machine wrote "
                            f"{SEEN_WITHIN:.0f} s ago: expected {flag} to be one folder that all machines share")
        time.sleep(0.5)
