"""Runs a matrix of networks, data sets and regimes, here, on a cluster or as commands; then the analysis.

Each network is pretrained on the source set, then transferred to every data set in every regime.
First the plan is shown: how many runs and images, and how long they will take here. Finished runs are
kept, interrupted ones continued: the same command again is always right.

  python -m tfbench.study --flagfile=flags/miniature.flags
  python -m tfbench.study --flagfile=flags/miniature.flags --status      what is there of it
  python -m tfbench.study --flagfile=flags/paper_v3.flags --plan         what the whole paper takes
  python -m tfbench.study --flagfile=flags/paper_v3.flags --plan --accelerator=a100 --gpus=8
  python -m tfbench.study --flagfile=flags/paper_v3.flags --executor=commands      a line per job, in stages
  python -m tfbench.study --flagfile=flags/paper_v3.flags --task=3/64 --yes      a part, as of a job array
  python -m tfbench.study --flagfile=flags/paper_v3.flags --flagfile=flags/cluster.flags --yes      on a cluster
"""

import contextlib
import dataclasses
import datetime
import json
import re
import statistics
import sys
import time

from tfbench.cli import app, flags
from tfbench.cli.fetch import tell_failures
from tfbench.cli.progress import Display, refresh
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.files.paths import as_path
from tfbench.linear import cache
from tfbench.regimes import REGIMES, RUNS
from tfbench.results import archive, store
from tfbench.sweep import accelerators, best, executors, jobs, lacking, plan, status, time_budget
from tfbench.wording import count, say

CLUSTER, LOOK = "executor", "only look"  # groups of --help

SETTINGS = {
    "models": Setting(None, "networks", "networks of the study, comma-separated: names, patterns such as resnet_*, "
                      "groups, or MODULE:FUNCTION or PATH.keras, custom ones", WHAT, required=True, alias="model"),
    "datasets": Setting(None, "datasets", "target data sets, comma-separated: names or patterns, `paper` for the "
                        "paper's twelve, folder:PATH or tfds:NAME", WHAT, required=True, alias="dataset"),
    "source": Setting(None, "name", "data set on which every network is pretrained, or `imagenet` for the public "
                      "weights that tfbench.prepare_models made and those that custom networks load", WHAT,
                      choices=(*DATASETS, plan.IMAGENET), required=True),
    "regimes": Setting(tuple(REGIMES), "names", "regimes to run, comma-separated; all three, as in the paper", WHAT,
                       choices=tuple(REGIMES)),
    **{name: Setting("", "text", f"flags for tfbench.{name}, separated by spaces, e.g. '--steps=100 --weight_decay=0'",
                     "flags of the programs") for name in RUNS},
    "pretrain_own": Setting("", "text", "further flags for tfbench.pretrain by network, which win over --pretrain: "
                            "'NETWORK --steps=60; NETWORK --steps=240' (our choice: all networks alike)",
                            "flags of the programs"),
    **{name: FIELDS[name] for name in (
        "preset", "search", "image_size", "seed", "split_seed", "voc_difficult", "aircraft_banner", "metric",
        "deterministic", "devices", "results_dir", "data_dir")},
    "budget": dataclasses.replace(FIELDS["budget"], help=FIELDS["budget"].help + "; all runs take the same level"),
    "best": Setting(0, "integer", "take only so many of --models: those whose finished logistic regressions on the "
                    "data set are the most accurate on its validation images (0, our choice: all)", WHAT, minimum=0),
    "batch_size": dataclasses.replace(FIELDS["batch_size"], default=None, help="images per step over all devices, of "
                                      "every program; unset: each one's own, 4096 in pretraining, else 256, on few "
                                      "examples fewer (v3 appendix A)"),
    "keep_model": dataclasses.replace(FIELDS["keep_model"], default=False, help="keep every trained network with its "
                                      "classifier in RESULTS_DIR/models, for predict and export; the plan says its "
                                      "disk"),
    "executor": Setting("local", "choice", "local: on this machine, one run after another; ray: on a Ray cluster, a "
                        "job per trial; commands: print a line per job, in stages, for other schedulers", CLUSTER,
                        choices=executors.EXECUTORS),
    "processes": Setting(1, "integer", "networks at a time on --executor=local, each in a process of its own: on a "
                         "processor small networks leave cores idle (our choice); of fewer networks, where none is "
                         "pretrained first, data sets of a network", CLUSTER, minimum=1),
    "task": Setting(None, "text", "K/N: do the K-th of N parts of the study, which N processes on whatever machines "
                    "share, such as the tasks of a job array; unset: all", CLUSTER),
    "ray_address": Setting(None, "text", "Ray's cluster: HOST:6379 of its head, or auto for the one this machine "
                           "belongs to; unset: a cluster of this machine alone, for the time of the command", CLUSTER),
    "gpus_per_trial": Setting(0.0, "number", "GPUs of each job on Ray; 0.5: two share one, 0 (our choice): processor "
                              "only", CLUSTER, minimum=0),
    "cpus_per_trial": Setting(1.0, "number", "processor cores that Ray counts for each of them (our choice)", CLUSTER,
                              minimum=0),
    "tries": Setting(3, "integer", "attempts at a job on Ray before it is set aside and the rest goes on (our choice)",
                     CLUSTER, minimum=1),
    "plan": Setting(False, "switch", "only say what there is to do, what it takes and what is missing for it", LOOK),
    "throughput": Setting(None, "text", "file that `benchmark --what=training --output=FILE` wrote on the machine that "
                          "will do the work, to estimate its time; unset: this machine's processor", LOOK),
    "accelerator": Setting(None, "choice", "device of --plan's table of times, which need not be here; unset: all of "
                           "them", LOOK, choices=accelerators.ACCELERATORS),
    "gpus": Setting(1, "integer", "how many of them share the work in that table (our choice)", LOOK, minimum=1),
    "status": Setting(False, "switch", "only say which runs are finished, running, begun, set aside and left, as a "
                      "matrix, what they took and will take, on which hosts, which features are kept on disk", LOOK),
    "watch": Setting(0, "integer", "--status again and again, every so many seconds, until all runs are finished "
                     "or ^C; a terminal is cleared before (0, our choice: not at all)", LOOK, minimum=0),
    "json": Setting(False, "switch", "--status as JSON, for programs", LOOK),
    "export": Setting(None, "text", "only write an archive of what is finished to this new folder: records, "
                      "predictions, metadata of weights, no weights", LOOK),
    "prepare": Setting(False, "switch", "first fetch and prepare the weights and data that the study lacks, asked "
                       "once; the plan says their size, and what must be brought by hand; what cannot be had is set "
                       "aside with its runs", CLUSTER),
    "yes": Setting(False, "switch", "start without asking, for scripts", CLUSTER),
}


