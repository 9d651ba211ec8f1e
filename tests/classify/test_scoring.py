"""predict's figure is the run's own metric, on images that labels.csv or their folders tell about."""

import types

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from tfbench import UserError
from tfbench.classify import scoring

NAMES = [f"{number}.jpg" for number in range(60)]


def run_of(metric, classes=("cat", "dog", "owl")):
    return types.SimpleNamespace(metric=metric, class_names=classes)


def labels_csv(tmp_path, labels, names=NAMES):
    lines = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]))
    return scoring.known_labels(tmp_path, names)


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.integers(6, size=60), 2)  # unequal classes
    scores = rng.random((60, 3)) + 0.5 * np.eye(3)[labels]
    return labels, scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("by", ["labels.csv", "their folders"])
@pytest.mark.parametrize(("metric", "title"), [
    ("top1", "top-1 accuracy"), ("mean_per_class", "mean per-class accuracy")])
def test_one_label_is_scored_by_the_runs_metric(metric, title, by, tmp_path):
    labels, probabilities = drawn()
    names, classes = NAMES, run_of(metric).class_names
    if by == "labels.csv":
        known = labels_csv(tmp_path, [classes[label] for label in labels])
    else:
        names = [f"{classes[label]}/{name}" for label, name in zip(labels, NAMES, strict=True)]
        known = scoring.known_labels(tmp_path, names)
    right = probabilities.argmax(axis=1)
    value = (right == labels).mean() if metric == "top1" else balanced_accuracy_score(labels, right)
    line, = scoring.accuracy(names, probabilities, run_of(metric), known)
    assert line.startswith(f"{100 * value:.1f} % {title} on 60 images, labels from {by} (95 % interval ")


@pytest.mark.parametrize(("metric", "title"), [
    ("mean_average_precision", "mean average precision"), ("voc_map", "11-point mean average precision (VOC2007)")])
def test_several_labels_are_scored_by_the_runs_metric(metric, title, tmp_path):
    rng = np.random.default_rng(1)
    there = rng.random((60, 2)) < 0.4
    probabilities = rng.random((60, 3)) + 0.3 * np.pad(there, ((0, 0), (0, 1)))
    known = labels_csv(tmp_path, [";".join(np.array(["cat", "dog"])[row]) for row in there])
    first, second = scoring.accuracy(NAMES, probabilities, run_of(metric), known)
    assert f" % {title} on 60 images, labels from labels.csv (95 % interval " in first
    if metric == "mean_average_precision":  # of three classes: none shows an owl
        value = average_precision_score(there, probabilities[:, :2]) * 2 / 3
        assert first.startswith(f"{100 * value:.1f} %") and second.endswith("owl; counted as 0 in the mean, as in "
                                                                            "scikit-learn")
    else:
        assert second == "1 class that none of these images shows: owl; left out of the mean"


def test_what_is_not_scored_is_said(tmp_path):
    labels, probabilities = drawn()
    known = labels_csv(tmp_path, ["cat", "yak", *["dog"] * 55], NAMES[:57])
    line, *more = scoring.accuracy(NAMES, probabilities, run_of("top1"), known)
    assert " on 56 images" in line and more == ["not counted: 4 images elsewhere", "the run has no class yak"]
    known = labels_csv(tmp_path, ["dog"] * 57, NAMES[:57])
    assert scoring.accuracy(NAMES, probabilities, run_of("top1"), known)[1] == (
        "not counted: 3 images in no line of labels.csv")
    folders = [f"cat/{name}" for name in NAMES]
    assert scoring.accuracy(folders, probabilities, run_of("voc_map"), scoring.known_labels(
        tmp_path / "other", folders))[0].startswith("not scored by 11-point mean average precision (VOC2007): folders")
    known = labels_csv(tmp_path, ["cat;dog"] * 60)
    assert "several labels or none" in scoring.accuracy(NAMES, probabilities, run_of("top1"), known)[0]
    known = labels_csv(tmp_path, ["yak"] * 60)
    for metric in ("top1", "voc_map"):
        assert scoring.accuracy(NAMES, probabilities, run_of(metric), known) == [
            "not scored: labels.csv gives no image a class of the run"]
    assert scoring.accuracy(NAMES, probabilities, run_of("top1"), scoring.Known({}, "")) == []


def test_a_list_of_other_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="labels.csv names 60 files that cannot be found"):
        labels_csv(tmp_path, ["cat"] * 60)
        scoring.known_labels(tmp_path, ["other.png"])
