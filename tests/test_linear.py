"""Logistic regression against scikit-learn at tight tolerance."""

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from tfbench.linear import logistic

def problem(n, width, classes):
    """Correlated, badly scaled features as a network's: non-negative, of unequal size."""
    draw = np.random.RandomState(0)
    labels = np.arange(n) % classes
    centres = draw.randn(classes, width)
    mixed = (centres[labels] + 2 * draw.randn(n, width)) @ draw.randn(width, width) / np.sqrt(width)
    return (np.maximum(mixed, 0) * np.logspace(0, -2, width)), labels


def objective(features, labels, strength, weights, bias):
    logs = scipy.special.log_softmax(features @ weights + bias, axis=1)
    return -logs[np.arange(len(labels)), labels].sum() + strength / 2 * np.sum(weights ** 2)


@pytest.mark.parametrize("n, width, classes", [(300, 20, 5), (40, 90, 3)])
def test_optimum_equals_scikit_learns(n, width, classes):
    features, labels = problem(n, width, classes)
    strengths = [1e-2, 1.0, 1e2]
    for fit in logistic.path(features, labels, strengths, classes=classes, max_iterations=2000):
        assert fit.certified
        oracle = LogisticRegression(C=1 / fit.strength, solver="newton-cg", tol=1e-10, max_iter=10000).fit(
            features, labels)
        ours = objective(features, labels, fit.strength, fit.weights, fit.bias)
        best = objective(features, labels, fit.strength, oracle.coef_.T, oracle.intercept_)
        assert ours <= best * (1 + 1e-6)
        np.testing.assert_allclose(fit.weights, oracle.coef_.T, atol=1e-2 * np.abs(oracle.coef_).max())


def test_path_goes_from_strong_to_weak():
    features, labels = problem(60, 5, 3)
    path = list(logistic.path(features, labels, [1.0, 1e3, 1e-1], classes=3, max_iterations=500))
    assert [fit.strength for fit in path] == [1e3, 1.0, 1e-1]
    sizes = [np.linalg.norm(fit.weights) for fit in path]
    assert sizes == sorted(sizes)


def test_too_few_iterations_are_not_called_certified():
    features, labels = problem(300, 20, 5)
    fit, = logistic.path(features, labels, [1e-4], classes=5, max_iterations=3)
    assert not fit.certified


def test_multi_label_solves_each_class_without_its_difficult_examples():
    features, _ = problem(200, 12, 2)
    labels = np.random.RandomState(1).choice([-1.0, 0.0, 1.0], (200, 3), p=[0.6, 0.1, 0.3]).astype(np.float32)
    fit, = logistic.path(features, labels, [0.5], classes=3, max_iterations=1000)
    assert fit.certified
    for c in range(3):
        counted = labels[:, c] != 0
        oracle = LogisticRegression(C=2.0, tol=1e-10, max_iter=100000).fit(features[counted], labels[counted, c])
        np.testing.assert_allclose(fit.scores(features)[:, c], oracle.decision_function(features), atol=1e-3)


def test_constant_feature_and_offset_do_no_harm():
    features, labels = problem(100, 6, 3)
    shifted = np.concatenate([features + 5, np.full((100, 2), 7.0, np.float32)], axis=1)
    plain, = logistic.path(features, labels, [1.0], classes=3, max_iterations=1000)
    moved, = logistic.path(shifted, labels, [1.0], classes=3, max_iterations=1000)
    np.testing.assert_allclose(plain.scores(features), moved.scores(shifted), atol=1e-3)
