"""How well source accuracy predicts transfer accuracy (Kornblith et al. v3, section 3, figure 2).

Per regime: Pearson's r and Spearman's rho, over networks, between logit(source accuracy) and the
mean over data sets of logit(transfer accuracy).
"""

import dataclasses

import numpy as np
from scipy import stats

from tfbench import UserError
from tfbench.stats.accuracies import Matrix, complete, regimes
from tfbench.stats.transforms import logit, standard_errors


@dataclasses.dataclass(frozen=True)
class Correlation:
    """One regime's points and their correlation.

    Attributes:
      networks: M names, by source accuracy. datasets: the D names that every network has.
      source: [M] log-odds of source accuracy.
      transfer: [M] mean over data sets of the log-odds of transfer accuracy.
      errors: [M] standard errors of `transfer` (transforms.standard_errors), NaN where unknown.
      r, rho: Pearson's and Spearman's correlation; None where `reason` says why.
      interval: (low, high), Fisher's 95 % interval of r; None below 4 networks.
      reason: why there is no correlation; "" when there is one.
    """

    networks: tuple[str, ...]
    datasets: tuple[str, ...]
    source: np.ndarray
    transfer: np.ndarray
    errors: np.ndarray
    r: float | None
    rho: float | None
    interval: tuple[float, float] | None
    reason: str


def correlate(source, transfer) -> dict:
    """Pearson's r with Fisher's 95 % interval, and Spearman's rho.

    Args:
      source, transfer: [networks] log-odds, finite.

    Returns:
      {"r", "rho", "interval", "reason"} as in Correlation: numbers or None, never NaN.
    """
    source, transfer = np.asarray(source, float), np.asarray(transfer, float)
    nothing = {"r": None, "rho": None, "interval": None}
    if len(source) < 3:
        return nothing | {"reason": f"a correlation needs at least 3 networks, found {len(source)}"}
    for what, values in (("source", source), ("mean transfer", transfer)):
        if np.ptp(values) <= 1e-12 * np.abs(values).max():
            return nothing | {"reason": f"all networks have the same {what} accuracy"}
    pearson = stats.pearsonr(source, transfer)
    interval = None
    if len(source) >= 4:
        low, high = pearson.confidence_interval(0.95)
        interval = (float(low), float(high))
    rho = float(stats.spearmanr(source, transfer).statistic)
    return {"r": float(pearson.statistic), "rho": rho, "interval": interval, "reason": ""}


def per_regime(table) -> dict[str, Correlation]:
    """The correlation of each regime in an accuracies table, on the data sets all its networks have.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples.
    """
    return {regime: _correlation(complete(table, regime)) for regime in regimes(table)}


def _correlation(matrix: Matrix) -> Correlation:
    if not matrix.datasets or not matrix.networks:
        reason = ("no network has a known source accuracy" if not matrix.networks
                  else "no data set has results of all networks")
        return Correlation((), (), np.empty(0), np.empty(0), np.empty(0), None, None, None, reason)
    source = _named_logit(matrix.source[:, None], matrix.source_n[:, None], matrix.networks, ["source"])[:, 0]
    x = _named_logit(matrix.accuracy, matrix.n, matrix.networks, matrix.datasets)
    transfer = x.mean(axis=1)
    return Correlation(matrix.networks, matrix.datasets, source, transfer, standard_errors(x),
                       **correlate(source, transfer))


def _named_logit(p, n, networks, columns) -> np.ndarray:
    """logit(p, n) whose UserError names the first cell at fault; p, n: [networks, columns]."""
    try:
        return logit(p, n)
    except UserError as error:
        row, column = np.argwhere(((p == 0) | (p == 1)) & np.isnan(n))[0]
        raise UserError(f"network {networks[row]!r}, {columns[column]!r}: {error}") from error
