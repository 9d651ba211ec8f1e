"""Exact prediction: every example once, in order, on any number of devices and hosts."""

import contextlib

import numpy as np
import tensorflow as tf

from tfbench.training.devices import distribute, kind_of


class Predictor:
    """The network in inference mode, traced once: features or logits of every example, exactly.

    Args:
      forward: from the images of a batch to {"features", "logits"} or one of them.
      around: makes a context in which the traced function is run, e.g. devices.graph_rewriting.
    """

    def __init__(self, strategy, forward, around=contextlib.nullcontext):
        self.strategy, self.around = strategy, around
        self._forward = tf.function(lambda images: strategy.run(forward, args=(images,)), autograph=False)

    def __call__(self, make_batches, count: int, output: str, report=lambda images: None) -> np.ndarray:
        """Runs the network over data/pipeline.evaluation_batches.

        Args:
          make_batches: data.pipeline.InputShard -> pairs of images and indices, -1 marking padding.
          count: number of examples.
          output: "features" or "logits".
          report: called with the number of images after each batch.

        Returns:
          float32 [count, width], row i belonging to example i.

        Raises:
          AssertionError: an example was not seen exactly once.
        """
        return np.concatenate(list(self.stream(make_batches, count, output, report)))

    def stream(self, make_batches, count: int, output: str, report=lambda images: None):
        """The same batch by batch: yields float32 [up to a batch, width], in the order of the examples."""
        seen = 0
        for images, indices in distribute(self.strategy, make_batches):
            with self.around():
                values = self._everywhere(self._forward(images)[output])
            index = self._everywhere(indices)
            real = index >= 0
            number = int(real.sum())
            assert (index[real] == np.arange(seen, seen + number)).all(), f"examples out of order after {seen}"
            seen += number
            yield values[real]
            report(number)
        assert seen == count, f"{seen} of {count} examples seen"

    def _everywhere(self, value) -> np.ndarray:
        """What all devices have of a value, in the order of the batch."""
        local = np.concatenate([part.numpy() for part in self.strategy.experimental_local_results(value)])
        return self.strategy.gather(value, axis=0).numpy() if kind_of(self.strategy) == "multi_worker" else local
