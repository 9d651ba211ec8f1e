"""Metrics against scikit-learn and against the devkit's definition written as naive loops."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score

from tfbench.stats import metrics


def naive_voc_map(scores, labels):
    """The VOC2007 devkit's VOCevalcls, one example at a time."""
    found = []
    for c in range(scores.shape[1]):
        order = sorted((i for i in range(len(scores)) if labels[i, c] != 0), key=lambda i: -scores[i, c])
        positives = sum(labels[i, c] > 0 for i in order)
        if not positives:
            continue
        curve, hits = [], 0
        for rank, i in enumerate(order, 1):
            hits += labels[i, c] > 0
            curve.append((int(hits), hits / rank))
        found.append(sum(max([p for h, p in curve if 10 * h >= k * positives], default=0)
                         for k in range(11)) / 11)
    return sum(found) / len(found)


def random_single(seed, n=300, classes=7, skipped=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    if skipped is not None:
        labels[labels == skipped] = (skipped + 1) % classes
    return rng.normal(size=(n, classes)) + np.eye(classes)[labels], labels


@pytest.mark.parametrize("seed", range(5))
def test_top1_and_mean_per_class_equal_scikit_learn(seed):
    scores, labels = random_single(seed)
    predictions = scores.argmax(1)
    assert metrics.top1(scores, labels) == pytest.approx(accuracy_score(labels, predictions), abs=1e-15)
    assert metrics.mean_per_class(scores, labels) == pytest.approx(
        balanced_accuracy_score(labels, predictions), abs=1e-15)


def test_class_without_examples_is_left_out_of_the_mean():
    scores, labels = random_single(1, skipped=3)
    assert (scores.argmax(1) == 3).any()  # predicted, though it never occurs
    recalls = [np.mean(scores[labels == c].argmax(1) == c) for c in np.unique(labels)]
    assert metrics.mean_per_class(scores, labels) == pytest.approx(np.mean(recalls), abs=1e-15)


def test_equal_scores_go_to_the_lowest_index():
    assert metrics.top1([[1.0, 1.0], [0.0, 0.0]], [0, 1]) == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_voc_map_equals_naive_loops(seed):
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(5, 80)), 4
    labels = rng.choice([-1, -1, 0, 1], size=(n, classes))
    labels[0] = 1
    scores = np.round(rng.normal(size=(n, classes)) + labels, 1)  # rounding makes ties
    assert metrics.voc_map(scores, labels) == pytest.approx(naive_voc_map(scores, labels), abs=1e-12)


def test_recall_thresholds_are_exact():
    """At 3 of 10 positives recall is .3, and 3 * .1 in floats is above it."""
    labels = np.array([1] * 3 + [-1] * 10 + [1] * 7)
    scores = -np.arange(20.0)
    expected = (4 * 1.0 + sum(max((3 + j) / (13 + j) for j in range(k - 3, 8)) for k in range(4, 11))) / 11
    assert metrics.voc_map(scores[:, None], labels[:, None]) == pytest.approx(expected, abs=1e-12)


def test_ignored_examples_do_not_matter():
    rng = np.random.default_rng(0)
    labels = rng.choice([-1, 1], size=(40, 1))
    scores = rng.normal(size=(40, 1))
    more = np.vstack([scores, [[99.0], [0.1]]]), np.vstack([labels, [[0], [0]]])
    assert metrics.voc_map(*more) == metrics.voc_map(scores, labels)


def test_class_without_positives_is_left_out():
    labels = np.array([[1, -1], [-1, -1], [1, 0]])
    scores = np.array([[3.0, 9.0], [2.0, 1.0], [1.0, 1.0]])
    assert metrics.voc_map(scores, labels) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


@pytest.mark.parametrize("decimals", [0, 1, 9])  # with many ties, some, none
def test_mean_average_precision_is_scikit_learns(decimals):
    rng = np.random.default_rng(decimals)
    for _ in range(60):
        labels = rng.choice([-1, 1], p=[.7, .3], size=rng.integers(1, [60, 5]))
        labels[rng.integers(len(labels)), 0] = 1
        scores = np.round(rng.normal(size=labels.shape) + labels, decimals)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of classes without positives, which count as 0
            theirs = average_precision_score(labels > 0, scores, average="macro")
        assert metrics.mean_average_precision(scores, labels) == pytest.approx(theirs, abs=1e-12)


def test_examples_that_do_not_count_are_left_out_of_mean_average_precision():
    rng = np.random.default_rng(0)
    labels, scores = rng.choice([-1, 0, 1], size=(2, 40, 3))
    each = [average_precision_score(labels[counts, c] > 0, scores[counts, c])
            for c, counts in enumerate((labels != 0).T)]
    assert metrics.mean_average_precision(scores, labels) == pytest.approx(np.mean(each), abs=1e-12)


def test_a_class_that_no_image_shows_is_said_with_what_becomes_of_it():
    labels = np.array([[1, -1, 0], [-1, -1, -1]])
    assert metrics.absent_classes("mean_average_precision", labels, ["a", "b\x1b", "c"]) == [
        "2 classes that no test image shows: b?, c; counted as 0 in the mean, as in scikit-learn"]
    assert metrics.absent_classes("voc_map", labels, ()) == [
        "2 classes that no test image shows: 1, 2; left out of the mean"]
    assert metrics.absent_classes("voc_map", labels[:, :1], "a") == metrics.absent_classes("top1", [0, 1], "ab") == []
    assert metrics.mean_average_precision(labels, labels) == pytest.approx(1 / 3)


def test_score_chooses_by_name():
    scores, labels = random_single(2)
    signs = 2 * np.eye(7, dtype=int)[labels] - 1
    assert metrics.score("top1", scores, labels) == metrics.top1(scores, labels)
    assert metrics.score("mean_per_class", scores, labels) == metrics.mean_per_class(scores, labels)
    assert metrics.score("voc_map", scores, signs) == metrics.voc_map(scores, signs)
    assert metrics.score("mean_average_precision", scores, signs) == metrics.mean_average_precision(scores, signs)


@pytest.mark.parametrize(("metric", "scores", "labels", "text"), [
    ("f1", [[1.0]], [0], "f1"),
    ("top1", [[np.nan, 1.0]], [0], "NaN"),
    ("voc_map", [[np.nan]], [[1]], "NaN"),
    ("top1", np.empty((0, 3)), [], "n, classes"),
    ("top1", [[1.0, 2.0]], [2], "labels in"),
    ("top1", [[1.0, 2.0]], [0.5], "integer"),
    ("mean_per_class", [[1.0, 2.0]], [0, 1], "shape"),
    ("voc_map", [[1.0]], [[2]], "labels"),
    ("voc_map", [[1.0]], [[-1]], "positive"),
    ("voc_map", [[1.0]], [1], "shape"),
    ("mean_average_precision", [[1.0]], [[0]], "positive"),
])
def test_nonsense_is_refused(metric, scores, labels, text):
    with pytest.raises(ValueError, match=text):
        metrics.score(metric, scores, labels)
