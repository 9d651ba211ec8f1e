"""Copies the images of a folder into a prepared data set, each as an image viewer shows it (images/decoding.py)."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator

from tfbench.data import copies, folders, index, verify
from tfbench.data.catalog import Dataset
from tfbench.errors import UserError
from tfbench.images import decoding
from tfbench.images.reading import ImageFile, Reading
from tfbench.images.split_names import SPLITS
from tfbench.wording import count, printable

FILES_AT_ONCE = 256  # read ahead of TFDS, which writes one after another


@dataclasses.dataclass(frozen=True)
class FolderCopy:
    """A folder that was looked through, and what its prepared copy will be.

    Attributes:
      dataset: with the sizes of what can be read.
      reading: of the folder.
      sha256: {path: SHA-256 of the file, in hex, "unreadable" where there is none}.
      stored_anew: {path: why its pixels are stored as PNG}.
      remarks: {path: why its colour profile was not applied}.
      skipped: {path: why it cannot be read}.
      scanned: the level `images` of data/verify.py.
    """

    dataset: Dataset
    reading: Reading
    sha256: dict[str, str]
    stored_anew: dict[str, str]
    remarks: dict[str, str]
    skipped: dict[str, str]
    scanned: dict

    def builder(self, data_dir):
        """The TFDS builder that makes the copy."""
        return _builder(self, data_dir)

    def made_of_these(self, entries: index.Index) -> bool:
        """Whether an index is of these images."""
        there = {str(key): sha256.tobytes().hex() for key, sha256 in zip(entries.keys, entries.sha256, strict=True)}
        here = {path: sha256 for path, sha256 in self.sha256.items() if path not in self.skipped}
        return there.keys() == here.keys() and all(
            there[path] == sha256 for path, sha256 in here.items() if path not in self.stored_anew)

    @property
    def facts(self) -> dict:
        """What the manifest says of the folder: "source", "reading" and, if there are any, "skipped"."""
        notes = [*self.reading.notes, *self.notes]
        source = {"states": [self.reading.state], "content": self.reading.content(self.sha256),
                  "decoding": decoding.VERSION}
        return {"source": source, "reading": notes} | ({"skipped": self.skipped} if self.skipped else {})

    @property
    def notes(self) -> list[str]:
        """Lines on what came out when the images were decoded."""
        lines = []
        if self.stored_anew:
            reasons = collections.Counter(self.stored_anew.values()).most_common()
            kinds = ", ".join(f"{number:,} {reason}" for reason, number in reasons)
            number = count(len(self.stored_anew), "image")
            lines.append(f"{number} stored as an image viewer shows them, as PNG: {kinds}")
        if self.remarks:
            lines.append(f"{count(len(self.remarks), 'image')} taken as sRGB: {_some(self.remarks)}")
        if self.skipped:
            lines.append(f"{count(len(self.skipped), 'unreadable image')} left out: {_some(self.skipped)}")
        return lines


def stored_form(content: bytes) -> decoding.StoredImage:
    """An image file as it is stored in a prepared data set; errors as of decoding.stored."""
    return decoding.stored(content, verify.pixels)


def look_through(dataset: Dataset, *, skip_unreadable: bool = False, report=lambda images: None) -> FolderCopy:
    """Decodes all images of a folder.

    Args:
      dataset: of folders.dataset_of.
      skip_unreadable: whether those that cannot be read are left out.
      report: called with numbers of images done.

    Raises:
      UserError: some cannot be read, or the folder has changed since it was listed.
    """
    reading = folders.read_once(dataset.folder)
    files = reading.files
    sha256: dict[str, str] = {}
    stored_anew: dict[str, str] = {}
    remarks: dict[str, str] = {}

    def look(number: int):
        file = files[number]
        content = _content(reading.root, file, sha256)
        stored = stored_form(content)
        if stored.reason:
            stored_anew[file.path] = stored.reason
        if stored.remark:
            remarks[file.path] = stored.remark
        return stored.format, stored.mode, stored.sides

    decoding.readable_kinds()  # Pillow's plug-ins are loaded once, not in every thread
    scanned = verify.scan(look, [file.path for file in files], report)
    skipped = scanned["undecodable"]
    if skipped and not skip_unreadable:
        which = "it" if len(skipped) == 1 else "them"
        raise UserError(f"{count(len(skipped), 'image')} of {printable(reading.root)} cannot be read: "
                        f"{_some(skipped, 20)}; repair {which} or move {which} elsewhere, or `python -m "
                        f"tfbench.prepare_data --dataset={printable(folders.FOLDER + dataset.folder)} "
                        f"--skip_unreadable` leaves {which} out")
    if skipped:
        kept = tuple(file for file in files if file.path not in skipped)
        if not kept:
            raise UserError(f"no image of {printable(reading.root)} can be read: {_some(skipped)}")
        remaining = folders.dataset_of(dataclasses.replace(reading, files=kept))
        if remaining.classes != dataset.classes:
            lost = sorted(set(reading.classes) - {label for file in kept for label in file.labels})
            raise UserError(f"no image can be read of {', '.join(map(printable, lost))} in {printable(reading.root)}: "
                            "repair some, or take the classes out")
        dataset = dataclasses.replace(remaining, tfds=dataset.tfds)
        scanned = scanned | {"result": verify.PASS}  # of what is prepared
    stored_anew, remarks = dict(sorted(stored_anew.items())), dict(sorted(remarks.items()))
    return FolderCopy(dataset, reading, sha256, stored_anew, remarks, skipped, scanned)


def _content(root: pathlib.Path, file: ImageFile, sha256: dict[str, str]) -> bytes:
    """The file's bytes; their hash is noted in `sha256`."""
    sha256[file.path] = "unreadable"
    try:
        content = (root / file.name).read_bytes()
    except FileNotFoundError as error:
        raise decoding.UnreadableImage("a link to a missing file" if not file.size else "gone") from error
    except OSError as error:
        raise decoding.UnreadableImage(error.strerror) from error
    sha256[file.path] = hashlib.sha256(content).hexdigest()
    return content


