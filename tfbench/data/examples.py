"""Prepared data sets and their examples: keys, labels and encoded images, in memory or, if they are many, on the disk.

Importing this module imports no TensorFlow.
"""

import dataclasses
import functools
import os
import pathlib

import numpy as np

from tfbench.data import index, manifests
from tfbench.data.catalog import Dataset
from tfbench.data.splits import per_class, split_hash
from tfbench.errors import UserError

MEMORY_BYTES = 2 << 30  # of encoded images, up to which a split is held in memory


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """The encoded images of some rows of an index, each read when it is asked for.

    Attributes:
      folder: of the prepared data set.
      entries: its index.
      rows: [n] int64, rows of the index.
    """

    folder: str
    entries: index.Index
    rows: np.ndarray

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, position: int) -> bytes:
        return index.read_image(self.folder, self.entries, self.rows[position])


@dataclasses.dataclass(frozen=True)
class Examples:
    """The n examples of a split, in the order of their keys.

    Attributes:
      images: [n] object, encoded bytes, or StoredImages.
      labels: [n] int64, the classes; for a multi-label set [n, classes] float32: +1 where an example of
        the class is present, 0 where only difficult ones are (neither right nor wrong), -1 where none is.
      keys: n strings, ascending.
      split_sha256: splits.split_hash of the keys.
      crop_bottom_rows: rows of pixels at the lower edge of every image that are not to be seen.
    """

    images: np.ndarray | StoredImages
    labels: np.ndarray
    keys: list[str]
    split_sha256: str
    crop_bottom_rows: int = 0


def join(train: Examples, validation: Examples) -> Examples:
    """Both splits as one, in the order of the keys."""
    keys = train.keys + validation.keys
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    if isinstance(train.images, np.ndarray) and isinstance(validation.images, np.ndarray):
        images = np.concatenate([train.images, validation.images])[order]
    else:
        stored = next(images for images in (train.images, validation.images) if isinstance(images, StoredImages))
        rows = np.searchsorted(stored.entries.keys, [keys[i] for i in order])
        images = StoredImages(stored.folder, stored.entries, rows)
    return Examples(images=images, labels=np.concatenate([train.labels, validation.labels])[order],
                    keys=[keys[i] for i in order], split_sha256=split_hash(keys),
                    crop_bottom_rows=train.crop_bottom_rows)


def select(examples: Examples, positions: np.ndarray) -> Examples:
    """The examples at some positions, [n] int64, ascending."""
    images = examples.images
    if isinstance(images, StoredImages):
        images = StoredImages(images.folder, images.entries, images.rows[positions])
    else:
        images = images[positions]
    keys = [examples.keys[i] for i in positions]
    return dataclasses.replace(examples, images=images, labels=examples.labels[positions], keys=keys,
                               split_sha256=split_hash(keys))


def subset(examples: Examples, number: int, seed: int) -> Examples:
    """`number` examples of every class, chosen by hash of their keys; a larger number chooses more beside the same.

    Of a multi-label set: for every class `number` images that show it, of which some show others too.
    """
    return select(examples, np.flatnonzero(_in_subset(examples.keys, examples.labels, number, seed)))


