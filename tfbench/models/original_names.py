"""From a network's variables to the names that the original checkpoint gives them."""

import keras

from tfbench.models.families import builder_of, untouched

KINDS = {"kernel": "weights", "bias": "biases", "depthwise_kernel": "depthwise_weights",
         "pointwise_kernel": "pointwise_weights"}


def original_names(network, model: keras.Model,
                   renamed: dict[str, str] | None = None) -> list[tuple[str, keras.Variable]]:
    """Every weight of `model` (states of random generators left out) with its original name.

    Args:
      network: a row of NETWORKS.
      model: of build_network; or, but for an untouched network, with its layers.
      renamed: our names of layers that are called otherwise in `model`.

    Returns:
      Pairs such as ("InceptionV4/Conv2d_1a_3x3/weights", variable), in the order of the layers.
    """
    builder, named = builder_of(network), []
    if builder is untouched:
        return untouched.named_weights(model.get_layer(untouched.BODY), model.get_layer("logits"))
    for layer in model.layers:
        if not layer.weights:
            continue
        scope = builder.original_scope(network, (renamed or {}).get(layer.name, layer.name))
        for variable in layer.weights:
            kind = variable.name
            if kind == "kernel" and isinstance(layer, keras.layers.DepthwiseConv2D):
                kind = "depthwise_kernel"
            named.append((f"{scope}/{KINDS.get(kind, kind)}", variable))
    return named
