"""Figures like the paper's figure 2: transfer against source accuracy, both on a logit scale.

matplotlib without pyplot, so without windows or global state; the same input gives the same SVG.
"""

import io
import warnings

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfbench.regimes import REGIMES
from tfbench.results.titles import network_title
from tfbench.stats.correlation import Correlation
from tfbench.stats.transforms import logit
from tfbench.wording import count, decimal

INK, PAPER = "#1c1d1e", "#fdfdfe"  # text and background; the report swaps them for the page's own
LABEL_SIZE = 8.5
LONGEST_LABEL = 30


def scatter(correlation: Correlation, regime: str) -> Figure:
    """Mean transfer accuracy against source accuracy of one regime's networks.

    Bars are ± one standard error (transforms.standard_errors); the line is the least-squares fit
    in log-odds, drawn where there is a correlation.

    Raises:
      ValueError: no networks, so nothing to draw.
    """
    if not correlation.networks:
        raise ValueError(f"expected at least one network, found none: {correlation.reason}")
    figure = Figure(figsize=(7.2, 5.4), dpi=100, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=PAPER)
    x, y, colour = correlation.source, correlation.transfer, REGIMES[regime].color
    errors = np.nan_to_num(correlation.errors)
    line = np.empty((0, 2))
    if correlation.r is not None:
        along = np.linspace(x.min(), x.max(), 100)
        line = np.column_stack([along, np.polyval(np.polyfit(x, y, 1), along)])
        axes.plot(*line[[0, -1]].T, color=colour, alpha=0.5, linewidth=1.5, zorder=1)
    axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=colour, elinewidth=1, alpha=0.7, zorder=2)
    axes.plot(x, y, "o", color=colour, markersize=6, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=3)
    axes.set_xlim(limits(x, x, 0.08))
    axes.set_ylim(limits(y - errors, y + errors, 0.10))
    percent_axis(axes.xaxis, *axes.get_xlim())
    percent_axis(axes.yaxis, *axes.get_ylim())
    datasets = count(len(correlation.datasets), "data set")
    axes.set_xlabel("source accuracy (%, logit scale)", color=INK)
    axes.set_ylabel(f"transfer accuracy, mean over {datasets} (%, logit scale)", color=INK)
    axes.set_title(_title(correlation, regime), color=INK, fontsize=12)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    _label_points(axes, x, y, errors, line, [network_title(name) for name in correlation.networks])
    return figure


def save(figure: Figure) -> tuple[bytes, bytes]:
    """(SVG, PNG) of a figure. Text is drawn as outlines, so that every viewer shows the same."""
    svg, png = io.BytesIO(), io.BytesIO()
    settings = {"svg.hashsalt": "tfbench", "svg.fonttype": "path"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # an unusual name shows boxes
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=150)
    return svg.getvalue(), png.getvalue()


def percent_ticks(low: float, high: float, most: int = 11) -> list[float]:
    """Round percentages whose log-odds lie in [low, high], ascending, 4 to `most` where possible.

    Args:
      low, high: log-odds, low < high.
    """
    tails = [unit * ten for ten in (0.001, 0.01, 0.1, 1) for unit in (1, 2, 5)]  # the scale opens up there
    tails = [*tails, *(100 - c for c in tails)]
    for step in (10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001):
        first, last = (100 / (1 + np.exp(-end)) / step for end in (low, high))
        even = [step * i for i in range(int(np.ceil(first)), min(int(last), int(first) + 100) + 1)]
        inside = {round(c, 6) for c in [*even, *tails] if 0 < c < 100 and low <= logit(c / 100) <= high}
        kept = _thin([round(c, 6) for c in even if round(c, 6) in inside], sorted(inside), (high - low) / most)
        if len(kept) >= 4:
            break
    return kept


def _thin(even: list[float], others: list[float], gap: float) -> list[float]:
    """Percentages at least `gap` log-odds apart: those of `even` first, from 50 outwards."""
    kept = []
    for c in (*sorted(even, key=lambda c: abs(c - 50)), *others):
        if all(abs(logit(c / 100) - logit(k / 100)) >= gap for k in kept):
            kept.append(c)
    return sorted(kept)


