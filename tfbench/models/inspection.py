"""What a custom Keras model is taken for: which of its tensors the features are, what does not apply, what is refused.

docs/manual.md, "Use a custom network", has the table of kinds.
"""

import dataclasses
import inspect as python_inspect
import itertools
import json
import re

import keras
import numpy as np
import tensorflow as tf

from tfbench.data.pipeline import to_value_range
from tfbench.errors import UserError
from tfbench.models.catalog import VALUE_RANGES

BEGIN = "keras.Input([image_size, image_size, 3])"
PROBABILITIES = {"softmax", "log_softmax", "sigmoid"}
PASSED = {"Softmax", "LogSoftmax", "Sigmoid", "Activation", "Reshape", "Flatten", "Dropout", "Identity",
          "GlobalAveragePooling2D", "GlobalMaxPooling2D"}  # operations without weights that may follow a classifier
CLASSIFIERS = {"predictions", "logits", "classifier", "conv_preds"}  # names of classifiers that end without softmax
# What 0 to 255 may span where the first weights meet it: standardised images, or pixels; not an image scaled twice.
SPANS = ((0.05, 12.0), (60.0, 300.0))


@dataclasses.dataclass(frozen=True)
class Inspected:
    """What a model was found to be.

    Attributes:
      model: from images to features [batch, width], or to a dictionary with them as "features"; the model itself
        where it is that already.
      taken: what was taken for what, and what does not apply, in sentences.
    """

    model: keras.Model
    taken: tuple[str, ...]


