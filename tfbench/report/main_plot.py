"""The paper's figure 2: per regime a large panel with the average over data sets, beside it one per data set.

All positions are computed here, in inches: matplotlib's own layout takes seconds for 39 panels.
"""

import dataclasses

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfbench.regimes import REGIMES
from tfbench.report.plots import (
    DENSE,
    INK,
    LABEL_SIZE,
    PAPER,
    error_bars,
    extent,
    fitted,
    known,
    label_points,
    least_squares,
    legend,
    legend_columns,
    limits,
    new_figure,
    on_hover,
    percent_axis,
    shortened,
    style_axes,
    titled,
)
from tfbench.results.titles import network_title
from tfbench.wording import decimal, printable

LIKE_BEST = "#009e73"  # Okabe and Ito's green, and a diamond: the best and what cannot be told from it
OTHERS = "#5f7f9f"  # grey-blue, bands and error bars too
COLUMNS = 6  # of small panels, at most
LEFT, LARGE, RIGHT = 0.62, 3.7, 0.12  # inches across: margin, large panel, margin
PITCH, SMALL = 1.54, 1.16  # inches across: from one small panel to the next, of which the panel itself
HEAD, RANK, TITLE, FOOT = 0.34, 1.56, 0.25, 0.5  # inches down a row: heading, each rank with its title, axis
TEXT = 7.5  # points, in and around small panels
KEY = {  # what may be drawn -> how it is explained
    "best": "best, or not significantly different from it",
    "other": "significantly different from the best",
    "untested": "not compared with the best",
    "error": "± 1 standard error",
    "line": "least-squares line",
    "band": "95 % bootstrap band of the line",
}


@dataclasses.dataclass(frozen=True)
class Panel:
    """One scatter plot.

    Attributes:
      title: above the panel.
      networks: M names.
      x, y: [M] log-odds of source and of transfer accuracy; NaN where missing.
      errors: [M] standard errors of y, NaN where there is no bar.
      like_best: [M] bool, not significantly different from the best; None where that was not tested.
      r: Pearson's correlation; None for none, and no line.
      band: (x, low, high), each [points] in log-odds, around the line; None for none.
    """

    title: str
    networks: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    errors: np.ndarray
    like_best: np.ndarray | None
    r: float | None
    band: tuple[np.ndarray, np.ndarray, np.ndarray] | None


@dataclasses.dataclass(frozen=True)
class Row:
    """One regime's panels."""

    regime: str
    average: Panel
    datasets: tuple[Panel, ...]


