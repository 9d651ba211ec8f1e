"""Successive halving over a grid: learning rates in short trainings, then in full ones, then weight decays.

1. Every learning rate, at the middle weight decay, is trained for a tenth of the steps.
2. The best two, of two the better one, are trained in full, at the middle weight decay.
3. The better one is trained in full at every other weight decay.

The best of the full trainings counts. Jamieson and Talwalkar (arXiv 1502.07943) let single points go on. Here it is
learning rates: what one is worth shows early, up to its neighbour, while short trainings choose among weight decays by
chance (docs/measurements.md), as what a weight decay takes from the weights grows with the number of steps. In each
step it takes the same share at every learning rate, by which it is divided: so one can be chosen after the other.

Each rung trains its points anew, by a schedule that ends with it: finished short trainings are compared. (To continue
the long training, whose learning rate has hardly fallen by then, favours small rates.) The full trainings are those of
the full grid, bit for bit.

Trials are numbered through the rungs, from 1: one number for each point of the grid in the first rung, then in the
second, and so on. A search of the full grid has one rung.

A rung's trials are all finished before any goes on, so the choice does not depend on which machine was done first.
"""

from typing import NamedTuple

from tfbench.results import store

SHARE = 10  # the first rung's trials have one in so many of the steps


class Rung(NamedTuple):
    """Trainings that are compared.

    Attributes:
      steps: of each trial.
      trials: their number, if no two learning rates are equally good.
    """

    steps: int
    trials: int


def rungs(spec: dict) -> list[Rung]:
    """The rungs of a search, first to last.

    Args:
      spec: of a run (RunConfig.search_spec).
    """
    rates, steps = len(spec["learning_rate"]), spec["steps"]
    if spec["search"] == "grid" or rates == 1:
        return [Rung(steps, points_of(spec))]
    others = len(spec["weight_decay"]) - 1
    return [Rung(max(steps // SHARE, 1), rates), Rung(steps, _finalists(spec)), *[Rung(steps, others)] * (others > 0)]


def _finalists(spec: dict) -> int:
    """How many learning rates are trained in full."""
    return min(2, len(spec["learning_rate"]) - 1)


def points_of(spec: dict) -> int:
    """Number of points of a search's grid; `spec` as of rungs."""
    return len(spec["learning_rate"]) * len(spec["weight_decay"])


def steps_left(spec: dict, trials: dict[int, dict]) -> int:
    """About how many steps of a search are left; `trials` are those that are finished, by number."""
    return max(sum(rung.steps * rung.trials for rung in rungs(spec)) - _total_steps(trials.values()), 0)


def _total_steps(trials) -> int:
    return sum(trial["steps"] for trial in trials)


def entrants(trials: dict[int, dict], rung: int, spec: dict) -> list[int]:
    """Numbers of a rung's trials, ascending.

    Args:
      trials: finished ones by number, with all of the rung before.
      rung: from 0.
      spec: as of rungs.
    """
    numbers, points, decays = candidates(rung, spec), points_of(spec), len(spec["weight_decay"])
    if rung == 0:
        return numbers
    before = {number: trials[number]["validation_accuracy"] for number in entrants(trials, rung - 1, spec)}
    rates = {(number - 1) % points // decays for number in best(before, _finalists(spec) if rung == 1 else 1)}
    return [number for number in numbers if (number - 1) % points // decays in rates]


def candidates(rung: int, spec: dict) -> list[int]:
    """Numbers of all trials that may come into a rung, ascending; `rung` and `spec` as of entrants."""
    points, decays = points_of(spec), len(spec["weight_decay"])
    numbers = range(rung * points + 1, (rung + 1) * points + 1)
    if len(rungs(spec)) == 1:
        return list(numbers)
    return [number for number in numbers if ((number - 1) % decays == decays // 2) == (rung < 2)]


def rung_of(number: int, points: int) -> int:
    """The rung of a trial's number, from 0."""
    return (number - 1) // points


def best(accuracies: dict[int, float], count: int = 1) -> list[int]:
    """Numbers of the best `count` trials, ascending, and of those as good as the last of them: no order decides.

    Args:
      accuracies: on validation, by the trial's number.
    """
    least = sorted(accuracies.values())[-count]
    return sorted(number for number, accuracy in accuracies.items() if accuracy >= least)


def is_not_needed(spec: dict, work, number: int) -> bool:
    """Whether a trial is finished, or its point did not get into its rung.

    Args:
      work: the run's work folder, which has the results of all trials of the rungs before.
      number: of the trial.

    Raises:
      UserError: these results are not there (store.await_trials).
    """
    points, done = points_of(spec), store.read_trials(work, spec)
    if number in done:
        return True
    for rung in range(rung_of(number, points)):
        done = store.await_trials(work, entrants(done, rung, spec), spec)
    return number not in entrants(done, rung_of(number, points), spec)


def facts(trials: list[dict], spec: dict) -> dict:
    """What records say of a search: its kind, the steps that it took, and those that the full grid takes."""
    return {"kind": spec["search"], "steps": _total_steps(trials), "grid_steps": points_of(spec) * spec["steps"]}
