"""Tests that tell two networks apart (Kornblith et al. v3, appendix A.1).

    mcnemar       exact binomial test of the examples that one network alone has right
    permutation   swaps the two networks' predictions, example by example
    t_test        paired, of log-odds, over data sets

All are two-sided. METRICS (stats/metrics.py) says which of the first two a metric takes.
"""

import dataclasses
import warnings

import numpy as np
from scipy import stats

ALPHA = 0.05  # "not significantly different" is p above it
RESAMPLES = 100_000  # as SimCLR (appendix B.8); the paper had 10,000, as far as is remembered
CHUNK = 128  # resamples at a time: their coins stay in the cache


@dataclasses.dataclass(frozen=True)
class Best:
    """Comparison of M networks with the best of them.

    Attributes:
      index: of the best one; of equal ones the first.
      p: [M], of each against the best; 1 for itself, NaN where not tested.
      p_holm: [M], the same by Holm's correction for all these comparisons.
    """

    index: int
    p: np.ndarray
    p_holm: np.ndarray


def mcnemar(correct) -> np.ndarray:
    """Exact McNemar test of each pair of networks.

    Args:
      correct: bool [M, n], whether a network has an example right.

    Returns:
      p, [M, M], symmetric, 1 on the diagonal.

    Raises:
      ValueError: no networks or no examples.
    """
    correct = np.asarray(correct, dtype=np.float64)
    if not correct.size:
        raise ValueError(f"expected networks and examples, found {correct.shape}")
    alone = correct @ (1.0 - correct).T  # [i, j]: examples that i has right and j has not
    return np.minimum(1.0, 2.0 * stats.binom.cdf(np.minimum(alone, alone.T), alone + alone.T, 0.5))


def permutation(groups, *, resamples: int = RESAMPLES, seed: int = 0) -> list[np.ndarray]:
    """Paired permutation test of each pair of networks within each group, on the same examples.

    In every resample a coin per example says whether two networks' predictions of it are swapped; all pairs share
    the coins, which leaves each pair's test as it is. With b the coins, a difference sum(x) of two networks
    becomes sum(x) - 2 sum(b x), so one product of coins and contributions serves all pairs.

    Args:
      groups: arrays [M_g, n] of what each example adds to each network's score, e.g. one per regime.

    Returns:
      p, [M_g, M_g] for each group: (1 + resamples whose difference is at least as large as the observed one, either
      way) / (1 + resamples). Symmetric, 1 on the diagonal.

    Raises:
      ValueError: no groups, or one without networks or examples.
    """
    groups = [np.asarray(group, np.float64) for group in groups]
    if not groups or not all(group.size for group in groups):
        raise ValueError(f"expected networks and examples in each group, found {[group.shape for group in groups]}")
    if all(len(group) == 1 for group in groups):
        return [np.ones((1, 1)) for _ in groups]  # no pair to draw a hundred thousand coins for
    stacked = np.concatenate(groups)
    differ = np.ptp(stacked, axis=0) > 0  # where all contribute the same, no swap changes anything
    x = stacked[:, differ]
    x = x - x.mean(axis=0)  # cancels in every difference, and keeps what float32 rounds off small
    observed, swapped = x.sum(axis=1), np.empty((resamples, len(x)), np.float32)
    rng, transposed = np.random.default_rng(seed), np.ascontiguousarray(x.T, dtype=np.float32)
    for first in range(0, resamples, CHUNK):
        chunk = swapped[first:first + CHUNK]
        bits = np.frombuffer(rng.bytes(len(chunk) * -(-x.shape[1] // 8)), np.uint8).reshape(len(chunk), -1)
        np.matmul(np.unpackbits(bits, axis=1, count=x.shape[1]).astype(np.float32), transposed, out=chunk)
    resampled = (observed.astype(np.float32) - 2 * swapped).T.copy()  # [networks, resamples]
    # Equal differences count as at least as large. Sums in float32 are off by less than `tie`, a small part of what the
    # least contribution makes; scores that many examples make differ by more.
    tie = 1e-5 * np.abs(x).max(initial=0.0) * np.sqrt(max(x.shape[1], 1))
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return [_pair_values(scores, swapped, tie) for scores, swapped in zip(
        np.split(observed, ends), np.split(resampled, ends), strict=True)]


def _pair_values(observed, resampled, tie: float) -> np.ndarray:
    """p of each pair from the scores [M] and the resampled ones [M, resamples], both less what all share."""
    p = np.ones((len(observed),) * 2)
    for i, j in zip(*np.triu_indices(len(observed), 1), strict=True):
        least = abs(observed[i] - observed[j]) - tie
        beyond = np.count_nonzero(np.abs(resampled[i] - resampled[j]) >= least)
        p[i, j] = p[j, i] = (1 + beyond) / (1 + resampled.shape[1])
    return p


def t_test(x) -> np.ndarray:
    """Paired t-test, over data sets, of each pair of networks.

    Args:
      x: [M, D] log-odds.

    Returns:
      p, [M, M], symmetric; 1 for equal networks, NaN below two data sets and where x is NaN.
    """
    x = np.asarray(x, np.float64)
    if x.shape[1] < 2:
        return np.full((len(x), len(x)), np.nan)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of networks whose differences are all the same
        p = stats.ttest_rel(x[:, None], x[None], axis=2).pvalue
    equal = np.abs(x[:, None] - x[None]).max(axis=2) <= 1e-12
    return np.where(equal, 1.0, p)


def like_the_best(scores, p) -> Best:
    """The best of M networks, and how all others compare with it.

    Args:
      scores: [M], finite. p: [M, M], NaN where not tested.
    """
    index = int(np.argmax(scores))
    against = np.array(p[index], np.float64)
    adjusted = against.copy()
    tested = np.flatnonzero(~np.isnan(against) & (np.arange(len(against)) != index))
    adjusted[tested] = holm(against[tested])
    return Best(index, against, adjusted)


def holm(p) -> np.ndarray:
    """Holm's correction of the p-values of several comparisons, [n] to [n].

    As statsmodels' multipletests, which collects garbage in every call (80 ms).
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
