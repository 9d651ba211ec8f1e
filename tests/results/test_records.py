"""Rows on disk: names, atomic writing, damage."""

import dataclasses
import errno
import json
import math
import pathlib

import numpy as np
import pytest

from tfbench import UserError, config, paper
from tfbench.data.catalog import DATASETS
from tfbench.files import atomic
from tfbench.models import weights
from tfbench.models.catalog import NETWORKS
from tfbench.results import kept_models, store
from tfbench.results import record as records
from tfbench.results.deviations import deviations

SPEC = {"regime": "finetune", "network": "resnet_50", "dataset": "digits", "seed": 0, "image_size": 32,
        "source_dataset": "glyphs", "steps": 5, "batch_size": 64, "learning_rate": [0.1, 0.2, 0.3],
        "weight_decay": [0.0], "min_crop_area": 0.08, "data": {}}


def make(source=None, **changes):
    spec = SPEC | changes
    manifest = {"verification": {"counts": {"result": "PASS", "found": ""}}}
    return records.make_record(spec, NETWORKS[spec["network"]], DATASETS["digits"], manifest, accuracy=0.5,
                               test_split={"n": 2, "sha256": "ab"}, seconds=1.0, source=source,
                               selected={"learning_rate": 0.3, "weight_decay": 0.0})


def write(folder, row):
    return store.write_record(folder, row, {"labels": np.arange(2)}, "# flags\n")


def test_names_are_the_hash_of_what_determines_the_run():
    assert config.name_of(SPEC).startswith("finetune-resnet_50-digits-")
    assert config.key_of(dict(reversed(SPEC.items()))) == config.key_of(SPEC)
    keys = {config.key_of(SPEC | change) for change in ({}, {"seed": 1}, {"steps": 6}, {"learning_rate": [0.1]})}
    assert len(keys) == 4


def test_row_round_trip_with_what_lies_beside_it(tmp_path):
    written = write(tmp_path, make())
    path = pathlib.Path(written.path)
    assert store.read_records(tmp_path) == [written] and store.finished(tmp_path, SPEC) == written
    assert store.finished(tmp_path, SPEC | {"seed": 1}) is None
    np.testing.assert_array_equal(np.load(path.with_suffix(".npz"))["labels"], [0, 1])
    assert path.with_suffix(".flags").read_text() == "# flags\n"
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".flags", ".json", ".npz"]


def test_cut_row_is_named_with_its_cure(tmp_path):
    path = pathlib.Path(write(tmp_path, make()).path)
    write(tmp_path, make(seed=1))
    path.write_text(path.read_text()[:200])
    with pytest.raises(UserError, match=f"{path.name} is damaged.*move it to another folder.*{path.stem}.flags"):
        store.read_records(tmp_path)
    path.write_text(json.dumps({"accuracy": 1}))
    with pytest.raises(UserError, match="is no record of tfbench .missing: dataset, key"):
        store.read_records(tmp_path)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    atomic.write_json(path, {"old": 1})
    with pytest.raises(ValueError):
        atomic.write_json(path, {"new": float("nan")})
    assert json.loads(path.read_text()) == {"old": 1}
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot write .*--results_dir"):
        atomic.check_writable(tmp_path / "taken" / "rows", cure=store.CURE)
    atomic.check_writable(tmp_path / "new", cure=store.CURE)
    assert not (tmp_path / "new").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file.json", "taken"]


