"""--executor=local: everything in this process, one run after another."""

from tfbench.cli.progress import Display
from tfbench.errors import UserError
from tfbench.files import atomic, sharing
from tfbench.regimes import PRETRAIN
from tfbench.results.record import summary
from tfbench.sweep import jobs
from tfbench.sweep.run import execute
from tfbench.wording import count, say


def run(options, runs: list[jobs.Run]) -> int | None:
    """Runs everything, while no other study is at work in the results folder.

    A run that is refused is set aside with its reason, and what needs its weights; the rest goes on. The reasons are
    kept for --status.

    Returns:
      The exit code 1 where one was.
    """
    weights: dict[str, str] = {}
    set_aside: dict[str, str] = {}  # title -> reason
    no_weights: dict[str, str] = {}  # network -> title of its pretraining, which was set aside
    with (sharing.exclusive_lock(options.results_dir, say),
          Display(sum(planned.cost.seconds for planned in runs), stages=False) as progress):
        for path in (jobs.report_path(options.results_dir), jobs.set_aside_path(options.results_dir)):
            path.unlink(missing_ok=True)  # an earlier study's
        for number, planned in enumerate(runs, start=1):
            progress.run(planned.title, planned.cost.seconds)
            config = jobs.use_weights(planned.config, weights)
            try:
                if config.kind.pretrained and config.model in no_weights:
                    raise UserError(f"it needs {no_weights[config.model]}")
                record, new = execute(config, progress)
            except UserError as error:
                set_aside[planned.title] = str(error)
                if config.regime == PRETRAIN.name:
                    no_weights[config.model] = planned.title
                progress.finish_run()
                progress.line(f"[{number}/{len(runs)}] {planned.title} is set aside: {error}")
                atomic.write_json(jobs.set_aside_path(options.results_dir), set_aside)
                continue
            assert record  # of a whole run
            jobs.keep_weights(config, record.spec, weights)
            progress.finish_run()
            spent = f"{record.seconds:.0f} s" if new else "finished before"
            progress.line(f"[{number}/{len(runs)}] {summary(record)} – {spent}")
    for title, reason in set_aside.items():
        say(f"set aside: {title}: {reason}", error=True)
    if not set_aside:
        return None
    say(f"{count(len(set_aside), 'run')} of {len(runs)} set aside, everything else is finished; the same command tries "
        "again", error=True)
    return 1
