"""The report's tables: what they hold, and how their values are written."""

import numpy as np
import pytest

from tfbench.report import sections, tables
from tfbench.stats import accuracies, findings, published


def test_all_tables_are_named_in_full():
    found = findings.compute(published.accuracies())
    named = tables.tables_of(found)
    assert list(named) == list(tables.TABLES)
    ranking = named["ranking"].frame
    assert len(ranking) == len(found.cells) and (ranking.groupby(["regime", "dataset"])["rank"].min() == 1).all()
    for table in filter(lambda table: len(table.frame), named.values()):
        assert {name for name, _, _ in table.columns} <= set(table.frame.columns)
        assert {kind for _, _, kind in table.columns} <= set(tables.KINDS)


@pytest.mark.parametrize(("kind", "value", "text"), [
    ("percent", 0.12345, "12.3"), ("points", -0.002, "−0.2"), ("points", -0.0001, "+0.0"), ("log_odds", 1.5, "+1.50"),
    ("p", 0.0004, "< .001"), ("p", 0.25, ".250"), ("correlation", -0.2, "−.200"), ("count", 1234567.0, "1,234,567"),
    ("millions", 3.2e6, "3.2"), ("yes", np.True_, "yes"), ("percent", np.nan, "–"), ("yes", None, "–"),
    ("regime", "pretrain", "pretraining"), ("text", "a\x1bb", "a?b")])
def test_values_are_written_as_people_read_them(kind, value, text):
    assert tables.shown(kind, value) == text


def test_of_many_data_sets_some_are_drawn_and_files_have_all(monkeypatch):
    cells = [{"regime": "finetune", "network": f"net{m}", "dataset": f"set{d:02d}", "n": 1000, "source_n": 1000,
              "accuracy": 0.3 + 0.1 * m + 0.005 * d, "source_accuracy": 0.5 + 0.1 * m}
             for d in range(30) for m in range(4) if (m, d) != (1, 3)]
    of_all = findings.compute(accuracies.table_of(cells))
    shown = findings.drawn(of_all)
    names = [f"set{d:02d}" for d in range(25) if d != 3]  # of equally many results the first; set03 has fewer
    for frame in (shown.table, shown.cells, shown.rankings, shown.models["finetune"].residuals.T.reset_index()):
        assert list(frame["dataset"].unique()) == names
    assert shown.correlations == of_all.correlations and len(of_all.table) == 119
    assert of_all.notes == ["figures, page and terminal show 24 of 30 data sets, those with most results; means and "
                            "tests are of all, the tables' CSV files have all; --dataset=NAME,… shows others"]
    assert findings.drawn(shown) is shown
    frames = tables.tables_of(of_all)
    assert len(frames["accuracies"].frame) == 119 and len(frames["correlations_by_dataset"].frame) == 30
    monkeypatch.setattr(sections, "MOST_ROWS", 7)
    html = sections.html_table(frames["ranking"], "ranking")
    assert html.count("<tr>") == 8 and "Here are the first 7 of 119 lines, ranking.csv has all." in html
