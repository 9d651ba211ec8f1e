"""The data set behind a name that --dataset takes.

    digits          a row of DATASETS (data/catalog.py)
    folder:PATH     a folder of images (images/reading.py)
    tfds:NAME       another classification data set of TFDS, prepared by tfbench.prepare_data; tfds:NAME/CONFIG:VERSION

This module imports no TensorFlow.
"""

import dataclasses
import fnmatch
import json
import os
import pathlib

from tfbench.data.catalog import DATASETS, Dataset, own_metric, scored_by
from tfbench.data.folders import read_once
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.fields import COUNT, GROUP, INDEX, LIST, TEXT, short, wrong
from tfbench.images.reading import FOLDER, real_path
from tfbench.wording import unknown

TFDS = "tfds:"  # --dataset=tfds:NAME
MANIFEST = "tfbench_splits.json"  # of a prepared data set (data/manifests.py)
SCHEMA = 1  # version of its layout; the first manifests do not say theirs


def get_dataset(name: str, data_dir, *, split_seed: int = 0, difficult: str = "ignore",
                crop_banner: bool = False, metric: str | None = None) -> Dataset:
    """The data set of a name, with its options of reading (see Dataset) and the metric that is asked for.

    Raises:
      UserError: there is no such name, the folder is no data set, the TFDS data set is not prepared, or it cannot be
        scored so.
    """
    if name.startswith(FOLDER):
        from tfbench.data import revisions  # manifests need this module

        dataset = revisions.of_folder(read_once(real_path(name.removeprefix(FOLDER))), data_dir)
    elif name.startswith(TFDS):
        dataset = _tfds_dataset(name, data_dir)
    elif name in DATASETS:
        dataset = DATASETS[name]
    else:
        raise UserError(unknown_dataset(name))
    dataset = scored_by(dataset, metric)
    return dataclasses.replace(dataset, split_seed=split_seed, difficult=difficult if dataset.multi_label else "ignore",
                               crop_banner=crop_banner and dataset.banner > 0)


def unknown_dataset(name: str, known=tuple(DATASETS)) -> str:
    """What to say of a name that is none of the `known`; it may be that of a folder."""
    if os.path.isdir(os.path.expanduser(name)):
        return f"there is no data set {name!r}, but a folder: its images are {FOLDER}{name}"
    return unknown("data set", name, known)


def split_tfds_name(name: str) -> tuple[str, str]:
    """("builder[/config]", "version" or "") of "tfds:builder[/config][:version]"."""
    builder, _, version = name.removeprefix(TFDS).partition(":")
    return builder, version


def refuse_catalog_name(name: str) -> None:
    """Raises UserError if "tfds:NAME" names what the catalog has under a name of its own."""
    builder, _ = split_tfds_name(name)
    for dataset in DATASETS.values():
        if dataset.tfds.startswith(f"{builder}:") or dataset.tfds.split("/")[0] == builder:
            raise UserError(f"{name} is a row of the catalog: use --dataset={dataset.name}")


