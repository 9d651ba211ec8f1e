"""Custom features: what the arrays of a file mean. This module imports no TensorFlow.

    X      [n, width] float
    y      [n], or [n, classes] where an example has several labels (read_labels says which kind is which)
    split  [n] str: "train", "validation" or "test"; without it all three are drawn

A file is an .npz, a folder of X.npy, y.npy and split.npy, a Parquet file or a CSV file (linear/feature_arrays.py).
"""

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from tfbench.data.folders import HELD_OUT_FRACTION
from tfbench.data.manifests import SPLITS
from tfbench.data.splits import held_out
from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.images.split_names import split_named
from tfbench.linear import feature_arrays
from tfbench.stats import row_blocks
from tfbench.stats.row_blocks import Rows, as_rows
from tfbench.wording import count, printable

# Standard deviations of columns, over the training examples, within which the fits are sure to be solved: the largest,
# and how many times that of the tenth of the columns with the least it may be.
SCALES, SPREAD = (1e-4, 1e8), 1e6
LARGEST = 1e15  # a column's standard deviation, or its mean: from here on sums of squares overflow


@dataclasses.dataclass(frozen=True)
class FeatureFile:
    """The arrays of a file, checked.

    Attributes:
      name: of the file, without ending.
      sha256: of the file, in hex.
      features: float32 or float64 [n, width], finite; mapped from X.npy where it can be.
      labels: int64 [n] in [0, classes), or float32 [n, classes] in {1, 0, -1}.
      classes: their number.
      class_names: their names in the file.
      rows: {split: indices of its examples, int64}.
      reading: what y was taken for where it is not plain; "" where it is.
      scale_problem: what is wrong with the scales of X's columns, in words; "" where nothing is.
      notes: what was taken for what, and the scale_problem, in words, a line each.
    """

    name: str
    sha256: str
    features: np.ndarray
    labels: np.ndarray
    classes: int
    class_names: tuple[str, ...]
    rows: dict[str, np.ndarray]
    reading: str
    scale_problem: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Labels:
    """What y was taken for.

    Attributes:
      values: as FeatureFile.labels. classes: their number.
      names: of the classes, as they are in the file.
      reading: "" for int from 0 and for multi-label labels, else the kind.
      note: in words; "" for int from 0.
    """

    values: np.ndarray
    classes: int
    names: Sequence
    reading: str = ""
    note: str = ""


def read(path, split_seed: int = 0, standardize: bool = False) -> FeatureFile:
    """Reads and checks a file.

    Args:
      standardize: whether each column is to have mean 0 and standard deviation 1 over the training examples.
      split_seed: chooses what is held out where the file has no split.

    Raises:
      UserError: it is missing or damaged, or its arrays are not as the head of this module says.
    """
    path = as_path(path).expanduser()
    arrays, notes = feature_arrays.read(path)
    features = _features(path, arrays.pop("X"), len(arrays["y"]) if arrays["y"].ndim else 0)
    n = len(features)
    for name in ("y", "split"):
        if name in arrays and (arrays[name].ndim == 0 or len(arrays[name]) != n):
            found = f"{len(arrays[name]):,}" if arrays[name].ndim else "a single value instead of"
            raise UserError(f"X and {name} of {path} have {n:,} and {found} rows: expected one entry per example: "
                            f"{name} of the shape [{n:,}]")
    labels = read_labels(arrays["y"], path)
    if "split" in arrays:
        split, words = _split(path, arrays["split"])
        notes += words
    else:
        split = _drawn(path, labels, split_seed)
        notes.append(f"no split: of each class {HELD_OUT_FRACTION:.0%} is held out for testing and as much of the rest "
                     f"for validation (--split_seed={split_seed})")
    rows = {name: np.flatnonzero(split == name) for name in SPLITS}
    if empty := [name for name in SPLITS if not len(rows[name])]:
        raise UserError(f"split of {path} has no {empty[0]} example: expected examples of {', '.join(SPLITS)}: add "
                        "some, or leave split out to have all three drawn")
    if labels.note:
        notes.append(labels.note)
    notes += _check_classes(path, labels, rows)
    features = features.astype(np.float32 if features.dtype.itemsize <= 4 else np.float64, copy=False)
    mean, deviation = scales(Rows(features, rows["train"]))
    problem = "" if standardize else scale_problem(mean, deviation)
    if standardize:
        features = standardized(features, mean, deviation)
    elif problem:
        check_scale(path, mean, deviation)
        notes.append(problem)
    return FeatureFile(path.stem, feature_arrays.sha256(path), features, labels.values, labels.classes,
                       tuple(map(str, labels.names)), rows, labels.reading, problem, tuple(notes))


