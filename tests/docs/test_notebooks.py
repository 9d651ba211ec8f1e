"""The three notebooks are run from top to bottom, with little work, in a kernel of their own."""

import nbclient
import nbformat
import pytest
from helpers.readers import PRETRAIN, ROOT, SHORT_STUDY, make_clone


def run(clone, name: str, **parameters) -> list:
    """Runs a notebook of the clone with other values of its parameters; returns its code cells with their outputs."""
    notebook = nbformat.read(clone / "colab" / f"{name}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    known = {line.partition(" = ")[0] for line in cell.source.splitlines()}
    assert set(parameters) <= known
    cell.source += "".join(f"\n{parameter} = {value!r}" for parameter, value in parameters.items())
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


@pytest.mark.slow
def test_your_dataset(clone):
    cells = run(clone, "your_dataset", networks="mobilenet_v1,mobilenet_v2", pretraining=PRETRAIN,
                finetuning="--steps=2 --learning_rate=0.01 --weight_decay=0")
    assert "error" not in printed(cells)
    tables = [html for html in shown(cells, "text/html") if "<table" in html]
    assert len(tables) == 2 and all(">mobilenet_v1<" in html and ">mobilenet_v2<" in html for html in tables)
    regimes = [path.name.partition("-")[0] for path in clone.glob("results/mine/rows/*.json")]
    assert {name: regimes.count(name) for name in regimes} == {"pretrain": 2, "logistic_regression": 2, "finetune": 1}


@pytest.mark.slow
def test_paper_analysis(clone):
    cells = run(clone, "paper_analysis")
    text = printed(cells)
    for number in (".986", ".954", ".548", ".959", ".839"):
        assert number in text
    assert len(shown(cells, "image/png")) == 4
