"""Checkpoints fabricated in the original naming, and Keras Applications' files, converted strictly."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import reference_networks
from keras.src.legacy.saving import legacy_h5_format

from tfbench import UserError
from tfbench.models import checkpoints, convert, keras_files
from tfbench.models.catalog import NETWORKS

NORM_KINDS = ("gamma", "beta", "moving_mean", "moving_variance")


def write(path, tensors: dict, version: str = "V2") -> str:
    """Writes a TensorFlow checkpoint, as a Saver of that version does; returns what names it."""
    names, values = list(tensors), [tf.constant(value) for value in tensors.values()]
    if version == "V1":
        tf.raw_ops.Save(filename=str(path), tensor_names=names, data=values)
    else:
        tf.raw_ops.SaveV2(prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    return str(path)


def training_checkpoint(name: str) -> dict[str, np.ndarray]:
    """What a training run of the original would have saved: the reference's weights are the averages.

    Raw values, optimizer slots, the auxiliary head and the step lie beside them.
    """
    values, draw = reference_networks.tensors(name), np.random.RandomState(0)
    tensors = {"global_step": np.int64(7), "cell_0/global_step": np.int64(7)}
    for variable, value in values.items():
        tensors[f"{variable}/ExponentialMovingAverage"] = value
        tensors[variable] = draw.standard_normal(value.shape).astype(np.float32)
        if not variable.endswith(("moving_mean", "moving_variance")):
            tensors[f"{variable}/RMSProp"] = tensors[f"{variable}/RMSProp_1"] = np.ones_like(value)
            tensors[f"{variable}/Momentum"] = np.ones_like(value)
    for variable, shape in reference_networks.description(name)["training_only"]:
        tensors[variable] = draw.standard_normal(shape).astype(np.float32)
    return tensors


def logits(model, name: str) -> np.ndarray:
    return np.asarray(model(reference_networks.images(name), training=False)["logits"])


@pytest.mark.parametrize("name, version", [
    ("inception_v1", "V1"), ("mobilenet_v2", "V2"), pytest.param("inception_v3", "V2", marks=pytest.mark.slow),
    pytest.param("nasnet_mobile", "V2", marks=pytest.mark.slow)])
def test_training_checkpoint_becomes_the_same_function(tmp_path, name, version):
    tensors = checkpoints.read(write(tmp_path / "model.ckpt", training_checkpoint(name), version)).tensors
    model = convert.build_for(name, tensors)
    account = convert.assign(model, tensors)

    plain = reference_networks.tensors(name)
    straight = convert.build_for(name, plain)
    assert convert.assign(straight, plain)["averaged"] == 0
    np.testing.assert_array_equal(logits(model, name), logits(straight, name))

    used = len([variable for variable in plain if not convert.is_auxiliary(variable)])
    assert account["tensors_used"] == account["averaged"] == used
    assert account["not_needed"]["step"] == 2 and account["not_needed"]["raw value of an average"] == used
    assert account["not_needed"]["optimizer"] > used
    if name != "mobilenet_v2" and name != "inception_v1":
        assert account["not_needed"]["auxiliary head"] >= 12


def test_auxiliary_head_is_converted_on_demand():
    tensors = training_checkpoint("inception_v3")
    model = convert.build_for("inception_v3", tensors, auxiliary_head=True)
    account = convert.assign(model, tensors)
    assert "auxiliary head" not in account["not_needed"]
    np.testing.assert_array_equal(model.get_layer("InceptionV3.AuxLogits.Conv2d_1b_1x1").kernel,
                                  tensors["InceptionV3/AuxLogits/Conv2d_1b_1x1/weights/ExponentialMovingAverage"])


def test_background_class_is_dropped():
    tensors = reference_networks.tensors("mobilenet_v1")
    model = convert.build_for("mobilenet_v1", tensors)
    convert.assign(model, tensors)
    classifier, scope = model.get_layer("logits"), "MobilenetV1/Logits/Conv2d_1c_1x1"
    np.testing.assert_array_equal(classifier.kernel, tensors[f"{scope}/weights"][0, 0, :, 1:])
    np.testing.assert_array_equal(classifier.bias, tensors[f"{scope}/biases"][1:])


def test_scale_of_the_checkpoint_decides_and_starts_at_one_elsewhere():
    tensors = reference_networks.tensors("inception_v1")
    with_scale = dict(tensors)
    for name in tensors:
        if name.endswith("/beta"):
            with_scale[name.replace("beta", "gamma")] = np.ones_like(tensors[name])
    models = [convert.build_for("inception_v1", values) for values in (tensors, with_scale)]
    for model, values in zip(models, (tensors, with_scale), strict=True):
        convert.assign(model, values)
    assert models[1].count_params() == models[0].count_params() + 7280
    np.testing.assert_array_equal(*(logits(model, "inception_v1") for model in models))


@pytest.mark.parametrize("change, message", [
    (lambda tensors: tensors.pop("MobilenetV1/Conv2d_3_pointwise/BatchNorm/beta"),
     r"missing: MobilenetV1/Conv2d_3_pointwise/BatchNorm/beta\."),
    (lambda tensors: tensors.update({"MobilenetV1/Conv2d_14/weights": np.zeros((1, 1), np.float32)}),
     r"left over: MobilenetV1/Conv2d_14/weights\."),
    (lambda tensors: tensors.update({"MobilenetV1/Conv2d_0/weights": np.zeros((3, 3, 3, 31), np.float32)}),
     r"of another shape or type: MobilenetV1/Conv2d_0/weights \[3, 3, 3, 31\] float32 for \[3, 3, 3, 32\]\."),
])
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path, change, message):
    tensors = reference_networks.tensors("mobilenet_v1")
    change(tensors)
    read = checkpoints.read(write(tmp_path / "model.ckpt", tensors)).tensors
    model = convert.build_for("mobilenet_v1", read)
    before = [np.array(variable) for variable in model.weights]
    with pytest.raises(UserError, match=message):
        convert.assign(model, read)
    for old, variable in zip(before, model.weights, strict=True):  # refused before anything was assigned
        np.testing.assert_array_equal(old, variable)


def shipped_with_random_statistics(name: str):
    """A model of Keras Applications in which every weight, biases and moving statistics too, is random."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    shipped, draw = keras_files.build(NETWORKS[name]), np.random.RandomState(1)
    for variable in shipped.variables:
        if variable.name in (*NORM_KINDS, "bias"):
            positive = variable.name in ("gamma", "moving_variance")
            variable.assign(draw.uniform(0.5, 1.5, variable.shape) if positive else 0.1 * draw.randn(*variable.shape))
    return shipped


