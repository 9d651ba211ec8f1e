"""The tables of a report: what each is called, what its columns mean, and how their values are written.

Page, Markdown, CSV and JSON all show these. A frame holds plain values (fractions, log-odds, catalog names); a column's
kind says how a person reads them.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfbench.regimes import RUNS
from tfbench.results.titles import dataset_title, network_title, source_title
from tfbench.stats import correlation, curves, placement, prediction
from tfbench.stats.findings import Findings
from tfbench.stats.pairs import MEAN
from tfbench.wording import decimal, printable


class Table(NamedTuple):
    """A table of the report.

    Attributes:
      caption: what it shows, in a sentence or two.
      frame: its values. columns: those that the page shows: (name, heading, kind); kinds are KINDS' names.
    """

    caption: str
    frame: pd.DataFrame
    columns: tuple[tuple[str, str, str], ...] = ()

    def where(self, **values) -> "Table":
        """The same with the rows of the frame whose columns have these values."""
        frame = self.frame
        for name, value in values.items():
            frame = frame[frame[name] == value]
        return self._replace(frame=frame)


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
    "dataset": dataset_title,
    "source": source_title,
    "regime": lambda value: RUNS[value].title,
    "estimate": lambda value: prediction.TITLES[value],
    "text": lambda value: printable(value) or "–",
    "percent": _number(".1f", 100),
    "points": _number("+.1f", 100),
    "log_odds": _number("+.2f"),
    "log_odds_3": _number("+.3f"),
    "spread": _number(".2f"),
    "correlation": lambda value: decimal(value).replace("-", "−"),
    "p": _p,
    "count": _number(",.0f"),
    "decimal": _number(",.2f"),
    "small": _number(".1e"),
    "millions": _number(".1f", 1e-6),
    "yes": lambda value: "yes" if value else "no",
}
NUMBERS = ("percent", "points", "log_odds", "log_odds_3", "spread", "correlation", "p", "count", "decimal", "small",
           "millions")


def shown(kind: str, value) -> str:
    """A value as people read it; "–" where it is missing."""
    return "–" if is_missing(value) else KINDS[kind](value)


def is_missing(value) -> bool:
    """Whether a cell of a frame is None, NaN or <NA>."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


_NETWORK = ("network", "Network", "network")
_DATASET = ("dataset", "Data set", "dataset")
_REGIME = ("regime", "Regime", "regime")
_SOURCE = ("source_accuracy", "Source %", "percent")
_CORRELATION = (("r", "r", "correlation"), ("r2", "r²", "correlation"), ("fisher_low", "Fisher from", "correlation"),
                ("fisher_high", "to", "correlation"), ("bootstrap_low", "Bootstrap from", "correlation"),
                ("bootstrap_high", "to", "correlation"), ("rho", "ρ", "correlation"), ("networks", "Networks", "count"))
_INTERVAL = (("low", "from", "percent"), ("high", "to", "percent"))
_TEST = (("accuracy", "Test %", "percent"), *_INTERVAL)
_BEST = (("p_best", "p against the best", "p"), ("p_best_holm", "p, Holm", "p"), ("like_best", "Like the best", "yes"),
         ("like_best_holm", "…by Holm", "yes"))


def _accuracies(findings: Findings) -> Table:
    return Table("Test accuracies with their 95 % intervals, and tests against the best network of the regime on the "
                 "data set.", findings.cells, (_REGIME, _NETWORK, _DATASET, *_TEST, *_BEST))


def _ranking(findings: Findings) -> Table:
    return Table("Networks by test accuracy; from and to: 95 % interval. MB: parameters in float32. Images/s and ms: "
                 "measured where this was run, in training, and in computing fixed features with their decoding. "
                 "Frontier: no other network is as accurate and cheaper, in ms where all have them, else in "
                 "multiply-adds.", findings.rankings, (
                     ("rank", "Rank", "count"), _NETWORK, *_TEST, *_BEST, _SOURCE,
                     ("parameters", "Parameters, 10⁶", "millions"), ("megabytes", "MB", "count"),
                     ("multiply_adds", "Multiply-adds, 10⁹", "decimal"), ("images_per_second", "Images/s", "count"),
                     ("milliseconds", "ms per image", "decimal"), ("frontier", "Frontier", "yes"),
                     ("hours", "Hours spent", "decimal")))


