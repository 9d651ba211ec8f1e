"""`pip install .`: what a wheel holds, and that it works without a clone."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

import tfbench

ROOT = pathlib.Path(__file__).parents[2]


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
    assert not any(name.endswith("entry_points.txt") for name in names)  # `python -m tfbench.PROGRAM` is all
    assert any(name.endswith("LICENSE") for name in names)


def test_a_wheel_knows_its_version_and_requirements(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    assert f"\nVersion: {tfbench.__version__}\n" in metadata
    required = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert metadata.count("\nRequires-Dist: ") == len([line for line in required if line])


def test_the_tables_are_found_where_it_is_installed(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel],
                   check=True, timeout=300)
    (tmp_path / "empty").mkdir()
    code = ("from tfbench.stats import published; import tfbench; print(tfbench.__file__)\n"
            "from tfbench.data import verify, catalog\nfrom tfbench import analysis\n"
            "analysis.analyse(accuracies='../site/tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv')")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "empty", text=True, capture_output=True,
                          env={"PYTHONPATH": "../site", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "site/tfbench" in done.stdout.splitlines()[0] and ".986" in done.stdout
    assert (tmp_path / "empty" / "report" / "index.html").exists()
