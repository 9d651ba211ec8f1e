"""Tests and intervals from the predictions that lie beside rows."""

import numpy as np
import pandas as pd
import pytest
from helpers.studies import CLASSES, N, make_study
from scipy import special, stats

from tfbench import UserError
from tfbench.results import store
from tfbench.stats import findings, pairs, published
from tfbench.stats.accuracies import from_records, runs_of, table_of


def change(row, **arrays):
    """Replaces arrays of a row's predictions."""
    path = row["path"].replace(".json", ".npz")
    np.savez(path, **dict(np.load(path)) | arrays)


def predictions(row):
    return store.read_predictions(row)["predictions"]


def test_top1_is_compared_by_mcnemars_test_within_a_regime(tmp_path):
    rows = make_study(tmp_path)
    cells, found, notes = pairs.on_data_sets(rows)
    assert notes == [] and len(found) == 2 * 6 and set(found["test"]) == {"exact McNemar"}
    for line in found.itertuples():
        a, b = (next(row for row in rows if (row["regime"], row["network"]) == (line.regime, name))
                for name in (line.network, line.other))
        labels = store.read_predictions(a)["labels"]
        alone = [int(((predictions(x) == labels) & (predictions(y) != labels)).sum()) for x, y in ((a, b), (b, a))]
        assert line.p == pytest.approx(stats.binomtest(alone[0], sum(alone)).pvalue)
        assert line.difference == pytest.approx(a["accuracy"] - b["accuracy"])
    for line in cells.itertuples():
        row = next(row for row in rows if (row["regime"], row["network"]) == (line.regime, line.network))
        ends = stats.binomtest(round(row["accuracy"] * N), N).proportion_ci(method="exact")
        assert (line.low, line.high) == pytest.approx(tuple(ends))


