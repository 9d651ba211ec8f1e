"""Models that are taken as they are, as one layer: networks of Keras Applications, and custom ones.

They keep their own layers, batch norm and initialisers: of the options only those of the classifier apply.
"""

import keras
import numpy as np

from tfbench.models import custom
from tfbench.models.inspection import all_layers, is_unnamed, letters
from tfbench.models.layers import BuildOptions, keras_application

BODY = "body"  # the layer of build_network's model that is the untouched one


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py."""
    del options  # its own layers say what they are
    images = keras.Input([size, size, 3], name="images")
    if network.custom:
        model = custom.build(network.name, size)
    else:
        model, _ = split(keras_application(network, classifier_activation=None, input_shape=(size, size, 3)))
    model.name = BODY
    output = model(images)
    features = output["features"] if isinstance(output, dict) else output
    return images, keras.layers.Identity(dtype="float32", name="features")(features), None


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
    """The weights by a name that the network of build_network and Keras's own share; see original_names.py."""
    return [*((f"{BODY}/{number:04d}/{variable.name}", variable) for number, variable in enumerate(model.weights)),
            *zip(("classifier/weights", "classifier/biases"), classifier.weights, strict=True)]


def tensors(shipped: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a network of Keras Applications with its classifier, by those names."""
    return {name: np.asarray(variable) for name, variable in named_weights(*split(shipped))}
