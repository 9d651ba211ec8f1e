"""The statistics as lines for the terminal."""

import numpy as np

from tfbench.stats import accuracies, curves
from tfbench.stats.correlation import Correlation
from tfbench.stats.titles import REGIMES, count, dataset_title, decimal, network_title


def lines(table, correlations: dict[str, Correlation], rows=()) -> list[str]:
    """Per regime its accuracies in percent, then the correlations, wins, what was left out and what is missing.

    Args:
      table: accuracies (accuracies.py). correlations: of it (correlation.per_regime).
      rows: the runs that the table came from.
    """
    found = [] if len(table) else ["no run used all training examples: there are curves only"]
    for regime in correlations:
        found += [f"{REGIMES[regime]}, test accuracy in %:", *_grid(table, regime), ""]
    found += [f"{REGIMES[regime]}: {correlation_text(c)}" for regime, c in correlations.items()]
    for regime, other, better, equal, cells in accuracies.comparisons(table):
        found.append(f"{REGIMES[regime]} better than {REGIMES[other]}: {better} of {cells}, equal {equal}")
    found += curves.left_out(rows)
    for what, curve in (("training steps", curves.convergence(rows)),
                        ("training examples per class", curves.few_examples(rows))):
        if number := len(curve.drop_duplicates(list(curves.CELL))):
            found.append(f"{count(number, 'curve')} of accuracy against {what} in the report")
    if gaps := accuracies.missing(table, rows):
        found.append(f"missing: {count(len(gaps), 'result')}; a data set that lacks one of a network in its regime's "
                     "table is not in the correlation")
    if unknown := accuracies.without_source(table):
        found.append("source accuracy unknown, so not in the correlation: "
                     + ", ".join(map(network_title, unknown)))
    return found


def correlation_text(c: Correlation) -> str:
    """For example "r = .986, rho = .985 (16 networks, 12 data sets)"."""
    if c.r is None:
        return f"no correlation: {c.reason}"
    return (f"r = {decimal(c.r)}, rho = {decimal(c.rho)} "
            f"({count(len(c.networks), 'network')}, {count(len(c.datasets), 'data set')})")


def _grid(table, regime: str) -> list[str]:
    """Aligned lines: two for the header, one per network by descending source accuracy."""
    wide = accuracies.pivot(table, regime)
    sources = table.drop_duplicates("network").set_index("network")["source_accuracy"]
    titles = ["network", "source", *(dataset_title(name) for name in wide.columns)]
    above, _, below = zip(*(title.rpartition(" ") for title in titles), strict=True)
    body = [[network_title(name), *(_percent(value) for value in (sources[name], *wide.loc[name]))]
            for name in wide.index]
    grid = [above, below, *body]
    widths = [max(len(line[i]) for line in grid) for i in range(len(titles))]
    return ["  " + "  ".join(cell.rjust(width) if i else cell.ljust(width)
                             for i, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in grid if any(line)]


def _percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:.1f}"
