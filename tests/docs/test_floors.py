"""The layout of the code, read from its imports: floors, who sees absl, where the regimes' names stand, sizes."""

import ast
import collections
import pathlib

import pytest

from tfbench.regimes import RUNS

PACKAGE = pathlib.Path(__file__).parents[2] / "tfbench"
PROGRAMS = ("study", *RUNS, "predict", "export", "mistakes", "analysis", "tsne", "duplicates", "prepare_data",
            "prepare_models", "benchmark")

# From the ground up: a module imports from floors below its own, and from its own. CONTRIBUTING.md says what is where.
FLOORS = (("errors", "version", "wording"), ("paper",), ("regimes",), ("files",), ("images",), ("data",), ("models",),
          ("config",), ("inputs",), ("results",), ("stats",), ("training",), ("linear",), ("classify",), ("report",),
          ("cli",), ("sweep",), ("benchmarks",), (*PROGRAMS, "api", "__main__", "__init__"))
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: pathlib.Path) -> set[str]:
    """Modules that a file imports anywhere, by their dotted names; what only a type checker sees is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    checked = {id(node) for guard in guards for statement in guard.body for node in ast.walk(statement)}
    names = set()
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = room_of(path)
    for name in imports_of(path):
        if name.startswith("tfbench."):
            imported = name.split(".")[1]
            if imported in ("UserError", "Preempted", "OutOfTime", "__version__"):
                pytest.fail(f"{path} imports {name}: take it from tfbench.errors or tfbench.version")
            assert imported in HEIGHT, f"{path} imports {name}, which has no floor in this test"
            assert HEIGHT[imported] <= HEIGHT[room], f"{room} is below {imported}, which {path.name} imports"


def test_a_wrong_import_would_be_seen(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from tfbench.sweep import jobs\nimport tfbench.cli.app\n")
    assert {name.split(".")[1] for name in imports_of(path)} == {"sweep", "cli"}
    assert HEIGHT["sweep"] > HEIGHT["data"]


def test_only_cli_sees_absl():
    seen = {str(path.relative_to(PACKAGE)) for path in FILES
            for name in imports_of(path) if name.split(".")[0] == "absl"}
    assert {name.split("/")[0] for name in seen} == {"cli"}


def test_the_regimes_names_stand_in_one_table():
    """As literals they stand in regimes.py and in each regime's own program."""
    names = set(RUNS)
    for path in FILES:
        literals = {node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.Constant) and node.value in names}
        allowed = names if path.name == "regimes.py" else {path.stem} if path.parent == PACKAGE else set()
        assert literals <= allowed, f"{path.relative_to(PACKAGE)}: {literals}"


def test_no_room_holds_more_than_a_fifth():
    lines = collections.Counter()
    for path in FILES:
        lines[room_of(path) if path.parent != PACKAGE else "programs"] += len(path.read_text("utf-8").splitlines())
    room, most = lines.most_common(1)[0]
    assert most <= 0.2 * lines.total(), f"{room} has {most} of {lines.total()} lines"
