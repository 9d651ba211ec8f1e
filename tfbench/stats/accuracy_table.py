"""Accuracies as people write them in a table: a published one, or the accuracies.csv of another report.

The table has one of two forms:

    wide  setting,model,imagenet_top1[…],DATASET,DATASET,…  a line per regime and network; [DATASET n,…] test examples
    long  regime,network,dataset,accuracy[,n],source_accuracy[,source_n][,…]  as reports write it

Without the column setting (or regime) all lines are of one regime, which the caller names. Settings are logreg,
finetune, random_init, the regimes' names or what else regimes.py lists. Networks and data sets go by the catalogs'
names or titles, in any spelling ("ResNet-50", "resnet50"), or are custom. A column is all percent or all fractions,
which shows in its numbers. A cell that is empty, or "-", "n/a", "NaN" and the like, is a missing result.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfbench.errors import UserError
from tfbench.regimes import REGIMES
from tfbench.results.titles import at_size, parse_sized
from tfbench.stats import table_columns
from tfbench.stats.table_columns import (
    ACCURACY,
    DATASET,
    DATASET_NAMES,
    NETWORK,
    NETWORK_NAMES,
    REGIME,
    heading,
    listed,
    spelling,
)
from tfbench.wording import count, printable

COLUMNS = ("regime", "network", "dataset", "accuracy", "n", "source_accuracy", "source_n")  # of the long form
FORMULA = "=+-@＝＋－＠"  # a spreadsheet takes text that begins with one of these for a formula
MISSING = {"", "-", "–", "—", "n/a", "na", "nan", "null", "none", "?", "#n/a", ".", "--", "n.a.", "<na>"}
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}", re.ASCII)  # whose comma may be a thousands sign
SUMMARIES = {"mean", "average", "avg", "avg.", "median", "total", "sum", "std", "stdev", "min", "max"}  # no networks
FEW = 0.2  # of a column's cells: at most so many of 1 or less are taken for percent where the others are
NUMBER_FIELDS = ("accuracy", "source_accuracy")


class Reading(NamedTuple):
    """What a table was taken for.

    Attributes:
      results: dictionaries with COLUMNS as keys, accuracies as fractions.
      columns: which are data sets, which the source accuracy, and their unit; in words, a line each.
      surprises: whatever else was not plain, likewise.
    """

    results: list[dict]
    columns: list[str]
    surprises: list[str]


class Cell(NamedTuple):
    """One accuracy, and where it stands: the label of its line, and the columns of both accuracies."""

    line: object
    columns: dict[str, str]
    values: dict


class Table(NamedTuple):
    """A table's cells as text, and what error lines call it."""

    frame: pd.DataFrame
    origin: str
    missing: dict[str, int]  # text of missing cells -> how many
    certain: set[tuple[object, str]]  # (line, column) of numbers with a percent sign
    commas: dict[tuple[object, str], str]  # (line, column) -> text of accuracies with a comma
    points: dict[tuple[object, str], str]  # likewise with a point
    thousands: dict[tuple[object, str], str]  # likewise of numbers of examples with a comma


def read(frame: pd.DataFrame, origin: str, *, source_column: str | None = None, regime: str | None = None,
         datasets=(), ignore_columns=()) -> Reading:
    """The results in a table of either form.

    Args:
      frame: cells of text or numbers, indexed by line.
      origin: what lines call it, e.g. its file.
      source_column: which column of the wide form is the source accuracy, where several could be.
      regime: that of all lines, where no column says it.
      datasets: the columns to take as data sets, of the wide form; none: all that may be.
      ignore_columns: columns to pass over.

    Raises:
      UserError: missing or doubled columns or lines, a cell out of range, percent mixed with fractions, decimal commas
        with points, an accuracy of exactly 0 or 100 % of an unknown number of examples, no accuracies; line and column
        are named.
    """
    table = _as_text(frame, origin)
    header = list(table.frame.columns)
    if regime and (named := heading(header, REGIME)):
        raise UserError(f"{origin} has a column {named!r}: leave out --regime, which is for tables without one")
    given = table_columns.regime_of(regime) if regime else None
    if regime and not given:
        raise UserError(f"expected --regime among {table_columns.known_regimes()}, found {regime!r}: name one of these")
    if heading(header, DATASET) and heading(header, ACCURACY):
        cells, columns, surprises = _long(table, given, ignore_columns)
    else:
        cells, columns, surprises = _wide(table, given, source_column=source_column, datasets=datasets,
                                          ignore_columns=ignore_columns)
    _check_decimals(table)
    cells, alike = _one_spelling(cells)
    cells, unit, low = _as_fractions(table, cells)
    _check_unique(origin, cells)
    means = [] if datasets else _means(cells)
    cells = [cell for cell in cells if cell.columns["accuracy"] not in means or cell.columns["accuracy"] == "accuracy"]
    results = [cell.values for cell in cells if not math.isnan(cell.values["accuracy"])]
    if not results:
        raise UserError(f"{origin}: expected lines with accuracies below the header, found none: add results")
    _check_extremes(table, cells)
    if means:
        surprises.append(f"passed over: {listed(means)} (the mean of the others): --dataset=NAME,… takes it all the "
                         "same")
    if table.missing:
        held = ", ".join(f"{text!r}" for text in table.missing)
        surprises.append(f"taken as missing: {count(sum(table.missing.values()), 'cell')} with {held}")
    if table.commas:
        surprises.append("decimal commas")
    return Reading(results, [*columns, *unit], [*surprises, *alike, *low])


