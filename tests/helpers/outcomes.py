"""What a results folder holds, without what differs by clock and machine: two ways to one result are compared by it."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np

TIMES = {"seconds", "images_per_second", "input_wait", "finished", "host", "path"}


def timeless(value):
    """A record, or a part of one, without its TIMES and its path."""
    if isinstance(value, Mapping):
        return {name: timeless(part) for name, part in value.items() if name not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def outcomes(results) -> dict:
    """Rows and predictions by file name."""
    found = {}
    for path in pathlib.Path(results).glob("rows/*.json"):
        with np.load(path.with_suffix(".npz")) as kept:
            found[path.name] = timeless(json.loads(path.read_text())), {name: kept[name].tolist() for name in kept}
    return found
