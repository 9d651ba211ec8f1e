"""Everything that the analysis finds, computed once: terminal, page, CSV, JSON and Markdown only show it."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.results.record import fitted_of, speed_of
from tfbench.results.titles import dataset_title, parse_sized
from tfbench.stats import ablation as ablations
from tfbench.stats import accuracies, additive, budgets, correlation, curves, pairs, placement, prediction, published
from tfbench.stats.budgets import Run
from tfbench.stats.duplicates import without_duplicates
from tfbench.wording import count

CELL = ["regime", "network", "dataset"]
MOST_DRAWN = 24  # data sets in figures, on the page and on the terminal; tables as files have all
COST_TYPES = {"trials": "Int64", "hours": float, "images_per_second": float}


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the analysis found. Frames hold fractions and log-odds; report/tables.py says what their columns mean.

    Attributes:
      origin: where the accuracies came from, in words.
      table: the accuracies (stats/accuracies.py). runs: those they came from, none for a CSV file.
      correlations: per regime, over all data sets (stats/correlation.py). views, by_dataset: over groups of data sets,
        on each one.
      cells: the table with intervals, tests against the best network of its column, cost, and the networks'
        parameters (without the logits layer) and multiply_adds (10^9 per image at their own size), NaN where unknown.
      rankings: `cells` by data set and regime, the most accurate first, with rank (1 is best) and costs (ranked).
      networks: means over data sets, by regime and network.
      pairs: all tests of two networks.
      models: per regime the additive model, where there is one (stats/additive.py).
      wins: in how many cells a regime is better than another.
      paper: cells beside the paper's; empty where there is none in common, or the table is the paper's own.
      state_of_the_art: the best result on each of the paper's data sets beside the best before the paper.
      sources: data set of pretraining -> correlations over all data sets, where results are of several.
      convergence, few_examples: curves; speeds, speed: how fast the former rise, each and by regime (stats/curves.py).
      ablation: ways to pretrain. ablation_effects: what each step from one to the next does (stats/ablation.py).
      prediction: how well estimates made without fine-tuning rank networks (stats/prediction.py).
      placement: the networks on a published figure (stats/placement.py), None where that was not asked for.
      solver: how well the logistic regressions were solved, by network and data set.
      cost: time by regime and network.
      duplicates: accuracies with and without the test images listed as near-duplicates (stats/duplicates.py).
      missing: (regime, network, data set) of the cells that ought to be in the table.
      taken: what the columns and cells of a table of accuracies were taken for; none for records.
      notes: what could not be tested, or was taken for something else; left_out: which runs are not in the table;
        mismatches: unequal test splits; incomplete: data sets that are not whole, or failed their verification. In
        words, an item each.
    """

    origin: str
    table: pd.DataFrame
    runs: list[Run]
    correlations: correlation.Correlations
    views: dict[str, correlation.Correlations]
    by_dataset: dict[str, correlation.Correlations]
    cells: pd.DataFrame
    rankings: pd.DataFrame
    networks: pd.DataFrame
    pairs: pd.DataFrame
    models: dict[str, additive.Additive]
    wins: pd.DataFrame
    paper: pd.DataFrame
    state_of_the_art: pd.DataFrame
    sources: dict[str, correlation.Correlations]
    convergence: pd.DataFrame
    few_examples: pd.DataFrame
    speeds: pd.DataFrame
    speed: pd.DataFrame
    ablation: pd.DataFrame
    ablation_effects: pd.DataFrame
    prediction: pd.DataFrame
    placement: placement.Placement | None
    solver: pd.DataFrame
    cost: pd.DataFrame
    duplicates: pd.DataFrame
    missing: list[tuple[str, str, str]]
    taken: list[str]
    notes: list[str]
    left_out: list[str]
    mismatches: list[str]
    incomplete: list[str]


