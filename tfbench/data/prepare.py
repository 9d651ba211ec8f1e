"""Prepares a data set once, apart from training, and leaves a manifest of what was made.
Importing this module imports no TensorFlow.
"""

import dataclasses
import importlib.metadata
import io
import pathlib
import tempfile

import numpy as np
from google.protobuf.message import DecodeError

from tfbench.data import copies, folder_copies, index, manifests, revisions, tfds_sets, verify
from tfbench.data.builders import common
from tfbench.data.catalog import Dataset
from tfbench.data.examples import open_dataset
from tfbench.data.lookup import MANIFEST, TFDS
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.images import decoding, reading
from tfbench.wording import count, printable

_PACKAGES = ("tensorflow", "tensorflow-datasets", "numpy", "scikit-learn", "matplotlib", "fonttools")


def prepare(dataset: Dataset, data_dir, *, copy=None, skip_unreadable: bool = False, notes=(),
            report=lambda images: None) -> dict:
    """Makes sure that a data set lies prepared in `data_dir`; at once if it does.

    Several processes may do so at the same time: TFDS writes to a folder of its own and renames it, so
    the first to finish wins, and the others use its files.

    Args:
      copy: folder with a copy of the data set (data/copies.py), to be taken instead of its archives.
      skip_unreadable: whether images of a folder that cannot be read are left out.
      notes: of a TFDS set, lines on what was taken for what.
      report: called with numbers of images, while those of a custom data set are decoded.

    Returns:
      The manifest:
        dataset, tfds: as in the catalog.
        origin: "drawn", "archives", "copy", "folder" or "tfds": what it was made from.
        row: of a custom data set, what Dataset.to_json says.
        reading: of a custom data set, lines on what was taken for what.
        source: of a folder, {"states", "content"}: hashes of its files (data/revisions.py).
        skipped: of a folder, {path: reason} of images that were left out; missing where none was.
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
    manifest = manifests.read(dataset, data_dir)
    if manifest is not None:
        return manifest
    path = manifests.folder(dataset, data_dir)
    if path.exists() and not (path / common.INFO).exists():
        raise manifests.damaged(path, f"it has no {common.INFO}")
    atomic.check_writable(pathlib.Path(data_dir).expanduser(), cure=manifests.CURE)
    made = not path.exists()
    folder_copy = None
    if dataset.folder:
        folder_copy = folder_copies.look_through(dataset, skip_unreadable=skip_unreadable, report=report)
        dataset = folder_copy.dataset
    if made:
        _make(dataset, data_dir, copy, folder_copy)
    manifest = _describe(dataset, data_dir, made=made, copied=copy is not None, folder_copy=folder_copy, notes=notes,
                         report=report)
    manifests.write(dataset, data_dir, manifest)
    return open_dataset(dataset, data_dir).manifest


def verify_images(dataset: Dataset, data_dir, report=lambda images: None) -> dict:
    """Reads and decodes every image of a prepared data set and keeps what came out in the manifest.

    Returns:
      The manifest's `verification`.
    """
    prepared = open_dataset(dataclasses.replace(dataset, split_seed=0), data_dir)
    verification = prepared.manifest["verification"]
    verification |= verify.of_index(prepared.dataset, prepared.entries, prepared.membership)
    verification["images"] = _scan(prepared.folder, prepared.entries, report)
    if dataset.folder:
        verification["archives"] = _files_of(dataset, data_dir)
    if prepared.manifest["origin"] == "archives" and dataset.source:
        level = verify.archives(manifests.manual_folder(data_dir), dataset.source.files)
        if level["result"] != verify.UNKNOWN:
            verification["archives"] = level
    manifests.write(prepared.dataset, data_dir, prepared.manifest)
    return verification


def _files_of(dataset: Dataset, data_dir) -> dict:
    """The level `archives` of a folder: whether its files are those that were prepared, byte for byte."""
    files = reading.read(dataset.folder)
    if different := revisions.changed(files, dataset, data_dir):
        names = verify.shorten([printable(name) for name in different])
        return verify.level(verify.FAIL, f"{count(len(different), 'file')} of the folder changed since it was "
                            f"prepared: {names}")
    return verify.level(verify.PASS, f"{count(len(files.files), 'file')} of the folder as prepared, byte for byte")


def _seen_alike(content: bytes) -> tuple[str, str, tuple[int, int]]:
    """verify.decoded of an image that TensorFlow shows as an image viewer does.

    Raises:
      UnreadableImage: it does not.
    """
    stored = decoding.stored(content, verify.pixels, apply_profiles=False)  # TFDS's own images are as TFDS reads them
    if stored.reason:
        raise decoding.UnreadableImage(f"{stored.reason}: TensorFlow shows it otherwise")
    return stored.format, stored.mode, stored.sides


def _scan(path, entries: index.Index, report, look=verify.decoded) -> dict:
    order = np.lexsort((entries.offset, entries.shard))  # as they lie on the disk: ImageNet's are 150 GB
    return verify.scan(lambda i: look(index.read_image(path, entries, int(order[i]))),
                       entries.keys[order].tolist(), report)


def prepare_tfds(name: str, data_dir, *, label_key: str | None = None, report=lambda images: None) -> Dataset:
    """Prepares "tfds:NAME[/CONFIG][:VERSION]", which is not one of ours, through TFDS.

    Its images are named by their content. Where it has no test split, its validation split is for testing; what is
    lacking is held out of the training split (data/tfds_sets.py).

    Args:
      label_key: feature that holds the label; None for the only one that can.

    Returns:
      The Dataset.

    Raises:
      UserError: it is a row of the catalog, TFDS has no such data set, cannot prepare it, or it is none of classified
        images.
    """
    import tensorflow_datasets as tfds

    builder, notes = tfds_sets.open_or_make(name, data_dir)
    dataset = tfds_sets.describe(builder, name, label_key)
    atomic.check_writable(pathlib.Path(data_dir).expanduser(), cure=manifests.CURE)
    if not (manifests.folder(dataset, data_dir) / common.INFO).exists():
        common.run(dataset, data_dir, lambda: builder, manifests.manual_folder(data_dir).parent)
        builder = tfds.builder_from_directory(manifests.folder(dataset, data_dir))
    if (manifest := manifests.read(dataset, data_dir)) is not None:
        prepared = Dataset.from_json(manifest["row"])
        if label_key in (None, prepared.label_key or "label"):
            return prepared
        raise UserError(f"{name} is prepared with the label {prepared.label_key or 'label'} in "
                        f"{manifests.folder(dataset, data_dir)}: for {label_key} take another --data_dir")
    dataset, more = tfds_sets.with_splits(builder, dataset)
    prepare(dataset, data_dir, notes=[*notes, *more], report=report)
    return dataset


def _make(dataset: Dataset, data_dir, copy, folder_copy) -> None:
    """Draws an embedded set, copies the user's images, or takes archives from the manual folder or the network."""
    if dataset.embedded:
        with common.quiet(), tempfile.TemporaryDirectory() as downloads:  # TFDS wants one
            common.run(dataset, data_dir, lambda: common.make_builder(dataset, data_dir), downloads)
    elif copy is not None or folder_copy is not None:
        with common.quiet(), tempfile.TemporaryDirectory() as downloads:
            if copy is not None:
                builder = copies.import_builder(dataset, copy, data_dir)
            else:
                builder = folder_copy.builder(data_dir)
            common.run(dataset, data_dir, lambda: builder, downloads)
    else:
        common.run(dataset, data_dir, lambda: common.make_builder(dataset, data_dir),
                     manifests.manual_folder(data_dir).parent)


