"""Runs a study's jobs (sweep/jobs.py) on a Ray cluster: Ray chooses the node of each and notices what dies.

Ray leaves to its user, and here is:
  - which jobs wait for which;
  - how often a failed job is tried again;
  - that only one process at a time schedules the jobs of a results folder.

That scheduler is an actor on the cluster, named after the folder. A second copy of the command finds it and watches;
a command that is killed leaves it working.

Imported only for --executor=ray: Ray is in requirements-cluster.txt.
"""

import collections
import contextlib
import dataclasses
import datetime
import hashlib
import heapq
import math
import socket
import threading
import time
import traceback
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import Path
from tfbench.sweep.jobs import REPORT_SCHEMA, Job, ReadyQueue
from tfbench.sweep.worker import WrongWorker, code_hash, work

RETRY_SECONDS = (2.0, 4.0, 8.0)  # before the second, the third and any later attempt at a job
POLL_SECONDS = 0.2  # between looks at what has ended
ROOM_SECONDS = 2.0  # between looks at how large the cluster is
REPORT_SECONDS = 5.0  # between the reports that Scheduler writes for study --status
OUTCOME_SECONDS = 3.0  # that a Scheduler stays after its last job, for those who watch it
MAX_REQUESTED = 1000  # jobs for which a cluster that grows with its work is asked at once
MAX_SCHEDULERS = 10  # that may be lost one after another
ANSWER_SECONDS = 20.0  # without an answer, after which it is looked whether a node is left to give one
NODE = "ray.io/node-id"  # the label that Ray gives every node


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job gets, and how often it is tried (flags of tfbench.study).

    Attributes:
      cpus, gpus: that Ray reserves for it.
      tries: attempts before it is set aside.
      waits: seconds before the second attempt, the third, and so on; the last holds for all further ones.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    tries: int = 3
    waits: tuple[float, ...] = RETRY_SECONDS


@dataclasses.dataclass(frozen=True)
class Failure:
    """A job that is set aside: its title, the reason in one line, and the traceback or "" as details."""

    title: str
    reason: str
    details: str


def run_jobs(jobs: list[Job], do, resources: Resources, log, on_finished=lambda job, facts: None,
             on_poll=lambda running, retrying, failures: None, listener=None) -> list[Failure]:
    """Runs all jobs on the cluster that this process is connected to, each after those it needs.

    A job that raises, or whose worker or node dies, is tried again after a while, by another worker process. A job that
    failed `resources.tries` times, or that only the user can mend, is set aside with all that need it; the rest goes
    on. A node that is not fit for the study (WrongWorker) gets no more of it.

    Args:
      do: called as do(*job.call) in a worker process; what it returns is `facts`.
      log: called with a line for each failure.
      on_finished: called with each job that is done, and its facts.
      on_poll: called several times a second with the indices of the jobs that Ray has, the reasons by index of those
        that failed and are tried again, and the Failures by index.
      listener: an actor that workers call as begun(index, host, node) when they begin a job.

    Returns:
      The jobs that are set aside, in their order.
    """
    dependents: dict[int, list[int]] = collections.defaultdict(list)
    for index, job in enumerate(jobs):
        for needed in job.needs:
            dependents[needed].append(index)
    open_needs = {index: len(job.needs) for index, job in enumerate(jobs)}
    attempt = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(_attempt)
    ready = ReadyQueue(jobs)
    waiting: list[tuple[float, int]] = []  # a heap: when a failed job is tried again, and which
    for index, number in open_needs.items():
        if not number:
            ready.add(index)
    running: dict[ray.ObjectRef, int] = {}
    retrying: dict[int, str] = {}  # reasons
    unfit: dict[str, str] = {}  # nodes, and why
    failures: dict[int, Failure] = {}
    ended: list[int] = []
    tried: collections.Counter[int] = collections.Counter()
    room, room_checked = 0, -math.inf
    while ready or waiting or running:
        while waiting and waiting[0][0] <= time.monotonic():
            ready.add(heapq.heappop(waiting)[1])
        if time.monotonic() > room_checked + ROOM_SECONDS:
            room, room_checked = _room(resources, unfit, len(ready) + len(running)), time.monotonic()
        # Ray gets no more jobs than it has room for: so the worker that begins one is known, it is the one just free.
        while ready and len(running) < max(room, 1):
            index = ready.take(ended, running.values())
            reference = _submit(attempt, (do, jobs[index].call, index, listener), jobs[index].title, resources,
                                tried[index], unfit)
            running[reference] = index
        on_poll(running.values(), retrying, failures)
        ended = []
        for reference in _ended(running, waiting):
            index = running.pop(reference)
            ended.append(index)
            job, outcome = jobs[index], _outcome(reference)
            retrying.pop(index, None)
            if "facts" in outcome:
                on_finished(job, outcome["facts"])
                for dependent in dependents[index]:
                    open_needs[dependent] -= 1
                    if not open_needs[dependent]:
                        ready.add(dependent)
                continue
            tried[index] += outcome["kind"] != "unfit"
            wait = _wait_before_retry(job, outcome, tried[index], unfit, resources, log)
            if wait is not None:
                retrying[index] = outcome["reason"]
                heapq.heappush(waiting, (time.monotonic() + wait, index))
                continue
            log(f"{job.title} is set aside: {outcome['reason']}")
            failures[index] = Failure(job.title, outcome["reason"], outcome["details"])
            for dependent in _all_dependents(index, dependents):
                failures.setdefault(dependent, Failure(jobs[dependent].title, f"it needs {job.title}", ""))
    request_resources(bundles=[])
    return [failures[index] for index in sorted(failures)]


