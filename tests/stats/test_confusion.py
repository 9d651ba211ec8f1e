"""Confusion and accuracy per class, against scikit-learn; classes without images, and more than a matrix could hold."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tfbench.stats import confusion, intervals
from tfbench.stats.metrics import METRICS


def test_counts_are_scikit_learns_matrix_without_its_zeros():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(6, size=(2, 300))
    counts = confusion.counts(labels, predictions, 6)
    dense = np.zeros((6, 6), int)
    dense[counts["label"], counts["prediction"]] = counts["n"]
    np.testing.assert_array_equal(dense, sklearn_metrics.confusion_matrix(labels, predictions))
    assert (counts["n"] > 0).all()


def test_thousands_of_classes_take_no_more_than_their_examples():
    labels = np.arange(5000, dtype=np.int32)
    counts = confusion.counts(labels, labels[::-1], 1_000_000)  # the squares are beyond int32
    assert len(counts) == 5000 and counts["prediction"].tolist() == labels[::-1].tolist()


def test_classes_without_images_or_predictions():
    table = confusion.per_class([0, 0, 0, 1], [0, 0, 1, 1], 4)
    assert table["n"].tolist() == [3, 1, 0, 0] and table["predicted"].tolist() == [2, 2, 0, 0]
    np.testing.assert_allclose(table["value"], [2 / 3, 1, np.nan, np.nan])
    low, high = intervals.clopper_pearson(2, 3)
    assert (table["low"][0], table["high"][0]) == (low, high) and table[["low", "high"]][2:].isna().all(axis=None)


@pytest.mark.parametrize("metric", [metric for metric in METRICS.values() if metric.multi_label],
                         ids=lambda metric: metric.name)
def test_average_precision_of_each_class_is_that_of_the_mean(metric):
    rng = np.random.default_rng(1)
    labels = rng.choice([-1, 0, 1], size=(200, 3), p=[.6, .1, .3])
    labels[:, 2] = -1
    scores = labels + rng.normal(size=labels.shape)
    table = confusion.per_label(metric, labels, scores)
    assert table["n"].tolist() == (labels > 0).sum(axis=0).tolist() and np.isnan(table["value"][2])
    mean = np.nanmean(table["value"]) if metric.name == "voc_map" else table["value"].fillna(0).mean()
    assert mean == pytest.approx(metric.score(scores, labels))
    known = table[:2]
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"])).all()
