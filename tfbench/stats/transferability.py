"""Transferability estimates: how well a network will transfer, told from its features without training it.

    logme           logarithm of maximum evidence of a linear model (You et al., ICML 2021)
    h_score         between-class variance of whitened features (Bao et al., ICIP 2019)
    shrunk_h_score  the same with a shrunk covariance (Ibrahim et al., ECML PKDD 2022)
    leep            log expected empirical prediction (Nguyen et al., ICML 2020)
    nce             negative conditional entropy of classes given source classes (Tran et al., ICCV 2019)

The larger, the better the network. All are of examples with one class each, by the literature's convention those of the
training split. The first three are of features, in O(n d min(n, d)) for n examples of width d; the others of the
probabilities that the source's classifier gives, in O(n s) for s source classes.
"""

import time

import numpy as np

FEATURE_ESTIMATES = ("logme", "h_score", "shrunk_h_score")
SOURCE_ESTIMATES = ("leep", "nce")
ESTIMATES = {  # name -> how it is written
    "logme": "LogME", "h_score": "H-score", "shrunk_h_score": "H-score, shrunk covariance", "leep": "LEEP",
    "nce": "NCE"}
PRECISION = 1e-12  # of the largest eigenvalue, below which others are rounding: features are float32
ROWS = 4096  # of features in float64 at once
ITERATIONS = 1000  # of LogME's fixed point, at most
TOLERANCE = 1e-9  # of the change of log(α / β), below which it has converged


def estimates(features, labels, source_probabilities=None) -> dict[str, float]:
    """All estimates of a network on a data set, and the seconds that they took.

    Args:
      features: float [n, d], finite.
      labels: int [n], ≥ 0.
      source_probabilities: float [n, s], rows that add up to 1; None: leep and nce are left out.

    Returns:
      {name of ESTIMATES: value, "seconds": of them}.
    """
    start = time.monotonic()
    features, labels = np.asarray(features), np.asarray(labels)
    sums, counts = _class_sums(features, labels)
    mean = sums.sum(axis=0) / len(labels)
    values = {"logme": _logme(_projection(features, labels, sums, counts), len(labels), counts)}
    centred = _projection(features, labels, sums - counts[:, None] * mean, counts, mean)
    values["h_score"], values["shrunk_h_score"] = _h_scores(centred, len(labels), counts, features, mean)
    if source_probabilities is not None:
        values |= {"leep": leep(source_probabilities, labels),
                   "nce": nce(np.argmax(source_probabilities, axis=1), labels)}
    return values | {"seconds": round(time.monotonic() - start, 3)}


def logme(features, labels) -> float:
    """LogME: the largest log evidence per example of a Bayesian linear regression, mean over classes.

    Of each class, 1 for its examples and 0 for others is regressed on the features F, without a constant: weights
    ~ N(0, 1/α), noise ~ N(0, 1/β). α and β maximise the evidence by MacKay's fixed point, from α = β, to convergence
    (You et al. stop after 11 steps). Where features hardly tell a class, this may be a local maximum.

    Args:
      features: float [n, d], finite. labels: int [n], ≥ 0; a class without an example counts for nothing.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    sums, counts = _class_sums(features, labels)
    return _logme(_projection(features, labels, sums, counts), len(labels), counts)


def h_score(features, labels) -> float:
    """H-score: the trace of cov(F)⁺ cov(E[F | class]), in [0, classes − 1].

    With no more examples than features it says nothing, as every class is then told apart: it is the number of
    classes less 1.

    Args:
      features: float [n, d], finite. labels: int [n], ≥ 0.
    """
    return _both_h_scores(features, labels)[0]


def shrunk_h_score(features, labels) -> float:
    """H-score with Ledoit and Wolf's covariance Σ = (1 − a) cov(F) + a m I, m the mean variance: (1 − a) tr(Σ⁻¹ cov(E)).

    Args:
      features: float [n, d], finite. labels: int [n], ≥ 0.
    """
    return _both_h_scores(features, labels)[1]


def leep(source_probabilities, labels) -> float:
    """LEEP: mean log-probability of the classes, predicted through the source classes; at most 0.

    P(class | source class) is the empirical one, weighted by the source's probabilities.

    Args:
      source_probabilities: float [n, s], rows that add up to 1. labels: int [n], ≥ 0.
    """
    given, labels = np.asarray(source_probabilities), np.asarray(labels)
    joint = np.stack([given[labels == label].sum(axis=0, dtype=float) for label in np.unique(labels)])
    sources = joint.sum(axis=0)
    conditional = np.divide(joint, sources, out=np.zeros_like(joint), where=sources > 0)
    row = np.searchsorted(np.unique(labels), labels)
    total = sum(np.log(np.einsum("ns,ns->n", given[first:first + ROWS], conditional[row[first:first + ROWS]])).sum()
                for first in range(0, len(labels), ROWS))
    return float(total / len(labels))


def nce(source_labels, labels) -> float:
    """NCE: minus the entropy of the class given the most probable source class, in nats; at most 0.

    Args:
      source_labels, labels: int [n], ≥ 0.
    """
    source, labels = np.asarray(source_labels), np.asarray(labels)
    joint = np.zeros((source.max() + 1, labels.max() + 1))
    np.add.at(joint, (source, labels), 1)
    cells = joint > 0
    conditional = np.divide(joint, joint.sum(axis=1, keepdims=True), where=cells, out=np.ones_like(joint))
    return float((joint * np.log(conditional)).sum() / len(labels))


def probabilities(features, kernel, bias) -> np.ndarray:
    """Softmax of features · kernel + bias.

    Args:
      features: float [n, d]. kernel: [d, s]. bias: [s].

    Returns:
      float32 [n, s].
    """
    logits = np.asarray(features, np.float32) @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    return logits / logits.sum(axis=1, keepdims=True)


# ---- one eigendecomposition of the features, from which the estimates follow -----------------------


def _class_sums(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums [classes, d] of the features of each class that has examples, float64, and their numbers [classes]."""
    present, counts = np.unique(labels, return_counts=True)
    return np.stack([features[labels == label].sum(axis=0, dtype=float) for label in present]), counts


