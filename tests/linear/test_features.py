"""Fixed features: the frozen graph is the network, the cache holds what was computed, custom features."""

import dataclasses
import json
import re
import subprocess
import sys
import types
import unittest.mock

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from helpers.programs import FlagsError, parse

from tfbench import UserError, logistic_regression
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import load_split, select
from tfbench.data.pipeline import evaluation_batches, to_network
from tfbench.linear import cache, features, regression
from tfbench.models import weights as weights_files
from tfbench.models.build import build_network
from tfbench.results import store
from tfbench.stats import transferability

SIZE = 32


class Progress:
    """Counts the images and is interrupted after `most`."""

    def __init__(self, most=10 ** 9):
        self.seen, self.most = 0, most

    def images(self, number):
        self.seen += number
        if self.seen > self.most:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def digits(data_dir):
    return load_split(DATASETS["digits"], "train", data_dir)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Random weights whose batch norm statistics are not the initial ones."""
    model = build_network("mobilenet_v1", num_classes=10, image_size=SIZE)
    draw = np.random.RandomState(0)
    for variable in model.variables:
        if "moving_variance" in variable.path or "gamma" in variable.path:
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
        elif "moving_mean" in variable.path or "beta" in variable.path:
            variable.assign(draw.normal(0, 0.2, variable.shape))
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    weights_files.save(model, path, {"network": "mobilenet_v1", "dataset": "glyphs", "metric": "top1",
                                     "accuracy": 0.5, "n_test": 10, "value_range": "inception", "spec": {}})
    return str(path)


def extractor(weights_file, devices=1, precision="float32"):
    return features.make_extractor("mobilenet_v1", weights_file=weights_file, weights_sha256="", image_size=SIZE,
                                   value_range="inception", devices=devices, precision=precision)


@pytest.fixture(scope="module")
def keras_features(digits, weights_file):
    model = build_network("mobilenet_v1", weights=weights_file, num_classes=1, image_size=SIZE)
    found = np.zeros((len(digits.keys), 1024), np.float32)
    for images, indices in evaluation_batches(digits, image_size=SIZE, batch_size=64):
        real = indices.numpy() >= 0
        found[indices.numpy()[real]] = model(to_network(images, "inception"), training=False)["features"].numpy()[real]
    return found


@pytest.mark.parametrize("devices", [1, 4])
def test_frozen_graph_is_the_network(digits, weights_file, keras_features, devices):
    def batches(part):
        return evaluation_batches(digits, image_size=SIZE, batch_size=64, shard=part)

    found = extractor(weights_file, devices)(batches, len(digits.keys), "features")
    assert keras_features.std() > 0.1
    np.testing.assert_allclose(found, keras_features, atol=2e-5 * np.abs(keras_features).max())


def test_frozen_graph_has_no_variables_and_folds_batch_norm(weights_file, digits):
    few = select(digits, np.arange(4))
    extractor(weights_file)(lambda part: evaluation_batches(few, image_size=SIZE, batch_size=4, shard=part), 4,
                            "features")
    graph = features.freeze("mobilenet_v1", weights_file, SIZE, "inception")
    frozen = graph.__closure__[0].cell_contents
    assert not frozen.variables and not [op for op in frozen.graph.get_operations() if "ReadVariable" in op.type]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_reduced_precision_is_close_and_is_another(digits, weights_file, keras_features, policy):
    some = next(iter(evaluation_batches(select(digits, np.arange(32)), image_size=SIZE, batch_size=32)))[0]
    if policy == "float32":  # TensorFlow's own rewriting, on a CPU
        found = extractor(weights_file, precision="bfloat16")(
            lambda part: tf.data.Dataset.from_tensors((some, np.arange(32))), 32, "features")
    else:  # Keras's policy, on a GPU
        found = features.freeze("mobilenet_v1", weights_file, SIZE, "inception", policy=policy)(some).numpy()
    error = np.linalg.norm(found - keras_features[:32]) / np.linalg.norm(keras_features[:32])
    assert error < 0.05 and found.dtype == np.float32
    if policy == "mixed_bfloat16":  # which every processor computes; TensorFlow rewrites for some only
        assert error > 1e-4


def test_classifier_of_the_weights_takes_the_features(digits, weights_file):
    """LEEP and NCE need the source's logits: features times what the file holds, without another pass."""
    model = build_network("mobilenet_v1", weights=weights_file, image_size=SIZE)
    images = next(iter(evaluation_batches(select(digits, np.arange(8)), image_size=SIZE, batch_size=8)))[0]
    outputs = model(to_network(images, "inception"), training=False)
    kernel, bias = weights_files.classifier(weights_file)
    np.testing.assert_allclose(outputs["features"].numpy() @ kernel + bias, outputs["logits"], rtol=1e-4, atol=1e-5)


