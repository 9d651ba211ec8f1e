"""The answer in at most three sentences, for the head of the page; report/text.py has all that was found."""

import numpy as np
import pandas as pd

from tfbench.regimes import REGIMES
from tfbench.report import tables
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats.findings import Findings, cost_of
from tfbench.wording import agree, count, decimal

MOST = 3  # sentences
MOST_NAMES = 4  # of networks in a sentence; more are counted


def answer(findings: Findings) -> list[str]:
    """At most MOST sentences: of one data set which network to take; of several, what they have in common."""
    if not len(findings.table):
        return ["No run used all training examples: there are curves only."]
    if findings.table["dataset"].nunique() == 1:
        dataset = dataset_title(findings.table["dataset"].iloc[0])
        rankings = findings.rankings.groupby("regime", sort=False)
        return [f"{dataset}, {REGIMES[str(regime)].title}: {take(ranking)}." for regime, ranking in rankings][:MOST]
    lines = [_correlations(findings), _placed(findings), _best(findings), _wins(findings.wins)]
    return [line for line in lines if line][:MOST]


def take(ranking: pd.DataFrame) -> str:
    """The best of one ranking (Findings.rankings), how many cannot be told from it, and which of these is cheapest."""
    ranking = ranking.reset_index(drop=True)
    is_best = ranking["accuracy"] == ranking["accuracy"].max()
    tie, others = ranking[is_best], ranking[~is_best]
    best, of = tie.iloc[0], f" of {count(len(ranking), 'network')}" if len(ranking) > 1 else ""
    text = f"{leading(tie['network'], f'the most accurate{of}')} ({tables.shown('percent', best['accuracy'])} %"
    if has_one_interval(tie):
        text += f", 95 % interval {tables.shown('percent', best['low'])} to {tables.shown('percent', best['high'])}"
    text += ")"
    tested = others[others["like_best"].notna()]
    alike = tested[tested["like_best"].astype(bool)]
    if len(tested):
        text += f"; {'against one of them, ' if len(tie) > 1 else ''}{told_apart(len(alike), len(tested))}"
    cost = cost_of(ranking)
    known = ranking.loc[[*tie.index, *alike.index]].dropna(subset=cost)
    if len(known) > 1:
        text += f", and the cheapest of these is {network_title(known.loc[known[cost].idxmin(), 'network'])}"
    return text


def leading(networks, what: str) -> str:
    """ "A is WHAT", or "A and B tie as WHAT" where several are equal."""
    names = [network_title(name) for name in networks]
    if len(names) == 1:
        return f"{names[0]} is {what}"
    return f"{_listed(names) if len(names) <= MOST_NAMES else f'{len(names)} networks'} tie as {what}"


def has_one_interval(tie: pd.DataFrame) -> bool:
    """Whether there is an interval that is of all rows of a ranking that tie."""
    return not np.isnan(tie["low"].iloc[0]) and len(tie[["low", "high"]].round(6).drop_duplicates()) == 1


def told_apart(alike: int, others: int) -> str:
    """In words how many of a best network's others cannot be told from it."""
    if not alike:
        return "the other is significantly worse" if others == 1 else "all others are significantly worse"
    if others == 1:
        return "the other is not significantly different"
    if alike == others:
        return f"none of the {others} others is significantly different"
    return f"{alike} of the {others} others {agree(alike, 'is', 'are')} not significantly different"


def adverb(r: float) -> str:
    """How well a correlation of this size predicts."""
    return next(word for least, word in ((.9, "very well"), (.7, "well"), (.4, "moderately"), (.2, "weakly"),
                                         (0, "hardly at all")) if abs(r) >= least)


def _title(regime: str) -> str:
    return REGIMES[regime].title.capitalize()


