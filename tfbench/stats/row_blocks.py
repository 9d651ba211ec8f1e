"""Features read by blocks of rows: what is computed of all examples in float64 needs no float64 copy of them."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.linalg.blas

ROWS = 1024  # of a block: fixed, so that sums do not depend on the machine; few, so that memory is used again


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of an array, without a copy of them.

    Attributes:
      array: float32 or float64 [m, width], in memory or mapped from a file.
      numbers: int [n], which rows, in order; None for all.
    """

    array: np.ndarray
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.array if self.numbers is None else self.numbers)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Rows first to last of the n, [last - first, width]: a view where they lie one after the other."""
        if self.numbers is None:
            return self.array[part]
        numbers = self.numbers[part]
        if len(numbers) and (np.diff(numbers) == 1).all():
            return self.array[numbers[0]:numbers[-1] + 1]
        return self.array[numbers]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.array.shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields (which of the n rows, these rows), ROWS at a time."""
        for part in slices(len(self)):
            yield part, self[part]

    def centred(self, mean: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields (which of the n rows, these rows less `mean`, float64), ROWS at a time; the next overwrites them."""
        buffer = np.empty((min(ROWS, len(self)), self.array.shape[1]))
        for part, block in self.blocks():
            less = buffer[:len(block)]
            np.copyto(less, block)
            less -= mean
            yield part, less


def slices(count: int) -> Iterator[slice]:
    """Yields the blocks of `count` rows."""
    for first in range(0, count, ROWS):
        yield slice(first, min(first + ROWS, count))


def as_rows(features) -> Rows:
    """Features [n, width], an array or Rows, as Rows; converted to float where they are not float32 or float64."""
    if isinstance(features, Rows):
        return features
    features = np.asarray(features)
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float32 if features.dtype == np.float16 else np.float64)
    return Rows(features)


def mean(features: Rows) -> np.ndarray:
    """The mean of the rows, float64 [width]."""
    total = np.zeros(features.shape[1])
    for _, block in features.blocks():
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(features)


def not_finite(features: Rows) -> np.ndarray:
    """Numbers of the rows that hold a value that is not finite, int [·]."""
    found = []
    for part, block in features.blocks():
        if not np.isfinite(block.sum(dtype=np.float64)):  # finite values may overflow too
            found.append(part.start + np.flatnonzero(~np.isfinite(block).all(axis=1)))
    return np.concatenate(found) if found else np.zeros(0, int)


def gram(features: Rows, mean: np.ndarray) -> np.ndarray:
    """XᵀX of the rows X less `mean`, float64 [width, width]; its upper triangle only, zeros below."""
    total = np.zeros((features.shape[1], features.shape[1]), order="F")
    for _, block in features.centred(mean):
        total = scipy.linalg.blas.dsyrk(1.0, block.T, beta=1.0, c=total, overwrite_c=True)
    return total
