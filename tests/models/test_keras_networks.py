"""The networks of Keras Applications against Keras's own: functions, facts of the rows, addresses and files of weights.

`python -m pytest -m "" -s tests/models/test_keras_networks.py` prints the error of each (docs/measurements.md).
"""

import dataclasses
import gc
import importlib
import inspect
import json
import math

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.programs import parse
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from tfbench import UserError, finetune, prepare_models, study
from tfbench.config import RunConfig
from tfbench.data.pipeline import to_value_range
from tfbench.inputs import network_of
from tfbench.models import build, convert, inspection, weights
from tfbench.models.build import build_network
from tfbench.models.catalog import GROUPS, NETWORKS
from tfbench.models.families import untouched
from tfbench.models.layers import Dropout, Normalization, step_randomness
from tfbench.models.lookup import check_image_size

FAST = ("keras_mobilenet_v1", "mobilenetv3_small", "efficientnet_b0", "convnext_tiny")
KERAS = [NETWORKS[name] for name in GROUPS["keras"]]


def named(names, fast=FAST):
    return [pytest.param(NETWORKS[name], id=name, marks=() if name in fast else pytest.mark.slow) for name in names]


def function_of(network):
    return getattr(keras.applications, network.keras_application.name)


def images(size: int) -> np.ndarray:
    """float32 [1, size, size, 3], whole numbers from 0 to 255: squares of colour, with noise."""
    draw = np.random.RandomState(0)
    squares = np.kron(draw.randint(0, 256, (1, 8, 8, 3)), np.ones((1, math.ceil(size / 8), math.ceil(size / 8), 1)))
    return np.clip(squares[:, :size, :size] + draw.randint(-40, 40, (1, size, size, 3)), 0, 255).astype(np.float32)


def preprocessed(network, pixels) -> np.ndarray:
    """What Keras itself makes of pixels before it gives them to the network."""
    return importlib.import_module(function_of(network).__module__).preprocess_input(pixels.copy())


def draw_weights(model: keras.Model, inputs: np.ndarray) -> None:
    """Values that let every weight count: none is 0 or 1, and batch norm's statistics are those of the images."""
    draw = np.random.RandomState(1)
    for layer in inspection.all_layers(model):
        if isinstance(layer, keras.layers.Normalization) and layer.weights:  # as in Keras's files
            layer.set_weights([np.float32([.485, .456, .406]), untouched.DEVIATIONS, np.int32(0)])
            layer.finalize_state()
            continue
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0
        for variable in () if isinstance(layer, keras.Model) else layer.trainable_variables:
            if len(variable.shape) == 1:
                variable.assign(np.asarray(variable) + draw.uniform(-.2, .2, variable.shape))
    model(inputs, training=True)


def standardisation(own: keras.Model) -> dict[str, np.ndarray]:
    """By original name the variance of EfficientNet's, which conversion changes as Keras's with weights is changed."""
    return {name: np.asarray(variable) for name, variable in untouched.named_weights(*untouched.split(own))
            if name.endswith("/variance")}


def kerass_features(own: keras.Model, network) -> keras.Model:
    """Keras's network below its classifier, and below the dropout before it."""
    tensor = [layer for layer in own.layers if layer.weights][-1].input
    dropped = []
    while isinstance(layer := tensor._keras_history.operation, keras.layers.Dropout):
        dropped.append(layer.rate)
        tensor = layer.input
    assert (dropped or [0.]) == [network.dropout]
    return keras.Model(own.input, tensor)


def test_a_file_without_classifier_is_for_features(tmp_path):
    path, pixels = tmp_path / "w.weights.h5", images(64)
    model = build_network("mobilenetv3_small", image_size=64)
    weights.save(model, path, {"network": "mobilenetv3_small", "dataset": "unknown", "accuracy": None, "n_test": None,
                               "value_range": "pixels"}, classifier=False)
    again = build_network("mobilenetv3_small", weights=str(path), num_classes=3, image_size=64, seed=1)
    np.testing.assert_array_equal(again(pixels)["features"], model(pixels)["features"])
    with pytest.raises(UserError, match="has no classifier"):
        build.load_weights(model, "mobilenetv3_small", str(path), classifier=True)


def multiply_adds(body: keras.Model) -> int:
    """Of one image, by the layers."""
    return sum(math.prod(variable.shape) * math.prod(layer.output.shape[1:-1])
               for layer in inspection.all_layers(body) if not isinstance(layer, keras.Model)
               for variable in layer.trainable_variables if "kernel" in variable.name)


