"""The public weights of the networks: complete, well formed and in agreement with the networks' other facts."""

import pathlib
import re
import subprocess
import sys

import keras
import pytest

from tfbench import UserError
from tfbench.config import RunConfig
from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import GROUPS, NETWORKS, VALUE_RANGES
from tfbench.models.lookup import get_network, list_networks, public_weights

ALL = [(network, weights) for network in list_networks() for weights in network.weights]
SLIM = [(network, weights) for network, weights in ALL if weights.source == "slim"]
KERAS = [(network, weights) for network, weights in ALL if weights.source == "keras"]
DIGITS = {"md5": 32, "sha256": 64, "sha384": 96}


def named(pairs):
    return [pytest.param(*pair, id=f"{pair[0].name}-{pair[1].source}") for pair in pairs]


def test_every_network_but_the_miniatures_has_public_weights():
    assert {network.name for network in list_networks() if not network.weights} == set(GROUPS["miniature"])
    assert len(SLIM) + len(KERAS) == len(ALL) == len({(network.name, weights.source) for network, weights in ALL})
    # Keras's only, or both; Keras has those that it builds, and no others
    for network in (network for network in list_networks() if network.weights):
        sources = [weights.source for weights in network.weights]
        assert ("keras" in sources) == (network.keras_application is not None)
        assert ("slim" in sources) == (network.family not in ("densenet", "keras"))
        assert all(weights.licence for weights in network.weights)
    assert not {"inception_v1", "bn_inception", "inception_v4", "pnasnet_mobile", "pnasnet_large"} & {
        network.name for network, _ in KERAS}


@pytest.mark.parametrize("network, weights", named(ALL))
def test_weights_are_well_formed(network, weights):
    assert weights.url.startswith("https://")
    assert weights.url.endswith((".tar.gz", ".tgz") if weights.source == "slim" else ".h5")
    assert weights.size is None or 20_000_000 < weights.size < 600_000_000
    if weights.checksum:
        kind, digits = weights.checksum.split(":")
        assert re.fullmatch(f"[0-9a-f]{{{DIGITS[kind]}}}", digits)
    assert weights.value_range in VALUE_RANGES and weights.geometry in ("inception", "vgg")
    if network.builder == "untouched":
        return
    assert 0.69 < weights.top1 < weights.top5 < 0.97
    # Caffe's networks were measured at the central square and have no background class in TF-Slim's checkpoints.
    caffe = network.family in ("resnet_v1", "vgg")
    if weights.source == "slim":
        assert weights.classes == (1000 if caffe else 1001)
        assert weights.value_range == network.value_range == ("rgb_mean" if caffe else "inception")
        assert weights.top1 == network.public_top1
        assert weights.eval_size == network.image_size
    else:
        assert weights.classes == 1000
        assert weights.eval_size == (224 if network.family == "resnet_v2" else network.image_size)
        assert weights.value_range == ("caffe" if caffe else network.value_range)
    assert weights.geometry == ("vgg" if caffe or network.family == "densenet" else "inception")


def test_addresses_and_checksums_are_unique():
    shared = {network.weights[0].url for network in list_networks() if network.name.startswith("keras_")}
    assert len({weights.url for _, weights in ALL}) == len(ALL) - len(shared) and len(shared) == 17
    checksums = [weights.checksum for _, weights in ALL if weights.checksum]
    assert len(set(checksums)) == len({weights.url for _, weights in ALL if weights.checksum}) >= 47
    assert len([weights for _, weights in SLIM if weights.checksum]) >= 9


@pytest.mark.parametrize("network, weights", named(KERAS))
def test_keras_files_are_those_that_keras_fetches(network, weights):
    folder = pathlib.Path(keras.__file__).parent / "src" / "applications"
    source = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    assert hasattr(keras.applications, network.keras_application.name)
    if weights.checksum:
        assert f'"{weights.checksum.partition(":")[2]}"' in source
        if network.builder != "untouched":  # test_keras_networks.py has the others' addresses
            assert pathlib.PurePosixPath(weights.url).name.split("_weights_")[0] in source
    else:  # Keras has no checksum of MobileNets
        assert "mobilenet_v" in network.name
    if network.builder != "untouched":
        assert weights.url.split("keras-applications/")[1].split("/")[0] + "/" in source


def test_slims_are_taken_unless_told_otherwise():
    resnet, densenet = get_network("resnet_50"), get_network("densenet_201")
    assert public_weights(resnet).source == "slim"
    assert public_weights(resnet, "slim").value_range == "rgb_mean"
    assert public_weights(resnet, "keras").value_range == "caffe"
    assert public_weights(densenet).source == "keras"
    assert public_weights(densenet).value_range == "torch"
    assert (resnet.public_top1, resnet.top1) == (0.752, 0.769)
    assert (densenet.public_top1, densenet.top1) == (0.773, 0.771)


def test_what_does_not_exist_is_told(monkeypatch):
    with pytest.raises(UserError, match="inception_v4 has no public weights from 'keras', only from slim"):
        public_weights(get_network("inception_v4"), "keras")
    with pytest.raises(UserError, match="densenet_121 has no public weights from 'slim', only from keras"):
        public_weights(get_network("densenet_121"), "slim")
    with pytest.raises(UserError, match="mini_vgg has no public weights: pretrain it with .*--model=mini_vgg"):
        public_weights(get_network("mini_vgg"))
    with pytest.raises(UserError, match="there is no network 'alexnet', .*inception_v1, .*densenet_121"):
        get_network("alexnet")
    assert get_network(NETWORKS["vgg_16"]) is NETWORKS["vgg_16"]


def test_the_catalog_needs_no_tensorflow():
    code = ("import sys, tfbench.models.lookup, tfbench.files.downloads\n"
            "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("metadata, option, size", [
    ({"image_size": 299}, None, 299), ({"image_size": 224}, None, 224), ({}, None, 299),
    ({"image_size": 224}, 448, 448)])
def test_networks_transfer_at_the_size_of_their_public_accuracy(metadata, option, size):
    values = {"model": "resnet_v2_50", "dataset": "digits", "image_size": option}
    manifest = {"splits": dict.fromkeys(("train", "validation", "test"), {"n": 2, "sha256": "a"}), "content": "b",
                "verification": dict.fromkeys(("counts", "labels", "keys"), {"result": "PASS"})}
    metadata = {"dataset": "imagenet", "sha256": "c", "bn_scale": True, "value_range": "inception"} | metadata
    spec = RunConfig.from_flags("finetune", values).spec(
        NETWORKS["resnet_v2_50"], DATASETS["digits"], manifest, metadata)
    assert spec["image_size"] == size
