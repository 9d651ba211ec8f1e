"""Batch norm by the fused operation trains as Keras's does, and is Keras's elsewhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbench.models import batch_norm
from tfbench.models.build import build_network, set_batch_norm

DRAW = np.random.RandomState(0)
MAPS = DRAW.normal(3, 2, (4, 5, 5, 6)).astype(np.float32)
DIRECTION = DRAW.normal(size=MAPS.shape).astype(np.float32)


def pair(shape=MAPS.shape, **arguments):
    """Keras's layer, and one with the same weights that was fused."""
    layers = [keras.layers.BatchNormalization(momentum=0.9, name="norm", **arguments) for _ in range(2)]
    for layer in layers:
        layer.build(shape)
    for variable, twin in zip(layers[0].variables, layers[1].variables, strict=True):
        variable.assign(np.random.RandomState(1).uniform(0.5, 1.5, variable.shape))
        twin.assign(variable)
    batch_norm.fuse(layers[1])
    return layers


def step(layer, inputs, direction):
    """What a training step sees: outputs, gradients of a sum of them by inputs and weights, moving statistics."""
    inputs = tf.constant(inputs, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        value = tf.reduce_sum(tf.cast(outputs, tf.float32) * direction)
    gradients = tape.gradient(value, [inputs, *(variable.value for variable in layer.trainable_variables)])
    return outputs, gradients, [variable.numpy() for variable in layer.non_trainable_variables]


@pytest.mark.parametrize(("arguments", "tolerance"), [
    ({}, 1e-5), ({"scale": False}, 1e-5), ({"center": False, "axis": 3}, 1e-5), ({"dtype": "mixed_bfloat16"}, 0.02),
    ({"dtype": "mixed_float16"}, 0.005)])
def test_a_fused_step_is_that_of_keras(arguments, tolerance):
    plain, fused = pair(**arguments)
    expected, found = (step(layer, MAPS, DIRECTION) for layer in (plain, fused))
    assert found[0].dtype == expected[0].dtype
    for value, wanted in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(*(np.asarray(tensor, np.float32) for tensor in (value, wanted)), rtol=tolerance,
                                   atol=10 * tolerance)
    operations = [node.op for node in tf.function(lambda maps: fused(maps, training=True)).get_concrete_function(
        tf.TensorSpec(MAPS.shape, fused.compute_dtype)).graph.as_graph_def().node]
    assert operations.count("FusedBatchNormV3") == 1
    assert operations.count("Cast") == 1  # of the number of examples: maps go in and come out as they are


@pytest.mark.parametrize(("inputs", "training", "change"), [
    (MAPS, False, {}), (MAPS, True, {"trainable": False}), (MAPS, True, {"synchronized": True}),
    (MAPS[:, 0, 0], True, {})], ids=["inference", "frozen", "synchronized", "vectors"])
def test_elsewhere_it_is_that_of_keras(inputs, training, change):
    plain, fused = pair(inputs.shape)
    for layer in (plain, fused):
        for name, value in change.items():
            setattr(layer, name, value)
    np.testing.assert_array_equal(fused(inputs, training=training), plain(inputs, training=training))
    for variable, twin in zip(plain.variables, fused.variables, strict=True):
        np.testing.assert_array_equal(variable, twin)


def test_in_float64_it_is_that_of_keras():
    plain, fused = pair(dtype="float64")
    np.testing.assert_array_equal(fused(MAPS, training=True), plain(MAPS, training=True))


def test_files_do_not_tell_and_other_layers_stay():
    plain, fused = pair()
    assert keras.layers.serialize(fused) == keras.layers.serialize(plain)

    class Doubled(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    layer, reference = Doubled(), keras.layers.BatchNormalization()
    batch_norm.fuse(layer)
    np.testing.assert_array_equal(layer(MAPS, training=True), 2 * reference(MAPS, training=True))


@pytest.mark.parametrize(("name", "expected"), [("mini_resnet", 16), ("mobilenet_v1", 27)])
def test_every_batch_norm_of_a_network_is_one_operation(name, expected):
    model = build_network(name, num_classes=2, image_size=32)
    set_batch_norm(model, momentum=0.9)
    graph = tf.function(lambda images: model(images, training=True)["logits"]).get_concrete_function(
        tf.TensorSpec([2, 32, 32, 3])).graph
    assert [node.op for node in graph.as_graph_def().node].count("FusedBatchNormV3") == expected
