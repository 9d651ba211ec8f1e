"""The paper's settings: the programs' defaults, and what rows compare themselves with to declare deviations.

Kornblith, Shlens and Le, arXiv 1805.08974v3; "of ours" marks what it does not say.
"""

import functools
import math
from typing import NamedTuple


def log_spaced(first: float, last: float, number: int) -> tuple[float, ...]:
    """`number` values from first to last, equally spaced in the logarithm, rounded to 6 digits."""
    exponents = (math.log10(first) + i * math.log10(last / first) / (number - 1) for i in range(number))
    return tuple(float(f"{10.0 ** exponent:.6g}") for exponent in exponents)


@functools.cache
def evenly_spaced_subset(values: tuple[float, ...], number: int) -> tuple[float, ...]:
    """`number` of the values, evenly spread from the first to the last; for one, the middle one."""
    if number == 1:
        return (values[len(values) // 2],)
    return tuple(values[round(i * (len(values) - 1) / (number - 1))] for i in range(number))


class FewExamples(NamedTuple):
    """How a search on few examples of each class differs (v3 section 4.7, figure 9; remembered, not printed there).

    Attributes:
      batch_size: images per step.
      steps, epochs: the longer of the two, epochs of the subset.
      divisor: of the learning rates.
    """

    batch_size: int
    steps: int
    epochs: int
    divisor: int

    def steps_on(self, images: int, batch_size: int) -> int:
        """Steps of each trial on a subset of so many images."""
        return max(self.steps, math.ceil(self.epochs * images / batch_size))


class Quick(NamedTuple):
    """The preset `quick` of a search, by the size of the training set; of ours.

    The paper's numbers are for thousands of images and a cluster. That the length follows the size of the set is
    BiT-HyperRule's idea (Kolesnikov et al., arXiv 1912.11370, section 3.3); batches of 64 are the paper's on few
    examples.

    Attributes:
      batch_size: images per step, less where there are fewer images.
      epochs: of the training images; fewer where they take more steps than the paper's.
      least_steps: of a small set, however many epochs they are.
      learning_rates, weight_decays: the grid, for batches of 64.
    """

    batch_size: int
    epochs: int
    least_steps: int
    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]

    def batch_on(self, images: int) -> int:
        """The largest power of two that is neither above batch_size nor above the number of training images."""
        return 1 << min(self.batch_size, images).bit_length() - 1

    def steps_on(self, images: int, batch_size: int, most: int) -> int:
        """Steps of each trial on so many training images; at most `most`."""
        return min(max(math.ceil(self.epochs * images / batch_size), self.least_steps), most)


class Search(NamedTuple):
    """A regime that trains the whole network (v3 appendix A.5).

    Attributes:
      steps: of each trial, read off the convergence figure.
      learning_rates: initial ones. weight_decays: each is divided by the learning rate before use.
      few: what is different on few examples.
      quick: what is different with --preset=quick.
    """

    steps: int
    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    few: FewExamples
    quick: Quick

    @property
    def size(self) -> tuple[int, int]:
        """How many learning rates and weight decays the grid has."""
        return len(self.learning_rates), len(self.weight_decays)

    def rates(self, few_examples: bool) -> tuple[float, ...]:
        """The learning rates of the grid."""
        return tuple(rate / self.few.divisor for rate in self.learning_rates) if few_examples else self.learning_rates


FINE_TUNING = Search(19531, log_spaced(1e-4, 1e-1, 7), (0.0, *log_spaced(1e-6, 1e-3, 7)),
                     FewExamples(batch_size=64, steps=1000, epochs=100, divisor=4),
                     # 26 epochs are 90 % of the best odds (CONVERGED)
                     Quick(batch_size=64, epochs=30, least_steps=100, learning_rates=(0.0025, 0.01, 0.04),
                           weight_decays=(0.0, 1e-4)))
FROM_SCRATCH = Search(78125, log_spaced(1e-3, 1.0, 7), log_spaced(1e-5, 10 ** -1.5, 8),
                      FewExamples(batch_size=16, steps=78125, epochs=200, divisor=1),
                      # a quarter of the 444 epochs of CONVERGED: to see where it stands, not to compete
                      Quick(batch_size=64, epochs=111, least_steps=400, learning_rates=(0.01, 0.03, 0.1),
                            weight_decays=(1e-4, 1e-3)))
BATCH_SIZE = 256  # of both
# Of the convergence curves (v3 section 4.6, figure 8), whose ticks are 5 million · 2^k examples: whole steps of 256.
# Each regime's go up to its own number.
CONVERGENCE_STEPS = tuple((20_000_000 // 256) >> halvings for halvings in range(10, -1, -1))
# Steps and epochs after which the odds are 90 % of the best, fine-tuned and trained from scratch (v3 section 4.6).
CONVERGED = ((1151, 26), (19531, 444))
MOMENTUM = 0.9  # of both, and of pretraining: Nesterov's (v3 section 3.2 and appendix A.5)
AUXILIARY_WEIGHT = 0.4  # of the auxiliary classifier's loss, as in the original networks
MIN_CROP_AREA = 0.08  # of ours: as in Inception's training
# Most examples of each class in the few-example curves, which begin with 1, 2, 4, … (v3 figure 9, digitised). 102
# Flowers and Caltech-101 end with all that their classes have.
MOST_EXAMPLES = {"food101": 512, "cifar10": 4096, "cifar100": 256, "birdsnap": 64, "sun397": 32, "cars": 16,
                 "aircraft": 32, "dtd": 32, "pets": 64, "caltech101": 25, "flowers": 10}
SUBSETS = (0, 1, 2)  # seeds of the few-example curves' three random subsets (v3 section 4.7)

L2_STRENGTHS = log_spaced(1e-6, 1e5, 45)  # of L2 regularisation in logistic regression (v3 section 3.1)

# Training on ImageNet (v3 appendix): a setting is any part of it, by the name of pretrain's flag.
PRETRAINING = {
    "batch_size": 4096, "epochs": 300.0, "learning_rate": 1.6, "weight_decay": 8e-5, "warmup_epochs": 10.0,
    "decay_per_epoch": 0.975, "ema": 0.9999,
    "bn_scale": True, "label_smoothing": 0.0, "dropout": False, "auxiliary_head": False,
}
PRETRAINING_SWITCHES = ("bn_scale", "label_smoothing", "dropout", "auxiliary_head")  # studied in v3 figures 3 and 5


def example_sizes(dataset: str) -> tuple[int, ...]:
    """Examples of each class in the few-example curve of a data set; KeyError where the paper has none."""
    most = MOST_EXAMPLES[dataset]
    return (*(2 ** power for power in range(most.bit_length()) if 2 ** power < most), most)


def batch_norm_momentum(train_images: int, batch_size: int) -> float:
    """Decay of the batch-norm statistics in a step: max(1 - 10/s, 0.9), s steps per epoch (v3 appendix A.5)."""
    return max(1.0 - 10.0 * batch_size / train_images, 0.9)
