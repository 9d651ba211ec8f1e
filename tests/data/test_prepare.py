"""Preparing and reading: repeatable, and every kind of damage is told in the user's words."""

import collections
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfbench import UserError
from tfbench.data import examples, index, lookup, manifests, prepare, splits
from tfbench.data.catalog import DATASETS
from tfbench.data.splits import split_hash
from tfbench.files import arrays, atomic

DIGITS, GRID, DIACRITICS = DATASETS["digits"], DATASETS["digits_grid"], DATASETS["diacritics"]
CURE = "move .*elsewhere.*again"


@pytest.fixture
def copied(data_dir, tmp_path):
    """A folder with `digits` that a test may damage."""
    shutil.copytree(manifests.folder(DIGITS, data_dir), manifests.folder(DIGITS, tmp_path))
    return tmp_path


def shard(data_dir) -> pathlib.Path:
    return next(manifests.folder(DIGITS, data_dir).glob("digits-train.tfrecord*"))


def flip(data_dir):
    """Alters one byte in the record of a training image."""
    folder = manifests.folder(DIGITS, data_dir)
    found = index.load(folder)
    row = index.membership(DIGITS, found)["train"][5]
    content = bytearray(shard(data_dir).read_bytes())
    content[found.offset[row] + found.length[row] // 2] ^= 0xFF
    shard(data_dir).write_bytes(content)


def test_folder_is_tfdss():
    assert manifests.folder(DIGITS, "/d") == pathlib.Path("/d/digits/2.0.0")
    assert manifests.folder(DATASETS["voc2007"], "/d") == pathlib.Path("/d/voc/2007/5.0.0")
    assert manifests.folder(DIGITS, "~/d") == pathlib.Path.home() / "d/digits/2.0.0"


def test_preparing_twice_gives_the_same_content(data_dir, tmp_path, capsys):
    first = manifests.read(DIGITS, data_dir)
    assert manifests.read(DIGITS, tmp_path) is None
    assert prepare.prepare(DIGITS, tmp_path) == first
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_prepared_set_is_left_alone(copied):
    stamps = {path: path.stat().st_mtime_ns for path in manifests.folder(DIGITS, copied).iterdir()}
    assert prepare.prepare(DIGITS, copied) == manifests.read(DIGITS, copied)
    assert {path: path.stat().st_mtime_ns for path in manifests.folder(DIGITS, copied).iterdir()} == stamps


def test_the_manifest_describes_the_splits(data_dir):
    manifest = manifests.read(DIACRITICS, data_dir)
    for split in manifests.SPLITS:
        part = examples.load_split(DIACRITICS, split, data_dir)
        assert manifest["splits"][split] == {
            "n": getattr(DIACRITICS, split), "sha256": split_hash(part.keys),
            "labels": np.bincount(part.labels, minlength=12).tolist()}
    labels = examples.load_split(GRID, "test", data_dir).labels
    assert manifests.read(GRID, data_dir)["splits"]["test"]["labels"] == {
        "positive": (labels == 1).sum(0).tolist(), "difficult": (labels == 0).sum(0).tolist()}


def test_validation_is_held_out_of_train_in_proportion(data_dir):
    train, held = (examples.load_split(DIACRITICS, split, data_dir) for split in ("train", "validation"))
    both = examples.join(train, held)
    assert set(held.keys) <= {f"train_{i:05d}" for i in range(1250)}
    assert sorted(train.keys + held.keys) == both.keys
    assert both.split_sha256 == split_hash(train.keys + held.keys)
    shares = np.bincount(held.labels) / np.bincount(both.labels)
    assert np.abs(shares - 0.2).max() < 1 / np.bincount(both.labels).min()


@pytest.mark.parametrize("name", ["glyphs", "digits", "digits_grid", "diacritics"])
def test_examples_are_sorted_and_typed(name, data_dir):
    dataset = DATASETS[name]
    both = examples.join(*(examples.load_split(dataset, split, data_dir) for split in ("train", "validation")))
    assert both.keys == sorted(both.keys)
    assert both.images.dtype == object
    assert both.images[0].startswith(b"\x89PNG")
    if dataset.multi_label:
        assert both.labels.dtype == np.float32
        assert both.labels.shape == (len(both.keys), dataset.classes)
        assert set(np.unique(both.labels)) == {-1, 0, 1}
    else:
        assert both.labels.dtype == np.int64
        assert sorted(set(both.labels)) == list(range(dataset.classes))


def test_train_and_validation_joined_are_their_parts(data_dir):
    train, held = (examples.load_split(GRID, split, data_dir) for split in ("train", "validation"))
    both = examples.join(train, held)
    parts = {key: (image, label.tolist()) for part in (train, held)
             for key, image, label in zip(part.keys, part.images, part.labels, strict=True)}
    assert [parts[key] for key in both.keys] == [
        (image, label.tolist()) for image, label in zip(both.images, both.labels, strict=True)]


def test_a_folder_that_lacks_only_the_manifest_gets_it_again(copied):
    before = manifests.read(DIGITS, copied)
    (manifests.folder(DIGITS, copied) / manifests.MANIFEST).unlink()
    stamp = shard(copied).stat().st_mtime_ns
    assert prepare.prepare(DIGITS, copied) == before
    assert shard(copied).stat().st_mtime_ns == stamp


@pytest.mark.parametrize("use", [prepare.prepare, manifests.read,
                                 lambda dataset, path: examples.load_split(dataset, "test", path)])
@pytest.mark.parametrize("damage, found", [
    (lambda file: file.unlink(), "found none"),
    (lambda file: os.truncate(file, 1000), "found 1,000"),
])
def test_missing_and_cut_shards_are_told(copied, use, damage, found):
    damage(shard(copied))
    with pytest.raises(UserError, match=f"digits/2.0.0 is half written or damaged .*{found}.*{CURE}"):
        use(DIGITS, copied)


def test_manifest_and_index_say_their_layout_and_a_newer_one_is_refused(copied):
    folder = manifests.folder(DIGITS, copied)
    path, file = folder / manifests.MANIFEST, folder / index.FILE
    manifest, before = json.loads(path.read_text()), index.load(folder)
    with np.load(file) as stored:
        columns = dict(stored)
    assert manifest.pop("schema") == lookup.SCHEMA and columns.pop("schema") == index.SCHEMA
    for schema in (2, "1"):
        path.write_text(json.dumps({"schema": schema} | manifest))
        with pytest.raises(UserError, match=f"{manifests.MANIFEST}.*(update tfbench|found '1')"):
            manifests.read(DIGITS, copied)
    np.savez(file, schema=2, **columns)
    with pytest.raises(UserError, match=f"{index.FILE} was written by a newer tfbench .schema 2, .*update tfbench"):
        index.load(folder)
    np.savez(file, **columns)  # as they were before they said it
    manifest["files"][index.FILE] = file.stat().st_size
    path.write_text(json.dumps(manifest))
    assert manifests.read(DIGITS, copied) == manifest
    assert all(np.array_equal(one, other) for one, other in zip(
        dataclasses.astuple(before), dataclasses.astuple(index.load(folder)), strict=True))


@pytest.mark.parametrize("content", ['{"dataset": "dig', "[]", "{}"])
def test_a_cut_manifest_is_told(copied, content):
    (manifests.folder(DIGITS, copied) / manifests.MANIFEST).write_text(content)
    with pytest.raises(UserError, match=CURE):
        prepare.prepare(DIGITS, copied)


def test_a_folder_without_dataset_info_is_told(copied):
    for name in (manifests.MANIFEST, "dataset_info.json"):
        (manifests.folder(DIGITS, copied) / name).unlink()
    with pytest.raises(UserError, match=f"no dataset_info.json.*{CURE}"):
        prepare.prepare(DIGITS, copied)


def test_a_cut_shard_without_manifest_is_told(copied):
    (manifests.folder(DIGITS, copied) / manifests.MANIFEST).unlink()
    os.truncate(shard(copied), shard(copied).stat().st_size - 100)
    with pytest.raises(UserError, match=f"half written.*{CURE}"):
        prepare.prepare(DIGITS, copied)


def test_flipped_bytes_of_equal_size_are_told(copied):
    flip(copied)
    with pytest.raises(UserError, match=f"is damaged.*{CURE}"):
        examples.load_split(DIGITS, "train", copied)


def test_another_split_than_the_manifests_is_told(copied):
    path = manifests.folder(DIGITS, copied) / manifests.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="400 train examples of its manifest"):
        examples.load_split(DIGITS, "train", copied)
    examples.load_split(DIGITS, "test", copied)


