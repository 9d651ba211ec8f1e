"""L2-regularised logistic regression along a path of strengths (v3 section 3.1).

    minimise over W, b:   sum over examples of cross-entropy  +  λ/2 · ‖W‖²

The bias is not penalised and features are not normalised; λ stands against the *sum* of the losses, so
it is 1/C of scikit-learn. The optimum is unique, so how it is reached is free: L-BFGS (SciPy) in the
eigenbasis of the features' covariance, each axis scaled by the root of its curvature, which takes
several times fewer steps than in the features' own coordinates and none for directions without data.
"""

import dataclasses

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special
import threadpoolctl

TOLERANCE = 1e-7  # L-BFGS stops where no gradient component (scaled axes) exceeds this per example
SMALL = 1e8  # multiply-adds of a matrix product below which one thread is faster


@dataclasses.dataclass(frozen=True)
class Fit:
    """The regression at one strength: λ, weights float64 [width, classes], bias [classes], converged."""

    strength: float
    weights: np.ndarray
    bias: np.ndarray
    converged: bool

    def scores(self, features) -> np.ndarray:
        """Decision values, float64 [m, classes], of features [m, width]."""
        return np.asarray(features, np.float64) @ self.weights + self.bias


def path(features, labels, strengths, *, classes: int, max_iterations: int):
    """Fits the regression at every strength, strongest first, each started from the one before.

    Args:
      features: float [n, width], finite.
      labels: int64 [n] in [0, classes), or float32 [n, classes] in {1, 0, -1}: one binary problem per
        class without the examples marked 0, all sharing λ (the paper's treatment of VOC2007).
      strengths: λ > 0, any order.
      max_iterations: of L-BFGS at each strength.

    Yields:
      A Fit per strength, from the largest λ to the smallest.
    """
    mean, axes, coordinates, energy = _eigenbasis(features)
    loss = _binary if labels.ndim == 2 else _softmax
    curvature = 0.25 if labels.ndim == 2 else 1.0 / classes  # of the loss, about
    weights = np.zeros((coordinates.shape[1], classes))  # along the axes
    bias = np.zeros(classes)
    for strength in sorted(strengths, reverse=True):
        scale = 1.0 / np.sqrt(curvature * energy + strength)
        bias_scale = 1.0 / np.sqrt(curvature * len(labels))
        weights, bias, converged = _fit(coordinates * scale, labels, strength * scale[:, None] ** 2, loss,
                                        weights / scale[:, None], bias / bias_scale, bias_scale, max_iterations)
        weights, bias = weights * scale[:, None], bias * bias_scale
        in_features = axes @ weights
        yield Fit(strength, in_features, bias - mean @ in_features, converged)


def _eigenbasis(features):
    """Mean [width], orthonormal axes [width, rank], coordinates [n, rank] and their squared norms [rank]."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    directions, singular, axes = scipy.linalg.svd(features - mean, full_matrices=False)
    kept = singular > singular[0] * max(features.shape) * np.finfo(np.float64).eps
    return mean, axes[kept].T, directions[:, kept] * singular[kept], singular[kept] ** 2


def _fit(inputs, labels, penalty, loss, weights, bias, bias_scale, max_iterations: int):
    """Minimises the sum of losses + ½ Σ penalty · weights²; all in scaled coordinates."""
    shape = weights.shape

    def objective(flat):
        w, b = flat[:weights.size].reshape(shape), flat[weights.size:]
        value, slope = loss(inputs @ w + b * bias_scale, labels)
        gradient = np.concatenate([(inputs.T @ slope + penalty * w).ravel(), slope.sum(axis=0) * bias_scale])
        return value + 0.5 * np.sum(penalty * w * w), gradient

    # For small problems the threads of BLAS cost more than they compute: 9 ms a step instead of 0.3.
    small = inputs.size * shape[1] < SMALL
    with threadpoolctl.threadpool_limits(1 if small else None, user_api="blas"):
        found = scipy.optimize.minimize(
            objective, np.concatenate([weights.ravel(), bias]), jac=True, method="L-BFGS-B",
            options={"maxiter": max_iterations, "maxfun": 2 * max_iterations, "maxcor": 20, "ftol": 1e-14,
                     "gtol": TOLERANCE * len(labels)})
    return found.x[:weights.size].reshape(shape), found.x[weights.size:], bool(found.success)


def _softmax(scores, labels):
    """Sum of softmax cross-entropies and its gradient by the scores, [n, classes]."""
    rows = np.arange(len(labels))
    log_chances = scipy.special.log_softmax(scores, axis=1)
    slope = np.exp(log_chances)
    slope[rows, labels] -= 1.0
    return -log_chances[rows, labels].sum(), slope


def _binary(scores, labels):
    """Sum of binary cross-entropies where the label is not 0, and its gradient by the scores."""
    counted = labels != 0
    value = np.logaddexp(0.0, -labels * scores)[counted].sum()
    return value, np.where(counted, -labels * scipy.special.expit(-labels * scores), 0.0)