def _wait_before_retry(job: Job, outcome: dict, tried: int, unfit: dict, resources: Resources, log) -> float | None:
    """Seconds after which a job that failed is tried again; None: it is not. Adds the node to `unfit` if it is that."""
    if outcome["kind"] == "unfit":
        if outcome["node"] not in unfit:
            log(f"warning: {outcome['reason']}; until then it gets no work")
        unfit[outcome["node"]] = outcome["reason"]
        return 0.0 if _fit_nodes(unfit) else None
    if outcome["kind"] == "refused" or tried >= resources.tries:
        return None
    wait = resources.waits[min(tried, len(resources.waits)) - 1]
    log(f"{job.title} failed ({outcome['reason']}): attempt {tried + 1} of {resources.tries} in {wait:g} s")
    return wait


def _fit_nodes(unfit=()) -> list[dict]:
    """Ray's descriptions of the nodes that are alive and not among the IDs in `unfit`."""
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in unfit]


def _all_dependents(index: int, dependents: dict[int, list[int]]) -> set[int]:
    """The jobs that need the one at `index`, and those that need them."""
    reached, left = set(), list(dependents[index])
    while left:
        dependent = left.pop()
        if dependent not in reached:
            reached.add(dependent)
            left += dependents[dependent]
    return reached


def _submit(attempt, call: tuple, title: str, resources: Resources, tried: int, unfit) -> ray.ObjectRef:
    """Gives a job to Ray as attempt(*call), on a node that is not unfit."""
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if resources.gpus % 1 else {}
    if tried:  # Ray gives another environment to another worker process: the one it failed in may be at fault
        environment["TFBENCH_ATTEMPT"] = str(tried + 1)
    options: dict[str, Any] = {"name": title}
    if environment:
        options["runtime_env"] = {"env_vars": environment}
    if unfit and _fit_nodes(unfit):  # where no node is fit, any of them says so
        options["label_selector"] = {NODE: f"!in({','.join(unfit)})"}
    return attempt.options(**options).remote(*call)


def _attempt(do, call, index: int, listener) -> dict:
    """Does a job in a worker process. If it has GPUs, Ray ends that process afterwards, which frees their memory.

    Returns:
      {"facts": what `do` returned}, or {"kind": "unfit", "refused" or "failed", "reason": in one line, "details"}, with
      "node" where that is unfit. Errors travel as text, as not every exception can be pickled.
    """
    node = ray.get_runtime_context().get_node_id()
    if listener:
        listener.begun.remote(index, socket.gethostname(), node)
    try:
        return {"facts": do(*call)}
    except WrongWorker as error:
        return {"kind": "unfit", "node": node, "reason": str(error), "details": ""}
    except UserError as error:
        return {"kind": "refused", "reason": str(error), "details": ""}
    except Exception as error:
        reason = (f"{type(error).__name__}: {error}".splitlines() or [""])[0][:300]
        return {"kind": "failed", "reason": reason, "details": traceback.format_exc()}


def _ended(running: dict, waiting: list) -> list:
    """References of the running jobs that have ended, after POLL_SECONDS at most."""
    if not running:
        time.sleep(min(POLL_SECONDS, max(waiting[0][0] - time.monotonic(), 0)))
        return []
    if not ray.wait(list(running), timeout=POLL_SECONDS)[0]:
        return []
    return ray.wait(list(running), num_returns=len(running), timeout=0)[0]


