"""What was found, in words: for the terminal, the head of the page and the Markdown summary."""

import numpy as np

from tfbench.regimes import REGIMES
from tfbench.report import tables
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import accuracies
from tfbench.stats.correlation import ALL, Correlation
from tfbench.stats.findings import Findings, ranking
from tfbench.wording import count, decimal


def statements(found: Findings) -> list[str]:
    """The findings in sentences, the main ones first."""
    lines = [] if len(found.table) else ["No run used all training examples: there are curves only."]
    for regime, c in found.correlations.items():
        lines.append(f"{_name(regime)}: {verdict(c)}.{_numbers(c)}")
    lines += _views(found) + _best(found)
    for line in found.wins.itertuples():
        ties = f" and equal in {line.equal}" if line.equal else ""
        lines.append(f"{_name(line.regime)} is better than {REGIMES[line.other].title} in {line.better} of "
                     f"{count(line.cells, 'comparison')}{ties}.")
    return lines + _beside_the_paper(found) + _solver(found)


def choice(found: Findings, dataset: str) -> list[str]:
    """Which network to take for a data set, by regime, and which cannot be told from it."""
    lines = []
    for regime in accuracies.regimes(found.table[found.table["dataset"] == dataset]):
        ranks = ranking(found.cells, dataset, regime)
        best, others = ranks.iloc[0], ranks.iloc[1:]
        interval = ("" if np.isnan(best["low"]) else
                    f", 95 % interval {_percent(best['low'])} to {_percent(best['high'])}")
        text = (f"{dataset_title(dataset)}, {REGIMES[regime].title}: {network_title(best['network'])} is the most accurate "
                f"of {count(len(ranks), 'network')} ({100 * best['accuracy']:.1f} %{interval})")
        if not len(others):
            lines.append(text + ".")
            continue
        tested = others[others["like_best"].notna()]
        if not len(tested):
            lines.append(text + "; without predictions nothing says how many of the others are as good.")
            continue
        alike = tested[tested["like_best"].astype(bool)]
        text += f"; {_alike(tested)}."
        known = ranks[ranks["multiply_adds"].notna() & (ranks.index.isin(alike.index) | (ranks.index == 0))]
        if len(known) > 1:
            cheapest = known.loc[known["multiply_adds"].idxmin()]
            text += (f" The cheapest of these is {network_title(cheapest['network'])}, with "
                     f"{cheapest['multiply_adds']:.2f} billion multiply-adds per image and "
                     f"{cheapest['parameters'] / 1e6:.1f} million parameters.")
        lines.append(text)
    return lines


def missing(found: Findings) -> list[str]:
    """What was not measured, an item each."""
    items = [f"{network_title(network)} on {dataset_title(dataset)}, {REGIMES[regime].title}"
             for regime, network, dataset in accuracies.missing(found.table, found.rows)]
    return items + [f"source accuracy of {network_title(name)}" for name in accuracies.without_source(found.table)]


def verdict(correlation: Correlation) -> str:
    """In words how well source accuracy predicts transfer accuracy, by the size of r and its interval."""
    if correlation.r is None:
        return f"no correlation: {correlation.reason}"
    size = abs(correlation.r)
    words = "source accuracy predicts transfer accuracy "
    words += next(word for least, word in ((.9, "very well"), (.7, "well"), (.4, "moderately"), (.2, "weakly"),
                                          (0, "hardly at all")) if size >= least)
    if correlation.r < 0 and size >= .2:
        words += ", but in reverse: better networks transfer worse"
    if correlation.interval is None:
        words += ", on so few networks that it may be chance"
    elif correlation.interval[0] <= 0 <= correlation.interval[1]:
        words += ", and these networks are too few to rule out no relation"
    return words