# ---- cells -----------------------------------------------------------------------------------------


def _as_text(frame: pd.DataFrame, origin: str) -> Table:
    """The cells as text; what names the lines of a DataFrame becomes columns."""
    if any(frame.index.names):
        frame = frame.reset_index()
    elif (len(frame) and not heading([str(name) for name in frame.columns], NETWORK)
          and all(isinstance(label, str) for label in frame.index)):
        frame = frame.rename_axis(index="model").reset_index()
    header = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name).strip() for name in frame.columns]
    doubled = [name for i, name in enumerate(header) if name and name in header[:i]]
    if doubled:
        raise UserError(f"{origin}: expected a name of its own for every column, found {doubled[0]!r} twice: rename "
                        "the columns")
    texts = [[_text(value) for value in line] for line in frame.astype(object).to_numpy()]
    return Table(pd.DataFrame(texts, frame.index, header, dtype=object), origin, {}, set(), {}, {}, {})


def _text(value) -> str:
    """A cell as a CSV file would hold it; "" where it is missing."""
    if value is None or value is pd.NA or value is pd.NaT or isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # counts beside missing ones are floats
    text = str(value).strip().replace("\N{NO-BREAK SPACE}", " ").replace("−", "-")
    if text[:1] == "'" and text[1:].lstrip()[:1] in tuple(FORMULA):
        return text[1:].lstrip()  # report/write.py keeps formulas out so
    return text


def _number(table: Table, label, column: str, text: str) -> float:
    """The cell as a number in [0, 100], NaN where it is missing."""
    if text.casefold() in MISSING:
        if text:
            table.missing[text] = table.missing.get(text, 0) + 1
        return math.nan
    bare = text.removesuffix("%").strip()
    value = float(bare.replace(",", ".")) if NUMBER.fullmatch(bare) else math.inf
    if not 0 <= value <= 100:
        remedy = ("give the mean alone" if "±" in text or "(" in text else
                  "correct it, leave it empty where there is no result, or pass the column over with "
                  f"--ignore_columns={printable(column)}")
        raise UserError(f"{table.origin}, line {label}, column {column!r}: expected an accuracy from 0 to 100 % (or 0 "
                        f"to 1), found {text!r}: {remedy}")
    if text.endswith("%"):
        table.certain.add((label, column))
    for sign, held in ((",", table.commas), (".", table.points)):
        if sign in bare:
            held[label, column] = text
    return value


def _count(table: Table, label, column: str | None, line) -> int | None:
    text = line[column] if column else ""
    if not column or text.casefold() in MISSING:
        return None
    if "," in text:
        table.thousands[label, column] = text
    bare = re.sub(r"(?<=\d)[, '’](?=\d{3}(\D|$))", "", re.sub(r"\.0$", "", text))
    if not (re.fullmatch(r"\d{1,15}", bare, re.ASCII) and int(bare) > 0):
        raise UserError(f"{table.origin}, line {label}, column {column!r}: expected a number of examples above 0, "
                        f"found {text!r}: correct it or leave it empty")
    return int(bare)


