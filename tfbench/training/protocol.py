"""The paper's rules for training, as pure functions (v3 section 3.2 and appendix A.5)."""

import math

MOMENTUM = 0.9  # Nesterov
AUXILIARY_WEIGHT = 0.4  # of the auxiliary classifier's loss, as in the original networks


def cosine(step: float, steps: int) -> float:
    """Factor of the initial learning rate at `step` of `steps`: 1 at the start, 0 at the end."""
    return 0.5 * (1.0 + math.cos(math.pi * step / steps))


def warmup_decay(epoch: float, warmup_epochs: float, decay_per_epoch: float) -> float:
    """Factor of the learning rate in pretraining: from 0 linearly to 1, then a constant factor per epoch."""
    if epoch < warmup_epochs:
        return epoch / warmup_epochs
    return decay_per_epoch ** (epoch - warmup_epochs)


def batch_norm_momentum(train_images: int, batch_size: int) -> float:
    """Decay of the batch-norm statistics in a step: max(1 - 10/s, 0.9), s steps per epoch."""
    return max(1.0 - 10.0 * batch_size / train_images, 0.9)
