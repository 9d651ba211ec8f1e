"""Which runs may stand side by side: those of one budget per regime, on all training examples.

One cell (regime, network, data set) can have many runs: with other numbers of steps, on coarser grids, on a few
examples per class. A table that mixed them would compare what was spent, not networks. So each regime's table takes the
runs of one budget, the largest, and leaves out the rest (stats/curves.py draws some of that).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tfbench.config import HALVING, RUNGS
from tfbench.errors import UserError
from tfbench.models.catalog import CUSTOM_FEATURES, NETWORKS
from tfbench.regimes import PRETRAIN, REGIMES
from tfbench.results.record import Record, check_same_outcome
from tfbench.results.titles import at_size, record_label
from tfbench.wording import count

HALVED, EARLIER, WHOLE = 1, 2, 3  # values of Budget.whole


class Budget(NamedTuple):
    """What the runs of a regime may spend. Of two the larger, compared field by field, is the fuller one.

    Attributes (0 where a record does not say, or its regime has none):
      steps: of each trial; with successive halving, of the longest.
      whole: WHOLE where every point of the grid was trained in full; less by successive halving, which trained more by
        an earlier version's rungs than by today's.
      points: of the grid; logistic regression: strengths of L2 regularisation.
      learning_rates, weight_decays: how many of either.
      batch_size: images per step.
    """

    steps: int = 0
    whole: int = 0
    points: int = 0
    learning_rates: int = 0
    weight_decays: int = 0
    batch_size: int = 0

    @property
    def grid(self) -> "Budget":
        """The same but for the number of steps."""
        return self._replace(steps=0)

    @property
    def text(self) -> str:
        """In words, e.g. "12 steps, 2 learning rates × 1 weight decay, batches of 64 images"."""
        words = [count(self.steps, "step")] if self.steps else []
        if self.points and self.learning_rates:
            halving = {HALVED: " by successive halving",
                       EARLIER: " by an earlier version's successive halving"}.get(self.whole, "")
            words.append(f"{count(self.learning_rates, 'learning rate')} × "
                         f"{count(self.weight_decays, 'weight decay')}{halving}")
        elif self.points:
            words.append(count(self.points, "L2 strength"))
        if self.batch_size:
            words.append(f"batches of {count(self.batch_size, 'image')}")
        return ", ".join(words) or "unknown budget"


class Run(NamedTuple):
    """A record beside what it may spend and which training examples it had.

    Attributes:
      record: as store.read_records gives it.
      budget: empty where the regime is none of REGIMES.
      examples_per_class, subset_seed: of few-example training; None where it had all examples.
    """

    record: Mapping[str, Any]
    budget: Budget
    examples_per_class: int | None
    subset_seed: int | None

    @property
    def regime(self) -> str:
        return self.record["regime"]

    @property
    def cell(self) -> tuple[str, str, str]:
        """Regime, network and data set."""
        return self.record["regime"], self.record["network"], self.record["dataset"]

    @property
    def is_transfer(self) -> bool:
        """Whether it is of a network's transfer: no pretraining, and no custom features, which have no network."""
        return self.regime in REGIMES and self.record["network"] != CUSTOM_FEATURES

    @property
    def has_all_examples(self) -> bool:
        return self.examples_per_class is None

    @property
    def text(self) -> str:
        """Budget and subset in words; "" where the record tells neither."""
        words = [self.budget.text] if any(self.budget) else []
        if self.examples_per_class is not None:
            words.append(f"{count(self.examples_per_class, 'example')} per class")
        if self.examples_per_class is not None and self.subset_seed is not None:
            words.append(f"subset {self.subset_seed}")
        return ", ".join(words)


