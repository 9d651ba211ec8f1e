"""What a finished run gets wrong, from the predictions beside its record: a page that opens from disk, and its tables.

    OUTPUT/index.html      confusion matrix, classes, the most confident mistakes as pictures, calibration
    OUTPUT/per_class.csv   a line per class: images, accuracy (several labels: average precision), 95 % interval
    OUTPUT/mistakes.csv    a line per mistake, the most confident first
    OUTPUT/confusion.csv   a line per pair of true and predicted class that occurs (not with several labels)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from tfbench.data import index
from tfbench.data.catalog import DATASETS, Dataset
from tfbench.data.examples import PreparedDataset, StoredImages
from tfbench.data.lookup import read_manifest
from tfbench.data.manifests import folder_of_content
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import Path, as_path, beside
from tfbench.regimes import RUNS
from tfbench.report import mistakes_plots, ranking_plot, sections, standalone, tables
from tfbench.report.write import csv_of
from tfbench.results import store
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import calibration, confusion, pairs
from tfbench.stats.metrics import METRICS, PRESENT
from tfbench.wording import count, printable

MATRIX_CLASSES = 40  # up to which the confusion matrix is drawn
DRAWN, LISTED = 100, 25  # classes with intervals; pairs of classes in the table
PICTURES, SIDE = 40, 128  # mistakes shown, pixels of each
NAMED = 10  # classes in a sentence
_STYLE = mistakes_plots.STYLE + """
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }
.pictures figure { margin: 0; }
.pictures img { display: block; width: 8rem; height: 8rem; object-fit: contain; background: var(--line); }
"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run predicted of its n test images.

    Attributes:
      record: of the run. keys: of the images.
      labels: [n] int; several labels: [n, classes] in {+1, 0, -1}.
      outputs: [n] int, the predicted classes; several labels: scores [n, classes].
      probabilities: [n, classes]; None where an older run kept none.
      names: of the classes.
      images: in the order of the keys; None where the data are not there. bottom_rows: of each that are not to be seen.
      notes: what is missing, in words.
    """

    record: store.Record
    keys: np.ndarray
    labels: np.ndarray
    outputs: np.ndarray
    probabilities: np.ndarray | None
    names: Sequence[str]
    images: StoredImages | None
    bottom_rows: int
    notes: Sequence[str]


def write(record: store.Record, data_dir, output) -> tuple[Path, list[str]]:
    """Writes the page and its tables.

    Args:
      record: of store.find_run. data_dir: with the prepared data set; without it there are no pictures.
      output: folder, created when missing.

    Returns:
      (the page, what to say of it, in words).

    Raises:
      UserError: the record has no predictions beside it, they are damaged, or output cannot be written.
    """
    outcome, folder = read(record, data_dir), as_path(output)
    parts, frames = (several if outcome.labels.ndim == 2 else single)(outcome)
    head = headline(outcome)
    notes = "".join(f"<li>{escape(printable(note))}</li>" for note in outcome.notes)
    title = f"What {network_title(record['network'])} gets wrong on {dataset_title(record['dataset'])}"
    body = "".join((f"<p>{escape(head)}</p>", f"<ul>{notes}</ul>" if notes else "", *parts))
    files = {f"{name}.csv": csv_of(frame) for name, frame in frames.items()}
    files["index.html"] = standalone.page(title, body, _STYLE)
    for name, content in files.items():
        atomic.write_atomically(folder / name, content.encode(), cure=atomic.make_writable("--output"))
    if "confusion.csv" not in files:  # of another run that was written here
        (folder / "confusion.csv").unlink(missing_ok=True)
    return folder / "index.html", [head, *outcome.notes]


def read(record: store.Record, data_dir) -> Outcome:
    """The predictions beside a record, with the names of the classes and the images where they are.

    Raises:
      UserError: there are none, or they are damaged.
    """
    arrays = store.read_predictions(record, tuple(store.PREDICTIONS)) or {}
    labels, outputs, keys = arrays.get("labels"), arrays.get("scores", arrays.get("predictions")), arrays.get("keys")
    if labels is None or outputs is None or keys is None or labels.shape != outputs.shape:
        raise UserError(f"expected the predictions of a run beside {record['path']}, found none: copy the .npz file of "
                        "its name there, or name another --run")
    probabilities, notes, data = arrays.get("probabilities"), [], _data_of(record, data_dir)
    if labels.ndim == 2:
        probabilities = special.expit(outputs)
    elif probabilities is None:
        flags = beside(record["path"], ".flags")
        notes.append("This run kept no probabilities: mistakes are not in the order of confidence, and calibration is "
                     f"missing. Runs keep them now: `python -m tfbench.{record['regime']} --flagfile={flags} "
                     "--results_dir=ANOTHER`, in the folder that the run was started in, computes all of it once more.")
    if pairs.checked(METRICS[record["metric"]], record, arrays) is None:
        notes.append("The predictions do not give the accuracy of the record: the network diverged, or they are of "
                     "another run.")
    names: Sequence[str] = arrays.get("class_names", np.empty(0, str)).tolist() or (data.class_names if data else ())
    if not names:
        numbers = labels.shape[1] if labels.ndim == 2 else int(max(labels.max(), outputs.max())) + 1
        names = [str(number) for number in range(numbers)]
        notes.append("This run kept no names of classes: they are numbers.")
    widths = {len(names), *(len(array[0]) for array in (probabilities,) if array is not None)}
    if len(widths) > 1 or labels.ndim == 1 and not 0 <= min(labels.min(), outputs.min()) <= max(
            labels.max(), outputs.max()) < len(names):
        raise UserError(f"the predictions beside {record['path']} are damaged (expected those of "
                        f"{count(len(names), 'class')}): move both to another folder and run its command again")
    images, bottom_rows = _images_of(record, data, keys)
    if images is None:
        notes.append(f"No pictures: the images that were tested are not prepared in {data_dir} (--data_dir).")
    return Outcome(record, keys, labels, outputs, probabilities, names, images, bottom_rows, notes)


def _data_of(record: Mapping[str, Any], data_dir) -> PreparedDataset | None:
    """The prepared data set with the contents that a record names; None where it is not there."""
    content = (record["spec"].get("data") or {}).get("content")
    folder = folder_of_content(content, data_dir) if content and not record["dataset"].startswith("features:") else None
    if folder is None or not (folder / index.FILE).exists():
        return None
    manifest = read_manifest(folder)
    dataset = DATASETS.get(record["dataset"]) or (Dataset.from_json(manifest["row"]) if "row" in manifest else None)
    if dataset is None:
        return None
    return PreparedDataset(dataclasses.replace(dataset, tfds=manifest["tfds"]), data_dir, manifest)


def _images_of(record, data: PreparedDataset | None, keys: np.ndarray) -> tuple[StoredImages | None, int]:
    """The images of these keys and how many rows at their lower edge are not to be seen; None where one is missing."""
    if data is None:
        return None, 0
    rows = np.searchsorted(data.entries.keys, keys).clip(max=len(data.entries.keys) - 1)
    if (data.entries.keys[rows] != keys).any():
        return None, 0
    cropped = (record["spec"].get("data") or {}).get("crop_banner")
    return StoredImages(str(data.folder), data.entries, rows), data.dataset.banner if cropped else 0


def headline(outcome: Outcome) -> str:
    """The run's accuracy with its 95 % interval, in a sentence."""
    record, metric = outcome.record, METRICS[outcome.record["metric"]]
    n, interval = len(outcome.keys), ""
    low, high, method = pairs.interval_of(metric, record, (outcome.labels, outcome.outputs))
    if method:
        interval = f" (95 % interval {tables.shown('percent', low)} to {tables.shown('percent', high)} %)"
    return (f"{RUNS[record['regime']].title.capitalize()}: {tables.shown('percent', record['accuracy'])} % "
            f"{metric.title}{interval} on {count(n, 'test image')} of {count(len(outcome.names), 'class')}.")


