"""What a data set of TFDS that the user names is taken for: its image and label features, its classes and splits.

    tfds:NAME[/CONFIG][:VERSION]

`describe` is the one place that decides. Where a meaning is not certain, it is refused and --label_key asked for.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from tfbench.data import index
from tfbench.data.builders import common
from tfbench.data.catalog import Dataset, own_metric
from tfbench.data.folders import sizes_with_held_out
from tfbench.data.lookup import TFDS, refuse_catalog_name, split_tfds_name, tfds_folder
from tfbench.errors import UserError
from tfbench.images.split_names import SPLITS, split_named
from tfbench.wording import count, either

_MOST_CLASSES = 0.5  # of the number of images: more different values are no classes but names or numbers


def open_or_make(name: str, data_dir):
    """The TFDS builder of "tfds:NAME…", of a complete folder in `data_dir` if there is one; and notes.

    Raises:
      UserError: it is a row of the catalog, or TFDS has no such data set.
    """
    import tensorflow_datasets as tfds

    refuse_catalog_name(name)
    wanted, version = split_tfds_name(name)
    folder = tfds_folder(name, data_dir, common.INFO)
    if folder is not None:
        builder = tfds.builder_from_directory(folder)
        notes = [] if version else [f"version {folder.name}, the latest in {folder.parent}"]
        return _as_records(builder, name, folder), notes
    try:
        builder = tfds.builder(f"{wanted}:{version}" if version else wanted,
                               data_dir=pathlib.Path(data_dir).expanduser())
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise UserError(f"TFDS has no data set {name.removeprefix(TFDS)} ({common.first_line(error)})") from error
    return builder, []


def _as_records(builder, name: str, folder: pathlib.Path):
    """The builder, with files of a format that tfbench reads.

    Raises:
      UserError: they are of another one.
    """
    import tensorflow_datasets as tfds

    formats = [form.value for form in (builder.info.file_format, *builder.info.alternative_file_formats)]
    if formats[0] in index.FORMATS:
        return builder
    if "tfrecord" in formats:
        return tfds.builder_from_directory(folder, file_format="tfrecord")
    raise UserError(f"{name} is complete in {folder}, in the format {formats[0]}; tfbench reads "
                    f"{' and '.join(index.FORMATS)}: have TFDS prepare it in one of them, in another --data_dir")


def describe(builder, name: str, label_key: str | None) -> Dataset:
    """The data set but for its splits, which are known when it is prepared (with_splits).

    Args:
      label_key: feature that holds the label; None for the only one that can.

    Raises:
      UserError: it has no images with labels whose meaning is certain.
    """
    features = dict(builder.info.features)
    image_key = _image_key(name, features)
    key, kind = _label_feature(name, features, label_key)
    place = f"{builder.name}/{builder.builder_config.name}" if builder.builder_config else builder.name
    multi_label, classes = kind == "several", 0
    if multi_label:
        classes = features[key].feature.num_classes
    elif kind == "class":
        classes = features[key].num_classes
    if key == ("labels" if multi_label and "labels_no_difficult" in features else "label"):
        key = ""
    return Dataset(name, builder.name, f"{place}:{builder.version}", classes, own_metric(multi_label), 0, 0, 0, key="",
                   multi_label=multi_label, image_key=image_key, label_key=key)


def with_splits(builder, dataset: Dataset) -> tuple[Dataset, list[str]]:
    """The data set with its splits and, where TFDS does not know them, its classes; and notes.

    Args:
      builder: of the prepared data set.

    Raises:
      UserError: it has no training images, or values that are no classes.
    """
    sizes = {split: info.num_examples for split, info in builder.info.splits.items() if info.num_examples}
    named, notes = _named_splits(dataset, builder, sizes)
    if "train" not in named:
        raise UserError(f"{dataset.name} has no split to train on, only {', '.join(sizes) or 'empty ones'}")
    if "test" not in named and "validation" in named:
        named["test"] = named.pop("validation")
    roles = ", ".join(f"{role} = {named[role]}" for role in SPLITS if role in named)
    lacking = [role for role in ("validation", "test") if role not in named]
    if lacking or list(named.items()) != [(role, role) for role in named]:
        held_out = f"; {' and '.join(lacking)} held out of {named['train']}" if lacking else ""
        notes.append(f"splits: {roles}{held_out}")
    left = [f"{split} ({number:,})" for split, number in sizes.items() if split not in named.values()]
    if left:
        notes.append(f"not used: {', '.join(left)}")
    numbers = [sizes.get(named.get(role, ""), 0) for role in SPLITS]
    dataset = dataclasses.replace(
        dataset, train_split=named["train"], validation_split=named.get("validation", "validation"),
        test_split=named.get("test", ""), **sizes_with_held_out(*numbers))
    if dataset.image_key != "image":
        notes.append(f"the image is the feature {dataset.image_key}")
    if dataset.label_key:
        notes.append(f"the label is the feature {dataset.label_key}")
    if not dataset.classes:
        dataset, more = _with_values(builder, dataset)
        notes.append(more)
    if dataset.multi_label:
        notes.append("an image has several labels: scored by mean average precision")
    return dataset, notes


# ---- features ------------------------------------------------------------------------------------------


def _image_key(name: str, features: dict) -> str:
    import tensorflow_datasets as tfds

    found = [key for key, feature in features.items() if type(feature) is tfds.features.Image]
    if not found or (len(found) > 1 and "image" not in found):
        several = ", found several images" if found else ""
        raise UserError(f"{name} is no set of classified images: its features are {', '.join(features)}, expected "
                        f"image and label{several}")
    key = "image" if "image" in found else found[0]
    feature = features[key]
    if feature.np_dtype not in (np.uint8, np.uint16):
        raise UserError(f"{name} has images of {np.dtype(feature.np_dtype).name}, which are no colours to look at: "
                        "expected uint8 or uint16")
    if feature.shape[-1] not in (None, 1, 3, 4):
        raise UserError(f"{name} has images of {feature.shape[-1]} channels: expected 1 (grey), 3 (RGB) or 4 (with "
                        "alpha)")
    return key


def _kind_of_label(feature) -> str:
    """ "class", "several", "number", "text", or "" for what is no label."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.ClassLabel):
        return "class"
    if isinstance(feature, tfds.features.Sequence):
        return "several" if isinstance(feature.feature, tfds.features.ClassLabel) else ""
    if isinstance(feature, tfds.features.Text):
        return "text"
    scalar = type(feature) in (tfds.features.Tensor, tfds.features.Scalar) and feature.shape == ()
    whole = scalar and (np.issubdtype(feature.np_dtype, np.integer) or feature.np_dtype in (bool, np.bool_))
    return "number" if whole else ""