def compute(table: pd.DataFrame, runs=(), *, origin="", ablation=None, mismatches=(), taken=(), notes=(),
            sources=None, duplicates=None, place_on=None) -> Findings:
    """All statistics of an accuracies table.

    Args:
      table: accuracies (stats/accuracies.py).
      runs: those that the table came from (accuracies.runs_of); their predictions are read and tested.
      ablation: of stats/ablation.py, or None.
      mismatches: of accuracies.mismatches, where they were allowed.
      sources: data set of pretraining -> the Correlations of its results, where there are several.
      taken: what a table of accuracies was taken for (accuracy_table.Reading). notes: what else was taken for what. In
        words, an item each.
      duplicates: {data set: keys of test images to leave out}, or None.
      place_on: of published.TABLES, or None.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples; damaged predictions.
    """
    unique, datasets = budgets.unique(list(runs)), set(table["dataset"])
    lines = ablations.together([]) if ablation is None else ablation
    in_table, left_out = budgets.split(unique)
    records = [run.record for run in in_table if run.record["dataset"] in datasets]
    tested, tested_pairs, untested = pairs.on_data_sets(records)
    networks, average_pairs = pairs.on_average(table)
    if not runs:
        tested = pairs.cells_of([table[CELL]])  # a CSV file has no predictions
    cells = table.merge(tested, on=CELL, how="left").merge(_costs(records), on=CELL, how="left")
    cells = cells.assign(**_sizes(cells["network"], records))
    convergence = curves.convergence(unique)
    of_curves = curves.speeds(convergence)
    models = {regime: additive.fit(table, regime) for regime in accuracies.regimes(table)}
    views = correlation.views(table)
    less, not_less = without_duplicates([run for run in unique if run.record["dataset"] in datasets], duplicates or {})
    predicted, unestimated = prediction.agreement(table, records)
    beside_paper = cells.iloc[:0] if published.is_the_papers(table) else cells
    findings = Findings(
        origin=origin, table=table, runs=list(runs),
        correlations=views.get(correlation.ALL, correlation.Correlations()), views=views,
        by_dataset=correlation.by_dataset(table), cells=cells, rankings=ranked(cells), networks=networks,
        pairs=pd.concat([average_pairs, tested_pairs], ignore_index=True),
        models={regime: model for regime, model in models.items() if model},
        wins=pd.DataFrame(accuracies.comparisons(table), columns=["regime", "other", "better", "equal", "cells"]),
        paper=published.beside_the_paper(beside_paper),
        state_of_the_art=published.beside_the_state_of_the_art(table), sources=dict(sources or {}),
        convergence=convergence, few_examples=curves.few_examples(unique), speeds=of_curves,
        speed=curves.speed(of_curves), ablation=lines, ablation_effects=ablations.effects(lines),
        prediction=predicted, placement=placement.place(place_on, table, records, runs) if place_on else None,
        solver=_solver(records), cost=_cost(cells), duplicates=less, missing=accuracies.missing(table, left_out),
        taken=list(taken), notes=[*notes, *curves.too_short(convergence), *untested, *not_less, *unestimated],
        left_out=curves.left_out(unique), mismatches=list(mismatches), incomplete=_incomplete(runs))
    return dataclasses.replace(findings, notes=[*findings.notes, *_not_drawn(findings)])


def drawn(findings: Findings) -> Findings:
    """The findings with the cells and curves of MOST_DRAWN data sets at most: what figures and page show.

    Those with most results are taken, of equally many the first. Means, correlations and tests stay those of all.
    """
    names = _data_sets(findings)
    if len(names) <= MOST_DRAWN:
        return findings
    kept = set(names[:MOST_DRAWN])
    frames = {name: frame[frame["dataset"].isin(kept)].reset_index(drop=True) for name in (
        "table", "cells", "rankings", "convergence", "few_examples", "speeds") for frame in (getattr(findings, name),)}
    models = {regime: dataclasses.replace(
        model, datasets=model.datasets[model.datasets.index.isin(kept)],
        residuals=model.residuals.loc[:, model.residuals.columns.isin(kept)])
        for regime, model in findings.models.items()}
    return dataclasses.replace(findings, **frames, models=models)


def _data_sets(findings: Findings) -> list[str]:
    """All data sets, those with most cells and points of curves first."""
    names = pd.concat([frame["dataset"] for frame in (findings.table, findings.convergence, findings.few_examples)])
    numbers = names.groupby(names, sort=False).size()
    return list(numbers.sort_values(ascending=False, kind="stable").index)


def _not_drawn(findings: Findings) -> list[str]:
    number = len(_data_sets(findings))
    return [f"figures, page and terminal show {MOST_DRAWN} of {count(number, 'data set')}, those with most results; "
            "means and tests are of all, the tables' CSV files have all; --dataset=NAME,… shows others"
            ] if number > MOST_DRAWN else []


