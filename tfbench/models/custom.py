"""Custom networks: calls MODULE:FUNCTION or reads PATH.keras, and derives the network's facts.

docs/manual.md, "Use a custom network", says what the function must be; models/inspection.py decides what the model that
it returns is taken for. It is asked for two networks, from two seeds: they must have one architecture and, unless they
are pretrained, different weights. A model's file becomes such a function, `_function_of_file`.
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
import re
import sys
import tempfile
import textwrap
import traceback
import zipfile

import keras
import numpy as np
import tensorflow as tf

from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.paths import beside
from tfbench.models import inspection, weights
from tfbench.models.catalog import VALUE_RANGES, Network
from tfbench.models.inspection import all_layers
from tfbench.models.lookup import is_model_file
from tfbench.models.weights import CUSTOM


def function_of(name: str):
    """The function that MODULE:FUNCTION names, or one for a model's file; modules are also found in this folder.

    Raises:
      UserError: there is no such module, function or file, or reading it fails.
    """
    if is_model_file(name):
        return _function_of_file(name)
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


def _function_of_file(name: str):
    """A model that Keras saved as a function like those of MODULE:FUNCTION, with what PATH.json beside it states.

    What its Normalization layers have learnt belongs to the network with random weights, too.
    """
    path = pathlib.Path(name)
    if not path.is_file():
        raise UserError(f"there is no model {path}: expected a file that Keras saved (model.save), or MODULE:FUNCTION")
    stated = atomic.read_json(_facts_path(name), cure=f"correct it, e.g. {_FACTS}"
                              ) if _facts_path(name).exists() else {}
    if not isinstance(stated, dict) or set(stated) - {"image_size", "value_range", "source"}:
        raise UserError(f"{_facts_path(name)} must state facts of {path.name}, e.g. {_FACTS}; found "
                        f"{', '.join(stated) if isinstance(stated, dict) else type(stated).__name__}")

    def net(image_size: int, pretrained: bool = False) -> keras.Model:
        model = _load(path)
        clone = keras.models.clone_model(model)
        for layer, source in zip(all_layers(clone), all_layers(model), strict=True):
            normalizes = isinstance(layer, keras.layers.Normalization)
            if pretrained or normalizes:
                layer.set_weights(source.get_weights())
            if normalizes:
                layer.finalize_state()
        return clone

    shape = [tuple(one.shape) for one in getattr(net(0), "inputs", None) or ()]
    fixed = shape[0][1] if shape and len(shape[0]) == 4 else None
    facts = {"image_size": fixed, **stated}
    if "value_range" not in facts and _is_count(facts["image_size"]):
        size = facts["image_size"]
        model = inspection.inspect(f"{name}({size})", size, net(size)).model
        span = inspection.values_at_first_weights(inspection.trace(model, size)[0], model, "pixels")
        if span and span[1] - span[0] < 100 and inspection.is_scaled_well(span):
            facts["value_range"], facts["taken"] = "pixels", ", which it scales itself"
    for attribute, value in facts.items():
        setattr(net, attribute, value)
    return net


_FACTS = '{"image_size": 224, "value_range": "inception"}'


def _facts_path(name: str) -> pathlib.Path:
    path = beside(name, ".json")
    assert isinstance(path, pathlib.Path)  # a model is no address
    return path


def _load(path: pathlib.Path) -> keras.Model:
    try:
        with tempfile.TemporaryDirectory() as folder:  # Keras knows endings in lower case only
            link = pathlib.Path(folder, f"{path.stem}{path.suffix.lower()}")
            link.symlink_to(path.resolve())
            return keras.models.load_model(path if link.suffix == path.suffix else link, compile=False)
    except Exception as error:
        told = str(error)
    function = "write a function (MODULE:FUNCTION)"
    if path.name.lower().endswith(weights.ENDING) or "No model config" in told:
        raise UserError(f"{path} holds weights and no model: give it as --weights beside --model=NAME, or {function} "
                        "that builds the model and loads them where it is pretrained")
    if path.suffix.lower() == ".keras" and not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no model that Keras saved (model.save): it is no zip archive, so it is cut or of "
                        "another kind")
    if path.suffix.lower() == ".keras" and b'"keras_version": "2.' in _metadata_of(path):
        raise UserError(f"{path} was saved by Keras 2, whose .keras files Keras 3 does not read: save the model there "
                        "as .h5")
    unknown = re.search(r"Could not locate \w+ '[^']+'|Unknown \w+: '?\w+'?", told)
    reason = unknown[0] if unknown else textwrap.shorten(told.split(". ")[0], 200)
    raise UserError(f"Keras {keras.__version__} cannot load the model {path} ({reason}): for layers of your own, or a "
                    f"file of another kind, {function} whose module defines them and that returns the model")


def _metadata_of(path: pathlib.Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("metadata.json") if "metadata.json" in archive.namelist() else b""


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
        where = f'"{attribute}" in {_facts_path(name)}' if is_model_file(name) else (
            f"{name.rpartition(':')[2]}.{attribute}")
        raise UserError(f"{name} must state {where}, {expected}; found {value!r}")
    return value


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def build(name: str, image_size: int, *, pretrained: bool = False) -> keras.Model:
    """The network that the function returns for images of this size. Keras's seed determines its weights.

    Returns:
      A model from images to features, or to a dictionary with them as "features".

    Raises:
      UserError: the function fails, or returns no network from such images to features.
    """
    return _inspected(name, image_size, pretrained).model


def _inspected(name: str, image_size: int, pretrained: bool) -> inspection.Inspected:
    function = function_of(name)
    try:
        signature = inspect.signature(function)
        signature.bind(image_size)
    except (TypeError, ValueError):
        raise UserError(f"expected {name} to be called as {name.rpartition(':')[2]}(image_size), with the parameter "
                        "pretrained beside it where it can load weights: change its parameters") from None
    policy = keras.config.dtype_policy()
    try:
        if "pretrained" in signature.parameters:
            model = function(image_size, pretrained=pretrained)
        else:
            model = function(image_size)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_failure(f"{name}({image_size})", error, inspect.getsourcefile(function))) from error
    finally:
        keras.config.set_dtype_policy(policy)  # which is of the whole process
    return inspection.inspect(f"{name}({image_size})", image_size, model)


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
    (model, taken), (other, _) = _build_twice(name, size)
    if fixed := _first_weight_where(lambda a, b: np.array_equal(a, b) and np.ptp(a) > 0, model, other):
        raise UserError(f"the weight {fixed} of {name} is the same from every seed: it must follow from Keras's seed; "
                        "load weights only where its parameter `pretrained` is true, give initialisers no seed, and "
                        "return keras.models.clone_model(model) of a model that was loaded")
    output = model.output["features"] if isinstance(model.output, dict) else model.output
    parameters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    traced, losses = inspection.trace(model, size)
    inspection.check_scaling(name, model, value_range,
                             inspection.values_at_first_weights(traced, model, value_range))
    if losses and not any("regularizer" in text for text in taken):
        taken = (*taken, "what its layers add to the loss (add_loss) is NOT applied")
    scaled = getattr(function, "taken", "")
    line = "; ".join((f"images of {size} × {size} pixels, {VALUE_RANGES[value_range]} ({value_range}{scaled})", *taken))
    return Network(name, name, "custom", "untouched", size, 1, output.shape[1], parameters,
                   multiply_adds(traced.graph) / 1e9, value_range, architecture=architecture(model),
                   taken=f"{name}: {line}")


def _build_twice(name: str, size: int, *, pretrained: bool = False) -> list[tuple[keras.Model, tuple[str, ...]]]:
    """The network from two seeds, with what it was taken for; UserError unless both have one architecture."""
    models = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        found = _inspected(name, size, pretrained)
        models.append((found.model, found.taken))
    if architecture(models[0][0]) != architecture(models[1][0]):
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
    config = inspection.config_of(model)
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


def multiply_adds(graph: tf.Graph) -> int:
    """Multiply-adds of one image in convolutions and products of a network's graph (inspection.trace).

    Keras calls a function for convolutions in groups; attention's products are Einsum.
    """
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = operation.inputs[1].shape
            per_output = math.prod(kernel[:3]) if operation.type == "Conv2D" else kernel[0] * kernel[1]
        elif operation.type in ("MatMul", "BatchMatMulV2"):
            transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
            per_output = operation.inputs[0].shape[-2 if transposed else -1]
        elif operation.type == "Einsum":
            terms, result = operation.get_attr("equation").decode().split("->")
            sides = {letter: side for term, tensor in zip(terms.split(","), operation.inputs, strict=True)
                     if "." not in term for letter, side in zip(term, tensor.shape, strict=True)}
            per_output = math.prod(side for letter, side in sides.items() if letter not in result)
        elif operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            total += multiply_adds(graph._get_function(operation.get_attr("f").name).graph)
            continue
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
    (model, _), (other, _) = _build_twice(network.name, network.image_size, pretrained=True)
    if loose := _first_weight_where(lambda a, b: not np.array_equal(a, b), model, other):
        raise UserError(f"the weight {loose} of {network.name}, pretrained, still follows from the seed: load all of "
                        "them")
    for variable in model.weights:
        if variable.dtype == "float32" and not np.isfinite(variable).all():
            raise UserError(f"the weight {variable.path} of {network.name}, pretrained, has values that are not "
                            "finite: the weights are damaged, or of a training that diverged")
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
    """First 16 hex digits of a SHA-256 of the function's or model's file and of the network's architecture."""
    content = pathlib.Path(name if is_model_file(name) else _source_file(function_of(name))).read_bytes()
    return hashlib.sha256(content + network_of(name).architecture.encode()).hexdigest()[:16]


def folder_of(name: str) -> str:
    """The folder from which the module is imported, or in which the model's file lies."""
    if is_model_file(name):
        return str(pathlib.Path(name).resolve().parent)
    function_of(name)
    module = sys.modules[name.partition(":")[0]]
    path = pathlib.Path(_source_file(module)).resolve()
    depth = module.__name__.count(".") + (path.name == "__init__.py")
    return str(path.parents[depth])
