"""Every network against the original's outputs on reproducible random weights (tests/models/reference/README.md)."""

import keras
import numpy as np
import pytest
from helpers import reference_networks

from tfbench.models import convert
from tfbench.models.build import set_batch_norm
from tfbench.models.catalog import NETWORKS
from tfbench.models.families import builder_of, inception, keras_networks, nasnet, pnasnet
from tfbench.models.layers import BuildOptions, DropPath
from tfbench.paper import batch_norm_momentum

LONG = {"inception_v4", "inception_resnet_v2", "resnet_101", "resnet_152", "resnet_v2_101", "resnet_v2_152", "vgg_16",
        "vgg_19", "densenet_169", "densenet_201", "nasnet_large", "pnasnet_large"}
OUTPUTS = {"features": "features", "logits": "logits", "auxiliary_logits": "aux_logits"}


def original(name: str, tensors=None, change=lambda model: None):
    """The network with the reference's weights and its outputs on the reference's images."""
    keras.backend.clear_session()
    tensors = tensors or reference_networks.tensors(name)
    model = convert.build_for(name, tensors, auxiliary_head="aux_logits" in reference_networks.outputs(name).files)
    convert.assign(model, tensors)
    images = reference_networks.images(name)
    model = reference_networks.at_size(model, name, images.shape[1])
    change(model)
    outputs = model(images, training=False)
    return model, {output: np.asarray(value) for output, value in outputs.items()}


def excess(name: str, outputs) -> dict[str, float]:
    """Each output's error over what the reference's float32 noise allows: at most 1 for an equal network."""
    expected, noise = reference_networks.outputs(name), reference_networks.description(name)["float32_noise_floor"]
    result = {}
    for output, value in outputs.items():
        right = expected[f"{OUTPUTS[output]}_float64"]
        if output != "features" and right.shape[1] == 1001:
            right = right[:, 1:]  # the background is dropped in conversion
        error, bound = np.abs(value - right).max() / np.abs(right).max(), max(3e-5, 5 * noise[OUTPUTS[output]])
        print(f"{name} {output}: {error:.1e} ({bound:.1e})")  # README's table has the features'
        result[output] = error / bound
    return result


def multiply_adds(model) -> int:
    """Of one image, without the classifiers."""
    total = 0
    for layer in model.layers:
        positions = int(np.prod(layer.output.shape[1:3])) if hasattr(layer, "kernel_size") else 1
        if layer.name != "logits" and "aux" not in layer.name.lower():
            total += sum(positions * int(np.prod(variable.shape)) for variable in layer.trainable_variables
                         if "kernel" in variable.name)
    return total


def first_wrong_stage(name: str, model) -> str:
    """The first stage of the reference that differs, for a network whose layers bear its names."""
    expected = reference_networks.outputs(name)
    layers = {layer.name: layer for layer in model.layers}
    for stage in reference_networks.description(name)["stages"]:
        found = [layers[f"{inception.FAMILY[name].scope}.{stage}{end}"] for end in (".concat", ".relu")
                 if name in inception.FAMILY and f"{inception.FAMILY[name].scope}.{stage}{end}" in layers]
        if found:
            value = np.asarray(keras.Model(model.input, found[0].output)(reference_networks.images(name))).mean((1, 2))
            right = expected[f"stage_channel_mean/{stage}"]
            if np.abs(value - right).max() > 1e-3 * np.abs(right).max():
                return stage
    return "none that can be compared"


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
                                  for name in reference_networks.NETWORKS])
def test_network_is_the_original_function(name):
    network = NETWORKS[name]
    model, outputs = original(name)
    over = excess(name, outputs)
    assert max(over.values()) <= 1, f"{over}; first wrong stage: {first_wrong_stage(name, model)}"
    assert set(outputs) == set(OUTPUTS) if "auxiliary_logits" in outputs else {"features", "logits"}
    assert outputs["features"].shape == (2, network.feature_width) and outputs["features"].dtype == np.float32

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.epsilon, layer.momentum, layer.scale, layer.center) for layer in norms} <= {
        (network.bn_epsilon, network.bn_momentum, network.bn_scale, True)}
    if model.input_shape[1] == network.image_size:  # ResNet v2's references are of 224 pixels
        assert multiply_adds(model) / 1e9 == pytest.approx(network.multiply_adds, abs=6e-4)
    below = [variable for layer in model.layers for variable in layer.trainable_variables
             if layer.name != "logits" and "aux" not in layer.name.lower()]
    assert sum(int(np.prod(variable.shape)) for variable in below) == network.parameters
    assert not [layer for layer in model.layers if isinstance(layer, DropPath)]  # which is only built when asked for
    if network.family != "vgg":  # which has none
        check_momentum_of_batch_norm(model)