def inspect(call: str, size: int, model) -> Inspected:
    """Takes a model for a network from images to features.

    Args:
      call: what returned it, for error lines.
      size: side of the images in pixels.

    Raises:
      UserError: it is none, or it has what the regimes cannot do as it was meant; its text names the layer.
    """
    _check_input(call, size, model)
    _number_unnamed(model)
    features, taken = _features(call, model)
    if isinstance(model, keras.Sequential) or features is not _single(model.output):
        model = keras.Model(model.inputs[0], features)
        _number_unnamed(model)
    _check_layers(call, model)
    layer = features._keras_history.operation
    what = f"{features.shape[-1]} features, the output of {layer.name}"
    if isinstance(layer, keras.layers.Dense) and not taken:
        what += " (Dense, not taken for a classifier)"
    return Inspected(model, (what, *taken, *_without_effect(model)))


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and, after each, those inside it; custom layer classes can hold some too."""
    return list(model._flatten_layers(include_self=False))


def _check_input(call: str, size: int, model) -> None:
    if "tf_keras" in {base.__module__.split(".")[0] for base in type(model).__mro__}:
        raise UserError(f"{call} returns a model of tf_keras, which is Keras 2: build it with `import keras` (3)")
    if not isinstance(model, keras.Model):
        raise UserError(f"{call} returns a {type(model).__name__}: expected a keras.Model from images to features")
    if isinstance(model, keras.Sequential) and not model.built and model.layers:
        try:
            model.build((None, size, size, 3))
        except Exception as error:
            raise UserError(f"{call} returns a Sequential that cannot be built for images ({size}, {size}, 3) "
                            f"({str(error).splitlines()[0]}): begin with {BEGIN}") from error
    inputs = getattr(model, "inputs", None) if model.built else None
    if not inputs:
        raise UserError(f"{call} returns a model without an input, so without weights: build it with "
                        f"keras.Model(inputs, outputs) from {BEGIN}, or as a keras.Sequential that begins with it")
    shapes = [tuple(one.shape) for one in inputs]
    if shapes == [(None, 3, size, size)]:
        raise UserError(f"{call} takes images with channels first, {shapes[0]}: expected (None, {size}, {size}, 3), "
                        "build it with data_format=\"channels_last\"")
    if len(shapes) != 1 or shapes[0] not in ((None, size, size, 3), (None, None, None, 3)):
        raise UserError(f"{call} takes {', '.join(map(str, shapes))}: expected images (None, {size}, {size}, 3), begin "
                        f"with {BEGIN}")
    if not str(inputs[0].dtype).startswith(("float", "bfloat")):
        raise UserError(f"{call} takes {inputs[0].dtype} images: expected float32, which images are after resizing, "
                        f"begin with {BEGIN}")


# ---- which of its tensors the features are -------------------------------------------------------


def _single(output):
    """The one tensor of an output: itself, or "features" of a dictionary; else the output."""
    if isinstance(output, dict):
        return output.get("features", output)
    return output


def _features(call: str, model: keras.Model):
    """The tensor of features, and what was done to reach it."""
    output = model.outputs[0] if isinstance(model, keras.Sequential) else _single(model.output)
    if isinstance(output, dict):
        raise UserError(f"{call} returns a model without features, its outputs are {', '.join(output)}: expected "
                        "features alone, or a dictionary with them as \"features\"")
    if isinstance(output, (list, tuple)):
        if len(output) > 1:
            raise UserError(f"{call} returns a model with {len(output)} outputs: expected features alone, or a "
                            "dictionary with them as \"features\"")
        output = output[0]
    taken = []
    if below := _below_classifier(call, output):
        output, classifier = below
        taken.append(f"its classifier {classifier} is left off")
    if len(output.shape) == 4 and output.shape[-1]:
        if channels_first := next((layer.name for layer in all_layers(model)
                                   if getattr(layer, "data_format", None) == "channels_first"), None):
            raise UserError(f"{call} has features of the shape {tuple(output.shape)}, a map with channels first (layer "
                            f"{channels_first}): end with keras.layers.GlobalAveragePooling2D()")
        taken.append(f"its map {tuple(output.shape)} is averaged")
        output = keras.layers.GlobalAveragePooling2D(name="average_of_map")(output)
    shape = tuple(output.shape)
    if len(shape) == 3:
        raise UserError(f"{call} has features of the shape {shape}, a sequence: end with the vector that stands for "
                        "the image, e.g. keras.layers.GlobalAveragePooling1D()")
    if len(shape) != 2 or shape[0] is not None or not shape[1]:
        raise UserError(f"{call} has features of the shape {shape}: expected (None, width)")
    return output, taken


def _below_classifier(call: str, output, ending: str | None = None):
    """The input of a classifier at the end of a model, before dropout, and the classifier in words; or None."""
    tensor = output
    while True:
        layer, number, _ = tensor._keras_history
        kind = type(layer).__name__
        inputs = layer._inbound_nodes[number].input_tensors
        activation = getattr(getattr(layer, "activation", None), "__name__", None)
        function = activation if activation in PROBABILITIES else {
            "Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}.get(kind)
        if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
            ended = function or ending
            map_of_gates = kind == "Conv2D" and ended == "sigmoid"
            if map_of_gates or not ended and layer.name not in CLASSIFIERS:
                return None
            tensor, width = inputs[0], layer.output.shape[-1]
            while isinstance(dropout := tensor._keras_history.operation, keras.layers.Dropout):
                tensor = dropout._inbound_nodes[tensor._keras_history.node_index].input_tensors[0]
            return tensor, f"{layer.name} ({ended or 'linear'}, {width} wide)"
        ending = ending or function
        if isinstance(layer, keras.Model) and layer.built and getattr(layer, "outputs", None):
            below = _below_classifier(call, layer.outputs[0], ending)
            if below is None:
                return None
            return keras.Model(layer.inputs, below[0])(inputs[0]), below[1]
        if kind not in PASSED or len(inputs) != 1:
            break
        tensor = inputs[0]
    if ending in ("softmax", "log_softmax"):
        raise UserError(f"{call} ends in probabilities ({ending}), below which no classifier is found (layer "
                        f"{layer.name}): return the features themselves")
    return None


# ---- what the regimes cannot do as it is meant ---------------------------------------------------


def _check_layers(call: str, model: keras.Model) -> None:
    policy = keras.config.dtype_policy().compute_dtype
    cpu_only = not tf.config.list_logical_devices("GPU")
    for layer in all_layers(model):
        name = f"the layer {layer.name} of {call}"
        if isinstance(layer, keras.layers.Lambda):
            raise UserError(f"{call} has the Lambda layer {layer.name}, whose code nothing can name: write a class of "
                            "keras.layers.Layer instead")
        if not layer.trainable and layer.weights and not isinstance(layer, keras.layers.Normalization):
            raise UserError(f"{name} is frozen (trainable=False): the regimes train all weights or none, leave it "
                            "trainable (layer.trainable = True)")
        for variable in layer.weights:
            if variable.dtype in ("float16", "bfloat16", "float64"):
                raise UserError(f"{name} has weights of the type {variable.dtype}: expected float32, give it no dtype; "
                                "--precision=mixed_bfloat16 computes in 16 bits")
        if layer.compute_dtype == "float16" != policy and layer.weights:
            raise UserError(f"{name} computes in float16 without the scaling of the loss that it needs: give it no "
                            "dtype, and take --precision=mixed_float16")
        if cpu_only and getattr(layer, "data_format", None) == "channels_first" and layer.weights:
            raise UserError(f"{name} has data_format=\"channels_first\", which this machine's processor cannot "
                            "compute: build it with channels_last")
    if fixed := _fixed_mode(model):
        layer, value = fixed
        raise UserError(f"the layer {layer} of {call} is called with training={value}, but the regimes train all "
                        "layers and evaluate them in inference mode: leave the argument out")
    if not model.trainable_variables:
        raise UserError(f"{call} has no weights to train: expected a network")


def _fixed_mode(model: keras.Model) -> tuple[str, bool] | None:
    """The first layer that is called with a fixed `training` and is another function in training; and the value."""
    layers = {layer.name: layer for layer in all_layers(model)}

    def parameter(layer):
        return python_inspect.signature(layer.call).parameters.get("training")

    def differs(layer, value: bool) -> bool:
        own = parameter(layer)
        if own and own.default is value:  # Keras writes down the default, too, of Dropout for one
            return False
        leaves = [leaf for leaf in (layer, *layer._flatten_layers(include_self=False))
                  if not isinstance(leaf, keras.Model)]
        return any(map(parameter, leaves))

    def search(node):
        if isinstance(node, dict):
            for call in node.get("inbound_nodes") or ():
                value = call.get("kwargs", {}).get("training") if isinstance(call, dict) else None
                if isinstance(value, bool) and node["name"] in layers and differs(
                        layers[node["name"]], value):
                    return node["name"], value
            node = list(node.values())
        if isinstance(node, list):
            return next(filter(None, map(search, node)), None)
        return None

    return search(config_of(model))


def config_of(model: keras.Model) -> dict:
    """The model's configuration as Keras writes it.

    Raises:
      UserError: it cannot be written.
    """
    try:
        return json.loads(model.to_json())
    except Exception as error:
        raise UserError(f"the architecture of {model.name} cannot be written down ({error}): give its layer classes "
                        "a get_config") from error


def _without_effect(model: keras.Model) -> list[str]:
    """What the layers bring and the regimes do not apply, in sentences."""
    taken = []
    regularized = [layer.name for layer in all_layers(model)
                   if getattr(layer, "activity_regularizer", None) is not None
                   or any(variable.regularizer is not None for variable in _own(layer))]
    constrained = [layer.name for layer in all_layers(model)
                   if any(variable.constraint is not None for variable in _own(layer))]
    for names, kind, instead in ((regularized, "regularizer", "--weight_decay is the only one"),
                                 (constrained, "constraint", "the protocol has none")):
        if names:
            number = f"{len(names)} layers" if len(names) > 1 else "1 layer"
            taken.append(f"the {kind} of {number} ({names[0]}) is NOT applied: {instead}")
    mixed = {layer.dtype_policy.name for layer in all_layers(model) if layer.weights
             and layer.compute_dtype != keras.config.dtype_policy().compute_dtype}
    taken.extend(f"layers have the precision {name} of their own" for name in sorted(mixed))
    return taken


def _own(layer) -> list[keras.Variable]:
    return [variable for variable in layer.trainable_variables if not isinstance(layer, keras.Model)]


def _number_unnamed(model: keras.Model) -> None:
    """Gives unnamed layers names that count from the beginning of the model.

    Keras numbers them through a process. Neither a weights file's bytes, which hold the names, nor what tfbench's
    Dropout draws by its name may tell what was built before.
    """
    layers = all_layers(model)[::-1]
    taken = {layer.name for layer in layers if not is_unnamed(layer)}
    for layer in layers:
        if is_unnamed(layer):
            kind = re.sub(r"_\d+$", "", layer.name)
            layer.name = next(name for number in itertools.count(1) if (name := f"{kind}_{number}") not in taken)
            taken.add(layer.name)


def is_unnamed(layer) -> bool:
    """Whether a layer has the name that Keras gave it."""
    return letters(layer.name) == letters(type(layer).__name__)


def letters(name: str) -> str:
    """A name without what Keras numbers it by."""
    return re.sub(r"[\d_]", "", name).lower()


# ---- how it computes -----------------------------------------------------------------------------


def trace(model: keras.Model, size: int):
    """The model's graph in inference mode for one image, a WrappedFunction; and how many losses its layers add."""
    losses = []

    def forward(images):
        features = model(images, training=False)
        losses.extend(model.losses)
        return features

    return tf.compat.v1.wrap_function(forward, [tf.TensorSpec([1, size, size, 3])]), len(losses)