def show_status(options, runs: list[jobs.Run]) -> None:
    """Prints what is there of the study, with --watch again and again until all of it is."""
    while True:
        work = status.read_work(options.results_dir)
        states, caches = status.states(options.results_dir, runs, work), cache.describe_all(options.results_dir)
        if options.json:
            say(json.dumps(status.as_json(states, caches, work)))
        else:
            lines = status.lines(states, caches, work)
            if options.watch:
                moment = datetime.datetime.now()
                refresh([f"{moment:%Y-%m-%d %H:%M:%S}, again every {options.watch} s until all is finished", *lines])
            else:
                for line in lines:
                    say(line)
        if not options.watch or all(state.state == "finished" for state in states):
            return
        time.sleep(options.watch)


def within_budget(options, runs: list[jobs.Run], *, measure: bool, start: float) -> tuple[list[jobs.Run], list[str]]:
    """The runs at the level that fits into --budget, and lines that say which it is; as time_budget.fit."""
    with Display(1) as progress:
        fitted = time_budget.fit([run.config for run in runs], options.budget, progress, start=start, measure=measure)
    return [dataclasses.replace(run, config=config, cost=cost) for run, config, cost in zip(
        runs, fitted.configs, fitted.costs, strict=True)], fitted.lines


def task_of(options) -> tuple[int, int] | None:
    """--task as (number, of), None without; UserError where it is none."""
    if options.task is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", options.task)
    if not match or int(match[1]) > int(match[2]):
        raise UserError(f"expected --task as K/N with K from 1 to N, such as 3/16, found {options.task!r}")
    if options.executor != "local":
        raise UserError(f"--task is for --executor=local, --executor={options.executor} shares the study by itself: "
                        "leave one of them out")
    return int(match[1]), int(match[2])


def nobody() -> UserError:
    return UserError("nobody is there to confirm the plan: add --yes to start without asking")


