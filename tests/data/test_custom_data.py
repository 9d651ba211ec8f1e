"""A data set of the user: folders of images, TFDS data sets that are not the paper's."""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import shutil

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from helpers import archives
from helpers.programs import execute

from tfbench import UserError, finetune, logistic_regression, prepare_data, pretrain
from tfbench.config import RunConfig
from tfbench.data import examples, folders, index, lookup, manifests, prepare, revisions, verify
from tfbench.data.catalog import DATASETS
from tfbench.data.pipeline import decode
from tfbench.images import decoding, reading
from tfbench.models.catalog import NETWORKS
from tfbench.results import store


def write(root, *parts, number=6, kind="JPEG", classes=("cat", "dog")):
    """Fills folders ROOT/PART/CLASS with images; returns the root."""
    for part, (label, name) in itertools.product(parts or ("",), enumerate(classes)):
        folder = root / part / name
        folder.mkdir(parents=True)
        for i in range(number):
            content = archives.picture(label, i + 100 * len(part), kind=kind)
            (folder / f"{i}.{kind.lower()}").write_bytes(content)
    return root


def row(root):
    folders.read_once.cache_clear()
    return folders.dataset_of(folders.read_once(reading.real_path(str(root))))


def parts(dataset, data_dir) -> dict:
    prepare.prepare(dataset, data_dir)
    return {split: examples.load_split(dataset, split, data_dir) for split in manifests.SPLITS}


def test_a_folder_with_splits_is_taken_as_it_is(tmp_path):
    root = write(tmp_path / "pets of mine", "train", "val", "test")
    dataset = lookup.get_dataset(f"folder:{root}", tmp_path)
    assert (dataset.name, dataset.classes, dataset.train, dataset.validation, dataset.test) == (
        "folder:pets of mine", 2, 12, 12, 12)
    loaded = parts(dataset, tmp_path)
    for split, folder in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert loaded[split].keys == [f"{folder}/{name}/{i}.jpeg" for name in ("cat", "dog") for i in range(6)]
        assert loaded[split].labels.tolist() == [0] * 6 + [1] * 6
        assert loaded[split].images[3] == (root / folder / "cat/3.jpeg").read_bytes()


@pytest.mark.parametrize("given, sizes", [((), (16, 4, 5)), (("train",), (16, 4, 5)), (("train", "test"), (20, 5, 25)),
                                          (("train", "val"), (20, 25, 5))])
def test_what_a_folder_lacks_is_held_out_of_its_training_images(tmp_path, given, sizes):
    classes = ("a", "b", "c", "d", "e")
    dataset = row(write(tmp_path / "x", *given, number=5, classes=classes))
    loaded = parts(dataset, tmp_path)
    assert tuple(len(part.keys) for part in loaded.values()) == sizes
    assert sizes == (dataset.train, dataset.validation, dataset.test)
    assert sorted(set(loaded["test"].labels)) == list(range(5))  # stratified
    keys = [key for part in loaded.values() for key in part.keys]
    assert len(set(keys)) == len(keys) == sum(sizes)


