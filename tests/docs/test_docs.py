"""What the documents tell a reader to type can be typed, and what they say of flags, networks and data sets is true."""

import importlib
import json
import pathlib
import re
import shlex

import pytest
from absl import flags
from helpers import reference_networks

from tfbench import __version__
from tfbench.cli import flags as cli
from tfbench.data import catalog as data_catalog
from tfbench.models.catalog import NETWORKS

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ("pretrain", "logistic_regression", "finetune", "train_from_scratch", "study", "prepare_data",
            "prepare_models", "benchmark", "analysis")
TEXTS = {name: (ROOT / name).read_text() for name in ("README.md", "BUILD.md", "CHANGELOG.md")}
NOTEBOOKS = {path.name: json.loads(path.read_text())["cells"] for path in sorted(ROOT.glob("colab/*.ipynb"))}


def commands():
    """(where, program, arguments) of every `python -m tfbench.…` in the documents that has flags."""
    texts = {name: TEXTS[name] for name in ("README.md", "BUILD.md")}
    texts |= {path.name: path.read_text() for path in ROOT.glob("flags/*.flags")}
    texts["published/README.md"] = (ROOT / "tfbench/stats/published/README.md").read_text()
    for path in sorted((ROOT / "tfbench").glob("*.py")):
        texts[path.name] = path.read_text().split('"""')[1].replace("\\\n", " ")
    for name, text in texts.items():
        for program, arguments in re.findall(r"python -m tfbench\.(\w+)((?: +--[^`\n|]*)?)", text):
            if arguments:
                yield name, program, arguments


def defined(program: str) -> flags.FlagValues:
    values = flags.FlagValues()
    importlib.import_module(f"tfbench.{program}").define_flags(values)
    return values


def all_flags() -> dict[str, list[tuple[str, flags.Flag]]]:
    """Name → (program, flag) of each program that has it."""
    found = {}
    for program in PROGRAMS:
        for of_module in defined(program).flags_by_module_dict().values():
            for flag in of_module:
                found.setdefault(flag.name, []).append((program, flag))
    return found


# ---- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where, program, arguments", list(commands()))
def test_command_parses(where, program, arguments):
    values = cli.parse(importlib.import_module(f"tfbench.{program}").define_flags, [
        argument.replace("flags/", f"{ROOT}/flags/") for argument in shlex.split(arguments)])
    assert values.is_parsed()


def test_commands_were_found():
    places = [where for where, _, _ in commands()]
    assert set(places) >= {"README.md", "BUILD.md", "published/README.md", "miniature.flags", "finetune.py"}
    assert places.count("README.md") >= 15 and places.count("BUILD.md") >= 20


def test_the_two_set_up_commands_are_single_lines():
    lines = [line.strip() for line in TEXTS["README.md"].splitlines() if "-m venv" in line]
    assert len(lines) == 2 and lines[0].endswith("tfbench.study --flagfile=flags/miniature.flags --yes")
    assert lines[1].endswith("-m pytest")
    script = (ROOT / ".ci" / "run").read_text()
    assert "-r requirements-dev.txt" in script and "-m pytest" in script


@pytest.mark.parametrize("path", sorted(ROOT.glob("flags/*.flags")), ids=lambda path: path.name)
def test_a_flagfile_begins_with_what_it_is_for(path):
    assert path.read_text().startswith("# ") and f"`{path.name}`" in TEXTS["BUILD.md"] or "ablation" in path.name


# ---- flags -----------------------------------------------------------------------------------------

OTHERS = {"--upgrade", "--head", "--address", "--min-nodes", "--ntasks-per-node", "--no-deps"}  # of pip, Ray and Slurm


@pytest.mark.parametrize("where", TEXTS)
def test_every_flag_that_is_mentioned_exists(where):
    mentioned = set(re.findall(r"(?<![\w-])--[a-z]\w*(?:-\w+)*", TEXTS[where])) - OTHERS
    known = {f"--{name}" for name in all_flags()} | {"--help", "--flagfile"}
    assert len(mentioned) > 8 and not mentioned - known


# What a number that a flag has by itself was taken from.
ORIGINS = r"\bv3\b|\bv1\b|the paper|our choice|0: every|1: |scikit-learn|unset"


