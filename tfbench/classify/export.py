"""A trained network as one model from uint8 images of any size to probabilities, in three file formats.

All three hold one graph of standard Keras operations. It resizes as data/pipeline.py does, where TensorFlow 1 sampled,
which neither keras.layers.Resizing nor TFLite's bicubic can: pixels are gathered at positions that the graph computes
from the image's size. So the files need nothing of tfbench, and a .keras file no Lambda layer.
"""

import dataclasses
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfbench.data.pipeline import to_value_range
from tfbench.errors import UserError
from tfbench.files.atomic import cannot_write, make_writable
from tfbench.models.families.nasnet import DropPathAdd
from tfbench.models.inspection import all_layers
from tfbench.models.layers import Dropout, DropPath, Normalization
from tfbench.stats.metrics import PRESENT
from tfbench.training.search import CROPS
from tfbench.wording import printable

TFBENCH_LAYERS = (Dropout, DropPath, Normalization)
BICUBIC = -0.75  # TensorFlow's parameter of the bicubic kernel, which it reads from a table
BICUBIC_STEPS = 1024  # of this table
TOLERANCE = 1e-3  # of a probability, between the run's network and its export in 32 bits


def end_to_end(network: keras.Model, *, image_size: int, value_range: str, resize: str, test_crop: str,
               multi_label: bool) -> keras.Model:
    """A network with what comes before and after it.

    Args:
      network: as of models.build.build_network, from images [b, image_size, image_size, 3] float32 in `value_range`.
      resize: "bilinear" or "bicubic". test_crop: "whole" or "central". Both as of data/pipeline.py.
      multi_label: whether an image shows several classes: probabilities are then sigmoids, else a softmax.

    Returns:
      A Keras model that shares the network's weights. Input: "images", uint8 [b, height, width, 3], RGB of any size.
      Output: probabilities float32 [b, classes].
    """
    images = keras.Input([None, None, 3], dtype="uint8", name="images")
    logits = for_inference(network)(to_range(resized(images, image_size, resize, CROPS[test_crop]), value_range))
    activation = "sigmoid" if multi_label else "softmax"
    probabilities = keras.layers.Activation(activation, dtype="float32", name="probabilities")(logits)
    return keras.Model(images, probabilities, name=f"{network.name}_classifier")


def for_inference(network: keras.Model) -> keras.Model:
    """From images to logits by the same layers, but for tfbench's own, which Keras alone cannot load."""
    return _plain(keras.Model(network.input, network.output["logits"], name=network.name))


def _plain(model: keras.Model) -> keras.Model:
    """The model with Keras's layers for tfbench's, which do something else in training only."""
    def call(layer, *args, **kwargs):
        if isinstance(layer, DropPathAdd):
            return ops.add(*args[0])
        if isinstance(layer, Dropout | DropPath):
            return args[0]
        if isinstance(layer, Normalization):
            mean, variance = (np.asarray(weight) for weight in (layer.adapt_mean, layer.adapt_variance))
            return keras.layers.Normalization(layer.axis, mean, variance, name=layer.name)(*args)
        return layer(*args, **kwargs)

    def shared(layer):
        return _plain(layer) if any(isinstance(inner, TFBENCH_LAYERS) for inner in inner_layers(layer)) else layer

    def inner_layers(layer):
        return all_layers(layer) if isinstance(layer, keras.Model) else ()

    return keras.models.clone_model(model, clone_function=shared, call_function=call)


def to_range(images, value_range: str):
    """data.pipeline.to_network for Keras's symbolic tensors."""
    return to_value_range(ops.minimum(ops.maximum(images, 0.0), 255.0), value_range)


def resized(images, size: int, method: str, central_fraction: float):
    """data.pipeline.resize of its central_crop, as a graph of Keras operations.

    Args:
      images: symbolic, uint8 [b, height, width, 3].

    Returns:
      Symbolic, float32 [b, size, size, 3].
    """
    taps = [_taps(images, axis, size, method, central_fraction) for axis in (1, 2)]
    for axis, along in enumerate(taps, start=1):
        images = sum(weight * ops.cast(ops.take(images, at, axis=axis), "float32") for at, weight in along)
    return images


