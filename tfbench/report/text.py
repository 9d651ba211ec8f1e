"""The findings in words: for the terminal, the head of the page and the Markdown summary."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tfbench import paper
from tfbench.regimes import REGIMES
from tfbench.report import tables
from tfbench.report.answer import MOST_NAMES, adverb, answer, has_one_interval, leading, told_apart
from tfbench.results.titles import dataset_title, network_title, source_title
from tfbench.stats import accuracies, placement, prediction, published
from tfbench.stats.ablation import GROUP, MEAN
from tfbench.stats.correlation import ALL, Correlation
from tfbench.stats.findings import Findings, cost_of, drawn
from tfbench.wording import agree, aligned, count, decimal, printable


class Words(NamedTuple):
    """What the report says, computed once.

    Attributes:
      answer: at most three sentences, for the head of the page.
      statements: the findings in sentences, the main ones first.
      choices: data set -> which network to take, a sentence per regime.
      missing: what was not measured, an item each.
    """

    answer: list[str]
    statements: list[str]
    choices: dict[str, list[str]]
    missing: list[str]

    @property
    def summary(self) -> list[str]:
        """The statements; where there is one data set only, its choices before them."""
        only = list(self.choices.values())
        return (only[0] if len(only) == 1 else []) + self.statements


def in_words(findings: Findings) -> Words:
    """All sentences on the findings."""
    rankings = dict(list(findings.rankings.groupby("dataset", sort=False)))
    choices = {dataset: choice(rankings[dataset]) for dataset in findings.table["dataset"].unique()}
    return Words(answer(findings), statements(findings), choices, missing(findings))


def statements(findings: Findings) -> list[str]:
    """The findings in sentences, the main ones first."""
    lines = [] if len(findings.table) else ["No run used all training examples: there are curves only."]
    lines += _correlations(findings, known=True)
    lines += _placement(findings.placement) + _views(findings) + _best(findings)
    for win in findings.wins.itertuples():
        ties = f" and equal in {win.equal}" if win.equal else ""
        lines.append(f"{_name(win.regime)} is better than {REGIMES[win.other].title} in {win.better} of "
                     f"{count(win.cells, 'comparison')}{ties}.")
    lines += _state_of_the_art(findings.state_of_the_art) + _sources(findings)
    lines += [prediction.in_words(group, REGIMES[regime].title)
              for regime, group in findings.prediction.groupby("regime", sort=False)]
    lines += _speed(findings.speed, findings.speeds)
    lines += _ablation(findings.ablation_effects)
    lines += _beside_the_paper(findings.paper) + _solver(findings.solver) + _without(findings.duplicates)
    return lines + _correlations(findings, known=False)


def _correlations(findings: Findings, *, known: bool) -> list[str]:
    """A sentence for each regime that has a correlation, or for each that has none."""
    return [f"{_name(regime)}: {verdict(c)}.{_numbers(c)}" for regime, c in findings.correlations.items()
            if (c.r is not None) == known]


def _placement(placed: placement.Placement | None) -> list[str]:
    """How far from a published line the networks lie, and which results are not placed; [] where not asked for."""
    if placed is None:
        return []
    title, apart = published.TABLES[placed.name].title, placement.why_apart(placed)
    if not len(placed.lines):
        return [f"Nothing to place on {title}: {apart or 'there are no results'}."]
    lines = []
    for regime, group in placed.lines.groupby("regime", sort=False):
        for row in group.itertuples() if len(group) <= MOST_NAMES else ():
            lines.append(f"On {title}, {REGIMES[regime].title}: {_placed(row)}.")
        if len(group) > MOST_NAMES:
            above = int((group["residual"] > 0).sum())
            farthest = next(group.loc[[group["residual"].abs().idxmax()]].itertuples())
            lines.append(f"On {title}, {REGIMES[regime].title}: {above} of {count(len(group), 'network')} "
                         f"{agree(above, 'lies', 'lie')} above the line, {int((~group['within']).sum())} outside "
                         f"its 95 % prediction band; the farthest: "
                         f"{_placed(farthest)}.")
    return lines + [f"{text[0].upper()}{text[1:]}." for text in (apart, *placed.notes) if text]


def _placed(row) -> str:
    """Where a row of Placement.lines lies."""
    low, high = (tables.shown("log_odds", value) for value in (row.low, row.high))
    sure = "" if row.low > 0 or row.high < 0 else ", which may be on it"
    twin = "" if np.isnan(row.published_residual) else (
        f"; as published it is {tables.shown('log_odds', row.published_residual)}")
    return (f"{network_title(row.network)} lies {abs(row.residual):.2f} log-odds ({100 * abs(row.points):.1f} points) "
            f"{'above' if row.residual > 0 else 'below'} the line (95 % interval {low} to {high}{sure}), "
            f"{'inside' if row.within else 'outside'} the 95 % prediction band; "
            f"{row.datasets} of {count(row.of_datasets, 'data set')}{twin}")


def _without(duplicates: pd.DataFrame) -> list[str]:
    """What leaving out near-duplicates does, a sentence for each data set."""
    lines = []
    for dataset, group in duplicates.groupby("dataset", sort=False):
        low, high = (tables.shown("points", change) for change in group["difference"].agg(["min", "max"]))
        change = low if low == high else f"{low} to {high}"
        number = count(group["left_out"].max(), "near-duplicate")
        changes = agree(len(group), "accuracy of 1 run changes", f"accuracies of {len(group):,} runs change")
        lines.append(f"{dataset_title(dataset)}: without the {number} of source images among {group['n'].max():,} test "
                     f"images, the {changes} by {change} points.")
    return lines


def choice(rankings: pd.DataFrame) -> list[str]:
    """Which network to take for a data set, whose `rankings` are, by regime, and which cannot be told from it."""
    return [_choice(ranking.reset_index(drop=True)) for _, ranking in rankings.groupby("regime", sort=False)]


def _choice(ranking: pd.DataFrame) -> str:
    """Which network to take for one data set in one regime."""
    best, others = ranking[ranking["rank"] == 1], ranking[ranking["rank"] > 1]
    tie, best = list(best.index), best.iloc[0]
    first = leading(ranking.loc[tie, "network"], f"the most accurate of {count(len(ranking), 'network')}")
    text = (f"{dataset_title(best['dataset'])}, {REGIMES[best['regime']].title}: {first} "
            f"({_percent(best['accuracy'])} %")
    if has_one_interval(ranking.loc[tie]):
        text += f", 95 % interval {_percent(best['low'])} to {_percent(best['high'])}"
    text += ")"
    if len(ranking) == 1:
        return text + "."
    tested = others[others["like_best"].notna()]
    if len(others) and not len(tested):
        return text + "; without predictions nothing says how many of the others are as good."
    if len(others):
        text += "; against one of them, " if len(tie) > 1 else "; "
        text += _alike(tested)
    text += "."
    alike = tested.index[tested["like_best"].astype(bool)]
    cost = cost_of(ranking)
    known = ranking[ranking[cost].notna() & ranking.index.isin([*tie, *alike])]
    if len(known) > 1:
        cheapest = known.loc[known[cost].idxmin()]
        text += (f" The cheapest of these is {network_title(cheapest['network'])}, with {_cost(cheapest, cost)} per "
                 f"image and {cheapest['parameters'] / 1e6:.1f} million parameters.")
    frontier = ranking[ranking["frontier"].fillna(False).astype(bool)].sort_values(cost)
    if len(frontier) > 1:
        text += " The frontier of accuracy against cost: " + ", ".join(
            f"{network_title(row['network'])} ({_percent(row['accuracy'])} %, {_cost(row, cost)})"
            for _, row in frontier.iterrows()) + "."
    return text


def _cost(row: pd.Series, cost: str) -> str:
    """What a network of a ranking costs per image, in the column that findings.cost_of names."""
    return f"{row[cost]:.3g} ms" if cost == "milliseconds" else f"{row[cost]:.3g} billion multiply-adds"


def missing(findings: Findings) -> list[str]:
    """What was not measured, an item each."""
    items = [f"{network_title(network)} on {dataset_title(dataset)}, {REGIMES[regime].title}"
             for regime, network, dataset in findings.missing]
    return items + [f"source accuracy of {network_title(name)}" for name in accuracies.without_source(findings.table)]


def verdict(correlation: Correlation) -> str:
    """In words how well source accuracy predicts transfer accuracy, by the size of r and its interval."""
    if correlation.r is None:
        return f"no correlation: {correlation.reason}"
    size = abs(correlation.r)
    words = f"source accuracy predicts transfer accuracy {adverb(size)}"
    if correlation.r < 0 and size >= .2:
        words += ", but in reverse: better networks transfer worse"
    if correlation.interval is None:
        words += ", on so few networks that it may be chance"
    elif correlation.interval[0] <= 0 <= correlation.interval[1]:
        words += ", and these networks are too few to rule out no relation"
    return words


def for_terminal(findings: Findings, words: Words) -> list[str]:
    """Per regime its accuracies in percent, of one data set as a ranking; then the statements, what was left out and
    what is missing."""
    lines, shown = [], drawn(findings)
    for regime in findings.correlations:
        of_regime = findings.rankings[findings.rankings["regime"] == regime]
        table = _ranking(of_regime) if len(words.choices) == 1 else _grid(shown.table, regime)
        lines += [f"{REGIMES[regime].title}, test accuracy in %:", *table, ""]
    lines += [*words.summary, *findings.incomplete, *findings.mismatches, *findings.left_out, *findings.notes]
    for along, curve in (("training steps", findings.convergence),
                         ("training examples per class", findings.few_examples)):
        if number := len(curve.drop_duplicates(["regime", "network", "dataset"])):
            lines.append(f"{count(number, 'curve')} of accuracy against {along} in the report")
    if findings.missing:
        lines.append(f"missing: {count(len(findings.missing), 'result')}; a data set that lacks one of a network in "
                     "its regime's table is not in the correlation")
    if unknown := accuracies.without_source(findings.table):
        lines.append("source accuracy unknown, so not in the correlation: " + ", ".join(map(network_title, unknown)))
    return lines


RANKING = (("rank", "", "count"), ("accuracy", "test %", "percent"), ("low", "from", "percent"),
           ("high", "to", "percent"), ("like_best", "like best", "yes"),
           ("source_accuracy", "source", "percent"), ("parameters", "10⁶ parameters", "millions"),
           ("megabytes", "MB", "count"), ("milliseconds", "ms/image", "decimal"), ("frontier", "frontier", "yes"))


def _ranking(ranking: pd.DataFrame) -> list[str]:
    """A ranking's columns of RANKING that have values, a line per network."""
    columns = [column for column in RANKING if not ranking[column[0]].map(tables.is_missing).all()]
    rows = [("network", *(heading for _, heading, _ in columns))]
    rows += [(network_title(row["network"]), *(tables.shown(kind, row[name]) for name, _, kind in columns))
             for _, row in ranking.iterrows()]
    return [f"  {line}" for line in aligned(rows)]


