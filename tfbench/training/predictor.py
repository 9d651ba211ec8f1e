"""Exact prediction: every example once, in order, on any number of devices and hosts."""

import contextlib

import numpy as np
import tensorflow as tf

from tfbench.training.devices import distribute, kind_of


class Predictor:
    """The network in inference mode, traced once: features or logits of every example, exactly.

    Args:
      forward: from the images of a batch to {"features", "logits"} or one of them.
      make_context: makes a context manager in which the traced function is run, e.g. devices.graph_rewriting.
    """

    def __init__(self, strategy, forward, make_context=contextlib.nullcontext):
        self.strategy, self.make_context = strategy, make_context
        self._forward = tf.function(lambda images: strategy.run(forward, args=(images,)), autograph=False)

    def __call__(self, make_batches, count: int, output: str, report=lambda images: None) -> np.ndarray:
        """Runs the network over data/pipeline.evaluation_batches.

        Args:
          make_batches: from a shard of the input (devices.distribute) to a tf.data.Dataset of (images, indices); -1
            marks padding.
          count: number of examples.
          output: "features" or "logits".
          report: called after each batch with its number of images.

        Returns:
          float32 [count, width], row i of example i.

        Raises:
          AssertionError: an example was not seen exactly once.
        """
        return np.concatenate(list(self.stream(make_batches, count, output, report)))

    def stream(self, make_batches, count: int, output: str, report=lambda images: None):
        """The same batch by batch: yields float32 [up to a batch, width], in the order of the examples."""
        seen = 0
        for images, shard_indices in distribute(self.strategy, make_batches):
            with self.make_context():
                values = self._gather(self._forward(images)[output])
            indices = self._gather(shard_indices)
            real = indices >= 0
            number = int(real.sum())
            assert (indices[real] == np.arange(seen, seen + number)).all(), f"examples out of order after {seen}"
            seen += number
            yield values[real]
            report(number)
        assert seen == count, f"{seen} of {count} examples seen"

    def _gather(self, value) -> np.ndarray:
        """A value from all devices, in the order of the batch."""
        if kind_of(self.strategy) == "multi_worker":
            return self.strategy.gather(value, axis=0).numpy()
        return np.concatenate([local.numpy() for local in self.strategy.experimental_local_results(value)])