def main(panels: list[Row]) -> Figure:
    """Transfer against source accuracy: a row of panels per regime, networks numbered by source accuracy.

    Raises:
      ValueError: no panels, or no points in any, so nothing to draw.
    """
    networks = numbered(panels)
    if not networks:
        raise ValueError("expected panels with points, found none")
    most = max(len(row.datasets) for row in panels)
    ranks = max(2, -(-most // COLUMNS))
    columns = -(-most // ranks)
    width = LEFT + LARGE + columns * PITCH + RIGHT
    figure = new_figure(width, 1, layout=None)
    titles = [f"{number}  {shortened(network_title(name))}" for name, number in networks.items()]
    names = legend_columns(figure, titles, 0.25)
    keys = _keys(panels)
    key_columns = legend_columns(figure, [KEY[key] for key in keys], 0.6)
    under = 0.17 * (-(-len(titles) // names) + -(-len(keys) // key_columns)) + 0.22
    row_height = HEAD + ranks * RANK + FOOT
    height = row_height * len(panels) + under
    figure.set_size_inches(width, height)
    sources = np.concatenate([panel.x[known(panel.x, panel.y)] for panel in _all(panels)])
    ends = limits(sources, sources, 0.08)
    for number, row in enumerate(panels):
        _row(figure, row, columns, ranks, height - number * row_height, ends, networks)
    handles = [Line2D([], [], linestyle="none")] * len(titles)
    legend(figure, handles, titles, loc="lower center", bbox_to_anchor=(0.5, 0.05 / height), ncols=names,
           handlelength=0, handletextpad=0, **DENSE)
    if keys:
        legend(figure, [_handle(key) for key in keys], [KEY[key] for key in keys], loc="upper center",
               ncols=key_columns, bbox_to_anchor=(0.5, (under - 0.02) / height), **DENSE)
    return figure


def numbered(panels: list[Row]) -> dict[str, int]:
    """Networks that have a point in some panel -> their number, from 1, by ascending source accuracy."""
    source: dict[str, float] = {}
    for panel in _all(panels):
        for name, x in zip(panel.networks, np.where(known(panel.x, panel.y), panel.x, np.nan), strict=True):
            if known(x):
                source.setdefault(name, x)
    return {name: number for number, name in enumerate(sorted(source, key=source.__getitem__), 1)}


def _all(panels: list[Row]) -> list[Panel]:
    return [panel for row in panels for panel in (row.average, *row.datasets)]


def _keys(panels: list[Row]) -> list[str]:
    """Which of KEY are drawn."""
    every, drawn = _all(panels), set()
    for panel in every:
        points = known(panel.x, panel.y)
        if panel.like_best is None:
            drawn |= {"untested"} if points.any() else set()
        else:
            drawn |= {"best" if like else "other" for like in panel.like_best[points]}
        present = {"error": known(panel.errors)[points].any(), "line": panel.r is not None,
                   "band": panel.band is not None}
        drawn |= {key for key in present if present[key]}
    if not drawn & {"best", "other"}:
        drawn.discard("untested")  # where nothing was compared there is nothing to tell apart
    return [key for key in KEY if key in drawn]


def _handle(key: str):
    """What a legend shows for one of KEY."""
    if key == "band":
        return Patch(facecolor=OTHERS, alpha=0.25, linewidth=0)
    if key in ("line", "error"):
        return Line2D([], [], color=OTHERS if key == "error" else INK, linewidth=1, alpha=0.7)
    return Line2D([], [], linestyle="none", **_style(key, 6))


def _style(key: str, size: float) -> dict:
    """How points are drawn; never told apart by colour alone."""
    marker, colour, face = {"best": ("D", LIKE_BEST, LIKE_BEST), "other": ("o", OTHERS, PAPER),
                            "untested": ("o", OTHERS, OTHERS)}[key]
    edge = OTHERS if key == "other" else PAPER
    return {"marker": marker, "color": colour, "markerfacecolor": face, "markeredgecolor": edge, "markersize": size,
            "markeredgewidth": 1 if key == "other" else 0.6}


def _row(figure: Figure, row: Row, columns: int, ranks: int, top: float, ends, networks: dict[str, int]) -> None:
    """One regime's panels; `top`: inches from the figure's lower edge to the row's upper."""
    width, height = figure.get_size_inches()

    def add(left, bottom, across, up):
        return figure.add_axes((left / width, bottom / height, across / width, up / height))

    figure.text(0.1 / width, (top - 0.06) / height, REGIMES[row.regime].title.capitalize(), color=INK, fontsize=12,
                fontweight="bold", va="top")
    top -= HEAD
    axes = add(LEFT, top - 2 * RANK, LARGE, 2 * RANK - TITLE)
    corner = _panel(axes, row.average, ends, large=True)
    axes.set_xlabel("source accuracy (%, logit scale)", color=INK, fontsize=LABEL_SIZE)
    axes.set_ylabel("transfer accuracy (%, logit scale)", color=INK, fontsize=LABEL_SIZE)
    _number_points(axes, row.average, networks, corner)
    for number, panel in enumerate(row.datasets):
        rank, column = divmod(number, columns)
        left = LEFT + LARGE + column * PITCH + PITCH - SMALL
        axes = add(left, top - (rank + 1) * RANK, SMALL, RANK - TITLE)
        _panel(axes, panel, ends, large=False)
        axes.tick_params(labelbottom=number + columns >= len(row.datasets))
    if columns > 1 and len(row.datasets) > 1:
        middle = LEFT + LARGE + min(columns, len(row.datasets)) * PITCH / 2 + (PITCH - SMALL) / 2
        below = top - RANK * -(-len(row.datasets) // columns) - 0.2
        figure.text(middle / width, below / height, "source accuracy (%, logit scale)", color=INK,
                    fontsize=LABEL_SIZE, ha="center", va="top")


def _panel(axes, panel: Panel, ends: tuple[float, float], large: bool):
    """Draws a panel; returns the text with r, None where there is none. `ends`: of the source axis, log-odds."""
    size = LABEL_SIZE if large else TEXT
    title = fitted(axes.figure, shortened(printable(panel.title)), size + 1, LARGE if large else PITCH - 0.1)
    axes.set_title(title, color=INK, fontsize=size + 1, pad=3, parse_math=False)
    axes.set_xlim(ends)
    style_axes(axes)
    axes.tick_params(labelsize=size - 0.5, length=2.5, pad=2)
    most = 8 if large else 5
    percent_axis(axes.xaxis, *ends, most=most)
    points = known(panel.x, panel.y)
    if not points.any():
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no results", transform=axes.transAxes, color=INK, fontsize=size, ha="center")
        return None
    x, y, errors = panel.x[points], panel.y[points], panel.errors[points]
    reach = np.nan_to_num(errors)
    low, high = limits(y - reach, y + reach, 0.1)
    axes.set_ylim(low, high)
    if panel.band is not None:
        axes.fill_between(*panel.band, color=OTHERS, alpha=0.25, linewidth=0, zorder=1)
    if panel.r is not None:
        axes.plot(*least_squares(x, y)[[0, -1]].T, color=INK, alpha=0.7, linewidth=1, zorder=2)
    words = np.array([on_hover(*point) for point in zip(
        np.array(panel.networks, dtype=object)[points], x, y, strict=True)], dtype=object)
    if known(errors).any():
        error_bars(axes, x, y, errors, words, OTHERS, zorder=2.5)
    like = np.zeros(len(x), bool) if panel.like_best is None else panel.like_best[points]
    for key, these in (("other" if panel.like_best is not None else "untested", ~like), ("best", like)):
        if these.any():
            line, = axes.plot(x[these], y[these], linestyle="none", zorder=3 + (key == "best"),
                              **_style(key, (6.5 if large else 3.8) + 0.2 * (key == "best")))
            titled(line, words[these])
    text = None if panel.r is None else _write_r(axes, panel.r, x, y, size)
    percent_axis(axes.yaxis, *axes.get_ylim(), most=most)
    return text


def _write_r(axes, r: float, x, y, size: float):
    """Writes r into the corner with fewest points, for which it makes room where all have some; returns the text."""
    low, high = axes.get_ylim()
    across = (x - axes.get_xlim()[0]) / np.ptp(axes.get_xlim())
    up = (y - low) / (high - low)
    wide, tall = (0.3, 0.12) if size == LABEL_SIZE else (0.6, 0.2)
    corners = [(0.04, 0.97), (0.98, 0.03), (0.98, 0.97), (0.04, 0.03)]
    taken = [int(((abs(across - a) < wide) & (abs(up - b) < tall)).sum()) for a, b in corners]
    best = int(np.argmin(taken))
    if taken[best]:
        best = 0
        axes.set_ylim(low, high + tall * (high - low))
    a, b = corners[best]
    return axes.text(a, b, f"r = {decimal(r)}", transform=axes.transAxes, color=INK, fontsize=size, zorder=5,
                     ha="left" if a < 0.5 else "right", va="bottom" if b < 0.5 else "top")


def _number_points(axes, panel: Panel, networks: dict[str, int], corner) -> None:
    """Writes each network's number near its point; `corner`: a text that is there already, or None."""
    points = known(panel.x, panel.y)
    x, y, errors = panel.x[points], panel.y[points], np.nan_to_num(panel.errors[points])
    names = np.array(panel.networks, dtype=object)[points]
    label_points(axes, x, y, errors, [str(networks[name]) for name in names],
                 size=TEXT, line=np.empty((0, 2)) if panel.r is None else least_squares(x, y),
                 taken=[] if corner is None else [extent(corner).extents],
                 titles=[on_hover(*point) for point in zip(names, x, y, strict=True)])
