"""Curves against values by hand, what is left out of the tables in words, and the curves' figures."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from scipy import special

from tfbench import UserError
from tfbench.report import curve_plots, plots
from tfbench.stats import curves

GRID = {"learning_rate": [0.01, 0.1], "weight_decay": [0.0], "batch_size": 64}
GRID_TEXT = "2 learning rates × 1 weight decay, batches of 64 images"


def run(accuracy, regime="finetune", network="resnet_50", dataset="digits", *, n=99, **spec):
    """A row with the fields that the curves read."""
    fixed = {"l2": [1.0, 10.0]} if regime == "logistic_regression" else {"steps": 12} | GRID
    spec = fixed | spec
    return {"regime": regime, "network": network, "dataset": dataset, "accuracy": accuracy, "n_test": n, "spec": spec,
            "key": str(spec)}


def few(accuracy, examples, seed, regime="finetune", **more):
    return run(accuracy, regime, examples_per_class=examples, subset_seed=seed, **more)


# ---- tables --------------------------------------------------------------------------------------


def test_convergence_has_the_cells_with_two_or_more_numbers_of_steps():
    rows = [run(0.6, steps=100), run(0.4, steps=10), run(0.5, steps=31, examples_per_class=None),
            run(0.9, network="vgg_16", steps=100), run(0.8, "logistic_regression"), few(0.1, 1, 0, steps=10),
            *(run(a, "train_from_scratch", dataset="dtd", steps=s) for a, s in ((0.3, 5), (0.2, 1))),
            run(0.7, "pretrain", steps=5), run(0.7, "pretrain", steps=6)]
    found = curves.convergence(rows)
    assert list(found.columns) == ["regime", "network", "dataset", "steps", "accuracy", "n"]
    assert found.to_numpy().tolist() == [
        ["finetune", "resnet_50", "digits", 10, 0.4, 99], ["finetune", "resnet_50", "digits", 31, 0.5, 99],
        ["finetune", "resnet_50", "digits", 100, 0.6, 99], ["train_from_scratch", "resnet_50", "dtd", 1, 0.2, 99],
        ["train_from_scratch", "resnet_50", "dtd", 5, 0.3, 99]]
    assert found["steps"].dtype == int


def test_convergence_changes_nothing_but_steps_along_a_curve():
    full = {"learning_rate": [0.1] * 7, "weight_decay": [0.0] * 8, "batch_size": 256}
    rows = [run(0.9, steps=100, **full), run(0.5, steps=100), run(0.4, steps=10), run(0.3, steps=5, batch_size=32)]
    assert curves.convergence(rows)["accuracy"].tolist() == [0.4, 0.5]  # of the full grid there is one point only
    rows += [run(0.8, network="vgg_16", steps=s, **full) for s in (10, 20)]
    found = curves.convergence(rows)  # now the full grid has a curve
    assert found["network"].tolist() == ["vgg_16", "vgg_16"]


def test_few_examples_average_accuracies_over_subsets():
    rows = [few(0.1, 1, 0), few(0.3, 1, 1), few(0.8, 1, 2), few(0.5, 4, 0), few(0.9, 4, 1),
            few(0.7, 1, 5, "logistic_regression"), run(0.99), run(0.98, steps=24)]
    found = curves.few_examples(rows)
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
    found = curves.few_examples(rows)
    assert (found["mean"].tolist(), found["subsets"].tolist()) == ([0.5, 0.6], [1, 1])


@pytest.mark.parametrize("function", [curves.convergence, curves.few_examples])
@pytest.mark.parametrize("rows", [[], [run(0.5)], [run(0.5, "pretrain")], [run(0.5, network="features", steps=1),
                                                                             run(0.5, network="features", steps=2)]])
def test_no_curves(function, rows):
    found = function(rows)
    assert len(found) == 0
    assert {"regime", "network", "dataset"} < set(found.columns)


def test_one_row_a_copy_and_an_unknown_number_of_test_examples():
    row = few(0.5, 3, None, n=None)
    found = curves.few_examples([row, dict(row)])
    assert found["subsets"].tolist() == [1]
    assert found["n"].isna().all()
    rows = [run(0.5, steps=1, n=None), run(0.5, steps=2)]
    rows[1].pop("n_test")
    assert curves.convergence(rows)["n"].isna().all()


@pytest.mark.parametrize(("function", "row"), [(curves.convergence, run(0.5)), (curves.few_examples, few(0.5, 1, 1))])
def test_two_runs_of_one_point_are_an_error(function, row):
    with pytest.raises(UserError, match="two different runs of finetune, resnet_50, digits"):
        function([row, row | {"key": "another"}])


def test_order_is_that_of_the_catalogs():
    names = ["unknown", "vgg_16", "inception_v1", "another"]
    assert curves.in_order(names, "network") == ["inception_v1", "vgg_16", "another", "unknown"]
    found = curves.few_examples([few(0.5, e, 0, network=name, dataset=dataset) for name in names
                                 for dataset in ("mine", "digits", "food101") for e in (10, 9)])
    assert found["dataset"].tolist()[:6] == ["food101", "food101", "digits", "digits", "mine", "mine"]
    assert found["examples_per_class"].tolist()[:2] == [9, 10]
    assert list(dict.fromkeys(found["network"])) == ["inception_v1", "vgg_16", "another", "unknown"]


# ---- what is left out, in words ------------------------------------------------------------------


def test_left_out_in_words():
    rows = [run(0.9, steps=19531), run(0.5, steps=1), run(0.6, steps=1200), run(0.9, network="vgg_16", steps=19531),
            run(0.4, network="vgg_16", steps=12, weight_decay=[0.0, 1.0]),
            *(few(0.1, e, s, "train_from_scratch") for e in (1, 2, 4) for s in range(3)),
            few(0.1, 1, 9, "train_from_scratch", steps=1), run(0.9, "logistic_regression")]
    assert curves.left_out(rows) == [
        f"fine-tuning: the table has 2 rows with 19,531 steps, {GRID_TEXT}",
        "fine-tuning: left out of the table: 1 row with 12 steps, 2 learning rates × 2 weight decays, batches of 64 "
        "images (in no curve either)",
        f"fine-tuning: left out of the table: 2 rows with 1 or 1,200 steps, {GRID_TEXT} (drawn as curves)",
        "training from scratch: left out of the table: 9 rows on 1, 2 or 4 examples per class with 12 steps, "
        f"{GRID_TEXT} (drawn as curves)",
        "training from scratch: left out of the table: 1 row on 1 example per class with 1 step, "
        f"{GRID_TEXT} (in no curve either)"]


def test_nothing_left_out_nothing_said():
    assert curves.left_out([run(0.9), run(0.9, "logistic_regression"), run(0.1, "pretrain", steps=3)]) == []
    assert curves.left_out([]) == []


def test_left_out_without_a_budget():
    old = run(0.5) | {"spec": {}, "key": "old"}
    assert curves.left_out([old, run(0.9)])[1] == (
        "fine-tuning: left out of the table: 1 row with unknown budget (in no curve either)")


# ---- figures -------------------------------------------------------------------------------------


def steps_figure(accuracies=((0.2, 0.5),), **more):
    return curve_plots.convergence(curves.convergence(
        [run(a, steps=s, network=f"net{i}", **more) for i, pair in enumerate(accuracies)
         for s, a in zip((10, 100), pair, strict=True)]))


def test_points_lie_at_log_odds_and_on_a_log_axis():
    axes = steps_figure().axes[0]
    assert axes.get_xscale() == "log"
    expected = [[10, special.logit(0.2)], [100, special.logit(0.5)]]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), expected, atol=1e-12)
    assert axes.lines[0].get_color() == plots.COLOURS["finetune"]
    labels = [float(text.get_text()) for text in axes.get_yticklabels()]
    np.testing.assert_allclose(100 * special.expit(axes.get_yticks()), labels)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "100"]


def test_bars_are_one_standard_error_of_the_mean():
    figure = curve_plots.few_examples(curves.few_examples([few(0.4, 2, 0), few(0.6, 2, 1), few(0.6, 4, 0)]))
    ((x0, low), (x1, high)), single = figure.axes[0].collections[0].get_segments()
    assert x0 == x1 == 2
    assert (low, high) == pytest.approx(tuple(special.logit([0.4, 0.6])))  # .5 ± .1
    assert single[0][1] == single[1][1]  # of one subset there is no error to show


def test_zero_and_one_are_drawn_at_half_an_example():
    found = special.expit(curve_plots.drawn_logit([0.0, 1.0, -0.2, 1.3, 0.5], [9, 9, 9, 9, 9]))
    assert found.tolist() == pytest.approx([0.05, 0.95, 0.05, 0.95, 0.5])
    assert special.expit(curve_plots.drawn_logit([0.0, 1.0], np.nan)).tolist() == pytest.approx([0.0005, 0.9995])


@pytest.mark.parametrize("n", [9, None])
def test_extremes_do_not_break_the_axis(n):
    figures = [steps_figure(((0.0, 1.0), (1.0, 1.0)), n=n), steps_figure(((0.0, 0.0),), n=n),
               curve_plots.few_examples(curves.few_examples([few(0.0, 2, 0, n=n), few(1.0, 2, 1, n=n),
                                                             few(0.9, 3, 0, n=n), few(1.0, 3, 1, n=n)]))]
    for figure in figures:
        assert np.isfinite(figure.axes[0].get_ylim()).all()
        assert len(figure.axes[0].get_yticks()) >= 4
        assert plots.save(figure)[1].startswith(b"\x89PNG")


def test_a_panel_per_data_set_and_legends_that_tell_lines_apart():
    rows = [run(0.3 + 0.01 * i, regime, f"net{i}", dataset, steps=s) for i in range(20) for s in (1, 2)
            for regime in ("finetune", "train_from_scratch") for dataset in ("dtd", "digits", "mine")]
    figure = curve_plots.convergence(curves.convergence(rows))
    assert [axes.get_title() for axes in figure.axes] == ["DTD", "Digits", "mine"]
    regimes, networks = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert regimes == ["fine-tuning", "training from scratch"]
    assert sorted(networks) == sorted(f"net{i}" for i in range(20))
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 40


@pytest.mark.parametrize(("datasets", "networks"), [(1, 1), (2, 3), (12, 1), (5, 16)])
def test_nothing_overlaps_or_leaves_the_figure(datasets, networks):
    steps = [76, 153, 305, 610, 1221, 2441, 4883, 9766, 19531]
    rows = [run(0.1 + 0.04 * i + 0.01 * j, network=network, dataset=dataset, steps=s)
            for dataset in curves.CELL["dataset"][:datasets]
            for j, network in enumerate(curves.CELL["network"][:networks]) for i, s in enumerate(steps)]
    figure = curve_plots.convergence(curves.convergence(rows))
    figure.draw_without_rendering()
    frame = figure.bbox
    ticks = [[text.get_window_extent() for text in axes.get_xticklabels()] for axes in figure.axes]
    for boxes in ticks:
        assert all(a.x1 + 2 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    others = [axes.title.get_window_extent() for axes in figure.axes] + [
        axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.get_xlabel()] + [
        axes.yaxis.label.get_window_extent() for axes in figure.axes if axes.get_ylabel()] + [
        legend.get_window_extent() for legend in figure.legends]
    texts = [box for boxes in ticks for box in boxes] + others
    for a in texts:
        assert a.x0 >= frame.x0 and a.x1 <= frame.x1 and a.y0 >= frame.y0 and a.y1 <= frame.y1
    for i, a in enumerate(texts):
        assert not any(min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
                       for b in texts[:i])


@pytest.mark.parametrize(("values", "expected"), [
    ([7], [7]), ([1, 2, 4, 8, 16, 30], [1, 2, 4, 8, 16, 30]), ([100, 1, 99, 100], [1, 100]),
    ([76, 153, 305, 610, 1221, 2441, 4883, 9766, 19531], [76, 305, 1221, 4883, 19531])])
def test_ticks_are_what_was_measured_and_has_room(values, expected):
    assert curve_plots.log_ticks(values) == expected


def test_hostile_names_are_drawn_as_they_are():
    names = ["$\\frac{", "_hidden", "<script>alert(1)</script>", "a\n\x1b[31mb", "網路", "x" * 300]
    rows = [run(0.5, network=name, dataset=name, steps=s) for name in names for s in (1, 2)]
    figure = curve_plots.convergence(curves.convergence(rows))
    expected = {"$\\frac{", "_hidden", "<script>alert(1)</script>", "a??[31mb", "網路", "x" * 29 + "…"}
    assert {text.get_text() for text in figure.legends[1].get_texts()} == expected
    assert {axes.get_title() for axes in figure.axes} == expected
    svg, _ = plots.save(figure)
    assert {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()} & {"script", "b"} == set()


def test_no_lines_no_figure():
    for draw, table in ((curve_plots.convergence, curves.convergence), (curve_plots.few_examples, curves.few_examples)):
        with pytest.raises(ValueError, match="found none"):
            draw(table([]))


def test_same_input_same_bytes_and_no_global_state():
    first, second = (plots.save(steps_figure()) for _ in range(2))
    assert first == second
    code = "import tfbench.report.curve_plots, sys; assert not {'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
