"""How well source accuracy predicts transfer accuracy (Kornblith et al. v3, section 3, figure 2).

Per regime: Pearson's r and Spearman's rho, over networks, between logit(source accuracy) and the
mean over data sets of logit(transfer accuracy); also over parts of the data sets and on each alone.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.stats.accuracies import Matrix, complete, regimes
from tfbench.stats.transforms import logit, standard_errors

SMALL = 10_000  # training images, validation included, below which the paper calls a data set small (v3, section 4.4)
RESAMPLES = 10_000
LEVEL = 95  # percent of the intervals
ALL = "all data sets"
# The views of one table: name -> whether a data set with that many training images belongs to it.
VIEWS = {ALL: lambda images: True,
         f"fewer than {SMALL:,} training images": lambda images: images is not None and images < SMALL,
         f"{SMALL:,} training images or more": lambda images: images is not None and images >= SMALL}


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
      bootstrap: (low, high), 95 % interval of r over resampled networks; None below 4 networks.
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
    bootstrap: tuple[float, float] | None
    reason: str


class Correlations(dict[str, Correlation]):
    """Regime -> its Correlation, in the paper's order."""

    def to_frame(self) -> pd.DataFrame:
        """A row per regime.

        Returns:
          regime, r, r2, fisher_low, fisher_high (Fisher's interval), bootstrap_low, bootstrap_high, rho (NaN where
          there is none), networks, datasets (numbers), reason (why there is no r, or "").
        """
        lines = [(regime, *_numbers(c.r), *_numbers(c.interval, 2), *_numbers(c.bootstrap, 2), *_numbers(c.rho),
                  len(c.networks), len(c.datasets), c.reason) for regime, c in self.items()]
        frame = pd.DataFrame(lines, columns=["regime", "r", "fisher_low", "fisher_high", "bootstrap_low",
                                             "bootstrap_high", "rho", "networks", "datasets", "reason"])
        frame.insert(2, "r2", frame["r"] ** 2)
        return frame


def _numbers(value, length: int = 1):
    """What a Correlation says, a number or an interval, or as many NaN."""
    if value is None:
        return (np.nan,) * length
    return (value,) if length == 1 else value


def correlate(source, transfer) -> dict:
    """Pearson's r with Fisher's and a bootstrap 95 % interval, and Spearman's rho.

    Args:
      source, transfer: [networks] log-odds, finite.

    Returns:
      {"r", "rho", "interval", "bootstrap", "reason"} as in Correlation: numbers or None, never NaN.
    """
    source, transfer = np.asarray(source, float), np.asarray(transfer, float)
    nothing = {"r": None, "rho": None, "interval": None, "bootstrap": None}
    if len(source) < 3:
        return nothing | {"reason": f"a correlation needs at least 3 networks, found {len(source)}"}
    for what, values in (("source", source), ("mean transfer", transfer)):
        if np.ptp(values) <= 1e-12 * np.abs(values).max():
            return nothing | {"reason": f"all networks have the same {what} accuracy"}
    pearson = stats.pearsonr(source, transfer)
    interval = bootstrap = None
    if len(source) >= 4:
        interval = tuple(map(float, pearson.confidence_interval(LEVEL / 100)))
        bootstrap = bootstrap_interval(source, transfer)
    rho = float(stats.spearmanr(source, transfer).statistic)
    return {"r": float(pearson.statistic), "rho": rho, "interval": interval, "bootstrap": bootstrap, "reason": ""}


