"""Which runs may stand side by side: those of one budget per regime, on all training examples.

One cell (regime, network, data set) can have many runs: with other numbers of steps, on coarser grids, on a few
examples per class. A table that took some of its cells from one and some from another would compare what was
spent, not networks. So each regime's table takes the runs of one budget, the largest; the rest is left out of it
(stats/curves.py draws some of that).
"""

import itertools
from typing import NamedTuple

from tfbench.errors import UserError
from tfbench.models.catalog import CUSTOM_FEATURES
from tfbench.regimes import REGIMES
from tfbench.results.titles import record_label
from tfbench.wording import count


class Budget(NamedTuple):
    """What the runs of a regime may spend. Of two the larger, compared field by field, is the fuller one.

    Attributes (0 where a row does not say, or its regime has none):
      steps: of each trial; with successive halving, of the longest.
      whole: 1 where every point of the grid was trained in full, 0 with successive halving.
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
        grid = (f"{count(self.learning_rates, 'learning rate')} × {count(self.weight_decays, 'weight decay')}"
                if self.learning_rates else count(self.points, "L2 strength"))
        grid += " by successive halving" * bool(self.learning_rates and not self.whole)
        parts = [count(self.steps, "step") if self.steps else "", grid if self.points else "",
                 f"batches of {count(self.batch_size, 'image')}" if self.batch_size else ""]
        return ", ".join(filter(None, parts)) or "unknown budget"


def budget(row: dict) -> Budget:
    """The budget that a row's specification tells; rows of a transfer regime only, others have an empty one."""
    spec = row.get("spec") or {}
    if row["regime"] not in REGIMES:
        return Budget()
    rates, decays, strengths = (len(spec.get(name) or ()) for name in ("learning_rate", "weight_decay", "l2"))
    if row["regime"] == "logistic_regression":
        return Budget(points=strengths)
    whole = int(rates * decays > 0 and spec.get("search") != "halving")
    return Budget(spec.get("steps") or 0, whole, rates * decays, rates, decays, spec.get("batch_size") or 0)


def subset(row: dict) -> tuple[int | None, int | None]:
    """(training examples per class, seed of their choice) of a row; (None, None) where it has all examples."""
    spec = row.get("spec") or {}
    return spec.get("examples_per_class"), spec.get("subset_seed")


def has_all_examples(row: dict) -> bool:
    """Whether a row was trained on all examples, not on a few per class."""
    return subset(row)[0] is None


def details(row: dict) -> str:
    """Budget and subset of a row in words; "" where it tells neither."""
    examples, seed = subset(row)
    few = [] if examples is None else [f"{count(examples, 'example')} per class" + (
        "" if seed is None else f", subset {seed}")]
    found = budget(row)
    return ", ".join(([found.text] if any(found) else []) + few)


def transfers(rows: list[dict]) -> list[dict]:
    """The rows of networks' transfers: no pretraining, and no features of the user's own, which have no network."""
    return [row for row in rows if row["regime"] in REGIMES and row["network"] != CUSTOM_FEATURES]


def unique(rows: list[dict]) -> list[dict]:
    """`rows` without copies of the same run.

    Raises:
      UserError: two runs of one cell have the same budget and subset, so that neither is the fuller one.
    """
    cells = {}
    for row in rows:
        other = cells.setdefault((row["regime"], row["network"], row["dataset"], budget(row), subset(row)), row)
        if other is not row and (other["key"] != row["key"] or other.get("spec") != row.get("spec")):
            said = f" ({found})" if (found := details(row)) else ""
            raise UserError(f"two different runs of {row['regime']}, {row['network']}, {row['dataset']}{said}: "
                            f"{record_label(other)} and {record_label(row)}. Expected one: move the other one's "
                            "files to another results folder")
    return list(cells.values())


def split(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """The transfers among `rows` for the main table, and those left out of it.

    Kept are, of each regime, the rows on all training examples that have the regime's largest budget: most steps,
    then most grid points. Both lists keep the order of `rows`.
    """
    rows = transfers(rows)
    full = largest([row for row in rows if has_all_examples(row)], budget)
    kept, left_out = [], []
    for row in rows:
        is_full = has_all_examples(row) and budget(row) == full[row["regime"]]
        (kept if is_full else left_out).append(row)
    return kept, left_out


def largest(rows: list[dict], budget_of) -> dict[str, Budget]:
    """Regime -> the largest `budget_of(row)` among its rows."""
    ordered = sorted(rows, key=lambda row: row["regime"])
    return {regime: max(map(budget_of, group))
            for regime, group in itertools.groupby(ordered, key=lambda row: row["regime"])}
