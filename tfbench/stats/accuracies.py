"""The table that all statistics start from: one line per (regime, network, data set).

A pandas DataFrame with the columns

    regime           "logistic_regression", "finetune" or "train_from_scratch"
    network, dataset names
    accuracy         on the test split, fraction in [0, 1]
    n                test examples, <NA> where unknown
    source_accuracy  the network's accuracy on the source (ImageNet) test split, NaN where unknown
    source_n         test examples of that, <NA> where unknown

Nothing is imputed: a cell that was not measured has no line. It comes from rows (from_records) or from
a CSV file (csv_table.from_csv).
"""

import dataclasses
import math
import re
from collections import defaultdict

import numpy as np
import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.regimes import REGIMES
from tfbench.results.titles import dataset_title, record_label
from tfbench.stats import budgets
from tfbench.wording import count

COLUMNS = ("regime", "network", "dataset", "accuracy", "n", "source_accuracy", "source_n")


@dataclasses.dataclass(frozen=True)
class Matrix:
    """One regime's accuracies on the data sets that all its networks have.

    Attributes:
      networks: M names by ascending source accuracy (networks without one are left out).
      datasets: D names.
      source, source_n: [M]. accuracy, n: [M, D]. Fractions and float counts, NaN count if unknown.
    """

    networks: tuple[str, ...]
    datasets: tuple[str, ...]
    source: np.ndarray
    source_n: np.ndarray
    accuracy: np.ndarray
    n: np.ndarray


def table_of(records: list[dict]) -> pd.DataFrame:
    """The table of `records` (dicts with COLUMNS as keys), typed; regimes and data sets in catalog order."""
    order = list(DATASETS)
    place = {name: order.index(name) if name in order else len(order)
             for name in (record["dataset"] for record in records)}
    ordered = sorted(records, key=lambda r: (list(REGIMES).index(r["regime"]), place[r["dataset"]]))
    return pd.DataFrame(ordered, columns=list(COLUMNS)).astype(
        {"accuracy": float, "n": "Int64", "source_accuracy": float, "source_n": "Int64"})


def from_records(rows: list[dict], *, allow_unequal: bool = False) -> pd.DataFrame:
    """The table of a results folder's rows (tfbench.results.store.read_records).

    Rows of features of the user's own belong to no network and are left out. So are those on a few examples per
    class, and those of other than their regime's largest budget (budgets.split): the table may be empty.

    A row without a source of its own (train_from_scratch) takes the source accuracy of the same
    network's pretrain row or of its other rows.

    Args:
      allow_unequal: whether results of one data set on unequal test splits may stand side by side (see mismatches).

    Raises:
      UserError: no transfer results; a damaged row; two runs of one cell at one budget; several source
        accuracies of one network, or source data sets; results by different metrics or on unequal test splits.
    """
    for row in rows:
        _check_row(row)
    sources = _sources(rows)
    rows = budgets.unique(rows)
    _check_metrics(rows)
    if not allow_unequal and (unequal := mismatches(rows)):
        raise UserError(f"results are not comparable: {unequal[0]}. Expected one test split per data set: prepare it "
                        "again and repeat the runs of the wrong one, or average over both with --allow_unequal_splits")
    if not budgets.transfers(rows):
        raise UserError(f"expected results of logistic_regression, finetune or train_from_scratch, found "
                        f"none of a network among {len(rows)} rows: run one of these programs, or study, first")
    records = []
    for row in budgets.split(rows)[0]:
        source, source_n = sources.get(row["network"], (math.nan, None))
        records.append({"regime": row["regime"], "network": row["network"], "dataset": row["dataset"],
                        "accuracy": row["accuracy"], "n": row["n_test"],
                        "source_accuracy": source, "source_n": source_n})
    return table_of(records)


