"""What a path that is to be a checkpoint was found to be, and whose weights its tensors are."""

import random
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import reference_networks
from models.test_convert import write

from tfbench import UserError, prepare_models
from tfbench.models import checkpoints, convert, keras_files, weights
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS

TINY = {"net/weights": np.ones([2, 3], np.float32), "net/biases": np.arange(3, dtype=np.float32)}


# ---- paths ---------------------------------------------------------------------------------------


def save(prefix, version: str) -> None:
    """Saves one variable with TensorFlow 1's Saver: a V1 file or the files of a V2 checkpoint, .meta and all."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("a", initializer=[1.0, 2.0])
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(write_version=getattr(tf.compat.v1.train.SaverDef, version)).save(session, str(prefix))


def graph(path, tensors=TINY):
    """Writes a frozen graph with these constants, and others that no weights are called like."""
    with tf.Graph().as_default() as frozen:
        for name, value in tensors.items():
            tf.identity(tf.constant(value, name=name), name=f"{name}/read")
        tf.constant([1, 2], name="net/shape")
        path.write_bytes(frozen.as_graph_def().SerializeToString())


def saved_model(folder, tensors=TINY):
    """Writes a SavedModel as TensorFlow 1 does."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in tensors.items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"])
        builder.save()


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")


def v2(folder, name="model.ckpt-7"):
    write(folder / name, TINY)
    return folder / name


def in_folder(folder, *names, latest=None):
    for name in names:
        v2(folder, name)
    if latest:
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "/elsewhere/{latest}"\n')
    return folder


def objects(folder):
    """A checkpoint of TensorFlow 2, whose variables have names of their own."""
    holder = tf.Module()
    holder.one, holder.two = (tf.Variable(value, name=name) for name, value in TINY.items())
    return tf.train.Checkpoint(model=holder).write(str(folder / "object"))


READ = {
    "prefix": (v2, "model.ckpt-7 is a V2 checkpoint"),
    "index": (lambda folder: f"{v2(folder)}.index", "model.ckpt-7.index is of the V2 checkpoint model.ckpt-7"),
    "data": (lambda folder: f"{v2(folder)}.data-00000-of-00001", "is of the V2 checkpoint model.ckpt-7"),
    "meta": (lambda folder: f"{v2(folder)}.meta", "model.ckpt-7.meta is of the V2 checkpoint model.ckpt-7"),
    "V1": (lambda folder: write(folder / "old.ckpt", TINY, "V1"), "old.ckpt is a V1 checkpoint"),
    "V1 in shards": (lambda folder: write(folder / "old.ckpt-00000-of-00001", TINY, "V1")[:-15], "checkpoint in 1 f"),
    "folder": (lambda folder: in_folder(folder, "a"), "is a folder with one checkpoint: a is a V2 checkpoint"),
    "folder/": (lambda folder: f"{in_folder(folder, 'a')}/", "is a folder with one checkpoint"),
    "latest": (lambda folder: in_folder(folder, "a-1", "a-2", latest="a-1"), "names the latest: a-1 is a V2"),
    "file checkpoint": (lambda folder: in_folder(folder, "a-1", "a-2", latest="a-2") / "checkpoint", "latest: a-2 is"),
    "SavedModel": (lambda folder: saved_model(folder / "saved") or folder / "saved", "is a SavedModel, its variables"),
    "frozen graph": (lambda folder: graph(folder / "net.pb") or folder / "net.pb",
                     "net.pb is a frozen graph, its 2 constants that are called as weights are read"),
    "frozen SavedModel": (
        lambda folder: graph(folder / "net.pb") or (folder / "net.pb").rename(folder / "saved_model.pb").parent,
        "is a SavedModel without variables"),
    "objects": (objects, "object is a V2 checkpoint"),
}


@pytest.mark.parametrize("kind", READ)
def test_a_path_is_found_to_be(tmp_path, kind):
    make, told = READ[kind]
    if kind == "frozen SavedModel":  # SavedModel's message around the graph
        graph(tmp_path / "net.pb")
        meta = tf.compat.v1.MetaGraphDef(graph_def=tf.compat.v1.GraphDef.FromString((tmp_path / "net.pb").read_bytes()))
        (tmp_path / "saved_model.pb").write_bytes(
            checkpoints.saved_model_pb2.SavedModel(meta_graphs=[meta]).SerializeToString())
        path = tmp_path
    else:
        path = make(tmp_path)
    found = checkpoints.read(path)
    assert told in found.taken
    for name, value in TINY.items():
        np.testing.assert_array_equal(found.tensors[name], value)
    assert not [name for name, value in found.tensors.items() if value.dtype.kind not in "fi"]


