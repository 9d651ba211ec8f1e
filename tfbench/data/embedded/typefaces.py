"""What glyphs and diacritics share: letters as masks, and a few ways to paint them in NumPy.

Everything here must give the same bytes on every machine, since a data set is identified by them.
So outlines are read in font units (integers) with fontTools from the fonts inside matplotlib, not
from FreeType, whose rounding changed between releases; random numbers come from RandomState, whose
stream NumPy has frozen; and arithmetic is element by element in float64 or integers, without sums
whose order depends on the processor.

All functions work on a batch of n images; an image does not depend on its neighbours in the batch.
"""

import functools
import io
import logging
import math
import pathlib

import numpy as np

from tfbench.errors import UserError

DEJAVU = (
    "DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-Bold", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic",
)
STIX = ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta")
COMPUTER_MODERN = ("cmr10", "cmss10", "cmtt10", "cmb10")

SIZE = 32  # pixels, height and width of an image
WHITE = 255.0
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B (ITU-R BT.601)

_MASK = 64  # pixels, height and width of a letter's mask
_INK = 60  # pixels, its longer side; the empty rim is what points outside the mask are mapped to
_FINE = 4  # samples per mask pixel and axis, when an outline is turned into a mask
_CURVE = 8  # straight pieces per quadratic Bézier curve
_UNIT = 4096  # fixed-point one of `letters`: integers cannot round differently elsewhere


@functools.cache
def _font(face: str):
    """(glyphs by name, name by code point) of a font file."""
    import matplotlib
    from fontTools.ttLib import TTFont

    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")
    if not path.exists():
        raise UserError(f"expected the font {path.name} inside matplotlib {matplotlib.__version__}, "
                        "found none: install a matplotlib that brings it (3.10 and 3.11 do)")
    logger = logging.getLogger("fontTools")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of Computer Modern's date of creation
    try:
        font = TTFont(io.BytesIO(path.read_bytes()), lazy=True)  # leaves no file open
        return font.getGlyphSet(), font.getBestCmap()
    finally:
        logger.setLevel(level)


def has(face: str, char: str) -> bool:
    """Whether the font draws `char`."""
    return ord(char) in _font(face)[1]


def _segments(face: str, char: str) -> np.ndarray:
    """The outline as straight pieces: [pieces, 4] float64, each x0, y0, x1, y1 in font units, y up."""
    from fontTools.pens.basePen import decomposeQuadraticSegment
    from fontTools.pens.recordingPen import DecomposingRecordingPen

    glyphs, names = _font(face)
    pen = DecomposingRecordingPen(glyphs)
    glyphs[names[ord(char)]].draw(pen)
    pieces = []
    start = here = (0.0, 0.0)
    for step, points in pen.value:
        if step == "moveTo":
            start = here = points[0]
        elif step == "lineTo":
            pieces.append((*here, *points[0]))
            here = points[0]
        elif step == "qCurveTo":
            for control, end in decomposeQuadraticSegment(points):
                path = [_bezier(here, control, end, i / _CURVE) for i in range(_CURVE + 1)]
                pieces.extend((*a, *b) for a, b in zip(path, path[1:], strict=False))
                here = end
        else:  # closePath
            pieces.append((*here, *start))
    return np.array(pieces, np.float64)


def _bezier(start, control, end, t: float) -> tuple[float, float]:
    return tuple((1 - t) * (1 - t) * a + 2 * t * (1 - t) * b + t * t * c
                 for a, b, c in zip(start, control, end, strict=True))


