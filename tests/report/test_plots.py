"""Figures: what they show, that labels keep apart, and that they are the same every time."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers.figures import hovers
from matplotlib.figure import Figure
from scipy import special

from tfbench.report import plots, scatter_plot
from tfbench.stats.correlation import Correlation, correlate

NAMES = tuple(f"network {i}" for i in range(12))


def points(names=NAMES, seed=0, spread=0.1):
    """A correlation of random points; deliberately crowded."""
    rng = np.random.default_rng(seed)
    source = np.sort(special.logit(0.7 + spread * rng.random(len(names))))
    transfer = source + 0.2 * spread * rng.normal(size=len(names))
    errors = np.full(len(names), 0.2 * spread)
    return Correlation(tuple(names), ("a", "b"), source, transfer, errors, **correlate(source, transfer))


def drawn_texts(figure):
    return [text for text in figure.axes[0].texts if text.get_text()]


def test_points_lie_at_their_log_odds_and_the_line_is_least_squares():
    c = points()
    axes = scatter_plot.scatter(c, "finetune").axes[0]
    marks = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(marks.get_xydata(), np.column_stack([c.source, c.transfer]))
    slope = np.cov(c.source, c.transfer, ddof=0)[0, 1] / np.var(c.source)
    (x0, y0), (x1, y1) = axes.lines[0].get_xydata()
    assert (y1 - y0) / (x1 - x0) == pytest.approx(slope)
    assert "r = ." in axes.get_title()
    assert "ρ = ." in axes.get_title()


def test_tick_labels_are_the_percentages_of_their_places():
    axes = scatter_plot.scatter(points(), "finetune").axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        labels = [float(text.get_text()) for text in axis.get_ticklabels()]
        np.testing.assert_allclose(100 * special.expit(axis.get_ticklocs()), labels)


@pytest.mark.parametrize(("low", "high"), [
    (0.7, 0.82), (0.5, 0.9), (0.001, 0.999), (0.98, 0.9999), (0.1, 0.11), (0.5, 0.5001), (0.0001, 0.02)])
def test_ticks_lie_inside_ascend_and_keep_apart(low, high):
    low, high = special.logit([low, high])
    ticks = plots.percent_ticks(low, high)
    places = special.logit(np.array(ticks) / 100)
    assert 4 <= len(ticks) <= 12
    assert (places >= low - 1e-9).all()
    assert (places <= high + 1e-9).all()
    assert (np.diff(places) >= (high - low) / 11 - 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_labels_do_not_overlap(seed):
    figure = scatter_plot.scatter(points(seed=seed, spread=0.05), "logistic_regression")
    boxes = [text.get_window_extent() for text in drawn_texts(figure)]
    assert len(boxes) == len(NAMES)
    frame = figure.axes[0].get_window_extent()
    for i, a in enumerate(boxes):
        assert frame.x0 - 1 <= a.x0 and a.x1 <= frame.x1 + 1 and frame.y0 - 1 <= a.y0 and a.y1 <= frame.y1 + 1
        assert not any(min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
                       for b in boxes[:i])


def test_hostile_names_are_drawn_as_they_are():
    names = ("$\\frac{", "<script>alert(1)</script>", "--><b>", "a\n\x1b[31mb\x00", "網路", "x" * 300)
    figure = scatter_plot.scatter(points(names), "finetune")
    texts = [text.get_text() for text in drawn_texts(figure)]
    assert texts[:4] == ["$\\frac{", "<script>alert(1)</script>", "--><b>", "a??[31mb?"]
    assert len(texts[5]) == plots.LONGEST_LABEL
    svg, _ = plots.save(figure)
    root = ET.fromstring(svg)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} & {"script", "b"} == set()


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_networks_still_make_a_figure(n):
    axes = scatter_plot.scatter(points(NAMES[:n]), "train_from_scratch").axes[0]
    assert f"found {n}" in axes.get_title()


def test_no_networks_no_figure():
    empty = Correlation((), (), *[np.empty(0)] * 3, None, None, None, None, "nothing")
    with pytest.raises(ValueError, match="nothing"):
        scatter_plot.scatter(empty, "finetune")


def test_same_input_same_bytes_and_no_global_state():
    first, second = (plots.save(scatter_plot.scatter(points(), "finetune")) for _ in range(2))
    assert first == second
    assert first[1].startswith(b"\x89PNG")
    assert b"dc:date" not in first[0]
    code = "import tfbench.report.plots, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("settled", "drawings"), [(False, 3), (True, 2)])
def test_a_figure_is_laid_out_once_for_both_files(monkeypatch, settled, drawings):
    figure = plots.new_figure(3, 2)
    figure.add_subplot().set_ylabel("accuracy")
    if settled:
        plots.settle(figure)
    left, draw, drawn = figure.axes[0].get_position().x0, Figure.draw, []
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: drawn.append(self) or draw(self, renderer))
    plots.save(figure)
    assert len(drawn) == drawings
    assert (figure.axes[0].get_position().x0 == left) == settled  # the label has room in either case


def test_marks_have_titles_in_svg():
    figure = plots.new_figure(3, 2)
    axes = figure.add_subplot()
    axes.plot([1, 2], [1, 2], "o")
    line, = axes.plot([1, 2], [2, 1], "s")
    plots.titled(line, ["<a> & \"b\"", "c\x1b"])
    svg = ET.fromstring(plots.save(figure)[0])
    marks = [use for use in svg.iter("{http://www.w3.org/2000/svg}use") if len(use)]
    assert [use[0].text for use in marks] == ["<a> & \"b\"", "c?"]
    assert len({use.get("{http://www.w3.org/1999/xlink}href") for use in marks}) == 1
    assert float(marks[0].get("x")) < float(marks[1].get("x"))
    assert not any(plots.TITLES in group.get("id", "") for group in svg.iter())


def test_lines_bars_and_texts_have_titles_in_svg():
    figure = plots.new_figure(3, 2)
    axes = figure.add_subplot()
    line, = axes.plot([1, 2], [1, 2], "o-")
    plots.titled(line, ["first", "second"], whole="line")
    plots.error_bars(axes, [1, 2], [1, 2], [np.nan, 0.1], ["no bar", "bar"], "k")
    patch, = axes.bar([1], [1])
    plots.titled(patch, whole="patch")
    plots.titled(axes.text(1, 1, "1"), whole="text")
    plots.titled(axes.plot([], [], "o")[0], [])
    assert hovers(figure) == ["patch", "line", "first", "second", "no bar", "bar", "text"]
    plots.titled(line, ["first", "second", "of no mark"])
    with pytest.raises(AssertionError, match="3 titles for fewer marks"):
        plots.save(figure)
