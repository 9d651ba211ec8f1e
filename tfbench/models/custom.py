"""Custom networks: calls MODULE:FUNCTION, checks what it returns, and derives its facts.

docs/manual.md, "Use a custom network", says what the function must be. It is asked for two networks, from two seeds:
they must have one architecture and, unless they are pretrained, different weights.
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
        raise UserError(_failure(f"importing {module_name}", error)) from error
    except Exception as error:
        raise UserError(_failure(f"importing {module_name}", error)) from error
    if not callable(function := getattr(module, function_name, None)):
        names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        near = difflib.get_close_matches(function_name, names, n=1)
        instead = f", did you mean {module_name}:{near[0]}?" if near else ": expected --model=MODULE:FUNCTION"
        raise UserError(f"{module.__file__} has no function {function_name}{instead}")
    return function


def _failure(action: str, error: Exception, module_file: str | None = None) -> str:
    """What failed, and where in the user's file."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == module_file), frames[-1])
    message = (str(error).splitlines() or [""])[0]
    return f"{action} failed: {type(error).__name__}: {message} ({frame.filename}, line {frame.lineno})"


def _attribute(name: str, function, attribute: str, expected: str, is_valid):
    """An attribute of the user's function, checked."""
    value = getattr(function, attribute, None)
    if not is_valid(value):
        short = name.rpartition(":")[2]
        raise UserError(f"{name} must state {short}.{attribute}, {expected}; found {value!r}")
    return value


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def build(name: str, image_size: int, *, pretrained: bool = False) -> keras.Model:
    """What the function returns for images of this size, checked. Keras's seed determines its weights.

    Raises:
      UserError: the function fails, or returns no network from such images to features.
    """
    function = function_of(name)
    try:
        signature = inspect.signature(function)
        signature.bind(image_size)
    except (TypeError, ValueError):
        raise UserError(f"expected {name} to be called as {name.rpartition(':')[2]}(image_size), with the parameter "
                        "pretrained beside it where it can load weights: change its parameters") from None
    try:
        if "pretrained" in signature.parameters:
            model = function(image_size, pretrained=pretrained)
        else:
            model = function(image_size)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_failure(f"{name}({image_size})", error, inspect.getsourcefile(function))) from error
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
    """The layers of a model and, after each, those inside it; custom layer classes can hold some too."""
    return list(model._flatten_layers(include_self=False))


@functools.cache  # building it takes seconds
def network_of(name: str) -> Network:
    """The facts of a custom network.

    Raises:
      UserError: the function's attributes or the model are not what is expected, or not the same every time.
    """
    function = function_of(name)
    size = _attribute(name, function, "image_size", "the pixels a side for which it is made", _is_count)
    ranges = ", ".join(f'"{key}" ({meaning})' for key, meaning in VALUE_RANGES.items())
    value_range = _attribute(name, function, "value_range", f"what its images are, one of {ranges}",
                             lambda value: value in VALUE_RANGES)
    model, other = _build_twice(name, size)
    if fixed := _first_weight_where(lambda a, b: np.array_equal(a, b) and np.ptp(a) > 0, model, other):
        raise UserError(f"the weight {fixed} of {name} is the same from every seed: it must follow from Keras's seed; "
                        "load weights only where its parameter `pretrained` is true, and give initialisers no seed")
    output = model.output["features"] if isinstance(model.output, dict) else model.output
    parameters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    return Network(name, name, "custom", "untouched", size, 1, output.shape[1], parameters,
                   multiply_adds(model, size) / 1e9, value_range, architecture=architecture(model))


def _build_twice(name: str, size: int, *, pretrained: bool = False) -> list[keras.Model]:
    """The network from two seeds; UserError unless both have one architecture."""
    models = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        models.append(build(name, size, pretrained=pretrained))
    if len(set(map(architecture, models))) > 1:
        raise UserError(f"{name}({size}) returns another architecture each time: expected the same network, leave "
                        "out what is random in it")
    return models


def _first_weight_where(predicate, model: keras.Model, other: keras.Model) -> str | None:
    """The first trained weight of two or more dimensions whose values in both models fulfil `predicate`."""
    for a, b in zip(model.trainable_variables, other.trainable_variables, strict=True):
        if len(a.shape) > 1 and predicate(np.asarray(a), np.asarray(b)):
            return a.path
    return None


