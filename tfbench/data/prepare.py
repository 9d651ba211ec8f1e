"""Prepares a data set once, apart from training, and leaves a manifest of what was made.

    DATA_DIR/<builder>[/<config>]/<version>/    the folder, in TFDS's format
        tfbench_splits.json                     the manifest, written last: it is there = all is there

The manifest holds the splits as tfbench uses them (the validation split held out where the data set
has none), so a program can check names, sizes and labels before it imports TensorFlow. Importing
this module imports none either.
"""

import contextlib
import hashlib
import importlib
import importlib.metadata
import io
import pathlib
import tempfile

import numpy as np

from tfbench import UserError
from tfbench.data.catalog import Dataset, check_dataset
from tfbench.data.splits import held_out, split_hash
from tfbench.results import store

MANIFEST = "tfbench_splits.json"
SPLITS = ("train", "validation", "test")
_INFO = "dataset_info.json"  # the last file TFDS writes
_PACKAGES = ("tensorflow", "tensorflow-datasets", "numpy", "scikit-learn", "matplotlib", "fonttools")


def folder(dataset: Dataset, data_dir) -> pathlib.Path:
    """DATA_DIR/<builder>[/<config>]/<version> of a data set; "~" is expanded."""
    name, version = dataset.tfds.split(":")
    return pathlib.Path(data_dir).expanduser() / name / version


def damaged(path, found: str) -> UserError:
    """The error for a folder that is not what `prepare` leaves behind."""
    return UserError(f"the data folder {path} is half written ({found}): delete it and run the same "
                     "command again")


def read_manifest(dataset: Dataset, data_dir) -> dict | None:
    """What `prepare` returned, or None when the data set is not prepared. Needs no TensorFlow.

    Raises:
      UserError: the manifest is cut, or a file that it lists is missing or has another size.
    """
    path = folder(dataset, data_dir)
    if not (path / MANIFEST).exists():
        return None
    manifest = store.read_json(path / MANIFEST,
                               cure=f"delete the data folder {path} and run the same command again")
    keys = {"dataset", "tfds", "splits", "content", "files", "versions"}
    if not isinstance(manifest, dict) or not keys <= set(manifest):
        raise damaged(path, f"{MANIFEST} is no manifest of tfbench")
    for name, size in manifest["files"].items():
        file = path / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            raise damaged(path, f"expected {name} of {size:,} bytes, found "
                          + ("none" if found is None else f"{found:,}"))
    return manifest


def prepare(dataset: Dataset, data_dir) -> dict:
    """Makes sure that an embedded data set lies prepared in `data_dir`; at once if it does.

    Several processes may do so at the same time: TFDS writes to a folder of its own and renames it, so
    the first to finish wins, and the others use its files.

    Returns:
      The manifest:
        dataset, tfds: as in the catalog.
        splits: for train, validation and test each {"n": examples, "sha256": splits.split_hash of
          their keys, "labels": number of examples per class; for a multi-label set
          {"positive": [...], "difficult": [...]}, the latter counting images that show difficult
          examples of the class only}.
        content: SHA-256, in hex, of everything: keys, labels and encoded images (see content_hash).
        files: {name: bytes}.
        versions: of Python packages.

    Raises:
      UserError: the data set is not embedded, `data_dir` cannot be written, what lies there is damaged,
        or the counts are not the catalog's.
    """
    check_dataset(dataset)
    manifest = read_manifest(dataset, data_dir)
    if manifest is not None:
        return manifest
    path = folder(dataset, data_dir)
    if path.exists() and not (path / _INFO).exists():
        raise damaged(path, f"it has no {_INFO}")
    _check_writable(data_dir)
    if not path.exists():
        _draw(dataset, data_dir)
    manifest = _describe(dataset, data_dir)
    try:
        store.write_json(path / MANIFEST, manifest)
    except UserError as error:
        raise _unwritable(data_dir, error.__cause__) from error
    return manifest


def _unwritable(data_dir, error: OSError) -> UserError:
    return UserError(f"cannot write to the data folder {data_dir} ({error.strerror or error}): make it "
                     "writable and free some space, or choose another with --data_dir=DIR")


def _check_writable(data_dir) -> None:
    root = pathlib.Path(data_dir).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise _unwritable(data_dir, error) from error


