"""NumPy's .npz files, read with care: what a file says of itself is checked before memory is filled.

Each array must have a kind and dimensions that are expected, no Python objects, exactly the bytes that its header
tells, and the checksum that the archive tells.
"""

import math
import mmap
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfbench.errors import UserError
from tfbench.files import paths

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LOCAL_HEADER = 30  # bytes before a member of an archive; the last four tell how long a name and an extra field follow


class Expected(NamedTuple):
    """What an array must be.

    Attributes:
      kinds: letters of NumPy's dtype.kind, e.g. "iu" for whole numbers.
      dimensions: how many it may have.
      required: whether it must be there.
    """

    kinds: str
    dimensions: tuple[int, ...] = (1,)
    required: bool = True


class _Layout(NamedTuple):
    """What the header of an array in an archive says: bytes of the header, shape, order, dtype."""

    header: int
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read(path, expected: Mapping[str, Expected], *, cure: str, map_from: float = math.inf) -> dict[str, np.ndarray]:
    """Reads the arrays `expected` of an .npz file; others are left alone.

    Args:
      expected: name → what it must be.
      cure: what to do where the file is missing or damaged.
      map_from: bytes of an array from which on it is not copied into memory. Its pages are then the file's own, shared
        with all processes that read it, and the system takes them back when memory is short. It cannot be written to.
        The file must only be replaced, not changed where it lies. What is compressed or in a bucket is copied.

    Returns:
      The arrays that are there, in the order of `expected`.

    Raises:
      UserError: the file is missing or damaged, an array is not as expected, or memory does not suffice.
    """
    paths.size_of_regular(path, cure)
    try:
        source = paths.readable(path)
        with (source.open("rb") if isinstance(source, pathlib.Path) else source) as file, \
                zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("an array stands twice")
            members = {name: f"{name}.npy" for name in expected if f"{name}.npy" in names}
            if absent := [name for name, what in expected.items() if what.required and name not in members]:
                raise ValueError(f"it lacks {', '.join(absent)}")
            layouts = {name: _checked_layout(archive, member, expected[name]) for name, member in members.items()}
            mapped = _mapped(file, archive, {members[name]: layout for name, layout in layouts.items()
                                             if layout.size >= map_from})
            check_memory(sum(layouts[name].size for name, member in members.items() if member not in mapped),
                         f"the arrays of {path}")
            return {name: mapped[member] if member in mapped else _copied(archive, member)
                    for name, member in members.items()}
    except UserError:
        raise
    except PermissionError as error:
        raise paths.unreadable(path, error) from error
    except Exception as error:  # whatever zipfile, zlib and NumPy's parser raise on damaged bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged ({reason[:200]}): {cure}") from error


def _checked_layout(archive: zipfile.ZipFile, member: str, expected: Expected) -> _Layout:
    """How the array in a member of the archive lies there, from its header.

    Raises:
      ValueError: it is not as expected, or the member has not its bytes.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{member} is of version {version} of NumPy's format")
        shape, fortran_order, dtype = _HEADERS[version](file)
        layout = _Layout(file.tell(), shape, fortran_order, dtype)
    kinds = {"i": "int", "u": "uint", "f": "float", "b": "bool", "U": "str", "S": "bytes"}
    if dtype.kind not in expected.kinds or len(shape) not in expected.dimensions:
        words = " or ".join(kinds[kind] for kind in expected.kinds)
        dimensions = " or ".join(map(str, expected.dimensions))
        raise ValueError(f"expected {member.removesuffix('.npy')} as {words} of {dimensions} dimensions, found {dtype} "
                         f"{list(shape)}")
    if layout.header + layout.size != archive.getinfo(member).file_size:
        raise ValueError(f"{member} has {archive.getinfo(member).file_size - layout.header:,} bytes, its header says "
                         f"{layout.size:,}")
    return layout


def _copied(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as stored:
        return np.lib.format.read_array(stored, allow_pickle=False)


def _mapped(file, archive: zipfile.ZipFile, layouts: Mapping[str, _Layout]) -> dict[str, np.ndarray]:
    """The arrays in members of an archive, whose headers are checked, as parts of its file; those that can be had so.

    Raises:
      ValueError: a member has another checksum than the archive tells.
    """
    stored = [archive.getinfo(member) for member in layouts]
    stored = [member for member in stored if member.compress_type == zipfile.ZIP_STORED]
    try:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if stored else b""
    except OSError:  # it is in memory, or on a file system without
        return {}
    arrays = {}
    for member in stored:
        layout = layouts[member.filename]
        names = struct.unpack_from("<HH", content, member.header_offset + _LOCAL_HEADER - 4)
        first = member.header_offset + _LOCAL_HEADER + sum(names)
        with memoryview(content) as whole, whole[first:first + member.file_size] as part:
            if zlib.crc32(part) != member.CRC:
                raise ValueError(f"{member.filename} has another checksum than the archive tells")
        values = np.frombuffer(content, layout.dtype, math.prod(layout.shape), first + layout.header)
        arrays[member.filename] = values.reshape(layout.shape, order="F" if layout.fortran_order else "C")
    return arrays


def check_memory(size: int, what: str) -> None:
    """Raises UserError where `size` bytes are more than this machine has free."""
    free = free_memory()
    if free is not None and size > free:
        raise UserError(f"{what} take {size / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are free: use a "
                        "machine with more, or end other programs")


def free_memory() -> int | None:
    """Bytes of memory that this process may fill, within its container's limit too; None where that is not known."""
    known = []
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        known += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except OSError:  # no Linux
        if "SC_PHYS_PAGES" in os.sysconf_names:
            known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        group = pathlib.Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        known.append(max(limit - used, 0))
    except (OSError, ValueError):  # no group, or no limit
        pass
    return min(known, default=None)
