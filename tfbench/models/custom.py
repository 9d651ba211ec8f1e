"""Networks of the user's own: calls MODULE:FUNCTION, checks what it returns, and finds its facts.

What the function must be says BUILD.md, "Your own network". It is asked for two networks, from two seeds, which must
have one architecture and, unless they are pretrained, different weights.
"""

import difflib
import functools
import hashlib
import importlib
import inspect
import json
import math
import os
import pathlib
import sys
import traceback

import keras
import numpy as np
import tensorflow as tf

from tfbench.errors import UserError
from tfbench.models.catalog import VALUE_RANGES, Network
from tfbench.models.weights import CUSTOM

BODY = "body"  # the layer of build_network's model that is the user's


def function_of(name: str):
    """The function that MODULE:FUNCTION names; modules are also found in the current folder.

    Raises:
      UserError: there is no such module or function, or importing it fails.
    """
    module_name, _, function_name = name.partition(":")
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise UserError(f"there is no module {error.name} for --model={name}: expected MODULE:FUNCTION with a "
                            f"module in {os.getcwd()} or on PYTHONPATH") from None
        raise UserError(_failed(f"importing {module_name}", error)) from error
    except Exception as error:
        raise UserError(_failed(f"importing {module_name}", error)) from error
    if not callable(function := getattr(module, function_name, None)):
        there = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        near = difflib.get_close_matches(function_name, there, n=1)
        instead = f", did you mean {module_name}:{near[0]}?" if near else ": expected --model=MODULE:FUNCTION"
        raise UserError(f"{module.__file__} has no function {function_name}{instead}")
    return function


def _failed(doing: str, error: Exception, module_file: str = "") -> str:
    """What failed, where in the user's file."""
    places = traceback.extract_tb(error.__traceback__)
    place = next((place for place in reversed(places) if place.filename == module_file), places[-1])
    what = (str(error).splitlines() or [""])[0]
    return f"{doing} failed: {type(error).__name__}: {what} ({place.filename}, line {place.lineno})"


def _stated(name: str, function, attribute: str, expected: str, accepts):
    """What the function states of itself, checked."""
    value = getattr(function, attribute, None)
    if not accepts(value):
        short = name.rpartition(":")[2]
        raise UserError(f"{name} must state {short}.{attribute}, {expected}; found {value!r}")
    return value


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def build(name: str, image_size: int, *, pretrained: bool = False) -> keras.Model:
    """What the function returns for images of this size, checked; weights follow from Keras's seed.

    Raises:
      UserError: the function fails, or returns no network from such images to features.
    """
    function = function_of(name)
    try:
        takes = inspect.signature(function).parameters
        inspect.signature(function).bind(image_size)
    except (TypeError, ValueError):
        raise UserError(f"expected {name} to be called as {name.rpartition(':')[2]}(image_size), with the parameter "
                        "pretrained beside it where it can load weights: change its parameters") from None
    try:
        model = function(image_size, **({"pretrained": pretrained} if "pretrained" in takes else {}))
    except UserError:
        raise
    except Exception as error:
        raise UserError(_failed(f"{name}({image_size})", error, inspect.getsourcefile(function))) from error
    _check(f"{name}({image_size})", image_size, model)
    return model


