"""Paper's sets taken from copies: folders and parquet files as the Hugging Face hub has them."""

import dataclasses
import itertools
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from helpers import archives
from helpers.programs import parse

from tfbench import UserError, prepare_data
from tfbench.data import copies, examples, index, manifests, prepare, verify
from tfbench.data.builders import common
from tfbench.data.catalog import DATASETS


def names_of(name) -> list[str]:
    return list(common.make_builder(DATASETS[name], "/nowhere").info.features["label"].names)


def folder_copy(root, splits, classes, files):
    """ROOT/SPLIT/CLASS/FILE; `files` gives the names of a split's files from the number of the class."""
    for split, (label, name) in itertools.product(splits, enumerate(classes)):
        (root / split / name).mkdir(parents=True)
        for i, file in enumerate(files(split, label)):
            (root / split / name / file).write_bytes(archives.picture(label % 5, 1000 * label + 100 * len(split) + i))
    return root


def imported(dataset, source, data_dir) -> dict:
    prepare.prepare(dataset, data_dir, copy=source)
    return {split: examples.load_split(dataset, split, data_dir) for split in manifests.SPLITS}


@pytest.mark.parametrize("name, splits, written, file, key", [
    # data set, its splits, class names as copies write them, a file's name, the key that TFDS gives this image
    ("dtd", ("train", "val", "test"), str, "{name}_{number:04d}.jpg", "{name}/{name}_{number:04d}.jpg"),
    ("cars", ("train", "test"), lambda name: name.replace("/", "-").upper(), "{number:05d}.jpg",
     "{split}/{number:05d}"),
    ("sun397", ("train", "test"), lambda name: name[1:], "sun_{number}.jpg", "{name}/sun_{number}.jpg"),
    ("flowers", ("train", "valid", "test"), lambda name: name.title(), "image_{number:05d}.jpg",
     "image_{number:05d}.jpg"),
])
def test_a_folder_becomes_the_data_set_with_its_own_names(name, splits, written, file, key, tmp_path):
    names, numbers = names_of(name), {}

    def files(split, label):
        numbers[split, label] = [1 + 7 * label + 3 * i + 10000 * splits.index(split) for i in range(2)]
        return [file.format(name=names[label], number=number) for number in numbers[split, label]]

    root = folder_copy(tmp_path / "copy", splits, [written(name) for name in names], files)
    dataset = DATASETS[name]
    loaded = imported(dataset, root, tmp_path / "data")
    found = {key: label for part in loaded.values() for key, label in zip(part.keys, part.labels.tolist(), strict=True)}
    assert found == {key.format(name=names[label], number=number, split=split): label
                     for (split, label), both in numbers.items() for number in both}
    assert len(loaded["test"].keys) == 2 * len(names)
    if dataset.official_validation:
        assert len(loaded["validation"].keys) == 2 * len(names)
    verification = manifests.read(dataset, tmp_path / "data")["verification"]
    assert verification["archives"]["result"] == "UNKNOWN" and "from a copy" in verification["archives"]["found"]
    assert verification["counts"]["result"] == "FAIL"


def test_a_copy_holds_out_what_the_original_holds_out(tmp_path, monkeypatch):
    """The same images from the archive and from a folder: same keys, same splits, same content."""
    pets = dataclasses.replace(DATASETS["pets"], classes=37)
    names, manual = names_of("pets"), manifests.manual_folder(tmp_path / "a")
    truth = archives.pets(manual)
    with archives.patched_checksums(manual):
        prepare.prepare(pets, tmp_path / "a")
    original = {split: examples.load_split(pets, split, tmp_path / "a") for split in manifests.SPLITS}
    monkeypatch.setattr(copies, "_class_names", lambda dataset, copied, data_dir: names)  # two of the 37 will do
    for part in original.values():
        for key, image, label in zip(part.keys, part.images, part.labels, strict=True):
            split = "test" if key in truth["test"] else "train"
            file = tmp_path / "copy" / split / names[label] / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)
    copy = imported(pets, tmp_path / "copy", tmp_path / "b")
    assert {split: part.split_sha256 for split, part in copy.items()} == {
        split: part.split_sha256 for split, part in original.items()}
    contents = [manifests.read(pets, tmp_path / place)["content"] for place in ("a", "b")]
    assert contents[0] == contents[1]


def test_caltech_needs_no_splits(tmp_path):
    names = names_of("caltech101")
    root = folder_copy(tmp_path / "copy", ("",), [name.upper() for name in names],
                       lambda split, label: [f"image_{i:04d}.jpg" for i in range(31)])
    loaded = imported(DATASETS["caltech101"], root, tmp_path)
    assert [len(part.keys) for part in loaded.values()] == [2550, 510, 102]
    assert np.bincount(loaded["test"].labels).tolist() == [1] * 102
    assert loaded["test"].keys[0].split("/")[0] == names[loaded["test"].labels[0]]


