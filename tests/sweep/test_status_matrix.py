"""What --status shows at a glance, and again and again, on made-up states: nothing is read or trained."""

import dataclasses
import io
import os
import re
import sys

import pytest
from helpers.programs import parse

from tfbench import study
from tfbench.cli.progress import refresh
from tfbench.data.catalog import PAPER_DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.sweep import matrix, plan, status
from tfbench.sweep.status import STATES

COST = plan.Cost(fits=57, trained=100, evaluated=10, seconds=3600.0, kept=1)
NOBODY = {"at_work": None, "age": None, "report": None, "set_aside": {}}


def state(name, regime="finetune", network="resnet_50", dataset="pets", variant="", **more):
    known = status.state_of((regime, network, dataset, variant), COST, None, None)
    return dataclasses.replace(known, **{"state": name, "text": f"{known.title}: {name}", **more})


def test_a_mark_per_regime_and_the_pretraining_in_a_column_of_its_own():
    states = [state("finished", "pretrain", dataset="glyphs"), state("set aside", "pretrain", "vgg_16", "glyphs")]
    for dataset in ("pets", "dtd"):
        for name, regime in zip(("finished", "running", "not begun"), REGIMES, strict=True):
            states.append(state(name, regime, dataset=dataset))
            states.append(state("begun" if dataset == "dtd" else "set aside", regime, "vgg_16", dataset))
    assert matrix.lines(states) == [
        "marks: ! set aside, > running, b begun, . not begun, F finished",
        "in each cell of glyphs: pretrain",
        "in each other cell: logistic_regression, finetune, train_from_scratch",
        "          glyphs pets dtd",
        "resnet_50 F      F>.  F>.",
        "vgg_16    !      !!!  bbb"]


def test_a_cell_without_a_run_is_empty():
    states = [state("finished"), state("finished", network="vgg_16", dataset="dtd")]
    assert matrix.lines(states)[-2:] == ["resnet_50 F", "vgg_16         F"]


@pytest.mark.parametrize(("found", "expected"), [
    (("finished", "finished"), "F"), (("finished", "not begun"), "b"), (("not begun", "not begun"), "."),
    (("finished", "set aside", "running"), "!"), (("finished", "running", "begun"), ">"),
    (("not begun", "begun", "finished"), "b")])
def test_the_runs_of_a_curve_share_a_mark_that_hides_nothing_to_mind(found, expected):
    states = [state(name, variant=f"{steps} steps") for steps, name in enumerate(found)]
    assert matrix.lines(states)[-1].split() == ["resnet_50", expected]
    assert "of several runs the first of these, b where only some are finished" in matrix.lines(states)[0]


def test_every_state_has_a_mark_of_its_own():
    assert set(matrix.MARKS) == set(STATES) and len(set(matrix.MARKS.values())) == len(STATES)


def test_a_study_of_23_networks_on_the_papers_sets_fits_on_a_terminal():
    networks = sorted(NETWORKS, key=len)[-23:]
    states = [state("running", regime, network, dataset.name)
              for network in networks for dataset in PAPER_DATASETS for regime in REGIMES]
    lines = matrix.lines(states)
    assert max(map(len, lines)) <= 120
    assert [line.split() for line in lines[3:]] == [[network, *12 * [">>>"]] for network in networks]


def test_more_data_sets_than_fit_come_below_and_long_names_are_told_apart():
    datasets = [f"tfds:{'much_' * 10}{number}" for number in range(30)]
    lines = matrix.lines([state("finished", dataset=dataset) for dataset in datasets])
    assert max(map(len, lines)) <= 120 and sum(line.split()[0] == "resnet_50" for line in lines) > 1
    assert [name for line in lines for name in re.findall(r"…[\w:]+", line)] == [
        f"…{dataset[-31:]}" for dataset in datasets]
    alike = [f"folder:/{disk}/{'deep/' * 10}" for disk in "ab"]
    assert [name for line in matrix.lines([state("begun", dataset=dataset) for dataset in alike])
            for name in alike if name in line] == alike


# ---- the lines around it -------------------------------------------------------------------------


def test_the_summary_is_first_and_what_failed_follows_the_matrix():
    states = [state("finished", seconds=1800.0), state("begun", dataset="dtd"), state("not begun", dataset="cars"),
              state("set aside", dataset="sun397", text="finetune resnet_50 sun397: set aside: out of memory")]
    lines = status.lines(states, [], NOBODY)
    assert lines[0] == ("1 of 4 runs finished, 1 begun, 1 set aside, 1 not begun, 0 of 228 fits; 30 min 0 s of device "
                        "time spent, about 1 h 30 min left")
    assert lines[1].startswith("marks: ") and lines[4] == "resnet_50 F    b   .    !"
    assert [line.split()[0] for line in lines[5:]] == ["[4/4]", "[2/4]", "[1/4]", "[3/4]"]
    assert lines[5].endswith("set aside: out of memory")


def test_of_a_large_study_only_what_is_to_mind_has_a_line():
    states = [state("finished", variant=f"{number} steps", warnings=("edge",)) for number in range(200)]
    lines = status.lines([*states, state("set aside", dataset="dtd")], ["kept"] * 101, NOBODY)
    assert [line for line in lines if line.startswith("[")] == ["[201/201] finetune resnet_50 dtd: set aside"]
    assert "200 runs finished or not begun without a line here; --json lists each" in lines
    assert ("warning: edge: finetune resnet_50 pets 0 steps, finetune resnet_50 pets 1 steps, finetune resnet_50 pets "
            "2 steps and 197 other runs") in lines
    assert "features of 101 networks on data sets are kept; --json lists them" in lines and len(lines) < 10


# ---- again and again -----------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_cleared_and_not_overrun_elsewhere_lines_follow_each_other(monkeypatch, capsys):
    lines = ["summary", "x" * 200, *map(str, range(30))]
    refresh(lines)
    assert capsys.readouterr().out.splitlines() == lines
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 10)))
    refresh(lines)
    told = terminal.getvalue()
    assert told.startswith("\x1b") and told.count("\x1b[2J") == 1
    shown = told.splitlines()
    assert shown[0].endswith("summary") and shown[-1] == "26 more lines without room here: --status shows them"
    assert sum(-(-len(line) // 80) for line in shown[1:]) + 1 == 9  # the cursor is in the tenth row


def test_watch_ends_when_all_is_finished(monkeypatch, capsys):
    rounds = [["not begun", "running"], ["running", "finished"], ["finished", "finished"]]
    slept = []
    monkeypatch.setattr(study.time, "sleep", slept.append)
    monkeypatch.setattr(status, "states", lambda *_: [
        state(name, dataset=dataset) for name, dataset in zip(rounds[len(slept)], ("pets", "dtd"), strict=True)])
    arguments = ["--models=resnet_50", "--datasets=pets,dtd", "--source=imagenet", "--results_dir=/absent/results"]
    study.show_status(parse(study, [*arguments, "--watch=7"]), [])
    said = capsys.readouterr().out
    assert slept == [7, 7]
    assert re.findall(r"\d of 2 runs finished|, again every 7 s", said) == [
        words for number in range(3) for words in (", again every 7 s", f"{number} of 2 runs finished")]
    study.show_status(parse(study, [*arguments, "--status"]), [])
    assert "again every" not in capsys.readouterr().out
