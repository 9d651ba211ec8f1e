"""Runs a matrix of networks, data sets and regimes, in this process or on a Ray cluster, then the analysis.

Each network is pretrained on the source set, then transferred to every data set in every regime.
First the plan is shown: how many runs and images, and how long they will take here. Finished runs are
kept, interrupted ones continued: the same command again is always right.

  python -m tfbench.study --flagfile=flags/miniature.flags
  python -m tfbench.study --flagfile=flags/miniature.flags --status      what is there of it
  python -m tfbench.study --flagfile=flags/paper_v3.flags --plan         what the whole paper takes
  python -m tfbench.study --flagfile=flags/paper_v3.flags --flagfile=flags/cluster.flags --yes      on a cluster
"""

import contextlib
import dataclasses
import importlib.util
import json
import sys
import time

from absl import flags

from tfbench import finetune, logistic_regression, pretrain, train_from_scratch
from tfbench.cli import app
from tfbench.cli import flags as cli
from tfbench.cli.progress import Display
from tfbench.data.catalog import DATASETS
from tfbench.errors import UserError
from tfbench.files import sharing
from tfbench.linear import cache
from tfbench.models.lookup import check_image_size, get_network, is_custom
from tfbench.models.weights import CUSTOM
from tfbench.results import archive
from tfbench.results.record import summary
from tfbench.sweep import jobs, plan, status
from tfbench.wording import count

REGIMES = {"logistic_regression": logistic_regression, "finetune": finetune,
           "train_from_scratch": train_from_scratch}
PROGRAMS = {"pretrain": pretrain, **REGIMES}

LOOKS = ("status", "watch", "json", "export", "plan", "throughput", "yes")  # flags that decide nothing of a study

SHARED = ("image_size", "batch_size", "seed", "deterministic", "devices", "results_dir", "data_dir", "split_seed",
          "voc_difficult", "aircraft_banner")


def define_flags(fv=flags.FLAGS) -> None:
    """The flags of this program: the matrix, and for each program its own flags as one string."""
    cli.define_models(fv)
    cli.define_datasets(fv)
    cli.define_names("regimes", tuple(REGIMES), "regimes to run, comma-separated; all three, as in the paper",
                     "regime", REGIMES, fv)
    cli.define_name("source", None, "data set on which every network is pretrained, or `imagenet` for the public "
                    "weights that tfbench.prepare_models made and those that networks of your own load", "data set",
                    (*DATASETS, plan.IMAGENET), fv)
    flags.mark_flags_as_required(["source"], flag_values=fv)
    for program in PROGRAMS:
        flags.DEFINE_string(program, "", f"flags for tfbench.{program}, separated by spaces, e.g. "
                            "'--steps=100 --weight_decay=0'", flag_values=fv)
    cli.define_search_flag(fv)
    cli.define_reading_flags(fv)
    cli.define_machine_flags(fv)
    cli.define_folder_flags(fv)
    cli.define_executor_flags(fv)
    flags.DEFINE_boolean("status", False, "only say which runs are finished, running, begun, set aside and left, what "
                         "they took and will take, on which hosts, and which features are kept on disk", flag_values=fv)
    flags.DEFINE_integer("watch", 0, "--status again and again, every so many seconds, until all runs are finished "
                         "(0, our choice: not at all)", lower_bound=0, flag_values=fv)
    flags.DEFINE_boolean("json", False, "--status as JSON, for programs", flag_values=fv)
    flags.DEFINE_string("export", None, "only write an archive of what is finished to this new folder: rows, "
                        "predictions, metadata, no weights", flag_values=fv)
    flags.DEFINE_boolean("plan", False, "only say what there is to do, what it takes and what is missing for it",
                         flag_values=fv)
    flags.DEFINE_string("throughput", None, "file that `benchmark --what=training --output=FILE` wrote on the machine "
                        "that will do the work, to estimate its time; unset: this machine's processor", flag_values=fv)
    flags.DEFINE_boolean("yes", False, "start without asking, for scripts", flag_values=fv)


@dataclasses.dataclass(frozen=True)
class Run:
    """One planned run: a program, its flag values and its cost."""

    regime: str
    options: flags.FlagValues
    cost: plan.Cost
    variant: str  # which point of a curve it is, in words

    @property
    def title(self) -> str:
        return jobs.title_of(self.regime, self.options.model, self.options.dataset, self.variant)


