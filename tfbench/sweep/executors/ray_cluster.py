"""Runs jobs of work (sweep/jobs.py) on a Ray cluster: Ray indices them, moves them and notices what dies.

What is here is what Ray leaves to its user: which jobs wait for which, how often a failed one is tried retrying, and
that only one loop does a results folder's work. That loop lives in an actor with a name made of the folder, on the
cluster: a second copy of the command finds it and watches, and a command that is killed leaves it working.

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

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import Path
from tfbench.sweep.jobs import Job, ReadyQueue, WrongWorker, code_hash, work

RETRY_SECONDS = (2.0, 4.0, 8.0)  # seconds before the first, second and any later attempt more at a job
POLL_SECONDS = 0.2  # seconds between looks at what has ended
ROOM_SECONDS = 2.0  # seconds between looks at how large the cluster is
MOST_REQUESTED = 1000  # jobs of work that a cluster which grows is told of
REPORT_SECONDS = 5.0  # seconds between what Scheduler writes for study --status
MAX_SCHEDULERS = 10  # that may be lost one after another
OUTCOME_SECONDS = 3.0  # seconds that the outcome of a study stays for those who watch it
NODE = "ray.io/node-id"  # the label that Ray gives every node


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job gets, and how often it is tried: see the study's flags."""

    cpus: float = 1.0
    gpus: float = 0.0
    tries: int = 3
    waits: tuple[float, ...] = RETRY_SECONDS


@dataclasses.dataclass(frozen=True)
class Failure:
    """A job that is set aside: which, why in one line, and all that is known of it."""

    title: str
    reason: str
    details: str


def run_jobs(jobs: list[Job], do, resources: Resources, log, finished=lambda job, facts: None,
            on_poll=lambda running, retrying, failures: None, listener=None) -> list[Failure]:
    """Has all jobs done on the cluster that this process is connected to, each after those it needs.

    A job that raises, or whose worker or node dies, is tried retrying after a while by another worker process. One that
    failed `resources.tries` times, or that only the user can mend, is set aside with all that need it; the rest goes
    on. A node that is not fit for the study (WrongWorker) gets no more of it.

    Args:
      do: called as do(*job.call) in a worker process; what it returns is `facts`.
      log: called with a line for each failure. finished: called for each job that is done.
      look: called several times a second with the indices of the jobs that Ray has, the reasons for which others are
        to be tried retrying and the Failures so far, both by index.
      listener: an actor that workers call as begun(index, host, node) when they begin a job.

    Returns:
      What is set aside.
    """
    after = collections.defaultdict(list)
    for index, job in enumerate(jobs):
        for needed in job.needs:
            after[needed].append(index)
    open_needs = {index: len(job.needs) for index, job in enumerate(jobs)}
    attempt = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(_attempt)
    ready, later = ReadyQueue(jobs), []  # what can begin now; a heap of what can later: when, which
    for index, number in open_needs.items():
        if not number:
            ready.add(index)
    running, retrying, tried, unfit, failures = {}, {}, collections.Counter(), {}, {}
    room, looked, ended = 0, -math.inf, []
    while ready or later or running:
        while later and later[0][0] <= time.monotonic():
            ready.add(heapq.heappop(later)[1])
        if time.monotonic() > looked + ROOM_SECONDS:
            room, looked = _room(resources, unfit, len(ready) + len(running)), time.monotonic()
        # Ray is given no more than it has room for: so it is known which worker begins a job, the one that is free.
        while ready and len(running) < max(room, 1):
            index = ready.take(ended, running.values())
            running[_submit(attempt, (do, jobs[index].call, index, listener), jobs[index].title, resources,
                            tried[index], unfit)] = index
        on_poll(running.values(), retrying, failures)
        ended = []
        for reference in _ended(running, later):
            index = running.pop(reference)
            ended.append(index)
            job, end = jobs[index], _outcome(reference)
            retrying.pop(index, None)
            if "facts" in end:
                finished(job, end["facts"])
                for dependent in after[index]:
                    open_needs[dependent] -= 1
                    if not open_needs[dependent]:
                        ready.add(dependent)
                continue
            tried[index] += end["kind"] != "unfit"
            wait = _wait_before_another(job, end, tried[index], unfit, resources, log)
            if wait is not None:
                retrying[index] = end["reason"]
                heapq.heappush(later, (time.monotonic() + wait, index))
                continue
            log(f"{job.title} is set aside: {end['reason']}")
            failures[index] = Failure(job.title, end["reason"], end["details"])
            for dependent in _all_after(index, after):
                failures.setdefault(dependent, Failure(jobs[dependent].title, f"it needs {job.title}", ""))
    request_resources(bundles=[])
    return [failures[index] for index in sorted(failures)]


