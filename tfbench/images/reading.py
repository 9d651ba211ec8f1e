"""Folders of images: what lies there, and what it is taken for.

    PATH/CLASS/*.jpg                   the class is the first folder, whatever folders it has inside
    PATH/train/CLASS/*.jpg             with validation and test beside train, or without; in any usual spelling
    PATH/*.jpg and PATH/labels.csv     see images/label_files.py

`read` is the one place that decides. This module imports no TensorFlow.
"""

import collections
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import unicodedata

from tfbench.errors import UserError
from tfbench.images import decoding, label_files
from tfbench.images.split_names import SPLITS, split_named
from tfbench.images.tree import Tree, some, text_of
from tfbench.wording import count, printable

FOLDER = "folder:"  # --dataset=folder:PATH
LAYOUTS = "CLASS/IMAGE or train/CLASS/IMAGE"
_KINDS = ", ".join(list(decoding.KINDS)[:6]) + ", …"
_PARTS = re.compile(r"(fold|part|batch|shard|chunk)[ _-]?\d+", re.IGNORECASE)  # of one data set, no classes
_CLASSES_SHOWN = 20  # in a line


@dataclasses.dataclass(frozen=True, slots=True)  # a million of them must fit
class ImageFile:
    """One image of a folder.

    Attributes:
      split: "train", "validation" or "test"; "train" in a folder without splits.
      labels: its class; of a multi-label set all its classes, or none.
      path: from the root of the data set, with "/"; bytes that are no UTF-8 are written \\xe9. It is the image's key.
      size: bytes; 0 too for a link to a missing file.
      folder: it lies in, from the folder of its split, with "/"; "." for that folder itself.
      name: as `path`, but as the file system takes it.
      stamp: time of the last change in ns, and inode.
    """

    split: str
    labels: tuple[str, ...]
    path: str
    size: int
    folder: str
    name: str
    stamp: tuple[int, int]

    @property
    def label(self) -> str:
        """The class, of one label."""
        return self.labels[0]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a folder holds and what it was taken for.

    Attributes:
      root: the folder.
      files: its images, by path.
      multi_label: whether an image can have several labels.
      listed: whether labels.csv says which.
      notes: what was taken for what, a line each.
    """

    root: pathlib.Path
    files: tuple[ImageFile, ...]
    multi_label: bool
    listed: bool
    notes: tuple[str, ...]

    @functools.cached_property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of their labels."""
        return sorted({label for file in self.files for label in file.labels})

    @functools.cached_property
    def state(self) -> str:
        """Hash of what can be known of the files without reading them, and of what they were taken for."""
        return hash_lines(f"{meaning(file)}\t{file.size}\t{file.stamp[0]}\t{file.stamp[1]}\n" for file in self.files)

    def content(self, sha256: dict[str, str]) -> str:
        """Hash of the files' contents, from {path: SHA-256 in hex}, and of what they were taken for."""
        return hash_lines(sorted(f"{meaning(file)}\t{sha256[file.path]}\n" for file in self.files))


def meaning(file: ImageFile) -> str:
    """What a file was taken for, as a line."""
    return f"{file.path}\t{file.split}\t{';'.join(file.labels)}"


