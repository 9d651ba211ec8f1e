"""Penultimate features of a frozen network, as fast as the processor gives them.

The network becomes a graph of constants, which TensorFlow may then rewrite: batch norm is folded into the convolutions,
activations are fused to them (BUILD.md, "Features", has what was measured). Features are cached (linear/cache.py).
"""

import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfbench.data.examples import Examples, select
from tfbench.data.pipeline import evaluation_batches, to_network
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.linear.cache import SHARD, Cache
from tfbench.models.build import build_network
from tfbench.training.devices import graph_rewriting, make_strategy, processor
from tfbench.training.predictor import Predictor

PRECISIONS = ("float32", "bfloat16")


def freeze(network: str, weights_file: str | None, image_size: int, value_range: str, *, policy: str = "float32"):
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
    with _unheard():
        frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    return lambda images: frozen(images)[0]


@contextlib.contextmanager
def _unheard():
    """Within it nothing is written to stderr: here TensorFlow counts GPUs aloud, whatever its level of logging is."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@functools.lru_cache(maxsize=2)  # the data sets of a study share what was traced
def make_extractor(network: str, weights_file: str | None, weights_sha256: str | None, image_size: int,
                   value_range: str, devices: int, precision: str) -> Predictor:
    """The network of a weights file on its devices, in float32 or with its matrix products in bfloat16."""
    del weights_sha256  # part of the cache's key: a file made anew is read anew
    strategy = make_strategy(devices)
    reduced = precision == "bfloat16"
    # On a CPU, TensorFlow rewrites the graph to bfloat16 itself, which keeps batch norm folded.
    policy = "mixed_bfloat16" if reduced and processor() != "CPU" else "float32"
    frozen = freeze(network, weights_file, image_size, value_range, policy=policy)
    return Predictor(strategy, lambda images: {"features": frozen(images)},
                     around=lambda: graph_rewriting(bfloat16=reduced and processor() == "CPU"))


@dataclasses.dataclass(frozen=True)
class FixedFeatures:
    """The features of one network on one data set: what the cache lacks is computed and kept there.

    Attributes:
      make: from a precision to the extractor; called when something must be computed.
      precision: one of PRECISIONS.
      progress: told of images as they are done.
    """

    make: Callable[[str], Predictor]
    precision: str
    cache: Cache
    image_size: int
    batch_size: int
    progress: object

    def of(self, examples: Examples, split: str) -> np.ndarray:
        """Features of every example of a split: whole image resized bicubically, no augmentation (v3 section 3.1).

        Returns:
          float32 [n, feature_width].

        Raises:
          UserError: one is not finite, or the cache cannot be written.
        """
        count = len(examples.keys)
        shards = [np.arange(first, min(first + SHARD, count)) for first in range(0, count, SHARD)]
        keys = [[examples.keys[i] for i in rows] for rows in shards]
        found = [self.cache.read(split, number, keys[number]) for number in range(len(shards))]
        missing = [number for number in range(len(shards)) if found[number] is None]
        self.progress.images(sum(len(part) for part in found if part is not None))
        if missing:
            wanted = select(examples, np.concatenate([shards[number] for number in missing]))
            rows = self.make(self.precision).stream(self._batches(wanted), len(wanted.keys), "features",
                                                    self.progress.images)
            for number, values in zip(missing, regroup(rows, [len(keys[number]) for number in missing]), strict=True):
                self.cache.write(split, number, keys[number], values)
                found[number] = values
        features = np.concatenate(found)
        wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(wrong):
            raise UserError(f"the network's features of {len(wrong):,} of {count:,} {split} images are not finite, the "
                            f"first is {examples.keys[wrong[0]]}: its weights do not fit images of {self.image_size} "
                            "pixels, or are damaged")
        return features

    def reduced_error(self, examples: Examples) -> float | None:
        """What less precision costs: ‖features − those in float32‖ / ‖those in float32‖ over one batch of images.

        Returns:
          None in float32.
        """
        if self.precision == "float32":
            return None
        record = self.cache.folder / "error.json"
        if not record.exists():
            some = select(examples, np.arange(min(self.batch_size, len(examples.keys))))
            reduced, exact = (self.make(precision)(self._batches(some), len(some.keys), "features")
                              for precision in (self.precision, "float32"))
            error = np.linalg.norm(reduced - exact) / np.linalg.norm(exact)
            atomic.write_json(record, {"relative_error": float(error), "images": len(some.keys)},
                              cure=atomic.make_writable("--results_dir"))
        return atomic.read_json(record, cure="delete it")["relative_error"]

    def _batches(self, examples: Examples):
        return lambda part: evaluation_batches(examples, image_size=self.image_size, batch_size=self.batch_size,
                                               shard=part)


def regroup(parts, sizes):
    """Arrays of rows cut anew: yields one array of each size, which add up to all, as soon as its rows are there."""
    rows, parts = [], iter(parts)
    for size in sizes:
        while sum(map(len, rows)) < size:
            rows.append(next(parts))
        whole = np.concatenate(rows)
        yield whole[:size]
        rows = [whole[size:]]
    left = sum(map(len, parts))  # also lets the source come to its own end
    assert not left, f"{left} rows left over"