def _check_decimals(table: Table) -> None:
    """Raises UserError where a comma or point may be a thousands sign.

    So it is in "1,234" beside "75.2", in "1.234" beside "75,2", and in "1,234" in a column of mostly whole numbers.
    Other cells decide it: "75,2" or "0,752" anywhere, or three decimals in most of a column.
    """
    for other in (table.points, table.thousands):
        if table.commas and other:
            rare, usual = sorted((table.commas, other), key=len)
            (line, column), text = next(iter(rare.items()))
            (other_line, other_column), beside = next(iter(usual.items()))
            raise UserError(
                f"{table.origin}, line {line}, column {column!r}: expected one decimal sign in the whole table, found "
                f"{text!r} beside {beside!r} (line {other_line}, column {other_column!r}), so that a thousands sign "
                "could be meant: write all numbers with decimal points and without thousands signs")
    if any(not THOUSANDS.fullmatch(text) for text in table.commas.values()):
        return
    for (line, column), text in table.commas.items():
        numbers = [cell for cell in table.frame[column] if NUMBER.fullmatch(cell)]
        whole = [cell for cell in numbers if cell.isdecimal()]
        if 2 * len(whole) >= len(numbers):
            raise UserError(
                f"{table.origin}, line {line}, column {column!r}: expected an accuracy, found {text!r} beside whole "
                f"numbers such as {whole[0]}, so that a thousands sign could be meant: write "
                f"{text.replace(',', '.')!r} where it is the decimal sign, or pass the column over with "
                f"--ignore_columns={printable(column)}")


def _regime(table: Table, label, text: str) -> str:
    regime = table_columns.regime_of(text)
    if not regime:
        raise UserError(f"{table.origin}, line {label}: expected a setting among {table_columns.known_regimes()}, "
                        f"found {text!r}: correct it")
    return regime


def _name(table: Table, label, column: str, text: str) -> str:
    if not text:
        raise UserError(f"{table.origin}, line {label}, column {column!r}: expected a name, found nothing: add it")
    return text


# ---- the two forms ---------------------------------------------------------------------------------


def _wide(table: Table, regime: str | None, *, source_column, datasets,
          ignore_columns) -> tuple[list[Cell], list[str], list[str]]:
    columns = table_columns.columns_of(table.frame, table.origin, source_column=source_column, datasets=datasets,
                                       ignore_columns=ignore_columns)
    assert columns.network and columns.source
    _need_regime(table, columns.regime, regime)
    cells, taken = [], {}
    for label, line in _lines(table):
        if no_network := line[columns.network].casefold() in SUMMARIES:
            columns.passed_over.append((f"line {label}", line[columns.network]))
        if no_network:
            continue
        text = line[columns.regime] if columns.regime else ""
        shared: dict[str, Any] = {
            "regime": regime or _regime(table, label, text),
            "network": _name(table, label, columns.network, line[columns.network]),
            "source_accuracy": _number(table, label, columns.source, line[columns.source]),
            "source_n": _count(table, label, columns.counts.get(columns.source), line)}
        if text and text not in table_columns.SETTINGS and text not in REGIMES:
            taken[text] = REGIMES[shared["regime"]].title
        cells += [Cell(label, {"accuracy": column, "source_accuracy": columns.source}, {
            **shared, "dataset": name, "accuracy": _number(table, label, column, line[column]),
            "n": _count(table, label, columns.counts.get(column), line)}) for column, name in columns.datasets.items()]
    said = [f"source accuracy {printable(columns.source)!r}; {count(len(columns.datasets), 'data set')}: "
            f"{listed(list(columns.datasets))}"]
    surprises = _settings(taken, regime)
    if columns.passed_over:
        words = ", ".join(f"{printable(name)!r} ({why})" for name, why in columns.passed_over)
        surprises.append(f"passed over: {words}" + (
            "" if datasets or ignore_columns else ": --dataset=NAME,… takes columns as data sets all the same"))
    return cells, said, surprises


