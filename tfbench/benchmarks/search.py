"""What successive halving saves and misses: its records beside those of the full grid, in one results folder."""

import numpy as np

from tfbench import config
from tfbench.errors import UserError
from tfbench.results import store


def measure(results_dir) -> dict:
    """Compares each search by halving with the full grid of the same run.

    Searches by an earlier version's halving are left out.

    Returns:
      {"searches": how many, "steps": fraction of the grid's steps that halving took, in (0, 1], "same_choice": how many
      chose the same learning rate and weight decay, "validation_loss" and "test_loss": accuracy of the grid's choice
      less that of halving's, in [-1, 1], one for each search}.

    Raises:
      UserError: no search was made both ways.
    """
    runs: dict[str, dict] = {}
    for record in store.read_records(results_dir):
        if "search" not in record:
            continue
        run = record["spec"]
        if run["search"] == "grid" or run.get("rungs") == config.RUNGS:
            spec = {name: value for name, value in run.items() if name not in ("search", "rungs")}
            runs.setdefault(config.key_of(spec), {})[run["search"]] = record
    pairs = [(run["grid"], run["halving"]) for run in runs.values() if len(run) == 2]
    if not pairs:
        raise UserError(f"expected runs in {results_dir} that were made both with --search=grid and with "
                        "--search=halving, found none: see flags/halving.flags")
    point = ("learning_rate", "weight_decay")
    return {
        "searches": len(pairs),
        "steps": (sum(halving["search"]["steps"] for _, halving in pairs)
                  / sum(grid["search"]["steps"] for grid, _ in pairs)),
        "same_choice": sum(all(grid["selected"][name] == halving["selected"][name] for name in point)
                           for grid, halving in pairs),
        "validation_loss": [grid["validation_accuracy"] - halving["validation_accuracy"] for grid, halving in pairs],
        "test_loss": [grid["accuracy"] - halving["accuracy"] for grid, halving in pairs]}


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"successive halving took {100 * result['steps']:.0f} % of the full grid's steps in {result['searches']} "
             f"searches and chose the same point in {result['same_choice']}"]
    for split in ("validation", "test"):
        loss = 100 * np.array(result[f"{split}_loss"])
        lines.append(f"  {split:<10} {loss.mean():+.1f} points lost on average, {loss.max():+.1f} at most")
    return lines