REFUSED = {
    "nothing": (lambda folder: v2(folder).with_name("model.ckpt-8"), "there is no checkpoint .*has model.ckpt-7"),
    "no data": (lambda folder: (folder / f"{v2(folder).name}.data-00000-of-00001").unlink() or folder / "model.ckpt-7",
                "lacks model.ckpt-7.data-00000-of-00001: copy all its files"),
    "no index": (lambda folder: (folder / f"{v2(folder).name}.index").unlink()
                 or folder / "model.ckpt-7.data-00000-of-00001", "whose .index does not lie beside it"),
    "several": (lambda folder: in_folder(folder, "a-1", "a-2"), "found 2 .there is a-1, a-2.: name one"),
    "empty folder": (lambda folder: folder, "found none .there is nothing."),
    "PyTorch": (lambda folder: zipped(folder / "x.ckpt", "archive/data.pkl") or folder / "x.ckpt", "a file of PyTorch"),
    "Keras": (lambda folder: zipped(folder / "x.keras", "config.json") or folder / "x.keras", "--model=PATH.keras"),
    **{name: (lambda folder, content=content: (folder / "x").write_bytes(content) and folder / "x", told)
       for name, content, told in (
           ("gzip", b"\x1f\x8b123", "an archive .gzip."), ("Git LFS", b"version https://git-lfs.x", "git lfs pull"),
           ("page", b"<!DOCTYPE html>", "a web page"), ("pickle", b"\x80\x02}q", "probably PyTorch's"),
           ("Lite", b"1234TFL3....", "TensorFlow Lite"), ("safetensors", b"12345678{}", "safetensors"),
           ("text", b"no checkpoint", "is no TensorFlow checkpoint"),
           ("a graph", b"\n\x05\n\x01a", "is no TensorFlow"))},
    "empty file": (lambda folder: (folder / "x").write_bytes(b"") or folder / "x", "is empty"),
    "cut": (lambda folder: (folder / "x.index").write_bytes(b"123") and v2(folder, "x") and (
        folder / "x.index").write_bytes(b"123") and folder / "x", "is no TensorFlow checkpoint that can be read"),
    "graph without weights": (lambda folder: graph(folder / "net.pb", {"net/w": TINY["net/weights"]})
                              or folder / "net.pb", "a graph without weights by name"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_checkpoint_is_named(tmp_path, kind):
    make, told = REFUSED[kind]
    with pytest.raises(UserError, match=told):
        checkpoints.read(make(tmp_path))


@pytest.mark.slow
def test_no_name_or_content_ends_in_a_traceback(tmp_path):
    draw = random.Random(0)
    v2(tmp_path, "a b%s-1")
    write(tmp_path / "old.ckpt", TINY, "V1")
    graph(tmp_path / "net.pb")
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ends = ("", ".index", ".data-00000-of-00001", ".meta", "-00000-of-00001", ".pb", "/", "/checkpoint", "*", "[", "é")
    for number in range(300):
        name, content = draw.choice(list(whole.items()))
        folder = tmp_path / str(number)
        folder.mkdir()
        for other, bytes_ in whole.items():
            (folder / other).write_bytes(bytes_)
        place = draw.randrange(len(content))
        (folder / name).write_bytes(content[:place] + bytes(draw.randrange(256) for _ in range(draw.choice((0, 1, 9))))
                                    + content[place + draw.choice((0, 1, 9)):])
        for path in (folder / name, f"{folder}/{name.split('.')[0]}{draw.choice(ends)}", folder):
            try:
                checkpoints.read(path)
            except UserError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("name", ["inception_v1.ckpt", "sub/mobilenet_v1_1.0_224.ckpt"])
def test_the_checkpoint_is_found(tmp_path, version, name):
    (tmp_path / "sub").mkdir()
    save(tmp_path / name, version)
    for other in ("x.pb", "x_frozen.pb", "eval.graph", "x.tflite", "info.txt", "._inception_v1.ckpt"):
        (tmp_path / other).write_text("")
    found = checkpoints.find(str(tmp_path))
    assert found == str(tmp_path / name) and (tmp_path / name).exists() == (version == "V1")
    np.testing.assert_array_equal(checkpoints.read(found).tensors["a"], [1, 2])


def test_none_and_several_checkpoints_are_told(tmp_path):
    (tmp_path / "frozen.pb").write_text("")
    with pytest.raises(UserError, match=r"found none \(there is frozen.pb\): .*--checkpoint=PREFIX"):
        checkpoints.find(str(tmp_path))
    save(tmp_path / "model.ckpt-1", "V2")
    (tmp_path / "model.ckpt-1.data-00000-of-00001").rename(tmp_path / "data")
    with pytest.raises(UserError, match="found none"):  # without its data
        checkpoints.find(str(tmp_path))
    (tmp_path / "data").rename(tmp_path / "model.ckpt-1.data-00000-of-00001")
    assert checkpoints.find(str(tmp_path)) == str(tmp_path / "model.ckpt-1")
    save(tmp_path / "model.ckpt-2", "V1")
    with pytest.raises(UserError, match=r"found 2 \(there is model.ckpt-2, model.ckpt-1\): name one"):
        checkpoints.find(str(tmp_path))


# ---- whose weights -------------------------------------------------------------------------------

CLASSIFIER = "MobilenetV1/Logits/Conv2d_1c_1x1/weights"


@pytest.fixture(scope="module")
def tensors():
    return reference_networks.tensors("mobilenet_v1")


@pytest.fixture(scope="module")
def model():
    return build_network("mobilenet_v1", num_classes=5)


def with_classes(tensors, count):
    changed = dict(tensors)
    for name, value in tensors.items():
        if "/Logits/" in name:
            changed[name] = value[..., :count]
    return changed


def without_head(tensors):
    return {name: value for name, value in tensors.items() if "/Logits/" not in name}


def scoped(tensors, scope):
    return {scope + name: value for name, value in tensors.items()}


TAKEN = {
    "1,001 classes": (lambda all: all, 1001, ("1,001 classes, the first (background) is left off",)),
    "5 classes": (lambda all: with_classes(all, 5), 5, ("5 classes",)),
    "no head": (without_head, None, ("no classifier in it: the file will have features only",)),
    "scope": (lambda all: scoped(all, "module/"), 1001, ("the scope module/ is left off",)),
    "scope, no head": (lambda all: scoped(without_head(all), "a/b/"), None, ("the scope a/b/ is left off",)),
    "scope of its own name": (lambda all: scoped(all, "MobilenetV1/"), 1001, ("the scope MobilenetV1/ is left off",)),
    "a copy beside it": (lambda all: all | scoped(all, "copy/"), 1001, ("1,001 classes",)),
    "averages only": (lambda all: {f"{name}{convert.AVERAGE}": value for name, value in all.items()}, 1001, ("1,001",)),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_tensors_are_taken_for_the_networks(tensors, kind):
    make, classes, told = TAKEN[kind]
    taken = convert.take("mobilenet_v1", make(tensors))
    assert taken.classes == classes
    for text in told:
        assert text in "; ".join(taken.words)
    assert {name.removesuffix(convert.AVERAGE) for name in taken.tensors} >= set(without_head(tensors))


@pytest.mark.parametrize("network, make, told", [
    ("mobilenet_v1", lambda: reference_networks.tensors("mobilenet_v2"),
     "the checkpoint is mobilenet_v2's, not mobilenet_v1's .*take --model=mobilenet_v2"),
    ("inception_v4", lambda: scoped(reference_networks.tensors("mobilenet_v1"), "module/"), "--model=mobilenet_v1"),
    ("resnet_50", lambda: without_head(reference_networks.tensors("mobilenet_v1")), "v1_50/.*--model=mobilenet_v1"),
    ("mobilenet_v1", lambda: {CLASSIFIER: np.zeros([1, 1, 512, 1001])}, "has 512 features, mobilenet_v1's 1,024"),
    ("mobilenet_v1", lambda: {"bert/encoder/kernel": np.zeros(3)}, "none of the catalog's networks is called so"),
    ("nasnet_mobile", lambda: {"final_layer/FC/weights": np.zeros([1080, 1001])}, "is pnasnet_mobile's"),
    ("mobilenet_v1", lambda: {f"{scope}/{CLASSIFIER}": np.zeros([1, 1, 1024, 9]) for scope in "ab"}, "in 2 scopes, a/"),
])
def test_another_networks_tensors_are_named(network, make, told):
    with pytest.raises(UserError, match=told):
        convert.take(network, make())


def slots(tensors, *endings, value=0.0):
    return {f"{name}{ending}": np.full_like(one, value) for name, one in tensors.items() for ending in endings}


BESIDE = {
    "momenta": (lambda all: slots(all, "/Momentum"), "optimizer"),
    "Adadelta": (lambda all: slots(all, "/Adadelta", "/Adadelta_1"), "optimizer"),
    "an optimizer of one's own": (lambda all: slots(all, "/MyOptimizer_3"), "kept beside a weight"),
    "zero_debias": (lambda all: slots({name: all[name] for name in all if "moving" in name}, "/biased", "/local_step"),
                    "state of an average"),
    "zero_debias, nested": (lambda all: {f"MobilenetV1/Conv/{name}/biased": one for name, one in all.items()},
                            "state of an average"),
    "numbers": (lambda all: {"learning_rate": np.float32(1), "Variable": np.int64(3), "good_steps": np.int32(1)},
                "single number"),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_training_keeps_beside_the_weights_is_passed_over(model, tensors, kind):
    make, why = BESIDE[kind]
    mine = with_classes(tensors, 5)
    beside = make(mine)
    assert convert.assign(model, mine | beside)["not_needed"] == {why: len(beside)}


def test_averages_are_taken_and_said(model, tensors):
    raw = with_classes(tensors, 5)
    averages = {f"{name}{convert.AVERAGE}": one + 1 for name, one in raw.items()}
    for given, number, told in ((averages, 137, "moving averages are taken, not raw values"),
                                (raw | averages, 137, "moving averages are taken, not raw values"),
                                (raw, 0, "raw values are taken, there are no moving averages")):
        account = convert.assign(model, given)
        assert account["averaged"] == number and convert.which_values(account) == told
    some = raw | {name: one for name, one in averages.items() if "moving" not in name}
    assert "raw values of the others" in convert.which_values(convert.assign(model, some))


@pytest.mark.parametrize("value, told", [
    (np.full([3, 3, 3, 32], np.nan, np.float32), "values that are not finite – not finite: MobilenetV1/Conv2d_0/"),
    (np.zeros([3, 3, 3, 32], np.int8), r"of another shape or type: .*Conv2d_0/weights \[3, 3, 3, 32\] int8"),
])
def test_values_that_are_no_weights_are_refused(model, tensors, value, told):
    with pytest.raises(UserError, match=told):
        convert.assign(model, with_classes(tensors, 5) | {"MobilenetV1/Conv2d_0/weights": value})


def test_half_precision_is_taken(model, tensors):
    half = {name: one.astype(np.float16) for name, one in with_classes(tensors, 5).items()}
    convert.assign(model, half)
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, half["MobilenetV1/Conv2d_0/weights"])


# ---- the program ---------------------------------------------------------------------------------


def prepare(run_program, folder, checkpoint, model="mobilenet_v1", **more):
    return run_program(prepare_models, f"--model={model}", f"--checkpoint={checkpoint}",
                       f"--output={folder}/x.weights.h5", *(f"--{name}={value}" for name, value in more.items()))


def test_the_program_says_what_it_took(tmp_path, tensors, run_program):
    given = scoped(without_head(tensors), "module/") | {"head/kernel": np.zeros([3, 4], np.float32)}
    path = write(tmp_path / "model.ckpt", given) + ".index"
    output = prepare(run_program, tmp_path, path)
    assert ("model.ckpt.index is of the V2 checkpoint model.ckpt; the scope module/ is left off; no classifier in it: "
            "the file will have features only; raw values are taken, there are no moving averages\n") in output
    assert "not needed: 1 tensors (outside of the scope)" in output
    file = tmp_path / "x.weights.h5"
    metadata = weights.read_metadata(file, NETWORKS["mobilenet_v1"])
    assert metadata["classes"] is None and metadata["dataset"] == "unknown"
    model = build_network("mobilenet_v1", weights=str(file), num_classes=3)
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, tensors["MobilenetV1/Conv2d_0/weights"])
    with pytest.raises(UserError, match="logits .*not in it"):
        build_network("mobilenet_v1", weights=str(file))
    with pytest.raises(UserError, match="has no classifier to evaluate"):
        prepare(run_program, tmp_path, path, imagenet_val=tmp_path)


def test_a_file_of_keras_applications_is_taken_or_named(tmp_path, run_program):
    keras.utils.set_random_seed(1)
    shipped = keras_files.build(NETWORKS["mobilenet_v1"], classes=7)
    shipped.save(tmp_path / "net.h5")
    output = prepare(run_program, tmp_path, tmp_path / "net.h5")
    assert "net.h5 is a weights file of Keras Applications, for RGB in [-1, 1]; 7 classes" in output
    model = build_network("mobilenet_v1", weights=f"{tmp_path}/x.weights.h5")
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, shipped.get_layer("conv1").kernel)
    shipped.save_weights(tmp_path / "new.weights.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = [1.0]
    for name, network, told in (("net.h5", "mobilenet_v2", "it fits --model=mobilenet_v1"),
                                ("net.h5", "inception_v4", "Keras, which has no Inception v4"),
                                ("new.weights.h5", "mobilenet_v1", "a weights file of Keras 3"),
                                ("other.h5", "mobilenet_v1", "an HDF5 file, but no weights file of Keras")):
        with pytest.raises(UserError, match=told):
            prepare(run_program, tmp_path, tmp_path / name, network)


def test_weights_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file/x.weights.h5 .*make the folder writable"):
        weights.save(keras.Sequential(), tmp_path / "file" / "x.weights.h5", {})
