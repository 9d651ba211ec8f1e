"""The row behind a name that --dataset takes: of the catalog, of a folder of images, or of a TFDS data set.

    digits          a row of DATASETS
    folder:PATH     PATH/train/CLASS/*.jpg, with val/ and test/ beside train/ or without; or PATH/CLASS/*.jpg
    tfds:NAME       a classification data set of TFDS, prepared by tfbench.prepare_data

What a folder lacks is held out of its training images, a fifth of each class, by hash of the file's name. This
module imports no TensorFlow.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re

from tfbench.data.catalog import DATASETS, Dataset
from tfbench.errors import UserError

FOLDER, TFDS = "folder:", "tfds:"
SHARE = 0.2  # of the images that are held out where a folder has no test or validation split
ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
SPLITS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
MANIFEST = "tfbench_splits.json"  # of a prepared data set (data/prepare.py)


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


def get_dataset(name: str, data_dir, *, split_seed: int = 0, difficult: str = "ignore", crop_banner: bool = False) -> Dataset:
    """The row of a data set, with its options of reading (see Dataset).

    Raises:
      UserError: the folder is no data set, or the TFDS data set is not prepared.
    """
    if name.startswith(FOLDER):
        row = folder_row(name.removeprefix(FOLDER))
    elif name.startswith(TFDS):
        row = _prepared_row(name, data_dir)
    else:
        row = DATASETS[name]
    return dataclasses.replace(row, split_seed=split_seed, difficult=difficult if row.multi_label else "ignore",
                               crop_banner=crop_banner and row.banner > 0)


@functools.lru_cache(maxsize=8)  # a program asks several times, a large folder takes seconds
def folder_row(path: str) -> Dataset:
    """The row of a folder of images; its version is a hash of the names and sizes of the files.

    Raises:
      UserError: as list_images; or a class is missing from a split, or too small to be split.
    """
    root = pathlib.Path(path).expanduser().resolve()
    files = list_images(root)
    counts = {split: collections.Counter(file.label for file in files if file.split == split) for split in SPLITS}
    classes = sorted(counts["train"])
    for split in SPLITS:
        if counts[split] and set(counts[split]) != set(classes):
            odd = sorted(set(counts[split]) ^ set(classes))
            raise UserError(f"the class folders of {root} differ: {', '.join(odd[:5])} "
                            f"{'is' if len(odd) == 1 else 'are'} in one of train and {split} only; put images of every "
                            "class into both")
    if len(classes) < 2:
        raise UserError(f"{root} has {len(classes)} class folder: classification needs two or more")
    missing = [split for split in ("validation", "test") if not counts[split]]
    least = min(counts["train"], key=counts["train"].get)
    if missing and counts["train"][least] < 5:
        raise UserError(f"{root} has no {' and no '.join(missing)} split, and its class {least} has only "
                        f"{counts['train'][least]} images to hold some out of: add images (five at least) or the split")
    text = "".join(f"{file.path}\t{file.size}\n" for file in files)
    slug = re.sub(r"\W+", "_", root.name.lower()) or "root"
    return Dataset(
        f"{FOLDER}{root.name}", root.name, f"folder/{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}:1.0.0",
        len(classes), "top1", key="key", test_split="test" if counts["test"] else "", source=str(root),
        **sizes_with_held_out(*(counts[split].total() for split in SPLITS)))


def sizes_with_held_out(train: int, validation: int, test: int) -> dict:
    """Fields of a Dataset from the sizes that its splits have, 0 where there is none: SHARE of the training images
    is held out for a missing test split, then SHARE of the rest for a missing validation split."""
    official_validation, test_share = bool(validation), 0.0 if test else SHARE
    if not test:
        test = round(SHARE * train)
        train -= test
    if not validation:
        validation = round(SHARE * train)
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
        named = {split: [tops[name].name for name in names if name in tops] for split, names in SPLITS.items()}
        # A folder called train that holds images is a class (of trains), no split.
        if named["train"] and not _holds_images(tops[named["train"][0]].path):
            parts = [(split, root / name) for split, names in named.items() for name in names]
        else:
            parts = [("train", root)]
        files = [file for split, part in parts for file in _walk(root, part, split)]
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


def _refuse(error: OSError):
    raise error


def _walk(root: pathlib.Path, part: pathlib.Path, split: str):
    for place, folders, names in os.walk(part, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        images = [name for name in names if _is_image(name)]
        here = pathlib.Path(place)
        if images and here == part:
            raise UserError(f"{here / min(images)} lies in no class folder: expected CLASS/IMAGE or train/CLASS/IMAGE")
        if not images and not folders:
            raise UserError(f"the folder {here} has no images ({', '.join(ENDINGS)}): fill it, or delete it")
        for name in images:
            yield ImageFile(split, here.relative_to(part).as_posix(), (here / name).relative_to(root).as_posix(),
                            (here / name).stat().st_size)


def split_name(name: str) -> tuple[str, str]:
    """("builder[/config]", "version" or "") of "tfds:builder[/config][:version]"."""
    builder, _, version = name.removeprefix(TFDS).partition(":")
    return builder, version


def refuse_row(name: str) -> None:
    """Raises UserError if "tfds:NAME" names what the catalog has under a name of its own."""
    builder, _ = split_name(name)
    for row in DATASETS.values():
        if row.tfds.startswith(f"{builder}:") or row.tfds.split("/")[0] == builder:
            raise UserError(f"{name} is a row of the catalog: use --dataset={row.name}")


def _prepared_row(name: str, data_dir) -> Dataset:
    refuse_row(name)
    builder, version = split_name(name)
    root = pathlib.Path(data_dir).expanduser() / builder
    for path in sorted(root.glob(f"{version or '*'}/{MANIFEST}"), reverse=True):
        return Dataset(**json.loads(path.read_text())["row"])
    raise UserError(f"the data set {name} is not prepared in {root}: run `python -m tfbench.prepare_data "
                    f"--dataset={name} --data_dir={data_dir}`")
