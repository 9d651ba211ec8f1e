"""Successive halving over a grid: every point gets a part of the steps, the best third more, a few all of them.

Jamieson and Talwalkar, arXiv 1502.07943. Each *rung* trains its points anew, by a schedule that ends with it: finished
short trainings are compared. (To continue the long training, whose learning rate has hardly fallen by then, favours
small rates.) The last rung's trials are those of the full grid, bit for bit.

Trials are numbered through the rungs, from 1: one number for each point of the grid in the first rung, then in the
second, and so on. A search of the full grid has one rung.

A rung's trials are all finished before any goes on, so the choice does not depend on which machine was done first.
"""

import math

from tfbench.results import store

FACTOR = 3  # one in so many points goes on to the next rung, which has so many times the steps
MAX_RUNGS = 3  # with a ninth, a third and all of the steps


def rungs(spec: dict) -> dict[int, int]:
    """The rungs of a search, first to last.

    Args:
      spec: of a run (results/record.py); search, steps, learning_rate and weight_decay are read.

    Returns:
      {steps of each trial of the rung: number of trials, if no two are equally good}.
    """
    points, steps, num_rungs = points_of(spec), spec["steps"], 1
    if spec["search"] != "grid":
        num_rungs = min(MAX_RUNGS, 1 + math.ceil(math.log(points, FACTOR)))
    rung_steps = sorted({max(steps // FACTOR ** rung, 1) for rung in range(num_rungs)})
    return {steps: max(points // FACTOR ** rung, 1) for rung, steps in enumerate(rung_steps)}


def points_of(spec: dict) -> int:
    """Number of points of a search's grid; `spec` as of rungs."""
    return len(spec["learning_rate"]) * len(spec["weight_decay"])


def steps_left(spec: dict, trials: dict[int, dict]) -> int:
    """About how many steps of a search are left; `trials` are those that are finished, by number."""
    return max(sum(steps * count for steps, count in rungs(spec).items()) - _total_steps(trials.values()), 0)


def _total_steps(trials) -> int:
    return sum(trial["steps"] for trial in trials)


def entrants(trials: dict[int, dict], rung: int, points: int) -> list[int]:
    """Numbers of a rung's trials, ascending.

    Args:
      trials: finished ones by number, with all of the rung before.
      rung: from 0.
      points: of the grid.
    """
    if rung == 0:
        return list(range(1, points + 1))
    accuracies = {number: trial["validation_accuracy"] for number, trial in trials.items()
                  if rung_of(number, points) == rung - 1}
    return [number + points for number in survivors(accuracies)]


def rung_of(number: int, points: int) -> int:
    """The rung of a trial's number, from 0."""
    return (number - 1) // points


def survivors(accuracies: dict[int, float]) -> list[int]:
    """The trials of a rung that go on: the best one in FACTOR, and all that equal the worst of these.

    Args:
      accuracies: on validation, by the trial's number.

    Returns:
      Their numbers, ascending.
    """
    best = sorted(accuracies.values(), reverse=True)[:max(len(accuracies) // FACTOR, 1)]
    return sorted(number for number, accuracy in accuracies.items() if accuracy in best)


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
        done = store.await_trials(work, entrants(done, rung, points), spec)
    return number not in entrants(done, rung_of(number, points), points)


def facts(trials: list[dict], spec: dict) -> dict:
    """What records say of a search: its kind, the steps that it took, and those that the full grid takes."""
    return {"kind": spec["search"], "steps": _total_steps(trials), "grid_steps": points_of(spec) * spec["steps"]}
