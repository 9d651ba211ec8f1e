"""The arrays X, y and split out of a file of features, by kind: .npz, a folder of .npy, Parquet or CSV.

The headers of arrays are checked before anything is loaded: their types, their shapes, and whether this machine's
memory holds them. This module imports no TensorFlow.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import warnings
import zipfile
from typing import NamedTuple

import numpy as np

from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import as_path, beside, readable
from tfbench.files.tables import OTHER_KINDS, is_sequence, text_format
from tfbench.wording import printable

NAMES = ("X", "y", "split")
EXPECTED = ("X [n, width] float, y [n] int or [n, classes] of 0 and 1 (multi-label), split [n] of train, validation, "
            "test")
LABELS = ("y", "label", "labels", "target", "class")  # what the column of the labels may be called
SPLITS = ("split", "set", "subset", "partition")  # and that of the split, if it holds names
COPIES = 3  # of a table in float64 that are there at once: as it was read, its array, and what the fits make of it
WIDE_BYTES = 32  # more of each number of X where it has fewer examples than columns (stats/transforms.eigenbasis)


class Arrays(NamedTuple):
    """Arrays by name, y as it is in the file, and how a table was read, in words."""

    by_name: dict[str, np.ndarray]
    notes: list[str]


def read(path) -> Arrays:
    """The arrays of a file or folder.

    Raises:
      UserError: there is none, it is damaged or of another kind, an array is missing, holds Python objects, or is
        larger than the memory.
    """
    path = as_path(path).expanduser()
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}: --features expects an .npz file with {EXPECTED}")
    with _named(path):
        content = readable(path)
        with content.open("rb") if isinstance(content, pathlib.Path) else contextlib.nullcontext(content) as file:
            start = file.read(8)
            file.seek(0)
            if start[:4] == b"PAR1":
                return _parquet(path, file)
            if start[:6] == b"\x93NUMPY":
                raise UserError(f"{path} holds one array: expected {EXPECTED}: save all with np.savez({path.stem!r}, "
                                "X=X, y=y, split=split)")
            if start[:2] == b"PK":
                return _npz(path, file)
            for magic, kind, _ in OTHER_KINDS:
                if start.startswith(magic):
                    raise UserError(f"{path} is {kind}: expected an .npz file with {EXPECTED}: save it with np.savez")
            if path.name.lower().endswith(".npz") or b"\0" in start and start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
                raise UserError(f"{path} is no .npz file that NumPy can read: expected {EXPECTED}: save it with "
                                "np.savez")
            return _csv(path, file)


def sha256(path) -> str:
    """SHA-256 of the file, in hex; of a folder that of its files' hashes."""
    path = as_path(path).expanduser()
    if not path.is_dir():
        return atomic.file_sha256(path)
    files = {name: beside(path / f"{name}.npy", ".npy") for name in NAMES}
    hashes = [f"{name} {atomic.file_sha256(file)}\n" for name, file in files.items() if file.is_file()]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


@contextlib.contextmanager
def _named(path):
    """Context manager that turns whatever a library says of a damaged file into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib, NumPy, pyarrow and pandas have many kinds
        raise UserError(f"{path} is no file of features that can be read ({printable(error)}): it is damaged, or none: "
                        f"expected an .npz file with {EXPECTED}: save it anew") from error


# ---- NumPy -----------------------------------------------------------------------------------------


def _npz(path, file) -> Arrays:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is no .npz file that NumPy can read ({error}): it is damaged: save it anew") from error
    with archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if len(members) < len(archive.namelist()):
            raise UserError(f"{path} holds two arrays of one name: expected one of each: save them anew with np.savez")
        _check_names(path, members)
        present = [name for name in NAMES if name in members]
        for name in present:
            with archive.open(members[name]) as member:
                _check_header(path, name, member)
        arrays = {}
        for name in present:
            with archive.open(members[name]) as member:
                arrays[name] = _load(member)
    return Arrays(arrays, [])


def _folder(path) -> Arrays:
    files = {name: file for name in NAMES if (file := beside(path / f"{name}.npy", ".npy")).is_file()}
    _check_names(path, files)
    arrays = {}
    with _named(path):
        for load in (False, True):
            for name, file in files.items():
                content = readable(file)
                with (content.open("rb") if isinstance(content, pathlib.Path)
                      else contextlib.nullcontext(content)) as opened:
                    if load:
                        mapped = name == "X" and isinstance(content, pathlib.Path)
                        arrays[name] = _map(content) if mapped else _load(opened)
                    else:
                        _check_header(path, name, opened)
    return Arrays(arrays, ["a folder of .npy files"])


def _check_names(path, names) -> None:
    if missing := [name for name in NAMES[:2] if name not in names]:
        held = ", ".join(sorted(printable(name) for name in names)[:8]) or "nothing"
        raise UserError(f"{path} lacks {', '.join(missing)}: expected {EXPECTED}, found {held}")


def _load(file) -> np.ndarray:
    """The array of an opened .npy; its end is read too, where a ZIP archive checks its sum."""
    array = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):
        raise ValueError("more data than the header says")
    return array


def _map(path: pathlib.Path) -> np.ndarray:
    """The array of an .npy, read from the disk where it is used."""
    array = np.lib.format.open_memmap(path, mode="r")
    if array.offset + array.nbytes < path.stat().st_size:
        raise ValueError("more data than the header says")
    return np.asarray(array)


def _check_header(path, name: str, file) -> None:
    """Raises UserError where an array's header says that it cannot be used."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise UserError(f"{name} of {path} is a structured array: expected {EXPECTED}: save plain arrays")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        remedy = {"X": 'np.stack(X).astype("float32")', "y": "y.astype(int), or y.astype(str)"}.get(
            name, f"{name}.astype(str)")
        raise UserError(f"{name} of {path} holds Python objects, which load only by running code in the file: save it "
                        f"as {remedy}")
    wide = len(shape) == 2 and shape[0] < shape[1]
    check_memory(path, name, shape, 2 * max(dtype.itemsize, 4) + (WIDE_BYTES if wide else 0) if name == "X"
                 else max(dtype.itemsize, 8))


