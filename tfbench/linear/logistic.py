"""L2-regularised logistic regression along a path of strengths (v3 section 3.1), each solved to a certificate.

    minimise over W, b:   F = sum over examples of cross-entropy  +  λ/2 · ‖W‖²

The bias is not penalised and features are not normalised; λ stands against the *sum* of the losses, so it is 1/C of
scikit-learn. The optimum is unique, so how it is reached is free: L-BFGS in TensorFlow (linear/lbfgs.py), in the
eigenbasis of the features' covariance with each axis scaled by the root of its curvature, from the strongest λ to the
weakest, each started where the optima before it point to, as a function of log λ. It runs in float32, and from the
first λ on where that does not get close enough in float64: where the classes cannot be separated, the gradient at the
optimum is a small difference of large sums.

Whether it was reached is checked apart from that, in float64 on the features themselves. F, minimised over the bias, is
λ-strongly convex in W, so at a W where the bias is optimal it lies at most ‖∂F/∂W‖² / 2λ above its minimum; it also
lies at most F above it, for it is never negative.
"""

import dataclasses
import time

import numpy as np
import scipy.linalg
import scipy.special

from tfbench.errors import UserError

# The gap that a certificate allows: this share of the objective at λ ≥ WEAK, of n · log(classes) below.
TOLERANCE = 1e-6
WEAK = 1e-2
BLOCK = 4 << 30  # bytes of features that go to the device at once; more are streamed through it
ORDER = 3  # optima from which the next one is extrapolated
# Precisions in which a strength is tried, and the share of the allowed gap that L-BFGS is to reach: what is left is for
# rounding, and for what its own measure of the gap does not see.
ATTEMPTS = (("float32", 0.1), ("float64", 0.1), ("float64", 0.01))
BIAS_STEPS = 20  # of Newton's method, for the bias alone


@dataclasses.dataclass(frozen=True)
class Fit:
    """The regression at one strength.

    Attributes:
      strength: λ.
      weights: float64 [width, classes]. bias: float64 [classes].
      objective: F. gap: a bound on how far F is above its minimum. certified: whether that is little enough.
      iterations: of L-BFGS. seconds: for all of it.
    """

    strength: float
    weights: np.ndarray
    bias: np.ndarray
    objective: float
    gap: float
    certified: bool
    iterations: int
    seconds: float

    def facts(self) -> dict:
        """What a row keeps of it."""
        return {"objective": self.objective, "gap": self.gap, "certified": self.certified,
                "iterations": self.iterations, "seconds": round(self.seconds, 3)}

    def scores(self, features) -> np.ndarray:
        """Decision values, float64 [m, classes], of features [m, width]."""
        return np.asarray(features, np.float64) @ self.weights + self.bias


@dataclasses.dataclass(frozen=True)
class Problem:
    """Features in their eigenbasis, labels in the form the losses take.

    Attributes:
      kind: "softmax" or "binary", of lbfgs.LOSSES.
      centred: float64 [n, width], features less their mean.
      mean: float64 [width].
      axes: float64 [width, rank], orthonormal: the span of the data.
      energy: float64 [rank], the squared norms of the features along them.
      labels: float64 [n, classes], one-hot or in {1, 0, -1}.
    """

    kind: str
    centred: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    energy: np.ndarray
    labels: np.ndarray


