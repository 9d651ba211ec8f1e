"""Seconds of calls that take turns."""

import time

import numpy as np


def seconds_of_rounds(calls: dict, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each call, by name: all are called in turn, `rounds` times after one round that warms up.

    Returns:
      (seconds on the wall, seconds of the processor). The latter are those of all threads of the process, without what
      other programs took and without waiting. A call that computes in another process has that one's so far as its
      attribute `processor_seconds`.
    """
    def clocks(call):
        return time.perf_counter(), getattr(call, "processor_seconds", time.process_time())

    spent: dict[str, list] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = clocks(call)
            call()
            spent[name].append(np.subtract(clocks(call), start).tolist())
    wall, processor = ({name: [times[clock] for times in rounds_of[1:]] for name, rounds_of in spent.items()}
                       for clock in range(2))
    return wall, processor


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """The median of each call's seconds."""
    return {name: float(np.median(times)) for name, times in seconds.items()}


def median_seconds(calls: dict, rounds: int) -> dict[str, float]:
    """Median seconds on the wall of each call, by name, as seconds_of_rounds takes them."""
    return medians(seconds_of_rounds(calls, rounds)[0])


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


def say_ratio(ratios: dict[str, dict], name: str) -> str:
    """A ratio of ratios_of_rounds and its range in words."""
    return "{:.2f} ({:.2f} to {:.2f})".format(ratios["ratios"][name], *ratios["ratio_ranges"][name])