@contextlib.contextmanager
def _quiet():
    """Without TFDS's progress bars, notes and warnings about itself: it is over in seconds."""
    import tensorflow_datasets as tfds
    from absl import logging

    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _draw(dataset: Dataset, data_dir) -> None:
    """Runs the builder of an embedded set: module and class are named after it."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    name = dataset.name
    module = importlib.import_module(f"tfbench.data.{name}")
    builder_class = getattr(module, "".join(part.capitalize() for part in name.split("_")))
    root = pathlib.Path(data_dir).expanduser()
    try:
        # TFDS wants a folder for downloads, of which there are none.
        with _quiet(), tempfile.TemporaryDirectory() as downloads:
            builder_class(data_dir=root).download_and_prepare(
                download_dir=downloads, file_format="tfrecord",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    except (OSError, tf.errors.OpError) as error:
        # Where another process was first, the rename at the end fails, and its files are ours.
        if not (folder(dataset, data_dir) / _INFO).exists():
            raise _unwritable(data_dir, error if isinstance(error, OSError)
                              else OSError(error.message)) from error


def read_split(dataset: Dataset, split: str, data_dir) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads one split of the folder, as TFDS names it, in the order of the keys.

    Returns:
      keys: n strings, ascending.
      labels: [n] int64; for a multi-label set [n, classes] float32: +1 where an example of the class is
        present, 0 where only difficult ones are, -1 where none is.
      images: [n] object, encoded bytes.

    Raises:
      UserError: the files are damaged or there is no such split.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    fields = ("labels", "labels_no_difficult") if dataset.multi_label else ("label",)

    def labelled(example):
        if not dataset.multi_label:
            return example["id"], tf.cast(example["label"], tf.int64), example["image"]
        shown, plain = (tf.reduce_max(tf.one_hot(tf.concat([example[field], [-1]], 0), dataset.classes), 0)
                        for field in fields)
        return example["id"], shown + plain - 1, example["image"]

    path = folder(dataset, data_dir)
    try:
        decoders = tfds.decode.PartialDecoding(dict.fromkeys(("id", "image", *fields), True),
                                               decoders={"image": tfds.decode.SkipDecoding()})
        with _quiet():
            examples = tfds.builder_from_directory(path).as_dataset(
                split=split, decoders=decoders, shuffle_files=False,
                read_config=tfds.ReadConfig(try_autocache=False))
            batches = list(examples.map(labelled).batch(1000).as_numpy_iterator())
    except (tf.errors.OpError, OSError, ValueError, KeyError) as error:
        raise damaged(path, f"split {split!r}: {str(error).splitlines()[0][:200]}") from error
    ids, labels, images = (np.concatenate(column) for column in zip(*batches, strict=True))
    keys = [key.decode() for key in ids]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[i] for i in order], labels[order], images[order]


def read_parts(dataset: Dataset, wanted, data_dir) -> dict[str, tuple[list[str], np.ndarray, np.ndarray]]:
    """Reads splits as tfbench uses them: those of `wanted` (names out of SPLITS), each like read_split."""
    if dataset.official_validation:
        return {split: read_split(dataset, split, data_dir) for split in wanted}
    parts = {"test": read_split(dataset, "test", data_dir)} if "test" in wanted else {}
    if {"train", "validation"} & set(wanted):
        keys, labels, images = read_split(dataset, "train", data_dir)
        held = held_out(keys, labels, dataset.validation)
        for split, chosen in (("train", ~held), ("validation", held)):
            rows = np.flatnonzero(chosen)
            parts[split] = [keys[i] for i in rows], labels[rows], images[rows]
    return {split: parts[split] for split in wanted}


def content_hash(parts) -> str:
    """SHA-256, in hex, of one line per example, sorted: key, labels, SHA-256 of the encoded image.

    The split is part of no line: held-out examples count like the rest of their training split.

    Args:
      parts: (keys, labels, images) of each split, as read_split returns them.
    """
    lines = []
    for keys, labels, images in parts:
        for key, label, image in zip(keys, labels, images, strict=True):
            text = ",".join(str(int(value)) for value in np.atleast_1d(label))
            lines.append(f"{key} {text} {hashlib.sha256(image).hexdigest()}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _label_counts(dataset: Dataset, labels: np.ndarray):
    if dataset.multi_label:
        return {"positive": (labels > 0).sum(0).tolist(), "difficult": (labels == 0).sum(0).tolist()}
    return np.bincount(labels, minlength=dataset.classes).tolist()


def _describe(dataset: Dataset, data_dir) -> dict:
    """Reads all of a TFDS-complete folder and returns its manifest; checks it against the catalog."""
    path = folder(dataset, data_dir)
    parts = read_parts(dataset, SPLITS, data_dir)
    for split, (keys, labels, _) in parts.items():
        expected = getattr(dataset, split)
        if len(keys) != expected or len(set(keys)) != expected:
            raise damaged(path, f"expected {expected:,} {split} examples, found {len(set(keys)):,}")
        if not dataset.multi_label and not 0 <= labels.min() <= labels.max() < dataset.classes:
            raise damaged(path, f"expected labels 0 to {dataset.classes - 1} in {split}, found others")
    return {
        "dataset": dataset.name,
        "tfds": dataset.tfds,
        "splits": {split: {"n": len(keys), "sha256": split_hash(keys),
                           "labels": _label_counts(dataset, labels)}
                   for split, (keys, labels, _) in parts.items()},
        "content": content_hash(parts.values()),
        "files": {file.name: file.stat().st_size for file in sorted(path.iterdir())
                  if file.is_file() and not file.name.startswith(".") and file.name != MANIFEST},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