def _correlations(findings: Findings) -> Table:
    frame = correlation.stacked(findings.views, "view")
    return Table("Correlation, over networks, of the log-odds of source accuracy with the mean log-odds of transfer "
                 "accuracy: Pearson's r with 95 % intervals by Fisher's transformation and by 10,000 bootstrap samples "
                 "of the networks, and Spearman's ρ.", frame,
                 (("view", "Data sets", "text"), _REGIME, *_CORRELATION, ("datasets", "Number of data sets", "count")))


def _correlations_by_dataset(findings: Findings) -> Table:
    frame, order = correlation.stacked(findings.by_dataset, "dataset"), list(findings.correlations)
    frame = frame.sort_values("regime", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)
    return Table("The same on each data set alone.", frame, (_DATASET, _REGIME, *_CORRELATION))


def _networks(findings: Findings) -> Table:
    return Table("Means over data sets. Log-odds adjusted: less their mean over networks; ± one standard error over "
                 "data sets by Morey's correction. p: paired t-test against the best network, over data sets.",
                 findings.networks, (_NETWORK, _SOURCE, ("accuracy", "Mean, as %", "percent"),
                                     ("mean_log_odds", "Log-odds", "log_odds"), ("adjusted", "Adjusted", "log_odds"),
                                     ("standard_error", "±", "spread"), *_BEST))


def _pairs(findings: Findings) -> Table:
    return Table(f"Every test of two networks; on “{MEAN}” the difference is in log-odds.", findings.pairs)


def _wins(findings: Findings) -> Table:
    return Table("In how many cells, which both regimes have, the first is better.", findings.wins,
                 (_REGIME, ("other", "against", "regime"), ("better", "better", "count"), ("equal", "equal", "count"),
                  ("cells", "of", "count")))


def _effects(findings: Findings) -> Table:
    lines = [(regime, kind, name, effect, errors.get(name, np.nan)) for regime, model in findings.models.items()
             for kind, effects, errors in (("network", model.networks, model.network_errors),
                                           ("dataset", model.datasets, {}))
             for name, effect in effects.items()]
    return Table("Effects of the additive model in log-odds.",
                 pd.DataFrame(lines, columns=["regime", "kind", "name", "effect", "standard_error"]))


def _residuals(findings: Findings) -> Table:
    lines = [(regime, *cell, residual) for regime, model in findings.models.items()
             for cell, residual in model.residuals.stack().items()]
    return Table("Residuals of the additive model in log-odds.",
                 pd.DataFrame(lines, columns=["regime", "network", "dataset", "residual"]))


def _paper(findings: Findings) -> Table:
    return Table("Paper: digitised from its figure 2, ± 0.1 point. From, to: 95 % interval of ours. Within: the "
                 "paper's accuracy lies there, ± 0.1 point.", findings.paper,
                 (_REGIME, _NETWORK, _DATASET, ("paper", "Paper %", "percent"), ("ours", "Ours %", "percent"),
                  ("difference", "Difference", "points"), *_INTERVAL, ("within", "Within", "yes")))


_EXPERIMENT = (("origin", "Origin", "text"), _REGIME, ("experiment", "Experiment", "text"), _NETWORK)


def _state_of_the_art(findings: Findings) -> Table:
    return Table("The best result on each data set beside the best before the paper (the paper's figure 6 and appendix "
                 "F), and the paper's own, from its figures 2 and 6.", findings.state_of_the_art, (
                     _DATASET, ("previous", "Before %", "percent"), ("accuracy", "Ours %", "percent"),
                     ("network", "by", "network"), ("regime", "how", "regime"), ("better", "Better", "yes"),
                     ("paper", "Paper %", "percent"), ("paper_network", "by", "network"),
                     ("paper_better", "Better", "yes")))


def _sources(findings: Findings) -> Table:
    frame = correlation.stacked(findings.sources, "source")
    return Table("Correlations by the weights that the networks started from (appendix B).", frame, (
                     ("source", "Weights", "source"), _REGIME, *_CORRELATION, ("datasets", "Data sets", "count")))


