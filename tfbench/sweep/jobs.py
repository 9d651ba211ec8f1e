"""A study as runs, and as jobs for many processes: every trial, every refit and every other run is a job by itself.

A job is a config, whose `trial` says which part of a run it is, with the numbers of the jobs before it. Whoever does it
needs tfbench, the results folder, the data folder and the modules of custom networks, nothing else. No TensorFlow is
imported here.
"""

import dataclasses
import heapq
import os
from collections.abc import Iterable
from typing import Any

from tfbench.cli import app, flags
from tfbench.config import REFIT, RunConfig, name_of, settings_of
from tfbench.data.examples import PreparedDataset
from tfbench.data.folders import FOLDER
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import Path, as_path, is_address
from tfbench.inputs import dataset_of, prepare_data, resolve_prepared, settle
from tfbench.models.catalog import SWITCHES
from tfbench.models.lookup import check_image_size, check_switches, get_network, is_custom
from tfbench.models.weights import CUSTOM, IMAGENET
from tfbench.regimes import PRETRAIN, RUNS
from tfbench.results import store
from tfbench.results.record import Record, summary
from tfbench.sweep import plan
from tfbench.sweep.worker import code_hash, custom_code, data_hash
from tfbench.training import halving
from tfbench.wording import brief_duration

NOMINAL_RATE = 1e12  # by which tasks divide a study: every machine must come to the same parts


@dataclasses.dataclass(frozen=True)
class Run:
    """One planned run of a study.

    Attributes:
      variant: which point of a curve it is, in words; "" without a curve.
      left_out: names of switches that are on in the study, but not here: this network's definition lacks them.
    """

    config: RunConfig
    cost: plan.Cost
    variant: str
    left_out: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called on the terminal; no other run of a study is called so."""
        return title_of(self.config.regime, self.config.model, self.config.dataset, self.variant)


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of a study.

    Attributes:
      title: what it is called on the terminal.
      needs: numbers, in the list of jobs, of those that must be done before.
      call: arguments of the function that does it; of a study's jobs, those of `work`.
      graphs: a name for what it traces: a process that did a job with the same has that already.
    """

    title: str
    needs: tuple[int, ...]
    call: tuple
    graphs: str = ""


def title_of(*words: str | None) -> str:
    """A title of regime, network, data set and variant, without those that are not there."""
    return " ".join(filter(None, words))


# ---- runs of a study -------------------------------------------------------------------------------


@app.gc_paused()
def plan_runs(options, rate: float | dict[str, float]) -> list[Run]:
    """The runs of a study, in the order that shares most traced graphs.

    Args:
      options: of the study program.
      rate: of matrix products on this machine, or by network (sweep.plan.matrix_rate, measured_rates).

    Raises:
      UserError: flags that a program refuses, or what this version cannot do.
    """
    bases: dict[tuple[str, str], RunConfig] = {}
    runs: list[Run] = []
    own = own_pretraining(options.pretrain_own)

    def planned(regime: str, network: str, dataset: str) -> None:
        further = own.get(network, "") if regime == PRETRAIN.name else ""
        if (regime, further) not in bases:
            bases[regime, further] = _parse(options, regime, network, dataset, further)
        config = dataclasses.replace(bases[regime, further], model=network, dataset=dataset)
        if is_custom(network) and options.source == plan.IMAGENET and config.kind.pretrained:
            config = dataclasses.replace(config, weights=CUSTOM)
        facts = get_network(network)
        check_image_size(facts, config.image_size or facts.image_size)
        lacking = [name for name, on in config.switches.items() if on and name not in facts.switches
                   and any(name in get_network(other).switches for other in options.models)]
        off: dict[str, Any] = dict.fromkeys(lacking, False)
        config = dataclasses.replace(config, **off)
        check_switches(facts, **config.switches)
        runs.extend(Run(variant, plan.cost(variant, rate), config.variant_title(variant), tuple(lacking))
                    for variant in config.variants())

    fixed = [regime for regime in options.regimes if not RUNS[regime].search]
    trained = [regime for regime in options.regimes if RUNS[regime].search]
    for network in options.models:
        if options.source != plan.IMAGENET:
            planned(PRETRAIN.name, network, options.source)
        for regime, dataset in [*((regime, dataset) for regime in fixed for dataset in options.datasets),
                                *((regime, dataset) for dataset in options.datasets for regime in trained)]:
            planned(regime, network, dataset)
    return runs


