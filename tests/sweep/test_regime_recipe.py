"""CONTRIBUTING.md's recipe: a regime is one row of REGIMES and its run, which study and analysis then know."""

import json
import os
import subprocess
import sys

# What a contributor writes: the run.
RUN = '''
import io

import numpy as np
from PIL import Image

from tfbench.results import store
from tfbench.results.record import make_record, test_predictions
from tfbench.stats import metrics


def run(inputs, progress):
    """Classifies each test image by the nearest mean of the training images: a regime that needs no network."""
    config, data = inputs.config, inputs.data
    train, test = data.load("train"), data.load("test")
    known, seen = (np.array([np.asarray(Image.open(io.BytesIO(image)), float).ravel() for image in examples.images])
                   for examples in (train, test))
    means = np.array([known[train.labels == label].mean(0) for label in range(data.dataset.classes)])
    scores = -((seen[:, None] - means) ** 2).sum(-1)
    record = make_record(inputs.spec, inputs.network, data.dataset, data.manifest, seconds=1.0,
                         validation_accuracy=None, accuracy=metrics.score(data.dataset.metric, scores, test.labels),
                         test_split={"n": len(test.labels), "sha256": test.split_sha256})
    return store.write_record(config.results_dir, record, test_predictions(scores, test), config.flagfile())
'''

# The row, added before anything else of tfbench is imported, as one in the table would be; then the study.
STUDY = '''
import sys
from tfbench import regimes
row = regimes.Regime("nearest_mean", "nearest mean", "#444444", "", pretrained=False, runs="nearest:run",
                     trace_seconds=0.0, settings=regimes._RUN)
regimes.REGIMES[row.name] = regimes.RUNS[row.name] = row
from tfbench import study
from tfbench.cli import app
app.start("study", study.__doc__, study.SETTINGS, study.main)
'''


def test_a_regime_is_one_row_and_its_run(tmp_path, data_dir):
    (tmp_path / "nearest.py").write_text(RUN)
    flags = ["--models=mobilenet_v1,mobilenet_v2", "--datasets=digits", "--source=imagenet", "--regimes=nearest_mean",
             "--nearest_mean=--seed=3", "--image_size=32", f"--data_dir={data_dir}", f"--results_dir={tmp_path}/r"]

    def call(*more) -> str:
        done = subprocess.run([sys.executable, "-c", STUDY, *flags, *more], capture_output=True, text=True, timeout=120,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "nearest mean" in call("--plan") and "--nearest_mean" in call("--help")
    output = call("--yes")
    assert "[2/2] nearest_mean mobilenet_v2 digits" in output and "report:" in output
    record, = (json.loads(path.read_text()) for path in (tmp_path / "r/rows").glob("nearest_mean-mobilenet_v1-*.json"))
    assert record["accuracy"] > 0.8 and record["spec"]["seed"] == 3
    assert "Nearest mean" in (tmp_path / "r/report/index.html").read_text()
    assert "2 of 2 runs finished" in call("--status") and call("--yes").count("finished before") == 2
