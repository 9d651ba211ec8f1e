"""L2-regularised logistic regression along a path of strengths, by scikit-learn's L-BFGS.

    minimise over W, b:   sum over examples of cross-entropy  +  λ/2 · ‖W‖²

The penalty stands against the *sum* of the example losses, so scikit-learn's C is 1/λ; the bias is
not penalised; features are not normalised (v3 section 3.1).
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

TOLERANCE = 1e-4  # largest component of the mean loss's gradient at which L-BFGS stops


def path(features, labels, strengths, *, max_iterations: int):
    """Fits the regression at every strength, strongest first, each started from the one before.

    Args:
      features: float32 [n, width].
      labels: int64 [n], or float32 [n, classes] in {1, 0, -1}: one binary problem per class without
        the examples marked 0 (the paper's treatment of VOC2007).
      strengths: λ, any order.
      max_iterations: of L-BFGS at each strength.

    Yields:
      (λ, scores, converged) from the largest λ to the smallest; scores maps features [m, width] to
      decision values float [m, classes].
    """
    columns = [labels] if labels.ndim == 1 else [np.sign(column) for column in labels.T]
    problems = [(features[column != 0], column[column != 0]) if labels.ndim == 2 else (features, column)
                for column in columns]
    models = [LogisticRegression(solver="lbfgs", warm_start=True, max_iter=max_iterations, tol=TOLERANCE)
              for _ in problems]
    for strength in sorted(strengths, reverse=True):
        with warnings.catch_warnings():
            # Not silenced but recorded: `converged` goes into the row.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for model, problem in zip(models, problems, strict=True):
                model.C = 1.0 / strength
                model.fit(*problem)
        converged = all((model.n_iter_ < max_iterations).all() for model in models)
        frozen = [(model.coef_.copy(), model.intercept_.copy()) for model in models]
        yield strength, _scores(frozen, labels.ndim == 2), converged


def _scores(frozen, multi_label: bool):
    weights = np.concatenate([coefficients for coefficients, _ in frozen])
    bias = np.concatenate([intercept for _, intercept in frozen])

    def scores(features):
        values = features @ weights.T + bias
        if not multi_label and values.shape[1] == 1:  # two classes: scikit-learn keeps one column
            values = np.concatenate([-values, values], axis=1)
        return values

    return scores
