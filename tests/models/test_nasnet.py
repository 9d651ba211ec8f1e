"""Drop-path and auxiliary heads of NASNet and PNASNet; their parity is in test_parity.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import reference_networks

from tfbench import UserError
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS
from tfbench.models.families import builder_of
from tfbench.models.families.nasnet import DropPathAdd, keep_probability
from tfbench.models.layers import BuildOptions, DropPath, step_randomness
from tfbench.models.original_names import original_names


@pytest.mark.parametrize("name", ["nasnet_mobile", "pnasnet_mobile",
                                  pytest.param("pnasnet_large", marks=pytest.mark.slow)])
def test_auxiliary_head_has_the_originals_variables(name):
    keras.backend.clear_session()
    model = build_network(name, num_classes=1001, auxiliary_head=True)
    found = {original: tuple(variable.shape) for original, variable in original_names(NETWORKS[name], model)
             if original.startswith("aux_")}
    expected = reference_networks.description(name)["training_only"]
    assert found == {original: tuple(shape) for original, shape in expected}
    assert model.output["auxiliary_logits"].shape == (None, 1001)


@pytest.mark.parametrize("name", [pytest.param("nasnet_mobile", marks=pytest.mark.slow), "pnasnet_mobile"])
def test_auxiliary_head_says_when_the_images_are_too_small(name):
    with pytest.raises(UserError, match="auxiliary head .* at least 5 × 5, here it is 2 × 2"):
        build_network(name, image_size=32, auxiliary_head=True)
    assert "auxiliary_logits" in build_network(name, image_size=80, auxiliary_head=True).output


def test_keep_probability_falls_with_depth():
    assert keep_probability(0, 22, 0.7) == pytest.approx(1 - 0.3 / 22)
    assert keep_probability(10, 22, 0.7) == pytest.approx(0.85)
    assert keep_probability(21, 22, 0.7) == pytest.approx(0.7)


@pytest.mark.slow
@pytest.mark.parametrize("name, cells, last, operations", [
    ("nasnet_large", 22, 0.7, {"normal": 5, "reduction": 5}), ("pnasnet_large", 14, 0.6, None)])
def test_drop_path_is_behind_every_operation(name, cells, last, operations):
    network = NETWORKS[name]
    keras.backend.clear_session()
    images, features, _ = builder_of(network).body(
        network, 64, BuildOptions(True, 1e-3, .9997, 0., 10, False, True, drop_path=True))
    layers = [layer for layer in keras.Model(images, features).layers if isinstance(layer, DropPath)]
    expected = {round(1 - (cell + 1) / cells * (1 - last), 9) for cell in range(cells)}
    assert {round(layer.final_keep, 9) for layer in layers} == expected
    if operations:
        adds = {layer.name: layer.dropped for layer in layers}
        assert len(adds) == 5 * cells and all(isinstance(layer, DropPathAdd) for layer in layers)
        assert sum(sum(dropped) for dropped in adds.values()) == 18 * 8 + 4 * 9
        deepest = {layer.name: layer.final_keep for layer in layers}
        assert deepest["normal_add_1_18"] == pytest.approx(0.7)
        assert deepest["reduction_add_1_stem_1"] == pytest.approx(1 - 0.3 / 22)
        assert deepest["reduction_add_1_reduce_6"] == pytest.approx(1 - 9 / 22 * 0.3)
        assert deepest["normal_add_1_7"] == pytest.approx(1 - 10 / 22 * 0.3)
    else:
        assert len(layers) == 9 * cells


@pytest.mark.parametrize("on", [False, True])
def test_drop_path_is_built_only_when_asked_for(on, monkeypatch):
    from tfbench.models.families import pnasnet

    monkeypatch.setitem(pnasnet.FAMILY, "pnasnet_large", (3, 8, 8))  # NASNet's is the slow test above
    keras.backend.clear_session()
    images, features, _ = pnasnet.body(NETWORKS["pnasnet_large"], 32, BuildOptions(
        True, 1e-3, .9997, 0., 10, False, True, drop_path=on))
    found = [layer for layer in keras.Model(images, features).layers if isinstance(layer, DropPath)]
    assert len(found) == (9 * 5 if on else 0)


def test_drop_path_keeps_or_drops_whole_examples():
    layer, branch = DropPath(0.6), np.ones((4000, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(layer(branch, training=False), branch)
    np.testing.assert_array_equal(layer(branch, training=True), branch)  # outside of a training step
    with step_randomness(tf.constant([3, 5], tf.int64), 0.5):  # keeps 1 - 0.5 · 0.4 = 0.8
        kept, again = (np.asarray(layer(branch, training=True)) for _ in range(2))
    np.testing.assert_array_equal(kept, again)
    with step_randomness(tf.constant([3, 6], tf.int64), 0.5):
        assert not np.array_equal(kept, layer(branch, training=True))
    assert set(np.unique(kept)) <= {0.0, np.float32(1 / np.float32(0.8))}
    assert (kept == kept[:, :1, :1, :1]).all()
    assert kept.mean() == pytest.approx(1.0, abs=0.05) and (kept == 0).mean() == pytest.approx(0.2, abs=0.03)
    np.testing.assert_array_equal(layer(branch, training=False), branch)
    assert layer.weights == []


def test_drop_path_add_leaves_the_identity_alone():
    layer, zeros = DropPathAdd(0.5, (False, True)), np.zeros((500, 1, 1, 1), np.float32)
    with step_randomness(tf.constant([3, 5], tf.int64), 1.0):
        total = np.asarray(layer([zeros + 1, zeros + 2], training=True))
    assert set(np.unique(total)) == {1.0, 5.0}
    np.testing.assert_array_equal(layer([zeros + 1, zeros + 2], training=False), zeros + 3)
    assert DropPathAdd.from_config(layer.get_config()).dropped == (False, True)


def test_initial_kernels_have_the_variance_of_fan_out():
    model = build_network("nasnet_mobile", image_size=32)
    kernel = np.asarray(model.get_layer("normal_conv_1_9").kernel)
    assert kernel.std() == pytest.approx((2 / kernel.shape[-1]) ** 0.5, rel=0.05)
    depthwise = np.asarray(model.get_layer("separable_conv_1_normal_left1_9").depthwise_kernel)
    assert depthwise.std() == pytest.approx((2 / 25) ** 0.5, rel=0.05)
