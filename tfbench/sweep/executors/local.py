"""--executor=local: everything in this process, one run after another."""

from tfbench.cli.progress import Display
from tfbench.files import sharing
from tfbench.results.record import summary
from tfbench.sweep import jobs
from tfbench.sweep.run import execute
from tfbench.wording import say


def run(options, runs: list[jobs.Run]) -> None:
    """Runs everything, while no other study is at work in the results folder."""
    weights: dict[str, str] = {}
    with (sharing.exclusive_lock(options.results_dir, say),
          Display(sum(planned.cost.seconds for planned in runs), stages=False) as progress):
        jobs.report_path(options.results_dir).unlink(missing_ok=True)  # an earlier study's on Ray
        for number, planned in enumerate(runs, start=1):
            progress.run(planned.title, planned.cost.seconds)
            config = jobs.use_weights(planned.config, weights)
            record, new = execute(config, progress)
            assert record  # of a whole run
            jobs.keep_weights(config, record.spec, weights)
            progress.finish_run()
            spent = f"{record.seconds:.0f} s" if new else "finished before"
            progress.line(f"[{number}/{len(runs)}] {summary(record)} – {spent}")
