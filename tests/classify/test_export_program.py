"""The export program on a run that kept its network: files, model card, agreement with the run, refusals."""

import json
import re
import subprocess
import sys

import pytest
from helpers.programs import parse
from PIL import Image

from tfbench import UserError, export, train_from_scratch
from tfbench.classify import export as formats
from tfbench.classify import folder

ARGUMENTS = ["--model=helpers.tiny_networks:tiny", "--dataset=digits", "--image_size=32", "--steps=8",
             "--batch_size=32", "--learning_rate=0.05", "--weight_decay=0"]


@pytest.fixture(scope="module")
def results(tmp_path_factory, data_dir):
    results = tmp_path_factory.mktemp("results")
    train_from_scratch.main(parse(train_from_scratch, [
        *ARGUMENTS, f"--results_dir={results}", f"--data_dir={data_dir}"]))
    return results


def test_the_folder_has_models_that_answer_as_the_run_and_a_card_whose_code_runs(results, tmp_path, run_program):
    shared = [f"--results_dir={results}", f"--output={tmp_path}", "--images=40", "--rounds=1"]
    said = run_program(export, *shared, "--format=keras,saved_model")
    assert "compared on the first 40 test images" in said and said.count("100.0 % of the answers the same") == 2
    assert re.search(r"one image of 8 × 8 pixels: keras [\d.]+ ms .*the plain Keras network", said)
    run_program(export, *shared, "--format=tflite", "--quantize")  # joins the others of the same run
    card, facts = (tmp_path / folder.CARD).read_text(), json.loads((tmp_path / folder.FACTS).read_text())
    assert set(facts["formats"]) == set(formats.FORMATS) and facts["formats"]["tflite"]["quantized"]
    assert facts["formats"]["keras"]["check"]["difference"] < formats.TOLERANCE
    accuracy = facts["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] and accuracy["n_test"] == 1197
    assert facts["dataset"]["images"] == {"train": 400, "validation": 200, "test": 1197}
    assert all(entry in card for entry in facts["deviations"]) and facts["deviations"]
    Image.new("RGB", (20, 30), (200, 10, 99)).save(tmp_path / "photo.jpg")
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(code) == 3
    program = "\n".join(code) + "import sys; assert 'tfbench' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = [line.split()[0] for line in done.stdout.splitlines()]
    assert len(answers) == 3 and answers[0] == answers[1] and set(answers) <= set(map(str, range(10)))


def test_an_export_that_differs_is_refused_and_nothing_is_left(results, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="the Keras export differs from the run on 20 test images: .* nothing was"):
        export.main(parse(export, [f"--results_dir={results}", f"--output={tmp_path}", "--images=20"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments, file, expected", [
    (["--quantize"], None, "--quantize is of TensorFlow Lite: add --format=tflite"),
    ([], folder.CARD, "expected a new folder or an earlier export of this run, found README.md but no model.json"),
    ([], folder.FACTS, "found another one in"), (["--data_dir=nowhere"], None, "digits")])
def test_what_cannot_be_exported_is_refused(results, tmp_path, arguments, file, expected):
    if file:
        (tmp_path / file).write_text('{"schema": 1, "run": "other"}')
    with pytest.raises(UserError, match=expected):
        export.main(parse(export, [f"--results_dir={results}", f"--output={tmp_path}", *arguments]))
    assert {path.name for path in tmp_path.iterdir()} == ({file} if file else set())


def test_the_programs_formats_are_those_there_are():
    assert tuple(formats.FORMATS) == export.NAMES
