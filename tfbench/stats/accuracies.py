"""The table that all statistics start from: one line per (regime, network, data set).

A pandas DataFrame with the columns

    regime           "logistic_regression", "finetune" or "train_from_scratch"
    network, dataset names
    accuracy         on the test split, fraction in [0, 1]
    n                test examples, <NA> where unknown
    source_accuracy  the network's accuracy on the source (ImageNet) test split, NaN where unknown
    source_n         test examples of that, <NA> where unknown

Nothing is imputed: a cell that was not measured has no line. The table comes from records of finished runs
(from_records), from another table (from_frame) or from a file of one (from_csv).
"""

import dataclasses
import itertools
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.files import tables
from tfbench.files.paths import Remote
from tfbench.regimes import PRETRAIN, REGIMES
from tfbench.results.record import Record, fault_of
from tfbench.results.titles import dataset_title, network_title, parse_sized, record_label
from tfbench.stats import accuracy_table, budgets
from tfbench.stats.accuracy_table import COLUMNS
from tfbench.stats.budgets import Run
from tfbench.stats.table_columns import same_dataset
from tfbench.wording import count, either

# Two regimes to compare, first the one that uses more: pretrained weights, then training of the whole network.
REGIME_PAIRS = tuple(itertools.combinations(sorted(
    REGIMES, key=lambda name: (REGIMES[name].pretrained, bool(REGIMES[name].search)), reverse=True), 2))


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


def table_of(results: list[dict]) -> pd.DataFrame:
    """The table of `results` (dictionaries with COLUMNS as keys), typed; regimes and data sets in catalog order."""
    regimes, datasets = (dict(zip(names, range(len(names)), strict=True)) for names in (REGIMES, DATASETS))
    ordered = sorted(results, key=lambda r: (regimes[r["regime"]], datasets.get(r["dataset"], len(datasets))))
    return pd.DataFrame(ordered, columns=list(COLUMNS)).astype(
        {"accuracy": float, "n": "Int64", "source_accuracy": float, "source_n": "Int64"})


class Reading(NamedTuple):
    """A table, and what its columns were taken for; `surprises` is what a reader might not expect. A line each."""

    table: pd.DataFrame
    columns: list[str]
    surprises: list[str]


def read_table(source, **options) -> Reading:
    """The table in a DataFrame or a file of one of the two forms that stats/accuracy_table.py describes.

    Args:
      source: a DataFrame, or the path of a CSV, .xlsx or .parquet file (files/tables.py).
      options: source_column, regime, datasets and ignore_columns of accuracy_table.read.

    Raises:
      UserError: it is neither, or what files/tables.py and accuracy_table.read refuse; lines are named.
    """
    if isinstance(source, pd.DataFrame):
        (frame, notes), origin = tables.Sheet(source, []), "the DataFrame"
    else:
        if not isinstance(source, str | os.PathLike | Remote):
            raise UserError(f"expected a pandas DataFrame of accuracies, found {type(source).__name__}: pass one, or "
                            "the path of a CSV, .xlsx or .parquet file")
        (frame, notes), origin = tables.read(source, "--accuracies"), str(source)
    results, columns, surprises = accuracy_table.read(frame, origin, **options)
    return Reading(table_of(results), columns, [*notes, *surprises])


def from_frame(frame: pd.DataFrame, **options) -> pd.DataFrame:
    """The table of read_table, of a DataFrame."""
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"expected a pandas DataFrame of accuracies, found {type(frame).__name__}: pass one")
    return read_table(frame, **options).table


def from_csv(path, **options) -> pd.DataFrame:
    """The table of read_table, of a file."""
    return read_table(path, **options).table


