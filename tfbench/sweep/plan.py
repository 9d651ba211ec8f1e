"""What a run will cost: images through the network, and roughly how many seconds that takes here."""

import dataclasses
import statistics
import time
from collections.abc import Iterable, Sequence

import numpy as np

from tfbench import paper
from tfbench.config import ALL, PAPER, RunConfig
from tfbench.data.catalog import Dataset
from tfbench.errors import UserError
from tfbench.files import arrays, atomic
from tfbench.inputs import RunInputs, dataset_of
from tfbench.models.catalog import NETWORKS, Network
from tfbench.models.lookup import get_network
from tfbench.regimes import PRETRAIN, REGIMES, RUNS
from tfbench.sweep import accelerators, lacking, sizes
from tfbench.training import halving
from tfbench.wording import aligned, count, duration, megabytes

IMAGENET = "imagenet"  # as a study's source: nothing is pretrained

# Estimates only. Measured on two CPU cores at 32 pixels: convolutional networks reach about this share of
# the rate of a large matrix product.
EFFICIENCY = {"train": 0.45, "evaluate": 0.3}
TRAIN_COST = 3.0  # a training step costs about three forward passes
CHECKPOINTS = 2  # that are kept of a training in progress
SAMPLES, SAMPLE_SECONDS = 7, 0.04  # of the speed of a matrix product
SCATTER = 0.2  # how far these may lie from their median before a plan says so
IMAGE_SECONDS = 0.0005  # reading, augmenting and the operations that no matrix product explains


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run takes: fits (trainings or regressions, the refit too), images, and the seconds (an estimate).

    Attributes:
      fits, trained, evaluated, seconds: as above.
      kept: bytes on disk of the features that it caches, or of the checkpoints of a training in progress.
      operations: floating-point operations of all images through the network.
      solver: seconds of them that logistic regression takes beside the network.
    """

    fits: int
    trained: int
    evaluated: int
    seconds: float
    kept: int
    operations: float = 0.0
    solver: float = 0.0


def cost(config: RunConfig, rate: float | dict[str, float]) -> Cost:
    """The cost of one run.

    Args:
      rate: of matrix products (matrix_rate), or by network as measured_rates found them.

    Raises:
      UserError: there is no such network or data set, or the kind of run cannot use it.
    """
    return _cost(config, rate, get_network(config.model), dataset_of(config))


def _cost(config: RunConfig, rate: float | dict[str, float], network: Network, dataset: Dataset) -> Cost:
    kind, config = config.kind, config.settled(_images(config, dataset))
    kept, solver = CHECKPOINTS * 2 * 4 * network.parameters, 0.0  # float32 weights and momenta
    if kind.search:
        search = config.search_spec()
        trials = sum(rung.trials for rung in halving.rungs(search))
        fits, trained = trials + 1, (halving.steps_left(search, {}) + config.steps) * config.batch_size
        evaluated = trials * 2 * dataset.validation + dataset.test  # at two crops
    elif "epochs" in kind.settings:  # pretraining
        fits, evaluated = 1, dataset.test
        trained = config.steps * config.batch_size if config.steps else round(config.epochs * dataset.train)
        if numbers := config.select_steps:  # trained twice for the most of them, at most
            fits, trained = len(numbers) + 1, 2 * max(numbers) * config.batch_size
            evaluated += len(numbers) * (dataset.validation or dataset.selection)
    else:  # on fixed features
        fits, trained, evaluated = len(config.l2) + 1, 0, dataset.train + dataset.validation + dataset.test
        kept = 4 * network.feature_width * evaluated
        solver = solver_seconds(_images(config, dataset), network.feature_width, dataset.classes, fits)
    if isinstance(rate, dict):
        rate = rate.get(network.name) or float(np.median(list(rate.values())))
    forward = operations(network, config.image_size)
    seconds = kind.trace_seconds + solver + (trained + evaluated) * IMAGE_SECONDS + forward / rate * (
        trained * TRAIN_COST / EFFICIENCY["train"] + evaluated / EFFICIENCY["evaluate"])
    return Cost(fits, trained, evaluated, seconds, kept, forward * (TRAIN_COST * trained + evaluated), solver)


def solver_seconds(examples: int, width: int, classes: int, fits: int) -> float:
    """Seconds of a path of logistic regressions on two processor cores, about.

    By the three problems of docs/measurements.md: products with the data, n d C, and the eigenbasis, n d min(n, d). It
    comes within 10 % of each.
    """
    at_each = 2.14e-8 * examples * width * classes + 3.53e-10 * examples * width * min(examples, width)
    return at_each * fits / 46


def _images(config: RunConfig, dataset: Dataset) -> int:
    """Training images of a single run, on few examples about."""
    if not config.examples_per_class:
        return dataset.train
    return min(config.examples_per_class[0] * dataset.classes, dataset.train)


def images_to_train_on(config: RunConfig) -> int:
    """Training images of a single run, about; its data need not be prepared."""
    return _images(config, dataset_of(config))


def memory(config: RunConfig) -> sizes.Memory:
    """What a job of a run takes of memory, about."""
    dataset = dataset_of(config)
    return sizes.memory(config, get_network(config.model), dataset, _images(config, dataset))


def images_of(inputs: RunInputs) -> int:
    """How many images go through the network in a run, or in the part of it that config.trial names, about."""
    config = inputs.config
    whole = _cost(config, 1.0, inputs.network, inputs.data.dataset)
    if config.trial == ALL:
        return whole.trained + whole.evaluated
    return (whole.trained + whole.evaluated) // whole.fits


def presets(configs: Iterable[RunConfig]) -> list[str]:
    """A line for each regime and data set of which a preset that nobody asked for decides the length."""
    lines = [f"{config.regime} {config.dataset}: {words}" for config in configs
             if config.kind.search and config.preset is None and config.preset_used != PAPER
             and (words := config.length(_images(config, dataset_of(config)))).startswith("preset")]
    return list(dict.fromkeys(lines))


def introduction(config: RunConfig, inputs: RunInputs, whole: Cost | None = None) -> str:
    """A search and what it takes here in a line.

    Args:
      config: as it was given, before inputs.settle.
      whole: its cost; None: an estimate.
    """
    whole = whole or _cost(inputs.config, matrix_rate(), inputs.network, inputs.data.dataset)
    images = inputs.subset_images or inputs.data.manifest["splits"]["train"]["n"]
    return (f"{config.length(images)}; {count(whole.fits, 'training')}, {whole.trained:,} images, about "
            f"{duration(whole.seconds)} on this machine, less what is finished")


def table(costs: list[tuple[str, Cost]]) -> list[str]:
    """A line per regime of what its runs take together, below a header.

    Args:
      costs: (regime, cost) of each run.
    """
    rows: list[tuple[str, ...]] = [("", "runs", "fits", "images trained on", "evaluated", "time")]
    for regime in dict.fromkeys(regime for regime, _ in costs):
        part = [cost for name, cost in costs if name == regime]
        numbers = (len(part), *(sum(getattr(cost, name) for cost in part) for name in ("fits", "trained", "evaluated")))
        rows.append((RUNS[regime].title, *(f"{number:,}" for number in numbers),
                     duration(sum(cost.seconds for cost in part))))
    return [f"  {line}" for line in aligned(rows)]


def describe(options, runs, rates: Sequence[float] = ()) -> str:
    """The plan of a study in words: what there is to do, what it takes, and what is missing for it.

    Args:
      options: of the study program. runs: its jobs.Run.
      rates: samples of this machine's speed (matrix_rates) by whose median the times are estimated.
    """
    transfers = sum(run.config.regime in REGIMES for run in runs)
    first = "from the public ImageNet weights, as in the paper's appendix B"
    if options.source != IMAGENET:
        first = f"after {count(len(options.models), 'pretraining')} on {options.source}"
    pretrainings = [run.config for run in runs if run.config.regime == PRETRAIN.name]
    if options.source == "imagenet2012" and all(
            getattr(config, name) == paper.PRETRAINING[name]
            for config in pretrainings for name in paper.PRETRAINING_SWITCHES):
        first += ", as in the paper's main experiment"
    where = f"by {options.throughput}" if options.throughput else "on this machine"
    solver = sum(run.cost.solver for run in runs)
    taken = [(run.config, memory(run.config)) for run in runs]
    names = [options.accelerator] if options.accelerator else list(accelerators.ACCELERATORS)
    devices = accelerators.table(
        [(run.cost.operations, run.cost.solver, run.config.precision) for run in runs],
        [size.device for _, size in taken], names, options.gpus)
    return "\n".join((
        f"study of {count(len(options.models), 'network')} × {count(len(options.datasets), 'data set')} × "
        f"{count(len(options.regimes), 'regime')}: {count(transfers, 'run')}, {first}",
        *table([(run.config.regime, run.cost) for run in runs]),
        f"  images          {sum(run.cost.trained for run in runs):,} trained on, "
        f"{sum(run.cost.evaluated for run in runs):,} evaluated",
        f"  estimated time  {duration(sum(run.cost.seconds for run in runs))} {where}, less what is finished"
        + (f"; of it {duration(solver)} for solving regressions, by a model of two cores" if solver else ""),
        *([f"                  {words}"] if (words := scatter(rates)) else []),
        *devices, *alternatives(runs),
        *sizes.memory_table(taken),
        *sizes.remedies(taken, _places(names)),
        *sizes.disk_table(runs, keep_model=options.keep_model),
        f"  results         {options.results_dir}",
        f"  data            {options.data_dir}",
        *(f"  {line}" for line in lacking.lines(lacking.of_study(options, runs)))))


def _places(names: Sequence[str]) -> list[tuple[str, float, bool]]:
    """The accelerators of these names and this machine, as sizes.remedies takes them."""
    found = [accelerators.ACCELERATORS[name] for name in names]
    places: list[tuple[str, float, bool]] = [
        (f"{device.title}, {device.gigabytes} GB", 1e9 * device.gigabytes, False) for device in found]
    if free := arrays.free_memory():
        places.append((f"this machine, of which {megabytes(free)} are free", free, True))
    return places


def alternatives(runs) -> list[str]:
    """What the same takes with cheaper searches, a line each; none where no run searches the paper's whole grid."""
    whole = [run for run in runs if run.config.kind.search and run.config.search == "grid"
             and run.config.grid is None and run.config.learning_rate is None and run.config.weight_decay is None]
    if not whole:
        return []
    now = sum(run.cost.operations for run in runs)
    rows = [("search", "trainings", "images trained on", "of the operations"),
            ("as planned", *_sums([run.cost for run in whole]), "100 %")]
    for words, changes in (("--search=halving", {"search": "halving"}), ("--grid=3x2", {"grid": (3, 2)})):
        costs = [cost(dataclasses.replace(run.config, **changes), 1.0) for run in whole]
        saved = sum(run.cost.operations for run in whole) - sum(one.operations for one in costs)
        rows.append((words, *_sums(costs), f"{100 * (1 - saved / now):.0f} %"))
    return [f"  {line}" for line in aligned(rows)]


