"""Penultimate features of a frozen network.

The network becomes a graph of constants, which TensorFlow may rewrite: batch norm is folded into the convolutions and
activations are fused to them. Features are cached (linear/cache.py).
"""

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfbench.data.examples import Examples, select
from tfbench.data.pipeline import evaluation_batches, to_network
from tfbench.errors import UserError
from tfbench.files import arrays, atomic
from tfbench.files.fields import AMOUNT, COUNT, wrong
from tfbench.linear.cache import SHARD_EXAMPLES, FeatureCache
from tfbench.models.build import build_network
from tfbench.models.catalog import Network
from tfbench.models.lookup import get_network
from tfbench.stats import row_blocks
from tfbench.stats.row_blocks import Rows
from tfbench.training.devices import graph_rewriting, make_strategy, processor
from tfbench.training.predictor import Predictor

PRECISIONS = ("float32", "bfloat16")
COPIES = 3  # of the weights, at least, while they become constants of the graph


def freeze(network: str | Network, weights_file: str | None, image_size: int, value_range: str, *,
           policy: str = "float32"):
    """The network in inference mode as a graph without variables.

    Args:
      weights_file: None for random weights.
      policy: Keras's dtype policy, "float32" or "mixed_bfloat16".

    Returns:
      A function from images [batch, image_size, image_size, 3] float32, as `evaluation_batches` gives them, to
      features [batch, feature_width] float32.
    """
    model = build_network(network, weights=weights_file, num_classes=1, image_size=image_size,  # its logits: unused
                          precision=policy)

    def forward(images):
        return tf.cast(model(to_network(images, value_range), training=False)["features"], tf.float32)

    traced = tf.function(forward).get_concrete_function(
        tf.TensorSpec([None, image_size, image_size, 3], tf.float32))
    with _silenced_stderr():
        frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    return lambda images: frozen(images)[0]


@contextlib.contextmanager
def _silenced_stderr():
    """Context manager that silences stderr: TensorFlow prints how many GPUs it sees, at any level of logging."""
    sys.stderr.flush()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


@functools.lru_cache(maxsize=2)  # the data sets of a study share what was traced
def make_extractor(network: str | Network, *, weights_file: str | None, weights_sha256: str | None,
                   image_size: int, value_range: str, devices: int, precision: str) -> Predictor:
    """The network on its devices, ready to compute features.

    Args:
      weights_file: None for random weights.
      weights_sha256: of the file: one that was made anew is read anew.
      devices: see devices.make_strategy.
      precision: one of PRECISIONS, of its convolutions and matrix products.
    """
    del weights_sha256  # of the cache's key only
    facts = get_network(network) if isinstance(network, str) else network
    arrays.check_memory(COPIES * 4 * facts.parameters,
                        f"{facts.title}'s weights, {COPIES} times while its graph is made,")
    strategy = make_strategy(devices)
    # On a CPU, TensorFlow rewrites the graph to bfloat16, which keeps batch norm folded; elsewhere Keras casts.
    rewritten = precision == "bfloat16" and processor() == "CPU"
    policy = "mixed_bfloat16" if precision == "bfloat16" and not rewritten else "float32"
    frozen = freeze(network, weights_file, image_size, value_range, policy=policy)
    return Predictor(strategy, lambda images: {"features": frozen(images)},
                     make_context=lambda: graph_rewriting(bfloat16=rewritten))


