"""Studies on Ray, on this machine: the records of any other study, whatever is killed on the way."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import ray
from helpers.disks import disk, remount
from helpers.outcomes import outcomes
from helpers.programs import parse
from ray.cluster_utils import Cluster
from ray.experimental import internal_kv

from tfbench import study
from tfbench.cli.progress import Silent
from tfbench.config import ALL, REFIT, RunConfig
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.inputs import resolve_prepared
from tfbench.results import store
from tfbench.sweep import jobs, status, worker
from tfbench.sweep.executors import ray_cluster
from tfbench.sweep.jobs import Job, ReadyQueue
from tfbench.sweep.worker import WrongWorker

pytestmark = pytest.mark.ray
ROOT = pathlib.Path(__file__).parents[2]
MATRIX = ["--models=mobilenet_v1", "--datasets=digits", "--image_size=32", "--batch_size=16", "--deterministic"]
GRID = "--steps=24 --learning_rate=0.01,0.05 --weight_decay=0 --checkpoint_every=5"
WHOLE = [*MATRIX, "--source=glyphs", "--pretrain=--steps=8 --learning_rate=0.05 --warmup_epochs=0",
         "--logistic_regression=--l2=1,100 --max_iterations=50", f"--train_from_scratch={GRID}",
         "--finetune=--steps=3 --learning_rate=0.01,0.05 --weight_decay=0 --search=halving"]
SCRATCH = [*MATRIX, "--source=imagenet", "--regimes=train_from_scratch", f"--train_from_scratch={GRID}"]
QUICK = ray_cluster.Resources(waits=(0.1,))


# ---- the loop, on jobs that do nothing -----------------------------------------------------------


@pytest.fixture(scope="module")
def two_cores():
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@contextlib.contextmanager
def cluster_of_two():
    """(a cluster of two nodes of one core on this machine, the node that can be lost).

    Its end resets what this process knows of its own cluster's key-value store (two_cores): that is put back.
    """
    own = internal_kv.global_gcs_client
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    try:
        yield cluster, node
    finally:
        cluster.shutdown()
        if own is not None:
            internal_kv._initialize_internal_kv(own)


def run_jobs(jobs_, do, resources=QUICK):
    """(what jobs returned, by title; titles set aside with their reasons; what was said)."""
    facts, lines = {}, []
    failures = ray_cluster.run_jobs(jobs_, do, resources, lines.append,
                                    lambda job, returned: facts.update({job.title: returned}))
    return facts, {failure.title: failure.reason for failure in failures}, lines


def test_a_thousand_jobs_cost_the_driver_little(two_cores):
    run_jobs([Job("first", (), (0,))], lambda number: number)  # starts the workers
    start = time.process_time()
    facts, failures, _ = run_jobs([Job(str(i), (), (i,)) for i in range(1000)], lambda number: number)
    assert facts == {str(i): i for i in range(1000)} and not failures
    assert time.process_time() - start < 20  # of its CPU


def test_jobs_come_after_those_they_need(two_cores):
    moments = run_jobs([Job("a", (), ()), Job("b", (0,), ()), Job("c", (0, 1), ())],
                       lambda: (time.time(), time.sleep(0.1), time.time())[::2])[0]
    assert moments["a"][1] <= moments["b"][0] and moments["b"][1] <= moments["c"][0]


def test_what_fails_is_tried_by_another_worker_and_then_set_aside(two_cores, tmp_path):
    def do(name):
        tries = len(list(tmp_path.glob(f"{name}.*")))
        (tmp_path / f"{name}.{os.getpid()}").touch()
        if name == "poison" or name == "moody" and tries < 2:
            raise ValueError("broken")
        if name == "killer" and not tries:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "user":
            raise UserError("change --this")
        return tries

    names = ["good", "poison", "moody", "killer", "user", "needs_poison", "needs_that", "needs_moody"]
    needs = {"needs_poison": ("poison",), "needs_that": ("needs_poison", "good"), "needs_moody": ("moody",)}
    facts, failures, said = run_jobs([Job(name, tuple(map(names.index, needs.get(name, ()))), (name,))
                                      for name in names], do)
    assert facts == {"good": 0, "moody": 2, "killer": 1, "needs_moody": 0}
    assert failures == {"poison": "ValueError: broken", "user": "change --this",
                        "needs_poison": "it needs poison", "needs_that": "it needs poison"}
    assert len(list(tmp_path.glob("poison.*"))) == 3  # processes
    assert len(list(tmp_path.glob("user.*"))) == 1  # no other attempt helps
    assert any("killer failed (WorkerCrashedError" in line for line in said)


def test_a_free_worker_goes_on_with_the_graphs_that_it_has():
    ready = ReadyQueue([Job(str(number), (), (), graphs) for number, graphs in enumerate("aabbabc")])
    for number in (6, 3, 2, 1, 0, 5, 4):
        ready.add(number)
    assert (len(ready), ready.take([], [])) == (7, 0)
    assert ready.take([], [0]) == 2  # the first that shares nothing with what is running
    assert ready.take([2], [0]) == 3 and ready.take([0, 3], []) == 5  # of what ended, the latest
    assert ready.take([], [0, 5]) == 6
    assert ready.take([5], [0]) == 1  # nothing else is left
    assert ready.take([6], [1]) == 4 and not ready


@ray.remote(num_cpus=0)
class Listener:
    """Keeps what workers tell."""

    def __init__(self):
        self.heard = []

    def begun(self, *words):
        self.heard.append(words)

    def what(self):
        return self.heard


def test_who_works_on_what_is_known_meanwhile(two_cores, tmp_path):
    def do(name):
        if name == "moody" and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise ValueError("broken")
        time.sleep(0.5)

    seen, listener = [], Listener.remote()
    jobs_ = [Job("good", (), ("good",)), Job("moody", (), ("moody",)), Job("after", (1,), ("after",))]
    assert not ray_cluster.run_jobs(
        jobs_, do, QUICK, lambda line: None, listener=listener,
        on_poll=lambda running, retrying, failures: seen.append((sorted(running), dict(retrying), dict(failures))))
    assert seen[0] == ([0, 1], {}, {}) and seen[-1] == ([2], {}, {})
    assert any(retrying == {1: "ValueError: broken"} for _, retrying, _ in seen)
    heard = until(lambda: len(heard := ray.get(listener.what.remote())) == 4 and heard, 30)
    node = ray.get_runtime_context().get_node_id()
    assert sorted(heard) == [(index, socket.gethostname(), node) for index in (0, 1, 1, 2)]


def test_a_scheduler_writes_what_it_does(two_cores, tmp_path):
    trial, refit = (RunConfig(regime="finetune", trial=part) for part in ("1", REFIT))
    jobs_ = [Job("finetune resnet_50 pets trial 1/1", (), (trial, {"code": "0123", "data": ""})),
             Job("finetune resnet_50 pets", (0,), (refit, {"code": "0123", "data": ""}))]
    path = jobs.report_path(tmp_path)
    scheduler = ray_cluster.Scheduler.remote()
    code = worker.code_hash()
    assert "another tfbench" in ray.get(scheduler.begin.remote([], "0123", jobs_, QUICK, str(path), None))
    assert ray.get(scheduler.begin.remote([], code, jobs_, QUICK, str(path), "http://head:8265")) is None
    until(lambda: path.exists() and atomic.read_json(path, cure="")["ended"], 60)
    work = status.read_work(tmp_path)
    assert work["at_work"] is None and work["age"] < 60
    report = work["report"]
    assert (report["done"], report["of"], report["running"], report["dashboard"]) == (0, 2, [], "http://head:8265")
    first, second = report["set_aside"]
    assert first["title"] == jobs_[0].title and "has another tfbench" in first["reason"]
    assert second["reason"] == f"it needs {jobs_[0].title}"


def test_machines_that_differ_get_no_work():
    with cluster_of_two() as (cluster, node), process(sys.executable, "-c", f"""