# ---- one label per image ---------------------------------------------------------------------------


def single(outcome: Outcome) -> tuple[list[str], dict[str, pd.DataFrame]]:
    """Sections of the page, and the tables beside it."""
    labels, predictions, names = outcome.labels, outcome.outputs, np.array(outcome.names, object)
    classes = confusion.per_class(labels, predictions, len(names))
    counts = confusion.counts(labels, predictions, len(names))
    wrong = np.flatnonzero(labels != predictions)
    believed = true = np.full(len(wrong), np.nan)
    if outcome.probabilities is not None:
        believed = outcome.probabilities[wrong, predictions[wrong]].astype(float)
        true = outcome.probabilities[wrong, labels[wrong]].astype(float)
        order = np.lexsort((true, -believed))  # of equal ones that which gives the truth the least
        wrong, believed, true = wrong[order], believed[order], true[order]
    mistakes = pd.DataFrame({"key": outcome.keys[wrong].astype(object), "class": names[labels[wrong]],
                             "predicted": names[predictions[wrong]], "probability": believed,
                             "probability_of_class": true})
    named = counts.assign(**{"class": names[counts["label"]], "predicted": names[counts["prediction"]]})
    known = outcome.probabilities is not None
    legend = f"True class → <strong>predicted class</strong>{', and its probability' if known else ''}."
    parts = [_confused(counts, named, outcome.names), _classes(classes, outcome.names, "accuracy"),
             _section("Most confident mistakes" if known else "Mistakes",
                      _mistakes(outcome, wrong, mistakes.head(PICTURES), len(mistakes), legend)), _calibration(outcome)]
    per_class = classes.rename(columns={"value": "accuracy"})
    per_class.insert(0, "class", names)
    return parts, {"per_class": per_class, "confusion": named[["class", "predicted", "n"]], "mistakes": mistakes}