def _some(reasons: dict[str, str], most: int = verify.NAMES_SHOWN) -> str:
    return verify.shorten([f"{printable(path)} ({printable(reason)})" for path, reason in reasons.items()], most)


def _builder(copy: FolderCopy, data_dir):
    import tensorflow_datasets as tfds

    names = copy.reading.classes
    features = {"key": tfds.features.Text(), "image": tfds.features.Image()}
    if copy.reading.multi_label:
        label = tfds.features.Sequence(tfds.features.ClassLabel(names=names))
        features |= {"labels": label, "labels_no_difficult": label}
    else:
        features["label"] = tfds.features.ClassLabel(names=names)
    if copy.stored_anew:
        features[index.PIXELS] = tfds.features.Text()
    splits = {}
    for split in SPLITS:
        files = tuple(file for file in copy.reading.files if file.split == split and file.path not in copy.skipped)
        if files:
            splits[split] = _Split(copy, files)
    return copies.adhoc_builder(copy.dataset, data_dir, features, splits)


@dataclasses.dataclass(frozen=True)
class _Split:
    """The examples of one split, as TFDS takes them; files are read and decoded ahead, on all cores."""

    copy: FolderCopy
    files: tuple[ImageFile, ...]

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(self.files), FILES_AT_ONCE):
                yield from pool.map(self._example, self.files[first:first + FILES_AT_ONCE])

    def _example(self, file: ImageFile) -> tuple[str, dict]:
        sha256: dict[str, str] = {}
        try:
            content = _content(self.copy.reading.root, file, sha256)
        except decoding.UnreadableImage:
            content = b""
        if sha256[file.path] != self.copy.sha256[file.path]:
            raise UserError(f"{printable(file.path)} in {printable(self.copy.reading.root)} changed while it was "
                            "copied: run the same command again when nothing writes there")
        example: dict = {"key": file.path, "label": file.labels[0]} if not self.copy.reading.multi_label else {
            "key": file.path, "labels": list(file.labels), "labels_no_difficult": list(file.labels)}
        pixels = ""
        if file.path in self.copy.stored_anew:
            stored = stored_form(content)
            content, pixels = stored.content, stored.pixels_sha256
        if self.copy.stored_anew:
            example[index.PIXELS] = pixels
        return file.path, example | {"image": content}
