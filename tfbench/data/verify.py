"""Whether a prepared copy is the paper's data set, level by level: PASS, FAIL or UNKNOWN.

    archives   the files it was made from have the publishers' checksums
    counts     images per split
    labels     images per class
    keys       which images, by the hash of their names
    images     every image can be decoded, and is the one that was prepared
    leakage    no image is in two splits, byte for byte

What is expected is in expected.json. All but `images` follow from the index and are known as soon as a data set
is prepared; `images` decodes everything (`prepare_data --action=verify`).
"""

import collections
import concurrent.futures
import hashlib
import importlib.resources
import io
import json
import os

import numpy as np

from tfbench.data.catalog import Dataset
from tfbench.data.index import Index
from tfbench.data.splits import split_hash
from tfbench.errors import UserError
from tfbench.files import downloads

PASS, FAIL, UNKNOWN = "PASS", "FAIL", "UNKNOWN"
LEVELS = ("archives", "counts", "labels", "keys", "images", "leakage")
NAMES_SHOWN = 5  # in a sentence
IMAGES_AT_ONCE = 4096  # handed to the threads, or waiting to be counted


def expected(dataset: Dataset) -> dict:
    """What is known of the paper's data set; empty for others."""
    text = (importlib.resources.files("tfbench.data") / "expected.json").read_text(encoding="utf-8")
    return json.loads(text).get(dataset.variant_of or dataset.name, {})


def level(result: str, evidence: str, **more) -> dict:
    """One level's outcome; `evidence` says in words what it rests on."""
    return {"result": result, "found": evidence, **more}


def of_index(dataset: Dataset, index: Index, membership: dict[str, np.ndarray]) -> dict[str, dict]:
    """The levels that need no pixels: counts, labels, keys, leakage.

    Args:
      membership: rows of the index in each split as tfbench uses them (data/index.py).

    Returns:
      {level: {"result", "found"}}.
    """
    facts = expected(dataset)
    rows = {"all": np.arange(len(index.keys))} | {
        split: np.flatnonzero(index.splits == split) for split in np.unique(index.splits).tolist()}
    keys = _keys(dataset, index, rows, facts)
    return {"counts": _counts(dataset, rows, facts, membership), "labels": _labels(dataset, index, rows, facts, keys),
            "keys": keys, "leakage": _leakage(index, membership)}


def _counts(dataset, rows, facts, membership) -> dict:
    if not facts:
        sizes = {split: len(members) for split, members in membership.items()}
        if dataset.custom:
            return level(UNKNOWN, "nothing published to compare with")
        right = all(sizes[split] == getattr(dataset, split) for split in sizes)
        return level(PASS if right else FAIL, " / ".join(f"{size:,}" for size in sizes.values()))
    notes, result = [], PASS
    for split, number in facts["counts"].items():
        count = len(rows.get(split, ()))
        reason = facts.get("known", {}).get(split, {}).get(str(count))
        if count != number and not reason:
            result = FAIL
        note = f"{split} {count:,}"
        if count != number:
            note += f" of {number:,}"
        if reason:
            note += f" ({reason})"
        notes.append(note)
    return level(result, ", ".join(notes))


def _labels(dataset, index, rows, facts, keys) -> dict:
    if dataset.multi_label and facts:
        return _voc_labels(dataset, index, rows, facts)
    wrong, checked = [], []
    for kind in ("per_class", "per_class_range", "per_class_min", "classes_by_count"):
        for split, wanted in facts.get(kind, {}).items():
            counts = np.bincount(index.labels[rows.get(split, [])], minlength=dataset.classes)
            missing = facts["counts"][split] - counts.sum()
            known = str(counts.sum()) in facts.get("known", {}).get(split, {})
            if kind == "per_class":
                right = np.abs(counts - wanted).sum() == (missing if known else 0)
            elif kind == "classes_by_count":
                right = collections.Counter(counts.tolist()) == {int(k): n for k, n in wanted.items()}
            else:
                low, high = (wanted, np.inf) if kind == "per_class_min" else wanted
                right = low <= counts.min() and counts.max() <= high
            checked.append(split)
            if not right:
                wrong.append(f"{split} has {counts.min():,} to {counts.max():,} images a class, expected {wanted}")
    if wrong:
        return level(FAIL, "; ".join(wrong))
    if checked:
        return level(PASS, f"images per class in {', '.join(dict.fromkeys(checked))}")
    if facts.get("keys", {}).get("all") and keys["result"] == PASS:  # these keys begin with the class
        return level(PASS, "the class is part of the keys")
    return level(UNKNOWN, "nothing published to compare with")


def _voc_labels(dataset, index, rows, facts) -> dict:
    names = sorted(facts["per_class"]["test"])
    wrong = []
    for split, wanted in facts["per_class"].items():
        labels = index.labels[rows.get(split, [])].reshape(-1, dataset.classes)
        for column, name in enumerate(names):
            counts = [int((labels[:, column] == value).sum()) for value in (1, 0)]
            if counts != wanted[name]:
                wrong.append(f"{split} {name}: {counts[0]} present and {counts[1]} only difficult, expected "
                             f"{wanted[name][0]} and {wanted[name][1]}")
    for splits, sha256 in facts["labels"].items():  # such as "train+validation"
        members = np.concatenate([rows.get(split, np.zeros(0, np.int64)) for split in splits.split("+")])
        lines = [f"{_voc_id(index.keys[i])}\t{name}\t{int(index.labels[i, column])}"
                 for i in members for column, name in enumerate(names)]
        if split_hash(lines) != sha256:
            wrong.append(f"the labels of {splits} are others than the official ones")
    return level(FAIL, "; ".join(wrong[:NAMES_SHOWN])) if wrong else level(PASS, "every label of every image")


