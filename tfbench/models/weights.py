"""Weights files: NAME.weights.h5 with the network below its classifier, NAME.json its certificate.

The certificate says what the weights are: network, source data set and the accuracy reached there,
SHA-256 of the file. Programs take the pair as `--weights=NAME.weights.h5`; a file whose bytes are
not those certified is refused. Reading a certificate needs no TensorFlow.
"""

import os
import pathlib
import tempfile

from tfbench import UserError
from tfbench.models.catalog import Network
from tfbench.results import store

ENDING = ".weights.h5"


def certificate_path(path) -> pathlib.Path:
    """The certificate beside a weights file."""
    return pathlib.Path(str(path).removesuffix(ENDING) + ".json")


def read_certificate(path: str, network: Network) -> dict:
    """Checks that `path` holds weights for `network` and returns their certificate.

    Returns:
      {"network", "dataset", "accuracy", "n_test", "sha256", ...}: accuracy is the test accuracy on the
      source data set in [0, 1].

    Raises:
      UserError: ImageNet weights are asked for, or the file or its certificate is missing, damaged or
        of another network.
    """
    if path == "imagenet":
        raise UserError(
            "--weights=imagenet cannot be loaded by this version of tfbench yet: make weights with "
            f"`python -m tfbench.pretrain --model={network.name} --dataset=glyphs` and pass the file it "
            "names as --weights=FILE")
    remake = f"make it with `python -m tfbench.pretrain --model={network.name} --dataset=glyphs`"
    for file in (pathlib.Path(path), certificate_path(path)):
        if not file.is_file():
            raise UserError(f"there is no weights file {file}: {remake}, or correct --weights")
    certificate = store.read_json(certificate_path(path), cure=remake)
    if certificate["network"] != network.name:
        raise UserError(f"{path} holds weights of {certificate['network']}, not of {network.name}: "
                        "correct --weights or --model")
    if certificate["sha256"] != store.file_sha256(path):
        raise UserError(f"{path} is not the file its certificate {certificate_path(path)} describes "
                        f"(SHA-256 differs): {remake}")
    return certificate


def save(backbone, path, certificate: dict) -> None:
    """Atomically writes a Keras model's weights, then their certificate with the file's SHA-256."""
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "x" + ENDING)
        backbone.save_weights(temporary)
        store.write_atomically(path, pathlib.Path(temporary).read_bytes())
    store.write_json(certificate_path(path), certificate | {"sha256": store.file_sha256(path)})
