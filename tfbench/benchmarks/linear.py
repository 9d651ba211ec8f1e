"""Seconds of the regression path, beside scikit-learn's LogisticRegression run to the same gap, and ssl-transfer's way.

That is a sweep by the same class, stopped after 100 iterations (linear.py of linusericsson/ssl-transfer).
"""

import functools
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tfbench.linear import logistic
from tfbench.paper import L2_STRENGTHS
from tfbench.sweep.plan import matrix_rate

PEER_ITERATIONS = 50  # of scikit-learn, after which its objective is looked at


def synthetic_features(count: int, width: int, classes: int):
    """Features like a network's: rectified, correlated, of unequal scale; classes that overlap.

    Returns:
      (float32 [count, width], int64 [count]).
    """
    draw = np.random.RandomState(0)
    labels, hidden = np.arange(count) % classes, min(width, 256)
    inner = 0.7 * draw.randn(classes, hidden)[labels] + 1.5 * draw.randn(count, hidden)
    outer = inner @ draw.randn(hidden, width) / np.sqrt(hidden) + 0.3 * draw.randn(count, width)
    return (np.maximum(outer, 0) * np.exp(0.5 * draw.randn(width))).astype(np.float32), labels


def measure(name: str, shape: tuple[int, int, int], peer_strengths: int, peer_seconds: float) -> dict:
    """Seconds of our path of 45 λ and the refit, and of scikit-learn's solver for some of the λ.

    The refit has a quarter more examples, as validation adds them, and starts from the fit without these. scikit-learn
    runs in float32 and in float64; the faster one that comes as close counts. Each run starts from our optimum at the
    λ before and stops when its F is within our allowed gap, when it gets no further, or after `peer_seconds`. So the
    ratio is a lower bound where it did not come as close.

    Args:
      shape: examples, width of the features, classes.
      peer_strengths: at how many λ scikit-learn is run so; times `peer_seconds`, the seconds after which `sweep` ends.
    """
    count, width, classes = shape
    more_features, more_labels = synthetic_features(count + count // 4, width, classes)
    features, labels = more_features[:count], more_labels[:count]
    path = functools.partial(logistic.path, classes=classes, max_iterations=10000)
    list(path(features[:2 * classes], labels[:2 * classes], [1.0]))  # traces
    start = time.perf_counter()
    fits = list(path(features, labels, L2_STRENGTHS))
    path_seconds = time.perf_counter() - start
    middle = fits[len(fits) // 2]
    refit, = path(more_features, more_labels, [middle.l2_strength], start=middle)
    ours = time.perf_counter() - start
    iterations = sum(fit.iterations for fit in fits)
    peers = []
    for index in np.linspace(1, len(fits) - 1, peer_strengths).round().astype(int):
        before, fit = fits[index - 1], fits[index]
        target = fit.objective + logistic.allowed_gap(fit.l2_strength, fit.objective, count, classes)
        tries = [peer(features.astype(dtype), labels, before, fit.l2_strength, target, peer_seconds)
                 for dtype in (np.float32, np.float64)]
        reached = [result for result in tries if result["reached"]]
        peers.append({"l2": fit.l2_strength, **min(reached or tries[-1:], key=lambda result: result["seconds"])})
    estimate = float(np.mean([result["seconds"] for result in peers])) * (len(fits) + 1)
    swept = sweep([(features, labels, fit) for fit in reversed(fits)] + [(more_features, more_labels, refit)],
                  peer_strengths * peer_seconds)
    return {"shape": name, "count": count, "width": width, "classes": classes, "seconds": ours,
            "path_seconds": path_seconds, "iterations": iterations,
            "certified": sum(fit.certified for fit in fits) + refit.certified, "fits": len(fits) + 1, "peers": peers,
            "peer_seconds": estimate, "ratio": estimate / ours, "sweep": swept,
            "largest_gap": max(fit.gap / gap_unit(fit, count, classes) for fit in fits),
            "matrix_share": iterations * 4 * count * width * classes / path_seconds / matrix_rate()}


def peer(features, labels, before, l2_strength: float, target: float, max_seconds: float) -> dict:
    """scikit-learn's L-BFGS from the Fit `before` until F ≤ `target`, or `max_seconds` are over."""
    model = LogisticRegression(C=1 / l2_strength, solver="lbfgs", warm_start=True, tol=1e-14, max_iter=PEER_ITERATIONS)
    model.coef_, model.intercept_ = before.weights.T.copy(), before.bias.copy()
    seconds, iterations, reached = 0.0, 0, False
    while seconds < max_seconds and not reached:
        seconds += fit_seconds(model, features, labels)
        iterations += int(model.n_iter_[0])
        reached = logistic.objective(features, labels, l2_strength, model.coef_.T, model.intercept_) <= target
        if model.n_iter_[0] < PEER_ITERATIONS and not reached:  # it gets no further
            break
    return {"seconds": seconds, "iterations": iterations, "reached": bool(reached), "dtype": str(features.dtype)}


def sweep(problems: list, max_seconds: float) -> dict:
    """The regressions as ssl-transfer does them, each by one fit that starts from the one before.

    Its LinearTester goes from the smallest λ to the largest (the paper's 45) and on to the refit with the validation
    examples, by LogisticRegression(solver="lbfgs", warm_start=True): at most 100 iterations, tolerance 1e-4, float32
    (linear.py of linusericsson/ssl-transfer at 4e9b9c2). The refit is at our middle λ.

    Args:
      problems: (features, labels, our Fit of them) in that order.
      max_seconds: after which it ends.

    Returns:
      dict: "seconds" of "fits" fits in "iterations"; of these fits how many were "stopped" by the limit of iterations,
      how many "reached" our allowed gap; "median_gap" and "largest_gap", how far F lies above ours in gap_unit, and
      "largest_gap_l2", the λ of the latter.
    """
    model, seconds, iterations, gaps = LogisticRegression(solver="lbfgs", warm_start=True), 0.0, [], []
    for features, labels, fit in problems:
        if seconds >= max_seconds:
            break
        model.set_params(C=1 / fit.l2_strength)
        seconds += fit_seconds(model, features, labels)
        iterations.append(int(model.n_iter_[0]))
        value = logistic.objective(features, labels, fit.l2_strength, model.coef_.T, model.intercept_)
        gaps.append((value - fit.objective) / gap_unit(fit, len(labels), len(fit.bias)))
    return {"seconds": seconds, "fits": len(gaps), "iterations": sum(iterations),
            "stopped": iterations.count(model.max_iter),
            "reached": sum(bool(gap <= logistic.TOLERANCE) for gap in gaps),
            "median_gap": float(np.median(gaps)), "largest_gap": float(max(gaps)),
            "largest_gap_l2": float(problems[int(np.argmax(gaps))][2].l2_strength)}


def fit_seconds(model: LogisticRegression, features, labels) -> float:
    """Fits the model; says nothing where it did not converge."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return time.perf_counter() - start


def gap_unit(fit, count: int, classes: int) -> float:
    """What a gap is a fraction of: F, or at a small λ count · log(classes) (logistic.allowed_gap)."""
    return logistic.allowed_gap(fit.l2_strength, fit.objective, count, classes) / logistic.TOLERANCE


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['shape']}: {result['count']:,} × {result['width']:,} features, {result['classes']} classes",
             f"  45 strengths and the refit: {result['seconds']:.1f} s, {result['iterations']} iterations, "
             f"{result['certified']} of {result['fits']} certified, {100 * result['matrix_share']:.0f} % of the rate "
             "of matrix products"]
    for peer_result in result["peers"]:
        lines.append(f"  scikit-learn, λ = {peer_result['l2']:.3g}: {peer_result['seconds']:.1f} s, "
                     f"{peer_result['iterations']} iterations, {peer_result['dtype']}"
                     + ("" if peer_result["reached"] else ", without coming as close"))
    at_least = "" if all(peer_result["reached"] for peer_result in result["peers"]) else "at least "
    swept = result["sweep"]
    more = "" if swept["fits"] == result["fits"] else "at least "
    return [*lines, f"  scikit-learn for all: {at_least}{result['peer_seconds']:.0f} s, {at_least}"
            f"{result['ratio']:.0f} times as long",
            f"  ssl-transfer's sweep: {swept['seconds']:.1f} s for {swept['fits']} of {result['fits']} fits, {more}"
            f"{swept['seconds'] / result['seconds']:.1f} times as long, {swept['iterations']} iterations; "
            f"{swept['stopped']} stopped by the limit, {swept['reached']} come as close as ours; F above the optimum "
            f"by {swept['median_gap']:.1e} (median) and {swept['largest_gap']:.1e} (largest, at λ = "
            f"{swept['largest_gap_l2']:.3g}), ours by at most {result['largest_gap']:.1e}"]
