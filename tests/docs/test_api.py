"""The Python API: its examples are run as they stand, what is wrong is told, what is light stays light."""

import doctest
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.programs import parse
from scipy import stats

import tfbench
from tfbench import UserError, api, logistic_regression
from tfbench.data import pipeline
from tfbench.models import weights

ACCURACIES = {"mobilenet_v1": (0.3, 0.92), "mobilenet_v2": (0.5, 0.90), "resnet_50": (0.6, 0.97),
              "vgg_16": (0.4, 0.93)}  # source, transfer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder in which the examples are run: results of four networks, and soon data."""
    path = tmp_path_factory.mktemp("api")
    (path / "results" / "rows").mkdir(parents=True)
    for name, (source, accuracy) in ACCURACIES.items():
        row = {"schema": 5, "key": name, "regime": "finetune", "network": name, "dataset": "digits", "metric": "top1",
               "accuracy": accuracy, "n_test": 100, "source": {"dataset": "glyphs", "accuracy": source, "n_test": 2000}}
        (path / "results" / "rows" / f"finetune-{name}.json").write_text(json.dumps(row))
    weights.save(tfbench.build_network("mobilenet_v1", image_size=32), path / "w.weights.h5", {
        "network": "mobilenet_v1", "dataset": "glyphs", "accuracy": 0.5, "n_test": 10, "value_range": "inception"})
    logistic_regression.main(parse(logistic_regression, [
        "--model=mobilenet_v1", "--dataset=digits", "--image_size=32", f"--weights={path}/w.weights.h5", "--l2=1",
        f"--results_dir={path}/kept", f"--data_dir={path}/data"]))
    return path


@pytest.mark.parametrize("name", tfbench.API)
def test_the_example_of_each_function_is_true(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    function = getattr(tfbench, name)
    example, = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    said = []
    result = doctest.DocTestRunner().run(example, out=said.append)
    assert result.attempted >= 2 and not result.failed, "".join(said)


def test_features_are_those_of_the_network(folder, monkeypatch):
    monkeypatch.chdir(folder)
    test = tfbench.load_dataset("digits", "data")["test"]
    model = tfbench.build_network("mobilenet_v1", num_classes=10, image_size=32, seed=1)
    weights.save(model, "w.weights.h5", {"network": "mobilenet_v1", "dataset": "glyphs", "accuracy": 0.5,
                                         "n_test": 10, "value_range": "pixels"})
    features = tfbench.extract_features("mobilenet_v1", test, weights="w.weights.h5", image_size=32)
    images = np.stack([pipeline.resize(pipeline.decode(image), 32, "bicubic")
                       for image in test.images[:8]]).clip(0, 255)
    np.testing.assert_allclose(features[:8], model(images)["features"], rtol=1e-3, atol=1e-6)
    assert features.shape == (1197, 1024) and features[0].std() > 0


def test_correlation_is_that_of_the_log_odds(folder):
    found = tfbench.correlation(tfbench.load_rows(folder / "results"))["finetune"]
    source, transfer = np.log(np.array([(s / (1 - s), t / (1 - t)) for s, t in ACCURACIES.values()])).T
    assert found.r == pytest.approx(stats.pearsonr(source, transfer).statistic)
    assert found.rho == pytest.approx(stats.spearmanr(source, transfer).statistic)
    np.testing.assert_allclose(found.source, sorted(source))


@pytest.mark.parametrize("call, told", [
    (lambda: api.build_network("resnet_51"), "there is no network 'resnet_51', did you mean 'resnet_50'"),
    (lambda: api.load_dataset("digit"), "there is no data set 'digit', did you mean 'digits'"),
    (lambda: api.load_dataset("dtd", "nowhere"), "dtd is not prepared"),
    (lambda: api.load_dataset("voc2007", "nowhere", difficult="maybe"), "difficult among ignore, negative, positive"),
    (lambda: api.load_dataset("imagenet2012", "nowhere"), "has no validation split"),
    (lambda: api.extract_features("mobilenet_v1", None, weights=None, image_size=8), "at least 32 pixels"),
    (lambda: api.extract_features("mobilenet_v1", None, weights=None, precision="half"), "expected a precision among"),
    (lambda: api.extract_features("mobilenet_v1", None, weights="no.weights.h5"), "there is no weights file"),
    (lambda: api.fit_logistic_path(np.ones([3, 2]), [0, 1, 1], [0.0]), "expected strengths above 0"),
    (lambda: api.fit_logistic_path(np.ones([3, 2]), [0.5, 1, 1]), r"expected labels .n. int"),
    (lambda: api.fit_logistic_path(np.ones([3, 2]), [0, 1]), "expected one label per example"),
    (lambda: api.load_rows("nowhere"), "there is no results folder nowhere"),
    (lambda: api.correlation([]), "expected results of logistic_regression, finetune or train_from_scratch"),
    (lambda: tfbench.nothing, "has no attribute 'nothing'")])
def test_what_is_wrong_is_told(call, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AttributeError if "attribute" in told else UserError, match=told):
        call()
    assert not os.listdir(tmp_path)


def test_importing_is_light_and_rows_need_no_tensorflow(folder):
    script = ("import sys, tfbench\nassert not {'numpy', 'tfbench.api'} & set(sys.modules)\n"
              "from tfbench import correlation, load_rows\ncorrelation(load_rows('results'))\n"
              "assert not {'tensorflow', 'keras'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, text=True, capture_output=True, timeout=60,
                          env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(tfbench.__file__))})
    assert done.returncode == 0, done.stderr
