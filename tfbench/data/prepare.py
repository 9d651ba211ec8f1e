"""Prepares a data set once, apart from training, and leaves a manifest of what was made.

    DATA_DIR/<builder>[/<config>]/<version>/    the folder, in TFDS's format
        tfbench_index.npz                       keys, labels and places of all examples (data/index.py)
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
from google.protobuf.message import DecodeError

from tfbench import UserError
from tfbench.data import index
from tfbench.data.catalog import Dataset
from tfbench.data.splits import split_hash
from tfbench.results import store

MANIFEST = "tfbench_splits.json"
SPLITS = ("train", "validation", "test")
OWN = ("birdsnap", "fgvc_aircraft")  # builders of tfbench.data besides those of the embedded sets
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


def unprepared(dataset: Dataset, data_dir) -> UserError:
    """The error for a data set that must be prepared first."""
    return UserError(f"the data set {dataset.name} is not prepared in {folder(dataset, data_dir)}: run `python -m "
                     f"tfbench.prepare_data --dataset={dataset.name} --data_dir={data_dir}`")


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
    """Makes sure that a data set lies prepared in `data_dir`; at once if it does.

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
      UserError: `data_dir` cannot be written, what lies there is damaged, an archive is missing or another
        than expected, or the counts of an embedded set are not the catalog's.
    """
    manifest = read_manifest(dataset, data_dir)
    if manifest is not None:
        return manifest
    path = folder(dataset, data_dir)
    if path.exists() and not (path / _INFO).exists():
        raise damaged(path, f"it has no {_INFO}")
    _check_writable(data_dir)
    if not path.exists():
        _make(dataset, data_dir)
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


def make_builder(dataset: Dataset, data_dir):
    """The TFDS builder of a data set: one of tfbench.data, or TFDS's own."""
    import tensorflow_datasets as tfds

    name, version = dataset.tfds.split(":")
    base, _, config = name.partition("/")
    root = pathlib.Path(data_dir).expanduser()
    if dataset.embedded or base in OWN:  # module and class are named after the builder
        module = importlib.import_module(f"tfbench.data.{base}")
        own = getattr(module, "".join(part.capitalize() for part in base.split("_")))
        return own(data_dir=root, **({"config": config} if config else {}))
    if config == "standard-part1-full":  # TFDS only has SUN397 shrunk to 120,000 pixels
        from tensorflow_datasets.datasets.sun397 import sun397_dataset_builder as sun397

        return tfds.builder(base, data_dir=root, config=sun397.Sun397Config(
            name=config, version=tfds.core.Version(version), partition=1, target_pixels=None, quality=95,
            description="The first of the ten official partitions, images of their own size."))
    return tfds.builder(dataset.tfds, data_dir=root)


def _make(dataset: Dataset, data_dir) -> None:
    """Runs the builder: draws an embedded set, or takes archives from DATA_DIR/downloads/manual or the network."""
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.extractor import ExtractError

    downloads = pathlib.Path(data_dir).expanduser() / "downloads"
    refusals = (tfds.download.DownloadError, NonMatchingChecksumError, ExtractError, AssertionError,
                FileNotFoundError, ValueError, KeyError)
    with contextlib.ExitStack() as stack:
        if dataset.embedded:
            stack.enter_context(_quiet())
            downloads = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))  # TFDS wants one
        (downloads / "manual").mkdir(parents=True, exist_ok=True)
        try:
            make_builder(dataset, data_dir).download_and_prepare(
                download_dir=downloads, file_format="tfrecord", download_config=tfds.download.DownloadConfig(
                    manual_dir=downloads / "manual", try_download_gcs=False))
        except (OSError, tf.errors.OpError, *refusals) as error:
            if (folder(dataset, data_dir) / _INFO).exists():
                return  # another process was first: the rename at the end failed, and its files are ours
            if isinstance(error, refusals) and not dataset.embedded:
                raise UserError(f"{dataset.name} could not be prepared ({_first_line(error)}): put the files that "
                                f"`python -m tfbench.prepare_data --dataset={dataset.name} --action=plan` lists into "
                                f"{downloads / 'manual'}, then run the same command again") from error
            if isinstance(error, OSError | tf.errors.OpError):
                raise _unwritable(data_dir, error if isinstance(error, OSError)
                                  else OSError(error.message)) from error
            raise


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def content_hash(found: index.Index) -> str:
    """SHA-256, in hex, of one line per example, sorted: key, labels, SHA-256 of the encoded image.

    The split is part of no line: held-out examples count like the rest of their training split.
    """
    lines = []
    for key, label, sha256 in zip(found.keys, found.labels, found.sha256, strict=True):
        text = ",".join(str(int(value)) for value in np.atleast_1d(label))
        lines.append(f"{key} {text} {sha256.tobytes().hex()}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _label_counts(dataset: Dataset, labels: np.ndarray):
    if dataset.multi_label:
        return {"positive": (labels > 0).sum(0).tolist(), "difficult": (labels == 0).sum(0).tolist()}
    return np.bincount(labels, minlength=dataset.classes).tolist()


def _describe(dataset: Dataset, data_dir) -> dict:
    """Reads all of a TFDS-complete folder, writes its index and returns its manifest."""
    import tensorflow as tf

    path = folder(dataset, data_dir)
    try:
        with _quiet():
            found = index.build(dataset, path)
    except (tf.errors.OpError, OSError, ValueError, KeyError, IndexError, DecodeError) as error:
        raise damaged(path, str(error).splitlines()[0][:200]) from error
    splits = {}
    for split, rows in index.membership(dataset, found).items():
        labels, expected = found.labels[rows], getattr(dataset, split)
        if dataset.embedded and len(rows) != expected:
            raise damaged(path, f"expected {expected:,} {split} examples, found {len(rows):,}")
        if not len(rows):
            raise damaged(path, f"its {split} split is empty")
        if not dataset.multi_label and not 0 <= labels.min() <= labels.max() < dataset.classes:
            raise damaged(path, f"expected labels 0 to {dataset.classes - 1} in {split}, found others")
        splits[split] = {"n": len(rows), "sha256": split_hash(found.keys[rows]),
                         "labels": _label_counts(dataset, labels)}
    buffer = io.BytesIO()
    found.save(buffer)
    try:
        store.write_atomically(path / index.FILE, buffer.getvalue())
    except UserError as error:
        raise _unwritable(data_dir, error.__cause__) from error
    return {
        "dataset": dataset.name,
        "tfds": dataset.tfds,
        "splits": splits,
        "content": content_hash(found),
        "files": {file.name: file.stat().st_size for file in sorted(path.iterdir())
                  if file.is_file() and not file.name.startswith(".") and file.name != MANIFEST},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