def parquet(folder, split, rows, *, names=None, image="image", label="label", path=True, groups=7):
    """One parquet file of (label, file name, bytes) rows, in the hub's form."""
    struct = [{"bytes": content, **({"path": name} if path else {})} for _, name, content in rows]
    table = pyarrow.table({image: pyarrow.array(struct), label: pyarrow.array([row[0] for row in rows])})
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps(
            {"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}})})
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, folder / f"{split}-00000-of-00001-abc.parquet", row_group_size=groups)


def test_parquet_files_of_the_hub_with_names_in_another_order(tmp_path, run_program):
    names = names_of("food101")
    shuffled = sorted(names, key=lambda name: name[::-1])
    truth = {}
    for split in ("train", "validation"):  # as the hub calls them
        rows = []
        for label, name in enumerate(shuffled):
            for i in range(3):
                number = 100 * label + i + 50 * (split == "train")
                truth[f"{name}/{number}"] = split, names.index(name), archives.picture(label % 5, number)
                rows.append((label, f"{number}.jpg", truth[f"{name}/{number}"][2]))
        parquet(tmp_path / "hub" / "data", split, rows, names=shuffled)
    arguments = ["--dataset=food101", "--action=import", f"--from={tmp_path}/hub", f"--data_dir={tmp_path}"]
    output = run_program(prepare_data, *arguments)
    assert "food101: 273 / 30 / 303 images" in output and "archives UNKNOWN, counts FAIL" in output
    for split in manifests.SPLITS:
        part = examples.load_split(DATASETS["food101"], split, tmp_path)
        for key, label, image in zip(part.keys, part.labels, part.images, strict=True):
            assert truth[key] == ("validation" if split == "test" else "train", label, image)
    with pytest.raises(UserError, match="food101 is prepared already"):
        run_program(prepare_data, *arguments)


def test_images_without_names_are_named_by_content(tmp_path):
    for split, shade in (("train", 0), ("test", 1)):
        parquet(tmp_path / "hub", split, [(i % 10, "", archives.picture(i % 10, 100 * shade + min(i, 38), kind="PNG"))
                                          for i in range(40)], image="img", path=False)
    loaded = imported(DATASETS["cifar10"], tmp_path / "hub", tmp_path)
    assert [len(part.keys) for part in loaded.values()] == [36, 4, 40]
    found = index.load(manifests.folder(DATASETS["cifar10"], tmp_path))
    for key, sha256 in zip(found.keys.tolist(), found.sha256, strict=True):
        assert key.rpartition("-")[0] == sha256.tobytes().hex()
    verification = manifests.read(DATASETS["cifar10"], tmp_path)["verification"]
    assert verification["keys"]["result"] == "UNKNOWN"


def test_copies_that_are_something_else_are_refused_and_leave_nothing(tmp_path):
    names = names_of("dtd")

    def attempt(root, dataset="dtd"):
        prepare.prepare(DATASETS[dataset], tmp_path / "data", copy=root)

    one = folder_copy(tmp_path / "1", ("train", "test"), names, lambda split, label: ["a.jpg"])
    with pytest.raises(UserError, match="expected the splits train, validation, test of dtd in .*, found train, test"):
        attempt(one)
    two = folder_copy(tmp_path / "2", ("train", "val", "test"), names[:-2], lambda split, label: [f"{label}.jpg"])
    with pytest.raises(UserError, match=f"not dtd, which has 47 classes: missing {names[-2]}, {names[-1]}"):
        attempt(two)
    three = folder_copy(tmp_path / "3", ("train", "val", "test"), [*names[:-1], "tartan"],
                        lambda split, label: [f"{label}.jpg"])
    with pytest.raises(UserError, match=f"missing {names[-1]}; surplus tartan"):
        attempt(three)
    with pytest.raises(UserError, match="voc2007 cannot be imported .* several labels"):
        attempt(three, "voc2007")
    with pytest.raises(UserError, match="there is no folder"):
        attempt(tmp_path / "missing")
    parquet(tmp_path / "4", "train", [(0, "", b"x")], image="pixels")
    with pytest.raises(UserError, match="expected a name that begins with .* found pixels, label"):
        attempt(tmp_path / "4")
    twice = folder_copy(tmp_path / "5", ("train", "test"), names_of("cars"), lambda split, label: ["00001.jpg"])
    (twice / "train" / "extra").mkdir()
    with pytest.raises(UserError, match="train/extra has no images"):
        attempt(twice, "cars")
    assert not (tmp_path / "data").exists()


def test_import_wants_a_source_and_one_data_set(tmp_path, run_program):
    for arguments, told in ((["--dataset=dtd", "--action=import"], "belong together"),
                            (["--dataset=dtd", "--from=x"], "belong together"),
                            (["--dataset=all", "--action=import", "--from=x"], "one data set, not 12")):
        with pytest.raises(UserError, match=told):
            run_program(prepare_data, *arguments, f"--data_dir={tmp_path}")


def test_verify_is_printed_level_by_level(tmp_path, capsys, run_program):
    root = folder_copy(tmp_path / "mine", ("train", "test"), ("cat", "dog"), lambda split, label: [
        f"{i}.jpg" for i in range(6)])
    (root / "train" / "cat" / "grey.jpg").write_bytes(archives.picture(0, mode="L"))
    (root / "test" / "cat" / "twin.jpg").write_bytes((root / "train" / "cat" / "1.jpg").read_bytes())
    arguments = [f"--dataset=folder:{root}", f"--data_dir={tmp_path}"]
    assert "folder:mine: 10 / 3 / 13 images" in run_program(prepare_data, *arguments)
    assert prepare_data.main(parse(prepare_data, [*arguments, "--action=verify"])) == 1  # an image is in two splits
    output = capsys.readouterr().out
    assert [line.split()[:2] for line in output.splitlines() if line[2:6] in ("PASS", "FAIL", "UNKN")] == [
        [verify.PASS, "archives"], [verify.UNKNOWN, "counts"], [verify.UNKNOWN, "labels"], [verify.UNKNOWN, "keys"],
        [verify.PASS, "images"], [verify.FAIL, "leakage"]]
    assert "not stored as RGB: train/cat/grey.jpg (L)" in output and "test/cat/twin.jpg (test)" in output