def values_at_first_weights(traced, model: keras.Model, value_range: str) -> tuple[float, float] | None:
    """The smallest and largest value that meets the first trained weights, of an image half black, half white."""
    handles = {id(variable.value.handle) for variable in model.trainable_variables}
    images, weights = {traced.inputs[0].ref()}, set()
    weights = {inner.ref() for outer, inner in traced.graph.captures if id(outer) in handles}
    for operation in traced.graph.get_operations():
        of_images = [tensor for tensor in operation.inputs if tensor.ref() in images]
        of_weights = any(tensor.ref() in weights for tensor in operation.inputs)
        if of_images and of_weights:
            return _span(traced, of_images[0], value_range)
        for tensor in operation.outputs:
            if of_images:
                images.add(tensor.ref())
            if of_weights:
                weights.add(tensor.ref())
    return None


def _span(traced, tensor, value_range: str) -> tuple[float, float]:
    size = traced.inputs[0].shape[1]
    pixels = np.zeros([1, size, size, 3], np.float32)
    pixels[:, :, size // 2:] = 255.0
    values = np.asarray(traced.prune(traced.inputs[0], tensor)(to_value_range(tf.constant(pixels), value_range)),
                        np.float32)
    if values.ndim == 4 and min(values.shape[1:3]) >= 8:  # without what pads the border
        height, width = values.shape[1:3]
        values = values[:, height // 4:-(height // 4), width // 4:-(width // 4)]
    return float(np.quantile(values, 0.02)), float(np.quantile(values, 0.98))


def check_scaling(name: str, model: keras.Model, value_range: str, span: tuple[float, float] | None) -> None:
    """Raises UserError where the images would be scaled twice, or for another value range than the network's."""
    if span is None or is_scaled_well(span):
        return
    scaling = [layer.name for layer in all_layers(model)
               if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))]
    by = f" (layers {', '.join(scaling)})" if scaling else ""
    raise UserError(f"{name} scales its images itself{by}, and not from value_range = \"{value_range}\", "
                    f"{VALUE_RANGES[value_range]}: its first weights would meet values from {span[0]:.4g} to "
                    f"{span[1]:.4g}. State the value_range from which it scales, e.g. \"pixels\", or take the "
                    "scaling out")


def is_scaled_well(span: tuple[float, float]) -> bool:
    """Whether values from span[0] to span[1] can be what an image's 0 to 255 is to become."""
    width = span[1] - span[0]
    return any(low <= width <= high for low, high in SPANS) and span[1] > 0.1 * width