def _listed(parts: list[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _correlations(findings: Findings) -> str:
    """How well source accuracy predicts, of all regimes; "" where none has a correlation."""
    known = {regime: c for regime, c in findings.correlations.items() if c.r is not None}
    if not known:
        return ""
    grouped: dict[str, list[str]] = {}
    for regime, c in known.items():
        assert c.r is not None
        words = adverb(c.r) + (", but in reverse," if c.r < 0 and abs(c.r) >= .2 else "")
        sure = c.interval and not c.interval[0] <= 0 <= c.interval[1]
        grouped.setdefault(words, []).append(
            f"{REGIMES[regime].title} (r = {decimal(c.r)}{'' if sure else ', which may be chance'})")
    parts = [f"{words} with {_listed(those)}" for words, those in grouped.items()]
    one = len({(len(c.networks), len(c.datasets)) for c in known.values()}) == 1
    c = next(iter(known.values()))
    over = f"; {count(len(c.networks), 'network')}, {count(len(c.datasets), 'data set')}" if one else ""
    return f"Source accuracy predicts transfer accuracy {', '.join(parts)}{over}."


def _placed(findings: Findings) -> str:
    """On which side of a published line the networks lie; "" where that was not asked for."""
    placed = findings.placement
    if placed is None or not len(placed.lines):
        return ""
    parts = []
    for regime, group in placed.lines.groupby("regime", sort=False):
        outside = int((~group["within"].astype(bool)).sum())
        parts.append(f"{int((group['residual'] > 0).sum())} of {count(len(group), 'network')} above it with "
                     f"{REGIMES[regime].title}, {outside or 'none'} outside its prediction band")
    return f"Beside the published line: {'; '.join(parts)}."


def _best(findings: Findings) -> str:
    """The best networks on average over data sets by regime, and how many are like them."""
    grouped: dict[tuple[str, str], list[str]] = {}  # the best and what is said of it -> regimes
    means = findings.networks[findings.networks["datasets"] > 1]
    for regime, group in means.groupby("regime", sort=False):
        is_best = group["mean_log_odds"] == group["mean_log_odds"].max()
        tie, tested = group[is_best], group[~is_best & group["like_best"].notna()]
        told = told_apart(int(tested["like_best"].astype(bool).sum()), len(tested)) if len(tested) else (
            f"{tables.shown('percent', tie['accuracy'].iloc[0])} %")
        names = [network_title(name) for name in tie["network"]]
        best = _listed(names) if len(names) <= MOST_NAMES else f"{len(names)} networks that tie"
        grouped.setdefault((best, told), []).append(REGIMES[str(regime)].title)
    if not grouped:
        return ""
    parts = [f"{name} with {_listed(those)} ({told})" for (name, told), those in grouped.items()]
    networks, datasets = means["network"].nunique(), count(int(means["datasets"].max()), "data set")
    if networks == 1:
        return f"On average over {datasets}: {'; '.join(parts)}."
    return f"Best on average over {datasets}: {'; '.join(parts)}."


def _wins(wins: pd.DataFrame) -> str:
    """In how many cells the regime that uses most is better than the others; "" for a single one."""
    if not len(wins):
        return ""
    parts = [f"than {REGIMES[win.other].title} in {win.better} of {count(win.cells, 'comparison')}"
             for win in wins.itertuples()]
    return f"{_title(wins['regime'].iloc[0])} is better {_listed(parts)}."


def of_ranking(ranking: pd.DataFrame) -> str:
    """Below a drawn ranking: which regime, and how many networks are like the best."""
    title, others = _title(ranking.iloc[0]["regime"]), ranking.iloc[1:]
    tested = others[others["like_best"].notna()]
    if not len(tested):
        return f"{title}."
    return f"{title}: {told_apart(int(tested['like_best'].astype(bool).sum()), len(tested))}."


def of_dataset(rankings: pd.DataFrame) -> str:
    """A data set's best result over its regimes, as a heading says it."""
    best = rankings.loc[rankings["accuracy"].idxmax()]
    return (f"{dataset_title(best['dataset'])}: {network_title(best['network'])}, "
            f"{tables.shown('percent', best['accuracy'])} % with {REGIMES[best['regime']].title}")