def _name(regime: str) -> str:
    return REGIMES[regime].title.capitalize()


def _numbers(c: Correlation) -> str:
    if c.r is None or c.rho is None:
        return ""
    interval = " (95 % interval {} to {})".format(*map(decimal, c.interval)) if c.interval else ""
    return (f" r = {decimal(c.r)}{interval}, ρ = {decimal(c.rho)}; {count(len(c.networks), 'network')}, "
            f"{count(len(c.datasets), 'data set')}.")


def _views(findings: Findings) -> list[str]:
    lines = []
    for view, correlations in findings.views.items():
        values = ", ".join(f"{REGIMES[regime].title} {decimal(c.r)}" for regime, c in correlations.items()
                           if c.r is not None)
        if view != ALL and values:
            datasets = max(len(c.datasets) for c in correlations.values())
            lines.append(f"On the {count(datasets, 'data set')} with {view}: r = {values}.")
    return lines


def _best(findings: Findings) -> list[str]:
    """The best network on average over two or more data sets, and those that the t-test cannot tell from it."""
    lines = []
    for regime, group in findings.networks[findings.networks["datasets"] > 1].groupby("regime", sort=False):
        if len(group) < 2:
            continue
        is_best = group["mean_log_odds"] == group["mean_log_odds"].max()
        best = leading(group[is_best]["network"], "the best on average")
        text = f"{_name(regime)}: {best} over {int(group['datasets'].iloc[0])} data sets"
        if not is_best.all():
            against = "against one of them, " if is_best.sum() > 1 else ""
            text += f"; by paired t-tests {against}{_alike(group[~is_best])}"
        lines.append(f"{text}.")
    return lines


