"""Downloads, checks and unpacks public files: checkpoints and archives of data sets.

What has its final name is whole:
* A download lies in FILE.part until its size and checksum agree; it goes on where it was interrupted.
* An archive is unpacked into a temporary folder, which is then renamed.
"""

import base64
import gzip
import hashlib
import http.client
import os
import pathlib
import re
import shutil
import tarfile
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator

from tfbench.errors import UserError
from tfbench.files.atomic import cannot_write, make_writable
from tfbench.files.paths import size_of_regular

BLOCK_BYTES = 1 << 20  # read at once
UNPACKED_BYTES, UNPACKED_FACTOR = 1 << 30, 20  # an archive without checksum unpacks to that, or times its own size
TIMEOUT_SECONDS = 60  # without an answer
ATTEMPTS, PAUSE_SECONDS = 5, 1.0  # connections in a row that are tried; before the second of them, then twice as long
CONNECTION_ERRORS = (OSError, http.client.HTTPException)  # also URLError and timeouts


class _DiskError(Exception):
    """Wraps an OSError of this machine's disk, so that it is not taken for one of the connection."""

    def __init__(self, reason: OSError):
        super().__init__(reason)
        self.reason = reason


class Stopped(Exception):
    """The session of a download was stopped; what came is kept as PATH.part."""


class Session:
    """What the downloads of one command share, in any thread: which hosts do not answer, and whether to stop."""

    def __init__(self):
        self.stop = threading.Event()
        self._failures: dict[str, int] = {}
        self._dead: dict[str, str] = {}  # host -> why it is given up

    def answered(self, host: str) -> None:
        """Notes a sign of life."""
        self._failures[host] = 0

    def failed(self, host: str, reason: str, attempts: int) -> None:
        """Notes a connection without an answer; after so many `attempts` in a row, of all downloads, it is given up."""
        self._failures[host] = self._failures.get(host, 0) + 1
        if self._failures[host] >= attempts:
            self._dead.setdefault(host, reason)

    def verdict(self, host: str) -> str | None:
        """Why a host is given up; None where it is not."""
        return self._dead.get(host)


def host_of(url: str) -> str:
    """Host and port of an address."""
    return urllib.parse.urlsplit(url).netloc


def download(url: str, path, *, size: int | None = None, checksum: str | None = None, report=lambda number: None,
             attempts: int | None = None, pause: float | None = None, manual: str = "", cure: str = make_writable(),
             session: Session | None = None) -> str:
    """Fetches a file; what is in PATH.part already is not fetched again.

    Without a known checksum it must have the length that the server tells, and the MD5 if the server tells one
    (Google's storage does).

    Args:
      size: of the whole file in bytes, if known.
      checksum: "md5:", "sha256:" or "sha384:" and hex digits, if known.
      report: called with numbers of further bytes.
      attempts: connections in a row that are tried, counted anew whenever further bytes come; None: ATTEMPTS.
      pause: seconds before the second of them; doubled before every other; None: PAUSE_SECONDS.
      manual: what else than putting the file at `path` would do, such as ", or name it with --archive=FILE".
      cure: what to do where the folder cannot be written.
      session: shared with other downloads.

    Returns:
      The file's SHA-256 in hex.

    Raises:
      UserError: it could not be fetched, or is not the expected file (it is kept as PATH.wrong then).
      Stopped: the session was.
    """
    session, attempts = session or Session(), ATTEMPTS if attempts is None else attempts
    pause = PAUSE_SECONDS if pause is None else pause
    path = pathlib.Path(path)
    part, wrong = (path.with_name(path.name + ending) for ending in (".part", ".wrong"))
    manual = f"fetch it by other means and put it at {path}{manual}"
    make_folder(path.parent, cure)
    length, md5 = size, None
    if not (size and checksum and part.exists() and part.stat().st_size == size):
        try:
            length, md5 = _transfer_patiently(url, part, size, report, attempts, pause, manual, session)
        except _DiskError as error:
            raise cannot_write(part, error.reason, cure) from error
    if size is None and length is None and checksum is None:
        raise UserError(f"{url} came without its length, so it cannot be known to be whole: {manual}")
    try:
        sha256 = check(part, size=size or length, checksum=checksum or md5, cure=f"it is kept as {wrong}; run the same "
                       f"command again to fetch it anew, or {manual}")
    except UserError:
        os.replace(part, wrong)
        raise
    os.replace(part, path)
    return sha256