def _check_row(row: dict) -> None:
    """Raises UserError where a row's fields are not what the statistics need."""
    source = row.get("source")
    for name in ("source", "spec"):
        if not isinstance(row.get(name), dict | None):
            raise _damaged(row, f"{name} as a group of fields or null", row[name])
    for where, part in (("", row), ("source ", source)):
        if not part or (where and part.get("accuracy") is None):  # a source's may be unknown
            continue
        accuracy, n, dataset = (part.get(name) for name in ("accuracy", "n_test", "dataset"))
        if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
            raise _damaged(row, f"{where}accuracy as a fraction in [0, 1]", accuracy)
        if not _is_count(n):
            raise _damaged(row, f"{where}n_test as a positive whole number", n)
        if not isinstance(dataset, str):
            raise _damaged(row, f"{where}dataset as a name", dataset)
    if not isinstance(row["network"], str):
        raise _damaged(row, "network as a name", row["network"])
    known = ("pretrain", *REGIMES)
    if row["regime"] not in known:
        raise _damaged(row, f"a regime among {', '.join(known)}", row["regime"])
    for name, (expected, accepts) in SPEC_FIELDS.items():
        value = (row.get("spec") or {}).get(name)
        if row["regime"] in REGIMES and value is not None and not accepts(value):
            raise _damaged(row, f"spec.{name} as {expected}", value)


def _damaged(row: dict, expected: str, found) -> UserError:
    return UserError(f"row {record_label(row)}: expected {expected}, found {found!r}: delete the row and run its "
                     "command again")


