"""The five ways to pretrain that the paper compares (v3, section 4.2, figures 3 and 5): what each does to transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfbench.errors import UserError
from tfbench.regimes import PRETRAIN, REGIMES
from tfbench.results.titles import network_title, parse_sized
from tfbench.stats import accuracies
from tfbench.stats.correlation import named_logit

# Switches of pretraining by the number of the setting (flags/ablation_NUMBER.flags). Each takes a step from the one
# before: batch-norm scale is added, then label smoothing, dropout and the auxiliary head are left out.
SWITCHES = ("bn_scale", "label_smoothing", "dropout", "auxiliary_head")
SETTINGS = {(False, True, True, True): 1, (True, True, True, True): 2, (True, False, True, True): 3,
            (True, False, False, True): 4, (True, False, False, False): 5}
COLUMNS = ("origin", "regime", "network", "setting", "source_accuracy", "mean_log_odds")
OURS = "ours"  # the origin of what was measured here


def from_folders(folders: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """What the studies of several folders, each with one way to pretrain, say.

    Args:
      folders: name -> its records (store.read_records).

    Returns:
      A row per regime that starts from pretrained weights, network and setting: origin ("ours"), regime, network,
      setting (1 to 5), source_accuracy (fraction) and mean_log_odds of transfer accuracy over the data sets that
      the network has in all the folders.

    Raises:
      UserError: records that do not go together (accuracies.from_records), pretraining that is none of the five ways
        or is not there, two folders with the same network and way.
    """
    tables = []
    for folder, records in folders.items():
        settings = _settings(folder, records)
        table = accuracies.from_records(records)
        table = table[[REGIMES[name].pretrained for name in table["regime"]]]
        pretrained = table["network"].map(lambda name: parse_sized(name).network)
        if unknown := sorted(set(pretrained) - set(settings)):
            raise UserError(f"{folder}: expected the pretrain row of {unknown[0]}, which says how it was pretrained, "
                            "found none: copy it there, or leave the folder out of --ablation")
        tables.append(table.assign(setting=pretrained.map(settings), folder=folder))
    cells = pd.concat(tables, ignore_index=True)
    if len(twice := cells[cells.duplicated(["regime", "network", "dataset", "setting"], keep=False)]):
        first = twice.iloc[0]
        raise UserError(f"{' and '.join(twice['folder'].unique()[:2])} both hold {network_title(first['network'])} "
                        f"pretrained by setting {first['setting']}: leave one of them out of --ablation")
    lines = []
    for (regime, network), group in cells.groupby(["regime", "network"], sort=False):
        accuracy = group.pivot(index="setting", columns="dataset", values="accuracy").dropna(axis=1)
        n = group.pivot(index="setting", columns="dataset", values="n").reindex(columns=accuracy.columns)
        sources = group.drop_duplicates("setting").set_index("setting")["source_accuracy"]
        x = named_logit(accuracy.to_numpy(), n.to_numpy(float, na_value=np.nan), [network] * len(accuracy),
                        list(accuracy.columns))
        means = x.mean(axis=1) if x.shape[1] else np.full(len(accuracy), np.nan)
        lines += [(OURS, regime, network, int(setting), sources[setting], mean)
                  for setting, mean in zip(accuracy.index, means, strict=True)]
    return pd.DataFrame(lines, columns=COLUMNS)


def together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of several; without rows where there are none."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _settings(folder: str, records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Network -> number of the way it was pretrained."""
    settings = {}
    for record in records:
        if record["regime"] == PRETRAIN.name:
            spec = record.get("spec") or {}
            switches = tuple(bool(spec.get(name)) for name in SWITCHES)
            if switches not in SETTINGS:
                values = ", ".join(f"{name} {spec.get(name)}" for name in SWITCHES)
                raise UserError(f"{folder}: expected pretraining by one of flags/ablation_1.flags to ablation_5.flags, "
                                f"found {record['network']} with {values}: leave the folder out of --ablation")
            settings[record["network"]] = SETTINGS[switches]
    return settings
