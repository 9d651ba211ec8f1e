"""Transferability estimates against their definitions, computed the long way."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from sklearn.covariance import ledoit_wolf

from tfbench.stats import transferability


def problem(n, width, classes, seed=0):
    """Features of classes that overlap, of unequal sizes and scales, off zero; and labels."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    means = rng.normal(size=(classes, width))
    features = (means[labels] + 1.2 * rng.normal(size=(n, width)) + 0.5) * np.geomspace(0.1, 3, width)
    return features.astype(np.float32), labels


def logme(features, labels):
    return transferability.logme(transferability.spectrum(features), labels)


def h_score(features, labels):
    return transferability.h_score(transferability.spectrum(features), labels)


def shrunk_h_score(features, labels):
    return transferability.shrunk_h_score(transferability.spectrum(features), labels)


def evidence(features, target):
    """The largest log-density of a target under N(0, FFᵀ/α + I/β), over α and β, by SciPy."""
    features, n = np.asarray(features, float), len(target)

    def loss(logs):
        covariance = features @ features.T * np.exp(-logs[0]) + np.eye(n) * np.exp(-logs[1])
        return -scipy.stats.multivariate_normal.logpdf(target, np.zeros(n), covariance, allow_singular=True)

    return -min(scipy.optimize.minimize(loss, [start, 1.0], method="Nelder-Mead", options={
        "xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000}).fun for start in (0.0, 4.0))


@pytest.mark.parametrize("n, width, classes", [(60, 5, 3), (40, 15, 2), (24, 40, 2)])
def test_logme_is_the_largest_evidence(n, width, classes):
    features, labels = problem(n, width, classes)
    expected = np.mean([evidence(features, (labels == label).astype(float)) / n for label in range(classes)])
    assert logme(features, labels) == pytest.approx(expected, abs=1e-6)


def by_definition(features, labels):
    """H-score and shrunk H-score with the covariance matrices written out."""
    features = features.astype(float)
    means = np.stack([features[labels == label].mean(axis=0) for label in labels])
    between = np.cov(means.T, bias=True)
    shrunk, shrinkage = ledoit_wolf(features)
    return (np.trace(np.linalg.pinv(np.cov(features.T, bias=True), rcond=1e-10) @ between),
            (1 - shrinkage) * np.trace(np.linalg.inv(shrunk) @ between))


@pytest.mark.parametrize("n, width, classes", [(200, 12, 4), (60, 50, 3), (30, 45, 3)])
def test_h_scores_are_their_definition(n, width, classes):
    features, labels = problem(n, width, classes)
    assert (h_score(features, labels), shrunk_h_score(features, labels)) == (
        pytest.approx(by_definition(features, labels), rel=1e-6))


def test_h_score_of_fewer_examples_than_features_says_nothing_and_the_shrunk_one_does():
    good, labels = problem(30, 45, 3)
    bad = np.random.default_rng(1).normal(size=good.shape)
    assert h_score(good, labels) == pytest.approx(2) == h_score(bad, labels)
    assert shrunk_h_score(good, labels) > 2 * shrunk_h_score(bad, labels)


def test_leep_and_nce_are_their_definitions():
    rng = np.random.default_rng(0)
    given, labels = scipy.special.softmax(3 * rng.normal(size=(5000, 6)), axis=1), rng.integers(4, size=5000)
    given[:, 0] += labels == 2
    given /= given.sum(axis=1, keepdims=True)
    joint = np.zeros((4, 6))
    for row, label in zip(given, labels, strict=True):
        joint[label] += row / len(labels)
    expected = np.mean([np.log(sum(joint[label, z] / joint[:, z].sum() * row[z] for z in range(6)))
                        for row, label in zip(given, labels, strict=True)])
    assert transferability.leep(given, labels) == pytest.approx(expected, rel=1e-12)
    source = given.argmax(axis=1)
    entropy = 0.0
    for z in range(6):
        of_z = labels[source == z]
        entropy += len(of_z) / len(labels) * scipy.stats.entropy(np.bincount(of_z))
    assert transferability.nce(source, labels) == pytest.approx(-entropy, rel=1e-12)
    assert transferability.nce(labels, labels) == 0


def test_probabilities_are_the_softmax():
    rng = np.random.default_rng(0)
    features, kernel, bias = rng.normal(size=(7, 5)), 100 * rng.normal(size=(5, 3)), rng.normal(size=3)
    np.testing.assert_allclose(transferability.probabilities(features, kernel, bias),
                               scipy.special.softmax(features @ kernel + bias, axis=1), atol=1e-4)


def test_better_features_have_larger_estimates():
    """All estimates order three networks whose features are ever noisier."""
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=300)
    kernel = rng.normal(size=(20, 8))
    clean = np.eye(5)[labels] @ rng.normal(size=(5, 20))
    found = []
    for noise in (0.5, 1.5, 4):
        features = clean + noise * rng.normal(size=clean.shape)
        given = transferability.probabilities(features, kernel, np.zeros(8))
        found.append(transferability.estimates(transferability.spectrum(features), labels, given))
    assert list(found[0]) == [*transferability.ESTIMATES, "seconds"]
    for name in transferability.ESTIMATES:
        values = [one[name] for one in found]
        assert values == sorted(values, reverse=True), name


@pytest.mark.parametrize("n", [50, 8])
def test_degenerate_features_and_classes_give_numbers(n):
    features, labels = problem(n, 10, 3)
    constant = features.copy()
    constant[:, 3:] = 7.0
    for case in (constant, np.zeros_like(features), np.ones_like(features), np.eye(3, dtype=np.float32)[labels]):
        assert np.isfinite(list(transferability.estimates(transferability.spectrum(case), labels).values())).all()
    assert h_score(np.ones_like(features), labels) == 0
    widened = np.concatenate([features, np.zeros_like(features)], axis=1)  # dead units change nothing
    for estimate in (logme, h_score):
        assert estimate(widened, labels) == pytest.approx(estimate(features, labels), rel=1e-6)
        assert estimate(features, 2 * labels + 5) == estimate(features, labels)  # classes without examples


def test_published_estimates_rank_as_published():
    """τ_w of Transfer-Learning-Library's tables is SciPy's with its defaults, as LogME's and SFDA's authors take it."""
    import pandas as pd

    from tfbench.stats import published

    table = pd.read_csv(published.FOLDER / "tllib_estimates.csv")
    equal = 0
    for _, group in table.groupby("dataset"):
        cells, printed = group[group["finetuned"].notna()], group.set_index("model")
        for name in ("h_score", "leep", "logme", "nce"):
            tau = scipy.stats.weightedtau(cells[name], cells["finetuned"]).statistic
            r = scipy.stats.pearsonr(cells[name], cells["finetuned"]).statistic
            assert tau == pytest.approx(printed.loc["weighted tau", name], abs=0.025)
            assert r == pytest.approx(printed.loc["Pearson", name], abs=0.0055)
            equal += round(tau, 3) == printed.loc["weighted tau", name]
    assert equal == 18