def confirm(options, question: str) -> bool:
    """Whether a person, or --yes, agrees.

    Raises:
      UserError: nobody is there.
    """
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise nobody()
    if input(f"{question} [Y/n] ").strip().lower() in ("", "y", "yes"):
        return True
    say("nothing was started")
    return False


def fetch_lacking(lacks: list[lacking.Lack]) -> None:
    """Fetches and prepares what can be, whatever one part of it meets; says what could not be had."""
    from tfbench import prepare_data, prepare_models

    for part in lacking.groups(lacks):
        program = prepare_models if part[0].weights else prepare_data
        tell_failures(program.prepare_all(flags.parse(program.SETTINGS, lacking.arguments(part)[1])))


def main(options) -> int | None:
    start = time.monotonic()
    if options.gpus_per_trial > 1 and options.gpus_per_trial % 1:
        raise UserError(f"expected a whole number of GPUs, or a part of one, found "
                        f"--gpus_per_trial={options.gpus_per_trial:g}: take {int(options.gpus_per_trial)}")
    if options.budget and options.executor != "local":
        raise UserError(f"--budget measures and watches this process, --executor={options.executor} runs others: leave "
                        "it out, and take --search=halving, --grid or a preset")
    # ---- what to run -------------------------------------------------------------------------------
    if options.best:
        options.models, lines = best.choose(options)
        for line in lines:
            say(line, error=True)
    task = task_of(options)
    rates = [] if options.throughput else plan.matrix_rates()
    runs = jobs.plan_runs(options, statistics.median(rates) if rates else plan.measured_rates(options.throughput))
    if task:
        runs = jobs.part_of(runs, *task)
    for line in jobs.notes(runs):
        say(line, error=True)
    looks = options.status or options.watch or options.plan
    level: list[str] = []
    shown = False
    if options.prepare and not looks and not options.export and any(
            lacking.groups(lacks := lacking.of_study(options, runs))):
        for line in plan.describe(options, runs, rates).splitlines():
            say(line, error=options.executor == "commands")
        asked = time.monotonic()
        if not confirm(options, f"Fetch about {lacking.size(lacks)} and start?"):
            return 1
        with contextlib.redirect_stdout(sys.stderr) if options.executor == "commands" else contextlib.nullcontext():
            fetch_lacking(lacks)
        start += time.monotonic() - asked  # this time is not the budget's
        options.yes = shown = True
    if options.budget and not options.export:
        if not looks and not options.yes and not sys.stdin.isatty():
            raise nobody()
        try:
            runs, level = within_budget(options, runs, measure=not looks, start=start)
        except UserError as error:
            if not options.status and not options.watch:
                raise
            level = [str(error)]
    if options.status or options.watch:
        for line in level:
            say(line, error=True)
        show_status(options, runs)
        return None
    if options.export:
        number = archive.export(options.results_dir, options.export)
        say(f"{count(number, 'row')} with predictions and metadata of weights: {options.export}")
        return None
    if options.executor == "commands" and not options.plan:
        return executors.run(options, runs)
    described = [] if shown else plan.describe(options, runs, rates).splitlines()
    for line in [*described, *(f"  {line}" for line in level)]:
        say(line)
    if options.plan:
        return None
    asked = time.monotonic()
    if not confirm(options, "Start?"):
        return 1
    start += time.monotonic() - asked  # this time is not the budget's

    # ---- run, then analyse -------------------------------------------------------------------------
    with time_budget.deadline(options.budget, start, lambda: status.left(options.results_dir, runs)):
        code = executors.run(options, runs)
    if task:
        say(f"task {options.task} has ended; when all have: python -m tfbench.analysis "
            f"--results_dir={options.results_dir}")
        return code
    if code and not (as_path(options.results_dir).is_dir() and any(
            record.regime in REGIMES for record in store.read_records(options.results_dir))):
        return code
    from tfbench import analysis

    analysis.analyse(results_dir=options.results_dir)
    if code:
        say("not all of the study is in this analysis: some runs are set aside, their reasons stand above", error=True)
    return code


def again(options) -> str:
    """What the same command does after an interruption: one that only looks, or prints, begins anew."""
    looks = options.status or options.watch or options.plan or options.export or options.executor == "commands"
    if looks:
        return ""
    return app.FRESH_BUDGET if options.budget else app.CONTINUES


if __name__ == "__main__":
    app.start("study", __doc__, SETTINGS, main, again=again)
