"""Downloads from a local server that behaves and misbehaves; archives that are harmless and that are not."""

import base64
import contextlib
import gzip
import hashlib
import http.server
import io
import os
import re
import shutil
import tarfile
import threading
import time
import types

import numpy as np
import pytest

from tfbench import UserError
from tfbench.files import atomic, downloads

CONTENT = np.random.RandomState(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content` as `server.behaviour` says; notes the ranges it was asked for.

    Behaviour: ranges (whether it understands them), cuts (bytes after which each of the first connections
    ends), codes (of the first answers), length (whether it tells it), headers (further ones).
    """

    protocol_version = "HTTP/1.0"  # a connection per request

    def do_GET(self):
        behaviour, content = self.server.behaviour, self.server.content
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if behaviour.get("codes"):
            self.send_error(behaviour["codes"].pop(0))
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and behaviour.get("ranges", True) else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if behaviour.get("length", True):
            self.send_header("Content-Length", str(len(content) - start))
        for name, value in behaviour.get("headers", ()):
            self.send_header(name, value)
        self.end_headers()
        end = start + behaviour["cuts"].pop(0) if behaviour.get("cuts") else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(content: bytes = CONTENT, **behaviour):
    """Yields (address of `content`, list of the ranges that are asked for)."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.behaviour, server.asked = content, behaviour, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/x.tar.gz", server.asked
        server.shutdown()
        thread.join()


def get(url, path, **options):
    return downloads.download(url, path, pause=0.001, manual=", or name it with --archive=FILE",
                              cure=atomic.make_writable("--weights_dir"), **options)


@pytest.mark.parametrize("checksum", [None, f"sha256:{SHA256}", "md5:" + hashlib.md5(CONTENT).hexdigest(),
                                      "sha384:" + hashlib.sha384(CONTENT).hexdigest()])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_file_is_fetched_and_checked(tmp_path, size, checksum):
    reported = []
    with serve() as (url, asked):
        assert get(url, tmp_path / "a/x", size=size, checksum=checksum, report=reported.append) == SHA256
    assert (tmp_path / "a/x").read_bytes() == CONTENT and asked == [None]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]
    assert sum(reported) == len(CONTENT) and len(reported) > 1


def test_an_interrupted_transfer_goes_on(tmp_path):
    reported = []
    with serve(cuts=[1_000_001, 500_000]) as (url, asked):
        assert get(url, tmp_path / "x", report=reported.append) == SHA256
    assert asked == [None, "bytes=1000001-", "bytes=1500001-"]
    assert (tmp_path / "x").read_bytes() == CONTENT and sum(reported) == len(CONTENT)


def test_a_later_run_goes_on_with_the_part(tmp_path):
    (tmp_path / "x.part").write_bytes(CONTENT[:2_000_000])
    reported = []
    with serve() as (url, asked):
        assert get(url, tmp_path / "x", report=reported.append) == SHA256
    assert asked == ["bytes=2000000-"] and reported[0] == 2_000_000 and sum(reported) == len(CONTENT)


def test_a_server_without_ranges_starts_over(tmp_path):
    reported = []
    with serve(ranges=False, cuts=[1_000_000]) as (url, asked):
        assert get(url, tmp_path / "x", size=len(CONTENT), report=reported.append) == SHA256
    assert asked == [None, "bytes=1000000-"] and (tmp_path / "x").read_bytes() == CONTENT
    assert sum(reported) == len(CONTENT)  # bytes that come a second time are not reported again


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_too_long_starts_over(tmp_path, part):
    (tmp_path / "x.part").write_bytes(part)
    with serve() as (url, asked):
        assert get(url, tmp_path / "x") == SHA256
    assert asked == [f"bytes={len(part)}-", None]


def test_a_part_of_another_file_starts_over_next_time(tmp_path):
    (tmp_path / "x.part").write_bytes(b"?" * 1000)
    with serve() as (url, asked):
        with pytest.raises(UserError, match=r"its SHA256 should be .* kept as .*x.wrong; run the same command again"):
            get(url, tmp_path / "x", checksum=f"sha256:{SHA256}")
        assert not (tmp_path / "x").exists() and (tmp_path / "x.wrong").stat().st_size == len(CONTENT)
        assert get(url, tmp_path / "x", checksum=f"sha256:{SHA256}") == SHA256
    assert asked == ["bytes=1000-", None]


def test_a_whole_part_is_only_checked(tmp_path):
    (tmp_path / "x.part").write_bytes(CONTENT)
    assert get("http://127.0.0.1:9/", tmp_path / "x", size=len(CONTENT), checksum=f"sha256:{SHA256}") == SHA256
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_wrong_checksum_is_told_and_nothing_is_lost(tmp_path):
    with serve() as (url, _), pytest.raises(UserError) as error:
        get(url, tmp_path / "x", checksum="md5:" + 32 * "0")
    found = hashlib.md5(CONTENT).hexdigest()
    assert f"its MD5 should be {32 * '0'} and is {found}" in str(error.value)
    assert f"put it at {tmp_path / 'x'}, or name it with --archive=FILE" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.wrong"]
    assert (tmp_path / "x.wrong").read_bytes() == CONTENT


@pytest.mark.parametrize("md5, refused", [(hashlib.md5(CONTENT), False), (hashlib.md5(b""), True)])
def test_the_md5_that_the_server_tells_counts_where_none_is_known(tmp_path, md5, refused):
    headers = [("x-goog-hash", "crc32c=AAAAAA=="), ("x-goog-hash", "md5=" + base64.b64encode(md5.digest()).decode())]
    with serve(headers=headers) as (url, _):
        if refused:
            with pytest.raises(UserError, match="its MD5 should be d41d8cd98f00b204e9800998ecf8427e"):
                get(url, tmp_path / "x")
        else:
            assert get(url, tmp_path / "x") == SHA256
        assert get(url, tmp_path / "y", checksum=f"sha256:{SHA256}") == SHA256
    assert (tmp_path / "x").exists() is not refused


def test_a_cut_file_never_gets_its_name(tmp_path):
    with serve(ranges=False, cuts=[100_000] * 9) as (url, asked), pytest.raises(
            UserError, match=r"ended after 100,000 of 3,000,000 bytes\): run the same command again to go on"):
        get(url, tmp_path / "x", attempts=3)
    assert [path.name for path in tmp_path.iterdir()] == ["x.part"]
    assert len(asked) == 3


def test_a_file_of_unknown_length_needs_a_checksum(tmp_path):
    with serve(length=False) as (url, _):
        with pytest.raises(UserError, match="came without its length"):
            get(url, tmp_path / "x")
        assert not (tmp_path / "x").exists()
        (tmp_path / "x.part").unlink()
        assert get(url, tmp_path / "x", checksum=f"sha256:{SHA256}") == SHA256
    with serve(length=False, cuts=[1000]) as (url, _), pytest.raises(UserError, match="has 1,000"):
        get(url, tmp_path / "y", size=len(CONTENT))


def test_another_length_is_refused_before_it_is_fetched(tmp_path):
    with serve() as (url, _), pytest.raises(UserError, match="has 3,000,000 bytes instead of 2,999,999"):
        get(url, tmp_path / "x", size=2_999_999)
    assert not list(tmp_path.iterdir())


def test_passing_errors_are_waited_out_and_final_ones_not(tmp_path):
    with serve(codes=[503, 429]) as (url, asked):
        assert get(url, tmp_path / "x") == SHA256
        assert len(asked) == 3
    with serve(codes=[404]) as (url, asked), pytest.raises(UserError, match=r"cannot fetch http.*\(Not Found\)"):
        get(url, tmp_path / "y")
    assert len(asked) == 1
    begin = time.monotonic()
    with pytest.raises(UserError, match="refused"):
        downloads.download("http://127.0.0.1:9/x", tmp_path / "y", attempts=4, pause=0.02)
    assert time.monotonic() - begin >= 0.02 + 0.04 + 0.08  # longer each time


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*--weights_dir"):
        get("http://127.0.0.1:9/x", tmp_path / "file/x")


def test_files_on_disk_are_checked(tmp_path):
    path = tmp_path / "x.tar.gz"
    with pytest.raises(UserError, match=r"no file .*x.tar.gz: correct --archive"):
        downloads.check(path, cure="correct --archive")
    path.write_bytes(CONTENT)
    assert downloads.check(path, cure="") == SHA256
    assert downloads.check(path, size=3_000_000, checksum=f"sha256:{SHA256}", cure="") == SHA256
    with pytest.raises(UserError, match="should have 3,000,001 bytes and has 3,000,000"):
        downloads.check(path, size=3_000_001, cure="")
    with pytest.raises(UserError, match=f"SHA256 should be 00 and is {SHA256}: replace it"):
        downloads.check(path, checksum="sha256:00", cure="replace it")
    assert path.read_bytes() == CONTENT


def archive(path, *members, mode="w:gz"):
    """Writes a tar archive of TarInfos or (name, content) pairs; returns its path."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size, info.mode, info.uid = len(member[1]), 0o4000, 12345
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(name, kind, target="") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode, name", [("w:gz", "x.tar.gz"), ("w:gz", "x.tgz"), ("w", "x.tar")])
def test_an_archive_is_unpacked(tmp_path, mode, name):
    path = archive(tmp_path / name, special("./", tarfile.DIRTYPE), ("./a.ckpt.index", b"1"), ("b/c", b"22"),
                   special("empty", tarfile.DIRTYPE), mode=mode)
    folder = downloads.unpack(path, tmp_path / "out/x.unpacked")
    assert folder == tmp_path / "out/x.unpacked"
    assert (folder / "a.ckpt.index").read_bytes() == b"1" and (folder / "b/c").read_bytes() == b"22"
    assert (folder / "empty").is_dir() and [entry.name for entry in folder.parent.iterdir()] == ["x.unpacked"]
    assert (folder / "b/c").stat().st_mode & 0o7700 == 0o600  # neither the archive's mode nor its owner

    downloads.unpack(archive(tmp_path / name, ("new", b"3"), mode=mode), folder)
    assert [entry.name for entry in folder.iterdir()] == ["new"]  # nothing of the old one is left


@pytest.mark.parametrize("member, message", [
    (("/tmp/absolute", b"x"), "has an absolute name"),
    (("C:\\x", b"x"), "has an absolute name"),
    (("../outside", b"x"), "points above"),
    (("a/../../outside", b"x"), "points above"),
    (("a\\..\\..\\outside", b"x"), "points above"),
    (special("link", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
    (special("link", tarfile.SYMTYPE, "good"), "is a link"),
    (special("link", tarfile.LNKTYPE, "good"), "is a link"),
    (special("device", tarfile.CHRTYPE), "is a device"),
    (special("device", tarfile.BLKTYPE), "is a device"),
    (special("pipe", tarfile.FIFOTYPE), "is a device"),
])
def test_dangerous_members_are_refused_before_anything_is_written(tmp_path, monkeypatch, member, message):
    path = archive(tmp_path / "x.tar.gz", ("good", b"x"), member, ("later", b"x"))
    written = []
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda *arguments, **named: written.append(arguments))
    with pytest.raises(UserError, match=f"was not unpacked, its member .* {message}"):
        downloads.unpack(path, tmp_path / "a/b/out")
    assert not written and not list((tmp_path / "a/b").iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "x.tar.gz"]


def test_damaged_archives_leave_what_was_there(tmp_path):
    folder = downloads.unpack(archive(tmp_path / "x.tar.gz", ("old", b"x")), tmp_path / "out")
    whole = archive(tmp_path / "y.tar.gz", ("a", CONTENT), ("b", CONTENT)).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[:-20], whole[:len(whole) // 2], bytes(flipped), b"", b"no archive", whole[:3]):
        (tmp_path / "y.tar.gz").write_bytes(content)
        with pytest.raises(UserError, match="y.tar.gz is no whole tar archive"):
            downloads.unpack(tmp_path / "y.tar.gz", folder)
        assert [entry.name for entry in folder.iterdir()] == ["old"]
    with pytest.raises(UserError, match="no file .*none.tar"):
        downloads.unpack(tmp_path / "none.tar", folder)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "x.tar.gz", "y.tar.gz"]


@pytest.mark.parametrize("member", [("zeros", bytes(3_000_000)), ("a", b"x"), ("a", b"x" * 100)])
def test_an_archive_of_which_no_checksum_is_known_unpacks_to_a_limit(tmp_path, monkeypatch, member):
    monkeypatch.setattr(downloads, "UNPACKED_BYTES", 2_000_000)
    path = archive(tmp_path / "x.tar.gz", member)
    if member[0] == "a":  # what follows the archive's end counts too
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(
            3_000_000 if len(member[1]) > 1 else 9)))
    if member[1] != b"x":
        with pytest.raises(UserError, match="was not unpacked, it has 0.0 MB and unpacks to more than"):
            downloads.unpack(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    assert downloads.unpack(path, tmp_path / "out", checked=True).is_dir()


def test_an_archive_larger_than_the_disk_and_a_pipe_are_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.tar.gz", ("a", b"x"))
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(UserError, match="pipe.tar is a pipe: put the archive there"):
        downloads.unpack(tmp_path / "pipe.tar", tmp_path / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=100))
    with pytest.raises(UserError, match="GB free: make the folder writable and free some space"):
        downloads.unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_half_unpacked_folder_never_appears(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.tar.gz", ("a", b"x"), ("b", b"x"))
    makefile = tarfile.TarFile.makefile

    def interrupted(tar, member, target):
        assert not (tmp_path / "out").exists()
        if member.name == "b":
            raise KeyboardInterrupt
        makefile(tar, member, target)

    monkeypatch.setattr(tarfile.TarFile, "makefile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        downloads.unpack(path, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tar.gz"]
