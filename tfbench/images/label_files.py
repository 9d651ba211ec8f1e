"""labels.csv beside images: which file shows what.

    file,label          file,label,split         file,label             file,cat,dog
    1.jpg,cat           1.jpg,cat,train          1.jpg,cat;dog          1.jpg,1,1

Several labels of an image are joined by ; or |, or have a column per class with 0 and 1. This module imports no
TensorFlow.
"""

import collections
import csv
import dataclasses
import io
import os
import pathlib
import re
import unicodedata

from tfbench.errors import UserError
from tfbench.images.split_names import split_named
from tfbench.wording import count, either, printable

NAMES = ("labels.csv", "labels.tsv")  # in any case
EXAMPLE = "expected a header and lines such as file,label / 1.jpg,cat (several labels: cat;dog), with split if you like"
_FILE = ("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_name", "image_path",
         "image_file", "img", "image_id", "id")
_LABEL = ("label", "labels", "class", "classes", "class_name", "category", "categories", "target", "tag", "tags")
_SPLIT = ("split", "set", "subset", "partition")
_SWITCHES = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "no": False, "yes": True,
             "-1": False}
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Line:
    """What one line says of one file.

    Attributes:
      number: of the line, from 1. file: as written. labels: names of its classes. split: of splits.SPLITS, None where
        the file has no such column.
    """

    number: int
    file: str
    labels: tuple[str, ...]
    split: str | None


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """A labels.csv.

    Attributes:
      name: of the file. lines: of images. multi_label: whether an image can have several labels, or none.
      notes: what was taken for what.
    """

    name: str
    lines: list[Line]
    multi_label: bool
    notes: list[str]


def find(root: pathlib.Path) -> pathlib.Path | None:
    """The labels.csv of a folder; None where there is none.

    Raises:
      UserError: there are several.
    """
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower() in NAMES and entry.is_file())
    if len(names) > 1:
        raise UserError(f"{printable(root)} has {either(names)} to read labels from: keep one of them there")
    return root / names[0] if names else None


def read(path: pathlib.Path) -> LabelFile | None:
    """Reads a labels.csv; None where its header names no files and labels.

    Raises:
      UserError: a line cannot be understood; it is named.
    """
    text = _text(path)
    hint = re.match(r'"?sep=(.)"?[ \t]*\n', text, re.IGNORECASE)  # a line of spreadsheets
    header = text.split("\n", 2)[1 if hint else 0]
    delimiter = hint[1] if hint else max(",;\t", key=header.count)
    rows = _rows(path, text, delimiter)
    if any("\n" in cell for _, row in rows for cell in row):  # meant so, or a quotation mark is open
        _rows(path, text, delimiter, strict=True)
    rows = [(number, row) for number, row in rows[1 if hint else 0:] if any(row)]
    if not rows:
        return None
    names = rows[0][1]
    folded = [name.casefold() for name in names]
    if twice := [name for i, name in enumerate(names) if name and folded[i] in folded[:i]]:
        raise UserError(f"{path} has two columns {twice[0]!r}: expected each name once: rename one")
    columns = {name.casefold().replace(" ", "_").replace("-", "_"): number
               for number, name in reversed(list(enumerate(names))) if name}
    file, label, split = (next((name for name in known if name in columns), None) for known in (_FILE, _LABEL, _SPLIT))
    used = [columns[name] for name in (file, split) if name is not None]
    classes = [number for number in sorted(columns.values()) if number not in used]
    if file is None or (label is None and len(classes) < 2):
        return None
    for number, row in rows[1:]:
        if len(row) != len(names) and any(row[len(names):]):
            raise UserError(f"{path}, line {number}: {count(len(row), 'cell')} under a header of {len(names)}: put "
                            f'quotes around a cell that holds "{delimiter}"')
        row += [""] * (len(names) - len(row))
    if label is None:
        switches = {row[column].casefold() for _, row in rows[1:] for column in classes}
        if not switches <= set(_SWITCHES) or "-1" in switches and switches & {"0", "0.0", "false", "no"}:
            return None
    splits = _splits(path, rows[1:], columns[split]) if split else [None] * (len(rows) - 1)
    shown = f"{path.name}: files from the column {names[columns[file]]}"
    if label is None:
        labels = [tuple(names[c] for c in classes if _SWITCHES[row[c].casefold()]) for _, row in rows[1:]]
        multi_label = any(len(some) != 1 for some in labels)
        notes = [f"{shown}, a column for each of {len(classes)} classes"
                 + (", exactly one of which each image shows: one label per image" if not multi_label else "")]
    else:
        cells = [(number, row[columns[label]]) for number, row in rows[1:]]
        labels, multi_label = _labels(path, cells)
        notes = [f"{shown}, labels from {names[columns[label]]}"
                 + (", one each" if not multi_label and any(";" in cell or "|" in cell for _, cell in cells) else "")]
        surplus = [names[c] for c in classes if c != columns[label]]
        if surplus:
            notes[0] += f"; not read: {', '.join(surplus)}"
    lines = [Line(number, row[columns[file]], shows, part)
             for (number, row), shows, part in zip(rows[1:], labels, splits, strict=True)]
    return LabelFile(path.name, lines, multi_label, [printable(note) for note in notes])


