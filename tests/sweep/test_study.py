"""A whole study, small: plan, pretraining, three regimes, report; again; and what the plan says."""

import dataclasses
import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import types

import pytest
from helpers import processes
from helpers.outcomes import outcomes
from helpers.programs import parse, plan_runs

from tfbench import UserError, prepare_models, pretrain, study
from tfbench.files import atomic, downloads
from tfbench.models import weights
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import RUNS
from tfbench.results import store
from tfbench.sweep import jobs, plan, status
from tfbench.sweep.executors import local

ROOT = pathlib.Path(__file__).parents[2]
MATRIX = ["--models=mobilenet_v1,mobilenet_v2", "--datasets=digits", "--source=glyphs", "--image_size=32",
          "--batch_size=32"]
SHORT = ["--pretrain=--steps=15 --learning_rate=0.05 --warmup_epochs=0",
         "--logistic_regression=--l2=1,100 --max_iterations=50",
         "--finetune=--steps=3 --learning_rate=0.01 --weight_decay=0",
         "--train_from_scratch=--steps=3 --learning_rate=0.01 --weight_decay=0"]


def planned(*arguments):
    return plan_runs(study, [*MATRIX, *arguments])


def test_plan_counts_runs_and_images():
    runs = planned(*SHORT)
    assert [run.config.regime for run in runs] == 2 * list(RUNS)
    by_regime = {run.config.regime: run.cost for run in runs}
    assert by_regime["pretrain"].trained == 15 * 32
    assert by_regime["finetune"].trained == 2 * 3 * 32  # one point and the refit
    assert by_regime["finetune"].evaluated == 2 * 200 + 1197  # validation at two crops
    assert by_regime["logistic_regression"].evaluated == 1797
    text = plan.describe(parse(study, MATRIX), runs)
    assert "2 networks × 1 data set × 3 regimes: 6 runs, after 2 pretrainings on glyphs" in text
    assert "1,728 trained on, 13,982 evaluated" in text


def test_single_networks_have_settings_of_pretraining_of_their_own():
    own = "--pretrain_own=mobilenet_v2 --steps=7 --weight_decay=0; mini_vgg --steps=3"  # of no network of this study
    first, second = (run.config for run in planned(*SHORT, own) if run.config.regime == "pretrain")
    assert (first.model, first.steps, first.learning_rate, first.weight_decay) == ("mobilenet_v1", 15, 0.05, 8e-5)
    assert (second.model, second.steps, second.learning_rate, second.weight_decay) == ("mobilenet_v2", 7, 0.05, 0)
    rest = [[run.config for run in planned(*SHORT, *more) if run.config.regime != "pretrain"] for more in ([], [own])]
    assert rest[0] == rest[1]


def test_curves_are_planned_as_runs():
    runs = planned("--regimes=finetune", "--finetune=--steps_curve=2,5 --grid=2x3")
    assert [run.cost.trained for run in runs[1:3]] == [7 * 2 * 32, 7 * 5 * 32]
    runs = planned("--regimes=logistic_regression", "--logistic_regression=--examples_per_class=1,2")
    assert [run.config.subset_seeds for run in runs[1:7]] == 2 * [(0,), (1,), (2,)]


def test_papers_grid_is_the_default():
    run = planned("--regimes=finetune")[1]
    assert run.cost.trained == (56 + 1) * 19531 * 32


def test_cost_grows_with_the_network_and_the_machine_is_measured():
    small, large = (plan.cost(parse(pretrain, [
        f"--model={name}", "--dataset=glyphs", "--image_size=224"]), 1e11).seconds
        for name in ("mobilenet_v1", "resnet_152"))
    assert large > 5 * small
    assert 1e9 < plan.matrix_rate() < 1e14