def architecture(model: keras.Model) -> str:
    """First 16 hex digits of a SHA-256 of the model's configuration and of the files of custom layer classes.

    Keras numbers the names of layers through a process: here they count from the beginning of the model.
    """
    try:
        config = json.loads(model.to_json())
    except Exception as error:
        raise UserError(f"the architecture of {model.name} cannot be written down ({error}): give its layer classes "
                        "a get_config") from error
    names: dict[str, str] = {}

    def collect(node):
        if isinstance(node, dict):
            if "DTypePolicy" not in node.get("class_name", "DTypePolicy"):
                inner = node.get("config")
                for name in (node.get("name"), inner.get("name") if isinstance(inner, dict) else None):
                    if name:
                        names.setdefault(name, f"#{len(names)}")
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                collect(child)

    def renamed(node):
        if isinstance(node, dict):
            return {key: renamed(value) for key, value in node.items()}
        if isinstance(node, list):
            return [renamed(value) for value in node]
        return names.get(node, node) if isinstance(node, str) else node

    collect(config)
    config["config"].pop("name", None)
    files = {_source_file(type(layer)) for layer in all_layers(model)
             if type(layer).__module__.split(".")[0] not in ("keras", "tfbench")}
    digest = hashlib.sha256(json.dumps(renamed(config), sort_keys=True).encode())
    for path in sorted(files, key=os.path.basename):
        digest.update(pathlib.Path(path).read_bytes())
    return digest.hexdigest()[:16]


def multiply_adds(model: keras.Model, image_size: int) -> int:
    """Multiply-adds of one image in convolutions and matrix products, counted in the model's graph."""
    def forward(images):
        return model(images, training=False)

    graph = tf.function(forward).get_concrete_function(tf.TensorSpec([1, image_size, image_size, 3])).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = operation.inputs[1].shape
            per_output = math.prod(kernel[:3]) if operation.type == "Conv2D" else kernel[0] * kernel[1]
        elif operation.type in ("MatMul", "BatchMatMulV2"):
            transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
            per_output = operation.inputs[0].shape[-2 if transposed else -1]
        else:
            continue
        total += math.prod(operation.outputs[0].shape.as_list()) * per_output
    return total


@functools.cache
def check_size(network: Network, image_size: int) -> None:
    """Raises UserError unless the function returns a network for images of this size."""
    if image_size != network.image_size:
        build(network.name, image_size)


@functools.cache
def metadata(network: Network) -> dict:
    """What weights.read_metadata returns, of the weights that the function loads where `pretrained` is true.

    Raises:
      UserError: it has none, does not state where they come from, or they are not the same every time.
    """
    function = function_of(network.name)
    if "pretrained" not in inspect.signature(function).parameters:
        raise UserError(f"{network.name} has no weights of its own to take by --weights={CUSTOM}: give it a parameter "
                        "`pretrained` and load them where it is true, or take a file of tfbench.pretrain")
    source = _attribute(network.name, function, "source", 'where its weights come from: {"dataset": NAME, '
                        '"accuracy": on its test images, in (0, 1), or None, "n_test": their number, or None}',
                        _is_source)
    model, other = _build_twice(network.name, network.image_size, pretrained=True)
    if loose := _first_weight_where(lambda a, b: not np.array_equal(a, b), model, other):
        raise UserError(f"the weight {loose} of {network.name}, pretrained, still follows from the seed: load all of "
                        "them")
    if architecture(model) != network.architecture:
        raise UserError(f"{network.name} has another architecture where it is pretrained: expected the same network")
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.dtype} {tuple(variable.shape)}".encode() + np.ascontiguousarray(variable).tobytes())
    return source | {"network": network.name, "sha256": digest.hexdigest(), "value_range": network.value_range,
                     "bn_scale": None, "classes": None}


def _is_source(value) -> bool:
    if not isinstance(value, dict) or set(value) != {"dataset", "accuracy", "n_test"}:
        return False
    measured = value["accuracy"] is None or _is_count(value["n_test"]) and 0 < value["accuracy"] < 1
    return isinstance(value["dataset"], str) and measured


def _source_file(thing) -> str:
    """The file with the code of a function, class or module."""
    path = inspect.getsourcefile(thing)
    if path is None:
        raise UserError(f"there is no source file of {thing}: expected Python code")
    return path


def code_hash(name: str) -> str:
    """First 16 hex digits of a SHA-256 of the function's file and of the network's architecture."""
    content = pathlib.Path(_source_file(function_of(name))).read_bytes()
    return hashlib.sha256(content + network_of(name).architecture.encode()).hexdigest()[:16]


def folder_of(name: str) -> str:
    """The folder from which the module is imported."""
    function_of(name)
    module = sys.modules[name.partition(":")[0]]
    path = pathlib.Path(_source_file(module)).resolve()
    depth = module.__name__.count(".") + (path.name == "__init__.py")
    return str(path.parents[depth])
