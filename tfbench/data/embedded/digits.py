"""`digits`: the 1,797 handwritten digits that come with scikit-learn, the real target set.

They are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
1998; CC BY 4.0), 8x8 pixels of 17 grey levels. Two thirds are the test split: networks get so few of
them wrong that on 359 images, those of version 1.0.0, chance decided which is better
(docs/measurements.md).
"""

import functools

import numpy as np
import tensorflow_datasets as tfds

from tfbench.data.catalog import DATASETS
from tfbench.data.embedded import png
from tfbench.data.splits import held_out

SPLITS = ("train", "validation", "test")
_TEST_SEED, _VALIDATION_SEED = 1, 2


@functools.cache
def load() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """All digits in scikit-learn's order.

    Returns:
      keys: "digit_0000" to "digit_1796".
      images: [1797, 8, 8] uint8, 0 (paper) to 255 (ink).
      labels: [1797] int64, 0 to 9.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    keys = tuple(f"digit_{index:04d}" for index in range(len(digits.target)))
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    return keys, images, digits.target.astype(np.int64)


@functools.cache
def members(split: str) -> np.ndarray:
    """[n] int64, ascending: which of `load()` belong to a split; chosen by hash of the key, per class."""
    keys, _, labels = load()
    test = held_out(keys, labels, DATASETS["digits"].test, seed=_TEST_SEED)
    rest = np.flatnonzero(~test)
    held = held_out([keys[i] for i in rest], labels[rest], DATASETS["digits"].validation,
                    seed=_VALIDATION_SEED)
    return {"train": rest[~held], "validation": rest[held], "test": np.flatnonzero(test)}[split]


class Digits(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits, 8x8 grey."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {"1.0.0": "First version: 1,078, 360 and 359 images.",
                     "2.0.0": "400, 200 and 1,197 images."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="1,797 handwritten digits of 13 writers, 8x8 pixels, as distributed with "
                        "scikit-learn, split by hash of their number in 400, 200 and 1,197.",
            features=tfds.features.FeaturesDict({
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
            }),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation="@misc{alpaydin1998optical, author = {Alpaydin, E. and Kaynak, C.}, year = {1998},\n"
                     "  title = {Optical Recognition of Handwritten Digits}, doi = {10.24432/C50P49},\n"
                     "  publisher = {UCI Machine Learning Repository}}",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str):
        keys, images, labels = load()
        for index in members(split):
            yield keys[index], {"id": keys[index], "image": png.encode(images[index]),
                                "label": int(labels[index])}
