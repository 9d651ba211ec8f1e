"""Which networks a data set can tell apart: tests and intervals from the predictions beside the rows (appendix A.1)."""

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from scipy import special

from tfbench.results import store
from tfbench.results.titles import dataset_title, record_label
from tfbench.stats import accuracies, intervals, metrics, significance, transforms
from tfbench.stats.correlation import named_logit

TESTS = {"top1": "exact McNemar", "mean_per_class": "permutation", "voc_map": "permutation of class decisions"}
WRONG = "wrong"
MEAN = "mean over data sets"  # stands for the data set where averages are compared
TYPES = {"p_best": float, "p_best_holm": float, "like_best": "boolean", "like_best_holm": "boolean"}
BEST = tuple(TYPES)  # how a network compares with the best one
CELLS = ("regime", "network", "dataset", "low", "high", "interval", *BEST)
PAIRS = ("regime", "dataset", "network", "other", "difference", "p", "test")


def on_data_sets(rows: list[dict]) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Tests of all pairs of networks on each data set in each regime, and an interval for each accuracy.

    Args:
      rows: of the main table (budgets.split), as store.read_records gives them.

    Returns:
      (cells, pairs, notes). Cells, a line per row: CELLS, where low and high are the ends of the accuracy's 95 %
      interval (fractions; NaN where there is none), interval its method, and p_best… compare the network with the best
      one: p, p by Holm's correction for all the comparisons with the best, and whether they are above .05; NaN and <NA>
      where not tested. Pairs, a line per pair tested: PAIRS, difference in accuracy (fractions). Notes, in words:
      what could not be tested and why.

    Raises:
      UserError: a damaged file of predictions.
    """
    datasets = defaultdict(list)
    for row in rows:
        datasets[row["dataset"]].append(row)
    cells, pairs, notes = [], [], []
    for group in datasets.values():
        for found, lines in zip((cells, pairs, notes), _on_one(group), strict=True):
            found += lines
    return cells_of(cells), pd.DataFrame(pairs, columns=PAIRS), notes


def on_average(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same for means over data sets, by paired t-tests of log-odds, of the data sets that all networks have.

    Returns:
      (networks, pairs). Networks, a line per regime and network: regime, network, source_accuracy, datasets (number),
      mean_log_odds, the same as accuracy, of BEST as in on_data_sets, adjusted log-odds and Morey's standard_error.
      Pairs: PAIRS, the difference in log-odds.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples.
    """
    sources = table.drop_duplicates("network").set_index("network")["source_accuracy"]
    networks, pairs = [], []
    for regime in accuracies.regimes(table):
        wide = accuracies.pivot(table, regime).dropna(axis=1)
        names = list(wide.index)
        if not wide.shape[1]:
            continue
        n = accuracies.pivot(table, regime, "n")[wide.columns].to_numpy()
        x = named_logit(wide.to_numpy(), n, names, list(wide.columns))
        means, p = x.mean(axis=1), significance.t_test(x)
        beside = zip(names, means, transforms.adjusted(x).mean(axis=1), transforms.standard_errors(x), strict=True)
        lines = [{"regime": regime, "network": name, "source_accuracy": sources[name], "datasets": wide.shape[1],
                  "mean_log_odds": mean, "accuracy": special.expit(mean), "adjusted": adjusted, "standard_error": error}
                 for name, mean, adjusted, error in beside]
        networks += [line | best for line, best in zip(lines, _best(means, p), strict=True)]
        pairs += _lines(regime, MEAN, names, means, p, "paired t-test")
    columns = ("regime", "network", "source_accuracy", "datasets", "mean_log_odds", "accuracy", *BEST, "adjusted",
               "standard_error")
    frame = pd.DataFrame(networks, columns=columns).astype(
        {"source_accuracy": float, "datasets": "Int64", "mean_log_odds": float, "accuracy": float, "adjusted": float,
         "standard_error": float} | TYPES)
    return frame, pd.DataFrame(pairs, columns=PAIRS)


def cells_of(lines: list[dict]) -> pd.DataFrame:
    """A table of CELLS; what `lines` do not say is missing."""
    return pd.DataFrame(lines, columns=CELLS).astype({"low": float, "high": float} | TYPES)


