"""The index of a prepared data set: where each example lies, what it is called and what it shows.

It is made once, in one checked pass over TFDS's files, and lies beside them. A split is a choice of its
rows, so it depends on keys and labels alone; images are read by position, whole splits into memory or
one by one. Importing this module imports no TensorFlow.
"""

import collections
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfbench.data.catalog import Dataset
from tfbench.data.splits import held_out, per_class, rarest_class
from tfbench.errors import UserError
from tfbench.files import arrays, atomic

FILE = "tfbench_index.npz"
SCHEMA = 1  # version of its layout; the first files do not say theirs
FORMATS = ("tfrecord", "array_record")  # of TFDS's files
ARRAY_RECORD = ".array_record"  # in the names of files
MAP_FROM = 1 << 20  # bytes of a column from which on it stays in the file: ImageNet's have 11 to 149 MB
_one_at_a_time = threading.Lock()  # readers of array records are not for several threads
PIXELS = "pixels_sha256"  # feature of examples whose image tfbench encoded
HEADER_BYTES, FOOTER_BYTES = 12, 4  # around each record of a TFRecord file: its length and checksums


@dataclasses.dataclass(frozen=True)
class Index:
    """The n examples of all splits, in the order of their keys.

    Attributes:
      files: names of the record files.
      keys: [n] str, ascending.
      labels: [n] int64; for a multi-label set [n, classes] float32: +1 where an example of the class is
        present, 0 where only difficult ones are, -1 where none is.
      splits: [n] str, the split as the data set's publishers made it.
      shard, offset, length: [n] int64, which record holds the example: number of its file, first byte (of array records
        its number there), bytes.
      sha256: [n, 32] uint8, of the encoded image, or of its pixels where tfbench encoded them (images/decoding.py).
      sizes: [n] int64, bytes of the encoded image.
      records: [n, 32] uint8, SHA-256 of the record.
      image_key: the feature that holds the image.
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
    image_key: str = "image"

    def save(self, path) -> None:
        """Writes the index as one npz file."""
        np.savez(path, schema=SCHEMA, **dataclasses.asdict(self))


def load(folder) -> Index:
    """The index that lies in a prepared folder. Large columns are the file's own pages (files/arrays.py).

    Raises:
      UserError: it is damaged.
    """
    path = pathlib.Path(folder) / FILE
    cure = (f"move {FILE} and the manifest beside it elsewhere and prepare the data set again, which reads the files "
            f"in {folder} anew")
    columns: dict[str, Any] = arrays.read(path, _COLUMNS, cure=cure, map_from=MAP_FROM)
    atomic.check_schema(path, int(columns.pop("schema", SCHEMA)), SCHEMA, cure=cure)
    image_key, files = columns.pop("image_key", "image"), columns.pop("files")
    keys, hashes = columns["keys"], {columns["sha256"].shape, columns["records"].shape}
    if len({*map(len, columns.values())}) > 1 or hashes != {(len(keys), 32)}:
        raise UserError(f"{path} is damaged (its columns are of unequal length): {cure}")
    if len(keys) and not (
            (keys[1:] > keys[:-1]).all() and 0 <= columns["shard"].min() <= columns["shard"].max() < len(files)
            and all(columns[name].min() >= 0 for name in ("offset", "length", "sizes"))):
        raise UserError(f"{path} is damaged (its keys are not in order, or lie in no file): {cure}")
    return Index(files=files, image_key=str(image_key), **columns)


_WHOLE, _HASHES = arrays.Expected("i"), arrays.Expected("u", (2,))
_COLUMNS = {
    "schema": arrays.Expected("i", (0,), required=False),
    "files": arrays.Expected("U"), "keys": arrays.Expected("U"), "labels": arrays.Expected("if", (1, 2)),
    "splits": arrays.Expected("U"), "shard": _WHOLE, "offset": _WHOLE, "length": _WHOLE, "sha256": _HASHES,
    "sizes": _WHOLE, "records": _HASHES, "image_key": arrays.Expected("U", (0,), required=False)}


def published_splits(dataset: Dataset) -> list[str]:
    """The TFDS splits that hold the data set's images."""
    splits = [dataset.train_split]
    if dataset.official_validation:
        splits.append(dataset.validation_split)
    if not dataset.test_share:
        splits.append(dataset.test_split)
    return splits