def _voc_id(key) -> str:
    return str(key).removesuffix(".jpg")


def _keys(dataset, index, rows, facts) -> dict:
    if "keys" not in facts:
        return level(UNKNOWN, "no list of names is published with the data set")
    names = np.array([_voc_id(key) for key in index.keys]) if dataset.multi_label else index.keys
    wrong = [split for split, sha256 in facts["keys"].items()
             if split not in rows or split_hash(names[rows[split]].tolist()) != sha256]
    if wrong:
        return level(FAIL, f"the names of {', '.join(wrong)} are others than the official ones")
    return level(PASS, f"the names of {', '.join(facts['keys'])}")


def _leakage(index, membership) -> dict:
    beginnings = np.ascontiguousarray(index.sha256[:, :8]).view(np.uint64)[:, 0]
    _, number, counts = np.unique(beginnings, return_inverse=True, return_counts=True)
    suspects = counts[number] > 1  # all others are single: of a million images few need a look
    where = collections.defaultdict(list)
    for split, members in membership.items():
        for row in members[suspects[members]]:
            where[index.sha256[row].tobytes()].append((split, str(index.keys[row])))
    pairs = [group for group in where.values() if len({split for split, _ in group}) > 1]
    if not pairs:
        return level(PASS, "no image is in two splits")
    shown = "; ".join(" = ".join(f"{key} ({split})" for split, key in group) for group in pairs[:NAMES_SHOWN])
    if len(pairs) > NAMES_SHOWN:
        shown += " …"
    return level(FAIL, f"{len(pairs):,} images are in two splits, byte for byte: {shown}",
                 images=[[f"{split} {key}" for split, key in group] for group in pairs])


def pixels(content: bytes) -> np.ndarray:
    """[height, width, 3] uint8, an encoded image as training reads it."""
    from tfbench.data.pipeline import decode

    return decode(content, jpeg=content[:3] == b"\xff\xd8\xff").numpy()  # said here, TensorFlow's test takes longer


def decoded(content: bytes) -> tuple[str, str, tuple[int, int]]:
    """Format, mode (in Pillow's words) and (shorter, longer) side of an encoded image, decoded as training would."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # Birdsnap's largest would be taken for an attack
    shape = pixels(content).shape[:2]
    with Image.open(io.BytesIO(content)) as image:
        return image.format, image.mode, (min(shape), max(shape))


def scan(look, names, report=lambda images: None) -> dict:
    """Looks at images on all cores.

    Args:
      look: from a number to what `decoded` returns of that image; whatever it raises counts as damage.
      names: of the n images.
      report: called with numbers of images done.

    Returns:
      The level `images`, with the names of those that cannot be decoded ("undecodable") and those that are stored in
      another way than as RGB ("other_than_rgb").
    """
    def inspect(number):
        try:
            return *look(number), ""
        except Exception as error:  # TensorFlow and Pillow have dozens of ways to refuse an image
            return "", "", (0, 0), (str(error).splitlines() or [type(error).__name__])[0][:200]

    formats: collections.Counter[str] = collections.Counter()
    modes, broken, sides = {}, {}, set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(names), IMAGES_AT_ONCE):
            some = range(first, min(first + IMAGES_AT_ONCE, len(names)))
            for number, (kind, mode, side, error) in zip(some, pool.map(inspect, some), strict=True):
                report(1)
                if error:
                    broken[str(names[number])] = error
                    continue
                formats[kind] += 1
                sides.update(side)
                if mode != "RGB":
                    modes[str(names[number])] = mode
    evidence = ", ".join(f"{number:,} {kind}" for kind, number in formats.most_common())
    if sides:
        evidence += f", sides of {min(sides):,} to {max(sides):,} pixels"
    if modes:
        counts = collections.Counter(modes.values()).most_common()
        evidence += f", not stored as RGB: {', '.join(f'{number:,} {mode}' for mode, number in counts)}"
    if broken:
        evidence = f"{len(broken):,} cannot be read: {shorten(broken)}; {evidence}"
    return level(FAIL if broken else PASS, evidence, undecodable=broken, other_than_rgb=modes)


def shorten(names, most: int = NAMES_SHOWN) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def archives(folder, files) -> dict:
    """Compares archives with their published checksums.

    Args:
      folder: where they lie.
      files: of a Source (data/sources.py).
    """
    known = [file for file in files if file.checksum]
    if len(known) < len(files) or not known:
        return level(UNKNOWN, "no checksum is published")
    missing = [file.name for file in known if not (folder / file.name).exists()]
    if missing:
        return level(UNKNOWN, f"{', '.join(missing)} not there any more")
    for file in known:
        try:
            downloads.check(folder / file.name, size=file.size or None, checksum=file.checksum, cure="replace it")
        except UserError as error:
            return level(FAIL, str(error))
    return level(PASS, f"{', '.join(file.name for file in known)} checked")


def results(verification: dict) -> dict[str, str]:
    """{level: PASS, FAIL or UNKNOWN} in the order of LEVELS."""
    return {name: verification.get(name, {}).get("result", UNKNOWN) for name in LEVELS}


def fingerprint(verification: dict) -> str:
    """Hash of what counts, labels and keys came to: part of every run's specification."""
    text = json.dumps([verification[name]["result"] for name in ("counts", "labels", "keys")])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
