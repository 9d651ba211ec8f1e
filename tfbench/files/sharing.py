"""Folders that several processes or machines share: one writer at a time, and waiting for what others wrote."""

import contextlib
import fcntl
import socket
import time

from tfbench.errors import UserError
from tfbench.files import atomic, paths
from tfbench.files.paths import as_path

SEEN_WITHIN = 90.0  # seconds after which every machine sees what one wrote; NFS caches folders for up to 60 s


@contextlib.contextmanager
def exclusive_lock(results_dir, say):
    """Context manager that one process at a time can enter for a folder; others wait. It ends with its process.

    Args:
      say: called with a line of text before waiting, or where the folder cannot be locked.
    """
    path = as_path(results_dir) / ".study-lock"
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
    """Whether a process holds `exclusive_lock` for the folder; False too where its file system cannot tell."""
    path = as_path(results_dir) / ".study-lock"
    if isinstance(path, paths.Remote):
        return False
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
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