def percent_axis(axis, low: float, high: float, most: int = 11) -> None:
    """Labels a matplotlib axis in log-odds from `low` to `high` with percentages (see percent_ticks)."""
    ticks = percent_ticks(low, high, most)
    axis.set_ticks([float(logit(c / 100)) for c in ticks], labels=[f"{c:g}" for c in ticks])


def limits(low, high, margin: float) -> tuple[float, float]:
    """Axis limits around the data with a margin; around a single value ± 0.5 log-odds."""
    low, high = float(np.min(low)), float(np.max(high))
    pad = margin * (high - low) if high - low > 1e-9 else 0.5
    return low - pad, high + pad


def _title(correlation: Correlation, regime: str) -> str:
    name = REGIMES[regime].title.capitalize()
    if correlation.r is None:
        return f"{name}: {correlation.reason}"
    return f"{name}: r = {decimal(correlation.r)}, \N{GREEK SMALL LETTER RHO} = {decimal(correlation.rho)}"


def shortened(name: str) -> str:
    """`name` cut to LONGEST_LABEL characters."""
    return name if len(name) <= LONGEST_LABEL else name[:LONGEST_LABEL - 1] + "…"


def _label_points(axes, x, y, errors, line, names) -> None:
    """Writes each network's name near its point, greedily where it covers least of what is there."""
    figure = axes.figure
    figure.draw_without_rendering()  # settles the layout, so that pixels are final
    figure.set_layout_engine("none")
    renderer, frame = figure.canvas.get_renderer(), axes.get_window_extent()
    points = axes.transData.transform(np.column_stack([x, y]))
    bars = [axes.transData.transform([(a, b - e), (a, b + e)]) for a, b, e in zip(x, y, errors, strict=True)]
    light = [(b[0, 0] - 2, b[0, 1], b[0, 0] + 2, b[1, 1]) for b in bars]
    line = axes.transData.transform(line) if len(line) else line
    light += [(px - 3, py - 2, px + 3, py + 2) for px, py in line]
    heavy = [(px - 6, py - 6, px + 6, py + 6) for px, py in points]
    for (px, py), name in zip(points, names, strict=True):
        text = axes.text(0, 0, shortened(name), fontsize=LABEL_SIZE, color=INK, parse_math=False, va="bottom",
                         transform=None, zorder=4)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            extent = text.get_window_extent(renderer)
        box, leader = place_labels(px, py, extent.width, extent.height, frame, heavy, light)
        heavy.append(box)
        text.set_transform(axes.transAxes)
        text.set_position(axes.transAxes.inverted().transform(box[:2]))
        if leader:
            end = (min(max(px, box[0]), box[2]), min(max(py, box[1]), box[3]))
            (x0, y0), (x1, y1) = axes.transData.inverted().transform([(px, py), end])
            axes.plot([x0, x1], [y0, y1], color=INK, linewidth=0.5, alpha=0.5, zorder=1.5)


def place_labels(px, py, width, height, frame, heavy, light) -> tuple[tuple, bool]:
    """The cheapest of the candidate boxes around (px, py), and whether it needs a line to its point.

    Args:
      px, py, width, height: pixels. frame: the axes' extent, which a label should not leave.
      heavy: boxes (x0, y0, x1, y1) not to be covered (points, labels); light: better not (bars, line).
    """
    best = None
    for radius in (8, 16, 26, 38, 52, 68, 86):
        for angle in np.arange(0, 360, 30):
            dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            x0 = px + radius * dx - width * (1 - dx) / 2
            y0 = py + radius * dy - height * (1 - dy) / 2
            box = (x0, y0, x0 + width, y0 + height)
            outside = (max(frame.x0 - box[0], 0) + max(box[2] - frame.x1, 0)) * height + (
                max(frame.y0 - box[1], 0) + max(box[3] - frame.y1, 0)) * width
            cost = 20 * _overlap(box, heavy) + 5 * _overlap(box, light) + 20 * outside + radius**1.5
            if best is None or cost < best[0]:
                best = (cost, box, radius > 16)
    return best[1:]


def _overlap(box, others) -> float:
    """Area in square pixels that `box` shares with the boxes `others`."""
    if not others:
        return 0.0
    o = np.asarray(others)
    width = np.minimum(box[2], o[:, 2]) - np.maximum(box[0], o[:, 0])
    height = np.minimum(box[3], o[:, 3]) - np.maximum(box[1], o[:, 1])
    return float((np.clip(width, 0, None) * np.clip(height, 0, None)).sum())
