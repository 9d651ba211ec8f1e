"""To add a network of Keras Applications, add a row: the recipe of tfbench/models/catalog.py, followed."""

import json
import math

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from tfbench import UserError, prepare_models
from tfbench.models import convert, custom, inspection, keras_files, weights
from tfbench.models.build import build_network, decayed_kernels, set_batch_norm
from tfbench.models.catalog import NETWORKS, _keras
from tfbench.models.families import untouched
from tfbench.models.lookup import check_image_size, get_network, list_networks
from tfbench.models.public_weights import keras_file

ROWS = (
    _keras("keras_mobilenet_v1_050", "MobileNet v1 (0.5, Keras)", "MobileNet", 224, 32, 512, 818_592, .149,
           keras_file("mobilenet/mobilenet_5_0_224_tf.h5", None, "inception", "inception", 224, None, None),
           dropout=.001, arguments={"alpha": .5}),
    NETWORKS["mobilenetv3_small"],
)
SIZE = 64


@pytest.fixture(autouse=True)
def rows_are_added(monkeypatch):
    for network in ROWS:
        monkeypatch.setitem(NETWORKS, network.name, network)


def images(network, size):
    draw = np.random.RandomState(0).uniform(size=(2, size, size, 3)).astype(np.float32)
    return 255 * draw if network.value_range == "pixels" else 2 * draw - 1


def shipped_features(network, model, size) -> keras.Model:
    """The untouched network of Keras up to its features, with the weights of `model`."""
    function = getattr(keras.applications, network.keras_application.name)
    if network.name == "mobilenetv3_small":  # it has a convolution between the pooled map and the classifier
        top = function(weights=None, input_shape=(size, size, 3))
        shipped = keras.Model(top.input, keras.layers.Flatten()(top.get_layer("logits").input))
    else:
        shipped = function(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3), alpha=.5)
    shipped.set_weights(model.get_layer(untouched.BODY).get_weights())
    return shipped


@pytest.mark.parametrize("network", ROWS, ids=lambda network: network.name)
def test_a_row_is_a_network(network, tmp_path):
    size = SIZE
    assert get_network(network.name) is network and network in list_networks() and not network.custom
    check_image_size(network, size)
    with pytest.raises(UserError, match=f"{network.name} needs images of at least {network.minimum_size} pixels"):
        check_image_size(network, network.minimum_size - 1)

    model = build_network(network.name, num_classes=7, image_size=size, seed=3)
    outputs = {name: np.asarray(value) for name, value in model(images(network, size), training=False).items()}
    assert outputs["features"].shape == (2, network.feature_width) and outputs["logits"].shape == (2, 7)
    expected = shipped_features(network, model, size)(images(network, size), training=False)
    np.testing.assert_array_equal(outputs["features"], expected)
    again, other = (build_network(network, num_classes=7, image_size=size, seed=seed) for seed in (3, 4))
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(model.weights, other.weights, strict=True))

    facts = {"network": network.name, "dataset": "glyphs", "accuracy": 0.5, "n_test": 100,
             "value_range": network.value_range}
    paths = [tmp_path / f"{number}.weights.h5" for number in range(2)]
    for path, same in zip(paths, (model, again), strict=True):
        weights.save(same, path, facts)
    assert paths[0].read_bytes() == paths[1].read_bytes()  # whatever was built before
    loaded = build_network(network, weights=str(paths[0]), image_size=size, seed=5)
    for name, value in loaded(images(network, size), training=False).items():
        np.testing.assert_array_equal(value, outputs[name])
    below = build_network(network, weights=str(paths[0]), num_classes=7, image_size=size, seed=5)
    values = below(images(network, size), training=False)
    np.testing.assert_array_equal(values["features"], outputs["features"])
    assert not np.array_equal(values["logits"], outputs["logits"])


@pytest.mark.parametrize("network", ROWS, ids=lambda network: network.name)
def test_the_facts_of_a_row_are_those_of_the_network(network):
    model = build_network(network, num_classes=2)
    body = model.get_layer(untouched.BODY)
    assert sum(math.prod(variable.shape) for variable in body.trainable_variables) == network.parameters
    graph = inspection.trace(body, network.image_size)[0].graph
    assert custom.multiply_adds(graph) / 1e9 == pytest.approx(network.multiply_adds, abs=6e-4)

    set_batch_norm(model, momentum=0.25)
    layers = inspection.all_layers(model)
    assert {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)} == {0.25}
    kernels = {variable.path for layer in layers for variable in layer.trainable_variables if "kernel" in variable.name
               and not isinstance(layer, (keras.Model, keras.layers.DepthwiseConv2D))}
    assert {variable.path for variable in decayed_kernels(model)} == kernels and len(kernels) > 13


def keras_weights_file(network, path):
    """A file as Keras publishes them; returns the network that is in it."""
    keras.utils.set_random_seed(1)
    shipped, draw = keras_files.build(network), np.random.RandomState(1)
    for variable in shipped.variables:
        if len(variable.shape) == 1:
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, shipped)
    return shipped


def test_keras_file_becomes_the_same_function(tmp_path):
    network = ROWS[0]
    shipped = keras_weights_file(network, tmp_path / "x.h5")
    tensors = keras_files.read(network, tmp_path / "x.h5")
    model = convert.build_for(network, tensors)
    assert convert.assign(model, tensors) == {"tensors_used": len(shipped.weights), "averaged": 0, "not_needed": {}}
    inputs = images(network, 224)[:1]
    np.testing.assert_array_equal(model(inputs, training=False)["logits"], shipped(inputs, training=False))
    tensors.pop("classifier/weights")
    with pytest.raises(UserError, match=r"is not keras_mobilenet_v1_050's – missing: classifier/weights\."):
        convert.assign(model, tensors)


def test_prepare_models_takes_keras_file(tmp_path, run_program):
    network = ROWS[0]
    shipped = keras_weights_file(network, tmp_path / "half.h5")
    arguments = [f"--model={network.name}", f"--weights_dir={tmp_path}", f"--archive={tmp_path}/half.h5"]
    output = run_program(prepare_models, *arguments)
    assert f"{len(shipped.weights)} tensors (0 moving averages)" in output
    metadata = json.loads((tmp_path / f"{network.name}.json").read_text())
    assert (metadata["source"], metadata["accuracy"], metadata["classes"]) == ("keras", None, 1000)
    model = build_network(network, weights=str(tmp_path / f"{network.name}.weights.h5"))
    inputs = images(network, 224)
    np.testing.assert_allclose(model(inputs, training=False)["logits"], shipped(inputs, training=False), rtol=1e-4,
                               atol=1e-4)
    with pytest.raises(UserError, match=f"{network.name} has no public weights from 'slim', only from keras"):
        run_program(prepare_models, f"--model={network.name}", "--source=slim", f"--weights_dir={tmp_path}/other")
    with pytest.raises(UserError, match="MD5|md5"):  # not the file that Keras publishes
        run_program(prepare_models, "--model=mobilenetv3_small", f"--weights_dir={tmp_path}",
                    f"--archive={tmp_path}/half.h5")