def _sums(costs: list[Cost]) -> tuple[str, str]:
    return f"{sum(one.fits for one in costs):,}", f"{sum(one.trained for one in costs):,}"


def operations(network: Network, image_size: int | None = None) -> float:
    """Floating-point operations of one forward pass; None: at the network's own image size."""
    return 2e9 * network.multiply_adds * ((image_size or network.image_size) / network.image_size) ** 2


def measured_rates(path) -> dict[str, float]:
    """Network -> the rate that explains how fast it was trained, from what benchmark --what=training --output wrote.

    Raises:
      UserError: it is no such file.
    """
    figures = atomic.read_json(path, cure="measure again with tfbench.benchmark --what=training --output=FILE")
    try:
        rates = {one["network"]: one["images_per_second"]["tfbench"] * TRAIN_COST / EFFICIENCY["train"] * operations(
            NETWORKS[one["network"]], one["image_size"]) for one in figures}
        if not rates or not all(0 < rate < np.inf for rate in rates.values()):
            raise ValueError("expected images per second above 0")
        return rates
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"expected in {path} what `python -m tfbench.benchmark --what=training --output={path}` "
                        f"writes, found something else ({error!r}): write it, or leave --throughput out") from error


def matrix_rates() -> list[float]:
    """SAMPLES of the floating-point operations per second of a float32 matrix product on this machine's CPU."""
    side = 1024
    matrix = np.ones((side, side), np.float32)
    matrix @ matrix  # starts the threads
    rates = []
    for _ in range(SAMPLES):
        start, number = time.perf_counter(), 0
        while (taken := time.perf_counter() - start) < SAMPLE_SECONDS:
            matrix @ matrix
            number += 1
        rates.append(2 * side ** 3 * number / taken)
    return rates


def matrix_rate() -> float:
    """Their median: what else a machine does slows some of them down."""
    return statistics.median(matrix_rates())


def scatter(rates: Sequence[float]) -> str:
    """How far samples of matrix_rates lie apart, without the least and the largest, in words; "" where that is little.

    Two or more of SAMPLES must tell it: of one alone the median takes no notice.
    """
    if len(rates) < SAMPLES:
        return ""
    middle = statistics.median(rates)
    _, low, *_, high, _ = sorted(rates)
    if low / middle > 1 - SCATTER and high / middle < 1 + SCATTER:
        return ""
    return (f"this machine's speed, of which it is the median of {len(rates)} samples, was {100 * low / middle:.0f} to "
            f"{100 * high / middle:.0f} % of that: it does other work, and the time may be off by as much")