def _room(resources: Resources, unfit: dict, wanted: int) -> int:
    """How many jobs the cluster's fit nodes can do at once, if they do nothing else.

    A cluster that grows with its work is asked for room for `wanted` jobs.
    """
    needs = {name: number for name, number in (("CPU", resources.cpus), ("GPU", resources.gpus)) if number}
    request_resources(bundles=[needs] * min(wanted, MAX_REQUESTED) if needs else [])
    nodes = [node["Resources"] for node in _fit_nodes(unfit)]
    return sum(int(min((node.get(name, 0) / number for name, number in needs.items()), default=1)) for node in nodes)


def _outcome(reference) -> dict:
    """What _attempt returned, or how its worker or node was lost."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        text = str(error)
        lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
        return {"kind": "failed", "reason": f"{type(error).__name__}: {lines[0][:300]}", "details": text}


# ---- one scheduler per results folder --------------------------------------------------------------


@ray.remote(num_cpus=0, max_restarts=0, max_concurrency=16)
class Scheduler:
    """Runs the jobs of one results folder, then ends itself.

    Every REPORT_SECONDS it writes a report, which study --status reads on any machine. Its keys:

        written      when it was written, ISO 8601 in UTC
        ended        whether the study has ended
        dashboard    address of Ray's dashboard, null without one
        done, of     numbers of jobs: finished, and in all
        running      [{"title", "host", "node", "since"}] of jobs that a worker has begun
        again        [{"title", "reason"}] of jobs that failed and are tried again, now or later
        set_aside    [{"title", "reason", "details": lines}] of jobs that are not tried again
    """

    def __init__(self):
        self.flags, self.jobs, self.lines, self.done, self.failures = None, [], [], 0, None
        self.lock = threading.Lock()
        self.begun_jobs, self.written = {}, -math.inf  # items of "running" by index; when the last report was written
        self.unwritable = False  # the results folder, when that was

    def begin(self, flags: list[str], code: str, jobs: list[Job], resources: Resources, report: str,
              dashboard: str | None) -> str | None:
        """Starts the work; where it was started before, compares flags and code only.

        Args:
          code: code_hash() of the caller. report: path of the report. The others: as of `run`.

        Returns:
          Why the caller's study cannot be run, or None.
        """
        with self.lock:
            if code != code_hash():
                return f"the cluster runs another tfbench: expected {code}, found {code_hash()}; make them the same"
            if self.flags is None:
                self.flags, self.jobs, self.report, self.dashboard = flags, jobs, report, dashboard
                threading.Thread(target=self._run_jobs, args=(jobs, resources), daemon=True).start()
            here, there = sorted(set(flags) - set(self.flags)), sorted(set(self.flags) - set(flags))
        if here or there:
            return ("another study is running on this cluster with the same --results_dir: expected "
                    f"{' '.join(there) or 'its flags only'}, found {' '.join(here) or 'fewer'}; wait for its end, or "
                    "take another --results_dir")
        return None

    def _run_jobs(self, jobs, resources) -> None:
        try:
            failures = run_jobs(jobs, work, resources, self.lines.append, self._finished, self._poll,
                                ray.get_runtime_context().current_actor)
        except Exception as error:
            failures = [Failure("the study", repr(error), traceback.format_exc())]
        self._write((), {}, failures, ended=True)
        self.failures = failures
        time.sleep(OUTCOME_SECONDS)
        ray.kill(ray.get_runtime_context().current_actor)

    def _finished(self, job: Job, facts: dict) -> None:
        if facts["line"]:
            self.lines.append(facts["line"])
        self.done += 1

    def begun(self, index: int, host: str, node: str) -> None:
        """Notes who does a job; called by its worker."""
        self.begun_jobs[index] = {"title": self.jobs[index].title, "host": host, "node": node, "since": _now()}

    def _poll(self, running, retrying: dict[int, str], failures: dict[int, Failure]) -> None:
        running = set(running)
        for index in set(self.begun_jobs) - running:
            del self.begun_jobs[index]
        if time.monotonic() > self.written + REPORT_SECONDS:
            self._write(running, retrying, failures.values(), ended=False)

    def _write(self, running, retrying, failures, *, ended: bool) -> None:
        report = {
            "schema": REPORT_SCHEMA, "written": _now(), "ended": ended, "dashboard": self.dashboard,
            "done": self.done, "of": len(self.jobs),
            "running": [self.begun_jobs[index] for index in sorted(running) if index in self.begun_jobs],
            "again": [{"title": self.jobs[index].title, "reason": reason} for index, reason in retrying.items()],
            "set_aside": [{"title": failure.title, "reason": failure.reason, "details": failure.details.splitlines()}
                          for failure in failures]}
        self.written = time.monotonic()
        try:
            atomic.write_json(self.report, report)
            self.unwritable = False
        except UserError as error:  # the work goes on: jobs that cannot write wait by themselves
            if not self.unwritable:
                self.lines.append(f"warning: {error}; jobs that end wait for it")
            self.unwritable = True

    def look(self, since: int) -> tuple[list[str], int, int, list[Failure] | None]:
        """Lines from number `since` on, jobs done, jobs in all, and what is set aside (None before the end)."""
        failures = self.failures  # read first: the lines before it are then all there
        return self.lines[since:], self.done, len(self.jobs), failures


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def run(make_jobs, flags: list[str], report: Path, dashboard: str | None, resources: Resources,
        progress) -> list[Failure]:
    """Runs a study on the cluster that this process is connected to, or watches the copy that runs it already.

    Args:
      make_jobs: () -> the jobs that are left (sweep.jobs.make).
      flags: those that decide what the study does; a copy with others is refused.
      report: path of the report in the results folder (Scheduler).
      dashboard: address of Ray's dashboard, for the report.
      progress: a cli.progress.Display.

    Returns:
      The jobs that are set aside.

    Raises:
      UserError: a copy with other flags or code is at work, the scheduler was lost MAX_SCHEDULERS times, or all nodes
        were.
    """
    report = report.resolve()
    name = "study-" + hashlib.sha256(str(report.parent).encode()).hexdigest()[:16]
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    for _ in range(MAX_SCHEDULERS):
        scheduler = Scheduler.options(  # type: ignore[attr-defined]  # Ray's decorator adds it
            name=name, namespace="tfbench", lifetime="detached", get_if_exists=True,
            scheduling_strategy=here).remote()
        try:
            if refused := _answer(scheduler.begin.remote(flags, code_hash(), make_jobs(), resources, str(report),
                                                         dashboard)):
                raise UserError(refused)
            return _watch(scheduler, progress)
        except ray.exceptions.RayActorError:  # its node was lost, another copy was interrupted, or it just ended
            progress.line("the study is taken over from a copy of this command that ended")
        except KeyboardInterrupt:  # other copies of the command, if there are any, take over
            ray.kill(scheduler)
            request_resources(bundles=[])
            raise
    raise UserError(f"the study was begun {MAX_SCHEDULERS} times and lost each time (the nodes of the cluster do not "
                    "stay): the same command continues where it stopped")


def _watch(scheduler, progress) -> list[Failure]:
    """Shows what happens until all is done; returns the jobs that are set aside."""
    shown = 0
    while True:
        lines, done, total, failures = _answer(scheduler.look.remote(shown))
        for line in lines:
            progress.line(line)
        shown += len(lines)
        progress.jobs(done, total)
        if failures is not None:
            return failures
        time.sleep(POLL_SECONDS)


def _answer(reference):
    """ray.get, which waits for ever where a cluster has lost every node but still knows its actors.

    Raises:
      UserError: it has. What ray.get raises.
    """
    while True:
        try:
            return ray.get(reference, timeout=ANSWER_SECONDS)
        except ray.exceptions.GetTimeoutError:
            if not any(node["Alive"] for node in ray.nodes()):
                raise UserError("the Ray cluster has lost its last node, this machine's: the same command continues "
                                "where it stopped, on a cluster of its own or one started anew") from None


@contextlib.contextmanager
def cluster(address: str | None, resources: Resources):
    """Context manager that connects this process to a cluster and yields the address of its dashboard, or None.

    Args:
      address: of the cluster; None for one on this machine, which ends with the context.

    Raises:
      UserError: there is no cluster, it does not start, or no node of it can ever run a job.
    """
    try:
        context = ray.init(address or "local", namespace="tfbench", log_to_driver=False, logging_level="ERROR",
                           include_dashboard=None if address else False)
    except Exception as error:  # Ray raises many kinds, Exception itself where it starts too slowly
        reason = (str(error).splitlines() or [""])[0]
        if address is None:
            raise UserError(f"Ray did not start on this machine ({reason}): expected it to within half a minute; stop "
                            "other work and type the same command again, or take --executor=local") from error
        raise UserError(f"there is no Ray cluster at --ray_address={address} ({reason}): start one with `ray start "
                        "--head`, or leave --ray_address out to use this machine alone") from error
    try:
        check_resources(resources)
        yield f"http://{context.dashboard_url}" if context.dashboard_url else None
    finally:
        ray.shutdown()


def check_resources(resources: Resources) -> None:
    """Raises UserError unless a node of the cluster has what a job gets."""
    nodes = [node["Resources"] for node in _fit_nodes()]
    if any(node.get("CPU", 0) >= resources.cpus and node.get("GPU", 0) >= resources.gpus for node in nodes):
        return
    available = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    raise UserError(f"no node of the cluster has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs for a trial, "
                    f"found {available}: lower --cpus_per_trial and --gpus_per_trial, or add nodes and start again")
