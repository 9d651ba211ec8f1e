"""The tables of a report: what each is called, what its columns mean, and how their values are written.

Page, Markdown, CSV and JSON all show these. A frame holds plain values (fractions, log-odds, catalog names); a column's
kind says how a person reads them.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfbench.regimes import RUNS
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import curves
from tfbench.stats.budgets import budget, details, subset
from tfbench.stats.findings import Findings, ranking
from tfbench.stats.pairs import MEAN
from tfbench.wording import decimal, printable

NAMES = ("accuracies", "ranking", "correlations", "correlations_by_dataset", "networks", "pairs", "wins", "effects",
         "residuals", "paper", "ablation", "solver", "cost", "runs", "convergence",
         "few_examples")  # of all tables that are written


class Table(NamedTuple):
    """A table of the report.

    Attributes:
      name: of its CSV file and its place in the JSON. caption: what it shows, in a sentence or two.
      frame: its values. columns: those that the page shows: (name, heading, kind); kinds are KINDS' names.
    """

    name: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[tuple[str, str, str], ...]


def _number(form: str, factor: float = 1.0):
    """Numbers in `form`, with a minus sign, and without one for what rounds to 0."""
    def written(value) -> str:
        text = f"{factor * value:{form}}"
        if not text.strip("+-0."):
            text = text.replace("-", "+" if "+" in form else "")
        return text.replace("-", "−")

    return written


def _p(value) -> str:
    return "< .001" if value < 0.001 else decimal(value)


KINDS = {  # kind -> the text of a value that is not missing; missing ones are "–"
    "network": network_title,
    "dataset": lambda value: dataset_title(value),
    "regime": lambda value: RUNS[value].title,
    "text": lambda value: printable(value) or "–",
    "percent": _number(".1f", 100),
    "points": _number("+.1f", 100),
    "log_odds": _number("+.2f"),
    "spread": _number(".2f"),
    "correlation": lambda value: decimal(value).replace("-", "−"),
    "p": _p,
    "count": _number(",.0f"),
    "decimal": _number(",.2f"),
    "small": _number(".1e"),
    "millions": _number(".1f", 1e-6),
    "yes": lambda value: "yes" if value else "no",
}
NUMBERS = ("percent", "points", "log_odds", "spread", "correlation", "p", "count", "decimal", "small", "millions")


def shown(kind: str, value) -> str:
    """A value as people read it; "–" where it is missing."""
    return "–" if is_missing(value) else KINDS[kind](value)


def is_missing(value) -> bool:
    """Whether a cell of a frame is None, NaN or <NA>."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


_CORRELATION = (("r", "r", "correlation"), ("r2", "r²", "correlation"), ("fisher_low", "Fisher from", "correlation"),
                ("fisher_high", "to", "correlation"), ("bootstrap_low", "Bootstrap from", "correlation"),
                ("bootstrap_high", "to", "correlation"), ("rho", "ρ", "correlation"), ("networks", "Networks", "count"))
_CELL = (("regime", "Regime", "regime"), ("network", "Network", "network"), ("dataset", "Data set", "dataset"))
_TEST = (("accuracy", "Test %", "percent"), ("low", "from", "percent"), ("high", "to", "percent"))
_BEST = (("p_best", "p against the best", "p"), ("p_best_holm", "p, Holm", "p"), ("like_best", "Like the best", "yes"),
         ("like_best_holm", "…by Holm", "yes"))


def correlations(found: Findings) -> Table:
    return Table("correlations", "Correlation, over networks, of the log-odds of source accuracy with the mean "
                 "log-odds of transfer accuracy: Pearson's r with 95 % intervals by Fisher's transformation and by "
                 "10,000 bootstrap samples of the networks, and Spearman's ρ.", found.views,
                 (("view", "Data sets", "text"), ("regime", "Regime", "regime"), *_CORRELATION,
                  ("datasets", "Number of data sets", "count")))


def by_dataset(found: Findings) -> Table:
    return Table("correlations_by_dataset", "The same on each data set alone.", found.by_dataset,
                 (("dataset", "Data set", "dataset"), ("regime", "Regime", "regime"), *_CORRELATION))


def networks(found: Findings, regime: str | None = None) -> Table:
    frame = found.networks if regime is None else found.networks[found.networks["regime"] == regime]
    return Table("networks", "Means over data sets. Log-odds adjusted: less their mean over networks; ± one standard "
                 "error over data sets by Morey's correction. p: paired t-test against the best network, over data "
                 "sets.", frame, (("network", "Network", "network"), ("source_accuracy", "Source %", "percent"),
                         ("accuracy", "Mean, as %", "percent"), ("mean_log_odds", "Log-odds", "log_odds"),
                         ("adjusted", "Adjusted", "log_odds"), ("standard_error", "±", "spread"), *_BEST))


def accuracies(found: Findings) -> Table:
    return Table("accuracies", "Test accuracies with their 95 % intervals, and tests against the best network of the "
                 "regime on the data set.", found.cells,
                 (*_CELL, *_TEST, *_BEST))


def rankings(found: Findings, dataset: str, regime: str) -> Table:
    frame = ranking(found.cells, dataset, regime)
    columns = (("rank", "Rank", "count"), ("network", "Network", "network"), *_TEST, *_BEST,
               ("source_accuracy", "Source %", "percent"),
               ("parameters", "Parameters, 10⁶", "millions"), ("multiply_adds", "Multiply-adds, 10⁹", "decimal"),
               ("images_per_second", "Trained images/s", "count"), ("hours", "Hours spent", "decimal"))
    return Table("ranking", "Networks by test accuracy; from and to: 95 % interval.", frame,
                 tuple(column for column in columns if not frame[column[0]].map(is_missing).all()))


