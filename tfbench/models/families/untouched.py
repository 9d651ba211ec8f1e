"""Models that are taken as they are, as one layer: networks of Keras Applications, and custom ones.

They keep their own layers, batch norm and initialisers: of the options only those of the classifier apply, and
`drop_path` to EfficientNets. Keras drops their paths in training, with a rate that grows with depth, unless told
otherwise; here only where it is asked for.

EfficientNet B0 to B7 standardise images by weights, which random networks have at mean 0 and variance 1. Keras adds a
division where it loads ImageNet's; here these get the variance that does the same (`tensors`).
"""

import re

import keras
import numpy as np

from tfbench.models import custom
from tfbench.models.inspection import all_layers, is_unnamed, letters
from tfbench.models.layers import BuildOptions, Dropout, Normalization, keras_application

BODY = "body"  # the layer of build_network's model that is the untouched one
DEVIATIONS = np.array([0.229, 0.224, 0.225], np.float32)  # of ImageNet's channels in [0, 1]: in EfficientNet's files


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py."""
    images = keras.Input([size, size, 3], name="images")
    if network.custom:
        model = custom.build(network.name, size)
    else:
        model, _ = split(keras_application(network, classifier_activation=None, input_shape=(size, size, 3)))
        if any(_replaced(layer) for layer in model.layers):
            model = keras.models.clone_model(model, clone_function=lambda layer: _layer(layer, options.drop_path))
    model.name = BODY
    output = model(images)
    features = output["features"] if isinstance(output, dict) else output
    return images, keras.layers.Identity(dtype="float32", name="features")(features), None


def _replaced(layer: keras.layers.Layer) -> bool:
    """Whether a layer of Keras's is another here: it drops paths, or has weights by which it standardises."""
    return isinstance(layer, keras.layers.Dropout) or (
        isinstance(layer, keras.layers.Normalization) and bool(layer.weights))


def _layer(layer: keras.layers.Layer, drop_path: bool) -> keras.layers.Layer:
    """A layer in place of Keras's, which is the same function unless paths are dropped."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.Dropout):
        return Dropout.from_config(config | {"rate": layer.rate if drop_path else 0.0})
    return (Normalization if _replaced(layer) else type(layer)).from_config(config)


def classifier_initializer(network) -> keras.initializers.Initializer:
    """Keras's default."""
    del network
    return keras.initializers.GlorotUniform()


def split(shipped: keras.Model) -> tuple[keras.Model, keras.layers.Layer]:
    """A network of Keras Applications with its classifier, in two.

    Returns:
      (from images to the classifier's input before dropout, [batch, feature_width]; the classifier).
    """
    classifier = [layer for layer in shipped.layers if layer.weights][-1]
    features = classifier.input
    while isinstance(dropout := features._keras_history.operation, keras.layers.Dropout):
        features = dropout.input
    if len(features.shape) == 4:  # MobileNet v3: maps of 1 × 1
        features = keras.layers.Flatten()(features)
    model = keras.Model(shipped.input, features)
    for number, layer in enumerate(all_layers(model)):
        # Keras numbers unnamed layers through a process. The bytes of a weights file, which holds these names, must
        # not tell what was built before.
        if is_unnamed(layer):
            layer.name = f"{letters(layer.name)}_{number}"
    return model, classifier


def named_weights(model: keras.Model, classifier: keras.layers.Layer) -> list[tuple[str, keras.Variable]]:
    """The weights by a name that the network of build_network and Keras's own share; see original_names.py.

    Keras numbers unnamed weights through a process. Normalization's count of images is left out: nothing reads it.
    """
    return [*((f"{BODY}/{number:04d}/{re.sub(r'_[0-9]+$', '', variable.name)}", variable)
              for number, variable in enumerate(model.weights) if variable.dtype == "float32"),
            *zip(("classifier/weights", "classifier/biases"), classifier.weights, strict=True)]


def tensors(shipped: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a network of Keras Applications with its classifier, by those names."""
    values = {name: np.asarray(variable) for name, variable in named_weights(*split(shipped))}
    for name, value in values.items():
        if name.endswith("/variance") and np.allclose(value, DEVIATIONS, rtol=1e-3):  # EfficientNet's of ImageNet
            values[name] = value * DEVIATIONS
    return values
