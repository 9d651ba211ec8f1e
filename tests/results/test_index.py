"""The columnar index of records: the same as the records themselves, brought up to date, never in the way."""

import dataclasses
import json
import os
import threading

import pytest

from tests.helpers.studies import BUDGET, add_variants, make_study, write_rows
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.report import tables
from tfbench.results import index, store
from tfbench.results.record import fitted_of, speed_of
from tfbench.stats import accuracies, findings

TRIALS = [{"learning_rate": 0.1, "weight_decay": 0.0, "validation_accuracy": 0.5, "images_per_second": speed,
           "gap": 1e-3, "objective": -4.0, "certified": True, "iterations": 7} for speed in (100.0, 300.0, 200.0)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A study of 28 records, not just written, whose index is made from two records on."""
    monkeypatch.setattr(index, "LEAST", 2)
    write_rows(tmp_path, trials=TRIALS, refit={"images_per_second": 400.0, "images": 500}, spec=BUDGET)
    for path in (tmp_path / "rows").iterdir():
        os.utime(path, (1e9, 1e9))
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """Names of the records that are read, as they are."""
    names, read = [], store.read_record
    monkeypatch.setattr(store, "read_record", lambda path, *more: names.append(os.path.basename(path)) or read(
        path, *more))
    return names


def whole(records):
    return [dataclasses.replace(record, trials=list(record.trials), fitted=None) for record in records]


def test_it_says_what_the_records_say_and_reads_each_once(folder, reads):
    expected = store.read_records(folder)
    assert len(expected) == 28 and whole(index.read_records(folder)) == expected
    reads.clear()
    again = index.read_records(folder)
    assert reads == [] and [record.path for record in again] == [record.path for record in expected]
    assert [fitted_of(record) for record in again] == [fitted_of(record) for record in expected]
    assert speed_of(again[0]) == 250.0 and len(again[0].trials) == 3 and reads == []
    assert again[0].fitted.largest_relative_gap == 2.5e-4 and again[0].fitted.iterations == 21
    assert again[0].trials[1]["images_per_second"] == 300.0 and reads == ["0.json"]
    assert dict(again[3]) | {"trials": 0} == dict(expected[3]) | {"trials": 0}


def test_it_follows_what_is_new_changed_and_gone(folder, reads):
    index.read_records(folder)
    rows, reads[:] = folder / "rows", []
    changed = json.loads((rows / "5.json").read_text()) | {"accuracy": 0.123}
    (rows / "5.json").write_text(json.dumps(changed))
    (rows / "7.json").unlink()
    (rows / "new.json").write_text(json.dumps(changed | {"key": "new", "network": "vgg_16"}))
    (rows / ".hidden.json").write_text("nothing")
    records = index.read_records(folder)
    assert sorted(reads) == ["5.json", "new.json"] and whole(records) == store.read_records(folder)
    assert [record.accuracy for record in records].count(0.123) == 2 and len(records) == 28


def test_a_change_that_keeps_size_and_time_is_seen_where_the_time_was_fresh(folder, reads):
    path = folder / "rows" / "5.json"
    os.utime(path)  # just written: what changes it now may leave it the same time
    index.read_records(folder)
    facts = path.stat()
    path.write_text(path.read_text().replace('"seconds": 12.5', '"seconds": 99.5'))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    assert 99.5 in {record.seconds for record in index.read_records(folder)}


@pytest.mark.parametrize("damage", [
    lambda content: b"nothing of the kind", lambda content: content[:len(content) // 2], lambda content: b"",
    lambda content: content[:600] + bytes(64) + content[664:]])
def test_a_damaged_index_is_made_anew(folder, damage, capsys):
    expected = whole(index.read_records(folder))
    path = folder / index.NAME
    content = path.read_bytes()
    path.write_bytes(damage(content))
    capsys.readouterr()
    assert whole(index.read_records(folder)) == expected
    line, *more = [line for line in capsys.readouterr().err.splitlines() if index.NAME in line]
    assert "made anew from the records" in line and not more
    assert whole(index.read_records(folder)) == expected and not capsys.readouterr().err


def test_that_of_another_version_is_made_anew(folder, monkeypatch, capsys):
    index.read_records(folder)
    monkeypatch.setattr(index, "LAYOUT", "another")
    capsys.readouterr()
    assert whole(index.read_records(folder)) == store.read_records(folder)
    assert "another version of tfbench wrote it" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_does_without(folder, monkeypatch):
    def refuse(path, content, **more):
        raise UserError(f"cannot write {path}")

    monkeypatch.setattr(atomic, "write_atomically", refuse)
    assert whole(index.read_records(folder)) == store.read_records(folder) and not (folder / index.NAME).exists()


def test_few_records_have_none(folder, monkeypatch):
    monkeypatch.setattr(index, "LEAST", 29)
    assert index.read_records(folder) == store.read_records(folder) and not (folder / index.NAME).exists()


def test_what_records_refuse_it_refuses(folder, tmp_path):
    index.read_records(folder)
    path = folder / "rows" / "5.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match="5.json is damaged"):
        index.read_records(folder)
    path.unlink()
    row = json.loads((folder / "rows" / "4.json").read_text())
    (folder / "rows" / "copy.json").write_text(json.dumps(row))
    assert len(index.read_records(folder)) == 27
    (folder / "rows" / "copy.json").write_text(json.dumps(row | {"accuracy": 0.5}))
    with pytest.raises(UserError, match="two records of one run differ, accuracy is"):
        index.read_records(folder)
    with pytest.raises(UserError, match="there is no results folder"):
        index.read_records(folder / "none")


def test_several_at_once_leave_it_whole(folder):
    expected, found = store.read_records(folder), []
    threads = [threading.Thread(target=lambda: found.append(whole(index.read_records(folder)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6 and whole(index.read_records(folder)) == expected
    assert {path.name for path in folder.iterdir()} == {"rows", index.NAME}


def test_the_analysis_finds_the_same(folder):
    add_variants(folder, "resnet_50", 0.7, steps=24)
    make_study(folder, networks=3)

    def found(read):
        runs = accuracies.runs_of(read(folder))
        of_all = findings.compute(accuracies.from_runs(runs, allow_unequal=True), runs)
        return {name: table.frame.to_csv() for name, table in tables.tables_of(of_all).items()}

    first = found(index.read_records)
    assert first == found(index.read_records) == found(store.read_records)
    assert first["solver"].count("certified") == 1 and first["convergence"].count("finetune") == 4
