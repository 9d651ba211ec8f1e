"""How regimes, networks, data sets and correlations are written for people."""

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS

REGIMES = {  # in the order of the paper's figure 2
    "logistic_regression": "logistic regression",
    "finetune": "fine-tuning",
    "train_from_scratch": "training from scratch",
}


def network_title(name: str) -> str:
    """The network's title in figures and tables; names that the catalog lacks stay as they are."""
    return NETWORKS[name].title if name in NETWORKS else printable(name)


def dataset_title(name: str) -> str:
    """The data set's title in figures and tables; names that the catalog lacks stay as they are."""
    return DATASETS[name].title if name in DATASETS else printable(name)


def printable(text) -> str:
    """`text` with control characters (line ends, terminal escapes) replaced by a question mark."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def row_label(row: dict) -> str:
    """The row's regime, network, data set and key, as error lines quote it (its file name but for odd characters)."""
    return printable(f"{row['regime']}-{row['network']}-{row['dataset']}-{row['key']}")


def decimal(value: float) -> str:
    """A correlation with three digits, as papers print it: ".986", "-.120", "1.000"."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"


def count(number: int, noun: str) -> str:
    """ "1 network", "3 networks", "19,531 steps"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
