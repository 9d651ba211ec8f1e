"""What the columns of a table of accuracies are, and what its regimes, networks and data sets are called.

Names count as one however they are spelt: case, blanks, hyphens and the like make no difference (spelling). A column
that is a data set's is so by elimination: its heading is none of those below. What was taken for what is told.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence

import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.files.tables import is_sequence
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.wording import printable

NAMES = {entry.title: name for catalog in (NETWORKS, DATASETS) for name, entry in catalog.items()}  # by their titles
SETTINGS = {regime.published: name for name, regime in REGIMES.items() if regime.published}


def spelling(text: str) -> str:
    """What two spellings of a name have in common: "ResNet-50", "resnet_50" and "ResNet 50" → "resnet50".

    Between two digits a separator counts, as in "1.0" and "10"; so do signs such as "+".
    """
    text = re.sub(r"[\s_\-–—./,:()\[\]]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


REGIME_NAMES = {spelling(text): name for name, regime in REGIMES.items()
                for text in (name, regime.title, regime.published, *regime.aliases) if text}
NETWORK_NAMES = {spelling(text): name for name, network in NETWORKS.items() for text in (name, network.title)}
DATASET_NAMES = {spelling(text): name for name, dataset in DATASETS.items() for text in (name, dataset.title)}

# Headings by their spelling; where two columns could be one thing, the first here is it.
REGIME, NETWORK = ("setting", "regime", "method", "protocol"), (
    "model", "network", "modelname", "networkname", "architecture", "arch", "backbone", "net")
DATASET, ACCURACY = ("dataset", "datasetname"), ("accuracy", "acc", "testaccuracy", "testacc", "top1", "top1accuracy")
SOURCE = re.compile(r"source ?acc(uracy)?|source|(imagenet|ilsvrc)(1k|2012| 2012)?(val(idation)?)?((top1|acc).*)?|"
                    r"top1(acc(uracy)?)?imagenet.*")
PERCENT = re.compile(r"\s*[(\[]?\s*(in\s+)?(%|percent)\s*[)\]]?\s*$", re.IGNORECASE)
MEASURE = re.compile(r"[\s_\-(\[]+(test[\s_-]*)?((top[\s_-]*1[\s_-]*)?acc(uracy)?|top[\s_-]*1)[)\]]?$", re.IGNORECASE)

# Words of headings that are no accuracies: anywhere in one; or where it has no other words than such and FILLERS.
ANYWHERE = {
    "parameters": "params param parameters parameter",
    "operations": "flops gflops mflops tflops macs gmacs mmacs madds",
    "an error or a loss": "error errors err loss losses nll",
    "a spread": "std sd stdev stddev stderr sem variance", "length of training": "epochs epoch iterations"}
ALONE = {
    "a mean": "mean avg average averages overall total median all", "a year": "year date published",
    "a seed or number": "seed seeds run runs trial trials fold rank id ids index number no steps step",
    "a size": "size resolution pixels px mb gb depth width layers dim dims batch",
    "time, speed or a count": "time hours hour seconds secs sec ms latency throughput fps images memory gpu gpus",
    "a setting": "lr learning rate weight decay l2 dropout optimizer",
    "a remark": "url link doi paper notes note comment comments reference references citation license author authors "
                "commit hash",
    "operations": "multiply adds adds mult"}
FILLERS = (
    "acc accuracy top 1 transfer test train training score scores of the over task tasks dataset datasets data set "
    "sets image img input model file per second n num number m g k e x y batch")
TOP_K = re.compile(r"top[-_ ]?(?!1(?!\d))\d+", re.IGNORECASE)


@dataclasses.dataclass
class Columns:
    """What each column of a table of the wide form was taken for.

    Attributes:
      regime, network, source: headings; None where there is no such column.
      datasets: heading → name of the data set.
      counts: heading of a data set or of the source accuracy → heading of the number of its test examples.
      passed_over: (heading, why), in words.
    """

    regime: str | None
    network: str | None
    source: str | None
    datasets: dict[str, str]
    counts: dict[str, str]
    passed_over: list[tuple[str, str]]


def heading(header: Sequence[str], names: Iterable[str]) -> str | None:
    """The heading with the first of these spellings that there is."""
    by_spelling = {spelling(name): name for name in reversed(header)}
    return next((by_spelling[name] for name in names if name in by_spelling), None)


def regime_of(text: str) -> str | None:
    """The regime that goes by this name, in whatever spelling."""
    return REGIME_NAMES.get(spelling(text))


def known_regimes() -> str:
    """Names that tables have for regimes, for error lines."""
    return ", ".join([*SETTINGS, *REGIMES])


def dataset_of(text: str) -> str:
    """The catalog's data set of this name or title, in whatever spelling and with a unit behind it; else `text`."""
    bare = MEASURE.sub("", PERCENT.sub("", text))
    return DATASET_NAMES.get(spelling(text)) or DATASET_NAMES.get(spelling(bare)) or text


def says_percent(name: str) -> bool:
    """Whether a heading says that its numbers are percent."""
    return "%" in name or "percent" in name.casefold()


def no_accuracy(name: str) -> str:
    """Why a heading is none of accuracies, in words; "" where it may be."""
    words = re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold())
    if TOP_K.search(name):
        return "not top-1"
    for why, known in ANYWHERE.items():
        if set(known.split()) & set(words):
            return why
    alone = {word: why for why, known in ALONE.items() for word in known.split()}
    reasons = [alone[word] for word in words if word in alone]
    return reasons[0] if reasons and all(word in alone or word in FILLERS.split() for word in words) else ""


