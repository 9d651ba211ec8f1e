"""--help of a program: what it does, then its flags in groups, the ones that must be given first; then its names."""

import textwrap

from tfbench.cli.flags import Settings
from tfbench.config import WHAT, Setting
from tfbench.data.catalog import DATASETS, Dataset
from tfbench.data.catalog import GROUPS as DATASET_GROUPS
from tfbench.models.catalog import GROUPS as MODEL_GROUPS
from tfbench.models.catalog import NETWORKS, Network

WIDTH, INDENT = 110, 6


def text(program: str, doc: str, settings: Settings) -> str:
    """The whole of a program's --help."""
    groups = dict.fromkeys([WHAT, *(known.group for known in settings.values())])
    lines = [doc.strip(), ""]
    for group in groups:
        names = [name for name, known in settings.items() if known.group == group]
        if not names:
            continue
        lines.append(f"{group}:")
        for name in sorted(names, key=lambda name: not settings[name].required):
            lines += _flag(name, settings[name])
        lines.append("")
    kinds = {known.kind for known in settings.values()}
    if kinds & {"network", "networks"} or "model" in settings:
        lines += [*networks(brief=True), ""]
    if kinds & {"dataset", "datasets"}:
        lines += [*datasets(), ""]
    lines.append(f"python -m tfbench.{program} --flagfile=FILE reads flags from a file, one a line; of a flag that is "
                 "given twice the last counts.")
    return "\n".join(lines)


def _flag(name: str, known: Setting) -> list[str]:
    words = known.help
    if known.choices and known.kind in ("choice", "library"):
        words += f". One of {', '.join(known.choices)}"
    if known.required:
        words = f"REQUIRED. {words}"
    elif known.kind != "switch" and known.default not in (None, ""):
        words += f". Default: {_value(known)}"
    names = f"--[no]{name}" if known.kind == "switch" else f"--{name}"
    if known.alias:
        names += f" (or --{known.alias})"
    return [f"  {names}", *textwrap.wrap(words, WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT)]


def _value(known: Setting) -> str:
    value = known.default
    if not isinstance(value, tuple):
        return str(value)
    if known.kind == "grid":
        return "x".join(map(str, value))
    shown = [str(item) for item in value]
    return ",".join(shown) if len(shown) <= 8 else f"{len(shown)} values, {shown[0]} to {shown[-1]}"


def networks(*, brief: bool = False) -> list[str]:
    """The networks in groups, with size and accuracy, a line each.

    Args:
      brief: whether those of Keras Applications are named only.
    """
    lines = ["networks (parameters in millions, image size, ImageNet top-1 in %: of public weights, of the paper's):"]
    paper, of_keras, miniature = (MODEL_GROUPS[name] for name in ("paper", "keras", "miniature"))
    groups = {"of the paper": paper,
              "of its first version, and candidates": [
                  name for name in NETWORKS if name not in (*paper, *of_keras, *miniature)],
              "of Keras Applications, taken as they are, with Keras's weights": of_keras,
              "no public weights; pretrained in the miniature": miniature}
    for title, names in groups.items():
        lines.append(f"  {title}:")
        if brief and names is of_keras:
            lines += _wrapped(f"{', '.join(names)} (`python -m tfbench list` has their facts)", 4)
        else:
            lines += [f"    {_network(NETWORKS[name])}" for name in names]
    return [*lines, *_wrapped("groups for lists of networks: " + ", ".join(
        f"{name} ({len(names)})" for name, names in MODEL_GROUPS.items()) + "; patterns such as resnet_*", 2)]


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent,
                         break_on_hyphens=False)


def _network(network: Network) -> str:
    top1 = ["–" if value is None else f"{100 * value:.1f}" for value in (network.public_top1, network.retrained_top1)]
    return (f"{network.name:<27}{network.title:<27}{network.parameters / 1e6:>7.1f} M{network.image_size:>6} px"
            f"{top1[0]:>8}{top1[1]:>7}")


def datasets() -> list[str]:
    """The data sets in groups, with size and metric, a line each."""
    paper = DATASET_GROUPS["paper"]
    groups = {"of the paper": [DATASETS[name] for name in paper],
              "drawn by tfbench": [dataset for dataset in DATASETS.values() if dataset.embedded],
              "others": [DATASETS[name] for name in DATASETS if name not in paper and not DATASETS[name].embedded]}
    lines = ["data sets (classes, images to train / validate / test, metric):"]
    for title, rows in groups.items():
        lines.append(f"  {title}:")
        lines += [f"    {_dataset(dataset)}" for dataset in rows]
    return lines


def _dataset(dataset: Dataset) -> str:
    sizes = f"{dataset.train:,} / {dataset.validation:,} / {dataset.test:,}"
    metric = dataset.metric.replace("_", " ")
    return f"{dataset.name:<22}{dataset.title:<22}{dataset.classes:>5}{sizes:>28}  {metric}"
