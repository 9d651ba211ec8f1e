"""The paper's own numbers, as tables in tfbench/stats/published/ (origins in its README.md)."""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfbench.regimes import REGIMES
from tfbench.stats.ablation import FIXED, SAME
from tfbench.stats.accuracies import from_csv
from tfbench.stats.table_columns import NAMES, SETTINGS

FOLDER = pathlib.Path(__file__).parent / "published"
ORIGIN = "paper (digitised)"  # of what was read off the paper's figures
READING_ERROR = 0.001  # of an accuracy digitised from figure 2, as a fraction; twice that where its marks crowd


@functools.cache
def accuracies() -> pd.DataFrame:
    """The paper's 3 × 16 × 12 accuracies (stats/accuracies.py has the columns)."""
    return from_csv(FOLDER / "kornblith2019_v3_fig2_digitised.csv")


@functools.cache
def quoted() -> pd.DataFrame:
    """Ten of the paper's fine-tuned networks on eight data sets, to the paper's own digits (stats/accuracies.py)."""
    return from_csv(FOLDER / "tllib_finetune.csv", source_column="imagenet_top1_paper")


class Published(NamedTuple):
    """A table of accuracies by the paper's protocol: what it is, in words, and its cells (stats/accuracies.py)."""

    title: str
    read: Callable[[], pd.DataFrame]


TABLES = {  # name, as `analysis --place_on` takes it
    "kornblith2019": Published("the paper's figure 2, digitised", accuracies),
    "tllib": Published("the paper's fine-tuned networks as Transfer-Learning-Library quotes them", quoted),
}


def state_of_the_art() -> dict[str, float]:
    """Data set -> accuracy before the paper, fraction in [0, 1] (v3, figure 6)."""
    table = pd.read_csv(FOLDER / "kornblith_v3_sota.csv")
    return {NAMES[title]: percent / 100 for title, percent in table.itertuples(index=False)}


@functools.cache
def best() -> pd.DataFrame:
    """The paper's best result on each data set (v3, figures 2 and 6): columns of stats/accuracies.py.

    Figure 6 adds to figure 2 what Inception v4 reached on larger images.
    """
    larger = from_csv(FOLDER / "kornblith_v3_448.csv")
    return _best_of(pd.concat([accuracies(), larger], ignore_index=True))


def beside_the_state_of_the_art(table: pd.DataFrame) -> pd.DataFrame:
    """The best result on each data set beside the best before the paper, and the paper's (v3, figure 6, appendix F).

    Args:
      table: accuracies (stats/accuracies.py).

    Returns:
      A row per data set of the paper's: dataset, previous (best before the paper), accuracy, network, regime, better
      (whether accuracy is above previous), and the paper's own paper, paper_network, paper_regime, paper_better.
      Accuracies are fractions.
    """
    previous, ours = state_of_the_art(), _best_of(table)
    columns = ["dataset", "accuracy", "network", "regime"]
    papers = best()[columns].rename(columns={"accuracy": "paper"} | {name: f"paper_{name}" for name in columns[2:]})
    both = ours[ours["dataset"].isin(previous)][columns].merge(papers, on="dataset")
    both.insert(1, "previous", both["dataset"].map(previous).astype(float))
    both.insert(5, "better", both["accuracy"] > both["previous"])
    return both.assign(paper_better=both["paper"] > both["previous"])


def _best_of(table: pd.DataFrame) -> pd.DataFrame:
    """The most accurate line of each data set, of equal ones the first."""
    best = table.reset_index(drop=True).sort_values("accuracy", ascending=False, kind="stable")
    return best.drop_duplicates("dataset").sort_index(ignore_index=True)


def ablation() -> pd.DataFrame:
    """The paper's five ways to pretrain (v3, figures 3 and 5): columns and meaning as in stats/ablation.py.

    The figures' own error bars were not digitised.
    """
    table = pd.read_csv(FOLDER / "kornblith_v3_ablation.csv", keep_default_na=False)
    table["network"] = table["model"].map(NAMES)
    source = table[table["quantity"] == "imagenet_top1"].set_index(["network", "switches"])["value"]
    lines = [{"origin": ORIGIN, "regime": SETTINGS[line.setting],
              "experiment": SAME if REGIMES[SETTINGS[line.setting]].search else FIXED,
              "network": line.network, "setting": line.switches,
              "source_accuracy": source[line.network, line.switches] / 100, "mean_log_odds": line.value,
              "standard_error": np.nan}
             for line in table[table["quantity"] == "mean_log_odds"].itertuples()]
    return pd.DataFrame(lines)


def beside_the_paper(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that the paper has too, beside its accuracies.

    Args:
      cells: regime, network, dataset, accuracy and its 95 % interval low and high, NaN where unknown; fractions.

    Returns:
      regime, network, dataset, paper, ours, difference (ours - paper), low, high (fractions), and within: whether the
      paper's accuracy lies in our interval, widened by READING_ERROR; <NA> where there is no interval. The interval
      says what the choice of test images does; that of training images and random weights comes on top.
    """
    cell = ["regime", "network", "dataset"]
    both = cells.merge(accuracies()[[*cell, "accuracy"]].rename(columns={"accuracy": "paper"}), on=cell)
    both = both.rename(columns={"accuracy": "ours"})
    both["difference"] = both["ours"] - both["paper"]
    inside = (both["paper"] >= both["low"] - READING_ERROR) & (both["paper"] <= both["high"] + READING_ERROR)
    both["within"] = inside.astype("boolean").mask(both["low"].isna())
    return both[[*cell, "paper", "ours", "difference", "low", "high", "within"]].reset_index(drop=True)


def is_the_papers(table: pd.DataFrame) -> bool:
    """Whether a table of accuracies is the paper's own, so that there is nothing to compare."""
    both = table.merge(accuracies(), on=["regime", "network", "dataset"])
    return len(both) == len(table) and np.allclose(both["accuracy_x"], both["accuracy_y"], atol=1e-9)
