"""What is there of a study: its runs one by one, and what they come to."""

import dataclasses

from tfbench import UserError
from tfbench.cli.plan import Cost, duration
from tfbench.results import store
from tfbench.results.places import Place
from tfbench.results.row import fits, images_per_second, summary
from tfbench.stats.titles import count

STATES = ("finished", "begun", "not begun")


@dataclasses.dataclass(frozen=True)
class State:
    """One planned run.

    Attributes:
      regime, network, dataset: what it is. state: one of STATES.
      text: the same in words.
      accuracy: on the test split, of a finished run; best: on validation so far, of one that is begun; else None.
      fits, fits_done: trainings or regressions, the refit included. diverged: how many of those done.
      uncertified: how many regressions are not certified to be solved.
      seconds: what it took so far; estimate: what cli.plan expects of all of it.
      images_per_second: of its trainings, median; None where there are none.
      warnings: of its row.
    """

    regime: str
    network: str
    dataset: str
    state: str
    text: str
    accuracy: float | None
    best: float | None
    fits: int
    fits_done: int
    diverged: int
    uncertified: int
    seconds: float
    estimate: float
    images_per_second: float | None
    warnings: tuple[str, ...]


def state_of(title: tuple[str, str, str], cost: Cost, row: dict | None, work: Place | None) -> State:
    """The state of a run.

    Args:
      title: regime, network, data set. cost: of it (cli.plan).
      row: its row, or None while it is not finished. work: its work folder, None where that cannot be known.
    """
    begun = work is not None and work.exists()
    trials = row["trials"] if row else _trials(work) if begun else []
    recorded = row or {"trials": trials}
    best = max((trial.get("validation_accuracy") or 0 for trial in trials), default=None)
    text = " ".join(title)
    if row:
        text = summary(row)
    elif begun:
        so_far = f", {len(trials)} of {cost.fits} fits done, best {100 * best:.1f} %" if trials else ""
        text += f": begun{so_far}: the same command continues it"
    else:
        text += ": not begun"
    return State(
        *title, STATES[0] if row else STATES[1] if begun else STATES[2], text, row["accuracy"] if row else None,
        None if row else best, cost.fits, cost.fits if row else len(trials),
        sum(bool(trial.get("diverged")) for trial in trials),
        sum(fit.get("certified") is False for fit in fits(recorded)),
        float(row["seconds"]) if row else float(sum(trial.get("seconds") or 0 for trial in trials)), cost.seconds,
        images_per_second(recorded), tuple(row["warnings"]) if row else ())


def _trials(work: Place) -> list[dict]:
    """The trials recorded of an unfinished search; [] where one is damaged, or they are just being deleted."""
    try:
        return list(store.read_trials(work).values())
    except (FileNotFoundError, UserError):
        return []


def totals(states: list[State]) -> dict:
    """What the runs come to: numbers of each state, hours spent and left, and what to mind.

    Hours left are those that the plan expects of what is not finished, corrected by how long finished runs took.
    """
    finished = [state for state in states if state.state == "finished"]
    expected = sum(state.estimate for state in finished)
    pace = sum(state.seconds for state in finished) / expected if expected else 1.0
    left = sum(max(state.estimate * pace - state.seconds, 0) for state in states if state.state != "finished")
    counts = {name.replace(" ", "_"): sum(state.state == name for state in states) for name in STATES}
    return {"runs": len(states), **counts} | {
        name: sum(getattr(state, name) for state in states)
        for name in ("fits", "fits_done", "diverged", "uncertified")} | {
        "warnings": sum(len(state.warnings) for state in states),
        "hours_spent": sum(state.seconds for state in states) / 3600, "hours_left": left / 3600}


def lines(states: list[State], caches: list[str]) -> list[str]:
    """One line per run and per folder of cached features, then what they come to."""
    found = totals(states)
    said = [f"[{number}/{len(states)}] {state.text}" for number, state in enumerate(states, start=1)]
    for state in states:
        said += [f"warning: {state.regime} {state.network} {state.dataset}: {text}" for text in state.warnings]
    said += [f"features {line}" for line in caches]
    said.append(f"{found['finished']} of {count(len(states), 'run')} finished, {found['begun']} begun, "
                f"{found['fits_done']:,} of {count(found['fits'], 'fit')}; {duration(3600 * found['hours_spent'])} "
                f"spent, about {duration(3600 * found['hours_left'])} left")
    for number, what in ((found["diverged"], "trial that diverged, it counts as the worst"),
                         (found["uncertified"], "regression that is not certified to be solved")):
        if number:
            said.append(f"warning: {number:,} × a {what}")
    return said


def as_json(states: list[State], caches: list[str]) -> dict:
    """The same as plain values."""
    return {"totals": totals(states), "features": caches, "runs": [dataclasses.asdict(state) for state in states]}
