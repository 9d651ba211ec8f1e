"""The Inception family: v1, BN-Inception (v2), v3, v4 and Inception-ResNet v2, as TF-Slim defines them.

Each network is a literal table of convolutions, poolings and blocks. Layers bear the scopes of the
original checkpoints with "." for "/", so that a layer's name says where its variables lie there,
including the irregular ones (Mixed_5b/Branch_2/Conv2d_0a_3x3 in v1, Conv_1_0c_5x5 in v3, …).
Papers: arXiv 1409.4842, 1502.03167, 1512.00567, 1602.07261.
"""

import dataclasses
import re
from typing import NamedTuple

import keras

from tfbench.models.layers import BuildOptions, truncated_normal, variance_scaling


class Conv(NamedTuple):
    """Convolution, batch norm, relu; the kernel is the name's ending (…_1x7) unless given."""

    name: str
    filters: int
    stride: int = 1
    padding: str = "same"
    kernel: tuple[int, int] | None = None


class Pool(NamedTuple):
    """Maximum or average pooling; the average leaves padding out."""

    kind: str
    stride: int = 1
    padding: str = "same"
    size: int = 3


class Split(NamedTuple):
    """Convolutions of the same input, concatenated, at the end of a branch."""

    convolutions: tuple


class Block(NamedTuple):
    """Branches of the same input, concatenated; each is a sequence of the above."""

    name: str
    branches: tuple


class Residual(NamedTuple):
    """input + scale · (1×1 convolution of the concatenated branches), then relu unless `linear`."""

    name: str
    branches: tuple
    scale: float
    linear: bool = False


AVERAGE, MAXIMUM, HALVE = Pool("average"), Pool("max"), Pool("max", 2, "valid")


def v1_block(name, one, three_in, three, five_in, five, pooled, irregular="Conv2d_0b_3x3"):
    """A block of Inception v1; its "5×5" branch is 3×3 in TF-Slim."""
    return Block(name, (
        (Conv("Conv2d_0a_1x1", one),),
        (Conv("Conv2d_0a_1x1", three_in), Conv("Conv2d_0b_3x3", three)),
        (Conv("Conv2d_0a_1x1", five_in), Conv(irregular, five)),
        (MAXIMUM, Conv("Conv2d_0b_1x1", pooled))))


def v2_block(name, one, three_in, three, double_in, double, pooled, pool=AVERAGE):
    """A block of BN-Inception: 1×1, 3×3, twice 3×3, pooling."""
    return Block(name, (
        (Conv("Conv2d_0a_1x1", one),),
        (Conv("Conv2d_0a_1x1", three_in), Conv("Conv2d_0b_3x3", three)),
        (Conv("Conv2d_0a_1x1", double_in), Conv("Conv2d_0b_3x3", double), Conv("Conv2d_0c_3x3", double)),
        (pool, Conv("Conv2d_0b_1x1", pooled))))


def v2_halving(name, three_in, three, double_in, double):
    return Block(name, (
        (Conv("Conv2d_0a_1x1", three_in), Conv("Conv2d_1a_3x3", three, 2)),
        (Conv("Conv2d_0a_1x1", double_in), Conv("Conv2d_0b_3x3", double), Conv("Conv2d_1a_3x3", double, 2)),
        (Pool("max", 2),)))