def budget(record: Mapping[str, Any]) -> Budget:
    """The budget that a record's specification tells; of a transfer regime only, others have an empty one."""
    spec = record.get("spec") or {}
    if record["regime"] not in REGIMES:
        return Budget()
    rates, decays, strengths = (len(spec.get(name) or ()) for name in ("learning_rate", "weight_decay", "l2"))
    if not REGIMES[record["regime"]].search:
        return Budget(points=strengths)
    whole = WHOLE
    if spec.get("search") == HALVING:
        whole = HALVED if spec.get("rungs") == RUNGS else EARLIER
    points = rates * decays
    return Budget(spec.get("steps") or 0, whole if points else 0, points, rates, decays, spec.get("batch_size") or 0)


def runs_of(records: Iterable[Mapping[str, Any]]) -> list[Run]:
    """Every record, its network named by `by_size`, with its budget and subset, in order."""
    specs = [(record, record.get("spec") or {}) for record in by_size(list(records))]
    return [Run(record, budget(record), spec.get("examples_per_class"), spec.get("subset_seed"))
            for record, spec in specs]


def by_size(records: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records, those of a network at another image size than its usual one under a name of their own.

    As in v3's figure 6, "Inception v4 @ 448 px" stands beside Inception v4. The usual size is the one at which the
    records say that the network was pretrained, else that of its source accuracy, else its ImageNet size. A network
    whose transfers are all of one size keeps its name.
    """
    sizes: dict[str, set[int]] = defaultdict(set)  # network -> of its transfers
    pretrained: dict[str, int] = {}
    measured: dict[str, int] = {}
    own = {name: network.image_size for name, network in NETWORKS.items()}
    for record in records:
        network, size = record["network"], _image_size(record)
        if record["regime"] == PRETRAIN.name and size:
            pretrained[network] = size
        elif record["regime"] in REGIMES and size:
            sizes[network].add(size)
        for facts, known in ((record.get("source"), measured), (record.get("own_network"), own)):
            if isinstance(facts, Mapping) and facts.get("image_size"):
                known[network] = facts["image_size"]
    usual = own | measured | pretrained
    named = []
    for record in records:
        network, size = record["network"], _image_size(record)
        if record["regime"] in REGIMES and size and len(sizes[network]) > 1 and size != usual.get(network):
            name = at_size(network, size)
            record = dataclasses.replace(record, network=name) if isinstance(record, Record) else {
                **record, "network": name}
        named.append(record)
    return named


def _image_size(record: Mapping[str, Any]) -> int | None:
    return (record.get("spec") or {}).get("image_size")


def unique(runs: list[Run]) -> list[Run]:
    """`runs` without copies of the same one.

    Raises:
      UserError: two runs of one cell have the same budget and subset, so that neither is the fuller one; or two records
        of one run tell different outcomes.
    """
    first: dict[tuple, Run] = {}
    for run in runs:
        other = first.setdefault((*run.cell, *run[1:]), run)
        a, b = other.record, run.record
        if a is not b and (a["key"] != b["key"] or a.get("spec") != b.get("spec")):
            details = f" ({run.text})" if run.text else ""
            raise UserError(f"two different runs of {', '.join(run.cell)}{details}: {record_label(a)} and "
                            f"{record_label(b)}. Expected one: move the other one's files to another results folder")
        check_same_outcome(a, b)
    return list(first.values())


def split(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """The transfers among `runs` for the main table, and those left out of it; both keep their order.

    Kept are, of each regime, the runs on all training examples that have the regime's largest budget: most steps,
    then most grid points.
    """
    transfers = [run for run in runs if run.is_transfer]
    full = of_largest([run for run in transfers if run.has_all_examples], lambda run: run.budget)
    kept = set(map(id, full))
    return full, [run for run in transfers if id(run) not in kept]


def of_largest(runs: list[Run], budget_of: Callable[[Run], Budget]) -> list[Run]:
    """Those of each regime's runs that have its largest `budget_of(run)`."""
    largest: dict[str, Budget] = {}
    for run in runs:
        largest[run.regime] = max(budget_of(run), largest.get(run.regime, Budget()))
    return [run for run in runs if budget_of(run) == largest[run.regime]]
