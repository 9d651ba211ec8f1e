"""How well estimates rank networks: weighted τ and r over networks, means over data sets, what has none."""

import numpy as np
import pytest
import scipy.stats

from tfbench.stats import accuracies, prediction

SOURCE = {"dataset": "imagenet", "n_test": 50000}


def records(networks=5, datasets=("dtd", "pets"), estimates=True):
    """Fine-tuning and logistic regression of networks that LogME ranks exactly and H-score in reverse."""
    rows = []
    for number in range(networks):
        for shift, dataset in enumerate(datasets):
            facts = {"network": f"net{number}", "dataset": dataset, "metric": "top1", "n_test": 1000,
                     "source": SOURCE | {"accuracy": 0.7 + 0.02 * (number * 3 % networks)}}
            rows.append(facts | {"regime": "finetune", "accuracy": 0.6 + 0.05 * number + 0.01 * shift, "key": "f",
                                 "spec": {"steps": 12}})
            rows.append(facts | {"regime": "logistic_regression", "accuracy": 0.5 + 0.05 * number, "key": "l",
                                 "spec": {"l2": [1.0]}, "validation_accuracy": 0.5 + 0.04 * number})
            if estimates:
                rows[-1]["estimates"] = {"logme": number - 2.0, "h_score": -number, "seconds": 0.1}
    return rows


def test_estimates_are_compared_with_each_regime_on_each_data_set():
    rows = records()
    lines, notes = prediction.agreement(accuracies.from_records(rows), rows)
    assert not notes and list(lines.columns) == list(prediction.COLUMNS)
    assert lines.groupby(["regime", "dataset"]).size().tolist() == [4] * 6  # two data sets and their mean, twice
    by = lines.set_index(["regime", "dataset", "estimate"])
    for regime in ("finetune", "logistic_regression"):
        assert by.loc[(regime, "dtd", "logme"), "tau"] == pytest.approx(1)
        assert by.loc[(regime, "pets", "h_score"), "tau"] == pytest.approx(-1)
        assert by.loc[(regime, "mean over data sets", "logme"), ["networks", "datasets"]].tolist() == [5, 2]
    tuned = 0.6 + 0.05 * np.arange(5)
    source = 0.7 + 0.02 * (np.arange(5) * 3 % 5)
    found = by.loc[("finetune", "dtd", "source_accuracy")]
    assert found["tau"] == pytest.approx(scipy.stats.weightedtau(source, tuned).statistic)
    assert found["r"] == pytest.approx(scipy.stats.pearsonr(*(np.log(p / (1 - p)) for p in (source, tuned))).statistic)
    text = prediction.in_words(lines[lines["regime"] == "finetune"], "fine-tuning")
    assert "LogME 1.00" in text and "H-score -1.00 (mean over 2 data sets, 5 networks)" in text


def test_an_estimate_that_differs_by_rounding_ranks_nothing():
    rows = records(datasets=("dtd",))
    for number, row in enumerate(row for row in rows if "estimates" in row):
        row["estimates"]["h_score"] = 3 + 1e-14 * number
    lines, _ = prediction.agreement(accuracies.from_records(rows), rows)
    assert set(lines["estimate"]) == {"source_accuracy", "validation_accuracy", "logme"}


def test_two_networks_and_records_of_before_have_none():
    rows = records(networks=2)
    assert prediction.agreement(accuracies.from_records(rows), rows)[0].empty
    rows = records(estimates=False)
    lines, (note,) = prediction.agreement(accuracies.from_records(rows), rows)
    assert set(lines["estimate"]) == {"source_accuracy", "validation_accuracy"}
    assert note.startswith("10 of 10 logistic regressions have no LogME")
    tuned = [row for row in rows if row["regime"] == "finetune"]
    assert prediction.agreement(accuracies.from_records(tuned), tuned)[0].empty


def test_data_sets_of_several_labels_are_said_to_have_none():
    rows = records()
    voc = [row | {"dataset": "voc2007", "metric": "voc_map"} for row in rows if row["dataset"] == "dtd"]
    rows += [{name: value for name, value in row.items() if name != "estimates"} for row in voc]
    lines, (note,) = prediction.agreement(accuracies.from_records(rows), rows)
    assert note == "VOC2007: no LogME, H-score, LEEP or NCE, which need one class for each image"
    assert set(lines[lines["dataset"] == "voc2007"]["estimate"]) == {"source_accuracy", "validation_accuracy"}
