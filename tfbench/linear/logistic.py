"""L2-regularised logistic regression at a list of λ (v3 section 3.1), each optimum certified.

    minimise over W, b:   F = sum over examples of cross-entropy  +  λ/2 · ‖W‖²

The bias b is not penalised and features are not normalised. λ multiplies against the *sum* of the losses, so it is 1/C
of scikit-learn.

How the optimum is reached, which is free because it is unique:
* by L-BFGS in TensorFlow (linear/lbfgs.py), in the eigenbasis of the features' covariance, each axis scaled by the root
  of its curvature;
* from the largest λ to the smallest, each started from the optima before it, extrapolated in log λ;
* in float32, and in float64 from the first λ on that float32 does not solve: where the classes cannot be separated, the
  gradient at the optimum is a small difference of large sums.

How it is certified, apart from that, in float64 and on the features themselves: F, minimised over the bias, is
λ-strongly convex in W. So at a W with its optimal bias, F is at most ‖∂F/∂W‖² / 2λ above its minimum. It is also at
most F above it, for F is never negative.

What it holds, beside the features: in float32 them along the axes, in float64 a copy of them in their own dtype (along
the axes in float64 where that is small, KEPT_BYTES), of which each block is made float64 when its turn comes; and two
arrays [n, classes] in the precision of L-BFGS, or one in float64 while a certificate is made.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import scipy.special

from tfbench.errors import UserError
from tfbench.stats import row_blocks
from tfbench.stats.row_blocks import Rows, as_rows, slices
from tfbench.stats.transforms import eigenbasis

# A certified gap is at most this fraction of F where λ ≥ WEAK_L2, and of n · log(classes) where λ is smaller.
TOLERANCE = 1e-6
WEAK_L2 = 1e-2
BLOCK_BYTES = 4 << 30  # of features that are held on the device; more are streamed through it in blocks
KEPT_BYTES = 256 << 20  # of features along the axes in float64 that are held; where they are more, the features are
EXTRAPOLATED_FROM = 3  # optima, to the start of the next
# Precisions tried at each λ, and the fraction of the allowed gap that L-BFGS aims at: the rest is for rounding, and for
# what its own measure of the gap does not see.
ATTEMPTS = (("float32", 0.1), ("float64", 0.1), ("float64", 0.01))
BIAS_NEWTON_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Fit:
    """The regression at one λ.

    Attributes:
      l2_strength: λ.
      weights: float64 [width, classes].
      bias: float64 [classes].
      objective: F.
      gap: a bound on how far F is above its minimum.
      certified: whether the gap is at most allowed_gap.
      iterations: of L-BFGS.
      seconds: for all of it.
    """

    l2_strength: float
    weights: np.ndarray
    bias: np.ndarray
    objective: float
    gap: float
    certified: bool
    iterations: int
    seconds: float

    @property
    def strength(self) -> float:
        """Alias of l2_strength."""
        return self.l2_strength

    def facts(self) -> dict:
        """What records keep of it."""
        return {"objective": self.objective, "gap": self.gap, "certified": self.certified,
                "iterations": self.iterations, "seconds": round(self.seconds, 3)}

    def scores(self, features) -> np.ndarray:
        """Decision values, float64 [m, classes], of features [m, width], an array or Rows."""
        features = as_rows(features)
        scores = np.empty((len(features), len(self.bias)))
        for part, block in features.blocks():
            scores[part] = block.astype(np.float64) @ self.weights + self.bias
        return scores


@dataclasses.dataclass(frozen=True)
class Problem:
    """Features and their eigenbasis, labels in the form that the losses take.

    Attributes:
      kind: "softmax" or "binary", a key of LOSSES.
      features: Rows [n, width].
      mean: float64 [width].
      axes: float64 [width, rank], orthonormal columns that span the centred features.
      energy: float64 [rank], the squared norms of the centred features along the axes.
      labels: int32 [n], or int8 [n, classes] in {1, 0, -1}.
      classes: their number.
    """

    kind: str
    features: Rows
    mean: np.ndarray
    axes: np.ndarray
    energy: np.ndarray
    labels: np.ndarray
    classes: int


def make_problem(features, labels, classes: int) -> Problem:
    """Checks the data and finds its eigenbasis; arguments as for path.

    Raises:
      UserError: no examples, features that are not finite, or a class without examples.
    """
    shape = list(np.shape(features) if not isinstance(features, Rows) else features.shape)
    if len(shape) != 2 or not shape[0]:
        raise UserError(f"logistic regression needs features [n, width] of at least one example, found the shape "
                        f"{shape}")
    features = as_rows(features)
    if len(features) != len(labels):
        raise UserError(f"expected one label per example, found {len(labels)} labels for {len(features)} examples")
    not_finite = row_blocks.not_finite(features)
    if len(not_finite):
        raise UserError(f"the features of {len(not_finite):,} of {len(features):,} examples are not finite, first of "
                        f"example {not_finite[0]}: extract them anew")
    if classes < 2 and labels.ndim == 1:
        raise UserError("there is one class only: nothing to tell apart")
    if labels.ndim == 2:
        for value, verb in ((1, "shows"), (-1, "lacks")):
            absent = np.flatnonzero(~(labels == value).any(axis=0))
            if len(absent):
                raise UserError(f"no training example {verb} class {absent[0]}: every class needs one that does")
    else:
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise UserError(f"expected labels 0 to {classes - 1}, found {labels.min()} to {labels.max()}")
        absent = np.setdiff1d(np.arange(classes), labels)
        if len(absent):
            raise UserError(f"there is no training example of class {absent[0]}: every class needs one")
    mean = row_blocks.mean(features)
    axes, energy = eigenbasis(features, mean)
    return Problem(_kind(labels), features, mean, axes, energy, _targets(labels),
                   labels.shape[1] if labels.ndim == 2 else classes)


def path(features, labels, l2_strengths, *, classes: int, max_iterations: int, start: Fit | None = None):
    """Fits the regression at every λ, the largest first.

    Args:
      features: float [n, width], finite: an array, or Rows of one. No copy in float64 is made.
      labels: int64 [n] in [0, classes); or float32 [n, classes] in {1, 0, -1}: one binary problem per class, without
        the examples marked 0, all with the same λ (the paper's treatment of VOC2007).
      l2_strengths: λ > 0, in any order.
      max_iterations: of L-BFGS at each λ.
      start: where the first begins, e.g. the Fit of a subset of the examples; None for zero.

    Yields:
      A Fit per λ, from the largest to the smallest.

    Raises:
      UserError: see make_problem.
    """
    yield from solve(make_problem(features, labels, classes), l2_strengths, max_iterations=max_iterations, start=start)


def solve(problem: Problem, l2_strengths, *, max_iterations: int, start: Fit | None = None):
    """path of a problem that was made before."""
    x = np.zeros((len(problem.energy) + 1, problem.classes))  # the weights along the axes, below them the bias
    if start is not None:
        x = np.concatenate([problem.axes.T @ start.weights, (start.bias + problem.mean @ start.weights)[None]])
    attempts = list(ATTEMPTS)
    solvers: dict[str, Callable] = {}
    optima: list[tuple[float, np.ndarray]] = []  # the latest (log λ, x)
    for l2_strength in sorted(set(l2_strengths), reverse=True):
        start_time, iterations = time.monotonic(), 0
        if optima:
            x = _extrapolate(optima, np.log(l2_strength))
        for dtype, gap_fraction in attempts:
            if dtype not in solvers:
                solvers.clear()  # before the data is put on the device anew
                solvers[dtype] = _make_solver(problem, dtype)
            x, new_iterations = solvers[dtype](l2_strength, x, gap_fraction, max_iterations - iterations)
            iterations += new_iterations
            fit = _certify(problem, l2_strength, x[:-1], x[-1], iterations, start_time)
            x[-1] = fit.bias + problem.mean @ fit.weights
            if fit.certified or iterations >= max_iterations:
                break
            attempts = [attempt for attempt in attempts if attempt[0] != "float32"]
        optima = [*optima, (np.log(l2_strength), x)][-EXTRAPOLATED_FROM:]
        yield fit


def _make_solver(problem: Problem, dtype: str):
    """L-BFGS on a problem whose data is put on the device for this precision.

    Returns:
      solve(l2_strength, x [rank + 1, classes], gap_fraction, max_iterations) → (x float64, iterations).
    """
    import tensorflow as tf

    from tfbench.linear import lbfgs

    count, rank = len(problem.features), len(problem.energy)
    rotated = dtype == "float32" or 8 * count * rank <= KEPT_BYTES
    if rotated:
        stored, width = np.dtype(dtype), rank
        blocks = (block @ problem.axes for _, block in problem.features.centred(problem.mean))
    else:
        stored, width = problem.features.dtype, problem.features.shape[1]
        blocks = (block for _, block in problem.features.blocks())
    streamed = stored.itemsize * count * width > BLOCK_BYTES
    with tf.device("CPU:0" if streamed else None):
        matrix = lbfgs.to_list(blocks, len(list(slices(count))), stored)
    minimise = lbfgs.minimiser(problem.kind, rotated, streamed, tf.as_dtype(stored), tf.as_dtype(dtype))
    mean, axes = ((), ()) if rotated else (tf.constant(problem.mean), tf.constant(problem.axes))
    data = lbfgs.Data(matrix, mean, axes, tf.constant(problem.labels), tf.constant(row_blocks.ROWS))
    energy = tf.constant(np.append(problem.energy, count), dtype)

    def solve(l2_strength, x, gap_fraction, max_iterations):
        penalty = np.append(np.full(rank, l2_strength), 0.0)
        metric = np.append(np.full(rank, 0.5 / l2_strength), 0.5 / count)
        absolute = allowed_gap(l2_strength, 0.0, count, problem.classes)
        relative = allowed_gap(l2_strength, 1.0, count, problem.classes) - absolute
        x, iterations = minimise(data, energy, *(tf.constant(value, dtype) for value in (
            penalty, metric, x, gap_fraction * relative, gap_fraction * absolute)), tf.constant(max_iterations))
        return x.numpy().astype(np.float64), int(iterations)

    return solve


def _extrapolate(points, at: float):
    """Lagrange's polynomial through (node, value) pairs, at another node."""
    return sum(value * np.prod([(at - other) / (node - other) for other, _ in points if other != node])
               for node, value in points)


def objective(features, labels, l2_strength: float, weights, bias) -> float:
    """F of any solution, in float64; arguments as for path and of a Fit."""
    features, kind, targets = as_rows(features), _kind(labels), _targets(labels)
    weights, bias = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    value = sum(float(LOSSES[kind](block.astype(np.float64) @ weights + bias, targets[part])[0])
                for part, block in features.blocks())
    return float(value + l2_strength / 2 * np.sum(weights ** 2))


def _kind(labels) -> str:
    return "binary" if labels.ndim == 2 else "softmax"


def _targets(labels) -> np.ndarray:
    """Labels as Problem holds them."""
    return np.asarray(labels, np.int8 if labels.ndim == 2 else np.int32)


def allowed_gap(l2_strength: float, value: float, count: int, classes: int) -> float:
    """How far above its minimum F may be where it has `value`, to be certified as solved."""
    return TOLERANCE * (value if l2_strength >= WEAK_L2 else count * np.log(max(classes, 2)))


def _certify(problem: Problem, l2_strength: float, axis_weights, bias, iterations: int, start_time: float) -> Fit:
    """The Fit at these weights along the axes: its bias made optimal, its gap bounded, in float64."""
    weights = problem.axes @ axis_weights
    scores = np.empty((len(problem.features), problem.classes))
    for part, block in problem.features.centred(problem.mean):
        np.matmul(block, weights, out=scores[part])
    bias, value = _optimal_bias(problem, scores, bias)
    gradient = l2_strength * weights
    for part, block in problem.features.centred(problem.mean):
        gradient += block.T @ LOSSES[problem.kind](scores[part] + bias, problem.labels[part])[1]
    value += l2_strength / 2 * np.sum(weights ** 2)
    gap = min(float(np.sum(gradient ** 2) / (2 * l2_strength)), float(value))
    certified = gap <= allowed_gap(l2_strength, value, len(problem.features), problem.classes)
    return Fit(l2_strength, weights, bias - problem.mean @ weights, float(value), gap, bool(certified), iterations,
               time.monotonic() - start_time)


def _optimal_bias(problem: Problem, scores, bias):
    """The bias that minimises the losses at scores + bias, by damped Newton steps.

    Returns:
      (bias, sum of losses).
    """
    value, gradient = _by_bias(problem, scores, bias)
    for _ in range(BIAS_NEWTON_STEPS):
        if np.abs(gradient).max() <= 1e-11 * len(scores):
            break
        # In softmax a common shift of the bias changes nothing: the Hessian is singular, so least squares.
        step = np.linalg.lstsq(_hessian(problem, scores, bias), gradient, rcond=1e-12)[0]
        while step.any():
            new_value, new_gradient = _by_bias(problem, scores, bias - step)
            if new_value <= value:
                bias, value, gradient = bias - step, new_value, new_gradient
                break
            step = step / 2 if np.abs(step).max() > 1e-12 else np.zeros_like(step)
        else:
            break
    return bias, value


def _by_bias(problem: Problem, scores, bias):
    """The sum of losses at scores + bias, and its gradient [classes] by the bias."""
    value, gradient = 0.0, np.zeros(problem.classes)
    for part in slices(len(scores)):
        more, score_gradient, _ = LOSSES[problem.kind](scores[part] + bias, problem.labels[part])
        value, gradient = value + more, gradient + score_gradient.sum(axis=0)
    return value, gradient


def _hessian(problem: Problem, scores, bias):
    """The Hessian [classes, classes] of the same sum by the bias."""
    hessian = np.zeros((problem.classes, problem.classes))
    for part in slices(len(scores)):
        hessian += LOSSES[problem.kind](scores[part] + bias, problem.labels[part])[2]()
    return hessian


def _softmax(scores, labels):
    """Sum of cross-entropies, its gradient by the scores, and a function for its Hessian by the bias."""
    each = np.arange(len(labels))
    right, top = scores[each, labels], scores.max(axis=1)
    probs = np.exp(scores - top[:, None])
    total = probs.sum(axis=1)
    probs /= total[:, None]
    gradient = probs.copy()
    gradient[each, labels] -= 1
    return np.sum(np.log(total) + top - right), gradient, lambda: np.diag(probs.sum(axis=0)) - probs.T @ probs


def _binary(scores, labels):
    """The same for binary cross-entropies where the label is not 0."""
    margins, labelled = -labels * scores, labels != 0
    probs = scipy.special.expit(margins)  # of the wrong answer
    return (np.sum(np.logaddexp(0.0, margins)[labelled]), -labels * probs,
            lambda: np.diag(np.sum(labelled * probs * (1 - probs), axis=0)))


LOSSES = {"softmax": _softmax, "binary": _binary}
