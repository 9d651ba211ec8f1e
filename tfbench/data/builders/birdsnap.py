"""Birdsnap (Berg et al., CVPR 2014), 500 species, whose images must be collected one by one.

Its authors publish lists of addresses, many of which are dead by now. `full` demands every image; `available`
takes those that are there and keeps, per split, how many are missing or are not the listed file.
"""

import csv
import hashlib

import tensorflow_datasets as tfds

from tfbench.data.builders.common import photographs

SPLITS = ("train", "test")


def read_lists(folder) -> tuple[list[str], dict[str, list[dict]]]:
    """What the three lists say.

    Args:
      folder: with species.txt, images.txt and test_images.txt, tab-separated with a header.

    Returns:
      Species names in the order of their ids (1, 2, …), and per split the images: {"path", "label" (from 0),
      "md5"}. Images are joined to species by id: the folder names of species.txt are not those of the paths.
    """
    def rows(name):
        with (folder / name).open("r", encoding="utf-8") as file:
            yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)

    species = {int(row["id"]): row["common"] for row in rows("species.txt")}
    test = {row["path"] for row in rows("test_images.txt")}
    images: dict[str, list[dict]] = {split: [] for split in SPLITS}
    for row in rows("images.txt"):
        images["test" if row["path"] in test else "train"].append(
            {"path": row["path"], "label": int(row["species_id"]) - 1, "md5": row["md5"]})
    return [species[number] for number in sorted(species)], images


class Birdsnap(tfds.core.GeneratorBasedBuilder):
    """Photographs of North American birds."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The lists of release 1.1: 47,386 and 2,443 images."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="full", description="every listed image; a missing one is an error"),
        tfds.core.BuilderConfig(name="available", description="the listed images that are there"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "birdsnap/species.txt, images.txt, test_images.txt and the images in birdsnap/images (tfbench.data.sources).")

    def _info(self) -> tfds.core.DatasetInfo:
        return photographs(
            self,
            description="49,829 photographs of 500 species of birds.",
            homepage="http://thomasberg.org/",
            citation="@inproceedings{berg2014birdsnap, author = {Berg, T. and Liu, J. and Lee, S. W. and\n"
                     "  Alexander, M. L. and Jacobs, D. W. and Belhumeur, P. N.}, booktitle = {CVPR}, year = {2014},\n"
                     "  title = {Birdsnap: Large-scale Fine-grained Visual Categorization of Birds}}")

    def _split_generators(self, dl_manager):
        folder = dl_manager.manual_dir / "birdsnap"
        names, images = read_lists(folder)
        self.info.features["label"].names = names
        return {split: self._generate_examples(folder / "images", split, images[split]) for split in SPLITS}

    def _generate_examples(self, folder, split: str, images: list[dict]):
        missing, altered = [], 0
        for image in images:
            file = folder / image["path"]
            if not file.exists():
                missing.append(image["path"])
                continue
            content = file.read_bytes()
            altered += hashlib.md5(content).hexdigest() != image["md5"]
            yield image["path"], {"id": image["path"], "image": content, "label": image["label"]}
        if missing and self.builder_config.name == "full":
            raise FileNotFoundError(f"{len(missing):,} of {len(images):,} {split} images are missing, the first is "
                                    f"{missing[0]}")
        self.info.metadata[f"{split}_listed"] = len(images)
        self.info.metadata[f"{split}_missing"] = len(missing)
        self.info.metadata[f"{split}_altered"] = altered
