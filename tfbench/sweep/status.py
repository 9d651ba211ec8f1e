"""What is there of a study: its runs one by one, who works on them, and what they come to."""

import dataclasses
import datetime
import statistics
from typing import Any

from tfbench.cli import app
from tfbench.errors import UserError
from tfbench.files import atomic, sharing
from tfbench.files.paths import Path
from tfbench.regimes import RUNS
from tfbench.results import store
from tfbench.results.record import Record, fits, images_per_second, summary
from tfbench.sweep import jobs, matrix
from tfbench.sweep.plan import Cost
from tfbench.wording import aligned, count, duration

CONTINUES = "the same command continues it"
STATES = ("finished", "running", "begun", "set aside", "not begun")
TO_MIND = ("set aside", "running", "begun")  # states of which each run has a line, in this order
FEW = 100  # runs, or cached features, up to which each has a line
NAMED = 3  # runs that a warning names
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
def states(results_dir, runs: list[jobs.Run], work: dict | None = None) -> list[State]:
    """The state of every run of a study. Nothing is written.

    Args:
      runs: of the study. work: of read_work; None: whoever works on it is left aside.
    """
    states: list[State] = []
    weights: dict[str, str] = {}
    known: dict[Any, Any] = {}
    for run in runs:
        config = jobs.use_weights(run.config, weights)
        spec, record = jobs.record_of(config, known)
        if record and spec:
            jobs.keep_weights(config, spec, weights)
        folder = store.work_dir(results_dir, spec) if spec and not record else None
        names = (config.regime, config.model, config.dataset, run.variant)
        state = state_of(names, run.cost, record, folder, spec)
        owner = sharing.owner_of(store.lock_path(results_dir, spec)) if spec and not record else None
        states.append(state if owner is None else _worked_on(state, owner))
    return states if work is None else with_work(states, work)


def _worked_on(state: State, owner: dict) -> State:
    """A state that is not finished, of a run that `owner` (sharing.owner_of) is working on."""
    where = f" on {owner['host']} since {owner['since']}" if owner else ""
    return dataclasses.replace(state, state="running", text=f"{_bare(state)}: running{where}")


def _bare(state: State) -> str:
    """A state's text without what becomes of it."""
    return state.text.removesuffix(f": {CONTINUES}").removesuffix(": not begun")


def state_of(names: tuple[str, str, str, str], cost: Cost, record: Record | None, work: Path | None,
             spec: dict | None = None) -> State:
    """The state of a run, apart from whether it is being worked on.

    Args:
      names: regime, network, data set, variant. cost: of it (sweep/plan.py).
      record: None while it is not finished. work: its work folder, None where that cannot be known.
      spec: its specification, which the trials in the work folder must fit.
    """
    text, name, trials, checkpoint_bytes = f"{jobs.title_of(*names)}: not begun", "not begun", [], 0
    if record:
        text, name, trials = summary(record), "finished", record.trials
    elif work is not None and work.exists():
        (trials, fault), checkpoint_bytes, name = _trials(work, spec), _checkpoint_bytes(work), "begun"
        best = max((trial.get("validation_accuracy") or 0 for trial in trials), default=0)
        so_far = f", {len(trials)} of {cost.fits} fits done, best {100 * best:.1f} %" if trials else ""
        text = f"{jobs.title_of(*names)}: begun{so_far}: {fault or CONTINUES}"
    done = fits(trials, record.refit if record else None)
    best_so_far = max((trial.get("validation_accuracy") or 0 for trial in trials), default=None)
    seconds = record.seconds if record else sum(trial.get("seconds") or 0 for trial in trials)
    return State(
        *names, state=name, text=text, accuracy=record.accuracy if record else None,
        best=None if record else best_so_far, fits=cost.fits, fits_done=cost.fits if record else len(trials),
        diverged=sum(bool(trial.get("diverged")) for trial in trials),
        uncertified=sum(fit.get("certified") is False for fit in done), seconds=float(seconds), estimate=cost.seconds,
        images_per_second=images_per_second(done), warnings=tuple(record.warnings) if record else (),
        hosts=_hosts(record, done), checkpoint_bytes=checkpoint_bytes)


