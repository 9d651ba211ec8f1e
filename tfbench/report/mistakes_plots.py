"""Drawings of a run's mistakes: the confusion matrix and the reliability diagram. Plain SVG, titles on hover."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from tfbench.report import tables
from tfbench.stats.calibration import Calibration
from tfbench.wording import count, printable

STYLE = """
:root { --right: #0072b2; --wrong: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --right: #3d94cf; --wrong: #d9702c; } }
.drawn svg { min-width: 0; max-width: none; font-size: 12px; }
.drawn text { fill: var(--ink); }
.drawn .grid { stroke: var(--line); }
.drawn .right { fill: var(--right); }
.drawn .wrong { fill: var(--wrong); }
"""
CELL, LETTER = 25, 7  # pixels: side of a class, width of a letter of its name
LONGEST = 20  # characters of a name in the drawing
PLOT, MARGIN, HISTOGRAM = 300, 46, 70  # pixels: side of the reliability diagram, around it, height of the counts


def short(name: str) -> str:
    """A name as it stands in a drawing: of a long one beginning and end, in which names differ."""
    name = printable(name)
    return name if len(name) <= LONGEST else f"{name[:LONGEST // 2]}…{name[1 - LONGEST // 2:]}"


def matrix(counts: pd.DataFrame, names: Sequence[str]) -> str:
    """The confusion matrix: a row per true class, a column per predicted one, coloured by its share of the row.

    Args:
      counts: of confusion.counts. names: of all classes.
    """
    size, room = CELL * len(names), 14 + LETTER * min(max(len(printable(name)) for name in names), LONGEST)
    totals = counts.groupby("label")["n"].sum()
    parts = []
    for number in range(len(names) + 1):
        at = room + CELL * number
        parts.append(f'<path d="M{room} {at}H{room + size}M{at} {room}V{room + size}" class="grid"/>')
    for number, name in enumerate(names):
        middle = room + CELL * (number + .5)
        parts.append(f'<text x="{room - 6}" y="{middle + 4}" text-anchor="end">{escape(short(name))}</text>'
                     f'<text transform="translate({middle + 4} {room - 6}) rotate(-60)">{escape(short(name))}</text>')
    for label, prediction, n in counts[["label", "prediction", "n"]].itertuples(index=False):
        share = n / totals[label]
        kind = "right" if label == prediction else "wrong"
        words = (f"{printable(names[label])} taken for {printable(names[prediction])}: {n:,} of "
                 f"{count(totals[label], 'image')} ({tables.shown('percent', share)} %)")
        if label == prediction:
            words = words.replace(" taken for ", " recognised as ")
        x, y = room + CELL * prediction, room + CELL * label
        parts.append(f'<g><title>{escape(words)}</title><rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" '
                     f'class="{kind}" fill-opacity="{.1 + .6 * share ** .5:.2f}"/><text x="{x + CELL / 2}" '
                     f'y="{y + CELL / 2 + 4}" text-anchor="middle">{_number(n)}</text></g>')
    whole = room + size + room // 2 + 10  # the last name leans out
    return (f'<figure class="drawn"><div class="scroll" tabindex="0"><svg viewBox="0 0 {whole} {room + size + 2}" '
            f'style="width: {whole}px" role="img" aria-label="Confusion matrix; confusion.csv has the numbers">'
            f'{"".join(parts)}</svg></div><figcaption>Rows: the true class. Columns: the predicted one. Blue: right; '
            "orange: wrong; the stronger, the larger its share of the row.</figcaption></figure>")


def _number(n: int) -> str:
    return str(n) if n < 1000 else f"{n / 1000:.0f}k"


def reliability(found: Calibration) -> str:
    """The reliability diagram: per bin the share that is right, against the probability; below how many there are."""
    left, most = MARGIN, max(found.bins["n"].max(), 1)
    base = 8 + PLOT  # the diagram's lower edge
    floor = base + 40 + HISTOGRAM
    parts = []
    for tick in (0, .2, .4, .6, .8, 1):
        x, y = left + PLOT * tick, base - PLOT * tick
        parts.append(f'<path d="M{left} {y}H{left + PLOT}M{x} {base}V{base - PLOT}" class="grid"/>'
                     f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{100 * tick:g}</text>'
                     f'<text x="{x}" y="{base + 18}" text-anchor="middle">{100 * tick:g}</text>')
    for row in found.bins.itertuples(index=False):
        if not row.n:
            continue
        x, width = left + PLOT * row.low + 1, PLOT * (row.high - row.low) - 2
        words = (f"{count(row.n, 'prediction')} with a probability of {tables.shown('percent', row.low)} to "
                 f"{tables.shown('percent', row.high)} %, on average {tables.shown('percent', row.confidence)} %: "
                 f"{tables.shown('percent', row.accuracy)} % right")
        bars = ((base, PLOT * row.accuracy, .65), (floor, HISTOGRAM * row.n / most, .35))
        drawn = "".join(f'<rect x="{x:.1f}" y="{foot - height:.1f}" width="{width:.1f}" height="{height:.1f}" '
                        f'class="right" fill-opacity="{opacity}"/>' for foot, height, opacity in bars)
        parts.append(f'<g><title>{escape(words)}</title>{drawn}<circle cx="{left + PLOT * row.confidence:.1f}" '
                     f'cy="{base - PLOT * row.accuracy:.1f}" r="3.5" class="right"/></g>')
    parts.append(f'<path d="M{left} {base}L{left + PLOT} {base - PLOT}" stroke="currentColor" stroke-dasharray="4 4"/>'
                 f'<path d="M{left} {floor}H{left + PLOT}" class="grid"/><text x="{left - 6}" y="{floor}" '
                 f'text-anchor="end">0</text><text x="{left - 6}" y="{floor - HISTOGRAM + 8}" text-anchor="end">'
                 f"{_number(most)}</text>")
    width = left + PLOT + 20
    return (f'<figure class="drawn"><div class="scroll" tabindex="0"><svg viewBox="0 0 {width} {floor + 4}" '
            f'style="width: {width}px" role="img" aria-label="Reliability diagram">{"".join(parts)}</svg></div>'
            "<figcaption>Above: of the predictions with about a probability (across, in %), how many are right (up, in "
            "%). On the dashed line probabilities are what they say; below it they are too high. Below: the number of "
            "predictions.</figcaption></figure>")
