"""What a run trained is kept, classifies as in the run's test, and is refused in one line where it cannot."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from helpers.programs import parse
from PIL import Image

from tfbench import UserError, finetune, logistic_regression, predict
from tfbench.classify import classifier as classifiers
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import open_dataset
from tfbench.models import weights
from tfbench.models.build import build_network
from tfbench.report.write import csv_of
from tfbench.results import kept_models, store

SHORT = ["--steps=4", "--learning_rate=0.02", "--weight_decay=0", "--batch_size=32", "--min_crop_area=1"]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Random weights whose features differ from image to image."""
    path, draw = tmp_path_factory.mktemp("weights") / "v1.weights.h5", np.random.default_rng(0)
    model = build_network("mini_mobilenet_v1", image_size=32)
    for variable in model.variables:
        if "moving_variance" in variable.path:
            variable.assign(draw.uniform(0.02, 0.1, variable.shape))
    weights.save(model, path, {
        "network": "mini_mobilenet_v1", "dataset": "glyphs", "accuracy": 0.5, "n_test": 100,
        "value_range": "inception"})
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory, data_dir, weights_file):
    """A fine-tuning and a logistic regression, run by hand."""
    folder = tmp_path_factory.mktemp("results")
    shared = ["--model=mini_mobilenet_v1", "--dataset=digits", "--image_size=32", f"--weights={weights_file}",
              f"--data_dir={data_dir}", f"--results_dir={folder}"]
    logistic_regression.main(parse(logistic_regression, [*shared, "--l2=0.0001,0.001"]))
    finetune.main(parse(finetune, [*shared, *SHORT]))
    return folder


@pytest.fixture
def photos(tmp_path, data_dir):
    """Test images of the run as files in folders of their classes."""
    test = open_dataset(DATASETS["digits"], data_dir).load("test")
    for number in range(40):
        path = tmp_path / "photos" / str(test.labels[number]) / f"{test.keys[number]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(test.images[number])
    return tmp_path / "photos"


