"""The paper's tables as they ship, and what stands beside them."""

import numpy as np
import pandas as pd
import pytest

from tfbench.data.catalog import PAPER_DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.stats import ablation, published


def cells(**columns):
    return pd.DataFrame({"regime": "finetune", "network": "resnet_50", "dataset": "pets"} | columns, index=[0])


def test_tables_are_whole_and_name_catalog_entries():
    table = published.accuracies()
    assert table.groupby("regime").size().tolist() == [192] * 3
    assert set(table["network"]) <= set(NETWORKS)
    names = [row.name for row in PAPER_DATASETS]
    assert list(dict.fromkeys(table["dataset"])) == names
    art = published.state_of_the_art()
    assert sorted(art) == sorted(names) and all(0.6 < value < 1 for value in art.values())


def test_state_of_the_art_was_passed_on_seven_of_twelve_data_sets():
    best = published.accuracies().groupby("dataset")["accuracy"].max()
    beaten = {name for name, value in published.state_of_the_art().items() if best[name] > value}
    # the paper says seven, two of them (Food-101, Birdsnap) with Inception v4 at 448 pixels, which figure 2 lacks
    assert beaten == {"sun397", "dtd", "pets", "caltech101", "flowers"}


def test_the_papers_own_seven_of_twelve():
    """Five by figure 2, and Food-101 and Birdsnap with Inception v4 at 448 pixels, as figure 6 says."""
    beside = published.beside_the_state_of_the_art(published.accuracies())
    assert len(beside) == 12 and beside["better"].sum() == 5 and beside["paper_better"].sum() == 7
    by_name = beside.set_index("dataset")
    assert set(by_name.index[by_name["paper_better"] & ~by_name["better"]]) == {"food101", "birdsnap"}
    assert set(by_name.loc[["food101", "birdsnap", "cars", "aircraft"], "paper_network"]) == {"inception_v4 @ 448 px"}
    assert by_name.loc["food101", ["previous", "accuracy", "paper"]].tolist() == pytest.approx([0.904, 0.9, 0.908])
    assert by_name.loc["dtd", ["paper_network", "network"]].tolist() == ["inception_v4", "inception_v4"]


def test_another_image_size_may_pass_the_state_of_the_art():
    table = cells(dataset="food101", accuracy=0.9, network="inception_v4")
    larger = cells(dataset="food101", accuracy=0.91, network="inception_v4 @ 448 px")
    other = cells(dataset="digits", accuracy=0.99)
    line, = published.beside_the_state_of_the_art(pd.concat([table, larger, other])).to_dict("records")
    assert (line["network"], line["better"], line["accuracy"]) == ("inception_v4 @ 448 px", True, 0.91)
    assert len(published.beside_the_state_of_the_art(other)) == 0


def test_ablation_ends_where_figure_2_begins():
    lines = published.ablation()
    assert tuple(lines.columns) == ablation.COLUMNS
    means = published.accuracies().assign(x=lambda t: np.log(t["accuracy"] / (1 - t["accuracy"]))).groupby(
        ["regime", "network"])["x"].mean()
    for (regime, network), group in lines.groupby(["regime", "network"]):
        last = group.sort_values("setting").iloc[-1]
        assert last["mean_log_odds"] == pytest.approx(means[regime, network], abs=0.02)
        assert last["source_accuracy"] == pytest.approx(NETWORKS[network].retrained_top1, abs=0.001)


@pytest.mark.parametrize(("accuracy", "low", "high", "within"), [
    (0.93, 0.92, 0.94, True), (0.95, 0.93, 0.97, False), (0.93, 0.9255, 0.94, True), (0.93, np.nan, np.nan, None)])
def test_beside_the_paper(accuracy, low, high, within):
    line, = published.beside_the_paper(cells(accuracy=accuracy, low=low, high=high)).to_dict("records")
    assert line["paper"] == pytest.approx(0.925)
    assert line["difference"] == pytest.approx(accuracy - 0.925)
    assert (pd.isna(line["within"]) if within is None else line["within"] is within)


def test_other_cells_have_nothing_beside_them():
    assert len(published.beside_the_paper(cells(dataset="digits", accuracy=0.5, low=0.4, high=0.6))) == 0


def test_the_papers_own_table_is_recognised():
    table = published.accuracies()
    assert published.is_the_papers(table) and published.is_the_papers(table.iloc[:7])
    assert not published.is_the_papers(table.assign(accuracy=table["accuracy"] - 0.001))
    assert not published.is_the_papers(table.assign(dataset="mine"))
