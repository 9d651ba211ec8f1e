"""study --executor=commands: the printed lines make the records of a study in one process."""

import importlib
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
from helpers import processes
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
STUDIES = {"grid": [*WHOLE, "--models=commands_nets:narrow,commands_nets:wide"],
           "halving": [*WHOLE, "--models=commands_nets:narrow", "--search=halving"]}
STAGES = {"grid": [6, 8, 2], "halving": [3, 5, 3, 1]}  # lines: trials from scratch need no pretraining
# Networks that are traced in no time. All layers have names: Keras numbers others through a process, and the hash of
# a custom network's pretrained weights tells these numbers.
MODULE = """
import keras

def net(image_size, width):
    images = keras.Input([image_size, image_size, 3], name="pictures")
    body = keras.layers.Conv2D(width, 3, strides=2, use_bias=False, name="conv")(images)
    body = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(body))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="pool")(body), name="net")

def narrow(image_size):
    return net(image_size, 8)

def wide(image_size):
    return net(image_size, 16)

for function in (narrow, wide):
    function.image_size, function.value_range = 32, "inception"
"""


@pytest.fixture(scope="module", autouse=True)
def module_of_networks(tmp_path_factory):
    """MODULE, in a folder whose name a shell does not take for one word."""
    folder = tmp_path_factory.mktemp("modules") / "my networks"
    folder.mkdir()
    (folder / "commands_nets.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


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


def words_of(line: str) -> tuple[str, list[str]]:
    """The module that a printed line runs, and its flags."""
    words = shlex.split(line)
    if words[0].startswith("PYTHONPATH="):  # of a custom network
        words = words[1:]
    assert words[:2] == ["python", "-m"]
    return words[2], words[3:]


def execute_here(line: str) -> None:
    """Runs a printed line in this process."""
    module, arguments = words_of(line)
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
@pytest.mark.parametrize("local", ["halving"], indirect=True)  # a process a line: the larger grid takes minutes
def test_a_process_a_line_makes_the_records_of_one_process(local, print_commands, tmp_path):
    def execute(line: str) -> None:
        module, arguments = words_of(line)
        code, output = processes.run(module.removeprefix("tfbench."), *arguments, cwd=tmp_path)
        assert code == 0, line + output

    check_lines(local, print_commands, tmp_path / "results", execute)


def test_what_is_done_meanwhile_is_not_printed_again(print_commands, data_dir, tmp_path):
    """Trials that are recorded have no line; what is finished is said on stderr, and its stage is gone."""
    arguments = [*SMALL, "--models=commands_nets:narrow", "--source=imagenet", "--regimes=train_from_scratch",
                 f"--train_from_scratch={GRID}", f"--results_dir={tmp_path}", f"--data_dir={data_dir}"]
    (first, second), (refit,) = print_commands(*arguments)[0]
    execute_here(second)
    assert print_commands(*arguments) == ([[first], [refit]], "")
    execute_here(first)
    assert print_commands(*arguments) == ([[refit]], "")
    execute_here(refit)
    stages, told = print_commands(*arguments)
    assert stages == [[]]
    assert "train_from_scratch commands_nets:narrow digits 3 steps: " in told and "finished before" in told
    for line in (first, second, refit):
        execute_here(line)  # finds what is there
    assert len(outcomes(tmp_path)) == 1


def test_lines_repeat_their_jobs_and_hold_nothing_but_what_differs_from_the_defaults(
        print_commands, data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [*WHOLE, "--models=mobilenet_*", "--search=halving", "--finetune=--steps_curve=3,9 --grid=2x1",
                 "--logistic_regression=--examples_per_class=1,2 --subset_seeds=5", "--results_dir=results",
                 f"--data_dir={os.path.relpath(data_dir)}"]
    stages, _ = print_commands(*arguments)
    made, _ = jobs.make(jobs.plan_runs(parse(study, arguments), 1e11), Silent())
    for stage, numbers in zip(stages, jobs.stages(made), strict=True):
        for line, number in zip(stage, numbers, strict=True):
            config, (module, words) = made[number].call[0], words_of(line)
            regime = module.removeprefix("tfbench.")
            assert flags.parse_run(regime, words) == config and regime == config.regime
            defaults = settings_of(RUNS[regime])
            names = [word.partition("=")[0].removeprefix("--") for word in words]
            names = [name if name in defaults else name.removeprefix("no") for name in names]
            assert not [name for name in names if getattr(config, name) == defaults[name].default]
            assert f"--results_dir={tmp_path}/results" in words and f"--data_dir={data_dir}" in words
            if config.kind.pretrained:
                assert config.weights.startswith(f"{tmp_path}/results/weights/pretrain-{config.model}-glyphs-")


def test_a_shell_takes_a_line_as_it_is_meant(print_commands, data_dir, tmp_path):
    results = tmp_path / "it's $HOME; \"two\" * & words"
    execute = make_shell(tmp_path, r"""printf '%s\n' "$PYTHONPATH" "$@" """)
    for models in ("mobilenet_v1", "commands_nets:wide"):
        stages, _ = print_commands(*WHOLE, f"--models={models}", f"--results_dir={results}", f"--data_dir={data_dir}")
        for line in (stages[0][0], stages[1][0]):
            path, *words = execute(line).splitlines()
            assert f"--results_dir={results}" in words and words == ["-m", words_of(line)[0], *words_of(line)[1]]
            assert path.endswith(str(ROOT)) and ("my networks:" in path) == (models != "mobilenet_v1")


def test_a_shell_makes_the_record_of_one_process(print_commands, data_dir, tmp_path):
    """In a folder whose name must be quoted, and with the module of a custom network."""
    execute = make_shell(tmp_path)
    arguments = [*SMALL, "--models=commands_nets:narrow", "--source=imagenet", "--regimes=train_from_scratch",
                 "--train_from_scratch=--steps=2 --learning_rate=0.01 --weight_decay=0", f"--data_dir={data_dir}"]
    records = run_locally(tmp_path / "local", *arguments)
    ((trial,), (refit,)), _ = print_commands(*arguments, f"--results_dir={tmp_path}/two words")
    assert "trial 1 of train_from_scratch commands_nets:narrow digits" in execute(trial)
    execute(refit)
    assert records and outcomes(tmp_path / "two words") == records
