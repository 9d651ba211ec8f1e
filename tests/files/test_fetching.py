"""Several downloads at once, from servers that answer and hosts that do not."""

import collections
import threading
import time

import pytest
from files.test_downloads import CONTENT, SHA256, serve

from tfbench.cli.fetch import fetch_all
from tfbench.errors import UserError
from tfbench.files import downloads, fetching

DEAD = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)


@pytest.fixture
def connections(monkeypatch):
    """Counts connections by host."""
    counted, original = collections.Counter(), downloads.urllib.request.urlopen

    def counting(request, **options):
        counted[request.host] += 1
        return original(request, **options)

    monkeypatch.setattr(downloads.urllib.request, "urlopen", counting)
    return counted


def wanted(url, path, **more):
    return fetching.Wanted(url, path, len(CONTENT), **more)


def fetch(*files):
    return fetch_all(files, cure="")


def test_a_dead_host_stops_neither_the_others_nor_is_it_tried_for_each_file(tmp_path, connections, capsys):
    with serve() as (url, asked):
        files = [wanted(f"{DEAD}/{number}", tmp_path / f"dead{number}") for number in range(10)]
        outcomes = fetch(*files, *(wanted(url, tmp_path / f"x{number}") for number in range(3)))
    assert [outcomes[tmp_path / f"x{number}"] for number in range(3)] == [SHA256] * 3 and len(asked) == 3
    dead = [str(outcomes[file.path]) for file in files]
    assert all("cannot fetch" in reason and "run the same command again" in reason for reason in dead)
    assert sum("127.0.0.1:9 does not answer: " in reason for reason in dead) >= 8
    assert connections["127.0.0.1:9"] <= downloads.ATTEMPTS + fetching.PER_HOST - 1
    printed = capsys.readouterr().out
    assert printed.count("fetching http") == 13 and printed.count("cannot be had: dead") == 10


def test_a_host_that_refuses_one_file_is_asked_for_the_others(tmp_path):
    with serve(codes=[404]) as (url, _):
        outcomes = fetch(wanted(url, tmp_path / "a"), wanted(url, tmp_path / "b"), wanted(url, tmp_path / "c"))
    assert sorted(isinstance(outcome, UserError) for outcome in outcomes.values()) == [False, False, True]
    with serve(codes=[503] * 4) as (url, asked):  # it answers, and has too much to do
        assert fetch(wanted(url, tmp_path / "d")) == {tmp_path / "d": SHA256} and len(asked) == 5


def test_the_same_again_fetches_only_what_is_missing_and_goes_on_with_parts(tmp_path):
    (tmp_path / "b.part").write_bytes(CONTENT[:1_000_000])
    with serve() as (url, asked):
        file = wanted(url, tmp_path / "b")
        assert file.left == 2_000_000
        assert fetch(file) == {tmp_path / "b": SHA256}
    assert asked == ["bytes=1000000-"]


def test_two_networks_of_one_file_fetch_it_once(tmp_path):
    with serve() as (url, asked):
        assert fetch(wanted(url, tmp_path / "x"), wanted(url, tmp_path / "x")) == {tmp_path / "x": SHA256}
    assert len(asked) == 1


def test_a_wrong_file_and_a_folder_that_cannot_be_written_are_outcomes(tmp_path):
    (tmp_path / "file").write_text("")
    with serve() as (url, _):
        outcomes = fetch(wanted(url, tmp_path / "a", checksum="md5:" + "0" * 32), wanted(url, tmp_path / "file/b"),
                         wanted(url, tmp_path / "c"))
    assert "MD5" in str(outcomes[tmp_path / "a"]) and "cannot write" in str(outcomes[tmp_path / "file/b"])
    assert outcomes[tmp_path / "c"] == SHA256


def test_who_stops_reading_stops_the_downloads(tmp_path):
    before = threading.active_count()
    files = [wanted(f"{DEAD}/{number}", tmp_path / str(number)) for number in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "PAUSE_SECONDS", 1000.0)  # an interrupted command does not wait for that
        events = fetching.fetch(files)
        assert next(events).begins
        events.close()
    for _ in range(1000):
        if threading.active_count() <= before + 1:  # the server's of another test may still end
            break
        time.sleep(0.01)
    assert threading.active_count() <= before + 1
    assert not list(tmp_path.iterdir())


def test_a_defect_in_a_thread_is_raised_where_events_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "download", lambda *_, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fetch(wanted(DEAD, tmp_path / "x"))


def test_an_interrupted_command_keeps_what_came_and_the_same_again_goes_on(tmp_path):
    with serve(cuts=[1_500_000]) as (url, asked):
        file = wanted(url, tmp_path / "x")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(downloads, "PAUSE_SECONDS", 1000.0)  # the connection was cut: it waits for the next one
            events = fetching.fetch([file])
            came = 0
            while came < 1_500_000:
                came += next(events).bytes or 0
            events.close()
        assert file.left == 1_500_000 and not file.path.exists()
        assert fetch(file) == {file.path: SHA256}
    assert asked == [None, "bytes=1500000-"]
