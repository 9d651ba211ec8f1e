"""Figures that compare: regimes with each other, with earlier results, training settings, and residuals per cell."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.special import expit

from tfbench.regimes import REGIMES
from tfbench.report.plots import (
    DENSE,
    INK,
    LABEL_SIZE,
    MARKERS,
    PAPER,
    drawn_logit,
    error_bars,
    fitted,
    known,
    legend,
    legend_columns,
    limits,
    new_figure,
    percent_axis,
    shortened,
    style_axes,
    titled,
)
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import accuracies, published
from tfbench.stats.ablation import FIXED, OTHER, PRETRAINING_ONLY, SAME
from tfbench.wording import count, printable

TONES = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a8a8a")  # Okabe and Ito's, and grey
ON_DARK, ON_LIGHT = "#ffffff", "#101112"  # text on coloured cells, whatever the page's own colours are
SHADES = 41  # of the residuals' colours, odd so that 0 has one; matplotlib makes a bitmap of a bar of over 50
BESIDE = 0.65  # inches next to a legend's title
GROUP = 1.12  # inches of a data set's bars
SETTINGS = ("1\n–", "2\n+BN\nscale", "3\n–label\nsmoothing", "4\n–dropout", "5\n–auxiliary\nhead")

EXPERIMENTS = {  # of stats/ablation.py -> how a panel says which it is
    FIXED: " (figure 3)", SAME: " as pretrained (figure 5)", PRETRAINING_ONLY: " without switches (appendix C.2)",
    OTHER: " with other switches"}


def regimes(table: pd.DataFrame) -> Figure:
    """Regimes against each other: a panel per pair, a point per network and data set that have both.

    Args:
      table: see accuracies.py.

    Raises:
      ValueError: no cell has results of two regimes, so nothing to draw.
    """
    table = table.dropna(subset="accuracy")
    pairs = [(pair, _shared(table, *pair)) for pair in accuracies.REGIME_PAIRS]  # the first is drawn upwards
    pairs = [(pair, cells) for pair, cells in pairs if len(cells)]
    if not pairs:
        raise ValueError("expected cells with results of two regimes, found none")
    datasets = list(dict.fromkeys(name for _, cells in pairs for name in cells["dataset"]))
    figure = new_figure(4.6 * len(pairs), 5)
    for axes, (pair, cells) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        _against(axes, table, pair, cells, datasets)
    handles = [Line2D([], [], linestyle="none", markersize=6, **_mark(i)) for i in range(len(datasets))]
    titles = [shortened(dataset_title(name)) for name in datasets]
    figure.set_figheight(4.8 + 0.17 * -(-len(titles) // legend_columns(figure, titles, BESIDE)))  # squares, about
    _legend_below(figure, handles, titles)
    return figure


def bars(table: pd.DataFrame, state_of_the_art: dict[str, float]) -> Figure:
    """Mean over networks of the log-odds per data set and regime, ± one standard error, and each network's.

    Args:
      table: see accuracies.py.
      state_of_the_art: data set -> fraction, a line across the data set's bars; may lack data sets.

    Raises:
      ValueError: an empty table, so nothing to draw.
    """
    table = table.dropna(subset="accuracy")
    if table.empty:
        raise ValueError("expected accuracies to draw, found none")
    present, datasets = accuracies.regimes(table), list(table["dataset"].unique())
    best = {name: float(drawn_logit(state_of_the_art[name], np.nan)) for name in datasets
            if known(state_of_the_art.get(name, np.nan))}
    points = table.assign(y=drawn_logit(table["accuracy"].to_numpy(), table["n"].to_numpy(float, na_value=np.nan)))
    figure = new_figure(max(5.5, 0.9 + GROUP * len(datasets)), 5)
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, len(datasets) - 0.5)
    ends = [*points["y"], *best.values()]
    axes.set_ylim(limits(ends, ends, 0.05))
    percent_axis(axes.yaxis, *axes.get_ylim())
    _decorate(axes, "", "test accuracy, mean over networks (%, logit scale)")
    axes.grid(False, axis="x")
    width = 0.8 / len(present)
    for number, dataset in enumerate(datasets):
        for i, regime in enumerate(present):
            cells = points[(points["dataset"] == dataset) & (points["regime"] == regime)]
            _bar(axes, cells.sort_values(["source_accuracy", "network"]), f"{dataset_title(dataset)}, "
                 f"{REGIMES[regime].title}", regime, number + (i + 0.5) * width - 0.4, width)
        if dataset in best:
            line, = axes.plot([number - 0.45, number + 0.45], [best[dataset]] * 2, color=INK, linewidth=1.8, zorder=5,
                              solid_capstyle="butt")
            titled(line, whole=f"{dataset_title(dataset)}, previous state of the art: "
                               f"{100 * state_of_the_art[dataset]:.1f} %")
    _wrapped_ticks(axes.xaxis, [dataset_title(name) for name in datasets], GROUP - 0.1)
    handles: list[Artist] = [Patch(**_fill(regime)) for regime in present]
    handles += [Line2D([], [], linestyle="none", **_dot()), Line2D([], [], color=INK, linewidth=1)]
    titles = [*(REGIMES[regime].title for regime in present), "a network", "± 1 standard error"]
    if best:
        handles.append(Line2D([], [], color=INK, linewidth=1.8))
        titles.append("previous state of the art")
    _legend_below(figure, handles, titles)
    return figure


def ablation(lines: pd.DataFrame) -> Figure:
    """Source accuracy and mean transfer accuracy under the five training settings (the paper's figures 3 and 5).

    A panel per regime and experiment, so that the paper's lines lie over the same experiment only; bars are ± one
    standard error.

    Args:
      lines: columns origin ("paper (digitised)" is drawn dashed and open, others solid and filled), regime, experiment
        (a key of EXPERIMENTS), network, setting (1 to 5), source_accuracy (fraction), mean_log_odds (of transfer
        accuracy) and its standard_error; NaN where missing.

    Raises:
      ValueError: nothing but NaN, so nothing to draw.
    """
    lines = lines.assign(network=[network_title(name) for name in lines["network"]],
                         source=drawn_logit(lines["source_accuracy"].to_numpy(float), np.nan))
    source = lines.assign(y=lines["source"], standard_error=np.nan).dropna(subset="y")
    panels = [("Source accuracy", source.drop_duplicates(["origin", "network", "setting"]))]
    panels += [(f"{kind.title.capitalize()}{words}", lines[(lines["regime"] == regime) & (
        lines["experiment"] == experiment)].rename(columns={"mean_log_odds": "y"}).dropna(subset="y"))
        for regime, kind in REGIMES.items() for experiment, words in EXPERIMENTS.items()]
    panels = [(title, points) for title, points in panels if len(points)]
    if not panels:
        raise ValueError("expected accuracies under training settings, found none")
    drawn = pd.concat([points for _, points in panels])
    networks, origins = list(drawn["network"].unique()), sorted(drawn["origin"].unique(), reverse=True)
    columns = min(len(panels), 2 if len(panels) == 4 else 3)
    ranks = -(-len(panels) // columns)
    figure = new_figure(4.3 * columns, 4.1 * ranks + 0.5)
    grid = figure.subplots(ranks, columns, squeeze=False).ravel()
    for axes, (title, points) in zip(grid, panels, strict=False):
        for (origin, network), line in points.sort_values("setting").groupby(["origin", "network"], sort=False):
            style = _line(networks.index(network), origin)
            name = f"{network}, {printable(origin)}"
            words = [f"{name}, setting {point.setting}: {100 * expit(point.y):.1f} %" for point in line.itertuples()]
            if line["standard_error"].notna().any():
                error_bars(axes, line["setting"], line["y"], line["standard_error"], words, style["color"], alpha=0.6)
            marks, = axes.plot(line["setting"], line["y"], **style)
            titled(marks, words, whole=name)
        reach = points["standard_error"].fillna(0)
        axes.set_xlim(0.6, 5.4)
        axes.set_ylim(limits(points["y"] - reach, points["y"] + reach, 0.08))
        percent_axis(axes.yaxis, *axes.get_ylim(), most=9)
        _decorate(axes, "training setting (each adds to the one before)", "%, logit scale")
        axes.set_xticks(range(1, 6), labels=SETTINGS, fontsize=LABEL_SIZE - 1)
        axes.set_title(title, color=INK, fontsize=10)
    for axes in grid[len(panels):]:
        axes.remove()
    styles = [{"color": INK, "linestyle": _line(0, origin)["linestyle"]} for origin in origins]
    handles = [Line2D([], [], **_line(i, "")) for i in range(len(networks))] + [Line2D([], [], **s) for s in styles]
    _legend_below(figure, handles, [*map(shortened, networks), *(shortened(printable(name)) for name in origins)])
    return figure


def residuals(frame: pd.DataFrame, regime: str) -> Figure:
    """Heat map of one regime's residuals of the additive model, log-odds = network + data set.

    Args:
      frame: [network, data set] log-odds, NaN where missing, which shows as a dash.

    Raises:
      ValueError: an empty frame, so nothing to draw.
    """
    if frame.empty:
        raise ValueError("expected residuals to draw, found none")
    values = frame.to_numpy(float)
    rows, columns = values.shape
    most = float(np.abs(values[known(values)]).max(initial=0)) or 1.0
    figure = new_figure(max(5.0, 3.4 + 0.86 * columns), 1.4 + 0.3 * rows)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["PuOr_r"].resampled(SHADES)
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, vmin=-most, vmax=most, edgecolor=PAPER,
                           linewidth=1)
    words = []
    for (row, column), value in np.ndenumerate(values):
        text, colour = "–", INK
        if known(value):
            text, colour = f"{round(value, 2) + 0:.2f}", _readable(colours((value / most + 1) / 2)[:3])
        words.append(f"{network_title(frame.index[row])} on {dataset_title(frame.columns[column])}: "
                     f"{f'residual {text} log-odds' if known(value) else 'no result'}")
        written = axes.text(column + 0.5, row + 0.5, text, color=colour, fontsize=LABEL_SIZE - 1, ha="center",
                            va="center")
        titled(written, whole=words[-1])
    titled(mesh, words)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    _wrapped_ticks(axes.xaxis, [dataset_title(name) for name in frame.columns], 0.8, 0.5)
    _wrapped_ticks(axes.yaxis, [network_title(name) for name in frame.index], 3, 0.5, lines=1)
    axes.set_title(f"{REGIMES[regime].title.capitalize()}: residuals of the additive model", color=INK, fontsize=12,
                   pad=10)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=max(10, rows * 1.5))
    bar.set_ticks([tick for tick in bar.get_ticks() if abs(tick) <= most])
    bar.set_label("residual (log-odds)", color=INK, fontsize=LABEL_SIZE)
    bar.ax.tick_params(colors=INK, labelsize=LABEL_SIZE - 1)
    bar.outline.set_visible(False)
    return figure


def _decorate(axes, x: str, y: str) -> None:
    """Axis labels and what all axes here have."""
    style_axes(axes)
    axes.set_axisbelow(True)
    axes.set_xlabel(x, color=INK, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, color=INK, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=LABEL_SIZE)


def _legend_below(figure: Figure, handles, titles: list[str]) -> None:
    legend(figure, handles, titles, loc="outside lower center", handlelength=2.5,
           ncols=legend_columns(figure, titles, BESIDE), **DENSE)


def _wrapped_ticks(axis, titles: list[str], width: float, offset: float = 0, lines: int = 3) -> None:
    """Labels a matplotlib axis at offset, offset + 1, … with `titles`, each in `width` inches."""
    labels = [fitted(axis.figure, shortened(title), LABEL_SIZE, width, lines) for title in titles]
    axis.set_ticks([i + offset for i in range(len(titles))], labels=labels, fontsize=LABEL_SIZE, color=INK,
                   parse_math=False)


def _shared(table: pd.DataFrame, upwards: str, across: str) -> pd.DataFrame:
    """network, dataset, x and y (log-odds of `across` and of `upwards`) of the cells that have both regimes."""
    table = table.assign(at=drawn_logit(table["accuracy"].to_numpy(), table["n"].to_numpy(float, na_value=np.nan)))
    y, x = (table[table["regime"] == regime][["network", "dataset", "at"]] for regime in (upwards, across))
    return y.rename(columns={"at": "y"}).merge(x.rename(columns={"at": "x"}), on=["network", "dataset"])


def _against(axes, table, pair: tuple[str, str], cells: pd.DataFrame, datasets: list[str]) -> None:
    """One panel of `regimes`."""
    upwards, across = pair
    ends = limits(cells[["x", "y"]], cells[["x", "y"]], 0.05)
    axes.plot(ends, ends, color=INK, linewidth=0.8, alpha=0.6, zorder=2)
    for i, dataset in enumerate(datasets):
        points = cells[cells["dataset"] == dataset]
        marks, = axes.plot(points["x"], points["y"], linestyle="none", markersize=5.5, alpha=0.85, zorder=3, **_mark(i))
        titled(marks, [f"{network_title(point.network)} on {dataset_title(dataset)}: {100 * expit(point.y):.1f} % "
                       f"against {100 * expit(point.x):.1f} %" for point in points.itertuples()])
    axes.set(xlim=ends, ylim=ends)
    percent_axis(axes.xaxis, *ends)
    percent_axis(axes.yaxis, *ends)
    _decorate(axes, f"{REGIMES[across].title} (%, logit scale)", f"{REGIMES[upwards].title} (%, logit scale)")
    better, equal, all_cells = accuracies.wins(table, upwards, across)
    ties = f", equal in {equal}" if equal else ""
    axes.set_title(f"above the diagonal in {better} of {count(all_cells, 'cell')}{ties}", color=INK, fontsize=10)


def _mark(i: int) -> dict:
    """How the i-th data set or network is marked: 63 combinations of shape and tone."""
    return {"marker": MARKERS[i % len(MARKERS)], "color": TONES[i % len(TONES)], "markeredgecolor": PAPER,
            "markeredgewidth": 0.5}


def _dot() -> dict:
    return {"marker": "o", "markersize": 2.8, "color": INK, "markerfacecolor": PAPER, "markeredgewidth": 0.6}


def _fill(regime: str) -> dict:
    kind = REGIMES[regime]
    return {"facecolor": kind.color, "alpha": 0.75, "edgecolor": PAPER, "hatch": kind.hatch, "linewidth": 0}


def _bar(axes, cells: pd.DataFrame, where: str, regime: str, middle: float, width: float) -> None:
    """One regime's bar on one data set, from the axis up to the mean; its networks from left to right in order.

    Args:
      where: data set and regime in words.
    """
    if cells.empty:
        return
    y, bottom = cells["y"].to_numpy(), axes.get_ylim()[0]
    mean = f"{where}: mean over {count(len(y), 'network')} {100 * expit(y.mean()):.1f} %"
    bar, = axes.bar(middle, y.mean() - bottom, width * 0.94, bottom, zorder=2, **_fill(regime))
    titled(bar, whole=mean)
    spread = np.linspace(-0.36, 0.36, len(y)) * width if len(y) > 1 else [0]
    dots, = axes.plot(middle + np.array(spread), y, linestyle="none", zorder=3, **_dot())
    titled(dots, [f"{network_title(cell.network)} on {where}: {100 * cell.accuracy:.1f} %"
                  for cell in cells.itertuples()])
    if len(y) > 1:
        error = y.std(ddof=1) / np.sqrt(len(y))
        error_bars(axes, middle, y.mean(), error, [mean], INK, alpha=1, capsize=2, zorder=4)


def _line(i: int, origin: str) -> dict:
    """How the i-th network's line looks; the paper's are dashed and open, to whatever else is compared with it."""
    paper = origin == published.ORIGIN
    tone = TONES[i % len(TONES)]
    return {"marker": MARKERS[i % len(MARKERS)], "color": tone, "linestyle": "--" if paper else "-", "linewidth": 1.2,
            "markersize": 5, "markerfacecolor": PAPER if paper else tone, "markeredgecolor": tone}


def _readable(colour) -> str:
    """ON_DARK or ON_LIGHT, whichever contrasts more with `colour` (red, green, blue in [0, 1])."""
    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05

    dark, light, cell = (luminance(to_rgb(c)) for c in (ON_LIGHT, ON_DARK, colour))
    return ON_DARK if light / cell > cell / dark else ON_LIGHT
