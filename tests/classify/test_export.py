"""Exported models: what comes before and after the network, the three formats, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbench.classify import export
from tfbench.data import pipeline
from tfbench.errors import UserError
from tfbench.models.build import build_network
from tfbench.models.catalog import VALUE_RANGES
from tfbench.training.search import CROPS

SIZES = ((30, 30), (8, 8), (33, 77), (1, 5), (250, 187), (17, 301))  # height, width
NAMES = ("white", "grey", "black")


def photograph(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [height, width, 3], dtype=np.uint8)


def as_in_tests(image, size, value_range, resize, crop):
    """What the network sees of an image in a run's test."""
    part = pipeline.central_crop(tf.constant(image), CROPS[crop])
    return pipeline.to_network(pipeline.resize(part, size, resize)[None], value_range).numpy()


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_preprocessing_is_that_of_the_pipeline(resize, crop):
    images = keras.Input([None, None, 3], dtype="uint8")
    seen = export.resized(images, 30, resize, CROPS[crop])
    model = keras.Model(images, {name: export.to_range(seen, name) for name in VALUE_RANGES})
    for seed, (height, width) in enumerate(SIZES):
        image = photograph(height, width, seed)
        found = model(image[None])
        for name in VALUE_RANGES:
            expected = as_in_tests(image, 30, name, resize, crop)
            assert np.abs(expected - found[name]).max() <= 1e-5 * max(1, np.abs(expected).max()), (name, height, width)


def randomised(network):
    """The network with weights that set its answers apart."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.dtype == "float32" and "variance" not in variable.name:
            variable.assign(variable + 0.05 * rng.normal(size=variable.shape))
    return network


@pytest.fixture(scope="module")
def network():
    return randomised(build_network("mobilenet_v1", num_classes=3, image_size=32, dropout=0.5))


@pytest.fixture(scope="module")
def model(network):
    return export.end_to_end(network, image_size=32, value_range="inception", resize="bilinear", test_crop="central",
                             multi_label=False)


def probabilities(network, image, size=32, value_range="inception", resize="bilinear", crop="central"):
    logits = network(as_in_tests(image, size, value_range, resize, crop), training=False)["logits"]
    return tf.nn.softmax(logits).numpy()


@pytest.mark.parametrize("name", export.FORMATS)
def test_each_format_gives_the_networks_probabilities(name, network, model, tmp_path):
    path = export.write(model, name, tmp_path, NAMES)
    predict = export.load(path, name)
    for seed, (height, width) in enumerate(SIZES[:3]):
        image = photograph(height, width, seed)
        assert np.abs(predict(image[None]) - probabilities(network, image)).max() < 1e-5
    pair = np.stack([photograph(40, 50, seed) for seed in range(2)])
    assert np.abs(predict(pair) - np.concatenate([probabilities(network, image) for image in pair])).max() < 1e-5


def test_a_saved_model_has_the_class_names(model, tmp_path):
    loaded = tf.saved_model.load(str(export.write(model, "saved_model", tmp_path, NAMES)))
    names = loaded.signatures["class_names"]()["class_names"].numpy()
    assert tuple(name.decode() for name in names) == NAMES
    signature = loaded.signatures["serving_default"].structured_input_signature[1]
    assert signature["images"].dtype == tf.uint8 and signature["images"].shape.as_list() == [None, None, None, 3]


@pytest.mark.slow
def test_quantized_weights_take_a_quarter(network, model, tmp_path):
    sizes = {}
    for quantize in (False, True):
        folder = tmp_path / str(quantize)
        folder.mkdir()
        path = export.write(model, "tflite", folder, NAMES, quantize)
        sizes[quantize] = path.stat().st_size
    assert sizes[True] < 0.3 * sizes[False]
    image = photograph(40, 40)
    difference = np.abs(export.load(path, "tflite")(image[None]) - probabilities(network, image)).max()
    assert 0 < difference < 0.2


def test_several_labels_are_sigmoids(network):
    several = export.end_to_end(network, image_size=32, value_range="inception", resize="bicubic", test_crop="whole",
                                multi_label=True)
    image = photograph(40, 50)
    logits = network(as_in_tests(image, 32, "inception", "bicubic", "whole"))["logits"]
    assert np.abs(several(image[None]) - tf.sigmoid(logits)).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name, size, options", [
    ("pnasnet_large", 32, {"drop_path": True}), ("nasnet_large", 32, {"drop_path": True}),
    ("efficientnet_b0", 32, {"drop_path": True}), ("convnext_tiny", 32, {}),
    ("inception_v3", 128, {"auxiliary_head": True})])
def test_layers_of_tfbench_become_keras(name, size, options, tmp_path):
    network = build_network(name, num_classes=3, image_size=size, dropout=0.5, **options)
    model = export.end_to_end(network, image_size=size, value_range="pixels", resize="bilinear", test_crop="whole",
                              multi_label=False)
    path = export.write(model, "keras", tmp_path, NAMES)
    assert export.custom_objects(path) == []
    image = photograph(50, 60)
    expected = probabilities(network, image, size, "pixels", crop="whole")
    assert np.abs(export.load(path, "keras")(image[None]) - expected).max() < 1e-5


class Doubled(keras.layers.Layer):
    """A user's own layer, of which TFLite lacks an operation."""

    def call(self, features):
        return features + 0.0 * tf.math.digamma(1.0 + features * features)


class NotSaved(keras.layers.Layer):
    """A user's own layer that Keras cannot save."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def call(self, features):
        return features * self.values


def with_layer(layer):
    images = keras.Input([8, 8, 3])
    features = layer(keras.layers.GlobalAveragePooling2D()(images))
    network = keras.Model(images, {"features": features, "logits": keras.layers.Dense(3)(features)}, name="mine")
    return export.end_to_end(network, image_size=8, value_range="unit", resize="bilinear", test_crop="whole",
                             multi_label=False)


@pytest.mark.parametrize("layer, name, instead", [
    (Doubled(), "tflite", "saved_model"), (NotSaved(np.ones(3, np.float32)), "keras", "saved_model"),
    (keras.layers.Lambda(lambda features: features), "keras", "saved_model")])
def test_what_a_format_cannot_take_is_one_line_with_another(layer, name, instead, tmp_path):
    model = with_layer(layer)
    with pytest.raises(UserError, match=rf"mine\w* cannot be exported as {name} .*take --format={instead}") as refused:
        export.load(export.write(model, name, tmp_path, NAMES), name, model.name)
    assert "\n" not in str(refused.value)
    assert export.load(export.write(model, instead, tmp_path, NAMES), instead)(photograph(9, 9)[None]).shape == (1, 3)


def test_what_else_a_keras_file_needs_is_named(tmp_path):
    path = export.write(with_layer(Doubled()), "keras", tmp_path, NAMES)
    assert export.custom_objects(path) == [f"{Doubled.__module__}.Doubled"]


def test_agreement_sees_differences_and_ties():
    run = np.array([[0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])
    assert export.agreement(run, run, False) == export.Agreement(3, 0.0, 1.0, 0)
    tie = export.agreement(run, run + [[0, 0], [-1e-4, 1e-4], [0, 0]], False)
    assert tie.equal and tie.same == pytest.approx(2 / 3) and tie.untied == 0
    other = export.agreement(run, run[:, ::-1], False)
    assert not other.equal and other.untied == 2 and other.difference == pytest.approx(0.6)
    decisions = export.agreement(run, run + [[-0.2, 0], [0, 0], [0, 0]], True)
    assert decisions.untied == 1 and decisions.same == pytest.approx(2 / 3)
    assert not export.agreement(run, run * np.nan, False).equal
