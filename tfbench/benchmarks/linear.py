"""Seconds of the regression path, beside scikit-learn's LogisticRegression run to the same gap."""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tfbench.linear import logistic
from tfbench.paper import L2_STRENGTHS
from tfbench.sweep.plan import matrix_rate

CHUNK = 50  # iterations of scikit-learn between looks at how far it is


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
    """Seconds of our path of 45 strengths and the refit, and of scikit-learn's solver for some of the strengths.

    The refit has a quarter more examples, as validation adds them, and starts from the fit without these. Each of
    scikit-learn's runs, in float32 and float64, of which the faster counts if any came as close, is started from our
    optimum at the strength before and stopped when F is as close to its minimum as our certificate demands, or when it
    can do no more, or after `peer_seconds`. So the ratio is a lower bound where it did not come as close.
    """
    count, width, classes = shape
    more_features, more_labels = synthetic_features(count + count // 4, width, classes)
    features, labels = more_features[:count], more_labels[:count]
    settings = {"classes": classes, "max_iterations": 10000}
    list(logistic.path(features[:2 * classes], labels[:2 * classes], [1.0], **settings))  # traces
    start = time.perf_counter()
    fits = list(logistic.path(features, labels, L2_STRENGTHS, **settings))
    path_seconds = time.perf_counter() - start
    middle = fits[len(fits) // 2]
    refit, = logistic.path(more_features, more_labels, [middle.strength], start=middle, **settings)
    ours = time.perf_counter() - start
    iterations = sum(fit.iterations for fit in fits)
    peers = []
    for number in np.linspace(1, len(fits) - 1, peer_strengths).round().astype(int):
        target = fits[number].objective + logistic.allowed_gap(fits[number].strength, fits[number].objective, count,
                                                               classes)
        tries = [peer(features.astype(kind), labels, fits[number - 1], fits[number].strength, target, peer_seconds)
                 for kind in (np.float32, np.float64)]
        reached = sorted((found for found in tries if found["reached"]), key=lambda found: found["seconds"])
        peers.append({"l2": fits[number].strength, **(reached or tries)[0 if reached else -1]})
    estimate = float(np.mean([found["seconds"] for found in peers])) * (len(fits) + 1)
    return {"shape": name, "count": count, "width": width, "classes": classes, "seconds": ours,
            "path_seconds": path_seconds, "iterations": iterations,
            "certified": sum(fit.certified for fit in fits) + refit.certified, "fits": len(fits) + 1, "peers": peers,
            "peer_seconds": estimate, "ratio": estimate / ours,
            "matrix_share": iterations * 4 * count * width * classes / path_seconds / matrix_rate()}


def peer(features, labels, before, strength: float, target: float, most: float) -> dict:
    """scikit-learn's L-BFGS from the Fit `before` until F ≤ `target`, or `most` seconds are over."""
    model = LogisticRegression(C=1 / strength, solver="lbfgs", warm_start=True, tol=1e-14, max_iter=CHUNK)
    model.coef_, model.intercept_ = before.weights.T.copy(), before.bias.copy()
    seconds, iterations, reached = 0.0, 0, False
    while seconds < most and not reached:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
        seconds += time.perf_counter() - start
        iterations += int(model.n_iter_[0])
        reached = logistic.objective(features, labels, strength, model.coef_.T, model.intercept_) <= target
        if model.n_iter_[0] < CHUNK and not reached:  # it can do no more
            break
    return {"seconds": seconds, "iterations": iterations, "reached": bool(reached), "dtype": str(features.dtype)}


def report(result: dict) -> list[str]:
    """What `measure` found, in lines."""
    lines = [f"{result['shape']}: {result['count']:,} × {result['width']:,} features, {result['classes']} classes",
             f"  45 strengths and the refit: {result['seconds']:.1f} s, {result['iterations']} iterations, "
             f"{result['certified']} of {result['fits']} certified, {100 * result['matrix_share']:.0f} % of the rate "
             "of matrix products"]
    for found in result["peers"]:
        lines.append(f"  scikit-learn, λ = {found['l2']:.3g}: {found['seconds']:.1f} s, {found['iterations']} "
                     f"iterations, {found['dtype']}" + ("" if found["reached"] else ", without coming as close"))
    at_least = "" if all(found["reached"] for found in result["peers"]) else "at least "
    return [*lines, f"  scikit-learn for all: {at_least}{result['peer_seconds']:.0f} s, {at_least}"
            f"{result['ratio']:.0f} times as long"]
