"""Prepared data sets and their examples: keys, labels and encoded images, in memory or, if they are many, on the disk.

Importing this module imports no TensorFlow.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfbench.data import index, manifests
from tfbench.data.catalog import Dataset
from tfbench.data.splits import per_class, split_hash
from tfbench.errors import UserError

MEMORY_BYTES = 2 << 30  # of encoded images, up to which a split is held in memory
KEPT = 32  # indices and choices of splits that a process keeps: a study asks for each once a run
_BLOCK = 4096  # keys that are read at a time


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

    def records(self, positions: np.ndarray) -> np.ndarray:
        """[k] object, the records that hold some of the images, as index.read_record gives them."""
        read = np.empty(len(positions), object)
        for number, position in enumerate(positions):
            read[number] = index.read_record(self.folder, self.entries, self.rows[position])
        return read


@dataclasses.dataclass(frozen=True, eq=False)
class StoredKeys(Sequence[str]):
    """The keys of some rows of an index, each read when it is asked for: a million of them take 100 MB as a list.

    Attributes:
      entries: the index.
      rows: [n] int64, rows of the index.
    """

    entries: index.Index
    rows: np.ndarray

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, position):
        """One key, or the list of those of a slice."""
        return self.entries.keys[self.rows[position]].tolist()

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _BLOCK):
            yield from self[first:first + _BLOCK]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The n examples of a split, in the order of their keys.

    Attributes:
      images: [n] object, encoded bytes, or StoredImages.
      labels: [n] int64, the classes; for a multi-label set [n, classes] float32: +1 where an example of
        the class is present, 0 where only difficult ones are (neither right nor wrong), -1 where none is.
      keys: n strings, ascending: a list, or StoredKeys beside StoredImages.
      split_sha256: splits.split_hash of the keys.
      crop_bottom_rows: rows of pixels at the lower edge of every image that are not to be seen.
    """

    images: np.ndarray | StoredImages
    labels: np.ndarray
    keys: Sequence[str]
    split_sha256: str
    crop_bottom_rows: int = 0


def join(train: Examples, validation: Examples) -> Examples:
    """Both splits as one, in the order of the keys."""
    images: np.ndarray | StoredImages
    keys: Sequence[str]
    if isinstance(train.images, np.ndarray) and isinstance(validation.images, np.ndarray):
        joined = [*train.keys, *validation.keys]
        order = np.array(sorted(range(len(joined)), key=joined.__getitem__))
        images, keys = np.concatenate([train.images, validation.images])[order], [joined[i] for i in order]
    else:
        stored = next(images for images in (train.images, validation.images) if isinstance(images, StoredImages))
        rows = np.concatenate([part.images.rows if isinstance(part.images, StoredImages) else
                               np.searchsorted(stored.entries.keys, part.keys) for part in (train, validation)])
        order = np.argsort(rows)  # those of the index are in the order of the keys
        images, keys = stored_rows(stored.folder, stored.entries, rows[order])
    return Examples(images=images, labels=np.concatenate([train.labels, validation.labels])[order], keys=keys,
                    split_sha256=split_hash(keys), crop_bottom_rows=train.crop_bottom_rows)


def stored_rows(folder: str, entries: index.Index, rows: np.ndarray) -> tuple[StoredImages, StoredKeys]:
    """Images and keys of some rows of an index, to be read when they are asked for."""
    return StoredImages(folder, entries, rows), StoredKeys(entries, rows)


def select(examples: Examples, positions: np.ndarray) -> Examples:
    """The examples at some positions, [n] int64, ascending."""
    images: np.ndarray | StoredImages = examples.images
    keys: Sequence[str]
    if isinstance(images, StoredImages):
        images, keys = stored_rows(images.folder, images.entries, images.rows[positions])
    else:
        images, keys = images[positions], [examples.keys[i] for i in positions]
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
    """A data set that lies prepared on the disk. Its index is read and its splits are computed when first asked for,
    once in a process as long as the file stays the same.

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
        return _load_index(self.folder, self._state)

    @functools.cached_property
    def membership(self) -> dict[str, np.ndarray]:
        """{"train", "validation", "test"}: [n] int64, ascending, rows of the index."""
        return _membership(self.dataset, self.folder, self._state)

    @functools.cached_property
    def _state(self) -> tuple[int, ...] | None:
        """What tells the file of the index from one that takes its place; None where there is none."""
        try:
            facts = (self.folder / index.FILE).stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns

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
        stored, keys = stored_rows(str(self.folder), self.entries, rows)
        if (len(keys), split_hash(keys)) != (expected["n"], expected["sha256"]):
            raise manifests.damaged(self.folder, f"expected the {expected['n']:,} {split} examples of its manifest, "
                                    f"found {len(keys):,} or others")
        in_memory = self.entries.sizes[rows].sum() <= memory
        return Examples(images=self._read_all(stored) if in_memory else stored, labels=self._labels(split),
                        keys=list(keys) if in_memory else keys, split_sha256=expected["sha256"],
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


@functools.lru_cache(maxsize=KEPT)
def _load_index(folder: pathlib.Path, state: tuple[int, ...] | None) -> index.Index:
    del state  # part of the cache's key
    return index.load(folder)


@functools.lru_cache(maxsize=KEPT)
def _membership(dataset: Dataset, folder: pathlib.Path, state: tuple[int, ...] | None) -> dict[str, np.ndarray]:
    return index.membership(dataset, _load_index(folder, state))


def forget_indices() -> None:
    """Lets indices be read anew that this process has read."""
    _load_index.cache_clear()
    _membership.cache_clear()


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
