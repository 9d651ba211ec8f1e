"""The report: one HTML file that opens from disk, with its figures inside and its numbers beside it.

    OUTPUT_DIR/index.html            everything, without network access
    OUTPUT_DIR/summary.md            the findings in words and the main tables, for a pull request
    OUTPUT_DIR/analysis.json         all that is shown, as values
    OUTPUT_DIR/TABLE.csv             each table (report/tables.py); analysis --accuracies reads accuracies.csv
    OUTPUT_DIR/figures/NAME.{svg,png}

The same input gives the same files; files of a report that was there before are replaced or removed.
"""

import json
import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfbench.files import atomic
from tfbench.files.paths import Path, as_path
from tfbench.regimes import REGIMES
from tfbench.report import comparison_plots, curve_plots, main_plot, markdown, plots, sections, tables, text
from tfbench.report.main_plot import Panel, Row
from tfbench.report.page import PAGE
from tfbench.results.titles import dataset_title
from tfbench.stats import correlation, published
from tfbench.stats.findings import Findings
from tfbench.version import __version__


def write_report(found: Findings, output_dir) -> Path:
    """Writes the report and returns the path of its index.html.

    Args:
      output_dir: created when missing.

    Raises:
      UserError: output_dir cannot be written.
    """
    folder = as_path(output_dir)
    files = {folder / f"{table.name}.csv": table.frame.to_csv(index=False, lineterminator="\n").encode()
             for table in tables.of(found)}
    files[folder / "analysis.json"] = (json.dumps(as_json(found), indent=1, allow_nan=False) + "\n").encode()
    files[folder / "summary.md"] = markdown.summary(found).encode()
    inlined = {}
    for name, figure in figures(found).items():
        svg, png = plots.save(figure)
        files |= {folder / "figures" / f"{name}.svg": svg, folder / "figures" / f"{name}.png": png}
        inlined[name] = sections.inline(svg.decode(), name)
    index = folder / "index.html"
    files[index] = _page(found, inlined).encode()
    for path, content in files.items():
        _write(path, content)
    for path in _of_earlier_reports(folder):
        if path not in files:
            path.unlink(missing_ok=True)
    return index


def figures(found: Findings) -> dict[str, Figure]:
    """All figures that there is something to draw for, by name."""
    drawn = {}
    if len(found.table) and found.cells["source_accuracy"].notna().any():
        drawn["main"] = main_plot.main(panels(found))
    for regime, c in found.correlations.items():
        if c.networks:
            drawn[f"scatter_{regime}"] = plots.scatter(c, regime)
    if found.table.duplicated(["network", "dataset"]).any():
        drawn["regimes"] = comparison_plots.regimes(found.table)
    if len(found.table):
        drawn["bars"] = comparison_plots.bars(found.table, published.state_of_the_art())
    for regime, model in found.models.items():
        drawn[f"residuals_{regime}"] = comparison_plots.residuals(model.residuals, regime)
    if len(found.convergence):
        drawn["convergence"] = curve_plots.convergence(found.convergence)
    if len(found.few_examples):
        drawn["few_examples"] = curve_plots.few_examples(found.few_examples)
    if len(found.ablation):
        drawn["ablation"] = comparison_plots.ablation(found.ablation)
    return drawn


def panels(found: Findings) -> list[Row]:
    """What the main figure shows: per regime the average over data sets, then each of them."""
    rows = []
    for regime, c in found.correlations.items():
        means = found.networks[found.networks["regime"] == regime].set_index("network")["like_best"]
        average = _panel("mean over data sets", c, means)
        cells = found.cells[found.cells["regime"] == regime]
        each = []
        for dataset in cells["dataset"].unique():
            part = cells[cells["dataset"] == dataset]
            one = correlation.per_regime(found.table, datasets=[dataset])[regime]
            each.append(_panel(dataset_title(dataset), one, part.set_index("network")["like_best"]))
        rows.append(Row(regime, average, tuple(each)))
    return rows


def _panel(title: str, c: correlation.Correlation, like_best: pd.Series) -> Panel:
    alike = like_best.reindex(list(c.networks))
    return Panel(title, c.networks, c.source, c.transfer, c.errors,
                 None if alike.isna().any() else alike.to_numpy(bool), c.r,
                 correlation.band(c.source, c.transfer) if c.bootstrap else None)


def as_json(found: Findings) -> dict:
    """All that the report shows, as plain values; what is missing is null."""
    return {
        "tfbench": __version__, "origin": found.origin, "statements": text.statements(found),
        "choices": {dataset: text.choice(found, dataset) for dataset in found.table["dataset"].unique()},
        "missing": text.missing(found), "left_out": found.left_out, "mismatches": found.mismatches,
        "incomplete": found.incomplete, "notes": found.notes,
        "additive_models": {regime: {"mean": model.mean, "r2": _plain(model.r2), "residual_sd": _plain(model.sd)}
                            for regime, model in found.models.items()},
        "tables": {table.name: [{name: _plain(value) for name, value in line.items()}
                                for line in table.frame.astype(object).to_dict("records")]
                   for table in tables.of(found)}}


def _plain(value):
    if tables.is_missing(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _page(found: Findings, inlined: dict[str, str]) -> str:
    """The template with its places filled in."""
    parts = sections.all_of(found, inlined)
    links = "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading, _ in parts)
    body = "\n".join(f'<section id="{anchor}"><h2>{heading}</h2>{html}</section>' for anchor, heading, html in parts)
    places = {"SUMMARY": sections.summary(found), "CONTENTS": links, "SECTIONS": body}
    return re.sub("<!--(SUMMARY|CONTENTS|SECTIONS)-->", lambda place: places[place[1]], PAGE)


def _of_earlier_reports(folder: Path) -> list[Path]:
    """Files that some report writes and another does not."""
    drawn = [*sections.FIGURES, *(f"{kind}_{regime}" for kind in ("scatter", "residuals") for regime in REGIMES)]
    return [folder / f"{name}.csv" for name in tables.NAMES] + [
        folder / "figures" / f"{name}.{kind}" for name in drawn for kind in ("svg", "png")]


def _write(path: Path, content: bytes) -> None:
    atomic.write_atomically(path, content, cure=atomic.make_writable("--output_dir"))
