"""The report's sections as HTML, from the findings; report/write.py puts them on the page."""

import re
from collections import Counter
from html import escape

import numpy as np
import pandas as pd

from tfbench.regimes import REGIMES
from tfbench.report import answer, plots, ranking_plot, tables
from tfbench.report.figures import FIGURES, ReportFigure
from tfbench.report.tables import Table
from tfbench.report.text import Words
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import accuracies, curves
from tfbench.stats.findings import Findings
from tfbench.version import __version__
from tfbench.wording import count, printable

MOST_ROWS = 2000  # of a table on the page


def head(findings: Findings, words: Words, figures: dict[str, str]) -> tuple[str, str]:
    """The answer with the main figure, and the name of the latter, "" where it is none of FIGURES.

    Of one data set the figure is its rankings, drawn; of fewer networks than a correlation takes, the bars.
    """
    sentences = f"<div class=\"answer\">{''.join(f'<p>{escape(printable(line))}</p>' for line in words.answer)}</div>"
    if len(words.choices) == 1:
        name, drawn = "", _drawn(findings.rankings)
        drawn += f'<p class="caption">{escape(ranking_plot.CAPTION)}</p>' if drawn else ""
    else:
        correlated = any(c.r is not None for c in findings.correlations.values())
        name = next((name for name in (("main", "bars") if correlated else ("bars", "main")) if name in figures), "")
        drawn = figures.get(name, "")
    origin = f"<p><small>From {escape(printable(findings.origin))}, by tfbench {__version__}.</small></p>"
    return sentences + drawn + (origin if findings.origin else ""), name


def all_of(findings: Findings, words: Words, all_tables: dict[str, Table],
           figures: dict[str, str]) -> list[tuple[str, str, str]]:
    """(anchor, heading, HTML) of each section that has something to show.

    Args:
      all_tables: of tables.tables_of.
      figures: name -> <figure> element of each of FIGURES that was drawn.
    """
    html = {name: html_table(table, name) for name, table in all_tables.items()}
    ranking = all_tables["ranking"]._replace(frame=findings.rankings)
    parts = [("words", "All findings in words", _items(words.summary)),
             ("choice", "Which network for which data set", _choices(words, ranking)),
             ("figure", "Does a better network transfer better?", "")]
    parts += [("placement", "On the published figure",
               html["placement"] + html["placement_lines"] + html["not_placed"])]
    parts += [(regime, REGIMES[regime].title.capitalize(), _regime(findings, regime, all_tables["networks"], figures))
              for regime in findings.correlations]
    parts += [
        ("correlations", "Correlations", html["correlations"] + html["correlations_by_dataset"]),
        ("sources", "Sources of weights", html["sources"]),
        ("estimates", "Rank without training", html["estimates"]),
        ("regimes", "Regimes against each other", html["wins"] + html["state_of_the_art"]),
        ("residuals", "What the additive model leaves", _residuals(findings, figures)),
        ("curves", "Curves", _curves(findings, figures, html)),
        ("ablation", "Ways to pretrain", html["ablation_effects"] + html["ablation"]),
        ("paper", "Beside the paper", html["paper"]),
        ("duplicates", "Without near-duplicates", html["without_duplicates"]),
        ("missing", "What is missing, and what was left out", _coverage(findings, words)),
        ("deviations", "Deviations from the paper", _counted(findings, "deviations", "none declared")),
        ("solver", "How well the logistic regressions were solved", html["solver"]),
        ("cost", "Cost", html["cost"]),
        ("runs", "Runs and selected hyperparameters", html["runs"]),
        ("versions", "Versions and hardware", _counted(findings, "versions", "not recorded")
         + _counted(findings, "hardware", "not recorded")),
    ]
    # The figures that a section has not put among its tables stand at its head.
    rest = {anchor: "".join(figures[row.name] for row in FIGURES
                            if row.section == anchor and figures.get(row.name, "") not in content)
            for anchor, _, content in parts}
    return [(anchor, heading, rest[anchor] + content) for anchor, heading, content in parts if rest[anchor] or content]


