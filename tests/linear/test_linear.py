"""Logistic regression: optima against scikit-learn and Newton's method in float64, certificates, bad input."""

import re

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from tfbench import UserError
from tfbench.linear import logistic
from tfbench.stats import row_blocks


def problem(n, width, classes):
    """Correlated, badly scaled features as a network's: non-negative, of unequal size."""
    draw = np.random.RandomState(0)
    labels = np.arange(n) % classes
    centres = draw.randn(classes, width)
    mixed = (centres[labels] + 2 * draw.randn(n, width)) @ draw.randn(width, width) / np.sqrt(width)
    return (np.maximum(mixed, 0) * np.logspace(0, -2, width)), labels


def three_labels():
    """A problem of three labels per example, some neither right nor wrong."""
    features, _ = problem(200, 12, 2)
    labels = np.random.RandomState(1).choice([-1.0, 0.0, 1.0], (200, 3), p=[0.6, 0.1, 0.3]).astype(np.float32)
    return features, labels


def objective(features, labels, strength, weights, bias):
    logs = scipy.special.log_softmax(features @ weights + bias, axis=1)
    return -logs[np.arange(len(labels)), labels].sum() + strength / 2 * np.sum(weights ** 2)


def newton(features, labels, strength, classes):
    """Weights and bias by damped Newton's method with the whole Hessian, in float64."""
    n, width = features.shape
    design, one_hot = np.concatenate([features, np.ones((n, 1))], axis=1), np.eye(classes)[labels]
    penalty = np.repeat(np.append(np.full(width, strength), 0.0), classes)
    x = np.zeros((width + 1) * classes)

    def value_of(x):
        return objective(features, labels, strength, *np.split(x.reshape(width + 1, classes), [width]))

    for _ in range(100):
        probs = scipy.special.softmax(design @ x.reshape(width + 1, classes), axis=1)
        gradient = (design.T @ (probs - one_hot)).ravel() + penalty * x
        curvature = np.einsum("nc,cd->ncd", probs, np.eye(classes)) - probs[:, :, None] * probs[:, None, :]
        hessian = np.einsum("ni,nj,ncd->icjd", design, design, curvature).reshape(x.size, x.size) + np.diag(penalty)
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-13)[0]
        if np.abs(step).max() < 1e-11:
            break
        size = 1.0
        while value_of(x - size * step) > value_of(x) and size > 1e-6:
            size /= 2
        x = x - size * step
    return np.split(x.reshape(width + 1, classes), [width])


@pytest.mark.parametrize("n, width, classes", [(300, 20, 5), (40, 90, 3)])
def test_optimum_equals_scikit_learns(n, width, classes):
    features, labels = problem(n, width, classes)
    for fit in logistic.path(features, labels, [1e-2, 1.0, 1e2], classes=classes, max_iterations=2000):
        assert fit.certified
        oracle = LogisticRegression(C=1 / fit.l2_strength, solver="newton-cg", tol=1e-10, max_iter=10000).fit(
            features, labels)
        ours = objective(features, labels, fit.l2_strength, fit.weights, fit.bias)
        best = objective(features, labels, fit.l2_strength, oracle.coef_.T, oracle.intercept_)
        assert ours == pytest.approx(fit.objective, rel=1e-12)
        assert fit.objective - fit.gap - 1e-9 <= best and ours <= best * (1 + 1e-6)
        assert np.linalg.norm(fit.weights - oracle.coef_.T) <= 1e-3 * np.linalg.norm(oracle.coef_)
        scores = np.sort(oracle.decision_function(features), axis=1)
        clear = scores[:, -1] - scores[:, -2] > 1e-3 * np.abs(scores).max()  # apart from ties
        assert clear.mean() > 0.9
        assert (fit.scores(features).argmax(axis=1) == oracle.predict(features))[clear].all()


