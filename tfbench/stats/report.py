"""The report: one HTML file that opens from disk, with its figures inside and its numbers beside it.

    OUTPUT_DIR/index.html          everything, without network access
    OUTPUT_DIR/accuracies.csv      the table (analysis --accuracies reads it)
    OUTPUT_DIR/correlations.json   r, rho, intervals, the figures' points, wins
    OUTPUT_DIR/convergence.csv, few_examples.csv   the curves (stats/curves.py), where there are any
    OUTPUT_DIR/figures/NAME.{svg,png}              of each regime and of both kinds of curves

The same input gives the same files.
"""

import json
import pathlib
import re
from collections import Counter
from html import escape

import numpy as np

from tfbench import UserError, __version__
from tfbench.results.store import write_atomically
from tfbench.stats import accuracies, budgets, curve_plots, curves, plots
from tfbench.stats.correlation import Correlation
from tfbench.stats.page import PAGE
from tfbench.stats.titles import REGIMES, count, dataset_title, decimal, network_title, printable

# (name of the files, lines, figure, column along the axis, heading, caption of the table)
CURVES = (
    ("convergence", curves.convergence, curve_plots.convergence, "steps", "Accuracy against training steps",
     "Test accuracy in % by training steps. Each number of steps is a run of its own, searched and trained anew."),
    ("few_examples", curves.few_examples, curve_plots.few_examples, "examples_per_class",
     "Accuracy against training examples per class",
     "Test accuracy in % by training examples per class: mean over subsets ± standard error of that mean."))


