"""Networks of some ten thousand weights, one for each way to build a network: for studies of minutes on a processor.

Each is a literal table, as in inception.py, of what makes its family: plain convolutions, Inception's branches,
residual units, separable convolutions, inverted residuals, dense layers. All begin with a convolution of stride 2,
halve the map twice more and end in FEATURES channels: a wider feature vector alone would raise the accuracy of
logistic regression. Batch norm is everywhere, also in the plain one, so that one learning rate serves all. They have
no originals and no public weights: a study pretrains them.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras

from tfbench.models.families.inception import (
    Conv,
    Pool,
    Residual,
    apply,
    v1_block,
    v2_block,
    v2_halving,
)
from tfbench.models.layers import BuildOptions, variance_scaling

FEATURES = 96  # channels of every network's last map


class Separable(NamedTuple):
    """3×3 depthwise, 1×1, each with batch norm and relu: MobileNet v1's."""

    name: str
    filters: int
    stride: int = 1


class Inverted(NamedTuple):
    """1×1 to four times the channels, 3×3 depthwise, 1×1 without relu; added to a like input: MobileNet v2's."""

    name: str
    filters: int
    stride: int = 1


class Bottleneck(NamedTuple):
    """1×1, 3×3, 1×1 and a projected or unchanged input, then relu: ResNet v1's, with its stride in the 3×3."""

    name: str
    inner: int
    filters: int
    stride: int = 1


class Dense(NamedTuple):
    """Batch norm, relu, 1×1 to twice `growth`, batch norm, relu, 3×3; joined to the input: DenseNet's."""

    name: str
    growth: int


class Transition(NamedTuple):
    """Batch norm, relu, 1×1, average over 2×2: DenseNet's."""

    name: str
    filters: int


class Activation(NamedTuple):
    """Batch norm and relu, after the last dense layer."""

    name: str


STEM, TWICE = Conv("stem_3x3", 16, 2), Pool("max", 2, size=2)

TABLES = {
    "mini_vgg": (
        STEM, Conv("conv2_3x3", 24), TWICE, Conv("conv3_3x3", 48), TWICE, Conv("conv4_3x3", FEATURES)),
    "mini_inception_v1": (
        STEM, Conv("conv2_3x3", 24), TWICE, v1_block("mixed_3", 16, 16, 24, 4, 8, 8), TWICE,
        v1_block("mixed_4", 32, 24, 40, 8, 12, 12)),
    "mini_bn_inception": (
        STEM, TWICE, v2_block("mixed_3", 16, 16, 20, 12, 16, 12), v2_halving("mixed_4", 16, 32, 16, 24),
        v2_block("mixed_5", 28, 24, 28, 16, 24, 16)),
    "mini_inception_resnet": (
        STEM, Conv("conv2_3x3", 32), TWICE,
        *(Residual(f"block_{number}", (
            (Conv("conv_1x1", 8),),
            (Conv("conv_1x1", 8), Conv("conv_3x3", 12)),
            (Conv("conv_1x1", 8), Conv("convb_3x3", 12), Conv("convc_3x3", 16))), .3) for number in (1, 2)),
        Conv("halving_3x3", 48, 2), Conv("last_1x1", FEATURES)),
    "mini_resnet": (
        STEM, Bottleneck("unit1_1", 8, 24), Bottleneck("unit2_1", 16, 64, 2), Bottleneck("unit2_2", 16, 64),
        Bottleneck("unit3_1", 24, FEATURES, 2)),
    "mini_mobilenet_v1": (
        STEM, Separable("conv1", 32), Separable("conv2", 48, 2), Separable("conv3", 64),
        Separable("conv4", FEATURES, 2), Separable("conv5", FEATURES)),
    "mini_mobilenet_v2": (
        STEM, Inverted("block1", 24, 2), Inverted("block2", 24), Inverted("block3", 40, 2), Inverted("block4", 40),
        Conv("last_1x1", FEATURES)),
    "mini_densenet": (
        STEM, Dense("dense1_1", 12), Transition("transition1", 24),
        Dense("dense2_1", 16), Dense("dense2_2", 16), Transition("transition2", 32),
        *(Dense(f"dense3_{number}", 16) for number in range(1, 5)), Activation("last")),
}


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py. None has an auxiliary classifier."""
    images = net = keras.Input((size, size, 3), name="images")
    for entry in TABLES[network.name]:
        if type(entry) in LAYERS:
            net = LAYERS[type(entry)](entry, net, options)
        else:
            net = apply(entry, net, "mini", network.name, options)
    return images, keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(net), None


def classifier_initializer(network) -> keras.initializers.Initializer:
    """As of the convolutions."""
    del network
    return variance_scaling()


def original_scope(network, layer_name: str) -> str:
    """There is no original: the layer's name."""
    del network
    return layer_name.replace(".", "/")


