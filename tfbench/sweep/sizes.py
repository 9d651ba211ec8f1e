"""Memory and disk that a study takes: estimates by stated rules, from the catalogs alone.

A training holds on its device weights, momenta and gradients, their moving average where there is one, and what the
gradients need of each image of a batch: outputs of convolutions and of activation functions. The catalog does not know
how many numbers these are. At a network's own size they are about KEPT times the root of its multiply-adds, as counted
in six networks, and BUFFERS times that was there at most (docs/measurements.md). They grow with the square of an
image's side.
"""

import dataclasses
import math
from collections.abc import Collection

from tfbench.config import RunConfig
from tfbench.data.catalog import Dataset
from tfbench.data.examples import MEMORY_BYTES
from tfbench.inputs import dataset_of
from tfbench.models.catalog import Network
from tfbench.models.lookup import get_network
from tfbench.regimes import PRETRAIN, RUNS
from tfbench.wording import aligned, count, megabytes

FLOAT = 4  # bytes
# Numbers per image that training keeps, over the root of the multiply-adds. NASNet-A Large has 967, Mobile 575.
KEPT = {"inception": 273, "resnet_v1": 317, "resnet_v2": 317, "mobilenet": 423, "densenet": 589, "nasnet": 967,
        "pnasnet": 967}
KEPT_BY_OTHERS = 450  # in between; not counted
BUFFERS = 1.3  # what was there at most in a training step, over these: 1.16 to 1.45 in three networks
FORWARD = 0.2  # of these are there at once without gradients, at most: 0.10 and 0.17 in two networks
PREFETCHED = 3  # batches of images on the host: one that is used, two that wait (data/pipeline.py)
PROCESS_BYTES = 735_000_000  # a process that has imported TensorFlow, as measured
DOUBLE = 8  # bytes: of what regressions compute in float64
BASIS = 5  # arrays [width, width] in float64 while the eigenbasis is computed; smaller with fewer examples than that
SCORES = 3.5  # arrays [examples, classes] in float64: two of L-BFGS, on the device, and the certificate's; measured 3.4
HISTORY = 24  # arrays [width, classes] in float64 while L-BFGS goes on: six steps and changes, twice as they move up
UNKNOWN_IMAGE = 500_000  # bytes of an encoded image of a set whose archives' size is unknown; assumed
EMBEDDED_IMAGE = 2_000  # bytes, at most, of one that tfbench draws; assumed
IMAGENET_CLASSES = 1000
HALF = 2  # bytes: of activations in 16 bits, and of a test image's probabilities (results/record.py)
RULES = (
    "  estimates: weights, momenta and gradients in float32; of the batch what gradients need, by the root of the",
    "  multiply-adds, over --devices. --accumulate=K divides it by K, and holds a sum of gradients. Host: splits of up",
    "  to 2 GB, batches; for regressions twice the features in float32, 28 bytes × examples × classes, and by width")
FITS = "fits"
FITTING = (
    "  flags of the programs, such as --finetune=--accumulate=4: batch norm then sees a part of the batch at once, and",
    "  it is another run. Where none does: --devices, --image_size, --precision")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that one job takes, an estimate.

    Attributes:
      weights: of the device, whatever the batch: weights, and of a training momenta and gradients.
      activations: of the device, by the batch.
      host: of the machine's memory beside an accelerator; batches: what of these grows with the batch.
      images: that go through the network at once on each device.
      sums: of gradients, which the device holds too once the batch is divided (--accumulate).
      solver: of the device, what solving a regression takes, after its features are computed.
    """

    weights: int
    activations: int
    host: int
    batches: int
    images: int
    sums: int = 0
    solver: int = 0

    @property
    def device(self) -> int:
        """Of the accelerator's memory; on a processor they are the host's too."""
        return max(self.weights + self.activations, self.solver)

    def divided(self, parts: int) -> "Memory":
        """The same with the batch in so many parts, which divide `images`, one after another."""
        if parts == 1:
            return self
        batches = self.batches // parts
        return Memory(self.weights + self.sums, self.activations // parts, self.host - self.batches + batches, batches,
                      self.images // parts, solver=self.solver)


def kept_numbers(network: Network, image_size: int | None) -> float:
    """Numbers that the gradients of one image need, about; None: at the network's own size."""
    side = (image_size or network.image_size) / network.image_size
    return BUFFERS * KEPT.get(network.family, KEPT_BY_OTHERS) * (1e9 * network.multiply_adds) ** 0.5 * side ** 2


