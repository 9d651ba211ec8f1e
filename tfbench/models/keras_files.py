"""The weights files of Keras Applications, read into the naming of the original checkpoints."""

import re

import keras
import numpy as np

from tfbench.errors import UserError
from tfbench.models.families import inception, untouched
from tfbench.models.layers import keras_application
from tfbench.models.original_names import original_names

RENAMED = {"predictions": "logits", "conv_preds": "logits", "fc1": "fc6", "fc2": "fc7"}  # Keras's layer -> ours


def read(network, path) -> dict[str, np.ndarray]:
    """The tensors of a file with classifier by original name, for convert.assign.

    Args:
      network: a row of NETWORKS with a keras_application.
      path: the .h5 file.

    Raises:
      UserError: it is not the file of this network.
    """
    shipped = build(network)
    try:
        shipped.load_weights(path)
    except (OSError, ValueError) as error:
        name = network.keras_application.name
        raise UserError(f"{path} is not the weights file (with top) of keras.applications.{name} ({error}): "
                        f"fetch it with `python -m tfbench.prepare_models --model={network.name} "
                        "--source=keras`") from error
    return tensors(network, shipped)


def build(network) -> keras.Model:
    """The network as Keras ships it, with 1,000 logits and random weights."""
    return keras_application(network, classifier_activation=None)


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
