"""Transferability estimates: how well a network will transfer, told from its features without training it.

    logme           logarithm of maximum evidence of a linear model (You et al., ICML 2021)
    h_score         between-class variance of whitened features (Bao et al., ICIP 2019)
    shrunk_h_score  the same with a shrunk covariance (Ibrahim et al., ECML PKDD 2022)
    leep            log expected empirical prediction (Nguyen et al., ICML 2020)
    nce             negative conditional entropy of classes given source classes (Tran et al., ICCV 2019)

The larger, the better the network. All are of examples with one class each, by the literature's convention those of the
training split. The first three are of features, O(n d) once their eigenbasis is known; the others of the probabilities
that the source's classifier gives, O(n s) for s source classes.
"""

import dataclasses
import time
from typing import NamedTuple

import numpy as np

from tfbench.stats import row_blocks
from tfbench.stats.row_blocks import Rows, as_rows, slices
from tfbench.stats.transforms import eigenbasis

ESTIMATES = {  # name -> how it is written
    "logme": "LogME", "h_score": "H-score", "shrunk_h_score": "H-score, shrunk covariance", "leep": "LEEP",
    "nce": "NCE"}
ITERATIONS, TOLERANCE = 200, 1e-6  # of LogME's fixed point: steps at most; change of log(α / β) that ends them


class Spectrum(NamedTuple):
    """Features in their eigenbasis.

    Attributes:
      features: Rows [n, d]. mean: float64 [d].
      axes: float64 [d, r], orthonormal columns that span the features less their mean. energy: float64 [r], the squared
        norms of these along them.
    """

    features: Rows
    mean: np.ndarray
    axes: np.ndarray
    energy: np.ndarray


def spectrum(features) -> Spectrum:
    """The spectrum of features, float [n, d], finite; in O(n d min(n, d))."""
    rows = as_rows(features)
    mean = row_blocks.mean(rows)
    return Spectrum(rows, mean, *eigenbasis(rows, mean))


def estimates(features: Spectrum, labels, source_probabilities=None) -> dict[str, float]:
    """All estimates of a network on a data set, and the seconds that they took.

    Args:
      labels: int [n], ≥ 0.
      source_probabilities: float [n, s], rows that add up to 1, or Probabilities; None: leep and nce are left out.

    Returns:
      {name of ESTIMATES: value, "seconds": of them}.
    """
    start = time.monotonic()
    values = {"logme": logme(features, labels), "h_score": h_score(features, labels),
              "shrunk_h_score": shrunk_h_score(features, labels)}
    if source_probabilities is not None:
        likeliest = [np.argmax(source_probabilities[part], axis=1) for part in slices(len(labels))]
        values |= {"leep": leep(source_probabilities, labels), "nce": nce(np.concatenate(likeliest), labels)}
    return values | {"seconds": round(time.monotonic() - start, 3)}


def logme(features: Spectrum, labels) -> float:
    """LogME: the largest log evidence per example of a Bayesian linear regression, mean over classes.

    Of each class, 1 for its examples and 0 for others is regressed on the features F, without a constant: weights
    ~ N(0, 1/α), noise ~ N(0, 1/β). α and β maximise the evidence by MacKay's fixed point, from α = β, to convergence
    (You et al. stop after 11 steps). Where features hardly tell a class, this may be a local maximum; where they tell
    it exactly, the noise is that of rounding.

    Args:
      labels: int [n], ≥ 0; a class without an example counts for nothing.
    """
    onto, counts = _projection(features, labels)
    n, along = len(features.features), features.axes.T @ features.mean
    off = np.linalg.norm(features.mean - features.axes @ along)  # of the mean, what lies across all axes
    # In the axes, and across them, FᵀF = diag(s) + n a aᵀ, which Sherman and Morrison invert; FᵀY = b.
    s, a = np.append(features.energy, 0.0)[:, None], np.append(along, off)[:, None]
    b = np.sqrt(s) * np.append(onto, np.zeros((1, len(counts))), axis=0) + a * counts
    largest = features.energy.sum() + n * (a ** 2).sum()
    if not largest > 0:
        return float(np.mean(np.log(n / counts / (2 * np.pi)) - 1) / 2)  # all features are 0: only noise
    low, high = np.log(largest) - 30, np.log(largest) + 30

    def at(log_t: np.ndarray, chosen: np.ndarray):
        """(next log t, evidence), [chosen classes] each, at t = α / β."""
        t = np.exp(log_t)
        inverse = 1 / (s + t)
        w = a * inverse
        q = 1 + n * (a * w).sum(axis=0)
        weights = b[:, chosen] * inverse
        weights -= w * (n * (a * weights).sum(axis=0) / q)
        squared = (weights ** 2).sum(axis=0)
        total = np.maximum(counts[chosen] - (b[:, chosen] * weights).sum(axis=0), counts[chosen] * np.finfo(float).eps)
        gamma = (s * inverse).sum(axis=0) + t * n * (w ** 2).sum(axis=0) / q
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.log(gamma / squared * np.maximum(total - t * squared, 0) / (n - gamma))
        evidence = (n * np.log(n / total / (2 * np.pi)) - n - np.log1p(s / t).sum(axis=0) - np.log(q)) / 2
        return np.clip(np.nan_to_num(moved, nan=high, posinf=high, neginf=low), low, high), evidence

    log_t, left = np.clip(np.zeros(len(counts)), low, high), np.arange(len(counts))
    for _ in range(ITERATIONS):
        moved, _ = at(log_t[left], left)
        unsettled = np.abs(moved - log_t[left]) > TOLERANCE
        log_t[left] = moved
        if not len(left := left[unsettled]):
            break
    return float(at(log_t, np.arange(len(counts)))[1].mean() / n)


