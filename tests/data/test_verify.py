"""Is a copy the paper's data set? Every level must pass for the right one and fail for a wrong one."""

import dataclasses
import io
import itertools
import json

import numpy as np
import PIL.Image
import pytest
from helpers import archives

from tfbench import UserError, prepare_data
from tfbench.data import examples, index, manifests, prepare, verify
from tfbench.data.catalog import DATASETS, PAPER_DATASETS, SOURCE_DATASETS, VARIANTS
from tfbench.data.splits import split_hash


def made_index(dataset, splits: dict[str, list[tuple[str, object]]]) -> index.Index:
    """An index of (key, label) pairs in each of TFDS's splits; every image is another."""
    rows = sorted((key, split, label) for split, part in splits.items() for key, label in part)
    count = len(rows)
    numbers = np.arange(count, dtype=np.int64)
    return index.Index(
        files=np.array(["f"]), keys=np.array([row[0] for row in rows]), splits=np.array([row[1] for row in rows]),
        labels=np.array([row[2] for row in rows], np.float32 if dataset.multi_label else np.int64), shard=numbers * 0,
        offset=numbers, length=numbers, sha256=numbers.view(np.uint8).reshape(-1, 8).repeat(4, axis=1), sizes=numbers,
        records=numbers.view(np.uint8).reshape(-1, 8).repeat(4, axis=1))


def results(dataset, found) -> dict:
    levels = verify.of_index(dataset, found, index.membership(dataset, found))
    return {name: (level["result"], level["found"]) for name, level in levels.items()}


def balanced(split, classes, each, start=0):
    return [(f"{split}/{label:03d}/{i:03d}", label) for label in range(classes) for i in range(start, start + each)]


def test_every_paper_set_has_expected_counts_that_are_the_catalogs():
    for dataset in PAPER_DATASETS + SOURCE_DATASETS:
        facts, counts = verify.expected(dataset), verify.expected(dataset)["counts"]
        fitted = dataset.train + dataset.validation
        if dataset.train_per_class:
            assert counts == {"all": fitted + dataset.test} and fitted == dataset.train_per_class * dataset.classes
            continue
        assert counts[dataset.test_split] == dataset.test
        assert counts["train"] == (dataset.train if dataset.official_validation else fitted)
        assert counts.get("validation", 0) == (dataset.validation if dataset.official_validation
                                               else dataset.test * (dataset.test_split == "validation"))
        for split, each in facts.get("per_class", {}).items():
            if not dataset.multi_label:
                assert each * dataset.classes == counts[split]
    assert all(verify.expected(row) == verify.expected(DATASETS[row.variant_of]) for row in VARIANTS)
    voc = verify.expected(DATASETS["voc2007"])["per_class"]
    assert [sum(pair[0] for pair in voc[split].values()) for split in manifests.SPLITS] == [3688, 3618, 7013]
    assert [sum(pair[1] for pair in voc[split].values()) for split in manifests.SPLITS] == [329, 278, 619]


def test_imagenets_test_images_are_known_by_name():
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50001)]
    assert verify.expected(DATASETS["imagenet2012"])["keys"] == {"validation": split_hash(names)}


def test_a_right_copy_passes_and_every_wrong_one_fails():
    dtd = DATASETS["dtd"]
    splits = {split: balanced(split, 47, 40) for split in manifests.SPLITS}
    right = results(dtd, made_index(dtd, splits))
    assert right["counts"] == ("PASS", "train 1,880, validation 1,880, test 1,880")
    assert right["labels"][0] == right["leakage"][0] == "PASS"
    assert right["keys"][0] == "UNKNOWN"  # no list is published

    fewer = results(dtd, made_index(dtd, splits | {"test": splits["test"][:-1]}))
    assert fewer["counts"][0] == fewer["labels"][0] == "FAIL" and "test 1,879 of 1,880" in fewer["counts"][1]
    moved = [(key, 1 if key == "train/000/000" else label) for key, label in splits["train"]]
    relabelled = results(dtd, made_index(dtd, splits | {"train": moved}))
    assert relabelled["counts"][0] == "PASS"
    assert relabelled["labels"] == ("FAIL", "train has 39 to 41 images a class, expected 40")


