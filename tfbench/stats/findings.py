"""Everything that the analysis finds, computed once: terminal, page, CSV, JSON and Markdown only show it."""

import dataclasses
from collections import Counter, defaultdict

import numpy as np
import pandas as pd

from tfbench.models.catalog import NETWORKS
from tfbench.results.record import fits, images_per_second
from tfbench.results.titles import dataset_title
from tfbench.stats import accuracies, additive, budgets, correlation, curves, pairs, published
from tfbench.wording import count

CELL = ["regime", "network", "dataset"]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found. Frames hold fractions and log-odds; report/tables.py says what their columns mean.

    Attributes:
      origin: where the accuracies came from, in words.
      table: the accuracies (stats/accuracies.py). rows: the runs they came from, none for a CSV file.
      correlations: per regime, over all data sets (stats/correlation.py). views, by_dataset: over parts, on each.
      cells: the table with intervals, tests against the best network of its column, cost, and the networks'
        parameters (without the logits layer) and multiply_adds (10^9 per image at their own size), NaN where unknown.
      networks: means over data sets, by regime and network.
      pairs: all tests of two networks.
      models: per regime the additive model, where there is one (stats/additive.py).
      wins: in how many cells fine-tuning is better than another regime.
      paper: cells beside the paper's; empty where there is none in common, or the table is the paper's own.
      convergence, few_examples: curves (stats/curves.py). ablation: ways to pretrain (stats/ablation.py).
      solver: how well the logistic regressions were solved, by network and data set.
      cost: time by regime and network.
      notes: what could not be tested; left_out: which runs are not in the table; mismatches: unequal test splits;
        incomplete: data sets that are not whole, or failed their verification. In words, an item each.
    """

    origin: str
    table: pd.DataFrame
    rows: list[dict]
    correlations: dict[str, correlation.Correlation]
    views: pd.DataFrame
    by_dataset: pd.DataFrame
    cells: pd.DataFrame
    networks: pd.DataFrame
    pairs: pd.DataFrame
    models: dict[str, additive.Additive]
    wins: pd.DataFrame
    paper: pd.DataFrame
    convergence: pd.DataFrame
    few_examples: pd.DataFrame
    ablation: pd.DataFrame
    solver: pd.DataFrame
    cost: pd.DataFrame
    notes: list[str]
    left_out: list[str]
    mismatches: list[str]
    incomplete: list[str]


def find(table: pd.DataFrame, rows=(), *, origin="", ablation=None, mismatches=()) -> Findings:
    """All statistics of an accuracies table.

    Args:
      table: accuracies (stats/accuracies.py).
      rows: the runs that the table came from (store.read_records); their predictions are read and tested.
      ablation: of stats/ablation.py, or None.
      mismatches: of accuracies.mismatches, where they were allowed.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples; damaged predictions.
    """
    rows = list(rows)
    kept = [row for row in budgets.split(budgets.unique(rows))[0] if row["dataset"] in set(table["dataset"])]
    tested, on_data_sets, notes = pairs.on_data_sets(kept)
    networks, on_average = pairs.on_average(table)
    tested = tested if rows else pairs.cells_of(table[CELL].to_dict("records"))  # a CSV file has no predictions
    cells = table.merge(tested, on=CELL, how="left").merge(_costs(kept), on=CELL, how="left")
    models = {regime: additive.fit(table, regime) for regime in accuracies.regimes(table)}
    wins = pd.DataFrame(accuracies.comparisons(table), columns=["regime", "other", "better", "equal", "cells"])
    own = published.is_the_papers(table)
    cells = cells.assign(**_sizes(cells["network"], kept))
    return Findings(
        origin, table, rows, correlation.per_regime(table), correlation.views(table), correlation.by_dataset(table),
        cells, networks, pd.concat([on_average, on_data_sets], ignore_index=True),
        {regime: model for regime, model in models.items() if model}, wins,
        published.beside_the_paper(cells.iloc[:0] if own else cells), curves.convergence(rows),
        curves.few_examples(rows), pd.DataFrame() if ablation is None else ablation, _solver(kept), _cost(cells), notes,
        curves.left_out(rows), list(mismatches), _incomplete(rows))


def _incomplete(rows: list[dict]) -> list[str]:
    """Data sets with other than the expected number of test images, or whose verification failed (data/verify.py)."""
    said = Counter()
    for row in rows:
        expected = (row.get("test_split") or {}).get("expected")
        if isinstance(expected, int) and expected != row["n_test"]:
            said[row["dataset"], f"tested on {row['n_test']:,} of {expected:,} images"] += 1
        if failed := [level for level, found in (row.get("verification") or {}).items() if found == "FAIL"]:
            said[row["dataset"], f"verification failed at {', '.join(failed)}"] += 1
    return [f"{dataset_title(dataset)}: {what} ({count(number, 'run')})" for (dataset, what), number in said.items()]


def _costs(rows: list[dict]) -> pd.DataFrame:
    """By cell: number of trials, hours for everything, images per second in training (median over its fits)."""
    lines = []
    for row in rows:
        lines.append({name: row[name] for name in CELL} | {
            "trials": len(row.get("trials") or ()), "hours": (row.get("seconds") or np.nan) / 3600,
            "images_per_second": images_per_second(row)})
    return pd.DataFrame(lines, columns=[*CELL, "trials", "hours", "images_per_second"]).astype(
        {"trials": "Int64", "hours": float, "images_per_second": float})


def _sizes(networks, rows: list[dict]) -> dict[str, list[float]]:
    """Parameters and 10^9 multiply-adds of each network: of the catalog, or as rows tell of the user's own; or NaN."""
    own = {row["network"]: row["own_network"] for row in rows if isinstance(row.get("own_network"), dict)}
    found = [vars(NETWORKS[name]) if name in NETWORKS else own.get(name, {}) for name in networks]
    return {size: [network.get(size, np.nan) for network in found] for size in ("parameters", "multiply_adds")}


