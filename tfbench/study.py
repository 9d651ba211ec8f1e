"""Runs a matrix of networks, data sets and regimes in this process, then the analysis.

Each network is pretrained on the source set, then transferred to every data set in every regime.
First the plan is shown: how many runs and images, and how long they will take here. Finished runs are
kept, interrupted ones continued: the same command again is always right.

  python -m tfbench.study --flagfile=flags/miniature.flags
  python -m tfbench.study --flagfile=flags/miniature.flags --status      what is there of it
  python -m tfbench.study --flagfile=flags/paper_v3.flags --plan         what the whole paper takes
"""

import dataclasses
import json
import sys
import time

from absl import flags

from tfbench import UserError, finetune, logistic_regression, pretrain, train_from_scratch
from tfbench.cli import app, plan, status
from tfbench.cli import flags as cli
from tfbench.cli.program import resolve
from tfbench.cli.progress import Display
from tfbench.data import manifests
from tfbench.data.catalog import DATASETS
from tfbench.data.find import find
from tfbench.data.sources import SOURCES
from tfbench.linear import cache
from tfbench.models.catalog import GROUPS, NETWORKS, check_network
from tfbench.models.weights import imagenet_path
from tfbench.results import archive, store
from tfbench.results.row import summary
from tfbench.stats.titles import count

REGIMES = {"logistic_regression": logistic_regression, "finetune": finetune,
           "train_from_scratch": train_from_scratch}
PROGRAMS = {"pretrain": pretrain, **REGIMES}

IMAGENET = "imagenet"  # as a source: nothing is pretrained here

SHARED = ("image_size", "batch_size", "seed", "deterministic", "devices", "results_dir", "data_dir", "split_seed",
          "voc_difficult", "aircraft_banner")


def define_flags(fv=flags.FLAGS) -> None:
    """The flags of this program: the matrix, and for each program its own flags as one string."""
    cli.define_names("models", None, "networks of the study, comma-separated: names, patterns such as resnet_*, "
                     "`paper` for the sixteen of v3, `paper_v1` for the thirteen of v1", "network", NETWORKS, fv,
                     GROUPS)
    cli.define_datasets(fv)
    cli.define_names("regimes", tuple(REGIMES), "regimes, comma-separated", "regime", REGIMES, fv)
    cli.define_name("source", None, "data set on which every network is pretrained, or `imagenet` for the public "
                    "weights that tfbench.prepare_models made", "data set", (*DATASETS, IMAGENET), fv)
    flags.mark_flags_as_required(["models", "source"], flag_values=fv)
    for program in PROGRAMS:
        flags.DEFINE_string(program, "", f"flags for tfbench.{program}, separated by spaces, e.g. "
                            "'--steps=100 --weight_decay=0'", flag_values=fv)
    cli.define_reading_flags(fv)
    cli.define_machine_flags(fv)
    cli.define_folder_flags(fv)
    flags.DEFINE_boolean("status", False, "only say which runs are finished, begun and left, what they took and will "
                         "take, and which features are kept on disk", flag_values=fv)
    flags.DEFINE_integer("watch", 0, "--status again and again, every so many seconds, until all runs are finished",
                         lower_bound=0, flag_values=fv)
    flags.DEFINE_boolean("json", False, "--status as JSON, for programs", flag_values=fv)
    flags.DEFINE_string("export", None, "only write an archive of what is finished to this new folder: rows, "
                        "predictions, certificates, no weights", flag_values=fv)
    flags.DEFINE_boolean("plan", False, "only say what there is to do, what it takes and what is missing for it",
                         flag_values=fv)
    flags.DEFINE_string("throughput", None, "file that `benchmark --what=training --output=FILE` wrote on the machine "
                        "that will do the work, to estimate its time; unset: this machine's processor", flag_values=fv)
    flags.DEFINE_boolean("yes", False, "start without asking", flag_values=fv)


@dataclasses.dataclass(frozen=True)
class Run:
    """One planned run: a program, its flag values and its cost."""

    regime: str
    options: flags.FlagValues
    cost: plan.Cost

    @property
    def title(self) -> str:
        """What the run is called on the terminal."""
        return f"{self.regime} {self.options.model} {self.options.dataset}"


def plan_runs(options, rate: float | dict[str, float]) -> list[Run]:
    """The runs in the order that shares most traced graphs.

    Args:
      rate: of matrix products on this machine, or by network (cli.plan.matrix_rate, measured_rates).

    Raises:
      UserError: flags that a program refuses, or what this version cannot do.
    """
    shared = [f"--{name}={value}" for name in SHARED if (value := options[name].value) is not None]

    def planned(regime, network, dataset):
        arguments = [f"--model={network}", f"--dataset={dataset}", *shared, *options[regime].value.split()]
        try:
            values = cli.parse(PROGRAMS[regime].define_flags, arguments)
        except flags.Error as error:
            raise UserError(f"tfbench.{regime} refuses --{regime}={options[regime].value!r}: {error}") from None
        check_network(NETWORKS[network], values.image_size or NETWORKS[network].image_size)
        return [Run(regime, single, plan.cost(regime, single, rate)) for single in cli.single_runs(values)]

    fixed = [regime for regime in options.regimes if regime == "logistic_regression"]
    trained = [regime for regime in options.regimes if regime != "logistic_regression"]
    runs = []
    for network in options.models:
        if options.source != IMAGENET:
            runs += planned("pretrain", network, options.source)
        cells = [(regime, dataset) for regime in fixed for dataset in options.datasets]
        cells += [(regime, dataset) for dataset in options.datasets for regime in trained]
        for regime, dataset in cells:
            runs += planned(regime, network, dataset)
    return runs


