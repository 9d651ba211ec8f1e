"""Correlations against SciPy by hand, and against the paper's own figure."""

import json
import pathlib

import numpy as np
import pytest
from scipy import special, stats

from tfbench import UserError
from tfbench.stats import correlation, csv_table
from tfbench.stats.accuracies import comparisons, table_of

PUBLISHED = pathlib.Path(csv_table.__file__).parent / "published" / "kornblith2019_v3_fig2_digitised.csv"


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
    published = csv_table.from_csv(PUBLISHED)
    found = correlation.per_regime(published)
    assert [round(c.r, 3) for c in found.values()] == [0.986, 0.954, 0.548]
    assert [round(c.rho, 3) for c in found.values()] == [0.985, 0.964, 0.570]
    assert comparisons(published) == [("finetune", "logistic_regression", 177, 3, 192),
                                      ("finetune", "train_from_scratch", 189, 0, 192)]
    # v3, section 4.4: .29 on the seven sets with fewer than 10,000 training images, .86 on the others
    large = {"Food-101", "CIFAR-10", "CIFAR-100", "Birdsnap", "SUN397"}
    split = [correlation.per_regime(published[published["dataset"].isin(large) == big])["train_from_scratch"].r
             for big in (False, True)]
    assert [round(r, 3) for r in split] == [0.296, 0.863]