def check_momentum_of_batch_norm(model) -> None:
    """max(1 - 10/s, 0.9) in a step, also when micro-batches make it, on every batch-norm layer there is."""
    layers = [layer for layer in model.layers if "moving_mean" in {variable.name for variable in layer.weights}]
    assert len(layers) > 20
    for images, accumulate in ((75750, 1), (6000, 4), (2040, 2)):
        momentum = batch_norm_momentum(images, 256)
        assert momentum == pytest.approx(max(1 - 10 / (images / 256), 0.9))
        set_batch_norm(model, momentum=momentum ** (1 / accumulate))
        np.testing.assert_allclose([layer.momentum ** accumulate for layer in layers], momentum)
    assert not any(layer.synchronized for layer in layers)


def epsilon_larger(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon *= 1.1


def test_wrong_epsilon_is_detected():
    assert max(excess("mobilenet_v1", original("mobilenet_v1", change=epsilon_larger)[1]).values()) > 10


def test_wrong_pool_is_detected(monkeypatch):
    table = inception.FAMILY["bn_inception"].table
    last = table[-1]._replace(branches=(*table[-1].branches[:3], (inception.AVERAGE, *table[-1].branches[3][1:])))
    changed = inception.Inception("InceptionV2", (*table[:-1], last), "Logits.Conv2d_1c_1x1")
    monkeypatch.setitem(inception.FAMILY, "bn_inception", changed)
    model, outputs = original("bn_inception")
    assert max(excess("bn_inception", outputs).values()) > 10
    assert first_wrong_stage("bn_inception", model) == "Mixed_5c"


def test_shifted_padding_is_detected(monkeypatch):
    def padded_as_keras_does(layer, family, options, right=keras_networks.repaired):
        return type(layer).from_config(layer.get_config()) if "pool1" in layer.name else right(layer, family, options)

    monkeypatch.setattr(keras_networks, "repaired", padded_as_keras_does)
    assert max(excess("resnet_50", original("resnet_50")[1]).values()) > 10


def test_swapped_branches_are_detected():
    tensors = reference_networks.tensors("bn_inception")
    for name in list(tensors):
        if name.startswith("InceptionV2/Mixed_3b/Branch_1/Conv2d_0a_1x1"):
            other = name.replace("Branch_1", "Branch_2")
            tensors[name], tensors[other] = tensors[other], tensors[name]
    assert max(excess("bn_inception", original("bn_inception", tensors)[1]).values()) > 10


def test_missing_relu_is_detected(monkeypatch):
    def convolution(entry, net, scope, *arguments, right=inception._convolution):
        result = right(entry, net, scope, *arguments)
        linear = f"{scope}.{entry.name}" == "InceptionV1.Mixed_4c.Branch_1.Conv2d_0b_3x3"
        return result._keras_history.operation.input if linear else result

    monkeypatch.setattr(inception, "_convolution", convolution)
    assert max(excess("inception_v1", original("inception_v1")[1]).values()) > 10


def test_poolings_on_padded_maps_are_detected(monkeypatch):
    def as_shipped(layer, adds, cells, final_keep, options, right=nasnet._repaired):
        if layer.name.startswith(("reduction_pad", "reduction_left2", "reduction_left3", "reduction_right5")):
            return type(layer).from_config(layer.get_config())
        return right(layer, adds, cells, final_keep, options)

    monkeypatch.setattr(nasnet, "_repaired", as_shipped)
    assert max(excess("nasnet_mobile", original("nasnet_mobile")[1]).values()) > 10


def test_swapped_states_are_detected(monkeypatch):
    last = (("separable_3x3", 1), ("max_pool", 0))  # the fourth sum reads the cell before instead of the third sum
    monkeypatch.setattr(pnasnet, "CELL", (*pnasnet.CELL[:3], last, pnasnet.CELL[4]))
    tensors = reference_networks.tensors("pnasnet_mobile")
    for part, shape in (("depthwise_weights", (3, 3, 32, 1)), ("pointwise_weights", (1, 1, 32, 13))):
        scope = f"cell_stem_0/comb_iter_3/left/separable_3x3_1/{part}"  # there the two states differ in width
        tensors[scope] = np.resize(tensors[scope], shape)
    assert max(excess("pnasnet_mobile", original("pnasnet_mobile", tensors)[1]).values()) > 10


@pytest.mark.parametrize("name, channels", [("inception_v1", 7280), ("bn_inception", 9888), ("inception_v3", 17216),
                                            ("inception_v4", 31584), ("inception_resnet_v2", 30272),
                                            ("resnet_50", 26560), ("mobilenet_v1", 10944), ("mobilenet_v2", 17056),
                                            ("mobilenet_v2_14", 23968), ("densenet_121", 41824),
                                            ("nasnet_mobile", 18369), ("pnasnet_mobile", 16832)])
def test_scale_of_batch_norm_adds_one_parameter_per_channel(name, channels):
    network = NETWORKS[name]
    options = BuildOptions(not network.bn_scale, network.bn_epsilon, network.bn_momentum, 0.0, 10, False, True)
    keras.backend.clear_session()
    images, features, _ = builder_of(network).body(network, max(network.minimum_size, 32), options)
    count = sum(int(np.prod(variable.shape)) for variable in keras.Model(images, features).trainable_variables)
    assert count == network.parameters + (-channels if network.bn_scale else channels)