# ---- features --------------------------------------------------------------------------------------


def _features(path, x: np.ndarray, examples: int) -> np.ndarray:
    remedies = [
        (x.ndim == 2 and x.dtype.kind in "iub", 'save X.astype("float32")'),
        (x.ndim > 2 and x.dtype.kind == "f", f"average over positions, X.mean(axis={tuple(range(1, x.ndim - 1))}), or "
         "X.reshape(len(X), -1)"),
        (x.ndim == 1 and x.dtype.kind == "f", "one feature is X[:, None]"),
        (x.dtype.kind in "US", 'save X.astype("float32")'), (x.dtype.kind == "c", "save X.real or np.abs(X)")]
    if x.ndim != 2 or not x.size or x.dtype.kind != "f":
        remedy = next((f": {text}" for applies, text in remedies if applies), "")
        raise UserError(f"X of {path} is {x.dtype} {list(x.shape)}, expected float [n, width]{remedy}")
    if examples != len(x) and examples == x.shape[1]:
        raise UserError(f"X of {path} is {list(x.shape)} with {examples:,} labels, expected float [n, width]: save X.T")
    not_finite = row_blocks.not_finite(Rows(x))
    if len(not_finite):
        raise UserError(f"X of {path} is not finite in {len(not_finite):,} of {len(x):,} rows, the first is row "
                        f"{not_finite[0]}: make these features anew, or leave them out: keep = "
                        "np.isfinite(X).all(axis=1)")
    return x


def scales(features) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of each column, float64 [width]; 0 where a column is constant but for rounding.

    Args:
      features: [n, width], an array or Rows.
    """
    features = as_rows(features)
    largest, mean, square = (np.zeros(features.shape[1]) for _ in range(3))
    for _, block in features.blocks():
        np.maximum(largest, np.abs(block).max(axis=0), out=largest)
    unit = np.where(largest > 0, largest, 1.0)  # by which neither squares nor sums can overflow
    for _, block in features.blocks():
        mean += (block / unit).sum(axis=0)
    mean /= len(features)
    for _, block in features.blocks():
        square += ((block / unit - mean) ** 2).sum(axis=0)
    spread = np.sqrt(square / len(features))
    return mean * largest, np.where(spread > 8 * np.finfo(features.dtype).eps, spread, 0.0) * largest


def standardized(features: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The features less their mean, by their standard deviation (constant columns are 0), in their own dtype."""
    result, unit = np.empty(features.shape, features.dtype), np.where(deviation > 0, deviation, 1.0)
    for part, block in Rows(features).blocks():
        result[part] = np.where(deviation > 0, block / unit - mean / unit, 0.0)
    return result


def scale_problem(mean: np.ndarray, deviation: np.ndarray) -> str:
    """What is wrong with the columns' scales, in words; "" where the fits are sure to be solved."""
    varying = np.flatnonzero(deviation)
    if not len(varying):
        return "all columns of X are constant"
    values = deviation[varying]
    middle, top, low = np.median(values), values.max(), np.quantile(values, 0.1)
    if SCALES[0] <= top <= SCALES[1] and top <= SPREAD * low and np.abs(mean).max() < LARGEST:
        return ""
    far = varying[(values > 1e3 * middle) | (values < 1e-3 * middle)]
    columns = ", ".join(map(str, far[:8])) + (" and others" if len(far) > 8 else "")
    where = f"columns {columns} are far from the others" if len(far) else "all columns are so"
    return (f"X is badly scaled: standard deviations of its columns from {values.min():.1e} to {top:.1e} ({where}); L2 "
            "regularisation takes features of order 1: --standardize makes them so")


