"""What successive halving saves and misses: its rows beside those of the full grid, of one results folder."""

import numpy as np

from tfbench.errors import UserError
from tfbench.results import store


def measure(results_dir) -> dict:
    """Compares each search by halving with the full grid of the same run.

    Returns:
      {"searches": how many, "steps": share of the grid's steps that halving took, in (0, 1], "same_choice": how many
      chose the same learning rate and weight decay, "validation_loss" and "test_loss": accuracy of the grid's choice
      less that of halving's, one for each search, fractions}.

    Raises:
      UserError: no search was made both ways.
    """
    runs = {}
    for row in store.read_records(results_dir):
        if "search" in row:
            spec = {name: value for name, value in row["spec"].items() if name != "search"}
            runs.setdefault(store.key_of(spec), {})[row["search"]["kind"]] = row
    pairs = [(run["grid"], run["halving"]) for run in runs.values() if len(run) == 2]
    if not pairs:
        raise UserError(f"expected runs in {results_dir} that were made both with --search=grid and with "
                        "--search=halving, found none: see flags/halving.flags")
    point = ("learning_rate", "weight_decay")
    return {
        "searches": len(pairs),
        "steps": sum(less["search"]["steps"] for _, less in pairs) / sum(full["search"]["steps"] for full, _ in pairs),
        "same_choice": sum(all(full["selected"][name] == less["selected"][name] for name in point)
                           for full, less in pairs),
        "validation_loss": [full["validation_accuracy"] - less["validation_accuracy"] for full, less in pairs],
        "test_loss": [full["accuracy"] - less["accuracy"] for full, less in pairs]}


def report(result: dict) -> list[str]:
    """What `measure` found, in lines."""
    lines = [f"successive halving took {100 * result['steps']:.0f} % of the full grid's steps in {result['searches']} "
             f"searches and chose the same point in {result['same_choice']}"]
    for split in ("validation", "test"):
        loss = 100 * np.array(result[f"{split}_loss"])
        lines.append(f"  {split:<10} {loss.mean():+.1f} points lost on average, {loss.max():+.1f} at most")
    return lines
