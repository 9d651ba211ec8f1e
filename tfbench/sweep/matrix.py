"""The states of a study at a glance: a row per network, a column per data set, a mark per regime. Pure functions."""

from collections.abc import Sequence

# A cell that stands for several runs, the points of a curve, shows the first of these that one of them has.
MARKS = {"set aside": "!", "running": ">", "begun": "b", "not begun": ".", "finished": "F"}
ABSENT = " "  # no such run is planned
WIDTH = 120  # characters; further data sets come below
LONGEST = 32  # characters of a name, of which the end is shown


def lines(states: Sequence) -> list[str]:
    """A legend, then the matrix, in blocks of as many data sets as go beside each other.

    Args:
      states: of a study's runs, with regime, network, dataset and state (sweep.status.State).
    """
    marks: dict[tuple, set[str]] = {}
    for state in states:
        marks.setdefault((state.network, state.dataset, state.regime), set()).add(state.state)
    networks, datasets, regimes = (list(dict.fromkeys(getattr(state, name) for state in states))
                                   for name in ("network", "dataset", "regime"))
    regimes_of = {dataset: [regime for regime in regimes if any((network, dataset, regime) in marks
                                                                for network in networks)] for dataset in datasets}
    names, columns = _short([name or "" for name in networks]), []
    for dataset, title in zip(datasets, _short([name or "" for name in datasets]), strict=True):
        cells = ["".join(mark(marks.get((network, dataset, regime), set())) for regime in regimes_of[dataset])
                 for network in networks]
        width = max(len(title), len(regimes_of[dataset]))
        columns.append([cell.ljust(width) for cell in (title, *cells)])
    margin = max(map(len, names), default=0)
    left = ["".ljust(margin), *(name.ljust(margin) for name in names)]
    blocks: list[list[list[str]]] = [[]]
    for column in columns:
        if blocks[-1] and margin + sum(len(one[0]) + 1 for one in (*blocks[-1], column)) > WIDTH:
            blocks.append([])
        blocks[-1].append(column)
    return [*legend(states, regimes_of), *(" ".join(row).rstrip() for block in blocks
                                           for row in zip(left, *block, strict=True))]


def mark(found: set[str]) -> str:
    """The mark of a cell.

    Args:
      found: the states of its runs.
    """
    if found == {"finished", "not begun"}:
        return MARKS["begun"]
    return next((mark for state, mark in MARKS.items() if state in found), ABSENT)


def legend(states: Sequence, regimes_of: dict[str, list[str]]) -> list[str]:
    """What the marks say, of those that there are, and the order of the regimes in each cell."""
    orders: dict[tuple[str, ...], list[str]] = {}
    for dataset, regimes in regimes_of.items():
        orders.setdefault(tuple(regimes), []).append(dataset)
    there = {state.state for state in states}
    shown = [f"{mark} {state}" for state, mark in MARKS.items() if state in there]
    curves = ""
    if len({(state.network, state.dataset, state.regime) for state in states}) < len(states):
        curves = f"; of several runs the first of these, {MARKS['begun']} where only some are finished"
    few_first = sorted(orders, key=lambda order: len(orders[order]))
    cells = [f"each cell of {', '.join(orders[order])}" for order in few_first[:-1]]
    cells.append("each other cell" if cells else "each cell")
    return [f"marks: {', '.join(shown)}{curves}",
            *(f"in {cell}: {', '.join(order)}" for cell, order in zip(cells, few_first, strict=True))]


def _short(names: list[str]) -> list[str]:
    """The names, long ones by their end, where that still tells them apart."""
    short = [name if len(name) <= LONGEST else f"…{name[1 - LONGEST:]}" for name in names]
    return short if len(set(short)) == len(set(names)) else names