def parameters(network: Network, classes: int) -> int:
    """Numbers of a network with a classifier."""
    return network.parameters + (network.feature_width + 1) * classes


def memory(config: RunConfig, network: Network, dataset: Dataset, images: int) -> Memory:
    """What one job of a run takes, with its whole batch on one device unless --devices says otherwise.

    Args:
      images: that it trains on, without those of validation.
    """
    kind, config = config.kind, config.settled(images)
    batch, side = config.batch_size or 1, config.image_size or network.image_size
    parts = config.accumulate if kind.trains else 1
    weights = FLOAT * parameters(network, dataset.classes)
    batches = PREFETCHED * FLOAT * batch // parts * 3 * side ** 2
    host = PROCESS_BYTES + weights + in_memory(dataset) + batches
    number = FLOAT if config.precision == "float32" else HALF
    at_once = batch // max(config.devices, 1) // parts
    activations = number * kept_numbers(network, config.image_size) * batch / max(config.devices, 1) / parts
    if kind.trains:
        sums = weights if parts == 1 else 0
        return Memory(weights * (3 + bool(config.ema) + (parts > 1)), round(activations), host, batches, at_once, sums)
    fitted = images + dataset.validation
    data, held, scores, more = regression(fitted, network.feature_width, dataset.classes)
    features = FLOAT * (dataset.train + dataset.validation) * network.feature_width  # of all, also on few examples
    tested = dataset.test * (FLOAT * network.feature_width + DOUBLE * dataset.classes)
    return Memory(weights, round(activations * FORWARD), host + features + max(data + scores + more, tested), batches,
                  at_once, solver=held + 2 * DOUBLE * fitted * dataset.classes)


def regression(examples: int, width: int, classes: int) -> tuple[int, int, int, int]:
    """Bytes that logistic regression takes beside the features, where a strength needs float64.

    Returns:
      (the data on the device: along the axes in float32, then a copy of the features, or along the axes in float64 up
      to KEPT_BYTES; what of it is there at once, more is streamed; arrays of scores; what grows with the width).
    """
    from tfbench.linear import logistic  # and SciPy: --help does without

    rank = min(examples, width)
    kept = DOUBLE * examples * rank
    data = max(FLOAT * examples * width, kept if kept <= logistic.KEPT_BYTES else 0)
    scores, more = round(SCORES * DOUBLE) * examples * classes, DOUBLE * rank * (BASIS * width + HISTORY * classes)
    return data, min(data, logistic.BLOCK_BYTES), scores, more


def parts_that_fit(sizes: Collection[Memory], device: float, *, shared: bool = False) -> int | None:
    """Into how many parts the batches of jobs must be divided, all alike, for each to fit; None where no number does.

    Args:
      device: bytes of its memory. shared: whether it is a processor, whose memory is the host's too.
    """
    images = math.gcd(*(size.images for size in sizes))
    return next((parts for parts in range(1, images + 1) if images % parts == 0 and all(
        size.device + (size.host if shared else 0) <= device
        for size in (whole.divided(parts) for whole in sizes))), None)


def remedies(jobs: list[tuple[RunConfig, Memory]], places: list[tuple[str, float, bool]]) -> list[str]:
    """A line for each device into which not all jobs fit, below a header: per regime the flag by which all its do.

    Args:
      places: (what it is called, bytes of its memory, whether it is a processor) of each device.
    """
    regimes: dict[str, tuple[RunConfig, set[Memory]]] = {}
    for config, size in jobs:
        regimes.setdefault(config.regime, (config, set()))[1].add(size)
    rows = [("to fit all jobs into", *(RUNS[regime].title for regime in regimes))]
    for name, device, shared in places:
        flags = [_remedy(config, sizes, parts_that_fit(sizes, device, shared=shared))
                 for config, sizes in regimes.values()]
        if set(flags) != {FITS}:
            rows.append((name, *flags))
    return [f"  {line}" for line in (*aligned(rows), *FITTING)] if len(rows) > 1 else []


