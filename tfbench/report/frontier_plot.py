"""Accuracy against what a network costs, a panel per data set: which networks no other makes superfluous."""

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfbench.regimes import REGIMES
from tfbench.report import tables
from tfbench.report.plots import (
    INK,
    LABEL_SIZE,
    PAPER,
    drawn_logit,
    error_bars,
    label_points,
    limits,
    new_figure,
    percent_axis,
    settle,
    shortened,
    style_axes,
    titled,
)
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats.findings import cost_of

COSTS = {"milliseconds": "milliseconds per image, measured", "multiply_adds": "10⁹ multiply-adds per image"}
COLUMNS, MOST_PANELS = 2, 4


def frontier(rankings: pd.DataFrame) -> Figure | None:
    """The networks of each data set by cost and accuracy, the frontier of each regime as a line.

    Args:
      rankings: as of Findings.

    Returns:
      None where no data set has two networks of known and different cost, and for more than MOST_PANELS data sets: the
      rankings tell which networks are on the frontier.
    """
    panels = []
    for dataset, group in rankings.groupby("dataset", sort=False):
        known = group[group[cost_of(group)].notna()]
        if known[cost_of(group)].nunique() > 1:
            panels.append((str(dataset), cost_of(group), known))
    if not panels or len(panels) > MOST_PANELS:
        return None
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(7.2 if columns == 1 else 5.6 * columns, 4.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels):]:
        axes.set_visible(False)
    for axes, (dataset, cost, group) in zip(grid, panels, strict=False):
        _draw(axes, dataset, cost, group)
    settle(figure)
    for axes, (_, cost, group) in zip(grid, panels, strict=False):
        best = group.sort_values("accuracy", ascending=False).drop_duplicates("network")  # each named once
        label_points(axes, best[cost], _height(best, "accuracy"), np.zeros(len(best)),
                     [shortened(network_title(name)) for name in best["network"]], size=LABEL_SIZE,
                     line=np.empty((0, 2)))
    return figure


def _height(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Where the fractions of a column lie on the logit axis; the accuracy where there is none."""
    return drawn_logit(rows[name].fillna(rows["accuracy"]).to_numpy(float), rows["n"].to_numpy(float))


def _words(row: dict, cost: str) -> str:
    """A point on hover."""
    accuracy = tables.shown("percent", row["accuracy"])
    return (f"{network_title(row['network'])}, {REGIMES[row['regime']].title}: {accuracy} %, {row[cost]:.3g} "
            f"{COSTS[cost]}")


def _draw(axes, dataset: str, cost: str, group: pd.DataFrame) -> None:
    """Points with their intervals, and each regime's frontier: the best accuracy for at most so much."""
    style_axes(axes)
    for regime, rows in group.groupby("regime", sort=False):
        colour = REGIMES[str(regime)].color
        y, low, high = (_height(rows, name) for name in ("accuracy", "low", "high"))
        words = np.array([_words(row, cost) for row in rows.to_dict("records")], dtype=object)
        error_bars(axes, rows[cost], y, (y - low, high - y), words, colour, alpha=.5)
        on = rows["frontier"].fillna(False).to_numpy(bool)
        for chosen, face in ((~on, {"markerfacecolor": PAPER}), (on, {"label": REGIMES[str(regime)].title})):
            points, = axes.plot(rows[cost][chosen], y[chosen], "o", color=colour, markersize=6, **face)
            titled(points, words[chosen])
        line = rows[on].assign(y=y[on]).sort_values([cost, "y"])
        if len(line) > 1:
            axes.step(line[cost], line["y"], where="post", color=colour, linewidth=1.2, alpha=.6)
    lows, highs = _height(group, "low"), _height(group, "high")
    axes.set_xscale("log")
    axes.set_xlim(group[cost].min() / 1.5, group[cost].max() * 1.5)
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.set_ylim(limits(lows, highs, .08))
    percent_axis(axes.yaxis, *axes.get_ylim())
    axes.set_xlabel(COSTS[cost], color=INK)
    axes.set_ylabel("test accuracy (%, logit scale)", color=INK)
    axes.set_title(shortened(dataset_title(dataset)), color=INK, fontsize=11, parse_math=False)
    if group["regime"].nunique() > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=LABEL_SIZE)