def _cost(cells: pd.DataFrame) -> pd.DataFrame:
    """By regime and network: results, trials, hours and images per second; empty where no cell tells its time."""
    timed = cells[cells["hours"].notna()]
    return timed.groupby(["regime", "network"], sort=False).agg(
        results=("hours", "size"), trials=("trials", "sum"), hours=("hours", "sum"),
        images_per_second=("images_per_second", "median")).reset_index()


def _solver(rows: list[dict]) -> pd.DataFrame:
    """By logistic regression: how many of its fits are certified to be solved, iterations, largest gap."""
    lines = []
    for row in rows:
        found = fits(row)
        if row["regime"] == "logistic_regression" and found:
            values = defaultdict(list)
            for fit in found:
                for name in ("gap", "objective", "iterations"):
                    values[name].append(fit[name] if isinstance(fit.get(name), int | float) else np.nan)
            gap = np.array(values["gap"], float) / np.abs(np.array(values["objective"], float))
            lines.append({"network": row["network"], "dataset": row["dataset"], "fits": len(found),
                          "certified": sum(fit.get("certified") is True for fit in found),
                          "iterations": np.nansum(values["iterations"]),
                          "largest_relative_gap": np.nan if np.isnan(gap).all() else np.nanmax(gap)})
    return pd.DataFrame(lines, columns=["network", "dataset", "fits", "certified", "iterations",
                                        "largest_relative_gap"])


def ranking(cells: pd.DataFrame, dataset: str, regime: str) -> pd.DataFrame:
    """The networks on one data set in one regime, the most accurate first, beside what they cost.

    Returns:
      cells' columns, with rank (1 is best).
    """
    part = cells[(cells["dataset"] == dataset) & (cells["regime"] == regime)]
    part = part.sort_values("accuracy", ascending=False, kind="stable").reset_index(drop=True)
    part.insert(0, "rank", part["accuracy"].rank(method="min", ascending=False).astype(int))
    return part
