"""The benchmark program measures what it says, on a small number of images."""

import io
import json
import sys
import time

import numpy as np
import PIL.Image
import pytest

from tfbench import benchmark
from tfbench.benchmarks import analysis, features, input, linear
from tfbench.benchmarks.timing import ratios_of_rounds, say_ratio, seconds_of_rounds
from tfbench.benchmarks.torch_peer import TorchPeer
from tfbench.linear import logistic


def test_photographs_are_jpegs_of_the_stated_size():
    images = input.photographs(20)
    assert len(images) == 20 and images[0] == images[16]
    picture = PIL.Image.open(io.BytesIO(images[0]))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (500, 375), "RGB")
    assert np.mean([len(image) for image in images]) == pytest.approx(110_000, rel=0.03)
    assert np.asarray(picture).std() > 30


def test_input_ratios_are_of_the_rates(monkeypatch):
    monkeypatch.setattr(input, "IMAGES", 128)
    monkeypatch.setattr(input, "PROCESSES", 1)
    result = input.measure(rounds=1)
    rates = result["images_per_second"]
    assert set(rates) == {"decode_jpeg", "training", "evaluation", "training_from_files", "files_alone"}
    assert min(rates.values()) > 10 and result["processes"] == {"1": pytest.approx(rates)}
    assert set(result["ratio_to_decode_jpeg"]) == {"training", "evaluation", "training_from_files"}
    for name, ratio in result["ratio_to_decode_jpeg"].items():
        assert ratio == pytest.approx(rates[name] / rates["decode_jpeg"])
    assert all("2 processes" not in line for line in input.report(result))


def test_record_files_hold_the_images(tmp_path):
    images = input.photographs(20)
    input.write_records(images, tmp_path)
    made = input.feeds(tmp_path)
    (_, labels), = made["files_alone"].unbatch().batch(20).enumerate().as_numpy_iterator()
    assert sorted(labels) == sorted(map(len, images))
    assert {path.name for path in tmp_path.iterdir()} > {"tfbench_index.npz"} and len(list(tmp_path.iterdir())) == 9


@pytest.mark.slow
def test_input_is_timed_in_processes_side_by_side(run_program, monkeypatch, tmp_path):
    monkeypatch.setattr(input, "IMAGES", 64)
    said = run_program(benchmark, "--what=input", "--rounds=1", f"--output={tmp_path}/input.json")
    result, = json.loads((tmp_path / "input.json").read_text())
    assert result["processes"].keys() == {"1", "2"} and min(result["processes"]["2"].values()) > 10
    assert "images/s in 2 processes" in said and "training_from_files" in said


def test_regression_is_timed_beside_scikit_learn_run_to_the_same_gap():
    result = linear.measure("small", (120, 8, 3), peer_strengths=2, peer_seconds=20)
    assert result["certified"] == result["fits"] == 46
    assert [found["l2"] for found in result["peers"]] == pytest.approx([5.62e4, 1e-6], rel=0.01)
    assert result["peers"][0]["reached"] and result["peers"][0]["iterations"] > 0
    mean = np.mean([found["seconds"] for found in result["peers"]])
    assert result["ratio"] == pytest.approx(46 * mean / result["seconds"])
    said = "\n".join(linear.report(result))
    assert "46 of 46 certified" in said and result["largest_gap"] <= 1e-6
    assert result["sweep"]["fits"] == 46 and " s for 46 of 46 fits, " in said
    assert json.loads(json.dumps(result)) == result  # --output


@pytest.mark.parametrize(("count", "width", "strengths", "reached"), [
    (300, 16, [1e-3, 1.0, 1e5], 3), (60, 64, [1e-6, 1e-3, 1.0], 0)], ids=["overlapping", "separable"])
def test_sweep_of_ssl_transfer_ends_above_the_optimum_where_classes_can_be_separated(count, width, strengths, reached):
    features, labels = linear.synthetic_features(count, width, 3)
    fits = list(logistic.path(features, labels, strengths, classes=3, max_iterations=10000))
    problems = [(features, labels, fit) for fit in reversed(fits)]
    swept = linear.sweep(problems, 60)
    assert (swept["fits"], swept["reached"], swept["stopped"]) == (3, reached, 0)
    assert 0 < swept["median_gap"] <= swept["largest_gap"] and swept["seconds"] > 0
    assert (swept["largest_gap"] <= 1e-6) == bool(reached) and swept["iterations"] > 3
    assert linear.sweep(problems, 1e-9)["fits"] == 1


class Elsewhere:
    """A call whose processor in another process takes one second, then two, then three, and so on."""

    processor_seconds = 0.0
    calls = 0

    def __call__(self):
        self.calls += 1
        self.processor_seconds += self.calls


