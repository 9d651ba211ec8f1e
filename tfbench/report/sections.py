"""The report's sections as HTML, from the findings; report/write.py puts them on the page."""

import re
from collections import Counter
from html import escape

import numpy as np

from tfbench.regimes import REGIMES
from tfbench.report import plots, tables, text
from tfbench.report.tables import Table
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import accuracies, curves
from tfbench.stats.findings import Findings
from tfbench.version import __version__
from tfbench.wording import count, printable

# name of a figure -> (what it shows, said to those who cannot see it; caption)
FIGURES = {
    "main": ("Transfer against source accuracy, averages and each data set", "The paper's figure 2. Left the mean over "
             "data sets, with one standard error (Morey), right each data set; lines: least squares in log-odds with "
             "their 95 % bootstrap band; green diamonds: not significantly different from the best (p > .05)."),
    "regimes": ("The regimes against each other", "A point per network and data set; above the diagonal the upper "
                "regime is better."),
    "bars": ("Mean accuracy by data set and regime", "Bars: mean of log-odds over networks, ± one standard error over "
             "networks; points: networks; lines: the state of the art before the paper, from its figure 6."),
    "convergence": ("Accuracy against training steps", "One panel per data set; colour is the regime, marker and "
                    "dashes the network."),
    "few_examples": ("Accuracy against training examples per class", "One panel per data set; colour is the regime, "
                     "marker and dashes the network. Bars: ± 1 standard error over subsets."),
    "ablation": ("Ways to pretrain", "What batch-norm scale, label smoothing, dropout and the auxiliary head in "
                 "pretraining do to source accuracy and to transfer (the paper's figures 3 and 5)."),
}

WIDE = ("main", "regimes", "bars", "residuals", "ablation")  # figures that fill the page


def summary(found: Findings) -> str:
    """What was found, in words, before any figure."""
    source = f"<p>From {escape(printable(found.origin))}, by tfbench {__version__}.</p>" if found.origin else ""
    return _items(text.statements(found)) + source


def all_of(found: Findings, figures: dict[str, str]) -> list[tuple[str, str, str]]:
    """(anchor, heading, HTML) of each section that has something to show.

    Args:
      figures: name -> <svg> element of each figure that was drawn; besides FIGURES' "scatter_REGIME" and
        "residuals_REGIME".
    """
    parts = [("choice", "Which network for which data set", _choices(found)),
             ("figure", "Does a better network transfer better?", _figure(figures, "main"))]
    parts += [(regime, REGIMES[regime].title.capitalize(), _regime(found, regime, figures)) for regime in found.correlations]
    parts += [
        ("correlations", "Correlations", _table(tables.correlations(found)) + _table(tables.by_dataset(found))),
        ("regimes", "Regimes against each other",
         _figure(figures, "regimes") + _figure(figures, "bars") + _table(tables.wins(found))),
        ("residuals", "What the additive model leaves", _residuals(found, figures)),
        ("curves", "Curves", _curves(found, figures)),
        ("ablation", "Ways to pretrain", _figure(figures, "ablation") + _table(tables.ablation(found))),
        ("paper", "Beside the paper", _table(tables.paper(found))),
        ("missing", "What is missing, and what was left out", _coverage(found)),
        ("deviations", "Deviations from the paper", _counted(found, "deviations", "none declared")),
        ("solver", "How well the logistic regressions were solved", _table(tables.solver(found))),
        ("cost", "Cost", _table(tables.cost(found))),
        ("runs", "Runs and selected hyperparameters", _table(tables.runs(found))),
        ("versions", "Versions and hardware", _counted(found, "versions", "not recorded", True)
         + _counted(found, "hardware", "not recorded", True)),
    ]
    return [part for part in parts if part[-1]]


def inline(svg: str, name: str) -> str:
    """The <svg> element alone, its ids prefixed with `name`, its colours those of the page."""
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace(plots.INK, "currentColor").replace(plots.PAPER, "var(--page)")
    for regime, colour in ((kind.name, kind.color) for kind in REGIMES.values()):
        svg = svg.replace(colour, f"var(--{regime})")
    return svg


