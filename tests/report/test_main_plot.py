"""The figure of all panels: what it shows, that its texts keep apart, and that it is the same every time."""

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers.figures import HOSTILE, overlaps, texts
from scipy import special, stats

from tfbench.regimes import REGIMES
from tfbench.report import main_plot, plots
from tfbench.report.main_plot import LIKE_BEST, Panel, Row


def panel(networks, title="Food-101", seed=0, spread=0.1, **fields):
    """A panel of random points, deliberately crowded."""
    rng = np.random.default_rng(seed)
    m = len(networks)
    x = special.logit(0.7 + spread * np.arange(m) / m)
    y = 2 * x + 0.2 * rng.normal(size=m)
    r = float(stats.pearsonr(x, y)[0]) if m > 2 else None
    band = (np.array([x[0], x[-1]]), y[[0, -1]] - 0.2, y[[0, -1]] + 0.2) if m > 2 else None
    return Panel(title, tuple(networks), x, y, np.full(m, 0.1), y > y.max() - 0.3, r, band) if not fields else (
        dataclasses.replace(panel(networks, title, seed, spread), **fields))


def rows(networks, datasets, regimes, seed=0):
    """Rows of random panels, `networks` and `datasets` being names, or numbers of them."""
    networks = [f"network {i}" for i in range(networks)] if isinstance(networks, int) else networks
    datasets = [f"Data set {i}" for i in range(datasets)] if isinstance(datasets, int) else datasets
    return [Row(regime, panel(networks, "Average", seed + i),
                tuple(panel(networks, name, 100 * i + j + seed) for j, name in enumerate(datasets)))
            for i, regime in enumerate(list(REGIMES)[:regimes])]


def points(axes):
    """[points, 2] of all markers, in order."""
    drawn = [line.get_xydata() for line in axes.lines if line.get_marker() in ("o", "D")]
    xy = np.concatenate(drawn) if drawn else np.empty((0, 2))
    return xy[np.lexsort(xy.T[::-1])]