@pytest.mark.parametrize("strength", [1e-2, 1.0, 100.0])
def test_optimum_equals_newtons_in_float64(strength):
    features, labels = problem(120, 8, 4)
    fit, = logistic.path(features, labels, [strength], classes=4, max_iterations=2000)
    weights, bias = newton(features, labels, strength, 4)
    best = objective(features, labels, strength, weights, bias)
    assert best <= fit.objective * (1 + 1e-12) and fit.objective - best <= fit.gap + 1e-12
    assert fit.objective <= best * (1 + 1e-6)
    assert np.linalg.norm(fit.weights - weights) <= 1e-3 * np.linalg.norm(weights)
    np.testing.assert_allclose(fit.bias - fit.bias.mean(), (bias - bias.mean())[0], atol=1e-3)


def test_papers_path_is_solved_from_strong_to_weak():
    features, labels = problem(60, 30, 3)
    strengths = np.logspace(-6, 5, 45)
    path = list(logistic.path(features, labels, strengths, classes=3, max_iterations=2000))
    assert [fit.l2_strength for fit in path] == sorted(strengths, reverse=True)
    assert all(fit.certified and fit.gap >= 0 for fit in path)
    sizes = [np.linalg.norm(fit.weights) for fit in path]
    assert sizes == sorted(sizes)
    for fit in path[::6]:
        alone, = logistic.path(features, labels, [fit.l2_strength], classes=3, max_iterations=5000)
        assert abs(alone.objective - fit.objective) <= alone.gap + fit.gap + 1e-12


def test_fit_of_a_part_is_a_good_start():
    features, labels = problem(300, 20, 5)
    settings = {"classes": 5, "max_iterations": 2000}
    part, = logistic.path(features[:250], labels[:250], [0.1], **settings)
    cold, = logistic.path(features, labels, [0.1], **settings)
    warm, = logistic.path(features, labels, [0.1], start=part, **settings)
    assert warm.certified and warm.iterations < cold.iterations
    assert abs(warm.objective - cold.objective) <= 1e-6 * cold.objective


def test_too_few_iterations_are_not_called_certified():
    features, labels = problem(300, 20, 5)
    fit, = logistic.path(features, labels, [1e-4], classes=5, max_iterations=3)
    assert not fit.certified and fit.iterations == 3


def test_certificate_is_refused_to_a_wrong_solution():
    features, labels = problem(100, 6, 3)
    data = logistic.make_problem(features, labels, 3)
    fit, = logistic.path(features, labels, [1.0], classes=3, max_iterations=2000)
    moved = data.axes.T @ fit.weights * 1.01
    wrong = logistic._certify(data, 1.0, moved, fit.bias, 0, 0.0)
    assert not wrong.certified and wrong.objective - fit.objective <= wrong.gap


def test_multi_label_solves_each_class_without_its_difficult_examples():
    features, labels = three_labels()
    fit, = logistic.path(features, labels, [0.5], classes=3, max_iterations=1000)
    assert fit.certified
    for c in range(3):
        counted = labels[:, c] != 0
        oracle = LogisticRegression(C=2.0, tol=1e-10, max_iter=100000).fit(features[counted], labels[counted, c])
        assert np.linalg.norm(fit.weights[:, c] - oracle.coef_) <= 1e-3 * np.linalg.norm(oracle.coef_)
        np.testing.assert_allclose(fit.scores(features)[:, c], oracle.decision_function(features), atol=3e-3)


@pytest.mark.parametrize("held", ["along the axes", "as they are", "in the host's memory"])
@pytest.mark.parametrize("kind", ["softmax", "binary"])
def test_blocks_change_nothing(kind, held, monkeypatch):
    """Whole in one block; then in blocks of 30 rows, the last not full, of rows that lie out of order in an array."""
    features, labels = problem(200, 12, 4) if kind == "softmax" else three_labels()
    settings = {"classes": 4 if kind == "softmax" else 3, "max_iterations": 1000}
    monkeypatch.setattr(logistic, "ATTEMPTS", (("float64", 1e-6),))
    whole, = logistic.path(features, labels, [0.5], **settings)
    order = np.random.RandomState(2).permutation(200)
    monkeypatch.setattr(row_blocks, "ROWS", 30)
    monkeypatch.setattr(logistic, "KEPT_BYTES", 1e9 if held == "along the axes" else 0)
    monkeypatch.setattr(logistic, "BLOCK_BYTES", 0 if held == "in the host's memory" else 1e9)
    blocks, = logistic.path(row_blocks.Rows(features[order], np.argsort(order)), labels, [0.5], **settings)
    assert blocks.certified and blocks.objective == pytest.approx(whole.objective, rel=1e-11)
    assert blocks.gap <= 1e-11 * blocks.objective
    assert np.linalg.norm(blocks.weights - whole.weights) <= 1e-5 * np.linalg.norm(whole.weights)
    assert logistic.objective(features, labels, 0.5, blocks.weights, blocks.bias) == pytest.approx(blocks.objective)


