"""Arrays that stay in their file are those that would be copied, and the same damage is refused."""

import io
import pathlib

import numpy as np
import pytest

from tfbench import UserError
from tfbench.files import arrays
from tfbench.files.paths import as_path

STORED = {
    "names": np.array([f"Schlüssel {i}" for i in range(40)]), "hashes": np.arange(320, dtype=np.uint8).reshape(40, 8),
    "turned": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "big_end": np.arange(7, dtype=">i4"),
    "none": np.zeros((0, 3), np.float32), "one": np.array(5)}
EXPECTED = {name: arrays.Expected(values.dtype.kind, (values.ndim,)) for name, values in STORED.items()}


@pytest.fixture
def path(tmp_path) -> pathlib.Path:
    np.savez(tmp_path / "stored.npz", **STORED)
    return tmp_path / "stored.npz"


def is_mapped(array) -> bool:
    return not array.flags.owndata and not array.flags.writeable


def test_large_arrays_stay_in_the_file_and_are_the_same(path):
    read = arrays.read(path, EXPECTED, cure="x", map_from=STORED["hashes"].nbytes)
    for name, values in STORED.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == values.dtype and read[name].shape == values.shape
    assert {name for name, values in read.items() if is_mapped(values)} == {"names", "hashes"}
    every = arrays.read(path, EXPECTED, cure="x", map_from=0)
    assert all(is_mapped(values) for values in every.values())
    assert all(np.array_equal(every[name], values) for name, values in STORED.items())
    path.unlink()  # as where another takes its place
    assert every["names"].tolist() == STORED["names"].tolist()


def test_they_take_no_memory(path, monkeypatch):
    monkeypatch.setattr(arrays, "free_memory", lambda: 200)
    with pytest.raises(UserError, match="GB are free"):
        arrays.read(path, EXPECTED, cure="x")
    assert len(arrays.read(path, EXPECTED, cure="x", map_from=100)["names"]) == 40


def test_compressed_arrays_and_those_in_buckets_are_copied(tmp_path):
    np.savez_compressed(tmp_path / "small.npz", **STORED)
    content = io.BytesIO()
    np.savez(content, **STORED)
    bucket = as_path("ram://arrays/stored.npz")
    bucket.write_bytes(content.getvalue())
    for path in (tmp_path / "small.npz", bucket):
        read = arrays.read(path, EXPECTED, cure="x", map_from=0)
        assert all(np.array_equal(read[name], values) for name, values in STORED.items())
        assert not any(is_mapped(values) for values in read.values())


@pytest.mark.parametrize("name", ["names", "hashes", "turned"])
def test_a_flipped_byte_is_refused_without_a_copy_too(name, path):
    content = bytearray(path.read_bytes())
    content[content.index(np.asarray(STORED[name]).tobytes("A")) + 9] ^= 0x10
    path.write_bytes(content)
    for map_from in (np.inf, 0):
        with pytest.raises(UserError, match="stored.npz is damaged"):
            arrays.read(path, EXPECTED, cure="x", map_from=map_from)
