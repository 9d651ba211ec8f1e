"""What a person watches, in a terminal and elsewhere."""

import re

import pytest

from tfbench import wording
from tfbench.cli import progress

RATES, DECAYS = (1e-4, 1e-3), (0.0, 1e-6)


def trial(rate, decay, accuracy, diverged=False):
    return {"learning_rate": rate, "weight_decay": decay, "validation_accuracy": accuracy, "diverged": diverged}


def watch(capsys, *, stages=True):
    """A grid with one good trial, a diverged one and one that is running."""
    with progress.Display(100, stages=stages) as display:
        display.run("inception_v4 birdsnap", 100, 100)
        done = [trial(1e-4, 0.0, 0.715)]
        display.stage("trial 1/4: learning rate 0.0001, weight decay 0")
        display.result("validation 71.5 % on the whole image, 320 s")
        display.grid(done, RATES, DECAYS, 4)
        display.stage("trial 2/4: learning rate 0.0001, weight decay 1e-06")
        display.training(1200, 19531, 0.5312, 812.3, 0.031, 7384)
        display.images(30)
        display.grid([*done, trial(1e-4, 1e-6, 0.0, diverged=True)], RATES, DECAYS, 4)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)


def test_in_a_terminal_grid_trial_and_bar_are_live(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    seen = watch(capsys)
    assert "trial 1/4: learning rate 0.0001, weight decay 0: validation 71.5 % on the whole image, 320 s" in seen
    assert ("trial 2/4: learning rate 0.0001, weight decay 1e-06 step 1,200/19,531 loss 0.531 812 images/s "
            "input wait 3 % 2 h 3 min left") in " ".join(seen.split())
    assert re.search(r"0\.0001 │ 71\.5 \* │ diverged", seen) and re.search(r"0\.001 │ +· │ +·", seen)
    assert "inception_v4 birdsnap" in seen and "30 %" in seen


def test_elsewhere_there_are_lines_and_one_a_minute(capsys, monkeypatch):
    lines = watch(capsys).splitlines()
    assert lines == ["trial 1/4: learning rate 0.0001, weight decay 0",
                     "  validation 71.5 % on the whole image, 320 s",
                     "trial 2/4: learning rate 0.0001, weight decay 1e-06"]
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    assert "  step 1,200/19,531  loss 0.531" in watch(capsys)
    assert watch(capsys, stages=False) == ""  # a study tells its runs only


@pytest.mark.parametrize("seconds, words", [(0, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"),
                                            (3600 * 5 + 185, "5 h 3 min"), (86400 * 2 + 3600 * 4, "2 d 4 h")])
def test_durations_are_said_as_people_do(seconds, words):
    assert wording.duration(seconds) == words
