"""What the documents tell a reader to type can be typed, and what they say of flags, networks and data sets is true."""

import importlib
import json
import pathlib
import re
import shlex

import pytest
from helpers import reference_networks

from tfbench import __version__
from tfbench.cli import flags as cli
from tfbench.config import Setting, settings_of
from tfbench.data import catalog as data_catalog
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import RUNS

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = (*RUNS, "study", "prepare_data", "prepare_models", "benchmark", "predict", "export", "analysis", "tsne",
            "duplicates")
MANUAL, MEASUREMENTS, FIGURES = "docs/manual.md", "docs/measurements.md", "docs/paper.md"
TEXTS = {name: (ROOT / name).read_text() for name in (
    "README.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md", MANUAL, MEASUREMENTS, FIGURES)}
NOTEBOOKS = {path.name: json.loads(path.read_text())["cells"] for path in sorted(ROOT.glob("colab/*.ipynb"))}


def commands():
    """(where, program, arguments) of every `python -m tfbench.…` in the documents that has flags."""
    texts = {name: text for name, text in TEXTS.items() if name != "CHANGELOG.md"}
    texts |= {path.name: path.read_text() for path in ROOT.glob("flags/*.flags")}
    texts["published/README.md"] = (ROOT / "tfbench/stats/published/README.md").read_text()
    for path in sorted((ROOT / "tfbench").glob("*.py")):
        texts[path.name] = path.read_text().split('"""')[1].replace("\\\n", " ")
    for name, text in texts.items():
        for program, arguments in re.findall(r"python -m tfbench\.(\w+)((?: +--[^`\n|]*)?)", text):
            if arguments and "--help" not in arguments:
                yield name, program, arguments


def settings(program: str) -> dict[str, Setting]:
    """The flags of a program."""
    return settings_of(RUNS[program]) if program in RUNS else importlib.import_module(f"tfbench.{program}").SETTINGS


def all_settings() -> dict[str, list[tuple[str, Setting]]]:
    """Name of a flag → (program, setting) of each program that has it."""
    result: dict[str, list[tuple[str, Setting]]] = {}
    for program in PROGRAMS:
        for name, setting in settings(program).items():
            result.setdefault(name, []).append((program, setting))
    return result


# ---- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where, program, arguments", list(commands()))
def test_command_parses(where, program, arguments):
    cli.parse(settings(program), [
        argument.replace("flags/", f"{ROOT}/flags/") for argument in shlex.split(arguments)])


def test_commands_were_found():
    documents = [where for where, _, _ in commands()]
    assert set(documents) >= {"README.md", MANUAL, MEASUREMENTS, "published/README.md", "miniature.flags",
                              "finetune.py"}
    assert documents.count("README.md") >= 15 and documents.count(MANUAL) >= 20 and documents.count(FIGURES) >= 18


def test_the_two_set_up_commands_are_single_lines():
    lines = [line.strip() for line in TEXTS["README.md"].splitlines() if "-m venv" in line]
    assert len(lines) == 2 and lines[0].endswith("tfbench.study --flagfile=flags/miniature.flags --yes")
    assert lines[1].endswith("-m pytest")
    script = (ROOT / ".ci" / "run").read_text()
    assert "-r requirements-dev.txt" in script and "-m pytest" in script


@pytest.mark.parametrize("path", sorted(ROOT.glob("flags/*.flags")), ids=lambda path: path.name)
def test_a_flagfile_begins_with_what_it_is_for(path):
    first = re.sub(r"_\d\.flags$", "_1.flags", path.name)  # of a series, the manual names the first
    assert path.read_text().startswith("# ") and re.search(rf"`(flags/)?{first}`", TEXTS[MANUAL])


# ---- flags -----------------------------------------------------------------------------------------

# Of pip, pytest-xdist, Ray, Slurm, GNU parallel, SkyPilot and pre-commit.
OTHERS = {"--upgrade", "--head", "--address", "--min-nodes", "--ntasks-per-node", "--no-deps", "--dist", "--parsable",
          "--array", "--dependency", "--wrap", "--jobs", "--all-files", "--requeue", "--open-mode", "--signal",
          "--logdir"}


@pytest.mark.parametrize("where", TEXTS)
def test_every_flag_that_is_mentioned_exists(where):
    mentioned = set(re.findall(r"(?<![\w-])--[a-z]\w*(?:-\w+)*", TEXTS[where])) - OTHERS
    aliases = {f"--{setting.alias}" for found in all_settings().values() for _, setting in found if setting.alias}
    known = {f"--{name}" for name in all_settings()} | aliases | {"--help", "--flagfile", "--version"}
    known |= {f"--no{name}" for name, found in all_settings().items() if found[0][1].kind == "switch"}
    assert not mentioned - known
    assert len(mentioned) > 8 or where in ("BUILD.md", "CONTRIBUTING.md")


# What a number that a flag has by itself was taken from.
ORIGINS = r"\bv3\b|\bv1\b|the paper|our choice|0: every|1: |scikit-learn|unset"