@pytest.mark.parametrize("arguments, expected", [
    (["--finetune=--steps=0"], "tfbench.finetune refuses --finetune='--steps=0'"),
    (["--finetune=--weights"], "tfbench.finetune refuses"),
    (["--pretrain_own=mobilenet_v1 --steps=0"], "tfbench.pretrain refuses --pretrain='--steps=0'"),
    (["--pretrain_own=mobilenet_v9 --steps=2"], "there is no network 'mobilenet_v9'"),
    (["--pretrain_own=mobilenet_v1: --steps=2"], "there is no module mobilenet_v1"),
    (["--pretrain_own=mobilenet_v1 --steps=2; mobilenet_v1 --steps=3"], "each network once, found 'mobilenet_v1 --st"),
    (["--pretrain_own=--steps=2"], "found '--steps=2': write the network's name, a space and flags"),
    (["--models=inception_v4"], "inception_v4 needs images of at least 75 pixels"),
    (["--image_size=16"], "at least 32 pixels"),
    ([f"--pretrain=--flagfile={ROOT}/flags/ablation_1.flags"], "the definition of mobilenet_v1 has no auxiliary head: "
     "leave out --auxiliary_head, or take a network that has, e.g. inception_v3")])
def test_impossible_studies_are_refused_before_anything_runs(arguments, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        planned(*arguments)


SETTING_1 = f"--pretrain=--flagfile={ROOT}/flags/ablation_1.flags --steps=200"


@pytest.mark.parametrize("pretraining", [[], [f"{SETTING_1} --noauxiliary_head"]])
def test_the_miniature_plans_also_with_the_papers_settings_of_pretraining(pretraining):
    options = parse(study, [f"--flagfile={ROOT}/flags/miniature.flags", *pretraining])
    assert plan.describe(options, jobs.plan_runs(options, 1e11)).startswith("study of 8 networks × 3 data sets")


# (network, bn_scale, label_smoothing, dropout, auxiliary_head) of the settings of the paper's figures 3 and 5.
SETTINGS = {1: (False, 0.1, True, True), 2: (True, 0.1, True, True), 3: (True, 0, True, True),
            4: (True, 0, False, True), 5: (True, 0, False, False)}
NO_HEAD = {"inception_v1", "bn_inception"}


@pytest.mark.parametrize("name", [*(f"figure_5_{n}" for n in SETTINGS), *(f"appendix_c2_{n}" for n in (1, 2, 3, 4))])
def test_the_two_experiments_of_the_ablation_are_flagfiles(name, monkeypatch):
    """Figure 5 fine-tunes with the setting of the pretraining, appendix C.2 without it."""
    monkeypatch.chdir(ROOT)
    runs = plan_runs(study, [f"--flagfile=flags/{name}.flags"])
    number = int(name[-1])
    models = {"inception_v3", "inception_v4", "inception_resnet_v2"} | (NO_HEAD if number < 5 else set())
    assert {run.config.model for run in runs} == models
    plain, alike = (False, 0, False, False), name.startswith("figure")
    for run in runs:
        config = run.config
        assert config.results_dir == f"results/{name}"
        if config.regime == "logistic_regression":
            continue
        expected = SETTINGS[number] if alike or config.regime == "pretrain" else plain
        found = tuple(getattr(config, switch) for switch in ("bn_scale", "label_smoothing", "dropout",
                                                             "auxiliary_head"))
        assert found[1:] == (*expected[1:3], expected[3] and config.model not in NO_HEAD)
        assert found[0] == (expected[0] if alike or config.regime == "pretrain" else None)  # None: as the weights
    lines = jobs.notes(runs)
    assert lines == ([] if number == 5 else ["--auxiliary_head is left out for inception_v1, bn_inception: their "
                                             "definitions have no auxiliary head"])


def test_study_from_plan_to_report_and_again(tmp_path, data_dir):
    command = ["study", *MATRIX[1:], "--models=mini_vgg,mini_mobilenet_v2", *SHORT, f"--data_dir={data_dir}",
               f"--results_dir={tmp_path}", "--yes"]
    code, output = processes.run(*command)
    assert code == 0, output
    lines = output.splitlines()
    assert lines[0].startswith("study of 2 networks") and lines[-1] == f"report: {tmp_path}/report/index.html"
    assert sum(line.startswith("[") for line in lines) == 8
    rows = store.read_records(tmp_path)
    assert len(rows) == 8
    sources = {row["network"]: row["accuracy"] for row in rows if row["regime"] == "pretrain"}
    assert all(row["source"]["accuracy"] == sources[row["network"]] for row in rows if row["source"])
    page = (tmp_path / "report" / "index.html").read_text()
    assert "mini MobileNet v2" in page and "embedded data set instead of one of the paper" in page

    assert "certified to be solved" in page

    code, there = processes.run(*command[:-1], "--status")
    assert code == 0 and "8 of 8 runs finished" in there
    assert there.count("features mini_") == 2 and "test 1,197 of 1,197" in there
    path = next(tmp_path.glob("rows/finetune-mini_mobilenet_v2-*.json"))
    path.rename(tmp_path / "aside.json")
    _, there = processes.run(*command[:-1], "--status")
    assert "7 of 8 runs finished" in there and "finetune mini_mobilenet_v2 digits: begun" in there
    (tmp_path / "aside.json").rename(path)

    code, again = processes.run(*command)
    assert code == 0 and again.count("finished before") == 8


ALL = {"digits", "glyphs", "diacritics"}


@pytest.mark.parametrize(("more", "processes", "chains"), [
    ([], 2, [("mobilenet_v1", ALL), ("mobilenet_v2", ALL)]),
    (["--models=mobilenet_v1"], 2, [("mobilenet_v1", ALL)]),
    (["--models=mobilenet_v1", "--source=imagenet"], 2, [
        ("mobilenet_v1", {"digits"}), ("mobilenet_v1", {"diacritics"})]),
    (["--models=mobilenet_v1", "--source=imagenet"], 1, [("mobilenet_v1", ALL - {"glyphs"})])])
def test_processes_take_networks_or_where_these_are_fewer_their_data_sets(more, processes, chains):
    runs = planned("--datasets=digits,diacritics", *more)
    found = local.chains_of(runs, processes)
    assert [(chain[0].config.model, {run.config.dataset for run in chain}) for chain in found] == chains
    assert sorted(run.title for chain in found for run in chain) == sorted(run.title for run in runs)
    assert all({run.config.model for run in chain} == {chain[0].config.model} for chain in found)


@pytest.mark.slow
def test_networks_side_by_side_come_to_the_same_records_also_after_an_interruption(tmp_path, data_dir):
    flags = [*MATRIX[1:], *SHORT, "--models=mini_vgg,mini_resnet", "--yes", "--regimes=finetune",
             f"--data_dir={data_dir}"]
    alone, output = processes.run("study", *flags, f"--results_dir={tmp_path}/one")
    assert alone == 0, output
    side_by_side = [sys.executable, "-m", "tfbench.study", *flags, f"--results_dir={tmp_path}/two", "--processes=2"]
    first = subprocess.Popen(side_by_side, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert "[1/4] pretrain mini_" in next(line for line in first.stdout if line.startswith("["))
    first.send_signal(signal.SIGTERM)
    rest, errors = first.communicate(timeout=120)
    assert first.returncode == 75 and "Traceback" not in errors and "[4/4]" not in rest
    again = subprocess.run(side_by_side, cwd=ROOT, text=True, capture_output=True, timeout=600)
    assert again.returncode == 0 and "finished before" in again.stdout and not again.stderr
    assert [line for line in again.stdout.splitlines() if line.startswith("[4/4] finetune mini_")]
    assert len(outcomes(tmp_path / "one")) == 4 and outcomes(tmp_path / "one") == outcomes(tmp_path / "two")


# ---- a run that fails -----------------------------------------------------------------------------


# A network's runs, of which one is being trained.
AT_WORK = """
import multiprocessing, time
from tfbench.sweep.executors import local

class Runs:
    def __iter__(self):
        print("begun", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    todo.put(Runs())
    context.Process(target=local._work, args=(todo, results), daemon=True).start()
    time.sleep(600)
"""


def test_a_killed_study_leaves_no_process_at_work(tmp_path):
    (tmp_path / "at_work.py").write_text(AT_WORK)
    with subprocess.Popen([sys.executable, tmp_path / "at_work.py"], stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}) as study_:
        assert study_.stdout.readline() == "begun\n"
        study_.kill()
        study_.communicate(timeout=120)  # to the end of what both print


def test_reasons_that_cannot_be_written_are_said_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    def full(path, value):
        raise atomic.cannot_write(path, OSError(errno.ENOSPC, "No space left on device"), "free some space")

    monkeypatch.setattr(atomic, "write_json", full)
    monkeypatch.setattr(local, "one_after_another", lambda runs, progress: (
        local.Result(run.title, "no data", set_aside=True) for run in runs))
    runs = plan_runs(study, MATRIX)
    for task in ([], ["--task=1/1"]):
        assert local.run(parse(study, [*MATRIX, f"--results_dir={tmp_path}", *task]), runs) == 1
        assert capsys.readouterr().err.count(": no data") == len(runs) > 1


def test_what_needs_a_failed_pretraining_is_set_aside_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    runs = plan_runs(study, [*MATRIX, *SHORT, f"--results_dir={tmp_path}"])
    done = []

    def execute(config, progress):
        if config.model == "mobilenet_v1" and config.regime == "pretrain":
            raise UserError("the loss is not finite")
        done.append((config.model, config.regime))
        return types.SimpleNamespace(seconds=1.0, spec={"regime": config.regime, "network": config.model,
                                                        "dataset": config.dataset}), True

    monkeypatch.setattr(local, "execute", execute)
    monkeypatch.setattr(local, "summary", lambda record: "done")
    assert local.run(parse(study, [*MATRIX, f"--results_dir={tmp_path}"]), runs) == 1
    assert done == [("mobilenet_v1", "train_from_scratch"), *(("mobilenet_v2", regime) for regime in RUNS)]
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["set aside: pretrain mobilenet_v1 glyphs: the loss is not finite",
                        "set aside: logistic_regression mobilenet_v1 digits: it needs pretrain mobilenet_v1 glyphs"]
    assert said[-1] == ("3 runs of 8 set aside, everything else is finished; the same command tries again")
    study.show_status(parse(study, [*MATRIX, f"--results_dir={tmp_path}", "--status"]), runs)
    said = capsys.readouterr().out
    assert "pretrain mobilenet_v1 glyphs: set aside: the loss is not finite" in said
    assert "logistic_regression mobilenet_v1 digits: set aside: it needs pretrain mobilenet_v1 glyphs" in said
    assert "0 of 8 runs finished, 0 begun, 3 set aside, 5 not begun" in said
    monkeypatch.setattr(local, "execute", lambda config, progress: (types.SimpleNamespace(seconds=1.0, spec={}), True))
    monkeypatch.setattr(local.jobs, "keep_weights", lambda *_: None)
    local.run(parse(study, [*MATRIX, f"--results_dir={tmp_path}"]), runs)  # the same command, and nothing is refused
    assert status.read_work(tmp_path)["set_aside"] == {}
    (tmp_path / "set_aside.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match="set_aside.json is damaged.*move it away"):
        status.read_work(tmp_path)


def test_a_network_without_weights_is_said_beside_the_ranking(tmp_path, data_dir, capsys, monkeypatch):
    """Also where --prepare asks a host that is dead for them."""
    monkeypatch.setattr(prepare_models, "public_weights", lambda *_: dataclasses.replace(
        NETWORKS["mobilenet_v2"].weights[0], url="http://127.0.0.1:9/x.tgz"))
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)
    metadata = {"network": "mobilenet_v1", "dataset": "imagenet", "accuracy": 0.7, "n_test": 50_000,
                "value_range": "inception", "source": "slim", "image_size": 32}
    weights.save(build_network("mobilenet_v1", image_size=32), weights.imagenet_path(tmp_path / "w", "mobilenet_v1"),
                 metadata)
    arguments = ["--models=mobilenet_v1,mobilenet_v2", "--datasets=digits", "--source=imagenet", "--image_size=32",
                 "--regimes=logistic_regression", f"--logistic_regression=--l2=10 --weights_dir={tmp_path}/w",
                 f"--data_dir={data_dir}", f"--results_dir={tmp_path}/r", "--yes", "--prepare"]
    assert study.main(parse(study, arguments)) == 1
    output = capsys.readouterr()
    ranking = output.out[output.out.index("logistic regression, test accuracy in %:"):].splitlines()
    assert ranking[1].split()[-3:] == ["MB", "ms/image", "frontier"]
    assert ranking[2].split()[:3] == ["MobileNet", "v1", "1"] and float(ranking[2].split()[-2]) > 0
    assert "set aside: logistic_regression mobilenet_v2 digits: " in output.err
    assert "  to fetch        weights of 1 network, about" in output.out  # of two, one is there
    assert "missing: mobilenet_v2: cannot fetch http://127.0.0.1:9/x.tgz (" in output.err
    assert "not all of the study is in this analysis" in output.err
