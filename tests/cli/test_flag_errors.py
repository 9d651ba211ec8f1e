"""Errors of flags: one line each, with a form that is right; and lines without commands for the terminal."""

import pathlib
import re
import types

import pytest

from tfbench import benchmark, prepare_data, prepare_models, study
from tfbench.cli import app, flags
from tfbench.cli.progress import Display
from tfbench.config import settings_of
from tfbench.regimes import RUNS
from tfbench.wording import say

SETTINGS = settings_of(RUNS["finetune"])
GIVEN = ["--model=resnet_50", "--dataset=digits"]
PACKAGE = pathlib.Path(app.__file__).parents[1]


@pytest.mark.parametrize("argument, words", [
    ("--model=resnet50", "there is no network 'resnet50', did you mean 'resnet_50'?"), ("--model", "has no value"),
    ("--dataset=folder:/a\nb", "control characters"), ("--dataset=digit", "'digits'"), ("--steps=1e3", "whole number"),
    ("--steps=0", "expected at least 1"), ("--learning_rate=0,1", "above 0"), ("--learning_rate=nan", "finite"),
    ("--weight_decay=0.1;0.2", "numbers"), ("--grid=3", "RATESxDECAYS"), ("--trial=first", "refit"),
    ("--precision=half", "one of"), ("--deterministic=maybe", "expected true or false"), ("--steps", "has no value"),
    ("--results_dir=a\x1b[2Jb", "control characters"), ("--modle=x", "did you mean --model=resnet_50"),
    ("--search=all", "one of"), ("--min_crop_area=8", "at most 1"), ("--data_dir=gs://bucket", "of this machine"),
    ("--nodeterministic=3", "does not take an argument"), ("--flagfile=absent", "cannot read the flagfile absent"),
])
def test_an_error_of_a_flag_is_a_line_with_a_right_form(argument, words):
    with pytest.raises(flags.Error) as error:
        flags.parse(SETTINGS, [*GIVEN, argument])
    line = flags.explain(error.value, SETTINGS, "finetune")
    assert words in line and "FATAL" not in line and not line.startswith("flag ")
    right = re.search(r"(?:e\.g\. |did you mean )(--\w+(?:=\S+?)?)(?:$| or |\?)", line)
    if right:
        flags.parse(SETTINGS, [*GIVEN, right[1]])
    else:
        assert argument.startswith(("--nodeterministic", "--flagfile", "--data_dir"))


@pytest.mark.parametrize("settings", [
    *map(settings_of, RUNS.values()), study.SETTINGS, prepare_data.SETTINGS, prepare_models.SETTINGS,
    benchmark.SETTINGS])
def test_every_flag_has_an_example_that_it_takes(settings, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: types.SimpleNamespace(origin=name))  # --track's
    for name, known in settings.items():
        if name == "features":  # stands in for two others
            continue
        form = flags.example(name, known).split(" or ")[0]
        flags.parse({name: known}, [form])


def test_a_flagfile_that_is_no_text_is_named_as_that(tmp_path):
    (tmp_path / "file").write_bytes(b"--model=\xff")
    with pytest.raises(flags.Error) as error:
        flags.parse(SETTINGS, [f"--flagfile={tmp_path / 'file'}"])
    assert "UTF-8" in flags.explain(error.value.__cause__, SETTINGS)


def test_lines_hold_no_commands_for_the_terminal(capsys):
    hostile = "cat\x1b]0;owned\x07 \x9b2J \u202eevil \udcff\n[red]"
    say(hostile)
    say(hostile, error=True)
    with Display(1) as progress:
        progress.run(hostile, 1, 1)
        for tell in (progress.stage, progress.result, progress.line):
            tell(hostile)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert "cat?]0;owned? ?2J ?evil ??[red]" in text
        assert not [character for character in text if not (character.isprintable() or character == "\n")]


def test_only_say_and_the_progress_view_print():
    printing = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")
                if re.search(r"^\s*(?!>>>)[^#\"]*(?<![\w.])print\(", path.read_text(), re.M)}
    # Help and names of programs are text of ours; lines for a shell must not be changed, flags refuse what it obeys.
    assert printing - {"__main__.py", "api.py"} == {"wording.py", "cli/app.py", "sweep/executors/commands.py"}


def test_continuing_is_said_only_where_it_is_so():
    looks = flags.parse(study.SETTINGS, ["--models=resnet_50", "--datasets=digits", "--source=glyphs"])
    assert study.again(looks) == app.CONTINUES
    for name in ("status", "plan"):
        setattr(looks, name, True)
        assert study.again(looks) == ""
        setattr(looks, name, False)