def test_known_deviations_are_explained_not_failed():
    sun = DATASETS["sun397"]
    train, test = balanced("train", 397, 50), balanced("test", 397, 50)
    found = results(sun, made_index(sun, {"train": train, "test": test[:-1]}))
    assert found["counts"][0] == found["labels"][0] == "PASS"
    assert "test 19,849 of 19,850 (TFDS leaves out one file" in found["counts"][1]
    found = results(sun, made_index(sun, {"train": train, "test": test[:-2]}))
    assert found["counts"][0] == found["labels"][0] == "FAIL"
    pets = DATASETS["pets"]
    found = results(pets, made_index(pets, {"train": [(f"a{i}", i % 37) for i in range(3680)],
                                            "test": [(f"b{i}", i % 37) for i in range(3669)]}))
    assert found["counts"] == ("PASS", "train 3,680, test 3,669 (the paper prints 3,369, a misprint)")
    assert found["labels"][0] == "UNKNOWN"


def test_names_are_compared_with_the_official_lists(monkeypatch):
    caltech = dataclasses.replace(DATASETS["caltech101"], train_per_class=2)
    splits = {"train": balanced("a", 102, 2), "test": balanced("b", 102, 3)}
    keys = [key for part in splits.values() for key, _ in part]
    facts = {"counts": {"all": 510}, "keys": {"all": split_hash(keys)}}
    monkeypatch.setattr(verify, "expected", lambda dataset: facts)
    assert results(caltech, made_index(caltech, splits))["keys"][0] == "PASS"
    assert results(caltech, made_index(caltech, splits))["labels"] == ("PASS", "the class is part of the keys")
    splits["test"][0] = ("b/other", 0)
    renamed = results(caltech, made_index(caltech, splits))
    assert renamed["keys"] == ("FAIL", "the names of all are others than the official ones")
    assert renamed["labels"][0] == "UNKNOWN" and renamed["counts"][0] == "PASS"


def test_birdsnap_is_told_by_how_many_test_images_its_classes_have():
    birds = DATASETS["birdsnap"]
    sizes = [5] * 477 + [4] * 4 + [3] * 4 + [2] * 15
    test = [(f"test/{label:03d}/{i}", label) for label, size in enumerate(sizes) for i in range(size)]
    sizes = [95] * 486 + [67, 96] + [88] * 9 + [87] * 3
    train = [(f"train/{label:03d}/{i:03d}", label) for label, size in enumerate(sizes) for i in range(size)]
    assert (len(train), len(test)) == (47386, 2443) and len(sizes) == 500
    assert results(birds, made_index(birds, {"train": train, "test": test}))["labels"][0] == "PASS"
    test[0] = (test[0][0], 499)
    wrong = results(birds, made_index(birds, {"train": train, "test": test}))
    assert (wrong["counts"][0], wrong["labels"][0], wrong["keys"][0]) == ("PASS", "FAIL", "FAIL")


def test_voc_is_told_by_its_labels_difficult_ones_too(monkeypatch):
    """A set with the official counts per class passes; one difficult label turned negative does not."""
    voc = DATASETS["voc2007"]
    facts = verify.expected(voc)
    names = sorted(facts["per_class"]["test"])
    splits = {}
    for split in manifests.SPLITS:
        labels = -np.ones((facts["counts"][split], 20), np.float32)
        for column, name in enumerate(names):
            positive, difficult = facts["per_class"][split][name]
            labels[:positive, column], labels[positive:positive + difficult, column] = 1, 0
        splits[split] = [(f"{split}{i:05d}.jpg", label) for i, label in enumerate(labels.tolist())]
    found = made_index(voc, splits)
    lines = {split: [f"{key[:-4]}\t{name}\t{int(value)}" for key, label in splits[split]
                     for name, value in zip(names, label, strict=True)] for split in splits}
    fitted = lines["train"] + lines["validation"]
    facts = facts | {
        "labels": {"test": split_hash(lines["test"]), "train+validation": split_hash(fitted)},
        "keys": {split: split_hash([key[:-4] for key, _ in splits[split]]) for split in splits}}
    monkeypatch.setattr(verify, "expected", lambda dataset: facts)
    assert {name: result for name, (result, _) in results(voc, found).items()} == {
        "counts": "PASS", "labels": "PASS", "keys": "PASS", "leakage": "PASS"}
    row = np.flatnonzero((found.labels == 0).any(axis=1))[0]
    found.labels[row][found.labels[row] == 0] = -1
    result, why = results(voc, found)["labels"]
    assert result == "FAIL" and "only difficult, expected" in why and "the labels of" in why
    monkeypatch.undo()
    assert results(voc, found)["keys"][0] == "FAIL"  # these are not the official names


