"""Curves of accuracy against training steps (v3, section 4.6) and against training examples per class (4.7).

Along a curve nothing else differs: a regime's curves are those of its largest grid and batch size that has any, as the
main table is (stats/budgets.py). With few examples the number of steps follows that of the examples, so on a data set
each number of examples has its largest.
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import REGIMES
from tfbench.results.titles import dataset_title, network_title, parse_sized
from tfbench.stats import budgets
from tfbench.stats.budgets import Run
from tfbench.stats.correlation import named_logit, training_images
from tfbench.wording import count, either

CONVERGENCE = "Test accuracy in % by training steps. Each number of steps is a run of its own, searched for anew."
SPEED = ("Steps and epochs after which the odds are 90 % of the curve's best, interpolated between its points: "
         "log-odds along log steps. An epoch is a pass over the training and validation images of the final training.")
FEW_EXAMPLES = "Test accuracy in % by training examples per class: mean over subsets ± standard error of that mean."
SHARE = 0.9  # of the best odds (v3 section 4.6)
LEAST_POINTS = 3  # of a curve that tells how fast it rises
CATALOGS = {"regime": list(REGIMES), "network": list(NETWORKS), "dataset": list(DATASETS)}  # column -> order of names


def convergence(runs: list[Run]) -> pd.DataFrame:
    """Accuracies of the cells that were trained for two or more numbers of steps, on all training examples.

    Args:
      runs: no two alike (budgets.unique); regimes without steps, pretraining and custom features are left out.

    Returns:
      A row per cell and number of steps, in the order of the catalogs: regime, network, dataset, steps, accuracy
      (test, fraction), n (test examples, <NA> where unknown) and epochs (passes over the training images, validation
      included; NaN where their number is unknown).
    """
    return _ordered([{**_cell(run), "steps": run.budget.steps, "accuracy": run.record["accuracy"],
                      "n": run.record.get("n_test"), "epochs": _epochs(run)} for run in _over_steps(runs)],
                    {"steps": int, "accuracy": float, "n": "Int64", "epochs": float})


def speeds(lines: pd.DataFrame) -> pd.DataFrame:
    """How fast each curve of `convergence` rises, those of LEAST_POINTS or more.

    Returns:
      regime, network, dataset, points, best (accuracy, fraction), steps and epochs at which the curve first has SHARE
      of the best odds, and at_first: whether its first point has, so that fewer steps may do.

    Raises:
      UserError: an accuracy of exactly 0 or 1 with an unknown number of examples.
    """
    made = []
    for cell, curve in lines.groupby(list(CATALOGS), sort=False):
        if len(curve) < LEAST_POINTS:
            continue
        steps = curve["steps"].to_numpy(float)
        n = curve["n"].to_numpy(float, na_value=np.nan)
        x = named_logit(curve["accuracy"].to_numpy()[None], n[None], cell[1:2], [cell[2]] * len(curve))[0]
        enough = x.max() + np.log(SHARE)
        first = int(np.argmax(x >= enough))
        reached = steps[first]
        if first:
            share = (enough - x[first - 1]) / (x[first] - x[first - 1])
            reached = np.exp(np.log(steps[first - 1]) * (1 - share) + np.log(steps[first]) * share)
        epochs = reached * float((curve["epochs"] / steps).iloc[0])
        made.append((*cell, len(curve), curve["accuracy"].max(), reached, epochs, first == 0))
    return pd.DataFrame(made, columns=[*CATALOGS, "points", "best", "steps", "epochs", "at_first"])


def speed(of_curves: pd.DataFrame) -> pd.DataFrame:
    """`speeds` by regime: geometric means over the networks and data sets on which all its regimes have a curve.

    Returns:
      regime, curves (their number), steps, epochs, and the quartiles steps_low, steps_high, epochs_low, epochs_high;
      ratio: times the steps of the fastest regime. Epochs are NaN unless known of all.
    """
    keys = ["network", "dataset"]
    regimes = in_order(of_curves["regime"], "regime")
    shared = of_curves[of_curves.groupby(keys)["regime"].transform("size").eq(len(regimes))]
    lines = []
    for regime in regimes:
        cells = shared[shared["regime"] == regime]
        if len(cells):
            line = {"regime": regime, "curves": len(cells)}
            for name in ("steps", "epochs"):
                values = np.log(cells[name].to_numpy(float))
                line |= {name: np.exp(values.mean())} | dict(zip(
                    (f"{name}_low", f"{name}_high"), np.exp(np.percentile(values, (25, 75))), strict=True))
            lines.append(line)
    frame = pd.DataFrame(lines, columns=["regime", "curves", "steps", "steps_low", "steps_high", "epochs", "epochs_low",
                                         "epochs_high"])
    return frame.assign(ratio=frame["steps"] / frame["steps"].min())


def too_short(lines: pd.DataFrame) -> list[str]:
    """What is missing of the curves of `convergence` that `speeds` leaves out, in a line."""
    sizes = lines.groupby(list(CATALOGS), sort=False).size()
    short = sizes[sizes < LEAST_POINTS]
    if not len(short):
        return []
    regime, network, dataset = short.index[0]
    return [f"how fast training converges is not told by {count(len(short), 'curve')} of {LEAST_POINTS - 1} points, "
            f"first {REGIMES[regime].title} of {network_title(network)} on {dataset_title(dataset)}: expected "
            f"{LEAST_POINTS} or more, add numbers of steps with --steps_curve"]


def few_examples(runs: list[Run]) -> pd.DataFrame:
    """Mean test accuracy of the cells that were trained on a few examples per class, over choices of these examples.

    Accuracies themselves are averaged, not their log-odds.

    Args:
      runs: no two alike (budgets.unique); pretraining and custom features are left out.

    Returns:
      A row per cell and number of examples, in the order of the catalogs: regime, network, dataset,
      examples_per_class, mean (fraction), standard_error (of the mean: sample standard deviation over subsets / root
      of their number; NaN for one), subsets (their number), n (test examples, <NA> where unknown). Subsets that are the
      whole training set are one.
    """
    few, points = _on_few_examples(runs), defaultdict(list)
    whole = {(run.record["dataset"], run.examples_per_class) for run in few if _is_whole(run)}
    for run in few:
        points[run.cell, run.examples_per_class].append(run)
    lines = []
    for (_, examples), group in points.items():
        if (group[0].record["dataset"], examples) in whole:
            group = group[:1]
        accuracies = [run.record["accuracy"] for run in group]
        error = np.std(accuracies, ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan
        lines.append({**_cell(group[0]), "examples_per_class": examples, "mean": np.mean(accuracies),
                      "standard_error": error, "subsets": len(group), "n": group[0].record.get("n_test")})
    return _ordered(lines, {"examples_per_class": int, "mean": float, "standard_error": float, "subsets": int,
                            "n": "Int64"})


def left_out(runs: list[Run]) -> list[str]:
    """What of `runs`, no two alike, the main table leaves out: per regime what it has instead, and an item per grid."""
    kept, others = budgets.split(runs)
    drawn = {id(run) for run in (*_over_steps(runs), *_on_few_examples(runs))}
    groups = defaultdict(list)
    for run in others:
        groups[run.regime, run.has_all_examples, run.budget.grid, id(run) in drawn].append(run)
    items = []
    for regime in in_order({run.regime for run in others}, "regime"):
        title, instead = REGIMES[regime].title, [run for run in kept if run.regime == regime]
        if instead:
            items.append(f"{title}: the table has {count(len(instead), 'row')} with {instead[0].budget.text}")
        for group in sorted((group for group in groups if group[0] == regime), reverse=True):
            items.append(f"{title}: left out of the table: {_described(groups[group])} "
                         f"({'drawn as curves' if group[-1] else 'in no curve either'})")
    return items


def in_order(names, column: str) -> list[str]:
    """The different ones of `names` in the order of the catalog that `column` refers to, unknown ones at the end."""
    return sorted(set(names), key=lambda name: _rank(name, column))


def _described(runs: list[Run]) -> str:
    """How many runs, on how many examples and of which budget; they share a grid, on few or on all examples."""
    examples = sorted({run.examples_per_class for run in runs if run.examples_per_class})
    steps = sorted({run.budget.steps for run in runs if run.budget.steps})
    text = count(len(runs), "row")
    if examples:
        text += f" on {either(f'{n:,}' for n in examples)} {'example' if examples == [1] else 'examples'} per class"
    text += " with "
    if steps:
        text += f"{either(f'{n:,}' for n in steps)} {'step' if steps == [1] else 'steps'}, "
    return text + runs[0].budget.grid.text


def _over_steps(runs: list[Run]) -> list[Run]:
    """The runs of `convergence`."""
    curves = defaultdict(list)
    for run in runs:
        if run.is_transfer and run.has_all_examples and run.budget.steps:
            curves[run.cell, run.budget.grid].append(run)
    return budgets.of_largest([run for curve in curves.values() if len(curve) > 1 for run in curve],
                              lambda run: run.budget.grid)


def _on_few_examples(runs: list[Run]) -> list[Run]:
    """The runs of `few_examples`."""
    few = [run for run in runs if run.is_transfer and not run.has_all_examples]
    few = budgets.of_largest(few, lambda run: run.budget.grid)
    points = defaultdict(list)
    for run in few:
        points[run.record["dataset"], run.examples_per_class].append(run)
    kept = {id(run) for group in points.values() for run in budgets.of_largest(group, lambda run: run.budget)}
    return [run for run in few if id(run) in kept]


def _epochs(run: Run) -> float:
    """Passes over all training images; NaN where the number of these or of images in a step is unknown."""
    images = (run.record.get("refit") or {}).get("images") or training_images(run.record["dataset"])
    return run.budget.steps * run.budget.batch_size / images if images and run.budget.batch_size else np.nan


def _is_whole(run: Run) -> bool:
    """Whether its record tells that the subset is the whole training set, with or without validation."""
    images, dataset = (run.record.get("refit") or {}).get("images"), DATASETS.get(run.record["dataset"])
    return dataset is not None and images in (dataset.train, dataset.train + dataset.validation)


def _cell(run: Run) -> dict[str, str]:
    return dict(zip(CATALOGS, run.cell, strict=True))


def _rank(name: str, column: str) -> tuple[int, str]:
    catalog, network = CATALOGS[column], parse_sized(name).network
    return (catalog.index(network) if network in catalog else len(catalog), name)


def _ordered(lines: list[dict], types: dict) -> pd.DataFrame:
    """A table of CATALOGS' columns and those of `types`, sorted by catalog and then by the first of `types`."""
    along = next(iter(types))
    ordered = sorted(lines, key=lambda line: ([_rank(line[column], column) for column in CATALOGS], line[along]))
    return pd.DataFrame(ordered, columns=[*CATALOGS, *types]).astype(types)
