"""EXECUTORS: the ways to run a study's jobs. To add one, add a file and a row (CONTRIBUTING.md)."""

import importlib

EXECUTORS = {  # name -> "module:function": (options, runs: list[jobs.Run]) -> exit code, None for success
    "local": "tfbench.sweep.executors.local:run",
    "ray": "tfbench.sweep.executors.ray:run",
    "commands": "tfbench.sweep.executors.commands:run",
}


def run(options, runs) -> int | None:
    """Runs a study by the executor that --executor names; returns its exit code."""
    module, _, function = EXECUTORS[options.executor].partition(":")
    return getattr(importlib.import_module(module), function)(options, runs)
