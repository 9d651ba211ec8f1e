"""Data sets of TFDS that the user names: configurations, versions, splits and features of every kind."""

import functools
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers.programs import parse

from tfbench import UserError, prepare_data
from tfbench.data import examples, lookup, manifests, prepare

CLASSES = tfds.features.ClassLabel(names=["a", "b"])


def made(data_dir, name, splits=("train", "test"), *, configs=(), version="1.0.0", features=None, label=None,
         image=None, number=20, file_format="tfrecord") -> None:
    """Writes a set of TFDS as some other program would, without one that TFDS could import.

    Args:
      features: {name: feature}; image and label where it is None.
      label, image: functions of (split, number) to what the example holds of them.
    """
    kinds = features or {"image": tfds.features.Image(shape=(8, 8, 3)), "label": CLASSES}
    rng = np.random.default_rng(0)

    def examples_of(split):
        for i in range(number):
            example = {}
            for key, kind in kinds.items():
                if isinstance(kind, tfds.features.Image):
                    example[key] = image(split, i) if image else rng.integers(
                        0, np.iinfo(kind.np_dtype).max + 1, kind.shape, dtype=kind.np_dtype)
                else:
                    example[key] = label(split, i) if label else i % 2
            yield f"{split}{i}", example

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(kinds))

    body = {"VERSION": tfds.core.Version(version), "_info": info, "__module__": __name__,
            "_generate_examples": lambda self, split: examples_of(split),
            "_split_generators": lambda self, manager: {split: examples_of(split) for split in splits}}
    if configs:
        body["BUILDER_CONFIGS"] = [tfds.core.BuilderConfig(name=config, version=version) for config in configs]
    with tfds.core.registered.skip_registration():
        builder = type("".join(map(str.title, name.split("_"))), (tfds.core.GeneratorBasedBuilder,), body)
    for config in configs or [None]:
        chosen = {"config": config} if config else {}
        builder(data_dir=data_dir, file_format=file_format, **chosen).download_and_prepare()


def prepared(name, data_dir, **options):
    """What prepare_tfds makes, as a program then finds it, and the lines said."""
    prepare.prepare_tfds(name, data_dir, **options)
    dataset = lookup.get_dataset(name, data_dir)
    return dataset, manifests.read(dataset, data_dir).get("reading", [])


@pytest.fixture(autouse=True)
def no_progress_bars():
    tfds.disable_progress_bar()


def test_a_configuration_is_found_again_and_the_default_one_by_its_name_alone(tmp_path):
    made(tmp_path, "with_config", configs=["rgb", "all"])
    for name, place in (("tfds:with_config/all", "with_config/all:1.0.0"),
                        ("tfds:with_config", "with_config/rgb:1.0.0"),
                        ("tfds:with_config/rgb:1.0.0", "with_config/rgb:1.0.0")):
        assert prepared(name, tmp_path)[0].tfds == place


def test_of_several_configurations_without_a_default_one_must_be_named(tmp_path):
    made(tmp_path, "with_config", configs=["rgb", "all"])
    (tmp_path / "with_config" / ".config" / "metadata.json").unlink()
    with pytest.raises(UserError, match="several configurations; there are all, rgb: say which, .*with_config/all"):
        prepare.prepare_tfds("tfds:with_config", tmp_path)


def test_the_latest_version_is_meant_and_versions_are_numbers(tmp_path):
    for version in ("1.9.0", "1.10.0"):
        made(tmp_path, "versions", version=version)
    assert prepared("tfds:versions:1.9.0", tmp_path)[0].tfds == "versions:1.9.0"
    dataset, notes = prepared("tfds:versions", tmp_path)
    assert dataset.tfds == "versions:1.10.0" and notes[0] == f"version 1.10.0, the latest in {tmp_path}/versions"
    assert lookup.get_dataset("tfds:versions:1.9.0", tmp_path).tfds == "versions:1.9.0"
    assert lookup.get_dataset("tfds:versions:1.*.*", tmp_path).tfds == "versions:1.10.0"