def for_terminal(found: Findings) -> list[str]:
    """Per regime its accuracies in percent, then the statements, what was left out and what is missing."""
    lines = []
    for regime in found.correlations:
        lines += [f"{REGIMES[regime].title}, test accuracy in %:", *_grid(found, regime), ""]
    lines += statements(found)
    if found.table["dataset"].nunique() == 1:
        lines += choice(found, found.table["dataset"].iloc[0])
    lines += [*found.incomplete, *found.mismatches, *found.left_out, *found.notes]
    for what, curve in (("training steps", found.convergence), ("training examples per class", found.few_examples)):
        if number := len(curve.drop_duplicates(["regime", "network", "dataset"])):
            lines.append(f"{count(number, 'curve')} of accuracy against {what} in the report")
    if gaps := accuracies.missing(found.table, found.rows):
        lines.append(f"missing: {count(len(gaps), 'result')}; a data set that lacks one of a network in its regime's "
                     "table is not in the correlation")
    if unknown := accuracies.without_source(found.table):
        lines.append("source accuracy unknown, so not in the correlation: " + ", ".join(map(network_title, unknown)))
    return lines


def _name(regime: str) -> str:
    return REGIMES[regime].title.capitalize()


def _numbers(c: Correlation) -> str:
    if c.r is None:
        return ""
    interval = " (95 % interval {} to {})".format(*map(decimal, c.interval)) if c.interval else ""
    return (f" r = {decimal(c.r)}{interval}, ρ = {decimal(c.rho)}; {count(len(c.networks), 'network')}, "
            f"{count(len(c.datasets), 'data set')}.")


def _views(found: Findings) -> list[str]:
    lines = []
    for view, group in found.views[found.views["view"] != ALL].groupby("view", sort=False):
        values = ", ".join(f"{REGIMES[line.regime].title} {decimal(line.r)}" for line in group.itertuples()
                           if not np.isnan(line.r))
        if values:
            lines.append(f"On the {count(int(group['datasets'].max()), 'data set')} with {view}: r = {values}.")
    return lines


def _best(found: Findings) -> list[str]:
    """The best network on average over two or more data sets, and those that the t-test cannot tell from it."""
    lines = []
    for regime, group in found.networks[found.networks["datasets"] > 1].groupby("regime", sort=False):
        if len(group) < 2:
            continue
        best = group.loc[group["mean_log_odds"].idxmax(), "network"]
        others = group[group["network"] != best]
        lines.append(f"{_name(regime)}: {network_title(best)} is the best on average over "
                     f"{int(group['datasets'].iloc[0])} data sets; by paired t-tests {_alike(others)}.")
    return lines


def _alike(others) -> str:
    """Which of a best network's `others`, lines with like_best and like_best_holm, cannot be told from it."""
    alike, holm = (others[others[name].fillna(False).astype(bool)]["network"] for name in
                   ("like_best", "like_best_holm"))
    more = [name for name in holm if name not in set(alike)]
    said = (f"not significantly different: {_names(alike)} (p > .05" if len(alike) else
            "all others are significantly worse (p ≤ .05")
    return f"{said}; Holm's correction adds {_names(more) if more else 'none'})"


def _names(networks) -> str:
    return ", ".join(map(network_title, networks))


def _beside_the_paper(found: Findings) -> list[str]:
    if not len(found.paper):
        return []
    known = found.paper["within"].dropna()
    text = (f"{count(len(found.paper), 'cell')} in common with the paper: ours less the paper's is "
            f"{tables.shown('points', found.paper['difference'].mean())} points on average, the largest difference "
            f"{tables.shown('points', found.paper['difference'].loc[found.paper['difference'].abs().idxmax()])}")
    if len(known):
        text += f"; the paper's accuracy lies within our 95 % interval in {int(known.sum())} of {len(known)}"
    return [text + "."]


def _solver(found: Findings) -> list[str]:
    if not len(found.solver):
        return []
    fits, solved = int(found.solver["fits"].sum()), int(found.solver["certified"].sum())
    return [f"Solver: all {fits:,} logistic regressions are certified to be solved." if solved == fits else
            f"Solver: {fits - solved:,} of {fits:,} logistic regressions are not certified to be solved."]


def _grid(found: Findings, regime: str) -> list[str]:
    """Aligned lines: two for the header, one per network by descending source accuracy."""
    wide = accuracies.pivot(found.table, regime)
    sources = found.table.drop_duplicates("network").set_index("network")["source_accuracy"]
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
