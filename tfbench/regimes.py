"""REGIMES: the one table of the paper's three ways to transfer. To add a regime, add a row (CONTRIBUTING.md)."""

import dataclasses

from tfbench import paper


@dataclasses.dataclass(frozen=True)
class Regime:
    """A kind of run: one of the paper's three regimes, or the pretraining before them.

    Attributes:
      name: of the program and in records.
      title: in figures and tables.
      color, hatch: of its marks and bars in figures.
      pretrained: whether it starts from pretrained weights.
      search: the paper's search, where every point of a grid trains the whole network; else None.
    """

    name: str
    title: str
    color: str
    hatch: str
    pretrained: bool
    search: paper.Search | None = None


# Colours: Okabe and Ito's palette, which colour-blind readers can tell apart. The order is that of figure 2.
REGIMES = {regime.name: regime for regime in (
    Regime("logistic_regression", "logistic regression", "#0072b2", "", pretrained=True),
    Regime("finetune", "fine-tuning", "#d55e00", "////", pretrained=True, search=paper.FINE_TUNING),
    Regime("train_from_scratch", "training from scratch", "#009e73", "....", pretrained=False,
           search=paper.FROM_SCRATCH),
)}
PRETRAIN = Regime("pretrain", "pretraining", "#666666", "", pretrained=False)
RUNS = {PRETRAIN.name: PRETRAIN, **REGIMES}  # every kind of run that leaves a record
