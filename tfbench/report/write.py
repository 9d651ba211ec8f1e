"""The report: one HTML file that opens from disk, with its figures inside and its numbers beside it.

    OUTPUT_DIR/index.html            everything, without network access
    OUTPUT_DIR/summary.md            the findings in words and the main tables, for a pull request
    OUTPUT_DIR/analysis.json         all that is shown, as values
    OUTPUT_DIR/TABLE.csv             each table (report/tables.py); analysis --accuracies reads accuracies.csv
    OUTPUT_DIR/figures/NAME.{svg,png}

The same input gives the same files; files of a report that was there before are replaced or removed.
"""

import json
import pathlib
import re

import numpy as np
import pandas as pd

from tfbench.files import atomic
from tfbench.files.paths import Path, as_path
from tfbench.regimes import REGIMES
from tfbench.report import figures, markdown, plots, sections, tables
from tfbench.report.text import Words
from tfbench.stats import findings as statistics
from tfbench.stats.accuracy_table import FORMULA
from tfbench.stats.findings import Findings
from tfbench.version import __version__
from tfbench.wording import printable


def write_report(findings: Findings, words: Words, output_dir) -> Path:
    """Writes the report and returns the path of its index.html.

    Args:
      words: of the findings (text.in_words).
      output_dir: created when missing.

    Raises:
      UserError: output_dir cannot be written.
    """
    folder, all_tables = as_path(output_dir), tables.tables_of(findings)
    files = {folder / f"{name}.csv": csv_of(table.frame).encode()
             for name, table in all_tables.items() if len(table.frame)}
    files[folder / "analysis.json"] = _json(findings, words, all_tables).encode()
    files[folder / "summary.md"] = markdown.summary(findings, words, all_tables["correlations"]).encode()
    drawn, shown = {}, statistics.drawn(findings)
    for row in figures.FIGURES:
        if figure := row.draw(shown):
            svg, png = plots.save(figure)
            files |= {folder / "figures" / f"{row.name}.svg": svg, folder / "figures" / f"{row.name}.png": png}
            drawn[row.name] = sections.figure(row, shown, svg.decode())
    index = folder / "index.html"
    files[index] = _page(shown, words, all_tables, drawn).encode()
    for path, content in files.items():
        _write(path, content)
    for path in _of_earlier_reports(folder):
        if path not in files:
            path.unlink(missing_ok=True)
    return index


def csv_of(frame: pd.DataFrame) -> str:
    """A frame as CSV that is safe to open in a spreadsheet: no control characters, and no text that it would compute.

    Text that begins like a formula, in a cell or a heading, gets an apostrophe before it, which analysis --accuracies
    takes off again.
    """
    def safe(value):
        if not isinstance(value, str):
            return value
        text = printable(value)
        return f"'{text}" if text.lstrip()[:1] in tuple(FORMULA) else text

    texts = frame.select_dtypes(exclude=["number", "bool"]).columns
    return frame.assign(**{name: frame[name].map(safe, na_action="ignore") for name in texts}).to_csv(
        index=False, header=list(map(safe, frame.columns)), lineterminator="\n")


def _json(findings: Findings, words: Words, all_tables: dict[str, tables.Table]) -> str:
    """All that the report shows, as plain values; what is missing is null."""
    return json.dumps({
        "tfbench": __version__, "origin": findings.origin, "answer": words.answer,
        "statements": words.statements, "choices": words.choices,
        "missing": words.missing, "left_out": findings.left_out, "mismatches": findings.mismatches,
        "incomplete": findings.incomplete, "taken": findings.taken, "notes": findings.notes,
        "additive_models": {regime: {"mean": model.mean, "r2": _plain(model.r2), "residual_sd": _plain(model.sd)}
                            for regime, model in findings.models.items()},
        "tables": {name: [{column: _plain(value) for column, value in line.items()}
                          for line in table.frame.astype(object).to_dict("records")]
                   for name, table in all_tables.items() if len(table.frame)}}, indent=1, allow_nan=False) + "\n"


def _plain(value):
    if tables.is_missing(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _page(findings: Findings, words: Words, all_tables: dict[str, tables.Table], drawn: dict[str, str]) -> str:
    """template.html with its comments filled in; style and script are inside, so that the page opens from disk."""
    head, shown = sections.head(findings, words, drawn)
    parts = sections.all_of(findings, words, all_tables, {name: html for name, html in drawn.items() if name != shown})
    content = {
        "STYLE": _read("style.css") + _colors(), "SCRIPT": _read("sort.js"),
        "SUMMARY": head,
        "CONTENTS": "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading, _ in parts),
        "SECTIONS": "\n".join(f'<section id="{anchor}"><h2>{heading}</h2>{html}</section>'
                              for anchor, heading, html in parts)}
    return re.sub(f"<!--({'|'.join(content)})-->", lambda match: content[match[1]], _read("template.html"))


def _colors() -> str:
    """Style that names the regimes' colours, on light and on dark pages."""
    light = " ".join(f"--{regime.name}: {regime.color};" for regime in REGIMES.values())
    dark = " ".join(f"--{regime.name}: {regime.dark_color};" for regime in REGIMES.values())
    return (f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
            f"@media print {{ :root {{ {light} }} }}\n")


def _read(name: str) -> str:
    return (pathlib.Path(__file__).parent / name).read_text(encoding="utf-8")


def _of_earlier_reports(folder: Path) -> list[Path]:
    """Files that some report writes and another does not."""
    return [folder / f"{name}.csv" for name in tables.TABLES] + [
        folder / "figures" / f"{row.name}.{kind}" for row in figures.FIGURES for kind in ("svg", "png")]


def _write(path: Path, content: bytes) -> None:
    atomic.write_atomically(path, content, cure=atomic.make_writable("--output_dir"))
