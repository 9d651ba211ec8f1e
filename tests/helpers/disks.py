"""File systems that are full or cannot be written."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def disk(folder, *options):
    """A file system of its own over a folder, which is empty then."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting needs rights that are not given here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder, option: str) -> None:
    """Makes a disk larger, as who deletes files does ("size=300m"), or writable ("rw")."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)
