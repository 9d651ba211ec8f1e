"""Batch norm that trains by one operation of TensorFlow's, as TF-Slim's did.

Keras 3 writes mean, variance, scaling and their gradients as two dozen operations, each of which reads or writes the
whole map: two fifths of a MobileNet's training step on a CPU (docs/measurements.md).
"""

import types

import keras
import tensorflow as tf

DTYPES = (tf.float32, tf.bfloat16, tf.float16)  # of maps that the operation takes; statistics and weights are float32


def fuse(layer: keras.layers.BatchNormalization) -> None:
    """Lets a batch norm of Keras's train by the fused operation, where that computes the same: same weights, same file.

    It stays as it is where it is of a subclass with a call of its own. In inference, over other axes than the last of
    four, in float64, with statistics of several devices or renormalised, it goes on as Keras has it.
    """
    if type(layer).call is keras.layers.BatchNormalization.call:
        layer.call = types.MethodType(_call, layer)


def _call(layer, inputs, training=None, mask=None):
    """BatchNormalization.call."""
    fused = (training and layer.trainable and mask is None and not layer.synchronized and not layer.renorm
             and len(inputs.shape) == 4 and layer.axis in (-1, 3) and inputs.dtype in DTYPES)
    if not fused:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    ones, zeros, unused = tf.ones([channels]), tf.zeros([channels]), tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=layer.gamma.value if layer.scale else ones,
        offset=layer.beta.value if layer.center else zeros, mean=unused, variance=unused, epsilon=layer.epsilon,
        is_training=True)
    count = tf.cast(tf.size(inputs) // channels, tf.float32)
    variance *= (count - 1.0) / count  # the operation divides by count - 1, Keras by count
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
    return tf.cast(outputs, layer.compute_dtype)