def _trials(work: Path, spec: dict | None) -> tuple[list[dict], str]:
    """The trials recorded of an unfinished search, and ""; or [] and why they cannot be read."""
    try:
        return list(store.read_trials(work, spec).values()), ""
    except UserError as error:  # damaged, or they are just being deleted
        return [], str(error)


def _hosts(record: Record | None, done: list[dict]) -> dict[str, dict]:
    """State.hosts of fits; what a run took beside its fits counts for the host that wrote its record."""
    writer = record.host if record else None
    fits_of: dict[str, list[dict]] = {}
    for fit in done:
        if host := fit.get("host") or writer:
            fits_of.setdefault(host, []).append(fit)
    hosts: dict[str, dict] = {host: {"fits": len(its), "seconds": sum(fit.get("seconds") or 0 for fit in its),
                    "images_per_second": images_per_second(its)} for host, its in fits_of.items()}
    if record and writer and writer in hosts:
        hosts[writer]["seconds"] += max(record.seconds - sum(part["seconds"] for part in hosts.values()), 0)
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
      "report": what that was (sweep.executors.ray_cluster.Conductor), else None, "set_aside": {title: reason} of the
      runs that the last study in one process set aside}.

    Raises:
      UserError: a file is damaged.
    """
    path = jobs.report_path(results_dir)
    cure = "move it away, it only tells what the last study on Ray did"
    report = atomic.read_json(path, cure=cure, schema=jobs.REPORT_SCHEMA) if path.exists() else None
    age: float | None = None
    if report is not None:
        try:
            _check_report(report)
            age = (_now() - datetime.datetime.fromisoformat(report["written"])).total_seconds()
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged, it is no report of a study on Ray ({error!r}): {cure}") from error
    live = report and age is not None and not report["ended"] and age < STALE
    return {"at_work": "ray" if live else "local" if sharing.is_locked(results_dir) else None, "age": age,
            "report": report, "set_aside": jobs.read_set_aside(results_dir)}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _check_report(report: dict) -> None:
    """Raises KeyError, TypeError or ValueError unless a report has what is read of it."""
    for name, texts in {"running": ("title", "host", "since"), "again": ("title", "reason"),
                        "set_aside": ("title", "reason")}.items():
        for job in report[name]:
            if not all(isinstance(job[text], str) for text in texts):
                raise TypeError(f"{name}: {job}")
    for job in report["running"]:
        _now() - datetime.datetime.fromisoformat(job["since"])
    if not all(type(report[name]) is int for name in ("done", "of")):
        raise TypeError("done, of")
    report["ended"], report["dashboard"]  # noqa: B018  they are there


def with_work(states: list[State], work: dict) -> list[State]:
    """The states, with what read_work says: which runs are running, and which are set aside.

    Of a study in one process, the first run that is begun is the running one: they go in the plan's order.
    """
    titles = {state.title: index for index, state in enumerate(states) if state.state != "finished"}
    changes: dict[int, tuple[str, str | None]] = {
        titles[title]: ("set aside", reason) for title, reason in work["set_aside"].items()
        if title in titles and states[titles[title]].state != "running"}  # it is tried again
    if work["report"]:
        # A job's title begins with its run's; what is running makes no less of what is set aside.
        for name, new in (("running", "running"), ("set_aside", "set aside")):
            for job in work["report"][name] if name == "set_aside" or work["at_work"] == "ray" else ():
                words = job["title"].split(" ")
                index = next((titles[title] for end in range(len(words), 0, -1)
                              if (title := " ".join(words[:end])) in titles), None)
                if index is not None:  # of the reasons the first, the others follow from it
                    changes[index] = new, changes.get(index, (None, None))[1] or job.get("reason")
    begun = [index for index, state in enumerate(states) if state.state == "begun"]
    if work["at_work"] == "local" and begun and not any(state.state == "running" for state in states):
        changes[begun[0]] = "running", None
    for index, (new, reason) in changes.items():
        text = f"{_bare(states[index])}: {new}" + (f": {reason}" if reason else "")
        states[index] = dataclasses.replace(states[index], state=new, text=text)
    return states


def work_lines(work: dict) -> list[str]:
    """What read_work found, in words."""
    report = work["report"]
    if work["at_work"] == "local":
        return ["a study is at work in this folder, in one process"]
    if not report:
        return []
    ago = duration(max(work["age"], 0))
    if work["at_work"] != "ray" and not report["ended"]:
        return [f"stale: a study on Ray was at work, but wrote nothing for {ago} and did not end by itself; the same "
                "command continues it"]
    if report["ended"]:
        return [f"a study on Ray ended {ago} ago"]
    text_lines = []
    for job in report["running"]:
        since = (_now() - datetime.datetime.fromisoformat(job["since"])).total_seconds()
        text_lines.append(f"running: {job['title']} on {job['host']} for {duration(max(since, 0))}")
    text_lines += [f"again: {job['title']} failed and is tried again: {job['reason']}" for job in report["again"]]
    where = f"; Ray's dashboard: {report['dashboard']}" if report["dashboard"] else ""
    return [*text_lines, f"a study is at work on Ray: {count(len(report['running']), 'job')} running, "
            f"{report['done']:,} of {report['of']:,} done since it was started, as of {ago} ago{where}"]


# ---- what it comes to ----------------------------------------------------------------------------


def totals(states: list[State]) -> dict:
    """What the runs come to: numbers of each state, hours spent and left, and what to mind."""
    counts = {name.replace(" ", "_"): sum(state.state == name for state in states) for name in STATES}
    return {"runs": len(states), **counts} | {
        name: sum(getattr(state, name) for state in states)
        for name in ("fits", "fits_done", "diverged", "uncertified")} | {
        "warnings": sum(len(state.warnings) for state in states),
        "hours_spent": sum(state.seconds for state in states) / 3600,
        "hours_left": sum(part["hours_left"] for part in by_regime(states).values()),
        "checkpoint_bytes": sum(state.checkpoint_bytes for state in states)}


def by_regime(states: list[State]) -> dict[str, dict]:
    """Regime → {"runs", "finished", "fits", "fits_done", "hours_spent", "hours_left", "spent", "left"}; the last two in
    words ("2 d 4 h").

    Hours are of one device. Those left are what the plan expects of what is not finished, corrected by how long the
    regime's finished runs took; where none is, by all regimes' finished runs.
    """
    overall, parts = _pace(states) or 1.0, {}
    for regime in RUNS:
        if not (part := [state for state in states if state.regime == regime]):
            continue
        pace, spent = _pace(part) or overall, sum(state.seconds for state in part)
        left = sum(max(state.estimate * pace - state.seconds, 0) for state in part if state.state != "finished")
        parts[regime] = {
            "runs": len(part), "finished": sum(state.state == "finished" for state in part),
            "fits": sum(state.fits for state in part), "fits_done": sum(state.fits_done for state in part),
            "hours_spent": spent / 3600, "hours_left": left / 3600, "spent": duration(spent), "left": duration(left)}
    return parts


def _pace(states: list[State]) -> float | None:
    """Seconds that finished runs took, over those that the plan expects of them; None where none is finished."""
    finished = [state for state in states if state.state == "finished"]
    expected = sum(state.estimate for state in finished)
    return sum(state.seconds for state in finished) / expected if expected else None


def left(results_dir, runs: list[jobs.Run]) -> str:
    """What is done of runs that were just stopped, and about how long the rest takes, in words."""
    found = states(results_dir, runs)
    total = totals(found)
    least = sum(state.estimate * (1 - state.fits_done / state.fits) for state in found)  # where it is slow
    return (f"{total['finished']:,} of {count(len(runs), 'run')} finished, {total['fits_done']:,} of "
            f"{count(total['fits'], 'fit')}, about {duration(max(3600 * total['hours_left'], least))} left")


def by_host(states: list[State]) -> dict[str, dict]:
    """Machine → {"fits", "hours", "share": of all hours whose machine is known, "images_per_second": median over runs
    of what it trained, None without}."""
    parts: dict[str, list[dict]] = {}
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
    """What it comes to, the matrix of states, then what to mind: runs, warnings, features, checkpoints, hosts."""
    total, told = totals(states), work_lines(work)
    text_lines = [*_summary(total, work), *_regime_table(by_regime(states)), *told[-1:], *matrix.lines(states),
                  *told[:-1], *_one_by_one(states)]
    runs_of: dict[str, list[str]] = {}
    for state in states:
        for text in state.warnings:
            runs_of.setdefault(text, []).append(state.title)
    for text, titles in runs_of.items():
        more = f" and {count(len(titles) - NAMED, 'other run')}" if len(titles) > NAMED else ""
        text_lines.append(f"warning: {text}: {', '.join(titles[:NAMED])}{more}")
    if len(caches) > FEW:
        text_lines.append(f"features of {len(caches):,} networks on data sets are kept; --json lists them")
    else:
        text_lines += [f"features {line}" for line in caches]
    if total["checkpoint_bytes"]:
        text_lines.append(f"checkpoints of what is not finished: {total['checkpoint_bytes'] / 1e6:,.1f} MB")
    for host, part in by_host(states).items():
        speed = f"{part['images_per_second']:,.0f} images/s in training, " if part["images_per_second"] else ""
        share = f"{100 * part['share']:.0f} % of the time spent"
        text_lines.append(f"host {host}: {count(part['fits'], 'fit')}, {speed}{share}")
    return text_lines


def _summary(total: dict, work: dict) -> list[str]:
    """How much is finished, spent and left, and how many fits to mind."""
    others = "".join(f", {total[name.replace(' ', '_')]:,} {name}" for name in STATES[1:]
                     if name == "begun" or total[name.replace(" ", "_")])
    at_once = len(work["report"]["running"]) if work["at_work"] == "ray" else 1
    shared = f" ({duration(3600 * total['hours_left'] / at_once)} with {at_once} jobs at a time)" if at_once > 1 else ""
    left = f"about {duration(3600 * total['hours_left'])} left{shared}" if total["hours_left"] else "nothing left"
    text_lines = [f"{total['finished']:,} of {count(total['runs'], 'run')} finished{others}, {total['fits_done']:,} "
                  f"of {count(total['fits'], 'fit')}; {duration(3600 * total['hours_spent'])} of device time "
                  f"spent, {left}"]
    for number, what in ((total["diverged"], "trial that diverged, it counts as the worst"),
                         (total["uncertified"], "regression that is not certified to be solved")):
        if number:
            text_lines.append(f"warning: {number:,} × a {what}")
    return text_lines


def _regime_table(parts: dict[str, dict]) -> list[str]:
    """A line per regime below a header; none where there is one regime alone, of which the summary tells."""
    if len(parts) < 2:
        return []
    rows = [("", "finished", "fits done", "device time spent", "left, about")]
    rows += [(RUNS[regime].title, f"{part['finished']:,} of {part['runs']:,}",
              f"{part['fits_done']:,} of {part['fits']:,}", part["spent"], part["left"])
             for regime, part in parts.items()]
    return [f"  {line}" for line in aligned(rows)]


def _one_by_one(states: list[State]) -> list[str]:
    """A line per run, with its number in the plan: first those to mind; the others only where there are few."""
    shown = TO_MIND if len(states) > FEW else (*TO_MIND, "finished", "not begun")
    text_lines = [f"[{number}/{len(states)}] {state.text}" for name in shown
                  for number, state in enumerate(states, start=1) if state.state == name]
    if len(text_lines) < len(states):
        text_lines.append(f"{count(len(states) - len(text_lines), 'run')} finished or not begun without a line here; "
                          "--json lists each")
    return text_lines


def as_json(states: list[State], caches: list[str], work: dict) -> dict:
    """The same as plain values."""
    return {"totals": totals(states), "regimes": by_regime(states), "features": caches, "hosts": by_host(states),
            "work": work, "runs": [vars(state) for state in states]}
