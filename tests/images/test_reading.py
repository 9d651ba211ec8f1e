"""Folders of images as people have them: what each kind is taken for, or how it is refused. Reading needs no pixels."""

import os
import socket
import unicodedata

import pytest

from tfbench import UserError
from tfbench.data.folders import dataset_of
from tfbench.images import decoding
from tfbench.images.reading import list_images, read
from tfbench.images.split_names import split_named
from tfbench.wording import printable

JPEG, HEIC = b"\xff\xd8\xff\xe0" + bytes(30), b"\0\0\0\x18ftypheic" + bytes(30)


def fill(root, *names, number=6, content=JPEG, ending=".jpg"):
    """Writes files 0.jpg … into each folder of `names` below the root; returns the root."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            (root / name / f"{i}{ending}").write_bytes(content)
    return root


def table(root, text, *files, name="labels.csv", encoding="utf-8"):
    fill(root, number=0)
    root.mkdir(parents=True, exist_ok=True)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(JPEG)
    (root / name).write_bytes(text.encode(encoding))
    return root


def taken(root) -> dict:
    """{split: {class: images}} of what a folder is read as."""
    found: dict = {}
    for file in read(root).files:
        for label in file.labels:
            counts = found.setdefault(file.split, {})
            counts[label] = counts.get(label, 0) + 1
    return found


def refused(root, told) -> None:
    with pytest.raises(UserError, match=told) as error:
        dataset_of(read(root))
    assert "\n" not in str(error.value) and "delete" not in str(error.value)


BOTH = {"cat": 6, "dog": 6}


@pytest.mark.parametrize("name, split", [
    ("train", "train"), ("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("TrainSet", "train"),
    ("train2017", "train"), ("train-images", "train"), ("Val", "validation"), ("valid", "validation"),
    ("validation", "validation"), ("dev", "validation"), ("eval", "validation"), ("devset", "validation"),
    ("test", "test"), ("testing", "test"), ("Test_Data", "test"), ("testset", "test"), ("trainval", "train"),
    ("trains", None), ("tests", None), ("test1", None), ("contest", None), ("dataset", None), ("2017", None),
    ("train_test", None), ("cat", None)])
def test_names_of_splits(name, split):
    assert split_named(name) == split


@pytest.mark.parametrize("names", [("Train", "Test"), ("training_set", "test_set"), ("train", "Test"),
                                   ("TRAIN", "testing"), ("train", "Val", "Test"), ("training", "dev", "eval_test"),
                                   ("train", "eval", "test"), ("train", "valid"), ("train", "validation", "testing")])
def test_splits_in_any_spelling(names, tmp_path):
    names = [name for name in names if split_named(name)]
    reading = read(fill(tmp_path / "x", *(f"{part}/{label}" for part in names for label in BOTH)))
    assert taken(reading.root) == {split_named(name): BOTH for name in names}
    line = next(note for note in reading.notes if note.startswith("splits: "))
    assert all(f"= {name}/" in line for name in names)
    assert ("held out" in line) == (len(names) < 3)
    assert reading.notes[-1] == f"{12 * len(names)} images, 2 classes: cat {6 * len(names)}, dog {6 * len(names)}"


@pytest.mark.parametrize("names, told", [
    (("train/cat", "train/dog", "Training/cat", "Training/dog"), "several folders for the train split: Training, tr"),
    (("train/cat", "train/dog", "val/cat", "val/dog", "valid/cat"), "several folders for the validation split"),
    (("train/cat", "train/dog", "bird"), "read in two ways: train as splits, or as classes like bird; move bird"),
    (("cat", "dog", "test"), "read in two ways: test as splits, or as classes like cat, dog"),
    (("test/cat", "test/dog"), "has test, but no train folder"),
    (("cat/train", "cat/test", "dog"), "splits inside its classes .cat/test, cat/train"),
    (("cat/train", "cat/test", "dog/train", "dog/test"), "splits inside its classes .cat/test, cat/train"),
    (("train/cat", "train/dog", "test"), "test/0.jpg lies in no class folder.*no test split: move test elsewhere"),
    (("train", "test"), "lies in no class folder"),
    (("cat",), "has 1 class folder: classification needs two or more"),
    (("fold1/cat", "fold1/dog", "Fold_2/cat"), "parts of one data set, Fold_2, fold1, no classes"),
    (("train/cat", "train/dog", "test/cat"), "dog is in one of train and test only"),
    (("train/cat", "train/dog", "test/cat", "test/dog", "test/bird"), "bird is in one of train and test only"),
    (("train/Cat", "train/dog", "test/cat", "test/dog"), "Cat and cat differ in case alone"),
    (("",), "6 images and no class folders: to learn from them, .* labels.csv"),
    (("cat", "dog", ""), "x/0.jpg lies in no class folder"),
])
def test_what_can_be_read_in_two_ways_or_none_is_refused(names, told, tmp_path):
    refused(fill(tmp_path / "x", *names), told)


@pytest.mark.parametrize("names, found, told", [
    (("all/cat", "all/dog"), {"train": BOTH}, "all lies in the folder all/, which is no class"),
    (("a/b/train/cat", "a/b/train/dog", "a/b/Test/cat", "a/b/Test/dog"), {"train": BOTH, "test": BOTH},
     "all lies in the folder a/b/, which is no class"),
    (("train/images/cat", "train/images/dog", "test/images/cat", "test/images/dog"), {"train": BOTH, "test": BOTH},
     "in each split all lies in the folder images/, which is no class"),
])
def test_a_folder_around_everything_is_no_class(names, found, told, tmp_path):
    reading = read(fill(tmp_path / "x", *names))
    assert taken(reading.root) == found and any(told in note for note in reading.notes)
    assert all(file.path.startswith(names[0].split("/")[0]) or "Test" in file.path or "test" in file.path
               for file in reading.files)  # keys are paths from the root


def test_labels_csv_that_agrees_with_the_folders_changes_nothing(tmp_path):
    root = fill(tmp_path / "x", "cat", "dog")
    before = dataset_of(read(root))
    (root / "labels.csv").write_text("file,label\ncat/0.jpg,cat\n")
    reading = read(root)
    assert "labels.csv agrees with the folders, which are read" in reading.notes
    assert dataset_of(reading) == before


def test_the_class_is_the_first_folder(tmp_path):
    reading = read(fill(tmp_path / "x", "cat/day", "cat/night/late", "dog"))
    assert taken(reading.root) == {"train": {"cat": 12, "dog": 6}}
    assert reading.notes[0].startswith("the class is the first folder: cat/day, cat/night/late belong to their first")
    assert {file.folder for file in reading.files} == {"cat/day", "cat/night/late", "dog"}  # for copies of SUN397


def test_endings_are_not_needed_and_what_is_not_read_is_counted(tmp_path):
    root = fill(tmp_path / "x", "cat", "dog")
    for ending in (".JPG", ".jfif", ".jpe", ".tif", ".TIFF", ".bmp", ".webp", "", ".2024"):
        fill(root, "cat", number=1, ending=f"_{ending}")
    fill(root, "dog", number=3, ending=".heic", content=HEIC)
    fill(root, "dog", number=1, ending="_phone", content=HEIC)
    fill(root, "dog", number=2, ending=".txt", content=b"note")
    fill(root, "dog", number=1, ending=".dng", content=b"II*\0" + bytes(30))
    reading = read(root)
    heic = "HEIC" in decoding.readable_kinds()
    assert taken(root) == {"train": {"cat": 15, "dog": 10 if heic else 6}}
    assert "left aside, no images: 2 files (2 .txt)" in reading.notes
    unread = next(note for note in reading.notes if "not read" in note)
    assert "1 .dng (develop the camera's raw files" in unread
    assert heic or unread.startswith("5 of 26 image files not read: 1 .dng")
    assert heic or "3 .heic (convert them to JPEG, or `pip install pillow-heif`); 1 HEIC (" in unread


@pytest.mark.parametrize("ending, told", [(".heic", "6 .heic .convert them to JPEG"), (".svg", "6 .svg"),
                                          (".txt", "dog has no images .*fill it, or move it elsewhere")])
def test_a_class_of_which_nothing_is_read_is_refused(ending, told, tmp_path):
    root = fill(fill(tmp_path / "x", "cat"), "dog", ending=ending, content=HEIC)
    if ending != ".heic" or "HEIC" not in decoding.readable_kinds():
        refused(root, told)


ODD = ("a b", "it's", '"q"', "50 %", "a,b;c|d", "ünï", "猫", "🐈", "-rf", "n\nl", "tab\tb", "e\u0301", "[x]", "{y}",
       "a\\b", "w" * 251)


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names_of_classes_and_files_work(name, tmp_path):
    root = fill(tmp_path / "x", name, "dog")
    (root / "dog" / f"{name}.jpg").write_bytes(JPEG)
    reading = read(root)
    assert len(reading.files) == 13 and len(reading.classes) == 2
    assert all(note == printable(note) for note in reading.notes)
    assert all((root / file.name).is_file() for file in reading.files)
    assert dataset_of(reading).classes == 2


def test_names_that_are_no_utf8_are_written_with_their_bytes(tmp_path):
    root = os.fsencode(fill(tmp_path / "x", "cat", "dog"))
    os.rename(root + b"/cat/0.jpg", root + b"/cat/caf\xe9.jpg")
    os.rename(root + b"/dog", root + b"/d\xff")
    reading = read(tmp_path / "x")
    assert {"cat/caf\\xe9.jpg", "d\\xff/0.jpg"} <= {file.path for file in reading.files}
    assert reading.classes == ["cat", "d\\xff"]
    assert all((tmp_path / "x" / file.name).is_file() for file in reading.files)
    reading.state.encode(), dataset_of(reading)


def test_classes_that_look_alike_are_one_and_it_is_said(tmp_path):
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    root = fill(tmp_path / "x", f"train/{forms[0]}", "train/dog", f"test/{forms[1]}", "test/dog", "test/dog ")
    reading = read(root)
    assert taken(root) == {"train": {forms[0]: 6, "dog": 6}, "test": {forms[0]: 6, "dog": 12}}
    assert sum("look alike" in note for note in reading.notes) == 2
    alone = read(fill(tmp_path / "y", forms[1], "cafz"))
    assert alone.classes == [forms[1], "cafz"]  # as before: no label moves


def test_links_are_followed_and_circles_refused(tmp_path):
    root = fill(tmp_path / "x", "cat", "dog")
    (root / "cat" / "link.jpg").symlink_to(fill(tmp_path / "elsewhere", "") / "0.jpg")
    (root / "bird").symlink_to(tmp_path / "elsewhere")
    assert taken(root) == {"train": {"cat": 7, "dog": 6, "bird": 6}}
    (root / "cat" / "loop").symlink_to("..")
    refused(root, "the link cat/loop in .* leads back to a folder that it lies in, in circles: remove the link")
    (root / "cat" / "loop").unlink()
    (root / "cow").symlink_to("cat")
    refused(root, "cat and cow in .* are the same folder, by a link")
    (root / "cow").unlink()
    for name, to in (("self.jpg", "self.jpg"), ("gone.jpg", "nowhere"), ("gone", "nowhere")):
        (root / "cat" / name).symlink_to(to)
    assert [(file.path, file.size) for file in list_images(root) if not file.size] == [
        ("cat/gone.jpg", 0), ("cat/self.jpg", 0)]  # preparing names them


def test_many_links_to_the_same_folders_end_soon(tmp_path):
    root = fill(tmp_path / "x", "cat", "dog")
    below = root / "cat"
    for _ in range(30):  # 2 ** 30 ways
        (below / "a").mkdir()
        (below / "b").symlink_to("a")
        below = below / "a"
    refused(root, "are the same folder, by a link")


def test_a_validation_folder_that_is_a_link_to_the_test_folder_is_taken(tmp_path):
    root = fill(tmp_path / "x", "train/cat", "train/dog", "test/cat", "test/dog")
    (root / "val").symlink_to("test")
    assert set(taken(root)) == {"train", "validation", "test"}


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    root = fill(tmp_path / "x", "cat", "dog")
    os.mkfifo(root / "cat" / "pipe.jpg")
    os.mkfifo(root / "cat" / "pipe")
    (root / "cat" / "zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server, monkeypatch.context() as there:
        there.chdir(root / "dog")  # a socket's path is short
        server.bind("s.jpg")
    reading = read(root)
    assert taken(root) == {"train": BOTH}
    assert "left aside, neither files nor folders: cat/pipe, cat/pipe.jpg, cat/zero.jpg, dog/s.jpg" in reading.notes


def test_folders_and_files_of_the_system_are_left(tmp_path):
    root = fill(tmp_path / "x", "cat", "dog", "__MACOSX/cat", "cat/@eaDir", ".git")
    (root / "cat" / "._0.jpg").write_bytes(b"AppleDouble")
    for name in ("Thumbs.db", "0.jpg~", "0.jpg.bak", "1.jpg.crdownload"):  # backups would be in two splits
        (root / "cat" / name).write_bytes(JPEG)
    reading = read(root)
    assert taken(root) == {"train": BOTH}
    assert "left aside, of the system: __MACOSX, cat/@eaDir" in reading.notes


ROWS = "".join(f"{i}.jpg,{'cat' if i % 2 else 'dog'}\n" for i in range(12))
FILES = tuple(f"{i}.jpg" for i in range(12))


@pytest.mark.parametrize("text, encoding", [
    ("file,label\n" + ROWS, "utf-8"), ("Image Name;Class\n" + ROWS.replace(",", ";"), "utf-8-sig"),
    ("filename\tcategory\r\n" + ROWS.replace(",", "\t").replace("\n", "\r\n"), "utf-16"),
    (",file,label\n" + "".join(f"{i},{row}\n" for i, row in enumerate(ROWS.split())), "utf-8"),
    ("id,label\n" + ROWS.replace(".jpg", ""), "utf-8"), ("path,label\n" + ROWS.replace(".jpg", ".JPG"), "utf-8"),
    ("path,label\n" + "".join(f"C:\\me\\{row}\n" for row in ROWS.split()), "utf-8"),
    ("file,cat,dog\n" + "".join(f"{i}.jpg,{i % 2},{1 - i % 2}\n" for i in range(12)), "utf-8"),
    ('"file" , "label"\n\n' + ROWS + "0.jpg,dog\n", "utf-8"),
    ("sep=;\nfile;label\n" + ROWS.replace(",", ";"), "utf-8"), ("file,label\n" + ROWS, "utf-16-le"),
    ("file,label\n" + ROWS, "utf-16-be"), ("file,label\n" + ROWS.replace("dog", "dog;"), "utf-8"),
])
def test_labels_csv_of_one_label_per_image(text, encoding, tmp_path):
    root = table(tmp_path / "x", text, *FILES, encoding=encoding)
    assert taken(root) == {"train": BOTH}
    reading = read(root)
    assert reading.listed and not reading.multi_label
    assert reading.notes[0].startswith("labels.csv: files from the column ")
    assert dataset_of(reading).metric == "top1"


@pytest.mark.parametrize("text", [
    "file,labels\n" + "".join(f"{i}.jpg,{'cat;dog' if i % 2 else 'dog'}\n" for i in range(12)),
    "file;labels\n" + "".join(f"{i}.jpg;{'cat|dog' if i % 2 else 'dog'}\n" for i in range(12)),
    "file,cat,dog\n" + "".join(f"{i}.jpg,{i % 2},1\n" for i in range(12)),
    "file,cat,dog\n" + "".join(f"{i}.jpg,{2 * (i % 2) - 1},1\n" for i in range(12)),
])
def test_labels_csv_of_several_labels(text, tmp_path):
    reading = read(table(tmp_path / "x", text, *FILES))
    assert reading.multi_label and taken(reading.root) == {"train": {"cat": 6, "dog": 12}}
    dataset = dataset_of(reading)
    assert dataset.multi_label and dataset.classes == 2


def test_labels_csv_gives_splits_or_folders_do(tmp_path):
    text = "file,label,split\n" + "".join(f"{i}.jpg,{'cat' if i % 2 else 'dog'},{'Train' if i < 8 else 'testing'}\n"
                                          for i in range(12))
    found = {"train": {"dog": 4, "cat": 4}, "test": {"dog": 2, "cat": 2}}
    assert taken(table(tmp_path / "x", text, *FILES)) == found
    parts = ["train" if i < 8 else "Test" for i in range(12)]
    text = "file,label\n" + "".join(f"{i}.jpg,{'cat' if i % 2 else 'dog'}\n" for i in range(12))
    root = table(tmp_path / "y", text, *(f"{part}/{i}.jpg" for i, part in enumerate(parts)))
    assert taken(root) == found
    assert any("splits: train = train/, test = Test/" in note for note in read(root).notes)


@pytest.mark.parametrize("text, told", [
    ("file,label\n" + ROWS + "99.jpg,cat\n", r"names 1 file that cannot be found among the images .line 14: 99.jpg"),
    ("file,label\n" + ROWS + "0.jpg,cat\n", "lines 2 and 14 say different things of 0.jpg"),
    ("file,label\n" + ROWS.replace("3.jpg,cat", "3.jpg,"), "line 5: no label"),
    ("file,label\n" + ROWS.replace("3.jpg,cat", "3.jpg,cat,x"), "line 5: 3 cells under a header of 2"),
    ("file,label\n" + ROWS.replace("3.jpg,cat", "3.jpg,cat;x").replace("4.jpg,dog", "4.jpg,dog|x"), "by ; and by |"),
    ("file,label,split\n" + ROWS.replace("\n", ",some\n"), "line 2: expected train, validation or test as split"),
    (ROWS, "no columns of files and labels: expected a header"),
    ("file,width\n0.jpg,3\n", "no columns of files and labels"),
    ("file,label\n" + ROWS.replace("3.jpg,cat", '3.jpg,"cat'), "from line 13 on .unexpected end of data.: close its"),
    ("file,label\n" + ROWS.replace("3.jpg,cat", "3.jpg," + "c" * 200_000), "from line 5 on .field larger"),
    ("file,label,Label\n" + ROWS.replace("\n", ",x\n"), "has two columns 'Label': expected each name once"),
    ("file,label\n" + ROWS.replace("dog", "1").replace("3.jpg,cat", "3.jpg,1.0"), "line 5: the label '1.0' is '1' in"),
    ("", "no columns of files and labels"),
    ("file,label\n", "no lines of images"),
    ("file,label,split\n" + ROWS.replace("\n", ",test\n"), "no lines with the split train"),
    ("file,label\n" + ROWS.replace("dog", "cat"), "has 1 class: classification needs two"),
])
def test_what_is_wrong_with_labels_csv_is_told_with_its_line(text, told, tmp_path):
    refused(table(tmp_path / "x", text, *FILES), told)


def test_labels_csv_that_is_no_text_or_contradicts_folders_is_refused(tmp_path):
    refused(table(tmp_path / "x", "file,label\nü.jpg,cat\n", *FILES, encoding="latin-1"), "not encoded as UTF-8")
    root = table(tmp_path / "y", "file,label\ncat/0.jpg,dog\ndog/0.jpg,cat\n", "cat/0.jpg", "dog/0.jpg")
    refused(root, "line 2 says dog of cat/0.jpg, its folder another class")


def test_classes_that_differ_in_case_are_told_of(tmp_path):
    reading = read(fill(tmp_path / "x", "Cat", "cat", "dog"))
    assert "Cat and cat differ in case alone and are 2 classes" in reading.notes and len(reading.classes) == 3


@pytest.mark.parametrize("path, told", [
    ("a\0b", "there is no folder .a.b.: expected folder:PATH"), ("", "expected folder:PATH"),
    ("x" * 5000, "there is no folder"), ("nowhere", "there is no folder"), (__file__, "there is no folder")])
def test_a_path_that_is_no_folder_is_told(path, told):
    refused(path, told)


def test_images_in_no_line_and_other_tables_are_left_and_told(tmp_path):
    root = table(tmp_path / "x", "file,label,width\n" + ROWS.replace("\n", ",32\n"), *FILES, "more.jpg")
    notes = read(root).notes
    assert "1 image in no line of labels.csv left aside: more.jpg" in notes and "not read: width" in notes[0]
    root = table(fill(tmp_path / "y", "cat", "dog"), "class,meaning\ncat,felis\n")
    assert taken(root) == {"train": BOTH}
    assert "labels.csv is not read, it has no columns of files and labels" in read(root).notes
