"""How well a run classifies images of which labels.csv beside them, or their folders, tell what they show."""

import os
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfbench.images import label_files
from tfbench.images.tree import some
from tfbench.stats import metrics, pairs
from tfbench.wording import count, printable


class Known(NamedTuple):
    """What images show.

    Attributes:
      labels: {name of an image: names of its classes}, those of which it is known.
      file: name of the file that says it; "" where it is the first folder's name.
      notes: on how it was read.
    """

    labels: dict[str, tuple[str, ...]]
    file: str
    notes: Sequence[str] = ()


def known_labels(images, names: Sequence[str]) -> Known:
    """What images show.

    Args:
      images: path of their folder, or of one image. names: of the images, paths from the folder with "/".

    Raises:
      UserError: there is a labels.csv that cannot be understood, or it names images that are not there.
    """
    root = pathlib.Path(images).expanduser()
    path = label_files.find(root) if os.path.isdir(root) else None
    file = path and label_files.read(path)
    if file:
        lines, notes = label_files.match(file, list(names))
        return Known({name: line.labels for name, line in lines.items()}, file.name, [*file.notes, *notes])
    return Known({name: (name.split("/")[0],) for name in names if "/" in name and not os.path.isabs(name)}, "")


def accuracy(names: Sequence[str], probabilities: np.ndarray, classifier, known: Known) -> list[str]:
    """The run's metric on images that show classes of the run, in words; [] where none is known to.

    Args:
      names: n images. probabilities: [n, classes], Classifier.predict's.
    """
    classes = {_written(name): number for number, name in enumerate(classifier.class_names)}
    shown = [[_written(label) for label in known.labels[name]] if name in known.labels else None for name in names]
    metric = metrics.METRICS[classifier.metric]
    if metric.multi_label:
        rows = [row for row, labels in enumerate(shown) if labels is not None]
        labels = np.full((len(rows), len(classes)), -1)
        for line, row in zip(labels, rows, strict=True):
            line[[classes[label] for label in shown[row] or () if label in classes]] = 1
        if not (labels > 0).any():
            return [f"not scored: {known.file} gives no image a class of the run"] if known.file else []
        if not known.file:
            return [f"not scored by {metric.title}: folders give one label per image, the run several: add labels.csv"]
        outputs = scores = probabilities[rows]
    else:
        if any(labels is not None and len(labels) != 1 for labels in shown):
            return [f"not scored: {known.file} gives images several labels or none, the run one"]
        rows = [row for row, labels in enumerate(shown) if labels and labels[0] in classes]
        labels = np.array([classes[label] for row in rows for label in shown[row] or ()], np.int64)
        if not rows:
            return [f"not scored: {known.file} gives no image a class of the run"] if known.file else []
        scores = probabilities[rows]
        outputs = scores.argmax(axis=1)
    value = metric.score(scores, labels)
    low, high, method = pairs.interval_of(metric, {"accuracy": value, "n_test": len(rows)}, (labels, outputs))
    interval = f" (95 % interval {100 * low:.1f} to {100 * high:.1f} %)" if method else ""
    by = f"labels from {known.file}" if known.file else "labels from their folders"
    lines = [f"{100 * value:.1f} % {metric.title} on {count(len(rows), 'image')}, {by}{interval}",
             *metrics.absent_classes(classifier.metric, labels, classifier.class_names, "none of these images")]
    others = sorted({label for labels in shown for label in labels or () if label not in classes})
    if left := len(names) - len(rows):
        where = f"in no line of {known.file}" if known.file and not others else "elsewhere"
        lines.append(f"not counted: {count(left, 'image')} {where}")
    if others:
        lines.append(f"the run has no class {some(others)}")
    return lines


def _written(name: str) -> str:
    """A class as tfbench.images.reading writes it."""
    return printable(unicodedata.normalize("NFC", name)).strip()