def is_row_number(name: str, values: pd.Series) -> bool:
    """Whether a column without a real heading holds the numbers of rows."""
    nameless = not name or re.fullmatch(r"unnamed(: \d+|_level_\d+)?|index|level_\d+|nan|none|#|row", name.casefold())
    return bool(nameless) and (is_sequence(values.tolist()) or len(set(values)) == len(values) and all(
        re.fullmatch(r"\d{1,12}", text) for text in values))


def columns_of(frame: pd.DataFrame, origin: str, *, source_column: str | None, datasets: Sequence[str],
               ignore_columns: Sequence[str]) -> Columns:
    """Tells the columns of a wide table apart.

    Args:
      frame: cells as text.
      datasets: those to take, whatever their headings say; none: all that may be.
      ignore_columns: headings to pass over.

    Raises:
      UserError: no source accuracy or several, no data set, two columns of one, a name that is not there.
    """
    header = list(frame.columns)
    asked = {"--ignore_columns": ignore_columns, "--source_column": [source_column] if source_column else []}
    for flag, names in asked.items():
        if unknown := [name for name in names if name not in header and not _match(header, name)]:
            raise UserError(f"{origin}: expected one column of source accuracies and others, found no {unknown[0]!r} "
                            f"among {listed(header)}: name it with {flag}=COLUMN")
    ignored = {found for name in ignore_columns for found in _match(header, name)}
    passed_over = [(name, "--ignore_columns") for name in header if name in ignored]
    left = [name for name in header if name not in ignored]
    if left.count("") > 1:
        raise UserError(f"{origin}: expected a name of its own for every column, found none for {left.count('')} of "
                        "them: name them, or leave the columns out")
    regime, network = heading(left, REGIME), heading(left, NETWORK)
    left = [name for name in left if name not in (regime, network)]
    row_numbers = [name for name in left if is_row_number(name, frame[name])]
    passed_over += [(name, "numbers of rows") for name in row_numbers]
    left = [name for name in left if name not in row_numbers]
    if "" in left:
        raise UserError(f"{origin}: expected a name of its own for every column, found none for column "
                        f"{header.index('') + 1}: name it, or leave the column out")
    sources = [name for name in left if SOURCE.fullmatch(spelling(PERCENT.sub("", name))) and not no_accuracy(name)]
    if source_column:
        chosen = _match(left, source_column)[:1]
        passed_over += [(name, "another source accuracy") for name in sources if name not in chosen]
        left = [name for name in left if name in chosen or name not in sources]
        sources = chosen
    if len(sources) > 1:
        raise UserError(f"{origin}: expected one column of source accuracies, found {listed(sources)}: name it with "
                        "--source_column=COLUMN")
    left = [name for name in left if name not in sources]
    counts = _counts(left, sources)
    left = [name for name in left if name not in counts.values()]
    if datasets:
        wanted = {name: [column for column in left if column == name or same_dataset(column, name)]
                  for name in datasets}
        if absent := [name for name, found in wanted.items() if not found]:
            raise UserError(f"{origin}: expected a column of the data set {absent[0]!r}, found {listed(left)}: name "
                            "some of these with --dataset=NAME,…")
        taken = list(dict.fromkeys(column for found in wanted.values() for column in found))
        passed_over += [(name, "--dataset") for name in left if name not in taken]
    else:
        reasons = {name: no_accuracy(name) for name in left}
        taken = [name for name, why in reasons.items() if not why]
        passed_over += [(name, why) for name, why in reasons.items() if why]
    if not (network and sources and taken):
        absent = [what for what, there in (("model", network), ("imagenet_top1…", sources), ("data sets", taken))
                  if not there]
        raise UserError(f"{origin}: expected the columns setting, model, imagenet_top1… and one per data set, found "
                        f"{listed(header)}, so no {' and no '.join(absent)}: rename or add columns, or name the source "
                        "accuracy with --source_column=COLUMN")
    named = {column: dataset_of(column) for column in taken}
    for column, name in named.items():
        first = next(other for other in named if spelling(named[other]) == spelling(name))
        if first != column:
            raise UserError(f"{origin}: the columns {first!r} and {column!r} are both of the data set {name}: name "
                            "them apart, or leave one out with --ignore_columns=COLUMN")
    return Columns(regime, network, sources[0], named, counts, passed_over)


def same_dataset(one: str, other: str) -> bool:
    """Whether two names are of one data set."""
    return spelling(dataset_of(one)) == spelling(dataset_of(other))


def _match(header: Sequence[str], name: str) -> list[str]:
    """The heading of this very name, or else those of its spelling."""
    return [name] if name in header else [column for column in header if spelling(column) == spelling(name)]


def _counts(header: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Columns "NAME n" or "n NAME" by the column that they count: of a data set, or of the source accuracy."""
    found = {}
    for name in header:
        part = re.fullmatch(r"n[\s_:.-]+(.+)|(.+?)[\s_:.-]+n", name, re.IGNORECASE)
        if not part:
            continue
        counted = part[1] or part[2]
        if sources and spelling(counted) in ("source", spelling(sources[0])):
            found[sources[0]] = name
        found |= {other: name for other in header if other != name and same_dataset(other, counted)}
    return found


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a line, no more than `most` of them."""
    shown = ", ".join(repr(printable(name)) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown or "none"
