"""Runs on few examples of each class (v3 section 4.7): length, batch, learning rates, subsets, and what is refused."""

import dataclasses
import hashlib
import pathlib
import re

import numpy as np
import pytest
from helpers.programs import execute, parse, plan_runs

from tfbench import UserError, finetune, logistic_regression, paper, pretrain, study, train_from_scratch
from tfbench.config import RunConfig
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import join, open_dataset, subset
from tfbench.data.splits import per_class
from tfbench.inputs import resolve
from tfbench.linear import regression
from tfbench.models.catalog import NETWORKS
from tfbench.results.deviations import deviations
from tfbench.results.store import weights_path
from tfbench.sweep import jobs, run
from tfbench.training import search

ROOT = pathlib.Path(__file__).parents[2]
PETS = ["--model=inception_v4", "--dataset=pets"]
NETWORK = '''
import keras

def net(image_size):
    images = keras.Input([image_size, image_size, 3], name="images")
    body = keras.layers.Conv2D(8, 3, strides=4, name="conv")(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="pool")(body), name="net")

net.image_size, net.value_range = 32, "inception"
'''


@pytest.mark.parametrize("program, flags, images, expected", [
    (finetune, [], None, (256, 19531, 1e-4, 0.1)),
    (train_from_scratch, [], None, (256, 78125, 1e-3, 1.0)),
    (finetune, ["--examples_per_class=1"], 37, (64, 1000, 1e-4 / 4, 0.1 / 4)),
    (finetune, ["--examples_per_class=64"], 37 * 64, (64, 3700, 1e-4 / 4, 0.1 / 4)),
    (train_from_scratch, ["--examples_per_class=1"], 37, (16, 78125, 1e-3, 1.0)),
    (train_from_scratch, ["--examples_per_class=512"], 101 * 512, (16, 646_400, 1e-3, 1.0)),
    (finetune, ["--examples_per_class=64", "--batch_size=32"], 37 * 64, (32, 7400, 1e-4 / 4, 0.1 / 4)),
    (finetune, ["--examples_per_class=1", "--steps=7", "--learning_rate=0.3"], 37, (64, 7, 0.3, 0.3)),
    (finetune, ["--examples_per_class=1", "--steps_curve=7", "--grid=2x1"], 37, (64, 7, 1e-4 / 4, 0.1 / 4)),
])
def test_length_batch_and_learning_rates(program, flags, images, expected):
    config = parse(program, [*PETS, *flags]).variants()[0].settled(images or 2940)
    rates, _ = config.grid_values
    assert (config.batch_size, config.steps, rates[0], rates[-1]) == expected
    assert config.settled(1) == config  # what is settled stays


def test_explicit_rates_are_taken_as_they_are_and_a_line_says_so():
    few = ["--examples_per_class=1,2", "--learning_rate=0.1"]
    for program, flags, lines in ((finetune, few, 1), (finetune, few[:1], 0), (finetune, few[1:], 0),
                                  (train_from_scratch, few, 0)):
        assert len(parse(program, [*PETS, *flags]).notes()) == lines
    runs = plan_runs(study, ["--models=inception_v4", "--datasets=pets,dtd", "--source=imagenet", "--regimes=finetune",
                             f"--finetune={' '.join(few)}"])
    assert jobs.notes(runs) == ["finetune: --learning_rate is taken as it is; of few examples only the paper's rates "
                                "are divided by 4"]


def test_sizes_are_the_papers():
    sizes = {name: paper.example_sizes(name) for name in paper.MOST_EXAMPLES}
    assert sizes["flowers"] == (1, 2, 4, 8, 10) and sizes["caltech101"] == (1, 2, 4, 8, 16, 25)
    assert sizes["pets"] == (1, 2, 4, 8, 16, 32, 64) and sizes["cifar10"][-2:] == (2048, 4096)
    for name, numbers in sizes.items():
        assert numbers[-1] * DATASETS[name].classes <= DATASETS[name].train
    runs = plan_runs(study, [f"--flagfile={ROOT}/flags/few_examples.flags"])
    found = {}
    for planned in runs:
        config = planned.config
        found.setdefault((config.regime, config.dataset), []).append(
            (config.examples_per_class[0], config.subset_seeds[0]))
    whole = {"flowers": 10, "caltech101": 25}  # all images: one subset
    assert len(found) == 3 * 11
    for (_, dataset), points in found.items():
        assert points == [(number, seed) for number in sizes[dataset]
                          for seed in ((0,) if whole.get(dataset) == number else (0, 1, 2))]
    with pytest.raises(UserError, match="the paper has no few-example curve of digits: give the numbers"):
        parse(finetune, ["--model=resnet_50", "--dataset=digits", "--examples_per_class=paper"]).variants()


def test_subsets_are_nested_and_do_not_depend_on_the_split(data_dir):
    dataset = open_dataset(DATASETS["digits"], data_dir)
    train, validation = dataset.load("train"), dataset.load("validation")
    before: set[str] = set()
    for number in (1, 2, 5, 30):
        few = subset(train, number, 0)
        assert before < set(few.keys) and np.bincount(few.labels).tolist() == [number] * 10
        assert len(few.keys) == dataset.subset_images(number, 0)
        before = set(few.keys)
    both = join(train, validation)
    drawn = subset(both, 40, 0)  # by "0|KEY", of which the split is made, all would be validation images
    assert 0.1 < np.isin(drawn.keys, validation.keys).mean() < 0.45
    first = min((key for key, label in zip(train.keys, train.labels, strict=True) if label == 3),
                key=lambda key: hashlib.sha256(f"subset|7|{key}".encode()).digest())
    assert first in subset(train, 1, 7).keys
    assert not np.array_equal(per_class(train.keys, train.labels, 2), per_class(train.keys, train.labels, 2, use="x"))


