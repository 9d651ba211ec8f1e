"""The t-SNE figure: features, points and panels are what they claim; what cannot be drawn is said in one line."""

import numpy as np
import pandas as pd
import pytest
from helpers.programs import FlagsError, parse

from tfbench import UserError, tsne
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import load_split
from tfbench.models import weights as weights_files
from tfbench.models.build import build_network


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A results folder with random "pretrained" weights of one network."""
    folder = tmp_path_factory.mktemp("study")
    model = build_network("mobilenet_v1", num_classes=10, image_size=32)
    weights_files.save(model, folder / "weights" / "pretrain-mobilenet_v1-glyphs-0.weights.h5", {
        "network": "mobilenet_v1", "dataset": "glyphs", "metric": "top1", "accuracy": 0.5, "n_test": 10,
        "value_range": "inception", "spec": {}})
    return folder


def arguments(study, data_dir, *more):
    return ["--model=mobilenet_v1", "--dataset=digits", "--image_size=32", f"--weights={study}",
            f"--results_dir={study}", f"--data_dir={data_dir}", *more]


def test_points_are_the_embedded_features_of_the_classes(study, data_dir, tmp_path, run_program):
    test = load_split(DATASETS["digits"], "test", data_dir)
    shown = np.isin(test.labels, [3, 7])
    flags = arguments(study, data_dir, "--classes=7,3", "--perplexity=10", f"--weights={study},{study}")
    said = run_program(tsne, *flags, f"--output={tmp_path / 'a' / 'plot'}")
    assert f"{shown.sum()} test images of 2 classes, as named: 7, 3" in said
    table = pd.read_csv(tmp_path / "a" / "plot.csv", dtype={"class": str})
    assert list(table) == ["network", "weights", "class", "key", "x", "y"] and len(table) == 2 * shown.sum()
    first, second = table[:shown.sum()], table[shown.sum():].reset_index(drop=True)
    assert first["key"].tolist() == [key for key, wanted in zip(test.keys, shown, strict=True) if wanted]
    assert first["class"].tolist() == [str(label) for label in test.labels[shown]]
    assert first[["x", "y"]].equals(second[["x", "y"]])  # the same weights and seed
    assert first[["x", "y"]].std().min() > 0.1
    svg = (tmp_path / "a" / "plot.svg").read_text()
    assert svg.count('<g id="axes_') == 2
    assert (tmp_path / "a" / "plot.png").read_bytes()[:4] == b"\x89PNG"

    # Once the whole split is in the cache, as logistic_regression leaves it, its features are taken: they are the same.
    inputs = tsne.resolve(tsne.RunConfig.from_flags(tsne.FEATURES.name, vars(parse(tsne, flags)) | {
        "model": "mobilenet_v1", "weights": tsne.weights_file(str(study), "mobilenet_v1")}), None)
    positions, progress = np.flatnonzero(shown), _Count()
    some = tsne.features_of(inputs, test, positions, "test", progress)
    from tfbench.linear.regression import fixed_features

    whole = fixed_features(inputs, progress).of(test, "test")
    progress.seen = 0
    again = tsne.features_of(inputs, test, positions, "test", progress)
    assert progress.seen == 0 and np.array_equal(again, whole[positions])
    np.testing.assert_allclose(some, again, rtol=1e-4, atol=1e-5)


class _Count:
    def __init__(self):
        self.seen = 0

    def images(self, number):
        self.seen += number


def test_ten_classes_are_drawn_by_the_seed(study, data_dir):
    inputs = tsne.resolve(tsne.RunConfig.from_flags(tsne.FEATURES.name, vars(parse(tsne, arguments(
        study, data_dir))) | {"model": "mobilenet_v1", "dataset": "diacritics",
                              "weights": tsne.weights_file(str(study), "mobilenet_v1")}), None)
    drawn = [tsne.chosen_classes(inputs.data, (), seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and all(len(set(labels)) == 10 for labels in drawn)


@pytest.mark.parametrize("flags, error", [
    (["--classes=3,cat"], "there is no class of digits 'cat'.* Known: 0, 1,"),
    (["--classes=3"], "expected 2 to 10 different names in --classes, found 3"),
    (["--classes=3,4,3"], "expected 2 to 10 different names"),
    (["--classes=3,4", "--perplexity=5000"], "--perplexity=5000 must be less than the number of images, which is"),
    (["--weights=no.weights.h5"], "there is no weights file no.weights.h5"),
    (["--weights=imagenet", "--weights_dir=nowhere"], "there is no weights file nowhere/mobilenet_v1.weights.h5"),
    (["--models=mobilenet_v1,mobilenet_v2"], "expected one pretraining of mobilenet_v2 .* those of mobilenet_v1"),
    (["--models=mobilenet_v1,mobilenet_v2,resnet_50", "--weights=a,b"],
     "expected one --weights for all networks or one for each, found 2 names for 3 networks"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_drawn_is_said(flags, error, study, data_dir):
    with pytest.raises(UserError, match=error):
        tsne.main(parse(tsne, arguments(study, data_dir, *flags)))


def test_data_sets_with_few_classes_or_several_labels(study, data_dir):
    class Data:
        def __init__(self, name, names):
            self.dataset, self.class_names = DATASETS[name], names

    with pytest.raises(UserError, match="digits has 3 classes, expected 10 to draw from: .*--classes=a,b,c"):
        tsne.chosen_classes(Data("digits", ("a", "b", "c")), (), 0)
    with pytest.raises(UserError, match="voc2007 show several classes"):
        tsne.chosen_classes(Data("voc2007", ("a",)), (), 0)


def test_perplexity_is_a_positive_number():
    with pytest.raises(FlagsError, match="expected above 0"):
        parse(tsne, ["--model=resnet_50", "--dataset=digits", "--perplexity=0"])
