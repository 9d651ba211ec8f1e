"""Which prepared copy of a folder of images has the folder's present contents.

Where a folder's copies lie follows from the names and sizes of its files (data/folders.py); each state of their
contents is a version there, 1.0.0, 1.0.1, …. A file that was edited and kept its size is noticed by its time of change
and its inode. Where these differ, the contents are compared, so that a folder that was only copied or touched is not
prepared again. This module imports no TensorFlow but for copies that tfbench made before it kept such facts.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import pathlib

from tfbench.data import folder_copies, index, manifests
from tfbench.data.catalog import Dataset
from tfbench.data.folders import dataset_of
from tfbench.errors import UserError
from tfbench.images import decoding
from tfbench.images.decoding import UnreadableImage
from tfbench.images.reading import ImageFile, Reading

_STATES_KEPT = 16  # of equal contents: machines that each have their own copy of the folder
_known: dict[tuple[str, str, str], str] = {}  # (state, place, data_dir) -> tfds: compared once in a process


def of_folder(reading: Reading, data_dir) -> Dataset:
    """The data set of a folder, as it is prepared; where no copy has its contents, as it will be.

    Raises:
      UserError: as folders.dataset_of; a manifest is damaged.
    """
    dataset = dataset_of(reading)
    known = _known.get((reading.state, dataset.tfds, str(data_dir)))
    if known is None:
        known = _find(reading, dataset, data_dir)
        _known[reading.state, dataset.tfds, str(data_dir)] = known
    dataset = dataclasses.replace(dataset, tfds=known)
    manifest = manifests.read_stored(dataset, data_dir)
    if manifest is None:
        return dataset
    prepared = Dataset.from_json(manifest["row"])
    return dataclasses.replace(prepared, name=dataset.name, title=dataset.title, folder=dataset.folder,
                               metric=dataset.metric)


def versions_of(dataset: Dataset, data_dir) -> list[Dataset]:
    """The prepared copies of a folder's names and sizes, the latest first."""
    place = dataset.tfds.partition(":")[0]
    found = (manifests.folder(dataset, data_dir).parent).glob(f"*/{manifests.MANIFEST}")
    numbers = sorted(filter(None, (manifests.version_numbers(path.parent.name) for path in found)), reverse=True)
    return [dataclasses.replace(dataset, tfds=f"{place}:{'.'.join(map(str, number))}") for number in numbers]


def _find(reading: Reading, dataset: Dataset, data_dir) -> str:
    prepared = versions_of(dataset, data_dir)
    if not prepared:
        return dataset.tfds
    facts = [(one, manifest) for one in prepared if (manifest := manifests.read_stored(one, data_dir)) is not None]
    for one, manifest in facts:
        if reading.state in manifest.get("source", {}).get("states", ()) and _seen_alike(reading, one, manifest,
                                                                                         data_dir):
            return one.tfds
    sha256 = hash_files(reading)
    content = reading.content(sha256)
    for one, manifest in facts:
        source = manifest.get("source")
        same = (source["content"] == content and _seen_alike(reading, one, manifest, data_dir) if source
                else _made_alike(reading, sha256, one, manifest, data_dir))
        if same:
            states = [*(source["states"] if source else ()), reading.state][-_STATES_KEPT:]
            manifest["source"] = {"states": states, "content": content, "decoding": decoding.VERSION}
            with contextlib.suppress(UserError):  # a data folder that may only be read is compared again next time
                manifests.write(one, data_dir, manifest)
            return one.tfds
    place, _, version = prepared[0].tfds.partition(":")
    major, minor, patch = version.split(".")
    return f"{place}:{major}.{minor}.{int(patch) + 1}"


def _seen_alike(reading: Reading, one: Dataset, manifest: dict, data_dir) -> bool:
    """Whether a copy of the same files shows them as they are seen now. What was found out is kept in its manifest."""
    source = manifest["source"]
    if source.get("decoding") == decoding.VERSION:
        return True
    if "decoding" in source or _any_changes_colours(reading):
        return False
    source["decoding"] = decoding.VERSION
    with contextlib.suppress(UserError):  # as in _find
        manifests.write(one, data_dir, manifest)
    return True


def _any_changes_colours(reading: Reading) -> bool:
    def changes(file: ImageFile) -> bool:
        try:
            return decoding.changes_colours((reading.root / file.name).read_bytes())
        except OSError:
            return False

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return any(pool.map(changes, reading.files))


def hash_files(reading: Reading) -> dict[str, str]:
    """{path: SHA-256 in hex} of a folder's files; "unreadable" where there is none."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(lambda file: hash_file(reading.root, file), reading.files)
        return {file.path: sha256 for file, sha256 in zip(reading.files, hashes, strict=True)}


def hash_file(root: pathlib.Path, file: ImageFile) -> str:
    """SHA-256 in hex, "unreadable" of a file that cannot be read."""
    try:
        return hashlib.sha256((root / file.name).read_bytes()).hexdigest()
    except OSError:
        return "unreadable"


def changed(reading: Reading, prepared: Dataset, data_dir) -> list[str]:
    """Paths of a folder's files that are not what the prepared copy was made of."""
    folder = manifests.folder(prepared, data_dir)
    manifest, entries = manifests.read_stored(prepared, data_dir), index.load(folder)
    skipped = set((manifest or {}).get("skipped", ()))
    known = {str(key): entries.sha256[row].tobytes().hex() for row, key in enumerate(entries.keys)}
    different = sorted(set(known) - {file.path for file in reading.files})

    def same(file: ImageFile) -> bool:
        if file.path in skipped or file.path not in known:
            return file.path in skipped
        if hash_file(reading.root, file) == known[file.path]:
            return True
        try:
            return folder_copies.stored_form((reading.root / file.name).read_bytes()).pixels_sha256 == known[file.path]
        except (OSError, UnreadableImage):
            return False

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for file, equal in zip(reading.files, pool.map(same, reading.files), strict=True):
            if not equal:
                different.append(file.path)
    return different


def _made_alike(reading: Reading, sha256: dict[str, str], prepared: Dataset, manifest: dict, data_dir) -> bool:
    """Whether a copy that tfbench made before it kept `source` is what it would make now: the same images in the same
    classes and splits, all stored as they are."""
    folder = manifests.folder(prepared, data_dir)
    entries, row = index.load(folder), Dataset.from_json(manifest["row"])
    try:
        classes = (folder / "label.labels.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    if entries.labels.ndim != 1 or row.classes != len(classes):
        return False
    there = {str(key): (str(split), classes[label], sha.tobytes().hex()) for key, split, label, sha in zip(
        entries.keys, entries.splits, entries.labels, entries.sha256, strict=True)}
    here = {file.path: (file.split, file.labels[0], sha256[file.path]) for file in reading.files if file.labels}
    return there == here and all(_stored_as_it_is(reading.root / file.name) for file in reading.files)


def _stored_as_it_is(path: pathlib.Path) -> bool:
    try:
        return not folder_copies.stored_form(path.read_bytes()).reason
    except (OSError, UnreadableImage):
        return False
