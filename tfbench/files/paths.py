"""Paths of files: of this machine, or an address such as gs://bucket/study.

* A path of this machine is a pathlib.Path.
* An address is a Remote. It has the part of pathlib's interface that tfbench uses, and reads and writes through
  tf.io.gfile, so every scheme that TensorFlow knows will do. (etils.epath.Path knows gs, s3 and az only, not ram:// or
  file://, and does not tell a lost connection from a missing file.)

TensorFlow is imported when a Remote is first used, not before.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import importlib.util
import io
import os
import pathlib
import stat
import types

from tfbench.errors import UserError

BUCKETS = ("gs", "s3", "az")  # schemes of object stores: no folders need to be made, and files appear whole
EXTENSION = "tensorflow_io"  # adds s3:// and others to TensorFlow's file systems when it is imported


class RemoteError(UserError, OSError):
    """A remote file system refuses or cannot be reached. Also an OSError, so that it is handled like one of a disk."""

    def __str__(self):
        return (f"cannot use {self.filename} ({self.strerror}): check its name, your access to it and the network, "
                "then run the same command again")


def is_address(path) -> bool:
    """Whether a path has a scheme: SCHEME://…"""
    return "://" in str(path)


def as_path(path) -> "Path":
    """A string or path as an object with pathlib's interface: pathlib.Path, or Remote for an address."""
    if isinstance(path, pathlib.Path | Remote):
        return path
    if not is_address(path):
        return pathlib.Path(path)
    scheme, _, rest = str(path).partition("://")
    return Remote(scheme, pathlib.PurePosixPath(rest))


@dataclasses.dataclass(frozen=True, order=True)
class Remote:
    """A file or folder at SCHEME://PATH. Methods are pathlib.Path's, of which they take what is needed here.

    Raises, from all that reach for it:
      FileNotFoundError: where pathlib would. RemoteError: whatever else goes wrong.
      UserError: TensorFlow does not know the scheme.
    """

    scheme: str
    path: pathlib.PurePosixPath

    def __str__(self):
        return f"{self.scheme}://{self.path}"

    def __truediv__(self, name):
        return Remote(self.scheme, self.path / name)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def parent(self):
        return Remote(self.scheme, self.path.parent)

    def with_name(self, name: str):
        return Remote(self.scheme, self.path.with_name(name))

    def with_suffix(self, suffix: str):
        return Remote(self.scheme, self.path.with_suffix(suffix))

    def relative_to(self, other) -> pathlib.PurePosixPath:
        return self.path.relative_to(other.path)

    def expanduser(self):
        return self

    def resolve(self):
        return self

    def exists(self) -> bool:
        with _gfile(self) as gfile:
            return gfile.exists(str(self))

    def is_dir(self) -> bool:
        return self._facts(lambda facts: facts.is_directory)

    def is_file(self) -> bool:
        return self._facts(lambda facts: not facts.is_directory)

    def _facts(self, check) -> bool:
        try:
            with _gfile(self) as gfile:  # gfile.isdir takes whatever goes wrong for a no
                return check(gfile.stat(str(self)))
        except FileNotFoundError:
            return False

    def stat(self):
        """st_size in bytes and st_mtime_ns."""
        with _gfile(self) as gfile:
            facts = gfile.stat(str(self))
        return types.SimpleNamespace(st_size=facts.length, st_mtime_ns=facts.mtime_nsec)

    def glob(self, pattern: str) -> list:
        try:
            with _gfile(self) as gfile:
                return [as_path(path) for path in gfile.glob(f"{self}/{pattern}")]
        except FileNotFoundError:
            return []

    def mkdir(self, parents: bool, exist_ok: bool) -> None:
        """Makes the folder, always with its parents; it may be there. In a bucket nothing needs to be done, and
        TensorFlow would wait without end for a bucket that does not exist."""
        del parents, exist_ok
        if self.scheme not in BUCKETS:
            with _gfile(self) as gfile:
                gfile.makedirs(str(self))

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            with _gfile(self) as gfile:
                gfile.remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmtree(self) -> None:
        """Deletes the folder with all that is in it, if it is there."""
        with contextlib.suppress(FileNotFoundError), _gfile(self) as gfile:
            gfile.rmtree(str(self))

    def read_bytes(self) -> bytes:
        with _gfile(self) as gfile, gfile.GFile(str(self), "rb") as file:
            return file.read()

    def read_text(self, encoding: str) -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Writes a file that is either whole or not there; outside buckets a temporary file is written and moved."""
        if self.scheme in BUCKETS:
            with _gfile(self) as gfile, gfile.GFile(str(self), "wb") as file:
                file.write(content)
            return
        temporary = self.with_name(f".{self.name}.{os.urandom(8).hex()}")
        self.parent.mkdir(parents=True, exist_ok=True)
        with _gfile(self) as gfile:
            try:
                with gfile.GFile(str(temporary), "wb") as file:
                    file.write(content)
                gfile.rename(str(temporary), str(self), overwrite=True)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise


Path = pathlib.Path | Remote


def beside(path, ending: str) -> Path:
    """`path` with another ending, such as ".json"; ".JSON" where only that is there, as some systems copy names."""
    lower, upper = (as_path(path).with_suffix(one) for one in (ending, ending.upper()))
    return upper if not lower.exists() and upper.exists() else lower


def ending_in(folder, ending: str) -> list[Path]:
    """The files of a folder with this ending, in whatever case, sorted; hidden ones are left out.

    Some systems keep notes on each file in a hidden one.
    """
    return sorted((path for path in as_path(folder).glob("*")
                   if path.name.lower().endswith(ending) and not path.name.startswith(".")), key=str)


@contextlib.contextmanager
def _gfile(path: Remote):
    """Context manager that gives tf.io.gfile; TensorFlow's errors become those that Remote lists."""
    import tensorflow as tf

    schemes = tf.io.gfile.get_registered_schemes()
    if path.scheme not in schemes and importlib.util.find_spec(EXTENSION):
        importlib.import_module(EXTENSION)
        schemes = tf.io.gfile.get_registered_schemes()
    if path.scheme not in schemes:
        known = ", ".join(f"{scheme}://" for scheme in sorted(schemes) if scheme)
        raise UserError(f"{path} is nowhere that TensorFlow can reach here, which knows {known} and folders of this "
                        "machine: take one of these, or install what adds the scheme (tensorflow-io for s3://)")
    try:
        yield tf.io.gfile
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except tf.errors.OpError as error:
        reason = (error.message.splitlines() or [type(error).__name__])[0]
        raise RemoteError(errno.EIO, reason[-200:], str(path)) from error


