"""Seconds of calls that take turns."""

import time

import numpy as np


def median_seconds(calls: dict, rounds: int) -> dict[str, float]:
    """Median seconds of each call, by name: all are called in turn, `rounds` times after one round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times[1:])) for name, times in seconds.items()}