@pytest.mark.parametrize("network", named(GROUPS["keras"]))
def test_network_is_kerass_own(network):
    whole = network.name in FAST or network.fixed_size  # others in small: there building takes most of the time
    size = network.image_size if whole else max(network.minimum_size, 75)
    pixels = images(size)
    inputs = preprocessed(network, pixels)
    own = function_of(network)(weights=None, classifier_activation=None, input_shape=(size, size, 3),
                               **network.keras_application.arguments)
    draw_weights(own, inputs)
    reference = kerass_features(own, network)
    model = build_network(network, image_size=size)
    convert.assign(model, untouched.tensors(own) | standardisation(own))

    expected = np.reshape(reference(inputs, training=False), (1, -1))
    found = model(to_value_range(pixels, network.value_range), training=False)["features"]
    assert np.isfinite(expected).all() and np.ptp(expected) > 0 and found.shape == expected.shape
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    print(f"\n| `{network.name}` | {error:.1e} |")
    assert error == 0

    body = model.get_layer(untouched.BODY)
    assert body.output.shape == (None, network.feature_width)
    assert sum(math.prod(variable.shape) for variable in body.trainable_variables) == network.parameters
    if whole:
        assert multiply_adds(body) / 1e9 == pytest.approx(network.multiply_adds, abs=6e-4)
    del own, reference, model, body
    keras.backend.clear_session()
    gc.collect()  # of the largest several would not fit


@pytest.mark.parametrize("network", KERAS, ids=lambda network: network.name)
def test_files_are_those_that_keras_fetches(network):
    module, public = importlib.import_module(function_of(network).__module__), network.weights[0]
    parameters = inspect.signature(function_of(network)).parameters
    if network.name.startswith(("efficientnet", "convnext")):
        digests = module.WEIGHTS_HASHES.values()
        address = f"{module.BASE_WEIGHTS_PATH}{parameters['name'].default}.h5"
    elif network.name.startswith("mobilenetv3"):
        digests = module.WEIGHTS_HASHES.values()
        address = f"{module.BASE_WEIGHT_PATH}weights_mobilenet_v3_{network.name[12:]}_224_1.0_float.h5"
    elif network.name == "xception":
        digests, address = [["0a58e3b7378bc2990ea3b43d5981f1f6"]], module.WEIGHTS_PATH
    else:  # test_public_weights.py
        assert public in NETWORKS[network.name.removeprefix("keras_")].weights
        return
    assert public.url == address and public.checksum.partition(":")[2] in [with_top for with_top, *_ in digests]


@pytest.mark.parametrize("network", KERAS, ids=lambda network: network.name)
def test_images_are_what_keras_gives_the_network(network):
    pixels = np.random.RandomState(0).randint(0, 256, (1, 40, 40, 3)).astype(np.float32)
    assert network.weights[0].value_range == network.value_range
    np.testing.assert_array_equal(to_value_range(pixels, network.value_range), preprocessed(network, pixels))


@pytest.mark.parametrize("network", KERAS, ids=lambda network: network.name)
def test_the_smallest_size_is_kerass(network):
    with pytest.raises(UserError, match=f"{network.name} (needs images of at least|takes images of 224 pixels a side)"):
        check_image_size(network, network.minimum_size - 1)
    if network.fixed_size:
        with pytest.raises(UserError, match=f"or take {network.name[6:]}$"):
            check_image_size(network, 448)
        return
    with pytest.raises(ValueError, match=f"Input size must be at least {network.minimum_size}"):
        function_of(network)(weights=None, input_shape=(network.minimum_size - 1,) * 2 + (3,))


def test_there_is_a_row_for_each_class_of_keras_and_no_old_pattern_matches_one():
    classes = {name for name, thing in vars(keras.applications).items() if name[0].isupper() and callable(thing)}
    assert {network.keras_application.name for network in KERAS} == classes and len(KERAS) == len(classes) == 40
    older = {name.partition("_")[0] for name in NETWORKS if name not in GROUPS["keras"]}
    assert not {network.name.partition("_")[0] for network in KERAS} & older
    for group in ("small", "modern"):
        assert set(GROUPS[group]) < set(GROUPS["keras"])
        options = parse(study, [f"--models={group}", "--datasets=pets", "--source=imagenet"])
        assert options.models == GROUPS[group]
    costs = [NETWORKS[name].multiply_adds for name in GROUPS["small"]]
    assert costs == sorted(costs) and len(costs) == 10


# ---- what is dropped in training -----------------------------------------------------------------


