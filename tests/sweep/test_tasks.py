"""A study that several processes share: its parts, who works on a run, and what becomes of a dead owner's."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time
import types

import pytest
from helpers.programs import parse, plan_runs

from tfbench import study
from tfbench.config import ALL, name_of
from tfbench.errors import UserError
from tfbench.files import sharing
from tfbench.results import store
from tfbench.sweep import executors, jobs, run, status

ROOT = pathlib.Path(__file__).parents[2]
PAPER = ["--models=resnet_50,mobilenet_v1,inception_v4", "--datasets=pets,dtd,food101,cars", "--source=imagenet"]


@pytest.mark.parametrize("tasks", [1, 2, 5, 12])
def test_the_parts_are_the_study_and_take_about_as_long(tasks):
    runs = plan_runs(study, PAPER)
    parts = [jobs.part_of(runs, number, tasks) for number in range(1, tasks + 1)]
    assert sorted(run.title for part in parts for run in part) == sorted(run.title for run in runs)
    cells = [{(run.config.model, run.config.dataset) for run in part} for part in parts]
    assert sum(map(len, cells)) == 12  # of a network and a data set, all regimes are in one part
    loads = [sum(run.cost.seconds for run in part) for part in parts]
    largest = max(sum(run.cost.seconds for run in runs if (run.config.model, run.config.dataset) == cell)
                  for cell in set().union(*cells))
    assert max(loads) <= sum(loads) / tasks + largest
    assert all([runs.index(run) for run in part] == sorted(runs.index(run) for run in part) for part in parts)


def test_machines_of_different_speed_come_to_the_same_parts():
    for number in (1, 2, 3):
        titles = [[run.title for run in jobs.part_of(plan_runs(study, PAPER, rate), number, 3)] for rate in (1e9, 1e13)]
        assert titles[0] == titles[1]


def test_pretraining_stays_with_what_needs_it():
    runs = plan_runs(study, [*PAPER[:2], "--source=imagenet2012"])
    parts = [jobs.part_of(runs, number, 3) for number in (1, 2, 3)]
    assert [len({run.config.model for run in part}) for part in parts] == [1, 1, 1]
    assert all(part[0].config.regime == "pretrain" for part in parts)
    with pytest.raises(UserError, match=r"at most 3 tasks, a network each, with its pretraining, found --task=4/4"):
        jobs.part_of(runs, 4, 4)


@pytest.mark.parametrize("task", ["0/4", "5/4", "1", "a/b", "1/0", "1/2/3"])
def test_what_is_no_task(task):
    with pytest.raises(UserError, match="expected --task as K/N with K from 1 to N"):
        study.main(parse(study, [*PAPER, f"--task={task}"]))
    with pytest.raises(UserError, match="shares the study by itself"):
        study.main(parse(study, [*PAPER, "--task=1/2", "--executor=commands"]))


def test_a_task_does_its_part_and_leaves_the_analysis_to_whoever_waits(tmp_path, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(executors, "run", lambda options, runs: done.extend(runs))
    options = [*PAPER, f"--results_dir={tmp_path}", "--yes"]
    for number in (1, 2):
        assert study.main(parse(study, [*options, f"--task={number}/2"])) is None
    assert len(done) == 36 == len({run.title for run in done})
    assert f"when all have: python -m tfbench.analysis --results_dir={tmp_path}" in capsys.readouterr().out


def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path):
    lock, said, waited = tmp_path / "rows" / ".run.lock", [], []

    def second():
        with sharing.owned(lock, "finetune", said.append) as had_another:
            waited.append((had_another, sharing.owner_of(lock)["process"]))

    with sharing.owned(lock, "finetune", said.append) as first:
        assert not first and not said
        owner = json.loads(lock.read_text())
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            time.sleep(0.01)
        assert waited == []
    thread.join()
    assert said == [f"finetune: process {owner['process']} on {owner['host']} works on it since {owner['since']}: "
                    "waiting for its end"]
    assert waited == [(True, owner["process"])] and not lock.exists() and sharing.owner_of(lock) is None


def test_that_of_a_killed_process_is_taken_over(tmp_path):
    lock, said = tmp_path / "run.lock", []
    script = ("import sys, time; from tfbench.files import sharing\n"
              "with sharing.owned(sys.argv[1], 'x', print): print('mine', flush=True); time.sleep(60)")
    other = subprocess.Popen([sys.executable, "-c", script, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "mine\n" and sharing.owner_of(lock)["process"] == other.pid
    other.kill()
    other.wait()
    assert lock.exists() and sharing.owner_of(lock) is None
    with sharing.owned(lock, "finetune", said.append) as waited:
        assert not waited and not said and sharing.owner_of(lock)["process"] != other.pid


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "rows").write_text("a file")
    with pytest.raises(UserError, match="cannot write"), sharing.owned(tmp_path / "rows" / "x", "it", print):
        pass


def test_a_run_that_another_process_finishes_is_not_run_again(tmp_path, monkeypatch):
    spec = {"schema": 6, "regime": "finetune", "network": "resnet_50", "dataset": "pets"}
    ran, record, own = [], {}, types.SimpleNamespace(trials=[], selected={}, get=lambda name: None)
    config = types.SimpleNamespace(
        results_dir=str(tmp_path), keep_model=False, trial=ALL, trial_number=None, regime="finetune", model="resnet_50",
        dataset="pets", track=None,
        kind=types.SimpleNamespace(search=None, run=lambda inputs, progress: ran.append(inputs.tracker) or own))
    progress = types.SimpleNamespace(lines=[], expect=lambda images: None)
    progress.line = progress.lines.append
    inputs = dataclasses.make_dataclass("Inputs", ["config", "spec", "tracker"])
    monkeypatch.setattr(run, "resolve", lambda config, progress, patient: inputs(config, spec, None))
    monkeypatch.setattr(run.plan, "images_of", lambda inputs: 1)
    monkeypatch.setattr(store, "finished", lambda folder, spec: record.get("it"))
    found = []
    with sharing.owned(store.lock_path(tmp_path, spec), "it", print):
        thread = threading.Thread(target=lambda: found.append(run.execute(config, progress)))
        thread.start()
        while not progress.lines:
            time.sleep(0.01)
        record["it"] = "the other's"
    thread.join()
    assert found == [("the other's", False)] and not ran and "works on it since" in progress.lines[0]
    record.clear()
    assert run.execute(config, progress) == (own, True) and len(ran) == 1
    assert list((tmp_path / "rows").iterdir()) == []


def test_status_says_who_works_on_a_run(tmp_path, monkeypatch):
    runs = plan_runs(study, ["--models=resnet_50", "--datasets=pets", "--source=imagenet", "--regimes=finetune"])
    spec = {"schema": 6, "regime": "finetune", "network": "resnet_50", "dataset": "pets"}
    monkeypatch.setattr(jobs, "record_of", lambda config, known: (spec, None))
    work = status.read_work(tmp_path)
    assert [state.state for state in status.states(tmp_path, runs, work)] == ["not begun"]
    with sharing.owned(store.lock_path(tmp_path, spec), "it", print):
        state, = status.states(tmp_path, runs, work)
        owner = sharing.owner_of(tmp_path / "rows" / f".{name_of(spec)}.lock")
    assert state.state == "running" and state.text == (
        f"finetune resnet_50 pets: running on {owner['host']} since {owner['since']}")