@pytest.fixture
def fixed(tmp_path, weights_file, monkeypatch):
    """Features of 400 images in shards of 100."""
    monkeypatch.setattr(features, "SHARD_EXAMPLES", 100)
    return features.FixedFeatures(lambda precision: extractor(weights_file, 1, precision), "float32",
                                  cache.FeatureCache(tmp_path / "features"), SIZE, 64, Progress())


def refused(precision):
    raise AssertionError("computed again")


def test_what_was_computed_is_kept(fixed, digits, keras_features):
    first = fixed.of(digits, "validation")
    np.testing.assert_allclose(first, keras_features, atol=2e-5 * np.abs(keras_features).max())
    assert sorted(path.name for path in fixed.cache.folder.iterdir()) == [
        "speed.json", *(f"validation-0000{i}.npz" for i in range(4))]
    again = dataclasses.replace(fixed, make_extractor=refused, progress=Progress())
    assert (again.of(digits, "validation") == first).all() and again.progress.seen == len(digits.keys)
    speed = json.loads((fixed.cache.folder / "speed.json").read_text())
    assert speed["images"] == len(digits.keys) - 64  # the first batch waits for the graph
    assert again.images_per_second() == speed["images_per_second"] > 0


def test_interrupted_extraction_goes_on_with_what_is_missing(fixed, digits):
    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(fixed, progress=Progress(250)).of(digits, "validation")
    assert 1 <= len(list(fixed.cache.folder.glob("*.npz"))) <= 2
    progress = Progress()
    resumed = dataclasses.replace(fixed, progress=progress).of(digits, "validation")
    whole = dataclasses.replace(fixed, cache=cache.FeatureCache(fixed.cache.folder / "else")).of(digits, "validation")
    np.testing.assert_allclose(resumed, whole, rtol=1e-4, atol=1e-4)
    assert progress.seen == len(digits.keys)


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-500]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(flipped(path.read_bytes())),
    lambda path: np.savez(path, keys=np.array(["another"]), features=np.zeros((1, 1024), np.float32))])
def test_damaged_shard_is_computed_again(damage, fixed, digits):
    first = fixed.of(digits, "validation")
    damage(fixed.cache.folder / "validation-00001.npz")
    progress = Progress()
    np.testing.assert_allclose(dataclasses.replace(fixed, progress=progress).of(digits, "validation"), first, atol=1e-5)
    dataclasses.replace(fixed, make_extractor=refused).of(digits, "validation")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1:]


def test_features_that_are_not_finite_are_refused_by_name(fixed, digits):
    values = np.ones((100, 3), np.float32)
    values[7] = np.nan
    part = select(digits, np.arange(100))
    fixed.cache.write("validation", 0, part.keys, values)
    with pytest.raises(UserError, match=re.escape(f"1 of 100 validation images are not finite, the first is "
                                                  f"{part.keys[7]}")):
        fixed.of(part, "validation")


def test_reduced_precision_has_its_error_measured_once(fixed, digits):
    assert fixed.reduced_error(digits) is None
    reduced = dataclasses.replace(fixed, precision="bfloat16")
    error = reduced.reduced_error(digits)
    assert 0 <= error < 0.05 and dataclasses.replace(reduced, make_extractor=refused).reduced_error(digits) == error


def test_key_covers_what_determines_the_bytes(tmp_path):
    spec = {"network": "mobilenet_v1", "weights_sha256": "a", "value_range": "inception", "image_size": 32,
            "precision": "float32", "batch_size": 64, "devices": 1, "dataset": "folder:my pets",
            "data": {"train": "t", "content": "c", "verification": "v", "difficult": "ignore"}}
    manifest = {"splits": {split: {"n": 1500} for split in ("train", "validation", "test")}}
    first = cache.open_cache(tmp_path, cache.make_key(spec, manifest, processor="CPU"))
    assert re.fullmatch(r"mobilenet_v1-folder_my_pets-[0-9a-f]{16}", first.folder.name)
    for change in ({"weights_sha256": "b"}, {"image_size": 64}, {"precision": "bfloat16"}, {"value_range": "caffe"},
                   {"data": spec["data"] | {"verification": "w"}}, {"data": spec["data"] | {"train": "u"}}):
        other = cache.open_cache(tmp_path, cache.make_key(spec | change, manifest, processor="CPU"))
        assert other.folder != first.folder, change
    same = spec | {"data": spec["data"] | {"difficult": "negative"}}  # labels are no matter of the images
    assert cache.open_cache(tmp_path, cache.make_key(same, manifest, processor="CPU")) == first
    first.write("train", 0, ["a"], np.zeros((1, 2), np.float32))
    line, = (line for line in cache.describe_all(tmp_path) if line.startswith(first.folder.name))
    assert "32 pixels, float32, train 1,024 of 1,500, validation 0 of 1,500" in line


