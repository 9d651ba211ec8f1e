"""Prepares a data set once, apart from training, and leaves a manifest of what was made.

    DATA_DIR/<builder>[/<config>]/<version>/    the folder, in TFDS's format
        tfbench_index.npz                       keys, labels and places of all examples (data/index.py)
        tfbench_splits.json                     the manifest, written last: it is there = all is there

The manifest holds the splits as tfbench uses them (the validation split held out where the data set
has none), so a program can check names, sizes and labels before it imports TensorFlow. Importing
this module imports none either.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.metadata
import io
import pathlib
import tarfile
import tempfile
import zipfile

import numpy as np
from google.protobuf.message import DecodeError

from tfbench import UserError
from tfbench.data import index, verify
from tfbench.data.catalog import Dataset
from tfbench.data.find import MANIFEST, TFDS, split_name
from tfbench.data.sources import SOURCES
from tfbench.data.splits import split_hash
from tfbench.results import store

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

    With another `split_seed` than 0, `splits` are those of that seed.

    Raises:
      UserError: the manifest is cut, or a file that it lists is missing or has another size.
    """
    path = folder(dataset, data_dir)
    if not (path / MANIFEST).exists():
        return None
    manifest = store.read_json(path / MANIFEST,
                               cure=f"delete the data folder {path} and run the same command again")
    keys = {"dataset", "tfds", "splits", "content", "origin", "verification", "files", "versions"}
    if not isinstance(manifest, dict) or not keys <= set(manifest):
        raise damaged(path, f"{MANIFEST} is no manifest of tfbench")
    for name, size in manifest["files"].items():
        file = path / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            raise damaged(path, f"expected {name} of {size:,} bytes, found "
                          + ("none" if found is None else f"{found:,}"))
    if dataset.split_seed:
        manifest["splits"] = _splits(dataset, index.load(path))
    return manifest