def _ablation(findings: Findings) -> Table:
    return Table("Ways to pretrain, 1 to 5 (flags/ablation_1.flags to ablation_5.flags): ImageNet or other source "
                 "accuracy, and mean log-odds of transfer ± one standard error over data sets (Morey). Experiments: "
                 "fixed features (the paper's figure 3); fine-tuned with the same configuration as pretrained (figure "
                 "5), or without the switches after pretraining with them (appendix C.2).", findings.ablation,
                 (*_EXPERIMENT, ("setting", "Setting", "count"), _SOURCE,
                  ("mean_log_odds", "Mean log-odds", "log_odds"), ("standard_error", "±", "spread")))


def _ablation_effects(findings: Findings) -> Table:
    return Table("What each step to the next setting does to the mean log-odds of transfer.", findings.ablation_effects,
                 (*_EXPERIMENT, ("setting", "To setting", "count"), ("step", "Step", "text"),
                  ("effect", "Effect", "log_odds_3"), ("networks", "Networks", "count")))


def _solver(findings: Findings) -> Table:
    return Table("Logistic regressions: fits along the path of λ with the refit, and how many are certified to be "
                 "solved: the objective at most 10⁻⁶ above its minimum, relative to it where λ ≥ 0.01 and to n log C "
                 "where λ is less. The gap here is relative to the objective.", findings.solver,
                 (_NETWORK, _DATASET, ("fits", "Fits", "count"), ("certified", "Certified", "count"),
                  ("iterations", "Iterations", "count"), ("largest_relative_gap", "Largest gap", "small")))


def _cost(findings: Findings) -> Table:
    return Table("What the results of the tables took, on the machines they ran on: search, refit and test. Images/s: "
                 "in training, or in computing fixed features.",
                 findings.cost, (_REGIME, _NETWORK, ("results", "Results", "count"), ("trials", "Trials", "count"),
                                 ("hours", "Hours", "decimal"), ("images_per_second", "Images/s", "count")))


def _runs(findings: Findings) -> Table:
    """One row per run, also of those that the other tables leave out."""
    ordered = sorted(findings.runs, key=lambda run: (
        run.record["network"], run.record["dataset"], run.regime, run.budget, run.examples_per_class or 0,
        run.subset_seed or 0))
    lines = [{
        **{name: run.record[name] for name in ("regime", "network", "dataset", "accuracy", "key")},
        "budget": run.text, "n": run.record["n_test"],
        "validation_accuracy": _float(run.record.get("validation_accuracy")),
        "selected": ", ".join(f"{str(name).replace('_', ' ')} {_short(value)}"
                              for name, value in (run.record.get("selected") or {}).items()),
        "seconds": _float(run.record.get("seconds")),
        "warnings": "; ".join(map(str, run.record.get("warnings") or ()))} for run in ordered]
    columns = ("regime", "network", "dataset", "budget", "accuracy", "n", "validation_accuracy", "selected", "seconds",
               "warnings", "key")
    return Table("One line per run. Hyperparameters were selected on validation, the test split was used once.",
                 pd.DataFrame(lines, columns=columns),
                 (_NETWORK, _DATASET, _REGIME, ("budget", "Budget", "text"), ("accuracy", "Test %", "percent"),
                  ("n", "Test images", "count"), ("validation_accuracy", "Validation %", "percent"),
                  ("selected", "Selected", "text"), ("seconds", "Seconds", "count"), ("warnings", "Warnings", "text")))


_SPAN = (("steps_low", "from", "count"), ("steps_high", "to", "count"), ("epochs", "Epochs", "decimal"),
         ("epochs_low", "from", "decimal"), ("epochs_high", "to", "decimal"))


def _speed(findings: Findings) -> Table:
    return Table("By regime: geometric means over the networks and data sets on which all have a curve; from and to: "
                 "quartiles. Ratio: times the steps of the fastest.", findings.speed,
                 (_REGIME, ("curves", "Curves", "count"), ("steps", "Steps", "count"), *_SPAN,
                  ("ratio", "Ratio", "decimal")))


def _speeds(findings: Findings) -> Table:
    return Table(curves.SPEED, findings.speeds, (
        _NETWORK, _REGIME, _DATASET, ("points", "Points", "count"), ("best", "Best %", "percent"),
        ("steps", "Steps", "count"), ("epochs", "Epochs", "decimal"), ("at_first", "At the first point", "yes")))