def _on_one(rows: list[dict]) -> tuple[list[dict], list[dict], list[str]]:
    """on_data_sets for one data set, whose rows share a metric."""
    metric = rows[0]["metric"]
    # Read one by one: NumPy's reader parses, and Python's parser can fail where several threads do (cpython#106905).
    kept = [store.read_predictions(row) for row in rows]
    with ThreadPoolExecutor() as threads:  # NumPy lets go of the interpreter's lock
        found = list(threads.map(_outputs, rows, kept))
        notes = [f"the predictions beside {record_label(row)} do not give its accuracy: not tested"
                 for row, outputs in zip(rows, found, strict=True) if outputs == WRONG]
        found = [None if outputs == WRONG else outputs for outputs in found]
        if absent := sum(outputs is None for outputs in found) - len(notes):
            notes.append(f"{absent} of {len(rows)} rows on {dataset_title(rows[0]['dataset'])} have no predictions "
                         "beside them: not tested")
        between = list(threads.map(_interval, rows, found))
    p = _p_values(rows, metric, found)
    cells, pairs = [], []
    for regime, (names, members, matrix) in p.items():
        scores = np.array([rows[i]["accuracy"] for i in members])
        pairs += _lines(regime, rows[0]["dataset"], names, scores, matrix, TESTS[metric])
        for name, i, best in zip(names, members, _best(scores, matrix), strict=True):
            cells.append({"regime": regime, "network": name, "dataset": rows[i]["dataset"]}
                         | between[i] | best)
    return cells, pairs, notes


def _outputs(row: dict, found: dict | None) -> dict | str | None:
    """{"labels", "outputs"} of a row's predictions, as significance and intervals take them; None where there are none,
    WRONG where they do not give the row's accuracy (of a network that diverged, they do not)."""
    if found is None:
        return None
    labels, outputs = found["labels"], found["scores" if "scores" in found else "predictions"]
    if len(labels) != row["n_test"] or len(outputs) != len(labels):
        return WRONG
    accuracy = (metrics.voc_map(outputs, labels) if row["metric"] == "voc_map"
                else significance.contributions_of(row["metric"], labels, outputs).sum())
    return {"labels": labels, "outputs": outputs} if abs(accuracy - row["accuracy"]) < 1e-4 else WRONG


def _p_values(rows, metric, found) -> dict[str, tuple[list[str], list[int], np.ndarray]]:
    """Regime -> (networks, their places in `rows`, p of each pair, NaN where not tested on the same images)."""
    regimes, pools = defaultdict(list), defaultdict(lambda: defaultdict(list))
    for i, row in enumerate(rows):
        place = len(regimes[row["regime"]])
        regimes[row["regime"]].append(i)
        if found[i] is not None:
            same = ((row.get("test_split") or {}).get("sha256"),
                    hashlib.sha256(np.ascontiguousarray(found[i]["labels"])).digest())
            pools[same][row["regime"]].append((place, i))
    p = {regime: np.full((len(members),) * 2, np.nan) for regime, members in regimes.items()}
    for pool in pools.values():
        groups = [np.stack([significance.contributions_of(metric, **found[i]) for _, i in members])
                  for members in pool.values()]
        tested = ([significance.mcnemar(group > 0) for group in groups] if metric == "top1"
                  else significance.permutation(groups))
        for (regime, members), matrix in zip(pool.items(), tested, strict=True):
            places = [place for place, _ in members]
            p[regime][np.ix_(places, places)] = matrix
    return {regime: ([rows[i]["network"] for i in members], members, p[regime]) for regime, members in regimes.items()}


def _interval(row: dict, outputs: dict | None) -> dict:
    """{"low", "high", "interval"} of one accuracy."""
    if row["metric"] == "top1":
        n = row["n_test"]
        low, high = intervals.clopper_pearson(round(row["accuracy"] * n), n)
        return {"low": float(low), "high": float(high), "interval": "Clopper-Pearson"}
    if outputs is None:
        return {"low": np.nan, "high": np.nan, "interval": ""}
    low, high = intervals.interval(row["metric"], **outputs)
    return {"low": low, "high": high, "interval": "bootstrap"}


def _best(scores: np.ndarray, p: np.ndarray) -> list[dict]:
    """BEST of each network."""
    found = significance.like_the_best(scores, p)
    return [{"p_best": p, "p_best_holm": holm, "like_best": pd.NA if np.isnan(p) else p > significance.ALPHA,
             "like_best_holm": pd.NA if np.isnan(holm) else holm > significance.ALPHA}
            for p, holm in zip(found.p, found.p_holm, strict=True)]


def _lines(regime, dataset, names, scores, p, test) -> list[dict]:
    """PAIRS of the pairs that were tested."""
    return [dict(zip(PAIRS, (regime, dataset, names[i], names[j], scores[i] - scores[j], p[i, j], test), strict=True))
            for i, j in zip(*np.triu_indices(len(names), 1), strict=True) if not np.isnan(p[i, j])]