def test_counts_must_be_the_catalogs(copied):
    (manifests.folder(DIGITS, copied) / manifests.MANIFEST).unlink()
    with pytest.raises(UserError, match="expected 401 train examples, found 400"):
        prepare.prepare(dataclasses.replace(DIGITS, train=401), copied)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below"):
        with pytest.raises(UserError, match="cannot write.*--data_dir=DIR"):
            prepare.prepare(DIGITS, place)


def test_an_unprepared_set_is_told(tmp_path):
    with pytest.raises(UserError, match="digits is not prepared .*prepare_data --dataset=digits"):
        examples.load_split(DIGITS, "train", tmp_path)


def test_images_from_the_disk_are_those_in_memory(data_dir):
    held, stored = (examples.join(*(examples.load_split(GRID, split, data_dir, memory=memory)
                                    for split in ("train", "validation"))) for memory in (1 << 30, 0))
    assert held.keys == list(stored.keys) and held.split_sha256 == stored.split_sha256
    assert stored.keys[7] == held.keys[7] and stored.keys[:9] == held.keys[:9]
    np.testing.assert_array_equal(held.labels, stored.labels)
    assert isinstance(stored.images, examples.StoredImages) and len(stored.images) == len(held.images)
    assert [stored.images[i] for i in range(1500)] == held.images.tolist()


