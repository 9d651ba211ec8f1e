"""Data sets made of a folder of images, as tfbench.images.reading takes it.

What a folder lacks is held out of its training images, HELD_OUT_FRACTION of each class, by hash of the file's name.
This module imports no TensorFlow.
"""

import collections
import functools
import re

from tfbench.data.catalog import Dataset, own_metric
from tfbench.errors import UserError
from tfbench.images.reading import FOLDER, Reading, hash_lines, meaning, read
from tfbench.images.split_names import SPLITS
from tfbench.images.tree import some, text_of
from tfbench.wording import count, either, printable

HELD_OUT_FRACTION = 0.2  # of the training images, where there is no test or validation split
LEAST_IMAGES = 5  # of a class from which some are held out


@functools.lru_cache(maxsize=8)  # a study asks once a run, a large folder takes seconds
def read_once(path: str) -> Reading:
    """`read`, remembered as long as the process lives, or until read_once.cache_clear()."""
    return read(path)


def dataset_of(reading: Reading) -> Dataset:
    """The data set that the images of a folder make; where it lies follows from names and sizes of the files.

    Raises:
      UserError: a class is missing from a split, or too small to be split.
    """
    root, files = reading.root, reading.files
    counts = {split: collections.Counter(label for file in files if file.split == split for label in file.labels)
              for split in SPLITS}
    numbers = collections.Counter(file.split for file in files)
    classes = reading.classes
    shown = printable(root)
    for split in SPLITS:
        unpaired = set(classes) - set(counts[split])
        if reading.multi_label and split != "train":
            if numbers[split] and not counts[split]:
                raise UserError(f"no {split} image of {shown} shows any class: nothing to score, add some that do")
            continue  # the metrics say what becomes of a class without positives
        if numbers[split] and unpaired:
            raise UserError(_unpaired(reading, counts, split))
    if len(classes) < 2:
        what = "class" if reading.listed else "class folder"
        raise UserError(f"{shown} has {len(classes)} {what}: classification needs two or more")
    missing = [split for split in ("validation", "test") if not numbers[split]]
    least = min(counts["train"], key=counts["train"].__getitem__)
    if missing and counts["train"][least] < LEAST_IMAGES:
        raise UserError(f"{shown} has no {' and no '.join(missing)} split, and its class {printable(least)} has only "
                        f"{count(counts['train'][least], 'image')} to hold some out of: add images (five at least) or "
                        "the split")
    lines = (f"{file.path}\t{file.size}\n" for file in files)
    if reading.listed:
        lines = (f"{meaning(file)}\t{file.size}\n" for file in files)
    name = text_of(root.name)
    slug = re.sub(r"\W+", "_", root.name.lower()).encode()[:200].decode(errors="ignore") or "root"
    return Dataset(
        f"{FOLDER}{name}", name, f"folder/{slug}-{hash_lines(lines)[:12]}:1.0.0",
        len(classes), own_metric(reading.multi_label), key="key", multi_label=reading.multi_label,
        test_split="test" if numbers["test"] else "", folder=str(root),
        **sizes_with_held_out(*(numbers[split] for split in SPLITS)))


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


def _unpaired(reading: Reading, counts, split: str) -> str:
    unpaired = [name for name in reading.classes if name not in counts[split]]
    if split == "train":
        held = sorted({part for name in unpaired for part in SPLITS if counts[part][name]}, key=SPLITS.index)
        where = f"{'is' if len(unpaired) == 1 else 'are'} in one of train and {either(held)} only"
    else:
        where = f"{'is' if len(unpaired) == 1 else 'are'} in one of train and {split} only"
    folded = collections.Counter(name.casefold() for name in reading.classes)
    hint = ""
    if twins := [name for name in reading.classes if folded[name.casefold()] > 1][:2]:
        hint = f" ({' and '.join(map(printable, twins))} differ in case alone)"
    return (f"the classes of {printable(reading.root)} differ: {some(unpaired)} {where}{hint}; put images of every "
            "class into both")
