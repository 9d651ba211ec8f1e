"""--budget: which level fits, that it is kept, and that a run stopped by it ends as one that was not."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import types

import pytest
from helpers.outcomes import outcomes
from helpers.programs import FlagsError, parse, plan_runs

from tfbench import UserError, finetune, study, train_from_scratch
from tfbench.cli.progress import Display, Silent
from tfbench.errors import OutOfTime
from tfbench.sweep import best, plan, run, time_budget
from tfbench.sweep.time_budget import LEVELS, Speed, at_level, choose, given_up, least, levels_of, measured
from tfbench.training import halving, speed
from tfbench.wording import brief_duration

ROOT = pathlib.Path(__file__).parents[2]
MINE, PETS = (["--model=mobilenet_v1", f"--dataset={dataset}"] for dataset in ("folder:mine", "pets"))
IMAGES = 400


@pytest.mark.parametrize("text, seconds, shown", [
    ("45s", 45, "45s"), ("90m", 5400, "1h30m"), ("1h30m", 5400, "1h30m"), ("2H", 7200, "2h"), ("1.5h", 5400, "1h30m"),
    ("2d", 172800, "2d"), ("1d2h3m4s", 93784, "1d2h3m4s")])
def test_times_as_people_write_them(text, seconds, shown):
    config = parse(finetune, [*PETS, f"--budget={text}"])
    assert config.budget == seconds and brief_duration(seconds) == shown
    assert f"--budget={shown}" in config.to_flags() and parse(finetune, config.to_flags()) == config


@pytest.mark.parametrize("text", ["2", "2 hours", "h", "0s", "0.1s", "-1h", "30m1h", "1e3s", "9" * 400 + "d", "١h"])
def test_other_times_are_refused(text):
    with pytest.raises(FlagsError, match="expected a time such as 45s, 90m, 1h30m or 2d, found"):
        parse(finetune, [*PETS, f"--budget={text}"])


# ---- levels ----------------------------------------------------------------------------------------


def costs_of(flags, images=IMAGES, program=finetune):
    """(name, images trained on) of the levels of one run."""
    levels = levels_of([parse(program, flags)], [images])
    searches = [config.settled(images) for _, (config,) in levels]
    return [(level.name, (halving.steps_left(config.search_spec(), {}) + config.steps) * config.batch_size)
            for (level, _), config in zip(levels, searches, strict=True)]


@pytest.mark.parametrize("program", [finetune, train_from_scratch])
@pytest.mark.parametrize("flags, number", [
    (PETS, 11), (MINE, 6), ([*MINE, "--preset=paper"], 7), ([*MINE, "--search=halving"], 5),
    ([*PETS, "--steps=100"], 7), ([*MINE, "--epochs=2"], 4), ([*MINE, "--grid=2x2"], 4),
    ([*MINE, "--learning_rate=0.1", "--weight_decay=0", "--steps=9"], 2)])
def test_each_level_is_cheaper_than_the_one_before(flags, number, program):
    levels = costs_of(flags, program=program)
    assert len(levels) == number and levels[0][0] == LEVELS[0].name
    trained = [images for _, images in levels]
    if flags[-1] == "--steps=9":  # halving adds short trainings to the only point
        assert trained[1] <= trained[0]
    else:
        assert trained == sorted(trained, reverse=True) and len(set(trained)) == number


@pytest.mark.parametrize("given, kept", [
    ("--steps=100", {"steps": 100}), ("--learning_rate=0.3,0.4,0.5,0.6", {"learning_rate": [0.3, 0.4, 0.5, 0.6]}),
    ("--weight_decay=0.1,0.2", {"weight_decay": [0.1, 0.2]}), ("--search=halving", {"search": "halving"})])
def test_what_is_given_stays(given, kept):
    for level in LEVELS:
        for dataset in (MINE, PETS):
            spec = at_level(parse(finetune, [*dataset, given]), level, IMAGES).settled(IMAGES).search_spec()
            assert spec | kept == spec
    config = parse(finetune, [*PETS, "--preset=paper", "--batch_size=8"])
    assert {at_level(config, level, IMAGES).settled(IMAGES).batch_size for level in LEVELS} == {8}
    assert {at_level(config, level, IMAGES).preset_used for level in LEVELS} == {"paper"}


def test_the_first_level_is_the_run_itself_and_every_level_a_command():
    config = parse(finetune, [*MINE, "--budget=2h"])
    assert at_level(config, LEVELS[0], IMAGES) == parse(finetune, MINE)
    for level in LEVELS:
        taken = at_level(config, level, IMAGES)
        again = parse(finetune, taken.to_flags())  # the flagfile beside a record
        assert again.settled(IMAGES).search_spec() == taken.settled(IMAGES).search_spec() and again.budget is None


def test_what_was_given_up_is_said():
    config = parse(finetune, PETS)
    words = [given_up([config], [at_level(config, level, 2940)], [2940]) for level in LEVELS]
    assert words[0] == "nothing" and words[1] == "full training of the learning rates that fall behind"
    assert words[5] == ("full training of the learning rates that fall behind, 3 × 1 points instead of 7 × 8, "
                        "4,882 steps instead of 19,531")
    assert words[-1].endswith("344 steps instead of 19,531, 64 images in each step instead of 256")


def test_the_best_level_that_fits_is_chosen_and_the_smallest_budget_does():
    seconds = [1000.0, 300.0, 100.0, 20.0]
    available = (1e9, 1099, 331, 330, 111, 22.1, 21.9)
    assert [choose(seconds, one) for one in available] == [0, 1, 1, 1, 2, 3, None]
    for spent in (0.0, 8.0, 500.0):
        budget = least(seconds, spent)
        assert choose(seconds, budget - spent - time_budget.RESERVE) is not None
        assert choose([1.08 * one for one in seconds], budget - 1.08 * spent - time_budget.RESERVE) is not None


def test_a_cost_by_measured_speed():
    cost = plan.cost(parse(finetune, [*PETS, "--steps=10", "--grid=2x1", "--batch_size=8"]), 1e11)
    assert (cost.fits, cost.trained) == (3, 240)
    assert measured(cost, Speed(5.0, 0.5, 0.01, 0.001)).seconds == pytest.approx(5 + 1.5 + 2.4 + cost.evaluated / 1000)


@pytest.mark.parametrize("step, seconds, steps", [
    (1.0, 100, 6), (1.0, 3, 3), (1.0, 0.5, 1), (0.1, 100, 20), (0.0, 100, 200), (60.0, 100, 1)])
def test_few_steps_are_measured_and_never_none(step, seconds, steps):
    assert speed.steps_to_measure(step, seconds) == steps


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("flags, words", [
    (["--steps_curve=1,2"], "--steps_curve"), (["--examples_per_class=1"], "--examples_per_class"),
    (["--trial=refit"], "--trial"), (["--strategy=multi_worker"], "one host")])
def test_what_a_budget_does_not_go_with_is_refused_first(flags, words):
    with pytest.raises(UserError, match=f"--budget .*{words}"):
        run.execute_all(parse(finetune, ["--model=mobilenet_v1", "--dataset=folder:absent", "--budget=1h", *flags]))


STUDY = ["--models=mobilenet_v1", "--datasets=digits", "--source=glyphs", "--image_size=32"]


@pytest.mark.parametrize("executor", ["ray", "commands"])
def test_other_executors_are_refused(executor):
    with pytest.raises(UserError, match=f"--budget .*--executor={executor}"):
        study.main(parse(study, [*STUDY, "--budget=1h", f"--executor={executor}"]))


def test_a_budget_is_of_the_whole_study():
    with pytest.raises(UserError, match="take `study --budget=1h30m`"):
        plan_runs(study, [*STUDY, "--finetune=--budget=90m"])
    assert all(one.config.budget is None for one in plan_runs(study, [*STUDY, "--budget=1h"]))
    with pytest.raises(UserError, match="there are none"):
        study.main(parse(study, [*STUDY, "--budget=1h", "--regimes=logistic_regression", "--plan"]))


def test_the_plan_of_a_study_says_the_level_and_leaves_nothing_behind(tmp_path, capsys):
    flags = [*STUDY, f"--results_dir={tmp_path}/r", f"--data_dir={tmp_path}/d", "--plan"]
    study.main(parse(study, [*flags, "--budget=30d"]))
    printed = capsys.readouterr().out
    assert "budget 30d: " in printed and "by an estimate, not measured yet" in printed and "given up: " in printed
    with pytest.raises(UserError, match=r"nothing fits, .* the smallest that would do is --budget=\d+[mhd]"):
        study.main(parse(study, [*flags, "--budget=1s"]))
    assert not list(tmp_path.iterdir())


# ---- a run ----------------------------------------------------------------------------------------

SPEED = {"trace": 1.0, "begin": 0.0, "train": 0.01, "evaluate": 0.001}


@pytest.fixture
def command(photographs, tmp_path, monkeypatch):
    """Flags of a search of two points that takes 12.6 s, and 11.3 s by halving, by the speed that it measures."""
    really = speed.measure
    monkeypatch.setattr(speed, "measure", lambda inputs, seconds: {
        name: SPEED[name] for name, value in really(inputs, seconds).items() if value >= 0})
    for module in (run, study, time_budget):  # what the measuring takes here does not count
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: 0.0))
    return ["--model=helpers.tiny_networks:tiny", f"--dataset={photographs}", f"--data_dir={tmp_path}/data",
            "--steps=24", "--batch_size=16", "--weight_decay=1e-4", "--learning_rate=1e-6,0.1", "--checkpoint_every=5",
            "--deterministic", "--nokeep_model"]


def results(tmp_path, name):
    return tmp_path / name, f"--results_dir={tmp_path}/{name}"


def test_a_run_stopped_at_the_end_of_its_budget_continues_to_the_same_record(command, tmp_path, monkeypatch, capsys):
    stopped, whole = results(tmp_path, "stopped"), results(tmp_path, "whole")
    show = Display.training

    def alarm(self, step, *args, **more):
        show(self, step, *args, **more)
        if "of 24 steps" in self._stage and step == 5:
            signal.raise_signal(signal.SIGALRM)

    config = parse(train_from_scratch, [*command, stopped[1], "--budget=16s"])
    with monkeypatch.context() as patch:
        patch.setattr(Display, "training", alarm)
        words = r"the budget of 16s is spent, 0 of 1 run finished, 2 of 4 fits, about \d+ s left"
        with pytest.raises(OutOfTime, match=words):
            run.execute_all(config)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert list(stopped[0].glob("work/*/trial*/checkpoints/step-00000005.index"))
    said = capsys.readouterr().out
    assert "budget 16s: halving, about 9 s" in said and "given up: full training" in said

    decision, = stopped[0].glob("budgets/*.json")
    assert json.loads(decision.read_text())["level"]["name"] == "halving"
    monkeypatch.setattr(speed, "measure", None)  # the same command does not time anew
    record, = run.execute_all(config)
    assert "as decided before" in capsys.readouterr().out
    taken = record.spec
    assert (taken["search"], taken["steps"], len(taken["learning_rate"]), len(taken["weight_decay"])) == (
        "halving", 24, 2, 1)
    assert "budget" not in taken and any("successive halving" in text for text in record.deviations)

    # The flagfile beside the record is the uninterrupted run of that level.
    lines = pathlib.Path(record.path).with_suffix(".flags").read_text().splitlines()[1:]
    assert not any("budget" in line for line in lines)
    run.execute_all(parse(train_from_scratch, [*lines, whole[1]]))
    assert outcomes(stopped[0]) == outcomes(whole[0])

    with pytest.raises(UserError, match=r"--budget=3s: nothing fits, .* --budget=\d+s$"):
        monkeypatch.setattr(speed, "measure", lambda inputs, seconds: SPEED)
        run.execute_all(dataclasses.replace(config, budget=3, results_dir=str(tmp_path / "refused")))
    assert not list((tmp_path / "refused").glob("*"))


def test_a_decision_is_of_its_runs_and_a_damaged_one_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "measure", lambda inputs, seconds: SPEED)
    folder, flag = results(tmp_path, "results")

    def fit(*more):
        return time_budget.fit([parse(train_from_scratch, [*command, flag, *more])], 16, Silent(), start=0.0)

    first = fit()
    assert fit() == first._replace(lines=[first.lines[0].replace("by measured speed", "as decided before"),
                                          first.lines[1]])
    assert fit("--seed=1").configs[0].search == "halving" and len(list(folder.glob("budgets/*.json"))) == 2
    for path in folder.glob("budgets/*.json"):
        value = json.loads(path.read_text())
        for changes, words in (({"schema": 2}, "newer tfbench"), ({"level": {"name": "x"}}, "damaged"),
                               ({"level": value["level"] | {"divisor": 0}}, "damaged, expected level.divisor"),
                               ({"speeds": {"a": {"train": -1}}}, "damaged"), ({"speeds": {"a": 3}}, "damaged")):
            path.write_text(json.dumps(value | changes))
            with pytest.raises(UserError, match=words):
                time_budget._read(path)


def test_a_study_says_its_level_and_what_is_left_when_its_time_is_over(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "measure", lambda inputs, seconds: SPEED)
    monkeypatch.setattr(study.executors, "run", lambda options, runs: signal.raise_signal(signal.SIGALRM))
    model, dataset, data, *own = command
    flags = [model, dataset, data, "--source=imagenet", "--regimes=train_from_scratch", "--batch_size=16",
             f"--train_from_scratch={' '.join(own[:1] + own[2:4])}", f"--results_dir={tmp_path}/r", "--budget=16s"]
    with pytest.raises(UserError, match="add --yes"):  # before anything is measured
        study.main(parse(study, flags))
    assert not (tmp_path / "r").exists()
    words = "the budget of 16s is spent, 0 of 1 run finished, 0 of 4 fits, about 9 s left"
    with pytest.raises(OutOfTime, match=words):
        study.main(parse(study, [*flags, "--yes"]))
    assert "  budget 16s: halving, about 9 s for what is not finished, by measured speed" in capsys.readouterr().out
    study.main(parse(study, [*flags, "--plan"]))
    assert "estimated time  9 s" in (planned := capsys.readouterr().out) and "as decided before" in planned
    study.main(parse(study, [*flags, "--status"]))
    said = capsys.readouterr()
    assert "0 of 1 run finished" in said.out and "as decided before" in said.err
    assert study.again(parse(study, flags)).endswith("with a fresh budget") and not study.again(
        parse(study, [*flags, "--plan"]))


def test_a_spent_budget_ends_a_program_with_code_75():
    script = ("import time, types\nfrom tfbench.cli import app\nfrom tfbench.sweep import time_budget\n"
              "def main(options):\n    with time_budget.deadline(1, time.monotonic() - 1, lambda: 'half is done'):\n"
              "        time.sleep(60)\n"
              "app.start('x', '', {}, main, again=lambda options: app.FRESH_BUDGET)\n")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, text=True, capture_output=True, timeout=50)
    assert done.returncode == 75 and done.stderr.strip() == (
        "the budget of 1s is spent, half is done: the same command continues where it stopped, with a fresh budget")


# ---- the best of a ranking -------------------------------------------------------------------------


def regression(network, accuracy, content="c", **more):
    return {"regime": "logistic_regression", "network": network, "dataset": "folder:mine", "key": network,
            "validation_accuracy": accuracy, "accuracy": 1 - accuracy, "n_test": 10,
            "spec": {"l2": [1.0], "data": {"content": content}} | more}


def test_networks_are_ranked_on_validation_by_their_fullest_regressions_on_the_same_images():
    records = [regression("a", 0.5), regression("b", 0.9, content="other"), regression("c", 0.7),
               regression("d", 0.99, examples_per_class=1), regression("e", 0.4) | {"dataset": "pets"},
               regression("f", 0.4) | {"regime": "finetune"}]
    assert best.accuracies_of(records, "folder:mine", "c") == {"a": 0.5, "c": 0.7}


def test_of_equal_networks_the_cheaper_are_taken_and_the_others_named():
    rows = [("a", 0.9, 3.0), ("b", 0.8, 2.0), ("c", 0.9, 1.0), ("d", 0.8, 1.0), ("e", 0.8, 9.0), ("f", 0.1, 0.1)]
    assert best.split(rows, 3) == (("c", "a", "d"), ["b", "e"])
    assert best.split(rows, 5) == (("c", "a", "d", "b", "e"), [])
    assert best.split(rows, 9) == (("c", "a", "d", "b", "e", "f"), [])


def test_without_a_ranking_the_command_that_makes_it_is_named(photographs, tmp_path):
    options = types.SimpleNamespace(best=2, datasets=(photographs,), models=("mobilenet_v1",), split_seed=0,
                                    metric=None, data_dir=str(tmp_path), results_dir=str(tmp_path / "none"))
    with pytest.raises(UserError, match="rank them first, `python -m tfbench.study --flagfile=flags/choose.flags"):
        best.choose(options)
    options.datasets = (photographs, "digits")
    with pytest.raises(UserError, match="expected one data set"):
        best.choose(options)


def test_the_second_flagfile_continues_the_first():
    first, second = (parse(study, [f"--flagfile={ROOT}/flags/{name}.flags", "--datasets=digits"])
                     for name in ("choose", "choose_finetune"))
    for name in ("models", "source", "results_dir", "data_dir", "seed", "split_seed"):
        assert getattr(first, name) == getattr(second, name)
    assert second.best == 3 and second.budget == 7200 and second.search == "halving" and second.keep_model