def marked(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_points_lie_at_their_log_odds_in_every_panel():
    made = rows(5, 3, 2)
    axes = main_plot.main(made).axes
    every = [p for row in made for p in (row.average, *row.datasets)]
    assert len(axes) == len(every) == 8
    for one, p in zip(axes, every, strict=True):
        np.testing.assert_allclose(points(one), np.column_stack([p.x, p.y])[np.lexsort((p.y, p.x))])
        assert one.get_title() == p.title


def test_the_line_is_least_squares_and_the_band_is_drawn():
    made = rows(8, 1, 1)
    p = made[0].datasets[0]
    axes = main_plot.main(made).axes[1]
    slope = np.cov(p.x, p.y, ddof=0)[0, 1] / np.var(p.x)
    (x0, y0), (x1, y1) = next(line for line in axes.lines if line.get_marker() == "None").get_xydata()
    assert (y1 - y0) / (x1 - x0) == pytest.approx(slope)
    assert y0 - slope * x0 == pytest.approx(p.y.mean() - slope * p.x.mean())
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(p.band[2].max())
    assert corners[:, 1].min() == pytest.approx(p.band[1].min())
    assert [text.get_text() for text in axes.texts] == [f"r = .{round(1000 * p.r):03d}"]


def test_what_is_like_the_best_differs_in_shape_and_fill_too():
    p = panel(("a", "b", "c", "d"), like_best=np.array([False, True, False, True]))
    axes = main_plot.main([Row("finetune", p, ())]).axes[0]
    (best,), (other,) = marked(axes, "D"), marked(axes, "o")
    np.testing.assert_allclose(best.get_xdata(), p.x[[1, 3]])
    np.testing.assert_allclose(other.get_xdata(), p.x[[0, 2]])
    assert best.get_markerfacecolor() == LIKE_BEST
    assert other.get_markerfacecolor() == plots.PAPER


def test_untested_points_are_neither_and_the_key_says_only_what_is_drawn():
    bare = panel(("a", "b"), like_best=None, errors=np.full(2, np.nan))
    figure = main_plot.main([Row("finetune", bare, ())])
    (untested,) = marked(figure.axes[0], "o")
    assert untested.get_markerfacecolor() == main_plot.OTHERS
    assert not marked(figure.axes[0], "D")
    assert not figure.axes[0].collections
    assert [text.get_text()[-1] for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert not any(word in text.get_text() for text in texts(figure) for word in ("best", "standard error", "band"))
    told = {text.get_text() for text in texts(main_plot.main(rows(4, 1, 1)))}
    assert told >= {text for key, text in main_plot.KEY.items() if key != "untested"}


def test_numbers_follow_source_accuracy_and_stand_in_the_large_panels():
    names = ("c", "a", "b")
    p = panel(names, x=np.array([0.9, 0.1, 0.5]))
    made = [Row("finetune", p, (p,))]
    assert main_plot.numbered(made) == {"a": 1, "b": 2, "c": 3}
    figure = main_plot.main(made)
    large, small = ({text.get_text() for text in axes.texts if text.get_text().isdigit()} for axes in figure.axes)
    assert large == {"1", "2", "3"}
    assert not small
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1  a", "2  b", "3  c"]


def test_missing_values_are_not_drawn():
    p = panel(("a", "b", "c", "d"), y=np.array([0.1, np.nan, 0.3, 0.4]), x=np.array([0.1, 0.2, 0.3, np.nan]))
    nothing = panel(("a", "b"), y=np.full(2, np.nan))
    figure = main_plot.main([Row("finetune", p, (p, nothing))])
    for axes in figure.axes[:2]:
        np.testing.assert_allclose(points(axes), [[0.1, 0.1], [0.3, 0.3]])
    assert not figure.axes[2].lines
    assert [text.get_text() for text in figure.axes[2].texts] == ["no results"]
    assert main_plot.numbered([Row("finetune", p, ())]) == {"a": 1, "c": 2}
    plots.save(figure)


def test_tick_labels_are_the_percentages_of_their_places():
    for axes in main_plot.main(rows(16, 12, 1)).axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [float(text.get_text()) for text in axis.get_ticklabels()]
            assert len(axis.get_ticklocs()) >= 3
            if labels or axis is axes.yaxis:  # inner panels leave out those of their source axis
                np.testing.assert_allclose(100 * special.expit(axis.get_ticklocs()), labels)


@pytest.mark.parametrize("shape", [(16, 12, 3), (5, 3, 3), (1, 1, 1), (30, 20, 1), (2, 0, 1), (3, 7, 1)])
def test_texts_do_not_overlap(shape):
    figure = main_plot.main(rows(*shape))
    assert len(figure.axes) == shape[2] * (1 + shape[1])
    assert overlaps(figure) == []


def test_hostile_names_are_drawn_as_they_are_and_keep_apart():
    figure = main_plot.main(rows(HOSTILE, HOSTILE, 1))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:4] == ["1  $\\frac{", "2  <script>alert(1)</script>", "3  --><b>", "4  a??[31mb?"]
    assert legend[4] == "5  網路 שלום"
    assert max(map(len, legend)) == plots.LONGEST_LABEL + 3
    titles = [axes.get_title() for axes in figure.axes[1:]]
    assert titles[0] == "$\\frac{"
    assert titles[1].startswith("<script>")
    svg, _ = plots.save(figure)
    root = ET.fromstring(svg)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} & {"script", "b"} == set()
    assert overlaps(figure) == []


def test_fitted_breaks_and_cuts():
    figure = main_plot.main(rows(1, 1, 1))
    assert plots.fitted(figure, "one two", 8, 5) == "one two"
    assert plots.fitted(figure, "one two", 8, 0.4, 2) == "one\ntwo"
    cut = plots.fitted(figure, "x" * 300, 8, 1)
    assert cut.endswith("x…")
    assert len(cut) < 30
    assert plots.fitted(figure, "", 8, 1) == ""


def test_nothing_to_draw():
    for nothing in ([], [Row("finetune", panel(("a",), y=np.array([np.nan])), ())]):
        with pytest.raises(ValueError, match="found none"):
            main_plot.main(nothing)


def test_same_input_same_bytes():
    first, second = (plots.save(main_plot.main(rows(5, 3, 1))) for _ in range(2))
    assert first == second