def _projection(features: np.ndarray, labels: np.ndarray, sums: np.ndarray, counts: np.ndarray,
                mean: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The squared singular values [r] of F = features − mean, those that are not 0; and UᵀY [r, classes].

    U are F's left singular vectors, Y the classes, 1 or 0.

    Args:
      sums: YᵀF. counts: of the classes.
    """
    n, width = features.shape
    if n < width:
        rows = features.astype(float) - mean
        values, vectors = np.linalg.eigh(rows @ rows.T)
        indicator = np.equal.outer(labels, np.unique(labels)).astype(float)
        onto = vectors.T @ indicator
    else:
        gram = np.zeros((width, width))
        for first in range(0, n, ROWS):
            rows = features[first:first + ROWS].astype(float) - mean
            gram += rows.T @ rows
        values, vectors = np.linalg.eigh(gram)
        onto = vectors.T @ sums.T
    kept = values > PRECISION * max(values[-1], 0)
    if n >= width:
        onto[kept] /= np.sqrt(values[kept])[:, None]
    return values[kept], onto[kept]


def _logme(projection: tuple[np.ndarray, np.ndarray], n: int, counts: np.ndarray) -> float:
    """logme from the projection of features that are not centred.

    With t = α / β, s the squared singular values and z = Uᵀy, the best β is n / S, S = ‖y‖² − Σ z² s / (s + t).
    """
    squares, onto = projection
    onto, squares = onto ** 2, squares[:, None]
    outside = np.maximum(counts - onto.sum(axis=0), 0)  # of ‖y‖², what no feature reaches
    low, high = (np.log(squares.max() * bound) if len(squares) else 0.0 for bound in (1e-12, 1e12))
    log_t = np.clip(np.zeros(len(counts)), low, high)
    for _ in range(ITERATIONS):
        t = np.exp(log_t)
        gamma = (squares / (squares + t)).sum(axis=0)
        weights = (onto * squares / (squares + t) ** 2).sum(axis=0)  # ‖m‖²
        left = outside + (onto * (t / (squares + t)) ** 2).sum(axis=0)  # ‖Fm − y‖²
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.log(gamma / weights * left / (n - gamma))
        moved = np.clip(np.nan_to_num(moved, nan=high, posinf=high, neginf=low), low, high)
        done, log_t = np.abs(moved - log_t).max() < TOLERANCE, moved
        if done:
            break
    t = np.exp(log_t)
    total = np.maximum(outside + (onto * t / (squares + t)).sum(axis=0), np.finfo(float).tiny)
    evidence = (n * np.log(n / total / (2 * np.pi)) - n + np.log(t / (squares + t)).sum(axis=0)) / 2
    return float(evidence.mean() / n)


def _both_h_scores(features, labels) -> tuple[float, float]:
    features, labels = np.asarray(features), np.asarray(labels)
    sums, counts = _class_sums(features, labels)
    mean = sums.sum(axis=0) / len(labels)
    centred = _projection(features, labels, sums - counts[:, None] * mean, counts, mean)
    return _h_scores(centred, len(labels), counts, features, mean)


def _h_scores(projection: tuple[np.ndarray, np.ndarray], n: int, counts: np.ndarray, features: np.ndarray,
              mean: np.ndarray) -> tuple[float, float]:
    """Both H-scores from the projection of centred features."""
    squares, onto = projection
    if not len(squares):
        return 0.0, 0.0
    between = (onto ** 2 / counts).sum(axis=1)  # of each direction, the share of its variance
    variances, width = squares / n, features.shape[1]
    level = variances.sum() / width
    fourth = sum((((features[first:first + ROWS].astype(float) - mean) ** 2).sum(axis=1) ** 2).sum()
                 for first in range(0, n, ROWS))
    spread = (variances ** 2).sum()  # ‖cov‖²
    distance = spread - width * level ** 2
    shrinkage = min((fourth / n - spread) / n / distance, 1.0) if distance > 0 else 1.0
    shrunk = (1 - shrinkage) * variances
    return float(between.sum()), float((between * shrunk / (shrunk + shrinkage * level)).sum())
