"""METRICS: the one table of how test results are scored, compared and given an interval. A metric is a row.

The paper's three (Kornblith et al., table 1), exactly, in NumPy:

    top1            correct / all examples
    mean_per_class  recall of each class that has examples, averaged over these classes
    voc_map         VOC2007's 11-point average precision (devkit VOCevaldet/VOCevalcls), mean over classes

and, for data of one's own with several labels per image, as scikit-learn has it:

    mean_average_precision  average_precision_score(…, average="macro")

The same measure chooses hyperparameters on validation.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfbench.stats import intervals, significance
from tfbench.wording import count, printable

SHOWN = 5  # names of classes in a line
PRESENT = 0.5  # with several labels per image: from which probability on a class is predicted


@dataclasses.dataclass(frozen=True)
class Metric:
    """How results on a data set are measured.

    `outputs` are what a run keeps of its test examples: predicted classes int [n]; float scores [n, classes] where an
    image has several labels. A function left out leaves out what it would give.

    Attributes:
      name: in records and in the catalog of data sets. title: for people.
      score: (scores [n, classes], labels) → fraction in [0, 1].
      multi_label: whether labels are [n, classes] in {+1, 0, -1} instead of [n] int in [0, classes).
      counts: whether score × n is a whole number, so that the interval is that of a binomial share.
      interval: (labels, outputs, *, seed) → (low, high), the 95 % interval where score × n is no whole number.
      contributions: (labels, outputs) → [n] float64, what each example adds to the score that is compared.
      compare: arrays [networks, n] of contributions → an array [networks, networks] of p for each.
      test: name of the test that `compare` does.
      score_outputs: (labels, outputs) → the score again, from what is kept; None: the sum of contributions.
      absent: of several labels: what becomes of a class that no test image shows, in words.
    """

    name: str
    title: str
    score: Callable[..., float]
    multi_label: bool = False
    counts: bool = False
    interval: Callable[..., tuple[float, float]] | None = None
    contributions: Callable[..., np.ndarray] | None = None
    compare: Callable[..., list[np.ndarray]] = significance.permutation
    test: str = "permutation"
    score_outputs: Callable[..., float] | None = None
    absent: str = "left out of the mean"

    def check(self, labels, outputs) -> float | None:
        """The score as far as `outputs` tell it, else None."""
        if self.score_outputs:
            return self.score_outputs(labels, outputs)
        return float(self.contributions(labels, outputs).sum()) if self.contributions else None


def score(metric: str, scores, labels) -> float:
    """A metric of METRICS, by its name.

    Args:
      scores: [n, classes] float, any monotone scale (logits, probabilities); higher is likelier.
      labels: [n] int in [0, classes), or [n, classes] in {+1, 0, -1} for a multi-label metric.

    Returns:
      A fraction in [0, 1].

    Raises:
      ValueError: another metric, shapes that do not fit, no examples, NaN scores, strange labels.
    """
    if metric not in METRICS:
        raise ValueError(f"expected a metric among {', '.join(METRICS)}, found {metric!r}")
    return METRICS[metric].score(scores, labels)


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
    scores, labels = _several_labels(scores, labels)
    return float(np.mean([_eleven_points(scores[:, c], labels[:, c])
                          for c in range(scores.shape[1]) if (labels[:, c] > 0).any()]))


def mean_average_precision(scores, labels) -> float:
    """Mean over all classes of average precision, the area below the steps of precision against recall.

    It is sklearn.metrics.average_precision_score(labels > 0, scores, average="macro"). As there, equal scores are one
    step, and a class without positives counts as 0. Examples with label 0 count neither for nor against a class.

    Args, Raises: see voc_map.
    """
    scores, labels = _several_labels(scores, labels)
    once = np.ones((len(labels), 1))
    return float(np.mean([intervals.average_precision(scores[:, c], labels[:, c], once)[0]
                          if (labels[:, c] > 0).any() else 0.0 for c in range(scores.shape[1])]))


def absent_classes(metric: str, labels, class_names, none: str = "no test image") -> list[str]:
    """A line for people where no test image shows some of the classes, and what becomes of these; else [].

    Args:
      labels: of the test images, as the metric takes them. class_names: one for each class, or none.
      none: which images show them, in words.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not (absent := np.flatnonzero(~(labels > 0).any(axis=0)).tolist()):
        return []
    names = list(map(str, class_names)) or list(map(str, range(labels.shape[1])))
    shown = ", ".join(printable(names[number]) for number in absent[:SHOWN]) + (", …" if len(absent) > SHOWN else "")
    return [f"{count(len(absent), 'class')} that {none} shows: {shown}; {METRICS[metric].absent}"]


def top1_contributions(labels, predictions) -> np.ndarray:
    """Share of all examples that a right one is, [n]; they add up to top1.

    Raises:
      ValueError: no examples, or shapes that differ.
    """
    labels, predictions = _same_shape(labels, predictions)
    return (labels == predictions) / len(labels)


def mean_per_class_contributions(labels, predictions) -> np.ndarray:
    """What a right example adds to mean_per_class, [n]; they add up to it. Errors: see top1_contributions."""
    labels, predictions = _same_shape(labels, predictions)
    examples = np.bincount(labels)
    return (labels == predictions) / (examples[labels] * np.count_nonzero(examples))


def class_decision_contributions(labels, scores) -> np.ndarray:
    """Share of all decisions that an example's right ones are, [n]; mAP itself is no sum over examples.

    Args:
      labels: [n, classes] in {+1, 0, -1}, 0 being ignored.
      scores: [n, classes] logits; a class is held to be there where its score is above 0.

    Raises:
      ValueError: as in top1_contributions, or no label that counts.
    """
    labels, scores = _same_shape(labels, scores)
    counted = labels != 0
    if not counted.any():
        raise ValueError("expected labels +1 or -1, found 0 throughout")
    return (((scores > 0) == (labels > 0)) & counted).sum(axis=1) / counted.sum()


METRICS = {metric.name: metric for metric in (
    Metric("top1", "top-1 accuracy", top1, counts=True, contributions=top1_contributions,
           compare=lambda groups: [significance.mcnemar(group > 0) for group in groups], test="exact McNemar"),
    Metric("mean_per_class", "mean per-class accuracy", mean_per_class, interval=intervals.mean_per_class_interval,
           contributions=mean_per_class_contributions),
    Metric("voc_map", "11-point mean average precision (VOC2007)", voc_map, multi_label=True,
           interval=intervals.voc_interval, contributions=class_decision_contributions,
           test="permutation of class decisions", score_outputs=lambda labels, scores: voc_map(scores, labels)),
    Metric("mean_average_precision", "mean average precision", mean_average_precision, multi_label=True,
           interval=intervals.average_precision_interval, contributions=class_decision_contributions,
           test="permutation of class decisions",
           score_outputs=lambda labels, scores: mean_average_precision(scores, labels),
           absent="counted as 0 in the mean, as in scikit-learn"),
)}


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


def _several_labels(scores, labels) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = _scores(scores), np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"expected labels of shape {scores.shape} like the scores, found {labels.shape}")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError("expected labels +1, 0 or -1, found others")
    if not (labels > 0).any():
        raise ValueError("expected at least one positive label, found none")
    return scores, labels


def _same_shape(labels, outputs) -> tuple[np.ndarray, np.ndarray]:
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    if not labels.size or labels.shape != outputs.shape:
        raise ValueError(f"expected as many outputs as labels, one or more, found {labels.shape} and {outputs.shape}")
    return labels, outputs