def _wait_before_another(job: Job, end: dict, tried: int, unfit: dict, resources: Resources, log) -> float | None:
    """Seconds after which a job that came to a bad `end` is tried retrying; None: not at all. Notes unfit nodes."""
    if end["kind"] == "unfit":
        if end["node"] not in unfit:
            log(f"warning: {end['reason']}; until then it gets no work")
        unfit[end["node"]] = end["reason"]
        return 0.0 if _fit_nodes(unfit) else None
    if end["kind"] == "refused" or tried >= resources.tries:
        return None
    wait = resources.waits[min(tried, len(resources.waits)) - 1]
    log(f"{job.title} failed ({end['reason']}): attempt {tried + 1} of {resources.tries} in {wait:g} s")
    return wait


def _fit_nodes(unfit=()) -> list[dict]:
    """What Ray tells of the nodes that live and are not unfit."""
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in unfit]


def _all_after(index: int, after: dict[int, list[int]]) -> set[int]:
    """The jobs that need the one at `index`, and those that need them."""
    found, left = set(), list(after[index])
    while left:
        dependent = left.pop()
        if dependent not in found:
            found.add(dependent)
            left += after[dependent]
    return found


def _submit(attempt, call: tuple, title: str, resources: Resources, tried: int, unfit) -> ray.ObjectRef:
    """Gives a job to Ray as attempt(*call), on a node that is not unfit."""
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if resources.gpus % 1 else {}
    if tried:  # another environment is another worker process: the one in which it failed may be at fault
        environment["TFBENCH_ATTEMPT"] = str(tried + 1)
    options = {"name": title}
    if environment:
        options["runtime_env"] = {"env_vars": environment}
    if unfit and _fit_nodes(unfit):  # where none is fit, any says so
        options["label_selector"] = {NODE: f"!in({','.join(unfit)})"}
    return attempt.options(**options).remote(*call)


def _attempt(do, call, index: int, listener) -> dict:
    """Does a job in a worker process; with GPUs, Ray ends that process after it and so frees their memory.

    What goes wrong is told as text: not every exception survives a journey.
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


def _ended(running: dict, later: list) -> list:
    """Those of the running jobs that have ended, after POLL_SECONDS at most."""
    if not running:
        time.sleep(min(POLL_SECONDS, max(later[0][0] - time.monotonic(), 0)))
        return []
    if not ray.wait(list(running), timeout=POLL_SECONDS)[0]:
        return []
    return ray.wait(list(running), num_returns=len(running), timeout=0)[0]


def _room(resources: Resources, unfit: dict, wanted: int) -> int:
    """How many jobs the cluster's fit nodes can do at once, if it has nothing else to do. A cluster that grows with
    its work is told how many are `wanted`."""
    share = {name: number for name, number in (("CPU", resources.cpus), ("GPU", resources.gpus)) if number}
    request_resources(bundles=[share] * min(wanted, MOST_REQUESTED) if share else [])
    nodes = [node["Resources"] for node in _fit_nodes(unfit)]
    return sum(int(min((node.get(name, 0) / number for name, number in share.items()), default=1)) for node in nodes)


def _outcome(reference) -> dict:
    """What _attempt returned, or how its worker or node was lost."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        text = str(error)
        lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
        return {"kind": "failed", "reason": f"{type(error).__name__}: {lines[0][:300]}", "details": text}


# ---- one loop per results folder -----------------------------------------------------------------


