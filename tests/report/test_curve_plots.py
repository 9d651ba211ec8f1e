"""The curves' figures: what they show, that nothing overlaps, and that they are the same every time."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers.figures import hovers
from helpers.studies import few, run, runs_of
from scipy import special

from tfbench.regimes import REGIMES
from tfbench.report import curve_plots, plots
from tfbench.stats import curves


def steps_figure(accuracies=((0.2, 0.5),), **more):
    return curve_plots.convergence(curves.convergence(runs_of(
        [run(a, steps=s, network=f"net{i}", **more) for i, pair in enumerate(accuracies)
         for s, a in zip((10, 100), pair, strict=True)])))


def test_points_lie_at_log_odds_and_on_a_log_axis():
    axes = steps_figure().axes[0]
    assert axes.get_xscale() == "log"
    expected = [[10, special.logit(0.2)], [100, special.logit(0.5)]]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), expected, atol=1e-12)
    assert axes.lines[0].get_color() == REGIMES["finetune"].color
    labels = [float(text.get_text()) for text in axes.get_yticklabels()]
    np.testing.assert_allclose(100 * special.expit(axes.get_yticks()), labels)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "100"]


def test_marks_say_whose_they_are_and_their_value():
    said = hovers(steps_figure())
    assert set(said) == {"net0, fine-tuning", "net0, fine-tuning, 10 steps: 20.0 %",
                         "net0, fine-tuning, 100 steps: 50.0 %"}


def test_steps_to_90_percent_of_the_best_odds_are_marked_and_epochs_stand_above():
    rows = [run(a, steps=s, dataset=dataset, batch_size=256) for dataset in ("pets", "mine")
            for s, a in zip((100, 1000, 10000), (1 / 2, 10 / 11, 10 / 11), strict=True)]
    lines = curves.convergence(runs_of(rows))
    figure = curve_plots.convergence(lines, curves.speeds(lines))
    figure.draw_without_rendering()
    pets, mine = figure.axes
    for axes in (pets, mine):
        mark, = [line for line in axes.lines if line.get_linestyle() == ":"]
        np.testing.assert_allclose(mark.get_xdata(), 900)
    above, = pets.child_axes
    factor = 256 / 3680  # training and validation images
    assert [text.get_text() for text in above.get_xticklabels()] == ["10", "100"]
    np.testing.assert_allclose(above.get_xlim(), np.array(pets.get_xlim()) * factor)
    assert not mine.child_axes  # nobody knows how many images it has
    assert not curve_plots.few_examples(curves.few_examples(runs_of([few(0.4, 2, 0)]))).axes[0].child_axes


def test_bars_are_one_standard_error_of_the_mean():
    figure = curve_plots.few_examples(curves.few_examples(runs_of(
        [few(0.4, 2, 0), few(0.6, 2, 1), few(0.6, 4, 0)])))
    ((x0, low), (x1, high)), = figure.axes[0].collections[0].get_segments()  # of one subset there is no error to show
    assert x0 == x1 == 2 and figure.axes[0].xaxis.get_transform().base == 2
    assert (low, high) == pytest.approx(tuple(special.logit([0.4, 0.6])))  # .5 ± .1
    assert not steps_figure(((0.2, 0.4),)).axes[0].collections


def test_zero_and_one_are_drawn_at_half_an_example():
    found = special.expit(plots.drawn_logit([0.0, 1.0, -0.2, 1.3, 0.5], [9, 9, 9, 9, 9]))
    assert found.tolist() == pytest.approx([0.05, 0.95, 0.05, 0.95, 0.5])
    assert special.expit(plots.drawn_logit([0.0, 1.0], np.nan)).tolist() == pytest.approx([0.0005, 0.9995])


@pytest.mark.parametrize("n", [9, None])
def test_extremes_do_not_break_the_axis(n):
    figures = [steps_figure(((0.0, 1.0), (1.0, 1.0)), n=n), steps_figure(((0.0, 0.0),), n=n),
               curve_plots.few_examples(curves.few_examples(runs_of(
                   [few(0.0, 2, 0, n=n), few(1.0, 2, 1, n=n), few(0.9, 3, 0, n=n), few(1.0, 3, 1, n=n)])))]
    for figure in figures:
        assert np.isfinite(figure.axes[0].get_ylim()).all()
        assert len(figure.axes[0].get_yticks()) >= 4
        assert plots.save(figure)[1].startswith(b"\x89PNG")


def test_a_panel_per_data_set_and_legends_that_tell_lines_apart():
    rows = [run(0.3 + 0.01 * i, regime, f"net{i}", dataset, steps=s) for i in range(20) for s in (1, 2)
            for regime in ("finetune", "train_from_scratch") for dataset in ("dtd", "digits", "mine")]
    figure = curve_plots.convergence(curves.convergence(runs_of(rows)))
    assert [axes.get_title() for axes in figure.axes] == ["DTD", "Digits", "mine"]
    regimes, networks = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert regimes == ["fine-tuning", "training from scratch"]
    assert sorted(networks) == sorted(f"net{i}" for i in range(20))
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 40


@pytest.mark.parametrize(("datasets", "networks"), [(1, 1), (2, 3), (12, 1), (5, 16)])
def test_nothing_overlaps_or_leaves_the_figure(datasets, networks):
    steps = [76, 152, 305, 610, 1220, 2441, 4882, 9765, 19531]
    rows = [run(0.1 + 0.04 * i + 0.01 * j, network=network, dataset=dataset, steps=s)
            for dataset in curves.CATALOGS["dataset"][:datasets]
            for j, network in enumerate(curves.CATALOGS["network"][:networks]) for i, s in enumerate(steps)]
    lines = curves.convergence(runs_of(rows))
    figure = curve_plots.convergence(lines, curves.speeds(lines))
    figure.draw_without_rendering()
    frame = figure.bbox
    above = [axes.child_axes[0] for axes in figure.axes]
    ticks = [[text.get_window_extent() for text in axes.get_xticklabels()] for axes in (*figure.axes, *above)]
    for boxes in ticks:
        assert all(a.x1 + 2 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    others = [axes.title.get_window_extent() for axes in figure.axes] + [
        axes.xaxis.label.get_window_extent() for axes in (*figure.axes, *above) if axes.get_xlabel()] + [
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
    ([76, 152, 305, 610, 1220, 2441, 4882, 9765, 19531], [76, 305, 1220, 4882, 19531])])
def test_ticks_are_what_was_measured_and_has_room(values, expected):
    assert curve_plots.log_ticks(values) == expected


def test_hostile_names_are_drawn_as_they_are():
    names = ["$\\frac{", "_hidden", "<script>alert(1)</script>", "a\n\x1b[31mb", "網路", "x" * 300]
    rows = [run(0.5, network=name, dataset=name, steps=s) for name in names for s in (1, 2)]
    figure = curve_plots.convergence(curves.convergence(runs_of(rows)))
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
