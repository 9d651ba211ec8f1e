"""What a worker does: one job of a study, in whatever process, if code and data there are the planner's."""

import functools
import hashlib
import os
import pathlib
import socket
import sys

import tfbench
from tfbench.cli import app
from tfbench.cli.progress import Silent
from tfbench.config import RunConfig, key_of
from tfbench.data.examples import find_dataset, open_dataset
from tfbench.errors import UserError
from tfbench.files import sharing
from tfbench.files.paths import as_path
from tfbench.inputs import dataset_of
from tfbench.models.lookup import is_custom
from tfbench.models.weights import CUSTOM, IMAGENET
from tfbench.results.record import summary
from tfbench.sweep import run
from tfbench.version import __version__


class WrongWorker(UserError):
    """This machine must not do the study's work: its code or its data are others."""


def work(config: RunConfig, expected: dict) -> dict:
    """Does a job, in whatever process.

    Args:
      config: a single run, or the part of it that config.trial names.
      expected: code_hash and data_hash of whoever planned the job, as "code" and "data"; and custom_code.

    Returns:
      {"line": what came out, None for a trial; "new": whether anything was computed}.

    Raises:
      WrongWorker: code or data here are others.
      UserError: what the program refuses.
    """
    check_same_hash("tfbench", expected["code"], code_hash())
    app.quiet()
    use_all_cores()
    if "network" in expected:
        if expected["folder"] not in sys.path:
            sys.path.append(expected["folder"])
        check_same_hash(f"network {config.model}", expected["network"], custom_code(config.model)["network"])
    dataset = dataset_of(config)
    sharing.wait_until_visible(lambda: find_dataset(dataset, config.data_dir) is not None,
                               f"the data set {dataset.name} in {config.data_dir}", "--data_dir")
    manifest = open_dataset(dataset, config.data_dir).manifest
    check_same_hash(f"data set {dataset.name}", expected["data"], data_hash(manifest))
    if config.kind.pretrained and config.weights and config.weights not in (IMAGENET, CUSTOM):
        sharing.wait_until_visible(as_path(config.weights).exists, config.weights)
    record, new = run.execute(config, Silent())
    return {"line": f"{summary(record)} – {record['seconds']:.0f} s" if record else None, "new": new}


def use_all_cores() -> None:
    """Lets linear algebra use the cores of this process, as in any other program: Ray allows it one.

    The last bits of a sum depend on how many share it, and records must not tell where they were computed.
    """
    import scipy.linalg  # noqa: F401  it has a BLAS of its own, which must be there to be told
    import threadpoolctl

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threadpoolctl.threadpool_limits(cores, "blas")


def check_same_hash(what: str, expected: str, here: str) -> None:
    """Raises WrongWorker unless both hashes are the same."""
    if expected != here:
        raise WrongWorker(f"{socket.gethostname()} has another {what} than the machine that planned the study: "
                          f"expected {expected}, found {here}; make them the same and start the same command again")


@functools.cache
def code_hash() -> str:
    """First 16 hex digits of a SHA-256 over this tfbench: its version, and its files' names and bytes."""
    root = pathlib.Path(tfbench.__file__).parent
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def custom_code(network: str | None) -> dict[str, str]:
    """Of a custom network: the folder of its module, and a hash of its code as "network"; of others nothing."""
    if not network or not is_custom(network):
        return {}
    from tfbench.models import custom  # Keras

    return {"folder": custom.folder_of(network), "network": custom.code_hash(network)}


def data_hash(manifest: dict) -> str:
    """A hash of a prepared data set: its images, labels and splits."""
    return key_of({"content": manifest["content"], "splits": manifest["splits"]})