def _v3_a(name, pooled, five=("Conv2d_0a_1x1", "Conv2d_0b_5x5")):
    return Block(name, (
        (Conv("Conv2d_0a_1x1", 64),),
        (Conv(five[0], 48), Conv(five[1], 64)),
        (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_0b_3x3", 96), Conv("Conv2d_0c_3x3", 96)),
        (AVERAGE, Conv("Conv2d_0b_1x1", pooled))))


def _seven(name, one, inner, inner_last, double, pooled):
    """A block with factorised 7×7 convolutions (v3 and v4); `inner`, `double`: filters along branches 1, 2."""
    return Block(name, (
        (Conv("Conv2d_0a_1x1", one),),
        (Conv("Conv2d_0a_1x1", inner[0]), Conv("Conv2d_0b_1x7", inner[1]), Conv("Conv2d_0c_7x1", inner_last)),
        (Conv("Conv2d_0a_1x1", double[0]), Conv("Conv2d_0b_7x1", double[1]), Conv("Conv2d_0c_1x7", double[2]),
         Conv("Conv2d_0d_7x1", double[3]), Conv("Conv2d_0e_1x7", double[4])),
        (AVERAGE, Conv("Conv2d_0b_1x1", pooled))))


def _v3_c(name, tall):
    return Block(name, (
        (Conv("Conv2d_0a_1x1", 320),),
        (Conv("Conv2d_0a_1x1", 384), Split((Conv("Conv2d_0b_1x3", 384), Conv(tall, 384)))),
        (Conv("Conv2d_0a_1x1", 448), Conv("Conv2d_0b_3x3", 384),
         Split((Conv("Conv2d_0c_1x3", 384), Conv("Conv2d_0d_3x1", 384)))),
        (AVERAGE, Conv("Conv2d_0b_1x1", 192))))


def _v4_a(name):
    return Block(name, (
        (Conv("Conv2d_0a_1x1", 96),),
        (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_0b_3x3", 96)),
        (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_0b_3x3", 96), Conv("Conv2d_0c_3x3", 96)),
        (AVERAGE, Conv("Conv2d_0b_1x1", 96))))


def _v4_c(name):
    return Block(name, (
        (Conv("Conv2d_0a_1x1", 256),),
        (Conv("Conv2d_0a_1x1", 384), Split((Conv("Conv2d_0b_1x3", 256), Conv("Conv2d_0c_3x1", 256)))),
        (Conv("Conv2d_0a_1x1", 384), Conv("Conv2d_0b_3x1", 448), Conv("Conv2d_0c_1x3", 512),
         Split((Conv("Conv2d_0d_1x3", 256), Conv("Conv2d_0e_3x1", 256)))),
        (AVERAGE, Conv("Conv2d_0b_1x1", 256))))


def _halving_a(one, inner, middle, last):
    """Mixed_6a of v4 and Inception-ResNet v2."""
    return Block("Mixed_6a", (
        (Conv("Conv2d_1a_3x3", one, 2, "valid"),),
        (Conv("Conv2d_0a_1x1", inner), Conv("Conv2d_0b_3x3", middle), Conv("Conv2d_1a_3x3", last, 2, "valid")),
        (HALVE,)))


def _halving_b(first, inner, wide, last):
    """Mixed_7a of v3 and v4."""
    return Block("Mixed_7a", (
        (Conv("Conv2d_0a_1x1", 192), Conv("Conv2d_1a_3x3", first, 2, "valid")),
        (Conv("Conv2d_0a_1x1", inner), Conv("Conv2d_0b_1x7", inner), Conv("Conv2d_0c_7x1", wide),
         Conv("Conv2d_1a_3x3", last, 2, "valid")),
        (HALVE,)))


def _block35(number):
    return Residual(f"Repeat.block35_{number}", (
        (Conv("Conv2d_1x1", 32),),
        (Conv("Conv2d_0a_1x1", 32), Conv("Conv2d_0b_3x3", 32)),
        (Conv("Conv2d_0a_1x1", 32), Conv("Conv2d_0b_3x3", 48), Conv("Conv2d_0c_3x3", 64))), 0.17)


def _block17(number):
    return Residual(f"Repeat_1.block17_{number}", (
        (Conv("Conv2d_1x1", 192),),
        (Conv("Conv2d_0a_1x1", 128), Conv("Conv2d_0b_1x7", 160), Conv("Conv2d_0c_7x1", 192))), 0.10)


def _block8(name, scale, linear=False):
    return Residual(name, (
        (Conv("Conv2d_1x1", 192),),
        (Conv("Conv2d_0a_1x1", 192), Conv("Conv2d_0b_1x3", 224), Conv("Conv2d_0c_3x1", 256))), scale, linear)


STEM = (Conv("Conv2d_1a_3x3", 32, 2, "valid"), Conv("Conv2d_2a_3x3", 32, 1, "valid"), Conv("Conv2d_2b_3x3", 64))
STEM_V3 = (*STEM, HALVE, Conv("Conv2d_3b_1x1", 80, 1, "valid"), Conv("Conv2d_4a_3x3", 192, 1, "valid"), HALVE)


@dataclasses.dataclass(frozen=True)
class Inception:
    """One network.

    Attributes:
      scope: the checkpoint's top scope.
      table: its layers from the image to the last feature map.
      logits: scope of the classifier.
      auxiliary_at: number of table entries below the auxiliary head; 0 without one.
      auxiliary: names of its second convolution and of its classifier.
    """

    scope: str
    table: tuple
    logits: str
    auxiliary_at: int = 0
    auxiliary: tuple[str, str] = ("", "")


FAMILY = {
    "inception_v1": Inception("InceptionV1", (
        Conv("Conv2d_1a_7x7", 64, 2), Pool("max", 2), Conv("Conv2d_2b_1x1", 64), Conv("Conv2d_2c_3x3", 192),
        Pool("max", 2), v1_block("Mixed_3b", 64, 96, 128, 16, 32, 32), v1_block("Mixed_3c", 128, 128, 192, 32, 96, 64),
        Pool("max", 2), v1_block("Mixed_4b", 192, 96, 208, 16, 48, 64), v1_block("Mixed_4c", 160, 112, 224, 24, 64, 64),
        v1_block("Mixed_4d", 128, 128, 256, 24, 64, 64), v1_block("Mixed_4e", 112, 144, 288, 32, 64, 64),
        v1_block("Mixed_4f", 256, 160, 320, 32, 128, 128), Pool("max", 2, size=2),
        v1_block("Mixed_5b", 256, 160, 320, 32, 128, 128, irregular="Conv2d_0a_3x3"),
        v1_block("Mixed_5c", 384, 192, 384, 48, 128, 128)), "Logits.Conv2d_0c_1x1"),
    "bn_inception": Inception("InceptionV2", (
        Conv("Conv2d_1a_7x7", 64, 2), Pool("max", 2), Conv("Conv2d_2b_1x1", 64), Conv("Conv2d_2c_3x3", 192),
        Pool("max", 2), v2_block("Mixed_3b", 64, 64, 64, 64, 96, 32), v2_block("Mixed_3c", 64, 64, 96, 64, 96, 64),
        v2_halving("Mixed_4a", 128, 160, 64, 96), v2_block("Mixed_4b", 224, 64, 96, 96, 128, 128),
        v2_block("Mixed_4c", 192, 96, 128, 96, 128, 128), v2_block("Mixed_4d", 160, 128, 160, 128, 160, 96),
        v2_block("Mixed_4e", 96, 128, 192, 160, 192, 96), v2_halving("Mixed_5a", 128, 192, 192, 256),
        v2_block("Mixed_5b", 352, 192, 320, 160, 224, 128),
        v2_block("Mixed_5c", 352, 192, 320, 192, 224, 128, pool=MAXIMUM)), "Logits.Conv2d_1c_1x1"),
    "inception_v3": Inception("InceptionV3", (
        *STEM_V3, _v3_a("Mixed_5b", 32), _v3_a("Mixed_5c", 64, five=("Conv2d_0b_1x1", "Conv_1_0c_5x5")),
        _v3_a("Mixed_5d", 64),
        Block("Mixed_6a", (
            (Conv("Conv2d_1a_1x1", 384, 2, "valid", (3, 3)),),
            (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_0b_3x3", 96), Conv("Conv2d_1a_1x1", 96, 2, "valid", (3, 3))),
            (HALVE,))),
        *(_seven(f"Mixed_6{letter}", 192, (width, width), 192, (width,) * 4 + (192,), 192)
          for letter, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192))),
        _halving_b(320, 192, 192, 192), _v3_c("Mixed_7b", "Conv2d_0b_3x1"), _v3_c("Mixed_7c", "Conv2d_0c_3x1")),
        "Logits.Conv2d_1c_1x1", 15, ("Conv2d_2a_5x5", "Conv2d_2b_1x1")),
    "inception_v4": Inception("InceptionV4", (
        *STEM,
        Block("Mixed_3a", ((HALVE,), (Conv("Conv2d_0a_3x3", 96, 2, "valid"),))),
        Block("Mixed_4a", (
            (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_1a_3x3", 96, 1, "valid")),
            (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_0b_1x7", 64), Conv("Conv2d_0c_7x1", 64),
             Conv("Conv2d_1a_3x3", 96, 1, "valid")))),
        Block("Mixed_5a", ((Conv("Conv2d_1a_3x3", 192, 2, "valid"),), (HALVE,))),
        *(_v4_a(f"Mixed_5{letter}") for letter in "bcde"), _halving_a(384, 192, 224, 256),
        *(_seven(f"Mixed_6{letter}", 384, (192, 224), 256, (192, 192, 224, 224, 256), 128) for letter in "bcdefgh"),
        _halving_b(192, 256, 320, 320), *(_v4_c(f"Mixed_7{letter}") for letter in "bcd")),
        "Logits.Logits", 18, ("Conv2d_2a", "Aux_logits")),
    "inception_resnet_v2": Inception("InceptionResnetV2", (
        *STEM_V3,
        Block("Mixed_5b", (
            (Conv("Conv2d_1x1", 96),),
            (Conv("Conv2d_0a_1x1", 48), Conv("Conv2d_0b_5x5", 64)),
            (Conv("Conv2d_0a_1x1", 64), Conv("Conv2d_0b_3x3", 96), Conv("Conv2d_0c_3x3", 96)),
            (AVERAGE, Conv("Conv2d_0b_1x1", 64)))),
        *(_block35(number) for number in range(1, 11)), _halving_a(384, 256, 256, 384),
        *(_block17(number) for number in range(1, 21)),
        Block("Mixed_7a", (
            (Conv("Conv2d_0a_1x1", 256), Conv("Conv2d_1a_3x3", 384, 2, "valid")),
            (Conv("Conv2d_0a_1x1", 256), Conv("Conv2d_1a_3x3", 288, 2, "valid")),
            (Conv("Conv2d_0a_1x1", 256), Conv("Conv2d_0b_3x3", 288), Conv("Conv2d_1a_3x3", 320, 2, "valid")),
            (HALVE,))),
        *(_block8(f"Repeat_2.block8_{number}", 0.20) for number in range(1, 10)), _block8("Block8", 1.0, linear=True),
        Conv("Conv2d_7b_1x1", 1536)), "Logits.Logits", 39, ("Conv2d_2a_5x5", "Logits")),
}


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py."""
    definition = FAMILY[network.name]
    images = net = keras.Input((size, size, 3), name="images")
    auxiliary = None
    for number, entry in enumerate(definition.table, start=1):
        net = apply(entry, net, definition.scope, network.name, options)
        if number == definition.auxiliary_at and options.auxiliary_head:
            auxiliary = _auxiliary(net, network.name, options)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(net)
    return images, features, auxiliary


def classifier_initializer(network) -> keras.initializers.Initializer:
    """The original definition's."""
    if network.name in ("inception_v4", "inception_resnet_v2"):  # TF-Slim's general default
        return keras.initializers.GlorotUniform()
    return variance_scaling()


def original_scope(network, layer_name: str) -> str:
    """Scope of a layer's variables in the original checkpoint."""
    definition = FAMILY[network.name]
    if layer_name == "logits":
        layer_name = f"{definition.scope}.{definition.logits}"
    return layer_name.replace(".", "/")


def convolutions(name: str) -> list[str]:
    """Names of the layers that have a batch norm, in the order in which the table lists them."""
    def walk(entry, scope):
        if isinstance(entry, Conv):
            return [f"{scope}.{entry.name}"]
        if isinstance(entry, Split):
            return [layer for conv in entry.convolutions for layer in walk(conv, scope)]
        if isinstance(entry, Pool):
            return []
        return [layer for number, branch in enumerate(entry.branches) for step in branch
                for layer in walk(step, f"{scope}.{entry.name}.Branch_{number}")]

    definition = FAMILY[name]
    return [layer for entry in definition.table for layer in walk(entry, definition.scope)]


def apply(entry, net, scope: str, name: str, options: BuildOptions, reduces: bool = False):
    """The output of one entry of a table, here or in families/miniature.py.

    Args:
      entry: Conv, Pool, Split, Block or Residual.
      scope: first part of its layers' names.
      name: the network's, which decides initialisers.
      reduces: whether it is a convolution that begins a longer branch.
    """
    if isinstance(entry, Conv):
        return _convolution(entry, net, scope, name, options, reduces)
    if isinstance(entry, Pool):
        pooling = keras.layers.MaxPooling2D if entry.kind == "max" else keras.layers.AveragePooling2D
        return pooling(entry.size, entry.stride, entry.padding)(net)
    if isinstance(entry, Split):
        return keras.layers.Concatenate()([
            apply(conv, net, scope, name, options) for conv in entry.convolutions])
    branches = []
    for number, branch in enumerate(entry.branches):
        value = net
        for position, step in enumerate(branch):
            value = apply(step, value, f"{scope}.{entry.name}.Branch_{number}", name, options,
                           reduces=position == 0 and len(branch) > 1)
        branches.append(value)
    joined = keras.layers.Concatenate(name=f"{scope}.{entry.name}.concat")(branches)
    if isinstance(entry, Block):
        return joined
    residual = keras.layers.Conv2D(
        net.shape[-1], 1, kernel_initializer=_initializer(name, "", False, options),
        name=f"{scope}.{entry.name}.Conv2d_1x1")(joined)
    net = keras.layers.Add()([net, keras.layers.Rescaling(entry.scale)(residual)])
    return net if entry.linear else keras.layers.ReLU()(net)


def _convolution(entry: Conv, net, scope: str, name: str, options: BuildOptions, reduces: bool = False):
    kernel = entry.kernel or tuple(int(side) for side in re.findall(r"(\d+)x(\d+)$", entry.name)[0])
    layer = f"{scope}.{entry.name}"
    if name == "bn_inception" and entry.name == "Conv2d_1a_7x7":  # separable, with bias, without batch norm
        return keras.layers.SeparableConv2D(
            entry.filters, kernel, entry.stride, entry.padding, depth_multiplier=8, activation="relu",
            depthwise_initializer=options.initializer(truncated_normal(1.0)),
            pointwise_initializer=options.initializer(truncated_normal(1.0)), name=layer)(net)
    net = keras.layers.Conv2D(
        entry.filters, kernel, entry.stride, entry.padding, use_bias=False,
        kernel_initializer=_initializer(name, layer, reduces, options), name=layer)(net)
    net = options.batch_norm(f"{layer}.BatchNorm")(net)
    return keras.layers.ReLU(name=f"{layer}.relu")(net)


def _initializer(name: str, layer: str, reduces: bool, options: BuildOptions):
    """The original initialiser of a convolution (spec: TF-Slim's arg scopes and block definitions)."""
    original = variance_scaling()
    if name == "inception_v1":
        original = truncated_normal(0.01)
    elif name == "inception_resnet_v2":
        original = keras.initializers.GlorotUniform()
    elif name == "bn_inception" and reduces:
        original = truncated_normal(0.09)
    elif name == "bn_inception" and layer.endswith(("Branch_3.Conv2d_0b_1x1", "Conv2d_2b_1x1")):
        original = truncated_normal(0.1)
    elif name == "inception_v3" and "AuxLogits" in layer:
        original = truncated_normal({"1x1": 0.001, "5x5": 0.01}[layer[-3:]]) if "_2" in layer else original
    return options.initializer(original)


def _auxiliary(net, name: str, options: BuildOptions):
    """The auxiliary classifier: pooled, 1×1, a convolution over the whole map, logits."""
    definition = FAMILY[name]
    wide, logits = definition.auxiliary
    scope = f"{definition.scope}.AuxLogits"
    net = keras.layers.AveragePooling2D(5, 3, "valid")(net)
    net = _convolution(Conv("Conv2d_1b_1x1", 128), net, scope, name, options)
    kernel = tuple(min(side, 5) for side in net.shape[1:3]) if name == "inception_v3" else net.shape[1:3]
    net = _convolution(Conv(wide, 768, 1, "valid", kernel), net, scope, name, options)
    net = keras.layers.GlobalAveragePooling2D(name=f"{scope}.pool", dtype="float32")(net)
    initializer = _initializer(name, f"{scope}.{logits}", False, options)
    if name == "inception_v4":  # fully connected layers have TF-Slim's general default there
        initializer = keras.initializers.GlorotUniform()
    return keras.layers.Dense(options.num_classes, kernel_initializer=initializer, dtype="float32",
                              name=f"{scope}.{logits}")(net)