def write_report(table, correlations: dict[str, Correlation], output_dir, *,
                 rows=(), origin="") -> pathlib.Path:
    """Writes the report and returns the path of its index.html.

    Args:
      table: accuracies (accuracies.py). correlations: of it (correlation.per_regime).
      output_dir: created when missing.
      rows: the runs that the table came from; their curves, details, deviations and versions are shown.
      origin: where the accuracies came from, in words.

    Raises:
      UserError: output_dir cannot be written.
    """
    output_dir = pathlib.Path(output_dir)
    _write(output_dir / "accuracies.csv", table.to_csv(index=False, lineterminator="\n").encode())
    content = {"correlations": {regime: _as_json(c) for regime, c in correlations.items()},
               "wins": [dict(zip(("regime", "other", "better", "equal", "cells"), comparison, strict=True))
                        for comparison in accuracies.comparisons(table)]}
    _write(output_dir / "correlations.json", (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    sections = []
    for regime, correlation in correlations.items():
        svg = _write_figure(output_dir, regime, plots.scatter(correlation, regime)) if correlation.networks else ""
        sections.append(_regime_section(table, regime, correlation, svg))
    sections += _write_curves(rows, output_dir)
    index = output_dir / "index.html"
    _write(index, _page(_summary(table, correlations, origin, rows), sections + _run_sections(rows)).encode())
    return index


def verdict(correlation: Correlation) -> str:
    """In words how well source accuracy predicts transfer accuracy, by the size of r and its interval."""
    if correlation.r is None:
        return f"no correlation: {correlation.reason}"
    size = abs(correlation.r)
    words = "source accuracy predicts transfer accuracy "
    words += next(word for least, word in ((.9, "very well"), (.7, "well"), (.4, "moderately"), (.2, "weakly"),
                                          (0, "hardly at all")) if size >= least)
    if correlation.r < 0 and size >= .2:
        words += ", but in reverse: better networks transfer worse"
    if correlation.interval is None:
        words += ", on so few networks that it may be chance"
    elif correlation.interval[0] <= 0 <= correlation.interval[1]:
        words += ", and these networks are too few to rule out no relation"
    return words


def _write(path: pathlib.Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except UserError as error:
        why = getattr(error.__cause__, "strerror", error)
        raise UserError(f"cannot write the report's {path} ({why}): make the folder writable and free some space, "
                        "or choose another with --output_dir=DIR") from error


def _write_figure(output_dir: pathlib.Path, name: str, figure) -> str:
    """Writes figures/NAME.svg and .png; returns the SVG."""
    svg, png = plots.save(figure)
    _write(output_dir / "figures" / f"{name}.svg", svg)
    _write(output_dir / "figures" / f"{name}.png", png)
    return svg.decode()


def _write_curves(rows, output_dir: pathlib.Path) -> list[str]:
    """Writes tables and figures of the curves; returns their section of the page, none without curves."""
    parts = []
    for name, lines_of, figure_of, along, heading, caption in CURVES:
        if len(lines := lines_of(rows)):
            _write(output_dir / f"{name}.csv", lines.to_csv(index=False, lineterminator="\n").encode())
            svg = _write_figure(output_dir, name, figure_of(lines))
            parts.append(_curves(lines, along, _inline(svg, name, heading), heading, caption))
    return [f"<section><h2>Curves</h2>{''.join(parts)}</section>"] if parts else []


def _as_json(c: Correlation) -> dict:
    points = [{"network": name, "source_log_odds": float(x), "mean_transfer_log_odds": float(y),
               "standard_error": None if np.isnan(e) else float(e)}
              for name, x, y, e in zip(c.networks, c.source, c.transfer, c.errors, strict=True)]
    return {"r": c.r, "rho": c.rho, "interval_95": c.interval, "reason": c.reason,
            "datasets": list(c.datasets), "points": points}


def _page(summary: str, sections: list[str]) -> str:
    """The template with its two places filled in."""
    return PAGE.replace("<!--SUMMARY-->", summary).replace("<!--SECTIONS-->", "\n".join(sections))


def _summary(table, correlations, origin: str, rows) -> str:
    """What was found, in words, before any figure."""
    lines = [] if len(table) else ["<li>No run used all training examples: there are curves only.</li>"]
    for regime, c in correlations.items():
        numbers = ""
        if c.r is not None:
            interval = " (95&nbsp;% interval {} to {})".format(*map(decimal, c.interval)) if c.interval else ""
            numbers = (f" r&nbsp;=&nbsp;{decimal(c.r)}{interval}, ρ&nbsp;=&nbsp;{decimal(c.rho)}; "
                       f"{count(len(c.networks), 'network')}, {count(len(c.datasets), 'data set')}.")
        lines.append(f"<li><strong>{REGIMES[regime].capitalize()}</strong>: {escape(verdict(c))}.{numbers}</li>")
    for regime, other, better, equal, cells in accuracies.comparisons(table):
        ties = f" and equal in {equal}" if equal else ""
        lines.append(f"<li><strong>{REGIMES[regime].capitalize()}</strong> is better than {REGIMES[other]} in {better} "
                     f"of {count(cells, 'comparison')}{ties}.</li>")
    source = f"<p>From {escape(printable(origin))}, by tfbench {__version__}.</p>" if origin else ""
    return f"<ul>{''.join(lines)}</ul>{source}{_left_out(rows)}{_missing(table, rows)}"


def _left_out(rows) -> str:
    """Which runs the tables of accuracies leave out; "" where none."""
    items = curves.left_out(rows)
    if not items:
        return ""
    return ("<h2>Left out of the tables</h2><p>Runs of different budgets are never mixed: a regime's table and "
            "correlation use the runs on all training examples with most steps, then with most grid points.</p>"
            f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>")


def _missing(table, rows) -> str:
    """What was not measured, and what that means for the correlations; "" where nothing is missing."""
    items = [f"{network_title(network)} on {dataset_title(dataset)}, {REGIMES[regime]}"
             for regime, network, dataset in accuracies.missing(table, rows)]
    items += [f"source accuracy of {network_title(network)}" for network in accuracies.without_source(table)]
    if not items:
        return ""
    return (f"<h2>Missing results</h2><p>{len(items)} missing. Nothing is filled in: a correlation uses only "
            "the networks of its table whose source accuracy is known and the data sets on which all of these have a "
            "result.</p>"
            f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>")


def _regime_section(table, regime: str, correlation: Correlation, svg: str) -> str:
    """Figure and accuracies of one regime."""
    name = REGIMES[regime].capitalize()
    figure = f"<p>No figure: {escape(correlation.reason)}.</p>"
    if svg:
        label = f"Transfer against source accuracy, {REGIMES[regime]}"
        caption = ("One point per network. " + ("Bars: ± 1 standard error over data sets, differences between "
                   "data sets removed (Morey). " if not np.isnan(correlation.errors).any() else "")
                   + ("Line: least squares in log-odds." if correlation.r is not None else ""))
        figure = (f'<figure><div class="scroll">{_inline(svg, regime, label)}</div>'
                  f"<figcaption>{caption}</figcaption></figure>")
    wide = accuracies.pivot(table, regime)
    sources = table.drop_duplicates("network").set_index("network")["source_accuracy"]
    best = wide.max()
    body = []
    for network in wide.index:
        cells = [_cell(wide.loc[network, d], wide.loc[network, d] == best[d]) for d in wide.columns]
        body.append(f'<tr><th scope="row">{escape(network_title(network))}</th>{_cell(sources[network])}'
                    f'{"".join(cells)}</tr>')
    header = ["Network", "Source", *map(dataset_title, wide.columns)]
    return (f"<section><h2>{name}</h2>{figure}"
            + _table("Test accuracy in %, networks by source accuracy; the best of each column in bold.",
                     header, body, "accuracies")
            + "</section>")


def _curves(lines, along: str, figure: str, heading: str, caption: str) -> str:
    """Figure and table of one kind of curves.

    Args:
      lines: of curves.convergence or curves.few_examples. along: the column that varies along a curve.
      figure: the <svg> element.
    """
    note = "One panel per data set; colour is the regime, marker and dashes the network."
    if "subsets" in lines:
        note += " Bars: ± 1 standard error over subsets."
        few, many = lines["subsets"].min(), lines["subsets"].max()
        caption += f" Subsets per point: {few}" + (f" to {many}." if many > few else ".")
    values = sorted(set(lines[along]))
    body = []
    for dataset in curves.in_order(lines["dataset"], "dataset"):
        part = lines[lines["dataset"] == dataset]
        for (regime, network), curve in part.groupby(["regime", "network"], sort=False):
            points = curve.set_index(along).to_dict("index")
            cells = "".join(f'<td class="number">{_point(points.get(value))}</td>' for value in values)
            body.append(f'<tr><th scope="row">{escape(network_title(network))}</th><td>{REGIMES[regime]}</td>'
                        f"<td>{escape(dataset_title(dataset))}</td>{cells}</tr>")
    header = ["Network", "Regime", "Data set", *(f"{value:,}" for value in values)]
    return (f'<h3>{heading}</h3><figure><div class="scroll">{figure}</div><figcaption>{note}</figcaption></figure>'
            + _table(caption, header, body, "curves"))


def _point(point: dict | None) -> str:
    """A curve's point in percent, with its standard error where it has one; "–" where it was not measured."""
    if point is None:
        return "–"
    error = point.get("standard_error", np.nan)
    return f"{100 * point.get('mean', point.get('accuracy')):.1f}" + (
        "" if np.isnan(error) else f"&nbsp;±&nbsp;{100 * error:.1f}")


def _cell(fraction, bold=False) -> str:
    text = "–" if np.isnan(fraction) else f"{100 * fraction:.1f}"
    return f'<td class="number">{f"<b>{text}</b>" if bold else text}</td>'


def _table(caption: str, header: list[str], body: list[str], kind: str) -> str:
    """A table that scrolls sideways on small screens; `header` is text, `body` rows of HTML."""
    head = "".join(f'<th scope="col">{escape(printable(name))}</th>' for name in header)
    return (f'<p class="caption">{escape(caption)}</p><div class="scroll" tabindex="0">'
            f'<table class="{kind}" aria-label="{escape(caption)}">'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>")


def _inline(svg: str, name: str, label: str) -> str:
    """The <svg> element alone, its ids prefixed with `name`, colours those of the page; `label` is read aloud."""
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace(plots.INK, "currentColor").replace(plots.PAPER, "var(--page)")
    for regime, colour in plots.COLOURS.items():
        svg = svg.replace(colour, f"var(--{regime})")
    label = escape(f"{label}; the table below has the numbers")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _run_sections(rows) -> list[str]:
    """Deviations, versions and one line per run; nothing without rows."""
    if not rows:
        return []
    deviations = Counter(str(text) for row in rows for text in row.get("deviations") or ())
    versions, hardware = (
        Counter(", ".join(f"{k} {v}" for k, v in sorted((row.get(group) or {}).items())) for row in rows)
        for group in ("versions", "hardware"))
    parts = [_certificates(rows), _counted("Deviations from the paper", deviations, "none declared"),
             _counted("Versions", versions, "not recorded"), _counted("Hardware", hardware, "not recorded")]
    body = [_run(row) for row in sorted(rows, key=lambda r: (
        r["network"], r["dataset"], r["regime"], budgets.budget(r), *(part or 0 for part in budgets.subset(r))))]
    header = ["Network", "Data set", "Regime", "Budget", "Test %", "Validation %", "Selected", "Seconds", "Warnings"]
    table = _table("One line per run. Hyperparameters were selected on validation, the test split was used "
                   "once.", header, body, "runs")
    return [f"<section>{part}</section>" for part in parts if part] + [f"<section><h2>Runs</h2>{table}</section>"]


def _certificates(rows) -> str:
    """How many of the logistic regressions are certified to be solved; "" where there is none."""
    fits = [fit for row in rows if row["regime"] == "logistic_regression"
            for fit in (*(row.get("trials") or ()), row.get("refit")) if isinstance(fit, dict)]
    if not fits:
        return ""
    solved = sum(fit.get("certified") is True for fit in fits)
    return ("<h2>Logistic regressions</h2><p>" + (
        f"All {len(fits):,} are certified to be solved" if solved == len(fits) else
        f"<strong>{len(fits) - solved:,} of {len(fits):,} are not certified to be solved</strong>; the rows name them")
        + ": the objective is at most 10<sup>−6</sup> above its minimum, relative to it where λ ≥ 0.01 and to n log C "
        "where λ is less.</p>")


def _counted(title: str, items: Counter, nothing: str) -> str:
    lines = [f"<li>{escape(printable(text))} <small>({count(n, 'run')})</small></li>"
             for text, n in items.items() if text]
    return f"<h2>{title}</h2>" + (f"<ul>{''.join(lines)}</ul>" if lines else f"<p>{nothing}.</p>")


def _run(row: dict) -> str:
    def percent(value):
        return f"{100 * value:.2f}" if isinstance(value, int | float) else "–"

    selected = "<br>".join(escape(printable(f"{str(name).replace('_', ' ')} {_short(value)}"))
                           for name, value in (row.get("selected") or {}).items())
    notes = "<br>".join(escape(printable(text)) for text in row.get("warnings") or ())
    regime = REGIMES.get(row["regime"], "pretraining")
    cells = [f"<td>{escape(dataset_title(row['dataset']))}</td><td>{regime}</td>",
             f'<td class="selected">{budgets.details(row) or "–"}</td>']
    cells += [f'<td class="number">{text}</td>'
              for text in (percent(row["accuracy"]), percent(row.get("validation_accuracy")))]
    cells += [f'<td class="selected">{selected or "–"}</td>',
              f'<td class="number">{_short(row.get("seconds"), 4)}</td>']
    return (f'<tr><th scope="row">{escape(network_title(row["network"]))}</th>{"".join(cells)}'
            f'<td class="note">{notes or "–"}</td></tr>')


def _short(value, digits: int = 6) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.{digits}g}" if number else "–" if value is None else escape(str(value))
