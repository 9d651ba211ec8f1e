"""The report's tables: what they hold, and how their values are written."""

import numpy as np
import pytest

from tfbench.report import tables
from tfbench.stats import findings, published


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
