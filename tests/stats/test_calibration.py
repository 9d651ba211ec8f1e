"""Calibration against scikit-learn's curve and against the sums of the paper's definition, written out."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from tfbench.stats import calibration


@pytest.fixture(scope="module")
def predictions():
    """500 predictions that are too sure: half as likely to be wrong as they are."""
    rng = np.random.default_rng(0)
    confidences = rng.uniform(.2, 1, 500)
    return confidences, rng.random(500) < confidences ** 2


def test_bins_are_scikit_learns(predictions):
    confidences, right = predictions
    found = calibration.calibration(confidences, right)
    shares, means = calibration_curve(right, confidences, n_bins=15, strategy="uniform")
    bins = found.bins[found.bins["n"] > 0]
    np.testing.assert_allclose(bins["accuracy"], shares)
    np.testing.assert_allclose(bins["confidence"], means)
    assert found.bins["n"].sum() == 500 and len(found.bins) == 15


def test_error_is_that_of_the_definition(predictions):
    confidences, right = predictions
    expected = 0.0
    for m in range(1, 16):
        inside = [(c, r) for c, r in zip(confidences, right, strict=True) if (m - 1) / 15 < c <= m / 15]
        if inside:
            gap = abs(sum(r for _, r in inside) / len(inside) - sum(c for c, _ in inside) / len(inside))
            expected += len(inside) / 500 * gap
    found = calibration.calibration(confidences, right)
    assert found.error == pytest.approx(expected) and found.error > .05
    assert found.confidence == pytest.approx(confidences.mean()) and found.accuracy == pytest.approx(right.mean())


def test_ends_belong_to_the_outer_bins_and_an_edge_to_the_one_below():
    found = calibration.calibration([0.0, 0.5, 1.0], [False, True, True], bins=2)
    assert found.bins["n"].tolist() == [2, 1] and found.error == pytest.approx(2 / 3 * .25)


def test_likelihood_is_scikit_learns_and_zeros_are_bounded():
    probabilities = np.array([[.7, .3], [.2, .8], [.9, .1]])
    labels = np.array([0, 1, 1])
    assert calibration.negative_log_likelihood(probabilities[range(3), labels]) == pytest.approx(
        log_loss(labels, probabilities))
    assert calibration.negative_log_likelihood(np.zeros(2, np.float16)) == pytest.approx(16.64, abs=.01)
