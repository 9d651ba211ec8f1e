"""Tests of two networks against SciPy, statsmodels and exhaustive enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tfbench.stats import significance
from tfbench.stats.metrics import METRICS


def exhaustive(x, y) -> float:
    """p over all ways to swap; x, y: contributions [n] of two networks."""
    difference = x - y
    observed = abs(difference.sum())
    swaps = np.array(list(itertools.product((1, -1), repeat=len(x))))
    return np.mean(np.abs(swaps @ difference) >= observed - 1e-12)


def within_monte_carlo(p, exact, resamples) -> bool:
    return abs(p - exact) <= 4.5 * np.sqrt(exact * (1 - exact) / resamples) + 2 / resamples


def test_mcnemar_equals_statsmodels_and_scipy():
    rng = np.random.default_rng(0)
    correct = rng.random((4, 60)) < [[0.5], [0.6], [0.8], [0.95]]
    p = significance.mcnemar(correct)
    for i, j in itertools.combinations(range(4), 2):
        a, b = correct[i], correct[j]
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        assert p[i, j] == p[j, i] == pytest.approx(mcnemar(table, exact=True).pvalue)
        alone = [int(table[0][1]), int(table[1][0])]
        assert p[i, j] == pytest.approx(stats.binomtest(alone[0], sum(alone), 0.5).pvalue)
    assert (np.diag(p) == 1).all()


def test_mcnemar_of_networks_that_never_differ():
    assert (significance.mcnemar(np.ones((3, 5), bool)) == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_permutation_of_mean_per_class_is_near_enumeration(seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [7, 4, 2])  # unequal classes
    predictions = np.where(rng.random((3, 13)) < [[0.9], [0.6], [0.3]], labels, (labels + 1) % 3)
    x = np.array([METRICS["mean_per_class"].contributions(labels, line) for line in predictions])
    p, = significance.permutation([x], resamples=20_000, seed=seed)
    for i, j in itertools.combinations(range(3), 2):
        assert within_monte_carlo(p[i, j], exhaustive(x[i], x[j]), 20_000)
    assert (p == p.T).all() and (np.diag(p) == 1).all()


def test_permutation_of_class_decisions_is_near_enumeration():
    rng = np.random.default_rng(1)
    labels = rng.choice([-1, 0, 1], size=(12, 5))
    scores = rng.normal(size=(2, 12, 5)) + [[[0.2]], [[0.0]]] * labels
    scores[0] += labels
    x = np.array([METRICS["voc_map"].contributions(labels, line) for line in scores])
    p, = significance.permutation([x], resamples=20_000)
    assert within_monte_carlo(p[0, 1], exhaustive(*x), 20_000)


def test_permutation_equals_scipys():
    rng = np.random.default_rng(2)
    x = rng.random((2, 30)) * [[1.0], [1.2]]
    p, = significance.permutation([x], resamples=20_000)
    theirs = stats.permutation_test(x, lambda a, b, axis: (a - b).sum(axis=axis), permutation_type="samples",
                                    n_resamples=20_000, rng=np.random.default_rng(3), vectorized=True).pvalue
    assert p[0, 1] == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("n", [20, 5000])
def test_permutation_of_equal_weights_is_the_binomial_test_ties_included(n):
    rng = np.random.default_rng(4)
    correct = rng.random((3, n)) < [[0.70], [0.71], [0.72]]
    exact = significance.mcnemar(correct)
    p, = significance.permutation([correct / n], resamples=20_000)
    for i, j in itertools.combinations(range(3), 2):
        assert within_monte_carlo(p[i, j], exact[i, j], 20_000)


def test_groups_share_coins_and_change_nothing():
    rng = np.random.default_rng(5)
    first, second = rng.random((2, 3, 40))
    together = significance.permutation([first, second], resamples=10_000)
    for alone, group in zip((first, second), together, strict=True):
        np.testing.assert_allclose(significance.permutation([alone], resamples=10_000)[0], group, atol=0.03)


def test_rejects_a_true_null_as_often_as_it_says():
    rng = np.random.default_rng(6)
    labels = rng.integers(10, size=200)
    rejected = 0
    for seed in range(200):
        predictions = np.where(rng.random((2, 200)) < 0.7, labels, (labels + 1) % 10)
        x = np.array([METRICS["mean_per_class"].contributions(labels, line) for line in predictions])
        p, = significance.permutation([x], resamples=500, seed=seed)
        rejected += p[0, 1] <= 0.05
    assert 2 <= rejected <= 20  # expected 10, standard deviation 3


def test_degenerate_permutations():
    assert significance.permutation([np.zeros((2, 1))], resamples=100)[0].tolist() == [[1, 1], [1, 1]]
    assert significance.permutation([np.ones((1, 7))], resamples=100)[0].tolist() == [[1]]
    x = np.array([[1.0], [0.0]])  # one example that differs: either swap is as extreme
    assert significance.permutation([x], resamples=100)[0][0, 1] == 1


def test_contributions_add_up_to_the_scores():
    rng = np.random.default_rng(7)
    labels, predicted = rng.integers(4, size=(2, 50))
    labels[labels == 2] = 3  # a class without examples
    assert METRICS["top1"].contributions(labels, predicted).sum() == pytest.approx(np.mean(labels == predicted))
    recalls = [np.mean(predicted[labels == c] == c) for c in (0, 1, 3)]
    assert METRICS["mean_per_class"].contributions(labels, predicted).sum() == pytest.approx(np.mean(recalls))
    truth, scores = rng.choice([-1, 0, 1], size=(50, 3)), rng.normal(size=(50, 3))
    right = ((scores > 0) == (truth > 0))[truth != 0]
    assert METRICS["voc_map"].contributions(truth, scores).sum() == pytest.approx(right.mean())


@pytest.mark.parametrize("metric", METRICS)
def test_contributions_need_examples(metric):
    with pytest.raises(ValueError, match="expected"):
        METRICS[metric].contributions(np.array([], int), np.array([], int))


@pytest.mark.parametrize("call", [
    lambda: METRICS["top1"].contributions([1, 2, 3], [1]),
    lambda: METRICS["voc_map"].contributions([[0, 0]], [[1.0, 2.0]]),
    lambda: significance.mcnemar(np.zeros((2, 0))), lambda: significance.permutation([]),
    lambda: significance.permutation([np.zeros((2, 0))])])
def test_nothing_to_compare_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_t_test_equals_scipy():
    x = np.random.default_rng(8).normal(size=(4, 12))
    p = significance.t_test(x)
    for i, j in itertools.combinations(range(4), 2):
        assert p[i, j] == p[j, i] == pytest.approx(stats.ttest_rel(x[i], x[j]).pvalue)
    assert (np.diag(p) == 1).all()


def test_t_test_at_its_limits():
    assert np.isnan(significance.t_test([[1.0], [2.0]])).all()
    assert np.isnan(significance.t_test([[1.0, np.nan], [2.0, 3.0]])[0, 1])
    assert significance.t_test([[1.0, 2, 3], [1.0, 2, 3]])[0, 1] == 1
    assert significance.t_test([[1.0, 2, 3], [2.0, 3, 4]])[0, 1] == 0


def test_holm_by_hand():
    p = np.array([[1, 0.01, 0.04, 0.03], [0.01, 1, 1, 1], [0.04, 1, 1, 1], [0.03, 1, 1, 1]])
    best = significance.like_the_best([0.9, 0.8, 0.7, 0.6], p)
    assert best.index == 0
    assert best.p.tolist() == [1, 0.01, 0.04, 0.03]
    assert best.p_holm.tolist() == pytest.approx([1, 0.03, 0.06, 0.06])  # 3 x .01, 2 x .03, at least that


@pytest.mark.parametrize("p", [[], [0.2], [0.01, 0.01, 0.5], [0.9, 0.04, 0.001, 0.04, 0.3]])
def test_holm_equals_statsmodels(p):
    theirs = multipletests(p, method="holm")[1] if p else []
    assert significance.holm(p).tolist() == pytest.approx(list(theirs))


def test_what_was_not_tested_stays_unknown_and_ties_take_the_first():
    best = significance.like_the_best([0.5, 0.9, 0.9], np.array([[1, 0.02, np.nan], [0.02, 1, np.nan], [np.nan] * 3]))
    assert best.index == 1
    assert best.p_holm[0] == pytest.approx(0.02) and np.isnan(best.p[2]) and np.isnan(best.p_holm[2])
    alone = significance.like_the_best([0.5], np.ones((1, 1)))
    assert (alone.index, alone.p.tolist()) == (0, [1])
