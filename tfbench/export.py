"""Writes a run's kept network as a model that takes photographs, with its model card.

The model takes uint8 images of any size, in whatever format, and gives probabilities. Each file is read anew and its
answers on the run's test images are compared with those of the run's network: beyond 0.001 it is refused. The folder
has README.md, model.json and labels.txt beside the model.

  python -m tfbench.export --run=latest --format=keras
  python -m tfbench.export --run=results/rows/FILE.json --format=saved_model,tflite
  python -m tfbench.export --run=latest --format=tflite --quantize
"""

import dataclasses
import functools

import numpy as np

from tfbench.benchmarks.timing import median_seconds
from tfbench.cli import app, flags
from tfbench.config import FIELDS, Setting
from tfbench.data.examples import Examples, open_dataset, select
from tfbench.errors import UserError
from tfbench.files import paths
from tfbench.files.paths import as_path, beside
from tfbench.inputs import dataset_of
from tfbench.results import kept_models, store
from tfbench.wording import count, say

WHAT = "what to export"  # group of --help
NAMES = ("keras", "saved_model", "tflite")

SETTINGS = {
    "run": Setting("latest", "text", "the run: `latest`, the last one that kept its network, the path of its record, "
                   "or the beginning of its name or key", WHAT),
    "format": Setting(("keras",), "names", "one file format or several: Keras's own, TensorFlow's SavedModel, "
                      "TensorFlow Lite", WHAT, choices=NAMES),
    "quantize": Setting(False, "switch", "whether TensorFlow Lite's weights are stored in 8 bits, a quarter of the "
                        "size; what that changes is printed", WHAT),
    "images": Setting(200, "integer", "test images, the first of the split, on which the export is compared with the "
                      "run (our choice)", WHAT, minimum=1),
    "rounds": Setting(20, "integer", "times that an image is classified to measure the time it takes; the median "
                      "counts (our choice)", WHAT, minimum=1),
    "output": Setting(None, "text", "folder of the export; unset: exports/RUN in --results_dir", WHAT),
    "results_dir": dataclasses.replace(FIELDS["results_dir"], group=WHAT),
    "data_dir": dataclasses.replace(FIELDS["data_dir"], default=None, group=WHAT, help="folder of prepared data sets; "
                                    "unset: that of the run"),
}


def first_test_images(record, data_dir: str | None, number: int) -> Examples:
    """The first test images of a run, read as its flagfile says.

    Raises:
      UserError: the data set is not there, or another than the run's.
    """
    flagfile = beside(record.path, ".flags")
    if not flagfile.is_file():
        raise UserError(f"expected the run's flags in {flagfile}, found no such file: copy it there with the record")
    config = flags.parse_run(record.regime, [f"--flagfile={paths.readable(flagfile)}"])
    config = dataclasses.replace(config, data_dir=data_dir or config.data_dir)
    test = open_dataset(dataset_of(config), config.data_dir).load("test")
    if test.split_sha256 != record.test_split["sha256"]:
        raise UserError(f"the test images of {record.dataset} in {config.data_dir} are others than the run's: name the "
                        "folder of those with --data_dir=DIR")
    return select(test, np.arange(min(number, len(test.keys))))


def compared(agreement: dict, exported: np.ndarray, stored: dict | None) -> list[str]:
    """Lines on how an export agrees with the run.

    Args:
      agreement: the fields of classify.export.Agreement. exported: probabilities of the first test images.
      stored: of store.read_predictions.
    """
    lines = [f"  {count(agreement['images'], 'test image')}: largest difference of a probability "
             f"{agreement['difference']:.1e}, {100 * agreement['same']:.1f} % of the answers the same"]
    if stored and "predictions" in stored:
        same = np.mean(exported.argmax(axis=1) == stored["predictions"][:len(exported)])
        lines.append(f"  {100 * same:.1f} % of them are the answers that the run stored")
    return lines


def main(options) -> None:
    # ---- the run -----------------------------------------------------------------------------------
    if options.quantize and "tflite" not in options.format:
        raise UserError("--quantize is of TensorFlow Lite: add --format=tflite, or leave it out")
    record = kept_models.find_run(options.results_dir, options.run)
    output = options.output or as_path(options.results_dir) / "exports" / as_path(record.path).stem
    if paths.is_address(output):
        raise UserError(f"expected a folder of this machine for the export, found {output}: name one with --output=DIR")
    test = first_test_images(record, options.data_dir, options.images)

    from tfbench.classify import card, export, folder  # and TensorFlow: --help does without
    from tfbench.classify import classifier as classifiers

    classifier = classifiers.load_record(record)
    formats = folder.earlier(output, record)
    images, part = folder.decoded(test), "all" if len(test.keys) == record.n_test else "the first"
    say(f"{record.network} of {record.path}: compared on {part} {count(len(images), 'test image')}")

    # ---- files, each read anew and compared --------------------------------------------------------
    reference = classifier.probabilities(classifier.logits(test))
    model = export.end_to_end(
        classifier.model, image_size=classifier.image_size, value_range=classifier.value_range,
        resize=classifier.resize, test_crop=classifier.test_crop, multi_label=classifier.multi_label)
    stored = store.read_predictions(record)
    calls = {"network": folder.network_call(classifier, images[0])}
    for name in options.format:
        quantize = options.quantize and name == "tflite"
        made, predict, found = folder.add(model, name, output, classifier=classifier, images=images,
                                          reference=reference, quantize=quantize)
        formats[name] = made
        folder.write_card(output, card.facts(classifier, formats))
        calls[name] = functools.partial(predict, images[0][None])
        say(f"{as_path(output) / made['file']} ({made['bytes'] / 1e6:.1f} MB)")
        for line in compared(made["check"], found, stored):
            say(line)
        if made["needs"]:
            say(f"  it loads only after the import of {', '.join(made['needs'])}: take --format=saved_model where that "
                "is not at hand")
        if quantize and made["check"]["same"] < 1:
            say(f"warning: weights in 8 bits change {100 * (1 - made['check']['same']):.1f} % of the answers")
    say(str(as_path(output) / folder.CARD))

    # ---- time --------------------------------------------------------------------------------------
    seconds = median_seconds(calls, options.rounds)
    height, width, _ = images[0].shape
    say(f"one image of {width} × {height} pixels: " + ", ".join(
        f"{name} {1000 * seconds[name]:.1f} ms ({seconds[name] / seconds['network']:.2f})" for name in options.format)
        + f"; the plain Keras network, its image resized before, {1000 * seconds['network']:.1f} ms")


if __name__ == "__main__":
    app.start("export", __doc__, SETTINGS, main)