import ray, time
from tfbench.sweep.executors import ray_cluster
from tfbench.sweep.jobs import Job
from tfbench.sweep.worker import WrongWorker
ray.init({cluster.address!r}, log_to_driver=False)
def do(bad):
    time.sleep(0.1)
    if bad in ("all", ray.get_runtime_context().get_node_id()):
        raise WrongWorker("HOST has another tfbench")
for bad in ({node.node_id!r}, "all"):
    done, said = [], []
    failures = ray_cluster.run_jobs([Job(str(i), (), (bad,)) for i in range(20)], do, ray_cluster.Resources(),
                                    said.append, lambda job, facts: done.append(job.title))
    print(len(done), len(failures), sum("gets no work" in line for line in said))
""") as driver:
        output, _ = driver.communicate(timeout=120)
    assert output.splitlines()[-2:] == ["20 0 1", "0 20 2"], output


# ---- a study as jobs -----------------------------------------------------------------------------


def options(*arguments):
    return parse(study, list(arguments))


def test_a_study_becomes_jobs_in_their_order(tmp_path, data_dir):
    flags = options(*WHOLE, f"--results_dir={tmp_path}", f"--data_dir={data_dir}")
    made, finished = jobs.make(jobs.plan_runs(flags, 1e11), Silent())
    assert not finished
    assert [(job.title.split(" ", 1)[0], job.call[0].trial, job.needs) for job in made] == [
        ("pretrain", ALL, ()), ("logistic_regression", ALL, (0,)),
        ("finetune", "1", (0,)), ("finetune", "2", (0,)), ("finetune", "3", (0, 2, 3)), ("finetune", "4", (0, 2, 3)),
        ("finetune", REFIT, (0, 4, 5)),
        ("train_from_scratch", "1", ()), ("train_from_scratch", "2", ()), ("train_from_scratch", REFIT, (7, 8))]
    assert [job.call[0].regime for job in made] == [job.title.split(" ", 1)[0] for job in made]
    assert [job.title for job in made[2:6]] == [f"finetune mobilenet_v1 digits trial {number}/2 of {steps} steps"
                                                for steps in (1, 3) for number in (1, 2)]
    run = jobs.plan_runs(flags, 1e11)[-1]
    folder = store.work_dir(tmp_path, resolve_prepared(run.config, {}).spec)
    atomic.write_json(store.trial_path(folder, 1), {
        "learning_rate": 0.01, "weight_decay": 0.0, "steps": 24, "validation_accuracy": 0.5, "diverged": False,
        "test_crop": "whole", "seconds": 1.0})
    assert [job.call[0].trial for job in jobs.make(jobs.plan_runs(flags, 1e11), Silent())[0]][7:] == ["2", REFIT]


def test_another_code_or_other_data_are_refused(tmp_path, data_dir):
    flags = options(*SCRATCH, f"--results_dir={tmp_path}", f"--data_dir={data_dir}")
    job, *_ = jobs.make(jobs.plan_runs(flags, 1e11), Silent())[0]
    config, expected = job.call
    for what, words in (("code", "has another tfbench"), ("data", "has another data set digits")):
        with pytest.raises(WrongWorker, match=f"{words} .* expected 0123, found"):
            worker.work(config, expected | {what: "0123"})


def test_impossible_resources_are_refused(two_cores):
    with pytest.raises(UserError, match="no node of the cluster has 1 CPUs and 3 GPUs for a trial, found 2 CPUs"):
        ray_cluster.check_resources(ray_cluster.Resources(gpus=3))


@pytest.mark.parametrize("address, told", [
    (None, "Ray did not start on this machine .timed out.*same command again"),
    ("auto", "there is no Ray cluster at --ray_address=auto .timed out.: start one")])
def test_a_cluster_that_does_not_start_is_told(address, told, monkeypatch):
    def init(*arguments, **more):
        raise Exception("timed out\nand more")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=told), ray_cluster.cluster(address, ray_cluster.Resources()):
        pass


# ---- whole studies -------------------------------------------------------------------------------


@contextlib.contextmanager
def process(*arguments):
    """A child process, which does not outlive the test."""
    child = subprocess.Popen(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.kill()


def start(results, data_dir, *arguments):
    return process(sys.executable, "-um", "tfbench.study", *arguments, f"--results_dir={results}",
                   f"--data_dir={data_dir}", "--yes")


def finish(*arguments):
    """Runs to the end; returns (exit code, output)."""
    with start(*arguments) as running:
        output, _ = running.communicate(timeout=300)
    return running.returncode, output


def scratch_only(records: dict) -> dict:
    return {name: outcome for name, outcome in records.items() if name.startswith("train_from_scratch")}


def until(there, seconds=180.0):
    """Waits for it."""
    end = time.monotonic() + seconds
    while not (value := there()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def at_work(title: str, ancestor: int | None = None) -> list[int]:
    """Processes that do jobs with that title: of any study, or those below `ancestor`."""
    def parents(pid):
        while pid > 1:
            yield pid
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    pids = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if title in (path / "cmdline").read_text() and (not ancestor or ancestor in parents(int(path.name))):
                pids.append(int(path.name))
    return pids


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_dir):
    """Outcomes of the study in one process."""
    results = tmp_path_factory.mktemp("whole")
    code, output = finish(results, data_dir, *WHOLE)
    assert code == 0, output
    return outcomes(results)


@pytest.mark.slow
def test_two_copies_and_a_killed_worker_come_to_the_records_of_one_process(whole, data_dir, tmp_path):
    with start(tmp_path, data_dir, *WHOLE, "--executor=ray") as first:
        until(lambda: (tmp_path / ".study-lock").exists())
        until(lambda: at_work("ray::", first.pid))
        with start(tmp_path, data_dir, *WHOLE, "--executor=ray") as second:
            until(lambda: list(tmp_path.glob("work/train*/trial1/checkpoints/*.index")))
            work = until(lambda: (work := status.read_work(tmp_path))["report"]["running"] and work)
            assert work["at_work"] == "ray" and work["report"]["of"] == 10
            assert {job["host"] for job in work["report"]["running"]} == {socket.gethostname()}
            for pid in at_work("ray::train_from_scratch mobilenet_v1 digits trial 1", first.pid):
                os.kill(pid, signal.SIGKILL)
            outputs = [running.communicate(timeout=300)[0] for running in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert "trial 1/2 failed (WorkerCrashedError" in outputs[0] and "attempt 2 of 3" in outputs[0], outputs[0]
    assert "waiting for its end" in outputs[1] and outputs[1].count("finished before") == 4, outputs[1]
    assert len(whole) == 4 and outcomes(tmp_path) == whole


@pytest.mark.slow
def test_what_the_user_must_mend_is_set_aside_and_the_rest_is_done(whole, data_dir, tmp_path):
    flags = [*WHOLE, "--finetune=--steps=3 --learning_rate=0.01 --weight_decay=0 --accumulate=5", "--executor=ray"]
    code, output = finish(tmp_path, data_dir, *flags)
    assert code == 1 and "cannot be shared equally by 1 devices and 5 micro-batches" in output, output
    assert "set aside: finetune mobilenet_v1 digits: it needs finetune mobilenet_v1 digits trial 1/1" in output
    assert "2 jobs set aside" in output and f"details are in {tmp_path / 'ray.json'}" in output
    with start(tmp_path, data_dir, *flags, "--status") as running:
        told, _ = running.communicate(timeout=60)
    assert re.search("finetune mobilenet_v1 digits.*: set aside: .* cannot be shared equally", told), told
    assert "3 of 4 runs finished, 0 begun, 1 set aside" in told and f"host {socket.gethostname()}: " in told, told
    assert outcomes(tmp_path) == {name: outcome for name, outcome in whole.items() if not name.startswith("finetune")}


@pytest.mark.slow
def test_jobs_wait_for_a_full_disk(whole, data_dir, tmp_path):
    """A checkpoint of the network does not fit; the study finishes when there is more room."""
    results = tmp_path / "results"
    results.mkdir()
    with disk(results, "size=8m"), start(results, data_dir, *SCRATCH, "--executor=ray") as running:
        until(lambda: list(results.glob("work/*/trial?/checkpoints/*")))  # of 25 MB: written as far as there is room
        time.sleep(2)
        assert running.poll() is None and not outcomes(results)
        remount(results, "size=300m")
        output, _ = running.communicate(timeout=300)
        assert running.returncode == 0 and outcomes(results) == scratch_only(whole), output


@pytest.mark.slow
def test_a_killed_command_continues(whole, data_dir, tmp_path):
    flags = [*SCRATCH, "--executor=ray"]
    with start(tmp_path, data_dir, *flags) as running:
        until(lambda: list(tmp_path.glob("work/*/trial?/checkpoints/*.index")))
        workers = at_work("ray::train_from_scratch", running.pid)
    until(lambda: not set(workers) & set(at_work("ray::")), 60)  # its cluster ends with it
    assert workers and not outcomes(tmp_path)
    code, output = finish(tmp_path, data_dir, *flags)
    assert code == 0 and outcomes(tmp_path) == scratch_only(whole), output


@pytest.mark.slow
def test_a_cluster_that_loses_its_last_node_ends_the_command(whole, data_dir, tmp_path):
    flags = [*SCRATCH, "--executor=ray"]
    with start(tmp_path, data_dir, *flags) as running:
        until(lambda: list(tmp_path.glob("work/*/trial?/checkpoints/*.index")))
        (raylet,) = at_work("raylet/raylet\0", running.pid)
        os.kill(raylet, signal.SIGKILL)
        output, _ = running.communicate(timeout=180)
    assert running.returncode == 2 and "lost its last node, this machine's: the same command" in output, output
    code, output = finish(tmp_path, data_dir, *flags)
    assert code == 0 and outcomes(tmp_path) == scratch_only(whole), output


@pytest.mark.slow
def test_on_a_cluster_copies_meet_nodes_are_lost_and_work_goes_on(whole, data_dir, tmp_path):
    with cluster_of_two() as (cluster, lost):
        flags = [*SCRATCH, "--executor=ray", f"--ray_address={cluster.address}"]
        with start(tmp_path, data_dir, *flags) as first:
            until(lambda: list(tmp_path.glob("work/*/trial?/checkpoints/*.index")))
            first.kill()  # the study goes on on the cluster
        code, output = finish(tmp_path, data_dir, *flags, "--tries=5")
        assert code == 2 and "expected --tries=3, found --tries=5" in output, output
        with start(tmp_path, data_dir, *flags) as second, start(tmp_path, data_dir, *flags) as third:
            cluster.remove_node(lost)
            outputs = [running.communicate(timeout=300)[0] for running in (second, third)]
        assert [second.returncode, third.returncode] == [0, 0], outputs
    assert outcomes(tmp_path) == scratch_only(whole)