def build(dataset: Dataset, folder) -> Index:
    """Reads all examples of a folder that TFDS prepared; TensorFlow checks every record's checksum.

    An image is forgotten as soon as it is hashed, and what is known of a file's examples is held as arrays: some 250
    bytes an example, so that ImageNet's 1.3 million fit.

    Raises:
      tf.errors.OpError, ValueError: a record is damaged or lacks a feature.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if builder.info.file_format.value not in FORMATS:  # one of several that are there
        builder = tfds.builder_from_directory(folder, file_format=FORMATS[0])
    files: list[str] = []
    tables = []  # the columns of each file
    for split in published_splits(dataset):
        for path in builder.info.splits[split].filepaths:
            tables.append(_read_file(dataset, builder, split, str(path), len(files)))
            files.append(pathlib.Path(path).name)
    columns = {name: np.concatenate([table.pop(name) for table in tables]) for name in list(tables[0])}
    if not dataset.key:
        columns["keys"] = _named_by_content(columns)
    order = np.argsort(columns["keys"], kind="stable")
    for name in columns:
        columns[name] = columns[name][order]
    keys = columns["keys"]
    if repeated := np.count_nonzero(keys[1:] == keys[:-1]):
        raise ValueError(f"{repeated} keys stand twice")
    return Index(files=np.array(files), image_key=dataset.image_key, **columns)


def _read_file(dataset: Dataset, builder, split: str, path: str, number: int) -> dict[str, np.ndarray]:
    """The fields of an Index, but for `files`, of the examples in one record file, in its order.

    Args:
      number: of the file.
    """
    rows: list[tuple] = []
    offset = 0
    by_number = ARRAY_RECORD in os.path.basename(path)
    for record in read_records(path):
        key, label, image, sha256 = _parse(dataset, builder, split, record)
        position = len(rows) if by_number else offset + HEADER_BYTES
        rows.append((key, label, position, len(record), len(image), sha256,
                     hashlib.sha256(record).digest()))
        offset += HEADER_BYTES + len(record) + FOOTER_BYTES
    keys, labels, offsets, lengths, sizes, sha256, records = zip(*rows, strict=True) if rows else [()] * 7
    label_type, shape = (np.float32, (-1, dataset.classes)) if dataset.multi_label else (np.int64, -1)
    return {"keys": np.array(keys, str), "labels": np.array(labels, label_type).reshape(shape),
            "splits": np.full(len(rows), split), "shard": np.full(len(rows), number, np.int64),
            "offset": np.array(offsets, np.int64), "length": np.array(lengths, np.int64),
            "sizes": np.array(sizes, np.int64), "sha256": _hashes(sha256), "records": _hashes(records)}


def read_records(path: str) -> Iterator[bytes]:
    """The records of a file of one of FORMATS.

    Raises:
      UserError: it is of array records and the package that reads them is not there.
    """
    import tensorflow as tf

    if ARRAY_RECORD not in os.path.basename(path):
        yield from tf.data.TFRecordDataset(path).as_numpy_iterator()
        return
    reader = _array_reader(path)
    for number in range(reader.num_records()):
        yield reader.read([number])[0]


@functools.lru_cache(maxsize=64)
def _array_reader(path: str):
    if not importlib.util.find_spec("array_record"):
        raise UserError(f"{path} is of array records: `pip install array-record` reads them")
    return importlib.import_module("array_record.python.array_record_module").ArrayRecordReader(path)


def _hashes(digests) -> np.ndarray:
    """[n, 32] uint8 of n SHA-256."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def _parse(dataset: Dataset, builder, split: str, record: bytes):
    """Key, label, encoded image of one record, and the SHA-256 that tells images apart."""
    import tensorflow as tf

    features = tf.train.Example.FromString(record).features.feature
    image = features[dataset.image_key].bytes_list.value[0]
    if PIXELS in features and (pixels := features[PIXELS].bytes_list.value[0]):
        sha256 = bytes.fromhex(pixels.decode())
    else:
        sha256 = hashlib.sha256(image).digest()
    key = features[dataset.key].bytes_list.value[0].decode() if dataset.key else ""
    if dataset.multi_label:
        labels = np.full(dataset.classes, -1.0, np.float32)
        names = (dataset.label_key,) * 2 if dataset.label_key else ("labels", "labels_no_difficult")
        shown, plain = (list(features[name].int64_list.value) for name in names)
        labels[shown] = 0.0
        labels[plain] = 1.0
        return key, labels, image, sha256
    label = _label(dataset, features[dataset.label_key or "label"])
    if dataset.key_format != "{key}":
        key = dataset.key_format.format(key=key, split=split, label=builder.info.features["label"].names[label])
    return key, label, image, sha256


