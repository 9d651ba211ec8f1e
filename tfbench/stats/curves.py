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
from tfbench.results.titles import parse_sized
from tfbench.stats import budgets
from tfbench.stats.budgets import Run
from tfbench.wording import count, either

CONVERGENCE = "Test accuracy in % by training steps. Each number of steps is a run of its own, searched for anew."
FEW_EXAMPLES = "Test accuracy in % by training examples per class: mean over subsets ± standard error of that mean."
CATALOGS = {"regime": list(REGIMES), "network": list(NETWORKS), "dataset": list(DATASETS)}  # column -> order of names


def convergence(runs: list[Run]) -> pd.DataFrame:
    """Accuracies of the cells that were trained for two or more numbers of steps, on all training examples.

    Args:
      runs: no two alike (budgets.unique); regimes without steps, pretraining and custom features are left out.

    Returns:
      A row per cell and number of steps, in the order of the catalogs: regime, network, dataset, steps, accuracy
      (test, fraction) and n (test examples, <NA> where unknown).
    """
    return _ordered([{**_cell(run), "steps": run.budget.steps, "accuracy": run.record["accuracy"],
                      "n": run.record.get("n_test")} for run in _over_steps(runs)],
                    {"steps": int, "accuracy": float, "n": "Int64"})


def few_examples(runs: list[Run]) -> pd.DataFrame:
    """Mean test accuracy of the cells that were trained on a few examples per class, over choices of these examples.

    Accuracies themselves are averaged, not their log-odds.

    Args:
      runs: no two alike (budgets.unique); pretraining and custom features are left out.

    Returns:
      A row per cell and number of examples, in the order of the catalogs: regime, network, dataset,
      examples_per_class, mean (fraction), standard_error (of the mean: sample standard deviation over subsets / root
      of their number; NaN for one), subsets (their number), n (test examples, <NA> where unknown).
    """
    points = defaultdict(list)
    for run in _on_few_examples(runs):
        points[run.cell, run.examples_per_class].append(run)
    lines = []
    for (_, examples), group in points.items():
        accuracies = [run.record["accuracy"] for run in group]
        error = np.std(accuracies, ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan
        lines.append({**_cell(group[0]), "examples_per_class": examples, "mean": np.mean(accuracies),
                      "standard_error": error, "subsets": len(group), "n": group[0].record.get("n_test")})
    return _ordered(lines, {"examples_per_class": int, "mean": float, "standard_error": float, "subsets": int,
                            "n": "Int64"})


def left_out(runs: list[Run]) -> list[str]:
    """What of `runs`, no two alike, the main table leaves out: per regime what it has instead, and an item per grid."""
    kept, others = budgets.split(runs)
    drawn = {id(run) for run in (*_over_steps(runs), *_on_few_examples(runs))}
    groups = defaultdict(list)
    for run in others:
        groups[run.regime, run.has_all_examples, run.budget.grid, id(run) in drawn].append(run)
    items = []
    for regime in in_order({run.regime for run in others}, "regime"):
        title, instead = REGIMES[regime].title, [run for run in kept if run.regime == regime]
        if instead:
            items.append(f"{title}: the table has {count(len(instead), 'row')} with {instead[0].budget.text}")
        for group in sorted((group for group in groups if group[0] == regime), reverse=True):
            items.append(f"{title}: left out of the table: {_described(groups[group])} "
                         f"({'drawn as curves' if group[-1] else 'in no curve either'})")
    return items


def in_order(names, column: str) -> list[str]:
    """The different ones of `names` in the order of the catalog that `column` refers to, unknown ones at the end."""
    return sorted(set(names), key=lambda name: _rank(name, column))


def _described(runs: list[Run]) -> str:
    """How many runs, on how many examples and of which budget; they share a grid, on few or on all examples."""
    examples = sorted({run.examples_per_class for run in runs if run.examples_per_class})
    steps = sorted({run.budget.steps for run in runs if run.budget.steps})
    text = count(len(runs), "row")
    if examples:
        text += f" on {either(f'{n:,}' for n in examples)} {'example' if examples == [1] else 'examples'} per class"
    text += " with "
    if steps:
        text += f"{either(f'{n:,}' for n in steps)} {'step' if steps == [1] else 'steps'}, "
    return text + runs[0].budget.grid.text


def _over_steps(runs: list[Run]) -> list[Run]:
    """The runs of `convergence`."""
    curves = defaultdict(list)
    for run in runs:
        if run.is_transfer and run.has_all_examples and run.budget.steps:
            curves[run.cell, run.budget.grid].append(run)
    return budgets.of_largest([run for curve in curves.values() if len(curve) > 1 for run in curve],
                              lambda run: run.budget.grid)


def _on_few_examples(runs: list[Run]) -> list[Run]:
    """The runs of `few_examples`."""
    few = [run for run in runs if run.is_transfer and not run.has_all_examples]
    return budgets.of_largest(few, lambda run: run.budget)


def _cell(run: Run) -> dict[str, str]:
    return dict(zip(CATALOGS, run.cell, strict=True))


def _rank(name: str, column: str) -> tuple[int, str]:
    catalog, network = CATALOGS[column], parse_sized(name).network
    return (catalog.index(network) if network in catalog else len(catalog), name)


def _ordered(lines: list[dict], types: dict) -> pd.DataFrame:
    """A table of CATALOGS' columns and those of `types`, sorted by catalog and then by the first of `types`."""
    along = next(iter(types))
    ordered = sorted(lines, key=lambda line: ([_rank(line[column], column) for column in CATALOGS], line[along]))
    return pd.DataFrame(ordered, columns=[*CATALOGS, *types]).astype(types)