def pool_as_the_original(layer):
    config = layer.get_config()
    config |= {"pool1_pad": {"padding": 0}, "pool1_pool": {"padding": "same"}}.get(layer.name, {})
    return type(layer).from_config(config)


@pytest.mark.parametrize("name", ["resnet_50", "mobilenet_v1", "mobilenet_v2", *(
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("inception_v3", "inception_resnet_v2", "resnet_v2_50", "densenet_121", "vgg_16"))])
def test_keras_file_becomes_the_same_function(tmp_path, name):
    shipped = shipped_with_random_statistics(name)
    file = tmp_path / "weights_tf_dim_ordering_tf_kernels.h5"
    with h5py.File(file, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, shipped)
    tensors = keras_files.read(NETWORKS[name], file)
    model = convert.build_for(name, tensors)
    assert convert.assign(model, tensors)["tensors_used"] == len(tensors)

    if name.startswith("resnet"):  # shipped with another padding: see test_models_parity
        repaired = keras.models.clone_model(shipped, clone_function=pool_as_the_original)
        repaired.set_weights(shipped.get_weights())
        shipped = repaired
    size = shipped.input_shape[1]
    model = reference_networks.at_size(model, name, size)
    images = np.random.RandomState(2).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    expected = np.asarray(shipped(images, training=False))
    found = np.asarray(model(images, training=False)["logits"])
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_a_file_of_another_keras_network_is_refused(tmp_path):
    file = tmp_path / "x.h5"
    with h5py.File(file, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, keras_files.build(NETWORKS["mobilenet_v1"]))
    with pytest.raises(UserError,
                       match="is not the weights file .* keras.applications.MobileNetV2 .*--weights_source=keras"):
        keras_files.read(NETWORKS["mobilenet_v2"], file)
