"""--best=N: of a study's networks those that the finished logistic regressions on its data set rank first."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfbench.data.examples import find_dataset
from tfbench.data.lookup import get_dataset
from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.models.lookup import get_network
from tfbench.regimes import REGIMES
from tfbench.results import store
from tfbench.results.titles import dataset_title
from tfbench.stats import budgets
from tfbench.wording import count


def choose(options) -> tuple[tuple[str, ...], list[str]]:
    """The names of the networks, the best first, and lines on why these.

    They are ranked on validation, which the test images take no part in; of equal ones the cheaper comes first.

    Args:
      options: of the study program.

    Raises:
      UserError: there are several data sets, or no finished logistic regressions on this one.
    """
    if len(options.datasets) != 1:
        raise UserError(f"--best={options.best}: expected one data set, on which networks are ranked, found "
                        f"{len(options.datasets)}: name one with --datasets")
    dataset = get_dataset(options.datasets[0], options.data_dir, split_seed=options.split_seed,
                          metric=options.metric)
    prepared = find_dataset(dataset, options.data_dir)
    records = store.read_records(options.results_dir) if as_path(options.results_dir).is_dir() and prepared else []
    content = prepared.manifest["content"] if prepared else None
    accuracies = accuracies_of([record for record in records if record.metric == dataset.metric], dataset.name, content)
    rows = [(name, accuracies[name], get_network(name).multiply_adds) for name in options.models if name in accuracies]
    if not rows:
        raise UserError(f"--best={options.best}: expected finished logistic regressions on {dataset.name} in "
                        f"{options.results_dir}, found none of these {count(len(options.models), 'network')}: rank "
                        "them first, `python -m tfbench.study --flagfile=flags/choose.flags --datasets="
                        f"{options.datasets[0]}`, or correct --results_dir")
    chosen, left_out = split(rows, options.best)
    named = ", ".join(f"{name} ({100 * accuracies[name]:.1f} %)" for name in chosen)
    lines = [f"best {len(chosen)} of {count(len(rows), 'network')} by logistic regression, on the validation images of "
             f"{dataset_title(dataset.name)}: {named}"]
    if left_out:
        lines.append(f"as accurate as {chosen[-1]}, but not cheaper, and left out: {', '.join(left_out)}")
    if unranked := [name for name in options.models if name not in accuracies]:
        lines.append(f"not ranked, as their logistic regressions are not finished: {', '.join(unranked)}")
    return chosen, lines


def accuracies_of(records: Sequence[Mapping[str, Any]], dataset: str, content: str | None) -> dict[str, float]:
    """Network → validation accuracy of its regression, in [0, 1]: on all training images, with most strengths.

    Args:
      records: of a results folder. content: hash of the data set as it is now: records of other images are passed over.
    """
    alike = [record for record in records if record["regime"] in REGIMES and not REGIMES[record["regime"]].trains
             and record["dataset"] == dataset and (record["spec"].get("data") or {}).get("content") == content]
    runs, _ = budgets.split(budgets.unique(budgets.runs_of(alike)))
    return {run.record["network"]: run.record["validation_accuracy"] for run in runs}


def split(rows: list[tuple[str, float, float]], number: int) -> tuple[tuple[str, ...], list[str]]:
    """The `number` best networks, and those that are as accurate as the last of them.

    Args:
      rows: (name, accuracy, cost).
    """
    ordered = sorted(rows, key=lambda row: (-row[1], row[2]))
    last = ordered[:number][-1]
    return tuple(name for name, _, _ in ordered[:number]), [
        name for name, accuracy, _ in ordered[number:] if accuracy == last[1]]
