"""study --executor=commands: the printed lines make the records of a study in one process."""

import importlib
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
from helpers.outcomes import outcomes
from helpers.programs import parse

from tfbench import study
from tfbench.cli import flags
from tfbench.cli.progress import Silent
from tfbench.config import settings_of
from tfbench.regimes import RUNS
from tfbench.sweep import executors, jobs
from tfbench.sweep.executors import commands

ROOT = pathlib.Path(__file__).parents[2]
SMALL = ["--datasets=digits", "--image_size=32", "--batch_size=16", "--deterministic"]
GRID = "--steps=3 --learning_rate=0.01,0.05 --weight_decay=0"
WHOLE = [*SMALL, "--source=glyphs", "--pretrain=--steps=3 --learning_rate=0.05 --warmup_epochs=0",
         "--logistic_regression=--l2=1,100 --max_iterations=50", f"--finetune={GRID}", f"--train_from_scratch={GRID}"]
STUDIES = {"grid": [*WHOLE, "--models=mobilenet_v1,mobilenet_v2"],
           "halving": [*WHOLE, "--models=mobilenet_v1", "--search=halving"]}
STAGES = {"grid": [6, 6, 2], "halving": [4, 5, 3, 1]}  # lines: trials from scratch need no pretraining
CUSTOM = """
import keras

def net(image_size):
    images = keras.Input([image_size, image_size, 3])
    body = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(body))

net.image_size, net.value_range = 32, "inception"
"""


@pytest.fixture
def print_commands(capsys):
    """Runs study --executor=commands; returns (its lines by stage, what it says beside)."""
    def run(*arguments):
        capsys.readouterr()
        study.main(parse(study, [*arguments, "--executor=commands"]))
        output = capsys.readouterr()
        stages = [[]]
        for line in output.out.splitlines():
            if line == commands.WAIT:
                stages.append([])
            else:
                stages[-1].append(line)
        return stages, output.err

    return run


def run_locally(results, *arguments) -> dict:
    """What --executor=local comes to; without the analysis, which a study ends with."""
    options = parse(study, [*arguments, f"--results_dir={results}"])
    executors.run(options, jobs.plan_runs(options, 1e11))
    return outcomes(results)


def execute_here(line: str) -> None:
    """Runs a printed line in this process."""
    python, dash_m, module, *arguments = shlex.split(line)
    assert (python, dash_m) == ("python", "-m")
    program = importlib.import_module(module)
    program.main(parse(program, arguments))


