"""Classifier: a trained network that was kept, with all between an image and its probabilities."""

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfbench.data.examples import Examples
from tfbench.data.folder_copies import stored_form
from tfbench.data.pipeline import evaluation_batches, to_network
from tfbench.errors import UserError
from tfbench.files import arrays
from tfbench.images import decoding
from tfbench.images.tree import Tree, text_of
from tfbench.models.build import build_network
from tfbench.results import kept_models, store
from tfbench.results.record import Record
from tfbench.training.devices import make_strategy
from tfbench.training.predictor import Predictor
from tfbench.training.search import CROPS
from tfbench.wording import count, printable

COPIES = 2  # of the weights, at least, while they are read
FILES_AT_ONCE = 512  # in memory


class Found(NamedTuple):
    """Files of images.

    Attributes:
      files: (name, path) of each; names are paths as given, below a folder from there.
      unreadable: {name: why} of a folder's images of kinds that are not read.
      notes: of a folder, what was left aside, a line each.
    """

    files: Sequence[tuple[str, pathlib.Path]]
    unreadable: dict[str, str]
    notes: Sequence[str] = ()


def find(images) -> Found:
    """The images at a path, below a folder in the order of their names, or at several paths.

    Raises:
      UserError: there is nothing at a path, or a folder cannot be read.
    """
    if isinstance(images, str | os.PathLike):
        if os.path.isdir(os.path.expanduser(images)):
            return _folder(pathlib.Path(os.path.expanduser(images)))
        images = [images]
    files = [(str(item), pathlib.Path(item).expanduser()) for item in images]
    if missing := [name for name, path in files if not os.path.lexists(path)]:
        raise UserError(f"expected images, there is nothing at {printable(missing[0])}: correct the path")
    return Found(files, {})


def _folder(root: pathlib.Path) -> Found:
    tree = Tree(root)
    try:
        tree.walk()
    except OSError as error:
        raise UserError(f"the folder {printable(root)} cannot be read ({error.strerror}): make it readable") from error
    unreadable = {text_of("/".join(parts)): f"{kind}, which is not read here: "
                  f"{decoding.UNREAD_ENDINGS.get(kind) or decoding.remedy(kind)}"
                  for kind, files in tree.unread.items() for parts in files}
    names = sorted(found.name for found in tree.images)
    return Found([(text_of(name), root / name) for name in names], unreadable, tree.left_aside())


