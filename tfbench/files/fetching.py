"""Fetches several files at once. What one of them meets does not stop the others.

Threads download; what they report comes out of an iterator, so that whoever shows or converts files needs no locks.
"""

import collections
import dataclasses
import pathlib
import queue
import threading
from collections.abc import Iterable, Iterator

from tfbench.errors import UserError
from tfbench.files import downloads
from tfbench.files.atomic import make_writable

AT_ONCE, PER_HOST = 4, 2  # downloads (our choice)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
      url: where it is. path: where it goes.
      about: bytes, for people; 0 where nobody knows.
      size, checksum, manual: as of downloads.download.
    """

    url: str
    path: pathlib.Path
    about: int
    size: int | None = None
    checksum: str | None = None
    manual: str = ""

    @property
    def left(self) -> int:
        """Bytes, about, that an earlier, interrupted download has not brought."""
        part = self.path.with_name(self.path.name + ".part")
        return max(self.about - (part.stat().st_size if part.exists() else 0), 0)


@dataclasses.dataclass(frozen=True)
class Event:
    """What happened to a file: it began (all None), `bytes` more came, it is there (`sha256`), or it cannot be had."""

    file: Wanted
    bytes: int | None = None
    sha256: str | None = None
    error: UserError | None = None

    @property
    def begins(self) -> bool:
        """Whether its download just begins."""
        return self.bytes is None and not self.ends

    @property
    def ends(self) -> bool:
        """Whether it is there, or cannot be had."""
        return self.sha256 is not None or self.error is not None


def fetch(files: Iterable[Wanted], *, cure: str = make_writable()) -> Iterator[Event]:
    """Downloads files, AT_ONCE at a time and PER_HOST from one host; files of one path once.

    A host that does not answer is given up for all of its files. Leaving the iterator stops the downloads; what came
    is kept and goes on next time.

    Args:
      cure: what to do where a folder cannot be written.
    """
    line = _Line({file.path: file for file in files}.values())
    threads = [threading.Thread(target=_work, args=(line, cure), daemon=True)
               for _ in range(min(AT_ONCE, len(line.waiting)))]
    left = len(line.waiting)
    for thread in threads:
        thread.start()
    try:
        while left:
            event = line.events.get()
            if isinstance(event, BaseException):
                raise event
            left -= event.ends
            yield event
    finally:
        line.end()


class _Line:
    """The files that wait, and the hosts at work."""

    def __init__(self, files: Iterable[Wanted]):
        self.waiting = list(files)
        self.session = downloads.Session()
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self._busy: collections.Counter[str] = collections.Counter()
        self._changed = threading.Condition()

    def take(self) -> Wanted | None:
        """The next file, of a host that has room for one more; None at the end."""
        with self._changed:
            while self.waiting and not self.session.stop.is_set():
                for file in self.waiting:
                    if self._busy[downloads.host_of(file.url)] < PER_HOST:
                        self.waiting.remove(file)
                        self._busy[downloads.host_of(file.url)] += 1
                        return file
                self._changed.wait()
            return None

    def give_back(self, file: Wanted) -> None:
        """Makes room for the next file of its host."""
        with self._changed:
            self._busy[downloads.host_of(file.url)] -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Lets the threads end, soon."""
        with self._changed:
            self.session.stop.set()
            self._changed.notify_all()


def _work(line: _Line, cure: str) -> None:
    while (file := line.take()) is not None:
        line.events.put(Event(file))
        try:
            sha256 = downloads.download(
                file.url, file.path, size=file.size, checksum=file.checksum, manual=file.manual, cure=cure,
                report=lambda number, file=file: line.events.put(Event(file, bytes=number)), session=line.session)
            line.events.put(Event(file, sha256=sha256))
        except UserError as error:
            line.events.put(Event(file, error=error))
        except downloads.Stopped:
            return
        except BaseException as error:  # a defect: it is raised where the events are read
            line.events.put(error)
            return
        finally:
            line.give_back(file)
