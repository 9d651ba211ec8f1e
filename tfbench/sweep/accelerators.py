"""What a study takes on accelerators that are not here: a literal table of them, and the time by multiply-adds.

Peaks are the makers', in float32 as tfbench trains by default (TensorFlow takes TF32 on A100 and H100, passes of
bfloat16 on TPUs), and with --precision=bfloat16. What part of a peak a network reaches is our assumption, after
trainings of ResNet-50 that others published, as far as is remembered; depthwise convolutions reach less. It was not
measured here. `benchmark --what=training` measures it where a device is, and --throughput plans by that.
"""

from typing import NamedTuple

from tfbench.wording import aligned, count, duration


class Accelerator(NamedTuple):
    """A device.

    Attributes:
      title: as its maker writes it; of TPUs a chip.
      peak, bfloat16_peak: 10^12 floating-point operations per second, in float32 and in bfloat16.
      sustained, bfloat16_sustained: part of either that training reaches, in [0, 1]; assumed.
      gigabytes: of its memory.
    """

    title: str
    peak: float
    sustained: float
    bfloat16_peak: float
    bfloat16_sustained: float
    gigabytes: int

    def rate(self, precision: str) -> float:
        """Floating-point operations per second of a training."""
        if precision in BFLOAT16:
            return 1e12 * self.bfloat16_peak * self.bfloat16_sustained
        return 1e12 * self.peak * self.sustained


BFLOAT16 = {"bfloat16", "mixed_bfloat16"}  # --precision of features, and of training

ACCELERATORS = {  # T4 and V100 have no bfloat16: they compute it in float32
    "t4": Accelerator("T4", 8.1, 0.35, 8.1, 0.35, 16),
    "v100": Accelerator("V100", 15.7, 0.55, 15.7, 0.55, 32),
    "a100": Accelerator("A100", 156, 0.15, 312, 0.20, 80),
    "h100": Accelerator("H100", 495, 0.10, 989, 0.10, 80),
    "tpu_v3": Accelerator("TPU v3 chip", 123, 0.20, 123, 0.20, 32),
    "tpu_v4": Accelerator("TPU v4 chip", 275, 0.18, 275, 0.18, 32),
}


def seconds(device: Accelerator, work: list[tuple[float, float, str]]) -> float:
    """Device seconds of runs.

    Args:
      work: of each run its floating-point operations, the seconds of its solver on a processor, and its precision.
    """
    return sum(operations / device.rate(precision) + solver for operations, solver, precision in work)


def table(work: list[tuple[float, float, str]], memory: list[int], names, devices: int) -> list[str]:
    """A line per accelerator of `names`: device-days or -years, time with so many, what is assumed, runs that fit.

    Args:
      work: as of `seconds`. memory: bytes that each of them takes of a device. devices: that share the work.
    """
    rows = [("accelerator", "device time", f"with {count(devices, 'device')}", "assumed, of peak", "runs that fit")]
    for name in names:
        device = ACCELERATORS[name]
        taken = seconds(device, work)
        precisions = {precision for _, _, precision in work}
        assumed = f"{100 * device.sustained:.0f} % of {device.peak:g} · 10¹²/s"
        if precisions <= BFLOAT16:
            assumed = f"{100 * device.bfloat16_sustained:.0f} % of {device.bfloat16_peak:g} · 10¹²/s"
        rows.append((device.title, duration(taken), duration(taken / devices), assumed,
                     f"{sum(size <= 1e9 * device.gigabytes for size in memory):,} in {device.gigabytes} GB"))
    return [f"  {line}" for line in aligned(rows)]
