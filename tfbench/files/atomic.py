"""Files that are either whole or not there, JSON, and what their bytes hash to."""

import hashlib
import json
import os
import tempfile

from tfbench.errors import UserError
from tfbench.files import paths
from tfbench.files.paths import as_path

CURE = "make the folder writable and free some space"


def file_sha256(path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    path = as_path(path)
    if isinstance(path, paths.Remote):
        return paths.sha256(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path, content: bytes, *, cure: str = CURE) -> None:
    """Writes a file that is either whole or not there, whatever happens in between."""
    path = as_path(path)
    try:
        if isinstance(path, paths.Remote):
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
        raise UserError(f"cannot write {path} ({error.strerror}): {cure}") from error


def write_json(path, value, *, cure: str = CURE) -> None:
    """Atomically writes `value` as JSON, indented, for people too."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode(), cure=cure)


def read_json(path, *, cure: str):
    """Reads JSON; a damaged file raises UserError that says `cure`."""
    try:
        return json.loads(as_path(path).read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged, it does not hold whole JSON ({error}): {cure}") from error


def check_writable(folder, *, cure: str = CURE) -> None:
    """Raises UserError unless files can be written in a folder, which is made if need be."""
    probe = as_path(folder) / ".tfbench-can-write"
    write_atomically(probe, b"", cure=cure)
    probe.unlink(missing_ok=True)
