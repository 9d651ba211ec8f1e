"""FIGURES: the one list of the report's figures. To add a figure, add a row."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfbench.regimes import REGIMES
from tfbench.report import comparison_plots, curve_plots, frontier_plot, main_plot, placement_plot, scatter_plot
from tfbench.report.main_plot import Panel, Row
from tfbench.results.titles import dataset_title
from tfbench.stats import published
from tfbench.stats.correlation import Correlation, band
from tfbench.stats.findings import Findings


class ReportFigure(NamedTuple):
    """A figure of the report.

    Attributes:
      name: of its files in figures/.
      draw: Findings → Figure, None where there is nothing to draw.
      section: anchor of the page's section that shows it (report/sections.py).
      label: what it shows, for those who cannot see it.
      caption: below it; or Findings → that.
      wide: whether it fills the page.
    """

    name: str
    draw: Callable[[Findings], Figure | None]
    section: str
    label: str
    caption: str | Callable[[Findings], str]
    wide: bool = False


def main(findings: Findings) -> Figure | None:
    """Per regime the average over data sets, then each of them."""
    if not findings.cells["source_accuracy"].notna().any():
        return None
    rows = []
    for regime, average in findings.correlations.items():
        means = findings.networks[findings.networks["regime"] == regime]
        cells = findings.cells[findings.cells["regime"] == regime]
        rows.append(Row(regime, _panel("mean over data sets", average, means), tuple(
            _panel(dataset_title(dataset), findings.by_dataset[dataset][regime], cells[cells["dataset"] == dataset])
            for dataset in cells["dataset"].unique())))
    return main_plot.main(rows)


def frontier(findings: Findings) -> Figure | None:
    """Accuracy against cost."""
    return frontier_plot.frontier(findings.rankings)


def placement(findings: Findings) -> Figure | None:
    """The networks on a published figure."""
    placed = findings.placement
    return placement_plot.placement(placed.panels) if placed and placed.panels else None


def scatter(findings: Findings, regime: str) -> Figure | None:
    """A regime's means over data sets."""
    c = findings.correlations.get(regime)
    return scatter_plot.scatter(c, regime) if c and c.networks else None


def scatter_caption(findings: Findings, regime: str) -> str:
    """What the scatter plot's bars and line are, where it has any."""
    c, caption = findings.correlations[regime], "One point per network. "
    if not np.isnan(c.errors).all():
        caption += "Bars: ± 1 standard error over data sets, differences between data sets removed (Morey). "
    if c.r is not None:
        caption += "Line: least squares in log-odds."
    return caption


def sources(findings: Findings) -> Figure | None:
    """Each regime's means over data sets by source of the weights."""
    return scatter_plot.beside(findings.sources) if any(
        c.networks for of_one in findings.sources.values() for c in of_one.values()) else None


def regimes(findings: Findings) -> Figure | None:
    """The regimes against each other."""
    several = findings.table.duplicated(["network", "dataset"]).any()
    return comparison_plots.regimes(findings.table) if several else None


def bars(findings: Findings) -> Figure | None:
    """Means over networks."""
    return comparison_plots.bars(findings.table, published.state_of_the_art()) if len(findings.table) else None


def residuals(findings: Findings, regime: str) -> Figure | None:
    """What the additive model leaves."""
    model = findings.models.get(regime)
    return comparison_plots.residuals(model.residuals, regime) if model else None


def convergence(findings: Findings) -> Figure | None:
    """Curves over training steps."""
    return curve_plots.convergence(findings.convergence, findings.speeds) if len(
        findings.convergence) else None


def few_examples(findings: Findings) -> Figure | None:
    """Curves over training examples."""
    return curve_plots.few_examples(findings.few_examples) if len(findings.few_examples) else None


def ablation(findings: Findings) -> Figure | None:
    """Ways to pretrain."""
    return comparison_plots.ablation(findings.ablation) if len(findings.ablation) else None


