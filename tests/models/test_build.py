"""The catalog of networks against the networks that are built from it."""

import csv
import functools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbench import UserError, stats
from tfbench.models import custom, weights
from tfbench.models.build import build_network, decayed_kernels
from tfbench.models.catalog import GROUPS, NETWORKS, PAPER, PAPER_V1
from tfbench.models.families import inception

PUBLISHED = pathlib.Path(stats.__file__).parent / "published" / "kornblith_v3_networks.csv"
SMALL = ["inception_v1", "bn_inception", "mobilenet_v1", "mobilenet_v2", "resnet_50", "densenet_121", "nasnet_mobile"]


def test_catalog_is_the_papers_table():
    with open(PUBLISHED, newline="") as file:
        published = {re.sub(r"(ResNet-\d+) v1| \(Inception v2\)", r"\1", line["model"]): list(line.values())
                     for line in csv.DictReader(file)}
    assert {NETWORKS[name].title for name in PAPER} == set(published) and len(PAPER) == 16
    for row in (NETWORKS[name] for name in PAPER):
        values = published[row.title]
        assert round(row.parameters / 1e6, 1) == float(values[1]), row.name
        assert row.feature_width == int(values[2]), row.name
        assert row.image_size == int(values[3]), row.name
        assert row.retrained_top1 == pytest.approx(float(values[5]) / 100), row.name
        if row.family != "densenet":  # of which TF-Slim has none
            assert row.public_top1 == pytest.approx(float(values[4]) / 100), row.name


def test_the_catalog_tells_who_has_an_auxiliary_classifier():
    definitions = {name: bool(definition.auxiliary_at) for name, definition in inception.FAMILY.items()}
    assert {name for name, network in NETWORKS.items() if network.auxiliary_head} == {
        *(name for name in definitions if definitions[name]),
        *(name for name in NETWORKS if NETWORKS[name].builder in ("nasnet", "pnasnet"))}


@pytest.mark.parametrize("name", GROUPS["miniature"])
def test_networks_of_the_miniature_are_as_small_as_the_catalog_says(name):
    row = NETWORKS[name]
    keras.backend.clear_session()
    model = build_network(name, num_classes=37, image_size=32)
    head = model.get_layer("logits").count_params()
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) - head == row.parameters
    assert 20_000 < row.parameters < 80_000 and row.feature_width == model.output["features"].shape[1] == 96
    frozen = keras.Model(model.input, model.output["features"])
    graph = tf.function(lambda images: frozen(images)).get_concrete_function(
        tf.TensorSpec([1, 32, 32, 3], tf.float32)).graph
    assert custom.multiply_adds(graph) / 1e9 == pytest.approx(row.multiply_adds, abs=5.1e-5)


def test_candidates_of_the_first_version_are_there_too():
    assert set(NETWORKS) - set(PAPER) >= {"vgg_16", "vgg_19", "resnet_v2_50", "resnet_v2_101", "resnet_v2_152",
                                          "pnasnet_mobile", "pnasnet_large"}
    assert set(PAPER_V1) <= set(NETWORKS)


@functools.cache
def smallest(name: str) -> keras.Model:
    """The network at the smallest size that it takes, for seven classes."""
    keras.backend.clear_session()
    return build_network(name, num_classes=7, image_size=NETWORKS[name].minimum_size)


@pytest.mark.parametrize("name", [*SMALL, "inception_v3", "inception_v4", "inception_resnet_v2", "resnet_v2_50",
                                  "mobilenet_v2_14", "pnasnet_mobile"])
def test_the_smallest_size_can_be_built(name):
    row, model = NETWORKS[name], smallest(name)
    assert model.output["features"].shape == (None, row.feature_width)
    assert model.output["logits"].shape == (None, 7)
    assert set(model.output) == {"features", "logits"}


def test_too_small_images_are_refused_with_the_flag_to_change():
    with pytest.raises(UserError, match="inception_v3 needs images of at least 75 pixels.*--image_size"):
        build_network("inception_v3", num_classes=2, image_size=32)


@pytest.mark.parametrize("name", ["mobilenet_v1", pytest.param("nasnet_mobile", marks=pytest.mark.slow)])
def test_initial_weights_are_a_function_of_the_seed(name):
    first, again, other = (build_network(name, num_classes=3, image_size=32, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first.variables, other.variables, strict=True))


@pytest.mark.parametrize("scale, dropout, auxiliary", [  # of any two switches all four settings
    (False, 0.0, False), (False, 0.5, True), (True, 0.0, True), (True, 0.5, False)])