def part_of(runs: list[Run], number: int, of: int) -> list[Run]:
    """The runs of one of several tasks that share a study; they take about as long, on whatever machine this is asked.

    Its parts (parts_of) stay whole. The longest come first, each to the task that has least so far.

    Args:
      number: of the task, from 1 to `of`.

    Raises:
      UserError: there are more tasks than such parts.
    """
    parts = parts_of(runs)
    if of > len(parts):
        what = "a network on a data set each" if all(dataset for _, dataset in parts) else (
            "a network each, with its pretraining")
        raise UserError(f"expected at most {len(parts):,} tasks, {what}, found --task={number}/{of}: start so many")
    seconds = {key: sum(plan.cost(run.config, NOMINAL_RATE).seconds for run in part) for key, part in parts.items()}
    loads, task_of = [0.0] * of, {}
    for key in sorted(parts, key=lambda key: -seconds[key]):
        task_of[key] = loads.index(min(loads))
        loads[task_of[key]] += seconds[key]
    mine = {id(run) for key, part in parts.items() if task_of[key] == number - 1 for run in part}
    return [run for run in runs if id(run) in mine]


def parts_of(runs: list[Run]) -> dict[tuple[str | None, str | None], list[Run]]:
    """Runs that may be done apart from all others, by network and data set: what shares traced graphs and features.

    Where networks are pretrained first, all of a network's are together, and the data set is None.
    """
    pretrains = any(run.config.regime == PRETRAIN.name for run in runs)
    parts: dict[tuple[str | None, str | None], list[Run]] = {}
    for run in runs:
        parts.setdefault((run.config.model, None if pretrains else run.config.dataset), []).append(run)
    return parts


def notes(runs: list[Run]) -> list[str]:
    """What is taken for what, in a line each: switches that some of the study's networks lack, RunConfig.notes and
    plan.presets."""
    lacking: dict[str, dict[str, None]] = {}
    for planned in runs:
        for name in planned.left_out:
            lacking.setdefault(name, {})[planned.config.model] = None
    return [f"--{name} is left out for {', '.join(networks)}: their definitions have no {SWITCHES[name]}"
            for name, networks in lacking.items()] + list(
                dict.fromkeys(line for planned in runs for line in planned.config.notes())) + plan.presets(
                    planned.config for planned in runs)


def own_pretraining(text: str) -> dict[str, str]:
    """Network -> the flags of --pretrain_own for its pretraining: "NAME FLAG…; NAME FLAG…".

    Raises:
      UserError: a part is something else, there is no such network, or it is named twice.
    """
    further: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, _, its_flags = part.partition(" ")
        if not its_flags.strip().startswith("-") or name in further:
            raise UserError("expected --pretrain_own='NETWORK --steps=60; NETWORK --steps=240', each network once, "
                            f"found {part!r}: write the network's name, a space and flags for tfbench.pretrain")
        get_network(name)
        further[name] = its_flags.strip()
    return further


def _parse(options, regime: str, network: str, dataset: str, further: str) -> RunConfig:
    """The config of a regime's runs in a study: what they share, the flags for its program, then `further` ones."""
    own = " ".join(filter(None, (getattr(options, regime), further)))
    arguments = [f"--model={network}", f"--dataset={dataset}"]
    for name in RUNS[regime].settings:
        value = getattr(options, name, None)
        if name == "budget":  # of all runs together
            continue
        if value is not None and not isinstance(value, bool):
            arguments.append(f"--{name}={value}")
        elif value is not None:
            arguments.append(f"--{name}" if value else f"--no{name}")
    try:
        config = flags.parse_run(regime, [*arguments, *own.split()])
        if config.budget:
            raise UserError(f"expected --budget of the whole study, found it in --{regime}={own!r}: take "
                            f"`study --budget={brief_duration(config.budget)}`")
        return config
    except flags.Error as error:
        raise UserError(f"tfbench.{regime} refuses --{regime}={own!r}: "
                        f"{flags.explain(error, settings_of(RUNS[regime]))}") from None