def prepare(dataset: Dataset, data_dir, *, copy=None, report=lambda images: None) -> dict:
    """Makes sure that a data set lies prepared in `data_dir`; at once if it does.

    Several processes may do so at the same time: TFDS writes to a folder of its own and renames it, so
    the first to finish wins, and the others use its files.

    Args:
      copy: folder with a copy of the data set (data/copies.py), to be taken instead of its archives.
      report: called with numbers of images, while a user's own are looked at.

    Returns:
      The manifest:
        dataset, tfds: as in the catalog.
        origin: "drawn", "archives", "copy", "folder" or "tfds": what it was made from.
        row: of a user's own data set, its Dataset as a dictionary.
        splits: for train, validation and test each {"n": examples, "sha256": splits.split_hash of
          their keys, "labels": number of examples per class; for a multi-label set
          {"positive": [...], "difficult": [...]}, the latter counting images that show difficult
          examples of the class only}.
        content: SHA-256, in hex, of everything: keys, labels and encoded images (see content_hash).
        verification: {level: {"result", "found", …}}, see data/verify.py.
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
    scanned = None if path.exists() else _make(dataset, data_dir, copy, report)
    manifest = _describe(dataset, data_dir, copied=copy is not None, scanned=scanned, report=report)
    _write_manifest(dataset, data_dir, manifest)
    return read_manifest(dataset, data_dir)


def _write_manifest(dataset: Dataset, data_dir, manifest: dict) -> None:
    try:
        store.write_json(folder(dataset, data_dir) / MANIFEST, manifest)
    except UserError as error:
        raise _unwritable(data_dir, error.__cause__) from error


def verify_images(dataset: Dataset, data_dir, report=lambda images: None) -> dict:
    """Reads and decodes every image of a prepared data set and keeps what came out in the manifest.

    Returns:
      The manifest's `verification`.
    """
    plain = dataclasses.replace(dataset, split_seed=0)
    manifest, path = read_manifest(plain, data_dir), folder(dataset, data_dir)
    found = index.load(path)
    manifest["verification"] |= verify.of_index(plain, found, index.membership(plain, found)) | {
        "images": _scan(path, found, report)}
    if manifest["origin"] == "archives":
        there = verify.archives(manual_folder(data_dir), SOURCES[dataset.name].files)
        if there["result"] != verify.UNKNOWN:
            manifest["verification"]["archives"] = there
    _write_manifest(plain, data_dir, manifest)
    return manifest["verification"]


def _scan(path, found: index.Index, report) -> dict:
    return verify.scan(lambda row: index.read_image(path, found, row), found.keys.tolist(), report)


def manual_folder(data_dir) -> pathlib.Path:
    """Where archives lie."""
    return pathlib.Path(data_dir).expanduser() / "downloads" / "manual"


def prepare_tfds(name: str, data_dir, report=lambda images: None) -> Dataset:
    """Prepares "tfds:NAME", which is not one of ours, through TFDS.

    Its images are named by their content. Where it has no test split, its validation split is for testing; what is
    lacking is held out of the training split (data/find.py).

    Returns:
      Its row.

    Raises:
      UserError: TFDS has no such data set, cannot prepare it, or it is none of classified images.
    """
    import tensorflow_datasets as tfds

    from tfbench.data.find import SHARE

    wanted, version = split_name(name)
    try:
        builder = tfds.builder(f"{wanted}:{version}" if version else wanted,
                               data_dir=pathlib.Path(data_dir).expanduser())
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise UserError(f"TFDS has no data set {name.removeprefix(TFDS)} ({_first_line(error)})") from error
    features = dict(builder.info.features)
    if not isinstance(features.get("label"), tfds.features.ClassLabel) or not isinstance(
            features.get("image"), tfds.features.Image):
        raise UserError(f"{name} is no set of classified images: its features are {', '.join(features)}, expected "
                        "image and label")
    _check_writable(data_dir)
    config = f"/{builder.builder_config.name}" if builder.builder_config else ""
    row = Dataset(name, builder.name, f"{builder.name}{config}:{builder.version}", features["label"].num_classes,
                  "top1", 0, 0, 0, key="")
    if not (folder(row, data_dir) / _INFO).exists():
        _run(row, data_dir, lambda: builder, manual_folder(data_dir).parent)
        builder = tfds.builder_from_directory(folder(row, data_dir))
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    test_split = next((split for split in ("test", "validation") if split in sizes), "")
    official = test_split == "test" and "validation" in sizes
    train, test = sizes.get("train", 0), sizes.get(test_split, 0)
    if not test:
        test = round(SHARE * train)
        train -= test
    validation = sizes["validation"] if official else round(SHARE * train)
    row = dataclasses.replace(
        row, train=train - (0 if official else validation), validation=validation, test=test, test_split=test_split,
        test_share=0.0 if test_split else SHARE, official_validation=official)
    prepare(row, data_dir, report=report)
    return row


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


def _make(dataset: Dataset, data_dir, copy, report) -> dict | None:
    """Draws an embedded set, copies the user's images, or takes archives from the manual folder or the network.

    Returns:
      The level `images` of the data set if they were decoded on the way.
    """
    scanned = None
    if dataset.embedded:
        with _quiet(), tempfile.TemporaryDirectory() as downloads:  # TFDS wants one
            _run(dataset, data_dir, lambda: make_builder(dataset, data_dir), downloads)
    elif copy is not None or dataset.source:
        from tfbench.data import copies

        with _quiet(), tempfile.TemporaryDirectory() as downloads:
            if copy is not None:
                builder = copies.import_builder(dataset, copy, data_dir)
            else:
                builder, scanned = copies.folder_builder(dataset, data_dir, report)
            _run(dataset, data_dir, lambda: builder, downloads)
    else:
        _run(dataset, data_dir, lambda: make_builder(dataset, data_dir), manual_folder(data_dir).parent)
    return scanned


def _run(dataset: Dataset, data_dir, make, downloads) -> None:
    """Lets a TFDS builder prepare; where it fails, nothing half-made stays under the final name."""
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.extractor import ExtractError

    downloads = pathlib.Path(downloads)
    refusals = (tfds.download.DownloadError, NonMatchingChecksumError, ExtractError, AssertionError,
                FileNotFoundError, EOFError, ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile,
                tf.errors.NotFoundError, tf.errors.DataLossError, tf.errors.OutOfRangeError)
    try:
        (downloads / "manual").mkdir(parents=True, exist_ok=True)
        make().download_and_prepare(
            download_dir=downloads, file_format="tfrecord", download_config=tfds.download.DownloadConfig(
                manual_dir=downloads / "manual", try_download_gcs=False,
                force_checksums_validation=dataset.name in SOURCES))
    except (OSError, tf.errors.OpError, RuntimeError, *refusals) as error:
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, OSError | tf.errors.OpError):
            error = error.__cause__  # TFDS says which split was being written
        if (folder(dataset, data_dir) / _INFO).exists():
            return  # another process was first: the rename at the end failed, and its files are ours
        if isinstance(error, refusals) and not dataset.embedded and not dataset.source:
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


def _splits(dataset: Dataset, found: index.Index) -> dict:
    """Number, hash and labels of the examples in each split."""
    return {split: {"n": len(rows), "sha256": split_hash(found.keys[rows]),
                    "labels": _label_counts(dataset, found.labels[rows])}
            for split, rows in index.membership(dataset, found).items()}


def _describe(dataset: Dataset, data_dir, *, copied: bool, scanned: dict | None, report) -> dict:
    """Reads all of a TFDS-complete folder, writes its index and returns its manifest."""
    import tensorflow as tf

    path = folder(dataset, data_dir)
    dataset = dataclasses.replace(dataset, split_seed=0)
    try:
        with _quiet():
            found = index.build(dataset, path)
    except (tf.errors.OpError, OSError, ValueError, KeyError, IndexError, DecodeError) as error:
        raise damaged(path, str(error).splitlines()[0][:200]) from error
    membership = index.membership(dataset, found)
    for split, rows in membership.items():
        labels, expected = found.labels[rows], getattr(dataset, split)
        if dataset.embedded and len(rows) != expected:
            raise damaged(path, f"expected {expected:,} {split} examples, found {len(rows):,}")
        if not len(rows):
            raise damaged(path, f"its {split} split is empty")
        if not dataset.multi_label and not 0 <= labels.min() <= labels.max() < dataset.classes:
            raise damaged(path, f"expected labels 0 to {dataset.classes - 1} in {split}, found others")
    origin = ("copy" if copied else "drawn" if dataset.embedded else "folder" if dataset.source
              else "tfds" if dataset.name.startswith(TFDS) else "archives")
    if dataset.own and scanned is None:
        scanned = _scan(path, found, report)
        if broken := scanned["undecodable"]:
            raise UserError(f"{len(broken):,} images of {dataset.name} cannot be decoded: {verify.shorten(broken, 50)}")
    verification = verify.of_index(dataset, found, membership) | {
        "archives": _archives(dataset, path, origin, data_dir),
        "images": scanned or verify.level(verify.UNKNOWN, "not decoded yet, --action=verify does it")}
    buffer = io.BytesIO()
    found.save(buffer)
    try:
        store.write_atomically(path / index.FILE, buffer.getvalue())
    except UserError as error:
        raise _unwritable(data_dir, error.__cause__) from error
    return {
        "dataset": dataset.name,
        "tfds": dataset.tfds,
        **({"row": dataclasses.asdict(dataset)} if dataset.own else {}),
        "splits": _splits(dataset, found),
        "content": content_hash(found),
        "origin": origin,
        "verification": {name: verification[name] for name in verify.LEVELS},
        "files": {file.name: file.stat().st_size for file in sorted(path.iterdir())
                  if file.is_file() and not file.name.startswith(".") and file.name != MANIFEST},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _archives(dataset: Dataset, path, origin: str, data_dir) -> dict:
    """The level `archives` of a set that was just prepared: builders refuse a file with another checksum."""
    import tensorflow_datasets as tfds

    if origin != "archives":
        return verify.level(verify.UNKNOWN, {"copy": "made from a copy, not from the publishers' archives"}.get(
            origin, "there are none"))
    files = SOURCES[dataset.name].files
    if all(file.checksum for file in files):
        return verify.level(verify.PASS, f"{', '.join(file.name for file in files)} checked")
    lists = verify.expected(dataset)["lists"]
    altered = [name for name, sha256 in lists.items()
               if store.file_sha256(manual_folder(data_dir) / "birdsnap" / name) != sha256]
    metadata = tfds.builder_from_directory(path).info.metadata
    images = int(metadata["train_altered"]) + int(metadata["test_altered"])
    if altered or images:
        return verify.level(verify.FAIL, "; ".join(
            [f"{name} is not the published list" for name in altered]
            + [f"{images:,} images are other files than the listed ones"] * bool(images)))
    return verify.level(verify.PASS, f"{', '.join(lists)} and every image's MD5 checked")
