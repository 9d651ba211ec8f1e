"""The paper's three test metrics, exactly (Kornblith et al., table 1), in NumPy.

    top1            correct / all examples
    mean_per_class  recall of each class that has examples, averaged over these classes
    voc_map         VOC2007's 11-point average precision (devkit VOCevaldet/VOCevalcls), mean over classes

All return a fraction in [0, 1]. The same measure chooses hyperparameters on validation.
"""

import numpy as np


def score(metric: str, scores, labels) -> float:
    """The metric of that name.

    Args:
      metric: "top1", "mean_per_class" or "voc_map".
      scores: [n, classes] float, any monotone scale (logits, probabilities); higher is likelier.
      labels: [n] int in [0, classes) for the first two, [n, classes] in {+1, 0, -1} for voc_map.

    Raises:
      ValueError: another metric, shapes that do not fit, no examples, NaN scores, strange labels.
    """
    metrics = {"top1": top1, "mean_per_class": mean_per_class, "voc_map": voc_map}
    if metric not in metrics:
        raise ValueError(f"expected a metric among {', '.join(metrics)}, found {metric!r}")
    return metrics[metric](scores, labels)


def top1(scores, labels) -> float:
    """Share of examples whose highest score is at their label; of equal scores the lowest index counts.

    Arguments and errors: see score.
    """
    scores, labels = _single_label(scores, labels)
    return float(np.mean(scores.argmax(axis=1) == labels))


def mean_per_class(scores, labels) -> float:
    """Mean over the classes with at least one example of the share of its examples that top1 gets right.

    Arguments and errors: see score.
    """
    scores, labels = _single_label(scores, labels)
    correct = scores.argmax(axis=1) == labels
    examples = np.bincount(labels, minlength=scores.shape[1])
    hits = np.bincount(labels[correct], minlength=scores.shape[1])
    present = examples > 0
    return float(np.mean(hits[present] / examples[present]))


def voc_map(scores, labels) -> float:
    """Mean over classes of the 11-point interpolated average precision of VOC2007.

    Examples that show a class only as a "difficult" object (label 0) count neither for nor against
    it. Equal scores keep the order of the examples. A class without positives is left out.

    Args:
      scores: [n, classes] float.
      labels: [n, classes]: +1 shows the class, -1 does not, 0 is ignored.

    Raises:
      ValueError: see score; also when no class has a positive.
    """
    scores, labels = _scores(scores), np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"expected labels of shape {scores.shape} like the scores, found {labels.shape}")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError("expected labels +1, 0 or -1, found others")
    precisions = [_eleven_points(scores[:, c], labels[:, c])
                  for c in range(scores.shape[1]) if (labels[:, c] > 0).any()]
    if not precisions:
        raise ValueError("expected at least one positive label, found none")
    return float(np.mean(precisions))


def _eleven_points(scores, labels) -> float:
    """Average over recall 0, .1, …, 1 of the best precision at that recall or more; scores, labels: [n]."""
    counted = labels != 0
    positive = labels[counted][np.argsort(-scores[counted], kind="stable")] > 0
    hits = np.cumsum(positive)
    precision = hits / np.arange(1, len(positive) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    # recall >= k/10 in integers: a float 3 * .1 is above .3. Full recall is reached, so an index exists.
    first = np.searchsorted(10 * hits, np.arange(11) * hits[-1])
    return float(best_from_here[first].mean())


def _scores(scores) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"expected scores of shape [n, classes] with n, classes >= 1, found {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"expected numbers as scores, found NaN in {np.isnan(scores).any(1).sum()} examples")
    return scores


def _single_label(scores, labels) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = _scores(scores), np.asarray(labels)
    if labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"expected integer labels of shape {scores.shape[:1]}, "
                         f"found {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"expected labels in [0, {scores.shape[1]}), "
                         f"found {labels.min()} to {labels.max()}")
    return scores, labels