@pytest.mark.parametrize("name, found", list(all_settings().items()),
                         ids=lambda value: value if isinstance(value, str) else "")
def test_help_says_meaning_unit_and_origin(name, found):
    for program, setting in found:
        assert len(setting.help.split()) >= 4, f"tfbench.{program} --{name}: {setting.help!r}"
        if isinstance(setting.default, int | float) and not isinstance(setting.default, bool):
            assert re.search(ORIGINS, setting.help), (
                f"tfbench.{program} --{name}={setting.default}: where from? {setting.help!r}")


# ---- tables ----------------------------------------------------------------------------------------


def rows_of(text: str, names) -> dict[str, list[str]]:
    """Cells of the table rows that begin with one of `names` in backticks."""
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {row[0].strip("`"): row[1:] for row in rows if row[0].strip("`") in names}


def test_the_table_of_networks_is_the_catalog():
    def percent(accuracy):
        return "–" if accuracy is None else f"{100 * accuracy:.1f}"

    table = rows_of(TEXTS["README.md"], NETWORKS)
    assert list(table) == [name for name in NETWORKS if NETWORKS[name].has_original]
    for name, (title, parameters, width, size, public, paper, error) in table.items():
        network = NETWORKS[name]
        assert (title, parameters, width, size, public, paper) == (
            network.title, f"{network.parameters:,}", f"{network.feature_width:,}", str(network.image_size),
            percent(network.public_top1), percent(network.retrained_top1))
        found, bound = re.fullmatch(r"(\S+) \((\S+)\)", error).groups()
        noise = reference_networks.description(name)["float32_noise_floor"]["features"]
        allowed = max(3e-5, 5 * noise)  # tests/models/test_parity.py
        assert 0 < float(found) <= float(bound) and bound == f"{allowed:.1e}"


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
    assert len(TEXTS["README.md"].splitlines()) < 300 and len(TEXTS["BUILD.md"].splitlines()) < 200
    for name, text in TEXTS.items():
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
        assert links or name in ("CHANGELOG.md", MEASUREMENTS)
        for path, _, anchor in (link.partition("#") for link in links):
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.exists(), path
            assert not anchor or anchor in map(anchor_of, titles(target.read_text())), anchor


def titles(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def anchor_of(title: str) -> str:
    """What GitHub makes of a title."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_the_manual_lists_its_sections():
    listed = re.findall(r"\]\(#([^)]+)\)", TEXTS[MANUAL].partition("\n## ")[0])
    assert sorted(listed) == sorted(map(anchor_of, titles(TEXTS[MANUAL])))


def texts_that_refer() -> dict[str, str]:
    """Documents, notebooks, flagfiles and code, in which a section of a document may be named."""
    paths = [path for pattern in ("tfbench/**/*.py", "flags/*.flags") for path in ROOT.glob(pattern)]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    texts |= {name: "".join(sum((cell["source"] for cell in cells), [])) for name, cells in NOTEBOOKS.items()}
    return {name: text for name, text in (TEXTS | texts).items() if re.search(r"\w\.md\b", text)}


@pytest.mark.parametrize("where", texts_that_refer())
def test_sections_that_are_named_exist(where):
    """They are named as DOCUMENT, "TITLE", …; lines and strings that are broken there are joined."""
    text = re.sub(r'"\s*\n\s*f?"|\s*\n[#\s]*', " ", texts_that_refer()[where]).replace('\\"', '"')
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(" +", " ", text))  # a link's text
    for document, named in re.findall(r'([\w/]+\.md)((?:, "[^"]+")+)', text):
        for title in re.findall(r'"([^"]+)"', named):
            assert title in titles((ROOT / document).read_text()), f"{document} has no section {title!r}"


def test_the_manual_names_every_program_and_regime():
    for program in PROGRAMS:
        assert f"tfbench.{program}" in TEXTS[MANUAL] or f"`{program}`" in TEXTS[MANUAL], program


def test_the_version_is_told_once():
    assert f"\n## {__version__}" in TEXTS["CHANGELOG.md"]
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version", "dependencies"]' in project and 'attr = "tfbench.version.__version__"' in project
    assert __version__ not in project and __version__ not in (ROOT / "CITATION.cff").read_text()


def test_the_address_of_the_repository_is_the_same_everywhere():
    address = re.search(r'Repository = "(\S+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert f'repository-code: "{address}"' in (ROOT / "CITATION.cff").read_text()


def test_ci_and_the_workflow_run_the_same():
    script, workflow = (ROOT / ".ci" / "run").read_text(), (ROOT / ".github/workflows/tests.yml").read_text()
    for command in ("python -m pytest -n 2 --dist worksteal", "-m slow", "ruff check .", "mypy"):
        assert command.removeprefix("python ") in script and command in workflow
    (versions,) = re.findall(r"python-version: \[(.*)\]", workflow)
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert re.findall(r"3\.\d+", versions) == classifiers


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
