"""How well estimates made without fine-tuning rank networks: the paper's question, asked of its successors.

The estimates are those of stats/transferability.py, the source (ImageNet) accuracy, and the validation accuracy of the
logistic regression. Weighted τ is scipy.stats.weightedtau with its defaults (hyperbolic weights, mean over both orders
of rank), as in the code of LogME (You et al., 2021) and SFDA (Shao et al., 2022). Pearson's r is with the log-odds of
accuracy; of estimates that are accuracies it takes their log-odds too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tfbench.regimes import REGIMES
from tfbench.results.titles import dataset_title
from tfbench.stats import accuracies
from tfbench.stats.correlation import named_logit
from tfbench.stats.metrics import METRICS
from tfbench.stats.pairs import MEAN
from tfbench.stats.transferability import ESTIMATES
from tfbench.stats.transforms import logit
from tfbench.wording import agree, count

SOURCE, VALIDATION = "source_accuracy", "validation_accuracy"
TITLES = {SOURCE: "source accuracy", VALIDATION: "validation accuracy of the logistic regression", **ESTIMATES}
LEAST = 3  # networks, with fewer of which there is no correlation
COLUMNS = ("regime", "dataset", "estimate", "tau", "r", "networks", "datasets")
ROUNDING = 1e-9  # of the largest, by which values that are equal may differ
EDGE = 1e-3  # validation accuracies nearer to 0 or 1 are drawn to here before log-odds are taken


def agreement(table: pd.DataFrame, records: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, list[str]]:
    """Agreement of each estimate with the accuracies, over networks.

    Args:
      table: accuracies (stats/accuracies.py). records: those that it came from.

    Returns:
      lines: COLUMNS, a row per regime, data set and estimate with LEAST networks or more, and below each regime's with
        several data sets the means over these: tau (weighted τ), r (Pearson's), networks (on means: the fewest),
        datasets. Empty where no logistic regression is among the records.
      notes: which records have no estimates, in words.
    """
    regressions = [record for record in records if not REGIMES[record["regime"]].search]
    if not regressions:
        return pd.DataFrame(columns=COLUMNS), []
    known = pd.DataFrame([(record["network"], record["dataset"], name, value) for record in regressions
                          for name, value in _estimates(record).items() if value is not None],
                         columns=["network", "dataset", "estimate", "value"]).astype({"value": float})
    cells = table.assign(log_odds=_log_odds(table, "accuracy", "n"))
    sources = table[table["source_accuracy"].notna()]
    sources = sources.assign(estimate=SOURCE, value=_log_odds(sources, "source_accuracy", "source_n"))
    known = pd.concat([known, sources[known.columns].drop_duplicates(["network", "dataset"])], ignore_index=True)
    both, lines = cells.merge(known, on=["network", "dataset"]), []
    groups = both.groupby(["regime", "dataset", "estimate"], sort=False).indices
    values, log_odds = (both[name].to_numpy(float) for name in ("value", "log_odds"))
    for regime in accuracies.regimes(table):
        of_regime = []
        for dataset in table["dataset"].unique():
            for name in TITLES:
                rows = groups.get((regime, dataset, name), ())
                if len(rows) >= LEAST and _vary(values[rows]) and _vary(log_odds[rows]):
                    tau = stats.weightedtau(values[rows], log_odds[rows]).statistic
                    r = stats.pearsonr(values[rows], log_odds[rows]).statistic
                    of_regime.append((regime, dataset, name, tau, r, len(rows), 1))
        frame = pd.DataFrame(of_regime, columns=COLUMNS)
        lines.append(frame)
        if frame["dataset"].nunique() > 1:
            means = frame.groupby("estimate", sort=False).agg(
                tau=("tau", "mean"), r=("r", "mean"), networks=("networks", "min"), datasets=("dataset", "size"))
            lines.append(means.reset_index().assign(regime=regime, dataset=MEAN)[list(COLUMNS)])
    lines = [frame for frame in lines if len(frame)]
    without = [record for record in regressions
               if not record.get("estimates") and not METRICS[record["metric"]].multi_label]
    notes = [f"{len(without)} of {count(len(regressions), 'logistic regression')} "
             f"{agree(len(without), 'has', 'have')} no LogME, H-score, LEEP or NCE: run before tfbench computed these; "
             "another results folder will have them"
             ] if without else []
    if several := [name for name in table["dataset"].unique() if any(
            record["dataset"] == name and METRICS[record["metric"]].multi_label for record in regressions)]:
        notes.append(f"{', '.join(map(dataset_title, several))}: no LogME, H-score, LEEP or NCE, which need one class "
                     "for each image")
    return pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=COLUMNS), notes


def _vary(values: np.ndarray) -> bool:
    """Whether values differ by more than rounding: the order of what is equal but for it means nothing."""
    return bool(np.ptp(values) > ROUNDING * np.abs(values).max())


def in_words(lines: pd.DataFrame, regime_title: str) -> str:
    """One regime's lines in a sentence: the means over data sets, or those of the only one, the best first."""
    shown = lines[lines["dataset"] == MEAN] if (lines["dataset"] == MEAN).any() else lines
    parts = [f"{TITLES[line.estimate]} {line.tau:.2f}" for line in
             shown.sort_values("tau", ascending=False, kind="stable").itertuples()]
    where = f"mean over {count(shown['datasets'].max(), 'data set')}" if len(shown) < len(lines) else (
        dataset_title(shown["dataset"].iloc[0]))
    return (f"How well networks are ranked for {regime_title}, weighted τ with test accuracy: {', '.join(parts)} "
            f"({where}, {count(shown['networks'].min(), 'network')}).")


def _estimates(record: Mapping[str, Any]) -> dict[str, float | None]:
    """What a logistic regression's record estimates."""
    validation, found = record.get("validation_accuracy"), record.get("estimates") or {}
    if validation is not None:
        validation = float(logit(np.clip(validation, EDGE, 1 - EDGE)))
    return {name: found.get(name) for name in ESTIMATES} | {VALIDATION: validation}


def _log_odds(table: pd.DataFrame, column: str, number: str) -> np.ndarray:
    values, n = (table[name].to_numpy(float, na_value=np.nan)[:, None] for name in (column, number))
    return named_logit(values, n, list(table["network"]), [column])[:, 0]
