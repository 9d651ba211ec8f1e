"""What is there of a study: its runs one by one, who works on them, and what they come to."""

import dataclasses
import datetime
import importlib
import statistics

from tfbench.cli import app, progress
from tfbench.errors import UserError
from tfbench.files import atomic, sharing
from tfbench.files.paths import Path
from tfbench.results import store
from tfbench.results.record import fits, images_per_second, summary
from tfbench.sweep import jobs
from tfbench.sweep.plan import Cost, duration
from tfbench.wording import count

STATES = ("finished", "running", "begun", "set aside", "not begun")
STALE = sharing.SEEN_WITHIN  # seconds after which what a study on Ray last wrote no longer tells what it does


@dataclasses.dataclass(frozen=True)
class State:
    """One planned run.

    Attributes:
      regime, network, dataset: what it is; variant: which point of a curve, "" without one. state: one of STATES.
      text: the same in words.
      accuracy: on the test split, of a finished run; best: on validation so far, of one that is begun; else None.
      fits, fits_done: trainings or regressions, the refit included. diverged: how many of those done.
      uncertified: how many regressions are not certified to be solved.
      seconds: what it took so far; estimate: what cli.plan expects of all of it.
      images_per_second: of its trainings, median; None where there are none.
      warnings: of its row.
      hosts: machine → {"fits", "seconds", "images_per_second": median or None} of what it did of that.
      checkpoint_bytes: on disk, of one that is not finished.
    """

    regime: str
    network: str
    dataset: str
    variant: str
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
    hosts: dict[str, dict]
    checkpoint_bytes: int

    @property
    def title(self) -> str:
        return jobs.title_of(self.regime, self.network, self.dataset, self.variant)


@app.gc_paused()
def states(results_dir, runs, work: dict) -> list[State]:
    """The state of every run of a study. Nothing is written.

    Args:
      runs: study.Run. work: of read_work.
    """
    found, weights, named = [], {}, {}
    for run in runs:
        module = importlib.import_module(f"tfbench.{run.regime}")
        jobs.use_weights(run, weights)
        spec = jobs.spec_of(module, run.options, named)
        row = jobs.row_of(module, run.options, spec)
        if row:
            jobs.keep_weights(run, spec, weights)
        folder = store.work_dir(results_dir, spec) if spec and not row else None
        found.append(state_of((run.regime, run.options.model, run.options.dataset, run.variant), run.cost, row, folder))
    return with_work(found, work)


def state_of(title: tuple[str, str, str, str], cost: Cost, row: dict | None, work: Path | None) -> State:
    """The state of a run, apart from whether it is being worked on.

    Args:
      title: regime, network, data set, variant. cost: of it (cli.plan).
      row: its row, or None while it is not finished. work: its work folder, None where that cannot be known.
    """
    begun = not row and work is not None and work.exists()
    trials = row["trials"] if row else _trials(work) if begun else []
    recorded = row or {"trials": trials}
    done = fits(recorded)
    best = max((trial.get("validation_accuracy") or 0 for trial in trials), default=None)
    text = jobs.title_of(*title)
    if row:
        text = summary(row)
    elif begun:
        so_far = f", {len(trials)} of {cost.fits} fits done, best {100 * best:.1f} %" if trials else ""
        text += f": begun{so_far}: the same command continues it"
    else:
        text += ": not begun"
    return State(
        *title, "finished" if row else "begun" if begun else "not begun", text, row["accuracy"] if row else None,
        None if row else best, cost.fits, cost.fits if row else len(trials),
        sum(bool(trial.get("diverged")) for trial in trials),
        sum(fit.get("certified") is False for fit in done),
        float(row["seconds"]) if row else float(sum(trial.get("seconds") or 0 for trial in trials)), cost.seconds,
        images_per_second(recorded), tuple(row["warnings"]) if row else (), _hosts(row, done),
        _checkpoint_bytes(work) if begun else 0)