def test_an_image_in_two_splits_is_named():
    dtd = DATASETS["dtd"]
    found = made_index(dtd, {split: balanced(split, 47, 40) for split in manifests.SPLITS})
    one, other = (found.keys.tolist().index(f"{split}/003/007") for split in ("train", "test"))
    found.sha256[other] = found.sha256[one]
    twin, again = (found.keys.tolist().index(f"train/{label}/001") for label in ("001", "002"))
    found.sha256[twin] = found.sha256[again]  # twice in training: no leak
    level = verify.of_index(dtd, found, index.membership(dtd, found))["leakage"]
    assert level["result"] == "FAIL" and level["images"] == [["train train/003/007", "test test/003/007"]]
    assert "train/003/007 (train) = test/003/007 (test)" in level["found"]


def test_a_scan_names_what_cannot_be_read_and_what_is_not_rgb():
    images = {"good": archives.picture(0), "grey": archives.picture(1, mode="L"),
              "cut": archives.picture(2)[:-300], "text": b"<html>", "clear": archives.picture(3, 0, "RGBA", "PNG"),
              "ink": archives.picture(4, mode="CMYK")}
    seen = []
    level = verify.scan(lambda number: verify.decoded(list(images.values())[number]), list(images), seen.append)
    assert level["result"] == "FAIL" and sum(seen) == 6
    assert set(level["undecodable"]) == {"cut", "text"}
    assert level["other_than_rgb"] == {"grey": "L", "clear": "RGBA", "ink": "CMYK"}
    assert "2 cannot be read: cut, text" in level["found"]
    assert "3 JPEG, 1 PNG, sides of 30 to 40 pixels" in level["found"]
    assert verify.scan(lambda number: verify.decoded(archives.picture(0)), ["a"])["result"] == "PASS"


@pytest.fixture
def dtd_folder(tmp_path):
    """A fabricated DTD, prepared."""
    manual = manifests.manual_folder(tmp_path)
    archives.dtd(manual)
    with archives.patched_checksums(manual):
        prepare.prepare(DATASETS["dtd"], tmp_path)
    return tmp_path


def test_verifying_decodes_everything_and_is_kept(dtd_folder):
    dtd = DATASETS["dtd"]
    before = verify.results(manifests.read(dtd, dtd_folder)["verification"])
    assert before == {"archives": "PASS", "counts": "FAIL", "labels": "FAIL", "keys": "UNKNOWN", "images": "UNKNOWN",
                      "leakage": "PASS"}  # nine images a class are not the paper's 120
    after = verify.results(prepare.verify_images(dtd, dtd_folder))
    assert after == before | {"images": "PASS", "archives": "FAIL"}  # the archive has not the registered checksum
    assert verify.results(manifests.read(dtd, dtd_folder)["verification"]) == after