def test_paths_are_dropped_only_where_asked_for():
    pixels = np.random.RandomState(0).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
    quiet, dropping = (build_network("efficientnet_b0", num_classes=2, image_size=32, drop_path=drop_path)
                       for drop_path in (False, True))
    own = keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3))
    expected = [layer.rate for layer in own.layers if isinstance(layer, keras.layers.Dropout)][:-1]
    for model, rates in ((quiet, [0] * 9), (dropping, expected)):
        layers = [layer for layer in model.get_layer(untouched.BODY).layers if isinstance(layer, Dropout)]
        assert [layer.rate for layer in layers] == rates

    def features(model, step):
        with step_randomness(tf.constant([3, step], tf.int64), tf.constant(0.5)):
            return np.asarray(model(pixels, training=True)["features"])

    np.testing.assert_array_equal(features(quiet, 1), features(quiet, 2))
    np.testing.assert_array_equal(features(dropping, 1), features(dropping, 1))
    assert not np.array_equal(features(dropping, 1), features(dropping, 2))
    with step_randomness(tf.constant([3, 1], tf.int64), tf.constant(0.5)):  # whole examples
        kept = np.asarray(Dropout(0.5, noise_shape=(None, 1, 1, 1))(np.ones((64, 2, 2, 3), np.float32), training=True))
    assert all(np.ptp(example) == 0 for example in kept) and set(np.unique(kept)) == {0, 2}


@pytest.mark.parametrize("name, switch, told", [
    ("convnext_tiny", "drop_path", "convnext_tiny has no drop path: .* take a network that has, e.g. nasnet_large"),
    ("keras_vgg_16", "dropout", "keras_vgg_16 has no dropout"), ("efficientnetv2_b0", "drop_path", None),
    ("mobilenetv3_large", "dropout", None)])
def test_switches_are_those_of_the_definition(name, switch, told):
    config = RunConfig.from_flags("finetune", vars(parse(finetune, [f"--model={name}", "--dataset=digits",
                                                                    f"--{switch}"])))
    if told is None:
        assert network_of(config) is NETWORKS[name]
        return
    with pytest.raises(UserError, match=told):
        network_of(config)


# ---- files of weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("network", named(("efficientnet_b0", "convnext_tiny", "mobilenetv3_small"),
                                          fast=["efficientnet_b0"]))
def test_a_file_of_keras_becomes_the_network_that_keras_loads_from_it(network, tmp_path, monkeypatch, run_program):
    public, pixels = network.weights[0], images(network.image_size)
    keras.utils.set_random_seed(0)
    with monkeypatch.context() as patch:  # nothing is fetched yet, nor read
        patch.setattr(file_utils, "get_file", lambda *_, **__: "")
        patch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
        own = function_of(network)(weights="imagenet", classifier_activation=None)
    draw_weights(own, preprocessed(network, pixels))
    file = tmp_path / "downloads" / public.url.rpartition("/")[2]
    file.parent.mkdir()
    with h5py.File(file, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, own)
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(file))
    loaded = function_of(network)(weights="imagenet", classifier_activation=None)

    arguments = [f"--model={network.name}", f"--weights_dir={tmp_path}"]
    with pytest.raises(UserError, match="is not the expected file, its (MD5|SHA256) should be"):
        run_program(prepare_models, *arguments)
    row = dataclasses.replace(network, weights=(dataclasses.replace(public, checksum=None),))
    monkeypatch.setitem(NETWORKS, network.name, row)
    assert "(0 moving averages)" in run_program(prepare_models, *arguments)  # from the folder of downloads
    metadata = json.loads((tmp_path / f"{network.name}.json").read_text())
    assert (metadata["source"], metadata["accuracy"], metadata["image_size"], metadata["value_range"]) == (
        "keras", public.top1, network.image_size, network.value_range)
    model = build_network(row, weights=str(tmp_path / f"{network.name}.weights.h5"))
    expected = loaded(preprocessed(network, pixels), training=False)
    found = model(to_value_range(pixels, network.value_range), training=False)["logits"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_a_traced_network_sees_what_its_standardisation_loads():
    """Training and feature graphs are traced once: the weights come later."""
    pixels = np.random.RandomState(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    model, donor = (build_network("efficientnet_b0", num_classes=2, image_size=32, seed=seed) for seed in (1, 2))
    draw_weights(donor.get_layer(untouched.BODY), pixels)
    traced = tf.function(lambda inputs: model(inputs, training=False)["features"])
    before = np.asarray(traced(pixels))
    for variable, value in zip(model.weights, donor.weights, strict=True):
        variable.assign(value)
    after, expected = np.asarray(traced(pixels)), np.asarray(tf.function(
        lambda inputs: donor(inputs, training=False)["features"])(pixels))
    np.testing.assert_array_equal(after, expected)
    assert not np.allclose(before, after)
    normalization, = (layer for layer in inspection.all_layers(model) if isinstance(layer, Normalization))
    normalization.adapt_variance.assign(4 * np.asarray(normalization.adapt_variance))
    assert not np.allclose(traced(pixels), after)