def ranked(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` by data set and regime, as they first come, in each the most accurate first.

    Returns:
      the columns of `cells` with rank (1 is best), megabytes (10^6 bytes of the parameters in float32), milliseconds
      (per image, where features were computed: the median over data sets; NaN where they were not) and frontier:
      whether no other network is at least as accurate and as cheap, and better in one of them. Cheap: in milliseconds
      where all of the group have them, else in multiply-adds; <NA> where these are unknown too.
    """
    groups = cells.groupby(["dataset", "regime"], sort=False)
    fixed = cells[cells["regime"].isin([name for name, regime in REGIMES.items() if not regime.trains])]
    speeds = fixed.groupby("network")["images_per_second"].median()
    ordered = cells.assign(
        rank=groups["accuracy"].rank(method="min", ascending=False).astype(int), group=groups.ngroup(),
        megabytes=cells["parameters"] * 4 / 1e6, milliseconds=1000 / cells["network"].map(speeds).astype(float),
    ).sort_values(["group", "accuracy"], ascending=[True, False], kind="stable", ignore_index=True)
    on_frontier = pd.Series(pd.NA, ordered.index, dtype="boolean")
    for _, group in ordered.groupby("group"):
        cost = group[cost_of(group)]
        on_frontier[cost[cost.notna()].index] = _frontier(group["accuracy"], cost)[cost.notna()]
    return ordered.assign(frontier=on_frontier)[
        ["rank", *cells.columns, "megabytes", "milliseconds", "frontier"]]


def cost_of(ranking: pd.DataFrame) -> str:
    """The column that says what a network of one ranking costs."""
    return "milliseconds" if ranking["milliseconds"].notna().all() else "multiply_adds"


def _frontier(accuracy: pd.Series, cost: pd.Series) -> np.ndarray:
    """bool [n]: which of n networks no other dominates; those of unknown cost do not."""
    accuracies, costs = accuracy.to_numpy(float), cost.to_numpy(float)
    as_good = (accuracies[:, None] >= accuracies) & (costs[:, None] <= costs)
    better = (accuracies[:, None] > accuracies) | (costs[:, None] < costs)
    return ~(as_good & better).any(axis=0)


def _incomplete(runs) -> list[str]:
    """Data sets with other than the expected number of test images, or whose verification failed (data/verify.py)."""
    faults: Counter[tuple[str, str]] = Counter()
    for run in runs:
        record, dataset = run.record, run.record["dataset"]
        expected = (record.get("test_split") or {}).get("expected")
        if isinstance(expected, int) and expected != record["n_test"]:
            faults[dataset, f"tested on {record['n_test']:,} of {expected:,} images"] += 1
        if failed := [level for level, result in (record.get("verification") or {}).items() if result == "FAIL"]:
            faults[dataset, f"verification failed at {', '.join(failed)}"] += 1
    return [f"{dataset_title(dataset)}: {fault} ({count(number, 'run')})"
            for (dataset, fault), number in faults.items()]


def _costs(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """By cell: number of trials, hours for everything, images per second (record.speed_of)."""
    return pd.DataFrame([{
        **{name: record[name] for name in CELL}, "trials": fitted_of(record).trials,
        "hours": (record.get("seconds") or np.nan) / 3600, "images_per_second": speed_of(record)}
        for record in records], columns=[*CELL, *COST_TYPES]).astype(COST_TYPES)


def _sizes(networks, records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Parameters and 10^9 multiply-adds of each network, of the catalog or as records tell of custom ones; or NaN.

    A network named by its image size (budgets.by_size) has those of this size.
    """
    custom = {parse_sized(record["network"]).network: record["own_network"] for record in records
              if isinstance(record.get("own_network"), dict)}
    facts = []
    for name in networks:
        network, image_size = parse_sized(name)
        known = vars(NETWORKS[network]) if network in NETWORKS else custom.get(network, {})
        if image_size and known:  # convolutions take as many more as there are pixels
            known = known | {"multiply_adds": known["multiply_adds"] * (image_size / known["image_size"]) ** 2}
        facts.append(known)
    return {size: [network.get(size, np.nan) for network in facts] for size in ("parameters", "multiply_adds")}


def _cost(cells: pd.DataFrame) -> pd.DataFrame:
    """By regime and network: results, trials, hours and images per second; empty where no cell tells its time."""
    timed = cells[cells["hours"].notna()]
    return timed.groupby(["regime", "network"], sort=False).agg(
        results=("hours", "size"), trials=("trials", "sum"), hours=("hours", "sum"),
        images_per_second=("images_per_second", "median")).reset_index()


def _solver(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """By logistic regression: how many of its fits are certified to be solved, iterations, largest gap."""
    lines = []
    for record in records:
        solved = fitted_of(record)
        if not REGIMES[record["regime"]].search and solved.fits:
            lines.append((record["network"], record["dataset"], solved.fits, solved.certified, solved.iterations,
                          solved.largest_relative_gap))
    return pd.DataFrame(lines, columns=["network", "dataset", "fits", "certified", "iterations",
                                        "largest_relative_gap"])