def figure(row: ReportFigure, findings: Findings, svg: str) -> str:
    """A drawn figure as a <figure> element with its caption."""
    label = escape(f"{row.label}; the tables have the numbers")
    size = ""
    if width := re.search(r'<svg[^>]* width="([\d.]+)pt"', svg):
        size = f' style="--natural-width: {width[1]}pt"'
    inlined = inline(svg, row.name).replace("<svg", f'<svg role="img" aria-label="{label}"{size}', 1)
    caption = row.caption if isinstance(row.caption, str) else row.caption(findings)
    wide = ' class="wide"' if row.wide else ""
    return (f'<figure{wide}><div class="scroll" tabindex="0">{inlined}</div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def inline(svg: str, name: str) -> str:
    """The <svg> element alone, its ids prefixed with `name`, its colours those of the page."""
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace(plots.INK, "currentColor").replace(plots.PAPER, "var(--page)")
    for regime in REGIMES.values():
        svg = svg.replace(regime.color, f"var(--{regime.name})")
    return svg


def html_table(table: Table, name: str = "") -> str:
    """A table that sorts, and scrolls sideways on small screens; "" without rows.

    Args:
      name: of its CSV file, which has all rows where these are more than MOST_ROWS.
    """
    if not len(table.frame) or not table.columns:
        return ""
    if len(table.frame) > MOST_ROWS:
        table = table._replace(frame=table.frame.iloc[:MOST_ROWS], caption=f"{table.caption} Here are the first "
                               f"{MOST_ROWS:,} of {len(table.frame):,} lines, {name}.csv has all.")
    names, headings, kinds = zip(*table.columns, strict=True)
    head = "".join(f'<th scope="col"{_class(kind)}>{escape(heading)}</th>'
                   for heading, kind in zip(headings, kinds, strict=True))
    first = kinds.index("network") if "network" in kinds else 0
    body = []
    for line in table.frame[list(names)].astype(object).to_numpy():
        cells = []
        for i, (value, kind) in enumerate(zip(line, kinds, strict=True)):
            tag, scope = ("th", ' scope="row"') if i == first else ("td", "")
            cells.append(f"<{tag}{scope}{_class(kind)}{_sortable(kind, value)}>"
                         f"{escape(tables.shown(kind, value))}</{tag}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return _framed(table.caption, head, body)


def _framed(caption: str, head: str, body: list[str]) -> str:
    return (f'<p class="caption">{escape(caption)}</p><div class="scroll" tabindex="0">'
            f'<table class="sortable" aria-label="{escape(caption)}">'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>")


def _class(kind: str) -> str:
    if kind in tables.NUMBERS:
        return ' class="number"'
    return ' class="text"' if kind == "text" else ""


def _sortable(kind: str, value) -> str:
    """The value to sort by, where the text does not tell it."""
    return f' data-value="{float(value)!r}"' if kind in tables.NUMBERS and not tables.is_missing(value) else ""


def _header(headings: list[str], texts: int) -> str:
    """A header row, in which all but the first `texts` columns hold numbers."""
    return "".join(f'<th scope="col"{" class=number" if i >= texts else ""}>{escape(heading)}</th>'
                   for i, heading in enumerate(headings))


def _regime(findings: Findings, regime: str, networks: Table, figures: dict[str, str]) -> str:
    """Figure, accuracies and means of one regime."""
    means = html_table(networks.where(regime=regime))
    scatter = figures.get(f"scatter_{regime}") or (
        f"<p>No figure: {escape(findings.correlations[regime].reason)}.</p>")
    return scatter + _matrix(findings, regime) + (f"<h3>Means over data sets</h3>{means}" if means else "")


def _matrix(findings: Findings, regime: str) -> str:
    """Accuracies of one regime, a row per network and a column per data set."""
    cells = findings.cells[findings.cells["regime"] == regime]
    accuracy = accuracies.pivot(findings.table, regime)
    sources = cells.drop_duplicates("network").set_index("network")["source_accuracy"]
    by_name = cells.set_index(["network", "dataset"]).to_dict("index")
    best = accuracy.max()
    body = []
    for network in accuracy.index:
        line = [_percent_cell(sources[network])]
        for dataset in accuracy.columns:
            cell = by_name.get((network, dataset))
            line.append(_accuracy_cell(cell, cell["accuracy"] == best[dataset]) if cell else _percent_cell(np.nan))
        body.append(f'<tr><th scope="row">{escape(network_title(network))}</th>{"".join(line)}</tr>')
    caption = "Test accuracy in %, networks by source accuracy; the best of each column in bold"
    if cells["like_best"].notna().any():
        caption += ", in green those not significantly different from it (p > .05)"
    head = _header(["Network", "Source", *map(dataset_title, accuracy.columns)], texts=1)
    return _framed(f"{caption}.", head, body)


def _accuracy_cell(cell: dict, is_best: bool) -> str:
    """The accuracy of a row of Findings.cells, with its interval and test."""
    facts, like_best = [], False
    if not tables.is_missing(cell["low"]):
        facts.append(f"95 % interval {tables.shown('percent', cell['low'])} to {tables.shown('percent', cell['high'])}")
    if not tables.is_missing(cell["p_best"]):
        like_best = bool(cell["like_best"])
        if not is_best:
            facts.append(f"p against the best {tables.shown('p', cell['p_best'])}")
    return _percent_cell(cell["accuracy"], is_best, like_best, "; ".join(facts))


def _percent_cell(fraction: float, is_best: bool = False, like_best: bool = False, facts: str = "") -> str:
    if np.isnan(fraction):
        return '<td class="number">–</td>'
    shown = tables.shown("percent", fraction)
    title = f' title="{escape(facts)}"' if facts else ""
    return (f'<td class="number{" alike" if like_best else ""}" data-value="{float(fraction)!r}"{title}>'
            f"{f'<b>{shown}</b>' if is_best else shown}</td>")


def _drawn(rankings: pd.DataFrame) -> str:
    """The rankings of one data set, drawn beside each other; "" where no regime has two networks."""
    groups = [rankings[rankings["regime"] == regime] for regime in rankings["regime"].unique()]
    drawn = "".join(ranking_plot.ranking(
        group, f"Ranking on {dataset_title(group['dataset'].iloc[0])}, {REGIMES[group['regime'].iloc[0]].title}",
        answer.of_ranking(group)) for group in groups)
    return f'<div class="rankings">{drawn}</div>' if drawn else ""


def _choices(words: Words, ranking: Table) -> str:
    """Per data set its rankings drawn, and a part to open with which network to take in words and their tables."""
    parts = []
    for dataset in ranking.frame["dataset"].unique():
        of_dataset, sentences, all_tables = ranking.where(dataset=dataset), words.choices[dataset], ""
        for regime in of_dataset.frame["regime"].unique():
            table = of_dataset.where(regime=regime)
            known = tuple(column for column in table.columns if not table.frame[column[0]].map(tables.is_missing).all())
            all_tables += f"<h3>{REGIMES[regime].title.capitalize()}</h3>{html_table(table._replace(columns=known))}"
        if len(words.choices) == 1:  # its sentences and drawings stand at the head of the page
            return all_tables
        title = escape(dataset_title(dataset))
        parts.append(f"<h3>{escape(answer.of_dataset(of_dataset.frame))}</h3>{_drawn(of_dataset.frame)}"
                     f"<details><summary>{title}, in words and as tables</summary>{_items(sentences)}{all_tables}"
                     "</details>")
    if not parts:
        return ""
    return f'<p class="caption">{escape(ranking_plot.CAPTION)}</p>{"".join(parts)}'


def _residuals(findings: Findings, figures: dict[str, str]) -> str:
    parts = []
    for regime, model in findings.models.items():
        text = f"{REGIMES[regime].title.capitalize()}: "
        if np.isnan(model.r2):
            text += "all log-odds are the same"
        else:
            text += f"network and data set explain {100 * model.r2:.1f} % of the variance of the log-odds"
        if not np.isnan(model.sd):
            text += f"; the residuals' standard deviation is {model.sd:.2f}"
        parts.append(f"<p>{text}.</p>{figures[f'residuals_{regime}']}")
    return "".join(parts)


def _curves(findings: Findings, figures: dict[str, str], html: dict[str, str]) -> str:
    """Figures and tables of the curves."""
    caption = curves.FEW_EXAMPLES
    if len(findings.few_examples):
        few, many = findings.few_examples["subsets"].min(), findings.few_examples["subsets"].max()
        caption += f" Subsets per point: {few}" + (f" to {many}." if many > few else ".")
    return (_curve(findings.convergence, "steps", curves.CONVERGENCE, "convergence", figures)
            + html["convergence_speed"] + html["convergence_speeds"]
            + _curve(findings.few_examples, "examples_per_class", caption, "few_examples", figures))


def _curve(points: pd.DataFrame, along: str, caption: str, name: str, figures: dict[str, str]) -> str:
    """Figure and table of one kind of curves, whose column `along` varies along a curve."""
    if not len(points):
        return ""
    values = sorted(set(points[along]))
    of_datasets: dict[str, dict[tuple[str, str], dict]] = {}
    for point in points.to_dict("records"):
        of_dataset = of_datasets.setdefault(point["dataset"], {})
        of_dataset.setdefault((point["regime"], point["network"]), {})[point[along]] = point
    body = []
    for dataset in curves.in_order(of_datasets, "dataset"):
        for (regime, network), curve in of_datasets[dataset].items():
            cells = "".join(f'<td class="number">{_point(curve.get(value))}</td>' for value in values)
            body.append(f'<tr><th scope="row">{escape(network_title(network))}</th><td>{REGIMES[regime].title}</td>'
                        f"<td>{escape(dataset_title(dataset))}</td>{cells}</tr>")
    heading = next(row.label for row in FIGURES if row.name == name)
    head = _header(["Network", "Regime", "Data set", *(f"{value:,}" for value in values)], texts=3)
    return f"<h3>{heading}</h3>{figures[name]}{_framed(caption, head, body)}"


def _point(point: dict | None) -> str:
    """A curve's point in percent, with its standard error where it has one; "–" where it was not measured."""
    if point is None:
        return "–"
    error = point.get("standard_error", np.nan)
    text = f"{100 * (point['mean'] if 'mean' in point else point['accuracy']):.1f}"
    return text if np.isnan(error) else f"{text}&nbsp;±&nbsp;{100 * error:.1f}"


def _coverage(findings: Findings, words: Words) -> str:
    """What was not measured, not tested, or is not in the tables, and what that means."""
    parts = [
        ("What the table was taken for", "", findings.taken),
        ("Missing results", f"{len(words.missing)} missing. Nothing is filled in: a correlation uses only the networks "
         "of its table whose source accuracy is known and the data sets on which all of these have a result.",
         words.missing),
        ("Left out of the tables", "Runs of different budgets are never mixed: a regime's table and correlation use "
         "the runs on all training examples with most steps, then with most grid points.", findings.left_out),
        ("Data sets that are not whole", "", findings.incomplete),
        ("Unequal test splits", "These were averaged because --allow_unequal_splits says so.", findings.mismatches),
        ("Not tested, or taken for something else", "", findings.notes)]
    return "".join(f"<h3>{heading}</h3>{f'<p>{text}</p>' if text else ''}{_items(items)}"
                   for heading, text, items in parts if items)


def _counted(findings: Findings, field: str, nothing: str) -> str:
    """What the records say in `field`, a list or a group of values, and in how many runs; "" without runs."""
    if not findings.runs:
        return ""
    numbers: Counter[str] = Counter()
    for run in findings.runs:
        values = run.record.get(field) or ()
        if isinstance(values, dict):
            values = [", ".join(f"{name} {value}" for name, value in sorted(values.items()))]
        numbers.update(map(str, values))
    lines = [f"<li>{escape(printable(value))} <small>({count(number, 'run')})</small></li>"
             for value, number in numbers.items() if value]
    return f"<ul>{''.join(lines)}</ul>" if lines else f"<p>{nothing.capitalize()}.</p>"


def _items(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(printable(line))}</li>' for line in lines)}</ul>" if lines else ""
