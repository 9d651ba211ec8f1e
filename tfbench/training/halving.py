"""Successive halving over a grid: all points get a part of the steps, the best of them more, a few all of them.

Each *rung* trains the points that got so far anew, by a schedule that ends with it: what is compared is finished short
trainings. (To go on with the long one, whose learning rate has hardly fallen by then, favours small rates.) The last
rung's trials are those of the full grid, bit for bit. A trial's number counts through the rungs: those of the grid's
points in the first rung, then in the second, and so on; a search of the full grid has one rung.

Which points go on, Optuna decides (Jamieson and Talwalkar, arXiv 1502.07943; Optuna's SuccessiveHalvingPruner). It
judges a trial against those that reported before it; here all of a rung report before one is judged, so that the
choice does not depend on which machine was done first.
"""

import math

from tfbench.results import store

FACTOR = 3  # of the points, one in so many goes on, with so many times the steps
RUNGS = 3  # at most: a ninth, a third and all of the steps


def rungs(spec: dict) -> dict[int, int]:
    """Steps of a trial in each rung of a search, ascending -> how many trials it has, no two being equally good.

    Args:
      spec: what of a run's specification names its search: search, steps, learning_rate, weight_decay.
    """
    points, steps = points_of(spec), spec["steps"]
    number = 1 if spec["search"] == "grid" else min(RUNGS, 1 + math.ceil(math.log(points, FACTOR)))
    lengths = sorted({max(steps // FACTOR ** rung, 1) for rung in range(number)})
    return {length: max(points // FACTOR ** rung, 1) for rung, length in enumerate(lengths)}


def points_of(spec: dict) -> int:
    """How many points the grid of a search has; `spec` as of rungs."""
    return len(spec["learning_rate"]) * len(spec["weight_decay"])


def steps_left(spec: dict, trials: dict[int, dict]) -> int:
    """Steps of the trials of a search that are not among `trials`, about."""
    return max(sum(steps * number for steps, number in rungs(spec).items()) - _steps(trials.values()), 0)


def _steps(trials) -> int:
    return sum(trial["steps"] for trial in trials)


def entrants(trials: dict[int, dict], rung: int, points: int) -> list[int]:
    """Numbers of the trials of a rung, from 0.

    Args:
      trials: by number, with all that ran in the rung before.
      points: of the grid.
    """
    if rung == 0:
        return list(range(1, points + 1))
    before = {number: trial["validation_accuracy"] for number, trial in trials.items() if rung_of(number, points) ==
              rung - 1}
    return [number + points for number in survivors(before)]


def rung_of(number: int, points: int) -> int:
    """The rung of a trial, from 0."""
    return (number - 1) // points


def survivors(scores: dict[int, float]) -> list[int]:
    """Of the trials of a rung those that go on: the best one in FACTOR, with all that equal the worst of these.

    Args:
      scores: validation accuracies by the trial's number.
    """
    import optuna  # takes half a second

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)

    def goes_on(number: int) -> bool:
        study = optuna.create_study(direction="maximize", pruner=pruner)
        for reporting in (*(other for other in scores if other != number), number):
            trial = study.ask()
            trial.report(scores[reporting], step=1)
            pruned = trial.should_prune()
        return not pruned

    return [number for number in sorted(scores) if goes_on(number)]


def is_not_needed(spec: dict, work, number: int) -> bool:
    """Whether a trial is recorded, or never to be run because its point did not come so far.

    Args:
      work: the run's work folder, in which all trials of the rungs before are recorded.

    Raises:
      UserError: they are not seen there (store.await_trials).
    """
    points, done = points_of(spec), store.read_trials(work)
    if number in done:
        return True
    for rung in range(rung_of(number, points)):
        done = store.await_trials(work, entrants(done, rung, points))
    return number not in entrants(done, rung_of(number, points), points)


def facts(trials: list[dict], spec: dict) -> dict:
    """What a row tells of its search: kind, steps that its trials took, and those that the full grid takes."""
    return {"kind": spec["search"], "steps": _steps(trials), "grid_steps": points_of(spec) * spec["steps"]}
