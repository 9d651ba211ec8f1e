"""The folder of an export: files that were read anew and compared with the run, class names, the model card."""

import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfbench.classify import card, export
from tfbench.data.examples import Examples
from tfbench.data.pipeline import central_crop, decode, resize, to_network
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.fields import GROUP, TEXT, wrong
from tfbench.results.titles import record_label
from tfbench.training.search import CROPS

CARD, LABELS, FACTS = "README.md", "labels.txt", "model.json"
SCHEMA = 1  # version of the layout of model.json; the first do not say theirs
CURE = atomic.make_writable("--output")


def decoded(examples: Examples) -> list[np.ndarray]:
    """Images as an export takes them, uint8 [height, width, 3]."""
    return [decode(examples.images[position], crop_bottom_rows=examples.crop_bottom_rows).numpy()
            for position in range(len(examples.keys))]


def network_call(classifier, image: np.ndarray) -> Callable[[], np.ndarray]:
    """The run's network alone as a call without arguments, on one image that was resized before."""
    part = central_crop(tf.constant(image), CROPS[classifier.test_crop])
    batch = to_network(resize(part, classifier.image_size, classifier.resize)[None], classifier.value_range)
    network = tf.function(lambda images: classifier.model(images, training=False)["logits"])
    return lambda: network(batch).numpy()


def earlier(output, record) -> dict:
    """The formats that a folder already holds of this run, as its model.json says.

    Raises:
      UserError: it holds the export of another run, or files of such names that are none.
    """
    folder, cure = pathlib.Path(output), "name another folder with --output=DIR"
    files = {name: kind.file for name, kind in export.FORMATS.items()}
    if not (folder / FACTS).exists():
        if present := [file for file in (CARD, LABELS, *files.values()) if (folder / file).exists()]:
            raise UserError(f"expected a new folder or an earlier export of this run, found {present[0]} but no "
                            f"{FACTS} in {folder}: {cure}")
        return {}
    found = atomic.read_json(folder / FACTS, cure=cure, schema=SCHEMA)
    if fault := wrong(found, {"run": TEXT}, required=("run",)):
        raise UserError(f"{folder / FACTS} is no export's ({fault}): {cure}")
    if found["run"] != record_label(record):
        raise UserError(f"expected a new folder or an earlier export of {record_label(record)}, found another one in "
                        f"{folder}: {cure}")
    if fault := wrong(found, {"formats": GROUP}, required=("formats",)):
        raise UserError(f"{folder / FACTS} is damaged ({fault}): {cure}")
    return {name: made for name, made in found["formats"].items() if name in files and (folder / files[name]).exists()}


def add(model, name: str, output, *, classifier, images: Sequence[np.ndarray], reference: np.ndarray,
        quantize: bool = False) -> tuple[dict, Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Writes a format, reads it anew, compares it with the run, and only then puts it into the folder.

    Args:
      model: of export.end_to_end.
      images: uint8 [height, width, 3] each. reference: float32 [n, classes], the run's probabilities of them.

    Returns:
      (what model.json says of it; export.load of it; its probabilities of the images).

    Raises:
      UserError: the network cannot be written so, or the export differs from the run.
    """
    output = pathlib.Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as work:
            path = export.write(model, name, work, classifier.class_names, quantize)
            predict = export.load(path, name, model.name)
            found = np.concatenate([predict(image[None]) for image in images])
            agrees = export.agreement(reference, found, classifier.multi_label)
            if not quantize and not agrees.equal:
                raise UserError(
                    f"the {export.FORMATS[name].title} export differs from the run on {agrees.images:,} test images: "
                    f"expected probabilities within {export.TOLERANCE:g} and the same answers, found a difference of "
                    f"{agrees.difference:.1e} and {100 * agrees.same:.1f} % the same; nothing was written: take "
                    f"--format={export.FORMATS[name].instead}")
            target = output / path.name
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(path, target)
    except OSError as error:
        raise atomic.cannot_write(output, error, CURE) from error
    size = sum(file.stat().st_size for file in [target, *target.rglob("*")] if file.is_file())
    return {"file": target.name, "bytes": size, "quantized": quantize,
            "needs": export.custom_objects(target) if name == "keras" else [],
            "check": dataclasses.asdict(agrees)}, predict, found


def write_card(output, facts: dict) -> None:
    """Writes class names, model card and model.json."""
    output = pathlib.Path(output)
    labels = "".join(f"{' '.join(str(name).splitlines())}\n" for name in facts["class_names"])
    atomic.write_atomically(output / LABELS, labels.encode(), cure=CURE)
    atomic.write_atomically(output / CARD, card.text(facts).encode(), cure=CURE)
    atomic.write_json(output / FACTS, {"schema": SCHEMA} | facts, cure=CURE)
