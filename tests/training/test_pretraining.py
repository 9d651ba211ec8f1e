"""Pretraining: the number of steps is chosen on held-out training images, and the test split is looked at once."""

import dataclasses
import json

import numpy as np
import pytest

from tfbench import UserError, config, inputs, paper
from tfbench.cli.progress import Silent
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import PreparedDataset, open_dataset
from tfbench.files import atomic
from tfbench.inputs import dataset_of, resolve
from tfbench.models.catalog import NETWORKS
from tfbench.results import store
from tfbench.results.deviations import deviations
from tfbench.training import pretraining, search

NETWORK = """
import keras


def tiny(image_size):
    images = net = keras.Input([image_size, image_size, 3])
    net = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(net)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(net))


tiny.image_size, tiny.value_range = 32, "inception"
"""
STEPS = (3, 6, 9)


class Log(Silent):
    """A display that keeps what a run says, and ends it as ^C does at a stage that begins with `stop`."""

    def __init__(self, stop: str | None = None):
        self.events, self.stop = [], stop

    def stage(self, text):
        self.events.append(text)
        if self.stop and text.startswith(self.stop):
            raise KeyboardInterrupt


@pytest.fixture
def pretrain(tmp_path, data_dir, monkeypatch):
    """pretrain(folder, log, **settings): its record; the log has the splits read, too, and how images were seen."""
    (tmp_path / "tiny_networks.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    load, predict, logs = PreparedDataset.load, search.Task.predict, []
    monkeypatch.setattr(PreparedDataset, "load", lambda self, split: logs[-1].events.append(split) or load(self, split))
    monkeypatch.setattr(search.Task, "predict", lambda self, examples, crop="whole": logs[-1].events.append(
        (len(examples.labels), crop)) or predict(self, examples, crop))

    def run(folder, log, **more):
        logs.append(log)
        settings = {"model": "tiny_networks:tiny", "dataset": "glyphs", "batch_size": 16, "select_steps": STEPS[::-1],
                    "learning_rate": 0.05, "warmup_epochs": 0.0, "results_dir": str(tmp_path / folder),
                    "data_dir": str(data_dir), "test_crop": "central", "color_distortion": True, "ema": 0.5,
                    "deterministic": True}
        return pretraining.run(resolve(config.RunConfig.from_flags("pretrain", settings | more), log), log)

    return run


def without_time(record) -> dict:
    timeless = ("steps", "validation_accuracy", "test_crop", "diverged")
    return {name: record[name] for name in ("key", "accuracy", "selected", "validation_accuracy", "warnings")} | {
        "trials": [{name: trial[name] for name in timeless} for trial in record["trials"]]}


def test_the_number_of_steps_is_chosen_before_the_test_split_is_seen(pretrain, tmp_path):
    log = Log()
    record = pretrain("whole", log)
    best = max(record.trials, key=lambda trial: (trial["validation_accuracy"], -trial["steps"]))
    assert [trial["steps"] for trial in record.trials] == list(STEPS) == record.spec["select_steps"]
    assert record.selected["steps"] == best["steps"] and record.validation_accuracy == best["validation_accuracy"]
    assert record.selected["test_crop"] == "central" and record.refit["images"] == 11000
    training = log.events.index(f"training {best['steps']:,} steps")
    assert log.events[:training] == ["train", "validation", *(event for steps in STEPS for event in (
        f"choosing the number of steps: {steps} of 9", (1000, "central")))]
    assert log.events[training + 1:] == ["test", (2000, "central")]

    # Interrupted between two scores and in the last training, it goes on, and comes to the same.
    for stop in ("choosing the number of steps: 6", "choosing the number of steps: 9", "training"):
        with pytest.raises(KeyboardInterrupt):
            pretrain("cut", Log(stop))
    log = Log()
    again = pretrain("cut", log)
    assert [event for event in log.events if "choosing" in event] == []
    assert without_time(again) == without_time(record)
    files = [atomic.file_sha256(store.weights_path(tmp_path / folder, record.spec)) for folder in ("whole", "cut")]
    assert files[0] == files[1] and not list((tmp_path / "cut" / "work").rglob("*.json"))
    metadata = json.loads(next((tmp_path / "cut" / "weights").glob("*.json")).read_text())
    assert metadata["crop"] == "central" and metadata["accuracy"] == record.accuracy


def test_what_diverges_is_not_trained_on(pretrain):
    log = Log()
    with pytest.raises(UserError, match="diverged at --learning_rate=1e"):
        pretrain("diverged", log, learning_rate=1e30)
    assert "test" not in log.events and not [event for event in log.events if str(event).startswith("training")]


def test_images_are_held_out_where_there_is_no_validation_split(data_dir):
    glyphs = open_dataset(DATASETS["glyphs"], data_dir)
    without = dataclasses.replace(glyphs, dataset=dataclasses.replace(glyphs.dataset, validation=0, selection=370))
    everything, images = pretraining.training_images(without, True)
    assert len(everything.labels) == 10000 and len(images.validation.labels) == 370
    assert sorted([*images.train.keys, *images.validation.keys]) == everything.keys
    assert np.ptp(np.bincount(images.validation.labels)) <= 1
    assert pretraining.training_images(without, False)[1] is None


MANIFEST = {"splits": {"train": {"n": 1281167, "sha256": "a"}, "validation": {"n": 0, "sha256": "b"},
                       "test": {"n": 50000, "sha256": "c"}}, "content": "d",
            "verification": dict.fromkeys(("counts", "labels", "keys"), {"result": "PASS"})}


def spec_of(dataset, **settings):
    run = config.RunConfig.from_flags("pretrain", {"model": "resnet_50", "dataset": dataset} | settings)
    return run.spec(NETWORKS["resnet_50"], dataset_of(run), MANIFEST, None)


def test_what_changes_nothing_is_not_in_the_specification(monkeypatch):
    new = {"select_steps", "selection", "test_crop", "color_distortion"}
    assert not new & spec_of("glyphs").keys() and not new & spec_of("glyphs", test_crop="whole").keys()
    assert new & spec_of("imagenet2012").keys() == {"test_crop"}
    spec = spec_of("imagenet2012", select_steps=(93840, 7820), color_distortion=True)
    assert new <= spec.keys() and (spec["selection"], spec["steps"]) == (50000, 93840)
    none = dataclasses.replace(DATASETS["imagenet2012"], selection=0)
    monkeypatch.setattr(inputs, "get_dataset", lambda *arguments, **options: none)
    with pytest.raises(UserError, match="imagenet2012 has no images for --select_steps"):
        spec_of("imagenet2012", select_steps=(5,))


def test_a_pretraining_declares_what_is_not_the_papers():
    whole = spec_of("imagenet2012", select_steps=(7820, 93840), color_distortion=True)
    left = deviations(whole, NETWORKS["resnet_50"])
    assert len(left) == 1 and "our choice" in left[0]
    other = " ".join(deviations(spec_of("glyphs", batch_size=64), NETWORKS["resnet_50"]))
    for words in ("small source set", "not chosen on held-out", "without distortion of colours", "on whole images",
                  "other than by the paper's recipe"):
        assert words in other
    assert paper.PRETRAINING["epochs"] == pytest.approx(whole["epochs"], abs=0.1)
