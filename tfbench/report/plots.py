"""What the report's figures share: colours, logit axes in percent, legends, labels, files.

matplotlib without pyplot, so without windows or global state; the same input gives the same SVG.
"""

import html
import io
import json
import re
import textwrap
import urllib.parse
import warnings
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from scipy.special import expit

from tfbench.results.titles import network_title
from tfbench.stats.transforms import logit
from tfbench.wording import printable

INK, PAPER = "#1c1d1e", "#fdfdfe"  # text and background; the report swaps them for the page's own
LABEL_SIZE = 8.5
LONGEST_LABEL = 30
MARKERS = "os^DvPX<>"
UNKNOWN_N = 999  # test examples that drawn_logit supposes where it does not know their number
# Settings of a legend that many names must fit into.
DENSE: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "labelspacing": 0.35, "columnspacing": 1.5}


def new_figure(width: float, height: float, layout="constrained") -> Figure:
    """An empty figure; width and height in inches."""
    figure = Figure(figsize=(width, height), dpi=100, facecolor=PAPER, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def settle(figure: Figure) -> None:
    """Lays a figure out, once for all: its pixels are final, and no file lays it out again, which takes a drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # "none" would be one that does nothing, for which files draw twice all the same


def style_axes(axes) -> None:
    """Background, grid and spines as all figures have them."""
    axes.set_facecolor(PAPER)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)


TITLES = "titles:"  # begins the id of a group that has titles in the SVG file


def titled(artist, titles=(), whole: str = "") -> None:
    """Gives an artist, or each of its marks, the text that shows on hover in SVG.

    Args:
      artist: a Line2D, whose n points, all finite and inside, have markers; a collection of n paths; or, without
        titles, any artist.
      titles: n texts. whole: of the rest of the artist, of a line between its markers; "" for none.
    """
    if len(titles) or whole:
        is_line = isinstance(artist, Line2D)
        artist.set_gid(TITLES + urllib.parse.quote(json.dumps([is_line, *map(printable, (whole, *titles))])))


def error_bars(axes, x, y, errors, titles, color, **style) -> None:
    """Bars around n points, without the points, that say on hover what these say.

    Args:
      errors: as errorbar's yerr, NaN where there is no bar. titles: n texts.
    """
    bars = axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=color, elinewidth=1, **{"alpha": 0.7, **style})
    titled(bars[2][0], titles)


def on_hover(network: str, x: float, y: float) -> str:
    """What a point of source against transfer accuracy, in log-odds, says on hover."""
    return f"{network_title(network)}: source {100 * expit(x):.1f} %, transfer {100 * expit(y):.1f} %"


def _with_titles(svg: str) -> str:
    """An SVG file with the titles of `titled`, and without the ids that brought them."""
    def with_titles(group) -> str:
        indent, titles, drawn = group.groups()
        is_line, whole, *each = json.loads(urllib.parse.unquote(titles))
        done = [f"{indent}<g>{_title(whole) if whole else ''}\n"]
        for title in each:
            # The markers of a line are uses of one path; the marks of a collection are that too, or paths of their own.
            mark = re.search(r"<(use) [^>]*/>" if is_line else r"<(use|path) (?!id=)[^>]*/>", drawn)
            assert mark, f"{len(each)} titles for fewer marks"
            done.append(f"{drawn[:mark.end() - 2]}>{_title(title)}</{mark[1]}>")
            drawn = drawn[mark.end():]
        return f"{''.join(done)}{drawn}\n{indent}</g>"

    return re.sub(rf'^( *)<g id="{TITLES}([^"]*)">\n(.*?)\n\1</g>$', with_titles, svg, flags=re.MULTILINE | re.DOTALL)


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def save(figure: Figure) -> tuple[bytes, bytes]:
    """(SVG, PNG) of a figure. Text is drawn as outlines, so that every viewer shows the same."""
    if figure.get_layout_engine():
        settle(figure)
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tfbench", "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # an unusual name shows boxes
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=150)
    return _with_titles(svg.getvalue().decode()).encode(), png.getvalue()


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
    kept: list[float] = []
    for c in (*sorted(even, key=lambda c: abs(c - 50)), *others):
        if all(abs(logit(c / 100) - logit(k / 100)) >= gap for k in kept):
            kept.append(c)
    return sorted(kept)


def percent_axis(axis, low: float, high: float, *, most: int = 11) -> None:
    """Labels a matplotlib axis in log-odds from `low` to `high` with percentages (see percent_ticks)."""
    ticks = percent_ticks(low, high, most)
    axis.set_ticks([float(logit(c / 100)) for c in ticks], labels=[f"{c:g}" for c in ticks])


def limits(low, high, margin: float) -> tuple[float, float]:
    """Axis limits around the data with a margin; around a single value ± 0.5 log-odds."""
    low, high = float(np.min(low)), float(np.max(high))
    pad = margin * (high - low) if high - low > 1e-9 else 0.5
    return low - pad, high + pad


def shortened(name: str) -> str:
    """`name` cut to LONGEST_LABEL characters."""
    return name if len(name) <= LONGEST_LABEL else name[:LONGEST_LABEL - 1] + "…"


def place_label(px, py, width, height, frame, heavy, light) -> tuple[tuple, bool]:
    """Where to write a label: the cheapest of the boxes around (px, py), and whether it needs a line to its point.

    Args:
      px, py, width, height: pixels. frame: the axes' extent, which a label should not leave.
      heavy: boxes (x0, y0, x1, y1) not to be covered (points, labels); light: better not (bars, line).
    """
    candidates = []
    for radius in (8, 16, 26, 38, 52, 68, 86):
        for angle in np.arange(0, 360, 30):
            dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            x0 = px + radius * dx - width * (1 - dx) / 2
            y0 = py + radius * dy - height * (1 - dy) / 2
            box = (x0, y0, x0 + width, y0 + height)
            outside = (max(frame.x0 - box[0], 0) + max(box[2] - frame.x1, 0)) * height + (
                max(frame.y0 - box[1], 0) + max(box[3] - frame.y1, 0)) * width
            cost = 20 * _overlap(box, heavy) + 5 * _overlap(box, light) + 20 * outside + radius**1.5
            candidates.append((cost, box, radius > 16))
    return min(candidates, key=lambda candidate: candidate[0])[1:]


def least_squares(x, y) -> np.ndarray:
    """[100, 2] points along the least-squares line through points x, y [n], from the least x to the largest."""
    along = np.linspace(np.min(x), np.max(x), 100)
    return np.column_stack([along, np.polyval(np.polyfit(x, y, 1), along)])


def label_points(axes, x, y, errors, names: list[str], *, size: float, line, taken=(), bold: int = 0,
                 titles=None) -> None:
    """Writes each name near its point, greedily where it covers least of what is there. The layout must be settled.

    Args:
      x, y, errors: [n] data; errors: of y, 0 where there is no bar. names: n texts. size: of the font, in points.
      line: [m, 2] data along a line that is drawn, or [0, 2].
      taken: boxes in pixels that are not to be covered. bold: how many of the names, from the first, are bold.
      titles: n texts for hover, where the names do not say enough.
    """
    frame = axes.get_window_extent()
    points = axes.transData.transform(np.column_stack([x, y]))
    bars = [axes.transData.transform([(a, b - e), (a, b + e)]) for a, b, e in zip(x, y, errors, strict=True)]
    light = [(b[0, 0] - 2, b[0, 1], b[0, 0] + 2, b[1, 1]) for b in bars]
    light += [(px - 2, py - 2, px + 2, py + 2) for px, py in (axes.transData.transform(line) if len(line) else line)]
    heavy = [(px - 6, py - 6, px + 6, py + 6) for px, py in points] + list(taken)
    for number, ((px, py), name) in enumerate(zip(points, names, strict=True)):
        text = axes.text(0, 0, name, fontsize=size, color=INK, parse_math=False, va="bottom", transform=None, zorder=6,
                         fontweight="bold" if number < bold else "normal")
        titled(text, whole=titles[number] if titles else "")
        box = extent(text)
        position, leader = place_label(px, py, box.width, box.height, frame, heavy, light)
        heavy.append(position)
        text.set_transform(axes.transAxes)
        text.set_position(axes.transAxes.inverted().transform(position[:2]))
        if leader:
            end = (min(max(px, position[0]), position[2]), min(max(py, position[1]), position[3]))
            axes.plot(*axes.transData.inverted().transform([(px, py), end]).T, color=INK, linewidth=0.5, alpha=0.5,
                      zorder=1.5)


def _overlap(box, others) -> float:
    """Area in square pixels that `box` shares with the boxes `others`."""
    if not others:
        return 0.0
    o = np.asarray(others)
    width = np.minimum(box[2], o[:, 2]) - np.maximum(box[0], o[:, 0])
    height = np.minimum(box[3], o[:, 3]) - np.maximum(box[1], o[:, 1])
    return float((np.clip(width, 0, None) * np.clip(height, 0, None)).sum())


def drawn_logit(p, n) -> np.ndarray:
    """Where accuracies lie on the logit axis.

    The log-odds of 0 and 1 are infinite: these, what is nearer to them than half an example of n + 1, and ends of
    bars beyond them are drawn at 1/2 / (n + 1) from 0 or 1, which is where transforms.logit puts 0 and 1.

    Args:
      p: fractions, or ends of bars, any shape. n: test examples, broadcasts; NaN where unknown, supposed UNKNOWN_N.
    """
    half = 0.5 / (np.where(np.isnan(n), UNKNOWN_N, n) + 1)
    return logit(np.clip(p, half, 1 - half))


def known(*values):
    """Where all of `values` are finite, elementwise."""
    return np.isfinite(values).all(axis=0)


def fitted(figure: Figure, title: str, size: float, width: float, lines: int = 1) -> str:
    """`title` broken into at most `lines` lines, and cut, so that `width` inches hold it.

    Args:
      size: of the font, in points.
    """
    for characters in range(max(len(title), 1), 0, -1):
        kept = textwrap.wrap(title, characters)
        if len(kept) > lines:
            kept = [*kept[:lines - 1], kept[lines - 1][:characters - 1] + "…"]
        text = "\n".join(kept)
        if _width(figure, text, size) <= width:
            break
    return text


def _width(figure: Figure, title: str, size: float) -> float:
    """How many inches wide a text is that is drawn as it is, without mathematics."""
    return extent(Text(0, 0, title, fontsize=size, parse_math=False, figure=figure)).width / figure.dpi


def extent(text):
    """The box of a matplotlib text in pixels; a name in an unusual script shows boxes and does not warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return text.get_window_extent()


def legend(figure: Figure, handles, titles: list[str], **settings) -> None:
    """A legend whose titles are drawn as they are, were they "_a" or "$b$"."""
    made = figure.legend(handles, [str(i) for i in range(len(handles))], frameon=False, fontsize=LABEL_SIZE, **settings)
    for text, title in zip(made.get_texts(), titles, strict=True):
        text.set(text=title, color=INK, parse_math=False)


def legend_columns(figure: Figure, titles: list[str], beside: float) -> int:
    """How many columns of a legend fit into the figure's width; `beside`: inches next to each title."""
    widest = max(_width(figure, title, LABEL_SIZE) for title in titles) if titles else 0
    most = int((figure.get_figwidth() - 0.2) / (widest + beside))
    return max(1, min(most, len(titles)))
