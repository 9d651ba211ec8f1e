"""Files of a results folder that are damaged, copied or misnamed: each is refused in one line, or read right."""

import dataclasses
import json
import os
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from tfbench import UserError, config
from tfbench.files import arrays, atomic
from tfbench.models import weights
from tfbench.models.catalog import NETWORKS
from tfbench.results import archive, store
from tfbench.results.record import check_same_outcome
from tfbench.stats import accuracies

STUDY = pathlib.Path(__file__).parents[1] / "compatibility" / "study"
DIGITS = "finetune-mobilenet_v1-digits-d1240077d7e53e0a"
TRIAL = {"learning_rate": 0.1, "weight_decay": 0.0, "steps": 5, "validation_accuracy": 0.5, "test_crop": "whole",
         "diverged": False, "seconds": 1.5}
SPEC = {"learning_rate": [0.1, 0.2], "weight_decay": [0.0]}


@pytest.fixture
def rows(tmp_path):
    """The folder rows of a study with one record and what lies beside it."""
    folder = tmp_path / "results" / "rows"
    folder.mkdir(parents=True)
    for path in STUDY.glob(f"rows/{DIGITS}.*"):
        shutil.copy(path, folder)
    return folder


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refused(do, *words):
    """`do` must raise UserError with these words, in one line that advises no deletion."""
    with pytest.raises(UserError) as error:
        do()
    text = str(error.value)
    assert not [word for word in words if word not in text], text
    assert "\n" not in text and "delete" not in text and "Traceback" not in text


@pytest.mark.parametrize("fields, words", [
    ({"schema": "6"}, "schema as a positive whole number, found '6'"), ({"schema": True}, "schema"),
    ({"schema": config.SCHEMA + 1}, "update tfbench"), ({"key": 3}, "key as a text"),
    ({"key": "0" * 16}, "the key d1240077d7e53e0a of its specification"),
    ({"regime": "zero_shot"}, "a regime among"), ({"regime": "pretrain"}, "regime 'finetune' of its specification"),
    ({"network": ["vgg_16"]}, "network as a text"), ({"network": "vgg_16"}, "'mobilenet_v1' of its specification"),
    ({"dataset": ""}, "dataset as a text"), ({"metric": None}, "metric as a text, found None"),
    ({"accuracy": "0.5"}, "accuracy as a fraction"), ({"accuracy": True}, "accuracy as a fraction"),
    ({"accuracy": 42.6}, "accuracy as a fraction"), ({"accuracy": -0.1}, "accuracy as a fraction"),
    ({"accuracy": 0.4262}, "accuracy × n_test as a whole number"), ({"n_test": 358}, "n_test 359 of its test_split"),
    ({"n_test": 1.5}, "n_test as a positive whole number"), ({"validation_accuracy": 7}, "validation_accuracy"),
    ({"selected": [0.1]}, "selected as a group"), ({"selected": {"steps": [1]}}, "selected of texts and numbers"),
    ({"trials": {}}, "trials as a list"), ({"trials": [None]}, "trial 1: expected a group"),
    ({"trials": [{}, {"seconds": "1"}]}, "trial 2: expected seconds"), ({"trials": [{"diverged": 1}]}, "diverged"),
    ({"trials": [{"validation_accuracy": 99.1}]}, "trial 1: expected validation_accuracy as a fraction"),
    ({"source": "imagenet"}, "source as a group"), ({"source": {"accuracy": 0.7}}, "source dataset as a text"),
    ({"spec": {"steps": "12"}}, "spec.steps"), ({"spec": []}, "spec as a group"),
    ({"spdc": {}}, "a field 'spdc' that no record has"),
    ({"warnings": [1]}, "warnings of texts"), ({"seconds": -1}, "seconds"), ({"refit": {"seconds": "x"}}, "refit."),
])
def test_a_record_with_a_wrong_field_is_refused(fields, words, rows):
    path = rows / f"{DIGITS}.json"
    change(path, **fields)
    refused(lambda: store.read_records(rows.parent), str(path), words)


def test_a_mean_over_classes_need_be_no_whole_number(rows):
    change(rows / f"{DIGITS}.json", accuracy=0.4262, metric="mean_per_class")
    assert store.read_records(rows.parent)[0].accuracy == 0.4262


@pytest.mark.parametrize("content", [
    b"", b"{", b"[1, 2", b"\xff\xfe\x00", b"null", b"[]", b"3", b'{"schema": NaN}', b"[" * 100_000, b'"text"',
    b'{"accuracy": 1}', b"\x00" * 1000])