def test_a_stored_image_that_was_altered_is_told(copied):
    stored = examples.load_split(DIGITS, "train", copied, memory=0)
    flip(copied)
    with pytest.raises(UserError, match=f"does not hold the example digit_.*{CURE}"):
        [stored.images[i] for i in range(len(stored.images))]


def test_the_loser_of_a_race_uses_the_winners_files(data_dir, tmp_path, monkeypatch):
    """Another process finishes while this one draws: its rename fails, and nothing is lost."""
    from tfbench.data.embedded import digits

    target = manifests.folder(DIGITS, tmp_path)
    generate = digits.Digits._generate_examples

    def overtaken(self, split):
        if not target.exists():
            shutil.copytree(manifests.folder(DIGITS, data_dir), target)
            (target / manifests.MANIFEST).unlink()
        return generate(self, split)

    monkeypatch.setattr(digits.Digits, "_generate_examples", overtaken)
    assert prepare.prepare(DIGITS, tmp_path) == manifests.read(DIGITS, data_dir)
    assert [path.name for path in target.parent.iterdir()] == ["2.0.0"]  # no incomplete folder stays


@pytest.mark.parametrize("name, seed", [("digits", 0), ("diacritics", 0), ("diacritics", 1)])
def test_all_splits_are_loaded_with_one_look_at_the_disk(name, seed, data_dir, tmp_path, monkeypatch):
    """One reading of the index, one ranking of the keys by SHA-256, whatever is asked for, how often, and by how many
    runs in one process; a manifest is read and compared with the files once a run. Another index is read anew."""
    calls = collections.Counter()

    def count(module, function):
        original = getattr(module, function)

        def counted(*arguments, **options):
            calls[function] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, function, counted)

    for module, function in ((atomic, "read_json"), (arrays, "read"), (index, "held_out"), (splits, "_ranked")):
        count(module, function)
    dataset = dataclasses.replace(DATASETS[name], split_seed=seed)
    examples.forget_indices()
    for _ in range(2):
        prepared = examples.open_dataset(dataset, data_dir)
        loaded = {split: prepared.load(split) for split in manifests.SPLITS * 2}
    assert [len(part.keys) for part in loaded.values()] == [getattr(dataset, split) for split in manifests.SPLITS]
    held_out = name == "diacritics"  # digits comes with its own validation split
    expected = {"read_json": 2, "read": 1} | ({"held_out": 1, "_ranked": dataset.classes} if held_out else {})
    assert calls == expected
    shutil.copytree(prepared.folder, manifests.folder(dataset, tmp_path))
    path = manifests.folder(dataset, tmp_path) / index.FILE
    for number in range(2):
        (tmp_path / "another").write_bytes(path.read_bytes())
        os.replace(tmp_path / "another", path)
        examples.open_dataset(dataset, tmp_path).load("test")
        assert calls["read"] == 2 + number


@pytest.mark.parametrize("name, first", [("glyphs", "A"), ("digits", "0"), ("digits_grid", "0"),
                                         ("diacritics", "none")])
def test_classes_have_names(name, first, data_dir):
    names = examples.open_dataset(DATASETS[name], data_dir).class_names
    assert len(set(names)) == DATASETS[name].classes and names[0] == first


@pytest.mark.slow
def test_two_processes_at_the_same_time_agree(data_dir, tmp_path):
    code = ("import sys; from tfbench.data import catalog, prepare\n"
            "row = catalog.DATASETS['digits']; import tensorflow_datasets, sklearn.datasets\n"
            "print(prepare.prepare(row, sys.argv[1])['content'])")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE,
                                  text=True) for _ in range(2)]
    found = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert found == [manifests.read(DIGITS, data_dir)["content"]] * 2
