"""Classifies images by a network that a run trained and kept.

Writes a CSV file: image, predicted class, its probability, and a column of probabilities per class. If
the images lie in folders named as the run's classes, says how many are right. The run is the one that
ended last, or another by the path of its record or the beginning of its name or key.

  python -m tfbench.predict --images=PHOTOS
  python -m tfbench.predict --run=finetune-mobilenet_v1 --images=PHOTO.jpg --output=predictions.csv
"""

import pathlib
import unicodedata

from tfbench.cli import app
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import as_path
from tfbench.results.titles import record_label
from tfbench.wording import count, printable, say

SETTINGS = {
    "run": Setting("latest", "text", "the run whose network classifies: `latest`, the path of its record, or the "
                   "beginning of its name or key", WHAT),
    "images": Setting(None, "text", "an image, or a folder of images", WHAT, required=True),
    "output": Setting("predictions.csv", "text", "CSV file to write", WHAT),
    "batch_size": Setting(64, "integer", "images at a time (our choice)", WHAT, minimum=1),
    "results_dir": FIELDS["results_dir"],
}
SHOWN = 20  # names of images that cannot be read


def table_of(names, probabilities, class_names, multi_label: bool):
    """The CSV file as a DataFrame: image, class, probability, then a column per class.

    Args:
      names: n texts. probabilities: [n, classes].
    """
    import pandas as pd

    from tfbench.stats.metrics import PRESENT

    best = probabilities.argmax(axis=1)
    predicted = [class_names[number] for number in best]
    if multi_label:
        predicted = ["; ".join(name for name, p in zip(class_names, row, strict=True) if p >= PRESENT)
                     for row in probabilities]
    first = pd.DataFrame({"image": list(names), "class": predicted, "probability": probabilities.max(axis=1)})
    return pd.concat([first, pd.DataFrame(probabilities, columns=list(class_names))], axis=1)


def score(names, probabilities, classifier) -> list[str]:
    """How many are right, in words, where the images lie in folders of the run's classes; [] where none does."""
    import numpy as np

    from tfbench.stats import intervals

    def written(name: str) -> str:
        return unicodedata.normalize("NFC", name)

    known = {written(name): number for number, name in enumerate(classifier.class_names)}
    folders = [written(pathlib.PurePosixPath(name).parts[0]) if "/" in name else None for name in names]
    labelled = [number for number, folder in enumerate(folders) if folder in known]
    if not labelled or classifier.multi_label:
        return []
    labels = np.array([known[str(folders[number])] for number in labelled])
    right = int((probabilities[labelled].argmax(axis=1) == labels).sum())
    low, high = intervals.clopper_pearson(right, len(labelled))
    lines = [f"{100 * right / len(labelled):.1f} % of {count(len(labelled), 'image')} in folders of the classes are "
             f"right (top-1 accuracy, 95 % interval {100 * float(low):.1f} to {100 * float(high):.1f} %)"]
    others = sorted({folder for folder in folders if folder is not None and folder not in known})
    if others:
        shown = ", ".join(map(printable, others[:5])) + (", …" if len(others) > 5 else "")
        lines.append(f"not counted: {count(len(names) - len(labelled), 'image')} elsewhere, the run has no class "
                     f"{shown}")
    return lines


def main(options) -> int | None:
    from tfbench.classify import classifier as classifiers  # and TensorFlow
    from tfbench.report.write import csv_of

    classifier = classifiers.load(options.run, options.results_dir)
    record = classifier.record
    say(f"{record_label(record)}: {100 * record.accuracy:.1f} % {record.metric.replace('_', ' ')} on "
        f"{record.n_test:,} test images, {count(len(classifier.class_names), 'class')}")
    found = classifiers.find(options.images)
    for note in found.notes:
        say(note)
    if not found.files and not found.unreadable:
        raise UserError(f"expected images in {printable(options.images)}, found none: name an image or a folder")
    with Display(len(found.files)) as progress:
        progress.run("images", len(found.files), len(found.files))
        names, probabilities, unreadable = classifier.predict_files(found, batch_size=options.batch_size,
                                                                    report=progress.images)
    table = table_of(names, probabilities, classifier.class_names, classifier.multi_label)
    path = as_path(options.output)
    if names:  # else an earlier file stays
        atomic.write_atomically(path, csv_of(table).encode(), cure=atomic.make_writable("--output"))
    if len(table) == 1:
        say(f"{table['image'][0]}: {table['class'][0]} ({100 * table['probability'][0]:.1f} %)")
    for line in score(names, probabilities, classifier):
        say(line)
    say(f"{count(len(table), 'image')}: {path}" if names else "no image could be read: nothing was written")
    if not unreadable:
        return None
    for name, reason in list(unreadable.items())[:SHOWN]:
        say(f"cannot be read: {name}: {reason}", error=True)
    say(f"{count(len(unreadable), 'image')} of {len(names) + len(unreadable):,} could not be read and "
        f"{'is' if len(unreadable) == 1 else 'are'} not in {path}", error=True)
    return 1


if __name__ == "__main__":
    app.start("predict", __doc__, SETTINGS, main, again=lambda options: "")
