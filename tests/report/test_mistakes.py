"""The page of a run's mistakes: what it shows is what the predictions say; older runs, many classes, several labels."""

import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers.programs import execute
from helpers.studies import Page, make_study
from scipy.special import softmax

from tfbench import UserError, build_network, logistic_regression, mistakes
from tfbench.models import weights
from tfbench.results import record as records
from tfbench.results import store


@pytest.fixture(scope="module")
def study(tmp_path_factory, data_dir):
    """A results folder with one run, on digits; the network is a random one."""
    folder = tmp_path_factory.mktemp("study")
    weights.save(build_network("mobilenet_v1", image_size=32), folder / "w.weights.h5", {
        "network": "mobilenet_v1", "dataset": "glyphs", "accuracy": 0.5, "n_test": 10, "value_range": "inception"})
    execute(logistic_regression, [
        "--model=mobilenet_v1", "--dataset=digits", "--image_size=32", f"--weights={folder}/w.weights.h5", "--l2=1",
        "--max_iterations=50", "--nokeep_model", f"--results_dir={folder}", f"--data_dir={data_dir}"])
    return folder


def write_run(folder, labels, outputs, **more):
    """A made-up run with these predicted classes."""
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    row = {"schema": 1, "key": "k", "regime": "finetune", "network": "net", "dataset": "mine", "metric": "top1",
           "accuracy": float((labels == outputs).mean()), "n_test": len(labels), "spec": {"number": 1}}
    (folder / "rows" / "run.json").write_text(json.dumps(row))
    np.savez(folder / "rows" / "run.npz", keys=np.arange(len(labels)).astype(str), labels=labels, predictions=outputs,
             **more)
    return folder


def shown(run_program, results, data_dir="nowhere"):
    """(what is printed, the page, its folder) of the latest run."""
    said = run_program(mistakes, f"--results_dir={results}", f"--data_dir={data_dir}", f"--output={results}/page")
    return said, Page(results / "page" / "index.html"), results / "page"


def test_a_run_keeps_its_probabilities_and_the_page_shows_its_mistakes(study, data_dir, tmp_path, run_program):
    results = tmp_path / "copy"
    shutil.copytree(study / "rows", results / "rows")
    record = store.find_run(results, "latest")
    kept = store.read_predictions(record, tuple(store.PREDICTIONS))
    assert kept["probabilities"].dtype == np.float16 and kept["class_names"].tolist() == [str(n) for n in range(10)]
    np.testing.assert_allclose(kept["probabilities"].sum(axis=1, dtype=float), 1, atol=.01)
    said, page, folder = shown(run_program, results, data_dir)
    wrong = int((kept["labels"] != kept["predictions"]).sum())
    assert f"{100 * record['accuracy']:.1f} % top-1 accuracy (95 % interval" in said
    assert page.tags.count("img") == min(wrong, 40) and not page.open
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert f"{min(wrong, 40)} of {wrong:,} mistakes" in page.text and "Expected calibration error" in page.text
    table = pd.read_csv(folder / "mistakes.csv", dtype={"key": str})
    assert len(table) == wrong and table["probability"].is_monotonic_decreasing
    position = kept["keys"].tolist().index(table["key"][0])
    assert table["class"][0] == kept["labels"][position] and table["predicted"][0] == kept["predictions"][position]
    assert pd.read_csv(folder / "per_class.csv")["right"].sum() == len(kept["labels"]) - wrong
    assert pd.read_csv(folder / "confusion.csv")["n"].sum() == len(kept["labels"])


def test_an_older_run_says_what_is_missing_and_what_makes_it(study, data_dir, tmp_path, run_program):
    shutil.copytree(study / "rows", tmp_path / "rows")
    path = next((tmp_path / "rows").glob("*.npz"))
    with np.load(path) as kept:
        old = {name: kept[name] for name in ("keys", "labels", "predictions")}
    np.savez(path, **old)
    said, page, folder = shown(run_program, tmp_path, data_dir)
    assert "kept no probabilities" in said and f"--flagfile={path.with_suffix('.flags')} --results_dir=ANOTHER" in said
    assert "Confused classes" in page.text and "Expected calibration error" not in page.text
    assert "img" in page.tags and pd.read_csv(folder / "mistakes.csv")["probability"].isna().all()
    assert pd.read_csv(folder / "per_class.csv")["class"].tolist() == list(range(10))  # names of the prepared set


