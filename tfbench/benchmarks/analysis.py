"""Seconds and memory of the whole analysis of a study of the paper's size, on records and predictions made up here."""

import contextlib
import io
import json
import pathlib
import resource
import tempfile
import time
from typing import Any

import numpy as np

from tfbench.data.catalog import PAPER_DATASETS, Dataset
from tfbench.models.catalog import NETWORKS
from tfbench.report.analyse import analyse
from tfbench.stats import metrics, published

NOISE = 0.5  # of what a network makes of an image, against how hard the image is: networks agree on most


def made_up_predictions(dataset: Dataset, accuracy: float, count: int, labels, hard, draw) -> dict[str, Any]:
    """Labels with predictions or, of several labels, scores, of about that accuracy, as arrays.

    Args:
      labels: [count] int, or [count, classes] in {+1, -1}. hard: [count] float, how hard each image is.
    """
    if dataset.multi_label:
        scores = draw.normal(size=labels.shape) + (1.5 + 4 * (accuracy - 0.6)) * (labels > 0) - 1
        return {"labels": labels, "scores": scores.astype(np.float32)}
    seen = hard + NOISE * draw.normal(size=count)
    wrong = seen > np.quantile(seen, accuracy)
    return {"labels": labels, "predictions": np.where(wrong, (labels + 1) % dataset.classes, labels).astype(np.int32)}


def make_study(folder: pathlib.Path, count: int) -> int:
    """Records of the paper's 16 networks on its 12 data sets in 3 regimes, with `count` predictions each; how many."""
    (folder / "rows").mkdir(parents=True)
    draw, cells = np.random.default_rng(0), published.accuracies()
    for dataset in PAPER_DATASETS:
        labels, hard = draw.integers(dataset.classes, size=count), draw.normal(size=count)
        if dataset.multi_label:
            labels = np.where(draw.random((count, dataset.classes)) < 0.07, 1, -1).astype(np.int8)
        for cell in cells[cells["dataset"] == dataset.name].itertuples():
            arrays = made_up_predictions(dataset, cell.accuracy, count, labels, hard, draw)
            scores = arrays.get("scores")
            if scores is None:
                scores = np.zeros((count, dataset.classes), np.float32)
                scores[np.arange(count), arrays["predictions"]] = 1
            source = {"dataset": "imagenet", "accuracy": NETWORKS[cell.network].retrained_top1, "n_test": 50000}
            record = {"schema": 1, "key": f"{cell.Index:016x}", "regime": cell.regime, "network": cell.network,
                      "dataset": dataset.name, "metric": dataset.metric, "n_test": count,
                      "accuracy": metrics.score(dataset.metric, scores, labels), "source": source, "spec": {},
                      "test_split": {"n": count, "sha256": "0" * 64}}
            path = folder / "rows" / f"{cell.regime}-{cell.network}-{dataset.name}.json"
            path.write_text(json.dumps(record))
            np.savez_compressed(path.with_suffix(".npz"), keys=np.arange(count).astype(str), **arrays)
    return len(cells)


def measure(count: int) -> dict:
    """Wall time of analyse() and the largest memory of this process, for `count` predictions a cell."""
    with tempfile.TemporaryDirectory() as folder:
        cells = make_study(pathlib.Path(folder), count)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            index = analyse(folder)
        seconds = time.perf_counter() - start
        size = index.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"cells": cells, "predictions": count, "seconds": seconds, "peak_bytes": peak, "page_bytes": size}


def report(result: dict) -> list[str]:
    """What was measured, in words."""
    return [f"analysis of {result['cells']} cells with {result['predictions']:,} predictions each: all tests of pairs, "
            f"intervals, figures and report in {result['seconds']:.0f} s, {result['peak_bytes'] / 1e9:.1f} GB at most, "
            f"a page of {result['page_bytes'] / 1e6:.1f} MB"]
