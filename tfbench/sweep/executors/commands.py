"""--executor=commands: prints the commands of a study's jobs, for Slurm's arrays, GNU parallel or SkyPilot.

Each line is one job, for a POSIX shell. Lines up to the next "# wait" may run at the same time, in any order and on any
machine that sees the folders; the lines after it need them. A line may be repeated: what is finished is not run again.
"""

import shlex
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
            config, expected = left[index].call
            line = flags.to_command(config.regime, config.to_flags(defaults=False))
            if "folder" in expected:  # of the module of a custom network
                line = f'PYTHONPATH={shlex.quote(expected["folder"])}"${{PYTHONPATH:+:$PYTHONPATH}}" {line}'
            print(line)