def test_batches_get_other_sizes():
    batches = [np.arange(5), np.arange(5, 6), np.arange(6, 12)]
    assert [batch.tolist() for batch in features.rebatch(batches, [2, 2, 7, 1])] == [
        [0, 1], [2, 3], [4, 5, 6, 7, 8, 9, 10], [11]]


# ---- custom features ----------------------------------------------------------------------------


def arrays(n=90, classes=3):
    """Three splits of features from which the class can be told."""
    draw = np.random.RandomState(0)
    labels = np.arange(n) % classes
    split = np.array(["train", "validation", "test"])[(np.arange(n) // classes) % 3]
    return {"X": (np.eye(classes, 6)[labels] + 0.3 * draw.randn(n, 6)).astype(np.float32), "y": labels, "split": split}


@pytest.mark.parametrize("multi_label", [False, True])
def test_custom_features_give_a_row(multi_label, tmp_path, run_program):
    given = arrays()
    if multi_label:
        given["y"] = 2 * np.eye(3, dtype=np.int64)[given["y"]] - 1
    np.savez(tmp_path / "mine.npz", **given)
    flags = [f"--features={tmp_path / 'mine.npz'}", f"--results_dir={tmp_path / 'r'}", "--l2=0.1,1,10,1000"]
    output = run_program(logistic_regression, *flags)
    row, = store.read_records(tmp_path / "r")
    assert f"logistic_regression features features:mine: {100 * row['accuracy']:.1f} %" in output
    assert row["metric"] == ("mean_average_precision" if multi_label else "top1")
    assert row["accuracy"] > 0.9 and row["n_test"] == 30
    assert len(row["trials"]) == 4 and all(trial["certified"] and trial["gap"] >= 0 for trial in row["trials"])
    assert row["refit"]["certified"] and row["source"] is None
    estimates = row.get("estimates", {})
    assert list(estimates) == ([] if multi_label else ["logme", "h_score", "shrunk_h_score", "seconds"])
    train = given["split"] == "train"
    if not multi_label:
        assert estimates["logme"] == pytest.approx(transferability.logme(
            transferability.spectrum(given["X"][train]), given["y"][train]), rel=1e-9)
    assert "finished before" in run_program(logistic_regression, *flags)
    if multi_label:
        assert row["spec"]["metric"] == row["metric"]
        output = run_program(logistic_regression, *flags, "--metric=voc_map")
        assert f"finished by another metric, --metric=mean_average_precision, in {row['path']}; it is" in output
        other, = (record for record in store.read_records(tmp_path / "r") if record.key != row.key)
        assert other.metric == "voc_map" and other.spec | {"metric": row["metric"]} == row["spec"]  # as before hashed
        with pytest.raises(UserError, match="--metric=mean_average_precision or voc_map for features:mine, .* top1"):
            run_program(logistic_regression, *flags, "--metric=top1")


def test_the_sources_classifier_gives_leep_and_nce():
    given, classifier = arrays(), (np.random.default_rng(0).normal(size=(6, 5)), np.zeros(5))
    parts = [(given["X"][given["split"] == split], given["y"][given["split"] == split])
             for split in ("train", "validation")]
    both = tuple(map(np.concatenate, zip(*parts, strict=True)))
    config = types.SimpleNamespace(l2=[0.1, 1.0], max_iterations=1000)
    chosen = regression.choose(*parts, both, config, classes=3, metric="top1", progress=unittest.mock.Mock(),
                               source_classifier=classifier)[1]
    given_source = scipy.special.softmax(parts[0][0] @ classifier[0], axis=1)
    estimates = chosen["estimates"]
    assert estimates["leep"] == pytest.approx(transferability.leep(given_source, parts[0][1]), rel=1e-5)
    assert estimates["nce"] == transferability.nce(given_source.argmax(axis=1), parts[0][1])
    assert -np.log(3) < estimates["leep"] < -0.1 and len(set(given_source.argmax(axis=1))) > 1


def test_custom_features_need_no_network(tmp_path):
    """The program itself, without Keras: the solver is TensorFlow's."""
    np.savez(tmp_path / "mine.npz", **arrays())
    program = ("import sys; sys.modules['keras'] = None; from tfbench import logistic_regression as program; "
               "from tfbench.sweep import run; run.start(program.__name__.split('.')[1], '', program.main)")
    done = subprocess.run([sys.executable, "-c", program, f"--features={tmp_path / 'mine.npz'}", "--l2=1,10",
                           f"--results_dir={tmp_path}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "test images" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--model=resnet_50"], ["--features=a.npz", "--model=resnet_50"], []])
def test_features_or_a_network_not_both(arguments):
    with pytest.raises(FlagsError, match=re.escape("expected --model=NAME and --dataset=NAME, or --features=")):
        parse(logistic_regression, arguments)


def test_ties_go_to_the_stronger_and_edges_are_warned_about(tmp_path, run_program):
    given = arrays()
    given["X"] = np.eye(3, 6)[given["y"]]  # every strength is right about every example
    np.savez(tmp_path / "mine.npz", **given)
    output = run_program(logistic_regression, f"--features={tmp_path / 'mine.npz'}", "--l2=0.1,1,10",
                         f"--results_dir={tmp_path}")
    row, = store.read_records(tmp_path)
    assert row["selected"] == {"l2": 10} and row["validation_accuracy"] == 1
    assert "warning: the selected l2 10 lies on the edge of its grid" in output


def test_strengths_that_are_not_certified_are_counted(tmp_path, run_program):
    np.savez(tmp_path / "mine.npz", **arrays())
    output = run_program(logistic_regression, f"--features={tmp_path / 'mine.npz'}", "--l2=1e-6,1e-5,1e-4",
                         "--max_iterations=1", f"--results_dir={tmp_path}")
    assert "strengths are not certified to be solved: raise --max_iterations" in output


@pytest.mark.parametrize("change", [lambda x: x * 1e25, lambda x: x * [1, 1, 1, 1, 1, 1e9], lambda x: x * 1e-40])
def test_badly_scaled_features_are_told_and_standardized(change, tmp_path, run_program):
    given = arrays()
    np.savez(tmp_path / "mine.npz", **(given | {"X": change(given["X"].astype(float))}))
    flags = [f"--features={tmp_path / 'mine.npz'}", "--l2=0.1,1,10", f"--results_dir={tmp_path}"]
    try:
        output = run_program(logistic_regression, *flags)
        assert output.count("X is badly scaled") == 2 and "raise --max_iterations" not in output
    except UserError as error:
        assert "--standardize" in str(error)
    output = run_program(logistic_regression, *flags, "--standardize")
    row = next(row for row in store.read_records(tmp_path) if row["spec"].get("standardize"))
    assert "badly scaled" not in output and row["accuracy"] > 0.9
    assert all(trial["certified"] for trial in row["trials"])


def test_what_labels_were_taken_for_is_part_of_the_specification(tmp_path, run_program):
    given, specs, accuracies = arrays(), [], []
    for y in (given["y"], np.eye(3)[given["y"]], given["y"][:, None], given["y"] + 5):
        np.savez(tmp_path / "mine.npz", **(given | {"y": y}))
        output = run_program(logistic_regression, f"--features={tmp_path / 'mine.npz'}", "--l2=1",
                             f"--results_dir={tmp_path / str(len(specs))}")
        row, = store.read_records(tmp_path / str(len(specs)))
        specs.append(row["spec"].get("labels"))
        accuracies.append(row["accuracy"])
        assert ("mine.npz: y: " in output) == bool(specs[-1]) and row["metric"] == "top1"
    assert specs == [None, "one-hot", "column", "mapped"] and len(set(accuracies)) == 1


def test_a_network_too_large_for_memory_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr("tfbench.files.arrays.free_memory", lambda: 10**9)
    with pytest.raises(UserError, match=r"VGG-16's weights, 3 times .* take 1\.6 GB of memory, of which 1\.0 GB"):
        features.make_extractor("vgg_16", weights_file=None, weights_sha256="unique", image_size=32,
                                value_range="rgb_mean", devices=1, precision="float32")
