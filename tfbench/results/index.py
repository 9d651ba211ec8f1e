"""A columnar index of a folder's records, so that an analysis of many reads each JSON file once.

RESULTS_DIR/index.parquet has a row per record: what its file was when it was read (name, bytes, time of its last
change), and its fields but the trials, of which it has what they come to (record.Fitted). A record whose file is new
or has changed is read again, one whose file is gone is dropped. The index is only a copy: without it, or where it
cannot be written, the same comes from the records. Folders of few records, and buckets, have none.
"""

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tfbench.config import SCHEMA
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import Remote, as_path
from tfbench.results import store
from tfbench.results.record import FIELDS, Fitted, Record, fitted_of
from tfbench.version import __version__
from tfbench.wording import count, say

NAME = "index.parquet"
LEAST = 1000  # records, below which reading them all takes about a second
PART = 2000  # records at a time
LONG = 800  # characters of JSON
LAYOUT = f"1, records {SCHEMA}, tfbench {__version__}"  # an index of another one is made anew
SETTLED = 2 * 10**9  # ns after which a change of a file gives it another time, on whatever file system
TEXTS = ("key", "regime", "network", "dataset", "metric", "host", "finished")
NUMBERS = {"schema": "int64", "n_test": "int64", "accuracy": "double", "validation_accuracy": "double",
           "seconds": "double"}
FILE = {"name": "string", "size": "int64", "mtime_ns": "int64", "read_ns": "int64"}
FITTED = {"trials": "int64", "fits": "int64", "images_per_second": "double", "certified": "int64",
          "iterations": "double", "largest_relative_gap": "double"}
GROUPS = tuple(name for name in FIELDS if name not in (*TEXTS, *NUMBERS, "trials"))  # as JSON

_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Trials(Sequence):
    """The trials of an indexed record, which are read from its file when they are looked at."""

    def __init__(self, path: str, number: int):
        self._path, self._number = path, number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index):
        return store.read_record(self._path).trials[index]

    def __iter__(self):
        return iter(store.read_record(self._path).trials if self._number else ())


def read_records(*results_dirs) -> list[Record]:
    """The same as store.read_records, by the folders' indices; trials are read when they are looked at.

    Raises:
      UserError: as store.read_records.
    """
    return store.without_copies(record for folder in results_dirs for record in _records(folder))


def _records(folder) -> Iterator[Record]:
    """The records of one folder, in the order of their file names."""
    store.check_results_dir(folder)
    path = as_path(folder)
    files = {} if isinstance(path, Remote) else _files(path / "rows")
    if len(files) < LEAST:
        return store.records_of(folder)
    return _indexed(path, files)


def _files(rows) -> dict[str, tuple[int, int]]:
    """Name → size and time of last change (ns) of each record's file, by name."""
    files = {}
    if rows.is_dir():
        with os.scandir(rows) as entries:
            for entry in entries:
                if entry.name.lower().endswith(".json") and not entry.name.startswith("."):
                    try:
                        facts = entry.stat()
                    except FileNotFoundError:  # a link to nothing: whoever reads it says so
                        files[entry.name] = (-1, -1)
                        continue
                    files[entry.name] = (facts.st_size, facts.st_mtime_ns)
    return dict(sorted(files.items()))


def _indexed(folder, files: dict[str, tuple[int, int]]) -> Iterator[Record]:
    """The records of `files`, by the folder's index, which is brought up to date."""
    import pyarrow as pa

    table = _read(folder / NAME)
    kept, same = [], set()
    if table is not None:
        facts = (table[name].to_pylist() for name in FILE)
        for row, (name, size, mtime, read) in enumerate(zip(*facts, strict=True)):
            if files.get(name) == (size, mtime) and mtime + SETTLED < read:
                kept.append(row)
                same.add(name)
    new = [name for name in files if name not in same]
    if len(new) >= LEAST:
        say(f"reading {count(len(new), 'record')} of {folder}", error=True)
    fresh = _rows(folder, {name: files[name] for name in new})
    if table is None:
        table = fresh
    elif new or len(kept) < len(table):
        table = pa.concat_tables([table.take(kept), fresh])
    else:
        return _from(table, folder)
    table = table.sort_by("name")
    _write(folder / NAME, table)
    return _from(table, folder)