def _section(heading: str, html: str) -> str:
    return f"<section><h2>{heading}</h2>{html}</section>" if html else ""


def _confused(counts: pd.DataFrame, named: pd.DataFrame, names: Sequence[str]) -> str:
    """The matrix, where it is not too large, and the pairs that are confused most."""
    totals = counts.groupby("label")["n"].transform("sum")
    confused = named.assign(share=counts["n"] / totals)[counts["label"] != counts["prediction"]]
    confused = confused.sort_values(["n", "share"], ascending=False, kind="stable")
    drawn = f"<p>{count(len(names), 'class')} are too many to draw: confusion.csv has the matrix.</p>"
    if len(names) <= MATRIX_CLASSES:
        drawn = mistakes_plots.matrix(counts, names)
    if not len(confused):
        return _section("Confused classes", f"{drawn}<p>No test image was taken for another class.</p>")
    caption = f"The {LISTED} of {count(len(confused), 'pair')} that are confused most" if len(confused) > LISTED else (
        "The pairs that are confused")
    table = sections.html_table(tables.Table(
        f"{caption}: images of the first class that were taken for the second, and their share of the first.",
        confused.head(LISTED), (("class", "Class", "text"), ("predicted", "Taken for", "text"),
                                ("n", "Images", "count"), ("share", "% of the class", "percent"))))
    return _section("Confused classes", drawn + table)


def _classes(classes: pd.DataFrame, names: Sequence[str], what: str, absent: str = "") -> str:
    """What each class comes to, the worst first; `absent`: what becomes of those without a test image."""
    lines = []
    for kind, column in ((f"without a test image{absent}", "n"), ("never predicted", "predicted")):
        if numbers := np.flatnonzero(classes[column] == 0).tolist() if column in classes else []:
            listed = ", ".join(printable(names[number]) for number in numbers[:NAMED])
            more = ", …" if len(numbers) > NAMED else ""
            lines.append(f"<p>{count(len(numbers), 'class')} {kind}: {escape(listed)}{more}.</p>")
    some = classes[classes["n"] > 0].sort_values(["value", "n"], ascending=[True, False], kind="stable")
    if not len(some):
        return _section("Classes", "".join(lines))
    dots = []
    for number, row in zip(some.index[:DRAWN], some.head(DRAWN).itertuples(index=False), strict=True):
        shown = [tables.shown("percent", value) for value in (row.value, row.low, row.high)]
        dots.append(ranking_plot.Dot(
            f"{mistakes_plots.short(names[number])} ({row.n:,})", f"{printable(names[number])}: {shown[0]} % {what} on "
            f"{count(int(row.n), 'image')}, 95 % interval {shown[1]} to {shown[2]}", row.value, row.low, row.high,
            shown[0]))
    which = f"The worst {DRAWN} of {count(len(some), 'class')}" if len(some) > DRAWN else "All classes, the worst first"
    drawn = ranking_plot.dots(dots, f"{what.capitalize()} of each class", "var(--right)",
                              f"{which}: {what} in % with 95 % intervals, and in brackets the number of test images. "
                              "per_class.csv has all of it.")
    return _section("Classes", "".join(lines) + drawn)


