"""Own networks on a published figure: the line and its bands, what agrees with the paper's protocol and what not."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.results.deviations import OWN_NETWORK, PUBLIC_WEIGHTS
from tfbench.stats import budgets, placement, published
from tfbench.stats.accuracies import from_records
from tfbench.stats.placement import Line

SETS = ("pets", "dtd", "voc2007")


def record(network="mine:net", regime="finetune", dataset="pets", accuracy=0.93, **more):
    source = {"dataset": "imagenet", "accuracy": 0.82, "n_test": 50_000}
    row = {"schema": 1, "key": f"{network}-{regime}-{dataset}", "regime": regime, "network": network,
           "dataset": dataset, "metric": DATASETS[dataset].metric, "accuracy": accuracy,
           "n_test": DATASETS[dataset].test, "spec": {}, "source": source,
           "deviations": [OWN_NETWORK], "test_split": {"n": DATASETS[dataset].test, "sha256": "a" * 64}}
    return row | more


def placed(records, name="kornblith2019"):
    runs = budgets.runs_of(records)
    return placement.place(name, from_records(records), [run.record for run in runs], runs)


def test_line_and_bands_are_those_of_statsmodels():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.8, 1.5, 16)
    y = 2 * x + rng.normal(scale=0.1, size=16)
    line, at = Line.through(x, y), np.array([0.5, 1.1, 2.0])
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    told = fit.get_prediction(sm.add_constant(at)).summary_frame(alpha=0.05)
    np.testing.assert_allclose(line.at(at), told["mean"])
    np.testing.assert_allclose(line.at(at) - line.half_width(at, of_a_point=False), told["mean_ci_lower"])
    np.testing.assert_allclose(line.at(at) + line.half_width(at, of_a_point=True), told["obs_ci_upper"])
    assert line.sd == pytest.approx(np.sqrt(fit.mse_resid))


def test_the_line_is_refitted_on_the_common_data_sets():
    found = placed([record(dataset=dataset, accuracy=accuracy) for dataset, accuracy in zip(
        SETS, (0.93, 0.78, 0.86), strict=True)])
    theirs = published.accuracies().query("regime == 'finetune' and dataset in @SETS")
    means = theirs.assign(y=special.logit(theirs["accuracy"])).groupby("network").agg(
        x=("source_accuracy", "first"), y=("y", "mean"))
    slope, intercept = np.polyfit(special.logit(means["x"]), means["y"], 1)
    expected = intercept + slope * special.logit(0.82)
    y = special.logit([0.93, 0.78, 0.86]).mean()
    row, = found.lines.to_dict("records")
    assert row["residual"] == pytest.approx(y - expected)
    assert row["points"] == pytest.approx(special.expit(y) - special.expit(expected))
    assert (row["datasets"], row["of_datasets"]) == (3, 12)
    assert row["low"] < row["residual"] < row["high"] and row["points_low"] < row["points"] < row["points_high"]
    assert row["within"] == (row["expected_low"] <= row["accuracy"] <= row["expected_high"])
    assert special.expit(y - row["low"]) > row["expected"]  # a line further up leaves less
    lacking = found.apart[found.apart["reason"] == "no result"]
    assert len(found.apart) == len(lacking) == 9 and not set(lacking["dataset"]) & set(SETS)
    panel, = found.panels
    assert set(panel.published.datasets) == set(SETS) and panel.line.n == 16


def test_a_published_network_is_in_its_line_once():
    """Whatever an own result of it says, the line is that of the sixteen."""
    plain = placed([record(dataset=dataset) for dataset in SETS]).panels[0].line
    records = [record("resnet_50", dataset=dataset, accuracy=0.5, deviations=[PUBLIC_WEIGHTS]) for dataset in SETS]
    found = placed(records)
    assert found.panels[0].line == plain
    row, = found.lines.to_dict("records")
    assert row["residual"] < -1 and abs(row["published_residual"]) < 0.3
    assert np.isnan(placed([record()]).lines["published_residual"][0])


def test_the_papers_own_results_lie_where_they_are_published():
    table = published.accuracies()
    found = placement.place("kornblith2019", table, [], [])
    assert len(found.lines) == 48 and not len(found.apart)
    np.testing.assert_allclose(found.lines["residual"], found.lines["published_residual"])
    assert [round(panel.published.r, 3) for panel in found.panels] == [0.986, 0.954, 0.548]
    assert found.lines.groupby("regime")["residual"].sum().abs().max() < 1e-9
    assert found.lines["within"].mean() > 0.85
    assert "does not tell by which protocol" in found.notes[0]


@pytest.mark.parametrize(("change", "reason"), [
    ({"dataset": "digits", "test_split": {}}, "Digits is not among the published data sets"),
    ({"deviations": [OWN_NETWORK, "other than 19,531 steps"]}, "other than 19,531 steps"),
    ({"n_test": 1000, "test_split": {"n": 1000, "sha256": "a"}}, "tested on 1,000 of 3,669 images"),
    ({"metric": "top1"}, "measured by top1, the paper by mean_per_class"),
    ({"verification": {"sizes": "FAIL"}}, "verification of the data failed at sizes"),
    ({"source": {"dataset": "glyphs", "accuracy": 0.8, "n_test": 9}}, "its source accuracy is on Glyphs"),
    ({"source": None}, "its ImageNet accuracy is not known"),
])
def test_other_protocols_are_named(change, reason):
    found = placed([record() | change])
    (row,) = found.apart.to_dict("records")
    assert reason in row["reason"] and not found.panels and not len(found.lines)
    assert reason in placement.why_apart(found)


def test_networks_with_other_data_sets_have_panels_of_their_own():
    found = placed([record("mine:a"), record("mine:b"), record("mine:b", dataset="dtd"),
                    record("mine:a", "logistic_regression")])
    assert [(panel.regime, panel.published.datasets, panel.networks) for panel in found.panels] == [
        ("logistic_regression", ("pets",), ("mine:a",)), ("finetune", ("dtd", "pets"), ("mine:b",)),
        ("finetune", ("pets",), ("mine:a",))]
    assert np.isnan(found.panels[0].errors).all()  # one data set has no spread
    assert np.isfinite(found.panels[1].errors).all()


def test_error_bars_are_the_papers_with_one_network_more():
    accuracies = (0.93, 0.78, 0.86)
    panel, = placed([record(dataset=dataset, accuracy=accuracy) for dataset, accuracy in zip(
        SETS, accuracies, strict=True)]).panels
    theirs = published.accuracies().query("regime == 'finetune'").pivot(
        index="network", columns="dataset", values="accuracy")[list(SETS)]
    x = special.logit(np.vstack([theirs, accuracies]))
    assert panel.errors[0] == pytest.approx((x - x.mean(axis=0)).std(axis=1)[-1] / np.sqrt(3) * np.sqrt(17 / 16))


def test_the_catalog_tells_a_source_accuracy_that_no_record_tells():
    found = placed([record("resnet_50", "train_from_scratch", source=None, deviations=[])])
    assert found.lines["source_accuracy"][0] == pytest.approx(NETWORKS["resnet_50"].retrained_top1)
    assert "ResNet-50" in found.notes[0]


def test_the_quoted_table_has_fine_tuning_only():
    found = placed([record(), record(regime="logistic_regression")], "tllib")
    assert found.lines["regime"].tolist() == ["finetune"] and found.panels[0].line.n == 10
    assert found.apart["reason"].value_counts()["the published table has no such regime"] == 1
    assert isinstance(placement.lines_of(found), pd.DataFrame)
