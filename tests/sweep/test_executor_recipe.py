"""CONTRIBUTING.md's recipe: an executor is added by a file with a function and one row of EXECUTORS."""

import subprocess
import sys

import pytest
from helpers.programs import FlagsError, parse

from tfbench import study
from tfbench.cli import help as help_text
from tfbench.sweep import executors

FILE = '''"""--executor=list: lists the runs of a study."""


def run(options, runs):
    print(f"{options.results_dir}:", *(run.title for run in runs), sep="\\n")
    return 3
'''
FLAGS = ["--models=mobilenet_v1", "--datasets=digits", "--source=glyphs", "--regimes=finetune", "--yes"]


@pytest.fixture
def listing(tmp_path, monkeypatch):
    """A new executor."""
    (tmp_path / "executor_that_lists.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(executors.EXECUTORS, "list", "executor_that_lists:run")


def test_an_executor_is_a_file_and_a_row(listing, capsys, data_dir, tmp_path):
    options = parse(study, [*FLAGS, "--executor=list", f"--results_dir={tmp_path}/results", f"--data_dir={data_dir}"])
    assert study.main(options) == 3  # its exit code: no analysis follows
    assert capsys.readouterr().out.endswith(
        f"{tmp_path}/results:\npretrain mobilenet_v1 glyphs\nfinetune mobilenet_v1 digits\n")
    assert "One of local, ray, commands, list" in " ".join(help_text.text("study", "", study.SETTINGS).split())
    with pytest.raises(FlagsError, match="expected one of local, ray, commands, list, found 'lost'"):
        parse(study, [*FLAGS, "--executor=lost"])


def test_executors_are_imported_only_when_they_run():
    script = "import sys, tfbench.study; print([name for name in sys.modules if name.startswith('tfbench.sweep.exec')])"
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert done.stdout == "['tfbench.sweep.executors']\n", done.stderr
