"""Tables out of files, as cells for others to understand: CSV in all its kinds, Excel workbooks, Parquet.

What a file is says its content, not its name. Text may be UTF-8 or UTF-16, with commas, semicolons, tabs or bars
between its cells, any line ends, and the line "sep=;" of spreadsheets. pandas reads workbooks and Parquet; text is
split here, because pandas takes a first column for an index where lines end in a comma, and does not tell lines apart.
This module imports no TensorFlow.
"""

import csv
import importlib
import io
import re
import zipfile
from typing import NamedTuple

import pandas as pd

from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.wording import printable

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MOST_BYTES = 64 << 20  # of a table of accuracies: more is something else
OTHER_KINDS = (  # how a file begins that is no table -> (what it is, what to do)
    (b"\xd0\xcf\x11\xe0", "an Excel file of before 2007 (.xls)", "save it as .xlsx or as CSV"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it first (gunzip)"),
    (b"%PDF", "a PDF", "export its table as CSV"),
    (b"\x89HDF", "an HDF5 file", "write its table as CSV, with DataFrame.to_csv"),
    (b"\x93NUMPY", "a NumPy array", "write its table as CSV, with a header"),
    (b"\x80", "a pickle", "write its table as CSV, with DataFrame.to_csv"),
    (b"<", "an HTML or XML page", "download the file itself (on GitHub: Raw), or save the table as CSV"),
    (b"{", "JSON", "write it as CSV, with a header"), (b"[", "JSON", "write it as CSV, with a header"))


class Sheet(NamedTuple):
    """A table's cells.

    Attributes:
      frame: of text or of other values, "" or None where empty; indexed by the number of the line in the file.
      notes: how the file was read where that is not plain, in words.
    """

    frame: pd.DataFrame
    notes: list[str]


class TextFormat(NamedTuple):
    """How text is cut into cells: its encoding, the delimiter, and whether its first line is only "sep=DELIMITER"."""

    encoding: str
    delimiter: str
    has_hint: bool


def read(path, flag: str) -> Sheet:
    """The table in a file.

    Args:
      flag: the program's flag that names the file, for error lines.

    Raises:
      UserError: the file is missing, unreadable, empty or no table; a line of another length than the header.
    """
    path = as_path(path)
    try:
        if not path.is_file():
            kind = "no file of that name"
            if path.exists():
                kind = "a folder" if path.is_dir() else "no regular file"
            raise UserError(f"cannot read {path} as a table, there is {kind}: name a CSV, .xlsx or .parquet file with "
                            f"{flag}=FILE")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes: expected a table of accuracies, at most "
                            f"{MOST_BYTES:,}: name another file with {flag}=FILE")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} as a table ({error.strerror or error}): name a readable file with "
                        f"{flag}=FILE") from error
    if content[:4] == b"PK\x03\x04":
        return _workbook(path, content)
    if content[:4] == b"PAR1":
        return _parquet(path, content)
    refuse_other_kinds(path, content)
    return _text(path, content, flag)


def refuse_other_kinds(path, content: bytes) -> None:
    """Raises UserError where the content begins as something that is known and no table."""
    start = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, kind, cure in OTHER_KINDS:
        if content.startswith(magic) or start.startswith(magic):
            raise UserError(f"{path} is {kind}: expected a CSV, .xlsx or .parquet file: {cure}")


# ---- text ------------------------------------------------------------------------------------------


