"""Which networks a data set can tell apart: tests and intervals from predictions beside records (appendix A.1)."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from tfbench.errors import UserError
from tfbench.results import store
from tfbench.results.titles import dataset_title, record_label
from tfbench.stats import accuracies, intervals, significance, transforms
from tfbench.stats.correlation import named_logit
from tfbench.stats.metrics import METRICS, Metric
from tfbench.wording import agree

MEAN = "mean over data sets"  # stands for the data set where averages are compared
BEST_TYPES = {"p_best": float, "p_best_holm": float, "like_best": "boolean", "like_best_holm": "boolean"}
CELL_COLUMNS = ("regime", "network", "dataset", "low", "high", "interval", *BEST_TYPES)
PAIR_COLUMNS = ("regime", "dataset", "network", "other", "difference", "p", "test")


def on_data_sets(records: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Tests of all pairs of networks on each data set in each regime, and an interval for each accuracy.

    Args:
      records: of the main table (budgets.split), as store.read_records gives them.

    Returns:
      cells: CELL_COLUMNS, a row per record. low, high: ends of the accuracy's 95 % interval (fractions; NaN where there
        is none); interval: its method. p_best…: the comparison with the best network: p, p by Holm's correction for all
        the comparisons with the best, and whether either is above .05; NaN and <NA> where not tested.
      pairs: PAIR_COLUMNS, a row per pair tested; difference in accuracy (fractions).
      notes: in words, what could not be tested and why.

    Raises:
      UserError: a damaged file of predictions, or a metric that METRICS lacks.
    """
    by_dataset = defaultdict(list)
    for record in records:
        by_dataset[record["dataset"]].append(record)
    cells: list[pd.DataFrame] = []
    pairs: list[pd.DataFrame] = []
    notes: list[str] = []
    for group in by_dataset.values():
        cells_of_group, pairs_of_group, notes_of_group = _on_one(group)
        cells += cells_of_group
        pairs += pairs_of_group
        notes += notes_of_group
    return cells_of(cells), _pairs_of(pairs), notes


def on_average(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same for means over data sets, by paired t-tests of log-odds, of the data sets that all networks have.

    Returns:
      networks: a row per regime and network: regime, network, source_accuracy, datasets (number), mean_log_odds, the
        same as accuracy, p_best… as in on_data_sets, adjusted log-odds and Morey's standard_error.
      pairs: PAIR_COLUMNS, the difference in log-odds.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples.
    """
    sources = table.drop_duplicates("network").set_index("network")["source_accuracy"]
    networks, pairs = [], []
    for regime in accuracies.regimes(table):
        accuracy = accuracies.without_partial_sizes(accuracies.pivot(table, regime)).dropna(axis=1)
        names = list(accuracy.index)
        if not accuracy.shape[1]:
            continue
        n = accuracies.pivot(table, regime, "n").loc[names, accuracy.columns].to_numpy()
        x = named_logit(accuracy.to_numpy(), n, names, list(accuracy.columns))
        means, p = x.mean(axis=1), significance.t_test(x)
        networks.append(pd.DataFrame({
            "regime": regime, "network": names, "source_accuracy": sources[names].to_numpy(float),
            "datasets": accuracy.shape[1], "mean_log_odds": means, "accuracy": special.expit(means),
            **_against_the_best(means, p), "adjusted": transforms.adjusted(x).mean(axis=1),
            "standard_error": transforms.standard_errors(x)}))
        pairs.append(_tested(regime, MEAN, names, means, p, "paired t-test"))
    columns = ("regime", "network", "source_accuracy", "datasets", "mean_log_odds", "accuracy", *BEST_TYPES, "adjusted",
               "standard_error")
    frame = pd.concat(networks, ignore_index=True) if networks else pd.DataFrame(columns=columns)
    return frame.astype({"datasets": "Int64", **BEST_TYPES}), _pairs_of(pairs)


def cells_of(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of CELL_COLUMNS; what `tables` lack is missing."""
    frame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=CELL_COLUMNS)
    return frame.reindex(columns=CELL_COLUMNS).astype({"low": float, "high": float} | BEST_TYPES)


def _pairs_of(tables: list[pd.DataFrame]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PAIR_COLUMNS)


