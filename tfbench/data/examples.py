"""Loads a split into memory as encoded images and labels, checked against the manifest.

The embedded sets fit in memory many times over; decoding and preprocessing is the pipeline's work.
"""

import dataclasses

import numpy as np

from tfbench import UserError
from tfbench.data import prepare
from tfbench.data.catalog import Dataset, check_dataset
from tfbench.data.splits import split_hash

_PARTS = {"train": ("train",), "validation": ("validation",), "test": ("test",),
          "train+validation": ("train", "validation")}


@dataclasses.dataclass(frozen=True)
class Examples:
    """The n examples of a split, in the order of their keys.

    Attributes:
      images: [n] object, encoded bytes.
      labels: [n] int64, the classes; for a multi-label set [n, classes] float32: +1 where an example of
        the class is present, 0 where only difficult ones are (neither right nor wrong), -1 where none is.
      keys: n strings, ascending.
      split_sha256: splits.split_hash of the keys.
    """

    images: np.ndarray
    labels: np.ndarray
    keys: list[str]
    split_sha256: str


def load_split(dataset: Dataset, split: str, data_dir) -> Examples:
    """Reads one split of a prepared data set.

    Args:
      dataset: a row of the catalog.
      split: "train", "validation", "train+validation" or "test".
      data_dir: where prepare.prepare put it.

    Raises:
      UserError: the data set is not prepared, or the folder is damaged or not what the manifest says.
      KeyError: another split.
    """
    wanted = _PARTS[split]
    check_dataset(dataset)
    path = prepare.folder(dataset, data_dir)
    manifest = prepare.read_manifest(dataset, data_dir)
    if manifest is None:
        raise UserError(f"expected the prepared data set {dataset.name} in {path}, found none: any program that "
                        f"is given --dataset={dataset.name} --data_dir={data_dir} prepares it")
    parts = prepare.read_parts(dataset, wanted, data_dir)
    for name, (keys, _, _) in parts.items():
        expected = manifest["splits"][name]
        if (len(keys), split_hash(keys)) != (expected["n"], expected["sha256"]):
            raise prepare.damaged(path, f"expected the {expected['n']:,} {name} examples of its manifest, "
                                  f"found {len(keys):,} or others")
    keys = [key for name in wanted for key in parts[name][0]]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return Examples(
        images=np.concatenate([parts[name][2] for name in wanted])[order],
        labels=np.concatenate([parts[name][1] for name in wanted])[order],
        keys=[keys[i] for i in order],
        split_sha256=split_hash(keys),
    )
