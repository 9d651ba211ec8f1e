"""`digits_grid`: several digits in one image, some of them *difficult*, labelled like PASCAL VOC 2007.

Each image has 2x2 tiles, most with a real handwritten digit. A digit written too faintly is
difficult: it is in "labels" but does not count for "labels_no_difficult", and where all examples of a
class in an image are difficult, the official metric ignores the image for that class.
"""

import numpy as np
import tensorflow_datasets as tfds

from tfbench.data.catalog import DATASETS
from tfbench.data.embedded import digits, png

SPLITS = ("train", "validation", "test")
SIZE = 32  # pixels, height and width of an image
TILE = 16  # pixels, height and width of a tile

_SEED = 2007
_FILLED = 0.65  # of the tiles hold a digit
_DIFFICULT = 0.2  # of the digits are difficult
_PLAIN = (0.45, 1.0)  # contrast: ink's part of the way from the ground to white
_FAINT = (0.08, 0.16)
_NOISE = 12  # grey levels


def draw(split: str, index: int) -> tuple[np.ndarray, list[int], list[bool]]:
    """Draws image `index` of a split from digits of the same split of `digits`.

    Returns:
      image: [32, 32] uint8.
      labels: the digits shown, 1 to 4 of them, tile by tile.
      difficult: for each, whether it is difficult; at least one is not.
    """
    _, pixels, classes = digits.load()
    pool = digits.members(split)
    stream = np.random.RandomState([_SEED, SPLITS.index(split), index])
    tile_draws = stream.random_sample([4, 6])
    sure = stream.randint(4)  # this tile always holds a digit that is not difficult
    ground = 20 + 100 * stream.random_sample()
    noise = np.frombuffer(stream.bytes(SIZE * SIZE), np.uint8).reshape(SIZE, SIZE)

    image = np.full([SIZE, SIZE], ground)
    labels, difficult = [], []
    for tile, (filled, hard, which, strength, right, down) in enumerate(tile_draws):
        if filled >= _FILLED and tile != sure:
            continue
        member = pool[int(which * len(pool))]
        labels.append(int(classes[member]))
        difficult.append(bool(hard < _DIFFICULT and tile != sure))
        low, high = _FAINT if difficult[-1] else _PLAIN
        ink = _doubled(pixels[member] / 255.0) * (low + (high - low) * strength)
        ink = np.pad(ink, 1)[int(3 * down):, int(3 * right):][:TILE, :TILE]  # shifted by up to a pixel
        top, left = TILE * (tile // 2), TILE * (tile % 2)
        image[top:top + TILE, left:left + TILE] += (255 - ground) * ink
    image += (noise - 127.5) * (_NOISE / 127.5)
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8), labels, difficult


def _doubled(small: np.ndarray) -> np.ndarray:
    """[8, 8] to [16, 16], linear, with the exact weights 3/4 and 1/4."""
    for _ in range(2):  # rows, and once more, transposed, columns
        above, below = small[[0, *range(7)]], small[[*range(1, 8), 7]]
        pairs = np.stack([0.75 * small + 0.25 * above, 0.75 * small + 0.25 * below], axis=1)
        small = pairs.reshape(TILE, -1).T
    return small


class DigitsGrid(tfds.core.GeneratorBasedBuilder):
    """Images of up to four handwritten digits with VOC's two label fields."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {"1.0.0": "First version: 1,000, 500 and 1,000 images.",
                     "2.0.0": "Of the digits of digits:2.0.0."}

    def _info(self) -> tfds.core.DatasetInfo:
        names = [str(digit) for digit in range(10)]
        return tfds.core.DatasetInfo(
            builder=self,
            description="One to four handwritten digits in 2x2 tiles, each image's digits from the same "
                        "split of `digits`; faint digits are difficult, as in PASCAL VOC 2007.",
            features=tfds.features.FeaturesDict({
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(SIZE, SIZE, 1), encoding_format="png"),
                "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=names)),
                "labels_no_difficult": tfds.features.Sequence(tfds.features.ClassLabel(names=names)),
            }),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation="@misc{tfbench-digits-grid, title = {Digits grid: the embedded multi-label set of "
                     "tfbench, after Alpaydin and Kaynak (1998)}}",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str):
        for index in range(getattr(DATASETS["digits_grid"], split)):
            image, labels, difficult = draw(split, index)
            key = f"{split}_{index:05d}"
            plain = {label for label, hard in zip(labels, difficult, strict=True) if not hard}
            yield key, {"id": key, "image": png.encode(image), "labels": sorted(set(labels)),
                        "labels_no_difficult": sorted(plain)}