@ray.remote(num_cpus=0, max_restarts=0, max_concurrency=16)
class Scheduler:
    """The loop of one results folder; it ends itself when there is nothing left to do.

    Every REPORT_SECONDS seconds it writes what it is doing into a file, which study --status reads on any machine:

        written      when, ISO 8601 in UTC. ended: whether that was the end
        dashboard    address of Ray's, null without
        done, of     numbers of jobs
        running      [{"title", "host", "node", "since"}] of jobs that a worker has begun
        again        [{"title", "reason"}] of jobs that failed and are to be tried retrying, or being so
        set_aside    [{"title", "reason", "details": lines}]
    """

    def __init__(self):
        self.flags, self.jobs, self.lines, self.done, self.failures = None, [], [], 0, None
        self.lock = threading.Lock()
        self.indices, self.written = {}, -math.inf  # where and since when jobs are worked on; when it was written

    def begin(self, flags: list[str], code: str, jobs: list[Job], resources: Resources, report: str,
              dashboard: str | None) -> str | None:
        """Starts the work; if it was begun before, only compares. Returns what speaks against it, or None.

        Args:
          report: the file to write.
        """
        with self.lock:
            if code != code_hash():
                return (f"the cluster runs another tfbench: expected {code}, found {code_hash()}; make them the same")
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
        """Notes where a job is being worked on."""
        self.indices[index] = {"title": self.jobs[index].title, "host": host, "node": node, "since": _now()}

    def _poll(self, running, retrying: dict[int, str], failures: dict[int, Failure]) -> None:
        running = set(running)
        for index in set(self.indices) - running:
            del self.indices[index]
        if time.monotonic() > self.written + REPORT_SECONDS:
            self._write(running, retrying, failures.values(), ended=False)

    def _write(self, running, retrying, failures, *, ended: bool) -> None:
        found = {"written": _now(), "ended": ended, "dashboard": self.dashboard, "done": self.done,
                 "of": len(self.jobs), "running": [self.indices[index] for index in sorted(running)
                                                    if index in self.indices],
                 "again": [{"title": self.jobs[index].title, "reason": reason} for index, reason in retrying.items()],
                 "set_aside": [{"title": failure.title, "reason": failure.reason,
                                "details": failure.details.splitlines()} for failure in failures]}
        self.written = time.monotonic()
        try:
            atomic.write_json(self.report, found)
        except UserError as error:  # the work goes on: jobs that cannot write fail by themselves
            self.lines.append(f"warning: {error}")

    def look(self, since: int) -> tuple[list[str], int, int, list[Failure] | None]:
        """Lines from number `since` on, jobs done and in all, and at the end what is set aside."""
        failures = self.failures  # first: lines that come before it are then all there
        return self.lines[since:], self.done, len(self.jobs), failures


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def run(make_units, flags: list[str], report: Path, dashboard: str | None, resources: Resources,
        progress) -> list[Failure]:
    """Runs a study on the cluster that this process is connected to, or watches the copy that runs it already.

    Args:
      make_units: () -> the jobs that are left (sweep.jobs.make).
      flags: those that decide what the study does: a copy with others is refused.
      report: file in the results folder for what goes on (Scheduler). dashboard: address of Ray's, for it.
      progress: a cli.progress.Display.

    Returns:
      What is set aside.

    Raises:
      UserError: a copy with other flags or code is at work.
    """
    report = report.resolve()
    name = "study-" + hashlib.sha256(str(report.parent).encode()).hexdigest()[:16]
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    for _ in range(MAX_SCHEDULERS):
        scheduler = Scheduler.options(name=name, namespace="tfbench", lifetime="detached", get_if_exists=True,
                                      scheduling_strategy=here).remote()
        try:
            if refused := ray.get(scheduler.begin.remote(flags, code_hash(), make_units(), resources, str(report),
                                                         dashboard)):
                raise UserError(refused)
            return _watch(scheduler, progress)
        except ray.exceptions.RayActorError:  # its node was lost, another copy was interrupted, or it just ended
            progress.line("the study is taken over from a copy of this command that ended")
        except KeyboardInterrupt:  # other copies, if there are any, take over
            ray.kill(scheduler)
            request_resources(bundles=[])
            raise
    raise UserError(f"the study was begun {MAX_SCHEDULERS} times and lost each time (the nodes of the cluster do not "
                    "stay): the same command continues where it stopped")


def _watch(scheduler, progress) -> list[Failure]:
    """Shows what happens until all is done."""
    shown = 0
    while True:
        lines, done, of, failures = ray.get(scheduler.look.remote(shown))
        for line in lines:
            progress.line(line)
        shown += len(lines)
        progress.jobs(done, of)
        if failures is not None:
            return failures
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def cluster(address: str | None, resources: Resources):
    """Connects this process to the cluster at `address`, or to one of its own on this machine that ends with it.

    Yields the address of its dashboard, None where it has none.

    Raises:
      UserError: there is no cluster, or no node of it can ever run a job.
    """
    try:
        context = ray.init(address or "local", namespace="tfbench", log_to_driver=False, logging_level="ERROR",
                           include_dashboard=None if address else False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0]
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
    there = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    raise UserError(f"no node of the cluster has {resources.cpus:g} CPUs and {resources.gpus:g} GPUs for a trial, "
                    f"found {there}: lower --cpus_per_trial and --gpus_per_trial, or add nodes and start again")