def all_rankings(found: Findings) -> Table:
    cells = found.table[["dataset", "regime"]].drop_duplicates().to_numpy()
    frames = [ranking(found.cells, dataset, regime) for dataset, regime in cells]
    return Table("ranking", "Networks by test accuracy on each data set in each regime.",
                 pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), ())


def pairs(found: Findings) -> Table:
    return Table("pairs", f"Every test of two networks; on “{MEAN}” the difference is in log-odds.", found.pairs, ())


def wins(found: Findings) -> Table:
    return Table("wins", "In how many cells, which both regimes have, the first is better.", found.wins,
                 (("regime", "Regime", "regime"), ("other", "against", "regime"), ("better", "better", "count"),
                  ("equal", "equal", "count"), ("cells", "of", "count")))


def residuals(found: Findings) -> Table:
    lines = [{"regime": regime, "network": network, "dataset": dataset, "residual": value}
             for regime, model in found.models.items()
             for (network, dataset), value in model.residuals.stack().items()]
    return Table("residuals", "Residuals of the additive model in log-odds.",
                 pd.DataFrame(lines, columns=["regime", "network", "dataset", "residual"]), ())


def effects(found: Findings) -> Table:
    lines = [{"regime": regime, "kind": kind, "name": name, "effect": value,
              "standard_error": errors.get(name, np.nan)}
             for regime, model in found.models.items()
             for kind, effects, errors in (("network", model.networks, model.network_errors),
                                           ("dataset", model.datasets, {}))
             for name, value in effects.items()]
    return Table("effects", "Effects of the additive model in log-odds.",
                 pd.DataFrame(lines, columns=["regime", "kind", "name", "effect", "standard_error"]), ())


def paper(found: Findings) -> Table:
    return Table("paper", "Paper: digitised from its figure 2, ± 0.1 point. From, to: 95 % interval of ours. Within: "
                 "the paper's accuracy lies there, ± 0.1 point.", found.paper,
                 (*_CELL, ("paper", "Paper %", "percent"), ("ours", "Ours %", "percent"),
                  ("difference", "Difference", "points"), ("low", "from", "percent"), ("high", "to", "percent"),
                  ("within", "Within", "yes")))


def solver(found: Findings) -> Table:
    return Table("solver", "Logistic regressions: fits along the path of λ with the refit, and how many are certified "
                 "to be solved: the objective at most 10⁻⁶ above its minimum, relative to it where λ ≥ 0.01 and to n "
                 "log C where λ is less. The gap here is relative to the objective.", found.solver,
                 (("network", "Network", "network"), ("dataset", "Data set", "dataset"), ("fits", "Fits", "count"),
                  ("certified", "Certified", "count"), ("iterations", "Iterations", "count"),
                  ("largest_relative_gap", "Largest gap", "small")))


def cost(found: Findings) -> Table:
    return Table("cost", "What the results of the tables took, on the machines they ran on: search, refit and test.",
                 found.cost, (("regime", "Regime", "regime"), ("network", "Network", "network"),
                              ("results", "Results", "count"), ("trials", "Trials", "count"),
                              ("hours", "Hours", "decimal"),
                              ("images_per_second", "Trained images/s", "count")))


def ablation(found: Findings) -> Table:
    return Table("ablation", "Ways to pretrain, 1 to 5 (flags/ablation_1.flags to ablation_5.flags): ImageNet or other "
                 "source accuracy, and mean log-odds of transfer.", found.ablation,
                 (("origin", "Origin", "text"), ("regime", "Regime", "regime"), ("network", "Network", "network"),
                  ("setting", "Setting", "count"), ("source_accuracy", "Source %", "percent"),
                  ("mean_log_odds", "Mean log-odds", "log_odds")))


def runs(found: Findings) -> Table:
    """One line per run, also of those that the other tables leave out."""
    ordered = sorted(found.rows, key=lambda r: (r["network"], r["dataset"], r["regime"], budget(r),
                                                *(part or 0 for part in subset(r))))
    lines = [{"regime": row["regime"], "network": row["network"], "dataset": row["dataset"], "budget": details(row),
              "accuracy": row["accuracy"], "n": row["n_test"],
              "validation_accuracy": _float(row.get("validation_accuracy")),
              "selected": ", ".join(f"{str(name).replace('_', ' ')} {_short(value)}"
                                    for name, value in (row.get("selected") or {}).items()),
              "seconds": _float(row.get("seconds")), "warnings": "; ".join(map(str, row.get("warnings") or ())),
              "key": row["key"]} for row in ordered]
    columns = ("regime", "network", "dataset", "budget", "accuracy", "n", "validation_accuracy", "selected", "seconds",
               "warnings", "key")
    return Table("runs", "One line per run. Hyperparameters were selected on validation, the test split was used once.",
                 pd.DataFrame(lines, columns=columns),
                 (("network", "Network", "network"), ("dataset", "Data set", "dataset"), ("regime", "Regime", "regime"),
                  ("budget", "Budget", "text"), ("accuracy", "Test %", "percent"), ("n", "Test images", "count"),
                  ("validation_accuracy", "Validation %", "percent"), ("selected", "Selected", "text"),
                  ("seconds", "Seconds", "count"), ("warnings", "Warnings", "text")))


def of(found: Findings) -> list[Table]:
    """All that are written as CSV and JSON, but for those without a line."""
    named = [accuracies(found), all_rankings(found), correlations(found), by_dataset(found), networks(found),
             pairs(found), wins(found), effects(found), residuals(found), paper(found), ablation(found), solver(found),
             cost(found), runs(found), Table("convergence", curves.CONVERGENCE, found.convergence, ()),
             Table("few_examples", curves.FEW_EXAMPLES, found.few_examples, ())]
    return [table for table in named if len(table.frame)]


def _float(value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _short(value) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.6g}" if number else str(value)
