"""tfbench's own files, damaged at random: each is refused in one line or read with its meaning, and soon.

A digit of a number that becomes another digit is a number still: of that nothing is claimed. Predictions beside a
record tell it (stats/pairs.py).
"""

import copy
import json
import os
import pathlib
import random
import shutil
import time

import numpy as np
import pytest

from tfbench import UserError
from tfbench.data import index, manifests
from tfbench.data.catalog import DATASETS
from tfbench.linear import cache
from tfbench.models import weights
from tfbench.models.catalog import NETWORKS
from tfbench.results import store

COMPATIBILITY = pathlib.Path(__file__).parents[1] / "compatibility"
JUNK = (None, True, -1, 0, 3.7, 1e308, 10**30, "", "x", "\x1b[2J", "../../x", [], [None], {}, {"a": []}, [[[]]])
MOST_SECONDS = 1.0  # of the processor, for one file
RECORD = "finetune-mobilenet_v1-digits-d1240077d7e53e0a"
TRIAL = {"learning_rate": 0.1, "weight_decay": 0.0, "steps": 5, "validation_accuracy": 0.5, "test_crop": "whole",
         "validation": {"whole": 0.5, "central": 0.4}, "diverged": False, "seconds": 1.5, "host": "a"}


def damaged_bytes(draw: random.Random, content: bytes) -> bytes:
    """`content` cut, flipped, doubled, mixed or overwritten in one place."""
    at, length = draw.randrange(len(content)), draw.choice((1, 1, 2, 8, 64, 512))
    part = content[at:at + length]
    return draw.choice((
        lambda: content[:at], lambda: content[at:], lambda: content[:at] + content[at + length:],
        lambda: content[:at] + bytes([part[0] ^ 1 << draw.randrange(8)]) + content[at + 1:],
        lambda: content[:at] + part + part + content[at + length:],
        lambda: content[:at] + draw.randbytes(len(part)) + content[at + length:],
        lambda: content[:at] + bytes(len(part)) + content[at + length:], lambda: content + draw.randbytes(length)))()


def damaged_json(draw: random.Random, content: bytes) -> bytes:
    """JSON with one value replaced by junk, one field dropped or renamed, or one list changed, at any depth."""
    value = copy.deepcopy(json.loads(content))
    places = []

    def walk(group):
        for name in list(group) if isinstance(group, dict) else range(len(group)):
            places.append((group, name))
            if isinstance(group[name], dict | list):
                walk(group[name])

    walk(value)
    group, name = draw.choice(places)
    action = draw.choice(("junk", "junk", "drop", "rename"))
    if action == "junk":
        group[name] = draw.choice(JUNK)
    else:
        kept = group.pop(name)
        if action == "rename" and isinstance(group, dict):
            group[name + "_"] = kept
    return json.dumps(draw.choice((value, value, value, draw.choice(JUNK)))).encode()


def same_record(before, after) -> bool:
    """Whether a record is still of the same run. What the file lost altogether is not there rather than another."""
    names = ("key", "regime", "network", "dataset", "n_test")
    return all(before[name] == after[name] for name in names) and after.spec in (before.spec, {})


def same_arrays(before, after) -> bool:
    return after is not None and all(np.array_equal(after[name], before[name]) for name in after)


def prepared(folder):
    """A data set's folder as prepare leaves it, but for the images; the data set."""
    dataset = DATASETS["digits"]
    place = manifests.folder(dataset, folder)
    place.mkdir(parents=True)
    n = 6
    whole, hashes = np.arange(n), np.arange(n * 32, dtype=np.uint8).reshape(n, 32)
    entries = index.Index(np.array(["digits-train.tfrecord"]), np.array([f"digit_{i}" for i in range(n)]), whole % 2,
                          np.array(["train"] * n), whole * 0, whole * 100, whole + 50, hashes, whole + 30, hashes)
    entries.save(place / index.FILE)
    facts = {"result": "PASS", "found": "x"}
    (place / manifests.MANIFEST).write_text(json.dumps({
        "dataset": "digits", "tfds": dataset.tfds, "content": "ab", "origin": "drawn", "versions": {"numpy": "2"},
        "splits": {split: {"n": 2, "sha256": "ab", "labels": [1, 1]} for split in manifests.SPLITS},
        "verification": {level: dict(facts) for level in ("counts", "labels", "keys", "images")},
        "files": {index.FILE: (place / index.FILE).stat().st_size}}))
    return place, dataset