def _estimates(findings: Findings) -> Table:
    return Table("How well a network's accuracy is predicted without training on the data set: weighted Kendall τ "
                 "(SciPy's weightedtau, as the authors of LogME and SFDA take it) and Pearson's r with the log-odds of "
                 "test accuracy, over networks. Estimates are of the training split's features (LEEP, NCE: and the "
                 "source's classifier); data sets whose images have several classes have none. Of networks in random "
                 "order, |τ| exceeds .82 with 5 networks, .63 with 8, .44 with 16 one time in 20.", findings.prediction,
                 (_REGIME, _DATASET, ("estimate", "Estimate", "estimate"), ("tau", "τ", "correlation"),
                  ("r", "r", "correlation"), ("networks", "Networks", "count"), ("datasets", "Data sets", "count")))


def _placement(findings: Findings) -> Table:
    frame = findings.placement.lines if findings.placement else pd.DataFrame(columns=placement.COLUMNS)
    return Table("Distance from the line through the published networks, in log-odds and in points; from and to: its "
                 "95 % interval by the line's confidence band; the choice of test images and another training are not "
                 "in it. Expected: on the line; within: in the band where 95 % of further networks are to be expected. "
                 "Published: the distance of the same network in the published table.", frame,
                 (_REGIME, _NETWORK, ("datasets", "Data sets", "count"), _SOURCE, ("accuracy", "Mean, as %", "percent"),
                  ("expected", "Expected %", "percent"), ("residual", "Log-odds above", "log_odds"),
                  ("low", "from", "log_odds"), ("high", "to", "log_odds"), ("points", "Points above", "points"),
                  ("points_low", "from", "points"), ("points_high", "to", "points"), ("within", "Within", "yes"),
                  ("published_residual", "Published, log-odds", "log_odds")))


def _placement_lines(findings: Findings) -> Table:
    frame = placement.lines_of(findings.placement) if findings.placement else pd.DataFrame()
    return Table("The lines through the published networks, in log-odds, and the standard deviation of their "
                 "residuals.", frame, (
                     _REGIME, ("networks", "Networks", "count"), ("datasets", "Data sets", "text"),
                     ("r", "r", "correlation"), ("slope", "Slope", "spread"), ("intercept", "Intercept", "log_odds"),
                     ("sd", "SD", "spread")))


def _not_placed(findings: Findings) -> Table:
    frame = findings.placement.apart if findings.placement else pd.DataFrame(columns=placement.NOT_PLACED)
    return Table("What is not placed, and why; and the data sets that a placed network lacks.", frame,
                 (_NETWORK, _REGIME, _DATASET, ("reason", "Reason", "text")))


def _duplicates(findings: Findings) -> Table:
    return Table("Test accuracy with all test images, and without those that are near-duplicates of source images "
                 "(--duplicates; v3 appendix H).", findings.duplicates,
                 (_REGIME, _NETWORK, _DATASET, ("budget", "Budget", "text"), ("accuracy", "Test %", "percent"),
                  ("n", "of images", "count"),
                  ("accuracy_without", "Without %", "percent"), ("n_without", "of images", "count"),
                  ("left_out", "Left out", "count"), ("difference", "Difference", "points")))


# name of the CSV file and in the JSON -> its table; to add a table, add a row (and show it in report/sections.py)
TABLES = {
    "accuracies": _accuracies, "ranking": _ranking, "correlations": _correlations,
    "correlations_by_dataset": _correlations_by_dataset, "networks": _networks, "pairs": _pairs, "wins": _wins,
    "effects": _effects, "residuals": _residuals, "paper": _paper,
    "state_of_the_art": _state_of_the_art, "sources": _sources, "estimates": _estimates, "ablation": _ablation,
    "ablation_effects": _ablation_effects, "solver": _solver,
    "cost": _cost, "runs": _runs, "convergence": lambda findings: Table(curves.CONVERGENCE, findings.convergence),
    "convergence_speed": _speed, "convergence_speeds": _speeds,
    "without_duplicates": _duplicates, "placement": _placement, "placement_lines": _placement_lines,
    "not_placed": _not_placed,
    "few_examples": lambda findings: Table(curves.FEW_EXAMPLES, findings.few_examples),
}


def tables_of(findings: Findings) -> dict[str, Table]:
    """All tables by name, those without rows too, which are not written."""
    return {name: table(findings) for name, table in TABLES.items()}


def _float(value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _short(value) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.6g}" if number else str(value)
