"""--executor=local: everything on this machine, one run after another, or several side by side in processes."""

import contextlib
import dataclasses
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Iterator

from tfbench.cli import app
from tfbench.cli.progress import Display, Silent
from tfbench.errors import Preempted, Unwritable, UserError
from tfbench.files import atomic, sharing
from tfbench.inputs import dataset_of, prepare_data
from tfbench.regimes import PRETRAIN
from tfbench.results.record import summary
from tfbench.sweep import jobs
from tfbench.sweep.run import execute
from tfbench.wording import count, say

ALIVE_SECONDS = 5.0  # after which without a result the processes are looked after


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run came to: its title, a line on it, and whether it was set aside, for the reason that `line` gives."""

    title: str
    line: str
    set_aside: bool = False


def run(options, runs: list[jobs.Run]) -> int | None:
    """Runs everything, while no other study is at work in the results folder.

    A run that is refused is set aside with its reason, and what needs its weights; the rest goes on. The reasons are
    kept for --status.

    Returns:
      The exit code 1 where one was.
    """
    costs = {planned.title: planned.cost.seconds for planned in runs}
    chains = chains_of(runs, options.processes)
    processes = min(options.processes, len(chains))
    set_aside: dict[str, str] = {}  # title -> reason
    part = f"-{options.task.replace('/', '-of-')}" if options.task else ""
    with (sharing.exclusive_lock(options.results_dir, say, part),
          Display(sum(costs.values()), stages=False) as progress):
        if not part:
            for path in (jobs.report_path(options.results_dir), jobs.set_aside_path(options.results_dir)):
                atomic.delete(path)  # an earlier study's
        results = one_after_another(runs, progress) if processes < 2 else side_by_side(chains, processes, progress)
        for number, result in enumerate(results, start=1):
            if processes > 1:  # nothing was told before
                progress.run(result.title, costs[result.title])
            progress.finish_run()
            line = result.line
            if result.set_aside:
                set_aside[result.title] = line
                line = f"{result.title} is set aside, --status says why"
                _keep(options, set_aside, bool(part))
            progress.line(f"[{number}/{len(runs)}] {line}")
    for title, reason in set_aside.items():
        say(f"set aside: {title}: {reason}", error=True)
    if not set_aside:
        return None
    say(f"{count(len(set_aside), 'run')} of {len(runs)} set aside"
        f"{', everything else is finished' if len(set_aside) < len(runs) else ''}; the same command tries "
        "again", error=True)
    return 1


def chains_of(runs: list[jobs.Run], processes: int) -> list[list[jobs.Run]]:
    """Runs to do one after another, several such chains side by side: those of a network each.

    Of fewer networks than processes, those of a network on a data set each, where nothing is pretrained.
    """
    networks: dict[str | None, list[jobs.Run]] = {}
    for planned in runs:
        networks.setdefault(planned.config.model, []).append(planned)
    if len(networks) >= processes:
        return list(networks.values())
    return list(jobs.parts_of(runs).values())


def one_after_another(runs: list[jobs.Run], progress) -> Iterator[Result]:
    """Does runs in their order, in this process; each pretraining comes before what needs its weights."""
    weights: dict[str, str] = {}
    no_weights: dict[str, str] = {}  # network -> title of its pretraining, which was set aside
    for planned in runs:
        progress.run(planned.title, planned.cost.seconds)
        config = jobs.use_weights(planned.config, weights)
        try:
            if config.kind.pretrained and config.model in no_weights:
                raise UserError(f"it needs {no_weights[config.model]}")
            record, new = execute(config, progress)
        except UserError as error:
            if config.regime == PRETRAIN.name:
                no_weights[config.model] = planned.title
            yield Result(planned.title, str(error), set_aside=True)
            continue
        assert record  # of a whole run
        jobs.keep_weights(config, record.spec, weights)
        spent = f"{record.seconds:.0f} s" if new else "finished before"
        yield Result(planned.title, f"{summary(record)} – {spent}")


def side_by_side(chains: list[list[jobs.Run]], processes: int, progress) -> Iterator[Result]:
    """Does the runs of each chain one after another, `processes` chains at a time, each in a process of its own.

    Every process may use all cores, as it does alone: the last bits of a sum depend on how many share it.
    """
    for config in {planned.config.dataset: planned.config for runs in chains for planned in runs}.values():
        with contextlib.suppress(UserError):  # its runs will say so
            prepare_data(config, dataset_of(config), progress)
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    for runs in chains:
        todo.put(runs)
    for _ in range(processes):
        todo.put(None)
    workers = [context.Process(target=_work, args=(todo, results), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    left = sum(map(len, chains))
    try:
        while left:
            try:
                yield results.get(timeout=ALIVE_SECONDS)
                left -= 1
            except queue.Empty:
                if codes := [worker.exitcode for worker in workers if worker.exitcode]:
                    raise UserError(f"expected {count(processes, 'process')} at work, one ended with exit code "
                                    f"{codes[0]}: take fewer --processes if memory was short; the same command "
                                    "continues") from None
    finally:
        for worker in workers:  # what one is training is saved first
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(todo, results) -> None:
    """Does chains until there is none left, in a process of its own."""
    app.quiet()
    app.hear_preemption()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C: the process that started this one ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(Preempted):  # the process that started this one says so
        while runs := todo.get():
            for result in one_after_another(runs, Silent()):
                results.put(result)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # done: the results are on their way


def _end_with_parent() -> None:
    """Stops this process, as SIGTERM does, when the one that started it is gone: killed, it could not."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _keep(options, set_aside: dict[str, str], shared: bool) -> None:
    """Writes why runs are set aside, for --status; `shared`: beside what other tasks of the study wrote.

    Where it cannot be written the rest of the study goes on: the reasons are said at its end too.
    """
    path = jobs.set_aside_path(options.results_dir)
    with contextlib.suppress(Unwritable):
        if not shared:
            atomic.write_json(path, set_aside)
            return
        with sharing.exclusive_lock(options.results_dir, lambda line: None, "-of-what-is-set-aside"):
            atomic.write_json(path, jobs.read_set_aside(options.results_dir) | set_aside)
