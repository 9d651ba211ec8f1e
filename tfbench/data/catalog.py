"""DATASETS: one row per data set. To add a data set, add a row.

Sizes and splits of the paper's twelve are table 1 of Kornblith et al. with its two misprints put
right (CIFAR-100 has 100 classes, Pets 3,669 test images); validation sizes are BYOL's (table 10),
since the paper does not give them. This module imports no TensorFlow: programs check names here.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set of the study.

    Attributes:
      name: what `--dataset` takes.
      title: the name in figures and tables.
      tfds: TFDS builder and version, "builder[/config]:version"; TFDS's own or one of tfbench.data.
      classes: number of classes.
      metric: "top1", "mean_per_class" or "voc_map" (11 points); see stats/metrics.py.
      train, validation, test: numbers of images. Hyperparameters are chosen on `validation` after
        training on `train`; the final model is refitted on both and tested once. Without validation images it
        is a source only: pretraining chooses nothing, every other program refuses it.
      official_validation: True where the data set comes with a validation split; otherwise
        `validation` images are held out of its training split (data/splits.py).
      key: feature that identifies an image, whichever release or copy it comes from.
      test_split: what TFDS calls the test split.
      train_per_class: where positive, the data set has no reproducible split: so many images of each class,
        chosen by hash, are for training and validation, all others for testing.
      test_share: where positive, the data set has no test split: this share of it is held out for testing.
      embedded: True for the sets that tfbench draws itself (data/prepare.py), False for all others.
      mirror: whether training mirrors images at random. A mirrored bird is a bird; a mirrored
        letter is none.
      banner: rows of pixels at the lower edge of every image that are a credit line.
      variant_of: name of the paper's set of which this is another form.
      source: folder whose images are copied, for a data set of the user's own (data/lookup.py).

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
    official_validation: bool = False
    key: str = "id"
    test_split: str = "test"
    train_per_class: int = 0
    test_share: float = 0.0
    embedded: bool = False
    mirror: bool = True
    banner: int = 0
    variant_of: str = ""
    source: str = ""

    @property
    def folder(self):
        return self.source

    split_seed: int = 0
    difficult: str = "ignore"
    crop_banner: bool = False

    @property
    def multi_label(self) -> bool:
        """Whether an image can show several classes (scored by mean average precision)."""
        return self.metric == "voc_map"

    @property
    def custom(self) -> bool:
        """Whether it is the user's own, no row of DATASETS."""
        return ":" in self.name


PAPER_DATASETS = (
    Dataset("food101", "Food-101", "food101:2.1.0", 101, "top1", 68175, 7575, 25250,
            test_split="validation"),
    Dataset("cifar10", "CIFAR-10", "cifar10:3.0.2", 10, "top1", 45000, 5000, 10000),
    Dataset("cifar100", "CIFAR-100", "cifar100:3.0.2", 100, "top1", 44933, 5067, 10000),
    Dataset("birdsnap", "Birdsnap", "birdsnap/full:1.1.0", 500, "top1", 42405, 4981, 2443),
    Dataset("sun397", "SUN397", "sun397/standard-part1-full:4.0.0", 397, "top1", 15880, 3970, 19850,
            key="file_name"),
    Dataset("cars", "Stanford Cars", "cars196:2.1.0", 196, "top1", 6494, 1650, 8041),
    Dataset("aircraft", "FGVC Aircraft", "fgvc_aircraft/variant:1.0.0", 100, "mean_per_class",
            3334, 3333, 3333, official_validation=True, banner=20),
    Dataset("voc2007", "VOC2007", "voc/2007:5.0.0", 20, "voc_map",
            2501, 2510, 4952, official_validation=True, key="image/filename"),
    Dataset("dtd", "DTD", "dtd:3.0.1", 47, "top1", 1880, 1880, 1880, official_validation=True,
            key="file_name"),
    Dataset("pets", "Oxford-IIIT Pets", "oxford_iiit_pet:4.0.0", 37, "mean_per_class", 2940, 740, 3669,
            key="file_name"),
    Dataset("caltech101", "Caltech-101", "caltech101:3.0.2", 102, "mean_per_class", 2550, 510, 6084,
            key="image/file_name", train_per_class=30),
    Dataset("flowers", "102 Flowers", "oxford_flowers102:2.1.1", 102, "mean_per_class",
            1020, 1020, 6149, official_validation=True, key="file_name"),
)

# The paper's sets in other forms, by option.
VARIANTS = (
    Dataset("birdsnap_available", "Birdsnap (available)", "birdsnap/available:1.1.0", 500, "top1", 42405, 4981, 2443,
            variant_of="birdsnap"),
    Dataset("sun397_120k", "SUN397 (120k)", "sun397/standard-part1-120k:4.0.0", 397, "top1", 15880, 3970, 19850,
            key="file_name", variant_of="sun397"),
)

# To pretrain on. ("imagenet" is taken: as --weights and as the study's --source it means the public weights.)
SOURCE_DATASETS = (
    Dataset("imagenet2012", "ImageNet", "imagenet2012:5.1.0", 1000, "top1", 1281167, 0, 50000,
            key="file_name", test_split="validation"),  # what TFDS calls test has no labels
)

EMBEDDED_DATASETS = (
    Dataset("glyphs", "Glyphs", "glyphs:1.0.0", 37, "top1", 10000, 1000, 2000,
            official_validation=True, embedded=True, mirror=False),
    Dataset("digits", "Digits", "digits:1.0.0", 10, "top1", 1078, 360, 359,
            official_validation=True, embedded=True, mirror=False),
    Dataset("digits_grid", "Digits grid", "digits_grid:1.0.0", 10, "voc_map", 1000, 500, 1000,
            official_validation=True, embedded=True, mirror=False),
    Dataset("diacritics", "Diacritics", "diacritics:1.0.0", 12, "mean_per_class", 1000, 250, 1000,
            embedded=True, mirror=False),
)

GROUPS = {"paper": tuple(row.name for row in PAPER_DATASETS)}  # what --datasets of a study takes beside names

DATASETS = {row.name: row for row in PAPER_DATASETS + VARIANTS + SOURCE_DATASETS + EMBEDDED_DATASETS}
