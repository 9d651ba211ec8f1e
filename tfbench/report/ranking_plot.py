"""A ranking as a drawing: a line per network or class, its accuracy as a dot with its interval. Plain SVG, titles on
hover."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from tfbench.report import tables
from tfbench.results.titles import network_title

WIDTH, NAMES, VALUES, LINE, DOT = 480, 172, 46, 20, 4.5  # pixels: whole, room for names and numbers, height, radius
TICKS = 4  # on the axis, about
LONGEST = 24  # characters of a name
CAPTION = ("Test accuracy in % with 95 % intervals. Filled dots: the best, in bold, and those not significantly "
           "different from it (p > .05).")


class Dot(NamedTuple):
    """A line of a drawing.

    Attributes:
      name: on the left. words: on hover.
      value, low, high: fractions; the ends NaN without interval. text: the value as it is written on the right.
      filled, bold: how it is set off.
    """

    name: str
    words: str
    value: float
    low: float
    high: float
    text: str
    filled: bool = True
    bold: bool = False


def ranking(rows: pd.DataFrame, label: str, caption: str = CAPTION) -> str:
    """A <figure> element; "" for a single network.

    Args:
      rows: of one data set and regime in Findings.rankings: network, regime, accuracy, low, high (fractions, NaN
        without interval), like_best, p_best.
      label: what it shows, for those who cannot see it. caption: below it.
    """
    if len(rows) < 2:
        return ""
    lines = [_dot(row, best=row["accuracy"] == rows["accuracy"].max()) for row in rows.to_dict("records")]
    return dots(lines, label, f"var(--{rows.iloc[0]['regime']})", caption)


def dots(lines: Sequence[Dot], label: str, color: str, caption: str) -> str:
    """A <figure> element with a line for each of one or more dots, over one axis in percent.

    Args:
      label: what it shows, for those who cannot see it. color: of dots and intervals, in CSS. caption: below it.
    """
    ends = pd.DataFrame([(line.value, line.low, line.high) for line in lines], dtype=float)
    low, high = float(ends.min().min()), float(ends.max().max())
    step = _step(high - low)
    first, last = int(low / step), int(-(-high // step))
    left, right = first * step, max(last, first + 1) * step

    def x(value: float) -> float:
        return NAMES + (WIDTH - NAMES - VALUES) * (value - left) / (right - left)

    height = LINE * (len(lines) + 1) + 6
    parts = []
    for tick in range(first, max(last, first + 1) + 1):
        at = f"{x(tick * step):.1f}"
        parts.append(f'<line x1="{at}" x2="{at}" y1="0" y2="{height - LINE}" class="tick"/>'
                     f'<text x="{at}" y="{height - 5}" text-anchor="middle">{100 * tick * step:g}</text>')
    parts += [_line(line, LINE * (number + .5) + 2, x) for number, line in enumerate(lines)]
    return (f'<figure class="ranking"><div class="scroll" tabindex="0"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{escape(label)}; the table has the numbers" style="color: {color}">{"".join(parts)}</svg>'
            f"</div><figcaption>{escape(caption)}</figcaption></figure>")


def _dot(row: dict, *, best: bool) -> Dot:
    """A network of a ranking."""
    name, value = network_title(row["network"]), tables.shown("percent", row["accuracy"])
    words = f"{name}: {value} %"
    if not tables.is_missing(row["low"]):
        words += f", 95 % interval {tables.shown('percent', row['low'])} to {tables.shown('percent', row['high'])}"
    if not best and not tables.is_missing(row["p_best"]):
        words += f", p against the best {tables.shown('p', row['p_best'])}"
    tested = not tables.is_missing(row["like_best"])
    filled = best or (tested and bool(row["like_best"]))
    return Dot(name, words, row["accuracy"], row["low"], row["high"], value, filled, bold=best)


def _line(line: Dot, y: float, x) -> str:
    """Name, interval, dot, number; on hover the words."""
    interval = ""
    if not tables.is_missing(line.low):
        interval = f'<line x1="{x(line.low):.1f}" x2="{x(line.high):.1f}" y1="{y}" y2="{y}" class="interval"/>'
    return (f"<g><title>{escape(line.words)}</title><rect x=\"0\" y=\"{y - LINE / 2}\" width=\"{WIDTH}\" "
            f'height="{LINE}" class="row"/><text x="{NAMES - 10}" y="{y + 4}" text-anchor="end">'
            f'{escape(_short(line.name))}</text>{interval}<circle cx="{x(line.value):.1f}" cy="{y}" r="{DOT}" '
            f'class="{"filled" if line.filled else "hollow"}"/><text x="{WIDTH}" y="{y + 4}" text-anchor="end" '
            f'class="{"best" if line.bold else "value"}">{line.text}</text></g>')


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[:LONGEST - 1]}…"


def _step(width: float) -> float:
    """Distance of the axis' ticks: 1, 2 or 5 times a power of ten, for some TICKS over `width` (fractions)."""
    steps = [unit * 10.0 ** power for power in range(-5, 1) for unit in (1, 2, 5)]
    return next((step for step in steps if width / step <= TICKS), steps[-1])
