"""How networks, data sets and records are named for people, and runs of a network at another image size."""

import functools
import re
from typing import NamedTuple

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.wording import printable


class SizedName(NamedTuple):
    """The parts of a network's name in an analysis: of the catalog or custom, and the image size, None: its usual."""

    network: str
    image_size: int | None


def at_size(network: str, image_size: int) -> str:
    """The name of a network's runs at another image size, beside those at its usual one: "inception_v4 @ 448 px"."""
    return f"{network} @ {image_size} px"


@functools.cache
def parse_sized(name: str) -> SizedName:
    """What at_size put together; a name without a size has none."""
    match = re.fullmatch(r"(.+) @ (\d+) px", name)
    return SizedName(match[1], int(match[2])) if match else SizedName(name, None)


def network_title(name: str) -> str:
    """The network's title in figures and tables, with the size of at_size; names that the catalog lacks stay as they
    are."""
    network, image_size = parse_sized(name)
    title = NETWORKS[network].title if network in NETWORKS else printable(network)
    return at_size(title, image_size) if image_size else title


def source_title(name: str) -> str:
    """The data set of pretraining in figures and tables; "imagenet" as a source are the public weights."""
    return "Public ImageNet weights" if name == "imagenet" else f"Pretrained on {dataset_title(name)}"


def dataset_title(name: str) -> str:
    """The data set's title in figures and tables; names that the catalog lacks stay as they are."""
    return DATASETS[name].title if name in DATASETS else printable(name)


def record_label(record) -> str:
    """The record's regime, network, data set and key, as error lines quote it (its file name, made printable)."""
    network = parse_sized(str(record["network"])).network
    return printable(f"{record['regime']}-{network}-{record['dataset']}-{record['key']}")
