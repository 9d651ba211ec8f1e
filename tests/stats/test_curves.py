"""Curves against values by hand, and what is left out of the tables in words."""

import math

import pytest
from helpers.studies import GRID_TEXT, few, run, runs_of

from tfbench import UserError
from tfbench.stats import curves

# ---- tables --------------------------------------------------------------------------------------


def test_convergence_has_the_cells_with_two_or_more_numbers_of_steps():
    rows = [run(0.6, steps=100), run(0.4, steps=10), run(0.5, steps=31, examples_per_class=None),
            run(0.9, network="vgg_16", steps=100), run(0.8, "logistic_regression"), few(0.1, 1, 0, steps=10),
            *(run(a, "train_from_scratch", dataset="dtd", steps=s) for a, s in ((0.3, 5), (0.2, 1))),
            run(0.7, "pretrain", steps=5), run(0.7, "pretrain", steps=6)]
    found = curves.convergence(runs_of(rows))
    assert list(found.columns) == ["regime", "network", "dataset", "steps", "accuracy", "n"]
    assert found.to_numpy().tolist() == [
        ["finetune", "resnet_50", "digits", 10, 0.4, 99], ["finetune", "resnet_50", "digits", 31, 0.5, 99],
        ["finetune", "resnet_50", "digits", 100, 0.6, 99], ["train_from_scratch", "resnet_50", "dtd", 1, 0.2, 99],
        ["train_from_scratch", "resnet_50", "dtd", 5, 0.3, 99]]
    assert found["steps"].dtype == int


def test_convergence_changes_nothing_but_steps_along_a_curve():
    full = {"learning_rate": [0.1] * 7, "weight_decay": [0.0] * 8, "batch_size": 256}
    rows = [run(0.9, steps=100, **full), run(0.5, steps=100), run(0.4, steps=10), run(0.3, steps=5, batch_size=32)]
    found = curves.convergence(runs_of(rows))  # of the full grid there is one point only
    assert found["accuracy"].tolist() == [0.4, 0.5]
    rows += [run(0.8, network="vgg_16", steps=s, **full) for s in (10, 20)]
    found = curves.convergence(runs_of(rows))  # now the full grid has a curve
    assert found["network"].tolist() == ["vgg_16", "vgg_16"]


def test_few_examples_average_accuracies_over_subsets():
    rows = [few(0.1, 1, 0), few(0.3, 1, 1), few(0.8, 1, 2), few(0.5, 4, 0), few(0.9, 4, 1),
            few(0.7, 1, 5, "logistic_regression"), run(0.99), run(0.98, steps=24)]
    found = curves.few_examples(runs_of(rows))
    assert list(found.columns) == ["regime", "network", "dataset", "examples_per_class", "mean", "standard_error",
                                   "subsets", "n"]
    assert found["examples_per_class"].tolist() == [1, 1, 4]
    assert found["regime"].tolist() == ["logistic_regression", "finetune", "finetune"]
    assert found["subsets"].tolist() == [1, 3, 2]
    assert found["mean"].tolist() == pytest.approx([0.7, 0.4, 0.7])
    assert math.isnan(found["standard_error"][0])
    # deviations -.3, -.1, .4: variance .26 / 2; -.2, .2: .08 / 1
    assert found["standard_error"].tolist()[1:] == pytest.approx([math.sqrt(0.13 / 3), math.sqrt(0.08 / 2)])
    assert found["n"].tolist() == [99, 99, 99]


def test_few_examples_of_other_budgets_are_not_averaged():
    rows = [few(0.5, 1, 0), few(0.1, 1, 1, steps=6), few(0.2, 1, 1, steps=12, learning_rate=[1.0]), few(0.6, 2, 0)]
    found = curves.few_examples(runs_of(rows))
    assert (found["mean"].tolist(), found["subsets"].tolist()) == ([0.5, 0.6], [1, 1])


@pytest.mark.parametrize("function", [curves.convergence, curves.few_examples])
@pytest.mark.parametrize("rows", [[], [run(0.5)], [run(0.5, "pretrain")], [run(0.5, network="features", steps=1),
                                                                             run(0.5, network="features", steps=2)]])
def test_no_curves(function, rows):
    found = function(runs_of(rows))
    assert len(found) == 0
    assert {"regime", "network", "dataset"} < set(found.columns)


def test_one_row_a_copy_and_an_unknown_number_of_test_examples():
    row = few(0.5, 3, None, n=None)
    found = curves.few_examples(runs_of([row, dict(row)]))
    assert found["subsets"].tolist() == [1]
    assert found["n"].isna().all()
    rows = [run(0.5, steps=1, n=None), run(0.5, steps=2)]
    rows[1].pop("n_test")
    assert curves.convergence(runs_of(rows))["n"].isna().all()


@pytest.mark.parametrize(("function", "row"), [(curves.convergence, run(0.5)), (curves.few_examples, few(0.5, 1, 1))])
def test_two_runs_of_one_point_are_an_error(function, row):
    with pytest.raises(UserError, match="two different runs of finetune, resnet_50, digits"):
        function(runs_of([row, row | {"key": "another"}]))


def test_order_is_that_of_the_catalogs():
    names = ["unknown", "vgg_16", "inception_v1", "another"]
    assert curves.in_order(names, "network") == ["inception_v1", "vgg_16", "another", "unknown"]
    found = curves.few_examples(runs_of([few(0.5, e, 0, network=name, dataset=dataset) for name in names
                                         for dataset in ("mine", "digits", "food101") for e in (10, 9)]))
    assert found["dataset"].tolist()[:6] == ["food101", "food101", "digits", "digits", "mine", "mine"]
    assert found["examples_per_class"].tolist()[:2] == [9, 10]
    assert list(dict.fromkeys(found["network"])) == ["inception_v1", "vgg_16", "another", "unknown"]


# ---- what is left out, in words ------------------------------------------------------------------


def test_left_out_in_words():
    rows = [run(0.9, steps=19531), run(0.5, steps=1), run(0.6, steps=1200), run(0.9, network="vgg_16", steps=19531),
            run(0.4, network="vgg_16", steps=12, weight_decay=[0.0, 1.0]),
            *(few(0.1, e, s, "train_from_scratch") for e in (1, 2, 4) for s in range(3)),
            few(0.1, 1, 9, "train_from_scratch", steps=1), run(0.9, "logistic_regression")]
    assert curves.left_out(runs_of(rows)) == [
        f"fine-tuning: the table has 2 rows with 19,531 steps, {GRID_TEXT}",
        "fine-tuning: left out of the table: 1 row with 12 steps, 2 learning rates × 2 weight decays, batches of 64 "
        "images (in no curve either)",
        f"fine-tuning: left out of the table: 2 rows with 1 or 1,200 steps, {GRID_TEXT} (drawn as curves)",
        "training from scratch: left out of the table: 9 rows on 1, 2 or 4 examples per class with 12 steps, "
        f"{GRID_TEXT} (drawn as curves)",
        "training from scratch: left out of the table: 1 row on 1 example per class with 1 step, "
        f"{GRID_TEXT} (in no curve either)"]


def test_nothing_left_out_nothing_said():
    assert curves.left_out(runs_of([run(0.9), run(0.9, "logistic_regression"), run(0.1, "pretrain", steps=3)])) == []
    assert curves.left_out(runs_of([])) == []


def test_left_out_without_a_budget():
    old = run(0.5) | {"spec": {}, "key": "old"}
    assert curves.left_out(runs_of([old, run(0.9)]))[1] == (
        "fine-tuning: left out of the table: 1 row with unknown budget (in no curve either)")
