"""The index of a prepared data set: where each example lies, what it is called and what it shows.

It is made once, in one checked pass over TFDS's files, and lies beside them. A split is a choice of its
rows, so it depends on keys and labels alone; images are read by position, whole splits into memory or
one by one. Importing this module imports no TensorFlow.
"""

import collections
import dataclasses
import hashlib
import pathlib

import numpy as np

from tfbench import UserError
from tfbench.data.catalog import Dataset
from tfbench.data.splits import held_out, per_class

FILE = "tfbench_index.npz"
_HEADER, _FOOTER = 12, 4  # bytes around each record of a TFRecord file: its length and checksums


@dataclasses.dataclass(frozen=True)
class Index:
    """The n examples of all splits, in the order of their keys.

    Attributes:
      files: names of the record files.
      keys: [n] str, ascending.
      labels: [n] int64; for a multi-label set [n, classes] float32: +1 where an example of the class is
        present, 0 where only difficult ones are, -1 where none is.
      splits: [n] str, the split as the data set's publishers made it.
      shard, offset, length: [n] int64, which record holds the example: number of its file, first byte, bytes.
      sha256: [n, 32] uint8, of the encoded image. sizes: [n] int64, its bytes.
      records: [n, 32] uint8, SHA-256 of the record.
    """

    files: np.ndarray
    keys: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    sha256: np.ndarray
    sizes: np.ndarray
    records: np.ndarray

    def save(self, path) -> None:
        """Writes the index as one npz file."""
        np.savez(path, **dataclasses.asdict(self))


def load(folder) -> Index:
    """The index that lies in a prepared folder."""
    with np.load(pathlib.Path(folder) / FILE, allow_pickle=False) as arrays:
        return Index(**{field.name: arrays[field.name] for field in dataclasses.fields(Index)})


def published_splits(dataset: Dataset) -> list[str]:
    """The TFDS splits that hold the data set's images."""
    return ["train", *["validation"] * dataset.official_validation, *[dataset.test_split] * (not dataset.test_share)]


def build(dataset: Dataset, folder) -> Index:
    """Reads all examples of a folder that TFDS prepared; TensorFlow checks every record's checksum.

    Raises:
      tf.errors.OpError, ValueError: a record is damaged or lacks a feature.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    files, rows = [], []
    for split in published_splits(dataset):
        for path in builder.info.splits[split].filepaths:
            files.append(pathlib.Path(path).name)
            offset = 0
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                key, label, image = _parse(dataset, builder, split, record)
                rows.append((key, label, split, len(files) - 1, offset + _HEADER, len(record),
                             hashlib.sha256(image).digest(), len(image), hashlib.sha256(record).digest()))
                offset += _HEADER + len(record) + _FOOTER
    if not dataset.key:
        rows = _named_by_content(rows)
    rows.sort(key=lambda row: row[0])
    keys, labels, splits, shard, offset, length, sha256, sizes, records = zip(*rows, strict=True)
    if len(set(keys)) != len(keys):
        raise ValueError(f"{len(keys) - len(set(keys))} keys stand twice")
    return Index(
        files=np.array(files), keys=np.array(keys), splits=np.array(splits),
        labels=np.array(labels, np.float32 if dataset.multi_label else np.int64),
        shard=np.array(shard, np.int64), offset=np.array(offset, np.int64), length=np.array(length, np.int64),
        sha256=np.frombuffer(b"".join(sha256), np.uint8).reshape(-1, 32), sizes=np.array(sizes, np.int64),
        records=np.frombuffer(b"".join(records), np.uint8).reshape(-1, 32))


def _parse(dataset: Dataset, builder, split: str, record: bytes):
    """Key, label and encoded image of one record."""
    import tensorflow as tf

    features = tf.train.Example.FromString(record).features.feature
    image = features["image"].bytes_list.value[0]
    key = features[dataset.key].bytes_list.value[0].decode() if dataset.key else ""
    if dataset.multi_label:
        label = np.full(dataset.classes, -1.0, np.float32)
        shown, plain = (list(features[name].int64_list.value) for name in ("labels", "labels_no_difficult"))
        label[shown] = 0.0
        label[plain] = 1.0
        return key, label, image
    label = features["label"].int64_list.value[0]
    if dataset.name == "cars":  # its test numbers begin at 1 again
        key = f"{split}/{key}"
    elif dataset.name == "caltech101":  # file names repeat in every class
        key = f"{builder.info.features['label'].names[label]}/{key}"
    return key, label, image


def _named_by_content(rows: list[tuple]) -> list[tuple]:
    """Examples without names of their own, named by split and SHA-256 of the image; copies are numbered."""
    seen, named = collections.Counter(), []
    for row in sorted(rows, key=lambda row: (row[2], row[6], str(row[1]))):
        name = f"{row[2]}/{row[6].hex()}"
        named.append((f"{name}-{seen[name]}" if seen[name] else name, *row[1:]))
        seen[name] += 1
    return named


def membership(dataset: Dataset, index: Index) -> dict[str, np.ndarray]:
    """Rows of the index in each split as tfbench uses them.

    Returns:
      {"train", "validation", "test"}: [n] int64, ascending.
    """
    seed, test = dataset.split_seed, index.splits == dataset.test_split
    if dataset.train_per_class:
        test = ~per_class(index.keys.tolist(), index.labels, dataset.train_per_class, seed)
    if dataset.test_share:
        rest = np.flatnonzero(index.splits != "validation")
        test = np.zeros(len(index.keys), bool)
        number = round(dataset.test_share * len(rest))
        test[rest] = held_out(index.keys[rest].tolist(), index.labels[rest], number, seed)
    if dataset.official_validation:
        held = index.splits == "validation"
    else:
        rest = np.flatnonzero(~test)
        # A copy of which images are missing holds out as large a share as the whole would.
        share = dataset.validation / (dataset.train + dataset.validation)
        held = np.zeros(len(test), bool)
        held[rest] = held_out(index.keys[rest].tolist(), index.labels[rest], round(share * len(rest)), seed)
    return {"train": np.flatnonzero(~test & ~held), "validation": np.flatnonzero(held & ~test),
            "test": np.flatnonzero(test)}


def read_image(folder, index: Index, row: int) -> bytes:
    """The encoded image of one example.

    Raises:
      UserError: it is not the one that was there when the index was made.
    """
    import tensorflow as tf

    path = pathlib.Path(folder) / str(index.files[index.shard[row]])
    try:
        with path.open("rb") as file:
            file.seek(int(index.offset[row]))
            record = file.read(int(index.length[row]))
    except OSError:
        record = b""
    if hashlib.sha256(record).digest() != index.records[row].tobytes():
        raise UserError(f"the data folder {folder} is half written ({path.name} does not hold the example "
                        f"{index.keys[row]} as it was prepared): delete it and run the same command again")
    return tf.train.Example.FromString(record).features.feature["image"].bytes_list.value[0]
