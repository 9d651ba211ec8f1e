"""How numbers and unknown names are worded for people, and how lines reach the terminal."""

import difflib
import sys
from collections.abc import Iterable, Sequence

DURATION_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}  # of flags such as 1h30m, in seconds


def count(number: int, noun: str) -> str:
    """ "1 network", "3 networks", "19,531 steps", "2 classes"."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else plural)


def agree(number: int, one: str, several: str) -> str:
    """The verb for a count: agree(1, "is", "are") is "is"."""
    return one if number == 1 else several


def either(words) -> str:
    """ "a", "a or b", "a, b or c"."""
    *most, last = map(str, words)
    return f"{', '.join(most)} or {last}" if most else last


def decimal(value: float) -> str:
    """A correlation with three digits, as papers print it: ".986", "-.120", "1.000"."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"


def printable(text) -> str:
    """`text` with control characters (line ends, terminal escapes) replaced by a question mark."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right, two spaces between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) if i else cell.ljust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]


def say(text: str = "", *, error: bool = False) -> None:
    """Prints one line to stdout, or stderr. Whatever programs print goes through here, or the live view (cli/progress).

    Names of files and classes and texts of errors come from outside: control characters, which a terminal would obey,
    become question marks.
    """
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def megabytes(number: float) -> str:
    """Bytes as people say them: "0.5 MB", "24.6 MB", "5.0 GB"."""
    return f"{number / 1e9:,.1f} GB" if number >= 999.95e6 else f"{number / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "3 min 20 s", "5 h 3 min", "2 d 4 h", "51 d", "3.4 years"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days >= 730:
        return f"{days / 365.25:,.1f} years"
    if days >= 10:
        return f"{days:,} d"
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def brief_duration(seconds: int) -> str:
    """Whole seconds as flags take them: "45s", "1h30m", "2d"."""
    parts = []
    for unit, size in DURATION_UNITS.items():
        number, seconds = divmod(seconds, size)
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts) or "0s"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that is none of the `known`, with the nearest of them."""
    names = list(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0)
    guess = f", did you mean {near[0]!r}?" if near else "."
    return f"there is no {kind} {name!r}{guess} Known: {', '.join(names)}"
