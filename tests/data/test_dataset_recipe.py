"""CONTRIBUTING.md's recipe: a data set of TFDS is added by one row of the catalog, and by nothing else."""

import numpy as np
import pytest
from helpers import archives
from helpers.programs import parse

from tfbench import UserError, finetune, prepare_data
from tfbench.cli.parsers import DatasetParser
from tfbench.data import catalog, examples, manifests
from tfbench.data.catalog import Dataset
from tfbench.data.sources import File, Source
from tfbench.files import atomic
from tfbench.sweep import plan

CLASSES = ("dandelion", "daisy", "tulips", "sunflowers", "roses")


@pytest.mark.parametrize("listed", [False, True])
def test_a_data_set_of_tfds_is_one_row(tmp_path, monkeypatch, run_program, listed):
    """With and without a Source, from the plan to batches; what the row says wrongly is told, not a KeyError."""
    archives.tf_flowers(manifests.manual_folder(tmp_path))
    file = manifests.manual_folder(tmp_path) / "flower_photos.tgz"
    source = Source((File(file.name, file.stat().st_size, f"sha256:{atomic.file_sha256(file)}", ""),), "CC BY 2.0",
                    "The TensorFlow Team, Flowers, 2019", "Each photograph has its own author.")
    row = Dataset("tulips", "Tulips", "tf_flowers:3.0.1", 5, "top1", 64, 16, 20, source if listed else None, key="",
                  test_share=0.2)
    monkeypatch.setitem(catalog.DATASETS, row.name, row)
    monkeypatch.setattr(type(DatasetParser), "_instances", {})  # absl keeps parsers, and these their names

    def call(action):
        with archives.patched_checksums(manifests.manual_folder(tmp_path)):
            return run_program(prepare_data, "--dataset=tulips", f"--action={action}", f"--data_dir={tmp_path}")

    told = call("plan")
    assert "tulips: Tulips, 100 images, 5 classes" in told
    assert ("CC BY 2.0" in told and "there" in told) if listed else "fetched by TFDS (tf_flowers:3.0.1)" in told
    assert call("status") == f"tulips: not prepared{', archives there' if listed else ''}\n"
    assert "the data set tulips is not prepared" in str(pytest.raises(UserError, call, "verify").value)
    with pytest.raises(UserError, match="tulips cannot be imported from a copy"):
        run_program(prepare_data, "--dataset=tulips", "--action=import", f"--from={tmp_path}", f"--data_dir={tmp_path}")
    assert "tulips: 64 / 16 / 20 images" in call("prepare")
    levels = f"archives {'PASS' if listed else 'UNKNOWN'}, counts PASS, labels UNKNOWN, keys UNKNOWN, images UNKNOWN"
    assert levels in call("status")
    assert "images" in call("verify") and levels.replace("images UNKNOWN", "images PASS") in call("status")

    prepared = examples.open_dataset(row, tmp_path)
    assert sorted(prepared.class_names) == sorted(CLASSES)
    assert np.bincount(prepared.load("test").labels).tolist() == [4] * 5
    flags = parse(finetune, ["--model=mobilenet_v1", "--dataset=tulips", f"--data_dir={tmp_path}"])
    assert plan.cost(flags, 1e12).evaluated > 0
    assert catalog.group_of(row) == ""


def test_every_row_says_what_the_programs_print():
    assert catalog.list_datasets() == list(catalog.DATASETS.values())
    assert [name for names in catalog.GROUPS.values() for name in names] == list(catalog.DATASETS)
    assert [catalog.group_of(catalog.DATASETS[name]) for name in ("dtd", "sun397_120k", "imagenet2012", "digits")] == [
        "paper", "variants", "source", "embedded"]
    for row in catalog.list_datasets():
        assert (row.source is None) == row.embedded