# ---- weights that a study makes go to its runs -----------------------------------------------------


def use_weights(config: RunConfig, weights: dict[str, str]) -> RunConfig:
    """The config with the pretrained weights that were made in this study: network → file."""
    if config.kind.pretrained and config.model in weights:
        return dataclasses.replace(config, weights=weights[config.model])
    return config


def keep_weights(config: RunConfig, spec: dict, weights: dict[str, str]) -> None:
    """Notes for use_weights where the weights of a pretraining lie, or will."""
    if config.regime == PRETRAIN.name and config.model:
        weights[config.model] = str(store.weights_path(config.results_dir, spec))


def record_of(config: RunConfig, known: dict) -> tuple[dict | None, Record | None]:
    """The specification of a run, None while its weights or its data are not there; and its record, None while it is
    not finished.

    Args:
      known: as of inputs.resolve_prepared.
    """
    try:
        spec = resolve_prepared(config, known).spec
    except UserError:
        return None, None
    return spec, store.finished(config.results_dir, spec)


# ---- jobs ------------------------------------------------------------------------------------------


def make(runs: Iterable[Run], progress) -> tuple[list[Job], list[str]]:
    """The jobs that are left of a study, each after those that it needs, and a line for each finished run.

    Data sets that programs prepare by themselves are prepared here, once.

    Args:
      runs: of a study, in an order in which each pretraining comes before what needs its weights.

    Raises:
      UserError: a data set is not prepared.
    """
    jobs: list[Job] = []
    finished: list[str] = []
    weights: dict[str, str] = {}
    pretrainings: dict[str | None, tuple[int, ...]] = {}
    known: dict[Any, Any] = {}
    names: set[str] = set()
    for planned in runs:
        config = use_weights(_absolute(planned.config), weights)
        dataset, kind = dataset_of(config), config.kind
        key = ("manifest", config.dataset, config.data_dir, config.split_seed)
        if key not in known:
            known[key] = prepare_data(config, dataset, progress)
        data: PreparedDataset = known[key]
        spec, record = record_of(config, known)
        if spec:
            keep_weights(config, spec, weights)
        if spec:
            if (name := name_of(spec)) in names:  # so many examples per class that they are all, whatever the seed
                continue
            names.add(name)
        if record:
            finished.append(f"{summary(record)} – finished before")
            continue
        expected = {"code": code_hash(), "data": data_hash(data.manifest)} | custom_code(config.model)
        needs = pretrainings.get(config.model, ()) if kind.pretrained else ()
        graphs = f"{config.regime} {config.model}"
        if kind.search:
            graphs = f"{config.model} {config.dataset}"  # training/engine.py
            recorded = store.read_trials(store.work_dir(config.results_dir, spec), spec) if spec else {}
            trials: tuple[int, ...] = ()
            for numbers in _trials_left(settle(config, data)[0].search_spec(), recorded):
                first = len(jobs)
                jobs += [Job(f"{planned.title} trial {name}", (*needs, *trials),
                             (dataclasses.replace(config, trial=str(number)), expected), graphs)
                         for number, name in numbers.items()]
                trials = tuple(range(first, len(jobs))) or trials
            needs, config = (*needs, *trials), dataclasses.replace(config, trial=REFIT)
        if config.regime == PRETRAIN.name:
            pretrainings[config.model] = (len(jobs),)
        jobs.append(Job(planned.title, needs, (config, expected), graphs))
    return jobs, finished


