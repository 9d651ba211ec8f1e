"""Random trees of folders: none ends in a traceback or without end, and none is silently given another meaning."""

import os
import pathlib
import random
import time
import unicodedata

import pytest

from tfbench import UserError
from tfbench.data.folders import dataset_of
from tfbench.images import label_files
from tfbench.images.reading import read
from tfbench.images.split_names import split_named
from tfbench.images.tree import text_of
from tfbench.wording import printable

HEADS = (b"\xff\xd8\xff\xe0" + bytes(30), b"\x89PNG\r\n\x1a\n" + bytes(30), b"", b"<html>", b"text",
         b"\0\0\0\x18ftypheic" + bytes(30), b"II*\0" + bytes(30))
ENDINGS = (".jpg", ".JPG", ".png", ".jfif", ".tif", "", ".txt", ".heic", ".dng", ".x", ".jpg.bak")
CLASSES = ("cat", "dog", "Cat", "caf\u00e9", "cafe\u0301", "a b", "train", "1", "-", "n\nl", "x;y", "d\udcff")
SPLITS = ("train", "Train", "training_set", "test", "Test", "val", "valid", "dev", "eval", "trains", "test1")
SYSTEM = ("__MACOSX", ".git", "@eaDir")


def grow(rng: random.Random, root: pathlib.Path) -> None:
    """A tree as a user might have it, or spoil it."""
    root.mkdir()
    wild = rng.random() < 0.2
    tops: list[tuple[str, ...]] = [(name,) for name in rng.sample(CLASSES, rng.randint(2 - wild, 4))]
    if rng.random() < 0.5:
        parts = rng.sample(SPLITS, rng.randint(1, 3)) if wild else [
            rng.choice(SPLITS[:3]), *rng.sample((rng.choice(SPLITS[3:5]), rng.choice(SPLITS[5:9])), rng.randint(0, 2))]
        tops = [(part, *top) for part in parts for top in tops]
    for top in tops:
        if not wild or rng.random() < 0.9:
            plant(rng, root.joinpath(*top), rng.choice((0, 1, 5, 6)) if wild else 6, plain=rng.random() < 0.7)
        if rng.random() < 0.1:
            plant(rng, root.joinpath(*top, rng.choice(CLASSES + SPLITS)), rng.randint(0, 3))
    for _ in range(rng.choice((0, 0, 1, 2))):
        spoil(rng, root)


def plant(rng, folder: pathlib.Path, number: int, *, plain: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not plain and number == 6:
        number = 12  # of which some are read
    for i in range(number):
        ending, head = (".jpg", HEADS[0]) if plain else (rng.choice(ENDINGS), rng.choice(HEADS))
        (folder / f"im{i}{ending}").write_bytes(head)


def spoil(rng, root: pathlib.Path) -> None:
    """One thing out of order, somewhere."""
    places = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    place = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        plant(rng, place, 2)
    elif kind == 1:
        link(place / "link", rng.choice(places))
    elif kind == 2:
        link(place / "link.jpg", rng.choice(("nowhere", "link.jpg", "/dev/zero", "/dev/null")))
    elif kind == 3 and not (place / "pipe.png").exists():
        os.mkfifo(place / "pipe.png")
    elif kind == 4:
        (place / rng.choice(CLASSES[:3] + SPLITS)).mkdir(exist_ok=True)
    elif kind == 5:
        plant(rng, place / rng.choice(SYSTEM), 2)
    elif kind == 6:
        (root / "labels.csv").write_bytes(rng.randbytes(40))
    else:
        images = [path for path in root.rglob("*.jpg") if path.is_file()]
        labels = ("cat", "dog", "cat;dog", "dog")[:rng.randint(2, 4)]
        rows = [f"{path.relative_to(root).as_posix()},{rng.choice(labels)}" for path in images]
        text = "\n".join(["file,label", *rng.sample(rows, rng.randint(0, len(rows)))])
        (root / "labels.csv").write_bytes(os.fsencode(text))


def link(path: pathlib.Path, to) -> None:
    if not os.path.lexists(path):
        path.symlink_to(to)


def oracle(root: pathlib.Path) -> tuple[set[str], set[str]]:
    """(paths of files that surely are images, of those that may be), links to folders being followed once."""
    sure, maybe = set(), set()
    for top, names, files in os.walk(root, followlinks=True):
        names[:] = [name for name in names if name[0] != "." and name not in SYSTEM]
        for name in files:
            path = pathlib.Path(top, name)
            if name[0] == ".":
                continue
            relative = path.relative_to(root).as_posix()
            maybe.add(relative)
            if path.suffix.lower() in (".jpg", ".png", ".jfif", ".tif") and path.is_file():
                sure.add(relative)
    return sure, maybe


def check(root: pathlib.Path) -> str:
    """Reads a tree and holds the outcome against the tree; returns what came out, in a word."""
    try:
        reading = read(root)
        dataset_of(reading)
    except UserError as error:
        text = str(error)
        assert text == printable(text) and "delete" not in text and len(text) < 2000
        text.encode()
        return "refused"
    assert read(root) == reading
    sure, maybe = oracle(root)
    names = {file.name for file in reading.files}
    assert names <= maybe and len(names) == len(reading.files)
    notes = "\n".join(reading.notes)
    notes.encode()
    if reading.listed:
        listed = label_files.read(root / "labels.csv")
        assert listed is not None and len(names) <= len(listed.lines)
        assert names >= sure or "in no line of labels.csv left aside" in notes
        return "listed"
    assert names >= sure
    around = next((note for note in reading.notes if note.startswith("all lies in the folder ")), "").count("/")
    within = any(note.startswith("in each split all lies in the folder ") for note in reading.notes)
    in_splits = any(note.startswith("splits: ") for note in reading.notes)
    for file in reading.files:
        parts = file.name.split("/")[around:]
        below = parts[in_splits + within:]
        label = unicodedata.normalize("NFC", printable(text_of(below[0]))).strip()
        assert unicodedata.normalize("NFC", file.label) == label
        assert file.split == (split_named(parts[0]) if in_splits else "train")
    if any("/" in file.folder for file in reading.files):
        assert "the class is the first folder" in notes
    return "read"


@pytest.mark.slow
def test_random_trees(tmp_path):
    outcomes = {"read": 0, "refused": 0, "listed": 0}
    for seed in range(1500):
        root = tmp_path / str(seed)
        grow(random.Random(seed), root)
        start = time.process_time()
        try:
            outcomes[check(root)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        assert time.process_time() - start < 2, f"seed {seed}"
    assert min(outcomes.values()) > 20, outcomes