@functools.cache
def mask(face: str, char: str) -> np.ndarray:
    """How much of each pixel the letter covers, its ink centred and filling the mask but for a rim.

    Returns:
      [64, 64] uint8, 0 (none) to 255 (all), first row on top. The longer side of the ink is 60 pixels.
    """
    pieces = _segments(face, char)
    x, y = pieces[:, 0::2], pieces[:, 1::2]
    scale = _INK / max(x.max() - x.min(), y.max() - y.min())
    x = _MASK / 2 + scale * (x - (x.max() + x.min()) / 2)
    y = _MASK / 2 - scale * (y - (y.max() + y.min()) / 2)

    fine = _MASK * _FINE
    level = ((np.arange(fine) + 0.5) / _FINE)[:, None]
    crossed = (y[:, 0] <= level) != (y[:, 1] <= level)
    row, piece = np.nonzero(crossed)
    x0, y0, x1, y1 = x[piece, 0], y[piece, 0], x[piece, 1], y[piece, 1]
    where = x0 + (level[row, 0] - y0) / (y1 - y0) * (x1 - x0)
    column = np.ceil(where * _FINE - 0.5).astype(np.int64)  # the first sample right of the crossing
    turn = np.where(y1 > y0, 1.0, -1.0)
    winding = np.bincount(row * fine + column, turn, fine * fine).reshape(fine, fine)
    inside = np.cumsum(winding, axis=1) != 0  # non-zero rule: parts of a letter may overlap
    covered = inside.reshape(_MASK, _FINE, _MASK, _FINE).sum(axis=(1, 3))
    return (covered * 255 // _FINE**2).astype(np.uint8)


def numbers(seed: int, split: int, indices, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The random numbers that images are made of; each image has its own stream.

    Args:
      seed: of the data set.
      split: number of the split.
      indices: the n images' numbers in the split.
      count: how many numbers an image needs, beside the noise.

    Returns:
      [n, count] float64 in [0, 1), and noise [n, 32, 32, 3] float64 in [-1, 1].
    """
    uniform = np.empty([len(indices), count])
    noise = np.empty([len(indices), SIZE, SIZE, 3], np.uint8)
    for row, index in enumerate(indices):
        stream = np.random.RandomState([seed, split, index])
        uniform[row] = stream.random_sample(count)
        noise[row] = np.frombuffer(stream.bytes(noise[0].size), np.uint8).reshape(noise[0].shape)
    return uniform, (noise - 127.5) / 127.5


def taker(uniform: np.ndarray):
    """take(low, high) -> [n] float64 in [low, high): uses up the columns of `uniform`, left to right."""
    columns = iter(uniform.T)
    return lambda low, high: low + (high - low) * next(columns)


def apart(low: np.ndarray, high: np.ndarray, gap: float, uniform: np.ndarray) -> np.ndarray:
    """Luminances in [0, 255] at least `gap` below `low` or above `high` ([n] each), at random."""
    below = np.maximum(low - gap, 0)
    above = np.maximum(WHITE - high - gap, 0)
    place = uniform * (below + above)
    return np.where(place < below, place, high + gap + place - below)


def inks(luminance: np.ndarray, red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Colours of exactly the given luminance, as vivid as asked for as far as 0 to 255 allows.

    Args:
      luminance: [n], 0 to 255.
      red, green, blue: [n] each; their differences give hue and strength.

    Returns:
      [n, 3] float64 RGB in [0, 255].
    """
    grey = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
    tint = np.stack([red - grey, green - grey, blue - grey], axis=1)
    room = np.where(tint > 0, WHITE - luminance[:, None], luminance[:, None])
    fits = (room / np.maximum(np.abs(tint), 1e-9)).min(axis=1)
    return luminance[:, None] + np.minimum(fits, 1)[:, None] * tint


def _turns(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin in steps of 1/4096: libraries differ in their last bits."""
    return np.rint(np.cos(angle) * _UNIT) / _UNIT, np.rint(np.sin(angle) * _UNIT) / _UNIT


def letters(letter: list[tuple[str, str]], size, x, y, angle, shear, aspect) -> np.ndarray:
    """How much of each pixel one letter per image covers, after a random affine map.

    Args:
      letter: n pairs (face, character).
      size: [n] pixels, the longer side of the upright letter.
      x, y: [n] pixels, its centre.
      angle: [n] radians, counter-clockwise.
      shear: [n], sideways shift per height.
      aspect: [n], width is multiplied and height divided by its root.

    Returns:
      [n, 32, 32] float64 in [0, 1]; the mean of 2x2 samples per pixel.
    """
    unique = {pair: number for number, pair in enumerate(dict.fromkeys(letter))}
    masks = np.stack([mask(*pair) for pair in unique])
    which = np.array([unique[pair] for pair in letter], np.int32)

    # The inverse of rotation * shear * stretch takes a point of the image to one of the mask.
    cos, sin = _turns(angle)
    wide, high = size * np.sqrt(aspect), size / np.sqrt(aspect)
    to_column = (cos + shear * sin) / wide, (shear * cos - sin) / wide
    to_row = sin / high, cos / high
    points = 2 * np.arange(2 * SIZE, dtype=np.int32) + 1  # sample centres in quarters of a pixel

    def source(along_x, along_y):
        by_x = np.rint(along_x * _INK / 4 * _UNIT).astype(np.int32)[:, None]
        by_y = np.rint(along_y * _INK / 4 * _UNIT).astype(np.int32)[:, None]
        here_x = points - np.rint(4 * x).astype(np.int32)[:, None]
        here_y = points - np.rint(4 * y).astype(np.int32)[:, None]
        place = (by_x * here_x)[:, None, :] + (by_y * here_y + _MASK // 2 * _UNIT)[:, :, None]
        place //= _UNIT
        return np.clip(place, 0, _MASK - 1, out=place)

    index = source(*to_row)
    index *= _MASK
    index += source(*to_column)
    index += which[:, None, None] * _MASK**2
    samples = masks.ravel().take(index).astype(np.uint16)
    pairs = samples[:, :, 0::2] + samples[:, :, 1::2]
    return (pairs[:, 0::2] + pairs[:, 1::2]) / (4 * 255.0)


def _grid(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres relative to [n] points: [n, 1, 32] and [n, 32, 1] float64."""
    centres = np.arange(SIZE) + 0.5
    return centres - x[:, None, None], centres[:, None] - y[:, None, None]


def gradient(angle) -> np.ndarray:
    """Ramps from 0 on one side of the image to 1 on the other, in [n] directions: [n, 32, 32]."""
    cos, sin = _turns(angle)
    right, down = _grid(*np.full([2, len(angle)], SIZE / 2))
    slope = right * cos[:, None, None] + down * sin[:, None, None]
    return np.clip(0.5 + slope / (SIZE * math.sqrt(2)), 0, 1)


def strokes(x, y, angle, length, width) -> np.ndarray:
    """Straight strokes of [n] centres, directions, lengths and widths (pixels): [n, 32, 32] in [0, 1]."""
    cos, sin = _turns(angle)
    right, down = _grid(x, y)
    along = np.abs(right * cos[:, None, None] + down * sin[:, None, None])
    across = np.abs(down * cos[:, None, None] - right * sin[:, None, None])
    return (np.clip(length[:, None, None] / 2 + 0.5 - along, 0, 1)
            * np.clip(width[:, None, None] / 2 + 0.5 - across, 0, 1))


def blobs(x, y, radius) -> np.ndarray:
    """Soft discs of [n] centres and radii (pixels): [n, 32, 32] in [0, 1]."""
    right, down = _grid(x, y)
    return np.clip(1 - (right * right + down * down) / (radius * radius)[:, None, None], 0, 1)


def paint(images: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Lays `colour` [n, 3] over `images` [n, 32, 32, 3] where `cover` [n, 32, 32] is above 0."""
    return images + (colour[:, None, None, :] - images) * cover[..., None]


def finish(images: np.ndarray, noise: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Adds `noise` of [n] amplitudes (grey levels) and rounds to uint8."""
    return np.rint(np.clip(images + noise * amplitude[:, None, None, None], 0, WHITE)).astype(np.uint8)