def test_what_is_no_record_is_refused(content, rows):
    path = rows / f"{DIGITS}.json"
    path.write_bytes(content)
    refused(lambda: store.read_records(rows.parent), path.name, "move it to another folder", f"{DIGITS}.flags")


@pytest.mark.parametrize("line, key", [
    ('"accuracy": 0.5', "'accuracy'"), ('"n_test": 359', "'n_test'"), ('"spec": {"steps": 3, "steps": 3}', "'steps'")])
def test_a_key_that_stands_twice_is_refused(line, key, rows):
    path = rows / f"{DIGITS}.json"
    path.write_text("{" + line + "," + path.read_text().lstrip()[1:])
    refused(lambda: store.read_records(rows.parent), str(path), f"found {key} twice", "move it to another folder")


def test_half_a_character_is_refused_which_no_table_could_hold(rows):
    change(rows / f"{DIGITS}.json", warnings=["\ud800"])
    refused(lambda: store.read_records(rows.parent), f"{DIGITS}.json is damaged")


def test_files_whose_endings_a_system_wrote_in_upper_case_are_read(rows):
    before, = store.read_records(rows.parent)
    predictions = store.read_predictions(before)
    for path in list(rows.iterdir()):
        path.rename(path.with_suffix(path.suffix.upper()))
    record, = store.read_records(rows.parent)
    assert record == dataclasses.replace(before, path=str(rows / f"{DIGITS}.JSON"))
    assert store.finished(rows.parent, record.spec) == record == store.find_run(rows.parent, record.path)
    for name, array in store.read_predictions(record).items():
        np.testing.assert_array_equal(array, predictions[name])
    assert {path.name for path in archive._files_of(rows / f"{DIGITS}.JSON")} == {path.name for path in rows.iterdir()}


def test_metadata_of_weights_are_found_in_either_case(tmp_path):
    for weights_name, name in (("NET.WEIGHTS.H5", "NET.JSON"), ("net_0.5.weights.h5", "net_0.5.JSON"),
                               ("Net.weights.h5", "Net.json")):
        assert weights.metadata_path(tmp_path / weights_name).name == name.removesuffix("JSON").removesuffix(
            "json") + "json"
        (tmp_path / name).touch()
        assert weights.metadata_path(tmp_path / weights_name).name == name


@pytest.mark.parametrize("schema, words", [
    (weights.SCHEMA + 1, "update tfbench"), ("1", "schema as a positive whole number, found '1'"), (None, "schema"),
    (weights.SCHEMA, ""), ("absent", "")])
def test_metadata_say_their_layout_and_a_newer_one_is_refused(schema, words, tmp_path):
    path = tmp_path / "mobilenet_v1.weights.h5"
    path.touch()
    facts = {"network": "mobilenet_v1", "dataset": "glyphs", "accuracy": None, "n_test": None, "bn_scale": True,
             "sha256": atomic.file_sha256(path), "value_range": "inception"}
    weights.metadata_path(path).write_text(json.dumps(facts | ({} if schema == "absent" else {"schema": schema})))
    if words:
        refused(lambda: weights.read_metadata(path, NETWORKS["mobilenet_v1"]), "mobilenet_v1.json", words)
    else:
        assert weights.read_metadata(path, NETWORKS["mobilenet_v1"])["dataset"] == "glyphs"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_record_that_an_editor_saved_otherwise_is_read(encoding, rows):
    path = rows / f"{DIGITS}.json"
    before = store.read_records(rows.parent)
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert store.read_records(rows.parent) == before


@pytest.mark.parametrize("make", [os.mkfifo, pathlib.Path.mkdir, lambda path: path.symlink_to("/dev/zero"),
                                  lambda path: path.symlink_to(path.name), lambda path: path.symlink_to("absent")])
def test_only_regular_files_are_read(make, rows, tmp_path):
    for ending in ("json", "npz"):
        path = rows / f"{DIGITS}.{ending}"
        path.unlink()
        make(path)
    refused(lambda: store.read_records(rows.parent), f"{DIGITS}.json")
    if path.exists():
        refused(lambda: store.read_predictions({"path": path, "n_test": 3}), f"{DIGITS}.npz")