def tfds_folder(name: str, data_dir, holding: str) -> pathlib.Path | None:
    """DATA_DIR/BUILDER[/CONFIG]/VERSION of "tfds:BUILDER[/CONFIG][:VERSION]": the latest version that holds a file.

    Without CONFIG the builder's default configuration is meant, or its only one. VERSION can be a pattern, 1.*.*.

    Returns:
      The folder; None where there is none.

    Raises:
      UserError: only configurations are there and none is the default.
    """
    from tfbench.data.manifests import version_numbers

    wanted, version = split_tfds_name(name)
    builder, _, config = wanted.partition("/")
    root = pathlib.Path(data_dir).expanduser() / builder

    def versions(place: pathlib.Path) -> list[pathlib.Path]:
        found = {number: path.parent for path in place.glob(f"*/{holding}")
                 if (number := version_numbers(path.parent.name)) and fnmatch.fnmatch(path.parent.name, version or "*")}
        return [found[number] for number in sorted(found, reverse=True)]

    if config:
        return next(iter(versions(root / config)), None)
    if here := versions(root):
        return here[0]
    configs = {path.name: there[0] for path in sorted(root.glob("*")) if path.is_dir() and (there := versions(path))}
    try:
        default = json.loads((root / ".config" / "metadata.json").read_text(encoding="utf-8"))["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        default = next(iter(configs)) if len(configs) == 1 else None
    if configs and default not in configs:
        absent = f", the default {default} is not" if default else ""
        raise UserError(f"{name} has several configurations; there {'is' if len(configs) == 1 else 'are'} "
                        f"{', '.join(configs)}{absent}: say which, --dataset={TFDS}{builder}/{next(iter(configs))}")
    return configs.get(default)


_MANIFEST = {"dataset": TEXT, "tfds": TEXT, "splits": GROUP, "content": TEXT, "origin": TEXT, "verification": GROUP,
             "files": GROUP, "versions": GROUP}
_ROW = {"name": TEXT, "title": TEXT, "tfds": TEXT, "metric": TEXT, "classes": COUNT, "train": INDEX,
        "validation": INDEX, "test": INDEX}


def read_manifest(folder: pathlib.Path) -> dict:
    """The manifest in the folder of a prepared data set; this is the one check of what it holds.

    Raises:
      UserError: it is damaged, or no manifest; its cure makes it anew from the images, which stay.
    """
    path = folder / MANIFEST
    cure = f"move {MANIFEST} elsewhere and prepare the data set again, which reads the files in {folder} anew"
    manifest = atomic.read_json(path, cure=cure, schema=SCHEMA)
    if fault := _fault_of(manifest):
        raise UserError(f"{path} is no manifest of tfbench ({fault}), it is damaged: {cure}")
    return manifest


def _fault_of(manifest) -> str | None:
    if fault := wrong(manifest, _MANIFEST, required=_MANIFEST):
        return fault
    for split in ("train", "validation", "test"):
        kinds = {"n": INDEX, "sha256": TEXT}
        if fault := wrong(manifest["splits"].get(split), kinds, f"splits.{split}.", kinds):
            return fault
    for level, outcome in manifest["verification"].items():
        if (fault := wrong(outcome, {"result": TEXT, "found": TEXT}, f"verification.{level}.", ("result",))) or (
                outcome["result"] not in ("PASS", "FAIL", "UNKNOWN")):
            return fault or f"expected verification.{level} as PASS, FAIL or UNKNOWN, found {short(outcome['result'])}"
    if absent := [level for level in ("counts", "labels", "keys") if level not in manifest["verification"]]:
        return f"it lacks verification.{absent[0]}"
    for name, size in manifest["files"].items():
        if pathlib.PurePath(name).name != name or not INDEX.accepts((size,)):
            return f"expected files of names with bytes, found {short({name: size})}"
    reading = manifest.get("reading", [])
    if not LIST.accepts((reading,)) or not TEXT.accepts(reading):
        return f"expected reading as a list of texts, found {short(reading)}"
    return _fault_of_row(manifest["row"]) if "row" in manifest else None


def _fault_of_row(row) -> str | None:
    if fault := wrong(row, _ROW, "row.", _ROW):
        return fault
    try:
        Dataset.from_json(row)
    except (TypeError, ValueError) as error:
        return f"row: {error}"
    return None


def _tfds_dataset(name: str, data_dir) -> Dataset:
    """What `prepare_tfds` left in the manifest."""
    refuse_catalog_name(name)
    folder = tfds_folder(name, data_dir, MANIFEST)
    if folder is not None:
        manifest = read_manifest(folder)
        if "row" not in manifest:
            raise UserError(f"{folder / MANIFEST} does not say how the images of {name} are read: prepare it again in "
                            "another --data_dir")
        dataset = Dataset.from_json(manifest["row"])
        return dataclasses.replace(dataset, metric=own_metric(dataset.multi_label))  # whenever it was prepared
    place = pathlib.Path(data_dir).expanduser() / split_tfds_name(name)[0]
    raise UserError(f"the data set {name} is not prepared in {place}: run `python -m tfbench.prepare_data "
                    f"--dataset={name} --data_dir={data_dir}`")
