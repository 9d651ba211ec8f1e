"""A ranking as a drawing: a line per network, its accuracy as a dot with its interval. Plain SVG, titles on hover."""

from html import escape

import pandas as pd

from tfbench.report import tables
from tfbench.results.titles import network_title

WIDTH, NAMES, VALUES, LINE, DOT = 640, 190, 60, 20, 4.5  # pixels: whole, room for names and numbers, height, radius
TICKS = 5  # on the axis, about


def ranking(rows: pd.DataFrame, label: str) -> str:
    """A <figure> element; "" for a single network.

    Args:
      rows: of one data set and regime in Findings.rankings: network, regime, accuracy, low, high (fractions, NaN
        without interval), like_best, p_best.
      label: what it shows, for those who cannot see it.
    """
    if len(rows) < 2:
        return ""
    ends = rows[["accuracy", "low", "high"]].to_numpy(float)
    low, high = float(pd.DataFrame(ends).min().min()), float(pd.DataFrame(ends).max().max())
    step = _step(high - low)
    first, last = int(low / step), int(-(-high // step))
    left, right = first * step, max(last, first + 1) * step

    def x(value: float) -> float:
        return NAMES + (WIDTH - NAMES - VALUES) * (value - left) / (right - left)

    height = LINE * (len(rows) + 1) + 6
    parts = []
    for tick in range(first, max(last, first + 1) + 1):
        at = f"{x(tick * step):.1f}"
        parts.append(f'<line x1="{at}" x2="{at}" y1="0" y2="{height - LINE}" class="tick"/>'
                     f'<text x="{at}" y="{height - 5}" text-anchor="middle">{100 * tick * step:g}</text>')
    for number, row in enumerate(rows.to_dict("records")):
        parts.append(_line(row, LINE * (number + .5) + 2, x, best=number == 0))
    return (f'<figure class="ranking"><div class="scroll" tabindex="0"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{escape(label)}; the table has the numbers" '
            f'style="color: var(--{rows.iloc[0]["regime"]})">{"".join(parts)}</svg></div><figcaption>Test accuracy in '
            "% with 95 % intervals. Filled: the best, and those not significantly different from it (p &gt; .05)."
            "</figcaption></figure>")


def _line(row: dict, y: float, x, *, best: bool) -> str:
    """One network: name, interval, dot, number; on hover the same in words."""
    name, value = network_title(row["network"]), tables.shown("percent", row["accuracy"])
    words, interval = f"{name}: {value} %", ""
    if not tables.is_missing(row["low"]):
        interval = (f'<line x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" y1="{y}" y2="{y}" class="interval"/>')
        words += f", 95 % interval {tables.shown('percent', row['low'])} to {tables.shown('percent', row['high'])}"
    if not best and not tables.is_missing(row["p_best"]):
        words += f", p against the best {tables.shown('p', row['p_best'])}"
    tested = not tables.is_missing(row["like_best"])
    filled = best or (tested and bool(row["like_best"]))
    return (f"<g><title>{escape(words)}</title><rect x=\"0\" y=\"{y - LINE / 2}\" width=\"{WIDTH}\" height=\"{LINE}\" "
            f'class="row"/><text x="{NAMES - 10}" y="{y + 4}" text-anchor="end">{escape(_short(name))}</text>{interval}'
            f'<circle cx="{x(row["accuracy"]):.1f}" cy="{y}" r="{DOT}" class="{"filled" if filled else "hollow"}"/>'
            f'<text x="{WIDTH}" y="{y + 4}" text-anchor="end" class="{"best" if best else "value"}">{value}</text></g>')


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"


def _step(width: float) -> float:
    """Distance of the axis' ticks: 1, 2 or 5 times a power of ten, for some TICKS over `width` (fractions)."""
    steps = [unit * 10.0 ** power for power in range(-5, 1) for unit in (1, 2, 5)]
    return next((step for step in steps if width / step <= TICKS), steps[-1])
