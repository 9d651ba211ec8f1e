"""The accuracies table, from rows and from CSV: what it holds, and what it refuses."""

import copy
import csv

import numpy as np
import pandas as pd
import pytest

from tfbench import UserError
from tfbench.results.titles import network_title
from tfbench.stats import accuracies, budgets, csv_table, findings, published
from tfbench.stats.accuracies import COLUMNS, from_csv, from_records, runs_of
from tfbench.stats.csv_table import NAMES

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


# ---- image sizes ---------------------------------------------------------------------------------


def sized(image_size, network="inception_v4", accuracy=0.9, *, key="k1", **more):
    return row(network=network, accuracy=accuracy, key=key, **more) | {"spec": {"key": key, "image_size": image_size}}


@pytest.mark.parametrize(("rows", "names"), [
    ([sized(299), sized(448, key="k2")], ["inception_v4", "inception_v4 @ 448 px"]),
    ([sized(32), sized(32, "vgg_16", key="k2")], ["inception_v4", "vgg_16"]),  # one size each: no news
    ([sized(32), sized(64, key="k2"), pretrain("inception_v4", spec={"image_size": 32})],
     ["inception_v4", "inception_v4 @ 64 px"]),
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


# ---- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "logreg,A,70,60,50\nrandom_init,B,80,10,\n", "logistic_regression,A,.7,.6,.5\ntrain_from_scratch,B,.8,.1,\n"])
def test_percent_and_fractions_are_told_apart(tmp_path, text):
    table = from_csv(write(tmp_path, HEADER + text))
    assert table["accuracy"].tolist() == pytest.approx([0.5, 0.6, 0.1])  # in the catalog's order
    assert table["source_accuracy"].tolist() == pytest.approx([0.7, 0.7, 0.8])
    assert table["regime"].tolist() == ["logistic_regression"] * 2 + ["train_from_scratch"]
    assert table["n"].isna().all()


def test_report_tables_come_back(tmp_path):
    table = from_records([row(), row("logistic_regression", accuracy=1 / 3, key="k2"),
                       row("train_from_scratch", "vgg", source=None, key="k3")])
    table.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(from_csv(tmp_path / "t.csv"), table)


def test_byte_order_mark_quotes_and_windows_line_ends(tmp_path):
    text = b"\xef\xbb\xbf" + (HEADER + 'logreg,"A, big",70,60,50\n\n').replace("\n", "\r\n").encode()
    assert from_csv(write(tmp_path, text))["network"].tolist() == ["A, big"] * 2


@pytest.mark.parametrize(("text", "words"), [
    ("", ["empty"]),
    (HEADER, ["found none"]),
    (HEADER + "logreg,A,70,,\n", ["found none"]),
    ("model,imagenet_top1,DTD\nA,70,60\n", ["columns setting"]),
    ("setting,model,DTD\nlogreg,A,70\n", ["imagenet_top1"]),
    ("setting,model,imagenet_top1,DTD,DTD\nlogreg,A,70,60,50\n", ["rename"]),
    ("regime,dataset,accuracy\nfinetune,digits,.5\n", ["network", "source_accuracy"]),
    (HEADER + "logreg,A,70,60\n", ["line 2", "5 cells", "found 4"]),
    (HEADER + "zeroshot,A,70,60,50\n", ["line 2", "zeroshot", "logreg"]),
    (HEADER + "logreg,,70,60,50\n", ["line 2", "'model'"]),
    (HEADER + "logreg,A,70,60,50\nlogreg,B,70,sixty,50\n", ["line 3", "'DTD'", "sixty"]),
    (HEADER + "logreg,A,70,60,101\n", ["line 2", "'VOC2007'", "101"]),
    (HEADER + "logreg,A,70,-1,50\n", ["line 2", "'DTD'", "-1"]),
    (HEADER + "logreg,A,70,nan,50\n", ["line 2", "'DTD'", "nan"]),
    (HEADER + "logreg,A,inf,60,50\n", ["line 2", "'imagenet_top1'", "inf"]),
    (HEADER + "logreg,A,70,60,50\nlogreg,A,70,61,51\n", ["lines 2 and 3"]),
    (HEADER + "logreg,A,70,60,50\nfinetune,A,71,61,51\n", ["lines 2 and 3", "70 and 71"]),
    (HEADER + "logreg,A,0.7,60,50\n", ["percent or fractions", "'DTD'", "0.7"]),
    ("regime,network,dataset,accuracy,n,source_accuracy\nfinetune,a,d,.5,many,.6\n", ["line 2", "'n'", "many"]),
    (b"\xff\xfe\x00s", ["cannot read"]),
    (HEADER + 'logreg,"A,70,60,50\n', ["cannot read"]),
])
def test_csv_errors_name_the_place(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        from_csv(path)
    assert [word for word in [str(path), *words] if word not in str(error.value)] == []


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(UserError, match="--accuracies=FILE"):
            from_csv(path)


def test_titles_and_names_are_the_same(tmp_path):
    text = "setting,model,imagenet_top1,DTD,cars,mine\nlogreg,ResNet-50,70,60,50,40\nlogreg,vgg_16,71,61,51,41\n"
    table = from_csv(write(tmp_path, text))
    assert sorted(set(table["dataset"])) == ["cars", "dtd", "mine"]
    assert set(table["network"]) == {"resnet_50", "vgg_16"}
    both = "setting,model,imagenet_top1,DTD\nlogreg,ResNet-50,70,60\nlogreg,resnet_50,70,60\n"
    with pytest.raises(UserError, match="lines 2 and 3"):
        from_csv(write(tmp_path, both))


def test_one_of_several_source_columns_is_named(tmp_path):
    path = write(tmp_path, "setting,model,imagenet_top1_a,imagenet_top1_b,DTD\nlogreg,A,70,80,60\n")
    assert from_csv(path, "imagenet_top1_b")["source_accuracy"].tolist() == [0.8]
    assert from_csv(path, "imagenet_top1_b")["dataset"].tolist() == ["dtd"]
    for column in (None, "imagenet_top1_c"):
        with pytest.raises(UserError, match="--source_column=COLUMN"):
            from_csv(path, column)


@pytest.mark.parametrize("form", ["wide", "long"])
def test_a_data_frame_is_a_table_as_its_file_is(tmp_path, form):
    path = published.FOLDER / "kornblith2019_v3_fig2_digitised.csv"
    if form == "long":
        counts = pd.array([None, *[7] * 575], "Int64")
        path = tmp_path / "long.csv"
        published.accuracies().assign(n=counts).to_csv(path, index=False)
    frame = pd.read_csv(path, float_precision="round_trip")
    pd.testing.assert_frame_equal(accuracies.from_frame(frame), from_csv(path))


@pytest.mark.parametrize(("frame", "words"), [
    ([1, 2], "expected a pandas DataFrame of accuracies, found list"),
    (pd.DataFrame({"setting": ["logreg"], "model": ["A"], "imagenet_top1": [70], "DTD": [160]}, index=["x"]),
     "the DataFrame, line x, column 'DTD': .* found '160'"),
    (pd.DataFrame({"setting": ["logreg"], "model": [None], "imagenet_top1": [70], "DTD": [60]}), "column 'model'"),
    (pd.DataFrame(), "expected the columns setting, model")])
def test_data_frames_that_are_no_table(frame, words):
    with pytest.raises(UserError, match=words):
        accuracies.from_frame(frame)


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
    if name.endswith("/"):
        with pytest.raises(UserError, match="folder:/data/mine, pets|pets, folder:/data/mine"):
            accuracies.of_dataset(from_records(rows), runs_of(rows), name)
        return
    table, kept = accuracies.of_dataset(from_records(rows), runs_of(rows), name)
    assert set(table["dataset"]) == {"folder:/data/mine"}
    assert [run.regime for run in kept] == ["pretrain", "finetune"]
    assert set(accuracies.of_dataset(from_records(rows), runs_of(rows), "Oxford-IIIT Pets")[0]["dataset"]) == {"pets"}


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


def test_published_table_is_read_cell_by_cell():
    path = published.FOLDER / "kornblith2019_v3_fig2_digitised.csv"
    table = from_csv(path).set_index(["regime", "network", "dataset"])["accuracy"]
    with path.open(newline="") as file:
        cells = [(csv_table.SETTINGS[line["setting"]], NAMES[line["model"]], NAMES[dataset], float(text) / 100)
                 for line in csv.DictReader(file) for dataset, text in list(line.items())[3:]]
    assert len(cells) == len(table) == 3 * 16 * 12
    assert all(table[cell[:3]] == cell[3] for cell in cells)
