"""Makes TFDS data sets out of copies of the paper's sets: a folder or parquet files.

The copy's images are stored as they are, under names that do not depend on where they come from (Dataset.copy_key).
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import pathlib
import re
from collections.abc import Callable

from tfbench.data import verify
from tfbench.data.builders import common
from tfbench.data.catalog import Dataset
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.images import reading
from tfbench.images.split_names import SPLITS, split_named


@dataclasses.dataclass(frozen=True)
class CopiedImage:
    """One image of a copy.

    Attributes:
      split: "train", "validation" or "test".
      label: name of its class, or its number.
      name: of its file, "" if the copy does not tell.
      read: returns the encoded image.
    """

    split: str
    label: str | int
    name: str
    read: Callable[[], bytes]


def import_builder(dataset: Dataset, source, data_dir):
    """A builder that takes one of the paper's sets from a copy.

    Args:
      source: a folder with train/, test/ (and val/) of class folders, or of class folders; or one with parquet files
        as the Hugging Face hub has them, SPLIT-*.parquet with the columns image and label.

    Raises:
      UserError: it is none, splits or classes are others than the data set's, or names repeat.
    """
    import tensorflow_datasets as tfds

    if dataset.copy_key is None:
        reason = ": its images have several labels" if dataset.multi_label else ""
        raise UserError(f"{dataset.name} cannot be imported from a copy, only prepared from its archives{reason}")
    source = pathlib.Path(source).expanduser()
    parquet = sorted(path for path in source.rglob("*.*") if path.suffix.lower() == ".parquet")
    copied = _from_parquet(parquet) if parquet else _from_folder(source)

    if dataset.test_split == "validation" and not any(image.split == "test" for image in copied):
        # Some copies call Food-101's test images validation, as TFDS does.
        copied = [dataclasses.replace(image, split="test") if image.split == "validation" else image
                  for image in copied]
    if dataset.train_per_class:  # split anew whenever it is read: which is which does not matter here
        copied = [dataclasses.replace(image, split=("train", "test")[number % 2])
                  for number, image in enumerate(copied)]
    expected = ["train", "validation", "test"] if dataset.official_validation else ["train", "test"]
    copied_splits = [split for split in SPLITS if any(image.split == split for image in copied)]
    if copied_splits != expected:
        raise UserError(f"expected the splits {', '.join(expected)} of {dataset.name} in {source}, found "
                        f"{', '.join(copied_splits)}")

    names, splits = _class_names(dataset, copied, data_dir), {}
    canonical = {_plain(name): name for name in names}
    for split in expected:
        images: dict[str, tuple] = {}
        for number, image in enumerate(image for image in copied if image.split == split):
            label = canonical[_plain(image.label)] if isinstance(image.label, str) else names[image.label]
            path = pathlib.PurePosixPath(image.name)
            key = dataset.copy_key.format(label=label, name=path.name, stem=path.stem) if image.name else ""
            unique = f"{label}/{key}" if key else str(number)
            if unique in images:
                raise UserError(f"{source} has two images called {unique} in {split}: {dataset.name} has one")
            images[unique] = key, label, image.read
        splits[dataset.test_split if split == "test" else split] = _LazySplit(dataset.key, images)
    features = {dataset.key: tfds.features.Text(), "label": tfds.features.ClassLabel(names=names),
                "image": tfds.features.Image()}
    return adhoc_builder(dataset, data_dir, features, splits)


@dataclasses.dataclass(frozen=True)
class _LazySplit:
    """What TFDS iterates over, from {unique name: (key, label, read)}: images are read one at a time."""

    key_feature: str
    images: dict[str, tuple[str, str, Callable[[], bytes]]]

    def __iter__(self):
        seen: collections.Counter[str] = collections.Counter()
        for unique, (key, label, read) in self.images.items():
            image = read()
            if not key:
                sha256 = hashlib.sha256(image).hexdigest()
                key = f"{sha256}-{seen[sha256]}"
                seen[sha256] += 1
            yield unique, {self.key_feature: key, "label": label, "image": image}


def adhoc_builder(dataset: Dataset, data_dir, features: dict, splits: dict):
    """The TFDS builder that writes {split: iterable of (key, example)}.

    Args:
      features: {name: tfds feature} of the examples.
    """
    import tensorflow_datasets as tfds

    path, version = dataset.tfds.split(":")
    name, _, config = path.partition("/")
    citation = dataset.source.citation if dataset.source else ""
    return tfds.dataset_builders.AdhocBuilder(
        name=name, version=version, config=config or None, data_dir=pathlib.Path(data_dir).expanduser(),
        features=tfds.features.FeaturesDict(features), split_datasets=splits, description=dataset.title,
        citation=citation)


def _from_folder(source) -> list[CopiedImage]:
    return [CopiedImage(file.split, file.folder, file.path, (source / file.name).read_bytes)
            for file in reading.list_images(source)]


def _from_parquet(files) -> list[CopiedImage]:
    import pyarrow.parquet

    copied = []
    for file in files:
        split = split_named(re.split(r"[-.]", file.name)[0]) or split_named(file.parent.name)
        schema = pyarrow.parquet.read_schema(file)
        images = [field.name for field in schema if field.name in ("image", "img")]
        labels = [name for name in ("fine_label", "label", "labels") if name in schema.names]
        if split is None or not images or not labels:
            raise UserError(f"{file} is no part of a data set as the Hugging Face hub has them: expected a name that "
                            "begins with train-, validation- or test-, and columns image and label, found "
                            f"{', '.join(schema.names)}")
        names = _hub_names(file, schema, labels[0])
        reader = _RowReader(file, images[0])
        for number, label in enumerate(pyarrow.parquet.read_table(file, columns=[labels[0]])[labels[0]].to_pylist()):
            copied.append(CopiedImage(split, names[label] if names else label, reader.name(number),
                                 functools.partial(reader.image, number)))
    return copied


def _hub_names(file, schema, column: str) -> list[str] | None:
    """Class names in the metadata that the hub's parquet files carry; None where it carries none.

    Raises:
      UserError: the metadata are damaged.
    """
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        feature = atomic.parse_json(text.decode()).get("info", {}).get("features", {}).get(column, {}) if text else {}
        names = feature.get("names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError("names of classes are no list of texts")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{file}: expected the hub's description of its columns as JSON in the metadata, found "
                        f"something else ({error}): download the file anew") from error
    return names


class _RowReader:
    """Images of a parquet file, one row group in memory at a time."""

    def __init__(self, path, column: str):
        import pyarrow.parquet

        self.column, self.file = column, pyarrow.parquet.ParquetFile(path)
        group_sizes = [self.file.metadata.row_group(group).num_rows for group in range(self.file.num_row_groups)]
        self.group_ends = list(itertools.accumulate(group_sizes))
        self.group = -1  # the row group that is in memory
        self.values: list = []
        self.names = None
        image_type = self.file.schema_arrow.field(column).type
        if hasattr(image_type, "get_field_index") and image_type.get_field_index("path") >= 0:
            self.names = [value["path"] for value in self.file.read(columns=[f"{column}.path"])[column].to_pylist()]

    def name(self, number: int) -> str:
        """The file name of an image, "" if it is not told."""
        return (self.names[number] or "") if self.names else ""

    def image(self, number: int) -> bytes:
        """The encoded image."""
        group = next(i for i, end in enumerate(self.group_ends) if number < end)
        if self.group != group:
            self.group, self.values = group, self.file.read_row_group(group, columns=[self.column])[
                self.column].to_pylist()
        value = self.values[number - self.group_ends[group]]  # from the end of the group
        return value["bytes"] if isinstance(value, dict) else value


def _plain(name: str) -> str:
    """A class name without what copies write differently: case, spaces, punctuation, SUN397's leading letter."""
    return re.sub(r"[\W_]+", "", re.sub(r"^/?\w/", "", name).lower())


