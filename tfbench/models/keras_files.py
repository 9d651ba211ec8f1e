"""The weights files of Keras Applications, read into the naming of the original checkpoints."""

import math
import re
from typing import NamedTuple

import h5py
import keras
import numpy as np

from tfbench.errors import UserError
from tfbench.models.catalog import NETWORKS
from tfbench.models.families import inception, untouched
from tfbench.models.layers import keras_application
from tfbench.models.original_names import original_names

RENAMED = {"predictions": "logits", "conv_preds": "logits", "fc1": "fc6", "fc2": "fc7"}  # Keras's layer -> ours


class _Weight(NamedTuple):
    name: str
    shape: tuple[int, ...]


def read(network, path) -> dict[str, np.ndarray]:
    """The tensors of a file with classifier by original name, for convert.assign.

    Args:
      network: a row of NETWORKS with a keras_application.
      path: the .h5 file.

    Raises:
      UserError: it is not the file of this network.
    """
    if network.keras_application is None:
        raise UserError(f"{path} is a weights file of Keras, which has no {network.title}: take a TensorFlow checkpoint"
                        f", or `python -m tfbench.prepare_models --model={network.name}`")
    layers = _layers(path)
    shipped = build(network, classes=layers[-1][-1].shape[-1] if layers else 1000)
    try:
        shipped.load_weights(path)
    except (OSError, ValueError) as error:
        own, reason = network.keras_application, (str(error).splitlines() or [""])[0]
        fits = [name for name in _fitting(layers) if (other := NETWORKS[name].keras_application).name != own.name
                or other.arguments != own.arguments]
        instead = f"it fits --model={fits[0]}, or " if fits else ""
        raise UserError(f"{path} is not the weights file (with top) of keras.applications.{own.name} ({reason}): "
                        f"{instead}fetch it with `python -m tfbench.prepare_models --model={network.name} "
                        "--weights_source=keras`") from error
    values = tensors(network, shipped)
    if infinite := [name for name, value in values.items() if not np.isfinite(value).all()]:
        raise UserError(f"{path} has values that are not finite, the first in {infinite[0]}: take another file")
    return values


def _layers(path) -> list[list[_Weight]]:
    """The weights of each layer that has some, name and shape, of a file in Keras 2's format.

    Raises:
      UserError: it is one of Keras 3, or none of Keras's.
    """
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            if "layers" in file:
                raise UserError(f"{path} is a weights file of Keras 3: if tfbench wrote it, it is converted already, "
                                "give it as --weights; else a custom network (MODULE:FUNCTION) can load it")
            if "layer_names" not in group.attrs:
                raise UserError(f"{path} is an HDF5 file, but no weights file of Keras: name a TensorFlow checkpoint, "
                                "or a weights file of Keras Applications with top")
            named = (group[name] for name in group.attrs["layer_names"])
            return [[_Weight(str(name), layer[name].shape) for name in layer.attrs["weight_names"]] for layer in named
                    if len(layer.attrs["weight_names"])]
    except OSError:
        return []  # Keras says what is wrong with it


def _fitting(layers: list[list[_Weight]]) -> list[str]:
    """The networks of the catalog that have as many trained weights as a file, without its last layer or with it."""
    def count(chosen, *, biases: bool) -> int:
        return sum(math.prod(weight.shape) for layer in chosen for weight in layer
                   if not re.search(rf"(mean|variance|count{'' if biases else '|bias'})(:0)?'?$", weight.name))

    sizes = {count(chosen, biases=biases) for chosen in (layers, layers[:-1]) for biases in (True, False)}
    return [name for name, network in NETWORKS.items() if network.keras_application and network.parameters in sizes]


def build(network, classes: int = 1000) -> keras.Model:
    """The network as Keras ships it, with random weights."""
    return keras_application(network, classifier_activation=None, classes=classes)


def tensors(network, shipped: keras.Model) -> dict[str, np.ndarray]:
    """Weights of a model that `build` made, by original name and in the original's shapes.

    Keras's ResNets v1 have biases before batch norm: each is taken off the moving mean, which is the same.
    """
    if network.builder == "untouched":
        return untouched.tensors(shipped)
    renamed = _inception_names(network, shipped) if network.family == "inception" else RENAMED
    values = {name: np.asarray(variable) for name, variable in original_names(network, shipped, renamed)}
    if network.family == "vgg":
        scope = f"{network.name}/fc6/weights"
        values[scope] = values[scope].reshape(7, 7, 512, 4096)
        values[f"{network.name}/fc7/weights"] = values[f"{network.name}/fc7/weights"][None, None]
    if network.family == "resnet_v1":
        for name in [name for name in values if name.endswith("/biases") and "/logits/" not in name]:
            mean = name.removesuffix("biases") + "BatchNorm/moving_mean"
            values[mean] = values[mean] - values.pop(name)
    return values


def _inception_names(network, shipped: keras.Model) -> dict[str, str]:
    """Keras's name of a layer -> ours; Keras numbers layers in the order of the original's convolutions."""
    names = inception.convolutions(network.name)
    renamed = {"predictions": "logits"}
    for kind, ending in ((keras.layers.Conv2D, ""), (keras.layers.BatchNormalization, ".BatchNorm")):
        named = [layer.name for layer in shipped.layers if isinstance(layer, kind) and not _is_residual(layer.name)]
        renamed |= dict(zip(sorted(named, key=_number), (name + ending for name in names), strict=True))
    for name in (layer.name for layer in shipped.layers if _is_residual(layer.name)):
        (block, number), = re.findall(r"^block(\d+)_(\d+)_conv$", name)
        repeat = {"35": "Repeat", "17": "Repeat_1", "8": "Repeat_2"}[block]
        scope = "Block8" if (block, number) == ("8", "10") else f"{repeat}.block{block}_{number}"
        renamed[name] = f"InceptionResnetV2.{scope}.Conv2d_1x1"
    return renamed


def _is_residual(name: str) -> bool:
    return re.fullmatch(r"block\d+_\d+_conv", name) is not None


def _number(name: str) -> float:
    """Position among layers of its kind: conv2d, conv2d_1, …; named ones (conv_7b) come last."""
    match = re.fullmatch(r"(?:conv2d|batch_normalization)(?:_(\d+))?", name)
    return int(match.group(1) or 0) if match else float("inf")
