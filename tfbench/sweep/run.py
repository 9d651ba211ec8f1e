"""Runs configs: what the programs of the regimes and the jobs of a study share."""

import dataclasses
import os
import time

from tfbench.cli import app, flags
from tfbench.cli.progress import Display
from tfbench.config import ALL, REFIT, RunConfig, settings_of
from tfbench.files import sharing
from tfbench.files.paths import as_path
from tfbench.inputs import RunInputs, resolve
from tfbench.regimes import REGIMES, RUNS
from tfbench.results import kept_models, store, tracking
from tfbench.results.record import Record, summary
from tfbench.sweep import plan, time_budget
from tfbench.training import halving
from tfbench.wording import say


def start(regime: str, doc: str, main) -> None:
    """Starts the program of a regime: `main` takes the RunConfig that the command line makes."""
    def make_config(settings: flags.Settings) -> RunConfig:
        return RunConfig.from_flags(regime, vars(flags.options(settings)))

    app.start(regime, doc, settings_of(RUNS[regime]), main, make_config,
              lambda config: app.FRESH_BUDGET if config.budget else app.CONTINUES)


def execute(config: RunConfig, progress, *, by_hand: bool = False, keep_model: bool = False,
            cost: plan.Cost | None = None) -> tuple[Record | None, bool]:
    """Runs, continues or finds a single run, or the part of it that config.trial names.

    Args:
      by_hand: whether a person waits: how long a search is is said first, and a results folder that cannot be written
        is refused at once.
      keep_model: whether to keep the network where config.keep_model is not set. A finished run is only trained again
        where it is.
      cost: of the run, to say how long it is; None: an estimate.

    Returns:
      (its record, None while it is not finished; whether anything was computed now).

    Raises:
      UserError: what the program refuses.
    """
    inputs = resolve(config, progress, patient=not by_hand)
    if record := store.finished(config.results_dir, inputs.spec):
        if not config.keep_model or kept_models.is_kept(config.results_dir, inputs.spec):
            return record, False
        progress.line("finished before, without its network: it is trained once more at the chosen hyperparameters, "
                      "without the search")
    elif config.trial == ALL:
        for line in store.scored_otherwise(config.results_dir, inputs.spec):
            progress.line(line)
    progress.expect(plan.images_of(inputs))
    if by_hand and config.kind.search and config.trial == ALL:
        progress.line(plan.introduction(config, inputs, cost))
        progress.line(f"to watch it: tensorboard --logdir={store.work_dir(config.results_dir, inputs.spec)}")
    number = config.trial_number
    if number and halving.is_not_needed(inputs.spec, store.work_dir(config.results_dir, inputs.spec), number):
        return None, False
    if config.keep_model is None:
        inputs = dataclasses.replace(inputs, config=dataclasses.replace(inputs.config, keep_model=keep_model))
    if os.environ.get("TF_CONFIG"):  # several hosts work on it together
        return _run(inputs, progress, by_hand), True
    part = "" if config.trial == ALL else f"-{config.trial}"
    lock = store.lock_path(config.results_dir, inputs.spec, part)
    with sharing.owned(lock, f"{config.regime} {config.model} {config.dataset}", progress.line) as waited:
        if waited and not config.keep_model and (record := store.finished(config.results_dir, inputs.spec)):
            return record, False
        return _run(inputs, progress, by_hand), True


def _run(inputs: RunInputs, progress, by_hand: bool) -> Record | None:
    """Computes a run, or the part of it that config.trial names, tracked where config.track says so."""
    config = inputs.config
    part = "" if config.trial in (ALL, REFIT) else f"-trial{config.trial}"
    with tracking.tracked(config.track, inputs.spec, store.work_dir(config.results_dir, inputs.spec), progress.line,
                          part=part, must=by_hand) as tracker:
        record = config.kind.run(dataclasses.replace(inputs, tracker=tracker), progress)
        tracker.finish(record)
    return record


def execute_all(config: RunConfig) -> list[Record]:
    """Runs what a config asks for, one run after another, with a progress bar; says what came out."""
    start, budget, costs = time.monotonic(), config.budget, None
    for line in config.notes():
        say(line)
    if budget:
        with Display(1) as progress:
            configs, costs, lines = time_budget.fit([config], budget, progress, start=start)
        config = configs[0]
        for line in lines:
            say(line)
    cost = costs[0] if costs else None
    with time_budget.deadline(budget, start, lambda: _left(config, cost)):
        return _execute_variants(config, cost)


def _left(config: RunConfig, cost: plan.Cost | None) -> str:
    from tfbench.sweep import jobs, status  # they import this module

    return status.left(config.results_dir, [jobs.Run(config, cost, "")] if cost else [])


def _execute_variants(config: RunConfig, cost: plan.Cost | None) -> list[Record]:
    records = []
    variants = config.variants()
    for variant in variants:
        with Display(1) as progress:
            progress.run(f"{variant.model} {variant.dataset}", 1)
            record, new = execute(variant, progress, by_hand=True, cost=cost,
                                  keep_model=len(variants) == 1 and variant.trial == ALL)
            progress.finish_run()
        if record is None:
            say(f"{'done' if new else 'done before'}: trial {variant.trial} of {variant.regime} {variant.model} "
                f"{variant.dataset}")
            continue
        tell(record, new)
        records.append(record)
    return records


def tell(record: Record, new: bool) -> None:
    """Says what came out, what to mind and where the record is."""
    say(summary(record))
    for warning in record["warnings"]:
        say(f"warning: {warning}")
    say(f"{'record' if new else 'finished before, nothing to do; record'}: {record['path']}")
    model = kept_models.path_of(as_path(record["path"]).parent.parent, record["spec"])
    if record["regime"] in REGIMES and model.exists():
        say(f"trained network, for predict and export: {model}")
