"""--executor=ray: a job per trial on a Ray cluster."""

import contextlib
import importlib.util

from tfbench.cli.progress import Display
from tfbench.errors import UserError
from tfbench.files import atomic, sharing
from tfbench.sweep import jobs
from tfbench.wording import count, say

READ_ONLY_FLAGS = (  # they decide nothing of a study
    "status", "watch", "json", "export", "plan", "throughput", "accelerator", "gpus", "yes")


def run(options, runs: list[jobs.Run]) -> int | None:
    """Runs everything on the cluster; returns the exit code 1 where a job failed for good."""
    if not importlib.util.find_spec("ray"):
        raise UserError("--executor=ray needs Ray, which is not installed here: `pip install -r "
                        "requirements-cluster.txt`, or take --executor=local")
    # On a cluster that stays, copies of this command meet in Ray; here, one waits for the other.
    with contextlib.nullcontext() if options.ray_address else sharing.exclusive_lock(options.results_dir, say):
        return _run(options, runs)


def _run(options, runs: list[jobs.Run]) -> int | None:
    from tfbench.sweep.executors import ray_cluster  # and Ray

    resources = ray_cluster.Resources(options.cpus_per_trial, options.gpus_per_trial, options.tries)
    decisive = sorted(f"--{name}={value}" for name, value in vars(options).items()
                      if name not in READ_ONLY_FLAGS and value is not None)
    failures = []
    with Display(1, stages=False) as progress:
        left, finished = jobs.make(runs, progress)
        for line in finished:
            progress.line(line)
        report = jobs.report_path(options.results_dir)
        atomic.delete(jobs.set_aside_path(options.results_dir))  # an earlier study's, in one process
        if left:
            with ray_cluster.cluster(options.ray_address, resources) as dashboard:
                if dashboard:
                    progress.line(f"Ray's dashboard: {dashboard}")
                failures = ray_cluster.run(lambda: jobs.make(runs, progress)[0], decisive, report, dashboard,
                                           resources, progress)
        else:
            atomic.delete(report)
    for failure in failures:
        say(f"set aside: {failure.title}: {failure.reason}")
    if not failures:
        return None
    say(f"{count(len(failures), 'job')} set aside, everything else is finished; the details are in {report}. The "
        "same command tries them again")
    return 1
