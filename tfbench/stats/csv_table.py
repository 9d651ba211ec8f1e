"""Accuracies from a CSV file: a published table, or the accuracies.csv of another report."""

import csv
import io
import math

import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.stats.accuracies import COLUMNS, table_of

NAMES = {row.title: name for catalog in (NETWORKS, DATASETS) for name, row in catalog.items()}  # by their titles
SETTINGS = {"logreg": "logistic_regression", "finetune": "finetune", "random_init": "train_from_scratch"}


def from_csv(path, source_column: str | None = None) -> pd.DataFrame:
    """The table (see accuracies.py) in a CSV file, in either form:

        wide  setting,model,imagenet_top1[…],DATASET,DATASET,…  one line per regime and network
        long  regime,network,dataset,accuracy[,n],source_accuracy[,source_n][,…]  as reports write it

    Settings are logreg, finetune, random_init, or the regimes' names. Networks and data sets go by the catalogs' names
    or titles ("ResNet-50"), or are the user's own. Accuracies are all percent or all fractions, which shows in the
    numbers. An empty cell is a missing result.

    Args:
      source_column: which column of the wide form is the source accuracy, where several begin with imagenet_top1.

    Raises:
      UserError: an unreadable file, missing or doubled columns or lines, a cell out of range,
        percent mixed with fractions; line and column are named.
    """
    header, lines = _read(path)
    cells = _long(path, header, lines) if "dataset" in header else _wide(path, header, lines, source_column)
    _check_unique(path, cells)
    scale = _scale(path, cells)
    records = [{key: value for key, value in cell.items() if key in COLUMNS}
               | {"accuracy": cell["accuracy"] / scale, "source_accuracy": cell["source_accuracy"] / scale}
               for cell in cells if not math.isnan(cell["accuracy"])]
    if not records:
        raise UserError(f"{path}: expected lines with accuracies below the header, found none: add results")
    return table_of(records)


def _read(path) -> tuple[list[str], list[tuple[int, dict]]]:
    """Column names, and (line number, {column: cell}) per line that is not empty."""
    try:
        with io.StringIO(as_path(path).read_bytes().decode("utf-8-sig"), newline="") as file:
            reader = csv.reader(file, strict=True)
            numbered = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path} as a CSV file ({why}): name a readable UTF-8 CSV file with "
                        "--accuracies=FILE") from error
    numbered = [(number, line) for number, line in numbered if any(line)]
    if not numbered:
        raise UserError(f"{path}: expected a CSV file with a header, found an empty one: name another with "
                        "--accuracies=FILE")
    (_, header), *rest = numbered
    if len(set(header)) < len(header) or "" in header:
        raise UserError(f"{path}: expected a name of its own for every column, found {','.join(header)}: "
                        "rename the columns")
    for number, line in rest:
        if len(line) != len(header):
            raise UserError(f"{path}, line {number}: expected {len(header)} cells as in the header, found "
                            f"{len(line)}: add or remove commas")
    return header, [(number, dict(zip(header, line, strict=True))) for number, line in rest]


def _wide(path, header, lines, source_column) -> list[dict]:
    """The cells of the wide form; "line" and "column" tell where each stands."""
    sources = [name for name in header if name.startswith("imagenet_top1") or name == "source_accuracy"]
    datasets = [name for name in header if name not in ("setting", "model", *sources, source_column)]
    if not {"setting", "model"} <= set(header) or not (sources or source_column) or not datasets:
        raise UserError(f"{path}: expected the columns setting, model, imagenet_top1… and one per data "
                        f"set, found {', '.join(header)}: rename or add columns")
    if source_column is None and len(sources) > 1 or source_column not in (None, *header):
        found = f"{source_column} is none of {', '.join(header)}" if source_column else ", ".join(sources)
        raise UserError(f"{path}: expected one column of source accuracies, found {found}: name it with "
                        "--source_column=COLUMN")
    source = source_column or sources[0]
    cells = []
    for number, line in lines:
        shared = {"line": number, "regime": _regime(path, number, line["setting"]),
                  "network": _name(path, number, "model", line), "n": None, "source_n": None,
                  "source_accuracy": _number(path, number, source, line)}
        cells += [shared | {"dataset": NAMES.get(dataset, dataset), "column": dataset,
                            "accuracy": _number(path, number, dataset, line)} for dataset in datasets]
    return cells


