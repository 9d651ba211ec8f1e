"""Intervals of accuracies: against SciPy, against the metrics themselves, and how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats

from tfbench.stats import intervals, metrics
from tfbench.stats.metrics import METRICS


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 10), (1, 1), (9000, 10000)])
def test_clopper_pearson_equals_scipy(k, n):
    theirs = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert intervals.clopper_pearson(k, n) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("p", [0.02, 0.5, 0.77, 0.99])
def test_clopper_pearson_covers_at_least_as_often_as_it_says(p):
    k = np.arange(51)
    low, high = intervals.clopper_pearson(k, 50)
    covered = (low <= p) & (p <= high)
    assert stats.binom.pmf(k[covered], 50, p).sum() >= 0.95


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_clopper_pearson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="expected 0 <= k <= n"):
        intervals.clopper_pearson(k, n)


def predicted(labels, right):
    """Predictions of which `right` (bool) are right."""
    return np.where(right, labels, (labels + 1) % (labels.max() + 1))


@pytest.mark.parametrize(("sizes", "rates"), [((5, 40), (8, 1.5)), ((60, 100), (20, 1.5)), ((5, 40), (3, 3))])
def test_mean_per_class_covers_the_truth(sizes, rates):
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(250):
        truth = rng.beta(*rates, size=20)
        labels = np.repeat(np.arange(20), rng.integers(*sizes, size=20))
        right = rng.random(len(labels)) < truth[labels]
        low, high = METRICS["mean_per_class"].interval(labels, predicted(labels, right), seed=seed)
        covered += low <= truth.mean() <= high
    assert 0.91 <= covered / 250 <= 0.995


def test_mean_per_class_holds_its_accuracy_even_at_the_ends():
    labels = np.repeat(np.arange(4), 10)
    low, high = METRICS["mean_per_class"].interval(labels, labels)
    assert 0.8 < low < 0.99 and high == 1
    low, high = METRICS["mean_per_class"].interval(labels, (labels + 1) % 4)
    assert low == 0 and 0.01 < high < 0.2


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.9), (0.98, 0.995), (0.002, 0.03)])
def test_moments_give_the_percentiles_of_many_draws(monkeypatch, low, high):
    monkeypatch.setattr(intervals, "RESAMPLES", 50_000)
    rng = np.random.default_rng(0)
    means, weights = rng.uniform(low, high, size=100), rng.integers(3, 30, size=100)
    drawn = intervals.percentiles_by_draws(means, weights, 0)
    found = intervals.percentiles_by_moments(means, weights)
    # Without the skewness the ends are off by 0.05 of the width where nearly all or nothing is right.
    assert found == pytest.approx(drawn, abs=0.01 * np.ptp(drawn))


def test_many_classes_take_no_draws(monkeypatch):
    labels = np.repeat(np.arange(intervals.MANY_CLASSES), 5)
    predictions = predicted(labels, np.random.default_rng(0).random(len(labels)) < 0.7)
    by_draws = METRICS["mean_per_class"].interval(labels[5:], predictions[5:])  # a class less
    monkeypatch.setattr(intervals, "percentiles_by_draws", None)
    assert METRICS["mean_per_class"].interval(labels, predictions) == pytest.approx(by_draws, abs=2e-3)


PRECISIONS = [(intervals.eleven_points, "voc_map"), (intervals.average_precision, "mean_average_precision")]


@pytest.mark.parametrize(("precision", "metric"), PRECISIONS)
def test_weights_of_one_give_the_metric(precision, metric):
    rng = np.random.default_rng(1)
    labels = rng.choice([-1, 0, 1], size=(200, 6), p=[0.8, 0.1, 0.1])
    scores = np.round(rng.normal(size=labels.shape) + (labels > 0), 1)  # with ties
    ones = np.ones((200, 1), np.float32)
    each = [precision(scores[:, c], labels[:, c], ones)[0] for c in range(6)]
    assert np.mean(each) == pytest.approx(metrics.score(metric, scores, labels))


@pytest.mark.parametrize(("precision", "metric"), PRECISIONS)
def test_whole_weights_are_repeated_images(precision, metric):
    rng = np.random.default_rng(2)
    labels, scores = rng.choice([-1, 1], size=80, p=[0.8, 0.2]), rng.normal(size=80)
    if metric == "mean_average_precision":
        scores = np.round(scores, 1)  # of equal ones it takes none first
    weights = rng.integers(0, 4, size=(80, 3))
    found = precision(scores, labels, weights.astype(np.float32))
    for b in range(3):
        again = np.repeat(np.arange(80), weights[:, b])
        assert found[b] == pytest.approx(
            metrics.score(metric, scores[again][:, None], labels[again][:, None]), abs=1e-6)
    nothing = np.where(labels > 0, 0, 1)[:, None].astype(np.float32)
    assert np.isnan(precision(scores, labels, nothing)).all()


@pytest.mark.parametrize("metric", ["voc_map", "mean_average_precision"])
def test_precision_covers_what_test_sets_of_this_size_give(metric):
    rng = np.random.default_rng(3)
    labels = np.where(rng.random((60_000, 4)) < 0.1, 1, -1)
    scores = rng.normal(size=labels.shape) + 1.5 * (labels > 0)
    draws = [rng.integers(len(labels), size=500) for _ in range(120)]
    expected = np.mean([metrics.score(metric, scores[draw], labels[draw]) for draw in draws])
    ends = np.array([METRICS[metric].interval(labels[draw], scores[draw], seed=i) for i, draw in enumerate(draws)])
    assert 0.9 <= np.mean((ends[:, 0] <= expected) & (expected <= ends[:, 1])) <= 1


@pytest.mark.parametrize(("metric", "most"), [("voc_map", 1), ("mean_average_precision", 0.5)])
def test_precision_at_its_limits(metric, most):
    labels = np.array([[1, -1], [-1, -1], [1, 0]])
    low, high = METRICS[metric].interval(labels, labels.astype(float))
    assert 0 < low <= metrics.score(metric, labels.astype(float), labels) == most <= high <= 1
    assert METRICS[metric].interval(-np.ones((3, 2), int), np.zeros((3, 2))) == (0, 1)


@pytest.mark.parametrize(("function", "arguments"), [
    (intervals.clopper_pearson, (0, 0)), (intervals.mean_per_class_interval, (np.array([], int), np.array([], int)))])
def test_what_has_no_interval(function, arguments):
    with pytest.raises(ValueError, match="expected"):
        function(*arguments)


def test_the_same_input_gives_the_same_interval():
    labels = np.random.default_rng(4).integers(5, size=100)
    predictions = predicted(labels, np.arange(100) % 3 > 0)
    first, second = (METRICS["mean_per_class"].interval(labels, predictions) for _ in range(2))
    assert first == second
    assert intervals.clopper_pearson(np.count_nonzero(labels == predictions), 100) == pytest.approx(
        stats.binomtest(66, 100).proportion_ci(method="exact"))
