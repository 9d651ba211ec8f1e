"""Finds test images that are near-duplicates of images that the networks were pretrained on (v3 appendix H).

Looks in the training images of --source for copies of the test images of --datasets: re-encoded, resized, mirrored,
made grey, or cropped by up to a tenth at each edge. Writes RESULTS_DIR/duplicates/pairs.csv, a line per test image
with its most similar source image, and index.html, which shows the pairs. Look at them, and delete the lines of the
CSV file that are no duplicates; then `analysis` says what accuracies are without the others. Thumbnails of all images
are kept in RESULTS_DIR/duplicates, so that an interrupted search goes on.

  python -m tfbench.duplicates --source=imagenet2012 --datasets=paper
  python -m tfbench.duplicates --source=glyphs --datasets=digits,diacritics --data_dir=data
  python -m tfbench.analysis --results_dir=results --duplicates=results/duplicates/pairs.csv
"""

import concurrent.futures
import dataclasses
import os

import numpy as np

from tfbench.cli import app
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.data import duplicates
from tfbench.data.examples import PreparedDataset, StoredImages
from tfbench.data.lookup import get_dataset
from tfbench.errors import UserError
from tfbench.files import arrays, atomic
from tfbench.files.paths import Path, as_path
from tfbench.inputs import prepare_data
from tfbench.linear.cache import FeatureCache
from tfbench.report import pairs_page
from tfbench.wording import count, say

SHARD = 4096  # images whose thumbnails are kept in one file
THUMBNAILS = arrays.Expected("u", (3,))
CURE = atomic.make_writable("--results_dir")

SETTINGS = {
    "source": dataclasses.replace(FIELDS["dataset"], alias="", help="data set on which the networks were pretrained, "
                                  "e.g. imagenet2012: its training images are searched"),
    "datasets": Setting(None, "datasets", "target data sets, comma-separated: names or patterns, `paper` for the "
                        "paper's twelve, folder:PATH or tfds:NAME", WHAT, required=True, alias="dataset"),
    "split": Setting("test", "choice", "which images of the target data sets are looked up", WHAT,
                     choices=("train", "validation", "test")),
    "similarity": Setting(duplicates.SIMILARITY, "number", "from which correlation of the fine structure a pair is "
                          "reported (our choice: docs/measurements.md, \"Near-duplicates\")", WHAT, minimum=0.3,
                          maximum=1),
    **{name: FIELDS[name] for name in ("split_seed", "results_dir", "data_dir")},
}


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of a split, in the order of the disk, and their thumbnails.

    Attributes:
      data: the prepared data set.
      name: of the split.
      rows: [n] int64, of the index.
      thumbnails: uint8 [n, 32, 32].
    """

    data: PreparedDataset
    name: str
    rows: np.ndarray
    thumbnails: np.ndarray

    def key(self, position: int) -> str:
        """The key of an image."""
        return str(self.data.entries.keys[self.rows[position]])

    def image(self, position: int) -> bytes:
        """An encoded image."""
        return StoredImages(str(self.data.folder), self.data.entries, self.rows)[position]


def read_split(data: PreparedDataset, split: str, folder: Path, progress) -> Split:
    """The thumbnails of a split: read once in the order of the disk, and kept in `folder`."""
    entries, rows = data.entries, data.membership[split]
    rows = rows[np.lexsort((entries.offset[rows], entries.shard[rows]))]
    cache = FeatureCache(folder / f"{data.folder.parent.name}-{data.manifest['content'][:16]}", THUMBNAILS)
    stored, shards = StoredImages(str(data.folder), entries, rows), []
    progress.run(f"{data.dataset.name}: thumbnails of {count(len(rows), f'{split} image')}", len(rows), len(rows))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, first in enumerate(range(0, len(rows), SHARD)):
            keys = entries.keys[rows[first:first + SHARD]].tolist()
            shard = cache.read(split, number, keys)
            if shard is None:
                shard = duplicates.thumbnails(lambda i, first=first: stored[first + i], keys, pool, progress.images)
                cache.write(split, number, keys, shard)
            else:
                progress.images(len(keys))
            shards.append(shard)
    return Split(data, split, rows, np.concatenate(shards) if shards else np.empty((0, 32, 32), np.uint8))


def main(options) -> None:
    folder = as_path(options.results_dir) / "duplicates"
    with Display(1) as progress:
        source, *targets = (prepare_data(options, get_dataset(name, options.data_dir, split_seed=options.split_seed),
                                         progress) for name in (options.source, *options.datasets))
    for data in targets:
        if not len(data.membership[options.split]):
            raise UserError(f"{data.dataset.name} has no {options.split} images: name another --split")
    images = sum(len(data.membership[options.split]) for data in targets)
    found: list[tuple[Split, list[duplicates.Match]]] = []
    with Display(len(source.membership["train"]) + 2 * images) as progress:
        others = read_split(source, "train", folder / "thumbnails", progress)
        among = duplicates.Others(others.thumbnails)
        for data in targets:
            split = read_split(data, options.split, folder / "thumbnails", progress)
            progress.run(f"{data.dataset.name}: searching", len(split.rows), len(split.rows))
            found.append((split, duplicates.find(split.thumbnails, among, least=options.similarity,
                                                 report=progress.images)))
    pairs = [pairs_page.Pair(split.data.dataset.name, split.name, split.key(match.image), source.dataset.name,
                             others.key(match.other), match.similarity, match.mirrored,
                             split.image(match.image), others.image(match.other))
             for split, matches in found for match in matches]
    pairs.sort(key=lambda pair: (pair.similarity, pair.key))
    lines = []
    for split, matches in found:
        plain = int((duplicates.detail(split.thumbnails) < duplicates.LEAST_DETAIL).sum())
        lines.append(f"{split.data.dataset.name}: {len(matches):,} of {count(len(split.rows), f'{split.name} image')} "
                     f"{'has' if len(matches) == 1 else 'have'} a near-duplicate among the "
                     f"{len(others.rows):,} training images of {source.dataset.name}; {plain:,} are too plain to tell")
    for name, content in (("pairs.csv", pairs_page.csv(pairs)), ("index.html", pairs_page.page(pairs, lines))):
        atomic.write_atomically(folder / name, content.encode(), cure=CURE)
    for line in [*lines, f"pairs: {folder / 'pairs.csv'}", f"to look at: {folder / 'index.html'}"]:
        say(line)


if __name__ == "__main__":
    app.start("duplicates", __doc__, SETTINGS, main)
