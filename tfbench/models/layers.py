"""What all builders share: the switches of a network, its initialisers, batch norm and drop-path."""

import dataclasses

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Switches:
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


@keras.saving.register_keras_serializable("tfbench")
class DropPath(keras.layers.Layer):
    """Drops whole examples of a branch in training and scales the others by 1 / keep probability.

    The keep probability falls linearly with training from 1 to `final_keep` (NASNet: to a value that
    itself falls with depth): 1 - progress · (1 - final_keep). `progress`, a float32 variable in [0, 1],
    is outside the weights; `set_drop_path_progress` sets it, and until then nothing is dropped.

    Args:
      final_keep: probability in (0, 1] with which an example keeps the branch at the end of training.
    """

    def __init__(self, final_keep: float, **kwargs):
        super().__init__(**kwargs)
        self.final_keep = final_keep
        self.progress = tf.Variable(0.0, trainable=False, dtype=tf.float32)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, branch, training=False):
        if not training:
            return branch
        keep = 1.0 - self.progress * (1.0 - self.final_keep)
        draw = keras.random.uniform([tf.shape(branch)[0], 1, 1, 1], seed=self.seed_generator)
        return branch / keep * tf.cast(draw < keep, branch.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"final_keep": self.final_keep}


def set_drop_path_progress(model: keras.Model, progress) -> None:
    """Tells every drop-path of `model` how much of the training is done, a fraction in [0, 1]."""
    for layer in model.layers:
        if isinstance(layer, DropPath):
            layer.progress.assign(progress)