def check(path, *, size: int | None = None, checksum: str | None = None, cure: str) -> str:
    """Compares a file with what is known of it; changes nothing.

    Args:
      checksum: see download.
      cure: what to do if it is missing or differs.

    Returns:
      The file's SHA-256 in hex.

    Raises:
      UserError: the file is missing or differs.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}: {cure}")
    if size is not None and path.stat().st_size != size:
        raise UserError(f"{path} should have {size:,} bytes and has {path.stat().st_size:,}: {cure}")
    kind, _, expected = (checksum or "sha256:").partition(":")
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", kind}}
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            for digest in digests.values():
                digest.update(block)
    actual = digests[kind].hexdigest()
    if checksum and actual != expected:
        raise UserError(f"{path} is not the expected file, its {kind.upper()} should be {expected} and is {actual}: "
                        f"{cure}")
    return digests["sha256"].hexdigest()


def _transfer_patiently(url, part, size, report, attempts, pause, manual, session) -> tuple[int | None, str | None]:
    """What _transfer returns, after as many connections as it takes."""
    reported = failures = 0
    host, again = host_of(url), f"run the same command again to go on, or {manual}"

    def tell(position):
        nonlocal reported, failures
        if session.stop.is_set():
            raise Stopped
        session.answered(host)
        if position > reported:
            report(position - reported)
            reported, failures = position, 0

    while True:
        if reason := session.verdict(host):
            raise UserError(f"cannot fetch {url} ({host} does not answer: {reason}): {again}")
        try:
            return _transfer(url, part, size, tell, manual)
        except CONNECTION_ERRORS as error:
            failures += 1
            if isinstance(error, urllib.error.HTTPError):
                session.answered(host)
            else:
                session.failed(host, _reason(error), attempts)
            if _is_final(error) or failures >= attempts:
                raise UserError(f"cannot fetch {url} ({_reason(error)}): {again}") from error
            if session.stop.wait(pause * 2 ** (failures - 1)):
                raise Stopped from None


def _transfer(url, part, size, tell, manual) -> tuple[int | None, str | None]:
    """One connection: appends to `part` what is missing, or starts it over if the server cannot go on there.

    Returns:
      (length of the whole file, "md5:…"), each None if the server does not tell it.
    """
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if not start or error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return _start_over(url, part, size, tell, manual)  # `part` is as long as the file, or longer
    with response:
        first, length = _extent(response)
        fits = size is None or length in (size, None)
        if start and (first not in (0, start) or first and not fits):
            return _start_over(url, part, size, tell, manual)
        if first not in (0, start):
            raise http.client.HTTPException("the server answers with another part of the file than asked for")
        if not fits:
            raise UserError(f"{url} has {length:,} bytes instead of {size:,}, it is not the expected file: {manual}")
        position, mode = first, "ab" if first else "wb"
        tell(position)
        while block := response.read(BLOCK_BYTES):
            _write(part, mode, block)
            position, mode = position + len(block), "ab"
            tell(position)
        if length is not None and position < length:
            raise ConnectionError(f"the connection ended after {position:,} of {length:,} bytes")
        return length, _google_md5(response.headers)


def _start_over(url, part, size, tell, manual) -> tuple[int | None, str | None]:
    _write(part, "wb", b"")
    return _transfer(url, part, size, tell, manual)


def _extent(response) -> tuple[int, int | None]:
    """(Position of the first byte of a response, length of the whole file or None)."""
    if response.status == http.client.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match:
            raise http.client.HTTPException("the server answers with a part of the file, without saying which")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _google_md5(headers) -> str | None:
    """The MD5 of the whole file that Google's storage tells: "x-goog-hash: crc32c=…, md5=BASE64"."""
    match = re.search(r"\bmd5=([\w+/]+=*)", ",".join(headers.get_all("x-goog-hash", [])))
    if match is None or headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return None
    return "md5:" + base64.b64decode(match[1]).hex()