def check_memory(path, name: str, shape, bytes_each: int) -> None:
    """Raises UserError where an array, with what the fits make of it, is larger than this machine's memory."""
    if any(length < 0 for length in shape):
        raise ValueError(f"{name} has the shape {list(shape)}")
    needed, there = bytes_each, memory_bytes()
    for length in shape:
        needed *= length
    if needed > there:
        raise UserError(f"{name} of {path} is {list(shape)}: its fits need about {needed / 1e9:,.0f} GB, this machine "
                        f"has {there / 1e9:,.0f} GB: take fewer examples or columns, for example X[::2], or a larger "
                        "machine")


def memory_bytes() -> int:
    """This machine's memory, or what its control group allows where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(pathlib.Path(path).read_text()))
    return total


# ---- tables ----------------------------------------------------------------------------------------


def _parquet(path, file) -> Arrays:
    import pyarrow.parquet

    facts = pyarrow.parquet.ParquetFile(file)
    schema = facts.schema_arrow
    check_memory(path, "the table", (facts.metadata.num_rows, len(schema.names)), 8 * COPIES)
    file.seek(0)
    import pandas as pd

    return _of_table(path, pd.read_parquet(file), "Parquet")


def _csv(path, file) -> Arrays:
    import pandas as pd

    head = file.read(1 << 20)
    if len(head) == 1 << 20 and b"\0" not in head[:1000]:
        head = head[:head.rfind(b"\n") + 1] or head  # whole lines
    text, how = text_format(path, head)
    if not text.strip():
        raise UserError(f"{path} is empty: expected an .npz file with {EXPECTED}")
    first = text.splitlines()[int(how.has_hint)]
    width = first.count(how.delimiter) + 1
    size = file.seek(0, io.SEEK_END)
    check_memory(path, "the table", (size // max(len(head) // max(text.count("\n"), 1), 1), width), 8 * COPIES)
    file.seek(0)
    comma = how.delimiter != "," and "," in text
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a line longer than the header would be cut
        frame = pd.read_csv(file, sep=how.delimiter, encoding=how.encoding, skiprows=int(how.has_hint), index_col=False,
                            decimal="," if comma else ".", float_precision=None if comma else "round_trip",
                            skipinitialspace=True)
    return _of_table(path, frame, "CSV" + (" with decimal commas" if comma else ""))


def _of_table(path, frame, kind: str) -> Arrays:
    """X, y and split of a table: the column of the labels, the one of the split, and all others as features."""
    header = [str(name).strip() for name in frame.columns]
    frame = frame.set_axis(header, axis=1)
    if doubled := [name for i, name in enumerate(header) if name in header[:i]]:
        raise UserError(f"{path} has two columns {doubled[0]!r}: rename one")
    several = [name for name in header if name.startswith(("y_", "y:"))]
    known = [name for wanted in LABELS for name in header if name.casefold() == wanted]
    labels = known[0] if known else None
    if len(known) > 1:
        raise UserError(f"{path} has the columns {known[0]!r} and {known[1]!r} that may both be the labels: expected "
                        "one, as the other would be a feature: leave it out")
    split = next((name for wanted in SPLITS for name in header if name.casefold() == wanted
                  and (wanted == "split" or frame[name].dtype.kind not in "fiub")), None)
    if not labels and not several:
        raise UserError(f"{path} lacks y: expected a column y (or y_0, y_1, … of 0 and 1), a column split and one per "
                        f"feature, found {', '.join(map(printable, header[:8]))}")
    row_numbers = [name for name in header if (not name or name.startswith("Unnamed: ") or name == "index")
                   and is_sequence(frame[name].tolist())]
    left = [name for name in header if name not in (labels, split, *row_numbers, *(() if labels else several))]
    if left == ["X"]:
        features = np.array(frame["X"].tolist())  # lists
    else:
        odd = [name for name in left if frame[name].dtype.kind not in "fiub"]
        if odd:
            raise UserError(f"column {printable(odd[0])!r} of {path} holds {frame[odd[0]].iloc[0]!r:.40}, no numbers: "
                            "expected numbers in all columns but y and split: leave it out")
        features = frame[left].to_numpy(float)
    for name in [labels] if labels else several:
        if (empty := frame[name].isna().to_numpy()).any():
            raise UserError(f"column {printable(name)!r} of {path} is empty in {empty.sum():,} of {len(frame):,} rows, "
                            f"the first is row {empty.argmax()}: expected a label in each: leave these rows out")
    y = frame[labels].to_numpy() if labels else frame[several].to_numpy()
    if y.dtype == object and len(y):
        y = np.array(y.tolist())  # lists of 0 and 1, or texts
    arrays = {"X": features, "y": y}
    if split:
        arrays["split"] = frame[split].astype(str).to_numpy(str)
    words = f"{kind} with {len(left):,} columns of features, labels in {labels or ', '.join(several[:3])!r}"
    if row_numbers:
        words += f", without the numbers of rows in {row_numbers[0]!r}"
    return Arrays(arrays, [words])