def _remedy(config: RunConfig, sizes: Collection[Memory], parts: int | None) -> str:
    """The flag of a regime's program by which its jobs fit, or what stands for none."""
    if parts == 1:
        return FITS
    if parts is None:
        return "none does"
    if config.kind.trains:
        return f"--accumulate={config.accumulate * parts}"
    return f"--batch_size={min(size.images for size in sizes) * max(config.devices, 1) // parts}"


def archives(dataset: Dataset) -> int:
    """Bytes of a data set's archives; 0 where that of one is unknown."""
    files = dataset.source.files if dataset.source else ()
    return sum(file.size for file in files) if all(file.size for file in files) else 0


def image_bytes(dataset: Dataset) -> float:
    """Of an encoded image, about."""
    if dataset.embedded:
        return EMBEDDED_IMAGE
    known = archives(dataset)
    return known / (dataset.train + dataset.validation + dataset.test) if known else UNKNOWN_IMAGE


def in_memory(dataset: Dataset) -> int:
    """Bytes of the splits that are held in memory: each that has at most MEMORY_BYTES."""
    splits = (round(number * image_bytes(dataset)) for number in (dataset.train, dataset.validation, dataset.test))
    return sum(size for size in splits if size <= MEMORY_BYTES)


def memory_table(jobs: list[tuple[RunConfig, Memory]]) -> list[str]:
    """A line per regime with its largest job, below a header, and the rules."""
    rows = [("memory of a job, about", "device", "of it its batch", "host", "largest on the device")]
    for regime in dict.fromkeys(config.regime for config, _ in jobs):
        part = [(config, size) for config, size in jobs if config.regime == regime]
        config, most = max(part, key=lambda pair: pair[1].device)
        rows.append((RUNS[regime].title, megabytes(most.device), megabytes(most.activations),
                     megabytes(max(size.host for _, size in part)), f"{config.model} {config.dataset}"))
    return [f"  {line}" for line in (*aligned(rows), *RULES)]


def disk(runs, *, keep_model: bool) -> list[tuple[str, int, str]]:
    """What a study's files take: (what, bytes about, what to know).

    Args:
      runs: its jobs.Run.
    """
    datasets = {run.config.dataset: dataset_of(run.config) for run in runs}
    unknown = [name for name, dataset in datasets.items() if not dataset.embedded and not archives(dataset)]
    known = sum(map(archives, datasets.values()))
    drawn = sum(in_memory(dataset) for dataset in datasets.values() if dataset.embedded)
    starts = {config.model: (FLOAT * parameters(get_network(config.model), IMAGENET_CLASSES))
              for config in (run.config for run in runs) if config.kind.pretrained}
    starts |= {config.model: FLOAT * parameters(get_network(config.model), datasets[config.dataset].classes)
               for config in (run.config for run in runs) if config.regime == PRETRAIN.name}
    features = {(run.config.model, run.config.dataset): run.cost.kept for run in runs if run.cost.trained == 0}
    transfers = [run.config for run in runs if run.config.regime != PRETRAIN.name]
    tested = {name: dataset.test * dataset.classes for name, dataset in datasets.items()}
    rows = [
        ("archives", known, f"without {', '.join(unknown)}, whose size is unknown" if unknown else ""),
        ("data", known + drawn, "prepared: at most about as much again"),
        ("weights", sum(starts.values()), f"of {count(len(starts), 'network')}"),
        ("features", sum(features.values()), ""),
        ("checkpoints", max((run.cost.kept for run in runs if run.cost.trained), default=0), "at a time, of each job"),
        ("predictions", sum(HALF * tested[config.dataset] for config in transfers), "probabilities of the test images")]
    if keep_model:
        rows.append(("networks", sum(FLOAT * parameters(get_network(config.model), datasets[config.dataset].classes)
                                     for config in transfers), "trained, with --keep_model"))
    return [row for row in rows if row[1] or row[2].startswith("without")]


def disk_table(runs, *, keep_model: bool) -> list[str]:
    """A line per row of disk, below their sum."""
    rows = disk(runs, keep_model=keep_model)
    sizes = aligned([("disk, about", megabytes(sum(size for _, size, _ in rows))),
                     *((f"  {name}", megabytes(size)) for name, size, _ in rows)])
    notes = ["in all", *(note for _, _, note in rows)]
    return [f"  {line}  {note}".rstrip() for line, note in zip(sizes, notes, strict=True)]
