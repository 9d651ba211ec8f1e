"""Whether probabilities are what they say: of the predictions with probability .8, are 80 % right?

Reliability diagram and expected calibration error (ECE) as in Guo et al., "On Calibration of Modern Neural Networks",
ICML 2017, section 2: predictions are sorted by the probability of the predicted class into bins of equal width,
((m - 1) / M, m / M]; ECE is the mean over bins of |accuracy - mean probability|, weighted by their examples.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

BINS = 15  # as in Guo et al., table 1
SMALLEST = float(np.finfo(np.float16).smallest_subnormal)  # 6e-8; what is below is stored as 0


class Calibration(NamedTuple):
    """Probabilities against what came true.

    Attributes:
      bins: a row per bin: low, high, its ends; n, predictions in it; confidence, their mean probability; accuracy, the
        share of them that is right; NaN where n is 0.
      error: ECE. confidence, accuracy: means over all predictions. All are fractions in [0, 1].
    """

    bins: pd.DataFrame
    error: float
    confidence: float
    accuracy: float


def calibration(confidences, right, bins: int = BINS) -> Calibration:
    """The reliability diagram and ECE of n >= 1 predictions.

    Args:
      confidences: [n] float in [0, 1], of the predicted class. right: [n] bool, whether it is the true one.
    """
    confidences, right = np.asarray(confidences, np.float64), np.asarray(right, bool)
    edges = np.linspace(0, 1, bins + 1)
    numbers = np.searchsorted(edges[1:-1], confidences)
    n = np.bincount(numbers, minlength=bins)
    with np.errstate(invalid="ignore"):
        means, shares = (np.bincount(numbers, values, bins) / n for values in (confidences, right))
    error = float(np.nansum(n * np.abs(shares - means)) / len(right))
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, "confidence": means, "accuracy": shares})
    return Calibration(table, error, float(confidences.mean()), float(right.mean()))


def negative_log_likelihood(probabilities) -> float:
    """Mean of -ln p of the true class, in nats.

    Args:
      probabilities: [n] float in [0, 1], of the true classes; 0 counts as SMALLEST, at most 16.6 nats an image.
    """
    return float(-np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST)).mean())
