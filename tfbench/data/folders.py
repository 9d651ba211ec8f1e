"""Data sets made of a folder of images: which images there are, and what Dataset they make.

    PATH/train/CLASS/*.jpg, with val/ and test/ beside train/ or without; or PATH/CLASS/*.jpg

What a folder lacks is held out of its training images, HELD_OUT_FRACTION of each class, by hash of the file's name.
This module imports no TensorFlow.
"""

import collections
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator

from tfbench.data.catalog import Dataset
from tfbench.errors import UserError

FOLDER = "folder:"  # --dataset=folder:PATH
HELD_OUT_FRACTION = 0.2  # of the training images, where there is no test or validation split
ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
# What the folders of the splits may be called.
SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"),
                 "test": ("test", "testing")}


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """One image of a folder.

    Attributes:
      split: "train", "validation" or "test"; "train" in a folder without splits.
      label: its class, the folder it lies in.
      path: from the root of the data set, with "/".
      size: bytes.
    """

    split: str
    label: str
    path: str
    size: int


@functools.lru_cache(maxsize=8)  # a study asks once a run, a large folder takes seconds
def folder_dataset(path: str) -> Dataset:
    """The data set that a folder of images makes; its version is a hash of the names and sizes of the files.

    Raises:
      UserError: as list_images; or a class is missing from a split, or too small to be split.
    """
    root = pathlib.Path(path).expanduser().resolve()
    files = list_images(root)
    counts = {split: collections.Counter(file.label for file in files if file.split == split)
              for split in SPLIT_FOLDERS}
    classes = sorted(counts["train"])
    for split in SPLIT_FOLDERS:
        if counts[split] and set(counts[split]) != set(classes):
            unpaired = sorted(set(counts[split]) ^ set(classes))
            raise UserError(f"the class folders of {root} differ: {', '.join(unpaired[:5])} "
                            f"{'is' if len(unpaired) == 1 else 'are'} in one of train and {split} only; put images of "
                            "every class into both")
    if len(classes) < 2:
        raise UserError(f"{root} has {len(classes)} class folder: classification needs two or more")
    missing = [split for split in ("validation", "test") if not counts[split]]
    least = min(counts["train"], key=counts["train"].__getitem__)
    if missing and counts["train"][least] < 5:
        raise UserError(f"{root} has no {' and no '.join(missing)} split, and its class {least} has only "
                        f"{counts['train'][least]} images to hold some out of: add images (five at least) or the split")
    text = "".join(f"{file.path}\t{file.size}\n" for file in files)
    slug = re.sub(r"\W+", "_", root.name.lower()) or "root"
    return Dataset(
        f"{FOLDER}{root.name}", root.name, f"folder/{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}:1.0.0",
        len(classes), "top1", key="key", test_split="test" if counts["test"] else "", folder=str(root),
        **sizes_with_held_out(*(counts[split].total() for split in SPLIT_FOLDERS)))


def sizes_with_held_out(train: int, validation: int, test: int) -> dict:
    """Fields of a Dataset from the numbers of images that its splits have, 0 where there is none.

    HELD_OUT_FRACTION of the training images is held out for a missing test split, then the same fraction of the rest
    for a missing validation split.
    """
    official_validation, test_share = bool(validation), 0.0 if test else HELD_OUT_FRACTION
    if not test:
        test = round(HELD_OUT_FRACTION * train)
        train -= test
    if not validation:
        validation = round(HELD_OUT_FRACTION * train)
        train -= validation
    return {"train": train, "validation": validation, "test": test, "test_share": test_share,
            "official_validation": official_validation}


def list_images(root) -> list[ImageFile]:
    """The images of a folder, in the order of their paths, whatever order the file system lists them in.

    Files of other kinds and hidden ones are passed over.

    Raises:
      UserError: there is no such folder, a folder cannot be read, has no images, or they lie in no class folder.
    """
    root = pathlib.Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"there is no folder {root}: expected one with a folder of images per class, or with such "
                        "folders in train/, val/ and test/")
    try:
        tops = {entry.name: entry for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != "."}
        named = {split: [tops[name].name for name in names if name in tops] for split, names in SPLIT_FOLDERS.items()}
        # A folder called train that holds images is a class (of trains), no split.
        if named["train"] and not _holds_images(tops[named["train"][0]].path):
            split_folders = [(split, root / name) for split, names in named.items() for name in names]
        else:
            split_folders = [("train", root)]
        files = [file for split, top in split_folders for file in _walk(root, top, split)]
    except OSError as error:
        raise UserError(f"the folder {error.filename or root} cannot be read ({error.strerror}): make it readable, "
                        "with everything in it") from error
    if not files:
        raise UserError(f"{root} has no images ({', '.join(ENDINGS)}) in class folders: expected "
                        "CLASS/IMAGE or train/CLASS/IMAGE")
    return sorted(files, key=lambda file: file.path)


def _holds_images(folder) -> bool:
    return any(_is_image(entry.name) for entry in os.scandir(folder))


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and name[0] != "."


def _raise(error: OSError):
    raise error


def _walk(root: pathlib.Path, split_folder: pathlib.Path, split: str) -> Iterator[ImageFile]:
    """The images below the folder of one split, which is `root` itself where there are no splits."""
    for path, folders, names in os.walk(split_folder, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        images, folder = [name for name in names if _is_image(name)], pathlib.Path(path)
        if images and folder == split_folder:
            raise UserError(f"{folder / min(images)} lies in no class folder: expected CLASS/IMAGE or "
                            "train/CLASS/IMAGE")
        if not images and not folders:
            raise UserError(f"the folder {folder} has no images ({', '.join(ENDINGS)}): fill it, or delete it")
        for name in images:
            yield ImageFile(split, folder.relative_to(split_folder).as_posix(),
                            (folder / name).relative_to(root).as_posix(), (folder / name).stat().st_size)
