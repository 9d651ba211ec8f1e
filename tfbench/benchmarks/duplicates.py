"""How many fabricated near-duplicates the search finds, and what it takes for one that is none."""

import concurrent.futures
import io
import os
import time
from collections.abc import Callable

import numpy as np

from tfbench.data import duplicates
from tfbench.data.examples import PreparedDataset, StoredImages
from tfbench.errors import UserError

COPIES = 500  # images of which copies are made


def measure(data: PreparedDataset, seed: int = 0) -> dict:
    """Recall for each way to alter a copy, and false pairs between images of different classes.

    Args:
      data: photographs of which none of one class is a copy of one of another.

    Raises:
      UserError: the data set has several labels per image, or fewer than 20 images.
    """
    if data.dataset.multi_label:
        raise UserError(f"{data.dataset.name} has several labels per image: take a data set with one")
    rows = np.sort(np.concatenate(list(data.membership.values())))
    if len(rows) < 20:
        raise UserError(f"{data.dataset.name} has {len(rows)} images: take a data set with 20 or more")
    stored, labels = StoredImages(str(data.folder), data.entries, rows), data.entries.labels[rows]
    keys = data.entries.keys[rows].tolist()
    rng = np.random.RandomState(seed)
    chosen = np.sort(rng.choice(len(rows), min(COPIES, len(rows)), replace=False))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        images = duplicates.thumbnails(stored.__getitem__, keys, pool)
        rate = len(images) / (time.monotonic() - start)
        plain = duplicates.detail(images) < duplicates.LEAST_DETAIL
        recall, among = {}, duplicates.Others(images)
        for name, edit in EDITS.items():
            edges = rng.uniform(size=(len(chosen), 4))  # of each copy's crop, where it has one

            def altered(position, edit=edit, edges=edges):
                return _encode(edit(_open(stored[chosen[position]]), edges[position]))

            copies = duplicates.thumbnails(altered, [keys[i] for i in chosen], pool)
            # Itself or another of its class: neighbouring frames and parts of one picture are as good.
            right = [match.image for match in duplicates.find(copies, among)
                     if labels[chosen[match.image]] == labels[match.other]]
            recall[name] = {"all": len(right) / len(chosen),
                            "not_plain": float((~plain[chosen[right]]).sum() / max((~plain[chosen]).sum(), 1))}
    false, pairs = 0, 0
    for label in np.unique(labels):
        others = np.flatnonzero(labels != label)
        mine = np.flatnonzero(labels == label)
        false += len(duplicates.find(images[mine], duplicates.Others(images[others])))
        pairs += len(mine) * len(others)
    return {"dataset": data.dataset.name, "images": len(rows), "copies": len(chosen), "plain": float(plain.mean()),
            "thumbnails_per_second": rate, "recall": recall, "false_images": false, "pairs": pairs}


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['dataset']}: {result['images']:,} images, {100 * result['plain']:.1f} % too plain to tell; "
             f"{result['thumbnails_per_second']:,.0f} thumbnails a second",
             f"copies found, of {result['copies']:,}: of all, and of those that are not too plain"]
    lines += [f"  {name:<44}{100 * found['all']:6.1f} %{100 * found['not_plain']:8.1f} %"
              for name, found in result["recall"].items()]
    return [*lines, f"images with a false duplicate in another class: {result['false_images']:,} of "
            f"{result['images']:,}, in {result['pairs']:,} pairs"]


def _open(encoded: bytes):
    from PIL import Image

    return Image.open(io.BytesIO(encoded)).convert("RGB")


def _encode(image, kind: str = "PNG", **more) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def _jpeg(image, quality: int):
    return _open(_encode(image, "JPEG", quality=quality))


def _scaled(image, factor: float):
    return image.resize((max(round(image.width * factor), 8), max(round(image.height * factor), 8)))


def _crop(image, edges):
    """Without fractions `edges` (left, top, right, bottom) of its sides."""
    left, top, right, bottom = edges
    return image.crop((round(left * image.width), round(top * image.height), round((1 - right) * image.width),
                       round((1 - bottom) * image.height)))


def _mirror(image):
    from PIL import ImageOps

    return ImageOps.mirror(image)


def _brighter(image):
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(1.3)


EDITS: dict[str, Callable] = {  # what a copy is called -> (image, four random numbers in [0, 1]) -> the copy
    "JPEG of quality 30": lambda image, edges: _jpeg(image, 30),
    "0.4 of its sides, JPEG of quality 75": lambda image, edges: _jpeg(_scaled(image, 0.4), 75),
    "squeezed to 32 × 32 pixels": lambda image, edges: image.resize((32, 32)),
    "grey": lambda image, edges: image.convert("L").convert("RGB"),
    "1.3 times as bright": lambda image, edges: _brighter(image),
    "mirrored": lambda image, edges: _mirror(image),
    "up to 5 % cropped from each edge": lambda image, edges: _crop(image, 0.05 * edges),
    "up to 10 % cropped from each edge": lambda image, edges: _crop(image, 0.1 * edges),
    "up to 15 % cropped from each edge": lambda image, edges: _crop(image, 0.15 * edges),
    "5 % cropped, mirrored, 0.6 of its sides, JPEG": lambda image, edges: _jpeg(
        _scaled(_mirror(_crop(image, 0.05 * edges)), 0.6), 60),
    "the middle 70 % of its sides (too little)": lambda image, edges: _crop(image, [0.15] * 4),
}
