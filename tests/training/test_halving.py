"""Successive halving: who goes on, what it costs, and that its last trials are the full grid's."""

import dataclasses
import types

import pytest
import tensorflow as tf
from helpers.outcomes import timeless
from helpers.programs import execute, parse

from tfbench import UserError, finetune, pretrain, study
from tfbench.benchmarks import search as search_benchmark
from tfbench.cli.progress import Silent
from tfbench.config import RUNGS, key_of
from tfbench.files import atomic
from tfbench.results import store
from tfbench.stats import budgets
from tfbench.sweep import jobs, plan
from tfbench.training import halving, search

PAPER = {"search": "halving", "steps": 19531, "learning_rate": [1.0] * 7, "weight_decay": [1.0] * 8}
SMALL = ("--model=mini_mobilenet_v1", "--dataset=digits", "--image_size=32", "--batch_size=32", "--min_crop_area=1",
         "--deterministic")


@pytest.mark.parametrize("accuracies, expected", [
    ({1: 0.5, 2: 0.7, 3: 0.5}, [2]), ({3: 0.2, 1: 0.9, 2: 0.9}, [1, 2]), (dict.fromkeys((4, 2, 6), 0.0), [2, 4, 6])])
def test_equally_good_ones_go_on_together_whatever_the_order(accuracies, expected):
    assert halving.best(accuracies) == expected


def test_rungs_of_the_papers_grid():
    assert halving.rungs(PAPER) == [(1953, 7), (19531, 2), (19531, 7)]
    assert halving.rungs(PAPER | {"search": "grid"}) == [(19531, 56)]
    assert halving.rungs(PAPER | {"learning_rate": [1.0], "weight_decay": [0.0]}) == [(19531, 1)]
    assert halving.rungs(PAPER | {"learning_rate": [1.0]}) == [(19531, 8)]
    assert halving.rungs(PAPER | {"weight_decay": [0.0]}) == [(1953, 7), (19531, 2)]
    assert halving.rungs(PAPER | {"learning_rate": [1.0] * 2}) == [(1953, 2), (19531, 1), (19531, 7)]
    assert halving.rungs(PAPER | {"steps": 2}) == [(1, 7), (2, 2), (2, 7)]


def test_the_best_two_learning_rates_go_on_and_the_better_at_every_weight_decay():
    spec = PAPER | {"learning_rate": [1.0] * 4, "weight_decay": [0.0] * 3}
    first, second = halving.entrants({}, 0, spec), [17, 20]
    assert first == [2, 5, 8, 11]
    scores = dict(zip([*first, *second], (0.3, 0.5, 0.7, 0.1, 0.9, 0.8), strict=True))
    trials = {number: {"validation_accuracy": accuracy} for number, accuracy in scores.items()}
    assert halving.entrants(trials, 1, spec) == second
    assert halving.entrants(trials, 2, spec) == [28, 30]
    trials |= {2: trials[5], 14: trials[17]}  # two are second best: three go on, and the best two of these
    assert halving.entrants(trials, 1, spec) == [14, *second]
    assert halving.entrants(trials, 2, spec) == [25, 27, 28, 30]
    assert halving.candidates(1, spec) == [14, 17, 20, 23]
    assert halving.candidates(2, spec) == [25, 27, 28, 30, 31, 33, 34, 36]
    for all_in_full in ({"search": "grid"}, {"learning_rate": [1.0], "weight_decay": [0.0] * 12}):
        assert halving.entrants({}, 0, spec | all_in_full) == list(range(1, 13))


def test_the_plan_counts_what_halving_saves():
    arguments = ["--model=inception_v4", "--dataset=pets"]
    full, less = (plan.cost(parse(finetune, [*arguments, f"--search={search}"]), 1e12)
                  for search in ("grid", "halving"))
    assert (full.fits, less.fits) == (57, 7 + 2 + 7 + 1)
    assert less.trained == (7 * 1953 + 9 * 19531 + 19531) * 256 < 0.19 * full.trained


def write_trial(work, spec: dict, number: int, score: float, steps: int) -> None:
    """The result of a trial at its point of the grid, of one weight decay."""
    atomic.write_json(store.trial_path(work, number), {
        "learning_rate": spec["learning_rate"][number - 1], "weight_decay": spec["weight_decay"][0], "steps": steps,
        "validation_accuracy": score, "test_crop": "whole", "diverged": False, "seconds": 1.0})


def test_jobs_wait_for_the_rung_before(tmp_path, data_dir):
    arguments = ["--models=mobilenet_v1", "--datasets=digits", "--regimes=train_from_scratch", "--source=imagenet",
                 f"--results_dir={tmp_path}", f"--data_dir={data_dir}", "--image_size=32",
                 "--train_from_scratch=--search=halving --steps=9 --grid=3x1"]
    runs = jobs.plan_runs(parse(study, arguments), 1e12)
    made, _ = jobs.make(runs, Silent())
    assert [(job.call[0].trial, job.needs) for job in made] == [
        ("1", ()), ("2", ()), ("3", ()), ("4", (0, 1, 2)), ("5", (0, 1, 2)), ("6", (0, 1, 2)), ("refit", (3, 4, 5))]
    spec, _ = jobs.record_of(runs[0].config, {})
    folder = store.work_dir(tmp_path, spec)
    for number, score in ((1, 0.2), (2, 0.4), (3, 0.3)):
        write_trial(folder, spec, number, score, steps=1)
    made, _ = jobs.make(runs, Silent())
    assert [(job.call[0].trial, job.needs) for job in made] == [("5", ()), ("6", ()), ("refit", (0, 1))]
    assert [halving.is_not_needed(spec, folder, number) for number in range(1, 7)] == [True] * 4 + [False] * 2


