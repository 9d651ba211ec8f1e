"""Runs a matrix of networks, data sets and regimes in this process, then the analysis.

Each network is pretrained on the source set, then transferred to every data set in every regime.
First the plan is shown: how many runs and images, and how long they will take here. Finished runs are
kept, interrupted ones continued: the same command again is always right.

  python -m tfbench.study --flagfile=flags/miniature.flags
  python -m tfbench.study --flagfile=flags/miniature.flags --status      what is there of it
"""

import dataclasses
import sys

from absl import flags

from tfbench import UserError, finetune, logistic_regression, pretrain, train_from_scratch
from tfbench.cli import app, plan
from tfbench.cli import flags as cli
from tfbench.cli.program import resolve
from tfbench.cli.progress import Display
from tfbench.data.catalog import DATASETS
from tfbench.linear import cache
from tfbench.models.catalog import NETWORKS, check_network
from tfbench.results import store
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
    cli.define_names("models", None, "networks of the study, comma-separated", "network", NETWORKS, fv)
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
    flags.DEFINE_boolean("status", False, "only say which runs are finished, and which features are kept on disk",
                         flag_values=fv)
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


def plan_runs(options, rate: float) -> list[Run]:
    """The runs in the order that shares most traced graphs.

    Args:
      rate: of matrix products on this machine (cli.plan.matrix_rate).

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
    """The plan in words."""
    transfers = sum(run.regime != "pretrain" for run in runs)
    seconds = sum(run.cost.seconds for run in runs)
    first = (f"after {count(len(options.models), 'pretraining')} on {options.source}" if options.source != IMAGENET
             else "from the public ImageNet weights")
    return "\n".join((
        f"study of {count(len(options.models), 'network')} × {count(len(options.datasets), 'data set')} × "
        f"{count(len(options.regimes), 'regime')}: {count(transfers, 'run')}, {first}",
        f"  images          {sum(run.cost.trained for run in runs):,} trained on, "
        f"{sum(run.cost.evaluated for run in runs):,} evaluated",
        f"  estimated time  {max(seconds / 60, 1):.0f} minutes on this machine, less what is finished already",
        f"  results         {options.results_dir}",
        f"  data            {options.data_dir}"))


def status(options, runs: list[Run]) -> list[str]:
    """One line per run, finished, begun or not, and one per folder of cached features. Nothing is written."""
    lines, finished, weights = [], 0, {}
    for number, planned in enumerate(runs, start=1):
        use_weights(planned, weights)
        line = f"{planned.title}: not begun"
        try:
            spec = PROGRAMS[planned.regime].specify(
                planned.options, resolve(planned.options, None, prepared_only=True))
        except UserError:  # its weights or its data are not there yet
            spec = None
        if spec and (row := (pretrain if planned.regime == "pretrain" else store).finished(options.results_dir, spec)):
            line, finished = summary(row), finished + 1
            keep_weights(planned, row, weights)
        elif spec and store.work_folder(options.results_dir, spec).exists():
            line = f"{planned.title}: begun: the same command continues it"
        lines.append(f"[{number}/{len(runs)}] {line}")
    return [*lines, f"{finished} of {count(len(runs), 'run')} finished",
            *(f"features {line}" for line in cache.describe_all(options.results_dir))]


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
    runs = plan_runs(options, plan.matrix_rate())
    if options.status:
        print("\n".join(status(options, runs)))
        return None
    print(describe(options, runs))
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
