"""The five ways to pretrain that the paper compares (v3, section 4.2): what each does to transfer.

There are three experiments, which are never mixed:

    fixed features         logistic regression (figure 3)
    same configuration     fine-tuned with the switches of the pretraining (figure 5)
    pretraining only       fine-tuned without label smoothing, dropout and auxiliary classifier (appendix C.2)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfbench import paper
from tfbench.errors import UserError
from tfbench.models import catalog
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import PRETRAIN, REGIMES
from tfbench.results.titles import network_title, parse_sized
from tfbench.stats import accuracies
from tfbench.stats.correlation import named_logit
from tfbench.stats.transforms import standard_errors

# Switches of pretraining by the number of the setting (flags/ablation_NUMBER.flags). Each takes a step from the one
# before: batch-norm scale is added, then label smoothing, dropout and the auxiliary head are left out.
SWITCHES = paper.PRETRAINING_SWITCHES
SETTINGS = {(False, True, True, True): 1, (True, True, True, True): 2, (True, False, True, True): 3,
            (True, False, False, True): 4, (True, False, False, False): 5}
STEPS = {2: "batch-norm scale", 3: "no label smoothing", 4: "no dropout", 5: "no auxiliary classifier"}
FIXED, SAME, PRETRAINING_ONLY, OTHER = (
    "fixed features", "same configuration", "pretraining only", "another configuration")
COLUMNS = ("origin", "regime", "experiment", "network", "setting", "source_accuracy", "mean_log_odds", "standard_error")
OURS = "ours"  # the origin of what was measured here
MEAN = "mean over networks"  # stands for the network where effects are averaged
GROUP = ["origin", "regime", "experiment"]


def from_folders(folders: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[pd.DataFrame, list[str]]:
    """What the studies of several folders, each with one way to pretrain, say.

    A network without an auxiliary classifier has no fifth setting, and one without dropout either no fourth.

    Args:
      folders: name -> its records (store.read_records).

    Returns:
      lines: a row per regime that starts from pretrained weights, experiment, network and setting: origin ("ours"),
        regime, experiment, network, setting (1 to 5), source_accuracy (fraction), mean_log_odds of transfer accuracy
        over the data sets that the network has in all of an experiment's settings, and its standard_error
        (transforms.standard_errors, over the network's settings), NaN where there is none.
      notes: what was taken for what, in words.

    Raises:
      UserError: records that do not go together (accuracies.from_records), pretraining that is none of the five ways
        or is not there, two folders with the same network and way.
    """
    tables = [table for folder, records in folders.items() for table in _of_folder(folder, records)]
    cells = pd.concat(tables, ignore_index=True)
    cells, notes = _without_the_same_again(cells)
    key = ["regime", "experiment", "network", "dataset", "setting"]
    if len(twice := cells[cells.duplicated(key, keep=False)]):
        first = twice.iloc[0]
        raise UserError(f"{' and '.join(twice['folder'].unique()[:2])} both hold {network_title(first['network'])} "
                        f"pretrained by setting {first['setting']}: leave one of them out of --ablation")
    cells = _with_the_plain_setting(cells)
    lines = []
    for (regime, experiment, network), group in cells.groupby(["regime", "experiment", "network"], sort=False):
        accuracy = group.pivot(index="setting", columns="dataset", values="accuracy").dropna(axis=1)
        n = group.pivot(index="setting", columns="dataset", values="n").reindex(columns=accuracy.columns)
        sources = group.drop_duplicates("setting").set_index("setting")["source_accuracy"]
        x = named_logit(accuracy.to_numpy(), n.to_numpy(float, na_value=np.nan), [network] * len(accuracy),
                        list(accuracy.columns))
        means = x.mean(axis=1) if x.shape[1] else np.full(len(accuracy), np.nan)
        lines += [(OURS, regime, experiment, network, int(setting), sources[setting], mean, error)
                  for setting, mean, error in zip(accuracy.index, means, standard_errors(x), strict=True)]
    return pd.DataFrame(lines, columns=COLUMNS), notes


def together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of several; without rows where there are none."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def effects(lines: pd.DataFrame) -> pd.DataFrame:
    """What each step from one setting to the next does.

    Args:
      lines: COLUMNS.

    Returns:
      A row per origin, regime, experiment, network and step: these, setting (that the step leads to), step (in words),
      effect (log-odds: mean_log_odds less that of the setting before) and networks (1). Below each experiment's, rows
      with the mean over networks and their number.
    """
    made = []
    for group, cells in lines.groupby(GROUP, sort=False):
        wide = cells.pivot(index="network", columns="setting", values="mean_log_odds").reindex(columns=range(1, 6))
        differences = wide.reindex(cells["network"].unique()).astype(float).diff(axis=1).round(12)
        steps = [(*group, network, setting, STEPS[setting], effect, 1)
                 for network, line in differences.iterrows() for setting, effect in line.dropna().items()]
        counts = differences.notna().sum()
        made += steps + [(*group, MEAN, setting, STEPS[setting], differences[setting].mean().round(12), counts[setting])
                         for setting in STEPS if counts[setting]]
    return pd.DataFrame(made, columns=[*GROUP, "network", "setting", "step", "effect", "networks"])


def experiment_of(record: Mapping[str, Any], pretraining: Mapping[str, Any]) -> str:
    """Which experiment a transfer belongs to; where nothing was switched on, that of the same configuration.

    Args:
      record: of a regime that starts from pretrained weights. pretraining: the specification of these.
    """
    if not REGIMES[record["regime"]].search:
        return FIXED
    spec = record.get("spec") or {}
    before, after = ([bool(of.get(name)) for name in _has(record["network"]) if name != "bn_scale"]
                     for of in (pretraining, spec))
    scale = pretraining.get("bn_scale")
    if before == after and bool(scale) == bool(spec.get("bn_scale", scale)):
        return SAME
    return OTHER if any(after) else PRETRAINING_ONLY


def _of_folder(folder: str, records: Sequence[Mapping[str, Any]]) -> list[pd.DataFrame]:
    """A folder's accuracies, a table per experiment, with experiment, folder and what _settings says."""
    settings = _settings(folder, records)
    pretraining = {record["network"]: record for record in records if record["regime"] == PRETRAIN.name}
    groups = defaultdict(list)
    for record in records:
        if record["regime"] in REGIMES and REGIMES[record["regime"]].pretrained:
            spec = pretraining.get(record["network"], {}).get("spec") or {}
            groups[experiment_of(record, spec)].append(record)
    tables = []
    for experiment, group in groups.items():
        table = accuracies.from_records([*pretraining.values(), *group])
        pretrained = table["network"].map(lambda name: parse_sized(name).network)
        if unknown := sorted(set(pretrained) - set(settings)):
            raise UserError(f"{folder}: expected the pretrain row of {unknown[0]}, which says how it was pretrained, "
                            "found none: copy it there, or leave the folder out of --ablation")
        facts = pretrained.map(settings)
        tables.append(table.assign(experiment=experiment, setting=[number for number, _, _ in facts],
                                   switches=[switches for _, switches, _ in facts],
                                   pretraining=[key for _, _, key in facts], folder=folder))
    if not tables:
        raise UserError(f"{folder}: expected results of pretrained networks, found none: run a study there, or leave "
                        "the folder out of --ablation")
    return tables


def _has(network: str) -> list[str]:
    """Which of SWITCHES there are in a network; a custom one may have all."""
    facts = NETWORKS.get(parse_sized(network).network)
    return [name for name in SWITCHES if facts is None or name not in catalog.SWITCHES or name in facts.switches]


def _last(network: str) -> int:
    """The number of the setting in which nothing of what a network has is switched on."""
    has = _has(network)
    return SETTINGS[True, False, "dropout" not in has, "auxiliary_head" not in has]


def _without_the_same_again(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """`cells` without those of a network's last setting that several folders have, because it lacks a switch.

    Leaving out what is not there is the same training, whether its specification says so or another: the folder that
    is named first is taken.
    """
    key = ["regime", "experiment", "network", "dataset", "setting"]
    same_run = cells.duplicated([*key, "pretraining"])
    kinds = cells[~same_run].groupby(key)["switches"].transform("nunique").reindex(cells.index)
    sizes = cells[~same_run].groupby(key)["switches"].transform("size").reindex(cells.index)
    twice = same_run | cells[~same_run].duplicated(key).reindex(cells.index, fill_value=False) & kinds.eq(sizes)
    if not twice.any():
        return cells, []
    names = ", ".join(network_title(name) for name in cells[twice]["network"].unique())
    return cells[~twice], [
        f"Ways to pretrain: last settings are one without a dropout or auxiliary classifier to leave out ({names}); "
        f"taken once, not from {', '.join(cells[twice]['folder'].unique())} again"]


def _with_the_plain_setting(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells`, those that never had a switch in both experiments of their network, if it has other settings there.

    Fine-tuned without switches after pretraining without them, they end the lines of figure 5 and of appendix C.2.
    """
    plain = cells["experiment"].eq(SAME) & cells["setting"].eq(cells["network"].map(_last))
    network = cells["regime"] + " " + cells["network"]
    only = network.isin(network[cells["experiment"].eq(PRETRAINING_ONLY)])
    same = network.isin(network[cells["experiment"].eq(SAME) & ~plain])
    return pd.concat([cells[~plain | same | ~only], cells[plain & only].assign(experiment=PRETRAINING_ONLY)],
                     ignore_index=True)


def _settings(folder: str, records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, str, str]]:
    """Network -> number of the way it was pretrained, its switches as they were set, and the pretraining's key.

    What a network lacks does not count: it is as in setting 1.
    """
    settings = {}
    for record in records:
        if record["regime"] == PRETRAIN.name:
            spec, has = record.get("spec") or {}, _has(record["network"])
            switches = tuple(bool(spec.get(name)) or name not in has for name in SWITCHES)
            values = ", ".join(f"{name} {spec.get(name)}" for name in SWITCHES)
            if switches not in SETTINGS:
                raise UserError(f"{folder}: expected pretraining by one of flags/ablation_1.flags to ablation_5.flags, "
                                f"found {record['network']} with {values}: leave the folder out of --ablation")
            settings[record["network"]] = SETTINGS[switches], values, record["key"]
    return settings
