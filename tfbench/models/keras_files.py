"""The weights files of Keras Applications, read into the naming of the original checkpoints."""

import re

import keras
import numpy as np

from tfbench.errors import UserError
from tfbench.models.families import inception, keras_networks
from tfbench.models.original_names import original_names

# name -> (builder in keras.applications, its arguments); the three networks that Keras lacks are not here.
BUILDERS = {name: (builder, arguments) for name, (builder, arguments, _) in keras_networks.BUILDERS.items()} | {
    "inception_v3": ("InceptionV3", {}),
    "inception_resnet_v2": ("InceptionResNetV2", {}),
    "nasnet_mobile": ("NASNetMobile", {}),
    "nasnet_large": ("NASNetLarge", {}),
}

RENAMED = {"predictions": "logits", "conv_preds": "logits", "fc1": "fc6", "fc2": "fc7"}  # layers: Keras's name, ours


def read(row, path) -> dict[str, np.ndarray]:
    """The tensors of a file with classifier by original name, for convert.assign.

    Args:
      row: the network's row of NETWORKS.
      path: the .h5 file.

    Raises:
      UserError: it is not the file of this network.
    """
    shipped = build(row)
    try:
        shipped.load_weights(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not the weights file (with top) of keras.applications.{BUILDERS[row.name][0]} "
                        f"({error}): fetch it with `python -m tfbench.prepare_models --model={row.name} "
                        "--source=keras`") from error
    return tensors(row, shipped)


def build(row) -> keras.Model:
    """The network as Keras ships it, with 1,000 logits and random weights."""
    builder, arguments = BUILDERS[row.name]
    return getattr(keras.applications, builder)(weights=None, classifier_activation=None, **arguments)


def tensors(row, shipped: keras.Model) -> dict[str, np.ndarray]:
    """Weights of a model that `build` made, by original name and in the original's shapes.

    Keras's ResNets v1 have biases before batch norm: each is taken off the moving mean, which is the same.
    """
    renamed = _inception_names(row, shipped) if row.family == "inception" else RENAMED
    values = {name: np.asarray(variable) for name, variable in original_names(row, shipped, renamed)}
    if row.family == "vgg":
        scope = f"{row.name}/fc6/weights"
        values[scope] = values[scope].reshape(7, 7, 512, 4096)
        values[f"{row.name}/fc7/weights"] = values[f"{row.name}/fc7/weights"][None, None]
    if row.family == "resnet_v1":
        for name in [name for name in values if name.endswith("/biases") and "/logits/" not in name]:
            mean = name.removesuffix("biases") + "BatchNorm/moving_mean"
            values[mean] = values[mean] - values.pop(name)
    return values


def _inception_names(row, shipped: keras.Model) -> dict[str, str]:
    """Keras's layers are numbered in the order of the original's convolutions: its names for ours."""
    ours = inception.convolutions(row.name)
    renamed = {"predictions": "logits"}
    for kind, ending in ((keras.layers.Conv2D, ""), (keras.layers.BatchNormalization, ".BatchNorm")):
        named = [layer.name for layer in shipped.layers if isinstance(layer, kind) and not _is_residual(layer.name)]
        renamed |= dict(zip(sorted(named, key=_number), (name + ending for name in ours), strict=True))
    for name in (layer.name for layer in shipped.layers if _is_residual(layer.name)):
        block, number = re.fullmatch(r"block(\d+)_(\d+)_conv", name).groups()
        repeat = {"35": "Repeat", "17": "Repeat_1", "8": "Repeat_2"}[block]
        ours_name = "Block8" if (block, number) == ("8", "10") else f"{repeat}.block{block}_{number}"
        renamed[name] = f"InceptionResnetV2.{ours_name}.Conv2d_1x1"
    return renamed


def _is_residual(name: str) -> bool:
    return re.fullmatch(r"block\d+_\d+_conv", name) is not None


def _number(name: str) -> float:
    """Position among layers of its kind: conv2d, conv2d_1, …; named ones (conv_7b) come last."""
    match = re.fullmatch(r"(?:conv2d|batch_normalization)(?:_(\d+))?", name)
    return int(match.group(1) or 0) if match else float("inf")
