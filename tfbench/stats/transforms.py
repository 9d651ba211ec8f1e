"""Log-odds, adjusted accuracies and error bars (Kornblith et al. v3, section 3, appendix A.1); an eigenbasis."""

import numpy as np
import scipy.linalg

from tfbench.errors import UserError
from tfbench.stats import row_blocks


def logit(p, n=None) -> np.ndarray:
    """Log-odds log(p / (1 - p)), elementwise; NaN (no result) stays NaN.

    At exactly 0 or 1 the log-odds are infinite. Where the number of examples n is known, p = k/n
    is replaced there, and only there, by (k + 1/2) / (n + 1): half an example of either kind added.

    Args:
      p: accuracies, fractions in [0, 1], any shape.
      n: None, or numbers of examples that broadcast against p; NaN where unknown.

    Raises:
      UserError: p is 0 or 1 where n is unknown.
      ValueError: p outside [0, 1].
    """
    p = np.asarray(p, dtype=np.float64)
    if (p < 0).any() or (p > 1).any():
        raise ValueError(f"expected fractions in [0, 1], found {np.nanmin(p)} to {np.nanmax(p)}")
    count = np.broadcast_to(np.nan if n is None else np.asarray(n, dtype=np.float64), p.shape)
    extreme = (p == 0) | (p == 1)
    if (extreme & ~(count > 0)).any():
        raise UserError(
            "an accuracy of exactly 0 or 100 % has no finite log-odds and its number of test examples is not "
            "known: give it as column n (see accuracies.csv of a report), or leave the cell empty")
    p = np.where(extreme, (p * count + 0.5) / (count + 1), p)
    return np.log(p) - np.log1p(-p)


def adjusted(x) -> np.ndarray:
    """Accuracy relative to the average network: x minus, per data set, its mean over networks.

    Args:
      x: [networks, datasets] log-odds.
    """
    x = np.asarray(x, dtype=np.float64)
    return x - x.mean(axis=0, keepdims=True)


def standard_errors(x) -> np.ndarray:
    """Standard error per network of its mean over data sets, within data sets, by Morey's correction.

    Population SD of the adjusted log-odds over the D data sets / sqrt(D) * sqrt(M / (M - 1)), which
    is how the bars of the paper's figure 2 were drawn.

    Args:
      x: [networks M, datasets D] log-odds.

    Returns:
      [M], in log-odds; NaN when M or D is below 2, where there is no spread to estimate it from.
    """
    x = np.asarray(x, dtype=np.float64)
    networks, datasets = x.shape
    if networks < 2 or datasets < 2:
        return np.full(networks, np.nan)
    return adjusted(x).std(axis=1, ddof=0) / np.sqrt(datasets) * np.sqrt(networks / (networks - 1))


def eigenbasis(features: row_blocks.Rows, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal axes [width, rank] that span the rows less their mean, and the rows' squared norms along them [rank].

    Args:
      features: [n, width]. Where n < width, a copy in float64 is made.
      mean: of the rows, float64 [width].
    """
    if len(features) < features.shape[1]:  # an orthonormal basis of the rows first: at most n axes
        centred = np.empty(features.shape)
        for part, block in features.centred(mean):
            centred[part] = block
        basis = scipy.linalg.qr(centred.T, mode="economic")[0]
        coordinates = centred @ basis
        energy, rotation = scipy.linalg.eigh(coordinates.T @ coordinates, driver="evd")
        axes = basis @ rotation
    else:
        energy, axes = scipy.linalg.eigh(row_blocks.gram(features, mean), lower=False, overwrite_a=True, driver="evd")
    kept = energy > max(energy[-1], 0.0) * max(features.shape) * np.finfo(np.float64).eps
    return axes[:, kept], energy[kept]
