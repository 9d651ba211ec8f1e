"""A metric is a row: one more, added to METRICS and nowhere else, is scored, tested, given an interval and reported."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.studies import CLASSES, N, make_study
from sklearn.metrics import f1_score

from tfbench import UserError
from tfbench.analysis import analyse
from tfbench.config import metric_of
from tfbench.data.catalog import DATASETS, OWN_METRICS, scored_by
from tfbench.stats import accuracies, metrics, pairs
from tfbench.stats.metrics import METRICS, Metric


def top2(scores, labels):
    """Share of examples whose label is among the two highest scores."""
    return float(np.mean((np.argsort(scores, axis=1)[:, -2:] == np.asarray(labels)[:, None]).any(axis=1)))


def square_root_of_size(scores, labels):
    """Accuracy where a class weighs as the root of its number of examples."""
    return float(weighted(labels, scores.argmax(axis=1)).sum())


def weighted(labels, predictions):
    weights = 1 / np.sqrt(np.bincount(labels)[labels])
    return weights / weights.sum() * (labels == predictions)


def two_standard_errors(labels, predictions, *, seed=0):
    share = weighted(labels, predictions)
    error = 2 * share.std() * np.sqrt(len(labels))
    return share.sum() - error, share.sum() + error


WEIGHTED = Metric("weighted", "weighted accuracy", square_root_of_size, contributions=weighted,
                  interval=two_standard_errors)


def add(monkeypatch, metric):
    monkeypatch.setitem(METRICS, metric.name, metric)


def test_a_row_is_scored_tested_and_given_an_interval(tmp_path, monkeypatch):
    add(monkeypatch, WEIGHTED)
    records = make_study(tmp_path, metric="weighted")
    cells, found, notes = pairs.on_data_sets(records)
    assert notes == [] and set(found["test"]) == {"permutation"} and len(found) == 2 * 6
    extreme = found[(found["network"] == "net0") & (found["other"] == "net3")]
    assert (extreme["p"] < 0.01).all()
    assert ((cells["high"] - cells["low"]).between(0.05, 0.25)).all() and set(cells["interval"]) == {"bootstrap"}


def test_a_row_is_analysed_whole(tmp_path, monkeypatch):
    add(monkeypatch, WEIGHTED)
    make_study(tmp_path, metric="weighted")
    folder = analyse(tmp_path).parent
    tables = json.loads((folder / "analysis.json").read_text())["tables"]
    assert len(tables["accuracies"]) == 8 and len(tables["pairs"]) == 12
    assert all(line["low"] < line["accuracy"] < line["high"] for line in tables["accuracies"])


def test_a_share_of_right_answers_needs_its_score_only(tmp_path, monkeypatch):
    add(monkeypatch, Metric("top2", "top-2 accuracy", top2, counts=True))
    scores = np.random.default_rng(0).normal(size=(N, CLASSES))
    assert metrics.score("top2", scores, scores.argsort(axis=1)[:, -2]) == 1
    cells, found, notes = pairs.on_data_sets(make_study(tmp_path, metric="top2"))
    assert set(cells["interval"]) == {"Clopper-Pearson"} and (cells["low"] < cells["high"]).all()
    assert len(found) == 0 and notes == ["top-2 accuracy, on DTD, has no test: not tested"]


def test_a_score_that_is_no_sum_over_examples_says_how_it_is_found_again(tmp_path, monkeypatch):
    def f1(labels, predictions):
        return float(f1_score(labels, predictions, average="macro"))

    add(monkeypatch, Metric("f1", "macro F1", lambda scores, labels: f1(labels, scores.argmax(axis=1)),
                            contributions=metrics.top1_contributions, score_outputs=f1))
    cells, found, notes = pairs.on_data_sets(make_study(tmp_path, metric="f1"))
    assert notes == [] and len(found) == 12 and cells["low"].isna().all()


def test_a_metric_without_a_row_is_named(tmp_path, monkeypatch):
    add(monkeypatch, WEIGHTED)
    records = make_study(tmp_path, metric="weighted")
    monkeypatch.undo()
    assert len(accuracies.from_records(records)) == 8
    with pytest.raises(UserError, match=f"a metric among {', '.join(METRICS)}, found 'weighted'"):
        pairs.on_data_sets(records)


def test_every_row_goes_by_its_name():
    assert all(name == metric.name and metric.title for name, metric in METRICS.items())
    assert [name for name, metric in METRICS.items() if metric.multi_label] == [
        "voc_map", "mean_average_precision"]


def test_data_sets_have_metrics_of_as_many_labels():
    assert all(METRICS[dataset.metric].multi_label == dataset.multi_label for dataset in DATASETS.values())
    assert all(METRICS[name].multi_label == several for several, names in OWN_METRICS.items() for name in names)


def test_own_data_sets_are_scored_as_asked_and_those_of_the_catalog_as_ever():
    folder = dataclasses.replace(DATASETS["pets"], name="folder:pets", metric="top1")
    assert scored_by(folder, "mean_per_class").metric == "mean_per_class" and scored_by(folder, None) == folder
    assert scored_by(DATASETS["pets"], "mean_per_class") == scored_by(DATASETS["pets"], None) == DATASETS["pets"]
    with pytest.raises(UserError, match="--metric=top1 or mean_per_class for folder:pets, whose images have one label"):
        scored_by(folder, "voc_map")
    with pytest.raises(UserError, match="--metric=mean_per_class for pets, which is in the catalog, found top1"):
        scored_by(DATASETS["pets"], "top1")
    assert [metric_of(scored_by(folder, name)) for name in OWN_METRICS[False]] == [{}, {"metric": "mean_per_class"}]
