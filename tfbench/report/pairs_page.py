"""Pairs of near-duplicates as a page that opens from disk, with the images inside, and as a CSV file."""

import io
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.report import standalone
from tfbench.results.titles import dataset_title
from tfbench.wording import count, printable

COLUMNS = ("dataset", "split", "key", "source_dataset", "source_key", "similarity", "mirrored")
MOST_SHOWN = 1000  # pairs of each data set, about 10 kB each
_SIDE = 160  # pixels of an image on the page
_STYLE = """
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); gap: 1rem; }
.pairs figure { margin: 0; border-top: 1px solid var(--line); padding-top: .5rem; }
.pairs img { width: 10rem; height: 10rem; object-fit: contain; background: var(--line); margin-right: .3rem; }
"""


class Pair(NamedTuple):
    """An image and its near-duplicate in the source data set; the images are encoded as they are stored."""

    dataset: str
    split: str
    key: str
    source_dataset: str
    source_key: str
    similarity: float
    mirrored: bool
    image: bytes = b""
    source_image: bytes = b""


def csv(pairs: Sequence[Pair]) -> str:
    """A CSV file with a line per pair and COLUMNS."""
    frame = pd.DataFrame([pair[:len(COLUMNS)] for pair in pairs], columns=list(COLUMNS))
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.3f")


def read_csv(path) -> dict[str, set[str]]:
    """Keys of the images that a file of `csv` lists, by data set; lines may have been deleted.

    Raises:
      UserError: there is no such file, or it is another.
    """
    path = as_path(path)
    try:
        frame = pd.read_csv(io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise UserError(f"cannot read {path} ({error}): expected the pairs.csv of `python -m tfbench.duplicates`"
                        ) from error
    if missing := {"dataset", "key"} - set(frame.columns):
        raise UserError(f"{path} has no column {' and no '.join(sorted(missing))}: expected the pairs.csv of `python "
                        "-m tfbench.duplicates`")
    return {str(dataset): set(rows["key"]) for dataset, rows in frame.groupby("dataset")}


def page(pairs: Sequence[Pair], lines: Sequence[str]) -> str:
    """The page.

    Args:
      pairs: the least similar first.
      lines: what to say before them.
    """
    sections = []
    for dataset in dict.fromkeys(pair.dataset for pair in sorted(pairs, key=lambda pair: pair.dataset)):
        some = [pair for pair in pairs if pair.dataset == dataset]
        more = ""
        if len(some) > MOST_SHOWN:
            more = f"<p>{len(some) - MOST_SHOWN:,} more, all of them more similar, are in pairs.csv only.</p>"
        figures = "".join(map(_figure, some[:MOST_SHOWN]))
        sections.append(f"<h2>{escape(dataset_title(dataset))}: {count(len(some), 'pair')}</h2>"
                        f'<div class="pairs">{figures}</div>{more}')
    said = "".join(f"<li>{escape(printable(line))}</li>" for line in lines)
    return standalone.page("Near-duplicates", f"""<ul>{said}</ul>
<p>Left the image of the target data set, right its most similar one in the source. The least similar pairs come first:
look at these. Delete from pairs.csv the lines of those that are no duplicates, then type
<code>python -m tfbench.analysis --duplicates=…/pairs.csv</code>.</p>
{"".join(sections) or "<p>No pair was found.</p>"}""", _STYLE)


def _figure(pair: Pair) -> str:
    mirrored = ", mirrored" if pair.mirrored else ""
    names = f"{printable(pair.key)} ↔ {printable(pair.source_key)}"
    return (f"<figure>{standalone.image(pair.image, pair.key, _SIDE)}"
            f"{standalone.image(pair.source_image, pair.source_key, _SIDE)}"
            f"<figcaption>{pair.similarity:.2f}{mirrored}: {escape(names)}</figcaption></figure>")
