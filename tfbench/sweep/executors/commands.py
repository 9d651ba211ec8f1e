"""--executor=commands: prints the commands of a study's jobs, for Slurm's arrays, GNU parallel or SkyPilot.

One line is one job, for a shell. Lines up to the next "# wait" can run at the same time, in any order and on any machine
that sees the folders; those after it need them. Every program finds what is finished, so any line may be repeated.
"""

import sys

from tfbench.cli import flags
from tfbench.cli.progress import Display
from tfbench.sweep import jobs

WAIT = "# wait"


def run(options, runs: list[jobs.Run]) -> None:
    """Prints the lines of all jobs that are left, stage by stage; what is said beside goes to stderr."""
    with Display(1, stages=False, file=sys.stderr) as progress:
        left, finished = jobs.make(runs, progress)
        for line in finished:
            progress.line(line)
    for number, stage in enumerate(jobs.stages(left)):
        if number:
            print(WAIT)
        for index in stage:
            config, _ = left[index].call
            print(flags.to_command(config.regime, config.to_flags(defaults=False)))
