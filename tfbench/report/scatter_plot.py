"""Like the averages in the paper's figure 2: transfer against source accuracy, both on a logit scale."""

import numpy as np
from matplotlib.figure import Figure

from tfbench.regimes import REGIMES
from tfbench.report.plots import (
    INK,
    LABEL_SIZE,
    PAPER,
    error_bars,
    label_points,
    least_squares,
    limits,
    new_figure,
    on_hover,
    percent_axis,
    settle,
    shortened,
    style_axes,
    titled,
)
from tfbench.results.titles import network_title, source_title
from tfbench.stats.correlation import Correlation, Correlations
from tfbench.wording import count, decimal


def scatter(correlation: Correlation, regime: str) -> Figure:
    """Mean transfer accuracy against source accuracy of one regime's networks.

    Bars are ± one standard error (transforms.standard_errors); the line is the least-squares fit
    in log-odds, drawn where there is a correlation.

    Raises:
      ValueError: no networks, so nothing to draw.
    """
    if not correlation.networks:
        raise ValueError(f"expected at least one network, found none: {correlation.reason}")
    figure = new_figure(7.2, 5.4)
    axes = figure.add_subplot()
    _draw(axes, correlation, regime)
    axes.set_title(_title(correlation, regime), color=INK, fontsize=12)
    _label_points(axes, correlation)
    return figure


def beside(sources: dict[str, Correlations]) -> Figure:
    """The same for several sources of weights: a column for each, a row per regime, whose panels share their axes.

    Args:
      sources: data set of pretraining -> its correlations.

    Raises:
      ValueError: no networks, so nothing to draw.
    """
    drawn = {(regime, source): c for source, of_one in sources.items() for regime, c in of_one.items() if c.networks}
    regimes = [regime for regime in REGIMES if any(regime == row for row, _ in drawn)]
    if not regimes:
        raise ValueError("expected at least one network, found none")
    figure = new_figure(5.4 * len(sources), 4.6 * len(regimes))
    grid = figure.subplots(len(regimes), len(sources), sharex=True, sharey="row", squeeze=False)
    panels = [(axes, drawn.get((regime, source)), regime, source)
              for regime, row in zip(regimes, grid, strict=True) for source, axes in zip(sources, row, strict=True)]
    for axes, c, regime, source in panels:
        title = shortened(source_title(source))
        if c is None:
            style_axes(axes)
            axes.set_title(f"{title}\n{REGIMES[regime].title.capitalize()}: no results", color=INK, fontsize=11)
            continue
        _draw(axes, c, regime)
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.yaxis.label.set_fontsize(LABEL_SIZE)
        axes.set_title(f"{title}\n{_title(c, regime)}", color=INK, fontsize=11, parse_math=False)
    x = [value for _, c, _, _ in panels if c for value in c.source]
    for row in range(len(regimes)):
        of_row = [c for _, c, _, _ in panels[row * len(sources):(row + 1) * len(sources)] if c]
        y, reach = (np.concatenate([values(c) for c in of_row]) for values in (
            lambda c: c.transfer, lambda c: np.nan_to_num(c.errors)))
        for axes in grid[row]:
            _scale(axes, x, y, reach)
    for axes, c, _, _ in panels:
        if c:
            _label_points(axes, c)
    return figure


def _draw(axes, correlation: Correlation, regime: str) -> None:
    """Points, bars and line of one panel, with its axes."""
    style_axes(axes)
    x, y, colour = correlation.source, correlation.transfer, REGIMES[regime].color
    errors = np.nan_to_num(correlation.errors)
    if correlation.r is not None:
        axes.plot(*_line(correlation)[[0, -1]].T, color=colour, alpha=0.5, linewidth=1.5, zorder=1)
    words = [on_hover(*point) for point in zip(correlation.networks, x, y, strict=True)]
    error_bars(axes, x, y, errors, words, colour, zorder=2)
    line, = axes.plot(x, y, "o", color=colour, markersize=6, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=3)
    titled(line, words)
    _scale(axes, x, y, errors)
    datasets = count(len(correlation.datasets), "data set")
    axes.set_xlabel("source accuracy (%, logit scale)", color=INK)
    axes.set_ylabel(f"transfer accuracy, mean over {datasets} (%, logit scale)", color=INK)


def _scale(axes, x, y, errors) -> None:
    """Limits around points and bars, in percent."""
    axes.set_xlim(limits(x, x, 0.08))
    axes.set_ylim(limits(y - errors, y + errors, 0.10))
    percent_axis(axes.xaxis, *axes.get_xlim())
    percent_axis(axes.yaxis, *axes.get_ylim())


def _line(correlation: Correlation) -> np.ndarray:
    """Points along the least-squares line; [0, 2] where there is no correlation."""
    if correlation.r is None:
        return np.empty((0, 2))
    return least_squares(correlation.source, correlation.transfer)


def _title(correlation: Correlation, regime: str) -> str:
    name = REGIMES[regime].title.capitalize()
    if correlation.r is None or correlation.rho is None:
        return f"{name}: {correlation.reason}"
    return (f"{name}: r = {decimal(correlation.r)}, r² = {decimal(correlation.r ** 2)}, "
            f"\N{GREEK SMALL LETTER RHO} = {decimal(correlation.rho)}")


def _label_points(axes, correlation: Correlation) -> None:
    """Writes each network's name near its point."""
    settle(axes.figure)
    label_points(axes, correlation.source, correlation.transfer, np.nan_to_num(correlation.errors),
                 [shortened(network_title(name)) for name in correlation.networks], size=LABEL_SIZE,
                 line=_line(correlation))