FIGURES = [
    ReportFigure("frontier", frontier, "choice", "Accuracy against cost",
                 "A point per network, with its 95 % interval. Filled, and joined by the line: no other network is as "
                 "accurate and cheaper. Cost is the time per image in computing fixed features, measured where this "
                 "was run, decoding included; where it was not measured of all networks, the multiply-adds."),
    ReportFigure("main", main, "figure", "Transfer against source accuracy, averages and each data set",
                 "The paper's figure 2. Left the mean over data sets, with one standard error (Morey), right each data "
                 "set; lines: least squares in log-odds with their 95 % bootstrap band; green diamonds: not "
                 "significantly different from the best (p > .05).", wide=True),
    ReportFigure("placement", placement, "placement", "The networks on the published figure",
                 "Mean transfer against source accuracy on the data sets that both have. Grey circles: the published "
                 "networks; diamonds: these. Line: least squares in log-odds through the published networks alone. "
                 "Dark: 95 % confidence band of the line; light: 95 % prediction band, in which a further network is "
                 "to be expected; both Student's. Bars: ± 1 standard error over data sets, differences between data "
                 "sets removed (Morey).", wide=True),
    *(ReportFigure(f"scatter_{regime.name}", functools.partial(scatter, regime=regime.name), regime.name,
                   f"Transfer against source accuracy, {regime.title}",
                   functools.partial(scatter_caption, regime=regime.name)) for regime in REGIMES.values()),
    ReportFigure("sources", sources, "sources", "Transfer against source accuracy by source of the weights",
                 "The paper's figure 2 and appendix B beside each other: a column per source of weights, a row per "
                 "regime. One point per network; bars: ± 1 standard error over data sets (Morey); line: least squares.",
                 wide=True),
    ReportFigure("regimes", regimes, "regimes", "The regimes against each other",
                 "A point per network and data set; above the diagonal the upper regime is better.", wide=True),
    ReportFigure("bars", bars, "regimes", "Mean accuracy by data set and regime",
                 "Bars: mean of log-odds over networks, ± one standard error over networks; points: networks; lines: "
                 "the state of the art before the paper, from its figure 6.", wide=True),
    *(ReportFigure(f"residuals_{regime.name}", functools.partial(residuals, regime=regime.name), "residuals",
                   f"Residuals, {regime.title}", "Log-odds that are left of an accuracy when the network's and the "
                   "data set's effects are taken off.", wide=True) for regime in REGIMES.values()),
    ReportFigure("convergence", convergence, "curves", "Accuracy against training steps",
                 "The paper's figure 8. One panel per data set; colour is the regime, marker and dashes the network. "
                 "Dotted: where a curve reaches 90 % of its best odds. Above: epochs, passes over training and "
                 "validation images."),
    ReportFigure("few_examples", few_examples, "curves", "Accuracy against training examples per class",
                 "The paper's figure 9. One panel per data set; colour is the regime, marker and dashes the network. "
                 "Bars: ± 1 standard error over subsets."),
    ReportFigure("ablation", ablation, "ablation", "Ways to pretrain",
                 "What batch-norm scale, label smoothing, dropout and the auxiliary head in pretraining do to source "
                 "accuracy and to transfer, the mean over data sets. The paper's lines stand in the panel of their own "
                 "experiment: its figure 3 for fixed features, its figure 5 for fine-tuning with the switches of "
                 "pretraining. Bars: ± 1 standard error over data sets, differences between data sets removed (Morey).",
                 wide=True),
]


def _panel(title: str, c: Correlation, networks: pd.DataFrame) -> Panel:
    """`networks`: rows with network and like_best."""
    alike = networks.set_index("network")["like_best"].reindex(list(c.networks))
    return Panel(title, c.networks, c.source, c.transfer, c.errors,
                 None if alike.isna().any() else alike.to_numpy(bool), c.r,
                 band(c.source, c.transfer) if c.bootstrap else None)