def h_score(features: Spectrum, labels) -> float:
    """H-score: the trace of cov(F)⁺ cov(E[F | class]), in [0, classes − 1].

    With no more examples than features it says nothing, as every class is then told apart: it is the number of
    classes less 1.

    Args:
      labels: int [n], ≥ 0.
    """
    return float(_between(features, labels).sum())


def shrunk_h_score(features: Spectrum, labels) -> float:
    """H-score with Ledoit and Wolf's covariance Σ = (1 − a) cov(F) + a m I: (1 − a) tr(Σ⁻¹ cov(E[F | class])).

    m is the mean variance, a the shrinkage that their formula gives.

    Args:
      labels: int [n], ≥ 0.
    """
    n, width = features.features.shape
    variances = features.energy / n
    level, spread = variances.sum() / width, (variances ** 2).sum()  # spread: ‖cov‖²
    distance = spread - width * level ** 2
    fourth = sum((np.einsum("nd,nd->n", block, block) ** 2).sum()
                 for _, block in features.features.centred(features.mean)) / n
    shrinkage = min((fourth - spread) / n / distance, 1.0) if distance > 0 else 1.0
    shrunk = (1 - shrinkage) * variances
    return float((_between(features, labels) * shrunk / (shrunk + shrinkage * level)).sum())


def leep(source_probabilities, labels) -> float:
    """LEEP: mean log-probability of the classes, predicted through the source classes; at most 0.

    P(class | source class) is the empirical one, weighted by the source's probabilities.

    Args:
      source_probabilities: float [n, s], rows that add up to 1, or Probabilities. labels: int [n], ≥ 0.
    """
    _, classes = np.unique(labels, return_inverse=True)
    joint = np.zeros((classes.max() + 1, source_probabilities.shape[1]))
    for part in slices(len(classes)):
        _add_by_class(joint, source_probabilities[part], classes[part])
    sources = joint.sum(axis=0)
    conditional = np.divide(joint, sources, out=np.zeros_like(joint), where=sources > 0)
    total = sum(np.log(np.einsum("ns,ns->n", source_probabilities[part], conditional[classes[part]])).sum()
                for part in slices(len(classes)))
    return float(total / len(classes))


def _add_by_class(sums: np.ndarray, rows: np.ndarray, classes: np.ndarray) -> None:
    """Adds every row [n, ·] to its class's of `sums` float64 [classes, ·]."""
    order = np.argsort(classes, kind="stable")
    present, first = np.unique(classes[order], return_index=True)
    sums[present] += np.add.reduceat(rows[order], first, axis=0, dtype=np.float64)


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


@dataclasses.dataclass(frozen=True)
class Probabilities:
    """probabilities of features, [n, s], computed of the rows that are asked for.

    Attributes:
      features: Rows [n, d]. kernel: [d, s]. bias: [s].
    """

    features: Rows
    kernel: np.ndarray
    bias: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.features), len(self.bias)

    def __getitem__(self, part: slice) -> np.ndarray:
        return probabilities(self.features[part], self.kernel, self.bias)


def _projection(features: Spectrum, labels) -> tuple[np.ndarray, np.ndarray]:
    """UᵀY [r, classes] and the numbers [classes] of examples of each class that has some.

    U are the left singular vectors of the centred features, Y the classes, 1 or 0.
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), len(features.mean)))
    for part, block in features.features.centred(features.mean):
        _add_by_class(sums, block, classes[part])
    return features.axes.T @ sums.T / np.sqrt(features.energy)[:, None], counts


def _between(features: Spectrum, labels) -> np.ndarray:
    """Of the variance along each axis, the share [r] that lies between the classes."""
    onto, counts = _projection(features, labels)
    return (onto ** 2 / counts).sum(axis=1)
