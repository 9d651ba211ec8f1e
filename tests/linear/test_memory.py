"""The memory of logistic regression, by a process that does nothing else."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource
import numpy as np
from tfbench.linear import logistic
from tfbench.stats.row_blocks import Rows

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

logistic.KEPT_BYTES = 0  # as where the features are many
logistic.ATTEMPTS = ((DTYPE, 0.1),)
draw, classes = np.random.default_rng(0), 4
features = np.empty((200_000, 256), np.float32)
for part in np.split(features, 100):
    draw.standard_normal(out=part, dtype=np.float32)
labels = np.arange(len(features)) % classes
settings = {"classes": classes, "max_iterations": 3}
list(logistic.path(features[:4000], labels[:4000], [1.0], **settings))  # traces
before = peak()
fit, = logistic.path(Rows(features), labels, [1.0], **settings)
fit.scores(features)
logistic.objective(features, labels, 1.0, fit.weights, fit.bias)
print(json.dumps([before, peak(), features.nbytes]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_takes_the_features_once_more(dtype):
    """205 MB of features; blocks, scores and buffers are a fifth of that. A float64 copy would be twice it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.replace("DTYPE", repr(dtype))], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    before, after, features = json.loads(done.stdout)
    assert 0.5 * features < after - before < 1.3 * features