def bootstrap_interval(source, transfer, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of r over RESAMPLES samples of networks, drawn with replacement.

    Samples that drew one value only, of which there is no r, are left out.

    Args:
      source, transfer: [networks] log-odds, neither constant.
    """
    of = _resampled(source, transfer, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = of.xy / np.sqrt(of.xx * of.yy)
    low, high = np.percentile(np.clip(r[of.varies & np.isfinite(r)], -1, 1), [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)


def band(source, transfer, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """95 % bootstrap band of the least-squares line, as the paper's figure 2 has it.

    Args:
      source, transfer: [networks] log-odds, neither constant.

    Returns:
      (x, low, high), [50] each: log-odds of source accuracy from the least to the largest, and the band there.
    """
    source, transfer = np.asarray(source, float), np.asarray(transfer, float)
    of = _resampled(source, transfer, seed)
    mean_x, mean_y, slope = of.x[of.varies], of.y[of.varies], of.xy[of.varies] / of.xx[of.varies]
    along = np.linspace(source.min(), source.max(), 50)
    lines = mean_y[:, None] + slope[:, None] * (along - mean_x[:, None])
    low, high = np.percentile(lines, [50 - LEVEL / 2, 50 + LEVEL / 2], axis=0)
    return along, low, high


@functools.lru_cache(maxsize=4)  # of every data set with as many networks
def _draws(networks: int, samples: int, seed: int) -> np.ndarray:
    """float [samples, networks]: how often each network is drawn in a sample."""
    drawn = np.random.default_rng(seed).integers(networks, size=(samples, networks))
    rows = np.repeat(np.arange(samples) * networks, networks)
    return np.bincount(rows + drawn.ravel(), minlength=samples * networks).reshape(samples, networks).astype(float)


class _Moments(NamedTuple):
    """Of each sample: means, variances and covariance; and whether the source is not the same throughout."""

    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    varies: np.ndarray


def _resampled(source, transfer, seed) -> _Moments:
    """The moments, [RESAMPLES] each, of samples of networks that are drawn with replacement."""
    x, y = (np.asarray(values, float) for values in (source, transfer))
    middle_x, middle_y = x.mean(), y.mean()
    x, y = x - middle_x, y - middle_y
    sums = _draws(len(x), RESAMPLES, seed) @ np.column_stack([x, y, x * x, y * y, x * y]) / len(x)
    mean_x, mean_y, xx, yy, xy = sums.T
    xx, yy = (np.where(variance > (1e-7 * np.ptp(values)) ** 2, variance, 0)  # else it is what rounding leaves
              for values, variance in ((x, xx - mean_x**2), (y, yy - mean_y**2)))
    return _Moments(mean_x + middle_x, mean_y + middle_y, xx, yy, xy - mean_x * mean_y, xx > 0)


def per_regime(table, *, datasets=None) -> Correlations:
    """The correlation of each regime in an accuracies table, on the data sets all its networks have.

    Args:
      datasets: names of the data sets to use; None: all.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples.
    """
    cells = table if datasets is None else table[table["dataset"].isin(datasets)]
    return Correlations({regime: _correlation(complete(cells, regime)) for regime in regimes(cells)})


def training_images(dataset: str) -> int | None:
    """Training images of a catalog's data set, validation included; None where it is not in the catalog."""
    return DATASETS[dataset].train + DATASETS[dataset].validation if dataset in DATASETS else None


def views(table) -> dict[str, Correlations]:
    """The correlations over all data sets, over the small and over the large ones (v3, section 4.4), by VIEWS' names.

    A view that has no data set, or the same as all, is not there.
    """
    names = table["dataset"].unique()
    chosen = {view: [name for name in names if belongs(training_images(name))] for view, belongs in VIEWS.items()}
    return {view: per_regime(table, datasets=datasets) for view, datasets in chosen.items()
            if datasets and (view == ALL or len(datasets) < len(names))}


def by_dataset(table) -> dict[str, Correlations]:
    """The correlations on each data set alone, over all its networks: per_regime of each, without its pivots."""
    columns = {name: table[name].to_numpy(float, na_value=np.nan) for name in (
        "source_accuracy", "source_n", "accuracy", "n")}
    networks, groups = table["network"].to_numpy(), table.groupby(["dataset", "regime"], sort=False).indices
    found: dict[str, Correlations] = {dataset: Correlations() for dataset in table["dataset"].unique()}
    for regime in regimes(table):
        for dataset, correlations in found.items():
            if (dataset, regime) not in groups:
                continue
            rows = groups[dataset, regime]
            rows = rows[~np.isnan(columns["source_accuracy"][rows])]
            rows = rows[np.argsort(-columns["source_accuracy"][rows], kind="stable")[::-1]]
            source, source_n, accuracy, n = (values[rows] for values in columns.values())
            correlations[regime] = _correlation(Matrix(
                tuple(networks[rows]), (dataset,), source, source_n, accuracy[:, None], n[:, None]))
    return found


def stacked(groups: dict[str, Correlations], column: str) -> pd.DataFrame:
    """The frames of several Correlations below each other; their names, of views or data sets, stand in `column`."""
    frames = [group.to_frame() for group in groups.values()] or [Correlations().to_frame()]
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, column, [name for name, group in groups.items() for _ in group])
    return frame


def _correlation(matrix: Matrix) -> Correlation:
    if not matrix.datasets or not matrix.networks:
        reason = ("no network has a known source accuracy" if not matrix.networks
                  else "no data set has results of all networks")
        return Correlation((), (), np.empty(0), np.empty(0), np.empty(0), None, None, None, None, reason)
    source = named_logit(matrix.source[:, None], matrix.source_n[:, None], matrix.networks, ["source"])[:, 0]
    x = named_logit(matrix.accuracy, matrix.n, matrix.networks, matrix.datasets)
    transfer = x.mean(axis=1)
    return Correlation(matrix.networks, matrix.datasets, source, transfer, standard_errors(x),
                       **correlate(source, transfer))


def named_logit(p, n, networks, columns) -> np.ndarray:
    """transforms.logit(p, n) whose UserError names the first cell at fault; p, n: [networks, columns]."""
    try:
        return logit(p, n)
    except UserError as error:
        row, column = np.argwhere(((p == 0) | (p == 1)) & np.isnan(n))[0]
        raise UserError(f"network {networks[row]!r}, {columns[column]!r}: {error}") from error