def size_of_regular(path, cure: str) -> int:
    """Size in bytes of a file to read. What is no regular file, such as a pipe, could be read for ever.

    Args:
      cure: what to do where it is no file.

    Raises:
      UserError: it is missing, not regular, or cannot be looked at.
    """
    path = as_path(path)
    if isinstance(path, Remote):
        return path.stat().st_size
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}: {cure}") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise unreadable(path, error) from error
    if not stat.S_ISREG(facts.st_mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(facts.st_mode), "device")
        raise UserError(f"expected a regular file, {path} is a {kind}: {cure}")
    return facts.st_size


def unreadable(path, error: Exception) -> UserError:
    """The error for a file that is there and cannot be read."""
    return UserError(f"cannot read {path} ({getattr(error, 'strerror', None) or error}): make it readable")


def read_regular(path, cure: str, *, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises:
      UserError: as size_of_regular, or it is larger.
    """
    path = as_path(path)
    if (size := size_of_regular(path, cure)) > limit:
        raise UserError(f"{path} has {size / 1e6:,.0f} MB, expected {limit / 1e6:,.0f} MB at most: {cure}")
    try:
        return path.read_bytes()
    except RemoteError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error


def readable(path):
    """What libraries that read files take: a path of this machine, or the bytes of a remote file as a file in memory.

    Raises:
      As Remote.
    """
    path = as_path(path)
    return path if isinstance(path, pathlib.Path) else io.BytesIO(path.read_bytes())


def sha256(path: Remote) -> str:
    """SHA-256 of a remote file's bytes, in hex. The file is fetched once in a process."""
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=256)  # a study asks for the hash of each weights file once a run
def _sha256(path: Remote, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # parts of the cache's key
    return hashlib.sha256(path.read_bytes()).hexdigest()