def make_shell(folder: pathlib.Path, python: str = f'exec {shlex.quote(sys.executable)} "$@"'):
    """A function that has a POSIX shell run a line in another working directory, and returns what it prints there.

    Args:
      folder: for what that needs. python: script that stands for the command `python`.
    """
    for name in ("bin", "elsewhere"):
        (folder / name).mkdir()
    (folder / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
    (folder / "bin" / "python").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def execute(line: str) -> str:
        done = subprocess.run(["sh", "-c", line], cwd=folder / "elsewhere", env=environment, text=True,
                              capture_output=True, timeout=300)
        assert done.returncode == 0, line + done.stdout + done.stderr
        return done.stdout

    return execute


@pytest.fixture(scope="module", params=STUDIES)
def local(request, tmp_path_factory, data_dir):
    """(name of a study, its flags, what --executor=local comes to)."""
    results = tmp_path_factory.mktemp(request.param)
    arguments = [*STUDIES[request.param], f"--data_dir={data_dir}"]
    return request.param, arguments, run_locally(results, *arguments)


def check_lines(local, print_commands, results, execute) -> None:
    """Executes the lines of a study stage by stage, each from the last to the first, and compares what comes out."""
    name, arguments, records = local
    arguments = [*arguments, f"--results_dir={results}"]
    stages, told = print_commands(*arguments)
    assert [len(stage) for stage in stages] == STAGES[name] and not told
    for stage in stages:
        for line in reversed(stage):
            execute(line)
    assert records and outcomes(results) == records
    stages, told = print_commands(*arguments)
    assert stages == [[]] and told.count("finished before") == len(records)


def test_lines_make_the_records_of_one_process(local, print_commands, tmp_path):
    check_lines(local, print_commands, tmp_path, execute_here)


@pytest.mark.slow
def test_a_shell_makes_the_records_of_one_process(local, print_commands, tmp_path):
    check_lines(local, print_commands, tmp_path / "results", make_shell(tmp_path))


def test_what_is_done_meanwhile_is_not_printed_again(print_commands, data_dir, tmp_path):
    """Trials that are recorded have no line; what is finished is said on stderr, and its stage is gone."""
    arguments = [*SMALL, "--models=mobilenet_v1", "--source=imagenet", "--regimes=train_from_scratch",
                 f"--train_from_scratch={GRID}", f"--results_dir={tmp_path}", f"--data_dir={data_dir}"]
    (first, second), (refit,) = print_commands(*arguments)[0]
    execute_here(second)
    assert print_commands(*arguments) == ([[first], [refit]], "")
    execute_here(first)
    assert print_commands(*arguments) == ([[refit]], "")
    execute_here(refit)
    stages, told = print_commands(*arguments)
    assert stages == [[]] and "train_from_scratch mobilenet_v1 digits 3 steps: " in told and "finished before" in told
    for line in (first, second, refit):
        execute_here(line)  # finds what is there
    assert len(outcomes(tmp_path)) == 1


def test_lines_repeat_their_jobs_and_hold_nothing_but_what_differs_from_the_defaults(
        print_commands, data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [*STUDIES["grid"], "--search=halving", "--finetune=--steps_curve=3,9 --grid=2x1",
                 "--logistic_regression=--examples_per_class=1,2 --subset_seeds=5", "--results_dir=results",
                 f"--data_dir={os.path.relpath(data_dir)}"]
    stages, _ = print_commands(*arguments)
    made, _ = jobs.make(jobs.plan_runs(parse(study, arguments), 1e11), Silent())
    for stage, numbers in zip(stages, jobs.stages(made), strict=True):
        for line, number in zip(stage, numbers, strict=True):
            regime = shlex.split(line)[2].removeprefix("tfbench.")
            assert flags.parse_run(regime, shlex.split(line)[3:]) == made[number].call[0]
            config, defaults = made[number].call[0], settings_of(RUNS[regime])
            names = [flag.partition("=")[0].removeprefix("--") for flag in shlex.split(line)[3:]]
            assert all(getattr(config, name) != defaults[name].default for name in names if name in defaults)
            assert {name for name in names if name not in defaults} <= {"nobn_scale"}
            assert f"--results_dir={tmp_path}/results" in line and f"--data_dir={data_dir}" in line
            if config.kind.pretrained:
                assert config.weights.startswith(f"{tmp_path}/results/weights/pretrain-{config.model}-glyphs-")
    assert "--seed" not in "".join(sum(stages, [])) and "--search=grid" not in "".join(sum(stages, []))


def test_a_shell_takes_a_line_as_it_is_meant(print_commands, data_dir, tmp_path):
    results = tmp_path / "it's $HOME; \"two\" * & words"
    execute = make_shell(tmp_path, r"""printf '%s\n' "$@" """)
    stages, _ = print_commands(*STUDIES["grid"], f"--results_dir={results}", f"--data_dir={data_dir}")
    for line in (stages[0][0], stages[1][0]):
        words = execute(line).splitlines()
        assert f"--results_dir={results}" in words and words == shlex.split(line)[1:]


def test_a_shell_finds_the_module_of_a_custom_network(print_commands, data_dir, tmp_path, monkeypatch):
    """The records of one process, made by a shell elsewhere, in a folder whose name must be quoted."""
    modules = tmp_path / "my modules"
    modules.mkdir()
    (modules / "commands_nets.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(str(modules))
    execute = make_shell(tmp_path)
    arguments = [*SMALL, "--models=commands_nets:net", "--source=imagenet", "--regimes=train_from_scratch",
                 "--train_from_scratch=--steps=2 --learning_rate=0.01 --weight_decay=0", f"--data_dir={data_dir}"]
    records = run_locally(tmp_path / "local", *arguments)
    ((trial,), (refit,)), _ = print_commands(*arguments, f"--results_dir={tmp_path}/two words")
    assert "trial 1 of train_from_scratch commands_nets:net digits" in execute(trial)
    execute(refit)
    assert records and outcomes(tmp_path / "two words") == records