def _class_names(dataset: Dataset, copied: list[CopiedImage], data_dir) -> list[str]:
    """The data set's class names, in the order of its labels.

    Raises:
      UserError: the copy has others, or not all.
    """
    labels = {image.label for image in copied}
    written = {label for label in labels if isinstance(label, str)}
    numbers = sorted(label for label in labels if isinstance(label, int))
    feature = common.make_builder(dataset, data_dir).info.features["label"]
    if feature.num_classes is not None:
        names = list(feature.names)
    else:  # they stand in the archive
        names = sorted(written) if written else [str(number) for number in numbers]
    if written:
        plain = {_plain(name): name for name in written}
        known = {_plain(name) for name in names}
        missing = [name for name in names if _plain(name) not in plain]
        surplus = [name for key, name in plain.items() if key not in known]
    else:
        missing = [names[number] for number in range(len(names)) if number not in numbers]
        surplus = [str(number) for number in numbers if not 0 <= number < len(names)]
    if missing or surplus or len(names) != dataset.classes:
        faults = [f"{what} {verify.shorten(some)}" for what, some in (("missing", missing), ("surplus", surplus))
                  if some] or [f"found {len(names)}"]
        raise UserError(f"the copy is not {dataset.name}, which has {dataset.classes} classes: {'; '.join(faults)}")
    return names