def test_a_copy_counts_once_and_another_outcome_is_refused(rows, tmp_path):
    before, = store.read_records(rows.parent)
    copy, other = rows / f"{DIGITS} (1).json", tmp_path / "other"
    shutil.copy(rows / f"{DIGITS}.json", copy)
    (rows / f"._{DIGITS}.json").write_bytes(b"\x00\x05\x16\x07")  # what macOS keeps beside files elsewhere
    shutil.copytree(rows, other / "rows")
    record, = store.read_records(rows.parent, other)
    assert record == before and store.read_predictions(record)  # those beside the file of the right name
    change(copy, accuracy=154 / 359)
    refused(lambda: store.read_records(rows.parent), str(copy), f"{DIGITS}.json", "0.428")
    copy.unlink()
    change(other / "rows" / f"{DIGITS}.json", accuracy=154 / 359)
    refused(lambda: store.read_records(rows.parent, other), str(rows), str(other))
    two = [dict(record), dict(record) | {"accuracy": 0.1}]
    refused(lambda: check_same_outcome(*two), "accuracy")
    refused(lambda: accuracies.from_records(two), "two records of one run differ")


def test_the_folder_of_the_records_is_no_results_folder(rows):
    refused(lambda: store.read_records(rows), "is the folder of its records", f"--results_dir={rows.parent}")


def test_a_record_under_another_runs_name_is_no_result_of_that(rows):
    spec = json.loads((rows / f"{DIGITS}.json").read_text())["spec"]
    assert store.finished(rows.parent, spec)
    other = spec | {"seed": 7}
    (rows / f"{DIGITS}.json").rename(store.record_path(rows.parent, other))
    refused(lambda: store.finished(rows.parent, other), "expected the key", config.key_of(other))


@pytest.mark.parametrize("damage, words", [
    (lambda path: path.write_bytes(path.read_bytes()[:-9]), "zip"), (lambda path: path.write_bytes(b"PK"), "damaged"),
    (lambda path: np.savez(path, labels=np.arange(359), predictions=np.zeros(359)), "predictions as int"),
    (lambda path: np.savez(path, labels=np.arange(9), predictions=np.arange(9)), "359 test examples, found 9"),
    (lambda path: np.savez(path, labels=np.array([{}] * 359, object)), "expected labels"),
    (lambda path: np.savez(path, labels=np.float32(3)), "of 1 or 2 dimensions"),
    (lambda path: np.save(path.open("wb"), np.arange(359)), "damaged"),
])
def test_damaged_predictions_are_refused(damage, words, rows):
    record, = store.read_records(rows.parent)
    damage(rows / f"{DIGITS}.npz")
    refused(lambda: store.read_predictions(record), f"{DIGITS}.npz", words, "move it out of")


def test_memory_is_counted_before_it_is_filled(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("labels.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (10**15,), "fortran_order": False, "descr": "<i8"})
        file.write(bytes(100))
    labels = {"labels": arrays.Expected("iu")}
    refused(lambda: arrays.read(path, labels, cure="x"), "has 100 bytes, its header says 8,000,000,000,000,000")
    np.savez(path, labels=np.arange(1000))
    monkeypatch.setattr(arrays, "free_memory", lambda: 7999)
    refused(lambda: arrays.read(path, labels, cure="x"), "GB are free")
    monkeypatch.setattr(arrays, "free_memory", lambda: 8000)
    assert len(arrays.read(path, labels, cure="x")["labels"]) == 1000


@pytest.mark.parametrize("name", [
    "trial1 (1).json", "trial1 copy.json", "trial01.json", "trial0.json", "trialx.json", "trial2.JSON"])
def test_a_trial_of_another_name_is_refused(name, tmp_path):
    for file in ("trial1.json", name):
        (tmp_path / file).write_text(json.dumps(TRIAL))
    refused(lambda: store.read_trials(tmp_path), repr(name), "move it out of the folder")


@pytest.mark.parametrize("trial, words", [
    (TRIAL | {"validation_accuracy": 50}, "fraction"), ([TRIAL], "group of fields"), ({}, "expected steps"), (
        {name: value for name, value in TRIAL.items() if name != "learning_rate"}, "expected learning_rate"),
    (TRIAL | {"test_crop": "left"}, "test_crop"), (TRIAL | {"learning_rate": 0.1}, "learning_rate 0.2 in trial 2"),
    (TRIAL | {"learning_rate": 0.2, "weight_decay": 1e-4}, "weight_decay 0"), (TRIAL | {"diverged": None}, "diverged"),
])
def test_a_trial_that_is_not_of_its_point_is_refused(trial, words, tmp_path):
    path = store.trial_path(tmp_path, 2)
    path.write_text(json.dumps(trial))
    refused(lambda: store.read_trials(tmp_path, SPEC), str(path), words, "its trial is then run again")


def test_trials_are_read_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        store.trial_path(tmp_path, number).write_text(json.dumps(TRIAL | {"learning_rate": [0.2, 0.1][number % 2]}))
    assert list(store.read_trials(tmp_path, SPEC)) == [1, 2, 10]
    store.delete_trials(tmp_path)
    assert store.read_trials(tmp_path) == {}
