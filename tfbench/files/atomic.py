"""Files that are either whole or not there, JSON, and what their bytes hash to."""

import collections
import contextlib
import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

from tfbench.errors import Unwritable, UserError
from tfbench.files import paths
from tfbench.files.fields import COUNT, short, wrong
from tfbench.files.paths import as_path
from tfbench.wording import duration, say

T = TypeVar("T")

MAX_JSON_BYTES = 1 << 28  # of a file that tfbench wrote; most have some kB, a manifest with its names some MB
PATIENCE_SECONDS = 600.0  # for which what is computed waits for a folder that cannot be written
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between attempts meanwhile; each pause is twice the one before
MAY_PASS = {  # why a folder cannot be written that could be: full or no quota, write-protected, its server away
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT,
    errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH}


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


def make_writable(flag: str = "") -> str:
    """The cure for a folder that cannot be written; `flag` is the program's flag that takes another one."""
    cure = "make the folder writable and free some space"
    return f"{cure}, or choose another with {flag}=DIR" if flag else cure


def cannot_write(path, error: OSError, cure: str) -> UserError:
    """The error for a file or folder that cannot be written."""
    kind = Unwritable if error.errno in MAY_PASS else UserError
    return kind(f"cannot write {path} ({error.strerror or error}): {cure}")


def patiently(write: Callable[[], T]) -> T:
    """What write() returns. It writes what was computed: where it raises Unwritable it is called again.

    A line on stderr says what to do.

    Raises:
      Unwritable: it raises that for PATIENCE_SECONDS. Any other error at once.
    """
    start, pause = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            written = write()
        except Unwritable as error:
            if time.monotonic() + pause > start + PATIENCE_SECONDS:
                raise
            if pause == FIRST_PAUSE:
                say(f"warning: {error}; this waits for it, {PATIENCE_SECONDS / 60:.0f} min at most", error=True)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if pause > FIRST_PAUSE:
            say(f"written after {duration(time.monotonic() - start)}", error=True)
        return written


def delete(path) -> None:
    """Deletes a file that is of no more use, if it is there; one that cannot be deleted stays."""
    with contextlib.suppress(OSError):
        as_path(path).unlink(missing_ok=True)


def check_writable(folder, *, cure: str) -> None:
    """Checks that files can be written in a folder, which need not exist yet; leaves nothing behind.

    Raises:
      UserError: they cannot; its text ends with `cure`.
    """
    folder = as_path(folder)
    if isinstance(folder, paths.Remote):
        write_atomically(folder / ".tfbench-can-write", b"", cure=cure)
        (folder / ".tfbench-can-write").unlink(missing_ok=True)
        return
    try:
        with tempfile.TemporaryFile(dir=next(path for path in (folder, *folder.absolute().parents) if path.exists())):
            pass
    except OSError as error:
        raise cannot_write(folder, error, cure) from error


def write_atomically(path, content: bytes, *, cure: str = make_writable()) -> None:
    """Writes a file that is either whole or not there, whatever happens in between.

    Raises:
      UserError: it cannot be written; its text ends with `cure`.
    """
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
        raise cannot_write(path, error, cure) from error


def write_json(path, value, *, cure: str = make_writable()) -> None:
    """Atomically writes `value` as JSON, indented, for people too; `cure` as of write_atomically."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode(), cure=cure)


def read_json(path, *, cure: str, schema: int | None = None):
    """Reads JSON, in whatever Unicode encoding an editor saved it.

    Args:
      cure: what to do where it is missing or damaged.
      schema: the latest version of the file's layout that is known; files of before they said theirs have none.

    Raises:
      UserError: it is no whole JSON, holds NaN or a key twice, is of a later layout, is no regular file, or cannot be
        read.
    """
    content = paths.read_regular(path, cure, limit=MAX_JSON_BYTES)
    try:
        value = parse_json(content.decode(json.detect_encoding(content)))
    except KeyTwice as error:
        raise UserError(f"{path} is damaged, expected each key of a group once, found {error} twice: {cure}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged, it does not hold whole JSON ({error}): {cure}") from error
    if schema is not None and isinstance(value, dict) and "schema" in value:
        check_schema(path, value["schema"], schema, cure=cure)
    return value


def check_schema(path, found, known: int, *, cure: str) -> None:
    """Raises UserError unless the version of a file's layout is a whole number from 1 to `known`."""
    if fault := wrong({"schema": found}, {"schema": COUNT}, required=("schema",)):
        raise UserError(f"{path}: {fault}: {cure}")
    if found > known:
        raise UserError(f"{path} was written by a newer tfbench (schema {found}, this one knows up to {known}): update "
                        "tfbench")


class KeyTwice(ValueError):
    """A key stands twice in one group of a JSON text; str() is the key, quoted."""


def parse_json(text: str):
    """The value of a JSON text.

    Raises:
      ValueError: it is no whole JSON, or holds NaN or half a character, which no other file could hold. KeyTwice: a key
        stands twice, so that one value would be lost.
    """
    value = _DECODER.decode(text)
    if "\\" in text and "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    return value


def _refuse(constant: str):
    raise ValueError(f"it holds {constant}")


def _group(pairs: list[tuple]) -> dict:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise KeyTwice(short(collections.Counter(name for name, _ in pairs).most_common(1)[0][0]))
    return fields


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_group)