@pytest.mark.parametrize("name, found", list(all_flags().items()),
                         ids=lambda part: part if isinstance(part, str) else "")
def test_help_says_meaning_unit_and_origin(name, found):
    for program, flag in found:
        text = re.sub(r"^<[^>]*>:\s*", "", flag.help or "")
        assert len(text.split()) >= 4, f"tfbench.{program} --{name}: {flag.help!r}"
        if flag.default is not None and not isinstance(flag.default, bool | str) and "comma" not in text:
            assert re.search(ORIGINS, text), f"tfbench.{program} --{name}={flag.default}: where from? {text!r}"


# ---- tables ----------------------------------------------------------------------------------------


def rows_of(text: str, names) -> dict[str, list[str]]:
    """Cells of the table rows that begin with one of `names` in backticks."""
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {row[0].strip("`"): row[1:] for row in rows if row[0].strip("`") in names}


def test_the_table_of_networks_is_the_catalog():
    def percent(accuracy):
        return "–" if accuracy is None else f"{100 * accuracy:.1f}"

    table = rows_of(TEXTS["README.md"], NETWORKS)
    assert list(table) == list(NETWORKS)
    for name, (title, parameters, width, size, public, paper, error) in table.items():
        row = NETWORKS[name]
        assert (title, parameters, width, size, public, paper) == (
            row.title, f"{row.parameters:,}", f"{row.feature_width:,}", str(row.image_size), percent(row.public_top1),
            percent(row.retrained_top1))
        found, bound = re.fullmatch(r"(\S+) \((\S+)\)", error).groups()
        noise = reference_networks.description(name)["float32_noise_floor"]["features"]
        assert 0 < float(found) <= float(bound) and bound == f"{max(3e-5, 5 * noise):.1e}"  # test_models_parity.py


METRICS = {"top1": "top-1", "mean_per_class": "mean per class", "voc_map": "11-point mAP"}


def test_the_tables_of_data_sets_are_the_catalog():
    for rows, ours in ((data_catalog.PAPER_DATASETS, 0), (data_catalog.EMBEDDED_DATASETS, 1)):
        table = rows_of(TEXTS["README.md"], [row.name for row in rows])
        assert list(table) == [row.name for row in rows]
        for row in rows:
            title, *cells = table[row.name]
            assert ours or title == row.title
            assert cells[:3] == [str(row.classes), f"{row.train:,} / {row.validation:,} / {row.test:,}",
                                 METRICS[row.metric]]


def test_readme_is_short_and_its_links_lead_somewhere():
    assert len(TEXTS["README.md"].splitlines()) < 300
    for name in ("README.md", "BUILD.md"):
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]) if "://" not in link]
        assert links and not [link for link in links if not (ROOT / link).exists()]
    for title in re.findall(r'BUILD\.md\), "([^"]+)"', TEXTS["README.md"]):
        assert f"\n## {title}\n" in TEXTS["BUILD.md"], title


def test_the_version_is_told_once():
    assert f"\n## {__version__}" in TEXTS["CHANGELOG.md"]
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version", "dependencies"]' in project and 'attr = "tfbench.__version__"' in project
    assert __version__ not in project


# ---- notebooks -------------------------------------------------------------------------------------


def test_there_are_three_notebooks():
    assert set(NOTEBOOKS) == {"quickstart.ipynb", "your_dataset.ipynb", "paper_analysis.ipynb"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_in_colab_and_in_a_clone_with_its_outputs(name):
    address = re.search(r'Repository = "https://github.com/(\S+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    cells = NOTEBOOKS[name]
    assert f"https://colab.research.google.com/github/{address}/blob/main/colab/{name}" in "".join(cells[0]["source"])
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    setup = "".join(code[0]["source"])
    assert f"git clone -q https://github.com/{address}\n" in setup
    assert all(setup in ["".join(cell["source"]) for cell in others] for others in NOTEBOOKS.values())
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))  # run once, from top to bottom
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert '"image/png"' in outputs or '"text/html"' in outputs
    assert "error:" not in outputs and "Traceback" not in outputs
    assert not re.search(r"/(root|home|tmp|work)/", outputs)  # nothing of the machine where it was run
