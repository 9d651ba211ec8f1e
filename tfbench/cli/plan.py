"""What a run will cost: images through the network, and roughly how many seconds that takes here."""

import dataclasses
import time

import numpy as np

from tfbench import UserError
from tfbench.cli.flags import chosen_grid
from tfbench.data.find import find
from tfbench.models.catalog import NETWORKS

# Estimates only. Measured on two CPU cores at 32 pixels: convolutional networks reach about this share of
# the rate of a large matrix product, and these many seconds go into tracing and optimising graphs.
EFFICIENCY = {"train": 0.45, "evaluate": 0.3}
TRACE_SECONDS = {"logistic_regression": 3.0, "pretrain": 8.0, "finetune": 8.0, "train_from_scratch": 1.0}
TRAIN_COST = 3.0  # a training step costs about three forward passes
IMAGE_SECONDS = 0.0005  # reading, augmenting and the operations that no matrix product explains


@dataclasses.dataclass(frozen=True)
class Cost:
    """Images trained on and images evaluated, and the seconds they take (an estimate)."""

    trained: int
    evaluated: int
    seconds: float


def cost(regime: str, options, rate: float) -> Cost:
    """The cost of one run.

    Args:
      options: flag values of the regime's program.
      rate: of matrix products here, see matrix_rate.

    Raises:
      UserError: the regime cannot be run on the data set.
    """
    network, dataset = NETWORKS[options.model], find(options.dataset, options.data_dir)
    if regime != "pretrain" and not dataset.validation:
        raise UserError(f"{dataset.name} has no validation split for {regime} to choose on, it is to pretrain on only: "
                        f"take another --dataset, or `python -m tfbench.pretrain --dataset={dataset.name}`")
    if regime == "logistic_regression":
        trained, evaluated = 0, dataset.train + dataset.validation + dataset.test
    elif regime == "pretrain":
        trained = options.steps * options.batch_size if options.steps else round(options.epochs * dataset.train)
        evaluated = dataset.test
    else:
        rates, decays = chosen_grid(options, regime)
        points = len(rates) * len(decays)
        trained = (points + 1) * options.steps * options.batch_size
        evaluated = points * 2 * dataset.validation + dataset.test  # at two crops
    size = options.image_size or network.image_size
    operations = 2e9 * network.multiply_adds * (size / network.image_size) ** 2  # of one forward pass
    seconds = TRACE_SECONDS[regime] + (trained + evaluated) * IMAGE_SECONDS + operations / rate * (
        trained * TRAIN_COST / EFFICIENCY["train"] + evaluated / EFFICIENCY["evaluate"])
    return Cost(trained, evaluated, seconds)


def matrix_rate() -> float:
    """Floating-point operations per second of a float32 matrix product on this machine's CPU."""
    side = 1024
    matrix = np.ones((side, side), np.float32)
    matrix @ matrix  # starts the threads
    start, number = time.perf_counter(), 0
    while time.perf_counter() - start < 0.2:
        matrix @ matrix
        number += 1
    return 2 * side ** 3 * number / (time.perf_counter() - start)