def make_problem(features, labels, classes: int) -> Problem:
    """Checks and rotates the data.

    Raises:
      UserError: no examples, features that are not finite, or a class without examples.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not len(features):
        raise UserError(f"logistic regression needs features [n, width] of at least one example, found the shape "
                        f"{list(features.shape)}")
    if len(features) != len(labels):
        raise UserError(f"expected one label per example, found {len(labels)} labels for {len(features)} examples")
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(wrong):
        raise UserError(f"the features of {len(wrong):,} of {len(features):,} examples are not finite, first of "
                        f"example {wrong[0]}: extract them anew")
    if classes < 2 and labels.ndim == 1:
        raise UserError("there is one class only: nothing to tell apart")
    if labels.ndim == 2:
        kind, targets = "binary", np.asarray(labels, np.float64)
        for value, what in ((1, "shows"), (-1, "lacks")):
            none = np.flatnonzero(~(targets == value).any(axis=0))
            if len(none):
                raise UserError(f"no training example {what} class {none[0]}: every class needs one that does")
    else:
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise UserError(f"expected labels 0 to {classes - 1}, found {labels.min()} to {labels.max()}")
        absent = np.setdiff1d(np.arange(classes), labels)
        if len(absent):
            raise UserError(f"there is no training example of class {absent[0]}: every class needs one")
        kind, targets = "softmax", np.eye(classes)[labels]
    mean = features.mean(axis=0)
    centred = features - mean
    axes, energy = _eigenbasis(centred)
    return Problem(kind, centred, mean, axes, energy, targets)


def _eigenbasis(centred):
    """Orthonormal axes [width, rank] of the rows' span, and the rows' squared norms along them [rank]."""
    if len(centred) < centred.shape[1]:  # an orthonormal basis of the rows first: at most n axes
        basis = scipy.linalg.qr(centred.T, mode="economic")[0]
        energy, turn = scipy.linalg.eigh((gram := centred @ basis).T @ gram, driver="evd")
        axes = basis @ turn
    else:
        energy, axes = scipy.linalg.eigh(centred.T @ centred, driver="evd")
    kept = energy > max(energy[-1], 0.0) * max(centred.shape) * np.finfo(np.float64).eps
    return axes[:, kept], energy[kept]


def path(features, labels, strengths, *, classes: int, max_iterations: int, start: Fit | None = None):
    """Fits the regression at every strength, strongest first.

    Args:
      features: float [n, width], finite.
      labels: int64 [n] in [0, classes), or float32 [n, classes] in {1, 0, -1}: one binary problem per
        class without the examples marked 0, all sharing λ (the paper's treatment of VOC2007).
      strengths: λ > 0, any order.
      max_iterations: of L-BFGS at each strength.
      start: where the first begins, e.g. a fit of a part of the examples; None for zero.

    Yields:
      A Fit per strength, from the largest λ to the smallest.

    Raises:
      UserError: see make_problem.
    """
    problem = make_problem(features, labels, classes)
    unknowns = np.zeros((len(problem.energy) + 1, classes))  # weights along the axes, and the bias
    if start is not None:
        unknowns = np.concatenate([problem.axes.T @ start.weights, (start.bias + problem.mean @ start.weights)[None]])
    attempts, solvers = list(ATTEMPTS), {}
    optima = []  # the last (log λ, unknowns)
    for strength in sorted(set(strengths), reverse=True):
        begin, iterations = time.monotonic(), 0
        if optima:
            unknowns = _extrapolated(optima, np.log(strength))
        for dtype, share in list(attempts):
            if dtype not in solvers:
                solvers = {dtype: _solver(problem, dtype)}
            unknowns, number = solvers[dtype](strength, unknowns, share, max_iterations - iterations)
            iterations += number
            fit = _certified(problem, strength, unknowns[:-1], unknowns[-1], iterations, begin)
            unknowns[-1] = fit.bias + problem.mean @ fit.weights
            if fit.certified or iterations >= max_iterations:
                break
            attempts = [attempt for attempt in attempts if attempt[0] != "float32"]
        optima = [*optima, (np.log(strength), unknowns)][-ORDER:]
        yield fit


def _solver(problem: Problem, dtype: str):
    """L-BFGS on a problem whose data is put on the device in this precision.

    Returns:
      solve(strength, unknowns [rank + 1, classes], share of the allowed gap, most iterations) → (unknowns float64,
      iterations).
    """
    import tensorflow as tf

    from tfbench.linear.lbfgs import minimiser

    count, (_, classes) = len(problem.centred), problem.labels.shape
    inputs = np.ones((count, len(problem.energy) + 1), dtype)
    inputs[:, :-1] = problem.centred @ problem.axes
    blocks = -(-inputs.nbytes // BLOCK)
    height = -(-count // blocks)
    minimise = minimiser(problem.kind, streamed=blocks > 1, dtype=tf.as_dtype(dtype))
    with tf.device("CPU:0" if blocks > 1 else None):
        inputs = tf.constant(np.pad(inputs, ((0, blocks * height - count), (0, 0))).reshape(blocks, height, -1))
    labels, energy = tf.constant(problem.labels, dtype), tf.constant(np.append(problem.energy, count), dtype)

    def solve(strength, unknowns, share, most):
        penalty = np.append(np.full(len(problem.energy), strength), 0.0)
        metric = np.append(np.full(len(problem.energy), 0.5 / strength), 0.5 / count)
        absolute = allowed_gap(strength, 0.0, count, classes)
        relative = allowed_gap(strength, 1.0, count, classes) - absolute
        found, number = minimise(inputs, labels, energy, *(tf.constant(part, dtype) for part in (
            penalty, metric, unknowns, share * relative, share * absolute)), tf.constant(most))
        return found.numpy().astype(np.float64), int(number)

    return solve


def _extrapolated(optima, at: float):
    """The polynomial through the (place, value) pairs, at another place."""
    places = [place for place, _ in optima]
    return sum(value * np.prod([(at - other) / (place - other) for other in places if other != place])
               for place, value in optima)


def objective(features, labels, strength: float, weights, bias) -> float:
    """F of any solution, in float64; arguments as for path and of a Fit."""
    classes = len(bias)
    kind, targets = ("binary", labels) if labels.ndim == 2 else ("softmax", np.eye(classes)[labels])
    weights, bias = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    value = LOSSES[kind](np.asarray(features, np.float64) @ weights + bias, np.asarray(targets, np.float64))[0]
    return float(value + strength / 2 * np.sum(weights ** 2))


def allowed_gap(strength: float, value: float, count: int, classes: int) -> float:
    """How far above its minimum F may lie where it has `value`, to be called solved."""
    return TOLERANCE * (value if strength >= WEAK else count * np.log(max(classes, 2)))


def _certified(problem: Problem, strength: float, weights, bias, iterations: int, start: float) -> Fit:
    """The Fit at these weights along the axes: its bias made optimal, its gap bounded, in float64."""
    in_features = problem.axes @ weights
    scores = problem.centred @ in_features
    bias, value, by_scores = _best_bias(problem, scores, bias)
    gradient = problem.centred.T @ by_scores + strength * in_features
    value += strength / 2 * np.sum(in_features ** 2)
    gap = min(float(np.sum(gradient ** 2) / (2 * strength)), float(value))
    solved = gap <= allowed_gap(strength, value, *problem.labels.shape)
    return Fit(strength, in_features, bias - problem.mean @ in_features, float(value), gap, bool(solved), iterations,
               time.monotonic() - start)


def _best_bias(problem: Problem, scores, bias):
    """The bias that minimises the losses at given scores without it, by Newton's method.

    Returns:
      (bias, sum of losses, gradient of the losses by the scores).
    """
    loss = LOSSES[problem.kind]
    value, by_scores, hessian = loss(scores + bias, problem.labels)
    for _ in range(BIAS_STEPS):
        slope = by_scores.sum(axis=0)
        if np.abs(slope).max() <= 1e-11 * len(scores):
            break
        step = np.linalg.lstsq(hessian(), slope, rcond=1e-12)[0]  # softmax: a common shift changes nothing
        while step.any():
            new_value, new_by_scores, new_hessian = loss(scores + bias - step, problem.labels)
            if new_value <= value:
                bias, value, by_scores, hessian = bias - step, new_value, new_by_scores, new_hessian
                break
            step = step / 2 if np.abs(step).max() > 1e-12 else np.zeros_like(step)
        else:
            break
    return bias, value, by_scores


def _softmax(scores, labels):
    """Sum of cross-entropies, its gradient by the scores, and a function for its Hessian by the bias."""
    right = np.einsum("nc,nc->n", labels, scores)
    top = scores.max(axis=1)
    chances = np.exp(scores - top[:, None])
    total = chances.sum(axis=1)
    chances /= total[:, None]
    return (np.sum(np.log(total) + top - right), chances - labels,
            lambda: np.diag(chances.sum(axis=0)) - chances.T @ chances)


def _binary(scores, labels):
    """The same for binary cross-entropies where the label is not 0."""
    signed, counted = -labels * scores, labels != 0
    wrong = scipy.special.expit(signed)
    return (np.sum(np.logaddexp(0.0, signed)[counted]), -labels * wrong,
            lambda: np.diag(np.sum(counted * wrong * (1 - wrong), axis=0)))


LOSSES = {"softmax": _softmax, "binary": _binary}