@pytest.mark.parametrize("splits, sizes, told", [
    (("train", "test"), (16, 4, 20), "splits: train = train, test = test; validation held out of train"),
    (("train", "val", "test"), (20, 20, 20), "splits: train = train, validation = val, test = test"),
    (("train", "dev", "test"), (20, 20, 20), "splits: train = train, validation = dev, test = test"),
    (("train", "valid"), (16, 4, 20), "splits: train = train, test = valid; validation held out of train"),
    (("training", "testing"), (16, 4, 20), "splits: train = training, test = testing; validation held out of training"),
    (("test",), (13, 3, 4), "splits: train = test; validation and test held out of test"),
    (("full",), (13, 3, 4), "splits: train = full; validation and test held out of full"),
    (("train", "validation", "test", "extra"), (20, 20, 20), "not used: extra (20)"),
    (("train", "validation", "test"), (20, 20, 20), None),
])
def test_splits_are_taken_for_what_they_are_called(splits, sizes, told, tmp_path):
    made(tmp_path, "parts", splits)
    dataset, notes = prepared("tfds:parts", tmp_path)
    assert [told] == notes[1:] if told else not notes[1:]
    loaded = {split: examples.load_split(dataset, split, tmp_path) for split in manifests.SPLITS}
    assert tuple(len(part.keys) for part in loaded.values()) == sizes
    assert (dataset.train, dataset.validation, dataset.test) == sizes
    keys = [key for part in loaded.values() for key in part.keys]
    assert len(set(keys)) == len(keys)


def test_a_split_without_labels_is_no_test_split(tmp_path):
    made(tmp_path, "hidden", ("train", "test"), label=lambda split, i: -1 if split == "test" else i % 2)
    dataset, notes = prepared("tfds:hidden", tmp_path)
    assert (dataset.train, dataset.validation, dataset.test) == (13, 3, 4)
    assert "test has no labels (-1): it is no test split" in notes and "not used: test (20)" in notes


IMAGE = functools.partial(tfds.features.Image, shape=(8, 8, 3))