def _long(path, header, lines) -> list[dict]:
    """The cells of the long form; "line" and "column" tell where each stands."""
    absent = [name for name in COLUMNS if name not in header and name not in ("n", "source_n")]
    if absent:
        raise UserError(f"{path}: expected the columns {', '.join(COLUMNS)}, found no {', '.join(absent)}: "
                        "add them")
    return [{"line": number, "column": "accuracy", "regime": _regime(path, number, line["regime"]),
             "network": _name(path, number, "network", line), "dataset": _name(path, number, "dataset", line),
             "accuracy": _number(path, number, "accuracy", line), "n": _count(path, number, "n", line),
             "source_accuracy": _number(path, number, "source_accuracy", line),
             "source_n": _count(path, number, "source_n", line)} for number, line in lines]


def _regime(path, number, text) -> str:
    regime = SETTINGS.get(text.lower(), text.lower())
    if regime not in REGIMES:
        known = ", ".join([*SETTINGS, *REGIMES])
        raise UserError(f"{path}, line {number}: expected a setting among {known}, found {text!r}: correct it")
    return regime


def _name(path, number, column, line) -> str:
    if not line[column]:
        raise UserError(f"{path}, line {number}, column {column!r}: expected a name, found nothing: add it")
    return NAMES.get(line[column], line[column])


def _number(path, number, column, line) -> float:
    """The cell as a number in [0, 100], NaN when empty."""
    text = line[column]
    try:
        value = float(text) if text else math.nan
    except ValueError:
        value = -1.0
    if text and not 0 <= value <= 100:
        raise UserError(f"{path}, line {number}, column {column!r}: expected an accuracy from 0 to 100 % "
                        f"(or 0 to 1), found {text!r}: correct it, or leave it empty where there is no result")
    return value


def _count(path, number, column, line) -> int | None:
    text = line.get(column, "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise UserError(f"{path}, line {number}, column {column!r}: expected a number of examples above 0, "
                        f"found {text!r}: correct it or leave it empty")
    return int(text) if text else None


def _check_unique(path, cells) -> None:
    """Raises UserError for a cell given twice, or a network with two source accuracies."""
    seen, sources = {}, {}
    for cell in cells:
        key = (cell["regime"], cell["network"], cell["dataset"])
        if key in seen:
            raise UserError(f"{path}: lines {seen[key]} and {cell['line']} both give {cell['regime']}, "
                            f"{cell['network']}, {cell['dataset']}: remove one")
        seen[key] = cell["line"]
        source = cell["source_accuracy"]
        line, other = sources.setdefault(cell["network"], (cell["line"], source))
        if source != other and not (math.isnan(source) and math.isnan(other)):
            raise UserError(f"{path}: lines {line} and {cell['line']} give {cell['network']} the source "
                            f"accuracies {other:g} and {source:g}: expected one, correct it or name the networks apart")


def _scale(path, cells) -> float:
    """100 where the file's accuracies are percent, 1 where fractions; UserError where mixed."""
    values = [(value, cell["line"], cell["column"] if what == "accuracy" else "source accuracy")
              for cell in cells for what in ("accuracy", "source_accuracy")
              if not math.isnan(value := cell[what])]
    percent = [entry for entry in values if entry[0] > 1]
    fractions = [entry for entry in values if 0 < entry[0] <= 1]
    if percent and fractions:
        (a, line_a, column_a), (b, line_b, column_b) = percent[0], fractions[0]
        raise UserError(f"{path}: expected percent or fractions throughout, found {a:g} (line {line_a}, "
                        f"column {column_a!r}) and {b:g} (line {line_b}, column {column_b!r}): write all as one")
    return 100.0 if percent else 1.0
