"""Near-duplicates of images among many others, by 32 × 32 grey pixels of each.

Three steps, from cheap to sure:

    hashes      64 signs of the lowest frequencies of the cosine transform, of the whole image and of ten slightly
                smaller windows, as a copy may be cropped; of the images looked up also mirrored
    look-up     all pairs of hashes that differ in at most MOST_BITS bits, through tables of 21-bit parts
    similarity  the two images are laid over each other, with shift and scale fitted by least squares; their fine
                structure, which the hashes do not hold, is then correlated

So it finds copies that are re-encoded, resized, mirrored, made grey, brighter or darker, and cropped by up to a tenth
of a side; not those that are turned or show a small part. Plain images, with detail in a small part only or none, are
compared with nothing: two skies are alike, too. This module needs NumPy and Pillow only.
"""

import dataclasses
import functools
import io
from collections.abc import Iterator

import numpy as np

from tfbench.errors import UserError

SIDE = 32  # pixels of a thumbnail
MOST_BITS = 8  # by which hashes of a pair may differ; LOOKUP_MASKS find all of these
WINDOW_SIDES = (0.95, 0.87)  # of the image's sides
SIMILARITY = 0.7  # from which a pair counts, in [-1, 1]
_CORRELATION = 0.9  # of the pixels as they are, which a pair also has
_LEAST_OVERLAP = 0.6  # of the images' area
_PARTS, _PART_BITS = 3, 21  # of a hash, by which it is looked up
_STEPS = 8  # of the fit of shift and scale
_FIRST_STEPS, _PROMISING = 2, 0.3  # after so many, pairs whose fine structure correlates less are given up
LEAST_DETAIL = 18.0  # of 49, see `detail`: an image with one or two edges, as of a chart, has less
_BLOCK = 16384  # thumbnails that are worked on together
_ROUNDING = 0.25  # squared grey values: fine structure that is no more is that of rounding them
_AT_ONCE = 2048  # pairs that are aligned together
_GRID = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE

# XORed to a part: it differs in at most two bits. Hashes that differ in 8 have a part, of three, that does.
LOOKUP_MASKS = np.array([0, *(1 << a for a in range(_PART_BITS)),
                         *((1 << a) | (1 << b) for a in range(_PART_BITS) for b in range(a))], np.int64)
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


@dataclasses.dataclass(frozen=True)
class Match:
    """An image and its most similar one among the others.

    Attributes:
      image, other: their positions.
      similarity: correlation of their fine structure, in [-1, 1].
      mirrored: whether one is mirrored.
    """

    image: int
    other: int
    similarity: float
    mirrored: bool


def thumbnail(encoded: bytes) -> np.ndarray:
    """An encoded image as uint8 [SIDE, SIDE], grey.

    Raises:
      OSError, ValueError: it cannot be decoded.
    """
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        image.draft("L", (4 * SIDE, 4 * SIDE))  # a JPEG is decoded at a fraction of its size
        grey = image.convert("RGB").convert("L")
        return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)


@functools.cache
def _windows() -> np.ndarray:
    """[windows, 4] float32: top, bottom, left, right of the whole image and of the windows, as fractions."""
    boxes = [(0.0, 1.0, 0.0, 1.0)]
    for side in WINDOW_SIDES:
        rest = 1 - side
        corners = [(top, top + side, left, left + side) for top in (0.0, rest) for left in (0.0, rest)]
        boxes += [(rest / 2, 1 - rest / 2, rest / 2, 1 - rest / 2), *corners]
    return np.array(boxes, np.float32)


