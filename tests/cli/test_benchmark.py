"""The benchmark program measures what it says, on a small number of images."""

import io

import numpy as np
import PIL.Image
import pytest

from tfbench import benchmark
from tfbench.benchmarks import analysis, features, input, linear, training


def test_photographs_are_jpegs_of_the_stated_size():
    images = input.photographs(20)
    assert len(images) == 20 and images[0] == images[16]
    picture = PIL.Image.open(io.BytesIO(images[0]))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (500, 375), "RGB")
    assert 30_000 < len(images[0]) < 200_000 and np.asarray(picture).std() > 30


def test_input_ratios_are_of_the_rates(monkeypatch):
    monkeypatch.setattr(input, "IMAGES", 128)
    result = input.measure(rounds=1)
    rates = result["images_per_second"]
    assert set(rates) == {"decode_jpeg", "training", "evaluation"} and min(rates.values()) > 10
    for name, ratio in result["ratio_to_decode_jpeg"].items():
        assert ratio == pytest.approx(rates[name] / rates["decode_jpeg"])


def test_regression_is_timed_beside_scikit_learn_run_to_the_same_gap():
    result = linear.measure("small", (120, 8, 3), peer_strengths=2, peer_seconds=20)
    assert result["certified"] == result["fits"] == 46
    assert [found["l2"] for found in result["peers"]] == pytest.approx([5.62e4, 1e-6], rel=0.01)
    assert result["peers"][0]["reached"] and result["peers"][0]["iterations"] > 0
    mean = np.mean([found["seconds"] for found in result["peers"]])
    assert result["ratio"] == pytest.approx(46 * mean / result["seconds"])
    assert "46 of 46 certified" in "\n".join(linear.report(result))


@pytest.mark.slow
def test_features_are_timed_beside_keras(monkeypatch):
    monkeypatch.setattr(features, "BATCHES", 1)
    result = features.measure(1, "mobilenet_v1", 4)
    rates = result["images_per_second"]
    assert min(rates.values()) > 0 and 0 <= result["bfloat16_relative_error"] < 0.05
    assert result["ratios"]["model, float32"] == pytest.approx(rates["model, float32"] / rates["keras predict"])
    assert result["ratios"]["JPEG to features, float32"] == pytest.approx(
        rates["JPEG to features, float32"] / rates["model, float32"])


@pytest.mark.slow
def test_training_is_timed_beside_keras(run_program):
    result = training.measure(1, "mobilenet_v1", 4, 32, 3, "float32")
    rates = result["images_per_second"]
    assert set(rates) >= {"keras train_step", "tfbench"} and min(rates.values()) > 0
    assert result["ratio"] == pytest.approx(rates["tfbench"] / rates["keras train_step"])
    assert 0 <= result["second_trial_seconds"] < 5
    said = run_program(benchmark, "--what=training", "--model=mobilenet_v1", "--batch_size=4", "--image_size=32",
                       "--rounds=1", "--steps=2")
    assert "of keras train_step; a second trial begins within" in said


@pytest.mark.slow
def test_analysis_is_timed_on_a_study_of_the_papers_size():
    result = analysis.measure(150)
    assert result["cells"] == 576 and result["seconds"] > 1 and result["page_bytes"] > 1e6
    assert "576 cells with 150 predictions each" in analysis.report(result)[0]