def describe(options, runs: list[Run]) -> str:
    """The plan in words: what there is to do, what it takes, and what is missing for it."""
    transfers = sum(run.regime != "pretrain" for run in runs)
    first = (f"after {count(len(options.models), 'pretraining')} on {options.source}" if options.source != IMAGENET
             else "from the public ImageNet weights")
    where = f"by {options.throughput}" if options.throughput else "on this machine"
    return "\n".join((
        f"study of {count(len(options.models), 'network')} × {count(len(options.datasets), 'data set')} × "
        f"{count(len(options.regimes), 'regime')}: {count(transfers, 'run')}, {first}",
        *plan.table([(run.regime, run.cost) for run in runs]),
        f"  images          {sum(run.cost.trained for run in runs):,} trained on, "
        f"{sum(run.cost.evaluated for run in runs):,} evaluated",
        f"  estimated time  {plan.duration(sum(run.cost.seconds for run in runs))} {where}, less what is finished",
        f"  disk            {sum(run.cost.kept for run in runs if run.regime == 'logistic_regression') / 1e9:.1f} GB "
        f"of features, {max(run.cost.kept for run in runs) / 1e9:.1f} GB of checkpoints at a time",
        f"  results         {options.results_dir}",
        f"  data            {options.data_dir}",
        *(f"  missing         {line}" for line in missing(options, runs))))


def missing(options, runs: list[Run]) -> list[str]:
    """What must be there before the study can be run, and the command that puts it there."""
    names = dict.fromkeys([*options.datasets, *([] if options.source == IMAGENET else [options.source])])
    lines = []
    for name in names:
        dataset = find(name, options.data_dir)
        if not dataset.embedded and not dataset.source and manifests.read(dataset, options.data_dir) is None:
            fetched = sum(file.size for file in SOURCES[name].files) / 1e9 if name in SOURCES else 0
            lines.append(f"{name} is not prepared{f' ({fetched:.1f} GB to fetch)' * bool(fetched)}: python -m "
                         f"tfbench.prepare_data --dataset={name} --data_dir={options.data_dir} --action=prepare")
    folders = {run.options.model: run.options.weights_dir for run in runs
               if options.source == IMAGENET and run.regime in ("logistic_regression", "finetune")}
    return lines + [f"weights of {network}: python -m tfbench.prepare_models --model={network} --weights_dir={folder}"
                    for network, folder in folders.items() if not imagenet_path(folder, network).exists()]


def states(options, runs: list[Run]) -> list[status.State]:
    """The state of every run. Nothing is written."""
    found, weights = [], {}
    for planned in runs:
        use_weights(planned, weights)
        row = work = None
        try:
            spec = PROGRAMS[planned.regime].specify(
                planned.options, resolve(planned.options, None, prepared_only=True))
        except UserError:  # its weights or its data are not there yet
            spec = None
        if spec:
            row = (pretrain if planned.regime == "pretrain" else store).finished(options.results_dir, spec)
            work = store.work_folder(options.results_dir, spec)
        if row:
            keep_weights(planned, row, weights)
        title = (planned.regime, planned.options.model, planned.options.dataset)
        found.append(status.state_of(title, planned.cost, row, work))
    return found


def show_status(options, runs: list[Run]) -> None:
    """Prints what is there of the study, with --watch again and again until all of it is."""
    while True:
        found, caches = states(options, runs), cache.describe_all(options.results_dir)
        print(json.dumps(status.as_json(found, caches), indent=1) if options.json
              else "\n".join(status.lines(found, caches)), flush=True)
        if not options.watch or all(state.state == "finished" for state in found):
            return
        time.sleep(options.watch)


def use_weights(planned: Run, weights: dict[str, str]) -> None:
    """Points a run that needs pretrained weights to those made in this study: network → file."""
    if planned.options.model in weights and planned.regime in ("logistic_regression", "finetune"):
        planned.options["weights"].value = weights[planned.options.model]


def keep_weights(planned: Run, row: dict, weights: dict[str, str]) -> None:
    """Notes the weights file of a finished pretraining for use_weights."""
    if planned.regime == "pretrain":
        weights[row["network"]] = str(pretrain.weights_file(planned.options.results_dir, row["spec"]))


def run_all(runs: list[Run]) -> None:
    """Runs everything; weights made by a pretraining go to the runs of the same network after it."""
    weights = {}  # network -> file
    with Display(sum(run.cost.seconds for run in runs), stages=False) as progress:
        for number, planned in enumerate(runs, start=1):
            progress.run(planned.title, planned.cost.seconds, planned.cost.trained + planned.cost.evaluated)
            use_weights(planned, weights)
            row, new = PROGRAMS[planned.regime].run(planned.options, progress)
            keep_weights(planned, row, weights)
            progress.finish_run()
            spent = f"{row['seconds']:.0f} s" if new else "finished before"
            progress.line(f"[{number}/{len(runs)}] {summary(row)} – {spent}")


def main(argv) -> int | None:
    del argv
    options = cli.own(define_flags)

    # ---- what to run -------------------------------------------------------------------------------
    runs = plan_runs(options, plan.measured_rates(options.throughput) if options.throughput else plan.matrix_rate())
    if options.status or options.watch:
        return show_status(options, runs)
    if options.export:
        number = archive.export(options.results_dir, options.export)
        print(f"{count(number, 'row')} with predictions and certificates: {options.export}")
        return None
    print(describe(options, runs))
    if options.plan:
        return None
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError("nobody is there to confirm the plan: add --yes to start without asking")
        if input("Start? [Y/n] ").strip().lower() not in ("", "y", "yes"):
            print("nothing was started")
            return 1

    # ---- run, then analyse -------------------------------------------------------------------------
    run_all(runs)
    from tfbench import analysis

    analysis.analyse(results_dir=options.results_dir)
    return None


if __name__ == "__main__":
    define_flags()
    app.run(main)