def _in_subset(keys, labels, number: int, seed: int) -> np.ndarray:
    """[n] bool, the examples of a subset."""
    if labels.ndim == 1:
        return per_class(keys, labels, number, seed, use="subset")
    chosen = np.zeros(len(keys), bool)
    for shown in (labels > 0).T:
        chosen |= shown & per_class(keys, shown, number, seed, use="subset")
    return chosen


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedDataset:
    """A data set that lies prepared on the disk. Its index and its splits are computed once, when first asked for.

    Attributes:
      dataset: with its options of reading (data/lookup.py).
      data_dir: where prepare.prepare put it.
      manifest: what prepare.prepare returned, with the splits of dataset.split_seed.
    """

    dataset: Dataset
    data_dir: str | os.PathLike
    manifest: dict

    @property
    def folder(self) -> pathlib.Path:
        """The data set's folder below data_dir."""
        return manifests.folder(self.dataset, self.data_dir)

    @functools.cached_property
    def entries(self) -> index.Index:
        """The index: what is known of every example but its image."""
        return index.load(self.folder)

    @functools.cached_property
    def membership(self) -> dict[str, np.ndarray]:
        """{"train", "validation", "test"}: [n] int64, ascending, rows of the index."""
        return index.membership(self.dataset, self.entries)

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels; their numbers where TFDS has no names."""
        import tensorflow_datasets as tfds

        features, dataset = tfds.builder_from_directory(self.folder).info.features, self.dataset
        if dataset.multi_label:
            return tuple(features[dataset.label_key or "labels"].feature.names)
        label = features[dataset.label_key or "label"]
        if isinstance(label, tfds.features.ClassLabel):
            return tuple(label.names)
        return tuple(map(str, dataset.label_values or range(dataset.classes)))

    def load(self, split: str, *, memory: int = MEMORY_BYTES) -> Examples:
        """Reads one split.

        Args:
          split: "train", "validation" or "test".
          memory: bytes of encoded images up to which they are held in memory.

        Raises:
          UserError: the folder is damaged or not what the manifest says.
          KeyError: another split.
        """
        rows, expected = self.membership[split], self.manifest["splits"][split]
        keys, labels = self.entries.keys[rows].tolist(), self._labels(split)
        if (len(keys), split_hash(keys)) != (expected["n"], expected["sha256"]):
            raise manifests.damaged(self.folder, f"expected the {expected['n']:,} {split} examples of its manifest, "
                                    f"found {len(keys):,} or others")
        stored = StoredImages(str(self.folder), self.entries, rows)
        images = self._read_all(stored) if self.entries.sizes[rows].sum() <= memory else stored
        return Examples(images=images, labels=labels, keys=keys, split_sha256=expected["sha256"],
                        crop_bottom_rows=self.dataset.banner if self.dataset.crop_banner else 0)

    def _labels(self, split: str) -> np.ndarray:
        """Labels of a split's examples, read as the data set's options say."""
        labels = self.entries.labels[self.membership[split]]
        if self.dataset.multi_label and self.dataset.difficult != "ignore":
            value = np.float32(1 if self.dataset.difficult == "positive" else -1)
            labels = np.where(labels == 0, value, labels)
        return labels

    def subset_images(self, number: int, seed: int) -> int:
        """How many training images a subset has, of `number` examples of every class.

        Raises:
          UserError: a class has fewer.
        """
        labels = self._labels("train")
        if self.dataset.multi_label:
            counts = (labels > 0).sum(axis=0)
        else:
            counts = np.bincount(labels, minlength=self.dataset.classes)
        if number > counts.min():
            raise UserError(f"--examples_per_class={number} is more than a class of {self.dataset.name} has for "
                            f"training: take {counts.min()} at most")
        if not self.dataset.multi_label:
            return number * self.dataset.classes
        keys = self.entries.keys[self.membership["train"]].tolist()
        return int(_in_subset(keys, labels, number, seed).sum())

    def _read_all(self, stored: StoredImages) -> np.ndarray:
        """[n] object, the images, read in the order of the disk."""
        images = np.empty(len(stored), object)
        for position in np.lexsort((self.entries.offset[stored.rows], self.entries.shard[stored.rows])):
            images[position] = stored[position]
        return images


def open_dataset(dataset: Dataset, data_dir) -> PreparedDataset:
    """A prepared data set; needs no TensorFlow until its images or class names are asked for.

    Raises:
      UserError: the data set is not prepared, or its folder is damaged.
    """
    prepared = find_dataset(dataset, data_dir)
    if prepared is None:
        raise manifests.unprepared(dataset, data_dir)
    return prepared


def find_dataset(dataset: Dataset, data_dir) -> PreparedDataset | None:
    """open_dataset, or None where the data set is not prepared."""
    manifest = manifests.read_stored(dataset, data_dir)
    if manifest is None:
        return None
    prepared = PreparedDataset(dataset, data_dir, manifest)
    if dataset.split_seed:
        manifest["splits"] = manifests.describe_splits(dataset, prepared.entries, prepared.membership)
    return prepared


def load_split(dataset: Dataset, split: str, data_dir, *, memory: int = MEMORY_BYTES) -> Examples:
    """One split of a prepared data set; for several, open_dataset reads the manifest and the index once."""
    return open_dataset(dataset, data_dir).load(split, memory=memory)
