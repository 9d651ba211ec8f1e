"""Custom features, from one NumPy file. This module imports no TensorFlow.

    X      [n, width] float
    y      [n] int, classes from 0; or [n, classes], multi-label: 1 present, 0 absent; or, as in VOC2007, 1 present,
           -1 absent, 0 not scored
    split  [n] str: "train", "validation" or "test"
"""

import dataclasses
import zipfile

import numpy as np

from tfbench.data.manifests import SPLITS
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import as_path, readable

EXPECTED = ("X [n, width] float, y [n] int or [n, classes] of 0 and 1 (multi-label), split [n] of "
            f"{', '.join(SPLITS)}")


@dataclasses.dataclass(frozen=True)
class FeatureFile:
    """The arrays of a file, checked.

    Attributes:
      name: of the file, without ending.
      sha256: of the file, in hex.
      features: float32 or float64 [n, width], finite.
      labels: int64 [n] in [0, classes), or float32 [n, classes] in {1, 0, -1}.
      classes: their number.
      rows: {split: indices of its examples, int64}.
    """

    name: str
    sha256: str
    features: np.ndarray
    labels: np.ndarray
    classes: int
    rows: dict[str, np.ndarray]


def read(path) -> FeatureFile:
    """Reads and checks a file.

    Raises:
      UserError: it is missing or damaged, or its arrays are not as the head of this module says.
    """
    path = as_path(path).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}: --features expects an .npz file with {EXPECTED}")
    try:
        with np.load(readable(path), allow_pickle=False) as arrays:
            missing = {"X", "y", "split"} - set(arrays)
            if missing:
                raise UserError(f"{path} lacks {', '.join(sorted(missing))}: expected {EXPECTED}")
            features, labels, split = arrays["X"], arrays["y"], arrays["split"]
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no .npz file that NumPy can read ({error}): expected {EXPECTED}") from error
    if features.ndim != 2 or not features.size or features.dtype.kind != "f":
        raise UserError(f"X of {path} is {features.dtype} {list(features.shape)}, expected float [n, width]")
    if split.shape != (len(features),) or len(labels) != len(features):
        raise UserError(f"X, y and split of {path} have {len(features):,}, {len(labels):,} and {len(split):,} rows: "
                        "expected one each per example")
    not_finite = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(not_finite):
        raise UserError(f"X of {path} is not finite in {len(not_finite):,} of {len(features):,} rows, the first is row "
                        f"{not_finite[0]}: make these features anew")
    split = split.astype(str)
    rows = {name: np.flatnonzero(split == name) for name in SPLITS}
    problems = [f"holds {name!r}" for name in sorted(set(split.tolist()) - set(SPLITS))]
    problems += [f"has no {name} example" for name in SPLITS if not len(rows[name])]
    if problems:
        raise UserError(f"split of {path} {problems[0]}: expected examples of {', '.join(SPLITS)}")
    labels, classes = _checked_labels(labels, path)
    features = features.astype(np.promote_types(features.dtype, np.float32), copy=False)
    return FeatureFile(path.stem, atomic.file_sha256(path), features, labels, classes, rows)


def _checked_labels(labels: np.ndarray, path):
    """Labels as linear.logistic.path takes them, and the number of classes."""
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        if labels.min() < 0:
            raise UserError(f"y of {path} holds {labels.min()}: expected classes from 0")
        return labels.astype(np.int64), int(labels.max()) + 1
    if labels.ndim == 2 and labels.dtype.kind in "iufb":
        values = set(np.unique(labels.astype(np.float32)).tolist())
        if values <= {0.0, 1.0}:
            return np.where(labels.astype(bool), 1, -1).astype(np.float32), labels.shape[1]
        if values <= {-1.0, 0.0, 1.0}:
            return labels.astype(np.float32), labels.shape[1]
    raise UserError(f"y of {path} is {labels.dtype} {list(labels.shape)}: expected int [n], classes from 0, or "
                    "[n, classes] of 0 and 1")
