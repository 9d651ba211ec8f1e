"""The additive model of log-odds, accuracy = network + data set, and what it leaves (v3, section 3 and appendix A.1).

    logit(accuracy of network m on data set d) = mean + network_m + dataset_d + residual_md

by least squares, the effects of either kind adding up to 0. Without missing cells an effect is a difference of means.
A large residual says that a network suits a data set better (or worse) than both explain.
"""

import dataclasses

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

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
    present = ~np.isnan(x)
    if connected_components(csr_array(np.block([[np.zeros((networks, networks)), present],
                                                [present.T, np.zeros((datasets, datasets))]])), directed=False)[0] > 1:
        return None
    # The data sets' effects are taken out first (Frisch, Waugh and Lovell), so that as many unknowns are left as there
    # are networks, however many data sets there are.
    per_dataset, filled = present.sum(axis=0), np.where(present, x, 0)
    means = filled.sum(axis=0) / per_dataset
    information = np.diag(present.sum(axis=1).astype(float)) - (present / per_dataset) @ present.T
    inverse = np.linalg.pinv(information, hermitian=True)
    of_networks = inverse @ (filled - present * means).sum(axis=1)
    of_datasets = means - (present.T @ of_networks) / per_dataset
    mean = of_datasets.mean()
    residuals = x - of_networks[:, None] - of_datasets
    values, left = x[present], float((residuals[present] ** 2).sum())
    free = len(values) - (networks + datasets - 1)
    variance = left / free if free else np.nan
    return Additive(
        float(mean), pd.Series(of_networks, accuracy.index), pd.Series(of_datasets - mean, accuracy.columns),
        pd.Series(np.sqrt(variance * np.diag(inverse)), accuracy.index),
        pd.DataFrame(residuals, accuracy.index, accuracy.columns),
        float(1 - left / ((values - values.mean()) ** 2).sum()) if np.ptp(values) > 0 else np.nan,
        float(np.sqrt(variance)))