def _taps(images, axis: int, size: int, method: str, central_fraction: float) -> list[tuple]:
    """Which rows or columns make up those of the resized image.

    Operations take their numbers when they are called: Keras saves no others.

    Returns:
      (indices int32 [size], weights float32 that broadcast along `axis`) for each pixel of the kernel.
    """
    one_line = tuple(slice(None) if dimension == axis else slice(0, 1) for dimension in range(4))
    length = ops.sum(ops.ones_like(ops.cast(images[one_line], "float32")))  # a symbolic shape has no number
    start = ops.floor((length - length * central_fraction) / 2.0)
    length = length - 2.0 * start
    position = ops.multiply(length / float(size), np.arange(size, dtype=np.float32))
    lower = ops.floor(position)
    after = position - lower
    if method == "bilinear":
        weights, first = [1.0 - after, after], 0
    else:
        after = ops.round(after * float(BICUBIC_STEPS)) / float(BICUBIC_STEPS)
        weights, first = [_outer(after + 1.0), _inner(after), _inner(1.0 - after), _outer(2.0 - after)], -1
    return [(ops.cast(start + ops.minimum(ops.maximum(lower + float(offset), 0.0), length - 1.0), "int32"),
             ops.reshape(weight, [-1, 1, 1] if axis == 1 else [-1, 1]))
            for offset, weight in enumerate(weights, start=first)]


def _inner(distance):
    """The bicubic kernel up to a distance of one pixel."""
    return ((BICUBIC + 2.0) * distance - (BICUBIC + 3.0)) * distance * distance + 1.0


def _outer(distance):
    """The bicubic kernel at one to two pixels."""
    return ((BICUBIC * distance - 5.0 * BICUBIC) * distance + 8.0 * BICUBIC) * distance - 4.0 * BICUBIC


