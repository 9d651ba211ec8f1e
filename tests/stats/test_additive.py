"""The additive model against means of a balanced table, and against least squares by hand on one with gaps."""

import numpy as np
import pytest
from scipy import special
from statsmodels.regression.linear_model import OLS

from tfbench.stats import additive, published
from tfbench.stats.accuracies import table_of
from tfbench.stats.transforms import standard_errors


def table(x):
    """An accuracies table of log-odds `x` [networks, data sets], NaN for missing; networks by descending source."""
    return table_of([{"regime": "finetune", "network": f"net{m}", "dataset": f"set{d}",
                      "accuracy": special.expit(value), "n": None, "source_accuracy": 0.9 - 0.01 * m, "source_n": None}
                     for m, line in enumerate(x) for d, value in enumerate(line) if not np.isnan(value)])


def test_effects_of_a_whole_table_are_differences_of_means():
    x = np.random.default_rng(0).normal(size=(5, 4))
    found = additive.fit(table(x), "finetune")
    rows, columns = x.mean(axis=1) - x.mean(), x.mean(axis=0) - x.mean()
    assert found.mean == pytest.approx(x.mean())
    np.testing.assert_allclose(found.networks, rows, atol=1e-12)
    np.testing.assert_allclose(found.datasets, columns, atol=1e-12)
    left = x - x.mean() - rows[:, None] - columns
    np.testing.assert_allclose(found.residuals, left, atol=1e-12)
    assert found.r2 == pytest.approx(1 - (left**2).sum() / ((x - x.mean()) ** 2).sum())
    assert found.sd == pytest.approx(np.sqrt((left**2).sum() / (4 * 3)))
    # of a balanced two-way layout: variance of an effect is sd² (M - 1) / (M D)
    np.testing.assert_allclose(found.network_errors, found.sd * np.sqrt(4 / (5 * 4)))


def test_gaps_are_left_out_not_filled():
    rng = np.random.default_rng(1)
    exact = rng.normal(size=(5, 1)) + rng.normal(size=(1, 4))
    x = exact.copy()
    x[1, 2] = x[4, 0] = np.nan
    found = additive.fit(table(x), "finetune")
    np.testing.assert_allclose(np.diff(found.networks), np.diff(exact[:, 0]), atol=1e-9)  # means would be biased
    assert np.isnan(found.residuals.to_numpy()).sum() == 2
    assert np.nanmax(np.abs(found.residuals)) < 1e-9
    assert found.r2 == pytest.approx(1)


@pytest.mark.parametrize("x", [
    [[0.1, 0.2]], [[0.1], [0.2]], [[0.1, np.nan], [np.nan, 0.3]],  # the last: nothing ties the two
    [[0.1, 0.2, np.nan, np.nan], [0.3, 0.5, np.nan, np.nan], [np.nan, np.nan, 0.1, 0.3]]])
def test_none_where_cells_do_not_tie_networks_and_data_sets(x):
    assert additive.fit(table(np.array(x)), "finetune") is None


def test_no_degrees_of_freedom_no_errors():
    found = additive.fit(table(np.array([[0.1, 0.2], [0.3, np.nan]])), "finetune")
    assert np.isnan(found.sd) and found.network_errors.isna().all()


def test_equal_log_odds_explain_nothing():
    assert np.isnan(additive.fit(table(np.zeros((3, 3))), "finetune").r2)


def test_a_networks_residuals_give_its_error_bar():
    x = np.random.default_rng(2).normal(size=(6, 5))
    left = additive.fit(table(x), "finetune").residuals
    np.testing.assert_allclose(left.std(axis=1, ddof=0) / np.sqrt(5) * np.sqrt(6 / 5), standard_errors(x))
    assert additive.fit(published.accuracies(), "finetune").r2 > 0.98


def test_it_is_ordinary_least_squares_with_coded_effects():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 9))
    x[rng.random(x.shape) < 0.25] = np.nan
    model = additive.fit(table(x), "finetune")
    m, d = np.nonzero(~np.isnan(x))
    coding = [np.vstack([np.eye(levels - 1), -np.ones(levels - 1)]) for levels in x.shape]
    fitted = OLS(x[m, d], np.column_stack([np.ones(len(m)), coding[0][m], coding[1][d]])).fit()
    errors = np.sqrt(np.diag(coding[0] @ fitted.cov_params()[1:4, 1:4] @ coding[0].T))
    assert model.mean == pytest.approx(fitted.params[0])
    np.testing.assert_allclose(model.networks.sort_index(), coding[0] @ fitted.params[1:4])
    np.testing.assert_allclose(model.datasets.sort_index(), coding[1] @ fitted.params[4:], atol=1e-12)
    np.testing.assert_allclose(model.network_errors.sort_index(), errors)
    assert (model.r2, model.sd) == (pytest.approx(fitted.rsquared), pytest.approx(np.sqrt(fitted.mse_resid)))