def test_a_split_is_the_same_whatever_order_the_folder_is_listed_in(tmp_path, monkeypatch):
    root = write(tmp_path / "x", number=30)
    plain = reading.list_images(root)
    scan = os.scandir

    def reversed_scan(path):
        return contextlib.nullcontext(sorted(scan(path), key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(reading.os, "scandir", reversed_scan)
    assert reading.list_images(root) == plain
    monkeypatch.undo()
    elsewhere = write(tmp_path / "elsewhere" / "x", number=30)
    first, second = (parts(row(place), tmp_path / str(number)) for number, place in enumerate((root, elsewhere)))
    assert {split: part.split_sha256 for split, part in first.items()} == {
        split: part.split_sha256 for split, part in second.items()}


def test_another_seed_holds_out_others_and_says_so(tmp_path):
    name = f"folder:{write(tmp_path / 'x', number=30)}"
    plain, other = (lookup.get_dataset(name, tmp_path, split_seed=seed) for seed in (0, 1))
    parts(plain, tmp_path)
    splits = [manifests.read(dataset, tmp_path)["splits"] for dataset in (plain, other)]
    for split in manifests.SPLITS:
        assert splits[0][split]["n"] == splits[1][split]["n"]
        assert splits[0][split]["sha256"] != splits[1][split]["sha256"]
        assert examples.load_split(other, split, tmp_path).split_sha256 == splits[1][split]["sha256"]


def test_a_changed_folder_is_another_data_set(tmp_path):
    root = write(tmp_path / "x")
    before = row(root)
    (root / "cat" / "0.jpeg").unlink()
    assert row(root).tfds != before.tfds and row(root).name == before.name


def test_images_of_every_kind_are_taken(tmp_path):
    root = write(tmp_path / "x", number=5)
    for number, (mode, kind) in enumerate((("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF"),
                                           ("RGB", "BMP"))):
        (root / "cat" / f"odd{number}.{kind.lower()}").write_bytes(archives.picture(0, number, mode, kind))
    (root / "cat" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    dataset = row(root)
    loaded = parts(dataset, tmp_path)
    assert sum(len(part.keys) for part in loaded.values()) == 16
    verification = manifests.read(dataset, tmp_path)["verification"]
    assert verification["images"]["result"] == "PASS"
    assert set(verification["images"]["other_than_rgb"].values()) == {"L", "CMYK", "RGBA", "P"}
    assert verify.results(verification)["archives"] == verify.results(verification)["keys"] == "UNKNOWN"


def truncate(file):
    file.write_bytes(file.read_bytes()[:-200])


def clear(folder):
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("damage, told", [
    (lambda root: truncate(root / "train/cat/3.jpeg"),
     r"1 image of .* cannot be read: train/cat/3.jpeg \(damaged or cut JPEG: .*\); repair it or move it elsewhere"),
    (lambda root: (root / "test/dog/0.jpeg").write_text("<html>"),
     r"cannot be read: test/dog/0.jpeg \(a web page, no image\)"),
    (lambda root: clear(root / "test/dog"), "test/dog has no images"),
    (lambda root: (clear(root / "test/dog"), (root / "test/dog").rmdir()), "dog is in one of train and test only"),
    (lambda root: (root / "test/bird").mkdir(), "test/bird has no images"),
    (lambda root: [clear(root / "test" / name) for name in ("cat", "dog")], "has no images"),
    (lambda root: [((clear(root / part / "dog"), (root / part / "dog").rmdir()) for part in ("train",)),
                   *[(clear(root / part / "dog"), (root / part / "dog").rmdir()) for part in ("train", "test")]],
     "has 1 class folder"),
    (lambda root: (root / "test/lost.jpg").write_bytes(b""), "lost.jpg lies in no class folder"),
])
def test_what_is_wrong_with_a_folder_is_named_and_nothing_half_made_stays(tmp_path, damage, told):
    root = write(tmp_path / "x", "train", "test")
    damage(root)
    with pytest.raises(UserError, match=told):
        prepare.prepare(row(root), tmp_path / "data")
    assert not list((tmp_path / "data").glob("folder/*/1.0.0"))
    assert not list((tmp_path / "data").rglob("*incomplete*"))


def test_small_classes_empty_and_missing_folders_are_told(tmp_path):
    with pytest.raises(UserError, match="class cat has only 3 images"):
        row(write(tmp_path / "small", number=3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no images"):
        row(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no folder"):
        row(tmp_path / "missing")


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    root, scan = write(tmp_path / "x"), os.scandir

    def refused(path):  # the tests' user may read everything
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match="x/cat cannot be read .Permission denied.: make it readable"):
        row(root)


def test_a_full_disk_leaves_nothing_half_made(tmp_path, monkeypatch):
    import tensorflow as tf

    dataset, write_record = row(write(tmp_path / "x")), tf.io.TFRecordWriter.write
    written = []

    def fill(self, record):
        written.append(record)
        if len(written) > 5:
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return write_record(self, record)

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", fill)
    with pytest.raises(UserError, match="No space left on device.*free some space"):
        prepare.prepare(dataset, tmp_path / "data")
    monkeypatch.undo()
    assert not list((tmp_path / "data").rglob("*tfrecord*"))
    assert sum(len(part.keys) for part in parts(dataset, tmp_path / "data").values()) == 12


def test_a_class_called_train_is_a_class(tmp_path):
    root = write(tmp_path / "vehicles", classes=("bus", "train"))
    assert {file.label for file in reading.list_images(root)} == {"bus", "train"}


def edit(file, label=3, number=9):
    """Another picture of the same size in bytes and with the same time of change, by another inode or not."""
    size = file.stat().st_size
    content = archives.picture(label, number, kind="BMP")
    assert len(content) == size
    file.write_bytes(content)


@pytest.fixture
def photographs(tmp_path):
    """A folder of images that all have the same size in bytes."""
    root = tmp_path / "photographs"
    for label, name in ((0, "cat"), (3, "dog")):
        (root / name).mkdir(parents=True)
        for i in range(6):
            (root / name / f"{i}.bmp").write_bytes(archives.picture(label, 7 * i, kind="BMP"))
    return root


def looked_up(root, data_dir):
    folders.read_once.cache_clear()
    return lookup.get_dataset(f"folder:{root}", data_dir)


def test_an_edited_image_of_the_same_size_makes_another_version(photographs, tmp_path):
    first = looked_up(photographs, tmp_path)
    before = parts(first, tmp_path)
    edit(photographs / "cat" / "0.bmp", number=70)
    second = looked_up(photographs, tmp_path)
    assert (first.tfds.rpartition(":")[2], second.tfds.rpartition(":")[2]) == ("1.0.0", "1.0.1")
    after = parts(second, tmp_path)
    changed = {key for split in manifests.SPLITS for key, old, new in zip(
        before[split].keys, before[split].images, after[split].images, strict=True) if old != new}
    assert changed == {"cat/0.bmp"}
    contents = {manifests.read(dataset, tmp_path)["content"] for dataset in (first, second)}
    assert len(contents) == 2 and looked_up(photographs, tmp_path) == second


def test_a_copy_that_was_cut_before_its_manifest_is_not_taken_for_other_images(photographs, tmp_path):
    dataset = looked_up(photographs, tmp_path)
    prepare.prepare(dataset, tmp_path)
    (manifests.folder(dataset, tmp_path) / manifests.MANIFEST).unlink()
    edit(photographs / "cat" / "0.bmp", number=70)
    with pytest.raises(UserError, match="made of other images than the folder's.: move it elsewhere"):
        prepare.prepare(looked_up(photographs, tmp_path), tmp_path)


def test_a_folder_that_was_only_touched_or_copied_is_not_prepared_again(photographs, tmp_path):
    first = looked_up(photographs, tmp_path)
    manifest = prepare.prepare(first, tmp_path)
    os.utime(photographs / "cat" / "0.bmp")
    assert looked_up(photographs, tmp_path) == first
    copy = shutil.copytree(photographs, tmp_path / "elsewhere" / "photographs")
    assert looked_up(copy, tmp_path).tfds == first.tfds
    assert len(manifests.read(first, tmp_path)["source"]["states"]) == 3
    assert manifests.read(first, tmp_path)["content"] == manifest["content"]


def test_a_copy_made_before_colour_profiles_were_applied_is_used_where_there_are_none(photographs, tmp_path):
    first = looked_up(photographs, tmp_path)
    prepare.prepare(first, tmp_path)

    def forget() -> None:
        path = manifests.folder(first, tmp_path) / manifests.MANIFEST
        manifest = json.loads(path.read_text())
        assert manifest["source"].pop("decoding") == decoding.VERSION
        path.write_text(json.dumps(manifest))
        revisions._known.clear()

    forget()
    assert looked_up(photographs, tmp_path) == first  # and is noted, so that nothing is looked at again
    forget()
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    coloured = photographs.parent / "coloured"
    shutil.copytree(photographs, coloured)
    with PIL.Image.open(photographs / "cat" / "1.bmp") as image:
        other = profile.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")  # red is blue
        image.save(coloured / "cat" / "1.jpg", icc_profile=other)
    for expected in ("1.0.0", "1.0.1"):
        dataset = looked_up(coloured, tmp_path)
        prepare.prepare(dataset, tmp_path)
        assert dataset.tfds.endswith(f":{expected}")
        if expected == "1.0.0":
            first = dataset
            forget()
    assert any("1 by their colour profile" in note for note in manifests.read(dataset, tmp_path)["reading"])
    assert looked_up(coloured, tmp_path) == dataset


def test_verify_hashes_the_files_again(photographs, tmp_path):
    dataset = looked_up(photographs, tmp_path)
    prepare.prepare(dataset, tmp_path)
    assert prepare.verify_images(dataset, tmp_path)["archives"]["result"] == "PASS"
    file = photographs / "cat" / "0.bmp"
    facts = file.stat()
    edit(file, number=70)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # inode and time say nothing
    assert looked_up(photographs, tmp_path) == dataset
    level = prepare.verify_images(dataset, tmp_path)["archives"]
    assert level["result"] == "FAIL"
    assert level["found"] == "1 file of the folder changed since it was prepared: cat/0.bmp"


def test_a_copy_of_before_is_used_where_it_was_read_right(photographs, tmp_path):
    first = looked_up(photographs, tmp_path)
    prepare.prepare(first, tmp_path)
    path = manifests.folder(first, tmp_path) / manifests.MANIFEST
    old = json.loads(path.read_text())
    for name in ("source", "reading"):  # what tfbench did not write before
        del old[name]
    for name in ("train_split", "validation_split", "label_key", "image_key", "label_values"):
        del old["row"][name]
    path.write_text(json.dumps(old))
    revisions._known.clear()
    assert looked_up(photographs, tmp_path) == first
    assert manifests.read(first, tmp_path)["content"] == old["content"]
    path.write_text(json.dumps(old))
    revisions._known.clear()
    labels = path.with_name("label.labels.txt")
    labels.write_text("dog\ncat\n")  # read as other classes
    assert looked_up(photographs, tmp_path).tfds.endswith(":1.0.1")


def test_unreadable_images_are_left_out_where_asked_for(tmp_path, run_program):
    root = write(tmp_path / "x", number=8)
    truncate(root / "cat/3.jpeg")
    (root / "dog/0.jpeg").write_bytes(b"")
    (root / "dog/8.jpeg").symlink_to("nowhere")
    arguments = [f"--dataset=folder:{root}", f"--data_dir={tmp_path}/data"]
    with pytest.raises(UserError, match=r"3 images of .* cannot be read: cat/3.jpeg \(damaged or cut JPEG.*dog/0.jpeg "
                       r"\(an empty file\), dog/8.jpeg \(a link to a missing file\); repair them or move them "
                       "elsewhere, or `python -m tfbench.prepare_data --dataset=folder:.* --skip_unreadable` leaves "
                       "them out"):
        run_program(prepare_data, *arguments)
    output = run_program(prepare_data, *arguments, "--skip_unreadable")
    assert "folder:x: 3 unreadable images left out: cat/3.jpeg (damaged" in output and "folder:x: 9 / 2 / 3" in output
    dataset = lookup.get_dataset(f"folder:{root}", tmp_path / "data")
    manifest = manifests.read(dataset, tmp_path / "data")
    assert set(manifest["skipped"]) == {"cat/3.jpeg", "dog/0.jpeg", "dog/8.jpeg"}
    assert (dataset.train, dataset.validation, dataset.test) == (9, 2, 3)
    assert sum(part["n"] for part in manifest["splits"].values()) == 14
    for file in (root / "dog").iterdir():
        file.unlink()
    (root / "dog/1.jpeg").write_bytes(b"")
    folders.read_once.cache_clear()
    with pytest.raises(UserError, match="its class dog has only 1 image"):
        run_program(prepare_data, *arguments, "--skip_unreadable")


def test_every_kind_of_image_and_name_goes_from_folder_to_pixels(tmp_path):
    root = write(tmp_path / "x", number=4)
    stored = {}
    for number, (mode, kind, ending) in enumerate((("RGB", "TIFF", ".TIF"), ("RGBA", "PNG", ""), ("P", "BMP", ".bmp"),
                                                   ("RGB", "JPEG", ".jfif"), ("RGB", "WEBP", ".webp"))):
        name = os.fsdecode(b"caf\xe9" + str(number).encode() + ending.encode())
        content = archives.picture(0, number, mode, kind)
        (root / "cat" / name).write_bytes(content)
        (root / "dog" / name).write_bytes(archives.picture(1, number, mode, kind))
        stored[f"cat/caf\\xe9{number}{ending}"] = content, kind in ("JPEG", "WEBP") or mode == "RGBA"
    dataset = row(root)
    loaded = parts(dataset, tmp_path)
    found = {key: image for part in loaded.values() for key, image in zip(part.keys, part.images, strict=True)}
    assert len(found) == 18
    for key, (content, as_it_is) in stored.items():
        assert (found[key] == content) == as_it_is
        with PIL.Image.open(io.BytesIO(content)) as image:
            np.testing.assert_allclose(decode(found[key]), np.asarray(image.convert("RGB")), atol=1)
    lines = manifests.read(dataset, tmp_path)["reading"]
    assert "4 images stored as an image viewer shows them, as PNG: 2 TIFF, 2 BMP with a palette" in lines
    assert looked_up(root, tmp_path) == dataset


def test_labels_csv_of_several_labels_is_prepared_and_learnt(tmp_path):
    root = tmp_path / "tagged"
    root.mkdir()
    lines = ["file,labels"]
    for i in range(40):
        shown = [name for bit, name in enumerate(("red", "green", "blue")) if (i + 1) >> bit & 1]
        (root / f"{i}.png").write_bytes(archives.picture(i % 5, i, kind="PNG"))
        lines.append(f"{i}.png,{';'.join(shown)}")
    (root / "labels.csv").write_text("\n".join(lines))
    dataset = row(root)
    loaded = parts(dataset, tmp_path)
    assert dataset.multi_label and dataset.metric == "mean_average_precision"
    assert [len(part.keys) for part in loaded.values()] == [26, 6, 8]
    opened = examples.open_dataset(dataset, tmp_path)
    config = RunConfig.from_flags("train_from_scratch", {"model": "mobilenet_v1", "dataset": dataset.name}).settled(26)
    spec, earlier = (config.spec(NETWORKS["mobilenet_v1"], dataclasses.replace(dataset, metric=metric), opened.manifest,
                                 None) for metric in ("mean_average_precision", "voc_map"))
    assert spec == earlier | {"metric": "mean_average_precision"} and "metric" not in earlier  # as it was hashed
    assert opened.class_names == ("blue", "green", "red")
    for part in loaded.values():
        assert (part.labels > 0).any(0).all()
        for key, label in zip(part.keys, part.labels, strict=True):
            number = int(key.removesuffix(".png")) + 1
            assert label.tolist() == [1 if number >> bit & 1 else -1 for bit in (2, 1, 0)]
    (root / "labels.csv").write_text("\n".join(lines).replace("\n5.png,green;blue", "\n5.png,red"))
    assert looked_up(root, tmp_path).tfds != dataset.tfds


class Quiet:
    """A progress display that nobody sees."""

    def __getattr__(self, name):
        return lambda *arguments, **named: None


def test_every_regime_takes_a_folder(tmp_path):
    root = write(tmp_path / "mine", number=12)
    truncate(root / "cat" / "0.jpeg")
    prepare.prepare(row(root), tmp_path / "data", skip_unreadable=True)
    shared = [f"--dataset=folder:{root}", f"--results_dir={tmp_path}/results", f"--data_dir={tmp_path}/data",
              "--model=mini_mobilenet_v1", "--image_size=32", "--batch_size=8"]

    def call(program, *arguments):
        return execute(program, [*shared, *arguments])

    source, _ = call(pretrain, "--steps=2", "--learning_rate=0.01", "--weight_decay=0")
    weights = store.weights_path(f"{tmp_path}/results", source["spec"])
    for program, arguments in ((logistic_regression, ["--l2=1,10"]),
                               (finetune, ["--steps=2", "--learning_rate=0.01", "--weight_decay=0"])):
        result, new = call(program, f"--weights={weights}", *arguments)
        assert new and result["dataset"] == "folder:mine" and result["n_test"] == 5
        assert "1 unreadable image of the data set left out" in result["warnings"]
        assert result["verification"]["images"] == "PASS" and result["test_split"]["expected"] is None
        assert "the user's own data set instead of one of the paper's twelve" in result["deviations"]


def test_a_tfds_data_set_is_prepared_named_by_content_and_found_again(tmp_path, run_program):
    with pytest.raises(UserError, match="tfds:tf_flowers is not prepared .*prepare_data --dataset=tfds:tf_flowers"):
        lookup.get_dataset("tfds:tf_flowers", tmp_path)
    archives.tf_flowers(manifests.manual_folder(tmp_path))
    with archives.patched_checksums(manifests.manual_folder(tmp_path)):
        output = run_program(prepare_data, "--dataset=tfds:tf_flowers", f"--data_dir={tmp_path}")
    assert "tfds:tf_flowers: 64 / 16 / 20 images" in output
    dataset = lookup.get_dataset("tfds:tf_flowers", tmp_path)
    assert (dataset.classes, dataset.train, dataset.validation, dataset.test) == (5, 64, 16, 20)
    loaded = parts(dataset, tmp_path)
    keys = sorted(key for part in loaded.values() for key in part.keys)
    assert len(set(keys)) == 100 and [key for key in keys if key.endswith("-1")] == [
        key + "-1" for key in keys if key + "-1" in keys]
    assert np.bincount(loaded["test"].labels).tolist() == [4] * 5
    images = index.load(manifests.folder(dataset, tmp_path)).sha256
    assert len({image.tobytes() for image in images}) == 99


def test_tfds_names_that_lead_nowhere_are_told(tmp_path):
    for name, row in (("tfds:dtd", "dtd"), ("tfds:cifar10:3.0.2", "cifar10"), ("tfds:voc/2007", "voc2007"),
                      ("tfds:imagenet2012", "imagenet2012")):
        for use in (lookup.get_dataset, prepare.prepare_tfds):
            with pytest.raises(UserError, match=f"is a row of the catalog: use --dataset={row}"):
                use(name, tmp_path)
    with pytest.raises(UserError, match="TFDS has no data set no_such_set"):
        prepare.prepare_tfds("tfds:no_such_set", tmp_path)
    with pytest.raises(UserError, match="no set of classified images"):
        prepare.prepare_tfds("tfds:wider_face", tmp_path)


def test_catalog_rows_take_their_options_of_reading():
    voc = lookup.get_dataset("voc2007", "/d", difficult="negative", crop_banner=True, split_seed=3)
    assert (voc.difficult, voc.crop_banner, voc.split_seed) == ("negative", False, 3)
    assert lookup.get_dataset("aircraft", "/d", difficult="negative", crop_banner=True).crop_banner
    assert lookup.get_dataset("aircraft", "/d", difficult="negative").difficult == "ignore"
    assert lookup.get_dataset("dtd", "/d") == DATASETS["dtd"]
