"""Log-odds, adjusted accuracies and error bars against SciPy and naive loops."""

import numpy as np
import pytest
from scipy import special

from tfbench import UserError
from tfbench.stats import transforms


def test_logit_equals_scipy():
    p = np.random.default_rng(0).uniform(size=(5, 7))
    np.testing.assert_allclose(transforms.logit(p), special.logit(p), rtol=1e-13, atol=1e-13)
    assert np.isnan(transforms.logit([0.5, np.nan])[1])


def test_extremes_get_half_an_example():
    p = transforms.logit([0.0, 1.0, 0.5], [9, 9, 9])
    np.testing.assert_allclose(p, special.logit([0.5 / 10, 9.5 / 10, 0.5]), atol=1e-12)  # .5 stays as it is


@pytest.mark.parametrize("n", [None, np.nan, 0])
def test_extremes_without_a_count_are_the_users(n):
    with pytest.raises(UserError, match="column n"):
        transforms.logit([0.3, 1.0], n)


def test_outside_is_refused():
    with pytest.raises(ValueError, match="fractions"):
        transforms.logit([71.6])


def test_adjusted_removes_the_mean_of_each_data_set():
    x = np.random.default_rng(1).normal(size=(4, 3))
    expected = [[x[m, d] - sum(x[:, d]) / 4 for d in range(3)] for m in range(4)]
    np.testing.assert_allclose(transforms.adjusted(x), expected, atol=1e-14)


def test_standard_errors_are_moreys():
    x = np.random.default_rng(2).normal(size=(6, 5))
    a = transforms.adjusted(x)
    for m, found in enumerate(transforms.standard_errors(x)):
        mean = sum(a[m]) / 5
        variance = sum((value - mean) ** 2 for value in a[m]) / 5 * 6 / 5  # population, times M / (M - 1)
        assert found == pytest.approx(np.sqrt(variance / 5))


def test_difficulty_of_data_sets_does_not_widen_the_bars():
    x = np.random.default_rng(3).normal(size=(6, 5))
    harder = x + np.array([0, 1, -5, 2, 10.0])
    np.testing.assert_allclose(transforms.standard_errors(harder), transforms.standard_errors(x))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_no_spread_no_bars(shape):
    assert np.isnan(transforms.standard_errors(np.ones(shape))).all()
