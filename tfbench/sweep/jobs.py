"""A study as units of work for many machines: every trial, every refit and every other run by itself.

A unit is a command line – program, flags, which part of the run – with the places of the units before it. Whoever
runs it needs tfbench, the results folder, the data folder and the modules of networks of the user's own, nothing else.
No TensorFlow is imported here.
"""

import dataclasses
import functools
import hashlib
import heapq
import importlib
import os
import pathlib
import socket
import sys

import tfbench
from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.cli.progress import Silent
from tfbench.data.lookup import FOLDER
from tfbench.errors import UserError
from tfbench.files import sharing
from tfbench.files.paths import Path, as_path, is_address
from tfbench.models.lookup import is_custom
from tfbench.models.weights import CUSTOM, IMAGENET
from tfbench.results import store
from tfbench.results.record import summary
from tfbench.training import halving

WEIGHTED = ("logistic_regression", "finetune")  # regimes that start from pretrained weights
SEARCHED = ("finetune", "train_from_scratch")  # regimes whose grid is a unit per point, before the refit
FOLDERS = ("results_dir", "data_dir", "weights_dir")
NAMING = ("model", "image_size", "dataset", "data_dir", "split_seed", "voc_difficult", "aircraft_banner", "weights",
          "weights_dir")  # flags that program.resolve looks at; a program has --weights or not
REFIT = 0  # as the part of a search: what is left when all trials are there