@dataclasses.dataclass(frozen=True)
class FixedFeatures:
    """The features of one network on one data set; what the cache lacks is computed and added to it.

    Attributes:
      make_extractor: from a precision to the extractor; called only when something must be computed.
      precision: one of PRECISIONS.
      progress: has images(number), called as they are done.
    """

    make_extractor: Callable[[str], Predictor]
    precision: str
    cache: FeatureCache
    image_size: int
    batch_size: int
    progress: Any

    def of(self, examples: Examples, split: str) -> np.ndarray:
        """Features of every example of a split: whole image resized bicubically, no augmentation (v3 section 3.1).

        Returns:
          float32 [n, feature_width].

        Raises:
          UserError: one is not finite, or the cache cannot be written.
        """
        return self.of_splits([(examples, split)])

    def of_splits(self, parts: list[tuple[Examples, str]]) -> np.ndarray:
        """The same of several splits in one array, one after the other."""
        values, first = None, 0
        for examples, split in parts:
            for start, features in self._shards(examples, split):
                if values is None:
                    values = np.empty((sum(len(part.keys) for part, _ in parts), features.shape[1]), np.float32)
                if features.shape[1] != values.shape[1]:
                    raise UserError(f"features of {split} images in {self.cache.folder} have {features.shape[1]:,} and "
                                    f"{values.shape[1]:,} columns, expected one width: move the folder away, they are "
                                    "computed anew")
                values[first + start:first + start + len(features)] = features
            assert values is not None
            self._check(values[first:first + len(examples.keys)], examples, split)
            first += len(examples.keys)
        assert values is not None
        return values

    def _shards(self, examples: Examples, split: str):
        """Yields (the first example, features) of every shard: those in the cache, then those that it lacks."""
        keys = [examples.keys[first:first + SHARD_EXAMPLES] for first in range(0, len(examples.keys), SHARD_EXAMPLES)]
        missing = []
        for number in range(len(keys)):
            features = self.cache.read(split, number, keys[number])
            if features is None:
                missing.append(number)
            else:
                self.progress.images(len(features))
                yield number * SHARD_EXAMPLES, features
        if not missing:
            return
        positions = np.concatenate([np.arange(len(keys[number])) + number * SHARD_EXAMPLES for number in missing])
        batches = self._timed(self.make_extractor(self.precision).stream(
            self._batches(select(examples, positions)), len(positions), "features", self.progress.images))
        try:
            for number, features in zip(missing, rebatch(batches, [len(keys[number]) for number in missing]),
                                        strict=True):
                self.cache.write(split, number, keys[number], features)
                yield number * SHARD_EXAMPLES, features
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(f"out of memory with {self.batch_size} images at a time: take a smaller --batch_size, or a "
                            "smaller network. Features that are cached are kept") from error

    def _check(self, features: np.ndarray, examples: Examples, split: str) -> None:
        """Raises UserError where a feature is not finite."""
        not_finite = row_blocks.not_finite(Rows(features))
        if len(not_finite):
            raise UserError(f"the network's features of {len(not_finite):,} of {len(features):,} {split} images are not"
                            f" finite, the first is {examples.keys[not_finite[0]]}: its weights do not fit images of "
                            f"{self.image_size} pixels, or are damaged")

    def _timed(self, batches):
        """Yields the batches; notes how fast they came after the first, which waits for the graph to be traced."""
        images, start = 0, None
        for features in batches:
            if start is None:
                start = time.monotonic()
            else:
                images += len(features)
            yield features
        if images and images > (self._speed() or {"images": 0})["images"]:
            rate = images / max(time.monotonic() - (start or 0.0), 1e-9)
            self.cache.note("speed.json", {"images_per_second": rate, "images": images})

    def _speed(self) -> dict | None:
        return self._fact("speed.json", {"images_per_second": AMOUNT, "images": COUNT})

    def images_per_second(self) -> float | None:
        """How fast the features were computed, decoding of the images included: over the longest split.

        Returns:
          None where they came in single batches, or were cached before this was noted.
        """
        return (self._speed() or {"images_per_second": None})["images_per_second"]

    def reduced_error(self, examples: Examples) -> float | None:
        """The error of reduced precision, measured once: ‖features - exact‖ / ‖exact‖ over one batch of images.

        Returns:
          None in float32.
        """
        if self.precision == "float32":
            return None
        path = self.cache.folder / "error.json"
        if not path.exists():
            batch = select(examples, np.arange(min(self.batch_size, len(examples.keys))))
            reduced, exact = (self.make_extractor(precision)(self._batches(batch), len(batch.keys), "features")
                              for precision in (self.precision, "float32"))
            error = np.linalg.norm(reduced - exact) / np.linalg.norm(exact)
            self.cache.note("error.json", {"relative_error": float(error), "images": len(batch.keys)})
        fact = self._fact("error.json", {"relative_error": AMOUNT})
        assert fact
        return fact["relative_error"]

    def _fact(self, name: str, fields: dict) -> dict | None:
        """What was measured once and lies beside the features; None where it was not yet."""
        path, cure = self.cache.folder / name, "move it away, it is measured anew"
        if not path.exists():
            return None
        fact = atomic.read_json(path, cure=cure)
        if fault := wrong(fact, fields, required=fields):
            raise UserError(f"{path} is damaged ({fault}): {cure}")
        return fact

    def _batches(self, examples: Examples):
        return lambda shard: evaluation_batches(examples, image_size=self.image_size, batch_size=self.batch_size,
                                               shard=shard)


def rebatch(batches, sizes):
    """Arrays in batches of other sizes, which add up to all rows: yields each as soon as its rows are there."""
    pending, batches = [], iter(batches)
    for size in sizes:
        while sum(map(len, pending)) < size:
            pending.append(next(batches))
        rows = np.concatenate(pending)
        yield rows[:size]
        pending = [rows[size:]]
    left = sum(map(len, pending)) + sum(map(len, batches))  # the source also gets to its own end
    assert not left, f"{left} rows left over"
