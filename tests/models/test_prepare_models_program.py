"""The program prepare_models as a user runs it, on checkpoints and images that the tests make."""

import dataclasses
import functools
import hashlib
import http.server
import json
import tarfile
import threading

import numpy as np
import pytest
import tensorflow as tf
from helpers import reference_networks
from helpers.programs import parse
from models.test_convert import training_checkpoint, write

from tfbench import UserError, finetune, inputs, prepare_models
from tfbench.files import downloads
from tfbench.models import lookup, weights
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS
from tfbench.models.lookup import public_weights


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive as the public ones: a V1 checkpoint of Inception v1's training in a .tar.gz."""
    folder = tmp_path_factory.mktemp("archive")
    write(folder / "inception_v1.ckpt", training_checkpoint("inception_v1"), "V1")
    path = folder / "inception_v1_2016_08_28.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "inception_v1.ckpt", "inception_v1.ckpt")
    return path


@pytest.fixture(scope="module")
def public(archive):
    """Serves the archive's folder; yields the public weights with that address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=archive.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield dataclasses.replace(
            public_weights(NETWORKS["inception_v1"]), url=f"http://127.0.0.1:{server.server_port}/{archive.name}",
            size=archive.stat().st_size, checksum="sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest())
        server.shutdown()


@pytest.fixture
def served(public, monkeypatch):
    monkeypatch.setattr(prepare_models, "public_weights", lambda *_: public)


def test_public_checkpoint_is_fetched_converted_and_found_by_the_programs(tmp_path, served, run_program):
    arguments = ["--model=inception_v1", f"--weights_dir={tmp_path}"]
    output = run_program(prepare_models, *arguments)
    assert "fetching http://127.0.0.1" in output and "230 tensors (230 moving averages)" in output
    assert "network built in" in output and "converted in" in output
    assert "prepared before" in run_program(prepare_models, *arguments)

    path = tmp_path / "inception_v1.weights.h5"
    metadata = json.loads((tmp_path / "inception_v1.json").read_text())
    assert metadata["dataset"] == "imagenet" and metadata["source"] == "slim"
    assert (metadata["accuracy"], metadata["accuracy_is"]) == (0.698, "published")
    assert (metadata["image_size"], metadata["crop"]) == (224, "central")
    assert metadata["value_range"] == "inception" and metadata["not_needed"]["step"] == 2
    assert len(metadata["file_sha256"]) == 64 and metadata["classes"] == 1000
    model = build_network("inception_v1", weights=path)
    expected = reference_networks.outputs("inception_v1")["logits"][:, 1:]
    np.testing.assert_allclose(model(reference_networks.images("inception_v1"))["logits"], expected, atol=1e-4)

    options = parse(finetune, [*arguments, "--dataset=digits"])
    assert inputs.weights_path(options) == str(path)


def test_archive_on_disk_needs_no_network(tmp_path, archive, served, run_program):
    output = run_program(prepare_models, "--model=inception_v1", f"--weights_dir={tmp_path}", f"--archive={archive}")
    assert "fetching" not in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inception_v1.json", "inception_v1.weights.h5"]
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged.tar.gz"):
        run_program(prepare_models, "--model=inception_v1", f"--weights_dir={tmp_path / 'b'}", f"--archive={damaged}")


def test_own_checkpoint_goes_where_it_is_told(tmp_path, run_program):
    checkpoint = write(tmp_path / "model.ckpt-7", reference_networks.tensors("mobilenet_v1"))
    arguments = ["--model=mobilenet_v1", f"--checkpoint={checkpoint}"]
    with pytest.raises(UserError, match="--checkpoint needs --output"):
        run_program(prepare_models, *arguments)
    with pytest.raises(UserError, match=r"must end in .weights.h5"):
        run_program(prepare_models, *arguments, f"--output={tmp_path}/mine.h5")
    run_program(prepare_models, *arguments, f"--output={tmp_path}/mine.weights.h5")
    metadata = weights.read_metadata(tmp_path / "mine.weights.h5", NETWORKS["mobilenet_v1"])
    assert metadata["accuracy"] is None and metadata["checkpoint"] == checkpoint


def test_evaluation_on_imagenet_images(tmp_path, archive, served, run_program):
    draw = np.random.RandomState(0)
    images = tmp_path / "val"
    for synset in ("n01440764", "n01443537"):
        (images / synset).mkdir(parents=True)
        for number in range(3):
            pixels = draw.randint(0, 255, (250 + 30 * number, 240, 3), np.uint8)
            (images / synset / f"{number}.JPEG").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    output = run_program(prepare_models, "--model=inception_v1", f"--weights_dir={tmp_path / 'w'}",
                     f"--archive={archive}", f"--imagenet_val={images}", "--batch_size=4")
    result = json.loads((tmp_path / "w" / "inception_v1.json").read_text())["imagenet"]
    assert result["n"] == 6 and 0 <= result["top1"] <= result["top5"] <= 1
    assert result["published_top1"] == 0.698 and "69.8" in output
    metadata = weights.read_metadata(tmp_path / "w" / "inception_v1.weights.h5", NETWORKS["inception_v1"])
    assert metadata["accuracy_is"] == "published"  # six images are too few


# ---- several networks ------------------------------------------------------------------------------

NAMES = ("inception_v1", "mobilenet_v1", "mobilenet_v2", "resnet_50", "vgg_16")


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """A server with files of two networks; the others' lie on a host that is dead. Yields {network: address}.

    Conversion is replaced by writing a file of no weights: it is tested above.
    """
    (tmp_path / "served").mkdir()
    for name in NAMES[:2]:
        (tmp_path / "served" / name).write_bytes(name.encode() * 1000)
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)
    addresses = {name: f"http://127.0.0.1:9/{name}" for name in NAMES}

    def public_weights(network, source=None):
        return dataclasses.replace(lookup.public_weights(network, source), url=addresses[network.name], size=None,
                                   checksum=None)

    def convert(options, network, public, path, fetched):
        file, origin = prepare_models.obtained(options, public, fetched)
        path.write_bytes(file.read_bytes())
        metadata = {"network": network.name, "dataset": "imagenet", "accuracy": 0.5, "n_test": 50000, "source": "slim",
                    "sha256": origin["file_sha256"], "value_range": "inception", "bn_scale": True, "classes": 1000}
        weights.metadata_path(path).write_text(json.dumps(metadata))
        return metadata

    monkeypatch.setattr(prepare_models, "public_weights", public_weights)
    monkeypatch.setattr(prepare_models, "convert", convert)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        addresses |= {name: f"http://127.0.0.1:{server.server_port}/{name}" for name in NAMES[:2]}
        yield addresses
        server.shutdown()


def prepare(*arguments):
    return prepare_models.main(parse(prepare_models, list(arguments)))


def test_a_dead_host_among_several_networks_is_told_and_the_rest_goes_on(tmp_path, hosts, capsys):
    arguments = [f"--model={','.join(NAMES)}", f"--weights_dir={tmp_path / 'w'}"]
    assert prepare(*arguments, "--action=status") is None
    assert "0 of 5 networks there" in capsys.readouterr().out and not (tmp_path / "w").exists()
    assert prepare(*arguments) == 1
    printed, errors = capsys.readouterr()
    assert printed.count("fetching http") == 5
    for name in NAMES[2:]:
        assert f"missing: {name}: cannot fetch http://127.0.0.1:9/{name} (" in errors
    assert "2 of 5 networks there, 3 missing; the same command fetches only what is missing" in errors

    assert prepare(*arguments, "--action=status") is None
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "there" in lines["inception_v1"] and "slim" in lines["inception_v1"] and "missing" in lines["vgg_16"]
    assert "2 of 5 networks there" in lines["2"] and "about" in lines["3"] and "3 missing" in lines["3"]

    (tmp_path / "served" / "shared").write_bytes(b"of several networks")
    hosts |= dict.fromkeys(NAMES[2:], hosts["mobilenet_v1"].replace("mobilenet_v1", "shared"))  # they are back
    assert prepare(*arguments) is None
    printed, errors = capsys.readouterr()
    assert printed.count("prepared before") == 2 and printed.count("fetching http") == 1 and "missing" not in errors
    assert "5 networks there in" in printed


def test_what_is_damaged_is_set_aside_with_advice_that_keeps_it(tmp_path, hosts, capsys):
    arguments = ["--model=inception_v1,mobilenet_v1", f"--weights_dir={tmp_path / 'w'}"]
    assert prepare(*arguments) is None
    (tmp_path / "w" / "inception_v1.weights.h5").write_bytes(b"x")
    capsys.readouterr()
    assert prepare(*arguments) == 1
    printed, errors = capsys.readouterr()
    assert "missing: inception_v1: " in errors and "move " in errors and "1 missing" in errors
    assert "prepared before" in printed
    assert prepare(*arguments, "--action=status") is None
    assert "not usable" in capsys.readouterr().out
    assert prepare(*arguments, "--source=keras") == 1  # the older name of --weights_source
    errors = capsys.readouterr().err
    assert "inception_v1 has no public weights from 'keras', only from slim: choose another --weights_source" in errors
    assert "mobilenet_v1.weights.h5 was made from slim: move it and mobilenet_v1.json elsewhere, or" in errors


@pytest.mark.parametrize(("arguments", "told"), [
    (["--model=small", "--archive=x"], "--archive is a file of one network, --model has 10: name one"),
    (["--model=vgg_*", "--checkpoint=x", "--output=x.weights.h5"], "--checkpoint is a file of one network"),
    (["--model=helpers.tiny_networks:tiny"], "is a custom network, which loads its weights itself"),
])
def test_what_makes_no_sense_of_several_networks_is_refused(arguments, told):
    with pytest.raises(UserError, match=told):
        prepare(*arguments)


@pytest.mark.parametrize(("text", "number"), [("all", 63), ("paper", 16), ("paper_v1", 13), ("keras", 40),
                                              ("modern", 22), ("resnet_*,vgg_16,resnet_50", 7)])
def test_networks_come_by_list_pattern_and_group(text, number):
    names = parse(prepare_models, [f"--model={text}"]).model
    assert len(names) == len(set(names)) == number and set(names) <= set(NETWORKS)