def _trials(work: Path) -> list[dict]:
    """The trials recorded of an unfinished search; [] where one is damaged, or they are just being deleted."""
    try:
        return list(store.read_trials(work).values())
    except (FileNotFoundError, UserError):
        return []


def _hosts(row: dict | None, done: list[dict]) -> dict[str, dict]:
    """State.hosts of fits; what a row took beside its fits counts for the host that wrote it."""
    writer = row.get("host") if row else None
    fits_of, hosts = {}, {}
    for fit in done:
        if host := fit.get("host") or writer:
            fits_of.setdefault(host, []).append(fit)
    for host, own in fits_of.items():
        seconds = sum(fit.get("seconds") or 0 for fit in own)
        hosts[host] = {"fits": len(own), "seconds": seconds, "images_per_second": images_per_second({"trials": own})}
    if writer in hosts:
        hosts[writer]["seconds"] += max(row["seconds"] - sum(part["seconds"] for part in hosts.values()), 0)
    return hosts


def _checkpoint_bytes(work: Path) -> int:
    """Size of the checkpoints in a work folder; they come and go meanwhile."""
    try:
        return sum(path.stat().st_size for path in work.glob("*/checkpoints/*"))
    except FileNotFoundError:
        return 0


# ---- who works on it -----------------------------------------------------------------------------


def read_work(results_dir) -> dict:
    """Whether a study is at work in the folder, and what it does.

    Returns:
      {"at_work": "ray", "local" or None, "age": seconds since a study on Ray last wrote, None where none did,
      "report": what that was (sweep.executors.ray_cluster.Conductor), else None}.

    Raises:
      UserError: the file is damaged.
    """
    path = jobs.report_path(results_dir)
    report = atomic.read_json(path, cure="delete it") if path.exists() else None
    age = None
    if report:
        written = datetime.datetime.fromisoformat(report["written"])
        age = (datetime.datetime.now(datetime.timezone.utc) - written).total_seconds()
    live = report and not report["ended"] and age < STALE
    return {"at_work": "ray" if live else "local" if sharing.is_locked(results_dir) else None, "age": age,
            "report": report}


def with_work(found: list[State], work: dict) -> list[State]:
    """The states, with what read_work says: which runs are running, and which are set aside.

    Of a study in one process, the first run that is begun is the running one: they go in the plan's order.
    """
    titles = {state.title: place for place, state in enumerate(found) if state.state != "finished"}
    changes = {}
    if work["report"]:
        # A unit's title begins with its run's; what is running makes no less of what is set aside.
        for name, new in (("running", "running"), ("set_aside", "set aside")):
            for unit in work["report"][name] if name == "set_aside" or work["at_work"] == "ray" else ():
                words = unit["title"].split(" ")
                place = next((titles[title] for end in range(len(words), 0, -1)
                              if (title := " ".join(words[:end])) in titles), None)
                if place is not None:  # of the reasons the first, the others follow from it
                    changes[place] = new, changes.get(place, (None, None))[1] or unit.get("reason")
    begun = [place for place, state in enumerate(found) if state.state == "begun"]
    if work["at_work"] == "local" and begun:
        changes[begun[0]] = "running", None
    for place, (new, reason) in changes.items():
        text = found[place].text.removesuffix(": the same command continues it").removesuffix(": not begun")
        found[place] = dataclasses.replace(found[place], state=new,
                                           text=f"{text}: {new}" + (f": {reason}" if reason else ""))
    return found