def from_records(records: Sequence[Mapping[str, Any]], *, allow_unequal: bool = False) -> pd.DataFrame:
    """The table of a results folder's records (tfbench.results.store.read_records).

    Records of custom features belong to no network and are left out. So are those on a few examples per
    class, and those of other than their regime's largest budget (budgets.split): the table may be empty.

    A record without a source of its own (training from scratch) takes the source accuracy of the same
    network's pretraining or of its other records. At another image size (budgets.by_size) a network has none: it was
    not measured there.

    Args:
      allow_unequal: whether results of one data set on unequal test splits may stand side by side (see mismatches).

    Raises:
      UserError: no transfer results; a damaged record; two runs of one cell at one budget; several source
        accuracies of one network, source data sets or versions of one; results by different metrics or on unequal
        test splits.
    """
    return from_runs(runs_of(records), allow_unequal=allow_unequal)


def from_runs(runs: list[Run], *, allow_unequal: bool = False) -> pd.DataFrame:
    """from_records of records that runs_of has checked."""
    sources = _sources([run.record for run in runs])
    runs = budgets.unique(runs)
    records = [run.record for run in runs]
    _check_metrics(records)
    if not allow_unequal and (unequal := mismatches(records)):
        raise UserError(f"results are not comparable: {unequal[0]}. Expected one test split per data set: prepare it "
                        "again and repeat the runs of the wrong one, or average over both with --allow_unequal_splits")
    if not any(run.is_transfer for run in runs):
        raise UserError(f"expected results of {either(REGIMES)}, found "
                        f"none of a network among {len(runs)} rows: run one of these programs, or study, first")
    results = []
    for run in budgets.split(runs)[0]:
        source, source_n = sources.get(run.record["network"], (math.nan, None))
        results.append({**{name: run.record[name] for name in ("regime", "network", "dataset", "accuracy")},
                        "n": run.record["n_test"], "source_accuracy": source, "source_n": source_n})
    return table_of(results)


def runs_of(records: Sequence[Mapping[str, Any]]) -> list[Run]:
    """budgets.runs_of records whose fields are what the statistics need; UserError names one that is damaged."""
    for record in records:
        if not isinstance(record, Record) and (fault := fault_of(record)):  # a Record was checked when it was read
            raise UserError(f"row {record_label(record)}: {fault}: correct it")
    return budgets.runs_of(records)


def _sources(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, int]]:
    """Network name -> (source accuracy, its number of examples); UserError unless unique."""
    by_network: dict[str, dict] = defaultdict(dict)  # -> (data set, accuracy) -> (n, a record that says so)
    for record in records:
        source = record.get("source") or (record if record["regime"] == PRETRAIN.name else None)
        if source and source["accuracy"] is not None:
            key = (source["dataset"], round(float(source["accuracy"]), 9))
            by_network[parse_sized(record["network"]).network].setdefault(key, (source["n_test"], record))
    for network, values in by_network.items():
        if len(values) > 1:
            seen = "; ".join(f"{accuracy:.4f} on {dataset} ({record_label(record)})"
                             for (dataset, accuracy), (_, record) in sorted(values.items(), key=lambda pair: pair[0]))
            raise UserError(f"network {network!r} has {len(values)} source accuracies: {seen}. Expected one "
                            "pretraining per network in a results folder: keep each in a folder of its own")
    datasets = {dataset for values in by_network.values() for dataset, _ in values}
    if len(datasets) > 1:
        raise UserError("the networks' source accuracies are not comparable, they are on different data "
                        f"sets ({', '.join(sorted(datasets))}): keep each source in a results folder of its own")
    contents = {data["content"]: record_label(record) for record in records if record["regime"] == PRETRAIN.name
                and "content" in (data := record["spec"].get("data") or {})}
    if len(contents) > 1:
        seen = "; ".join(f"{content[:12]} ({label})" for content, label in contents.items())
        raise UserError("the networks' source accuracies are not comparable, the images of their source differ: "
                        f"{seen}. Expected one version of it: keep each in a results folder of its own")
    return {network: (accuracy, n) for network, values in by_network.items()
            for (_, accuracy), (n, _) in values.items()}


