"""What the documents tell a reader to type can be typed."""

import importlib
import json
import pathlib
import re
import shlex

import pytest

from tfbench.cli import flags as cli

ROOT = pathlib.Path(__file__).parent.parent


def commands():
    """(where, program, arguments) of every `python -m tfbench.…` in the documents that has flags."""
    texts = {path.name: path.read_text()
             for path in [ROOT / "README.md", ROOT / "BUILD.md", *ROOT.glob("flags/*.flags")]}
    for path in ROOT.glob("colab/*.ipynb"):
        texts[path.name] = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
    for path in sorted((ROOT / "tfbench").glob("*.py")):
        texts[path.name] = path.read_text().split('"""')[1].replace("\\\\\n", " ")
    for name, text in texts.items():
        for program, arguments in re.findall(r"python -m tfbench\.(\w+)((?: +--[^`\n]*)?)", text):
            if arguments:
                yield name, program, arguments


@pytest.mark.parametrize("where, program, arguments", list(commands()))
def test_command_parses(where, program, arguments):
    module = importlib.import_module(f"tfbench.{program}")
    values = cli.parse(module.define_flags, [argument.replace("flags/", f"{ROOT}/flags/")
                                             for argument in shlex.split(arguments)])
    assert values.is_parsed()


def test_commands_were_found():
    assert {where for where, _, _ in commands()} >= {"README.md", "quickstart.ipynb", "miniature.flags", "finetune.py"}


def test_the_two_set_up_commands_are_single_lines():
    text = (ROOT / "README.md").read_text()
    lines = [line.strip() for line in text.splitlines() if "-m venv" in line]
    assert len(lines) == 2 and lines[0].endswith("tfbench.study --flagfile=flags/miniature.flags --yes")
    assert lines[1].endswith("-m pytest")
    script = (ROOT / ".ci" / "run").read_text()
    assert "-r requirements-dev.txt" in script and "-m pytest" in script