def _check(call: str, size: int, model) -> None:
    """Raises UserError unless `model` is a Keras model from such images to features, all of whose weights train."""
    if "tf_keras" in {base.__module__.split(".")[0] for base in type(model).__mro__}:
        raise UserError(f"{call} returns a model of tf_keras, which is Keras 2: build it with `import keras` (3)")
    if not isinstance(model, keras.Model):
        raise UserError(f"{call} returns a {type(model).__name__}: expected a keras.Model from images to features")
    begin = "keras.Input([image_size, image_size, 3])"
    inputs = getattr(model, "inputs", None) if model.built else None
    if not inputs:
        raise UserError(f"{call} returns a model without an input, so without weights: build it with "
                        f"keras.Model(inputs, outputs) from {begin}, or as a keras.Sequential that begins with it")
    shapes = [tuple(one.shape) for one in inputs]
    if len(shapes) != 1 or shapes[0] not in ((None, size, size, 3), (None, None, None, 3)):
        raise UserError(f"{call} takes {', '.join(map(str, shapes))}: expected images (None, {size}, {size}, 3), begin "
                        f"with {begin}")
    output = model.output
    if isinstance(output, dict):
        if "features" not in output:
            raise UserError(f"{call} returns a model without features, its outputs are {', '.join(output)}: expected "
                            "features alone, or a dictionary with them as \"features\"")
        output = output["features"]
    if not hasattr(output, "shape"):
        raise UserError(f"{call} returns a model with {len(output)} outputs: expected features alone, or a dictionary "
                        "with them as \"features\"")
    shape = tuple(output.shape)
    if len(shape) == 4:
        raise UserError(f"{call} has features of the shape {shape}, a map: end with "
                        "keras.layers.GlobalAveragePooling2D()")
    if len(shape) != 2 or shape[0] is not None or not shape[1]:
        raise UserError(f"{call} has features of the shape {shape}: expected (None, width)")
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Lambda):
            raise UserError(f"{call} has the Lambda layer {layer.name}, whose code nothing can name: write a class of "
                            "keras.layers.Layer instead")
        if not layer.trainable:
            raise UserError(f"the layer {layer.name} of {call} is frozen (trainable=False): the regimes train all "
                            "weights or none, leave it trainable")
    if not model.trainable_variables:
        raise UserError(f"{call} has no weights to train: expected a network")


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and, after each, those inside it; classes of the user's own can hold some too."""
    return list(model._flatten_layers(include_self=False))


@functools.cache  # a program asks several times
def row_of(name: str) -> Network:
    """The row of a network of the user's own.

    Raises:
      UserError: what it states of itself is not what is expected, as `build`, or it is not the same every time.
    """
    function = function_of(name)
    size = _stated(name, function, "image_size", "the pixels a side for which it is made", _is_count)
    ranges = ", ".join(f'"{key}" ({meaning})' for key, meaning in VALUE_RANGES.items())
    value_range = _stated(name, function, "value_range", f"what its images are, one of {ranges}",
                          lambda value: value in VALUE_RANGES)
    model, other = _twice(name, size)
    if fixed := _named(model, other, lambda a, b: np.array_equal(a, b) and np.ptp(a) > 0):
        raise UserError(f"the weight {fixed} of {name} is the same from every seed: it must follow from Keras's seed; "
                        "load weights only where its parameter `pretrained` is true, and give initialisers no seed")
    output = model.output["features"] if isinstance(model.output, dict) else model.output
    return Network(
        name, name, "custom", size, 1, output.shape[1], sum(math.prod(each.shape) for each in model.trainable_variables),
        multiply_adds(model, size) / 1e9, value_range, True, 0.0, 0.0, 0.0, None, None, architecture(model))


def _twice(name: str, size: int, *, pretrained: bool = False) -> list[keras.Model]:
    """The network from two seeds; UserError unless both have one architecture."""
    models = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        models.append(build(name, size, pretrained=pretrained))
    if len(set(map(architecture, models))) > 1:
        raise UserError(f"{name}({size}) returns another architecture each time: expected the same network, leave "
                        "out what is random in it")
    return models


def _named(model, other, speaks) -> str | None:
    """The first trained weight of two or more dimensions of which `speaks` of its values in both; None for none."""
    for a, b in zip(model.trainable_variables, other.trainable_variables, strict=True):
        if len(a.shape) > 1 and speaks(np.asarray(a), np.asarray(b)):
            return a.path
    return None


def architecture(model: keras.Model) -> str:
    """First 16 hex digits of a SHA-256 of the model's configuration, and of the files of layer classes not Keras's.

    Keras numbers the names of layers through a process: here they count from the beginning of the model.
    """
    try:
        config = json.loads(model.to_json())
    except Exception as error:
        raise UserError(f"the architecture of {model.name} cannot be written down ({error}): give its layer classes "
                        "a get_config") from error
    names = {}

    def collect(part):
        if isinstance(part, dict) and "DTypePolicy" not in part.get("class_name", "DTypePolicy"):
            inner = part.get("config")
            for name in (part.get("name"), inner.get("name") if isinstance(inner, dict) else None):
                if name:
                    names.setdefault(name, f"#{len(names)}")
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            collect(inner)

    def renamed(part):
        if isinstance(part, dict):
            return {key: renamed(value) for key, value in part.items()}
        return [renamed(value) for value in part] if isinstance(part, list) else (
            names.get(part, part) if isinstance(part, str) else part)

    collect(config)
    config["config"].pop("name", None)
    files = {inspect.getsourcefile(type(layer)) for layer in all_layers(model)
             if type(layer).__module__.split(".")[0] not in ("keras", "tfbench")}
    digest = hashlib.sha256(json.dumps(renamed(config), sort_keys=True).encode())
    for path in sorted(files, key=os.path.basename):
        digest.update(pathlib.Path(path).read_bytes())
    return digest.hexdigest()[:16]


