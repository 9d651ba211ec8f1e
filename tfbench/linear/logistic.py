"""L2-regularised logistic regression along a path of strengths (v3 section 3.1), each solved to a certificate.

    minimise over W, b:   F = sum over examples of cross-entropy  +  λ/2 · ‖W‖²

The bias is not penalised and features are not normalised; λ stands against the *sum* of the losses, so it is 1/C of
scikit-learn. The optimum is unique, so how it is reached is free: L-BFGS in TensorFlow (linear/lbfgs.py), float32, in
the eigenbasis of the features' covariance with each axis scaled by the root of its curvature, from the strongest λ to
the weakest, each started from the one before.

Whether it was reached is checked apart from that, in float64 on the features themselves. F, minimised over the bias, is
λ-strongly convex in W, so at a W where the bias is optimal it lies at most ‖∂F/∂W‖² / 2λ above its minimum; it also
lies at most F above it, for it is never negative.
"""

import dataclasses
import time

import numpy as np
import scipy.linalg
import scipy.special

from tfbench import UserError

# The gap that a certificate allows: this share of the objective at λ ≥ WEAK, of n · log(classes) below.
TOLERANCE = 1e-6
WEAK = 1e-2
BLOCK = 4 << 30  # bytes of features that go to the device at once; more are streamed through it
ATTEMPTS = 3  # each after the first asks for a tenth of the gap
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
      coordinates: float32 [n, rank]. energy: float64 [rank], their squared norms.
      labels: float64 [n, classes], one-hot or in {1, 0, -1}.
    """

    kind: str
    centred: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    coordinates: np.ndarray
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
    return Problem(kind, centred, mean, axes, (centred @ axes).astype(np.float32), energy, targets)


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

    Raises:
      UserError: see make_problem.
    """
    import tensorflow as tf

    from tfbench.linear.lbfgs import minimiser

    problem = make_problem(features, labels, classes)
    count, rank = problem.coordinates.shape
    targets = tf.constant(problem.labels, tf.float32)
    inputs = np.concatenate([problem.coordinates, np.ones((count, 1), np.float32)], axis=1)
    blocks = -(-inputs.nbytes // BLOCK)
    minimise = minimiser(problem.kind, streamed=blocks > 1)
    height = -(-count // blocks)
    with tf.device("CPU:0" if blocks > 1 else None):
        inputs = tf.constant(np.pad(inputs, ((0, blocks * height - count), (0, 0))).reshape(blocks, height, rank + 1))
    unknowns = np.zeros((rank + 1, classes))  # weights along the axes, and the bias
    for strength in sorted(strengths, reverse=True):
        start, iterations, share = time.monotonic(), 0, 0.1  # of the allowed gap: the rest is for float32's errors
        penalty = np.append(np.full(rank, strength), 0.0)
        metric = np.append(np.full(rank, 0.5 / strength), 0.5 / count)
        loose = count * np.log(max(classes, 2)) if strength < WEAK else 0.0
        for _ in range(ATTEMPTS):
            found, number = minimise(
                inputs, targets, *(tf.constant(part, tf.float32) for part in (
                    penalty, metric, unknowns, share * TOLERANCE * (strength >= WEAK), share * TOLERANCE * loose)),
                tf.constant(max_iterations - iterations))
            found, iterations = found.numpy().astype(np.float64), iterations + int(number)
            fit = _certified(problem, strength, found[:-1], found[-1], iterations, start)
            unknowns = np.concatenate([found[:-1], (fit.bias + problem.mean @ fit.weights)[None]])
            if fit.certified or iterations >= max_iterations:
                break
            share /= 10
        yield fit


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
    logs = scipy.special.log_softmax(scores, axis=1)
    chances = np.exp(logs)
    return -np.sum(labels * logs), chances - labels, lambda: np.diag(chances.sum(axis=0)) - chances.T @ chances


def _binary(scores, labels):
    """The same for binary cross-entropies where the label is not 0."""
    signed, counted = -labels * scores, labels != 0
    wrong = scipy.special.expit(signed)
    return (np.sum(np.logaddexp(0.0, signed)[counted]), -labels * wrong,
            lambda: np.diag(np.sum(counted * wrong * (1 - wrong), axis=0)))


LOSSES = {"softmax": _softmax, "binary": _binary}
