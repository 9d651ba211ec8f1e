"""A figure is a function in one list: one more is written, shown on the page and removed when nothing is drawn."""

import re

from helpers.studies import Page, write_rows

from tfbench.analysis import analyse
from tfbench.report import plots, tables, text, write
from tfbench.report.figures import FIGURES, ReportFigure
from tfbench.stats import budgets, correlation, findings


def sizes(found):
    """Accuracy against the size of the network; nothing where no size is known."""
    known = found.cells.dropna(subset="parameters")
    if known.empty:
        return None
    figure = plots.new_figure(4, 3)
    axes = figure.add_subplot()
    plots.style_axes(axes)
    axes.plot(known["parameters"], known["accuracy"], "o")
    return figure


ROW = ReportFigure("sizes", sizes, "regimes", "Accuracy against size", "A point per cell.", wide=True)


def test_a_function_in_the_list_is_in_the_report_and_on_the_page(tmp_path, monkeypatch):
    FIGURES.append(ROW)
    try:
        index = analyse(write_rows(tmp_path / "a"))
        assert {path.suffix for path in (index.parent / "figures").glob("sizes.*")} == {".svg", ".png"}
        html = index.read_text()
        section = re.search('<section id="regimes">.*?</section>', html, re.DOTALL)[0]
        assert 'aria-label="Accuracy against size; the tables have the numbers"' in section
        assert section.count('<figure class="wide">') == 3  # beside the regimes and the bars
        page = Page(index)
        assert "A point per cell." in page.text and len(page.ids) == len(set(page.ids)) and page.open == []
        unknown = analyse(write_rows(tmp_path / "b", ("mine", "yours", "theirs")), output_dir=index.parent)
        assert not list((unknown.parent / "figures").glob("sizes.*"))
    finally:
        FIGURES.remove(ROW)


def test_everything_is_computed_once(tmp_path, monkeypatch):
    calls = {}

    def counted(module, name):
        function = getattr(module, name)

        def call(*arguments, **more):
            calls[name] = calls.get(name, 0) + 1
            return function(*arguments, **more)

        monkeypatch.setattr(module, name, call)

    for module, name in ((text, "statements"), (text, "missing"), (findings, "ranked"), (budgets, "budget"),
                         (tables, "tables_of"), (correlation, "correlate"), (write, "write_report")):
        counted(module, name)
    analyse(write_rows(tmp_path))
    records, cells, regimes = 4 + 4 * 2 * 3, 2 * 3, 3
    assert calls["budget"] == records
    assert calls["correlate"] == cells + regimes  # on each data set alone, and on all of them
    assert {calls[name] for name in ("statements", "missing", "ranked", "tables_of", "write_report")} == {1}


def test_a_regimes_color_stands_for_light_and_dark_pages(tmp_path):
    html = analyse(write_rows(tmp_path)).read_text()
    for name in re.findall(r"var\(--(\w+)\)", html):
        assert f"--{name}: #" in html