def test_certificate_of_blocks_is_that_of_one(monkeypatch):
    features, labels = problem(100, 6, 3)
    axis_weights, found = np.random.RandomState(3).randn(6, 3), []
    for rows in (1000, 7):
        monkeypatch.setattr(row_blocks, "ROWS", rows)
        data = logistic.make_problem(features.astype(np.float32), labels, 3)
        found.append(logistic._certify(data, 1.0, data.axes.T @ axis_weights, np.zeros(3), 0, 0.0))
    whole, blocks = found
    assert (blocks.objective, blocks.gap) == (pytest.approx(whole.objective, rel=1e-12),
                                              pytest.approx(whole.gap, rel=1e-9))
    assert not whole.certified and not blocks.certified


def test_constant_feature_and_offset_do_no_harm():
    features, labels = problem(100, 6, 3)
    shifted = np.concatenate([features + 5, np.full((100, 2), 7.0, np.float32)], axis=1)
    plain, = logistic.path(features, labels, [1.0], classes=3, max_iterations=1000)
    moved, = logistic.path(shifted, labels, [1.0], classes=3, max_iterations=1000)
    np.testing.assert_allclose(plain.scores(features), moved.scores(shifted), atol=1e-3)
    assert np.abs(moved.weights[-2:]).max() < 1e-12


def test_constant_features_leave_the_classes_shares():
    labels = np.array([0, 0, 0, 1, 1, 2])
    for fit in logistic.path(np.ones((6, 4)), labels, [1e-6, 1.0, 1e5], classes=3, max_iterations=100):
        assert fit.certified and not fit.weights.any()
        np.testing.assert_allclose(scipy.special.softmax(fit.scores(np.ones((1, 4)))[0]), [1/2, 1/3, 1/6], atol=1e-6)


def test_equal_examples_of_different_classes_are_solved():
    features, labels = np.tile(problem(5, 7, 2)[0], (2, 1)), np.repeat([0, 1], 5)
    for fit in logistic.path(features, labels, [1e-6, 1.0], classes=2, max_iterations=1000):
        assert fit.certified and fit.objective == pytest.approx(10 * np.log(2), rel=1e-6)


@pytest.mark.parametrize("change, expected", [
    (lambda x, y: (np.where(np.arange(9)[:, None] == 4, np.nan, x), y), "1 of 9 examples are not finite, first of "
     "example 4"),
    (lambda x, y: (np.where(np.arange(9)[:, None] > 6, np.inf, x), y), "2 of 9 examples are not finite"),
    (lambda x, y: (x, np.where(y == 1, 0, y)), "no training example of class 1"),
    (lambda x, y: (x[:1], y[:1]), "no training example of class 1"),
    (lambda x, y: (x[:0], y[:0]), "at least one example"),
    (lambda x, y: (x[0], y), "features [n, width]"),
    (lambda x, y: (x, y[:5]), "found 5 labels for 9 examples"),
    (lambda x, y: (x, y + 1), "expected labels 0 to 2, found 1 to 3"),
    (lambda x, y: (x, np.where(np.eye(3)[y] > 0, 1.0, 0.0)), "no training example lacks class 0"),
    (lambda x, y: (x, -np.ones((9, 3))), "no training example shows class 0"),
])
def test_bad_input_is_refused_in_words(change, expected):
    features, labels = change(*problem(9, 4, 3))
    with pytest.raises(UserError, match=re.escape(expected)):
        list(logistic.path(features, labels, [1.0], classes=3, max_iterations=100))


def test_one_class_is_refused():
    with pytest.raises(UserError, match="one class only"):
        list(logistic.path(np.ones((4, 2)), np.zeros(4, np.int64), [1.0], classes=1, max_iterations=100))