@functools.cache
def _frequencies() -> np.ndarray:
    """[SIDE², windows · 64] float32: the lowest frequencies, but the mean, of each window of a thumbnail."""
    lowest = sorted(((u, v) for u in range(12) for v in range(12)), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    waves = np.cos(np.pi * np.arange(12)[:, None] * _GRID)  # of the window, sampled at SIDE points
    columns = []
    for top, bottom, left, right in _windows():
        down = waves @ _sampling(np.array([top]), np.array([bottom - top]))[0]
        across = waves @ _sampling(np.array([left]), np.array([right - left]))[0]
        columns += [np.outer(down[u], across[v]).ravel() for u, v in lowest[1:65]]
    return np.array(columns, np.float32).T


def hashes(thumbnails: np.ndarray) -> np.ndarray:
    """uint64 [n, windows] of thumbnails [n, SIDE, SIDE]."""
    signs = thumbnails.reshape(-1, SIDE * SIDE).astype(np.float32) @ _frequencies() > 0
    return np.packbits(signs.reshape(len(thumbnails), -1, 64), axis=-1).view(np.uint64)[..., 0]


def _parts(codes: np.ndarray) -> list[np.ndarray]:
    """The parts of hashes, int64 each."""
    return [((codes >> np.uint64(part * _PART_BITS)) & np.uint64((1 << _PART_BITS) - 1)).astype(np.int64)
            for part in range(_PARTS)]


def bits_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In how many bits hashes differ, uint8 of their common shape."""
    different = np.ascontiguousarray(first ^ second)
    return _ONES[different.view(np.uint16)].reshape(*different.shape, 4).sum(axis=-1, dtype=np.uint8)


class HashTable:
    """Finds which hashes of many differ little from a given one, without comparing it with all.

    Args:
      codes: uint64 [n].
    """

    def __init__(self, codes: np.ndarray):
        self.codes = codes
        self._tables = []
        for part in _parts(codes):
            order = np.argsort(part, kind="stable").astype(np.uint32)
            counts = np.bincount(part, minlength=1 << _PART_BITS)
            self._tables.append((order, np.concatenate([[0], np.cumsum(counts)])))

    def within(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of the queries [m] with the codes that differ in at most MOST_BITS bits.

        Returns:
          Numbers of queries, of codes, and the bits, each [pairs]; a pair may stand there twice.
        """
        found = []
        for part, (order, first) in zip(_parts(queries), self._tables, strict=True):
            keys = part[:, None] ^ LOOKUP_MASKS
            starts, sizes = first[keys], first[keys + 1] - first[keys]
            numbers = np.repeat(np.arange(len(queries)), sizes.sum(axis=1))
            sizes = sizes.ravel()
            positions = np.arange(sizes.sum()) + np.repeat(starts.ravel() - np.cumsum(sizes) + sizes, sizes)
            candidates = order[positions]
            bits = bits_apart(queries[numbers], self.codes[candidates])
            near = bits <= MOST_BITS
            found.append((numbers[near], candidates[near].astype(np.int64), bits[near]))
        first, second, third = (np.concatenate(column) for column in zip(*found, strict=True))
        return first, second, third


class Others:
    """The images among which near-duplicates are searched; plain ones are left out.

    Args:
      thumbnails: uint8 [n, SIDE, SIDE].

    Attributes:
      positions: [m] int64, of those that are not plain, and thumbnails: theirs.
      table: of their hashes, all windows of the first, then those of the second, and so on.
    """

    def __init__(self, thumbnails: np.ndarray):
        self.positions = np.flatnonzero(detail(thumbnails) >= LEAST_DETAIL)
        self.thumbnails = thumbnails[self.positions]
        blocks = [hashes(self.thumbnails[first:first + _BLOCK]).ravel()
                  for first in range(0, len(self.positions), _BLOCK)]
        self.table = HashTable(np.concatenate(blocks) if blocks else np.zeros(0, np.uint64))


def find(images: np.ndarray, others: Others, *, least: float = SIMILARITY,
         report=lambda number: None) -> list[Match]:
    """For each image its most similar one among the others, where there is a near-duplicate.

    Args:
      images: thumbnails, uint8 [n, SIDE, SIDE].
      others: of which each image is searched for a copy.
      least: similarity from which a pair counts.
      report: called with numbers of images that are done.

    Returns:
      At most one Match per image, in their order.
    """
    kept = np.flatnonzero(detail(images) >= LEAST_DETAIL)
    report(len(images) - len(kept))
    images, boxes, best = images[kept], _windows(), dict[int, Match]()
    windows = len(boxes)
    for some in _in_blocks(_candidates(images, others.table, windows, report)):
        image, other, view, window = some.T
        mirrored = view >= windows
        pixels = images[image].astype(np.float32)
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        values = similarity(pixels, others.thumbnails[other].astype(np.float32), boxes[view % windows], boxes[window])
        for row in np.flatnonzero(values >= least):
            match = Match(int(kept[image[row]]), int(others.positions[other[row]]), float(values[row]),
                          bool(mirrored[row]))
            if match.image not in best or match.similarity > best[match.image].similarity:
                best[match.image] = match
    return [best[image] for image in sorted(best)]


def _candidates(images, table: HashTable, windows: int, report) -> Iterator[np.ndarray]:
    """[pairs, 4] int64 of each image: its number, the other's, and which of their views have the nearest hashes."""
    for first in range(0, len(images), 1024):
        some = images[first:first + 1024]
        views = np.concatenate([hashes(some), hashes(some[:, :, ::-1])], axis=1)
        for number, codes in enumerate(views, first):
            view, entry, bits = table.within(codes)
            order = np.lexsort((bits, entry // windows))
            other = entry[order] // windows
            nearest = order[np.concatenate([[True], other[1:] != other[:-1]])] if len(order) else order
            report(1)
            if len(nearest):
                yield np.stack([np.full(len(nearest), number), entry[nearest] // windows, view[nearest],
                                entry[nearest] % windows], axis=1)


def _in_blocks(arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows of the arrays in blocks of _AT_ONCE; the last may be smaller."""
    pending = np.zeros((0, 4), np.int64)
    for rows in arrays:
        pending = np.concatenate([pending, rows])
        while len(pending) >= _AT_ONCE:
            yield pending[:_AT_ONCE]
            pending = pending[_AT_ONCE:]
    if len(pending):
        yield pending


def _sampling(start: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Weights of linear interpolation, float32 [n, SIDE, SIDE]: rows are the points start + scale · _GRID."""
    points = (start[:, None] + scale[:, None] * _GRID) * SIDE - 0.5
    return np.maximum(0, 1 - np.abs(points[:, :, None] - np.arange(SIDE))).astype(np.float32)


def similarity(first: np.ndarray, second: np.ndarray, first_window: np.ndarray,
               second_window: np.ndarray) -> np.ndarray:
    """How like the fine structure of pairs of images is, once they are laid over each other.

    Args:
      first, second: float32 [n, SIDE, SIDE].
      first_window, second_window: [n, 4], parts of them that show about the same (_windows).

    Returns:
      float32 [n]: the correlation; -1 where the images as a whole are not alike or overlap too little.
    """
    scale = (second_window[:, 1::2] - second_window[:, ::2]) / (first_window[:, 1::2] - first_window[:, ::2])
    start = second_window[:, ::2] - scale * first_window[:, ::2]  # of the second image, down and across
    result, rows = np.full(len(first), -1, np.float32), np.arange(len(first))
    for step in range(_STEPS + 1):
        laid, inside = _laid(second, start, scale)
        if step == _FIRST_STEPS:
            kept = _fine_correlation(first, laid, inside) >= _PROMISING
            first, second, start, scale, laid, inside, rows = (
                values[kept] for values in (first, second, start, scale, laid, inside, rows))
        area = inside.sum(axis=(1, 2)) + 1e-6
        a, b = _centred(first, inside, area), _centred(laid, inside, area)
        if step == _STEPS or not len(rows):
            break
        gain = np.clip(_dot(a, b) / (_dot(b, b) + 1e-6), 0.3, 3)[:, None, None]
        slope_down, slope_across = (np.gradient(laid, axis=axis) * SIDE * gain / scale[:, axis - 1, None, None]
                                    for axis in (1, 2))
        slopes = np.stack([_centred(slope, inside, area).reshape(len(first), -1) for slope in (
            slope_down, slope_down * _GRID[:, None], slope_across, slope_across * _GRID)], axis=1)
        products = slopes @ slopes.transpose(0, 2, 1)
        products += np.eye(4) * (1e-3 * np.trace(products, axis1=1, axis2=2)[:, None, None] + 1e-3)
        residual = (a - gain * b).reshape(len(first), -1, 1)
        change = np.clip(np.linalg.solve(products, slopes @ residual)[..., 0], -0.05, 0.05).astype(np.float32)
        start, scale = start + change[:, ::2], scale + change[:, 1::2]
    counts = (_correlation(a, b) >= _CORRELATION) & (area >= _LEAST_OVERLAP * SIDE * SIDE)
    result[rows] = np.where(counts, _fine_correlation(first, laid, inside), -1)
    return result


def _laid(second: np.ndarray, start: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images at the points start + scale · _GRID, float32 [n, SIDE, SIDE], and 1 where these are inside, else 0."""
    down, across = _sampling(start[:, 0], scale[:, 0]), _sampling(start[:, 1], scale[:, 1])
    inside = down.sum(axis=2)[:, :, None] * across.sum(axis=2)[:, None] > 0.999
    return down @ second @ across.transpose(0, 2, 1), inside.astype(np.float32)


def _fine_correlation(first: np.ndarray, laid: np.ndarray, inside: np.ndarray) -> np.ndarray:
    within = _eroded(inside)
    return _correlation(_fine(first) * within, _fine(laid) * within)


def detail(thumbnails: np.ndarray) -> np.ndarray:
    """Over how many of 7 × 7 blocks an image's fine structure is spread, float [n] from 1 to 49; 0 without any.

    Args:
      thumbnails: [n, SIDE, SIDE].
    """
    energies = []
    for first in range(0, len(thumbnails), _BLOCK):
        fine = _fine(thumbnails[first:first + _BLOCK].astype(np.float32))[:, 2:-2, 2:-2]
        energies.append((fine ** 2).reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49))
    size = np.sqrt(np.maximum(np.concatenate(energies) - _ROUNDING, 0)) if energies else np.zeros((0, 49))
    return size.sum(axis=1) ** 2 / ((size ** 2).sum(axis=1) + 1e-6)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nij->n", a, b)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _dot(a, b) / np.sqrt(_dot(a, a) * _dot(b, b) + 1e-6)


def _centred(values: np.ndarray, inside: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Less their mean inside; 0 outside."""
    return (values - ((values * inside).sum(axis=(1, 2)) / area)[:, None, None]) * inside


def _fine(values: np.ndarray) -> np.ndarray:
    """Less a blurred copy, by a triangle of five pixels; wrong in the two pixels at the edges."""
    blurred = values
    for axis in (1, 2):
        near, far = (np.roll(blurred, shift, axis) + np.roll(blurred, -shift, axis) for shift in (1, 2))
        blurred = (3 * blurred + 2 * near + far) / 9
    return values - blurred


def _eroded(inside: np.ndarray) -> np.ndarray:
    """The pixels inside that are two or more from the edge."""
    result = np.zeros_like(inside)
    middle = slice(2, -2)
    result[:, middle, middle] = (inside[:, middle, middle] * inside[:, :-4, middle] * inside[:, 4:, middle]
                                 * inside[:, middle, :-4] * inside[:, middle, 4:])
    return result


def thumbnails(read, names: list[str], pool, report=lambda images: None) -> np.ndarray:
    """Thumbnails of n images, uint8 [n, SIDE, SIDE].

    Args:
      read: from a position to the encoded image. names: of the images, for errors.
      pool: concurrent.futures executor.
      report: called with numbers of images done.

    Raises:
      UserError: one cannot be decoded.
    """
    def make(position: int) -> np.ndarray:
        try:
            return thumbnail(read(position))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"the image {names[position]} cannot be decoded ({str(error).splitlines()[0][:100]}): "
                            "`prepare_data --action=verify` names all such images") from error

    result = np.empty((len(names), SIDE, SIDE), np.uint8)
    for position, small in enumerate(pool.map(make, range(len(names)))):
        result[position] = small
        report(1)
    return result