def test_waiting_takes_time_on_the_wall_and_none_of_the_processor():
    time.sleep(1.0)  # threads of the test before wait busily for their next work, for a tenth of a second
    wall, processor = seconds_of_rounds({"waits": lambda: time.sleep(0.05), "elsewhere": Elsewhere()}, rounds=3)
    assert min(wall["waits"]) >= 0.05 > 0.04 > max(processor["waits"])
    assert processor["elsewhere"] == [2, 3, 4]  # the first round warms up


def test_ratios_are_of_the_same_round():
    ratios = ratios_of_rounds({"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 4.0, 6.0]}, {"theirs": ("ours", "theirs")})
    assert ratios == {"ratios": {"theirs": 2.0}, "ratio_ranges": {"theirs": [1.5, 3.0]}}
    assert say_ratio(ratios, "theirs") == "2.00 (1.50 to 3.00)"


WORK = {"train": True, "batch_size": 2, "image_size": 32, "steps": 1, "precision": "float32", "classes": 2,
        "learning_rate": 0.1, "momentum": 0.9, "l2": 0.0}


def speaker(folder, afterwards):
    """An interpreter in whose place a shell says what the child of TorchPeer says, and then does `afterwards`."""
    path = folder / "python"
    says = '{"torch": "2.0", "timm": "1.0", "parameters": 3206976, "threads": 1}'
    path.write_text(f"#!/bin/sh\necho '{says}'\n{afterwards}\n")
    path.chmod(0o755)
    return str(path)


def test_peer_takes_turns_in_its_own_process(tmp_path):
    done = tmp_path / "done"
    peer = TorchPeer(speaker(tmp_path, f"while read line; do echo $line >> {done}; echo 2.5; done"), "mobilenet_v1",
                     **WORK)
    for _ in range(3):
        peer.loops["PyTorch + timm"]()
    process = peer.process
    peer.close()
    assert done.read_text() == 3 * "loop\n" and process.returncode == 0 and not peer.loops
    assert peer.processor_seconds == 2.5
    assert peer.lines() == ["  PyTorch 2.0, timm 1.0: 3,206,976 parameters without the classifier, 1 threads"]


def test_peer_that_ends_is_an_error(tmp_path):
    peer = TorchPeer(speaker(tmp_path, "read line; exit 7"), "mobilenet_v1", **WORK)
    with pytest.raises(RuntimeError, match="with code 7"):
        peer()
    peer.close()


@pytest.mark.parametrize(("python", "network", "reason"), [
    (sys.executable, "nasnet_mobile", "timm does not have nasnet_mobile in float32"),
    ("/nowhere/python", "mobilenet_v1", "/nowhere/python does not start: No such file or directory"),
    ("/bin/true", "mobilenet_v1", "PyTorch ended before it began")])
def test_without_a_peer_the_reason_is_said(python, network, reason):
    peer = TorchPeer(python, network, **WORK)
    assert peer.loops == {} and peer.lines() == [f"  without PyTorch: {reason}"]


def test_interpreter_without_torch_says_so(tmp_path):
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no installed packages
    path.chmod(0o755)
    line, = TorchPeer(str(path), "mobilenet_v1", **WORK).lines()
    assert "cannot import torch and timm" in line


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
def test_training_is_timed_beside_keras(run_program, tmp_path):
    python = speaker(tmp_path, "n=0; while read line; do n=$((n + 1)); echo $n; done")  # one second each
    said = run_program(benchmark, "--what=training", "--model=mobilenet_v1", "--batch_size=4", "--image_size=32",
                       "--rounds=1", "--steps=3", f"--torch_python={python}", f"--output={tmp_path}/speed.json")
    result, = json.loads((tmp_path / "speed.json").read_text())
    rates = result["images_per_second"]
    assert set(rates) == {"keras fit", "tfbench", "PyTorch + timm"} and min(rates.values()) > 0
    for peer in ("keras fit", "PyTorch + timm"):
        assert result["ratios"][peer] == pytest.approx(rates["tfbench"] / rates[peer])
    ours, = result["processor_seconds"]["tfbench"]
    assert ours > 0 and result["by_processor"]["ratios"]["PyTorch + timm"] == pytest.approx(1 / ours)
    assert 0 <= result["second_trial_seconds"] < 5
    assert " of keras fit, " in said and " of PyTorch + timm; a second trial begins within" in said
    assert "by seconds of the processor at" in said
    assert "PyTorch 2.0, timm 1.0: 3,206,976 parameters" in said


@pytest.mark.slow
def test_analysis_is_timed_on_a_study_of_the_papers_size():
    result = analysis.measure(150)
    assert result["cells"] == 576 and result["seconds"] > 1 and result["page_bytes"] > 1e6
    assert "576 cells with 150 predictions each" in analysis.report(result)[0]
