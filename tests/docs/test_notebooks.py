"""The three notebooks are run from top to bottom, with little work, in a kernel of their own."""

import io
import re
import zipfile

import nbclient
import nbformat
import numpy as np
import pytest
from helpers import stand_in_weights
from helpers.readers import ROOT, SHORT_STUDY, make_clone
from PIL import Image


def run(clone, name: str, until: str = "", **parameters) -> list:
    """Runs a notebook of the clone; returns its code cells with their outputs.

    Args:
      until: text of the last cell that is run; "": all are.
      parameters: other values for the fields, lines `NAME = VALUE`, each where it comes first.
    """
    notebook = nbformat.read(clone / "colab" / f"{name}.ipynb", as_version=4)
    if until:
        last = next(number for number, cell in enumerate(notebook.cells) if until in cell.source)
        notebook.cells = notebook.cells[:last + 1]
    for parameter, value in parameters.items():
        line = re.compile(rf"^{parameter} = .*$", re.MULTILINE)
        cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and line.search(cell.source))
        assert "parameters" in cell.metadata.get("tags", ()) or "# @param" in line.search(cell.source).group()
        field = f"{parameter} = {value!r}"
        cell.source = line.sub(lambda match, field=field: field, cell.source, count=1)
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3",
                                     resources={"metadata": {"path": str(clone / "colab")}})
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cells) -> str:
    return "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")


def shown(cells, kind: str) -> list:
    """Results of cells in one format, such as image/png."""
    return [output.data[kind] for cell in cells for output in cell.outputs if kind in output.get("data", {})]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    folder = make_clone(tmp_path / "clone")
    (folder / "colab").mkdir()  # from whose parent a notebook finds its clone
    for path in ROOT.glob("colab/*.ipynb"):
        (folder / "colab" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    return folder


@pytest.mark.slow
def test_quickstart(clone):
    cells = run(clone, "quickstart", options=SHORT_STUDY)
    assert "error" not in printed(cells) and "\x1b" not in printed(cells)
    assert len(list(clone.glob("results/miniature/rows/*.json"))) == 12
    assert len(shown(cells, "image/png")) == 1 and "Do better networks" in shown(cells, "text/markdown")[0]
    assert shown(cells, "text/html")[0].startswith("<div><iframe srcdoc=")


@pytest.fixture
def photographs(clone):
    """A zip file as one makes it of a folder: all in one folder, with what the system left there."""
    draw, path = np.random.default_rng(0), clone / "my photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/photos/._0.png", b"")
        for name, color in (("cat", 60), ("dog", 180)):
            for number in range(12):
                content = io.BytesIO()
                Image.fromarray((color + draw.integers(-40, 40, [32, 48, 3])).astype(np.uint8)).save(content, "PNG")
                archive.writestr(f"photos/{name}/{number}.png", content.getvalue())
    return path.name


@pytest.mark.slow
def test_your_dataset(clone, photographs):
    stand_in_weights.write(clone / "weights", ["mobilenet_v1", "mobilenet_v2"], image_size=32)
    cells = run(clone, "your_dataset", photographs=photographs, networks="mobilenet_v1,mobilenet_v2", image_size=32,
                more="--steps=2 --learning_rate=0.01 --weight_decay=0", format="tflite")
    text = printed(cells)
    assert "error" not in text and "set aside" not in text and "drawn" not in text
    regimes = [path.name.partition("-")[0] for path in clone.glob("results/mine/rows/*.json")]
    assert {name: regimes.count(name) for name in regimes} == {"logistic_regression": 2, "finetune": 1}
    (table,) = [html for html in shown(cells, "text/html") if "<table" in html and "iframe" not in html]
    assert ">mobilenet_v1<" in table and ">mobilenet_v2<" in table and "like the best" in table
    assert len(shown(cells, "image/png")) >= 3  # the photographs, the frontier where speeds differ, the new photograph
    (page,) = [html for html in shown(cells, "text/html") if "iframe" in html]
    assert "gets wrong on" in page
    assert "model.tflite" in shown(cells, "text/markdown")[0]
    with zipfile.ZipFile(clone / "results" / "mine" / "export.zip") as archive:
        assert {"model.tflite", "README.md", "labels.txt"} <= set(archive.namelist())


@pytest.mark.slow
def test_your_dataset_draws_photographs_where_none_are_named(clone):
    cells = run(clone, "your_dataset", until="load_dataset")
    assert "drawn fruit at 64 pixels" in printed(cells) and len(shown(cells, "image/png")) == 1
    assert {path.name: len(list(path.iterdir())) for path in (clone / "fruit").iterdir()} == dict.fromkeys(
        ("apple", "banana", "lemon", "orange"), 40)


@pytest.mark.slow
def test_paper_analysis(clone):
    cells = run(clone, "paper_analysis")
    text = printed(cells)
    for number in (".986", ".954", ".548", ".959", ".839"):
        assert number in text
    assert len(shown(cells, "image/png")) == 4
