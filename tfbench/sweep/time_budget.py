"""--budget: of a few levels, from the search as asked to a single short training, the best that fits into a time.

The speed of each network is measured by a few real steps before anything is trained. One level is taken for all runs of
a study, so that its networks can be compared. The level determines the specifications: it is kept in

    RESULTS_DIR/budgets/KEY.json

with KEY the hash of the budget and of the runs as asked. So the same command again finds its level, and its records.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tfbench import paper
from tfbench.cli import app
from tfbench.config import ALL, QUICK, RunConfig, key_of
from tfbench.data.examples import find_dataset
from tfbench.errors import OutOfTime, UserError
from tfbench.files import atomic
from tfbench.files.fields import AMOUNT, COUNT, GROUP, SWITCH, TEXT, wrong
from tfbench.files.paths import Path, as_path
from tfbench.inputs import RunInputs, dataset_of, network_of, prepare_data, reading_of, resolve_prepared, weights_of
from tfbench.regimes import PRETRAIN
from tfbench.results import store
from tfbench.sweep import plan
from tfbench.wording import brief_duration, count, duration

SCHEMA = 1  # of a stored decision
MARGIN = 1.1  # what a level is expected to take, times this, must fit: estimates err by about as much
RESERVE = 3.0  # seconds before the end of the budget at which a training is stopped, to save it
MEASURING = 0.05  # share of the budget that the measured steps of all networks may take


@dataclasses.dataclass(frozen=True)
class Level:
    """A way to make searches cheaper. What the user gave stays: points that were named, steps, a preset.

    Attributes:
      name: in words.
      halving: whether learning rates that fall behind are not trained in full (training/halving.py).
      learning_rates, weight_decays: the most that are tried, evenly spread over those of the search; 0: all.
      divisor: of the steps.
      quick: whether --preset=quick takes the place of the paper's numbers.
    """

    name: str
    halving: bool = False
    learning_rates: int = 0
    weight_decays: int = 0
    divisor: int = 1
    quick: bool = False


LEVELS = (  # from best to cheapest; one that changes nothing against the one before is left out
    Level("the search as asked"),
    Level("halving", True),
    Level("halving, 3 × 2 points", True, 3, 2),
    Level("halving, 3 × 1 points", True, 3, 1),
    Level("halving, 3 × 1 points, half of the steps", True, 3, 1, 2),
    Level("halving, 3 × 1 points, a quarter of the steps", True, 3, 1, 4),
    Level("quick preset, halving, 3 × 2 points", True, 3, 2, 1, True),
    Level("quick preset, halving, 3 × 1 points", True, 3, 1, 1, True),
    Level("quick preset, halving, 3 × 1 points, half of the steps", True, 3, 1, 2, True),
    Level("quick preset, halving, 3 × 1 points, a quarter of the steps", True, 3, 1, 4, True),
    Level("quick preset, one point, a quarter of the steps", True, 1, 1, 4, True),
)
_LEVEL = {"name": TEXT, "halving": SWITCH, "learning_rates": AMOUNT, "weight_decays": AMOUNT, "divisor": COUNT,
          "quick": SWITCH}
_DECISION = {"schema": COUNT, "budget": COUNT, "level": GROUP, "expected_seconds": AMOUNT, "speeds": GROUP}


class Fitted(NamedTuple):
    """Runs that fit into a budget.

    Attributes:
      configs: at the level taken, without their budget. costs: with the seconds that were measured.
      lines: which level it is, what it takes and what was given up, in words.
    """

    configs: list[RunConfig]
    costs: list[plan.Cost]
    lines: list[str]


# ---- levels: pure functions ------------------------------------------------------------------------


def at_level(config: RunConfig, level: Level, images: int) -> RunConfig:
    """The config of a run at a level, without its budget.

    Args:
      config: as it was given, not yet settled.
      images: that it trains on.
    """
    config = dataclasses.replace(config, budget=None)
    if not config.kind.search or level == LEVELS[0]:
        return config
    preset = QUICK if level.quick and config.preset is None else config.preset
    whole = dataclasses.replace(config, preset=preset).settled(images)
    rates, decays = whole.grid_values
    changes: dict[str, Any] = {"batch_size": whole.batch_size}
    if level.halving:
        changes["search"] = "halving"
    if not (config.grid or config.learning_rate):
        changes["learning_rate"] = _spread(rates, level.learning_rates)
    if not (config.grid or config.weight_decay):
        changes["weight_decay"] = _spread(decays, level.weight_decays)
    if not (config.steps or config.epochs):
        changes["steps"] = max(whole.steps // level.divisor, 1)
    return dataclasses.replace(config, preset=preset, **changes)


def _spread(values: tuple[float, ...], most: int) -> tuple[float, ...]:
    return paper.evenly_spaced_subset(values, most) if 0 < most < len(values) else values


def levels_of(configs: Sequence[RunConfig], images: Sequence[int]) -> list[tuple[Level, list[RunConfig]]]:
    """The levels that differ for these runs, best first, with the runs at each."""
    levels: list[tuple[Level, list[RunConfig]]] = []
    seen: list[list] = []
    for level in LEVELS:
        taken = [at_level(config, level, number) for config, number in zip(configs, images, strict=True)]
        facts = [_facts(config, number) for config, number in zip(taken, images, strict=True)]
        if facts not in seen:
            seen.append(facts)
            levels.append((level, taken))
    return levels


def _facts(config: RunConfig, images: int) -> dict:
    """What a level may change of a search."""
    settled = config.settled(images)
    return settled.search_spec() | {"batch_size": settled.batch_size} if config.kind.search else {}


def given_up(asked: Sequence[RunConfig], taken: Sequence[RunConfig], images: Sequence[int]) -> str:
    """What the runs at a level have not that those asked for have, in words; "nothing" where they are the same."""
    parts: dict[str, None] = {}
    for one, other, number in zip(asked, taken, images, strict=True):
        if not one.kind.search:
            continue
        before, after = _facts(one, number), _facts(other, number)
        if before["search"] != after["search"]:
            parts["full training of the learning rates that fall behind"] = None
        sizes = [f"{len(facts['learning_rate'])} × {len(facts['weight_decay'])}" for facts in (before, after)]
        if sizes[0] != sizes[1]:
            parts[f"{sizes[1]} points instead of {sizes[0]}"] = None
        for name, words in (("steps", "step"), ("batch_size", "image in each step")):
            if before[name] != after[name]:
                text = count(after[name], words).replace("image in each steps", "images in each step")
                parts[f"{text} instead of {before[name]:,}"] = None
    return ", ".join(parts) or "nothing"


def choose(seconds: Sequence[float], available: float) -> int | None:
    """The first of the levels, given what each is expected to take, that fits with the margin; None: none does."""
    return next((number for number, needed in enumerate(seconds) if needed * MARGIN <= available), None)


def least(seconds: Sequence[float], spent: float) -> int:
    """The smallest budget, in whole minutes (below two: 5 s), that the cheapest level fits into; `spent` comes before.

    It has the margin twice: the same measured again must not refuse it.
    """
    needed = (min(seconds) * MARGIN + spent + RESERVE) * MARGIN
    unit = 60 if needed > 120 else 5
    return int(-(-needed // unit) * unit)


# ---- a budget's runs -------------------------------------------------------------------------------


def check(config: RunConfig) -> None:
    """Refuses what does not go with a budget.

    Raises:
      UserError: it is a curve, a part of a search, or on several hosts.
    """
    for flag, given, why in (("steps_curve", config.steps_curve, "the lengths are what a curve compares"),
                             ("examples_per_class", config.examples_per_class, "a curve's runs must be alike"),
                             ("trial", config.trial != ALL, "other processes do the other parts")):
        if given:
            raise UserError(f"--budget does not go with --{flag}, as {why}: leave one of them out")
    if config.strategy == "multi_worker" or "TF_CONFIG" in os.environ:
        raise UserError("--budget is for one host, whose speed it measures, and TF_CONFIG or --strategy names several: "
                        "leave it out, and take --search=halving, --grid or --steps")


def path_of(results_dir, key: str) -> Path:
    """Where the decision lies."""
    return as_path(results_dir) / "budgets" / f"{key}.json"


def fit(configs: Sequence[RunConfig], budget: int, progress, *, start: float, measure: bool = True) -> Fitted:
    """The runs at the level that fits into a budget: the one that was taken before, or the best by measured speeds.

    Args:
      configs: of single runs of one results folder, as they were given.
      budget: seconds. start: when it began, of time.monotonic.
      measure: False: only looks. Nothing is measured, prepared or written, and speeds are estimated; without prepared
        data the level is only that which is likely.

    Raises:
      UserError: what `check` refuses, nothing fits, or no run's regime searches.
    """
    for config in configs:
        check(config)
    if not any(config.kind.search for config in configs):
        raise UserError("--budget plans searches, of fine-tuning and training from scratch, and there are none: leave "
                        "it out, or name such a regime")
    known: dict[Any, Any] = {}
    runs = [_opened(config, progress if measure else None, known) for config in configs]
    images = [run.data.manifest["splits"]["train"]["n"] if run else plan.images_to_train_on(config)
              for config, run in zip(configs, runs, strict=True)]
    levels = levels_of(configs, images)
    path = path_of(configs[0].results_dir, _key(runs, budget)) if all(runs) else None
    stored = _read(path) if path and path.exists() else None
    speeds: dict[str, Speed] = {}
    if stored:
        speeds = stored.speeds
        levels = [(stored.level, [at_level(config, stored.level, number)
                                  for config, number in zip(configs, images, strict=True)])]
    elif measure:
        speeds = _speeds(runs, budget, progress)
    rate = plan.matrix_rate()
    costs = [[_cost(config, rate, speeds) for config in taken] for _, taken in levels]
    seconds = [sum(cost.seconds for config, cost in zip(taken, level, strict=True) if not _is_finished(config, known))
               for (_, taken), level in zip(levels, costs, strict=True)]
    spent = time.monotonic() - start
    number = 0 if stored else choose(seconds, budget - spent - RESERVE)
    if number is None:
        needed = least(seconds, spent)
        raise UserError(f"--budget={brief_duration(budget)}: nothing fits, with all given up that can be "
                        f"({given_up(configs, levels[-1][1], images)}) it is expected to take {duration(min(seconds))} "
                        f"after {duration(spent)} of preparing: the smallest that would do is "
                        f"--budget={brief_duration(needed)}")
    level, taken = levels[number]
    if measure and path and not stored and speeds:
        atomic.write_json(path, {
            "schema": SCHEMA, "budget": budget, "level": dataclasses.asdict(level), "expected_seconds": seconds[number],
            "levels": {one.name: round(needed, 1) for (one, _), needed in zip(levels, seconds, strict=True)},
            "speeds": {name: speed._asdict() for name, speed in speeds.items()}}, cure=store.CURE)
    needs = f"about {duration(seconds[number])} for what is not finished" if seconds[number] else "all is finished"
    how = "as decided before" if stored else "by measured speed" if measure else "by an estimate, not measured yet"
    return Fitted(taken, costs[number], [
        f"budget {brief_duration(budget)}: {level.name}, {needs}, {how}",
        f"  given up: {given_up(configs, taken, images)}"])


def _opened(config: RunConfig, progress, known: dict[Any, Any]) -> RunInputs | None:
    """A run with its data, prepared where that must be; None without `progress` where they are not there.

    Weights take no part: their speed is that of random ones, and a study may still have to make them.

    Args:
      known: {} at first. It keeps data sets: a study's runs share them.
    """
    network = network_of(config)
    key = ("opened", *reading_of(config))
    if key not in known:
        dataset = dataset_of(config)
        known[key] = prepare_data(config, dataset, progress) if progress else find_dataset(dataset, config.data_dir)
    data = known[key]
    if data is None:
        return None
    config = dataclasses.replace(config, budget=None).settled(data.manifest["splits"]["train"]["n"])
    return RunInputs(config, network, data, None, None)


def _key(runs: Sequence[RunInputs | None], budget: int) -> str:
    return key_of({"schema": SCHEMA, "budget": budget, "runs": sorted(key_of(run.spec) for run in runs if run)})


class Speed(NamedTuple):
    """Seconds that training/speed.py measured: to trace, to begin a training, per image trained on and evaluated."""

    trace: float
    begin: float
    train: float
    evaluate: float


class _Decision(NamedTuple):
    level: Level
    speeds: dict[str, Speed]


def _read(path) -> _Decision:
    """A stored decision.

    Raises:
      UserError: it is damaged, or of a newer tfbench.
    """
    cure = "move it to another folder, the level is then chosen anew"
    value = atomic.read_json(path, cure=cure, schema=SCHEMA)
    fault = wrong(value, _DECISION, required=[name for name in _DECISION if name != "speeds"])
    fault = fault or wrong(value["level"], _LEVEL, "level.", required=("name", "divisor"))
    speeds = {} if fault else value.get("speeds") or {}
    for name, speed in speeds.items():
        fault = fault or wrong(speed, dict.fromkeys(Speed._fields, AMOUNT), f"speeds.{name}.", Speed._fields)
    if fault:
        raise UserError(f"{path} is damaged, {fault}: {cure}")
    return _Decision(Level(**{name: value["level"][name] for name in _LEVEL}),
                     {name: Speed(**{part: speed[part] for part in Speed._fields}) for name, speed in speeds.items()})


def _speeds(runs: Sequence[RunInputs | None], budget: int, progress) -> dict[str, Speed]:
    """Network → its measured speed, of those that are trained and whose weights are there or will be made."""
    from tfbench.training import speed  # TensorFlow

    pretrained = {run.config.model for run in runs if run and run.config.regime == PRETRAIN.name}
    firsts: dict[str, RunInputs] = {}
    for run in runs:
        if run and run.config.kind.search and run.config.model not in firsts:
            with contextlib.suppress(UserError):  # there are none, and it is going to be refused for it
                weights, metadata = (None, None) if run.config.model in pretrained else weights_of(
                    run.config, run.network)
                firsts[run.config.model] = dataclasses.replace(run, weights=weights, metadata=metadata)
    speeds = {}
    for name, run in firsts.items():
        progress.line(f"measuring the speed of {name}")
        try:
            speeds[name] = Speed(**speed.measure(run, MEASURING * budget / len(firsts)))
        except UserError as error:  # the run itself is going to be refused for it
            progress.line(f"  not measured: {error}")
            continue
        one = speeds[name]
        progress.line(f"  {1 / one.train:,.1f} images/s in training, {1 / one.evaluate:,.1f} in evaluation, "
                      f"{duration(one.trace)} to trace")
    return speeds


def _cost(config: RunConfig, rate: float, speeds: dict[str, Speed]) -> plan.Cost:
    """What a run takes by the measured speed of its network, else by the estimate."""
    cost = plan.cost(config, rate)
    return measured(cost, speeds[config.model]) if config.model in speeds else cost


def _is_finished(config: RunConfig, known: dict[Any, Any]) -> bool:
    try:
        return store.finished(config.results_dir, resolve_prepared(config, known).spec) is not None
    except UserError:  # its weights or its data are not there
        return False


def measured(cost: plan.Cost, speed: Speed) -> plan.Cost:
    """The cost with its seconds by a measured speed."""
    trainings = cost.fits if cost.trained else 0
    return dataclasses.replace(cost, seconds=speed.trace + trainings * speed.begin + cost.trained * speed.train
                               + cost.evaluated * speed.evaluate)


# ---- the end of the time ---------------------------------------------------------------------------


@contextlib.contextmanager
def deadline(budget: int | None, start: float, left: Callable[[], str]) -> Iterator[None]:
    """Context manager that stops what it holds when a budget is spent; None: never.

    Args:
      start: when the budget began, of time.monotonic.
      left: says what is done and what is left.

    Raises:
      OutOfTime: the time is over. What was being trained is saved.
    """
    if budget is None:
        yield
        return
    try:
        with app.alarm(start + budget - RESERVE - time.monotonic()):
            yield
    except OutOfTime:
        raise OutOfTime(f"the budget of {brief_duration(budget)} is spent, {left()}") from None