@pytest.mark.parametrize("features, label, classes, names, told", [
    ({"image": IMAGE(), "label": np.int64}, None, 2, ("0", "1"), "label holds whole numbers, 0, 1: 2 classes"),
    ({"image": IMAGE(), "label": np.int64}, lambda split, i: 3 + 4 * (i % 3), 3, ("3", "7", "11"), "3, 7, 11: 3 clas"),
    ({"image": IMAGE(), "label": tfds.features.Text()}, lambda split, i: "xyz"[i % 3], 3, tuple("xyz"), "holds texts"),
    ({"image": IMAGE(), "kind": CLASSES}, None, 2, ("a", "b"), "the label is the feature kind"),
    ({"photo": IMAGE(), "label": CLASSES}, None, 2, ("a", "b"), "the image is the feature photo"),
    ({"image": tfds.features.Image(shape=(8, 8, 1)), "label": CLASSES}, None, 2, ("a", "b"), None),
    ({"image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16), "label": CLASSES}, None, 2, ("a", "b"), None),
])
def test_features_whose_meaning_is_certain_are_read(features, label, classes, names, told, tmp_path):
    made(tmp_path, "kinds", features=features, label=label)
    dataset, notes = prepared("tfds:kinds", tmp_path)
    assert dataset.classes == classes and (not told or any(told in note for note in notes))
    opened = examples.open_dataset(dataset, tmp_path)
    assert opened.class_names == names
    test = opened.load("test")
    assert set(test.labels.tolist()) == set(range(classes)) and len(test.images[0]) > 50


def test_a_sequence_of_classes_is_a_multi_label_set(tmp_path):
    several = tfds.features.Sequence(tfds.features.ClassLabel(names=["a", "b", "c"]))
    made(tmp_path, "several", features={"image": IMAGE(), "tags": several},
         label=lambda split, i: [[0], [1, 2], [2], []][i % 4])
    dataset, notes = prepared("tfds:several", tmp_path)
    assert dataset.multi_label and dataset.metric == "mean_average_precision"
    path = manifests.folder(dataset, tmp_path) / manifests.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["row"] |= {"metric": "voc_map"}
    del manifest["row"]["multi_label"]
    path.write_text(json.dumps(manifest))  # as prepared by an earlier version
    assert lookup.get_dataset("tfds:several", tmp_path) == dataset
    assert "an image has several labels: scored by mean average precision" in notes
    loaded = {split: examples.load_split(dataset, split, tmp_path).labels for split in manifests.SPLITS}
    assert [len(part) for part in loaded.values()] == [16, 4, 20]
    assert {tuple(row) for row in loaded["test"].tolist()} == {(1, -1, -1), (-1, 1, 1), (-1, -1, 1), (-1, -1, -1)}
    assert all((part > 0).any(0).all() for part in loaded.values())  # held out by the rarest class


def transparent(split, i):
    return np.dstack([np.full((8, 8, 3), i, np.uint8), np.full((8, 8), 255 * (i > 3), np.uint8)])


@pytest.mark.parametrize("features, more, told", [
    ({"image": IMAGE(), "colour": CLASSES, "shape": CLASSES}, {}, "several classes to learn, colour, shape.*label_key"),
    ({"image": IMAGE(), "id": np.int64}, {}, "no set of classified images.* if id is the class, say --label_key=NAME"),
    ({"image": tfds.features.Image(shape=(8, 8, 1), dtype=np.float32), "label": CLASSES},
     {"image": lambda split, i: np.zeros((8, 8, 1), np.float32)}, "images of float32, which are no colours"),
    ({"image": tfds.features.Image(shape=(8, 8, 4)), "label": CLASSES}, {"image": transparent},
     r"8 images of tfds:refused cannot be read as meant: .*alpha on white"),
    ({"image": IMAGE(), "label": np.int64}, {"label": lambda split, i: i}, "20 values in 20 images: these are no"),
    (None, {"splits": ("dev", "test")}, "has no split to train on, only dev, test"),
    (None, {"splits": ("train", "val", "valid")}, "two splits for validation, val and valid"),
])
def test_what_is_not_certain_is_refused_and_nothing_is_to_be_deleted(features, more, told, tmp_path):
    made(tmp_path, "refused", features=features, **more)
    with pytest.raises(UserError, match=told) as refused:
        prepare.prepare_tfds("tfds:refused", tmp_path)
    assert "delete" not in str(refused.value) and (tmp_path / "refused" / "1.0.0" / "dataset_info.json").exists()


def test_a_format_that_is_not_read_is_named(tmp_path):
    made(tmp_path, "formats")
    info = tmp_path / "formats" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"fileFormat": "tfrecord"', '"fileFormat": "parquet"'))
    with pytest.raises(UserError, match="complete in .*in the format parquet; tfbench reads tfrecord and array_record"):
        prepare.prepare_tfds("tfds:formats", tmp_path)


def test_array_records_are_read(tmp_path):
    contents = []
    for file_format in ("array_record", "tfrecord"):
        made(tmp_path / file_format, "formats", file_format=file_format)
        dataset, _ = prepared("tfds:formats", tmp_path / file_format)
        contents.append(manifests.read(dataset, tmp_path / file_format)["content"])
        stored = examples.open_dataset(dataset, tmp_path / file_format).load("test", memory=0)
        assert len(stored.images) == 20 and all(stored.images[i][1:4] == b"PNG" for i in range(20))
    assert contents[0] == contents[1]


def test_label_key_chooses_and_is_kept(tmp_path, run_program):
    made(tmp_path, "chosen", features={"image": IMAGE(), "colour": CLASSES, "shape": tfds.features.ClassLabel(
        names=["x", "y"])})
    output = run_program(prepare_data, "--dataset=tfds:chosen", "--label_key=shape", f"--data_dir={tmp_path}")
    assert "tfds:chosen: the label is the feature shape" in output
    assert examples.open_dataset(lookup.get_dataset("tfds:chosen", tmp_path), tmp_path).class_names == ("x", "y")
    with pytest.raises(UserError, match="prepared with the label shape .*: for colour take another --data_dir"):
        prepare.prepare_tfds("tfds:chosen", tmp_path, label_key="colour")
    with pytest.raises(UserError, match="--label_key=size is no label of .*it has colour, shape"):
        prepare.prepare_tfds("tfds:chosen", tmp_path / "", label_key="size")


@pytest.mark.parametrize("flag, told", [("--label_key=x", "--label_key is for data sets of TFDS"),
                                        ("--skip_unreadable", "--skip_unreadable is for folders of images")])
def test_a_flag_of_other_data_sets_is_refused(flag, told, tmp_path):
    with pytest.raises(UserError, match=told):
        prepare_data.main(parse(prepare_data, ["--dataset=dtd", flag, f"--data_dir={tmp_path}"]))