def same_manifest(before, after) -> bool:
    return after["tfds"] == before["tfds"] and all(
        after["splits"][split].keys() >= {"n", "sha256"} for split in manifests.SPLITS)


def same_index(before, after) -> bool:
    return all(np.array_equal(getattr(after, name), getattr(before, name)) for name in ("keys", "labels", "records"))


def files(folder):
    """name → (file, how it is read, whether what was read before and after means the same)."""
    rows, work = folder / "results/rows", folder / "work"
    rows.mkdir(parents=True)
    work.mkdir()
    for path in (COMPATIBILITY / "study").glob(f"rows/{RECORD}.*"):
        shutil.copy(path, rows)
    for path in (COMPATIBILITY / "weights").glob("mobilenet_v1.*"):
        shutil.copy(path, folder)
    store.trial_path(work, 1).write_text(json.dumps(TRIAL))
    record, = store.read_records(rows.parent)
    shards = cache.FeatureCache(folder)
    shards.write("train", 0, ["a", "b"], np.eye(2, 5, dtype=np.float32))
    key = folder / "features/x/key.json"
    key.parent.mkdir(parents=True)
    key.write_text(json.dumps({"image_size": 32, "precision": "float32", "images": {
        "train": 1, "validation": 1, "test": 1}}))
    weights_file, spec = folder / "mobilenet_v1.weights.h5", {"learning_rate": [0.1], "weight_decay": [0.0]}

    def read_metadata():
        return weights.read_metadata(weights_file, NETWORKS["mobilenet_v1"])

    def same_weights(before, after) -> bool:
        return all(after[name] == before[name] for name in ("network", "sha256"))

    def same_point(before, after) -> bool:
        return all(after[1][name] == before[1][name] for name in ("learning_rate", "weight_decay"))

    place, dataset = prepared(folder / "data")
    return {
        "manifest": (place / manifests.MANIFEST, lambda: manifests.read_stored(dataset, folder / "data"),
                     same_manifest),
        "index": (place / index.FILE, lambda: index.load(place), same_index),
        "record": (rows / f"{RECORD}.json", lambda: store.read_records(rows.parent)[0], same_record),
        "predictions": (rows / f"{RECORD}.npz", lambda: store.read_predictions(record), same_arrays),
        "trial": (work / "trial1.json", lambda: store.read_trials(work, spec), same_point),
        "metadata": (folder / "mobilenet_v1.json", read_metadata, same_weights),
        "shard": (folder / "train-00000.npz", lambda: shards.read("train", 0, ["a", "b"]),
                  lambda before, after: after is None or np.array_equal(before, after)),
        "cache": (key, lambda: cache.describe_all(folder), lambda before, after: True)}


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "record", "predictions", "trial", "manifest", "index", "mapped index", "metadata", "shard", "cache"])
def test_damage_is_refused_in_one_line_or_changes_no_meaning(name, tmp_path, monkeypatch):
    if name == "mapped index":
        monkeypatch.setattr(index, "MAP_FROM", 0)
    path, read, is_same = files(tmp_path)[name.removeprefix("mapped ")]
    content, before, draw, refused = path.read_bytes(), read(), random.Random(name), 0
    for number in range(400):
        is_json = path.suffix == ".json" and number % 2
        damaged = (damaged_json if is_json else damaged_bytes)(draw, content)
        (path.parent / "damaged").write_bytes(damaged)
        os.replace(path.parent / "damaged", path)  # as tfbench writes: what is mapped stays
        start = time.thread_time()
        try:
            after = read()
        except UserError as error:
            refused += 1
            text = str(error)
            assert "\n" not in text and str(path.parent) in text and "delete" not in text, text
        else:
            assert is_same(before, after), (number, damaged[:500])
        assert time.thread_time() - start < MOST_SECONDS, (number, damaged[:500])
    assert refused > 40 or name == "shard"
