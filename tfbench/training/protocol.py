"""The paper's numbers for training, as pure functions (v3 section 3.2 and appendix A.5)."""

import math

MOMENTUM = 0.9  # Nesterov


def cosine(step: float, steps: int) -> float:
    """Factor of the initial learning rate at `step` of `steps`: 1 at the start, 0 at the end."""
    return 0.5 * (1.0 + math.cos(math.pi * step / steps))


def batch_norm_momentum(train_images: int, batch_size: int) -> float:
    """Decay of the batch-norm statistics: max(1 - 10/s, 0.9), s steps per epoch."""
    return max(1.0 - 10.0 * batch_size / train_images, 0.9)


def log_spaced(first: float, last: float, number: int) -> tuple[float, ...]:
    """`number` values from first to last, equally spaced in the logarithm, rounded to 6 digits."""
    exponents = (math.log10(first) + i * math.log10(last / first) / (number - 1) for i in range(number))
    return tuple(float(f"{10.0 ** exponent:.6g}") for exponent in exponents)
