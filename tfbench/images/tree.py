"""All that lies below a folder: images, what is not read, folders; links followed, circles refused."""

import collections
import dataclasses
import errno
import os
import pathlib
import stat

from tfbench.errors import UserError
from tfbench.images import decoding, label_files
from tfbench.wording import count, printable

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_SHOWN = 5  # names in a line
_MOST_TWICE = 100  # folders that links lead to again, before looking on takes for ever


def text_of(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 become \\xe9 and the like."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """An image: names of its folders and its own, below the folder `prefix` of the root; stamp as of ImageFile."""

    parts: tuple[str, ...]
    size: int
    stamp: tuple[int, int]
    prefix: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "/".join((*self.prefix, *self.parts))


class Tree:
    """All that lies below a folder.

    Attributes:
      root: the folder, or the one in it that holds everything, `prefix` below it.
      images: in no order. folders: parts of each folder but hidden ones.
      unread: {ending or kind: [files]} of images that are not read. others: endings of other files.
      special: pipes, devices and sockets. twice: pairs of folders that are the same one.
    """

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.prefix: tuple[str, ...] = ()
        self.images: list[Found] = []
        self.folders: list[tuple[str, ...]] = []
        self.unread: dict[str, list[tuple[str, ...]]] = collections.defaultdict(list)
        self.others: collections.Counter[str] = collections.Counter()
        self.special: list[str] = []
        self.system: list[str] = []
        self.twice: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def walk(self) -> None:
        facts = os.stat(self.root)
        seen: dict[tuple[int, int], tuple[str, ...]] = {(facts.st_dev, facts.st_ino): ()}
        stack: list[tuple[tuple[str, ...], tuple]] = [((), ((facts.st_dev, facts.st_ino),))]
        while stack:
            parts, above = stack.pop()
            with os.scandir(os.path.join(self.root, *parts)) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
            for entry in listed:
                if entry.name[0] == ".":
                    continue
                here = (*parts, entry.name)
                if not _is_folder(entry):
                    self._file(entry, here)
                    continue
                if entry.name in SYSTEM_FOLDERS:
                    self.system.append("/".join(here))
                    continue
                facts = entry.stat()
                identity = (facts.st_dev, facts.st_ino)
                if identity in above:
                    raise UserError(f"the link {printable(text_of('/'.join(here)))} in {printable(self.root)} leads "
                                    "back to a folder that it lies in, in circles: remove the link")
                if identity in seen:
                    self.twice.append((seen[identity], here))
                    if len(self.twice) > _MOST_TWICE:
                        self.refuse_twice(*self.twice[0])
                seen.setdefault(identity, here)
                self.folders.append(here)
                stack.append((here, (*above, identity)))

    def enter(self, top: str) -> None:
        """Makes the only folder there is the root."""
        self.root, self.prefix = self.root / top, (*self.prefix, top)
        self.images = [dataclasses.replace(found, parts=found.parts[1:], prefix=self.prefix) for found in self.images]
        self.folders = [parts[1:] for parts in self.folders if len(parts) > 1]
        self.unread = {kind: [parts[1:] for parts in files] for kind, files in self.unread.items()}
        self.twice = [(first[1:], second[1:]) for first, second in self.twice]

    def _file(self, entry, parts: tuple[str, ...]) -> None:
        ending = os.path.splitext(entry.name)[1].lower()
        try:
            facts = entry.stat()
        except OSError as error:  # a link to nothing or to itself: preparing names it among the unreadable
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            if ending in decoding.ENDINGS:
                self.images.append(Found(parts, 0, (0, 0)))
            else:
                self.others["broken link"] += 1
            return
        if not stat.S_ISREG(facts.st_mode):
            self.special.append("/".join(parts))
            return
        kind = self._kind(entry, ending)
        if kind == "image":
            self.images.append(Found(parts, facts.st_size, (facts.st_mtime_ns, facts.st_ino)))
        elif kind:
            self.unread[kind].append(parts)
        else:
            if len(parts) > 1 or entry.name.lower() not in label_files.NAMES:
                self.others[ending or "no ending"] += 1

    def _kind(self, entry, ending: str) -> str:
        """ "image", the ending or kind of an image that is not read, or "" for what is no image."""
        if ending in decoding.ENDINGS and (ending != ".avif" or "AVIF" in decoding.readable_kinds()):
            return "image"
        if ending in decoding.UNREAD_ENDINGS or ending == ".avif":
            heif = decoding.UNREAD_ENDINGS.get(ending) == decoding.UNREAD_ENDINGS[".heic"]
            return "image" if heif and "HEIC" in decoding.readable_kinds() else ending
        if ending in decoding.OTHER_ENDINGS or entry.name.endswith("~"):
            return ""
        try:
            with open(entry.path, "rb") as file:
                kind = decoding.sniff(file.read(decoding.HEAD_BYTES))
        except OSError:
            return ""
        return "image" if kind in decoding.readable_kinds() else kind

    def refuse_twice(self, first, second) -> None:
        raise UserError(f"{printable(text_of('/'.join(first)))} and {printable(text_of('/'.join(second)))} in "
                        f"{printable(self.root)} are the same folder, by a link: its images would count twice; remove "
                        "the link")

    def unread_in(self, parts: tuple[str, ...] = ()) -> str:
        """The images in a folder that are not read: how many of each kind and what to do; "" where there are none."""
        numbers = {kind: sum(file[:len(parts)] == parts for file in files) for kind, files in self.unread.items()}
        return "; ".join(f"{number:,} {kind} ({decoding.UNREAD_ENDINGS.get(kind) or decoding.remedy(kind)})"
                         for kind, number in sorted(numbers.items()) if number)

    def notes(self) -> list[str]:
        """Lines on what was not read."""
        number = sum(map(len, self.unread.values()))
        unread = [f"{number:,} of {number + len(self.images):,} image files not read: {self.unread_in()}"]
        return (unread if number else []) + self.left_aside()

    def left_aside(self) -> list[str]:
        """Lines on what is no image."""
        lines = []
        if self.others:
            kinds = ", ".join(f"{number:,} {ending}" for ending, number in self.others.most_common(_SHOWN))
            more = ", …" if len(self.others) > _SHOWN else ""
            lines.append(f"left aside, no images: {count(self.others.total(), 'file')} ({kinds}{more})")
        if self.special:
            lines.append(f"left aside, neither files nor folders: {some(sorted(self.special))}")
        if self.system:
            lines.append(f"left aside, of the system: {some(sorted(self.system))}")
        return lines


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def some(names) -> str:
    """The first names, for people, and how many more there are."""
    names = [printable(text_of(name)) for name in names]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
