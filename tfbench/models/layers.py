"""What all builders share: the options of a network, its initialisers, batch norm, dropout and drop-path."""

import contextlib
import contextvars
import dataclasses
import zlib

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """How a network is built; `build_network` makes it from its arguments and the network's row.

    Attributes:
      bn_scale: whether batch norm has a scale (gamma).
      bn_epsilon, bn_momentum: of every batch norm; momentum is the share of the old moving statistics.
      dropout: fraction of the features dropped before the logits (VGG: also after fc6).
      num_classes: width of the logits, and of the auxiliary ones.
      auxiliary_head: whether the auxiliary classifier is built.
      original_initializer: the network's own initialisers; otherwise Keras's default (Glorot uniform).
    """

    bn_scale: bool
    bn_epsilon: float
    bn_momentum: float
    dropout: float
    num_classes: int
    auxiliary_head: bool
    original_initializer: bool

    def initializer(self, original: keras.initializers.Initializer) -> keras.initializers.Initializer:
        """`original`, or Keras's default when the network is built without its own initialisers."""
        return original if self.original_initializer else keras.initializers.GlorotUniform()

    def batch_norm(self, name: str) -> keras.layers.BatchNormalization:
        """A batch norm of this network."""
        return keras.layers.BatchNormalization(
            scale=self.bn_scale, epsilon=self.bn_epsilon, momentum=self.bn_momentum, name=name)


def variance_scaling() -> keras.initializers.Initializer:
    """TF-Slim's default `variance_scaling_initializer`: truncated normal, variance 2 / fan-in."""
    return keras.initializers.HeNormal()


def truncated_normal(stddev: float) -> keras.initializers.Initializer:
    """Normal with standard deviation `stddev` before it is cut at two of them."""
    return keras.initializers.TruncatedNormal(stddev=stddev)


# (seed, progress) of the training step being traced, see `noise`.
_noise = contextvars.ContextVar("noise", default=None)


@contextlib.contextmanager
def noise(seed, progress):
    """Within it, layers called with training=True draw from `seed` alone and know how much of the training is done.

    So what is dropped is a function of the step, not of how many draws there were before it: a resumed training
    drops what an uninterrupted one does.

    Args:
      seed: int64 [2] tensor, another one for every step, device and micro-batch.
      progress: float32 scalar tensor, the fraction of the training that is done, in [0, 1].
    """
    token = _noise.set((seed, progress))
    try:
        yield
    finally:
        _noise.reset(token)


def _uniform(shape, name: str):
    """Draws in [0, 1) that belong to `name`; only within `noise`."""
    seed, _ = _noise.get()
    return tf.random.stateless_uniform(
        shape, tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode())))


@keras.saving.register_keras_serializable("tfbench")
class Dropout(keras.layers.Dropout):
    """Keras's dropout; within `noise`, its draws are a function of the step."""

    def call(self, inputs, training=False):
        if not training or not self.rate or _noise.get() is None:
            return super().call(inputs, training=training)
        kept = _uniform(tf.shape(inputs), self.name) >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) / (1.0 - self.rate)


@keras.saving.register_keras_serializable("tfbench")
class DropPath(keras.layers.Layer):
    """Drops whole examples of a branch in training and scales the others by 1 / keep probability.

    The keep probability falls linearly with training from 1 to `final_keep` (NASNet: to a value that
    itself falls with depth): 1 - progress · (1 - final_keep). Outside of `noise` nothing is dropped.

    Args:
      final_keep: probability in (0, 1] with which an example keeps the branch at the end of training.
    """

    def __init__(self, final_keep: float, **kwargs):
        super().__init__(**kwargs)
        self.final_keep = final_keep

    def call(self, branch, training=False, number: int = 0):
        if not training or _noise.get() is None:
            return branch
        _, progress = _noise.get()
        keep = 1.0 - progress * (1.0 - self.final_keep)
        kept = _uniform([tf.shape(branch)[0], 1, 1, 1], f"{self.name}/{number}") < keep
        return branch * tf.cast(tf.cast(kept, tf.float32) / keep, branch.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"final_keep": self.final_keep}
