"""The five ways to pretrain that the paper compares (v3, section 4.2, figures 3 and 5): what each does to transfer."""

import numpy as np
import pandas as pd

from tfbench.errors import UserError
from tfbench.results.titles import network_title
from tfbench.stats import accuracies
from tfbench.stats.correlation import named_logit

# BuildOptions of pretraining by the number of the setting (flags/ablation_NUMBER.flags). Each takes a step from the one
# before: batch-norm scale is added, then label smoothing, dropout and the auxiliary head are left out.
SWITCHES = ("bn_scale", "label_smoothing", "dropout", "auxiliary_head")
SETTINGS = {(False, True, True, True): 1, (True, True, True, True): 2, (True, False, True, True): 3,
            (True, False, False, True): 4, (True, False, False, False): 5}
COLUMNS = ("origin", "regime", "network", "setting", "source_accuracy", "mean_log_odds")


def from_folders(folders: dict[str, list[dict]]) -> pd.DataFrame:
    """What the studies of several folders, each with one way to pretrain, say.

    Args:
      folders: name -> its rows (results/store.py).

    Returns:
      A line per regime that starts from pretrained weights, network and setting: origin ("ours"), regime, network,
      setting (1 to 5), source_accuracy (fraction) and mean_log_odds of transfer accuracy over the data sets that
      the network has in all the folders.

    Raises:
      UserError: rows that do not go together (accuracies.from_records), pretraining that is none of the five ways or is
        not there, two folders with the same network and way.
    """
    parts = []
    for folder, rows in folders.items():
        settings = _settings(folder, rows)
        table = accuracies.from_records(rows)
        table = table[table["regime"] != "train_from_scratch"]
        if unknown := sorted(set(table["network"]) - set(settings)):
            raise UserError(f"{folder}: expected the pretrain row of {unknown[0]}, which says how it was pretrained, "
                            "found none: copy it there, or leave the folder out of --ablation")
        parts.append(table.assign(setting=table["network"].map(settings), folder=folder))
    cells = pd.concat(parts, ignore_index=True)
    if len(twice := cells[cells.duplicated(["regime", "network", "dataset", "setting"], keep=False)]):
        first = twice.iloc[0]
        raise UserError(f"{' and '.join(twice['folder'].unique()[:2])} both hold {network_title(first['network'])} "
                        f"pretrained by setting {first['setting']}: leave one of them out of --ablation")
    lines = []
    for (regime, network), group in cells.groupby(["regime", "network"], sort=False):
        wide = group.pivot(index="setting", columns="dataset", values="accuracy").dropna(axis=1)
        n = group.pivot(index="setting", columns="dataset", values="n").reindex(columns=wide.columns)
        sources = group.drop_duplicates("setting").set_index("setting")["source_accuracy"]
        x = named_logit(wide.to_numpy(), n.to_numpy(float, na_value=np.nan), [network] * len(wide), list(wide.columns))
        means = x.mean(axis=1) if x.shape[1] else np.full(len(wide), np.nan)
        lines += [dict(zip(COLUMNS, ("ours", regime, network, int(setting), sources[setting], mean), strict=True))
                  for setting, mean in zip(wide.index, means, strict=True)]
    return pd.DataFrame(lines, columns=COLUMNS)


def together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of several; without lines where there are none."""
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _settings(folder: str, rows: list[dict]) -> dict[str, int]:
    """Network -> number of the way it was pretrained."""
    found = {}
    for row in rows:
        if row["regime"] == "pretrain":
            spec = row.get("spec") or {}
            switches = tuple(bool(spec.get(name)) for name in SWITCHES)
            if switches not in SETTINGS:
                said = ", ".join(f"{name} {spec.get(name)}" for name in SWITCHES)
                raise UserError(f"{folder}: expected pretraining by one of flags/ablation_1.flags to ablation_5.flags, "
                                f"found {row['network']} with {said}: leave the folder out of --ablation")
            found[row["network"]] = SETTINGS[switches]
    return found
