"""What lies on the disk of a prepared data set: where it is, and the manifest that says what was made.

    DATA_DIR/<builder>[/<config>]/<version>/    the folder, in TFDS's format
        tfbench_index.npz                       keys, labels and positions of all examples (data/index.py)
        tfbench_splits.json                     the manifest, written last: it is there = all is there

The manifest holds the splits as tfbench uses them (the validation split held out where the data set
has none), so a program can check names, sizes and labels before it imports TensorFlow. Importing
this module imports none either.
"""

import hashlib
import pathlib
import re

import numpy as np

from tfbench.data import index
from tfbench.data.catalog import Dataset
from tfbench.data.lookup import MANIFEST, SCHEMA, read_manifest
from tfbench.data.sources import File
from tfbench.data.splits import split_hash
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.fields import short

INFO = "dataset_info.json"  # the last file TFDS writes
SPLITS = ("train", "validation", "test")
CURE = atomic.make_writable("--data_dir")


def folder(dataset: Dataset, data_dir) -> pathlib.Path:
    """DATA_DIR/<builder>[/<config>]/<version> of a data set; "~" is expanded."""
    name, version = dataset.tfds.split(":")
    return pathlib.Path(data_dir).expanduser() / name / version


def version_numbers(version: str) -> tuple[int, int, int] | None:
    """(1, 10, 0) of "1.10.0"; None of what is no version. They are in the order of the versions."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def folder_of_content(content: str, data_dir) -> pathlib.Path | None:
    """The folder of the prepared data set with these contents (a manifest's "content"), whatever it is called."""
    found = (path for depth in ("*/*", "*/*/*") for path in
             sorted(pathlib.Path(data_dir).expanduser().glob(f"{depth}/{MANIFEST}")))
    return next((path.parent for path in found if f'"{content}"' in path.read_text(encoding="utf-8", errors="replace")),
                None)


def manual_folder(data_dir) -> pathlib.Path:
    """Where archives lie."""
    return pathlib.Path(data_dir).expanduser() / "downloads" / "manual"


def absent_archives(dataset: Dataset, data_dir) -> tuple[list[File], list[File]]:
    """The archives of a data set that are not there: (those that can be fetched, those to be brought by hand)."""
    absent = [file for file in (dataset.source.files if dataset.source else ())
              if not (manual_folder(data_dir) / file.name).exists()]
    return [file for file in absent if file.url], [file for file in absent if not file.url]


def in_tfds_format(dataset: Dataset, data_dir) -> bool:
    """Whether TFDS has prepared a data set, with a manifest or without: then no archives are needed."""
    return (folder(dataset, data_dir) / INFO).exists()


def damaged(path, reason: str) -> UserError:
    """The error for a folder that is not what `prepare` leaves behind."""
    return UserError(f"the data folder {path} is half written or damaged ({reason}): move it elsewhere and run the "
                     "same command again")


def unprepared(dataset: Dataset, data_dir) -> UserError:
    """The error for a data set that must be prepared first."""
    return UserError(f"the data set {dataset.name} is not prepared in {folder(dataset, data_dir)}: run `python -m "
                     f"tfbench.prepare_data --dataset={dataset.name} --data_dir={data_dir}`")


def is_prepared(dataset: Dataset, data_dir) -> bool:
    """Whether a data set has a manifest; it can be damaged, as `read` tells."""
    return (folder(dataset, data_dir) / MANIFEST).exists()


def read(dataset: Dataset, data_dir) -> dict | None:
    """What `prepare` returned, or None when the data set is not prepared. Needs no TensorFlow.

    With another `split_seed` than 0, `splits` are those of that seed.

    Raises:
      UserError: as `read_stored`.
    """
    manifest = read_stored(dataset, data_dir)
    if manifest is not None and dataset.split_seed:
        entries = index.load(folder(dataset, data_dir))
        manifest["splits"] = describe_splits(dataset, entries, index.membership(dataset, entries))
    return manifest


def read_stored(dataset: Dataset, data_dir) -> dict | None:
    """The manifest as it is stored, with the splits of split_seed 0; None when the data set is not prepared.

    Raises:
      UserError: the manifest is cut, or a file that it lists is missing or has another size.
    """
    if not is_prepared(dataset, data_dir):
        return None
    path = folder(dataset, data_dir)
    manifest = read_manifest(path)
    if manifest["tfds"] != dataset.tfds:
        raise damaged(path, f"{MANIFEST} is of {short(manifest['tfds'])}")
    for name, expected_bytes in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise damaged(path, f"expected {name} of {expected_bytes:,} bytes, found none")
        if file.stat().st_size != expected_bytes:
            raise damaged(path, f"expected {name} of {expected_bytes:,} bytes, found {file.stat().st_size:,}")
    return manifest


def write(dataset: Dataset, data_dir, manifest: dict) -> None:
    """Writes the manifest, which says that the data set is prepared."""
    atomic.write_json(folder(dataset, data_dir) / MANIFEST, {"schema": SCHEMA} | manifest, cure=CURE)


def describe_splits(dataset: Dataset, entries: index.Index, membership: dict[str, np.ndarray]) -> dict:
    """Number, hash and labels of the examples in each split; `membership` as of index.membership."""
    return {split: {"n": len(rows), "sha256": split_hash(entries.keys[rows].tolist()),
                    "labels": _label_counts(dataset, entries.labels[rows])}
            for split, rows in membership.items()}


def _label_counts(dataset: Dataset, labels: np.ndarray):
    if dataset.multi_label:
        return {"positive": (labels > 0).sum(0).tolist(), "difficult": (labels == 0).sum(0).tolist()}
    return np.bincount(labels, minlength=dataset.classes).tolist()


def content_hash(entries: index.Index) -> str:
    """SHA-256, in hex, of one line per example, sorted: key, labels, SHA-256 of the encoded image.

    The split is part of no line: held-out examples count like the rest of their training split.
    """
    lines = []
    for key, label, sha256 in zip(entries.keys, entries.labels, entries.sha256, strict=True):
        text = ",".join(str(int(value)) for value in np.atleast_1d(label))
        lines.append(f"{key} {text} {sha256.tobytes().hex()}\n")
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode())
    return digest.hexdigest()