def _label(dataset: Dataset, feature) -> int:
    """The number of the class of one example.

    Raises:
      ValueError: it is none of the data set's.
    """
    if not dataset.label_values:
        return feature.int64_list.value[0]
    value = feature.bytes_list.value[0].decode() if feature.bytes_list.value else feature.int64_list.value[0]
    return dataset.label_values.index(value)


def _named_by_content(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Names of examples that have none: split and SHA-256 of the image; copies are numbered."""
    names = [f"{split}/{sha256.tobytes().hex()}"
             for split, sha256 in zip(columns["splits"], columns["sha256"], strict=True)]
    seen: collections.Counter[str] = collections.Counter()
    labels = columns["labels"]
    for row in sorted(range(len(names)), key=lambda row: (names[row], str(labels[row]))):
        name = names[row]
        if seen[name]:
            names[row] += f"-{seen[name]}"
        seen[name] += 1
    return np.array(names)


def membership(dataset: Dataset, index: Index) -> dict[str, np.ndarray]:
    """Rows of the index in each split as tfbench uses them: what a data set lacks is held out (data/splits.py).

    Returns:
      {"train", "validation", "test"}: [n] int64, ascending.
    """
    seed, test = dataset.split_seed, index.splits == dataset.test_split
    strata = index.labels if index.labels.ndim == 1 else rarest_class(index.labels)
    if dataset.train_per_class:
        test = ~per_class(index.keys.tolist(), index.labels, dataset.train_per_class, seed)
    if dataset.test_share:
        rest = np.flatnonzero(index.splits != dataset.validation_split)
        test = np.zeros(len(index.keys), bool)
        number = round(dataset.test_share * len(rest))
        test[rest] = held_out(index.keys[rest].tolist(), strata[rest], number, seed)
    if dataset.official_validation:
        held = index.splits == dataset.validation_split
    else:
        rest = np.flatnonzero(~test)
        # A copy of which images are missing holds out as large a fraction as the whole would.
        fraction = dataset.validation / (dataset.train + dataset.validation)
        held = np.zeros(len(test), bool)
        if number := round(fraction * len(rest)):  # keys of a source are not looked at
            held[rest] = held_out(index.keys[rest].tolist(), strata[rest], number, seed)
    return {"train": np.flatnonzero(~test & ~held), "validation": np.flatnonzero(held & ~test),
            "test": np.flatnonzero(test)}


def read_image(folder, index: Index, row: int) -> bytes:
    """The encoded image of one example.

    Raises:
      UserError: it is not the one that was there when the index was made.
    """
    import tensorflow as tf

    record = read_record(folder, index, row)
    return tf.train.Example.FromString(record).features.feature[index.image_key].bytes_list.value[0]


def read_record(folder, index: Index, row: int) -> bytes:
    """The record of one example, a serialised tf.train.Example.

    Raises:
      UserError: it is not the one that was there when the index was made.
    """
    name = str(index.files[index.shard[row]])
    path, offset = os.path.join(folder, name), int(index.offset[row])
    try:
        if ARRAY_RECORD in name:
            with _one_at_a_time:
                record = _array_reader(path).read([offset])[0]
        else:
            file = os.open(path, os.O_RDONLY)
            try:
                record = os.pread(file, int(index.length[row]), offset)
            finally:
                os.close(file)
    except (OSError, IndexError, ValueError, RuntimeError):
        record = b""
    if hashlib.sha256(record).digest() != index.records[row].tobytes():
        raise UserError(f"the data folder {folder} is damaged ({name} does not hold the example "
                        f"{index.keys[row]} as it was prepared): move it elsewhere and prepare the data set again")
    return record
