"""DATASETS: one row per data set. To add a data set of TFDS, add a row: nothing else needs to know of it.

Sizes and splits of the paper's twelve are table 1 of Kornblith et al. with its two misprints put
right (CIFAR-100 has 100 classes, Pets 3,669 test images); validation sizes are BYOL's (table 10),
since the paper does not give them. This module imports no TensorFlow: programs check names here.
"""

import dataclasses

from tfbench.data import sources
from tfbench.data.sources import Source
from tfbench.errors import UserError

VOC_MAP = "voc_map"  # 11 points, as the paper has it; own data with several labels had it too


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set of the study.

    Attributes:
      name: what `--dataset` takes.
      title: the name in figures and tables.
      tfds: TFDS builder and version, "builder[/config]:version".
      classes: number of classes.
      metric: name of a row of METRICS (stats/metrics.py). multi_label: whether an image can show several classes, which
        takes a metric of several labels.
      train, validation, test: numbers of images. Hyperparameters are chosen on `validation` after
        training on `train`; the final model is refitted on both and tested once. Without validation images it
        is a source only: pretraining chooses nothing, every other program refuses it.
      official_validation: True where the data set comes with a validation split; otherwise
        `validation` images are held out of its training split (data/splits.py).
      selection: where there is no validation split: so many training images, of each class in proportion, a pretraining
        holds out to choose its number of steps on. In the end it trains on all. 0: it cannot choose.
      pretrained_crop: what of a test image a pretraining sees unless told otherwise, one of search.CROPS.
      source: where its archives come from (data/sources.py); None for a set that is drawn, copied from a folder, or
        left to TFDS.
      builder: "MODULE:NAME" of what makes its TFDS builder, called with data_dir and, if `tfds` has one, config; ""
        for a builder of TFDS.
      key: feature that identifies an image, whichever release or copy it comes from; "" names images by their content.
      key_format: how a key is made where {key} alone is not unique, from {key}, {split} and {label}, the class's name.
      copy_key: what TFDS stores as `key`, from what a copy of the data set tells (data/copies.py): {label} is the class
        as TFDS writes it, {name} the name of the file, {stem} that without its ending. "" is the SHA-256 of the image,
        for copies that number images in other ways. None where no copy can stand for the archives.
      train_split, validation_split, test_split: what TFDS calls them.
      label_key, image_key: the features of TFDS that hold label and image; "" are "label", and the two of VOC where
        there are several labels.
      label_values: the labels where TFDS does not count them from 0: the class is the position in here.
      train_per_class: where positive, the data set has no reproducible split: so many images of each class,
        chosen by hash, are for training and validation, all others for testing.
      test_share: where positive, the data set has no test split: this fraction of it is held out for testing.
      embedded: whether tfbench draws it itself (data/embedded/).
      mirror: whether training mirrors images at random. A mirrored bird is a bird; a mirrored letter is none.
      banner: rows of pixels at the lower edge of every image that are a credit line.
      variant_of: name of the paper's set of which this is another form.
      folder: whose images are copied, for a custom data set (data/folders.py); "" for all others.

    How it is read is an option, recorded with every result:
      split_seed: of the choice of held-out examples.
      difficult: what an example means that VOC calls difficult: "ignore" (neither right nor wrong, the official
        scoring), "negative" or "positive".
      crop_banner: whether the credit line is cut off.
    """

    name: str
    title: str
    tfds: str
    classes: int
    metric: str
    train: int
    validation: int
    test: int
    source: Source | None = None
    builder: str = ""
    selection: int = 0
    pretrained_crop: str = "whole"
    official_validation: bool = False
    key: str = "id"
    key_format: str = "{key}"
    copy_key: str | None = None
    test_split: str = "test"
    train_per_class: int = 0
    test_share: float = 0.0
    embedded: bool = False
    mirror: bool = True
    banner: int = 0
    variant_of: str = ""
    folder: str = ""
    multi_label: bool = False
    train_split: str = "train"
    validation_split: str = "validation"
    label_key: str = ""
    image_key: str = "image"
    label_values: tuple[int | str, ...] = ()
    split_seed: int = 0
    difficult: str = "ignore"
    crop_banner: bool = False

    @property
    def custom(self) -> bool:
        """Whether it is a folder of images or a TFDS set that the user named, no row of DATASETS."""
        return ":" in self.name

    @property
    def prepared_on_demand(self) -> bool:
        """Whether every program prepares it by itself: it is drawn, or copied from a folder."""
        return self.embedded or bool(self.folder)

    def to_json(self) -> dict:
        """The fields that the manifest of a custom data set keeps; `folder` is called "source" there."""
        kept = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)
                if field.name not in _ROWS_ONLY}
        return {"source" if name == "folder" else name: value for name, value in kept.items()}

    @classmethod
    def from_json(cls, kept: dict) -> "Dataset":
        """The data set of which `to_json` wrote the fields."""
        kept = kept | {"label_values": tuple(kept.get("label_values", ()))}
        kept.setdefault("multi_label", kept["metric"] == VOC_MAP)  # of manifests from before it was a field
        return cls(**{"folder" if name == "source" else name: value for name, value in kept.items()})


# How data that the user brings can be scored, with several labels per image and with one; the first is the default.
OWN_METRICS = {True: ("mean_average_precision", VOC_MAP), False: ("top1", "mean_per_class")}


def own_metric(multi_label: bool) -> str:
    """The metric of data that the user brings, unless another is asked for."""
    return OWN_METRICS[multi_label][0]


def scored_by(dataset: Dataset, metric: str | None) -> Dataset:
    """The data set with the metric that --metric asks for; None: with its own.

    Raises:
      UserError: its metric is fixed, or of another number of labels.
    """
    choice = OWN_METRICS[dataset.multi_label] if dataset.custom else (dataset.metric,)
    if metric not in (None, *choice):
        what = "several labels" if dataset.multi_label else "one label"
        why = f"whose images have {what}" if dataset.custom else "which is in the catalog"
        raise UserError(f"expected --metric={' or '.join(choice)} for {dataset.name}, {why}, found {metric}: leave it "
                        "out or take that")
    return dataclasses.replace(dataset, metric=metric or dataset.metric)


# No custom data set has them.
_ROWS_ONLY = ("source", "builder", "selection", "pretrained_crop", "key_format", "copy_key")


PAPER_DATASETS = (
    Dataset("food101", "Food-101", "food101:2.1.0", 101, "top1", 68175, 7575, 25250, sources.FOOD101,
            test_split="validation", copy_key="{label}/{stem}"),
    Dataset("cifar10", "CIFAR-10", "cifar10:3.0.2", 10, "top1", 45000, 5000, 10000, sources.CIFAR10, copy_key=""),
    Dataset("cifar100", "CIFAR-100", "cifar100:3.0.2", 100, "top1", 44933, 5067, 10000, sources.CIFAR100, copy_key=""),
    Dataset("birdsnap", "Birdsnap", "birdsnap/full:1.1.0", 500, "top1", 42405, 4981, 2443, sources.BIRDSNAP,
            builder="tfbench.data.builders.birdsnap:Birdsnap", copy_key="{label}/{name}"),
    Dataset("sun397", "SUN397", "sun397/standard-part1-full:4.0.0", 397, "top1", 15880, 3970, 19850, sources.SUN397,
            builder="tfbench.data.builders.sun397:full_size", key="file_name", copy_key="{label}/{name}"),
    Dataset("cars", "Stanford Cars", "cars196:2.1.0", 196, "top1", 6494, 1650, 8041, sources.CARS,
            key_format="{split}/{key}", copy_key="{stem}"),  # the test images' numbers begin at 1 again
    Dataset("aircraft", "FGVC Aircraft", "fgvc_aircraft/variant:1.0.0", 100, "mean_per_class", 3334, 3333, 3333,
            sources.AIRCRAFT, builder="tfbench.data.builders.fgvc_aircraft:FgvcAircraft", official_validation=True,
            copy_key="{stem}", banner=20),
    Dataset("voc2007", "VOC2007", "voc/2007:5.0.0", 20, VOC_MAP, 2501, 2510, 4952, sources.VOC2007,
            official_validation=True, key="image/filename", multi_label=True),  # no copy
    Dataset("dtd", "DTD", "dtd:3.0.1", 47, "top1", 1880, 1880, 1880, sources.DTD, official_validation=True,
            key="file_name", copy_key="{label}/{name}"),
    Dataset("pets", "Oxford-IIIT Pets", "oxford_iiit_pet:4.0.0", 37, "mean_per_class", 2940, 740, 3669, sources.PETS,
            key="file_name", copy_key="{name}"),
    Dataset("caltech101", "Caltech-101", "caltech101:3.0.2", 102, "mean_per_class", 2550, 510, 6084,
            sources.CALTECH101, key="image/file_name", key_format="{label}/{key}",  # names repeat in every class
            copy_key="{name}", train_per_class=30),
    Dataset("flowers", "102 Flowers", "oxford_flowers102:2.1.1", 102, "mean_per_class", 1020, 1020, 6149,
            sources.FLOWERS, official_validation=True, key="file_name", copy_key="{name}"),
)

# The paper's sets in other forms, by option.
VARIANTS = (
    Dataset("birdsnap_available", "Birdsnap (available)", "birdsnap/available:1.1.0", 500, "top1", 42405, 4981, 2443,
            sources.BIRDSNAP, builder="tfbench.data.builders.birdsnap:Birdsnap", copy_key="{label}/{name}",
            variant_of="birdsnap"),
    Dataset("sun397_120k", "SUN397 (120k)", "sun397/standard-part1-120k:4.0.0", 397, "top1", 15880, 3970, 19850,
            sources.SUN397, key="file_name", copy_key="{label}/{name}", variant_of="sun397"),
)

# To pretrain on. ("imagenet" is taken: as --weights and as the study's --source it means the public weights.)
SOURCE_DATASETS = (
    Dataset("imagenet2012", "ImageNet", "imagenet2012:5.1.0", 1000, "top1", 1281167, 0, 50000, sources.IMAGENET2012,
            key="file_name", selection=50000, pretrained_crop="central",  # v3 appendix A.3; as all published top-1
            test_split="validation"),  # what TFDS calls test has no labels
)

EMBEDDED_DATASETS = (
    Dataset("glyphs", "Glyphs", "glyphs:2.0.0", 37, "top1", 10000, 1000, 2000, official_validation=True,
            builder="tfbench.data.embedded.glyphs:Glyphs", embedded=True, mirror=False),
    Dataset("digits", "Digits", "digits:2.0.0", 10, "top1", 400, 200, 1197, official_validation=True,
            builder="tfbench.data.embedded.digits:Digits", embedded=True, mirror=False),
    Dataset("digits_grid", "Digits grid", "digits_grid:2.0.0", 10, VOC_MAP, 1000, 500, 1000, official_validation=True,
            builder="tfbench.data.embedded.digits_grid:DigitsGrid", embedded=True, mirror=False, multi_label=True),
    Dataset("diacritics", "Diacritics", "diacritics:1.0.0", 12, "mean_per_class", 1000, 250, 1000,
            builder="tfbench.data.embedded.diacritics:Diacritics", embedded=True, mirror=False),
)

DATASETS = {dataset.name: dataset for dataset in PAPER_DATASETS + VARIANTS + SOURCE_DATASETS + EMBEDDED_DATASETS}

# What --datasets of a study takes beside names.
GROUPS = {"paper": tuple(dataset.name for dataset in PAPER_DATASETS),
          "variants": tuple(dataset.name for dataset in VARIANTS),
          "source": tuple(dataset.name for dataset in SOURCE_DATASETS),
          "embedded": tuple(dataset.name for dataset in EMBEDDED_DATASETS)}


def group_of(dataset: Dataset) -> str:
    """The name in GROUPS of the group of a row; "" for a data set that is in none."""
    return next((group for group, names in GROUPS.items() if dataset.name in names), "")


def list_datasets() -> list[Dataset]:
    """All rows, in the order of the groups."""
    return list(DATASETS.values())
