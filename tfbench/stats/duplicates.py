"""Accuracies without some of the test images, such as near-duplicates of source images (v3 appendix H)."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from tfbench.results import store
from tfbench.results.titles import dataset_title, record_label
from tfbench.stats.budgets import Run
from tfbench.stats.metrics import METRICS

COLUMNS = {"regime": object, "network": object, "dataset": object, "budget": object, "accuracy": float, "n": int,
           "accuracy_without": float, "n_without": int, "left_out": int, "difference": float, "key": object}


def without_duplicates(runs: Sequence[Run], listed: Mapping[str, Collection[str]]) -> tuple[pd.DataFrame, list[str]]:
    """The accuracy of each run again, from its stored predictions on the test images that are not listed.

    Args:
      runs: of which those on the listed data sets count, and no pretraining.
      listed: {data set: keys of images}.

    Returns:
      (a row per run with COLUMNS; what could not be computed, in words, an item each).

    Raises:
      UserError: predictions are damaged.
    """
    rows, notes = [], []
    for run in runs:
        record = run.record
        if not run.is_transfer or record["dataset"] not in listed:
            continue
        kept = store.read_predictions(record, ("keys", "labels", "predictions", "scores"))
        if kept is None or "keys" not in kept:
            notes.append(f"{record_label(record)}: without predictions and their keys there is no accuracy without "
                         "duplicates")
            continue
        outputs = kept["scores" if METRICS[record["metric"]].multi_label else "predictions"]
        stays = ~np.isin(kept["keys"].astype(str), list(listed[record["dataset"]]))
        try:
            accuracy = METRICS[record["metric"]].check(kept["labels"][stays], outputs[stays])
        except ValueError:  # no example is left, or none that shows a class
            accuracy = None
        if accuracy is None:
            notes.append(f"{record_label(record)}: the {stays.sum():,} test images that are no duplicates give no "
                         f"{METRICS[record['metric']].title}")
            continue
        rows.append({**{name: record[name] for name in ("regime", "network", "dataset", "accuracy")},
                     "budget": run.text, "n": len(stays), "accuracy_without": accuracy, "n_without": int(stays.sum()),
                     "left_out": int((~stays).sum()), "difference": accuracy - record["accuracy"],
                     "key": record["key"]})
    names = {run.record["dataset"] for run in runs if run.is_transfer}
    notes += [f"{dataset_title(name)} is listed with duplicates, but there is no result on it"
              for name in listed if name not in names]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    for dataset, group in frame.groupby("dataset"):
        if not group["left_out"].any():
            notes.append(f"{dataset_title(dataset)}: none of the {len(listed[dataset]):,} listed duplicates is among "
                         "the test images of its results")
    return frame, notes