def test_the_switches_are_independent(scale, dropout, auxiliary):
    model = build_network("inception_v3", num_classes=5, image_size=139, bn_scale=scale, dropout=dropout,
                          auxiliary_head=auxiliary)
    assert {layer.scale for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {scale}
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {dropout}
    assert ("auxiliary_logits" in model.output) == auxiliary
    images = np.random.RandomState(0).uniform(-1, 1, (2, 139, 139, 3)).astype(np.float32)
    first, second = (np.asarray(model(images, training=True)["logits"]) for _ in range(2))
    assert np.array_equal(first, second) == (dropout == 0.0)
    if auxiliary:
        assert model.output["auxiliary_logits"].shape == (None, 5)


def test_features_are_the_average_of_the_last_map_before_dropout():
    model = build_network("inception_v1", num_classes=5, image_size=64, dropout=0.9)
    images = np.random.RandomState(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    outputs = keras.Model(model.input, [model.get_layer("InceptionV1.Mixed_5c.concat").output, *(
        model.output[name] for name in ("features", "logits"))])(images, training=True)
    np.testing.assert_allclose(outputs[1], np.asarray(outputs[0]).mean((1, 2)), rtol=1e-5, atol=1e-7)
    assert not np.allclose(outputs[2], np.asarray(outputs[1]) @ np.asarray(model.get_layer("logits").kernel))


# Standard deviation of the initial kernels, of the layer named: the original definitions (TF-Slim, torchvision).
# A normal distribution cut at two standard deviations keeps 0.8796 of it; Keras's scaled ones make up for that.
INITIAL = [
    ("inception_v1", "InceptionV1.Mixed_4b.Branch_1.Conv2d_0b_3x3", 0.01 * 0.8796),
    ("bn_inception", "InceptionV2.Mixed_4b.Branch_1.Conv2d_0a_1x1", 0.09 * 0.8796),
    ("bn_inception", "InceptionV2.Mixed_4b.Branch_3.Conv2d_0b_1x1", 0.1 * 0.8796),
    ("bn_inception", "InceptionV2.Mixed_4b.Branch_0.Conv2d_0a_1x1", (2 / 576) ** 0.5),
    ("bn_inception", "InceptionV2.Mixed_4a.Branch_0.Conv2d_0a_1x1", 0.09 * 0.8796),
    ("bn_inception", "InceptionV2.Mixed_4b.Branch_2.Conv2d_0c_3x3", (2 / (9 * 128)) ** 0.5),
    ("inception_v3", "InceptionV3.Mixed_6b.Branch_1.Conv2d_0b_1x7", (2 / (7 * 128)) ** 0.5),
    ("inception_v3", "InceptionV3.AuxLogits.Conv2d_2a_5x5", 0.01 * 0.8796),
    ("inception_v3", "InceptionV3.AuxLogits.Conv2d_2b_1x1", 0.001 * 0.8796),
    ("inception_resnet_v2", "InceptionResnetV2.Mixed_6a.Branch_0.Conv2d_1a_3x3", (2 / (9 * (320 + 384))) ** 0.5),
    ("resnet_50", "conv4_block2_2_conv", (2 / (9 * 256)) ** 0.5),
    ("resnet_50", "logits", (2 / 2048) ** 0.5),
    ("mobilenet_v1", "conv_pw_9", 0.09 * 0.8796),
    ("mobilenet_v1", "conv_dw_9", 0.09 * 0.8796),
    ("densenet_121", "conv4_block9_2_conv", (2 / (9 * 128)) ** 0.5),
]


def test_initial_weights_are_the_originals():
    models = {}
    for name, layer, deviation in INITIAL:
        if name not in models:
            models[name] = build_network(name, auxiliary_head=name == "inception_v3",
                                         image_size=max(NETWORKS[name].minimum_size, 139))
        kernel = np.asarray(models[name].get_layer(layer).kernel)
        assert kernel.std() == pytest.approx(deviation, rel=0.05), layer
    plain = build_network("inception_v1", initializer="keras", image_size=32)
    kernel = np.asarray(plain.get_layer("InceptionV1.Mixed_4b.Branch_1.Conv2d_0b_3x3").kernel)
    assert kernel.std() == pytest.approx((2 / (9 * (96 + 208))) ** 0.5, rel=0.05)
    with pytest.raises(ValueError, match="'original' or 'keras', not 'he'"):
        build_network("inception_v1", initializer="he")


def test_decay_leaves_out_depthwise_kernels_biases_and_batch_norm():
    model = smallest("mobilenet_v2")
    decayed = {variable.path for variable in decayed_kernels(model)}
    convolutions = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]
    assert decayed == {layer.kernel.path for layer in convolutions} | {model.get_layer("logits").kernel.path}
    nasnet = {variable.path for variable in decayed_kernels(smallest("nasnet_mobile"))}
    assert any("pointwise_kernel" in path for path in nasnet)
    assert any("depthwise_kernel" in path for path in nasnet)  # of separable convolutions: as TF-Slim


def test_decay_of_the_inceptions():
    decayed = {variable.path for variable in decayed_kernels(smallest("bn_inception"))}
    assert not any("Conv2d_1a_7x7" in path for path in decayed) and len(decayed) == 68 + 1
    residual = {variable.path for variable in decayed_kernels(smallest("inception_resnet_v2"))}
    assert sum("bias" in path for path in residual) == 40 + 1  # of the residuals' last convolutions and the logits


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = build_network("inception_v1", num_classes=3, image_size=32, seed=5)
    path = tmp_path_factory.mktemp("weights") / "m.weights.h5"
    weights.save(model, path, {"network": "inception_v1", "dataset": "glyphs", "accuracy": 0.5, "n_test": 10,
                               "value_range": "inception"})
    return model, path


IMAGES = np.random.RandomState(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)


def test_weights_come_back_with_their_classifier_or_below_a_new_one(saved):
    model, path = saved
    metadata = weights.read_metadata(str(path), NETWORKS["inception_v1"])
    assert (metadata["accuracy"], metadata["classes"], metadata["bn_scale"]) == (0.5, 3, False)
    same = build_network("inception_v1", weights=path, image_size=32)
    np.testing.assert_array_equal(same(IMAGES)["logits"], model(IMAGES)["logits"])
    for classes in (8, 3):  # a new classifier, even of as many classes
        other = build_network("inception_v1", weights=path, num_classes=classes, image_size=32, seed=6)
        np.testing.assert_array_equal(other(IMAGES)["features"], model(IMAGES)["features"])
        assert not np.array_equal(other.get_layer("logits").kernel, model.get_layer("logits").kernel)


def test_weights_without_scale_start_a_scale_at_one(saved):
    model, path = saved
    scaled = build_network("inception_v1", weights=path, image_size=32, bn_scale=True)
    np.testing.assert_array_equal(scaled(IMAGES)["logits"], model(IMAGES)["logits"])


def test_weights_of_another_shape_of_network_are_refused_by_name(tmp_path):
    scaled = build_network("inception_v1", num_classes=3, image_size=32, bn_scale=True)
    path = tmp_path / "scaled.weights.h5"
    weights.save(scaled, path, {"network": "inception_v1", "dataset": "glyphs", "accuracy": 0.5, "n_test": 10,
                                "value_range": "inception"})
    same = build_network("inception_v1", weights=path, image_size=32)
    assert same.get_layer("InceptionV1.Conv2d_1a_7x7.BatchNorm").scale
    with pytest.raises(UserError, match=r"does not fit the network inception_v1: InceptionV1\S+BatchNorm, .* more"):
        build_network("inception_v1", weights=path, image_size=32, bn_scale=False)


def test_weights_that_are_not_what_they_should_be_are_refused(saved, tmp_path):
    _, path = saved
    with pytest.raises(UserError, match="holds weights of inception_v1, not of resnet_50"):
        weights.read_metadata(str(path), NETWORKS["resnet_50"])
    with pytest.raises(UserError, match="there is no weights file .*nothing.*tfbench.prepare_models --model=resnet_50"):
        weights.read_metadata(str(tmp_path / "nothing.weights.h5"), NETWORKS["resnet_50"])
    changed = tmp_path / "m.weights.h5"
    changed.write_bytes(path.read_bytes()[:-1])
    weights.metadata_path(changed).write_bytes(weights.metadata_path(path).read_bytes())
    with pytest.raises(UserError, match="SHA-256 differs"):
        weights.read_metadata(str(changed), NETWORKS["inception_v1"])


@pytest.mark.parametrize("network", ["mobilenet_v1", "bn_inception", "nasnet_mobile"])
def test_a_weights_file_does_not_tell_what_was_built_before_it(network, tmp_path):
    facts = {"network": network, "dataset": "digits", "accuracy": 0.5, "value_range": "inception"}
    for number in range(2):  # Keras numbers the second network's input on
        model = build_network(network, num_classes=3, image_size=96)
        weights.save(model, tmp_path / f"{number}.weights.h5", facts)
    first, second = (tmp_path / f"{number}.weights.h5" for number in range(2))
    assert first.read_bytes() == second.read_bytes()
    weights.load(model, first, classifier=True)
