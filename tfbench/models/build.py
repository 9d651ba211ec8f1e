"""Builds the networks of the catalog as Keras models with `features` and `logits`."""

import keras

from tfbench.models.catalog import NETWORKS, check_network


def build_network(name: str, *, num_classes: int, image_size: int | None = None, seed: int = 0) -> keras.Model:
    """A randomly initialised network with a new classifier.

    Args:
      name: a key of NETWORKS.
      num_classes: width of the logits.
      image_size: side of the square input in pixels; None for the network's own.
      seed: all initial weights are a function of it (and of the network): Keras's global seed is set.

    Returns:
      A Keras model. Input: images [batch, image_size, image_size, 3] float32 in the value range of
      the network's row. Output: {"features": [batch, feature_width] float32, the global average
      pool of the last feature map, "logits": [batch, num_classes] float32}.

    Raises:
      UserError: the network is not available, or the size too small (see check_network).
    """
    row = NETWORKS[name]
    size = image_size or row.image_size
    check_network(row, size)
    keras.utils.set_random_seed(seed)
    width = {"alpha": row.alpha} if row.keras_name.startswith("MobileNet") else {}
    body = getattr(keras.applications, row.keras_name)(
        include_top=False, weights=None, input_shape=(size, size, 3), **width)
    features = keras.layers.GlobalAveragePooling2D(name="features")(body.output)
    logits = keras.layers.Dense(num_classes, name="logits")(features)
    return keras.Model(body.input, {"features": features, "logits": logits}, name=name)


def backbone(model: keras.Model) -> keras.Model:
    """The part below the classifier, images -> features, sharing the weights of `model`."""
    return keras.Model(model.input, model.output["features"], name=f"{model.name}_backbone")


def set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Sets the decay of the moving statistics of every batch-norm layer (before a step is traced)."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def decayed_kernels(model: keras.Model) -> list[keras.Variable]:
    """The variables under L2 regularisation: kernels of convolutions and of the classifier.

    As TF-Slim's regularisers: no biases, no batch norm, and none of MobileNet's depthwise kernels.
    """
    return [variable for layer in model.layers for variable in layer.trainable_variables
            if "kernel" in variable.name and not isinstance(layer, keras.layers.DepthwiseConv2D)]
