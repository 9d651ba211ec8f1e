"""Features on disk: computed once for everything that determines their bytes.

    RESULTS_DIR/features/NETWORK-DATASET-KEY/
        key.json           what determines them; KEY is its hash
        train-00000.npz    keys and features of the split's first SHARD_EXAMPLES examples, and so on

Shards are written atomically, so an interrupted extraction goes on with those that are missing. NumPy checks a shard's
checksum when it is read, and its keys are compared with the split's. A folder may be deleted at any time.
"""

import dataclasses
import importlib.metadata
import io
import re
from collections.abc import Sequence

import numpy as np

from tfbench import config
from tfbench.data.manifests import SPLITS
from tfbench.errors import UserError
from tfbench.files import arrays, atomic
from tfbench.files.fields import COUNT, GROUP, INDEX, TEXT, wrong
from tfbench.files.paths import Path, as_path

LAYOUT_VERSION = 1
SHARD_EXAMPLES = 1024
FEATURES = arrays.Expected("f", (2,))
KEY = {"image_size": COUNT, "precision": TEXT, "images": GROUP}  # what describe_all reads of key.json


def make_key(spec: dict, manifest: dict, *, processor: str) -> dict:
    """Everything that determines the features of a run's data set.

    Args:
      spec: of the run (results/record.py).
      manifest: of the prepared data set (data/manifests.py).
      processor: "CPU" or "GPU", which add in different orders.
    """
    return {
        "layout": LAYOUT_VERSION,
        **{name: spec[name] for name in ("network", "weights_sha256", "value_range", "image_size", "precision",
                                         "batch_size", "devices", "dataset")},
        **({"architecture": spec["architecture"]} if "architecture" in spec else {}),
        "data": {name: value for name, value in spec["data"].items() if name != "difficult"},  # of labels only
        "images": {split: manifest["splits"][split]["n"] for split in SPLITS},
        "processor": processor,
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")}}


@dataclasses.dataclass(frozen=True)
class FeatureCache:
    """The folder with the features of one network on one data set, or with what else is computed of images.

    Attributes:
      expected: what the arrays are: features are float32 [n, width].
    """

    folder: Path
    expected: arrays.Expected = FEATURES

    def read(self, split: str, number: int, keys: Sequence[str]) -> np.ndarray | None:
        """Features of a shard, [len(keys), …]; None if it is missing, damaged or of other examples."""
        try:
            shard = arrays.read(self._path(split, number), {"keys": arrays.Expected("U"), "features": self.expected},
                                cure="it is made anew")
        except (UserError, OSError):
            return None
        features = shard["features"]
        return features if shard["keys"].tolist() == list(keys) and len(features) == len(keys) else None

    def write(self, split: str, number: int, keys: Sequence[str], features: np.ndarray) -> None:
        """Writes a shard; features [len(keys), …].

        Raises:
          UserError: the folder cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, keys=np.array(keys), features=features)
        atomic.patiently(lambda: atomic.write_atomically(self._path(split, number), buffer.getvalue(),
                                                         cure=atomic.make_writable("--results_dir")))

    def note(self, name: str, fact: dict) -> None:
        """Writes a JSON file beside the features.

        Raises:
          UserError: the folder cannot be written.
        """
        atomic.patiently(lambda: atomic.write_json(self.folder / name, fact,
                                                   cure=atomic.make_writable("--results_dir")))

    def _path(self, split: str, number: int) -> Path:
        return self.folder / f"{split}-{number:05d}.npz"


def open_cache(results_dir, key: dict) -> FeatureCache:
    """The cache of the features that `key` (make_key) determines; its folder is made if it is missing.

    Raises:
      UserError: the folder cannot be written.
    """
    name = "-".join(re.sub(r"[^\w.]+", "_", key[field]) for field in ("network", "dataset"))
    cache = FeatureCache(as_path(results_dir) / "features" / f"{name}-{config.key_of(key)}")
    if not (cache.folder / "key.json").exists():
        cache.note("key.json", key)
    return cache


def describe_all(results_dir) -> list[str]:
    """One line for each folder of cached features: its network and data set, how many, how large."""
    lines = []
    for path in sorted(as_path(results_dir).glob("features/*/key.json")):
        cure = f"move {path.name} away, it is written anew when these features are used"
        key = atomic.read_json(path, cure=cure)
        if fault := wrong(key, KEY, required=KEY) or wrong(
                key["images"], dict.fromkeys(SPLITS, INDEX), "images ", SPLITS):
            raise UserError(f"{path} is damaged ({fault}): {cure}")
        atomic.check_schema(path, key.get("layout", LAYOUT_VERSION), LAYOUT_VERSION, cure=cure)
        shards = list(path.parent.glob("*-[0-9]*.npz"))
        counts = {split: min(sum(shard.name.startswith(f"{split}-") for shard in shards) * SHARD_EXAMPLES,
                             key["images"][split]) for split in SPLITS}
        size = sum(shard.stat().st_size for shard in shards) / 1e6
        lines.append(f"{path.parent.name}: {key['image_size']} pixels, {key['precision']}, "
                     + ", ".join(f"{split} {count:,} of {key['images'][split]:,}" for split, count in counts.items())
                     + f", {size:,.1f} MB")
    return lines