def test_a_damaged_record_is_named_by_verifying(dtd_folder):
    dtd = DATASETS["dtd"]
    folder = manifests.folder(dtd, dtd_folder)
    found = index.load(folder)
    file = folder / str(found.files[found.shard[4]])
    content = bytearray(file.read_bytes())
    content[found.offset[4] + found.length[4] // 2] ^= 1
    file.write_bytes(content)
    level = prepare.verify_images(dtd, dtd_folder)["images"]
    assert level["result"] == "FAIL" and list(level["undecodable"]) == [str(found.keys[4])]


def test_images_are_verified_in_the_order_of_the_disk_and_named_in_part(dtd_folder, monkeypatch, capsys):
    dtd, places = DATASETS["dtd"], []
    read = index.read_image

    def noted(folder, found, row):
        places.append((int(found.shard[row]), int(found.offset[row])))
        content = io.BytesIO()
        PIL.Image.open(io.BytesIO(read(folder, found, row))).convert("L").save(content, "JPEG")
        return content.getvalue()

    monkeypatch.setattr(index, "read_image", noted)
    monkeypatch.setattr(verify.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(prepare_data, "IMAGES_SHOWN", 3)
    prepare_data.verify_one(dtd, dtd_folder)
    assert places == sorted(places) and len(places) == 18
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(10 * " " + "not stored as RGB: ")]
    assert len(lines) == 4 and "15 more, named in" in lines[3]
    assert len(manifests.read(dtd, dtd_folder)["verification"]["images"]["other_than_rgb"]) == 18


def test_difficult_labels_count_as_the_option_says(tmp_path):
    manual = manifests.manual_folder(tmp_path)
    archives.voc2007(manual)
    with archives.patched_checksums(manual):
        prepare.prepare(DATASETS["voc2007"], tmp_path)
    read = {difficult: examples.load_split(dataclasses.replace(DATASETS["voc2007"], difficult=difficult), "test",
                                           tmp_path).labels for difficult in ("ignore", "negative", "positive")}
    hard = read["ignore"] == 0
    assert hard.any() and read["negative"].dtype == np.float32
    for difficult, value in (("negative", -1), ("positive", 1)):
        assert (read[difficult][hard] == value).all()
        np.testing.assert_array_equal(read[difficult][~hard], read["ignore"][~hard])


def test_archives_are_compared_with_their_checksums(tmp_path):
    files = DATASETS["flowers"].source.files
    assert verify.archives(tmp_path, files)["result"] == "UNKNOWN"
    for file in files:
        (tmp_path / file.name).write_bytes(b"x" * min(file.size, 100))
    level = verify.archives(tmp_path, files)
    assert level["result"] == "FAIL" and "102flowers.tgz should have 344,862,509 bytes" in level["found"]
    (tmp_path / "a").write_bytes(b"abc")
    right = dataclasses.replace(files[0], name="a", size=3, checksum="md5:900150983cd24fb0d6963f7d28e17f72")
    assert verify.archives(tmp_path, [right])["result"] == "PASS"


def test_the_birds_lists_and_images_are_checked(tmp_path, monkeypatch):
    manual = manifests.manual_folder(tmp_path)
    archives.birdsnap(manual)
    facts = verify.expected(DATASETS["birdsnap"])
    lists = {name: prepare.atomic.file_sha256(manual / "birdsnap" / name) for name in facts["lists"]}
    altered = next((manual / "birdsnap" / "images").rglob("*.jpg"))
    altered.write_bytes(archives.picture(4, 4))
    prepare.prepare(DATASETS["birdsnap"], tmp_path)
    level = manifests.read(DATASETS["birdsnap"], tmp_path)["verification"]["archives"]
    assert level["result"] == "FAIL" and "species.txt is not the published list" in level["found"]
    assert "1 images are other files than the listed ones" in level["found"]
    monkeypatch.setattr(verify, "expected", lambda dataset: facts | {"lists": lists})
    archives.birdsnap(manifests.manual_folder(tmp_path / "again"))
    again = prepare.prepare(DATASETS["birdsnap"], tmp_path / "again")
    assert again["verification"]["archives"]["result"] == "PASS"


def test_expected_values_are_hashes_and_numbers():
    text = (verify.importlib.resources.files("tfbench.data") / "expected.json").read_text()
    for name, facts in json.loads(text).items():
        if name == "origin":
            continue
        assert name in DATASETS
        for value in itertools.chain(facts.get("keys", {}).values(), facts.get("labels", {}).values(),
                                     facts.get("lists", {}).values()):
            assert len(value) == 64 and int(value, 16)


def test_an_unprepared_set_cannot_be_verified(tmp_path):
    with pytest.raises(UserError, match="dtd is not prepared"):
        prepare_data.verify_one(DATASETS["dtd"], tmp_path)
