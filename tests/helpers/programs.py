"""Programs in this process: their flags parsed, and single runs executed."""

from absl import flags as absl_flags

from tfbench.cli import flags
from tfbench.cli.progress import Silent
from tfbench.regimes import RUNS
from tfbench.sweep import jobs, run

FlagsError = absl_flags.Error


def parse(program, arguments):
    """What the main of a program takes for a command line: a RunConfig, or the values of its flags."""
    name = program.__name__.rpartition(".")[2]
    if name in RUNS:
        return flags.parse_run(name, arguments)
    return flags.parse(program.SETTINGS, arguments)


def execute(program, arguments, progress=None):
    """(record, whether anything was computed) of a single run of a regime's program."""
    return run.execute(parse(program, arguments), progress or Silent())


def plan_runs(study, arguments, rate=1e11):
    """The runs of a study by its command line."""
    return jobs.plan_runs(parse(study, arguments), rate)
