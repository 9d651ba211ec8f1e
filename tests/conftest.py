"""TensorFlow set up once for all tests, and the embedded data sets prepared once."""

import fcntl
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from helpers.programs import parse
from tensorflow.python.framework import config

from tfbench.data import folders, prepare
from tfbench.data.catalog import EMBEDDED_DATASETS

# Four logical devices stand for four accelerators; they must be made before any operation runs. Tests of several
# replicas take all four, or a process of their own: TensorFlow keeps its groups, so 2 and 4 fail in one process.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4)


def pytest_collection_modifyitems(items):
    """What starts a cluster comes first: it takes minutes, for which at the end the other process would be idle."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder with all embedded data sets. Tests read it only; those that damage it copy it first.

    Of several processes of pytest-xdist the first that needs it makes it, for all.
    """
    common = tmp_path_factory.getbasetemp()
    common = common.parent if "PYTEST_XDIST_WORKER" in os.environ else common
    with open(common / "data.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not (common / "data").exists():
            for dataset in EMBEDDED_DATASETS:
                prepare.prepare(dataset, common / "data.part")
            (common / "data.part").rename(common / "data")
    return common / "data"


@pytest.fixture
def photographs(tmp_path):
    """folder:PATH of two classes, dark and bright, of 20 images each."""
    folders.read_once.cache_clear()
    generator = np.random.default_rng(0)
    for label, name in enumerate(("dark", "bright")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 128, [32, 32, 3], np.uint8) + np.uint8(128 * label)
            PIL.Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")
    return f"folder:{tmp_path}/mine"


@pytest.fixture(scope="module", autouse=True)
def determinism_ends_with_its_module():
    """--deterministic is for a whole process; here the next module's tests share it."""
    yield
    config.disable_op_determinism()  # which TensorFlow has for its own tests only


@pytest.fixture
def run_program(capsys):
    """Runs the main of a program, run_program(module, *flags), in this process; returns what it prints."""
    def run(program, *arguments) -> str:
        program.main(parse(program, list(arguments)))
        return capsys.readouterr().out

    return run
