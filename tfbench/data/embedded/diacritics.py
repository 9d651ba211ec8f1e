"""`diacritics`, an embedded fine-grained target: which mark a Latin letter carries.

Like Pets or Flowers it is small, its classes are unequal and differ in a detail, so accuracy is the
mean over classes. The base letter, the largest thing in the image, tells (almost) nothing.
"""

import unicodedata

import numpy as np
import tensorflow_datasets as tfds

from tfbench.data.catalog import DATASETS
from tfbench.data.embedded import png, typefaces

# From the largest class to the smallest, with the combining character.
MARKS = (
    ("none", ""), ("acute", "\u0301"), ("grave", "\u0300"), ("diaeresis", "\u0308"),
    ("circumflex", "\u0302"), ("caron", "\u030c"), ("tilde", "\u0303"), ("macron", "\u0304"),
    ("dot_above", "\u0307"), ("breve", "\u0306"), ("ring_above", "\u030a"), ("ogonek", "\u0328"),
)
# Without i and j, which bear a dot anyway, and d, l, t, whose caron is set as an apostrophe.
BASES = "ACEGHNOSUWYZaceghnosuwyz"
FACES = typefaces.DEJAVU + typefaces.STIX
SPLITS = ("train", "test")
TAIL = 6  # the largest class is so many times the smallest
CONTRAST = 90  # grey levels, the least difference of luminance between a letter and its ground

_SEED = 1893
_NUMBERS = 40  # random numbers per image, more than are used
_BATCH = 250  # images drawn at a time, for speed


def spellings(label: int) -> list[str]:
    """The characters of a class: those that Unicode has as one character."""
    joined = (unicodedata.normalize("NFC", base + MARKS[label][1]) for base in BASES)
    return [char for char in joined if len(char) == 1]


def labels(split: str) -> np.ndarray:
    """[images of the TFDS split] int64, in random order; sizes fall geometrically, 6 to 1."""
    dataset = DATASETS["diacritics"]
    size = {"train": dataset.train + dataset.validation, "test": dataset.test}[split]
    weights = np.array([TAIL ** (-label / (len(MARKS) - 1)) for label in range(len(MARKS))])
    ends = np.rint(size * np.cumsum(weights) / np.cumsum(weights)[-1]).astype(np.int64)
    stream = np.random.RandomState([_SEED, SPLITS.index(split)])
    return stream.permutation(np.repeat(np.arange(len(MARKS)), np.diff(ends, prepend=0)))


def colours(take) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ground at both ends of its gradient, and letter: [n, 3] each, RGB in [0, 255], CONTRAST apart."""
    first = take(0, 100)
    second = np.clip(first + take(-25, 25), 0, typefaces.WHITE)
    letter = typefaces.apart(np.minimum(first, second), np.maximum(first, second), CONTRAST, take(0, 1))
    return _tinted(first, take), _tinted(second, take), _tinted(letter, take)


def _tinted(luminance, take) -> np.ndarray:
    return typefaces.inks(luminance, take(-60, 60), take(-60, 60), take(-60, 60))


def draw(split: str, indices) -> np.ndarray:
    """Draws images of a split; what one looks like depends on its index only.

    Args:
      split: "train" or "test".
      indices: n integers, 0 to the size of the split less one.

    Returns:
      [n, 32, 32, 3] uint8, RGB.
    """
    uniform, noise = typefaces.numbers(_SEED, SPLITS.index(split), indices, _NUMBERS)
    take = typefaces.taker(uniform)
    first, second, ink = colours(take)
    images = np.broadcast_to(first[:, None, None, :], noise.shape)
    images = typefaces.paint(images, second, typefaces.gradient(take(-np.pi, np.pi)))
    cover = typefaces.blobs(take(0, 32), take(0, 32), radius=take(4, 12))
    images = typefaces.paint(images, second, cover * take(0, 0.8)[:, None, None])

    classes = labels(split)[np.asarray(indices)]
    images = typefaces.paint(images, ink, typefaces.letters(
        _spelled(take, classes), size=take(25, 30), x=take(14.5, 17.5), y=take(15, 17),
        angle=take(-0.15, 0.15), shear=take(-0.15, 0.15), aspect=take(0.85, 1.15)))
    return typefaces.finish(images, noise, amplitude=take(0, 20))


def _spelled(take, classes) -> list[tuple[str, str]]:
    """(face, character) per image; a face that lacks the character hands over to the first one."""
    choices = [spellings(label) for label in range(len(MARKS))]
    pairs = []
    for label, face, position in zip(classes, take(0, len(FACES)), take(0, 1), strict=True):
        char = choices[label][int(position * len(choices[label]))]
        name = FACES[int(face)]
        pairs.append((name if typefaces.has(name, char) else FACES[0], char))
    return pairs


class Diacritics(tfds.core.GeneratorBasedBuilder):
    """Latin letters in 12 classes of marks, 32x32 RGB, drawn by this module."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version: 1,250 and 1,000 images."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Latin letters with one of 11 diacritics or none, in 16 typefaces; the class is "
                        "the mark, class sizes fall from 6 to 1, and there is no validation split.",
            features=tfds.features.FeaturesDict({
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(typefaces.SIZE, typefaces.SIZE, 3),
                                             encoding_format="png"),
                "label": tfds.features.ClassLabel(names=[name for name, _ in MARKS]),
            }),
            supervised_keys=("image", "label"),
            citation="@misc{tfbench-diacritics, title = {Diacritics: an embedded target set of tfbench}}",
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
