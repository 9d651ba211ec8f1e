"""Which classes are taken for which: counts of single labels, and accuracy or average precision class by class."""

import numpy as np
import pandas as pd

from tfbench.stats import intervals, metrics


def counts(labels, predictions, classes: int) -> pd.DataFrame:
    """The confusion matrix without its zeros, so that thousands of classes take no more than their examples.

    Args:
      labels, predictions: [n] int in [0, classes).

    Returns:
      Columns label, prediction, n; ascending by the first two.
    """
    pairs, n = np.unique(np.asarray(labels, np.int64) * classes + predictions, return_counts=True)
    return pd.DataFrame({"label": pairs // classes, "prediction": pairs % classes, "n": n})


def per_class(labels, predictions, classes: int) -> pd.DataFrame:
    """Accuracy of each class with its exact 95 % interval (intervals.clopper_pearson).

    Args:
      labels, predictions: [n] int in [0, classes).

    Returns:
      A row per class, in their order: n, its examples; right; predicted, how often it is the prediction; value, low,
      high, fractions in [0, 1], NaN without examples.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    n, right, predicted = (np.bincount(values, minlength=classes)
                           for values in (labels, labels[labels == predictions], predictions))
    frame = pd.DataFrame({"n": n, "right": right, "predicted": predicted, "value": np.nan, "low": np.nan,
                          "high": np.nan})
    some = n > 0
    frame.loc[some, "value"] = right[some] / n[some]
    frame.loc[some, "low"], frame.loc[some, "high"] = intervals.clopper_pearson(right[some], n[some])
    return frame


def per_label(metric: metrics.Metric, labels, scores) -> pd.DataFrame:
    """Average precision of each class where an image has several, with its 95 % interval.

    Args:
      metric: whose average precision and interval it is.
      labels: [n, classes] in {+1, 0, -1}, 0 being ignored. scores: [n, classes].

    Returns:
      A row per class: n, the images that show it; value, low, high, fractions in [0, 1], NaN without such images.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    rows = []
    for c in range(labels.shape[1]):
        column, n = (slice(None), slice(c, c + 1)), int((labels[:, c] > 0).sum())
        low, high = metric.interval(labels[column], scores[column]) if n and metric.interval else (np.nan, np.nan)
        rows.append((n, metric.score(scores[column], labels[column]) if n else np.nan, low, high))
    return pd.DataFrame(rows, columns=["n", "value", "low", "high"])
