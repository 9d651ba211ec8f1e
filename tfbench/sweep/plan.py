"""What a run will cost: images through the network, and roughly how many seconds that takes here."""

import dataclasses
import time

import numpy as np

from tfbench.cli.flags import search_of
from tfbench.data import manifests
from tfbench.data.lookup import get_dataset
from tfbench.data.sources import SOURCES
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.models.catalog import NETWORKS, Network
from tfbench.models.lookup import get_network, is_custom
from tfbench.models.weights import imagenet_path
from tfbench.regimes import RUNS
from tfbench.training import halving
from tfbench.wording import count

IMAGENET = "imagenet"  # as a study's source: nothing is pretrained

# Estimates only. Measured on two CPU cores at 32 pixels: convolutional networks reach about this share of
# the rate of a large matrix product, and these many seconds go into tracing and optimising graphs.
EFFICIENCY = {"train": 0.45, "evaluate": 0.3}
TRACE_SECONDS = {"logistic_regression": 3.0, "pretrain": 8.0, "finetune": 8.0, "train_from_scratch": 1.0}
TRAIN_COST = 3.0  # a training step costs about three forward passes
CHECKPOINTS = 2  # that are kept of a training in progress
IMAGE_SECONDS = 0.0005  # reading, augmenting and the operations that no matrix product explains


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run takes: fits (trainings or regressions, the refit too), images, and the seconds (an estimate).

    Attributes:
      fits, trained, evaluated, seconds: as above.
      kept: bytes on disk of the features that it caches, or of the checkpoints of a training in progress.
    """

    fits: int
    trained: int
    evaluated: int
    seconds: float
    kept: int


def cost(regime: str, options, rate: float | dict[str, float]) -> Cost:
    """The cost of one run.

    Args:
      options: flag values of the regime's program.
      rate: of matrix products (matrix_rate), or by network as measured_rates found them.

    Raises:
      UserError: the regime cannot be run on the data set.
    """
    network, dataset = get_network(options.model), get_dataset(options.dataset, options.data_dir)
    if regime != "pretrain" and not dataset.validation:
        raise UserError(f"{dataset.name} has no validation split for {regime} to choose on, it is to pretrain on only: "
                        f"take another --dataset, or `python -m tfbench.pretrain --dataset={dataset.name}`")
    kept = CHECKPOINTS * 2 * 4 * network.parameters  # float32 weights and momenta
    if regime == "logistic_regression":
        fits, trained, evaluated = len(options.l2) + 1, 0, dataset.train + dataset.validation + dataset.test
        kept = 4 * network.feature_width * evaluated
    elif regime == "pretrain":
        fits = 1
        trained = options.steps * options.batch_size if options.steps else round(options.epochs * dataset.train)
        evaluated = dataset.test
    else:
        search = search_of(options, regime)
        trials = sum(halving.rungs(search).values())
        fits, trained = trials + 1, (halving.steps_left(search, {}) + options.steps) * options.batch_size
        evaluated = trials * 2 * dataset.validation + dataset.test  # at two crops
    if isinstance(rate, dict):
        rate = rate.get(network.name) or float(np.median(list(rate.values())))
    seconds = TRACE_SECONDS[regime] + (trained + evaluated) * IMAGE_SECONDS + operations(
        network, options.image_size) / rate * (trained * TRAIN_COST / EFFICIENCY["train"]
                                               + evaluated / EFFICIENCY["evaluate"])
    return Cost(fits, trained, evaluated, seconds, kept)


def table(costs: list[tuple[str, Cost]]) -> list[str]:
    """A line per regime of what its runs take together, below a header.

    Args:
      costs: (regime, cost) of each run.
    """
    lines = [f"  {'':<22}{'runs':>6}{'fits':>9}{'images trained on':>21}{'evaluated':>14}{'hours':>12}"]
    for regime in dict.fromkeys(regime for regime, _ in costs):
        part = [cost for name, cost in costs if name == regime]
        hours = sum(cost.seconds for cost in part) / 3600
        lines.append(f"  {RUNS[regime].title:<22}{len(part):>6,}{sum(c.fits for c in part):>9,}"
                     f"{sum(c.trained for c in part):>21,}{sum(c.evaluated for c in part):>14,}{hours:>12,.1f}")
    return lines


def describe(options, runs) -> str:
    """The plan of a study in words: what there is to do, what it takes, and what is missing for it.

    Args:
      options: the study's flag values. runs: its study.Run.
    """
    transfers = sum(run.regime != "pretrain" for run in runs)
    first = (f"after {count(len(options.models), 'pretraining')} on {options.source}" if options.source != IMAGENET
             else "from the public ImageNet weights")
    where = f"by {options.throughput}" if options.throughput else "on this machine"
    return "\n".join((
        f"study of {count(len(options.models), 'network')} × {count(len(options.datasets), 'data set')} × "
        f"{count(len(options.regimes), 'regime')}: {count(transfers, 'run')}, {first}",
        *table([(run.regime, run.cost) for run in runs]),
        f"  images          {sum(run.cost.trained for run in runs):,} trained on, "
        f"{sum(run.cost.evaluated for run in runs):,} evaluated",
        f"  estimated time  {duration(sum(run.cost.seconds for run in runs))} {where}, less what is finished",
        f"  disk            {sum(run.cost.kept for run in runs if run.regime == 'logistic_regression') / 1e9:.1f} GB "
        f"of features, {max(run.cost.kept for run in runs) / 1e9:.1f} GB of checkpoints at a time",
        f"  results         {options.results_dir}",
        f"  data            {options.data_dir}",
        *(f"  missing         {line}" for line in missing(options, runs))))


def missing(options, runs) -> list[str]:
    """What must be there before the study can be run, and the command that puts it there."""
    names = dict.fromkeys([*options.datasets, *([] if options.source == IMAGENET else [options.source])])
    lines = []
    for name in names:
        dataset = get_dataset(name, options.data_dir)
        if not dataset.embedded and not dataset.source and manifests.read(dataset, options.data_dir) is None:
            fetched = sum(file.size for file in SOURCES[name].files) / 1e9 if name in SOURCES else 0
            lines.append(f"{name} is not prepared{f' ({fetched:.1f} GB to fetch)' * bool(fetched)}: python -m "
                         f"tfbench.prepare_data --dataset={name} --data_dir={options.data_dir} --action=prepare")
    folders = {run.options.model: run.options.weights_dir for run in runs
               if options.source == IMAGENET and run.regime in ("logistic_regression", "finetune")}
    return lines + [f"weights of {network}: python -m tfbench.prepare_models --model={network} --weights_dir={folder}"
                    for network, folder in folders.items()
                    if not is_custom(network) and not imagenet_path(folder, network).exists()]


def duration(seconds: float) -> str:
    """ "12 minutes", "3.5 hours", "1,234 hours (51 days)" of one device."""
    if seconds < 5400:
        return count(round(max(seconds / 60, 1)), "minute")
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours:,.0f} hours ({hours / 24:,.0f} days)"


def operations(network: Network, image_size: int | None = None) -> float:
    """Floating-point operations of one forward pass; None: at the network's own image size."""
    return 2e9 * network.multiply_adds * ((image_size or network.image_size) / network.image_size) ** 2


def measured_rates(path) -> dict[str, float]:
    """Network -> the rate that explains how fast it was trained, from what benchmark --what=training --output wrote.

    Raises:
      UserError: it is no such file.
    """
    try:
        found = atomic.read_json(path, cure="measure again with tfbench.benchmark --what=training --output=FILE")
        return {one["network"]: one["images_per_second"]["tfbench"] * TRAIN_COST / EFFICIENCY["train"] * operations(
            NETWORKS[one["network"]], one["image_size"]) for one in found}
    except (OSError, KeyError, TypeError) as error:
        raise UserError(f"expected in {path} what `python -m tfbench.benchmark --what=training --output={path}` "
                        f"writes, found something else ({error!r}): write it, or leave --throughput out") from error


def matrix_rate() -> float:
    """Floating-point operations per second of a float32 matrix product on this machine's CPU."""
    side = 1024
    matrix = np.ones((side, side), np.float32)
    matrix @ matrix  # starts the threads
    start, number = time.perf_counter(), 0
    while time.perf_counter() - start < 0.1:
        matrix @ matrix
        number += 1
    return 2 * side ** 3 * number / (time.perf_counter() - start)
