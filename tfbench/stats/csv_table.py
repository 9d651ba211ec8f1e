"""Accuracies as people write them in a table: a published one, or the accuracies.csv of another report.

The table has one of two forms:

    wide  setting,model,imagenet_top1[…],DATASET,DATASET,…  a line per regime and network
    long  regime,network,dataset,accuracy[,n],source_accuracy[,source_n][,…]  as reports write it

Settings are logreg, finetune, random_init, or the regimes' names. Networks and data sets go by the catalogs' names or
titles ("ResNet-50"), or are custom. Accuracies are all percent or all fractions, which shows in the numbers. An empty
cell is a missing result.
"""

import csv
import io
import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.results.titles import at_size, parse_sized

NAMES = {entry.title: name for catalog in (NETWORKS, DATASETS) for name, entry in catalog.items()}  # by their titles
SETTINGS = {regime.published: name for name, regime in REGIMES.items() if regime.published}
COLUMNS = ("regime", "network", "dataset", "accuracy", "n", "source_accuracy", "source_n")  # of the long form
COUNTS = ("n", "source_n")  # those that may lack


class Cell(NamedTuple):
    """One accuracy, and where it stands: the label of its line, and the column."""

    line: object
    column: str
    values: dict


def read(path) -> pd.DataFrame:
    """The cells of a CSV file as text, indexed by the number of their line.

    Raises:
      UserError: an unreadable or empty file, columns without a name of their own, a line of another length.
    """
    try:
        with io.StringIO(as_path(path).read_bytes().decode("utf-8-sig"), newline="") as file:
            reader = csv.reader(file, strict=True)
            numbered = [(reader.line_num, line) for line in reader if any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path} as a CSV file ({why}): name a readable UTF-8 CSV file with "
                        "--accuracies=FILE") from error
    if not numbered:
        raise UserError(f"{path}: expected a CSV file with a header, found an empty one: name another with "
                        "--accuracies=FILE")
    (_, first), *lines = numbered
    header = [name.strip() for name in first]
    for number, line in lines:
        if len(line) != len(header):
            raise UserError(f"{path}, line {number}: expected {len(header)} cells as in the header, found "
                            f"{len(line)}: add or remove commas")
    return pd.DataFrame([line for _, line in lines], [number for number, _ in lines], header, dtype=object)


def records_of(table: pd.DataFrame, origin: str, source_column: str | None = None) -> list[dict]:
    """The results in a table of either form: dictionaries with COLUMNS as keys, accuracies as fractions.

    Args:
      table: of text or numbers.
      origin: what error lines call it, e.g. its file.
      source_column: which column of the wide form is the source accuracy, where several begin with imagenet_top1.

    Raises:
      UserError: missing or doubled columns or lines, a cell out of range, percent mixed with fractions, no accuracies;
        line and column are named.
    """
    header = [str(name) for name in table.columns]
    if len(set(header)) < len(header) or "" in header:
        raise UserError(f"{origin}: expected a name of its own for every column, found {','.join(header)}: "
                        "rename the columns")
    lines = [(label, dict(zip(header, map(_text, line), strict=True)))
             for label, line in zip(table.index, table.astype(object).to_numpy(), strict=True)]
    cells = _long(origin, header, lines) if "dataset" in header else _wide(origin, header, lines, source_column)
    _check_unique(origin, cells)
    scale = _scale(origin, cells)
    results = [{**values, "accuracy": values["accuracy"] / scale, "source_accuracy": values["source_accuracy"] / scale}
               for _, _, values in cells if not math.isnan(values["accuracy"])]
    if not results:
        raise UserError(f"{origin}: expected lines with accuracies below the header, found none: add results")
    return results


def _text(value) -> str:
    """A cell as a CSV file would hold it; "" where it is missing."""
    if value is None or value is pd.NA or isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # counts beside missing ones are floats
    return str(value).strip()