def _on_one(records: Sequence[Mapping[str, Any]]) -> tuple[list[pd.DataFrame], list[pd.DataFrame], list[str]]:
    """on_data_sets for one data set, whose records share a metric; tables per regime."""
    name, dataset = records[0]["metric"], records[0]["dataset"]
    if name not in METRICS:
        raise UserError(f"row {record_label(records[0])}: expected a metric among {', '.join(METRICS)}, found "
                        f"{name!r}: add it to METRICS (stats/metrics.py), or move the row away")
    metric = METRICS[name]
    # Read one by one: NumPy's reader parses, and Python's parser can fail where several threads do (cpython#106905).
    kept = [store.read_predictions(record) for record in records]
    with ThreadPoolExecutor() as threads:  # NumPy lets go of the interpreter's lock
        outputs = list(threads.map(lambda record, arrays: checked(metric, record, arrays), records, kept))
        ends = _intervals(metric, records) or list(
            threads.map(lambda record, arrays: interval_of(metric, record, arrays), records, outputs))
    notes = [f"the predictions beside {record_label(record)} do not give its accuracy: not tested"
             for record, arrays, checked in zip(records, kept, outputs, strict=True) if arrays and not checked]
    if absent := kept.count(None):
        notes.append(f"{absent} of {len(records)} rows on {dataset_title(dataset)} "
                     f"{agree(absent, 'has', 'have')} no predictions beside {agree(absent, 'it', 'them')}: not tested")
    if not metric.contributions:
        notes = [f"{metric.title}, on {dataset_title(dataset)}, has no test: not tested"]
    cells, pairs = [], []
    for regime, (indices, p) in _p_values(metric, records, outputs).items():
        names = [records[i]["network"] for i in indices]
        scores = np.array([records[i]["accuracy"] for i in indices])
        low, high, method = zip(*(ends[i] for i in indices), strict=True)
        cells.append(pd.DataFrame({"regime": regime, "network": names, "dataset": dataset, "low": low, "high": high,
                                   "interval": method, **_against_the_best(scores, p)}))
        pairs.append(_tested(regime, dataset, names, scores, p, metric.test))
    return cells, pairs, notes


def checked(metric: Metric, record: Mapping[str, Any], arrays: dict | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Labels and outputs of a record's predictions; None unless they give its accuracy.

    Those of a network that diverged do not.
    """
    if arrays is None:
        return None
    labels, outputs = arrays["labels"], arrays["scores" if "scores" in arrays else "predictions"]
    if len(labels) != record["n_test"] or len(outputs) != len(labels):
        return None
    accuracy = metric.check(labels, outputs)
    if accuracy is None or abs(accuracy - record["accuracy"]) >= 1e-4:
        return None
    return labels, outputs


def interval_of(metric: Metric, record: Mapping[str, Any], outputs: tuple | None) -> tuple[float, float, str]:
    """Ends and method of one accuracy's 95 % interval; NaN and "" where nothing gives one.

    Args:
      outputs: labels and outputs, as `checked` gives them.
    """
    if metric.counts:
        n = record["n_test"]
        low, high = intervals.clopper_pearson(round(record["accuracy"] * n), n)
        return float(low), float(high), "Clopper-Pearson"
    if outputs and metric.interval:
        return *metric.interval(*outputs), "bootstrap"
    return np.nan, np.nan, ""


def _intervals(metric: Metric, records: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, str]]:
    """interval_of each record at once where the metric counts right answers, else none."""
    if not metric.counts:
        return []
    n = np.array([record["n_test"] for record in records])
    low, high = intervals.clopper_pearson(np.round([record["accuracy"] for record in records] * n).astype(int), n)
    return [(a, b, "Clopper-Pearson") for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _p_values(metric: Metric, records: Sequence[Mapping[str, Any]], outputs) -> dict[str, tuple[list[int], np.ndarray]]:
    """Regime -> (indices into `records`, p of each pair of these, NaN where not tested on the same images)."""
    by_regime: dict[str, list[int]] = defaultdict(list)
    same_images: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for i, (record, kept) in enumerate(zip(records, outputs, strict=True)):
        position = len(by_regime[record["regime"]])
        by_regime[record["regime"]].append(i)
        if kept is not None and metric.contributions:
            labels = hashlib.sha256(np.ascontiguousarray(kept[0]).tobytes()).digest()
            images = (record.get("test_split") or {}).get("sha256"), labels
            same_images[images][record["regime"]].append((position, metric.contributions(*kept)))
    p = {regime: np.full((len(indices),) * 2, np.nan) for regime, indices in by_regime.items()}
    for group in same_images.values():
        tested = metric.compare([np.stack([x for _, x in members]) for members in group.values()])
        for (regime, members), matrix in zip(group.items(), tested, strict=True):
            positions = [position for position, _ in members]
            p[regime][np.ix_(positions, positions)] = matrix
    return {regime: (indices, p[regime]) for regime, indices in by_regime.items()}


def _against_the_best(scores: np.ndarray, p: np.ndarray) -> dict:
    """BEST_TYPES' columns for networks with these scores [M] and p of each pair [M, M]."""
    best = significance.like_the_best(scores, p)

    def like(values) -> pd.Series:
        return pd.Series(values > significance.ALPHA, dtype="boolean").mask(np.isnan(values))

    return dict(zip(BEST_TYPES, (best.p, best.p_holm, like(best.p), like(best.p_holm)), strict=True))


def _tested(regime: str, dataset: str, names: list[str], scores, p, test: str) -> pd.DataFrame:
    """PAIR_COLUMNS of the pairs that were tested."""
    i, j = np.nonzero(np.triu(~np.isnan(p), 1))
    network, other = np.array(names, dtype=object)[[i, j]]
    return pd.DataFrame({"regime": regime, "dataset": dataset, "network": network, "other": other,
                         "difference": scores[i] - scores[j], "p": p[i, j], "test": test}, columns=PAIR_COLUMNS)
