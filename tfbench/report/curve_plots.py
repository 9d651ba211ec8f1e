"""Figures of the curves (stats/curves.py): test accuracy on a logit axis against steps or examples on a log axis.

One panel per data set, each with an accuracy axis of its own; colour says the regime, marker and dashes the network.
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from tfbench.regimes import REGIMES
from tfbench.report.plots import (
    INK,
    LABEL_SIZE,
    MARKERS,
    PAPER,
    drawn_logit,
    error_bars,
    legend,
    limits,
    new_figure,
    percent_axis,
    shortened,
    style_axes,
    titled,
)
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats.curves import in_order
from tfbench.wording import count

DASHES = ("-", "--", ":", "-.")
WIDTH = 7.2  # inches, as the other figures have


def convergence(lines: pd.DataFrame, speeds: pd.DataFrame | None = None) -> Figure:
    """Accuracy against training steps, and epochs on a second axis; dotted where a curve reaches 90 % of its best.

    Args:
      lines: curves.convergence. speeds: curves.speeds.

    Raises:
      ValueError: no lines, so nothing to draw.
    """
    at = [count(steps, "step") for steps in lines["steps"]]
    return _panels(lines.rename(columns={"steps": "x", "accuracy": "y"}).assign(error=np.nan, at=at),
                   "training steps (log scale)", reached=speeds)


def few_examples(lines: pd.DataFrame) -> Figure:
    """Mean accuracy against training examples per class; bars are ± one standard error over subsets.

    Args:
      lines: curves.few_examples.

    Raises:
      ValueError: no lines, so nothing to draw.
    """
    at = [f"{count(examples, 'example')} per class" for examples in lines["examples_per_class"]]
    return _panels(lines.rename(
        columns={"examples_per_class": "x", "mean": "y", "standard_error": "error"}).assign(at=at),
                   "examples per class (log₂ scale)", base=2)


def log_ticks(values) -> list[int]:
    """Those of `values`, positive, to label on a log axis, ascending: the largest, then downwards what has room."""
    values = sorted(set(values), reverse=True)
    gap = np.log(values[0] / values[-1]) * 0.032 * (len(f"{values[0]:,}") + 1)  # of the narrowest panel, by looking
    kept = values[:1]
    for value in values[1:]:
        if np.log(kept[-1] / value) >= gap:
            kept.append(value)
    return kept[::-1]


def _panels(lines: pd.DataFrame, along: str, *, base: int = 10, reached: pd.DataFrame | None = None) -> Figure:
    """A panel per data set of `lines`, whose columns are regime, network, dataset, x, at (x in words), y, error and n.

    Args:
      base: of the logarithm. reached: regime, network, dataset and steps, where to mark x; with it, epochs of `lines`
        make a second axis.
    """
    if lines.empty:
        raise ValueError("expected lines to draw, found none")
    datasets, networks = (in_order(lines[name], name) for name in ("dataset", "network"))
    columns = min(len(datasets), 3 if len(datasets) > 4 and len(networks) < 5 else 2)  # many lines need room
    ranks = -(-len(datasets) // columns)
    height = ranks * (4.4, 3.1, 2.5)[columns - 1] + 0.18 * -(-len(networks) // 3) + 0.5
    figure = new_figure(WIDTH, height)
    grid = figure.subplots(ranks, columns, squeeze=False).ravel()
    low, high = np.exp(limits(np.log(lines["x"]), np.log(lines["x"]), 0.06))
    ticks = log_ticks(lines["x"])
    for number, (axes, dataset) in enumerate(zip(grid, datasets, strict=False)):
        of_dataset = lines[lines["dataset"] == dataset]
        _draw(axes, of_dataset, networks)
        axes.set_title(shortened(dataset_title(dataset)), color=INK, fontsize=10 - (columns == 3), parse_math=False)
        axes.set_xscale("log", base=base)
        axes.set_xlim(low, high)
        if reached is not None:
            _mark(axes, reached[reached["dataset"] == dataset])
            _epochs(axes, of_dataset["epochs"] / of_dataset["x"], LABEL_SIZE - 1 - (columns == 3), number < columns)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ticks, labels=[f"{tick:,}" for tick in ticks])
        axes.tick_params(labelsize=LABEL_SIZE - (columns == 3))
        if number % columns == 0:
            axes.set_ylabel("test accuracy (%, logit scale)", color=INK, fontsize=LABEL_SIZE)
        if number + columns >= len(datasets):
            axes.set_xlabel(along, color=INK, fontsize=LABEL_SIZE)
    for axes in grid[len(datasets):]:
        axes.remove()
    _legends(figure, in_order(lines["regime"], "regime"), networks)
    return figure


def _draw(axes, lines: pd.DataFrame, networks: list[str]) -> None:
    """The curves of one data set."""
    low, high = [], []
    for (regime, network), curve in lines.groupby(["regime", "network"], sort=False):
        n = curve["n"].to_numpy(float, na_value=np.nan)
        p, error = curve["y"].to_numpy(), np.nan_to_num(curve["error"].to_numpy())
        y, bottom, top = (drawn_logit(p + shift, n) for shift in (0, -error, error))
        colour = REGIMES[regime].color
        name = f"{network_title(network)}, {REGIMES[regime].title}"
        words = [f"{name}, {at}: {100 * value:.1f} %" for at, value in zip(curve["at"], p, strict=True)]
        x, some = curve["x"].to_numpy(), error > 0
        if some.any():  # thousands of bars without a length would take as long as the curves
            error_bars(axes, x[some], y[some], ((y - bottom)[some], (top - y)[some]),
                       list(itertools.compress(words, some)), colour, zorder=2)
        line, = axes.plot(x, y, color=colour, zorder=3, **_style(network, networks))
        titled(line, words, whole=name)
        low.append(bottom.min())
        high.append(top.max())
    axes.set_ylim(limits(low, high, 0.08))
    percent_axis(axes.yaxis, *axes.get_ylim(), most=7)
    style_axes(axes)


def _mark(axes, reached: pd.DataFrame) -> None:
    """Dotted lines up to the curves, at the steps where they reach 90 % of their best odds."""
    for line in reached.itertuples():
        kind = REGIMES[line.regime]
        drawn = axes.axvline(line.steps, color=kind.color, linestyle=":", linewidth=1, alpha=0.7, zorder=1.5)
        titled(drawn, whole=f"{network_title(line.network)}, {kind.title}: 90 % of its best odds after "
                            f"{line.steps:,.0f} steps")


def _epochs(axes, per_step: pd.Series, size: float, labelled: bool) -> None:
    """A second axis above the panel, where an x is the same number of epochs on all its curves."""
    if per_step.isna().any() or np.ptp(per_step) > 1e-9 * per_step.max():
        return
    factor = float(per_step.iloc[0])
    above = axes.secondary_xaxis("top", functions=(lambda x: x * factor, lambda x: x / factor))
    ends = np.log10(np.array(axes.get_xlim()) * factor)
    ticks = 10.0 ** np.arange(np.ceil(ends[0]), ends[1])
    above.set_xticks(ticks, labels=[f"{tick:,g}" for tick in ticks])
    above.xaxis.set_minor_locator(NullLocator())
    above.tick_params(colors=INK, labelsize=size, length=2.5, pad=1)
    above.spines["top"].set_visible(False)
    if labelled:
        above.set_xlabel("epochs", color=INK, fontsize=size, labelpad=2)


def _style(network: str, networks: list[str]) -> dict:
    """How a network's lines look: 36 combinations of marker and dashes."""
    number, size = networks.index(network), 1.3 if len(networks) < 5 else 0.8
    return {"marker": MARKERS[number % len(MARKERS)], "linestyle": DASHES[number % len(DASHES)], "linewidth": size,
            "markersize": 3.6 * size, "markeredgecolor": PAPER, "markeredgewidth": 0.4 * size}


def _legends(figure: Figure, regimes: list[str], networks: list[str]) -> None:
    """Regimes by colour above the panels, networks by marker and dashes below them."""
    colours = [Line2D([], [], color=REGIMES[regime].color, linewidth=2.5) for regime in regimes]
    styles = [Line2D([], [], color=INK, **_style(network, networks)) for network in networks]
    for position, handles, titles in (
            ("outside upper center", colours, [REGIMES[regime].title for regime in regimes]),
            ("outside lower center", styles, [network_title(name) for name in networks])):
        legend(figure, handles, [shortened(title) for title in titles], loc=position, handlelength=3.5,
               ncols=3 if max(map(len, titles)) <= 22 else 2)
