"""How networks, data sets and records are named for people."""

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.wording import printable


def network_title(name: str) -> str:
    """The network's title in figures and tables; names that the catalog lacks stay as they are."""
    return NETWORKS[name].title if name in NETWORKS else printable(name)


def dataset_title(name: str) -> str:
    """The data set's title in figures and tables; names that the catalog lacks stay as they are."""
    return DATASETS[name].title if name in DATASETS else printable(name)


def record_label(record) -> str:
    """The record's regime, network, data set and key, as error lines quote it (its file name, made printable)."""
    return printable(f"{record['regime']}-{record['network']}-{record['dataset']}-{record['key']}")