def test_a_grid_that_is_found_done_is_shown_once(tmp_path):
    spec = {"search": "grid", "steps": 9, "learning_rate": [1.0, 2.0, 3.0], "weight_decay": [0.0]}
    for number in (1, 2, 3):
        write_trial(tmp_path, spec, number, 0.1 * number, steps=9)
    shown = []
    trainer = types.SimpleNamespace(strategy=tf.distribute.OneDeviceStrategy("CPU:0"))
    task = types.SimpleNamespace(
        inputs=types.SimpleNamespace(config=parse(finetune, SMALL), spec=spec), folder=tmp_path,
        engine=types.SimpleNamespace(trainer=trainer),
        progress=types.SimpleNamespace(grid=lambda *arguments: shown.append(arguments)))
    assert len(search.search(task, None, None, None)) == 3
    assert [(len(trials), number) for trials, _, _, number in shown] == [(3, 3)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory, data_dir):
    """The rows of fine-tuning by the full grid and by halving, and the arguments of the latter."""
    folder = tmp_path_factory.mktemp("results")
    arguments = [*SMALL, f"--results_dir={folder}", f"--data_dir={data_dir}"]
    source, _ = execute(pretrain, [*arguments, "--steps=60", "--learning_rate=0.02", "--warmup_epochs=0", "--ema=0"])
    arguments += [f"--weights={store.weights_path(folder, source['spec'])}", "--steps=20",
                  "--learning_rate=0.0001,0.03,1", "--weight_decay=0"]
    found = {search: execute(finetune, [*arguments, f"--search={search}"])[0]
             for search in ("grid", "halving")}
    return found | {"arguments": [*arguments, "--search=halving"]}


def test_the_longest_trials_are_the_full_grids(rows):
    full = {trial["learning_rate"]: trial for trial in rows["grid"]["trials"]}
    steps = [trial["steps"] for trial in rows["halving"]["trials"]]
    last = [trial for trial in rows["halving"]["trials"] if trial["steps"] == 20]
    assert steps == [2] * 3 + [20] * len(last) and len(last) in (2, 3)
    for trial in last:
        assert trial["validation"] == full[trial["learning_rate"]]["validation"]
    best = max(last, key=lambda trial: trial["validation_accuracy"])
    assert rows["halving"]["selected"]["learning_rate"] == best["learning_rate"]
    if best["learning_rate"] == rows["grid"]["selected"]["learning_rate"]:
        assert rows["halving"]["accuracy"] == rows["grid"]["accuracy"]


def test_the_row_says_how_it_searched(rows):
    found = rows["halving"]
    assert found["search"] == {"kind": "halving", "steps": sum(trial["steps"] for trial in found["trials"]),
                               "grid_steps": 60}
    assert rows["grid"]["search"] == {"kind": "grid", "steps": 60, "grid_steps": 60}
    assert any("successive halving" in text for text in found["deviations"])
    assert not any("successive halving" in text for text in rows["grid"]["deviations"])
    grid, halving = budgets.runs_of([rows["grid"], found])
    assert budgets.split([grid, halving]) == ([grid], [halving])
    assert "3 learning rates × 1 weight decay by successive halving" in halving.text


def test_searches_by_another_schedule_are_other_runs(rows):
    spec = rows["halving"]["spec"]
    assert spec["rungs"] == RUNGS and "rungs" not in rows["grid"]["spec"]
    earlier = {name: value for name, value in spec.items() if name != "rungs"}
    before = dataclasses.replace(rows["halving"], spec=earlier, key=key_of(earlier))
    one, other = budgets.runs_of([rows["halving"], before])
    assert "by an earlier version's successive halving" in other.text
    assert budgets.split([one, other]) == ([other], [one])


def test_trials_by_several_processes_give_the_same_row(rows, tmp_path):
    arguments = [argument for argument in rows["arguments"] if not argument.startswith("--results_dir")]
    arguments.append(f"--results_dir={tmp_path}")
    computed = [execute(finetune, [*arguments, f"--trial={number}"])[1] for number in (3, 1, 2, 4, 5, 6)]
    assert computed[:3] == [True] * 3 and sum(computed[3:]) == len(rows["halving"]["trials"]) - 3
    row, _ = execute(finetune, [*arguments, "--trial=refit"])
    assert timeless(row) == timeless(rows["halving"])


def test_what_is_saved_and_missed_is_counted(rows, tmp_path):
    folder = next(argument.split("=")[1] for argument in rows["arguments"] if argument.startswith("--results_dir"))
    found = search_benchmark.measure(folder)
    assert found["searches"] == 1 and found["steps"] == rows["halving"]["search"]["steps"] / 60
    assert found["test_loss"] == [rows["grid"]["accuracy"] - rows["halving"]["accuracy"]]
    assert found["same_choice"] == (rows["grid"]["selected"] == rows["halving"]["selected"])
    first, *_ = search_benchmark.report(found)
    assert f"took {100 * found['steps']:.0f} % of the full grid's steps in 1 searches" in first
    with pytest.raises(UserError, match="both with --search=grid and with"):
        search_benchmark.measure(tmp_path)