def _alike(others: pd.DataFrame) -> str:
    """Which of a best network's `others`, rows with like_best and like_best_holm, cannot be told from it."""
    alike, holm = (list(others[others[name].fillna(False).astype(bool)]["network"]) for name in
                   ("like_best", "like_best_holm"))
    more = [name for name in holm if name not in alike]
    text = "all others are significantly worse (p ≤ .05"
    if alike:
        text = f"not significantly different: {_names(alike)} (p > .05"
        if len(alike) > MOST_NAMES:
            text = f"{told_apart(len(alike), len(others))} (p > .05"
    added = _names(more) if len(more) <= MOST_NAMES else str(len(more))
    return f"{text}; Holm's correction adds {added if more else 'none'})"


def _names(networks) -> str:
    return ", ".join(map(network_title, networks))


def _beside_the_paper(cells: pd.DataFrame) -> list[str]:
    if not len(cells):
        return []
    known, difference = cells["within"].dropna(), cells["difference"]
    text = (f"{count(len(cells), 'cell')} in common with the paper: ours less the paper's is "
            f"{tables.shown('points', difference.mean())} points on average, the largest difference "
            f"{tables.shown('points', difference.loc[difference.abs().idxmax()])}")
    if len(known):
        text += f"; the paper's accuracy lies within our 95 % interval in {int(known.sum())} of {len(known)}"
    return [text + "."]