def _is_count(value, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_COUNT = ("a positive whole number or null", _is_count)
_SEED = ("a whole number or null", lambda value: _is_count(value, 0))
_LIST = ("a list or null", lambda value: isinstance(value, list))
SPEC_FIELDS = {  # of a specification, what the statistics read: field -> (what it is, whether a value is that)
    "steps": _COUNT, "batch_size": _COUNT, "learning_rate": _LIST, "weight_decay": _LIST, "l2": _LIST,
    "examples_per_class": _COUNT, "subset_seed": _SEED}


def _sources(rows: list[dict]) -> dict[str, tuple[float, int]]:
    """Network name -> (source accuracy, its number of examples); UserError unless unique."""
    found = defaultdict(dict)  # network -> (data set, accuracy) -> (n, label) of a row that says so
    for row in rows:
        source = row.get("source") or (row if row["regime"] == "pretrain" else None)
        if source and source["accuracy"] is not None:
            key = (source["dataset"], round(float(source["accuracy"]), 9))
            found[row["network"]].setdefault(key, (source["n_test"], record_label(row)))
    for network, values in found.items():
        if len(values) > 1:
            seen = "; ".join(f"{accuracy:.4f} on {dataset} ({label})"
                             for (dataset, accuracy), (_, label) in sorted(values.items()))
            raise UserError(f"network {network!r} has {len(values)} source accuracies: {seen}. Expected one "
                            "pretraining per network in a results folder: keep each in a folder of its own")
    datasets = {next(iter(values))[0] for values in found.values()}
    if len(datasets) > 1:
        raise UserError("the networks' source accuracies are not comparable, they are on different data "
                        f"sets ({', '.join(sorted(datasets))}): keep each source in a results folder of its own")
    return {network: (accuracy, n) for network, values in found.items()
            for (_, accuracy), (n, _) in values.items()}


def _check_metrics(rows: list[dict]) -> None:
    """Raises UserError where two rows measured one data set by different metrics."""
    first = {}
    for row in rows:
        other = first.setdefault(row["dataset"], row)
        if row["metric"] != other["metric"]:
            raise UserError(f"results on {row['dataset']} are not comparable: {other['metric']} ({record_label(other)}) "
                            f"against {row['metric']} ({record_label(row)}). Expected one metric: repeat the wrong runs")


def mismatches(rows: list[dict]) -> list[str]:
    """Data sets whose rows were tested on unequal splits, with the splits and a row of each, in words."""
    splits = defaultdict(lambda: defaultdict(list))
    for row in rows:
        splits[row["dataset"]][row["n_test"], (row.get("test_split") or {}).get("sha256")].append(row)
    return [f"{dataset}: " + " against ".join(
        f"{n:,} examples, split {str(sha)[:12]}, in {count(len(group), 'row')} ({record_label(group[0])})"
        for (n, sha), group in found.items()) for dataset, found in splits.items() if len(found) > 1]


def of_dataset(table: pd.DataFrame, rows: list[dict], dataset: str) -> tuple[pd.DataFrame, list[dict]]:
    """Table and rows of one data set; pretraining stays.

    Args:
      dataset: its name or title; of a set of the user's own the last part of its folder will do.

    Raises:
      UserError: no result on it, or several that the name fits.
    """
    there = list(dict.fromkeys([*table["dataset"], *(row["dataset"] for row in budgets.transfers(rows))]))
    fitting = [name for name in there if dataset in (name, dataset_title(name))] or [
        name for name in there if dataset == re.split(r"[:/\\]", name.rstrip("/"))[-1]]
    if len(fitting) != 1:
        raise UserError(f"expected one data set called {dataset!r} among the results, found "
                        f"{', '.join(fitting) or 'none'}: name one of {', '.join(there)} with --dataset=NAME")
    return (table[table["dataset"] == fitting[0]].reset_index(drop=True),
            [row for row in rows if row["dataset"] == fitting[0] or row["regime"] == "pretrain"])


def regimes(table: pd.DataFrame) -> list[str]:
    """The regimes present, in the paper's order."""
    present = set(table["regime"])
    return [regime for regime in REGIMES if regime in present]


def pivot(table: pd.DataFrame, regime: str, column: str = "accuracy") -> pd.DataFrame:
    """One regime's `column`, float [network, data set], NaN where missing; by descending source accuracy."""
    part = table[table["regime"] == regime]
    networks = part.drop_duplicates("network").sort_values("source_accuracy", ascending=False, kind="stable")
    wide = part.assign(value=part[column].to_numpy(float, na_value=np.nan)).pivot(
        index="network", columns="dataset", values="value")
    return wide.reindex(index=networks["network"], columns=part["dataset"].unique())


def missing(table: pd.DataFrame, rows=()) -> list[tuple[str, str, str]]:
    """(regime, network, data set) of the cells that are not in the table but ought to be.

    Those are the cells that their regime's other networks and data sets imply, and those that `rows`, from which
    the table came, have only at another budget than the table's.
    """
    cells = []
    for regime in regimes(table):
        gaps = pivot(table, regime).isna()
        cells += [(regime, network, dataset) for network in gaps.index
                  for dataset in gaps.columns if gaps.loc[network, dataset]]
    there = set(table[["regime", "network", "dataset"]].itertuples(index=False, name=None))
    elsewhere = [(row["regime"], row["network"], row["dataset"]) for row in budgets.split(rows)[1]
                 if budgets.has_all_examples(row)]
    return list(dict.fromkeys([*cells, *(cell for cell in elsewhere if cell not in there)]))


def without_source(table: pd.DataFrame) -> list[str]:
    """Networks whose source accuracy is unknown, so that no correlation can use them."""
    return list(table[table["source_accuracy"].isna()]["network"].unique())


def complete(table: pd.DataFrame, regime: str) -> Matrix:
    """One regime's networks with known source accuracy × the data sets that all of these have."""
    part = table[(table["regime"] == regime) & table["source_accuracy"].notna()]
    accuracy = pivot(part, regime).iloc[::-1].dropna(axis=1)
    n = pivot(part, regime, "n").reindex(index=accuracy.index, columns=accuracy.columns)
    source = part.drop_duplicates("network").set_index("network").reindex(accuracy.index)
    return Matrix(tuple(accuracy.index), tuple(accuracy.columns), source["source_accuracy"].to_numpy(float),
                  source["source_n"].to_numpy(float, na_value=np.nan), accuracy.to_numpy(), n.to_numpy())


def wins(table: pd.DataFrame, regime: str, other: str) -> tuple[int, int, int]:
    """In how many cells `regime` is better than `other`, in how many equal, and of how many."""
    keys = ["network", "dataset"]
    both = table[table["regime"] == regime].merge(table[table["regime"] == other], on=keys)
    better = (both["accuracy_x"] > both["accuracy_y"]).sum()
    return int(better), int((both["accuracy_x"] == both["accuracy_y"]).sum()), len(both)


def comparisons(table) -> list[tuple[str, str, int, int, int]]:
    """(fine-tuning, other regime, cells where it is better, equal, cells that have both)."""
    found = [("finetune", other, *wins(table, "finetune", other))
             for other in ("logistic_regression", "train_from_scratch")]
    return [comparison for comparison in found if comparison[-1]]