def _rows(path, text: str, delimiter: str, strict: bool = False) -> list[tuple[int, list[str]]]:
    """Numbers of lines and their cells; UserError where the text is no CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as CSV from line {reader.line_num} on ({error}): close its quotation "
                        'marks, and write one inside a cell as ""') from error


def match(labels: LabelFile, paths: list[str]) -> tuple[dict[str, Line], list[str]]:
    """The line of each image that has one, and notes on how files were found.

    Args:
      paths: of the images, from the folder of the file, with "/".

    Raises:
      UserError: a line's file is not there, or two lines contradict each other.
    """
    rungs = (("", lambda name: name), ("", lambda name: _slashed(name)),
             ("in another case", lambda name: _slashed(name).casefold()),
             ("by name without folders", lambda name: _slashed(name).casefold().rpartition("/")[2]),
             ("by name without ending", lambda name: _stem(_slashed(name).casefold().rpartition("/")[2])))
    tables: list[dict[str, list[str]]] = []
    for _, form in rungs:
        table = collections.defaultdict(list)
        for path in paths:
            table[form(path)].append(path)
        tables.append(table)
    lines: dict[str, Line] = {}
    missing: list[Line] = []
    by_way: collections.Counter[str] = collections.Counter()
    for line in labels.lines:
        ways = [(way, there) for (way, form), table in zip(rungs, tables, strict=True)
                if line.file and (there := table.get(form(line.file), []))]
        way, there = ways[0] if ways else ("", [])
        if not there:
            missing.append(line)
            continue
        if len(there) > 1:
            raise UserError(f"{labels.name}, line {line.number}: {printable(line.file)} can be {there[0]} or "
                            f"{there[1]}: write the path from the folder of the file")
        by_way[way] += 1
        earlier = lines.setdefault(there[0], line)
        if (earlier.labels, earlier.split) != (line.labels, line.split):
            raise UserError(f"{labels.name}: lines {earlier.number} and {line.number} say different things of "
                            f"{printable(line.file)}: keep one of them; several labels are written cat;dog")
    if missing:
        some = ", ".join(f"line {line.number}: {printable(line.file) or 'no name'}" for line in missing[:_SHOWN])
        more = ", …" if len(missing) > _SHOWN else ""
        raise UserError(f"{labels.name} names {count(len(missing), 'file')} that cannot be found among the images "
                        f"({some}{more}): correct the names, which are paths from its folder, or take the lines out")
    notes = [f"{labels.name}: {count(number, 'file')} found {way}" for way, number in by_way.items() if way]
    return lines, notes


def _slashed(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _text(path: pathlib.Path) -> str:
    """The file as text, with line ends "\\n"."""
    try:
        content = path.read_bytes()
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        if encoding != "utf-16" and content[:100].count(0) > 25:  # without the mark at its beginning
            encoding = "utf-16-le" if content[1:100:2].count(0) > 25 else "utf-16-be"
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not encoded as UTF-8 (byte {error.start:,}): save it as CSV UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): make it readable") from error


def _splits(path, rows, column: int) -> list[str]:
    splits = []
    for number, row in rows:
        split = split_named(row[column])
        if split is None:
            raise UserError(f"{path}, line {number}: expected train, validation or test as split, found "
                            f"{row[column]!r}")
        splits.append(split)
    return splits


def _labels(path, cells: list[tuple[int, str]]) -> tuple[list[tuple[str, ...]], bool]:
    """Labels of each (line, cell), and whether there can be several."""
    separators = [sign for sign in ";|" if any(sign in cell for _, cell in cells)]
    if len(separators) > 1:
        number = next(number for number, cell in cells if "|" in cell)
        raise UserError(f"{path} joins labels by ; and by | (line {number}): take one of them")
    if not separators:
        _refuse_two_forms(path, cells)
        for number, cell in cells:
            if not cell:
                raise UserError(f"{path}, line {number}: no label; fill it in, or take the line out")
        return [(cell,) for _, cell in cells], False
    split = [tuple(dict.fromkeys(label for part in cell.split(separators[0]) if (label := part.strip())))
             for _, cell in cells]
    return split, any(len(labels) != 1 for labels in split)


def _refuse_two_forms(path, cells: list[tuple[int, str]]) -> None:
    """Raises UserError where one number is written in two ways, such as 1 and 1.0, which spreadsheets do."""
    forms: dict[float, tuple[int, str]] = {}
    for number, cell in cells:
        if re.fullmatch(r"\d{1,15}(\.\d+)?", cell):
            first, text = forms.setdefault(float(cell), (number, cell))
            if text != cell:
                raise UserError(f"{path}, line {number}: the label {cell!r} is {text!r} in line {first}: expected one "
                                "form of a class's number: write it in one way")