def test_the_best_and_those_like_it(tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    cells = pairs.on_data_sets(rows)[0].set_index("network")
    assert cells.loc["net3", "p_best"] == 1 and cells.loc["net3", "like_best"]
    assert not cells.loc["net0", "like_best"] and cells.loc["net0", "p_best"] < 1e-4
    assert (cells["like_best"] == (cells["p_best"] > 0.05)).all()
    assert (cells["p_best_holm"] >= cells["p_best"]).all()


@pytest.mark.parametrize(("metric", "test"), [
    ("mean_per_class", "permutation"), ("voc_map", "permutation of class decisions"),
    ("mean_average_precision", "permutation of class decisions")])
def test_other_metrics_are_permuted(metric, test, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs.significance.permutation, "__kwdefaults__", {"resamples": 2000, "seed": 0})
    rows = make_study(tmp_path, metric=metric)
    cells, found, notes = pairs.on_data_sets(rows)
    assert notes == [] and set(found["test"]) == {test}
    extreme = found[(found["network"] == "net0") & (found["other"] == "net3")]
    assert len(extreme) == 2 and (extreme["p"] < 0.01).all()
    by_cell = cells.set_index(["regime", "network"])
    assert (by_cell["interval"] == "bootstrap").all()
    for row in rows:
        low, high = by_cell.loc[(row["regime"], row["network"]), ["low", "high"]]
        assert low < row["accuracy"] < high


def test_other_test_images_are_not_compared(tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    rows[0]["test_split"]["sha256"] = "b" * 64
    found = pairs.on_data_sets(rows)[1]
    assert len(found) == 3 and "net0" not in set(found["network"]) | set(found["other"])
    cells = pairs.on_data_sets(rows)[0].set_index("network")
    assert np.isnan(cells.loc["net0", "p_best"]) and cells.loc["net0", "like_best"] is not True
    assert not np.isnan(cells.loc["net0", "low"])


def test_rows_without_predictions_have_an_interval_all_the_same(tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    (tmp_path / "rows/finetune-3-dtd.npz").unlink()
    cells, found, notes = pairs.on_data_sets(rows)
    assert notes == ["1 of 4 rows on DTD has no predictions beside it: not tested"]
    assert len(found) == 3 and cells["low"].notna().all()
    assert cells["p_best"].isna().all()  # the best one is the one that was not tested


def test_predictions_of_another_run_are_noticed(tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    change(rows[1], predictions=np.zeros(N, int))
    cells, found, notes = pairs.on_data_sets(rows)
    assert len(notes) == 1 and "finetune-net1-dtd-k1 do not give its accuracy" in notes[0]
    assert len(found) == 3


def test_scores_of_a_network_that_diverged_are_not_tested(tmp_path):
    rows = make_study(tmp_path, metric="voc_map", regimes=("finetune",))
    change(rows[0], scores=np.zeros((N, CLASSES)))
    rows[0]["accuracy"] = 0.0
    cells, found, notes = pairs.on_data_sets(rows)
    assert len(notes) == 1 and len(found) == 3
    assert np.isnan(cells.set_index("network").loc["net0", "low"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut"])
def test_damaged_predictions_are_named(content, tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    (tmp_path / "rows/finetune-2-dtd.npz").write_bytes(content)
    with pytest.raises(UserError, match="finetune-2-dtd.npz is damaged"):
        pairs.on_data_sets(rows)


def test_averages_are_compared_by_paired_t_tests():
    networks, found = pairs.on_average(published.accuracies())
    wide = published.accuracies().query("regime == 'finetune'").pivot(
        index="network", columns="dataset", values="accuracy")
    x = special.logit(wide)
    part = found[found["regime"] == "finetune"]
    assert len(part) == 16 * 15 / 2 and set(part["dataset"]) == {pairs.MEAN}
    for line in part.sample(20, random_state=0).itertuples():
        assert line.p == pytest.approx(stats.ttest_rel(x.loc[line.network], x.loc[line.other]).pvalue)
        assert line.difference == pytest.approx(x.loc[line.network].mean() - x.loc[line.other].mean())
    means = networks[networks["regime"] == "finetune"].set_index("network")
    assert means["mean_log_odds"].idxmax() == "inception_v4"
    assert means["mean_log_odds"].to_dict() == pytest.approx(x.mean(axis=1).to_dict())


def test_one_data_set_has_no_average_to_test():
    table = table_of([{"regime": "finetune", "network": name, "dataset": "dtd", "accuracy": accuracy, "n": 50,
                       "source_accuracy": 0.7, "source_n": 50} for name, accuracy in (("a", 0.5), ("b", 1.0))])
    networks, found = pairs.on_average(table)
    assert len(found) == 0 and networks["p_best"].isna().all()


# ---- all of it together --------------------------------------------------------------------------


def test_ranking_stands_beside_its_cost(tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    for row, name in zip(rows, ("resnet_50", "mobilenet_v1", "mine", "vgg_16"), strict=True):
        row |= {"network": name, "seconds": 7200.0, "refit": {"images_per_second": 200.0},
                "trials": [{"images_per_second": 100.0}, {"images_per_second": 300.0}]}
    found = findings.compute(from_records(rows), runs_of(rows))
    ranks = found.rankings.set_index("network")
    assert ranks.index.tolist() == ["vgg_16", "mine", "mobilenet_v1", "resnet_50"]
    assert ranks["rank"].tolist() == [1, 2, 3, 4]
    assert ranks.loc["resnet_50", ["hours", "images_per_second", "trials"]].tolist() == [2, 200, 2]
    assert ranks.loc["vgg_16", "parameters"] > 1e8 and np.isnan(ranks.loc["mine", "parameters"])
    assert found.cost.set_index("network")["hours"].tolist() == [2] * 4


def test_equal_accuracies_share_a_rank(tmp_path):
    rows = make_study(tmp_path, regimes=("finetune",))
    cells = findings.compute(from_records(rows), runs_of(rows)).cells.assign(accuracy=[0.5, 0.7, 0.7, 0.6])
    assert findings.ranked(cells)["rank"].tolist() == [1, 1, 3, 4]


def ranking_of(costs, accuracies, speeds=None):
    """Cells of one data set under logistic regression, ranked."""
    return findings.ranked(pd.DataFrame({
        "regime": "logistic_regression", "network": list("abcd"), "dataset": "pets", "accuracy": accuracies,
        "parameters": 1e6, "multiply_adds": costs, "images_per_second": speeds or [np.nan] * 4})).set_index("network")


def test_frontier_is_what_no_other_network_makes_superfluous():
    ranks = ranking_of([1, 2, 3, 4], [0.5, 0.7, 0.7, 0.9])
    assert ranks["frontier"].to_dict() == {"a": True, "b": True, "c": False, "d": True}
    assert ranks["megabytes"].tolist() == [4] * 4
    measured = ranking_of([1, 2, 3, 4], [0.5, 0.7, 0.7, 0.9], [10, 20, 40, 50])  # the largest is the fastest here
    assert measured["frontier"].to_dict() == {"a": False, "b": False, "c": False, "d": True}
    assert measured["milliseconds"].to_dict() == {"a": 100, "b": 50, "c": 25, "d": 20}


def test_frontier_of_measured_and_unmeasured_networks_is_by_multiply_adds():
    ranks = ranking_of([1, 2, np.nan, 4], [0.5, 0.7, 0.6, 0.7], [10, 20, np.nan, 50])
    assert ranks["frontier"].astype(object).where(ranks["frontier"].notna(), None).to_dict() == {
        "a": True, "b": True, "c": None, "d": False}
