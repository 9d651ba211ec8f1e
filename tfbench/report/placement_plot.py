"""Own networks on a published figure: a panel per regime and group of data sets, both axes on a logit scale."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import special

from tfbench.regimes import REGIMES
from tfbench.report.plots import (
    DENSE,
    INK,
    LABEL_SIZE,
    PAPER,
    error_bars,
    label_points,
    legend,
    limits,
    new_figure,
    percent_axis,
    settle,
    shortened,
    style_axes,
    titled,
)
from tfbench.results.titles import network_title
from tfbench.stats.placement import Panel
from tfbench.wording import count, decimal

GREY = "#7b8794"  # of the published networks, and of bands
LINE, POINT = 0.28, 0.12  # opacity of the band of the line, and of that of a further network
COLUMNS = 2


def placement(panels: list[Panel]) -> Figure:
    """Published networks with their line and both its bands, and the own ones, by name.

    Args:
      panels: one or more.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(6.4 * columns, 5.2 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels):]:
        axes.remove()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
    legend(figure, [Line2D([], [], linestyle="none", **_mark(None)), Line2D([], [], linestyle="none", **_mark(INK)),
                    Line2D([], [], color=GREY, linewidth=1.2), Patch(facecolor=GREY, alpha=LINE + POINT, linewidth=0),
                    Patch(facecolor=GREY, alpha=POINT, linewidth=0)],
           ["published", "own", "least squares, published networks", "95 % confidence band",
            "95 % prediction band"],
           loc="outside lower center", ncols=5 if columns > 1 else 3, **DENSE)
    settle(figure)
    for axes, panel in zip(grid, panels, strict=False):
        own = [f"{shortened(network_title(name))} (own)" if name in panel.published.networks else
               shortened(network_title(name)) for name in panel.networks]
        theirs = panel.published
        label_points(axes, np.append(panel.source, theirs.source), np.append(panel.transfer, theirs.transfer),
                     np.nan_to_num(np.append(panel.errors, theirs.errors)),
                     own + [network_title(name) for name in theirs.networks], size=LABEL_SIZE - 0.5,
                     line=np.column_stack([_along(axes), panel.line.at(_along(axes))]), bold=len(own))
    return figure


def _mark(colour: str | None) -> dict:
    """How own points look, in their regime's colour, and the published ones, without."""
    if colour is None:
        return {"marker": "o", "markersize": 5.5, "color": GREY, "markerfacecolor": PAPER, "markeredgewidth": 1}
    return {"marker": "D", "markersize": 7, "color": colour, "markeredgecolor": PAPER, "markeredgewidth": 0.8}


def _along(axes) -> np.ndarray:
    low, high = axes.get_xlim()
    return np.linspace(low, high, 100)


def _draw(axes, panel: Panel) -> None:
    """One panel without names."""
    style_axes(axes)
    theirs, colour = panel.published, REGIMES[panel.regime].color
    x, y = np.append(theirs.source, panel.source), np.append(theirs.transfer, panel.transfer)
    errors = np.nan_to_num(np.append(theirs.errors, panel.errors))
    axes.set_xlim(limits(x, x, 0.08))
    along = _along(axes)
    middle = panel.line.at(along)
    for of_a_point, alpha in ((True, POINT), (False, LINE)):
        width = panel.line.half_width(along, of_a_point=of_a_point)
        axes.fill_between(along, middle - width, middle + width, color=GREY, alpha=alpha, linewidth=0, zorder=1)
    axes.plot(along[[0, -1]], middle[[0, -1]], color=GREY, linewidth=1.2, zorder=1.5)
    for name, at, up in zip(panel.networks, panel.source, panel.transfer, strict=True):
        if name in theirs.networks:  # the published result of the same network
            twin = theirs.networks.index(name)
            between, = axes.plot([at, theirs.source[twin]], [up, theirs.transfer[twin]], color=colour, linewidth=1,
                                 linestyle=":", zorder=2)
            titled(between, whole=f"{network_title(name)}: from the published result to this one")
    for points, mark in ((theirs, _mark(None)), (panel, _mark(colour))):
        words = [_words(panel, *point) for point in zip(points.networks, points.source, points.transfer, strict=True)]
        error_bars(axes, points.source, points.transfer, points.errors, words, mark["color"], zorder=2.5)
        line, = axes.plot(points.source, points.transfer, linestyle="none", zorder=3 + (points is panel), **mark)
        titled(line, words)
    axes.set_ylim(limits(y - errors, y + errors, 0.10))
    percent_axis(axes.xaxis, *axes.get_xlim())
    percent_axis(axes.yaxis, *axes.get_ylim())
    axes.set_xlabel("ImageNet top-1 accuracy (%, logit scale)", color=INK)
    datasets = count(len(theirs.datasets), "data set")
    axes.set_ylabel(f"transfer accuracy, mean over {datasets} (%, logit scale)", color=INK)
    r = "" if theirs.r is None else f", r = {decimal(theirs.r)}"
    axes.set_title(f"{REGIMES[panel.regime].title.capitalize()}: {count(panel.line.n, 'published network')}{r}",
                   color=INK, fontsize=12)


def _words(panel: Panel, name: str, x: float, y: float) -> str:
    """A point on hover."""
    above = y - float(panel.line.at(x))
    return (f"{network_title(name)}: ImageNet {100 * special.expit(x):.1f} %, transfer {100 * special.expit(y):.1f} %, "
            f"{abs(above):.2f} log-odds {'above' if above > 0 else 'below'} the line")
