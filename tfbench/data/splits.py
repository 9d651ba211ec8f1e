"""Which examples are held out, and how a split is recognised: by the keys of its examples.

Both depend on keys alone, never on the order in which files happen to be read, so they are the same
on every machine (tfds.load(split="train[:80%]") is not). This module imports no TensorFlow.
"""

import hashlib
import itertools

import numpy as np

_BLOCK = 4096  # keys at a time


def split_hash(keys) -> str:
    """SHA-256, in hex, of the sorted keys, each followed by a newline.

    Args:
      keys: a sequence of strings. One that is ascending already is gone through a part at a time.
    """
    if any(first > second for first, second in itertools.pairwise(keys)):
        keys = sorted(keys)
    digest = hashlib.sha256()
    for first in range(0, len(keys), _BLOCK):
        digest.update("".join(f"{key}\n" for key in keys[first:first + _BLOCK]).encode())
    return digest.hexdigest()


def held_out(keys, labels, size: int, seed: int = 0) -> np.ndarray:
    """Chooses `size` examples, from each class in proportion to its share.

    Shares are rounded by largest remainder (ties: the smaller label first). Within a class, the
    examples whose SHA-256 of "SEED|KEY" comes first are chosen.

    Args:
      keys: n different strings.
      labels: n integers.
      size: how many to hold out, 0 to n.
      seed: another one chooses others.

    Returns:
      [n] bool, True for the held-out examples.

    Raises:
      ValueError: keys repeat, lengths differ, or there are fewer than `size` examples.
    """
    labels = np.asarray(labels, np.int64)
    if labels.shape != (len(keys),) or len(set(keys)) != len(keys):
        raise ValueError(f"expected different keys with one label each, found {len(keys)} keys, "
                         f"{len(set(keys))} of them different, and labels of shape {labels.shape}")
    if not 0 <= size <= len(keys):
        raise ValueError(f"expected a size of 0 to {len(keys)}, the number of examples, found {size}")
    chosen = np.zeros(len(keys), bool)
    if not size:
        return chosen
    classes, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(counts * size, len(keys))  # integers: no rounding to disagree on
    spare = size - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:spare]] += 1
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        chosen[_ranked(keys, members, seed)[:quota]] = True
    return chosen


def per_class(keys, labels, number: int, seed: int = 0, *, use: str = "") -> np.ndarray:
    """Chooses `number` examples of every class: those whose SHA-256 of "SEED|KEY" comes first.

    Args:
      keys, labels: as of held_out. number: of each class; a larger one chooses more beside the same.
      seed: another one chooses others.
      use: stands before the seed, "USE|SEED|KEY": choices for different uses then do not depend on each other.

    Returns:
      [n] bool, True for the chosen ones; all of a class that has no more.
    """
    labels = np.asarray(labels)
    chosen = np.zeros(len(keys), bool)
    for label in np.unique(labels):
        chosen[_ranked(keys, np.flatnonzero(labels == label), seed, use)[:number]] = True
    return chosen


def rarest_class(labels) -> np.ndarray:
    """For every image with several labels the one by which it is held out: the class that fewest images show.

    Args:
      labels: [n, classes], positive where an image shows the class.

    Returns:
      [n] int64; the number of classes for an image that shows none.
    """
    shown = np.asarray(labels) > 0
    counts = np.where(shown, shown.sum(0), len(shown) + 1)
    return np.where(shown.any(1), counts.argmin(1), shown.shape[1]) if len(shown) else np.zeros(0, np.int64)


def _ranked(keys, members, seed: int, use: str = "") -> list[int]:
    salt = f"{use}|{seed}" if use else f"{seed}"
    return sorted(members, key=lambda i: hashlib.sha256(f"{salt}|{keys[i]}".encode()).digest())