def check_scale(path, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Raises UserError where sums of squares of the features overflow."""
    if max(np.abs(mean).max(), deviation.max()) >= LARGEST:
        raise UserError(f"{path}: {scale_problem(mean, deviation)}, and here the fits overflow: add it")


# ---- labels ----------------------------------------------------------------------------------------


def read_labels(y: np.ndarray, path) -> Labels:
    """What y is; the one place that decides it.

    [n] whole numbers, texts or booleans    one class per example; classes are numbered 0, 1, … in sorted order
    [n, 1] without -1                       the same, flattened
    [n, classes] of 0 and 1, every row exactly one 1    one class per example (one-hot)
    [n, classes] of 0 and 1, otherwise      multi-label
    [n, classes] of 1, -1 and 0             multi-label: present, absent, not scored

    Raises:
      UserError: it is none of these; the line says what to do in NumPy.
    """
    one_label = y.dtype.kind in "if" and (y == -1).any() and (abs(y) <= 1).all()
    column = y.ndim == 2 and y.shape[1] == 1 and not one_label
    flat = y[:, 0] if column else y
    if flat.ndim == 1 and len(flat):
        return _one_class(flat, path, column)
    if y.ndim == 2 and y.size and y.dtype.kind in "iufb":
        values = set(np.unique(y).tolist()) if y.dtype.kind != "f" or np.isfinite(y).all() else {np.nan}
        ones = (y == 1).sum(axis=1)
        if values <= {0, 1} and (ones == 1).all():
            return Labels(y.argmax(axis=1).astype(np.int64), y.shape[1], range(y.shape[1]), "one-hot", (
                f"y: every row of [n, {y.shape[1]}] has exactly one 1: one class per example, scored by top-1 (for "
                "several labels per example write 2 * y - 1: 1 present, -1 absent)"))
        if values <= {0, 1}:
            signs = np.where(y.astype(bool), 1, -1).astype(np.float32)
            return Labels(signs, y.shape[1], range(y.shape[1]), "", _several(y, ones))
        if values <= {-1, 0, 1}:
            return Labels(y.astype(np.float32), y.shape[1], range(y.shape[1]), "", _several(y, ones))
        remedy = "y.argmax(axis=1), the likeliest class" if y.dtype.kind == "f" else "one column of it, y[:, 0]"
    else:
        remedy = "np.unique(y, return_inverse=True)[1]"
    raise UserError(f"y of {path} is {y.dtype} {list(y.shape)}: expected int [n], classes from 0, or [n, classes] of 0 "
                    f"and 1: save {remedy}")


def _several(y: np.ndarray, ones: np.ndarray) -> str:
    bare = f", {count(int((ones == 0).sum()), 'row')} without any" if (ones == 0).any() else ""
    return (f"y: [n, {y.shape[1]}] is multi-label, {ones.mean():.2g} labels per example{bare}: a regression per class, "
            "scored by mean average precision")


def _one_class(y: np.ndarray, path, column: bool) -> Labels:
    shape = "[n, 1] is read as [n], " if column else ""
    if y.dtype.kind == "f":
        if not np.isfinite(y).all() or (y != np.floor(y)).any() or np.abs(y).max() >= 2 ** 53:
            odd = y[~(y == np.floor(y))]
            raise UserError(f"y of {path} is {y.dtype} {list(y.shape)}: expected int [n], classes from 0, found "
                            f"{odd[0] if len(odd) else np.abs(y).max():g}: classes are whole numbers or names; tfbench "
                            "fits no regressions of numbers")
        y = y.astype(np.int64)
        shape += "whole numbers in floating point, "
    if y.dtype.kind not in "iubUS":
        raise UserError(f"y of {path} is {y.dtype} {list(y.shape)}: expected int [n], classes from 0: save "
                        "np.unique(y, return_inverse=True)[1]")
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    names, numbers = np.unique(y, return_inverse=True)
    if y.dtype.kind in "US":
        alike: dict[str, str] = {}
        for name in names.tolist():
            other = alike.setdefault(unicodedata.normalize("NFC", name).strip(), name)
            if other != name:
                raise UserError(f"y of {path} holds {other!r} and {name!r}, which look alike: expected one form "
                                "of each class's name: save np.char.strip(y), and Unicode in one form "
                                "(unicodedata.normalize)")
    if y.dtype.kind == "i" and names[0] < 0 and names.tolist() != [-1, 1]:
        raise UserError(f"y of {path} holds {names[0]}: expected classes from 0; where that is no class, leave the "
                        "rows out: keep = y >= 0, X[keep], y[keep], split[keep]; else save np.unique(y, "
                        "return_inverse=True)[1]")
    plain = y.dtype.kind in "iu" and np.array_equal(names, np.arange(len(names)))
    if plain:
        reading = "column" if column else ""
        note = f"y: {shape}{len(names):,} classes" if shape else ""
        return Labels(numbers.astype(np.int64), len(names), names.tolist(), reading, note)
    shown = ", ".join(printable(name) for name in names[:4].tolist()) + ("" if len(names) <= 4 else ", …")
    note = f"y: {shape}{len(names):,} classes {shown}, numbered 0 to {len(names) - 1:,} in sorted order"
    return Labels(numbers.astype(np.int64), len(names), names.tolist(), "mapped", note)


def _check_classes(path, labels: Labels, rows: dict[str, np.ndarray]) -> list[str]:
    """Raises UserError where the fits would find a class without examples; what else is worth a word."""
    if labels.values.ndim == 1:
        if labels.classes < 2:
            raise UserError(f"y of {path} has one class only, {printable(labels.names[0])}: nothing to tell apart")
        absent = np.setdiff1d(np.arange(labels.classes), labels.values[rows["train"]])
        if len(absent):
            names = ", ".join(printable(labels.names[i]) for i in absent[:5])
            many = f", {labels.classes:,} different values for {len(labels.values):,} examples"
            raise UserError(
                f"y of {path} has no training example of class {names}{' and others' if len(absent) > 5 else ''} "
                f"({len(absent):,} of {labels.classes:,} classes"
                f"{many if labels.classes > len(labels.values) / 2 else ''}): every class needs one in train: leave "
                "the others' rows out, keep = np.isin(y, y[split == \"train\"])")
        return []
    notes = []
    for split, numbers in rows.items():
        shown = (labels.values[numbers] == 1).any(axis=0)
        absent, noun = np.flatnonzero(~shown), "training" if split == "train" else split
        if split == "train":
            lacking = np.flatnonzero(~(labels.values[numbers] == -1).any(axis=0))
            for verb, found in (("shows", absent), ("lacks", lacking)):
                if len(found):
                    raise UserError(f"y of {path}: no training example {verb} class {found[0]} ({len(found):,} of "
                                    f"{labels.classes:,} classes): every class needs one that does: leave the column "
                                    "out")
        elif len(absent) == labels.classes:
            raise UserError(f"y of {path}: no {noun} example shows any class: nothing to score: add some")
        elif len(absent):
            notes.append(f"y: no {noun} example shows class {', '.join(map(str, absent[:5]))}"
                         f"{' and others' if len(absent) > 5 else ''}: precision that is undefined counts as 0 in the "
                         "mean, as in scikit-learn (--metric=voc_map leaves it out)")
    return notes


# ---- split -----------------------------------------------------------------------------------------


def _split(path, split: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The splits' names as SPLITS has them, and what to say."""
    if split.ndim == 2 and split.shape[1] == 1:
        split = split[:, 0]
    if split.ndim != 1 or split.dtype.kind not in "US":
        raise UserError(f"split of {path} is {split.dtype} {list(split.shape)}: expected [n] of {', '.join(SPLITS)}: "
                        'save np.array(["train", "validation", "test"])[numbers]')
    texts = np.char.decode(split, "utf-8", "replace") if split.dtype.kind == "S" else split
    names, numbers = np.unique(texts, return_inverse=True)
    known = [split_named(name.strip()) or "" for name in names.tolist()]
    unknown = [name for name, is_known in zip(names.tolist(), known, strict=True) if not is_known]
    if unknown:
        raise UserError(f"split of {path} holds {printable(unknown[0])!r}: expected examples of {', '.join(SPLITS)}")
    taken = [f"{printable(name)!r} is {meant}" for name, meant in zip(names.tolist(), known, strict=True)
             if name != meant]
    return np.array(known)[numbers], [f"split: {', '.join(taken)}"] if taken else []


def _drawn(path, labels: Labels, seed: int) -> np.ndarray:
    """The split of a file without one: HELD_OUT_FRACTION of each class for test, and of the rest for validation."""
    n = len(labels.values)
    strata = labels.values if labels.values.ndim == 1 else np.zeros(n, np.int64)
    keys, split = np.array([f"{i:09d}" for i in range(n)]), np.full(n, "train", dtype="<U10")
    for name in ("test", "validation"):
        left = np.flatnonzero(split == "train")
        chosen = held_out(keys[left].tolist(), strata[left], round(HELD_OUT_FRACTION * len(left)), seed)
        split[left[chosen]] = name
    return split