@pytest.mark.parametrize("regime", ("finetune", "logistic_regression"))
def test_predictions_are_those_of_the_run(results, data_dir, regime):
    classifier = classifiers.load(regime, results)
    test = open_dataset(DATASETS["digits"], data_dir).load("test")
    stored = store.read_predictions(classifier.record)
    probabilities = classifier.predict_encoded(list(test.images))
    assert probabilities.shape == (1197, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    margin = np.diff(np.sort(probabilities, axis=1)[:, -2:])[:, 0]
    clear = margin > 0.05 * margin.max()  # others may turn by rounding
    assert clear.sum() > 200
    assert (probabilities.argmax(axis=1) == stored["predictions"])[clear].all()
    assert classifier.class_names == tuple(map(str, range(10))) and classifier.metric == "top1"
    assert classifier.resize == {"finetune": "bilinear", "logistic_regression": "bicubic"}[regime]


def test_paths_arrays_and_folders_are_the_same_images(results, photos):
    classifier = classifiers.load("finetune", results)
    paths = sorted(photos.rglob("*.png"))
    by_path = classifier.predict([str(path) for path in paths])
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    assert (classifier.predict(np.stack(pixels)) == by_path).all()
    assert (classifier.predict(photos) == by_path).all()
    assert (classifier.predict([array[..., 0] for array in pixels]) == by_path).all()
    assert classifier.predict(paths[0]).shape == (1, 10) and classifier.predict([]).shape == (0, 10)


@pytest.mark.parametrize("wrong, expected", [
    ([np.zeros([8, 8, 3], np.float32)], "expected image 0 as uint8 .*found float32"),
    ([np.zeros([8, 8, 4], np.uint8)], r"found uint8 \[8, 8, 4\]"), ("nowhere.jpg", "there is nothing at nowhere.jpg")])
def test_what_is_no_image_is_refused(results, wrong, expected):
    with pytest.raises(UserError, match=expected):
        classifiers.load("finetune", results).predict(wrong)


def test_the_program_writes_a_table_and_counts_what_is_right(results, photos, tmp_path, capsys):
    output = tmp_path / "out.csv"
    (photos / "cat").mkdir()
    (photos / "cat" / "=1+1.png").write_bytes(next(photos.rglob("*.png")).read_bytes())
    arguments = [f"--images={photos}", f"--results_dir={results}", f"--output={output}"]
    assert predict.main(parse(predict, arguments)) is None
    said = capsys.readouterr().out
    table = pd.read_csv(output)
    assert list(table.columns) == ["image", "class", "probability", *map(str, range(10))] and len(table) == 41
    right = sum(name.split("/")[0] == str(found) for name, found in zip(table["image"], table["class"], strict=True))
    assert f"{100 * right / 40:.1f} % top-1 accuracy on 40 images, labels from their folders (95 % interval" in said
    assert "not counted: 1 image elsewhere\nthe run has no class cat\n" in said
    np.testing.assert_allclose(table[list(map(str, range(10)))].sum(axis=1), 1, rtol=1e-4)


def test_images_that_cannot_be_read_are_named_and_the_others_classified(results, photos, tmp_path, capsys):
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (photos / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "labels.csv").write_text("file,label\nnowhere.png,1\n")
    output = tmp_path / "out.csv"
    assert predict.main(parse(predict, [f"--images={photos}", f"--results_dir={results}", f"--output={output}"])) == 1
    said = capsys.readouterr().err
    assert "cannot be read: cut.jpg: damaged or cut JPEG" in said and "cannot be read: a.heic: " in said
    assert "not scored: labels.csv names 1 file that cannot be found" in said
    assert "2 images of 42 could not be read" in said and len(pd.read_csv(output)) == 40


def test_runs_are_found_by_name_key_path_and_time(results):
    records = {record.regime: record for record in store.read_records(results)}
    assert store.find_run(results, "latest").regime == "finetune"
    assert store.find_run(results, "logistic").key == records["logistic_regression"].key
    assert store.find_run(results, records["finetune"].key[:6]).regime == "finetune"
    assert store.find_run("elsewhere", records["finetune"].path).regime == "finetune"
    with pytest.raises(UserError, match="which none begins with: name one of finetune-mini_mobilenet_v1-digits-"):
        store.find_run(results, "train_from_scratch")


def test_a_network_that_was_not_kept_is_made_by_the_command_that_is_named(data_dir, weights_file, tmp_path):
    arguments = ["--model=mini_mobilenet_v1", "--dataset=digits", "--image_size=32", f"--weights={weights_file}",
                 f"--data_dir={data_dir}", f"--results_dir={tmp_path}", "--l2=1,10"]
    [record] = logistic_regression.run.execute_all(parse(logistic_regression, [*arguments, "--nokeep_model"]))
    assert not (tmp_path / "models").exists()
    with pytest.raises(UserError, match=r"was not kept: `python -m tfbench.logistic_regression --flagfile=.* "
                                        r"--keep_model`") as error:
        classifiers.load("latest", tmp_path)
    command = str(error.value).split("`")[1].split()[3:]
    written = pathlib.Path(record.path).read_bytes()
    logistic_regression.main(parse(logistic_regression, command))
    assert pathlib.Path(record.path).read_bytes() == written  # the record stays as it is
    metadata = json.loads((tmp_path / "models" / f"{pathlib.Path(record.path).stem}.json").read_text())
    assert metadata["accuracy"] == record.accuracy and metadata["n_test"] == 1197
    assert classifiers.load("latest", tmp_path).predict(np.zeros([1, 8, 8, 3], np.uint8)).shape == (1, 10)


def test_a_fine_tuned_network_is_made_again_without_the_search(results, data_dir, weights_file, tmp_path, monkeypatch):
    kept = classifiers.load("finetune", results)
    path = kept_models.path_of(results, kept.record.spec)
    before = {file: file.read_bytes() for file in (path, weights.metadata_path(path))}
    for file in before:
        file.unlink()
    command = [f"--flagfile={pathlib.Path(kept.record.path).with_suffix('.flags')}"]
    finetune.main(parse(finetune, [*command, "--nokeep_model"]))
    assert not path.exists()  # finished before
    monkeypatch.setattr("tfbench.training.search.search", None)
    finetune.main(parse(finetune, [*command, "--keep_model"]))
    again = classifiers.load("finetune", results)
    image = np.random.default_rng(0).integers(0, 255, [4, 8, 8, 3], np.uint8)
    np.testing.assert_allclose(again.predict(image), kept.predict(image), atol=0.05)
    for file, content in before.items():
        file.write_bytes(content)


@pytest.mark.parametrize("change, expected", [
    ({"resize": "nearest"}, "expected resize among"), ({"class_names": ["a"]}, "expected class_names, 10 of them"),
    ({"key": "0" * 16}, "is of the run 0000000000000000"), ({"image_size": "32"}, "no metadata of a kept model")])
def test_damaged_metadata_is_refused(results, change, expected):
    record = store.find_run(results, "finetune")
    path = weights.metadata_path(kept_models.path_of(results, record.spec))
    content = path.read_text()
    path.write_text(json.dumps(json.loads(content) | change))
    with pytest.raises(UserError, match=expected):
        classifiers.load("finetune", results)
    path.write_text(content)


def test_several_labels_are_probabilities_by_themselves():
    classifier = classifiers.Classifier.__new__(classifiers.Classifier)
    classifier.multi_label = True
    np.testing.assert_allclose(classifier.probabilities(np.array([[0.0, 100.0, -100.0]])), [[0.5, 1, 0]], atol=1e-6)
    table = predict.table_of(["a.jpg", "b.jpg"], np.array([[0.5, 0.9], [0.1, 0.2]]), ("dog", "cat"), True)
    assert table["class"].tolist() == ["dog; cat", ""]


def test_headings_are_safe_in_a_spreadsheet():
    table = predict.table_of(["a.jpg"], np.array([[0.4, 0.6]]), ("=1+1", "@x\x1b"), False)
    assert csv_of(table).splitlines()[0] == "image,class,probability,'=1+1,'@x?"


def test_classes_called_as_the_first_columns_keep_their_probabilities():
    table = predict.table_of(["a.jpg"], np.array([[0.25, 0.75]]), ("image", "class"), False)
    assert csv_of(table).splitlines() == ["image,class,probability,image,class", "a.jpg,class,0.75,0.25,0.75"]


def test_a_folder_is_read_some_files_at_a_time_and_a_path_given_twice_counts_twice(results, photos, monkeypatch):
    classifier, paths = classifiers.load("finetune", results), sorted(photos.rglob("*.png"))
    whole = classifier.predict(photos)
    monkeypatch.setattr(classifiers, "FILES_AT_ONCE", 7)
    np.testing.assert_allclose(classifier.predict(photos), whole, atol=1e-6)
    twice = classifier.predict([paths[0], paths[1], paths[0]])
    np.testing.assert_allclose(twice, whole[[0, 1, 0]], atol=1e-6)


def test_an_earlier_table_stays_where_no_image_can_be_read(results, tmp_path, capsys):
    (tmp_path / "cut.jpg").write_bytes(b"x")
    output = tmp_path / "out.csv"
    output.write_text("earlier")
    arguments = [f"--images={tmp_path}/cut.jpg", f"--results_dir={results}", f"--output={output}"]
    assert predict.main(parse(predict, arguments)) == 1
    assert output.read_text() == "earlier" and "nothing was written" in capsys.readouterr().out