# ---- formats ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
      title: for people. file: what it is called in the folder of the export.
      write: (model of end_to_end, path, class names, quantize).
      load: from the path to a function from images, uint8 [b, height, width, 3], to probabilities.
      instead: the format to take where a network cannot be written in this one.
      example: Python, (imports, from `images` and the folder of the export to `probabilities`).
    """

    title: str
    file: str
    write: Callable
    load: Callable[[str], Callable[[np.ndarray], np.ndarray]]
    instead: str
    example: tuple[str, str]


def _serving(model: keras.Model) -> tf.Module:
    """The model as one traced function, `serve`, with its variables, which TFLite's converter finds only so."""
    module = tf.Module()
    module.variables_held = [variable.value for variable in model.variables]
    module.serve = tf.function(lambda images: {"probabilities": model(images, training=False)}, input_signature=[
        tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    return module


def write_keras(model: keras.Model, path: str, class_names: Sequence[str], quantize: bool = False) -> None:
    """Keras's own format; class names have no place in it."""
    del class_names, quantize
    model.save(path)


def load_keras(path: str):
    """See Format.load."""
    serve = _serving(keras.saving.load_model(path, compile=False)).serve
    return lambda images: serve(tf.constant(images))["probabilities"].numpy()


def write_saved_model(model: keras.Model, path: str, class_names: Sequence[str], quantize: bool = False) -> None:
    """A folder with the signatures serving_default and, without inputs, class_names."""
    del quantize
    module = _serving(model)
    names = tf.function(lambda: {"class_names": tf.constant(list(class_names))}, input_signature=[])
    tf.saved_model.save(module, path, signatures={"serving_default": module.serve, "class_names": names})


def load_saved_model(path: str):
    """See Format.load."""
    loaded = tf.saved_model.load(path)
    return lambda images: loaded.signatures["serving_default"](images=tf.constant(images))["probabilities"].numpy()


def write_tflite(model: keras.Model, path: str, class_names: Sequence[str], quantize: bool = False) -> None:
    """TensorFlow Lite with its builtin operations only; `quantize` stores the weights in 8 bits."""
    del class_names
    module = _serving(model)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    pathlib.Path(path).write_bytes(converter.convert())


def load_tflite(path: str):
    """See Format.load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its move to another package
        interpreter = tf.lite.Interpreter(path, num_threads=os.cpu_count())
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(images: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return predict


_OPEN = """import numpy as np
from PIL import Image

images = np.asarray(Image.open("photo.jpg").convert("RGB"))[None]  # uint8 [1, height, width, 3]
class_names = open("labels.txt", encoding="utf-8").read().splitlines()
"""
_KERAS = """model = keras.saving.load_model("model.keras")
probabilities = np.asarray(model(images))
"""
_SAVED_MODEL = """model = tf.saved_model.load("saved_model")  # keep it: its signatures alone lose their weights
probabilities = model.signatures["serving_default"](images=tf.constant(images))["probabilities"].numpy()
"""
_TFLITE = """model = tf.lite.Interpreter("model.tflite")  # or ai_edge_litert.interpreter.Interpreter
model.resize_tensor_input(model.get_input_details()[0]["index"], images.shape)
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], images)
model.invoke()
probabilities = model.get_tensor(model.get_output_details()[0]["index"])
"""
_SHOW = "print(class_names[np.argmax(probabilities[0])], np.max(probabilities[0]))\n"
_TF = "import tensorflow as tf"

FORMATS = {
    "keras": Format("Keras", "model.keras", write_keras, load_keras, "saved_model", ("import keras", _KERAS)),
    "saved_model": Format("SavedModel", "saved_model", write_saved_model, load_saved_model, "keras",
                          (_TF, _SAVED_MODEL)),
    "tflite": Format("TensorFlow Lite", "model.tflite", write_tflite, load_tflite, "saved_model", (_TF, _TFLITE)),
}


def example(name: str) -> str:
    """Python that classifies photo.jpg with an export of this format, to be run in its folder."""
    imports, code = FORMATS[name].example
    return f"{imports}\n{_OPEN}\n{code}{_SHOW}"


def write(model: keras.Model, name: str, folder, class_names: Sequence[str], quantize: bool = False) -> pathlib.Path:
    """Writes a model of end_to_end in a format of FORMATS.

    Returns:
      Path of the file, or folder, in `folder`.

    Raises:
      UserError: the network cannot be written in this format; its text names another one.
    """
    kind = FORMATS[name]
    path = pathlib.Path(folder) / kind.file
    try:
        kind.write(model, str(path), class_names, quantize)
    except OSError as error:
        raise cannot_write(path, error, make_writable("--output")) from error
    except Exception as error:  # whatever Keras's and TensorFlow's converters raise
        raise _refused(model, name, error) from error
    return path


def load(path, name: str, model_name: str = "the network") -> Callable[[np.ndarray], np.ndarray]:
    """Reads an export anew: a function from images, uint8 [b, height, width, 3], to probabilities [b, classes].

    Raises:
      UserError: it cannot be read.
    """
    try:
        return FORMATS[name].load(str(path))
    except Exception as error:
        raise _refused(model_name, name, error) from error


def _refused(model, name: str, error: Exception) -> UserError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = printable(lines[0])[:200] if lines else type(error).__name__
    network = getattr(model, "name", model)
    return UserError(f"{network} cannot be exported as {name} ({reason}): take --format={FORMATS[name].instead}")


def custom_objects(path) -> list[str]:
    """What a .keras file needs beside Keras: names of classes and functions that must be imported before it loads."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    found: set[str] = set()

    def look(value) -> None:
        if isinstance(value, dict):
            module, name = value.get("module"), value.get("class_name")
            if name == "function":
                found.add(str(value.get("config")))
            elif isinstance(name, str) and module and module.split(".")[0] not in ("keras", "builtins"):
                found.add(f"{module}.{name}")
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(config)
    return sorted(found)


# ---- agreement -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How an export's predictions compare with those of the run's network on the same images.

    Attributes:
      images: how many.
      difference: the largest absolute difference of two probabilities.
      same: share of images with the same answer, in [0, 1]: the most probable class or, where an image shows several,
        which classes have PRESENT or more.
      untied: how many answers differ though the run's probabilities are further apart than TOLERANCE explains.
    """

    images: int
    difference: float
    same: float
    untied: int

    @property
    def equal(self) -> bool:
        """Whether the export is within TOLERANCE."""
        return self.difference <= TOLERANCE and not self.untied


def agreement(reference: np.ndarray, exported: np.ndarray, multi_label: bool) -> Agreement:
    """Compares probabilities [n, classes] of the run's network with those of its export."""
    difference = np.abs(reference - exported)
    if multi_label:
        other = (reference >= PRESENT) != (exported >= PRESENT)
        untied = (other & (np.abs(reference - PRESENT) > TOLERANCE)).any(axis=1)
        same = ~other.any(axis=1)
    else:
        rows, answers = np.arange(len(reference)), exported.argmax(axis=1)
        same = reference.argmax(axis=1) == answers
        untied = ~same & (reference.max(axis=1) - reference[rows, answers] > 2 * TOLERANCE)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Agreement(len(reference), largest, float(same.mean()), int(untied.sum()))