def _wide(origin, header, lines, source_column) -> list[Cell]:
    sources = [name for name in header if name.startswith("imagenet_top1") or name == "source_accuracy"]
    datasets = [name for name in header if name not in ("setting", "model", *sources, source_column)]
    if not {"setting", "model"} <= set(header) or not (sources or source_column) or not datasets:
        raise UserError(f"{origin}: expected the columns setting, model, imagenet_top1… and one per data "
                        f"set, found {', '.join(header)}: rename or add columns")
    if source_column is None and len(sources) > 1 or source_column not in (None, *header):
        present = f"{source_column} is none of {', '.join(header)}" if source_column else ", ".join(sources)
        raise UserError(f"{origin}: expected one column of source accuracies, found {present}: name it with "
                        "--source_column=COLUMN")
    source = source_column or sources[0]
    cells = []
    for label, line in lines:
        shared = {"regime": _regime(origin, label, line["setting"]), "network": _name(origin, label, "model", line),
                  "n": None, "source_n": None, "source_accuracy": _number(origin, label, source, line)}
        cells += [Cell(label, dataset, {**shared, "dataset": NAMES.get(dataset, dataset),
                                        "accuracy": _number(origin, label, dataset, line)}) for dataset in datasets]
    return cells


def _long(origin, header, lines) -> list[Cell]:
    if absent := [name for name in COLUMNS if name not in (*header, *COUNTS)]:
        raise UserError(f"{origin}: expected the columns {', '.join(COLUMNS)}, found no {', '.join(absent)}: "
                        "add them")
    return [Cell(label, "accuracy", {
        "regime": _regime(origin, label, line["regime"]),
        **{name: _name(origin, label, name, line) for name in ("network", "dataset")},
        **{name: _number(origin, label, name, line) for name in ("accuracy", "source_accuracy")},
        **{name: _count(origin, label, name, line) for name in COUNTS}}) for label, line in lines]


def _regime(origin, label, text) -> str:
    regime = SETTINGS.get(text.lower(), text.lower())
    if regime not in REGIMES:
        known = ", ".join([*SETTINGS, *REGIMES])
        raise UserError(f"{origin}, line {label}: expected a setting among {known}, found {text!r}: correct it")
    return regime


def _name(origin, label, column, line) -> str:
    if not line[column]:
        raise UserError(f"{origin}, line {label}, column {column!r}: expected a name, found nothing: add it")
    name, image_size = parse_sized(line[column])
    name = NAMES.get(name, name)
    return at_size(name, image_size) if image_size else name


def _number(origin, label, column, line) -> float:
    """The cell as a number in [0, 100], NaN when empty."""
    text = line[column]
    try:
        value = float(text) if text else math.nan
    except ValueError:
        value = -1.0
    if text and not 0 <= value <= 100:
        raise UserError(f"{origin}, line {label}, column {column!r}: expected an accuracy from 0 to 100 % "
                        f"(or 0 to 1), found {text!r}: correct it, or leave it empty where there is no result")
    return value


def _count(origin, label, column, line) -> int | None:
    text = line.get(column, "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise UserError(f"{origin}, line {label}, column {column!r}: expected a number of examples above 0, "
                        f"found {text!r}: correct it or leave it empty")
    return int(text) if text else None


def _check_unique(origin, cells: list[Cell]) -> None:
    """Raises UserError for a cell given twice, or a network with two source accuracies."""
    seen: dict[tuple, object] = {}
    sources: dict[str, tuple] = {}
    for label, _, values in cells:
        key = (values["regime"], values["network"], values["dataset"])
        if key in seen:
            raise UserError(f"{origin}: lines {seen[key]} and {label} both give {', '.join(key)}: remove one")
        seen[key] = label
        source = values["source_accuracy"]
        first, other = sources.setdefault(values["network"], (label, source))
        if not np.array_equal(source, other, equal_nan=True):
            raise UserError(f"{origin}: lines {first} and {label} give {values['network']} the source accuracies "
                            f"{other:g} and {source:g}: expected one, correct it or name the networks apart")


def _scale(origin, cells: list[Cell]) -> float:
    """100 where the table's accuracies are percent, 1 where fractions; UserError where mixed."""
    entries = [(cell.values[name], cell.line, cell.column if name == "accuracy" else "source accuracy")
               for cell in cells for name in ("accuracy", "source_accuracy")]
    percent = [entry for entry in entries if entry[0] > 1]
    fractions = [entry for entry in entries if 0 < entry[0] <= 1]
    if percent and fractions:
        (a, line_a, column_a), (b, line_b, column_b) = percent[0], fractions[0]
        raise UserError(f"{origin}: expected percent or fractions throughout, found {a:g} (line {line_a}, "
                        f"column {column_a!r}) and {b:g} (line {line_b}, column {column_b!r}): write all as one")
    return 100.0 if percent else 1.0