@pytest.mark.parametrize("dataset, most", [("digits", 39), ("digits_grid", None)])
@pytest.mark.parametrize("program", [finetune, train_from_scratch, logistic_regression])
def test_a_size_that_a_class_cannot_fill_is_refused_with_the_largest(program, dataset, most, data_dir, tmp_path,
                                                                     monkeypatch):
    monkeypatch.setattr("tfbench.inputs.weights_of", lambda config, network: (None, None))
    labels = open_dataset(DATASETS[dataset], data_dir).load("train").labels
    counts = (labels > 0).sum(axis=0) if labels.ndim == 2 else np.bincount(labels)
    assert most in (None, counts.min())
    flags = ["--model=resnet_50", f"--dataset={dataset}", f"--data_dir={data_dir}", f"--results_dir={tmp_path}/r"]
    config, = parse(program, [*flags, f"--examples_per_class={counts.min()}", "--subset_seeds=3"]).variants()
    inputs = resolve(config, None)
    shown = subset(inputs.data.load("train"), int(counts.min()), 3)
    assert inputs.spec["subset_images"] == len(shown.keys) and inputs.spec["subset_seed"] == 3
    message = f"--examples_per_class={counts.min() + 1} is more than a class of {dataset} has for training: take " \
              f"{counts.min()} at most"
    with pytest.raises(UserError, match=re.escape(message)):
        resolve(dataclasses.replace(config, examples_per_class=(int(counts.min()) + 1,)), None)
    assert not (tmp_path / "r").exists()


def test_a_size_that_takes_all_images_is_one_subset():
    manifest = {"splits": {split: {"n": 40, "sha256": split} for split in ("train", "validation", "test")},
                "content": "", "verification": {level: {"result": "PASS"} for level in ("counts", "labels", "keys")}}
    config = parse(train_from_scratch, ["--model=resnet_50", "--dataset=digits", "--examples_per_class=4"])
    def spec(seed: int, images: int) -> dict:
        one: RunConfig = dataclasses.replace(config, subset_seeds=(seed,)).settled(images)
        return one.spec(NETWORKS["resnet_50"], DATASETS["digits"], manifest, None, images)

    assert spec(0, 40) == spec(2, 40) and spec(0, 40)["subset_seed"] is None
    assert spec(0, 39) != spec(2, 39)


def test_deviations_compare_with_the_papers_few_examples():
    spec = {"regime": "finetune", "network": "resnet_50", "dataset": "pets", "image_size": 224, "source_dataset": None,
            "data": {}, "examples_per_class": 64, "subset_images": 37 * 64, "steps": 3700, "batch_size": 64,
            "learning_rate": [rate / 4 for rate in paper.FINE_TUNING.learning_rates],
            "weight_decay": list(paper.FINE_TUNING.weight_decays)}
    remembered = "few examples: steps, batch size and learning rates as remembered, the paper does not print them"
    assert deviations(spec, NETWORKS["resnet_50"]) == [remembered]
    first, second = deviations(spec | {"steps": 1000}, NETWORKS["resnet_50"])
    assert first == remembered and second.startswith("few examples with other steps or batches: ")
    assert "other than the paper's grid of 7 learning rates by 8 weight decays" in deviations(
        spec | {"learning_rate": list(paper.FINE_TUNING.learning_rates)}, NETWORKS["resnet_50"])


def test_the_model_is_trained_on_the_subset_alone(data_dir, tmp_path, monkeypatch, capsys):
    """From pretraining to record, with a network that is traced in no time."""
    (tmp_path / "few_nets.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--model=few_nets:net", f"--data_dir={data_dir}", f"--results_dir={tmp_path}/r", "--batch_size=16"]
    source, _ = execute(pretrain, [*flags, "--dataset=glyphs", "--steps=2", "--learning_rate=0.05",
                                   "--warmup_epochs=0"])
    weights = f"--weights={weights_path(tmp_path / 'r', source['spec'])}"
    few = ["--dataset=digits", "--examples_per_class=2,3", "--subset_seeds=5"]
    seen = []
    for module in (search, regression):
        monkeypatch.setattr(module, "subset", lambda *arguments: seen.append(subset(*arguments)) or seen[-1])
    short = ["--steps=3", "--weight_decay=0", "--min_crop_area=1"]
    tuned = run.execute_all(parse(finetune, [*flags, weights, *few, *short, "--learning_rate=0.01,0.1"]))
    assert "finetune: --learning_rate is taken as it is" in capsys.readouterr().out
    scratch = run.execute_all(parse(train_from_scratch, [*flags, *few, *short, "--grid=1x1"]))
    fixed = run.execute_all(parse(logistic_regression, [*flags, weights, *few, "--l2=1,100"]))
    keys = [examples.keys for examples in seen]
    assert keys[:2] == keys[2:4] == keys[4:] and set(keys[0]) < set(keys[1])  # one set, in all regimes; nested
    for records in (tuned, scratch):
        assert [record["refit"]["images"] for record in records] == [20, 30]
        assert [record["spec"]["subset_images"] for record in records] == [20, 30]
    for record in (*tuned, *scratch, *fixed):
        assert record["spec"]["subset_seed"] == 5 and "no refit" in record["spec"]["subset"]
        assert record["validation_accuracy"] * 200 == pytest.approx(round(record["validation_accuracy"] * 200))  # whole
    again, new = execute(finetune, [*flags, weights, *few[:1], "--examples_per_class=3", *few[2:], *short,
                                    "--learning_rate=0.01,0.1"])
    assert not new and again == tuned[1]