def _long(table: Table, regime: str | None, ignore_columns) -> tuple[list[Cell], list[str], list[str]]:
    header = [name for name in table.frame.columns if name not in ignore_columns]
    found: dict[str, Any] = {
        "regime": heading(header, REGIME), "network": heading(header, NETWORK), "dataset": heading(header, DATASET),
        "accuracy": heading(header, ACCURACY), "n": heading(header, ("n", "ntest")),
        "source_accuracy": heading(header, ("sourceaccuracy", "sourceacc", "imagenettop1", "imagenet")),
        "source_n": heading(header, ("sourcen",))}
    if absent := [name for name in ("network", "source_accuracy") if not found[name]]:
        raise UserError(f"{table.origin}: expected the columns {', '.join(COLUMNS)}, found no {', '.join(absent)}: "
                        "add them")
    _need_regime(table, found["regime"], regime)
    cells, taken = [], {}
    for label, line in _lines(table):
        text = line[found["regime"]] if found["regime"] else ""
        values: dict[str, Any] = {
            "regime": regime or _regime(table, label, text),
            **{name: _name(table, label, found[name], line[found[name]]) for name in ("network", "dataset")},
            **{name: _number(table, label, found[name], line[found[name]]) for name in NUMBER_FIELDS},
            **{name: _count(table, label, found[name], line) for name in ("n", "source_n")}}
        if text and text not in table_columns.SETTINGS and text not in REGIMES:
            taken[text] = REGIMES[values["regime"]].title
        values["dataset"] = table_columns.dataset_of(values["dataset"])
        cells.append(Cell(label, {name: found[name] or name for name in NUMBER_FIELDS}, values))
    names = list(dict.fromkeys(cell.values["dataset"] for cell in cells))
    said = [f"a line per result; {count(len(names), 'data set')}: {listed(names)}"]
    if unused := [name for name in header if name not in found.values()]:
        said.append(f"not used: {listed(unused)}")
    return cells, said, _settings(taken, regime)


def _lines(table: Table):
    header = list(table.frame.columns)
    for label, line in zip(table.frame.index, table.frame.to_numpy(), strict=True):
        yield label, dict(zip(header, line, strict=True))


def _need_regime(table: Table, column: str | None, regime: str | None) -> None:
    if not (column or regime):
        names = ", ".join(REGIMES)
        raise UserError(f"{table.origin} has no column setting: say which regime all its lines are of with "
                        f"--regime=NAME, one of {names}, or add the column")


def _settings(taken: dict[str, str], regime: str | None) -> list[str]:
    """Which words were taken for which regimes."""
    notes = [f"all lines are {REGIMES[regime].title} (--regime)"] if regime else []
    if taken:
        notes.append("settings: " + ", ".join(f"{printable(text)!r} is {title}" for text, title in taken.items()))
    return notes


# ---- what the cells mean together --------------------------------------------------------------------