class WrongWorker(UserError):
    """This machine must not do the study's work: its code or its data are others."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """One unit of work.

    Attributes:
      title: what it is called on the terminal.
      needs: places, in the list of units, of those that must be done before.
      call: arguments of the function that does it; of a study's units, those of `work`.
      graphs: a name for what it traces: a process that did a unit with the same has that already.
    """

    title: str
    needs: tuple[int, ...]
    call: tuple
    graphs: str = ""


class Due:
    """The places of units that can begin, the first of a study first, but such that traced graphs are used again."""

    def __init__(self, units: list[Unit]):
        self._units, self._places = units, {}  # graphs -> heap of places

    def __len__(self):
        return sum(map(len, self._places.values()))

    def add(self, place: int) -> None:
        heapq.heappush(self._places.setdefault(self._units[place].graphs, []), place)

    def take(self, ended: list[int], running) -> int:
        """Takes a unit with the graphs of one that just `ended`, whose worker is free; or the first with graphs that
        none that is `running` has; or the first. What it goes by is taken from `ended`."""
        while ended:
            if (graphs := self._units[ended.pop()].graphs) in self._places:
                return self._pop(graphs)
        others = self._places.keys() - {self._units[place].graphs for place in running}
        return self._pop(min(others or self._places, key=lambda graphs: self._places[graphs][0]))

    def _pop(self, graphs: str) -> int:
        place = heapq.heappop(self._places[graphs])
        if not self._places[graphs]:
            del self._places[graphs]
        return place


def title_of(regime: str, network: str, dataset: str, variant: str) -> str:
    """What a run is called on the terminal; no other run of a study is called so."""
    return " ".join(filter(None, (regime, network, dataset, variant)))


def share(runs) -> None:
    """Makes folders and files that the runs' flags name absolute: other machines have other working directories.
    Addresses (gs://…) are the same everywhere."""
    def absolute(path: str) -> str:
        return path if is_address(path) else os.path.abspath(path)

    for options in (run.options for run in runs):
        for name in FOLDERS:
            if name in options:
                options[name].value = absolute(os.path.expanduser(options[name].value))
        if "weights" in options and options.weights not in (IMAGENET, CUSTOM):
            options["weights"].value = absolute(options.weights)
        if options.dataset.startswith(FOLDER):
            options["dataset"].value = FOLDER + os.path.abspath(options.dataset.removeprefix(FOLDER))


def make(runs, progress) -> tuple[list[Unit], list[str]]:
    """The units that are left of a study, each after those that it needs, and a line for each finished run.

    Data sets that programs prepare by themselves are prepared here, once.

    Args:
      runs: a study's, in an order in which each pretraining comes before what needs its weights.

    Raises:
      UserError: a data set is not prepared.
    """
    share(runs)
    units, finished, weights, pretrainings, found = [], [], {}, {}, {}
    for run in runs:
        regime, options = run.regime, run.options
        network, module = options.model, importlib.import_module(f"tfbench.{run.regime}")
        dataset = program.dataset_of(options)
        manifest = program.manifest_of(dataset, options.data_dir) or program.make(dataset, options.data_dir, progress)
        needs = pretrainings.get(network, ()) if regime in WEIGHTED else ()
        use_weights(run, weights)
        spec = spec_of(module, options, found)
        keep_weights(run, spec, weights)
        row = row_of(module, options, spec)
        if row:
            finished.append(f"{summary(row)} – finished before")
            continue
        call = (regime, tuple(options.flags_into_string().splitlines()))
        expected = {"code": code_hash(), "data": data_hash(manifest)} | own_code(network)
        last, graphs = (None, expected), f"{regime} {network}"
        if regime in SEARCHED:
            graphs = f"{network} {options.dataset}"  # training/engine.py
            recorded = store.read_trials(store.work_dir(options.results_dir, spec)) if spec else {}
            trials = ()
            for numbers in _trials_left(cli.search_of(options, regime), recorded):
                first = len(units)
                units += [Unit(f"{run.title} trial {name}", (*needs, *trials), (*call, number, expected), graphs)
                          for number, name in numbers.items()]
                trials = tuple(range(first, len(units))) or trials
            needs, last = (*needs, *trials), (REFIT, expected)
        if regime == "pretrain":
            pretrainings[network] = (len(units),)
        units.append(Unit(run.title, needs, (*call, *last), graphs))
    return units, finished


def _trials_left(search: dict, recorded: dict[int, dict]) -> list[dict[int, str]]:
    """Of each rung of a search the numbers of the trials to run, and what they are called.

    While a rung is not all recorded, any point may come to the next: the unit of one that does not does nothing.

    Args:
      search: cli.flags.search_of. recorded: trials by number.
    """
    points, left = halving.points_of(search), []
    for rung, steps in enumerate(halving.rungs(search)):
        numbers = (range(rung * points + 1, (rung + 1) * points + 1) if any(left) else
                   halving.entrants(recorded, rung, points))
        left.append({number: f"{number - rung * points}/{points}" + f" of {steps} steps" * (search["search"] != "grid")
                     for number in numbers if number not in recorded})
    return left


def report_path(results_dir) -> Path:
    """Where the study on Ray tells, while it goes on and at its end, what it is doing (sweep/executors/ray_cluster.py)."""
    return as_path(results_dir) / "ray.json"


def use_weights(run, weights: dict[str, str]) -> None:
    """Points a run that needs pretrained weights to those made in this study: network → file."""
    if run.options.model in weights and run.regime in WEIGHTED:
        run.options["weights"].value = weights[run.options.model]


def keep_weights(run, spec: dict, weights: dict[str, str]) -> None:
    """Notes for use_weights where the weights of a pretraining lie, or will."""
    if run.regime == "pretrain":
        module = importlib.import_module(f"tfbench.{run.regime}")
        weights[run.options.model] = str(module.weights_file(run.options.results_dir, spec))


def spec_of(module, options, found: dict) -> dict | None:
    """What determines a run's outcome; None while its weights or its data are not there.

    Args:
      found: {} at first: what the runs' flags named so far, so that thousands of runs read each file once.
    """
    named = tuple(options[name].value for name in NAMING if name in options)
    try:
        if named not in found:
            found[named] = program.resolve(options, None, prepared_only=True)
        return module.specify(options, found[named])
    except UserError:
        return None


def row_of(module, options, spec: dict | None) -> dict | None:
    """The row of a finished run; None while it is not."""
    return getattr(module, "finished", store.finished)(options.results_dir, spec) if spec else None


def work(regime: str, arguments: tuple[str, ...], part: int | None, expected: dict) -> dict:
    """Does a unit, in whatever process.

    Args:
      regime, arguments: program and its command line.
      part: of a search: the number of a trial, or REFIT; else None.
      expected: code_hash and data_hash of whoever planned the unit, as "code" and "data"; and own_code.

    Returns:
      {"line": what came out, None for a trial; "new": whether anything was computed}.

    Raises:
      WrongWorker: code or data here are others.
      UserError: what the program refuses.
    """
    check_same_hash("tfbench", expected["code"], code_hash())
    app.quiet()
    use_all_cores()
    module = importlib.import_module(f"tfbench.{regime}")
    options = cli.parse(module.define_flags, list(arguments))
    if "network" in expected:
        if expected["folder"] not in sys.path:
            sys.path.append(expected["folder"])
        check_same_hash(f"network {options.model}", expected["network"], own_code(options.model)["network"])
    dataset = program.dataset_of(options)
    sharing.wait_until_visible(lambda: program.manifests.read(dataset, options.data_dir) is not None,
                    f"the data set {dataset.name} in {options.data_dir}", "--data_dir")
    check_same_hash(f"data set {dataset.name}", expected["data"],
                  data_hash(program.manifest_of(dataset, options.data_dir, prepared_only=True)))
    if "weights" in options and options.weights not in (IMAGENET, CUSTOM):
        sharing.wait_until_visible(as_path(options.weights).exists, options.weights)
    row, new = module.run(options, Silent(), *(() if part is None else (part,)))
    return {"line": f"{summary(row)} – {row['seconds']:.0f} s" if row else None, "new": new}


def use_all_cores() -> None:
    """Lets linear algebra use the cores of this process, as in any other program: Ray allows it one.

    The last bits of a sum depend on how many share it, and rows must not tell where they were computed.
    """
    import scipy.linalg  # noqa: F401  it has a BLAS of its own, which must be there to be told
    import threadpoolctl

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threadpoolctl.threadpool_limits(cores, "blas")


def check_same_hash(what: str, expected: str, found: str) -> None:
    """Raises WrongWorker unless both hashes are the same."""
    if expected != found:
        raise WrongWorker(f"{socket.gethostname()} has another {what} than the machine that planned the study: "
                          f"expected {expected}, found {found}; make them the same and start the same command again")


@functools.cache
def code_hash() -> str:
    """First 16 hex digits of a SHA-256 over this tfbench: its version, and its files' names and bytes."""
    root = pathlib.Path(tfbench.__file__).parent
    digest = hashlib.sha256(tfbench.__version__.encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def own_code(network: str) -> dict[str, str]:
    """Of a network of the user's own: the folder of its module, and a hash of it as "network"; of others nothing."""
    if not is_custom(network):
        return {}
    from tfbench.models import custom  # Keras

    return {"folder": custom.folder_of(network), "network": custom.code_hash(network)}


def data_hash(manifest: dict) -> str:
    """A hash of a prepared data set: its images, labels and splits."""
    return store.key_of({"content": manifest["content"], "splits": manifest["splits"]})
