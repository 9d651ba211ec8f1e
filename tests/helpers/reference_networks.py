"""The original networks' outputs on reproducible random weights (tests/models/reference/README.md)."""

import json
import pathlib
import zlib

import keras
import numpy as np

from tfbench.models.build import build_network
from tfbench.models.lookup import list_networks

FOLDER = pathlib.Path(__file__).parents[1] / "models" / "reference"

# Our names where they differ from the files'.
FILES = {"bn_inception": "inception_v2", "resnet_50": "resnet_v1_50", "resnet_101": "resnet_v1_101",
         "resnet_152": "resnet_v1_152", "mobilenet_v2_14": "mobilenet_v2_140"}
# Those whose originals were run: not what Keras defines, which is taken as it is, nor the miniature's, which have none.
NETWORKS = [network.name for network in list_networks() if network.has_original]


def description(name: str) -> dict:
    """What the JSON file says: seed, input, num_classes, stages, float32_noise_floor, variables."""
    return json.loads((FOLDER / f"{FILES.get(name, name)}.json").read_text())


def outputs(name: str):
    """The npz file: features, logits, aux_logits (…_float64), stage statistics, moving statistics."""
    return np.load(FOLDER / f"{FILES.get(name, name)}.npz")


def _generator(seed: int, key: str):
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(key.encode("ascii"))]))


def _weight(seed: int, name: str, shape: tuple, names: set) -> np.ndarray:
    generator = _generator(seed, name)
    scope, kind = name.rsplit("/", 1)
    if kind in ("biases", "beta"):
        return generator.standard_normal(shape, dtype=np.float32) * np.float32({"biases": 0.05, "beta": 0.1}[kind])
    if kind == "gamma":
        return generator.random(shape, dtype=np.float32) * np.float32(0.8) + np.float32(0.6)
    fan_in = {"depthwise_weights": lambda: shape[0] * shape[1], "pointwise_weights": lambda: shape[2],
              "weights": lambda: int(np.prod(shape[:-1]))}[kind]()
    weight = generator.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / fan_in))
    if f"{scope}/biases" in names or (kind == "depthwise_weights" and f"{scope}/pointwise_weights" in names):
        return weight  # no batch norm behind it
    # Some channels nearly vanish, so that a wrong batch-norm epsilon is seen.
    depthwise = kind == "depthwise_weights"
    channels = shape[-1] * (shape[-2] if depthwise else 1)
    small = generator.random(channels) < 0.05
    factor = np.where(small, 10.0 ** generator.uniform(-3.0, -1.0, channels), 1.0).astype(np.float32)
    return weight * (factor.reshape(shape[-2:]) if depthwise else factor)


def tensors(name: str) -> dict[str, np.ndarray]:
    """Every variable of the original inference graph by its name, float32."""
    stored, entries = outputs(name), description(name)
    names = {entry[0] for entry in entries["variables"]}
    return {variable: stored[variable] if variable.endswith(("/moving_mean", "/moving_variance"))
            else _weight(entries["seed"], variable, tuple(shape), names)
            for variable, shape, *_ in entries["variables"]}


def images(name: str) -> np.ndarray:
    """The two input images, [2, size, size, 3] float32 in [-1, 1]."""
    given, seed = description(name)["input"], description(name)["seed"]
    size, grid, generator = given["size"], given["grid"], _generator(seed, "input")
    low = generator.uniform(-given["amplitude"], given["amplitude"], (given["n"], grid, grid, 3))
    position = np.arange(size) * ((grid - 1) / (size - 1))
    cell = np.minimum(np.floor(position).astype(int), grid - 2)
    part = position - cell
    rows = low[:, cell] * (1 - part)[None, :, None, None] + low[:, cell + 1] * part[None, :, None, None]
    smooth = rows[:, :, cell] * (1 - part)[None, None, :, None] + rows[:, :, cell + 1] * part[None, None, :, None]
    noise = given["noise"] * generator.standard_normal((given["n"], size, size, 3))
    return np.clip(smooth + noise, -1.0, 1.0).astype(np.float32)


def at_size(model: keras.Model, name: str, size: int) -> keras.Model:
    """The network with its weights for images of `size` pixels: ResNet v2 is for 299, its references are of 224."""
    if model.input_shape[1] == size:
        return model
    values = model.get_weights()
    other = build_network(name, bn_scale=True, num_classes=values[-1].shape[0], image_size=size)
    other.set_weights(values)
    return other