def _figure(figures: dict[str, str], name: str, label: str = "", caption: str = "") -> str:
    if name not in figures:
        return ""
    label, caption = (label, caption) if label else FIGURES[name]
    said = escape(f"{label}; the tables have the numbers")
    svg = figures[name].replace("<svg", f'<svg role="img" aria-label="{said}"', 1)
    wide = ' class="wide"' if name.startswith(WIDE) else ""
    return (f'<figure{wide}><div class="scroll" tabindex="0">{svg}</div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def _table(table: Table) -> str:
    """A table that sorts, and scrolls sideways on small screens; "" without lines."""
    if not len(table.frame) or not table.columns:
        return ""
    head = "".join(f'<th scope="col"{_class(kind)}>{escape(heading)}</th>' for _, heading, kind in table.columns)
    lines = table.frame[[name for name, _, _ in table.columns]].astype(object).to_numpy()
    first = next((i for i, (_, _, kind) in enumerate(table.columns) if kind == "network"), 0)
    body = []
    for line in lines:
        cells = []
        for i, (value, (_, _, kind)) in enumerate(zip(line, table.columns, strict=True)):
            tag, scope = ("th", ' scope="row"') if i == first else ("td", "")
            cells.append(f"<{tag}{scope}{_class(kind)}{_sortable(kind, value)}>"
                         f"{escape(tables.shown(kind, value))}</{tag}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return _framed(table.caption, head, body, "sortable")


def _framed(caption: str, head: str, body: list[str], kind: str) -> str:
    return (f'<p class="caption">{escape(caption)}</p><div class="scroll" tabindex="0">'
            f'<table class="{kind}" aria-label="{escape(caption)}">'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>")


def _class(kind: str) -> str:
    return ' class="number"' if kind in tables.NUMBERS else ' class="text"' if kind == "text" else ""


def _sortable(kind: str, value) -> str:
    """The value to sort by, where the text does not tell it."""
    return f' data-value="{float(value)!r}"' if kind in tables.NUMBERS and not tables.is_missing(value) else ""


def _regime(found: Findings, regime: str, figures: dict[str, str]) -> str:
    """Figure, accuracies and means of one regime."""
    c = found.correlations[regime]
    caption = ("One point per network. " + ("Bars: ± 1 standard error over data sets, differences between data sets "
               "removed (Morey). " if not np.isnan(c.errors).all() else "")
               + ("Line: least squares in log-odds." if c.r is not None else ""))
    figure = _figure(figures, f"scatter_{regime}", f"Transfer against source accuracy, {REGIMES[regime].title}", caption)
    figure = figure or f"<p>No figure: {escape(c.reason)}.</p>"
    means = tables.networks(found, regime)
    title = "<h3>Means over data sets</h3>" if len(means.frame) else ""
    return figure + _matrix(found, regime) + title + _table(means)


def _matrix(found: Findings, regime: str) -> str:
    """Accuracies of one regime, a line per network and a column per data set."""
    cells = found.cells[found.cells["regime"] == regime]
    wide = accuracies.pivot(found.table, regime)
    sources = cells.drop_duplicates("network").set_index("network")["source_accuracy"]
    by_name = cells.set_index(["network", "dataset"]).to_dict("index")
    best = wide.max()
    body = []
    for network in wide.index:
        line = [_cell(sources[network])]
        for dataset in wide.columns:
            cell = by_name.get((network, dataset), {"accuracy": np.nan})
            line.append(_cell(cell["accuracy"], cell["accuracy"] == best[dataset], cell))
        body.append(f'<tr><th scope="row">{escape(network_title(network))}</th>{"".join(line)}</tr>')
    head = "".join(f'<th scope="col"{" class=number" if i else ""}>{escape(title)}</th>'
                   for i, title in enumerate(["Network", "Source", *map(dataset_title, wide.columns)]))
    tested = cells["like_best"].notna().any()
    caption = "Test accuracy in %, networks by source accuracy; the best of each column in bold" + (
        ", in green those not significantly different from it (p > .05)." if tested else ".")
    return _framed(caption, head, body, "sortable")


def _cell(fraction: float, is_best: bool = False, cell: dict | None = None) -> str:
    """A percentage; `cell` adds its interval and test."""
    if np.isnan(fraction):
        return '<td class="number">–</td>'
    shown = tables.shown("percent", fraction)
    said, alike = [], ""
    if cell and not tables.is_missing(cell["low"]):
        said.append(f"95 % interval {tables.shown('percent', cell['low'])} to {tables.shown('percent', cell['high'])}")
    if cell and not tables.is_missing(cell["p_best"]):
        said += [] if is_best else [f"p against the best {tables.shown('p', cell['p_best'])}"]
        alike = " alike" if cell["like_best"] else ""
    title = f' title="{escape("; ".join(said))}"' if said else ""
    return (f'<td class="number{alike}" data-value="{float(fraction)!r}"{title}>'
            f"{f'<b>{shown}</b>' if is_best else shown}</td>")


def _choices(found: Findings) -> str:
    """A part to open per data set: in words which network to take, and the ranking of each regime."""
    datasets = list(found.table["dataset"].unique())
    parts = []
    for dataset in datasets:
        rankings = "".join(f"<h3>{REGIMES[regime].title.capitalize()}</h3>{_table(tables.rankings(found, dataset, regime))}"
                           for regime in accuracies.regimes(found.table[found.table["dataset"] == dataset]))
        parts.append(f"<details{' open' * (len(datasets) == 1)}><summary>{escape(dataset_title(dataset))}</summary>"
                     f"{_items(text.choice(found, dataset))}{rankings}</details>")
    return "".join(parts)


def _residuals(found: Findings, figures: dict[str, str]) -> str:
    parts = []
    for regime, model in found.models.items():
        name = REGIMES[regime].title
        share = f"{100 * model.r2:.1f} %"
        said = (f"{name.capitalize()}: network and data set explain {share} of the variance of the log-odds"
                if model.r2 == model.r2 else f"{name.capitalize()}: all log-odds are the same")
        said += f"; the residuals' standard deviation is {model.sd:.2f}." if model.sd == model.sd else "."
        parts.append(f"<p>{said}</p>" + _figure(figures, f"residuals_{regime}", f"Residuals, {name}", "Log-odds that "
                     "are left of an accuracy when the network's and the data set's effects are taken off."))
    return "".join(parts)


def _curves(found: Findings, figures: dict[str, str]) -> str:
    """Figures and tables of the curves."""
    parts = [_curve(found.convergence, "steps", curves.CONVERGENCE, _figure(figures, "convergence"),
                    FIGURES["convergence"][0])]
    caption = curves.FEW_EXAMPLES
    if len(found.few_examples):
        few, many = found.few_examples["subsets"].min(), found.few_examples["subsets"].max()
        caption += f" Subsets per point: {few}" + (f" to {many}." if many > few else ".")
    parts.append(_curve(found.few_examples, "examples_per_class", caption, _figure(figures, "few_examples"),
                        FIGURES["few_examples"][0]))
    return "".join(parts)


def _curve(lines, along: str, caption: str, figure: str, heading: str) -> str:
    """Figure and table of one kind of curves, whose column `along` varies along a curve."""
    if not len(lines):
        return ""
    values = sorted(set(lines[along]))
    body = []
    for dataset in curves.in_order(lines["dataset"], "dataset"):
        part = lines[lines["dataset"] == dataset]
        for (regime, network), curve in part.groupby(["regime", "network"], sort=False):
            points = curve.set_index(along).to_dict("index")
            cells = "".join(f'<td class="number">{_point(points.get(value))}</td>' for value in values)
            body.append(f'<tr><th scope="row">{escape(network_title(network))}</th><td>{REGIMES[regime].title}</td>'
                        f"<td>{escape(dataset_title(dataset))}</td>{cells}</tr>")
    head = "".join(f'<th scope="col"{" class=number" if i > 2 else ""}>{name}</th>'
                   for i, name in enumerate(["Network", "Regime", "Data set", *(f"{value:,}" for value in values)]))
    return f"<h3>{heading}</h3>{figure}{_framed(caption, head, body, 'sortable')}"


def _point(point: dict | None) -> str:
    """A curve's point in percent, with its standard error where it has one; "–" where it was not measured."""
    if point is None:
        return "–"
    error = point.get("standard_error", np.nan)
    return f"{100 * point.get('mean', point.get('accuracy')):.1f}" + (
        "" if np.isnan(error) else f"&nbsp;±&nbsp;{100 * error:.1f}")


def _coverage(found: Findings) -> str:
    """What was not measured, not tested, or is not in the tables, and what that means."""
    parts = []
    if items := text.missing(found):
        parts.append(f"<h3>Missing results</h3><p>{len(items)} missing. Nothing is filled in: a correlation uses only "
                     "the networks of its table whose source accuracy is known and the data sets on which all of these "
                     f"have a result.</p>{_items(items)}")
    if found.left_out:
        parts.append("<h3>Left out of the tables</h3><p>Runs of different budgets are never mixed: a regime's table "
                     "and correlation use the runs on all training examples with most steps, then with most grid "
                     "points.</p>"
                     + _items(found.left_out))
    if found.incomplete:
        parts.append(f"<h3>Data sets that are not whole</h3>{_items(found.incomplete)}")
    if found.mismatches:
        parts.append("<h3>Unequal test splits</h3><p>These were averaged because --allow_unequal_splits says so.</p>"
                     + _items(found.mismatches))
    if found.notes:
        parts.append(f"<h3>Not tested</h3>{_items(found.notes)}")
    return "".join(parts)


def _counted(found: Findings, field: str, nothing: str, joined: bool = False) -> str:
    """What the rows say in `field`, a list or (`joined`) a group of values, and in how many runs; "" without rows."""
    if not found.rows:
        return ""
    values = Counter(str(value) for row in found.rows for value in (
        [", ".join(f"{k} {v}" for k, v in sorted((row.get(field) or {}).items()))] if joined else row.get(field) or ()))
    lines = [f"<li>{escape(printable(value))} <small>({count(n, 'run')})</small></li>"
             for value, n in values.items() if value]
    return f"<ul>{''.join(lines)}</ul>" if lines else f"<p>{nothing.capitalize()}.</p>"


def _items(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(printable(line))}</li>' for line in lines)}</ul>" if lines else ""