class Classifier:
    """A network with its classifier, as a run trained and tested it.

    Attributes:
      model: keras.Model, images [batch, image_size, image_size, 3] float32 in `value_range` → {"features", "logits"}.
      class_names: of the columns of `predict`.
      image_size: side of the square input in pixels. value_range: of models.catalog.VALUE_RANGES.
      resize: "bilinear" or "bicubic", sampled as TensorFlow 1 did. test_crop: "whole" or "central".
      multi_label: whether an image may show several classes.
      metric: of stats.metrics.METRICS, in which the run was scored.
      record: of the run. metadata: of the kept model (results/kept_models.py).
    """

    def __init__(self, model: keras.Model, metadata: dict, record: Record):
        self.model, self.metadata, self.record = model, metadata, record
        self.class_names = tuple(metadata["class_names"])
        self.image_size, self.value_range = metadata["image_size"], metadata["value_range"]
        self.resize, self.test_crop = metadata["resize"], metadata["test_crop"]
        self.multi_label, self.metric = metadata["multi_label"], metadata["metric"]

    def predict(self, images, *, batch_size: int = 64, report=lambda images: None) -> np.ndarray:
        """Probabilities of the classes.

        Args:
          images: a path of an image, or of a folder, whose images are taken by name; a list of paths; or pixels, uint8
            [n, height, width, 3], or a list of [height, width, 3], [height, width, 1] (grey) or [height, width].
          batch_size: images at a time.
          report: called with numbers of images done.

        Returns:
          float32 [n, classes], rows that add up to 1; with several labels per image each is a probability by itself.

        Raises:
          UserError: an image cannot be read, or is no uint8; or memory does not suffice.
        """
        items = [images] if isinstance(images, str | os.PathLike) else list(images)
        if not all(isinstance(item, str | os.PathLike) for item in items):
            return self.predict_encoded([_png(item, number) for number, item in enumerate(items)],
                                        batch_size=batch_size, report=report)
        _, probabilities, unreadable = self.predict_files(find(images), batch_size=batch_size, report=report)
        if unreadable:
            some = "; ".join(f"{printable(name)} ({reason})" for name, reason in list(unreadable.items())[:5])
            raise UserError(f"{count(len(unreadable), 'image')} cannot be read: {some}")
        return probabilities

    def predict_files(self, found: Found, *, batch_size: int = 64,
                      report=lambda images: None) -> tuple[list[str], np.ndarray, dict[str, str]]:
        """The same of files, some at a time: a folder may hold more than memory does.

        Returns:
          (names of the n images that can be read; their probabilities, [n, classes]; {name: why it cannot be read}).
        """
        names, parts, unreadable = [], [np.zeros([0, len(self.class_names)], np.float32)], dict(found.unreadable)
        for first in range(0, len(found.files), FILES_AT_ONCE):
            encoded = []
            for name, path in found.files[first:first + FILES_AT_ONCE]:
                try:
                    encoded.append(stored_form(path.read_bytes()).content)
                    names.append(name)
                except decoding.UnreadableImage as error:
                    unreadable[name] = str(error)
                except OSError as error:
                    unreadable[name] = error.strerror or str(error)
            parts.append(self.predict_encoded(encoded, batch_size=batch_size, report=report))
        return names, np.concatenate(parts), unreadable

    def predict_encoded(self, images: Sequence[bytes], *, batch_size: int = 64,
                        report=lambda images: None) -> np.ndarray:
        """The same of encoded images, as a prepared data set stores them."""
        content = np.empty(len(images), object)
        content[:] = images
        examples = Examples(content, np.zeros(len(images), np.int64), list(map(str, range(len(images)))), "",
                            self.metadata["data"].get("crop_bottom_rows", 0))
        return self.probabilities(self.logits(examples, batch_size=batch_size, report=report))

    def logits(self, examples: Examples, *, batch_size: int = 64, report=lambda images: None) -> np.ndarray:
        """Logits of a split of a prepared data set, float32 [n, classes]."""
        if not len(examples.labels):
            return np.zeros([0, len(self.class_names)], np.float32)
        # A batch is filled up: one photograph is not to cost as much as 64. Powers of two trace few graphs.
        batch_size = min(batch_size, 1 << (len(examples.labels) - 1).bit_length())
        try:
            return self._predictor(lambda shard: evaluation_batches(
                examples, image_size=self.image_size, batch_size=batch_size, central_fraction=CROPS[self.test_crop],
                method=self.resize, shard=shard), len(examples.labels), "logits", report)
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(f"out of memory with {batch_size} images at a time: take a smaller batch_size") from error

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Of logits [n, classes]: a softmax, or a sigmoid of each with several labels per image."""
        function = tf.nn.sigmoid if self.multi_label else tf.nn.softmax
        return function(tf.constant(logits, tf.float32)).numpy()

    @functools.cached_property
    def _predictor(self) -> Predictor:
        return Predictor(make_strategy(1), lambda images: self.model(
            to_network(images, self.value_range), training=False))


def load(run: str = store.LATEST, results_dir="results") -> Classifier:
    """The classifier of a finished run whose network was kept.

    Args:
      run: see kept_models.find_run.

    Raises:
      UserError: there is no such run, its network was not kept, or memory does not suffice for it.
    """
    return load_record(kept_models.find_run(results_dir, run))


def load_record(record: Record) -> Classifier:
    """The same of a record that store.find_run gave."""
    path, network, metadata = kept_models.read(record)
    arrays.check_memory(COPIES * 4 * network.parameters, f"{network.title}'s weights, {COPIES} times while they are "
                        "read,")
    precision = metadata["precision"] if metadata["precision"].startswith("mixed") else "float32"
    model = build_network(network, weights=str(path), image_size=metadata["image_size"], precision=precision)
    return Classifier(model, metadata, record)


def _png(pixels, number: int) -> bytes:
    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise UserError(f"expected image {number} as uint8 [height, width, 3], RGB in 0 to 255, found {pixels.dtype} "
                        f"{list(pixels.shape)}: convert it, e.g. (255 * x).astype('uint8') of floats in 0 to 1")
    return tf.io.encode_png(pixels).numpy()
