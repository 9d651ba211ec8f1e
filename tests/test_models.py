"""The catalog of networks against the networks that are built from it."""

import csv
import pathlib
import re

import keras
import numpy as np
import pytest

from tfbench import UserError, stats
from tfbench.models import weights
from tfbench.models.build import backbone, build_network, decayed_kernels, set_batch_norm_momentum
from tfbench.models.catalog import NETWORKS, check_network

PUBLISHED = pathlib.Path(stats.__file__).parent / "published" / "kornblith_v3_networks.csv"
BUILT = [name for name, row in NETWORKS.items() if row.keras_name]
SMALL = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v2_14", "resnet_50", "densenet_121", "nasnet_mobile"]


def test_catalog_is_the_papers_table():
    with open(PUBLISHED, newline="") as file:
        published = {re.sub(r"(ResNet-\d+) v1| \(Inception v2\)", r"\1", line["model"]): list(line.values())
                     for line in csv.DictReader(file)}
    assert {row.title for row in NETWORKS.values()} == set(published)
    for row in NETWORKS.values():
        values = published[row.title]
        assert round(row.parameters / 1e6, 1) == float(values[1]), row.name
        assert row.feature_width == int(values[2]), row.name
        assert row.image_size == int(values[3]), row.name
        assert row.retrained_top1 == pytest.approx(float(values[5]) / 100), row.name
        if row.public_top1 is not None:
            assert row.public_top1 == pytest.approx(float(values[4]) / 100), row.name


def test_thirteen_networks_are_built_and_three_are_not_there_yet():
    assert len(BUILT) == 13
    assert set(NETWORKS) - set(BUILT) == {"inception_v1", "bn_inception", "inception_v4"}
    with pytest.raises(UserError, match="inception_v4 is not there yet.*use one of inception_v3"):
        check_network(NETWORKS["inception_v4"], 299)


@pytest.mark.parametrize("name", BUILT)
def test_parameters_and_width_equal_the_row(name):
    row = NETWORKS[name]
    keras.backend.clear_session()
    model = build_network(name, num_classes=7, image_size=max(row.minimum_size, 32))
    body = backbone(model)
    parameters = sum(int(np.prod(variable.shape)) for variable in body.trainable_variables)
    if "resnet_" in name and "inception" not in name:  # Keras's ResNets have convolution biases, the original none
        parameters -= sum(layer.bias.shape[0] for layer in body.layers
                          if isinstance(layer, keras.layers.Conv2D))
    assert parameters == row.parameters
    assert model.output["features"].shape == (None, row.feature_width)
    assert model.output["logits"].shape == (None, 7)


def test_too_small_images_are_refused_with_the_flag_to_change():
    with pytest.raises(UserError, match="inception_v3 needs images of at least 75 pixels.*--image_size"):
        build_network("inception_v3", num_classes=2, image_size=32)


@pytest.mark.parametrize("name", ["mobilenet_v1", "nasnet_mobile"])
def test_initial_weights_are_a_function_of_the_seed(name):
    first, again, other = (build_network(name, num_classes=3, image_size=32, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first.variables, other.variables, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_batch_norm_momentum_reaches_every_layer(name):
    model = build_network(name, num_classes=2, image_size=32)
    set_batch_norm_momentum(model, 0.9375)
    layers = [layer for layer in model.layers if "BatchNorm" in type(layer).__name__]
    assert len(layers) > 20
    assert {layer.momentum for layer in layers} == {0.9375}


def test_decay_leaves_out_depthwise_kernels_biases_and_batch_norm():
    model = build_network("mobilenet_v2", num_classes=2, image_size=32)
    decayed = {variable.path for variable in decayed_kernels(model)}
    convolutions = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]
    assert decayed == {layer.kernel.path for layer in convolutions} | {model.get_layer("logits").kernel.path}
    nasnet = {variable.path for variable in decayed_kernels(build_network("nasnet_mobile", num_classes=2,
                                                                          image_size=32))}
    assert any("pointwise_kernel" in path for path in nasnet)
    assert any("depthwise_kernel" in path for path in nasnet)  # of separable convolutions: as TF-Slim


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = build_network("mobilenet_v1", num_classes=3, image_size=32, seed=5)
    path = tmp_path_factory.mktemp("weights") / "m.weights.h5"
    weights.save(backbone(model), path, {"network": "mobilenet_v1", "dataset": "glyphs", "accuracy": 0.5,
                                         "n_test": 10})
    return model, path


def test_weights_come_back_below_a_new_classifier(saved):
    model, path = saved
    certificate = weights.read_certificate(str(path), NETWORKS["mobilenet_v1"])
    assert (certificate["accuracy"], certificate["dataset"]) == (0.5, "glyphs")
    other = build_network("mobilenet_v1", num_classes=8, image_size=32, seed=6)
    backbone(other).load_weights(path)
    images = np.random.RandomState(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(other(images)["features"], model(images)["features"], rtol=1e-6)


def test_weights_that_are_not_what_they_should_be_are_refused(saved, tmp_path):
    _, path = saved
    with pytest.raises(UserError, match="holds weights of mobilenet_v1, not of resnet_50"):
        weights.read_certificate(str(path), NETWORKS["resnet_50"])
    with pytest.raises(UserError, match="there is no weights file .*nothing.*tfbench.pretrain --model=resnet_50"):
        weights.read_certificate(str(tmp_path / "nothing.weights.h5"), NETWORKS["resnet_50"])
    with pytest.raises(UserError, match="imagenet cannot be loaded"):
        weights.read_certificate("imagenet", NETWORKS["resnet_50"])
    changed = tmp_path / "m.weights.h5"
    changed.write_bytes(path.read_bytes()[:-1])
    weights.certificate_path(changed).write_bytes(weights.certificate_path(path).read_bytes())
    with pytest.raises(UserError, match="SHA-256 differs"):
        weights.read_certificate(str(changed), NETWORKS["mobilenet_v1"])