# ---- the entries of the tables ---------------------------------------------------------------------


def _convolution(net, name: str, filters: int, kernel: int, options: BuildOptions, stride: int = 1):
    return keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False,
                               kernel_initializer=options.initializer(variance_scaling()), name=name)(net)


def _depthwise(net, name: str, options: BuildOptions, stride: int = 1):
    return keras.layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=name,
                                        depthwise_initializer=options.initializer(variance_scaling()))(net)


def _activated(net, name: str, options: BuildOptions):
    return keras.layers.ReLU(name=f"{name}_relu")(options.batch_norm(f"{name}_bn")(net))


def _separable(entry: Separable, net, options: BuildOptions):
    net = _activated(_depthwise(net, f"{entry.name}_dw", options, entry.stride), f"{entry.name}_dw", options)
    return _activated(_convolution(net, f"{entry.name}_pw", entry.filters, 1, options), f"{entry.name}_pw", options)


def _inverted(entry: Inverted, net, options: BuildOptions):
    name, channels = entry.name, net.shape[-1]
    inner = _activated(_convolution(net, f"{name}_expand", 4 * channels, 1, options), f"{name}_expand", options)
    inner = _activated(_depthwise(inner, f"{name}_dw", options, entry.stride), f"{name}_dw", options)
    inner = options.batch_norm(f"{name}_project_bn")(
        _convolution(inner, f"{name}_project", entry.filters, 1, options))
    return keras.layers.Add()([net, inner]) if entry.stride == 1 and channels == entry.filters else inner


def _bottleneck(entry: Bottleneck, net, options: BuildOptions):
    name, inner = entry.name, net
    for part, (filters, kernel, stride) in enumerate(((entry.inner, 1, 1), (entry.inner, 3, entry.stride)), start=1):
        inner = _activated(_convolution(inner, f"{name}_{part}", filters, kernel, options, stride), f"{name}_{part}",
                           options)
    inner = options.batch_norm(f"{name}_3_bn")(_convolution(inner, f"{name}_3", entry.filters, 1, options))
    if net.shape[-1] != entry.filters:
        net = _convolution(net, f"{name}_0", entry.filters, 1, options, entry.stride)
        net = options.batch_norm(f"{name}_0_bn")(net)
    return keras.layers.ReLU()(keras.layers.Add()([net, inner]))


def _dense(entry: Dense, net, options: BuildOptions):
    inner = _convolution(_activated(net, f"{entry.name}_0", options), f"{entry.name}_1", 2 * entry.growth, 1, options)
    inner = _convolution(_activated(inner, f"{entry.name}_1", options), f"{entry.name}_2", entry.growth, 3, options)
    return keras.layers.Concatenate()([net, inner])


def _transition(entry: Transition, net, options: BuildOptions):
    net = _convolution(_activated(net, entry.name, options), entry.name, entry.filters, 1, options)
    return keras.layers.AveragePooling2D(2)(net)


def _activation(entry: Activation, net, options: BuildOptions):
    return _activated(net, entry.name, options)


LAYERS: dict[type, Callable] = {
    Separable: _separable, Inverted: _inverted, Bottleneck: _bottleneck, Dense: _dense, Transition: _transition,
    Activation: _activation}
