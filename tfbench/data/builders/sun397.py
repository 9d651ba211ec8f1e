"""SUN397 (Xiao et al., CVPR 2010) with images of their own size: TFDS has it shrunk to 120,000 pixels only."""

import tensorflow_datasets as tfds
from tensorflow_datasets.datasets.sun397 import sun397_dataset_builder


def full_size(data_dir, config: str):
    """TFDS's builder of the first of the ten official partitions, images stored as JPEG of quality 95."""
    return tfds.builder("sun397", data_dir=data_dir, config=sun397_dataset_builder.Sun397Config(
        name=config, version=tfds.core.Version("4.0.0"), partition=1, target_pixels=None, quality=95,
        description="The first of the ten official partitions, images of their own size."))
