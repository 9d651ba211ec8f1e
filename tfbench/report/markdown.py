"""The findings as Markdown, for a pull request or an issue."""

import re

from tfbench.regimes import REGIMES
from tfbench.report.tables import Table, shown
from tfbench.report.text import Words
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import accuracies
from tfbench.stats.findings import Findings, drawn
from tfbench.version import __version__
from tfbench.wording import count, printable


def summary(findings: Findings, words: Words, correlations: Table) -> str:
    """Statements, correlations, accuracies of each regime, and what is missing."""
    lines = ["# Do better networks transfer better?", "", *(f"* {escaped(line)}" for line in words.summary), ""]
    if len(correlations.frame):
        names, headings, kinds = zip(*correlations.columns, strict=True)
        lines += _table(headings, [[shown(kind, value) for kind, value in zip(kinds, line, strict=True)]
                                   for line in correlations.frame[list(names)].astype(object).to_numpy()])
    table = drawn(findings).table
    sources = findings.table.drop_duplicates("network").set_index("network")["source_accuracy"]
    for regime in findings.correlations:
        accuracy = accuracies.pivot(table, regime)
        lines += [f"## {REGIMES[regime].title.capitalize()}, test accuracy in %", ""]
        lines += _table(["Network", "Source", *map(dataset_title, accuracy.columns)], [
            [network_title(name), *(shown("percent", value) for value in (sources[name], *accuracy.loc[name]))]
            for name in accuracy.index])
    if words.missing:
        lines += [f"{count(len(words.missing), 'result')} missing; the report names them.", ""]
    return "\n".join([*lines, f"From {escaped(findings.origin)}, by tfbench {__version__}.", ""])


def escaped(words: str) -> str:
    """`words` without any character that Markdown or HTML would take for more than itself."""
    return re.sub(r"([\\`*_\[\]<>|#&$~])", r"\\\1", printable(words))


def _table(header, body: list[list[str]]) -> list[str]:
    lines = [list(map(escaped, header)), ["---"] + ["---:"] * (len(header) - 1), *(map(escaped, line) for line in body)]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]