def hash_lines(lines) -> str:
    """SHA-256, in hex, of lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def real_path(path) -> str:
    """The folder that a path means, absolute and without links."""
    if not str(path) or "\0" in str(path):
        raise UserError(f"there is no folder {printable(path)!r}: expected {FOLDER}PATH")
    return os.path.realpath(os.path.expanduser(path))


# ---- reading -------------------------------------------------------------------------------------------


def list_images(root) -> list[ImageFile]:
    """The images of a folder: the files of `read`."""
    return list(read(root).files)


def read(path) -> Reading:
    """The images of a folder, whatever order the file system lists them in, and what they were taken for.

    Hidden files are passed over; all else that is not read is counted in the notes. A link to a file or folder stands
    for what it leads to. Anything but regular files and folders is left alone.

    Raises:
      UserError: there is no such folder, a folder cannot be read, links go round in circles, it can be read in two
        ways, images have no class, or a class has none.
    """
    root = pathlib.Path(real_path(path))
    if not os.path.isdir(root):
        raise UserError(f"there is no folder {printable(root)}: expected one with a folder of images per class, or "
                        "with such folders in train/, val/ and test/")
    try:
        return _read(root)
    except UserError as error:
        raise UserError(printable(error)) from error  # names of files can hold line ends


def _read(root: pathlib.Path) -> Reading:
    tree = Tree(root)
    try:
        tree.walk()
    except OSError as error:
        raise UserError(f"the folder {printable(text_of(str(error.filename or root)))} cannot be read "
                        f"({error.strerror}): make it readable, with everything in it") from error
    notes: list[str] = []
    while True:
        labels, more = _label_file(tree)
        notes += more
        if labels is not None or (wrapper := _wrapper(tree)) is None:
            break
        tree.enter(wrapper)
        notes.append(f"all lies in the folder {text_of('/'.join(tree.prefix))}/, which is no class")
    listed = False
    if labels is None:
        files, more = _by_folder(tree)
    else:
        files, listed, more = _by_label_file(tree, labels)
    notes += more
    files = sorted(files, key=lambda file: file.path)
    _refuse_repeated(tree, files)
    files, more = _without_twins(files)
    notes += more
    multi_label = labels is not None and labels.multi_label
    notes += [*_nested(files, listed), *tree.notes(), _classes(files, multi_label)]
    return Reading(root, tuple(files), multi_label, listed, tuple(printable(note) for note in notes))


# ---- by folders ----------------------------------------------------------------------------------------


def _wrapper(tree: Tree) -> str | None:
    """The one folder that holds several with images, or splits, and beside which there is nothing; None without one."""
    tops = {parts[0] for parts in tree.folders}
    inside = {found.parts[1] for found in tree.images if len(found.parts) > 2}
    direct = any(len(found.parts) <= 2 for found in tree.images) or any(len(file) < 2 for files in tree.unread.values()
                                                                        for file in files)
    if len(tops) != 1 or direct or split_named(next(iter(tops))):
        return None
    return next(iter(tops)) if len(inside) > 1 or any(map(split_named, inside)) or any(
        len(found.parts) > 3 for found in tree.images) else None


def _layout(tree: Tree) -> tuple[dict[str, str] | None, list[str]]:
    """{folder: split}, or None where the folders are classes; and notes.

    Raises:
      UserError: it can be read in two ways, or in none.
    """
    root = printable(tree.root)
    direct = {found.parts[0] for found in tree.images if len(found.parts) == 2}
    nested = {found.parts[0] for found in tree.images if len(found.parts) > 2}
    tops = sorted(parts[0] for parts in tree.folders if len(parts) == 1)
    named = {name: split for name in tops if (split := split_named(name))}
    others = [name for name in tops if name not in named and name in direct | nested]
    if not tree.images:
        raise UserError(_no_images(tree))
    lost = sorted(found.parts[0] for found in tree.images if len(found.parts) == 1)
    if lost and not direct | nested:
        raise UserError(f"{root} has {count(len(lost), 'image')} and no class folders: to learn from them, put each "
                        f"into a folder of its class, or say the classes in labels.csv there ({label_files.EXAMPLE})")
    if lost:
        raise UserError(f"{printable(tree.root / text_of(lost[0]))} lies in no class folder: expected {LAYOUTS}")
    if set(named.values()) == {"train"} and len(named) == 1 and set(named) <= direct - nested and others:
        return None, [f"{next(iter(named))} is a class here, not a split: it holds images itself"]
    if not named:
        if nested and all(map(_PARTS.fullmatch, tops)):
            raise UserError(f"{root} has parts of one data set, {some(tops)}, no classes: put the images of each "
                            "class into one folder")
        _refuse_splits_in_classes(tree, tops)
        return None, []
    if others:
        raise UserError(f"{root} can be read in two ways: {some(named)} as splits, or as classes like "
                        f"{some(others)}; move {some(others)} into the splits, or rename {some(named)}")
    if "train" not in named.values():
        raise UserError(f"{root} has {some(named)}, but no train folder: add it, or rename "
                        f"{'it' if len(named) == 1 else 'them'} if {'it is a class' if len(named) == 1 else 'classes'}")
    for split in SPLITS:
        if len(same := [name for name, part in named.items() if part == split]) > 1:
            raise UserError(f"{root} has several folders for the {split} split: {some(same)}; move their images into "
                            "one")
    if loose := sorted("/".join(found.parts) for found in tree.images if len(found.parts) == 2):
        top = loose[0].split("/")[0]
        more = ""
        if named[top] != "train":
            more = f"; without classes it is no {named[top]} split: move {printable(top)} elsewhere"
        raise UserError(f"{printable(tree.root / text_of(loose[0]))} lies in no class folder: expected {LAYOUTS}{more}")
    return named, [_splits_note(named)]


def _splits_note(named: dict[str, str]) -> str:
    parts = [f"{split} = {text_of(name)}/" for split in SPLITS for name, part in named.items() if part == split]
    lacking = [split for split in ("validation", "test") if split not in named.values()]
    return f"splits: {', '.join(parts)}" + (f"; {' and '.join(lacking)} held out of train" if lacking else "")


def _refuse_splits_in_classes(tree: Tree, tops: list[str]) -> None:
    """CLASS/train/IMAGE is neither layout: its test images would be trained on."""
    inside = {parts[:2] for parts in tree.folders if len(parts) == 2}
    inside &= {found.parts[:2] for found in tree.images}
    named = {parts for parts in inside if split_named(parts[1])}
    found = {top: {split_named(parts[1]) for parts in named if parts[0] == top} for top in tops}
    if len(tops) > 1 and any("train" in splits and len(splits) > 1 for splits in found.values()):
        these = sorted("/".join(parts) for parts in named)
        raise UserError(f"{printable(tree.root)} has splits inside its classes ({some(these)}): expected them outside, "
                        "train/CLASS/IMAGE; move them, or rename these folders if they are no splits")


def _by_folder(tree: Tree) -> tuple[list[ImageFile], list[str]]:
    """The images by their first folder below that of their split, and notes."""
    splits, notes = _layout(tree)
    depth, files = 0 if splits is None else 1, []
    if splits is not None:
        below = {found.parts[1] for found in tree.images}
        inside = {found.parts[2] for found in tree.images if len(found.parts) > 3}
        if len(below) == 1 and len(inside) > 1 and all(len(found.parts) > 3 for found in tree.images):
            depth = 2  # train/images/CLASS/IMAGE
            notes.append(f"in each split all lies in the folder {text_of(next(iter(below)))}/, which is no class")
    for found in tree.images:
        split = "train" if splits is None else splits[found.parts[0]]
        folder = [text_of(part) for part in found.parts[depth:-1]]
        name = found.name
        files.append(ImageFile(split, (folder[0],), text_of(name), found.size, "/".join(folder), name, found.stamp))
    full = {found.parts[:depth + 1] for found in tree.images}
    for parts in tree.folders:
        if len(parts) == depth + 1 and parts not in full:
            raise UserError(_empty(tree, parts))
    for top in splits or ():
        if not any(parts[0] == top for parts in full):
            raise UserError(_empty(tree, (top,)))
    split_of = splits or {}
    for first, second in tree.twice:
        if split_of.get(first[0] if first else "") == split_of.get(second[0]):
            tree.refuse_twice(first, second)
    return files, notes


def _empty(tree: Tree, parts: tuple[str, ...]) -> str:
    folder = printable(text_of(os.path.join(tree.root, *parts)))
    if unread := tree.unread_in(parts):
        return f"the folder {folder} has no images that are read: {unread}"
    return f"the folder {folder} has no images ({_KINDS}): fill it, or move it elsewhere"


def _no_images(tree: Tree) -> str:
    if tree.unread:
        return f"{printable(tree.root)} has no images that are read: {tree.notes()[0]}"
    return (f"{printable(tree.root)} has no images ({_KINDS}) in class folders: expected {LAYOUTS}, "
            "or images and labels.csv")


def _nested(files: list[ImageFile], listed: bool) -> list[str]:
    """Says what became of folders in classes."""
    inside = sorted({file.folder for file in files if "/" in file.folder})
    if listed or not inside:
        return []
    return [f"the class is the first folder: {some(inside)} {'belongs' if len(inside) == 1 else 'belong'} to "
            f"{'its' if len(inside) == 1 else 'their'} first folder's class"]


def _classes(files: list[ImageFile], multi_label: bool) -> str:
    counts = collections.Counter(label for file in files for label in file.labels)
    shown = ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())[:_CLASSES_SHOWN])
    more = f" and {len(counts) - _CLASSES_SHOWN:,} more" if len(counts) > _CLASSES_SHOWN else ""
    text = f"{count(len(files), 'image')}, {count(len(counts), 'class')}: {shown}{more}"
    if multi_label:
        none = sum(not file.labels for file in files)
        text += "; several per image" + (f", {none:,} show none of them" if none else "")
    return text


def _refuse_repeated(tree: Tree, files: list[ImageFile]) -> None:
    for first, second in zip(files, files[1:], strict=False):
        if first.path == second.path:
            raise UserError(f"two files in {printable(tree.root)} are both written {printable(first.path)}: rename one")


def _without_twins(files: list[ImageFile]) -> tuple[list[ImageFile], list[str]]:
    """One spelling for classes that look the same: Unicode's composed and decomposed forms, blanks, control signs."""
    spellings = collections.defaultdict(set)
    for file in files:
        for label in file.labels:
            spellings[_canonical(label)].add(label)
    changed: dict[str, str] = {}
    notes: list[str] = []
    for canonical, forms in sorted(spellings.items()):
        plain = {printable(form).strip() for form in forms}
        if len(forms) > 1:
            changed |= dict.fromkeys(forms, canonical)
            notes.append(f"{len(forms)} spellings of the class {canonical} that look alike (Unicode forms, blanks) are "
                         "one class")
        elif plain != forms:  # TFDS keeps names one a line
            changed |= dict.fromkeys(forms, canonical)
    folded = collections.defaultdict(list)
    for canonical in sorted(spellings):
        folded[canonical.casefold()].append(canonical)
    notes += [f"{' and '.join(names)} differ in case alone and are {len(names)} classes"
              for names in folded.values() if len(names) > 1]
    if not changed:
        return files, notes
    return [dataclasses.replace(file, labels=tuple(changed.get(label, label) for label in file.labels))
            for file in files], notes


