"""`glyphs`, the embedded source set: 37 classes of letters in 20 typefaces on cluttered grounds.

It plays ImageNet's part when everything must run from the installed package in minutes: networks are
pretrained on it (pretrain.py) and transferred to the embedded targets.
"""

import string

import numpy as np
import tensorflow_datasets as tfds

from tfbench.data.catalog import DATASETS
from tfbench.data.embedded import png, typefaces

# Capitals, and the small letters whose shape is not that of their capital (EMNIST's "by merge").
CLASSES = tuple(string.ascii_uppercase + "abdefghnqrt")
FACES = typefaces.DEJAVU + typefaces.STIX + typefaces.COMPUTER_MODERN
SPLITS = ("train", "validation", "test")
SIZES = (14, 28)  # pixels, the longer side of a letter; it lies anywhere within the image
CONTRAST = 80  # grey levels, the least difference of luminance between a letter and its ground

_SEED = 1805
_NUMBERS = 80  # random numbers per image, more than are used
_BATCH = 250  # images drawn at a time, for speed


def labels(split: str) -> np.ndarray:
    """[images of the split] int64: the classes, equal in number to within one, in random order."""
    size = getattr(DATASETS["glyphs"], split)
    stream = np.random.RandomState([_SEED, SPLITS.index(split)])
    return stream.permutation(np.arange(size) % len(CLASSES))


def colours(take) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ground at both ends of its gradient, and letter: [n, 3] each, RGB in [0, 255], CONTRAST apart.

    Most letters are light on dark, like the digits: with both polarities alike frequent, a small
    network needs many epochs before it learns anything.
    """
    first = take(0, 100)
    second = np.clip(first + take(-40, 40), 0, typefaces.WHITE)
    letter = typefaces.apart(np.minimum(first, second), np.maximum(first, second), CONTRAST, take(0, 1))
    return _tinted(first, take), _tinted(second, take), _tinted(letter, take)


def _tinted(luminance, take) -> np.ndarray:
    return typefaces.inks(luminance, take(-60, 60), take(-60, 60), take(-60, 60))


def draw(split: str, indices) -> np.ndarray:
    """Draws images of a split; what one looks like depends on its index only.

    Args:
      split: "train", "validation" or "test".
      indices: n integers, 0 to the size of the split less one.

    Returns:
      [n, 32, 32, 3] uint8, RGB.
    """
    uniform, noise = typefaces.numbers(_SEED, SPLITS.index(split), indices, _NUMBERS)
    take = typefaces.taker(uniform)
    first, second, ink = colours(take)
    images = np.broadcast_to(first[:, None, None, :], noise.shape)
    images = typefaces.paint(images, second, typefaces.gradient(take(-np.pi, np.pi)))
    for _ in range(2):
        cover = typefaces.blobs(take(0, 32), take(0, 32), radius=take(3, 12))
        images = typefaces.paint(images, second, cover * take(0, 0.8)[:, None, None])
        images = _stray(images, take)

    classes = labels(split)[np.asarray(indices)]
    size = take(*SIZES)
    room = (typefaces.SIZE - size) / 2  # from the middle to where the letter touches the rim
    images = typefaces.paint(images, ink, typefaces.letters(
        _spelled(take, classes), size=size, x=typefaces.SIZE / 2 + room * take(-1, 1),
        y=typefaces.SIZE / 2 + room * take(-1, 1), angle=take(-0.2, 0.2), shear=take(-0.15, 0.15),
        aspect=take(0.87, 1.15)))
    images = _scratch(images, take)
    return typefaces.finish(images, noise, amplitude=take(0, 25))


def _spelled(take, classes) -> list[tuple[str, str]]:
    faces = take(0, len(FACES)).astype(np.int64)
    return [(FACES[face], CLASSES[label]) for face, label in zip(faces, classes, strict=True)]


def _stray(images, take) -> np.ndarray:
    """Another letter or a part of it, anywhere: smaller and fainter than the image's own, and turned."""
    cover = typefaces.letters(
        _spelled(take, take(0, len(CLASSES)).astype(np.int64)), size=take(8, SIZES[0]), x=take(0, 32), y=take(0, 32),
        angle=take(-np.pi, np.pi), shear=take(-0.3, 0.3), aspect=take(0.75, 1.33))
    return typefaces.paint(images, _tinted(take(0, typefaces.WHITE), take),
                           cover * take(0.1, 0.3)[:, None, None])


def _scratch(images, take) -> np.ndarray:
    """A thin stroke, anywhere."""
    cover = typefaces.strokes(take(4, 28), take(4, 28), angle=take(-np.pi, np.pi), length=take(6, 24),
                              width=take(0.5, 1.5))
    return typefaces.paint(images, _tinted(take(0, typefaces.WHITE), take),
                           cover * take(0.1, 0.6)[:, None, None])


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """Letters in 37 classes, 32x32 RGB, drawn by this module."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {"1.0.0": "First version: 10,000, 1,000 and 2,000 images.",
                     "2.0.0": "Letters anywhere and of 14 to 28 pixels, no longer in the middle and of 21 to 28."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Letters of 37 classes in 20 typefaces, at random places, sizes, slants and "
                        "colours on cluttered grounds, drawn to the byte alike on every machine.",
            features=tfds.features.FeaturesDict({
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(typefaces.SIZE, typefaces.SIZE, 3),
                                             encoding_format="png"),
                "label": tfds.features.ClassLabel(names=CLASSES),
            }),
            supervised_keys=("image", "label"),
            citation="@misc{tfbench-glyphs, title = {Glyphs: the embedded source set of tfbench}}",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str):
        classes = labels(split)
        for start in range(0, len(classes), _BATCH):
            indices = range(start, min(start + _BATCH, len(classes)))
            for index, image in zip(indices, draw(split, indices), strict=True):
                key = f"{split}_{index:05d}"
                yield key, {"id": key, "image": png.encode(image), "label": int(classes[index])}