def _label_feature(name: str, features: dict, label_key: str | None) -> tuple[str, str]:
    """The feature that holds the label, and its kind."""
    kinds = {key: kind for key, feature in sorted(features.items()) if (kind := _kind_of_label(feature))}
    if label_key is not None:
        if label_key not in kinds:
            found = ", ".join(kinds) or "none"
            raise UserError(f"--label_key={label_key} is no label of {name}: expected a class, a sequence of classes, "
                            f"a whole number or a text; of these it has {found}")
        return label_key, kinds[label_key]
    certain = [key for key, kind in kinds.items() if kind in ("class", "several")]
    if "label" in kinds:
        return "label", kinds["label"]
    if "labels" in certain or len(certain) == 1:
        key = "labels" if "labels" in certain else certain[0]
        return key, kinds[key]
    if certain:
        raise UserError(f"{name} has several classes to learn, {', '.join(certain)}: say which with --label_key=NAME")
    more = f"; if {either(kinds)} is the class, say --label_key=NAME" if kinds else ""
    raise UserError(f"{name} is no set of classified images: its features are {', '.join(features)}, expected image "
                    f"and label{more}")


# ---- splits and values ---------------------------------------------------------------------------------


def _named_splits(dataset: Dataset, builder, sizes: dict[str, int]) -> tuple[dict[str, str], list[str]]:
    """{role: split of TFDS}, and notes."""
    named: dict[str, str] = {}
    notes = []
    for split in sizes:
        role = split_named(split)
        if role is None:
            continue
        if role in named and role in (named[role], split):
            named[role] = role  # the plain name is meant
        elif role in named:
            raise UserError(f"{dataset.name} has two splits for {role}, {named[role]} and {split}: which is meant is "
                            "not clear")
        else:
            named[role] = split
    if len(sizes) == 1:
        named = {"train": next(iter(sizes))}
    for role in list(named):
        if _unlabelled(builder, dataset, named[role]):
            notes.append(f"{named[role]} has no labels (-1): it is no {role} split")
            del named[role]
    return named, notes


def _unlabelled(builder, dataset: Dataset, split: str) -> bool:
    if dataset.multi_label:
        return False
    return next(_values(builder, dataset, split), None) == -1


def _values(builder, dataset: Dataset, split: str) -> Iterator[int | str]:
    """The labels of a split as TFDS stores them."""
    import tensorflow as tf

    for path in builder.info.splits[split].filepaths:
        for record in index.read_records(str(path)):
            feature = tf.train.Example.FromString(record).features.feature[dataset.label_key or "label"]
            yield feature.bytes_list.value[0].decode() if feature.bytes_list.value else feature.int64_list.value[0]


def _with_values(builder, dataset: Dataset) -> tuple[Dataset, str]:
    """The data set with classes counted from its training labels, numbers or texts."""
    values = list(_values(builder, dataset, dataset.train_split))
    found = sorted(set(values))
    key = dataset.label_key or "label"
    if len(found) < 2 or len(found) > max(_MOST_CLASSES * len(values), 2) or -1 in found:
        raise UserError(f"{key} of {dataset.name} has {count(len(found), 'value')} in {count(len(values), 'image')}: "
                        "these are no classes, choose another feature with --label_key")
    plain = found == list(range(len(found)))
    shown = ", ".join(map(str, found[:5])) + (", …" if len(found) > 5 else "")
    what = "whole numbers" if isinstance(found[0], int) else "texts"
    return dataclasses.replace(dataset, classes=len(found), label_values=() if plain else tuple(found)), (
        f"{key} holds {what}, {shown}: {len(found)} classes")
