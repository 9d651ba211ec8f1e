"""The additive model of log-odds, accuracy = network + data set, and what it leaves (v3, section 3 and appendix A.1).

    logit(accuracy of network m on data set d) = mean + network_m + dataset_d + residual_md

by least squares, the effects of either kind adding up to 0. Without missing cells an effect is a difference of means.
A large residual says that a network suits a data set better (or worse) than both explain.
"""

import dataclasses

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS

from tfbench.stats import accuracies
from tfbench.stats.correlation import named_logit


@dataclasses.dataclass(frozen=True)
class Additive:
    """One regime's fit.

    Attributes:
      mean: log-odds.
      networks, datasets: effects in log-odds, by name.
      network_errors: standard errors of `networks`, NaN where there are no more cells than unknowns.
      residuals: [network, data set] log-odds, NaN where there is no result.
      r2: share of the log-odds' variance that the model explains, in [0, 1].
      sd: standard deviation of the residuals by their degrees of freedom, NaN where these are none.
    """

    mean: float
    networks: pd.Series
    datasets: pd.Series
    network_errors: pd.Series
    residuals: pd.DataFrame
    r2: float
    sd: float


def fit(table: pd.DataFrame, regime: str) -> Additive | None:
    """The fit to one regime's results; None below two networks or data sets, or where the cells do not tie them.

    Args:
      table: accuracies (accuracies.py); cells may be missing.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples.
    """
    accuracy = accuracies.pivot(table, regime)
    n = accuracies.pivot(table, regime, "n").to_numpy(float)
    networks, datasets = accuracy.shape
    if networks < 2 or datasets < 2:
        return None
    x = named_logit(accuracy.to_numpy(), n, list(accuracy.index), list(accuracy.columns))
    m, d = np.nonzero(~np.isnan(x))
    design = np.column_stack([np.ones(len(m)), _effects(networks)[m], _effects(datasets)[d]])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    fitted = OLS(x[m, d], design).fit()
    residuals = np.full(x.shape, np.nan)
    residuals[m, d] = fitted.resid
    free = int(fitted.df_resid)
    split = slice(1, networks), slice(networks, None)
    covariance = fitted.cov_params()[split[0], split[0]] if free else np.full((networks - 1,) * 2, np.nan)
    coding = _effects(networks)
    return Additive(
        float(fitted.params[0]), pd.Series(coding @ fitted.params[split[0]], accuracy.index),
        pd.Series(_effects(datasets) @ fitted.params[split[1]], accuracy.columns),
        pd.Series(np.sqrt(np.diag(coding @ covariance @ coding.T)), accuracy.index),
        pd.DataFrame(residuals, accuracy.index, accuracy.columns),
        float(fitted.rsquared) if np.ptp(x[m, d]) > 0 else np.nan,
        float(np.sqrt(fitted.ssr / free)) if free else np.nan)


def _effects(levels: int) -> np.ndarray:
    """[levels, levels - 1]: codes whose effects add up to 0 over the levels."""
    return np.vstack([np.eye(levels - 1), -np.ones(levels - 1)])
