"""--track: what reaches MLflow and Weights & Biases, and that neither can stop a run."""

import json
import os
import types

import pytest
from helpers.programs import parse

from tfbench import Preempted, UserError, finetune
from tfbench.results import trackers, tracking

SPEC = {"schema": 6, "regime": "finetune", "network": "/home/me/net.keras", "dataset": "folder:/home/me/photos",
        "weight_decay": [0.0, 0.1], "data": {"content": "abc"}, "source_dataset": None, "bn_scale": True}
TRIAL = {"learning_rate": 0.1, "weight_decay": 0.0, "validation_accuracy": 0.5, "diverged": False, "host": "secret",
         "input_wait": None}


def record_of(trials):
    return types.SimpleNamespace(trials=trials, selected={"learning_rate": 0.1, "test_crop": "whole"},
                                 get={"accuracy": 0.75, "n_test": 8, "seconds": 2.5}.get)


class Service:
    """Keeps what it is told; fails at the call whose number `fails` is."""

    def __init__(self, name, known, settings, folder):
        self.id, self.name, self.settings, self.told = known or "id1", name, settings, []
        services.append(self)

    def log(self, group, values, step):
        self.told.append((group, dict(values), step))
        if group == "broken":
            raise ConnectionError("http://me:secret@host is gone\nat length")

    def end(self, status):
        self.told.append(status)


services: list = []


@pytest.fixture(autouse=True)
def library(monkeypatch):
    services.clear()
    monkeypatch.setitem(trackers.LIBRARIES, "fake", Service)
    monkeypatch.delenv("TF_CONFIG", raising=False)


def test_a_run_is_told_without_paths_and_continued_as_the_same(tmp_path):
    said = []
    with pytest.raises(Preempted), tracking.tracked("fake", SPEC, tmp_path, said.append) as tracker:
        tracker.training("trial1", 20, 1.5, 100.0)
        tracker.training("trial1", 40, float("nan"), 100.0)
        tracker.trial(1, TRIAL)
        raise Preempted
    with tracking.tracked("fake", SPEC, tmp_path, said.append) as tracker:
        tracker.trial(2, TRIAL)
        tracker.finish(record_of([TRIAL] * 2))
    first, second = services
    assert first.settings == {
        "schema": 6, "regime": "finetune", "network": "net.keras", "dataset": "folder:photos",
        "weight_decay": "0.0, 0.1", "data.content": "abc", "bn_scale": True}
    assert first.name.startswith("finetune-net.keras-folder:photos-")
    scores = {"learning_rate": 0.1, "weight_decay": 0.0, "validation_accuracy": 0.5}
    assert first.told == [("trial1", {"loss": 1.5, "images_per_second": 100.0}, 20),
                          ("trial1", {"images_per_second": 100.0}, 40), ("trials", scores, 1), "KILLED"]
    assert second.told == [("trials", scores, 2), ("trials", scores, 1), ("", {
        "accuracy": 0.75, "n_test": 8.0, "seconds": 2.5, "learning_rate": 0.1}, 0), "FINISHED"]
    assert first.id == second.id and json.loads((tmp_path / "tracking.json").read_text()) == {"fake": "id1"}
    assert said == ["tracked by fake, its run id1"] * 2


def test_a_lost_server_stops_nothing_and_is_told_once(tmp_path):
    said = []
    with tracking.tracked("fake", SPEC, tmp_path, said.append) as tracker:
        for step in range(3):
            tracker.training("broken", step, 1.0, 1.0)
        tracker.finish(record_of([]))
    assert len(services[0].told) == 1
    assert said[1:] == ["--track: tracked no more (http://host is gone): the run goes on, its record will have all"]


def test_a_library_that_cannot_begin_is_refused_by_hand_only(tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.LIBRARIES, "fake", lambda *_: 1 / 0)
    refused = pytest.raises(UserError, match="--track=fake: cannot begin .division by zero.: see to the server")
    with refused, tracking.tracked("fake", SPEC, tmp_path, print, must=True):
        pytest.fail("it begins")
    said = []
    with tracking.tracked("fake", SPEC, tmp_path, said.append) as tracker:
        tracker.trial(1, TRIAL)
    assert said == ["--track=fake: cannot begin (division by zero): the run goes on without"]


@pytest.mark.parametrize("host, expected", [
    ({"type": "worker", "index": 0}, 1), ({"type": "worker", "index": 1}, 0), ({"type": "chief", "index": 0}, 1)])
def test_of_several_hosts_the_first_tells(host, expected, tmp_path, monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1"]} if host["type"] == "chief" else {"worker": ["a:1", "b:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": host}))
    with tracking.tracked("fake", SPEC, tmp_path, print):
        assert len(services) == expected


def test_a_missing_library_is_refused_before_anything_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wandb").mkdir()  # as W&B leaves one where it was run
    monkeypatch.setattr("importlib.util.find_spec", _only_in(tmp_path))
    arguments = ["--model=resnet_50", "--dataset=digits", "--track=wandb"]
    with pytest.raises(Exception, match="expected wandb to be installed, found it missing: pip install wandb"):
        parse(finetune, arguments)
    (tmp_path / "wandb" / "__init__.py").write_text("")
    assert parse(finetune, arguments).track == "wandb"


def _only_in(folder):
    from importlib.machinery import PathFinder

    return lambda name: PathFinder.find_spec(name, [str(folder)])


def test_mlflow_holds_the_run_and_nothing_of_the_machine(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/store")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # it advises a database
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with tracking.tracked("mlflow", SPEC, tmp_path / "work", print, must=True) as tracker:
        tracker.training("trial1", 20, 1.5, 100.0)
        tracker.finish(record_of([TRIAL] * 2))
    client = mlflow.MlflowClient()
    run, = client.search_runs([client.get_experiment_by_name("tfbench").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["network"] == "net.keras"
    assert run.data.metrics["accuracy"] == 0.75 and run.data.metrics["trials/validation_accuracy"] == 0.5
    history = client.get_metric_history(run.info.run_id, "trials/learning_rate")
    assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.1)]
    assert set(run.data.tags) == {"mlflow.runName"} and "/home/me" not in str(run.to_dictionary())


def test_wandb_offline_holds_the_run_and_nothing_of_the_machine(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with tracking.tracked("wandb", SPEC, tmp_path / "work", print, must=True) as tracker:
        tracker.training("trial1", 20, 1.5, 100.0)
        tracker.finish(record_of([TRIAL]))
    kept, = (tmp_path / "work").rglob("*.wandb")
    content = kept.read_bytes()
    for words in (b"trials/validation_accuracy", b"trial1/loss", b"net.keras", b"abc"):
        assert words in content
    for words in (b"/home/me", os.uname().nodename.encode(), str(tmp_path).encode()):
        assert words not in content
