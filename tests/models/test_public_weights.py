"""The table of public weights: complete, well formed and in agreement with the table of networks."""

import pathlib
import re
import subprocess
import sys

import keras
import pytest

from tfbench import UserError
from tfbench.models.catalog import NETWORKS
from tfbench.models.public_weights import CHECKPOINTS, checkpoint

SLIM = {name: row for (name, source), row in CHECKPOINTS.items() if source == "slim"}
KERAS = {name: row for (name, source), row in CHECKPOINTS.items() if source == "keras"}
DIGITS = {"md5": 32, "sha256": 64, "sha384": 96}


def test_every_network_has_public_weights():
    densenets = {name for name in NETWORKS if name.startswith("densenet")}
    assert set(SLIM) == set(NETWORKS) - densenets and len(SLIM) == 20
    assert set(NETWORKS) - set(KERAS) == {"inception_v1", "bn_inception", "inception_v4", "pnasnet_mobile",
                                          "pnasnet_large"}
    assert all((row.network, row.source) == key for key, row in CHECKPOINTS.items())


@pytest.mark.parametrize("row", CHECKPOINTS.values(), ids=lambda row: f"{row.network}-{row.source}")
def test_row_is_well_formed(row):
    network = NETWORKS[row.network]
    assert row.url.startswith("https://") and row.url.endswith((".tar.gz", ".tgz") if row.source == "slim" else ".h5")
    assert row.size is None or 20_000_000 < row.size < 600_000_000
    if row.checksum:
        kind, digits = row.checksum.split(":")
        assert re.fullmatch(f"[0-9a-f]{{{DIGITS[kind]}}}", digits)
    assert 0.69 < row.top1 < row.top5 < 0.97
    # Caffe's networks were measured at the central square and have no background class in TF-Slim's checkpoints.
    caffe = network.family in ("resnet_v1", "vgg")
    if row.source == "slim":
        assert row.classes == (1000 if caffe else 1001)
        assert row.value_range == network.value_range == ("rgb_mean" if caffe else "inception")
        assert row.top1 == network.public_top1
        assert row.eval_size == (299 if network.family == "resnet_v2" else network.image_size)
    else:
        assert row.classes == 1000 and row.eval_size == network.image_size
        assert row.value_range == ("caffe" if caffe else network.value_range)
    assert row.geometry == ("vgg" if caffe or network.family == "densenet" else "inception")


def test_addresses_and_checksums_are_unique():
    assert len({row.url for row in CHECKPOINTS.values()}) == len(CHECKPOINTS)
    checksums = [row.checksum for row in CHECKPOINTS.values() if row.checksum]
    assert len(set(checksums)) == len(checksums) == 24
    assert len([row for row in SLIM.values() if row.checksum]) == 9


@pytest.mark.parametrize("row", KERAS.values(), ids=lambda row: row.network)
def test_keras_files_are_those_that_keras_fetches(row):
    folder = pathlib.Path(keras.__file__).parent / "src" / "applications"
    source = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    if row.checksum:
        assert f'"{row.checksum.removeprefix("md5:")}"' in source
        assert pathlib.PurePosixPath(row.url).name.split("_weights_")[0] in source
    else:  # Keras has no checksum of MobileNets
        assert row.network.startswith("mobilenet")
    assert row.url.split("keras-applications/")[1].split("/")[0] + "/" in source


def test_slims_are_taken_unless_told_otherwise():
    assert checkpoint("resnet_50").source == "slim"
    assert checkpoint("resnet_50", "slim").value_range == "rgb_mean"
    assert checkpoint("resnet_50", "keras").value_range == "caffe"
    assert checkpoint("densenet_201").source == "keras"
    assert checkpoint("densenet_201").value_range == "torch"


def test_what_does_not_exist_is_told():
    with pytest.raises(UserError, match="inception_v4 has no public weights from 'keras', only from slim"):
        checkpoint("inception_v4", "keras")
    with pytest.raises(UserError, match="densenet_121 has no public weights from 'slim', only from keras"):
        checkpoint("densenet_121", "slim")
    with pytest.raises(UserError, match="no public weights of 'alexnet', only of inception_v1, .*densenet_121"):
        checkpoint("alexnet")


def test_the_table_needs_no_tensorflow():
    code = "import sys, tfbench.models.public_weights, tfbench.files.downloads; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
