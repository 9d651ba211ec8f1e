"""From a network's variables to the names that the original checkpoint gives them."""

import keras

from tfbench.models import custom
from tfbench.models.families import inception, keras_networks, nasnet, pnasnet

FAMILIES = {"inception": inception, "nasnet": nasnet, "pnasnet": pnasnet, "vgg": keras_networks,
            "resnet_v1": keras_networks, "resnet_v2": keras_networks, "densenet": keras_networks,
            "mobilenet": keras_networks, "custom": custom}

KINDS = {"kernel": "weights", "bias": "biases", "depthwise_kernel": "depthwise_weights",
         "pointwise_kernel": "pointwise_weights"}


def original_names(row, model: keras.Model, renamed: dict[str, str] | None = None) -> list[tuple[str, keras.Variable]]:
    """Every weight of `model` (states of random generators left out) with its original name.

    Args:
      row: the network's row of NETWORKS.
      renamed: our names of layers that are called otherwise in `model`.

    Returns:
      Pairs such as ("InceptionV4/Conv2d_1a_3x3/weights", variable), in the order of the layers.
    """
    named = []
    for layer in model.layers:
        if not layer.weights:
            continue
        scope = FAMILIES[row.family].original_scope(row, (renamed or {}).get(layer.name, layer.name))
        for variable in layer.weights:
            kind = variable.name
            if kind == "kernel" and isinstance(layer, keras.layers.DepthwiseConv2D):
                kind = "depthwise_kernel"
            named.append((f"{scope}/{KINDS.get(kind, kind)}", variable))
    return named