def _rows(folder, files: dict[str, tuple[int, int]]):
    """An index of these files, which are read, PART at a time."""
    import pyarrow as pa

    names = list(files)
    parts = [_schema().empty_table()]
    for first in range(0, len(names), PART):
        columns: dict[str, list] = {name: [] for name in _types()}
        for name in names[first:first + PART]:
            read = time.time_ns()
            row = _row(store.read_record(folder / "rows" / name)) | dict(
                zip(FILE, (name, *files[name], read), strict=True))
            for column, value in row.items():
                columns[column].append(value)
        parts.append(pa.table(columns, schema=_schema()))
    return pa.concat_tables(parts)


def _types() -> dict[str, str]:
    return FILE | dict.fromkeys((*TEXTS, *GROUPS), "string") | NUMBERS | {
        f"fitted_{name}": kind for name, kind in FITTED.items()}


def _schema():
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _types().items()], {"tfbench": LAYOUT})


def _row(record: Record) -> dict[str, Any]:
    """A record as a row, without what its file is."""
    row = {name: getattr(record, name) for name in (*TEXTS, *NUMBERS)}
    for name in GROUPS:
        value = getattr(record, name)
        row[name] = None if value is None else _ENCODER.encode(value)
    return row | {f"fitted_{name}": value for name, value in fitted_of(record)._asdict().items()}


def _from(table, folder) -> Iterator[Record]:
    """The records of an index. Equal parts of them are one object: there may be very many."""
    shared: dict[str, Any] = {}
    groups: dict[str, Any] = {}

    def once(values: dict) -> dict:
        return {name: shared.setdefault(repr(value), value) if isinstance(value, str | list) else value
                for name, value in values.items()}

    def group(text: str | None):
        if text is None or len(text) > LONG:  # a specification: hardly two are alike
            return text and json.loads(text, object_hook=once)
        if text not in groups:
            groups[text] = json.loads(text, object_hook=once)
        return groups[text]

    rows = f"{folder / 'rows'}/"
    for first in range(0, len(table), PART):
        part = table.slice(first, PART).combine_chunks()
        texts = {name: _decoded(part[name].dictionary_encode().combine_chunks(), group if name in GROUPS else None)
                 for name in (*TEXTS, *GROUPS)}
        numbers = {name: part[name].to_pylist() for name in NUMBERS}
        fitted = zip(*(part[f"fitted_{name}"].to_pylist() for name in FITTED), strict=True)
        of_each = zip(part["name"].to_pylist(), zip(*texts.values(), strict=True), zip(*numbers.values(), strict=True),
                      fitted, strict=True)
        for name, words, values, figures in of_each:
            facts, path = Fitted(*figures), rows + name
            yield Record(**dict(zip(texts, words, strict=True)), **dict(zip(numbers, values, strict=True)),
                         trials=Trials(path, facts.trials), path=path, fitted=facts)  # type: ignore[arg-type]


def _decoded(column, decode) -> Iterator[Any]:
    """The values of a column of texts, in order; each different one is made once."""
    values = column.dictionary.to_pylist()
    made = [decode(value) for value in values] if decode else values
    return (None if number is None else made[number] for number in column.indices.to_pylist())


def _read(path):
    """The index, None where there is none that holds."""
    import pyarrow as pa
    from pyarrow import parquet

    if not path.exists():
        return None
    try:
        file = parquet.ParquetFile(path, page_checksum_verification=True)
        if file.schema_arrow.metadata is None or file.schema_arrow.metadata.get(b"tfbench") != LAYOUT.encode():
            raise ValueError("another version of tfbench wrote it")
        table = file.read(use_threads=False)
        if not table.schema.equals(_schema()):
            raise ValueError("its columns are others")
    except (pa.ArrowException, OSError, ValueError) as error:
        say(f"{path} does not hold ({str(error).splitlines()[0] if str(error) else type(error).__name__}): it is made "
            "anew from the records", error=True)
        return None
    return table


def _write(path, table) -> None:
    """Writes the index; where that cannot be, the next analysis reads the records again."""
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    with contextlib.suppress(UserError):
        atomic.write_atomically(path, buffer.getvalue())