def work_lines(work: dict) -> list[str]:
    """What read_work found, in words."""
    report = work["report"]
    if work["at_work"] == "local":
        return ["a study is at work in this folder, in one process"]
    if not report:
        return []
    ago = progress.duration(max(work["age"], 0))
    if work["at_work"] != "ray" and not report["ended"]:
        return [f"stale: a study on Ray was at work, but wrote nothing for {ago} and did not end by itself; the same "
                "command continues it"]
    if report["ended"]:
        return [f"a study on Ray ended {ago} ago"]
    now = datetime.datetime.now(datetime.timezone.utc)
    said = []
    for unit in report["running"]:
        since = (now - datetime.datetime.fromisoformat(unit["since"])).total_seconds()
        said.append(f"running: {unit['title']} on {unit['host']} for {progress.duration(max(since, 0))}")
    said += [f"again: {unit['title']} failed and is tried again: {unit['reason']}" for unit in report["again"]]
    where = f"; Ray's dashboard: {report['dashboard']}" if report["dashboard"] else ""
    return [*said, f"a study is at work on Ray: {len(report['running']):,} units running, {report['done']:,} of "
            f"{report['of']:,} done since it was started, as of {ago} ago{where}"]


# ---- what it comes to ----------------------------------------------------------------------------


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
        "hours_spent": sum(state.seconds for state in states) / 3600, "hours_left": left / 3600,
        "checkpoint_bytes": sum(state.checkpoint_bytes for state in states)}


def by_host(states: list[State]) -> dict[str, dict]:
    """Machine → {"fits", "hours", "share": of all hours whose machine is known, "images_per_second": median over runs
    of what it trained, None without}."""
    parts = {}
    for state in states:
        for host, part in state.hosts.items():
            parts.setdefault(host, []).append(part)
    all_seconds = sum(part["seconds"] for found in parts.values() for part in found)
    hosts = {}
    for host in sorted(parts):
        seconds = sum(part["seconds"] for part in parts[host])
        speeds = [part["images_per_second"] for part in parts[host] if part["images_per_second"]]
        hosts[host] = {"fits": sum(part["fits"] for part in parts[host]), "hours": seconds / 3600,
                       "share": seconds / all_seconds if all_seconds else 0.0,
                       "images_per_second": statistics.median(speeds) if speeds else None}
    return hosts


def lines(states: list[State], caches: list[str], work: dict) -> list[str]:
    """One line per run, per host and per folder of cached features, who works on it, then what it comes to."""
    found = totals(states)
    said = [f"[{number}/{len(states)}] {state.text}" for number, state in enumerate(states, start=1)]
    for state in states:
        said += [f"warning: {state.regime} {state.network} {state.dataset}: {text}" for text in state.warnings]
    said += [f"features {line}" for line in caches]
    if found["checkpoint_bytes"]:
        said.append(f"checkpoints of what is not finished: {found['checkpoint_bytes'] / 1e6:,.1f} MB")
    for host, part in by_host(states).items():
        speed = f"{part['images_per_second']:,.0f} images/s in training, " if part["images_per_second"] else ""
        said.append(f"host {host}: {count(part['fits'], 'fit')}, {speed}{100 * part['share']:.0f} % of the time spent")
    said += work_lines(work)
    others = "".join(f", {found[name.replace(' ', '_')]:,} {name}" for name in STATES[1:]
                     if name == "begun" or found[name.replace(" ", "_")])
    at_once = len(work["report"]["running"]) if work["at_work"] == "ray" else 1
    shared = f" ({duration(3600 * found['hours_left'] / at_once)} with {at_once} units at a time)" * (at_once > 1)
    left = f"about {duration(3600 * found['hours_left'])} left{shared}" if found["hours_left"] else "nothing left"
    said.append(f"{found['finished']:,} of {count(len(states), 'run')} finished{others}, {found['fits_done']:,} of "
                f"{count(found['fits'], 'fit')}; {duration(3600 * found['hours_spent'])} of device time spent, {left}")
    for number, what in ((found["diverged"], "trial that diverged, it counts as the worst"),
                         (found["uncertified"], "regression that is not certified to be solved")):
        if number:
            said.append(f"warning: {number:,} × a {what}")
    return said


def as_json(states: list[State], caches: list[str], work: dict) -> dict:
    """The same as plain values."""
    return {"totals": totals(states), "features": caches, "hosts": by_host(states), "work": work,
            "runs": [vars(state) for state in states]}