def _state_of_the_art(table: pd.DataFrame) -> list[str]:
    """On how many data sets the best before the paper was passed, here and in the paper."""
    if not len(table):
        return []
    better = table[table["better"]]
    if len(table) == 1:
        line = next(table.itertuples())
        return [f"{network_title(line.network)} with {REGIMES[line.regime].title} is {'' if line.better else 'not '}"
                f"better than the state of the art before the paper on {dataset_title(line.dataset)}; the paper's best "
                f"{'was' if line.paper_better else 'was not'}."]
    names = ", ".join(f"{dataset_title(line.dataset)} ({network_title(line.network)}, {REGIMES[line.regime].title})"
                      for line in better.itertuples()) if len(better) <= MOST_NAMES else ""
    return [f"Better than the state of the art before the paper on {len(better)} of {len(table)} data sets"
            f"{': ' + names if names else ''}. The paper: on {int(table['paper_better'].sum())} of these {len(table)}."]


def _sources(findings: Findings) -> list[str]:
    """The correlations by source of the weights, where there are several."""
    lines = []
    for source, correlations in findings.sources.items():
        values = ", ".join(f"{REGIMES[regime].title} {decimal(c.r)} ({count(len(c.networks), 'network')})"
                           for regime, c in correlations.items() if c.r is not None)
        lines.append(f"{printable(source_title(source))}: r = {values or 'unknown'}.")
    return lines


def _speed(speed: pd.DataFrame, speeds: pd.DataFrame) -> list[str]:
    """How fast the regimes converge, and against the fastest."""
    if not len(speed):
        return []
    parts = []
    for line in speed.sort_values("steps", kind="stable").itertuples():
        epochs = "" if np.isnan(line.epochs) else f" ({_whole(line.epochs)} epochs)"
        ratio = f", {line.ratio:.3g} times as many" if line.ratio >= 1.005 else ""
        parts.append(f"{REGIMES[line.regime].title} after {_whole(line.steps)} steps{epochs}{ratio} (quartiles "
                     f"of the steps {_whole(line.steps_low)} to {_whole(line.steps_high)})")
    (tuned, tuned_epochs), (scratch, scratch_epochs) = paper.CONVERGED
    text = (f"90 % of the best odds are reached by {', by '.join(parts)}; geometric means over "
            f"{count(speed['curves'].iloc[0], 'curve')} of each. The paper: {tuned:,} steps ({tuned_epochs} epochs) "
            f"and {scratch:,} ({scratch_epochs}), {scratch / tuned:.0f} times as many.")
    if number := int(speeds["at_first"].sum()):
        text += (f" {count(number, 'curve')} of all {agree(number, 'was', 'were')} there at the first point: fewer "
                 "steps may do.")
    return [text]


def _whole(value: float) -> str:
    """A number of steps or epochs as people say it."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _ablation(effects: pd.DataFrame) -> list[str]:
    """What each step from one way to pretrain to the next does, on average over networks."""
    lines = []
    for (origin, regime, experiment), group in effects[effects["network"] == MEAN].groupby(GROUP, sort=False):
        steps = ", ".join(f"{step.step} {tables.shown('log_odds_3', step.effect)} ({count(step.networks, 'network')})"
                          for step in group.itertuples())
        lines.append(f"Ways to pretrain, {REGIMES[regime].title}, {experiment}, {printable(origin)}, change of the "
                     f"mean log-odds: {steps}.")
    return lines


def _solver(solver: pd.DataFrame) -> list[str]:
    if not len(solver):
        return []
    fits, solved = int(solver["fits"].sum()), int(solver["certified"].sum())
    if fits == 1:
        return [f"Solver: the logistic regression is {'' if solved else 'not '}certified to be solved."]
    if solved == fits:
        return [f"Solver: all {fits:,} logistic regressions are certified to be solved."]
    return [f"Solver: {fits - solved:,} of {fits:,} logistic regressions {agree(fits - solved, 'is', 'are')} not "
            "certified to be solved."]


def _grid(table: pd.DataFrame, regime: str) -> list[str]:
    """Aligned lines: two for the header, one per network by descending source accuracy."""
    accuracy = accuracies.pivot(table, regime)
    sources = table.drop_duplicates("network").set_index("network")["source_accuracy"]
    titles = ["network", "source", *(dataset_title(name) for name in accuracy.columns)]
    above, _, below = zip(*(title.rpartition(" ") for title in titles), strict=True)
    body = [[network_title(name), *(_percent(value) for value in (sources[name], *accuracy.loc[name]))]
            for name in accuracy.index]
    grid = [above, below, *body]
    return [f"  {line}".rstrip() for line in aligned([line for line in grid if any(line)])]


def _percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:.1f}"