def decoded(path, content: bytes) -> tuple[str, str]:
    """(the text of a file, its encoding); UserError where it is neither UTF-8 nor UTF-16."""
    encodings = {b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
    encoding = next((name for mark, name in encodings.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and content[:1000].count(0) > len(content[:1000]) / 4:  # in UTF-16 about every other byte
        encoding = "utf-16-le" if content[1:1000:2].count(0) > content[:1000:2].count(0) else "utf-16-be"
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError as error:
        line = content[:error.start].count(b"\n") + 1
        raise UserError(f"cannot read {path}, line {line}: byte 0x{content[error.start]:02x} is no {encoding.upper()}: "
                        "save it as UTF-8 (in Excel: “CSV UTF-8”)") from error


def text_format(path, content: bytes) -> tuple[str, TextFormat]:
    """The text of a file and how it is cut into cells: the delimiter that gives all lines the most equal cells."""
    text, encoding = decoded(path, content)
    if hint := re.match(r'"?sep=(.)"?[ \t]*(\r\n|\r|\n)', text, re.IGNORECASE):
        return text, TextFormat(encoding, hint[1], True)
    best, delimiter = (False, 1), ","
    for candidate in DELIMITERS:
        try:
            lengths = [len(cells) for _, cells in _lines(text, candidate)]
        except csv.Error:
            continue
        rank = (len(set(lengths)) == 1, lengths[0]) if lengths and lengths[0] > 1 else (False, 1)
        if rank > best:
            best, delimiter = rank, candidate
    return text, TextFormat(encoding, delimiter, False)


def _lines(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, nor remarks above the header, with their numbers; blanks around cells are cut."""
    with io.StringIO(text, newline="") as file:
        reader = csv.reader(file, strict=True, delimiter=delimiter, skipinitialspace=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if delimiter == "|":  # Markdown: the rule below the header
        lines = [(number, cells) for number, cells in lines if not all(re.fullmatch(r":?-*:?", cell) for cell in cells)]
    while lines and lines[0][1][0].startswith("#"):
        lines.pop(0)
    return lines


def _text(path, content: bytes, flag: str) -> Sheet:
    text, how = text_format(path, content)
    if how.delimiter not in DELIMITERS:
        raise UserError(f"{path}, line 1: expected commas, semicolons, tabs or bars between cells, found "
                        f"sep={how.delimiter!r}: save it with one of these")
    try:
        lines = _lines(text, how.delimiter)[1 if how.has_hint else 0:]
    except csv.Error as error:
        raise UserError(f"cannot read {path} as a CSV file ({error}): close its quotation marks, or name another with "
                        f"{flag}=FILE") from error
    if not lines:
        raise UserError(f"{path}: expected a table with a header, found an empty file: name another with {flag}=FILE")
    (_, header), *body = lines
    if how.has_hint and len(header) == 1 and body and len(body[0][1]) == 1:
        raise UserError(f"{path}, line 1: says sep={how.delimiter}, but no line has it between its cells: correct it")
    numbers = [cells[0] for _, cells in body]
    if body and all(len(cells) == len(header) + 1 for _, cells in body) and is_sequence(numbers):
        header = ["", *header]  # row numbers without a heading, as R writes them
    while header and not header[-1]:
        header.pop()
    for number, cells in body:
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            raise UserError(f"{path}, line {number}: expected {len(header)} cells as in the header, found "
                            f"{len(cells)}: add or remove {DELIMITERS[how.delimiter]}, or quote cells that hold one")
    frame = pd.DataFrame([cells for _, cells in body], [number for number, _ in body], header, dtype=object)
    notes = [f"{DELIMITERS[how.delimiter]} between cells"] if how.delimiter != "," else []
    notes += [how.encoding.upper()] if how.encoding.startswith(("utf-16", "utf-32")) else []
    return Sheet(_without_blank_columns(frame), notes)


def is_sequence(texts) -> bool:
    """Whether cells are whole numbers one after another, as those of rows are."""
    if not len(texts) or not all(re.fullmatch(r"\d{1,12}", str(text)) for text in texts):
        return False
    numbers = [int(text) for text in texts]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _without_blank_columns(frame: pd.DataFrame) -> pd.DataFrame:
    kept = [bool(str(name)) or any(str(value) for value in frame.iloc[:, i]) for i, name in enumerate(frame.columns)]
    return frame.loc[:, kept]


# ---- workbooks, Parquet ------------------------------------------------------------------------------


def _workbook(path, content: bytes) -> Sheet:
    """The first sheet that holds anything; pandas reads it, with openpyxl."""
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged ({error}): save it anew") from error
    if "xl/workbook.xml" not in names:
        held = ", ".join(printable(name) for name in names[:3])
        raise UserError(f"{path} is a ZIP archive of {held or 'nothing'}: expected a CSV, .xlsx or .parquet file: save "
                        "the table as one of these")
    try:
        sheets = pd.read_excel(io.BytesIO(content), sheet_name=None, header=None, dtype=object, keep_default_na=False,
                               na_filter=False, engine="openpyxl")
        book = importlib.import_module("openpyxl").load_workbook(io.BytesIO(content))  # with formulas, not their values
    except ImportError as error:
        raise UserError(f"{path} is an Excel workbook, which openpyxl reads: install it with `pip install openpyxl`, "
                        "or save the sheet as CSV") from error
    except Exception as error:  # openpyxl's own errors are of many kinds
        raise UserError(f"{path} is no workbook that openpyxl can read ({printable(error)}): save it anew") from error
    cleaned = {name: sheet.map(lambda value: value.strip() if isinstance(value, str) else value)
               for name, sheet in sheets.items()}
    filled = {name: sheet[sheet.map(_is_filled).any(axis=1)] for name, sheet in cleaned.items()}
    filled = {name: sheet for name, sheet in filled.items() if len(sheet)}
    if not filled:
        raise UserError(f"{path}: expected a table with a header, found empty sheets: fill one")
    visible = [name for name in filled if book[name].sheet_state == "visible"]
    name = next(iter(visible or filled))
    sheet = filled[name]
    _refuse_formulas(path, book[name], cleaned[name])
    notes = []
    while len(sheet) > 2 and sheet.iloc[0].map(_is_filled).sum() == 1 < sheet.iloc[1].map(_is_filled).sum():
        notes.append(f"without the title {printable(next(filter(_is_filled, sheet.iloc[0])))!r}")
        sheet = sheet.iloc[1:]
    frame = sheet.iloc[1:].set_axis([str(value) for value in sheet.iloc[0]], axis=1)
    frame = frame.set_axis(frame.index + 1, axis=0)
    others = [printable(other) for other in filled if other != name]
    notes += [f"sheet {printable(name)!r}, not {', '.join(others)}"] if others else []
    return Sheet(_without_blank_columns(frame), ["Excel workbook", *notes])


def _refuse_formulas(path, sheet, values: pd.DataFrame) -> None:
    """Raises UserError for a formula without its value, as programs other than spreadsheets write it."""
    for cell in (cell for row in sheet.iter_rows() for cell in row if cell.data_type == "f"):
        row, column = cell.row - 1, cell.column - 1
        inside = row < values.shape[0] and column < values.shape[1]
        if not (inside and _is_filled(values.iat[row, column])):
            raise UserError(f"{path}, cell {cell.coordinate}: expected a value, found the formula {cell.value!r:.60} "
                            "without one: open the file in a spreadsheet program and save it, or write the number")


def _is_filled(value) -> bool:
    return value is not None and value is not pd.NaT and str(value) != ""


def _parquet(path, content: bytes) -> Sheet:
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # pyarrow's own errors are of many kinds
        raise UserError(f"{path} is no Parquet file that pyarrow can read ({printable(error)}): write it "
                        "anew") from error
    return Sheet(frame, ["Parquet"])
