"""NumPy's .npz files, read with care: what a file says of itself is checked before memory is filled.

Each array must have a kind and dimensions that are expected, no Python objects, exactly the bytes that its header
tells, and the checksum that the archive tells.
"""

import math
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfbench.errors import UserError
from tfbench.files import paths

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


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


def read(path, expected: Mapping[str, Expected], *, cure: str) -> dict[str, np.ndarray]:
    """Reads the arrays `expected` of an .npz file; others are left alone.

    Args:
      expected: name → what it must be.
      cure: what to do where the file is missing or damaged.

    Returns:
      The arrays that are there, in the order of `expected`.

    Raises:
      UserError: the file is missing or damaged, an array is not as expected, or memory does not suffice.
    """
    paths.size_of_regular(path, cure)
    try:
        with zipfile.ZipFile(paths.readable(path)) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("an array stands twice")
            members = {name: f"{name}.npy" for name in expected if f"{name}.npy" in names}
            if absent := [name for name, what in expected.items() if what.required and name not in members]:
                raise ValueError(f"it lacks {', '.join(absent)}")
            size = sum(_checked_bytes(archive, member, expected[name]) for name, member in members.items())
            check_memory(size, f"the arrays of {path}")
            arrays = {}
            for name, member in members.items():
                with archive.open(member) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
            return arrays
    except UserError:
        raise
    except PermissionError as error:
        raise paths.unreadable(path, error) from error
    except Exception as error:  # whatever zipfile, zlib and NumPy's parser raise on damaged bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged ({reason[:200]}): {cure}") from error


def _checked_bytes(archive: zipfile.ZipFile, member: str, expected: Expected) -> int:
    """Bytes of the array in a member of the archive, from its header.

    Raises:
      ValueError: it is not as expected, or the member has not these bytes.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{member} is of version {version} of NumPy's format")
        shape, _, dtype = _HEADERS[version](file)
        header = file.tell()
    kinds = {"i": "int", "u": "uint", "f": "float", "b": "bool", "U": "str", "S": "bytes"}
    if dtype.kind not in expected.kinds or len(shape) not in expected.dimensions:
        words = " or ".join(kinds[kind] for kind in expected.kinds)
        dimensions = " or ".join(map(str, expected.dimensions))
        raise ValueError(f"expected {member.removesuffix('.npy')} as {words} of {dimensions} dimensions, found {dtype} "
                         f"{list(shape)}")
    size = math.prod(shape) * dtype.itemsize
    if header + size != archive.getinfo(member).file_size:
        raise ValueError(f"{member} has {archive.getinfo(member).file_size - header:,} bytes, its header says {size:,}")
    return size


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