def _absolute(config: RunConfig) -> RunConfig:
    """The config with absolute folders and files: other machines have other working directories. Addresses (gs://…) are
    the same everywhere."""
    def absolute(path: str) -> str:
        return path if is_address(path) else os.path.abspath(os.path.expanduser(path))

    changed: dict[str, Any] = {
        name: absolute(getattr(config, name)) for name in ("results_dir", "data_dir", "weights_dir")
        if name in config.kind.settings}
    if config.weights and config.weights not in (IMAGENET, CUSTOM):
        changed["weights"] = absolute(config.weights)
    if config.dataset and config.dataset.startswith(FOLDER):
        changed["dataset"] = FOLDER + os.path.abspath(config.dataset.removeprefix(FOLDER))
    return dataclasses.replace(config, **changed)


def _trials_left(search: dict, recorded: dict[int, dict]) -> list[dict[int, str]]:
    """Of each rung of a search the numbers of the trials to run, and what they are called.

    While a rung is not all recorded, any point may come to the next: the job of one that does not does nothing.

    Args:
      search: RunConfig.search_spec. recorded: trials by number.
    """
    points = halving.points_of(search)
    left: list[dict[int, str]] = []
    for rung, (steps, _) in enumerate(halving.rungs(search)):
        numbers = halving.candidates(rung, search) if any(left) else halving.entrants(recorded, rung, search)
        length = f" of {steps} steps" if search["search"] != "grid" else ""
        left.append({number: f"{number - rung * points}/{points}{length}"
                     for number in numbers if number not in recorded})
    return left


def stages(jobs: list[Job]) -> list[list[int]]:
    """Numbers of the jobs in stages: each job comes after all that it needs."""
    stage_of: list[int] = []
    stages: list[list[int]] = []
    for number, job in enumerate(jobs):
        stage_of.append(max((stage_of[needed] + 1 for needed in job.needs), default=0))
        if stage_of[number] == len(stages):
            stages.append([])
        stages[stage_of[number]].append(number)
    return stages


class ReadyQueue:
    """Numbers of the jobs that can begin, the first of a study first, but such that traced graphs are used again."""

    def __init__(self, jobs: list[Job]):
        self._jobs = jobs
        self._numbers: dict[str, list[int]] = {}  # graphs -> heap of numbers

    def __len__(self):
        return sum(map(len, self._numbers.values()))

    def add(self, number: int) -> None:
        heapq.heappush(self._numbers.setdefault(self._jobs[number].graphs, []), number)

    def take(self, ended: list[int], running: Iterable[int]) -> int:
        """Takes a job with the graphs of one that just `ended`, whose worker is free; or the first with graphs that
        none that is `running` has; or the first. What it goes by is taken from `ended`."""
        while ended:
            if (graphs := self._jobs[ended.pop()].graphs) in self._numbers:
                return self._pop(graphs)
        others = self._numbers.keys() - {self._jobs[number].graphs for number in running}
        return self._pop(min(others or self._numbers, key=lambda graphs: self._numbers[graphs][0]))

    def _pop(self, graphs: str) -> int:
        number = heapq.heappop(self._numbers[graphs])
        if not self._numbers[graphs]:
            del self._numbers[graphs]
        return number


REPORT_SCHEMA = 1  # version of the layout of ray.json; the first do not say theirs


def report_path(results_dir) -> Path:
    """Where a study on Ray tells, while it goes on and at its end, what it does (sweep/executors/ray_cluster.py)."""
    return as_path(results_dir) / "ray.json"


def set_aside_path(results_dir) -> Path:
    """Where the last study in one process tells which runs it set aside: {title: reason}."""
    return as_path(results_dir) / "set_aside.json"


def read_set_aside(results_dir) -> dict[str, str]:
    """What lies there, {} where nothing does.

    Raises:
      UserError: the file is damaged.
    """
    path = set_aside_path(results_dir)
    if not path.exists():
        return {}
    cure = "move it away, it only tells what the last study set aside"
    reasons = atomic.read_json(path, cure=cure)
    if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
        raise UserError(f"{path} is damaged, expected a reason for each run: {cure}")
    return reasons
