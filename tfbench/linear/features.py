"""Penultimate features of a frozen network."""

import functools

import numpy as np

from tfbench.data.examples import Examples
from tfbench.data.pipeline import evaluation_batches, to_network
from tfbench.models.build import build_network
from tfbench.training.devices import make_strategy
from tfbench.training.trainer import Predictor


@functools.lru_cache(maxsize=1)  # the data sets of a study share what was traced
def make_extractor(network: str, weights_file: str, weights_sha256: str, image_size: int,
                   value_range: str, devices: int) -> Predictor:
    """The network in inference mode with the weights file's values."""
    del weights_sha256  # part of the cache's key: a file made anew is read anew
    strategy = make_strategy(devices)
    with strategy.scope():
        model = build_network(network, weights=weights_file, num_classes=1, image_size=image_size)  # its logits: unused
    return Predictor(strategy, model, lambda images: to_network(images, value_range))


def extract(predict: Predictor, examples: Examples, *, image_size: int, batch_size: int,
            report=lambda images: None) -> np.ndarray:
    """Features of every example: whole image resized bicubically, no augmentation (v3 section 3.1).

    Returns:
      float32 [n, feature_width].
    """
    batches = evaluation_batches(examples, image_size=image_size, batch_size=batch_size)
    return predict(batches, len(examples.labels), "features", report)
