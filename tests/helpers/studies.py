"""Records of studies that nobody ran, with predictions, and readers of the report on them."""

import html.parser
import itertools
import json

import numpy as np

from tfbench.results import store
from tfbench.stats import budgets, metrics

N, CLASSES = 300, 6


def make_study(folder, *, metric="top1", networks=4, regimes=("finetune", "logistic_regression")):
    """Rows and predictions of ever better networks on one data set; returns them as read_records gives them."""
    rng, dataset = np.random.default_rng(0), "dtd"
    labels = rng.integers(CLASSES, size=N)
    several = metrics.METRICS[metric].multi_label
    if several:
        labels = rng.choice([-1, 0, 1], size=(N, CLASSES), p=[0.7, 0.1, 0.2])
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    for number, (regime, m) in enumerate(itertools.product(regimes, range(networks))):
        if several:
            arrays = {"labels": labels, "scores": labels * (0.3 + 0.2 * m) + rng.normal(size=labels.shape)}
            accuracy = metrics.score(metric, arrays["scores"], labels)
        else:
            right = rng.random(N) < 0.5 + 0.1 * m
            arrays = {"labels": labels, "predictions": np.where(right, labels, (labels + 1) % CLASSES)}
            accuracy = metrics.score(metric, np.eye(CLASSES)[arrays["predictions"]], labels)
        row = {"schema": 1, "key": f"k{number}", "regime": regime, "network": f"net{m}", "dataset": dataset,
               "metric": metric, "accuracy": accuracy, "n_test": N, "test_split": {"n": N, "sha256": "a" * 64},
               "source": {"dataset": "glyphs", "accuracy": 0.6 + 0.05 * m, "n_test": 100}, "spec": {"number": number}}
        path = folder / "rows" / f"{regime}-{m}-{dataset}.json"
        path.write_text(json.dumps(row))
        np.savez(path.with_suffix(".npz"), keys=np.arange(N).astype(str), **arrays)
    return [dict(record) for record in store.read_records(folder)]


def write_rows(folder, networks=("resnet_50", "mobilenet_v1", "inception_v1", "densenet_121"), skip=(), **more):
    """A study's folder: each network pretrained, and in all regimes on two data sets but `skip`."""
    (folder / "rows").mkdir(parents=True)

    def add(regime, network, dataset, accuracy, source):
        number = len(list((folder / "rows").iterdir()))
        row = {"schema": 1, "key": f"{number:016x}", "regime": regime, "network": network, "dataset": dataset,
               "metric": "top1", "accuracy": accuracy, "source": source,
               "n_test": 2000 if regime == "pretrain" else 1000,
               "validation_accuracy": 0.4321, "selected": {"learning_rate": 0.01}, "trials": [],
               "test_split": {"n": 2000 if regime == "pretrain" else 1000, "sha256": "a" * 64},
               "spec": {"number": number},
               "deviations": ["12 steps instead of 19,531"], "warnings": ["widen the grid & repeat"],
               "versions": {"tfbench": "0.1.0"}, "hardware": {"device": "CPU"}, "seconds": 12.5,
               "finished": "2025-01-01T00:00:00Z"}
        (folder / "rows" / f"{number}.json").write_text(json.dumps(row | more))

    for i, network in enumerate(networks):
        accuracy = 0.6 + 0.05 * i
        source = {"dataset": "glyphs", "accuracy": accuracy, "n_test": 2000, "weights_sha256": "b" * 64}
        add("pretrain", network, "glyphs", accuracy, None)
        for j, dataset in enumerate(("digits", "diacritics")):
            for regime, gain in (("logistic_regression", 0), ("finetune", 0.1), ("train_from_scratch", -0.1)):
                if (network, dataset, regime) not in skip:
                    scratch = regime == "train_from_scratch"
                    add(regime, network, dataset, accuracy + gain + 0.02 * j, None if scratch else source)
    return folder


BUDGET = {"steps": 12, "learning_rate": [0.1], "weight_decay": [0.0], "batch_size": 8, "l2": [1.0, 2.0]}


def add_variants(folder, network, accuracy, regimes=("finetune", "train_from_scratch"), **changes):
    """Copies the rows of one network, with `changes` of their specification and another accuracy."""
    for path in sorted((folder / "rows").glob("*.json")):
        row = json.loads(path.read_text())
        if row["regime"] in regimes and row["network"] == network and path.stem.isdecimal():
            key = f"{path.stem}-{'-'.join(map(str, changes.values()))}"
            row |= {"key": key, "spec": row["spec"] | changes, "accuracy": accuracy}
            (folder / "rows" / f"{key}.json").write_text(json.dumps(row))


class Page(html.parser.HTMLParser):
    """Elements, their ids and addresses, and the text of a report."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.ids, self.addresses, self.text, self.open = [], [], [], "", []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [tag] if tag not in ("meta", "br", "img") else []
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


GRID = {"learning_rate": [0.01, 0.1], "weight_decay": [0.0], "batch_size": 64}
GRID_TEXT = "2 learning rates × 1 weight decay, batches of 64 images"


def run(accuracy, regime="finetune", network="resnet_50", dataset="digits", *, n=99, **spec):
    """A row with the fields that the curves read."""
    fixed = {"l2": [1.0, 10.0]} if regime == "logistic_regression" else {"steps": 12} | GRID
    spec = fixed | spec
    return {"regime": regime, "network": network, "dataset": dataset, "accuracy": accuracy, "n_test": n, "spec": spec,
            "key": str(spec)}


def few(accuracy, examples, seed, regime="finetune", **more):
    return run(accuracy, regime, examples_per_class=examples, subset_seed=seed, **more)


def runs_of(records):
    """The transfers among records as runs, no two alike."""
    return budgets.unique([run for run in budgets.runs_of(records) if run.is_transfer])
