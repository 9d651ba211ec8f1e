"""Seconds of calls that take turns."""

import time

import numpy as np


def seconds_of_rounds(calls: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, by name: all are called in turn, `rounds` times after one round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """The median of each call's seconds."""
    return {name: float(np.median(times)) for name, times in seconds.items()}


def median_seconds(calls: dict, rounds: int) -> dict[str, float]:
    """Median seconds of each call, by name, as seconds_of_rounds takes them."""
    return medians(seconds_of_rounds(calls, rounds))


def ratios_of_rounds(seconds: dict[str, list[float]], pairs: dict[str, tuple[str, str]]) -> dict[str, dict]:
    """How fast a call is, of another's rate: in each round, as both then meet the same noise.

    Args:
      seconds: from seconds_of_rounds.
      pairs: name → (the call, the other one).

    Returns:
      {"ratios": {name: the median over the rounds}, "ratio_ranges": {name: [smallest, largest]}}.
    """
    ratios = {name: np.divide(seconds[other], seconds[ours]) for name, (ours, other) in pairs.items()}
    return {"ratios": {name: float(np.median(values)) for name, values in ratios.items()},
            "ratio_ranges": {name: [float(values.min()), float(values.max())] for name, values in ratios.items()}}