def _write(part, mode: str, block: bytes) -> None:
    try:
        with open(part, mode) as file:
            file.write(block)
    except OSError as error:
        raise _DiskError(error) from error


def _is_final(error) -> bool:
    """Whether the server refuses for good, so that asking again is of no use."""
    return isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)


def _reason(error) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def make_folder(folder: pathlib.Path, cure: str) -> None:
    """Makes a folder and those above it.

    Raises:
      UserError: it cannot be made; its text ends with `cure`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error, cure) from error


def unpack(archive, folder, *, cure: str = make_writable(), checked: bool = False) -> pathlib.Path:
    """Unpacks a tar archive (compressed or not) of plain files and folders; a folder of that name is replaced.

    Neither owners nor special modes are taken from the archive (tarfile's filter "data").

    Args:
      cure: what to do where the folder cannot be written.
      checked: whether the archive's checksum is known and right; otherwise what it unpacks to has a limit.

    Returns:
      `folder`. It appears only when everything is in it.

    Raises:
      UserError: the archive is damaged, unpacks to more than its limit or than the disk has free, or has members that
        could write elsewhere (absolute names, "..", links, devices); this is looked for before anything is written.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    limit = max(UNPACKED_BYTES, UNPACKED_FACTOR * size_of_regular(archive, "put the archive there"))
    make_folder(folder.parent, cure)
    try:
        with (tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True)
              as temporary, tarfile.open(archive, "r:*") as tar):
            new, size = pathlib.Path(temporary, "new"), 0
            for part in _sizes(archive, tar):
                size += part
                if size > limit and not checked:
                    raise UserError(f"{archive} was not unpacked, it has {archive.stat().st_size / 1e6:,.1f} MB and "
                                    f"unpacks to more than {limit / 1e9:,.1f} GB: take the public file")
            if size > (free := shutil.disk_usage(folder.parent).free):
                raise UserError(f"{archive} unpacks to {size / 1e9:,.1f} GB, {folder.parent} has {free / 1e9:,.1f} GB "
                                f"free: {cure}")
            tar.extractall(new, filter="data")
            if folder.exists():
                os.replace(folder, pathlib.Path(temporary, "old"))
            os.replace(new, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{archive} is no whole tar archive ({error}): replace it by the public file") from error
    except OSError as error:
        raise cannot_write(folder, error, cure) from error
    return folder


def _sizes(archive, tar: tarfile.TarFile) -> Iterator[int]:
    """Bytes of each member with its header, which is checked, and of what follows them."""
    for member in tar:
        _check_member(archive, member)
        yield tarfile.BLOCKSIZE + member.size
    while block := tar.fileobj.read(BLOCK_BYTES):  # type: ignore[union-attr]  # to the end: gzip has its checksum there
        yield len(block)


def _check_member(archive, member: tarfile.TarInfo) -> None:
    name = member.name.replace("\\", "/")
    if not (member.isreg() or member.isdir()):
        what = "is a link" if member.issym() or member.islnk() else "is a device or the like"
    elif name.startswith("/") or re.match("[A-Za-z]:", name):
        what = "has an absolute name"
    elif ".." in name.split("/"):
        what = "points above the folder"
    else:
        return
    raise UserError(f"{archive} was not unpacked, its member {member.name!r} {what}: take the public file")