def multiply_adds(model: keras.Model, image_size: int) -> int:
    """Of one image: those of convolutions and matrix products, counted in the model's graph."""
    def forward(images):
        return model(images, training=False)

    graph = tf.function(forward).get_concrete_function(tf.TensorSpec([1, image_size, image_size, 3])).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = operation.inputs[1].shape
            each = math.prod(kernel[:3]) if operation.type == "Conv2D" else kernel[0] * kernel[1]
        elif operation.type in ("MatMul", "BatchMatMulV2"):
            inner = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
            each = operation.inputs[0].shape[-2 if inner else -1]
        else:
            continue
        total += math.prod(operation.outputs[0].shape.as_list()) * each
    return total


@functools.cache
def check_size(row: Network, image_size: int) -> None:
    """Raises UserError unless the function returns a network for images of this size."""
    if image_size != row.image_size:
        build(row.name, image_size)


def body(row: Network, size: int, options):
    """Builds a network below its classifier; see models/build.py.

    Returns:
      (images, features, None): the user's model is one layer, BODY.
    """
    del options  # its own layers say what they are
    images, model = keras.Input([size, size, 3], name="images"), build(row.name, size)
    model.name = BODY
    output = model(images)
    features = output["features"] if isinstance(output, dict) else output
    return images, keras.layers.Identity(dtype="float32", name="features")(features), None


@functools.cache
def metadata(row: Network) -> dict:
    """What read_metadata returns (models/weights.py), of the weights that the function loads where `pretrained`.

    Raises:
      UserError: it has none, does not state where they come from, or they are not the same every time.
    """
    function = function_of(row.name)
    if "pretrained" not in inspect.signature(function).parameters:
        raise UserError(f"{row.name} has no weights of its own to take by --weights={CUSTOM}: give it a parameter "
                        "`pretrained` and load them where it is true, or take a file of tfbench.pretrain")
    source = _stated(row.name, function, "source", 'where its weights come from: {"dataset": NAME, '
                     '"accuracy": on its test images, in (0, 1), or None, "n_test": their number, or None}', _is_source)
    model, other = _twice(row.name, row.image_size, pretrained=True)
    if loose := _named(model, other, lambda a, b: not np.array_equal(a, b)):
        raise UserError(f"the weight {loose} of {row.name}, pretrained, still follows from the seed: load all of them")
    if architecture(model) != row.architecture:
        raise UserError(f"{row.name} has another architecture where it is pretrained: expected the same network")
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.dtype} {tuple(variable.shape)}".encode() + np.ascontiguousarray(variable).tobytes())
    return source | {"network": row.name, "sha256": digest.hexdigest(), "value_range": row.value_range,
                     "bn_scale": None, "classes": None}


def _is_source(value) -> bool:
    return (isinstance(value, dict) and set(value) == {"dataset", "accuracy", "n_test"}
            and isinstance(value["dataset"], str) and (value["accuracy"] is None or _is_count(value["n_test"])
                                                       and 0 < value["accuracy"] < 1))


def code_hash(name: str) -> str:
    """First 16 hex digits of a SHA-256 of the function's file and of the network's architecture."""
    content = pathlib.Path(inspect.getsourcefile(function_of(name))).read_bytes()
    return hashlib.sha256(content + row_of(name).architecture.encode()).hexdigest()[:16]


def folder_of(name: str) -> str:
    """The folder from which the module is imported."""
    function_of(name)
    module = sys.modules[name.partition(":")[0]]
    depth = module.__name__.count(".") + (pathlib.Path(module.__file__).name == "__init__.py")
    return str(pathlib.Path(module.__file__).resolve().parents[depth])