def _mistakes(outcome: Outcome, positions: np.ndarray, first: pd.DataFrame, number: int, legend: str) -> str:
    """Pictures of the first mistakes, or their list.

    Args:
      positions: of the images. first: of the mistakes: key, class, predicted, probability. number: of all.
      legend: what class, predicted and probability are, in words.
    """
    if not len(positions):
        return "<p>There is none.</p>"
    said = f"<p>{len(first):,} of {count(number, 'mistake')}; mistakes.csv has all. {legend}</p>"
    if outcome.images is None:
        shown = first.assign(key=first["key"].astype(str))
        return said + sections.html_table(tables.Table(
            "Mistakes by the key of their image.", shown,
            (("key", "Image", "text"), ("class", "Class", "text"), ("predicted", "Predicted", "text"),
             ("probability", "Probability %", "percent"))))
    figures = []
    for position, row in zip(positions, first.to_dict("records"), strict=False):
        known = not tables.is_missing(row["probability"])
        probability = f", {tables.shown('percent', row['probability'])} %" if known else ""
        picture = standalone.image(outcome.images[position], row["key"], SIDE, outcome.bottom_rows)
        words = f"{escape(printable(row['class']))} → <strong>{escape(printable(row['predicted']))}</strong>"
        figures.append(f'<figure title="{escape(printable(row["key"]), quote=True)}">{picture}<figcaption>{words}'
                       f"{probability}</figcaption></figure>")
    return f'{said}<div class="pictures">{"".join(figures)}</div>'


def _calibration(outcome: Outcome) -> str:
    """The reliability diagram, and what it comes to in words."""
    if outcome.probabilities is None:
        return ""
    labels, predictions, numbers = outcome.labels, outcome.outputs, np.arange(len(outcome.labels))
    found = calibration.calibration(outcome.probabilities[numbers, predictions], labels == predictions)
    loss = calibration.negative_log_likelihood(outcome.probabilities[numbers, labels])
    gap = found.confidence - found.accuracy
    shown = {name: tables.shown("percent", value) for name, value in
             (("mean", found.confidence), ("right", found.accuracy), ("error", found.error), ("gap", abs(gap)))}
    words = (f"<p>The predicted class has a probability of {shown['mean']} % on average, and is right in "
             f"{shown['right']} %: {shown['gap']} points {'too sure' if gap > 0 else 'less sure than right'}. Expected "
             f"calibration error (ECE, {calibration.BINS} bins of equal width): {shown['error']} %. Negative log "
             f"likelihood: {loss:.3f} nats per image.</p>")
    return _section("Calibration", words + mistakes_plots.reliability(found))


# ---- several labels per image ----------------------------------------------------------------------


def several(outcome: Outcome) -> tuple[list[str], dict[str, pd.DataFrame]]:
    """Sections of the page, and the tables beside it, where an image shows several classes."""
    labels, probabilities, names = outcome.labels, outcome.probabilities, np.array(outcome.names, object)
    assert probabilities is not None
    metric = METRICS[outcome.record["metric"]]
    classes = confusion.per_label(metric, labels, outcome.outputs)
    parts, found = [_classes(classes, outcome.names, "average precision", f", {metric.absent}")], []
    there, predicted = labels > 0, probabilities >= PRESENT
    for kind, heading, legend, wrong, sign in (
            ("false positive", "Classes that are predicted and not there", "What the image shows → <strong>the class "
             "that is predicted</strong>, and its probability.", (labels < 0) & predicted, -1),
            ("false negative", "Classes that are there and not predicted", "The class that is missed → <strong>what is "
             "predicted</strong>, and the probability of the missed class.", there & ~predicted, 1)):
        image, number = np.nonzero(wrong)
        order = np.argsort(sign * probabilities[image, number], kind="stable")
        image, number = image[order], number[order]
        frame = pd.DataFrame({"key": outcome.keys[image].astype(object), "class": names[number], "mistake": kind,
                              "probability": probabilities[image, number]})
        other = "class" if kind == "false positive" else "predicted"  # of the image: what it shows, what is predicted
        sets = [", ".join(names[row]) or "none" for row in (there if other == "class" else predicted)[image[:PICTURES]]]
        shown = frame.head(PICTURES).assign(predicted=frame["class"]).assign(**{other: sets})
        parts.append(_section(heading, _mistakes(outcome, image, shown, len(frame), legend)))
        found.append(frame)
    per_class = classes.rename(columns={"value": "average_precision"})
    per_class.insert(0, "class", names)
    return parts, {"per_class": per_class, "mistakes": pd.concat(found, ignore_index=True)}
