"""The findings as Markdown, for a pull request or an issue."""

import re

from tfbench.regimes import REGIMES
from tfbench.report import tables, text
from tfbench.results.titles import dataset_title, network_title
from tfbench.stats import accuracies
from tfbench.stats.findings import Findings
from tfbench.version import __version__
from tfbench.wording import count, printable


def summary(found: Findings) -> str:
    """Statements, correlations, accuracies of each regime, and what is missing."""
    said = text.statements(found)
    if found.table["dataset"].nunique() == 1:
        said += text.choice(found, found.table["dataset"].iloc[0])
    lines = ["# Do better networks transfer better?", "", *(f"* {escaped(line)}" for line in said), ""]
    table = tables.correlations(found)
    if len(table.frame):
        lines += _table([heading for _, heading, _ in table.columns], [
            [tables.shown(kind, value) for value, (_, _, kind) in zip(line, table.columns, strict=True)]
            for line in table.frame[[name for name, _, _ in table.columns]].astype(object).to_numpy()])
    sources = found.table.drop_duplicates("network").set_index("network")["source_accuracy"]
    for regime in accuracies.regimes(found.table):
        wide = accuracies.pivot(found.table, regime)
        lines += [f"## {REGIMES[regime].title.capitalize()}, test accuracy in %", ""]
        lines += _table(["Network", "Source", *map(dataset_title, wide.columns)], [
            [network_title(name), *(tables.shown("percent", value) for value in (sources[name], *wide.loc[name]))]
            for name in wide.index])
    if missing := text.missing(found):
        lines += [f"{count(len(missing), 'result')} missing; the report names them.", ""]
    return "\n".join([*lines, f"From {escaped(found.origin)}, by tfbench {__version__}.", ""])


def escaped(words: str) -> str:
    """`words` without any character that Markdown or HTML would take for more than itself."""
    return re.sub(r"([\\`*_\[\]<>|#&$~])", r"\\\1", printable(words))


def _table(header: list[str], body: list[list[str]]) -> list[str]:
    lines = [list(map(escaped, header)), ["---"] + ["---:"] * (len(header) - 1), *(map(escaped, line) for line in body)]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]