def _describe(dataset: Dataset, data_dir, *, made: bool, copied: bool, folder_copy, notes, report) -> dict:
    """Reads all of a TFDS-complete folder, just made or found, writes its index and returns its manifest."""
    import tensorflow as tf

    path = manifests.folder(dataset, data_dir)
    dataset = dataclasses.replace(dataset, split_seed=0)
    try:
        with common.quiet():
            entries = index.build(dataset, path)
    except (tf.errors.OpError, OSError, ValueError, KeyError, IndexError, DecodeError) as error:
        raise manifests.damaged(path, str(error).splitlines()[0][:200]) from error
    membership = index.membership(dataset, entries)
    for split, rows in membership.items():
        labels, expected = entries.labels[rows], getattr(dataset, split)
        if dataset.embedded and len(rows) != expected:
            raise manifests.damaged(path, f"expected {expected:,} {split} examples, found {len(rows):,}")
        if not len(rows):
            if expected:
                raise manifests.damaged(path, f"its {split} split is empty")
            continue
        if not dataset.multi_label and not 0 <= labels.min() <= labels.max() < dataset.classes:
            raise manifests.damaged(path, f"expected labels 0 to {dataset.classes - 1} in {split}, found others")
    if folder_copy and not made and not folder_copy.made_of_these(entries):
        raise manifests.damaged(path, "it was made of other images than the folder's")
    origin = "copy" if copied else _origin(dataset)
    scanned = folder_copy.scanned if folder_copy else None
    if dataset.custom and scanned is None:
        scanned = _scan(path, entries, report, look=_seen_alike)
        if broken := scanned["undecodable"]:
            some = verify.shorten([f"{name} ({reason})" for name, reason in broken.items()])
            raise UserError(f"{count(len(broken), 'image')} of {dataset.name} cannot be read as meant: {some}; export "
                            "the images into folders of their classes and take --dataset=folder:PATH")
    verification = verify.of_index(dataset, entries, membership) | {
        "archives": _archives(dataset, path, origin, data_dir, made),
        "images": scanned or verify.level(verify.UNKNOWN, "not decoded yet, --action=verify does it")}
    _write_index(entries, path)
    return {
        "dataset": dataset.name,
        "tfds": dataset.tfds,
        **({"row": dataset.to_json()} if dataset.custom else {}),
        **(folder_copy.facts if folder_copy else {}),
        **({"reading": list(notes)} if notes else {}),
        "splits": manifests.describe_splits(dataset, entries, membership),
        "content": manifests.content_hash(entries),
        "origin": origin,
        "verification": {name: verification[name] for name in verify.LEVELS},
        "files": {file.name: file.stat().st_size for file in sorted(path.iterdir())
                  if file.is_file() and not file.name.startswith(".") and file.name != MANIFEST},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _origin(dataset: Dataset) -> str:
    """What a data set is made from if not from a copy: a value of the manifest's `origin`."""
    if dataset.embedded:
        return "drawn"
    if dataset.folder:
        return "folder"
    return "tfds" if dataset.name.startswith(TFDS) else "archives"


def _write_index(entries: index.Index, path) -> None:
    buffer = io.BytesIO()
    entries.save(buffer)
    atomic.write_atomically(path / index.FILE, buffer.getvalue(), cure=manifests.CURE)


def _archives(dataset: Dataset, path, origin: str, data_dir, made: bool) -> dict:
    """The level `archives`: most builders refuse a file with another checksum, so what was just made passes."""
    if origin == "copy":
        return verify.level(verify.UNKNOWN, "made from a copy, not from the publishers' archives")
    if origin != "archives":
        return verify.level(verify.UNKNOWN, "there are none")
    if dataset.source is None:
        return verify.level(verify.UNKNOWN, "the catalog does not list them")
    lists = verify.expected(dataset).get("lists")
    if made and lists:
        return _birdsnap_lists(lists, path, data_dir)
    files = dataset.source.files
    if made and dataset.source.checked_by_builder and files and all(file.checksum for file in files):
        return verify.level(verify.PASS, f"{', '.join(file.name for file in files)} checked")
    return verify.archives(manifests.manual_folder(data_dir), files)


def _birdsnap_lists(lists: dict[str, str], path, data_dir) -> dict:
    """The level `archives` of Birdsnap, from {name of a list: SHA-256} and what its builder counted."""
    import tensorflow_datasets as tfds

    altered = [name for name, sha256 in lists.items()
               if atomic.file_sha256(manifests.manual_folder(data_dir) / "birdsnap" / name) != sha256]
    metadata = tfds.builder_from_directory(path).info.metadata
    images = int(metadata["train_altered"]) + int(metadata["test_altered"])
    faults = [f"{name} is not the published list" for name in altered]
    if images:
        faults.append(f"{images:,} images are other files than the listed ones")
    if faults:
        return verify.level(verify.FAIL, "; ".join(faults))
    return verify.level(verify.PASS, f"{', '.join(lists)} and every image's MD5 checked")