def _canonical(label: str) -> str:
    return printable(unicodedata.normalize("NFC", label)).strip() or "(blank)"


# ---- by labels.csv -------------------------------------------------------------------------------------


def _label_file(tree: Tree) -> tuple[label_files.LabelFile | None, list[str]]:
    """The labels.csv of a folder, None where there is none; and notes."""
    path = label_files.find(tree.root)
    if path is None:
        return None, []
    labels = label_files.read(path)
    if labels is not None:
        return labels, list(labels.notes)
    if any(len(found.parts) == 1 for found in tree.images):
        raise UserError(f"{printable(path)} has no columns of files and labels: {label_files.EXAMPLE}")
    return None, [f"{path.name} is not read, it has no columns of files and labels"]


def _by_label_file(tree: Tree, labels: label_files.LabelFile) -> tuple[list[ImageFile], bool, list[str]]:
    """The images that have a line, whether labels come from there and not from folders, and notes."""
    found = {text_of("/".join(one.parts)): one for one in tree.images}
    lines, notes = label_files.match(labels, list(found))
    if not lines:
        raise UserError(f"{printable(tree.root / labels.name)} has no lines of images: {label_files.EXAMPLE}")
    tops = {found[path].parts[0] for path in lines if len(found[path].parts) > 1}
    names = {label for line in lines.values() for label in line.labels}
    in_folders = all(len(one.parts) > 1 for one in tree.images)
    agree = all(line.labels == (path.split("/")[0],) and not line.split for path, line in lines.items())
    if in_folders and agree and len({one.parts[0] for one in tree.images}) > 1:
        files, more = _by_folder(tree)
        return files, False, [*notes, f"{labels.name} agrees with the folders, which are read", *more]
    if tops == names and len(tops) > 1 and all(len(found[path].parts) > 1 for path in lines):
        for path, line in sorted(lines.items()):
            if line.labels != (found[path].parts[0],):
                raise UserError(f"{labels.name}, line {line.number} says {';'.join(line.labels)} of {printable(path)}, "
                                "its folder another class: correct one of them, or move labels.csv elsewhere")
    named = {top: split_named(top) for top in tops}
    unsplit = all(len(found[path].parts) > 1 and not line.split for path, line in lines.items())
    by_folder = unsplit and "train" in named.values() and all(named.values())
    if by_folder:
        notes.append(_splits_note({top: split for top, split in named.items() if split}))
    files = []
    for path, line in lines.items():
        one = found[path]
        split = line.split or (named[one.parts[0]] if by_folder else None) or "train"
        folder = text_of("/".join(one.parts[:-1])) or "."
        files.append(ImageFile(split, line.labels, text_of(one.name), one.size, folder, one.name, one.stamp))
    present = {file.split for file in files}
    if "train" not in present:
        raise UserError(f"{labels.name} has no lines with the split train: add them, or leave the column out")
    if not by_folder and present != {"train"}:
        notes.append(f"splits: from {labels.name}, {', '.join(split for split in SPLITS if split in present)}")
    if unlisted := sorted(set(found) - set(lines)):
        notes.append(f"{count(len(unlisted), 'image')} in no line of {labels.name} left aside: {some(unlisted)}")
    return files, True, notes
