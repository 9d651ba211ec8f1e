"""Curves of accuracy against training steps (v3, section 4.6) and against training examples per class (4.7).

Along a curve nothing else differs: a regime's curves are those of its largest grid and batch size that has any, and
with few examples also of its largest number of steps, just as the main table is (stats/budgets.py).
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.stats import budgets
from tfbench.wording import count

CONVERGENCE = "Test accuracy in % by training steps. Each number of steps is a run of its own, searched for anew."
FEW_EXAMPLES = "Test accuracy in % by training examples per class: mean over subsets ± standard error of that mean."
CELL = {"regime": list(REGIMES), "network": list(NETWORKS), "dataset": list(DATASETS)}  # column -> its catalog's order


def convergence(rows: list[dict]) -> pd.DataFrame:
    """Accuracies of the cells that were trained for two or more numbers of steps, on all training examples.

    Args:
      rows: of a results folder; regimes without steps, pretraining and features of the user's own are left out.

    Returns:
      A line per cell and number of steps, in the order of the catalogs: regime, network, dataset, steps, accuracy
      (test, fraction) and n (test examples, <NA> where unknown).

    Raises:
      UserError: two different runs of one cell at the same budget.
    """
    return _ordered([_cell(row) | {"steps": budgets.budget(row).steps, "accuracy": row["accuracy"],
                                   "n": row.get("n_test")} for row in _rows_over_steps(rows)],
                    {"steps": int, "accuracy": float, "n": "Int64"})


def few_examples(rows: list[dict]) -> pd.DataFrame:
    """Mean test accuracy of the cells that were trained on a few examples per class, over choices of these examples.

    Accuracies themselves are averaged, not their log-odds.

    Args:
      rows: of a results folder; pretraining and features of the user's own are left out.

    Returns:
      A line per cell and number of examples, in the order of the catalogs: regime, network, dataset,
      examples_per_class, mean (fraction), standard_error (of the mean: sample standard deviation over subsets / root
      of their number; NaN for one), subsets (their number), n (test examples, <NA> where unknown).

    Raises:
      UserError: two different runs of one cell on the same subset at the same budget.
    """
    groups = defaultdict(list)
    for row in _rows_on_few_examples(rows):
        groups[(*_cell(row).values(), budgets.subset(row)[0])].append(row)
    records = []
    for (*cell, examples), group in groups.items():
        accuracies = [row["accuracy"] for row in group]
        spread = np.std(accuracies, ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan
        records.append(dict(zip(CELL, cell, strict=True)) | {
            "examples_per_class": examples, "mean": np.mean(accuracies), "standard_error": spread,
            "subsets": len(group), "n": group[0].get("n_test")})
    return _ordered(records, {"examples_per_class": int, "mean": float, "standard_error": float, "subsets": int,
                              "n": "Int64"})


def left_out(rows: list[dict]) -> list[str]:
    """What of `rows` the main table leaves out, in words: per regime what it has instead, and a line per grid."""
    kept, others = budgets.split(budgets.unique(budgets.transfers(rows)))
    drawn = {id(row) for row in (*_rows_over_steps(rows), *_rows_on_few_examples(rows))}
    groups = defaultdict(list)
    for row in others:
        groups[row["regime"], budgets.has_all_examples(row), budgets.budget(row).grid, id(row) in drawn].append(row)
    lines = []
    for regime in in_order({row["regime"] for row in others}, "regime"):
        instead = [row for row in kept if row["regime"] == regime]
        if instead:
            lines.append(f"{REGIMES[regime].title}: the table has {count(len(instead), 'row')} with "
                         f"{budgets.budget(instead[0]).text}")
        for group in sorted((group for group in groups if group[0] == regime), reverse=True):
            lines.append(f"{REGIMES[regime].title}: left out of the table: {_described(groups[group])} "
                         f"({'drawn as curves' if group[-1] else 'in no curve either'})")
    return lines


def _described(rows: list[dict]) -> str:
    """How many rows, on how many examples and of which budget; they share a grid, on few or on all examples."""
    steps, examples = ([f"{number:,}" for number in sorted(set(numbers) - {0, None})] for numbers in (
        [budgets.budget(row).steps for row in rows], [budgets.subset(row)[0] for row in rows]))
    on = f" on {_either(examples)} example{'s' * (examples != ['1'])} per class" if examples else ""
    over = f"{_either(steps)} step{'s' * (steps != ['1'])}, " if steps else ""
    return f"{count(len(rows), 'row')}{on} with {over}{budgets.budget(rows[0]).grid.text}"


def _either(words: list[str]) -> str:
    """ "1", "1 or 2", "1, 2 or 4"."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def in_order(names, column: str) -> list[str]:
    """The different ones of `names` in the order of the catalog that `column` refers to, unknown ones at the end."""
    return sorted(set(names), key=lambda name: _place(name, column))


def _rows_over_steps(rows: list[dict]) -> list[dict]:
    """The rows of `convergence`."""
    curves = defaultdict(list)
    for row in budgets.unique(budgets.transfers(rows)):
        if budgets.has_all_examples(row) and budgets.budget(row).steps:
            curves[(*_cell(row).values(), budgets.budget(row).grid)].append(row)
    return _of_largest([row for curve in curves.values() if len(curve) > 1 for row in curve],
                       lambda row: budgets.budget(row).grid)


def _rows_on_few_examples(rows: list[dict]) -> list[dict]:
    """The rows of `few_examples`."""
    found = [row for row in budgets.unique(budgets.transfers(rows)) if not budgets.has_all_examples(row)]
    return _of_largest(found, budgets.budget)


def _of_largest(rows: list[dict], budget_of) -> list[dict]:
    """Those of each regime's rows that have its largest `budget_of(row)`."""
    largest = budgets.largest(rows, budget_of)
    return [row for row in rows if budget_of(row) == largest[row["regime"]]]


def _cell(row: dict) -> dict[str, str]:
    return {name: row[name] for name in CELL}


def _place(name: str, column: str) -> tuple[int, str]:
    catalog = CELL[column]
    return (catalog.index(name) if name in catalog else len(catalog), name)


def _ordered(records: list[dict], types: dict) -> pd.DataFrame:
    """A table of CELL and the columns of `types`, sorted by catalog, and by the first of `types` along a curve."""
    along = next(iter(types))
    ordered = sorted(records, key=lambda r: ([_place(r[column], column) for column in CELL], r[along]))
    return pd.DataFrame(ordered, columns=[*CELL, *types]).astype(types)
