"""What a study takes on accelerators that are not here: a literal table of them, and the time by multiply-adds.

Peaks are the makers', dense: NVIDIA's data sheets of T4, V100 SXM2, A100 80 GB SXM and H100 SXM (which prints twice as
much, with sparsity), and cloud.google.com/tpu/docs/v3 and /v4. In float32, as tfbench trains by default, TensorFlow
takes TF32 on A100 and H100 and passes of bfloat16 on TPUs.

What part of a peak a network reaches is our assumption, and was not measured here. NVIDIA published trainings of
ResNet-50 with XLA (DeepLearningExamples, TensorFlow/Classification/ConvNets/resnet50v1.5): one A100 909 images/s in
TF32 and 2,375 in mixed precision, one V100 432 and 1,300, of their peaks 13, 18, 64 and 24 %. Of T4 that page has
inference only: float16 is assumed to be three times as fast as float32, as on V100. Depthwise convolutions reach less.
`benchmark --what=training` measures a device where one is, and --throughput plans by that.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tfbench.wording import aligned, count, duration


class Rate(NamedTuple):
    """What a device computes in one format.

    Attributes:
      peak: 10^12 floating-point operations per second.
      sustained: part of it that training reaches, in [0, 1]; assumed.
    """

    peak: float
    sustained: float

    @property
    def text(self) -> str:
        return f"{100 * self.sustained:.0f} % of {self.peak:g} · 10¹²/s"


class Accelerator(NamedTuple):
    """A device.

    Attributes:
      title: as its maker writes it; of TPUs a chip.
      gigabytes: of its memory.
      float32, bfloat16, float16: its rates; of a format that it lacks, that of float32, in which it then computes.
    """

    title: str
    gigabytes: int
    float32: Rate
    bfloat16: Rate
    float16: Rate

    def rate(self, precision: str) -> float:
        """Floating-point operations per second of a training; precision: as --precision has it."""
        rate = self.rate_of(precision)
        return 1e12 * rate.peak * rate.sustained

    def rate_of(self, precision: str) -> Rate:
        return getattr(self, precision.removeprefix("mixed_"))


ACCELERATORS = {
    "t4": Accelerator("T4", 16, Rate(8.1, 0.35), Rate(8.1, 0.35), Rate(65, 0.13)),
    "v100": Accelerator("V100", 32, Rate(15.7, 0.55), Rate(15.7, 0.55), Rate(125, 0.24)),
    "a100": Accelerator("A100", 80, Rate(156, 0.15), Rate(312, 0.20), Rate(312, 0.20)),
    "h100": Accelerator("H100", 80, Rate(495, 0.10), Rate(989, 0.10), Rate(989, 0.10)),
    "tpu_v3": Accelerator("TPU v3 chip", 32, Rate(123, 0.20), Rate(123, 0.20), Rate(123, 0.20)),
    "tpu_v4": Accelerator("TPU v4 chip", 32, Rate(275, 0.18), Rate(275, 0.18), Rate(275, 0.18)),
}


def seconds(device: Accelerator, work: list[tuple[float, float, str]]) -> float:
    """Device seconds of runs.

    Args:
      work: of each run its floating-point operations, the seconds of its solver on a processor, and its precision.
    """
    return sum(operations / device.rate(precision) + solver for operations, solver, precision in work)


def table(work: list[tuple[float, float, str]], memory: list[int], names: Sequence[str], devices: int) -> list[str]:
    """A line per accelerator of `names`: device-days or -years, time with so many, what is assumed, runs that fit.

    Args:
      work: as of `seconds`. memory: bytes that each of them takes of a device. devices: that share the work.
    """
    rows = [("accelerator", "device time", f"with {count(devices, 'device')}", "assumed, of peak", "runs that fit")]
    precisions = sorted({precision for _, _, precision in work}, reverse=True)
    for name in names:
        device = ACCELERATORS[name]
        taken = seconds(device, work)
        assumed = dict.fromkeys(device.rate_of(precision).text for precision in precisions)
        rows.append((device.title, duration(taken), duration(taken / devices), ", ".join(assumed),
                     f"{sum(size <= 1e9 * device.gigabytes for size in memory):,} in {device.gigabytes} GB"))
    return [f"  {line}" for line in aligned(rows)]
