"""Classifies images by a network that a run trained and kept.

Writes a CSV file: image, predicted class, its probability, and a column of probabilities per class.
Where labels.csv beside the images or the names of their folders tell what they show, says the run's
metric on them. The run is the last one that kept its network, or another by the path of its record
or the beginning of its name or key.

  python -m tfbench.predict --images=PHOTOS
  python -m tfbench.predict --run=finetune-mobilenet_v1 --images=PHOTO.jpg --output=predictions.csv
"""

from tfbench.cli import app
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import as_path
from tfbench.results.titles import record_label
from tfbench.wording import count, printable, say

SETTINGS = {
    "run": Setting("latest", "text", "the run whose network classifies: `latest`, the last one that kept its "
                   "network, the path of its record, or the beginning of its name or key", WHAT),
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


def main(options) -> int | None:
    from tfbench.classify import classifier as classifiers  # and TensorFlow
    from tfbench.classify import scoring
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
    try:
        known = scoring.known_labels(options.images, [*(name for name, _ in found.files), *found.unreadable])
    except UserError as error:
        say(f"not scored: {error}", error=True)
        known = scoring.Known({}, "")
    for note in known.notes:
        say(note)
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
    for line in scoring.accuracy(names, probabilities, classifier, known):
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
