"""Correlations against SciPy by hand, and against the paper's own figure."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from tfbench import UserError
from tfbench.stats import correlation, published
from tfbench.stats.accuracies import comparisons, from_csv, table_of


def table(accuracy, source, regime="finetune", n=None):
    """An accuracies table of `accuracy` [networks, datasets], NaN for missing."""
    return table_of([
        {"regime": regime, "network": f"net{m}", "dataset": f"set{d}", "accuracy": value, "n": n,
         "source_accuracy": source[m], "source_n": n}
        for m, line in enumerate(accuracy) for d, value in enumerate(line) if not np.isnan(value)])


def test_equals_numpy_and_fishers_interval():
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    found = correlation.correlate(x, y)
    r = np.corrcoef(x, y)[0, 1]
    assert found["r"] == pytest.approx(r)
    assert found["rho"] == pytest.approx(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])
    half = stats.norm.ppf(0.975) / np.sqrt(12 - 3)
    assert found["interval"] == pytest.approx((np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)))
    assert found["reason"] == ""


@pytest.mark.parametrize(("x", "y", "word"), [
    ([], [], "found 0"), ([1.0], [2.0], "found 1"), ([1.0, 2.0], [2.0, 3.0], "found 2"),
    ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "source"), ([1.0, 2.0, 3.0], [0.3, 0.1 + 0.2, 0.3], "transfer"),
])
def test_where_there_is_none_it_says_why(x, y, word):
    found = correlation.correlate(x, y)
    assert found["r"] is found["rho"] is found["interval"] is None
    assert word in found["reason"]


def test_interval_needs_four_and_perfection_stays_finite():
    assert correlation.correlate([1.0, 2, 3], [1.0, 2, 4])["interval"] is None
    perfect = correlation.correlate([1.0, 2, 3, 4], [2.0, 4, 6, 8])
    assert perfect["r"] == pytest.approx(1)
    assert json.loads(json.dumps(perfect, allow_nan=False))["interval"] == pytest.approx([1, 1])


def test_uses_the_mean_of_logits_over_complete_data_sets_only():
    rng = np.random.default_rng(1)
    accuracy, source = rng.uniform(0.3, 0.9, size=(5, 4)), rng.uniform(0.5, 0.8, size=5)
    accuracy[2, 1] = np.nan
    found = correlation.per_regime(table(accuracy, source))["finetune"]
    assert found.datasets == ("set0", "set2", "set3")
    assert [source[int(name[3:])] for name in found.networks] == sorted(source)
    y = special.logit(accuracy[:, [0, 2, 3]]).mean(axis=1)
    assert found.r == pytest.approx(stats.pearsonr(special.logit(source), y).statistic)
    assert found.rho == pytest.approx(stats.spearmanr(source, y).statistic)


def test_network_without_source_is_left_out():
    rng = np.random.default_rng(2)
    accuracy, source = rng.uniform(0.3, 0.9, size=(5, 2)), np.array([0.5, np.nan, 0.6, 0.7, 0.8])
    accuracy[1, 0] = np.nan  # nor does its gap cost the others a data set
    found = correlation.per_regime(table(accuracy, source))["finetune"]
    assert "net1" not in found.networks
    assert len(found.networks) == 4
    assert found.datasets == ("set0", "set1")


def test_nothing_in_common():
    found = correlation.per_regime(table([[0.5, np.nan], [np.nan, 0.5]], [0.5, 0.6]))["finetune"]
    assert found.r is None
    assert "no data set" in found.reason
    unknown = correlation.per_regime(table([[0.5]], [np.nan]))["finetune"]
    assert "source" in unknown.reason


def test_perfect_accuracy_needs_its_count():
    accuracy = [[1.0], [0.8], [0.7]]
    with pytest.raises(UserError, match="'net0', 'set0'.*column n"):
        correlation.per_regime(table(accuracy, [0.9, 0.8, 0.7]))
    found = correlation.per_regime(table(accuracy, [0.9, 0.8, 0.7], n=99))["finetune"]
    assert found.transfer[-1] == pytest.approx(special.logit(99.5 / 100))


def test_reproduces_the_papers_figure_2():
    table = published.accuracies()
    found = correlation.per_regime(table)
    assert [round(c.r, 3) for c in found.values()] == [0.986, 0.954, 0.548]
    assert [round(c.rho, 3) for c in found.values()] == [0.985, 0.964, 0.570]
    assert comparisons(table) == [("finetune", "logistic_regression", 177, 3, 192),
                                  ("finetune", "train_from_scratch", 189, 0, 192)]


def test_frame_has_a_row_per_regime_as_the_report_has():
    found = correlation.per_regime(published.accuracies())
    frame = found.to_frame()
    assert isinstance(found, dict) and frame["regime"].tolist() == list(found)
    for c, line in zip(found.values(), frame.itertuples(), strict=True):
        assert (line.r, line.r2, line.rho, line.reason) == (c.r, c.r**2, c.rho, "")
        assert (line.fisher_low, line.fisher_high) == c.interval
        assert (line.bootstrap_low, line.bootstrap_high) == c.bootstrap
        assert (line.networks, line.datasets) == (16, 12)
    one = correlation.per_regime(table([[0.5], [0.6]], [0.5, 0.6])).to_frame()
    assert one[["r", "r2", "rho", "fisher_low", "bootstrap_high"]].isna().all(axis=None)
    assert "found 2" in one["reason"][0] and one["networks"].tolist() == [2]
    assert list(correlation.Correlations().to_frame().columns) == list(frame.columns)


def test_reproduces_the_papers_split_of_random_initialisation():
    views = correlation.stacked(correlation.views(published.accuracies()), "view")
    scratch = views[views["regime"] == "train_from_scratch"].set_index("view")
    assert scratch["r"].round(3).tolist() == [0.548, 0.296, 0.863]  # published: .55, .29, .86
    assert scratch["datasets"].tolist() == [12, 7, 5]
    np.testing.assert_allclose(scratch["r2"], scratch["r"] ** 2)


@pytest.mark.parametrize(("column", "r"), [("paper", 0.959), ("torchvision", 0.839)])
def test_the_source_accuracy_makes_a_difference(column, r):
    table = from_csv(published.FOLDER / "tllib_finetune.csv", source_column=f"imagenet_top1_{column}")
    found = correlation.per_regime(table)["finetune"]
    assert (round(found.r, 3), len(found.networks), len(found.datasets)) == (r, 10, 8)


def test_error_bars_are_those_of_figure_2():
    found = correlation.per_regime(published.accuracies())["finetune"]
    wide = published.accuracies().query("regime == 'finetune'").pivot(
        index="network", columns="dataset", values="accuracy").loc[list(found.networks)]
    x = special.logit(wide.to_numpy())
    np.testing.assert_allclose(found.errors, (x - x.mean(axis=0)).std(axis=1) / np.sqrt(12) * np.sqrt(16 / 15))


def test_each_data_set_alone_uses_all_its_networks():
    rng = np.random.default_rng(3)
    accuracy, source = rng.uniform(0.3, 0.9, size=(6, 3)), rng.uniform(0.5, 0.8, size=6)
    accuracy[0, 1] = np.nan
    found = correlation.stacked(correlation.by_dataset(table(accuracy, source)), "dataset").set_index("dataset")
    assert found["networks"].to_dict() == {"set0": 6, "set1": 5, "set2": 6}
    assert found.loc["set1", "r"] == pytest.approx(stats.pearsonr(
        special.logit(source[1:]), special.logit(accuracy[1:, 1])).statistic)


def test_sets_of_unknown_size_are_in_neither_part():
    rng = np.random.default_rng(4)
    views = correlation.views(table(rng.uniform(0.3, 0.9, size=(5, 2)), rng.uniform(0.5, 0.8, size=5)))
    assert list(views) == [correlation.ALL]


def test_bootstrap_equals_a_plain_loop():
    rng = np.random.default_rng(5)
    x = rng.normal(size=10)
    y = x + rng.normal(size=10)
    draws = np.random.default_rng(0).integers(10, size=(correlation.RESAMPLES, 10))
    r = [np.corrcoef(x[chosen], y[chosen])[0, 1] for chosen in draws]
    assert correlation.bootstrap_interval(x, y) == pytest.approx(np.percentile(r, [2.5, 97.5]))
    along, low, high = correlation.band(x, y)
    fits = [np.polyval(np.polyfit(x[chosen], y[chosen], 1), along[[0, 30]]) for chosen in draws[:2000]]
    np.testing.assert_allclose(np.percentile(fits, 2.5, axis=0), low[[0, 30]], atol=0.1)
    np.testing.assert_allclose(np.percentile(fits, 97.5, axis=0), high[[0, 30]], atol=0.1)


@pytest.mark.parametrize(("interval", "least", "most"), [("interval", 0.92, 0.98), ("bootstrap", 0.85, 0.97)])
def test_intervals_cover_the_true_correlation(interval, least, most, monkeypatch):
    monkeypatch.setattr(correlation, "RESAMPLES", 1000)
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(400):
        x = rng.normal(size=16)
        low, high = correlation.correlate(x, 0.8 * x + 0.6 * rng.normal(size=16))[interval]  # rho = .8
        covered += low <= 0.8 <= high
    assert least < covered / 400 < most


def test_resamples_of_one_network_do_no_harm():
    low, high = correlation.bootstrap_interval(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 5]))
    assert -1 <= low <= high <= 1


def test_each_data_set_alone_is_what_its_part_of_the_table_gives():
    rng = np.random.default_rng(7)
    cells = table(rng.uniform(0.3, 0.9, size=(6, 3)), rng.uniform(0.5, 0.8, size=6))
    both = pd.concat([cells, cells.assign(regime="train_from_scratch", accuracy=cells["accuracy"] / 2)])
    both = both.drop(both.index[4]).reset_index(drop=True)
    both.loc[both["network"] == both["network"].iloc[-1], "source_accuracy"] = np.nan
    for name, alone in correlation.by_dataset(both).items():
        expected = correlation.per_regime(both, datasets=[name])
        assert list(alone) == list(expected) and alone.to_frame().equals(expected.to_frame())
        for regime, c in expected.items():
            assert c.networks == alone[regime].networks and (c.source == alone[regime].source).all()