@app.gc_paused()
def plan_runs(options, rate: float | dict[str, float]) -> list[Run]:
    """The runs in the order that shares most traced graphs.

    Args:
      rate: of matrix products on this machine, or by network (sweep.plan.matrix_rate, measured_rates).

    Raises:
      UserError: flags that a program refuses, or what this version cannot do.
    """
    shared = [f"--{name}={value}" for name in SHARED if (value := options[name].value) is not None]

    def planned(regime, network, dataset):
        arguments = [f"--model={network}", f"--dataset={dataset}", *shared]
        if regime in jobs.SEARCHED:
            arguments.append(f"--search={options.search}")
        if is_custom(network) and options.source == plan.IMAGENET and regime in jobs.WEIGHTED:
            arguments.append(f"--weights={CUSTOM}")
        arguments += options[regime].value.split()
        try:
            values = cli.parse(PROGRAMS[regime].define_flags, arguments)
        except flags.Error as error:
            raise UserError(f"tfbench.{regime} refuses --{regime}={options[regime].value!r}: {error}") from None
        check_image_size(get_network(network), values.image_size or get_network(network).image_size)
        return [Run(regime, single, plan.cost(regime, single, rate), cli.variant(values, single))
                for single in cli.single_runs(values)]

    fixed = [regime for regime in options.regimes if regime == "logistic_regression"]
    trained = [regime for regime in options.regimes if regime != "logistic_regression"]
    runs = []
    for network in options.models:
        if options.source != plan.IMAGENET:
            runs += planned("pretrain", network, options.source)
        cells = [(regime, dataset) for regime in fixed for dataset in options.datasets]
        cells += [(regime, dataset) for dataset in options.datasets for regime in trained]
        for regime, dataset in cells:
            runs += planned(regime, network, dataset)
    return runs


def show_status(options, runs: list[Run]) -> None:
    """Prints what is there of the study, with --watch again and again until all of it is."""
    while True:
        work = status.read_work(options.results_dir)
        found, caches = status.states(options.results_dir, runs, work), cache.describe_all(options.results_dir)
        print(json.dumps(status.as_json(found, caches, work)) if options.json
              else "\n".join(status.lines(found, caches, work)), flush=True)
        if not options.watch or all(state.state == "finished" for state in found):
            return
        time.sleep(options.watch)


def run_all(options, runs: list[Run]) -> None:
    """Runs everything in this process; weights made by a pretraining go to the runs of the same network after it."""
    jobs.report_path(options.results_dir).unlink(missing_ok=True)  # an earlier study's on Ray
    weights = {}  # network -> file
    with Display(sum(run.cost.seconds for run in runs), stages=False) as progress:
        for number, planned in enumerate(runs, start=1):
            progress.run(planned.title, planned.cost.seconds, planned.cost.trained + planned.cost.evaluated)
            jobs.use_weights(planned, weights)
            row, new = PROGRAMS[planned.regime].run(planned.options, progress)
            jobs.keep_weights(planned, row["spec"], weights)
            progress.finish_run()
            spent = f"{row['seconds']:.0f} s" if new else "finished before"
            progress.line(f"[{number}/{len(runs)}] {summary(row)} – {spent}")


def run_on_ray(options, runs: list[Run]) -> int | None:
    """Runs everything on a Ray cluster, a unit per trial; returns the exit code 1 where something is set aside."""
    from tfbench.sweep.executors import ray_cluster  # and Ray

    resources = ray_cluster.Resources(options.cpus_per_trial, options.gpus_per_trial, options.tries)
    decisive = sorted(line for line in options.flags_into_string().splitlines()
                      if line.removeprefix("--").removeprefix("no").split("=")[0] not in LOOKS)
    failures = []
    with Display(1, stages=False) as progress:
        left, finished = jobs.make(runs, progress)
        for line in finished:
            progress.line(line)
        report = jobs.report_path(options.results_dir)
        if left:
            with ray_cluster.cluster(options.ray_address, resources) as dashboard:
                if dashboard:
                    progress.line(f"Ray's dashboard: {dashboard}")
                failures = ray_cluster.run(lambda: jobs.make(runs, progress)[0], decisive, report, dashboard,
                                            resources, progress)
        else:
            report.unlink(missing_ok=True)
    for failure in failures:
        print(f"set aside: {failure.title}: {failure.reason}")
    if not failures:
        return None
    print(f"{count(len(failures), 'unit')} of work set aside, everything else is finished; the details are in "
          f"{report}. The same command tries them again")
    return 1


def main(argv) -> int | None:
    del argv
    options = cli.own(define_flags)

    # ---- what to run -------------------------------------------------------------------------------
    if options.executor == "ray" and not importlib.util.find_spec("ray"):
        raise UserError("--executor=ray needs Ray, which is not installed here: `pip install -r "
                        "requirements-cluster.txt`, or take --executor=local")
    runs = plan_runs(options, plan.measured_rates(options.throughput) if options.throughput else plan.matrix_rate())
    if options.status or options.watch:
        return show_status(options, runs)
    if options.export:
        number = archive.export(options.results_dir, options.export)
        print(f"{count(number, 'row')} with predictions and metadata: {options.export}")
        return None
    print(plan.describe(options, runs))
    if options.plan:
        return None
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError("nobody is there to confirm the plan: add --yes to start without asking")
        if input("Start? [Y/n] ").strip().lower() not in ("", "y", "yes"):
            print("nothing was started")
            return 1

    # ---- run, then analyse -------------------------------------------------------------------------
    # On a cluster that stays, copies of this command meet in Ray; here, one waits for the other.
    on_cluster = options.executor == "ray" and options.ray_address
    with contextlib.nullcontext() if on_cluster else sharing.exclusive_lock(options.results_dir, print):
        if code := (run_on_ray if options.executor == "ray" else run_all)(options, runs):
            return code
    from tfbench import analysis

    analysis.analyse(results_dir=options.results_dir)
    return None


if __name__ == "__main__":
    define_flags()
    app.run(main)