def _check_metrics(records: Sequence[Mapping[str, Any]]) -> None:
    """Raises UserError where two records measured one data set by different metrics."""
    first: dict[str, Mapping[str, Any]] = {}
    for record in records:
        other = first.setdefault(record["dataset"], record)
        if record["metric"] != other["metric"]:
            raise UserError(f"results on {record['dataset']} are not comparable: {other['metric']} "
                            f"({record_label(other)}) against {record['metric']} ({record_label(record)}). Expected "
                            "one metric: move the records of the other to a results folder of their own")


def mismatches(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Data sets whose records were tested on unequal splits, with the splits and a record of each, in words."""
    by_dataset: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    for record in records:
        split = (record["n_test"], (record.get("test_split") or {}).get("sha256"))
        by_dataset[record["dataset"]][split].append(record)
    return [f"{dataset}: " + " against ".join(
        f"{n:,} examples, split {str(sha)[:12]}, in {count(len(group), 'row')} ({record_label(group[0])})"
        for (n, sha), group in splits.items()) for dataset, splits in by_dataset.items() if len(splits) > 1]


def by_source(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs by the data set that their networks were pretrained on, most results first (v3, appendix B).

    Public ImageNet weights are of "imagenet"; of equally many results they come last. Runs without a source, as of
    training from scratch, go with each. Where all results are of one source, or of none, there is one group.
    """
    names = [(run.record.get("source") or {}).get("dataset") or (
        run.record["dataset"] if run.regime == PRETRAIN.name else None) for run in runs]
    transfers = Counter(name for name, run in zip(names, runs, strict=True) if name and run.is_transfer)
    if len(transfers) < 2:
        return {next(iter(transfers), ""): runs}
    return {source: [run for name, run in zip(names, runs, strict=True) if name in (source, None)]
            for source in sorted(transfers, key=lambda name: (-transfers[name], name == "imagenet"))}


def without(table: pd.DataFrame, runs: list[Run], networks: Sequence[str]) -> tuple[pd.DataFrame, list[Run]]:
    """Table and runs without some networks, given by name or title.

    Raises:
      UserError: there is no result of one, or none is left.
    """
    present = list(dict.fromkeys([*table["network"], *(run.record["network"] for run in runs if run.is_transfer)]))
    for network in networks:
        if not any(network in (name, network_title(name)) for name in present):
            raise UserError(f"expected a network to leave out that has results, found {network!r}: name some of "
                            f"{', '.join(present)} with --exclude=NETWORK,…, or leave it out")
    if all(is_among(name, networks) for name in present):
        raise UserError("--exclude leaves out all networks: name fewer")
    return (table[~table["network"].map(lambda name: is_among(name, networks))].reset_index(drop=True),
            [run for run in runs if not is_among(run.record["network"], networks)])


def is_among(network: str, networks: Sequence[str]) -> bool:
    """Whether a network is one of those that are given by name or title."""
    return network in networks or network_title(network) in networks


def of_datasets(table: pd.DataFrame, runs: list[Run], datasets: Sequence[str]) -> tuple[pd.DataFrame, list[Run]]:
    """Table and runs of some data sets; pretraining stays.

    Args:
      datasets: their names or titles, in any spelling; of a custom one the last part of its folder will do.

    Raises:
      UserError: no result on one of them, or several that the name fits.
    """
    present = list(dict.fromkeys([*table["dataset"], *(run.record["dataset"] for run in runs if run.is_transfer)]))
    kept = set()
    for dataset in datasets:
        fitting = [name for name in present if dataset in (name, dataset_title(name))] or [
            name for name in present if dataset == re.split(r"[:/\\]", name.rstrip("/"))[-1]] or [
            name for name in present if same_dataset(dataset, name)]
        if len(fitting) != 1:
            raise UserError(f"expected one data set called {dataset!r} among the results, found "
                            f"{', '.join(fitting) or 'none'}: name one of {', '.join(present)} with --dataset=NAME")
        kept.add(fitting[0])
    return (table[table["dataset"].isin(kept)].reset_index(drop=True),
            [run for run in runs if run.record["dataset"] in kept or run.regime == PRETRAIN.name])


def regimes(table: pd.DataFrame) -> list[str]:
    """The regimes present, in the paper's order."""
    present = set(table["regime"])
    return [regime for regime in REGIMES if regime in present]


def pivot(table: pd.DataFrame, regime: str, column: str = "accuracy") -> pd.DataFrame:
    """One regime's `column`, float [network, data set], NaN where missing; by descending source accuracy."""
    cells = table[table["regime"] == regime]
    networks = cells.drop_duplicates("network").sort_values("source_accuracy", ascending=False, kind="stable")
    wide = cells.assign(value=cells[column].to_numpy(float, na_value=np.nan)).pivot(
        index="network", columns="dataset", values="value")
    return wide.reindex(index=networks["network"], columns=cells["dataset"].unique())


def without_partial_sizes(wide: pd.DataFrame) -> pd.DataFrame:
    """A pivot without the networks at another image size (budgets.by_size) that lack one of its data sets."""
    partial = [bool(parse_sized(network).image_size) and gaps.any() for network, gaps in wide.isna().iterrows()]
    return wide[~np.array(partial, bool)]


def missing(table: pd.DataFrame, left_out: list[Run] | tuple = ()) -> list[tuple[str, str, str]]:
    """(regime, network, data set) of the cells that are not in the table but ought to be.

    Those are the cells that their regime's other networks and data sets imply, and those that the runs `left_out`
    (budgets.split) have on all training examples, at another budget than the table's. A network at another image size
    (budgets.by_size) need not be on all data sets.
    """
    cells = []
    for regime in regimes(table):
        gaps = pivot(table, regime).isna()
        cells += [(regime, network, dataset) for network in gaps.index if not parse_sized(network).image_size
                  for dataset in gaps.columns if gaps.loc[network, dataset]]
    present = set(table[["regime", "network", "dataset"]].itertuples(index=False, name=None))
    elsewhere = [run.cell for run in left_out if run.has_all_examples and run.cell not in present]
    return list(dict.fromkeys([*cells, *elsewhere]))


def without_source(table: pd.DataFrame) -> list[str]:
    """Networks whose source accuracy is unknown, so that no correlation can use them."""
    return list(table[table["source_accuracy"].isna()]["network"].unique())


def complete(table: pd.DataFrame, regime: str) -> Matrix:
    """One regime's networks with known source accuracy × the data sets that all of these have."""
    known = table[(table["regime"] == regime) & table["source_accuracy"].notna()]
    accuracy = pivot(known, regime).iloc[::-1].dropna(axis=1)
    n = pivot(known, regime, "n").reindex(index=accuracy.index, columns=accuracy.columns)
    source = known.drop_duplicates("network").set_index("network").reindex(accuracy.index)
    return Matrix(tuple(accuracy.index), tuple(accuracy.columns), source["source_accuracy"].to_numpy(float),
                  source["source_n"].to_numpy(float, na_value=np.nan), accuracy.to_numpy(), n.to_numpy())


def wins(table: pd.DataFrame, regime: str, other: str) -> tuple[int, int, int]:
    """In how many cells `regime` is better than `other`, in how many equal, and of how many."""
    keys = ["network", "dataset"]
    both = table[table["regime"] == regime].merge(table[table["regime"] == other], on=keys)
    better = (both["accuracy_x"] > both["accuracy_y"]).sum()
    return int(better), int((both["accuracy_x"] == both["accuracy_y"]).sum()), len(both)


def comparisons(table) -> list[tuple[str, str, int, int, int]]:
    """(regime that uses most, other regime, cells where the first is better, equal, cells that have both)."""
    wins_of_pairs = [(regime, other, *wins(table, regime, other)) for regime, other in REGIME_PAIRS
                     if regime == REGIME_PAIRS[0][0]]
    return [comparison for comparison in wins_of_pairs if comparison[-1]]
