"""`pip install .`: what a wheel holds, and that it works without a clone; requirements and versions told once."""

import email
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

import tfbench

ROOT = pathlib.Path(__file__).parents[2]


def required(name: str) -> list[str]:
    """The requirements that requirements*.txt lists itself, without the files it includes."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return sorted(line for line in lines if line and not line.startswith("-r "))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", "tfbench"):
        subprocess.run(["cp", "-r", ROOT / name, folder / "source"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder,
                    folder / "source"], check=True, timeout=300)
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_all_of_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "tfbench").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in names if name.startswith("tfbench/")} == ours
    assert "tfbench/py.typed" in names  # type checkers take the annotations
    assert not any(name.endswith("entry_points.txt") for name in names)  # `python -m tfbench.PROGRAM` is all
    assert any(name.endswith("LICENSE") for name in names)


def test_a_wheel_knows_its_version_licence_and_requirements(wheel):
    archive = zipfile.ZipFile(wheel)
    text = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    metadata = email.message_from_string(text)
    assert metadata["Version"] == tfbench.__version__ and metadata["License-Expression"] == "Apache-2.0"
    by_extra: dict[str, list[str]] = {}
    for requirement in metadata.get_all("Requires-Dist"):
        plain, _, marker = requirement.partition(";")
        extra = re.search(r'extra == .(\w+)', marker)
        by_extra.setdefault(extra[1] if extra else "", []).append(re.sub(r"[\s()]", "", plain))
    assert set(metadata.get_all("Provides-Extra")) == {"gpu", "cluster", "track", "dev"} == set(by_extra) - {""}

    def normal(requirements: list[str]) -> list[tuple]:
        parts = (re.fullmatch(r"([\w.-]+(?:\[[\w-]+\])?)(.*)", requirement).groups() for requirement in requirements)
        return sorted((name.replace("_", "-"), *sorted(bounds.split(","))) for name, bounds in parts)

    assert normal(by_extra[""]) == normal(required("requirements.txt"))
    assert normal(by_extra["gpu"]) == normal(required("requirements-gpu.txt"))
    assert normal(by_extra["cluster"]) == normal(required("requirements-cluster.txt"))
    assert normal(by_extra["track"]) == normal(required("requirements-track.txt"))
    assert normal(by_extra["dev"]) == normal([*required("requirements-dev.txt"), "tfbench[cluster]"])
    assert "-r requirements-cluster.txt" in (ROOT / "requirements-dev.txt").read_text()


def test_the_tables_are_found_where_it_is_installed(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel],
                   check=True, timeout=300)
    (tmp_path / "empty").mkdir()
    code = ("import runpy, sys, tfbench; print(tfbench.__file__)\nfrom tfbench.data import verify, catalog\n"
            "sys.argv += ['--accuracies=../site/tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv', "
            "'--dataset=pets,dtd']\n"
            "runpy.run_module('tfbench.analysis', run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "empty", text=True, capture_output=True,
                          env={"PYTHONPATH": "../site", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "site/tfbench" in done.stdout.splitlines()[0] and "16 networks, 2 data sets." in done.stdout
    assert (tmp_path / "empty" / "report" / "index.html").exists()
