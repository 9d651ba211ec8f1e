"""What all builders share: the options of a network, Keras's own, initialisers, batch norm, dropout and drop-path."""

import contextlib
import contextvars
import dataclasses
import zlib

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """How a network is built; `build_network` makes it from its arguments and the network's facts.

    Attributes:
      bn_scale: whether batch norm has a scale (gamma).
      bn_epsilon, bn_momentum: of every batch norm; momentum is the weight of the old moving statistics.
      dropout: fraction of the features dropped before the logits (VGG: also after fc6).
      num_classes: width of the logits, and of the auxiliary ones.
      auxiliary_head: whether the auxiliary classifier is built.
      original_initializer: the network's own initialisers; otherwise Keras's default (Glorot uniform).
      drop_path: whether the network's own drop path is built.
    """

    bn_scale: bool
    bn_epsilon: float
    bn_momentum: float
    dropout: float
    num_classes: int
    auxiliary_head: bool
    original_initializer: bool
    drop_path: bool = False

    def initializer(self, original: keras.initializers.Initializer) -> keras.initializers.Initializer:
        """`original`, or Keras's default when the network is built without its own initialisers."""
        return original if self.original_initializer else keras.initializers.GlorotUniform()

    def batch_norm(self, name: str) -> keras.layers.BatchNormalization:
        """A batch norm of this network."""
        return keras.layers.BatchNormalization(
            scale=self.bn_scale, epsilon=self.bn_epsilon, momentum=self.bn_momentum, name=name)


def keras_application(network, **arguments) -> keras.Model:
    """The network as Keras Applications defines it, with random weights.

    Args:
      network: a row of NETWORKS that has a keras_application.
      arguments: further ones of the function of keras.applications.
    """
    application = network.keras_application
    return getattr(keras.applications, application.name)(weights=None, **application.arguments, **arguments)


def variance_scaling() -> keras.initializers.Initializer:
    """TF-Slim's default `variance_scaling_initializer`: truncated normal, variance 2 / fan-in."""
    return keras.initializers.HeNormal()


def truncated_normal(stddev: float) -> keras.initializers.Initializer:
    """Normal with standard deviation `stddev` before it is cut at two of them."""
    return keras.initializers.TruncatedNormal(stddev=stddev)


# (seed, progress) of the training step being traced, see `step_randomness`.
_step: contextvars.ContextVar[tuple | None] = contextvars.ContextVar("step", default=None)


@contextlib.contextmanager
def step_randomness(seed, progress):
    """Context manager in which layers draw from `seed` alone and know how much of the training is done.

    What a layer drops is then a function of the step, not of the draws before it: a resumed training drops what an
    uninterrupted one does. It concerns layers that are called with training=True.

    Args:
      seed: int64 [2] tensor, another one for every step, device and micro-batch.
      progress: float32 scalar tensor, the fraction of the training that is done, in [0, 1].
    """
    token = _step.set((seed, progress))
    try:
        yield
    finally:
        _step.reset(token)


def _uniform(seed, shape, name: str):
    """Draws in [0, 1) that are a function of a step's seed and of `name`."""
    return tf.random.stateless_uniform(
        shape, tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode())))


@keras.saving.register_keras_serializable("tfbench")
class Dropout(keras.layers.Dropout):
    """Keras's dropout; inside `step_randomness` its draws are a function of the step."""

    def call(self, inputs, training=False):
        step = _step.get()
        if not training or not self.rate or step is None:
            return super().call(inputs, training=training)
        shape = [tf.shape(inputs)[axis] if side is None else side
                 for axis, side in enumerate(self.noise_shape or [None] * len(inputs.shape))]
        kept = _uniform(step[0], shape, self.name) >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) / (1.0 - self.rate)


@keras.saving.register_keras_serializable("tfbench")
class Normalization(keras.layers.Normalization):
    """Keras's, with mean and variance read from its weights at each call.

    Keras keeps copies of them, which a traced graph holds as constants: weights that are loaded later would not count.
    """

    def finalize_state(self):
        self.mean = self.variance = True  # so that Keras takes it for built

    def call(self, inputs):
        mean, variance = (tf.cast(value, inputs.dtype) for value in (self.adapt_mean, self.adapt_variance))
        return (inputs - mean) / tf.maximum(tf.sqrt(variance), keras.config.epsilon())


@keras.saving.register_keras_serializable("tfbench")
class DropPath(keras.layers.Layer):
    """Drops whole examples of a branch in training and scales the others by 1 / keep probability.

    The keep probability falls linearly with training from 1 to `final_keep`: 1 - progress · (1 - final_keep). In NASNet
    `final_keep` itself falls with depth. Outside of `step_randomness` nothing is dropped.

    Args:
      final_keep: probability in (0, 1] with which an example keeps the branch at the end of training.
    """

    def __init__(self, final_keep: float, **kwargs):
        super().__init__(**kwargs)
        self.final_keep = final_keep

    def call(self, branch, training=False, number: int = 0):
        step = _step.get()
        if not training or step is None:
            return branch
        seed, progress = step
        keep = 1.0 - progress * (1.0 - self.final_keep)
        kept = _uniform(seed, [tf.shape(branch)[0], 1, 1, 1], f"{self.name}/{number}") < keep
        return branch * tf.cast(tf.cast(kept, tf.float32) / keep, branch.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"final_keep": self.final_keep}
