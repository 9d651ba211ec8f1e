"""The accuracies table, from rows and from CSV: what it holds, and what it refuses."""

import copy

import numpy as np
import pandas as pd
import pytest

from tfbench import UserError
from tfbench.results.titles import network_title
from tfbench.stats import accuracies, budgets, findings
from tfbench.stats.accuracies import COLUMNS, from_csv, from_records, runs_of

HEADER = "setting,model,imagenet_top1,DTD,VOC2007\n"


def row(regime="finetune", network="resnet_50", dataset="digits", accuracy=0.9, *, source=0.8, key="k1", **more):
    """A row with the fields that the statistics read; `source` is the source accuracy, or None."""
    found = {"schema": 1, "key": key, "regime": regime, "network": network, "dataset": dataset, "metric": "top1",
             "accuracy": accuracy, "n_test": 359, "test_split": {"n": 359, "sha256": "a" * 64},
             "source": None, "spec": {"key": key}}
    if source is not None:
        found["source"] = {"dataset": "glyphs", "accuracy": source, "n_test": 2000, "weights_sha256": "b" * 64}
    return found | more


def pretrain(network="resnet_50", accuracy=0.8, **more):
    return row("pretrain", network, "glyphs", accuracy, source=None, key="p", n_test=2000) | more


def write(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- rows ----------------------------------------------------------------------------------------


def test_rows_become_lines():
    table = from_records([row(accuracy=0.9), row("logistic_regression", accuracy=0.7, key="k2"), pretrain()])
    assert list(table.columns) == list(COLUMNS)
    assert table.to_dict("records") == [
        {"regime": "logistic_regression", "network": "resnet_50", "dataset": "digits", "accuracy": 0.7, "n": 359,
         "source_accuracy": 0.8, "source_n": 2000},
        {"regime": "finetune", "network": "resnet_50", "dataset": "digits", "accuracy": 0.9, "n": 359,
         "source_accuracy": 0.8, "source_n": 2000}]


def test_features_of_the_users_own_belong_to_no_network():
    own = row("logistic_regression", "features", "features:mine", source=None, key="k2")
    assert from_records([row(), own])["network"].tolist() == ["resnet_50"]
    with pytest.raises(UserError, match="none of a network among 1 rows"):
        from_records([own])


@pytest.mark.parametrize("beside", [pretrain(), row(key="k2")])
def test_scratch_takes_its_networks_source(beside):
    table = from_records([row("train_from_scratch", source=None), beside])
    assert table.set_index("regime").loc["train_from_scratch", "source_accuracy"] == 0.8


def test_unknown_source_stays_unknown():
    table = from_records([row("train_from_scratch", source=None), pretrain("inception_v1")])
    assert np.isnan(table["source_accuracy"][0])
    assert accuracies.without_source(table) == ["resnet_50"]
    unmeasured = row(source=0.5)
    unmeasured["source"] |= {"accuracy": None, "n_test": None}  # weights of which nobody says how good they are
    assert np.isnan(from_records([unmeasured])["source_accuracy"][0])


def test_copies_of_one_run_count_once():
    assert len(from_records([row(), copy.deepcopy(row())])) == 1


@pytest.mark.parametrize(("rows", "words"), [
    ([], ["none of a network among 0 rows"]),
    ([pretrain()], ["none of a network among 1 rows"]),
    ([row(), row(key="k2", accuracy=0.91)],
     ["two different runs", "finetune-resnet_50-digits-k1", "finetune-resnet_50-digits-k2"]),
    ([row(), row("logistic_regression", source=0.7, key="k2")], ["2 source accuracies", "0.7000", "0.8000"]),
    ([row(), pretrain(accuracy=0.81)], ["2 source accuracies", "0.8100", "pretrain-resnet_50-glyphs-p"]),
    ([row(), pretrain("inception_v1", dataset="imagenet")], ["not comparable", "glyphs, imagenet"]),
    ([row(), *(pretrain(name, key=name, spec={"data": {"content": name}}) for name in ("old_images", "new_images"))],
     ["not comparable", "images of their source differ: old_images (", "new_images ("]),
    ([row(), row("logistic_regression", key="k2", n_test=358)], ["digits", "not comparable", "359", "358", "k2"]),
    ([row(), row(network="vgg", key="k2", test_split={"n": 359, "sha256": "c" * 64})],
     ["not comparable", "aaaaaaaaaaaa", "cccccccccccc"]),
    ([row(), row(network="vgg", key="k2", metric="voc_map")], ["not comparable", "voc_map"]),
    ([row(accuracy=90)], ["k1", "accuracy", "90"]),
    ([row(accuracy=None)], ["accuracy", "None"]),
    ([row(accuracy=float("nan"))], ["accuracy", "nan"]),
    ([row(accuracy=True)], ["accuracy", "True"]),
    ([row(source="high")], ["source accuracy", "high"]),
    ([row(source=None) | {"source": [1]}], ["source", "[1]"]),
    ([row(n_test=0)], ["n_test", "0"]),
    ([row(network=3)], ["network", "3"]),
    ([row(regime="zero_shot")], ["regime", "zero_shot"]),
    ([row(spec=[1])], ["spec", "group of fields", "[1]"]),
    ([row(spec={"steps": "12"})], ["spec.steps", "whole number", "'12'"]),
    ([row(spec={"steps": 0})], ["spec.steps", "0"]),
    ([row(spec={"learning_rate": 0.1})], ["spec.learning_rate", "list", "0.1"]),
    ([row("logistic_regression", spec={"l2": True})], ["spec.l2", "list", "True"]),
    ([row(spec={"examples_per_class": True})], ["spec.examples_per_class", "True"]),
    ([row(spec={"examples_per_class": 4, "subset_seed": False})], ["spec.subset_seed", "False"]),
])
def test_rows_that_do_not_go_together(rows, words):
    with pytest.raises(UserError) as error:
        from_records(rows)
    assert [word for word in words if word not in str(error.value)] == []


# ---- sources and networks ----------------------------------------------------------------------------


def transfer(network, source, key, regime="finetune"):
    """A result from weights of a source; None of random ones."""
    return row(network=network, regime=regime, key=key) | {
        "source": source and {"dataset": source, "accuracy": 0.7 + 0.1 * (source == "imagenet"), "n_test": 100}}


def test_public_and_retrained_weights_in_one_folder_are_told_apart():
    rows = [transfer(network, source, f"{network}{source}") for source in ("imagenet", "imagenet2012")
            for network in ("vgg_16", "resnet_50")]
    rows += [transfer("vgg_16", None, "scratch", "train_from_scratch"), pretrain("vgg_16", 0.7, dataset="imagenet2012")]
    runs = runs_of(rows)
    with pytest.raises(UserError, match="source accuracies"):
        accuracies.from_runs(runs)
    groups = accuracies.by_source(runs)
    assert list(groups) == ["imagenet2012", "imagenet"]  # as many of each: the public ones last
    assert [len(group) for group in groups.values()] == [4, 3]  # training from scratch is of both
    assert accuracies.by_source(groups["imagenet"]) == {"imagenet": groups["imagenet"]}
    for group, source in zip(groups.values(), (0.7, 0.8), strict=True):
        table = accuracies.from_runs(group)
        assert set(table["source_accuracy"]) == {source} and len(table) == 3


def test_networks_are_left_out_by_name_or_title():
    runs = runs_of([transfer(network, "imagenet", network) for network in ("vgg_16", "vgg_19", "resnet_50")])
    table = accuracies.from_runs(runs)
    left, of_left = accuracies.without(table, runs, ["vgg_16", "VGG-19"])
    assert list(left["network"]) == ["resnet_50"] and len(of_left) == 1
    for networks, words in ((["vgg_61"], "found 'vgg_61': name some of vgg_16"),
                            (["vgg_16", "vgg_19", "resnet_50"], "leaves out all networks")):
        with pytest.raises(UserError, match=words):
            accuracies.without(table, runs, networks)


# ---- image sizes ---------------------------------------------------------------------------------


def sized(image_size, network="inception_v4", accuracy=0.9, *, key="k1", **more):
    return row(network=network, accuracy=accuracy, key=key, **more) | {"spec": {"key": key, "image_size": image_size}}


def measured(image_size, network, *, at):
    """The same with weights whose accuracy is of `at` pixels."""
    record = sized(image_size, network)
    return record | {"source": record["source"] | {"image_size": at}}


@pytest.mark.parametrize(("rows", "names"), [
    ([sized(299), sized(448, key="k2")], ["inception_v4", "inception_v4 @ 448 px"]),
    ([sized(32), sized(32, "vgg_16", key="k2")], ["inception_v4", "vgg_16"]),  # one size each: no news
    ([sized(32), sized(64, key="k2"), pretrain("inception_v4", spec={"image_size": 32})],
     ["inception_v4", "inception_v4 @ 64 px"]),
    ([sized(224, "resnet_v2_50"), sized(299, "resnet_v2_50", key="k2")], ["resnet_v2_50 @ 224 px", "resnet_v2_50"]),
    ([measured(224, "resnet_v2_50", at=224), sized(299, "resnet_v2_50", key="k2")],
     ["resnet_v2_50", "resnet_v2_50 @ 299 px"]),
    ([sized(8, "nets:small", own_network={"image_size": 8}), sized(9, "nets:small", key="k2")],
     ["nets:small", "nets:small @ 9 px"]),
])
def test_runs_at_another_image_size_are_a_network_of_their_own(rows, names):
    table = from_records(rows)
    assert list(table["network"]) == names
    assert [not np.isnan(source) for source in table["source_accuracy"]] == ["@" not in name for name in names]
    assert [accuracies.parse_sized(name).image_size is None for name in names] == ["@" not in name for name in names]


def test_a_larger_image_size_on_one_data_set_takes_nothing_from_the_others():
    rows = [sized(299, network, 0.8 - 0.1 * i + 0.01 * j, key=f"{i}{j}", dataset=dataset, source=0.8 - 0.1 * i,
                  path="absent.json")
            for i, network in enumerate(("inception_v4", "inception_v3", "resnet_50"))
            for j, dataset in enumerate(("digits", "diacritics"))]
    runs = accuracies.runs_of([*rows, sized(448, accuracy=0.9, key="large", source=0.8, path="absent.json")])
    found = findings.compute(accuracies.from_runs(runs), runs)
    large = "inception_v4 @ 448 px"
    assert network_title(large) == "Inception v4 @ 448 px"
    assert found.missing == [] and large not in found.correlations["finetune"].networks
    assert list(found.networks["datasets"]) == [2, 2, 2] and len(found.correlations["finetune"].datasets) == 2
    best = found.rankings[found.rankings["dataset"] == "digits"].iloc[0]
    assert best["network"] == large and best["multiply_adds"] == pytest.approx(12.252 * (448 / 299) ** 2)
    csv = found.table.assign(network=found.table["network"].map(network_title))
    pd.testing.assert_frame_equal(accuracies.from_frame(csv.astype(object)), found.table)


# ---- budgets -------------------------------------------------------------------------------------


def run(regime="finetune", network="resnet_50", dataset="digits", accuracy=0.9, *, key, examples=None, seed=None,
        **spec):
    """A row whose specification says the paper's budget but for what `spec` says."""
    grid = ({"l2": [0.1] * 45} if regime == "logistic_regression" else
            {"steps": 19531, "learning_rate": [0.1] * 7, "weight_decay": [0.0] * 8, "batch_size": 256})
    return row(regime, network, dataset, accuracy, key=key, spec=grid | spec | {
        "key": key, "examples_per_class": examples, "subset_seed": seed})


def kept(rows):
    """(network, data set, accuracy) of each line of the table of `rows`."""
    return [(line.network, line.dataset, line.accuracy) for line in from_records(rows).itertuples()]


@pytest.mark.parametrize("cheaper", [
    {"steps": 9765}, {"learning_rate": [0.1] * 6}, {"weight_decay": []}, {"batch_size": 64},
    {"steps": 19530, "learning_rate": [0.1] * 20, "batch_size": 512}, {"examples": 4, "seed": 0},
    {"examples": 4, "steps": 78125}])
def test_the_fullest_budget_is_the_table(cheaper):
    rows = [run(key="k1", accuracy=0.5, **cheaper), run(key="k2", accuracy=0.9)]
    assert kept(rows) == kept(rows[::-1]) == [("resnet_50", "digits", 0.9)]
    assert accuracies.missing(from_records(rows), budgets.split(runs_of(rows))[1]) == []


def test_strengths_of_l2_are_a_budget_too():
    rows = [run("logistic_regression", key="k1", accuracy=0.5, l2=[1] * 4, steps=9),
            run("logistic_regression", key="k2")]
    assert kept(rows) == [("resnet_50", "digits", 0.9)]


def test_budgets_are_chosen_per_regime():
    rows = [run(key="k1"), run("train_from_scratch", key="k2", steps=100), run("logistic_regression", key="k3", l2=[1])]
    assert len(from_records(rows)) == 3
    assert budgets.split(runs_of(rows)) == (runs_of(rows), [])


def test_cells_of_other_budgets_are_missing():
    rows = [run(key="k1"), run(network="vgg_16", dataset="dtd", key="k2", steps=12),
            run(dataset="pets", key="k3", steps=12), run(dataset="pets", key="k4", steps=6),
            run(dataset="cars", key="k5", examples=1)]
    table = from_records(rows)
    assert kept(rows) == [("resnet_50", "digits", 0.9)]
    assert accuracies.missing(table) == []
    assert accuracies.missing(table, budgets.split(runs_of(rows))[1]) == [
        ("finetune", "vgg_16", "dtd"), ("finetune", "resnet_50", "pets")]


def test_few_examples_alone_leave_the_table_empty():
    table = from_records([run(key="k1", examples=1, seed=0), pretrain()])
    assert len(table) == 0
    assert list(table.columns) == list(COLUMNS)
    assert (accuracies.missing(table), accuracies.comparisons(table)) == ([], [])


def test_features_of_the_users_own_choose_no_budget():
    own = run("logistic_regression", "features", "features:mine", key="k1", l2=[1] * 99) | {"source": None}
    assert kept([own, run("logistic_regression", key="k2")]) == [("resnet_50", "digits", 0.9)]


def test_rows_that_do_not_tell_their_budget_give_way():
    assert kept([row(key="old", accuracy=0.5), run(key="k2")]) == [("resnet_50", "digits", 0.9)]


@pytest.mark.parametrize(("spec", "words"), [
    ({"steps": 12}, "(12 steps, 7 learning rates × 8 weight decays, batches of 256 images)"),
    ({"examples": 1, "seed": 2, "learning_rate": [1], "weight_decay": [0]},
     "(19,531 steps, 1 learning rate × 1 weight decay, batches of 256 images, 1 example per class, subset 2)")])
def test_two_runs_of_one_budget_stay_an_error(spec, words):
    with pytest.raises(UserError) as error:
        from_records([run(key="k1", **spec), run(key="k2", accuracy=0.91, **spec), run(key="k3")])
    for part in (words, "two different runs of finetune, resnet_50, digits", "digits-k1", "digits-k2"):
        assert part in str(error.value)


def test_left_out_rows_still_tell_the_source_and_must_be_comparable():
    rows = [run("train_from_scratch", key="k1") | {"source": None}, run(key="k2", examples=1)]
    assert from_records(rows)["source_accuracy"].tolist() == [0.8]
    with pytest.raises(UserError, match="not comparable"):
        from_records([*rows, run(key="k3", examples=2) | {"n_test": 358}])


def test_copies_of_a_cheaper_run_are_no_error():
    assert len(from_records([run(key="k1", steps=2), run(key="k1", steps=2), run(key="k2")])) == 1


def test_report_tables_come_back(tmp_path):
    table = from_records([row(), row("logistic_regression", accuracy=1 / 3, key="k2"),
                       row("train_from_scratch", "vgg", source=None, key="k3")])
    table.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(from_csv(tmp_path / "t.csv"), table)


# ---- unequal splits, one data set ----------------------------------------------------------------


def test_unequal_splits_are_averaged_only_when_told():
    rows = [row(), row(network="vgg_16", key="k2", n_test=358)]
    with pytest.raises(UserError, match="--allow_unequal_splits"):
        from_records(rows)
    assert from_records(rows, allow_unequal=True)["n"].tolist() == [359, 358]
    said, = accuracies.mismatches(rows)
    assert "digits: 359 examples" in said and "358 examples" in said
    assert accuracies.mismatches([row()]) == []


@pytest.mark.parametrize("name", ["folder:/data/mine", "mine", "folder:/data/mine/"])
def test_one_data_set_by_its_name_title_or_folder(name):
    rows = [pretrain(), row(dataset="folder:/data/mine", key="k1"), row(dataset="pets", key="k2")]
    with pytest.raises(UserError, match="folder:/data/mine, pets|pets, folder:/data/mine"):
        accuracies.of_datasets(from_records(rows), runs_of(rows), [name, "yours"])
    table, kept = accuracies.of_datasets(from_records(rows), runs_of(rows), [name])
    assert set(table["dataset"]) == {"folder:/data/mine"}
    assert [run.regime for run in kept] == ["pretrain", "finetune"]
    for pets in ("Oxford-IIIT Pets", "oxford iiit pets"):
        assert set(accuracies.of_datasets(from_records(rows), runs_of(rows), [pets])[0]["dataset"]) == {"pets"}
    assert len(accuracies.of_datasets(from_records(rows), runs_of(rows), [name, "pets"])[0]) == 2


# ---- views ---------------------------------------------------------------------------------------


def test_views_of_a_table_with_a_gap(tmp_path):
    table = from_csv(write(tmp_path, HEADER + "logreg,A,70,60,50\nlogreg,B,80,65,\nfinetune,A,70,60,55\n"))
    assert accuracies.regimes(table) == ["logistic_regression", "finetune"]
    assert accuracies.missing(table) == [("logistic_regression", "B", "voc2007")]
    assert accuracies.pivot(table, "logistic_regression").index.tolist() == ["B", "A"]  # best source first
    matrix = accuracies.complete(table, "logistic_regression")
    assert (matrix.networks, matrix.datasets) == (("A", "B"), ("dtd",))
    np.testing.assert_allclose(matrix.accuracy, [[0.6], [0.65]])
    assert accuracies.wins(table, "finetune", "logistic_regression") == (1, 1, 2)