def _one_spelling(cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    """Networks and data sets by the catalog's names; custom ones by the first spelling there is of them."""
    notes = []
    names: dict[str, dict[str, str]] = {}
    for kind, catalog in (("network", NETWORK_NAMES), ("dataset", DATASET_NAMES)):
        spellings: dict[tuple, list[str]] = {}
        for text in dict.fromkeys(cell.values[kind] for cell in cells):
            bare, image_size = parse_sized(text)
            spellings.setdefault((spelling(bare) or bare, image_size), []).append(text)
        names[kind] = {}
        for (key, image_size), texts in spellings.items():
            name = catalog.get(key, parse_sized(texts[0]).network)
            names[kind] |= dict.fromkeys(texts, at_size(name, image_size) if image_size else name)
        alike = [" and ".join(repr(printable(text)) for text in texts)
                 for texts in spellings.values() if len(texts) > 1]
        if alike:
            notes.append(f"taken as one {'data set' if kind == 'dataset' else kind} each: {', '.join(alike)}")
    return [cell._replace(values=cell.values | {kind: names[kind][cell.values[kind]] for kind in names})
            for cell in cells], notes


def _as_fractions(table: Table, cells: list[Cell]) -> tuple[list[Cell], list[str], list[str]]:
    """The accuracies as fractions, by what each column shows: percent or fractions.

    Returns:
      (the cells, the columns' unit in words, what is surprising in words).
    """
    numbers: dict[str, dict[object, float]] = {}  # column -> line -> number
    for cell in cells:
        for field in NUMBER_FIELDS:
            numbers.setdefault(cell.columns[field], {})[cell.line] = cell.values[field]
    percent, low = {}, []
    for column, by_line in numbers.items():
        known = {line: value for line, value in by_line.items() if not math.isnan(value)}
        small = {line: value for line, value in known.items()
                 if 0 < value <= 1 and (line, column) not in table.certain}
        large = {line: value for line, value in known.items() if value > 1 or (line, column) in table.certain}
        percent[column] = bool(large) or table_columns.says_percent(column)
        if small and not large and table_columns.says_percent(column):
            line, value = next(iter(small.items()))
            raise UserError(f"{table.origin}, column {column!r}: expected percent as its heading says, found only "
                            f"numbers up to 1, such as {value:g} (line {line}): multiply the column by 100, or take "
                            "the sign out of the heading")
        if not (small and large) or table_columns.says_percent(column):
            continue
        (a, first), (b, second) = next(iter(large.items())), next(iter(small.items()))
        if len(small) > max(1, FEW * len(known)) or len(known) == 2:
            raise UserError(
                f"{table.origin}, column {column!r}: expected percent or fractions throughout, found {first:g} (line "
                f"{a}) and {second:g} (line {b}): write all as one, or a percent sign behind each that is percent")
        low += [f"{value:g} in line {line}, column {printable(column)!r}" for line, value in small.items()]
    units = {column: "percent" if is_percent else "fractions" for column, is_percent in percent.items()
             if any(not math.isnan(value) for value in numbers[column].values())}
    fractions = [column for column, unit in units.items() if unit == "fractions"]
    kind = "percent" if len(fractions) < len(units) else "fractions"
    surprises = []
    if 0 < len(fractions) < len(units):
        kind = f"fractions in {listed(fractions)}, percent in the other columns"
        surprises.append(kind)
    if low:
        surprises.append(f"taken as percent like the rest of their columns: {', '.join(low[:5])}")

    def scaled(cell: Cell) -> Cell:
        values = {field: cell.values[field] / (100 if percent[cell.columns[field]] else 1) for field in NUMBER_FIELDS}
        return cell._replace(values=cell.values | values)

    return [scaled(cell) for cell in cells], [] if kind in surprises else [f"numbers are {kind}"], surprises


def _check_unique(origin: str, cells: list[Cell]) -> None:
    """Raises UserError for a cell given twice, or a network with two source accuracies."""
    seen: dict[tuple, object] = {}
    sources: dict[str, tuple] = {}
    for label, _, values in cells:
        key = (values["regime"], values["network"], values["dataset"])
        if key in seen:
            raise UserError(f"{origin}: lines {seen[key]} and {label} both give {', '.join(key)}: remove one, or name "
                            "the networks apart (case, blanks and hyphens do not)")
        seen[key] = label
        source = values["source_accuracy"]
        first, other = sources.setdefault(values["network"], (label, source))
        if not np.array_equal(source, other, equal_nan=True):
            raise UserError(f"{origin}: lines {first} and {label} give {values['network']} the source accuracies "
                            f"{100 * other:g} % and {100 * source:g} %: expected one, correct it or name the networks "
                            "apart")


def _means(cells: list[Cell]) -> list[str]:
    """Columns that are the mean of all the others, in every line, to a rounded digit."""
    wide = pd.DataFrame({column: pd.Series({cell.line: cell.values["accuracy"] for cell in cells
                                            if cell.columns["accuracy"] == column})
                         for column in dict.fromkeys(cell.columns["accuracy"] for cell in cells)})
    if wide.shape[1] < 3 or len(wide) < 3 or wide.isna().to_numpy().any():
        return []
    return [column for column in wide if len(set(wide[column])) > 1 and np.allclose(
        wide[column], wide.drop(columns=column).mean(axis=1), rtol=0, atol=6e-4)]


def _check_extremes(table: Table, cells: list[Cell]) -> None:
    """Raises UserError for 0 or 100 % of an unknown number of examples: its log-odds are not finite."""
    for field, number in (("accuracy", "n"), ("source_accuracy", "source_n")):
        for cell in cells:
            if cell.values[field] in (0, 1) and cell.values[number] is None:
                column = cell.columns[field]
                name = number if column == "accuracy" or number == "source_n" else f"{column} n"
                raise UserError(
                    f"{table.origin}, line {cell.line}, column {column!r}: an accuracy of exactly "
                    f"{100 * cell.values[field]:.0f} % has no finite log-odds unless the number of its test examples "
                    f"is known: give it in a column {name!r}, for example 1880 in this line, or leave the cell empty")
