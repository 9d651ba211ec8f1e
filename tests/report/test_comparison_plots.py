"""Figures that compare: what they show, that their texts keep apart, and that they are the same every time."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from helpers.figures import HOSTILE, hovers, overlaps, texts
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from scipy import special

from tfbench.regimes import REGIMES
from tfbench.report import comparison_plots, plots
from tfbench.stats import published
from tfbench.stats.ablation import FIXED, PRETRAINING_ONLY, SAME
from tfbench.stats.accuracies import table_of

LR, FT, SCRATCH = REGIMES


def table(networks=5, datasets=3, regimes=3, n=1000):
    """An accuracies table of random numbers; `networks` and `datasets` are names, or numbers of them."""
    rng = np.random.default_rng(0)
    networks = [f"network {i}" for i in range(networks)] if isinstance(networks, int) else networks
    datasets = [f"Data set {i}" for i in range(datasets)] if isinstance(datasets, int) else datasets
    return table_of([{"regime": regime, "network": network, "dataset": dataset, "accuracy": 0.6 + 0.35 * rng.random(),
                      "n": n, "source_accuracy": 0.7 + 0.01 * i, "source_n": 50000}
                     for regime in list(REGIMES)[:regimes] for i, network in enumerate(networks)
                     for dataset in datasets])


def switches(networks=("a", "b"), origins=("ours",), regimes=(LR, FT)):
    """Lines of an ablation; source accuracies .70 to .74, means .1 to .5, and .1 more per regime."""
    return pd.DataFrame([{"origin": origin, "regime": regime, "experiment": FIXED if regime == LR else SAME,
                          "network": network, "setting": s, "source_accuracy": 0.69 + 0.01 * s + 0.02 * i,
                          "mean_log_odds": 0.1 * s + 0.1 * j, "standard_error": np.nan}
                         for origin in origins for j, regime in enumerate(regimes)
                         for i, network in enumerate(networks) for s in range(1, 6)])


def field(rows=4, columns=3):
    """Residuals, [network, data set]."""
    values = np.random.default_rng(1).normal(size=(rows, columns))
    return pd.DataFrame(values, [f"network {i}" for i in range(rows)], [f"Data set {i}" for i in range(columns)])


def ends(axes):
    """[marks, 2] of the lines that are marks alone."""
    return np.concatenate([line.get_xydata() for line in axes.lines if line.get_linestyle() == "None"])


def bars_of(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def by_regime(made, regime):
    return made[made["regime"] == regime].set_index(["network", "dataset"])["accuracy"]


def test_regimes_draws_every_cell_against_the_diagonal():
    made = table()
    figure = comparison_plots.regimes(made)
    assert len(figure.axes) == 3
    for axes, (up, across) in zip(figure.axes, [(FT, LR), (FT, SCRATCH), (LR, SCRATCH)], strict=True):
        y, x = (special.logit(by_regime(made, regime)) for regime in (up, across))
        found, expected = ends(axes), np.column_stack([x, y.reindex(x.index)])
        np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
        diagonal = axes.lines[0].get_xydata()
        np.testing.assert_allclose(diagonal[:, 0], diagonal[:, 1])
        assert axes.get_xlim() == axes.get_ylim() == tuple(diagonal[:, 0])
        above = int((y.reindex(x.index) > x).sum())
        assert axes.get_title() == f"above the diagonal in {above} of 15 cells"
        assert axes.get_ylabel().startswith(REGIMES[up].title)
        assert axes.get_xlabel().startswith(REGIMES[across].title)


def test_regimes_tells_ties_and_draws_0_and_1():
    made = table(2, 1, 2)
    made["accuracy"] = [0.0, 0.5, 1.0, 0.5]
    axes = comparison_plots.regimes(made).axes[0]
    assert axes.get_title() == "above the diagonal in 1 of 2 cells, equal in 1"
    edge = special.logit(0.5 / 1001)
    np.testing.assert_allclose(ends(axes), [[edge, -edge], [0, 0]], atol=1e-9)


def test_regimes_leaves_out_what_is_missing():
    made = table(3, 2, 3)
    made.loc[made["regime"] == SCRATCH, "accuracy"] = np.nan
    made.loc[0, "accuracy"] = np.nan
    (axes,) = comparison_plots.regimes(made).axes
    assert len(ends(axes)) == 5
    with pytest.raises(ValueError, match="two regimes"):
        comparison_plots.regimes(table(regimes=1))


def test_data_sets_and_networks_are_marked_differently():
    styles = [(mark["marker"], mark["color"]) for mark in map(comparison_plots._mark, range(63))]
    assert len(set(styles)) == 63


def test_bars_end_at_the_means_with_errors_and_points():
    made = table(5, 2, 3)
    axes = comparison_plots.bars(made, {}).axes[0]
    x = special.logit(made.set_index(["dataset", "regime", "network"])["accuracy"])
    groups = x.groupby(level=["dataset", "regime"], sort=False)
    order = sorted(groups.groups, key=lambda key: (key[0], list(REGIMES).index(key[1])))
    bars = bars_of(axes)
    np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in bars], groups.mean().loc[order])
    assert all(bar.get_y() == axes.get_ylim()[0] for bar in bars)
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [REGIMES[regime].color for _, regime in order]
    assert len({bar.get_hatch() for bar in bars}) == 3
    lengths = [np.ptp(bar.get_segments()[0][:, 1]) for bar in axes.collections]
    np.testing.assert_allclose(lengths, 2 * groups.sem().loc[order])
    dots = np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(np.sort(dots[:, 1]), np.sort(x))
    lefts = {round(bar.get_x(), 6) for bar in bars}
    assert len(lefts) == 6


def test_state_of_the_art_lies_at_its_height_across_its_group():
    figure = comparison_plots.bars(table(5, ["a", "b", "c"], 3), {"b": 0.9, "c": np.nan, "unknown": 0.5})
    axes = figure.axes[0]
    (line,) = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    np.testing.assert_allclose(line.get_ydata(), special.logit(0.9))
    group = [bar for bar in bars_of(axes) if round(bar.get_x() + bar.get_width() / 2) == 1]
    assert line.get_xdata()[0] <= min(bar.get_x() for bar in group)
    assert line.get_xdata()[1] >= max(bar.get_x() + bar.get_width() for bar in group)
    assert "previous state of the art" in {text.get_text() for text in texts(figure)}
    without = comparison_plots.bars(table(), {})
    assert "previous state of the art" not in {text.get_text() for text in texts(without)}


def test_bars_leave_out_what_is_missing():
    made = table(2, 2, 2)
    made.loc[made.index[2:3], "accuracy"] = np.nan
    made = made[~((made["regime"] == FT) & (made["dataset"] == "Data set 1"))]
    axes = comparison_plots.bars(made, {}).axes[0]
    first = made[(made["regime"] == LR) & (made["dataset"] == "Data set 0")]["accuracy"].dropna()
    assert len(bars_of(axes)) == 3
    bar = bars_of(axes)[0]
    assert bar.get_y() + bar.get_height() == pytest.approx(special.logit(float(first.iloc[0])))
    assert len(axes.collections) == 2
    with pytest.raises(ValueError, match="found none"):
        comparison_plots.bars(made.assign(accuracy=np.nan), {})


def test_ablation_draws_source_then_transfer():
    lines = switches()
    lines.loc[(lines["network"] == "b") & (lines["setting"] == 5), ["source_accuracy", "mean_log_odds"]] = np.nan
    figure = comparison_plots.ablation(lines)
    assert [axes.get_title() for axes in figure.axes] == [
        "Source accuracy", "Logistic regression (figure 3)", "Fine-tuning as pretrained (figure 5)"]
    source, first, second = ([line.get_xydata() for line in axes.lines] for axes in figure.axes)
    np.testing.assert_allclose(source[0][:, 1], special.logit([0.7, 0.71, 0.72, 0.73, 0.74]))
    np.testing.assert_allclose(source[1][:, 1], special.logit([0.72, 0.73, 0.74, 0.75]))
    np.testing.assert_allclose(first[0], [[s, 0.1 * s] for s in range(1, 6)])
    np.testing.assert_allclose(second[1], [[s, 0.1 * s + 0.1] for s in range(1, 5)])


def test_ablation_tells_the_papers_lines_by_dashes_and_open_marks():
    figure = comparison_plots.ablation(switches(("a",), (published.ORIGIN, "ours")))
    styles = {line.get_linestyle(): line.get_markerfacecolor() for line in figure.axes[0].lines}
    assert styles["--"] == plots.PAPER
    assert styles["-"] == comparison_plots.TONES[0]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a", published.ORIGIN, "ours"]


def test_ablation_lays_the_papers_lines_over_the_same_experiment_only():
    ours = switches(("a",), regimes=(FT,)).assign(experiment=PRETRAINING_ONLY, standard_error=0.05)
    figure = comparison_plots.ablation(pd.concat([ours, switches(("a",), (published.ORIGIN,), (FT,))]))
    panels = {axes.get_title(): axes for axes in figure.axes}
    drawn = {title: [line.get_linestyle() for line in axes.lines] for title, axes in panels.items()}
    assert drawn == {"Source accuracy": ["-", "--"], "Fine-tuning as pretrained (figure 5)": ["--"],
                     "Fine-tuning without switches (appendix C.2)": ["-"]}
    bars, = panels["Fine-tuning without switches (appendix C.2)"].collections
    np.testing.assert_allclose(bars.get_segments()[0], [[1, 0.05], [1, 0.15]])
    assert not panels["Source accuracy"].collections
    assert overlaps(figure) == []


def test_ablation_without_source_or_anything():
    lines = switches(regimes=(SCRATCH,)).assign(source_accuracy=np.nan)
    assert len(comparison_plots.ablation(lines).axes) == 1
    with pytest.raises(ValueError, match="found none"):
        comparison_plots.ablation(lines.assign(mean_log_odds=np.nan))


def test_residuals_writes_every_value_readably():
    frame = field()
    frame.iloc[1, 2], frame.iloc[0, 0] = np.nan, -0.001
    figure = comparison_plots.residuals(frame, FT)
    axes, bar = figure.axes
    written = [text.get_text() for text in axes.texts]
    assert written == ["–" if np.isnan(v) else f"{round(v, 2) + 0:.2f}" for v in frame.to_numpy().ravel()]
    assert written[0] == "0.00"
    mesh = axes.collections[0]
    assert mesh.norm.vmin == -mesh.norm.vmax == -np.nanmax(np.abs(frame.to_numpy()))
    assert bool(mesh.get_array().mask.ravel()[5])
    for text, value in zip(axes.texts, frame.to_numpy().ravel(), strict=True):
        if np.isnan(value):
            assert text.get_color() == plots.INK  # on the page itself
        else:
            assert text.get_color() in (comparison_plots.ON_DARK, comparison_plots.ON_LIGHT)
            assert contrast(text.get_color(), mesh.cmap(mesh.norm(value))[:3]) >= 4.5
    assert bar.get_ylabel() == "residual (log-odds)"


def contrast(text, ground):
    """The ratio of luminances that the WCAG asks to be 4.5."""
    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return np.dot(linear, (0.2126, 0.7152, 0.0722)) + 0.05
    low, high = sorted(map(luminance, ([int(text[i:i + 2], 16) / 255 for i in (1, 3, 5)], ground)))
    return high / low


@pytest.mark.parametrize("frame", [field(1, 1), field(2, 2) * 0, field(2, 2) * np.nan])
def test_residuals_of_little(frame):
    plots.save(comparison_plots.residuals(frame, LR))


def test_residuals_of_nothing():
    with pytest.raises(ValueError, match="found none"):
        comparison_plots.residuals(pd.DataFrame(), LR)


def test_every_mark_says_whose_it_is_and_its_value():
    made = table(2, 2, 2).assign(accuracy=[0.61, 0.72, 0.83, 0.94] * 2)
    said = hovers(comparison_plots.bars(made, {"Data set 1": 0.9}))
    assert len(said) == 2 * 2 * (2 + 2) + 1  # networks, bar and its error; the state of the art
    for words in ("network 1 on Data set 0, fine-tuning: 83.0 %", "Data set 1, previous state of the art: 90.0 %"):
        assert said.count(words) == 1
    assert said.count("Data set 0, fine-tuning: mean over 2 networks 73.4 %") == 2
    frame = field(2, 2)
    frame.iloc[:] = [[0.5, -0.25], [np.nan, 0]]
    said = hovers(comparison_plots.residuals(frame, FT))
    assert said[:4] == ["network 0 on Data set 0: residual 0.50 log-odds", "network 0 on Data set 1: residual -0.25 "
                        "log-odds", "network 1 on Data set 0: no result", "network 1 on Data set 1: residual 0.00 "
                        "log-odds"]
    assert sorted(said) == sorted(2 * said[:4])  # cells, and the numbers in them
    said = hovers(comparison_plots.ablation(switches(("a",)).assign(standard_error=0.1)))
    assert "a, ours, setting 5: 74.0 %" in said and said.count("a, ours, setting 5: 62.2 %") == 2
    assert said.count("a, ours") == 3  # between the marks of each panel


def test_residuals_are_drawn_without_bitmaps():
    svg, _ = plots.save(comparison_plots.residuals(field(), FT))
    assert b"<image" not in svg


@pytest.mark.parametrize("shape", [(16, 12, 3), (5, 3, 3), (1, 1, 1), (30, 20, 2)])
def test_texts_do_not_overlap(shape):
    made = table(*shape)
    figures = [comparison_plots.bars(made, {"Data set 0": 0.9}), comparison_plots.residuals(field(*shape[:2]), FT),
               comparison_plots.ablation(switches(made["network"].unique()[:8], ("ours", "paper (digitised)"),
                                                  list(REGIMES)[:shape[2]]))]
    if shape[2] > 1:
        figures.append(comparison_plots.regimes(made))
    assert [overlaps(figure) for figure in figures] == [[]] * len(figures)


def test_hostile_names_are_drawn_as_they_are_and_keep_apart():
    made = table(HOSTILE, HOSTILE, 2)
    wide = field(len(HOSTILE), len(HOSTILE)).set_axis(HOSTILE).set_axis(HOSTILE, axis=1)
    for figure in (comparison_plots.regimes(made), comparison_plots.bars(made, {}),
                   comparison_plots.ablation(switches(HOSTILE)), comparison_plots.residuals(wide, FT)):
        assert overlaps(figure) == []
        written = {text.get_text().replace("\n", "") for text in texts(figure)}
        assert written >= {"$\\frac{", "<script>alert(1)</script>", "--><b>", "a??[31mb?"}
        svg, _ = plots.save(figure)
        root = ET.fromstring(svg)
        assert {element.tag.rpartition("}")[2] for element in root.iter()} & {"script", "b"} == set()


def test_same_input_same_bytes():
    for make in (lambda: comparison_plots.regimes(table()), lambda: comparison_plots.bars(table(), {"Data set 1": 0.9}),
                 lambda: comparison_plots.ablation(switches()), lambda: comparison_plots.residuals(field(), FT)):
        assert plots.save(make()) == plots.save(make())
