"""Curves against values by hand, and what is left out of the tables in words."""

import math

import numpy as np
import pytest
from helpers.studies import GRID_TEXT, few, run, runs_of

from tfbench import UserError, paper
from tfbench.data.catalog import DATASETS, PAPER_DATASETS
from tfbench.stats import curves

# ---- tables --------------------------------------------------------------------------------------


def test_convergence_has_the_cells_with_two_or_more_numbers_of_steps():
    rows = [run(0.6, steps=100), run(0.4, steps=10), run(0.5, steps=31, examples_per_class=None),
            run(0.9, network="vgg_16", steps=100), run(0.8, "logistic_regression"), few(0.1, 1, 0, steps=10),
            *(run(a, "train_from_scratch", dataset="dtd", steps=s) for a, s in ((0.3, 5), (0.2, 1))),
            run(0.7, "pretrain", steps=5), run(0.7, "pretrain", steps=6)]
    found = curves.convergence(runs_of(rows))
    assert list(found.columns) == ["regime", "network", "dataset", "steps", "accuracy", "n", "epochs"]
    assert found.drop(columns="epochs").to_numpy().tolist() == [
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


def test_epochs_are_of_all_training_images_where_their_number_is_known():
    images = DATASETS["pets"].train + DATASETS["pets"].validation
    rows = [run(0.5, dataset=name, steps=s, batch_size=256) for name in ("pets", "mine", "ours") for s in (100, 200)]
    for row in rows[4:]:
        row["refit"] = {"images": 512}
    epochs = curves.convergence(runs_of(rows)).groupby("dataset", sort=False)["epochs"].apply(list)
    assert epochs["pets"] == [pytest.approx(s * 256 / images) for s in (100, 200)]
    assert epochs["ours"] == [50, 100] and all(map(math.isnan, epochs["mine"]))


def curve(odds, steps, regime="finetune", dataset="pets", **more):
    """A curve of runs with these odds."""
    return [run(o / (1 + o), regime, dataset=dataset, steps=s, batch_size=256, **more)
            for o, s in zip(odds, steps, strict=True)]


@pytest.mark.parametrize(("odds", "steps", "reached", "at_first"), [
    ((1, 10, 10), (100, 1000, 10000), 900, False),  # odds grow as the steps: 9 at 900
    ((1, 10, 8, 4), (100, 1000, 2000, 4000), 900, False), ((1, 1, 100), (10, 100, 1000), 100 * 90 ** 0.5, False),
    ((9.5, 10, 9), (100, 1000, 10000), 100, True), ((5, 5, 5), (1, 2, 3), 1, True)])
def test_speed_is_read_off_between_the_points(odds, steps, reached, at_first):
    line, = curves.speeds(curves.convergence(runs_of(curve(odds, steps)))).to_dict("records")
    assert line["steps"] == pytest.approx(reached) and line["at_first"] is at_first
    assert line["epochs"] == pytest.approx(reached * 256 / 3680)
    assert line["best"] == pytest.approx(max(odds) / (1 + max(odds))) and line["points"] == len(odds)


def test_the_papers_speed_up_comes_out_of_curves_that_have_it():
    """Odds that grow as the steps up to ten ninths of where the paper's curves are at 90 % of their best."""
    rows = [row for dataset in PAPER_DATASETS for regime, first in (("finetune", 128), ("train_from_scratch", 2170))
            for row in curve((1, 10, 10), (first, 10 * first, 100 * first), regime, dataset.name)]
    of_curves = curves.speeds(curves.convergence(runs_of(rows)))
    assert len(of_curves) == 24 and not of_curves["at_first"].any()
    tuned, scratch = curves.speed(of_curves).to_dict("records")
    assert (tuned["curves"], scratch["curves"]) == (12, 12)
    assert (tuned["steps"], scratch["steps"]) == (pytest.approx(1152), pytest.approx(19530))  # paper: 1,151 and 19,531
    (_, tuned_epochs), (_, scratch_epochs) = paper.CONVERGED
    assert (round(tuned["epochs"]), round(scratch["epochs"])) == (tuned_epochs, scratch_epochs) == (26, 444)
    assert round(scratch["ratio"]) == 17 and tuned["ratio"] == 1
    sizes = sorted(np.log(256 * 1152 / (dataset.train + dataset.validation)) for dataset in PAPER_DATASETS)
    assert np.log(tuned["epochs_low"]) == pytest.approx(sizes[2] + 0.75 * (sizes[3] - sizes[2]))
    assert np.log(tuned["epochs_high"]) == pytest.approx(sizes[8] + 0.25 * (sizes[9] - sizes[8]))


def test_speed_is_over_what_all_regimes_have_and_short_curves_say_nothing():
    steps = (100, 1000, 10000)
    rows = [*curve((1, 10, 10), steps), *curve((2, 2, 2), steps, dataset="dtd"),
            *curve((1, 2), steps[:2], dataset="flowers"), *curve((1, 1, 10), steps, "train_from_scratch")]
    lines = curves.convergence(runs_of(rows))
    of_curves = curves.speeds(lines)
    assert len(of_curves) == 3
    found = curves.speed(of_curves)
    assert found["curves"].tolist() == [1, 1] and found["steps"].tolist() == pytest.approx([900, 9000])
    assert found["ratio"].tolist() == pytest.approx([1, 10])
    assert curves.too_short(lines) == [
        "how fast training converges is not told by 1 curve of 2 points, first fine-tuning of ResNet-50 on 102 "
        "Flowers: expected 3 or more, add numbers of steps with --steps_curve"]
    assert curves.too_short(lines[lines["dataset"] != "flowers"]) == []
    nothing = curves.speed(curves.speeds(lines[:0]))
    assert len(nothing) == 0 and "ratio" in nothing


def test_the_number_of_steps_may_follow_that_of_the_examples():
    rows = [few(0.5, 1, 0, steps=1000), few(0.6, 64, 0, steps=2000), few(0.7, 64, 1, steps=2000),
            few(0.1, 64, 2, steps=1000), few(0.4, 64, 0, steps=900, dataset="dtd")]
    found = curves.few_examples(runs_of(rows))
    assert found[["dataset", "examples_per_class", "subsets"]].to_numpy().tolist() == [
        ["dtd", 64, 1], ["digits", 1, 1], ["digits", 64, 2]]


def test_subsets_that_are_the_whole_set_are_one():
    images = DATASETS["digits"].train + DATASETS["digits"].validation
    rows = [few(0.5, k, s) | {"refit": {"images": n}} for k, n in ((4, 40), (200, images)) for s in range(3)]
    rows += [few(0.6, 200, s, "logistic_regression") for s in range(3)]
    found = curves.few_examples(runs_of(rows))
    assert found["subsets"].tolist() == [1, 3, 1]
    assert found["standard_error"].isna().tolist() == [True, False, True]


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


def test_larger_subsets_may_have_more_steps():
    rows = [few(0.5, 1, 0, steps=1000), few(0.6, 64, 0, steps=3700), few(0.1, 64, 1, steps=1000), few(0.9, 4096, None,
                                                                                                      steps=64000)]
    found = curves.few_examples(runs_of(rows))
    assert (found["examples_per_class"].tolist(), found["mean"].tolist()) == ([1, 64, 4096], [0.5, 0.6, 0.9])
    assert found["subsets"].tolist() == [1, 1, 1]  # that of all images is one


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
