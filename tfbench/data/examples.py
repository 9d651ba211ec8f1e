"""Loads a split: its keys and labels, and its encoded images in memory or, if they are many, from the disk."""

import dataclasses

import numpy as np

from tfbench.data import index, manifests
from tfbench.data.catalog import Dataset
from tfbench.data.splits import per_class, split_hash

MEMORY = 2 << 30  # bytes of encoded images up to which a split is held in memory


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """The encoded images of some rows of an index, each read when it is asked for."""

    folder: str
    index: index.Index
    rows: np.ndarray

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, position: int) -> bytes:
        return index.read_image(self.folder, self.index, self.rows[position])


@dataclasses.dataclass(frozen=True)
class Examples:
    """The n examples of a split, in the order of their keys.

    Attributes:
      images: [n] object, encoded bytes, or StoredImages.
      labels: [n] int64, the classes; for a multi-label set [n, classes] float32: +1 where an example of
        the class is present, 0 where only difficult ones are (neither right nor wrong), -1 where none is.
      keys: n strings, ascending.
      split_sha256: splits.split_hash of the keys.
      cut: rows of pixels at the lower edge of every image that are not to be seen.
    """

    images: np.ndarray | StoredImages
    labels: np.ndarray
    keys: list[str]
    split_sha256: str
    cut: int = 0


def join(train: Examples, validation: Examples) -> Examples:
    """Both splits as one, in the order of the keys."""
    keys = train.keys + validation.keys
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    if isinstance(train.images, np.ndarray) and isinstance(validation.images, np.ndarray):
        images = np.concatenate([train.images, validation.images])[order]
    else:
        stored = next(part.images for part in (train, validation) if isinstance(part.images, StoredImages))
        rows = np.searchsorted(stored.index.keys, [keys[i] for i in order])
        images = StoredImages(stored.folder, stored.index, rows)
    return Examples(images=images, labels=np.concatenate([train.labels, validation.labels])[order],
                    keys=[keys[i] for i in order], split_sha256=split_hash(keys), cut=train.cut)


def part_of(examples: Examples, positions: np.ndarray) -> Examples:
    """Some of the examples, in ascending order of their positions."""
    images = examples.images
    if isinstance(images, StoredImages):
        images = StoredImages(images.folder, images.index, images.rows[positions])
    else:
        images = images[positions]
    keys = [examples.keys[i] for i in positions]
    return dataclasses.replace(examples, images=images, labels=examples.labels[positions], keys=keys,
                               split_sha256=split_hash(keys))


def subset(examples: Examples, number: int, seed: int) -> Examples:
    """`number` examples of every class, chosen by hash of their keys; all of a class that has no more.

    Of a multi-label set: for every class `number` images that show it, of which some show others too.
    """
    if examples.labels.ndim == 1:
        chosen = per_class(examples.keys, examples.labels, number, seed)
    else:
        chosen = np.zeros(len(examples.keys), bool)
        for shown in (examples.labels > 0).T:
            chosen |= shown & per_class(examples.keys, shown, number, seed)
    return part_of(examples, np.flatnonzero(chosen))


def load_split(dataset: Dataset, split: str, data_dir, *, memory: int = MEMORY) -> Examples:
    """Reads one split of a prepared data set.

    Args:
      dataset: a row, with its options of reading (data/lookup.py).
      split: "train", "validation" or "test".
      data_dir: where prepare.prepare put it.
      memory: bytes of encoded images up to which they are held in memory.

    Raises:
      UserError: the data set is not prepared, or the folder is damaged or not what the manifest says.
      KeyError: another split.
    """
    path = manifests.folder(dataset, data_dir)
    manifest = manifests.read(dataset, data_dir)
    if manifest is None:
        raise manifests.unprepared(dataset, data_dir)
    found = index.load(path)
    rows = index.membership(dataset, found)[split]
    keys, expected = found.keys[rows].tolist(), manifest["splits"][split]
    if (len(keys), split_hash(keys)) != (expected["n"], expected["sha256"]):
        raise manifests.damaged(path, f"expected the {expected['n']:,} {split} examples of its manifest, "
                              f"found {len(keys):,} or others")
    images = StoredImages(str(path), found, rows)
    if found.sizes[rows].sum() <= memory:
        held = np.empty(len(rows), object)
        for position in np.lexsort((found.offset[rows], found.shard[rows])):  # in the order of the disk
            held[position] = images[position]
        images = held
    labels = found.labels[rows]
    if dataset.multi_label and dataset.difficult != "ignore":
        labels = np.where(labels == 0, np.float32(1 if dataset.difficult == "positive" else -1), labels)
    return Examples(images=images, labels=labels, keys=keys, split_sha256=expected["sha256"],
                    cut=dataset.banner if dataset.crop_banner else 0)


class PreparedDataset:
    """Temporary: the room data/ brings the real one."""

    def __init__(self, dataset, data_dir, manifest):
        self.dataset, self.data_dir, self.manifest = dataset, data_dir, manifest

    def load(self, split):
        return load_split(self.dataset, split, self.data_dir)


def open_dataset(dataset, data_dir, *, missing_ok=False):
    manifest = manifests.read(dataset, data_dir)
    if manifest is None:
        if missing_ok:
            return None
        raise manifests.unprepared(dataset, data_dir)
    return PreparedDataset(dataset, data_dir, manifest)
