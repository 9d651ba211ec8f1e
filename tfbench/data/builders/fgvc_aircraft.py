"""FGVC Aircraft (Maji et al., arXiv 1306.5151), 100 variants, which TFDS does not have.

Images are stored as they come, with the 20-pixel credit line at their lower edge; whether it is seen is
a matter of reading (data/pipeline.py).
"""

import pathlib

import tensorflow_datasets as tfds

from tfbench.data.builders.common import photographs
from tfbench.data.sources import AIRCRAFT
from tfbench.files import downloads

ARCHIVE = AIRCRAFT.files[0]
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # ours: the archive's


def read_list(text: str) -> dict[str, str]:
    """Lines "IMAGE VARIANT" as a dictionary; a variant may hold spaces and slashes."""
    return dict(line.split(" ", 1) for line in text.splitlines() if line)


class FgvcAircraft(tfds.core.GeneratorBasedBuilder):
    """Aircraft variants with the official splits."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The release 2013b: 3,334, 3,333 and 3,333 images."}
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="variant", description="100 variants, the paper's classes")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{ARCHIVE.name} (2.75 GB, {ARCHIVE.checksum}), from {ARCHIVE.url}"

    def _info(self) -> tfds.core.DatasetInfo:
        return photographs(
            self,
            description="10,000 photographs of aircraft, 100 of each of 100 variants.",
            homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
            citation="@techreport{maji13fine-grained, title = {Fine-Grained Visual Classification of Aircraft},\n"
                     "  author = {Maji, S. and Kannala, J. and Rahtu, E. and Blaschko, M. and Vedaldi, A.},\n"
                     "  year = {2013}, eprint = {1306.5151}, archivePrefix = {arXiv}}")

    def _split_generators(self, dl_manager):
        archive = dl_manager.manual_dir / ARCHIVE.name
        downloads.check(archive, checksum=ARCHIVE.checksum, cure=f"replace it by the original of {ARCHIVE.url}")
        root = pathlib.Path(dl_manager.extract(archive)) / ARCHIVE.name.removesuffix(".tar.gz") / "data"
        self.info.features["label"].names = (root / "variants.txt").read_text().splitlines()
        return {split: self._generate_examples(root, f"images_variant_{name}.txt") for split, name in SPLITS.items()}

    def _generate_examples(self, root, listing: str):
        for key, variant in read_list((root / listing).read_text()).items():
            yield key, {"id": key, "image": root / "images" / f"{key}.jpg", "label": variant}