def test_probabilities_are_the_softmax_of_the_scores_however_large():
    scores = np.array([[1.0, 2, 3], [3e38, -3e38, 0]], np.float32)

    class Test:
        keys, labels = ["a", "b"], np.array([2, 0])

    kept = records.test_predictions(scores, Test, ("x", "y", "z"))
    np.testing.assert_allclose(kept["probabilities"], softmax(scores.astype(float), axis=1), atol=1e-3)
    assert sorted(records.test_predictions(scores, Test)) == ["keys", "labels", "predictions"]


def test_names_are_shown_as_they_are_and_nobody_computes_them(tmp_path, run_program):
    names = np.array(["=HYPERLINK(1)", "<script>\x1b", "never", "no image"])
    said, page, folder = shown(run_program, write_run(
        tmp_path, [0, 0, 1, 2], [0, 1, 1, 1], class_names=names,
        probabilities=np.eye(4, dtype=np.float16)[[0, 1, 1, 1]]))
    text = (folder / "index.html").read_text()
    assert "script" not in page.tags and "\x1b" not in text and "=HYPERLINK(1)" in page.text
    assert (folder / "per_class.csv").read_text().splitlines()[1].startswith("'=HYPERLINK(1)")
    assert "1 class without a test image: no image" in page.text and "2 classes never predicted" in page.text
    assert "are not prepared in nowhere" in said and "img" not in page.tags
    assert ("Negative log likelihood: 8.318" in page.text  # two of four true classes have probability 0
            and "50.0 points too sure" in page.text)


def test_thousands_of_classes_are_tables_not_drawings(tmp_path, run_program):
    labels = np.arange(20000) % 5000
    predictions = np.where(np.arange(20000) % 3, labels, (labels * 7 + 1) % 5000)
    _, page, folder = shown(run_program, write_run(tmp_path, labels, predictions))
    assert (folder / "index.html").stat().st_size < 200_000 and page.tags.count("svg") == 1
    assert "5,000 classes are too many to draw" in page.text and "The worst 100 of 5,000" in page.text
    assert len(pd.read_csv(folder / "per_class.csv")) == 5000


def test_a_perfect_run_has_no_mistakes(tmp_path, run_program):
    _, page, folder = shown(run_program, write_run(tmp_path, [0, 1, 1], [0, 1, 1]))
    assert "There is none." in page.text and not len(pd.read_csv(folder / "mistakes.csv"))


@pytest.mark.parametrize("metric", ["voc_map", "mean_average_precision"])
def test_several_labels_have_precisions_and_both_kinds_of_mistakes(metric, tmp_path, run_program):
    make_study(tmp_path, metric=metric, networks=1, regimes=("finetune",))
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "confusion.csv").write_text("of another run")
    _, page, folder = shown(run_program, tmp_path)
    kept = store.read_predictions(store.find_run(tmp_path, "latest"))
    table = pd.read_csv(folder / "mistakes.csv")
    expected = ((kept["labels"] < 0) & (kept["scores"] > 0)).sum(), ((kept["labels"] > 0) & (kept["scores"] <= 0)).sum()
    assert tuple(table["mistake"].value_counts()[["false positive", "false negative"]]) == expected
    assert "predicted and not there" in page.text and "there and not predicted" in page.text
    assert pd.read_csv(folder / "per_class.csv")["average_precision"].mean() == pytest.approx(
        store.find_run(tmp_path, "latest")["accuracy"])
    assert not (folder / "confusion.csv").exists()


@pytest.mark.parametrize("damage", [
    lambda path: path.unlink(),
    lambda path: np.savez(path, labels=np.arange(4) % 2, predictions=np.zeros(4, int)),
    lambda path: np.savez(path, keys=np.arange(4).astype(str), labels=np.arange(4), predictions=np.zeros(4, int),
                          class_names=np.array(["a", "b"])),
    lambda path: np.savez(path, keys=np.arange(4).astype(str), labels=np.arange(4) % 2, predictions=np.zeros(4, int),
                          probabilities=np.ones([4, 3]), class_names=np.array(["a", "b"]))])
def test_missing_and_damaged_predictions_are_refused_in_a_line(damage, tmp_path, run_program):
    damage(pathlib.Path(write_run(tmp_path, [0, 1, 0, 1], [0, 0, 0, 0])) / "rows" / "run.npz")
    with pytest.raises(UserError, match="predictions .*beside .*run.json"):
        shown(run_program, tmp_path)
    assert not (tmp_path / "page").exists()


def test_predictions_of_another_run_are_told(tmp_path, run_program):
    folder = write_run(tmp_path, [0, 1, 0, 1], [0, 0, 0, 0])
    np.savez(folder / "rows" / "run.npz", keys=np.arange(4).astype(str), labels=[0, 1, 0, 1], predictions=[0, 1, 0, 1])
    said, *_ = shown(run_program, folder)
    assert "do not give the accuracy of the record" in said