def test_what_is_computed_waits_for_a_folder_that_cannot_be_written(monkeypatch, capsys):
    now, failed = [0.0], []
    monkeypatch.setattr(atomic.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def write(number, until):
        if now[0] < until:
            failed.append(now[0])
            raise atomic.cannot_write("x.json", OSError(number, "why"), store.CURE)
        return "written"

    assert atomic.patiently(lambda: write(errno.ENOSPC, 60.0)) == "written" and len(failed) == 10
    told = capsys.readouterr().err.splitlines()
    assert told == ["warning: cannot write x.json (why): make the folder writable and free some space, or choose "
                    "another with --results_dir=DIR; this waits for it, 10 min at most", "written after 1 min 6 s"]
    start = now[0]
    with pytest.raises(UserError, match="cannot write x.json"):
        atomic.patiently(lambda: write(errno.EROFS, math.inf))
    assert 590 < now[0] - start <= 600
    failed.clear()
    with pytest.raises(UserError, match="cannot write x.json"):  # no waiting mends it
        atomic.patiently(lambda: write(errno.ENOTDIR, math.inf))
    assert len(failed) == 1


def test_deviations_and_edges_are_declared():
    row = make()
    assert "other than 19,531 steps" in row["deviations"]
    assert "random crops of other than 8 to 100 % of the image" not in row["deviations"]
    full = deviations(SPEC | {"dataset": "pets", "source_dataset": None, "image_size": 224, "steps": 19531,
                                    "batch_size": 256, "learning_rate": list(paper.FINE_TUNING.learning_rates),
                                    "weight_decay": list(paper.FINE_TUNING.weight_decays)}, NETWORKS["resnet_50"])
    assert full == []
    other = deviations(SPEC | {"learning_rate": [0] * 7, "weight_decay": [0] * 8}, NETWORKS["resnet_50"])
    assert "other than the paper's grid of 7 learning rates by 8 weight decays" in other
    told = {"dataset": "imagenet", "accuracy": 0.8, "n_test": 100, "sha256": "a", "image_size": 299, "crop": "central"}
    source = records.source_of(told)
    assert (source["image_size"], source["crop"]) == (299, "central")
    assert records.source_of({name: told[name] for name in ("dataset", "accuracy", "n_test", "sha256")} | {
        "spec": {"image_size": 32}})["image_size"] == 32
    mixed = "the source accuracy is of another image size than the transfer"
    assert [mixed in make(image_size=size, source=source)["deviations"] for size in (224, 299)] == [True, False]
    assert row["verification"] == {"archives": "UNKNOWN", "counts": "PASS", "labels": "UNKNOWN", "keys": "UNKNOWN",
                                   "images": "UNKNOWN", "leakage": "UNKNOWN"}
    assert row["test_split"]["expected"] == 1197
    assert "objects that VOC calls difficult count" in " ".join(make(data={"difficult": "negative"})["deviations"])
    grids = {"learning_rate": [0.1, 0.2, 0.3], "weight_decay": [0.0]}
    assert records.edge_warnings(grids, {"learning_rate": 0.2, "weight_decay": 0.0}) == []
    assert records.edge_warnings(grids, {"learning_rate": 0.3, "weight_decay": 0.0}) == [
        "the selected learning_rate 0.3 lies on the edge of its grid"]


def test_a_record_is_read_by_name_like_a_dictionary():
    record = make()
    assert record["accuracy"] == record.accuracy == record.get("accuracy") == dict(record)["accuracy"] == 0.5
    assert record.get("search") is None and "search" not in record and "seconds" in record
    assert record.get("search", 1) == record.get("nothing", 1) == 1
    assert dataclasses.replace(record, finished=None).get("finished", 1) is None  # a fact that every kind of run has
    with pytest.raises(KeyError, match="nothing"):
        record["nothing"]


def test_a_record_of_a_newer_tfbench_is_refused_and_one_of_an_older_is_read(tmp_path):
    path = pathlib.Path(write(tmp_path, make()).path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema": config.SCHEMA + 1}))
    with pytest.raises(UserError, match=f"{path.name} was written by a newer tfbench .*: update tfbench"):
        store.read_records(tmp_path)
    old = {name: content[name] for name in records.REQUIRED} | {"schema": 1}
    path.write_text(json.dumps(old))
    record, = store.read_records(tmp_path)
    assert record.trials == [] and record.source is None and record.accuracy == 0.5


def test_the_latest_kept_network_is_that_of_an_earlier_run_where_the_last_kept_none(tmp_path):
    first, second = (dataclasses.replace(make(seed=seed), finished=f"2026-01-0{seed}T00:00:00Z") for seed in (1, 2))
    for record in (first, second):
        write(tmp_path, record)
    assert kept_models.find_run(tmp_path, "latest").key == second.key  # none was kept: the message names its command
    weights_file = kept_models.path_of(tmp_path, first.spec)
    weights_file.parent.mkdir()
    for path in (weights_file, weights.metadata_path(weights_file)):
        path.touch()
    assert kept_models.find_run(tmp_path, "latest").key == first.key
    assert store.find_run(tmp_path, "latest").key == second.key


def test_a_run_is_found_by_its_title_as_programs_print_it(tmp_path):
    written = write(tmp_path, make(dataset="folder:my fruit"))
    for run in ("finetune-resnet_50-folder:my fruit", "finetune-resnet_50-folder_my_fruit-", written.key[:5]):
        assert store.find_run(tmp_path, run).key == written.key


def test_results_folders_below_one_without_runs_are_named(tmp_path):
    write(tmp_path / "results" / "choose", make())
    with pytest.raises(UserError, match="found none: run .*, or name --results_dir=.*results/choose$"):
        store.find_run(tmp_path / "results", "latest")
