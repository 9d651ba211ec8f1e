"""Held-out sets: exact size, proportional, by key alone."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tfbench.data.splits import held_out, per_class, split_hash

KEYS = [f"image_{i:03d}" for i in range(200)]
LABELS = np.array([0] * 120 + [1] * 60 + [2] * 17 + [7] * 3)


@pytest.mark.parametrize("size", [0, 1, 7, 50, 199, 200])
def test_held_out_has_exactly_the_size_asked_for(size):
    assert held_out(KEYS, LABELS, size).sum() == size


def test_held_out_rounds_shares_by_largest_remainder():
    # Shares of 30: 18, 9, 2.55, 0.45: the spare one goes to class 2.
    chosen = LABELS[held_out(KEYS, LABELS, 30)]
    assert [int((chosen == label).sum()) for label in (0, 1, 2, 7)] == [18, 9, 3, 0]


def test_ties_go_to_the_smaller_label():
    chosen = held_out(["a", "b", "c", "d"], [5, 5, 3, 3], 1)
    assert chosen.tolist()[:2] == [False, False]
    assert chosen.sum() == 1


def test_held_out_takes_the_smallest_hashes_of_a_class():
    chosen = held_out(KEYS, LABELS, 30, seed=4)
    ranked = sorted(KEYS[:120], key=lambda key: hashlib.sha256(f"4|{key}".encode()).hexdigest())
    assert {key for key, held in zip(KEYS[:120], chosen, strict=False) if held} == set(ranked[:18])


def test_held_out_does_not_depend_on_the_order():
    order = np.random.RandomState(0).permutation(200)
    shuffled = held_out([KEYS[i] for i in order], LABELS[order], 30)
    np.testing.assert_array_equal(shuffled, held_out(KEYS, LABELS, 30)[order])


def test_another_seed_holds_out_others():
    first, second = held_out(KEYS, LABELS, 30, seed=0), held_out(KEYS, LABELS, 30, seed=1)
    assert (first & second).sum() < 20


@pytest.mark.parametrize("keys, labels, size", [
    (["a", "a"], [0, 1], 1), (["a", "b"], [0], 1), (["a", "b"], [0, 1], 3), (["a", "b"], [0, 1], -1)])
def test_held_out_refuses_what_it_cannot_do(keys, labels, size):
    with pytest.raises(ValueError, match="expected"):
        held_out(keys, labels, size)


def test_split_hash_is_that_of_the_sorted_lines():
    assert split_hash(["b", "ä", "a"]) == hashlib.sha256("a\nb\nä\n".encode()).hexdigest()
    assert split_hash(["ab", "c"]) != split_hash(["a", "bc"])


def test_no_tensorflow_is_imported():
    code = ("import sys, tfbench.data.splits, tfbench.data.prepare, tfbench.data.examples\n"
            "sys.exit('tensorflow' in sys.modules or 'tensorflow_datasets' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_per_class_takes_the_same_examples_whatever_their_order():
    """Directories list their files in another order on every file system."""
    chosen = per_class(KEYS, LABELS, 10)
    assert [int(chosen[label == LABELS].sum()) for label in (0, 1, 2, 7)] == [10, 10, 10, 3]
    order = np.random.RandomState(0).permutation(len(KEYS))
    shuffled = per_class([KEYS[i] for i in order], LABELS[order], 10)
    assert {KEYS[i] for i in np.flatnonzero(chosen)} == {KEYS[i] for i in order[shuffled]}
    assert not np.array_equal(chosen, per_class(KEYS, LABELS, 10, seed=1))
