"""The model card of an export: what the network is, how good it is, what goes in and comes out, how to use it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfbench.classify import export
from tfbench.data.catalog import DATASETS
from tfbench.data.manifests import SPLITS
from tfbench.models.catalog import NETWORKS
from tfbench.results.record import Record, versions
from tfbench.results.titles import network_title, record_label, source_title
from tfbench.stats import pairs
from tfbench.stats.metrics import METRICS
from tfbench.wording import either

UNKNOWN = "unknown"


def facts(classifier, formats: Mapping[str, dict]) -> dict:
    """What the card says, as model.json holds it.

    Args:
      classifier: the run's network in use (classify/classifier.py).
      formats: by name, {"file", "bytes", "quantized", "needs", "check"} of what was exported (classify/folder.py).
    """
    record: Record = classifier.record
    dataset, data = DATASETS.get(record.dataset), classifier.metadata["data"]
    return {
        "run": record_label(record), "regime": record.regime,
        "network": {"name": record.network, "title": network_title(record.network),
                    "parameters": int(sum(math.prod(weight.shape) for weight in classifier.model.weights))},
        "dataset": {"name": record.dataset, "title": data["title"],
                    "images": {split: data["splits"][split]["n"] for split in SPLITS},
                    "test_sha256": record.test_split.get("sha256"),
                    "licence": dataset.source.licence if dataset and dataset.source else UNKNOWN},
        "accuracy": accuracy(record), "hyperparameters": record.selected, "deviations": record.deviations,
        "warnings": record.warnings, "source": record.source, "weights_licence": weights_licence(record),
        "input": {"dtype": "uint8", "shape": [None, None, None, 3], "channels": "RGB, 0 to 255",
                  "crop_bottom_rows": data["crop_bottom_rows"]},
        "seen_by_the_network": {"image_size": classifier.image_size, "value_range": classifier.value_range,
                                "resize": classifier.resize, "test_crop": classifier.test_crop},
        "output": {"dtype": "float32", "shape": [None, len(classifier.class_names)],
                   "activation": "sigmoid" if classifier.multi_label else "softmax"},
        "class_names": list(classifier.class_names), "formats": dict(formats),
        "versions": {"trained": record.versions, "exported": versions()}}


def accuracy(record: Record) -> dict:
    """{"metric", "value", "n_test", "low", "high"}: the ends of the 95 % interval are None where nothing gives them."""
    cells, _, _ = pairs.on_data_sets([record])
    low, high = (float(cells[end].iloc[0]) for end in ("low", "high"))
    return {"metric": record.metric, "value": record.accuracy, "n_test": record.n_test,
            "low": None if math.isnan(low) else low, "high": None if math.isnan(high) else high}


def weights_licence(record: Record) -> str:
    """Of the pretrained weights: where a network has several public ones, the record does not say which were taken."""
    if record.source is None:
        return "none: trained from random weights"
    if record.source["dataset"] != "imagenet" or record.network not in NETWORKS:
        return UNKNOWN
    weights = NETWORKS[record.network].weights
    licences = sorted({public.licence for public in weights})
    if len(licences) == 1:
        return licences[0]
    return either(f"{public.licence} ({public.source})" for public in weights) or UNKNOWN


def text(card: dict) -> str:
    """The card in Markdown, README.md of the export."""
    network, dataset, output = card["network"], card["dataset"], card["output"]
    seen, several = card["seen_by_the_network"], output["activation"] == "sigmoid"
    crop = "whole images" if seen["test_crop"] == "whole" else "the central 87.5 % of their sides"
    images = ", ".join(f"{number:,} {split}" for split, number in dataset["images"].items())
    source = card["source"]
    lines = [
        f"# {network['title']} for {dataset['title']}", "",
        f"A {network['title']} ({network['parameters']:,} parameters) by tfbench, regime `{card['regime']}`, run "
        f"`{card['run']}`. It says which of {output['shape'][1]} classes an image shows"
        + (", of which there may be several." if several else "."), "",
        "| | |", "|---|---|",
        f"| {METRICS[card['accuracy']['metric']].title} | {_accuracy(card['accuracy'])} |",
        f"| Data set | {dataset['title']}: {images} images; licence: {dataset['licence']} |",
        f"| Pretrained weights | {source_title(source['dataset']) if source else 'none'}; licence: "
        f"{card['weights_licence']} |",
        f"| Hyperparameters | {_named(card['hyperparameters']) or 'none chosen'} |",
        f"| Versions | trained with {_versions(card['versions']['trained'])}; exported with "
        f"{_versions(card['versions']['exported'])} |", "",
        "## Input and output", "",
        "Input: `images`, uint8 [batch, height, width, 3], RGB, 0 to 255, of any size; all of a batch have one size.",
        f"The model resizes them itself ({crop}, to {seen['image_size']} pixels a side, {seen['resize']}).",
        *_cropped(card["input"]["crop_bottom_rows"]),
        f"Output: `probabilities`, float32 [batch, {output['shape'][1]}], in the order of `labels.txt`; "
        + ("each class on its own." if several else "they add up to 1."), ""]
    for name, made in card["formats"].items():
        lines += _format(name, made)
    lines += ["## Classes", "", ", ".join(f"`{name}`" for name in card["class_names"]), ""]
    for title, entries in (("Where it departs from the paper", card["deviations"]), ("Warnings", card["warnings"])):
        if entries:
            lines += [f"## {title}", "", *(f"* {entry}" for entry in entries), ""]
    return "\n".join([*lines, "`model.json` holds the same for programs.", ""])


def _accuracy(found: dict) -> str:
    interval = "" if found["low"] is None else (
        f" (95 % interval {100 * found['low']:.1f} to {100 * found['high']:.1f} %)")
    return f"{100 * found['value']:.1f} %{interval} on {found['n_test']:,} test images"


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, 'g')}"
                     for name, value in values.items())


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {found[name]}" for name in ("tfbench", "tensorflow", "keras") if name in found)


def _cropped(rows: int) -> list[str]:
    return [f"The run did not see the lowest {rows} rows of its images: cut them off first."] if rows else []


def _format(name: str, made: dict) -> Sequence[str]:
    check = made["check"]
    needs = f" It loads after the import of {', '.join(made['needs'])}." if made["needs"] else ""
    quantized = ", weights in 8 bits" if made["quantized"] else ""
    return [f"## {export.FORMATS[name].title}", "",
            f"`{made['file']}`, {made['bytes'] / 1e6:.1f} MB{quantized}.{needs} On {check['images']:,} test images the "
            f"largest difference from the run's probabilities is {check['difference']:.1e}, and "
            f"{100 * check['same']:.1f} % of the answers are the same.", "",
            "```python", export.example(name).rstrip(), "```", ""]
