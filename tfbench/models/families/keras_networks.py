"""Networks that Keras Applications builds: VGG, ResNet v1 and v2, DenseNet, MobileNet v1 and v2.

They are cloned with what makes them the originals' functions:
  * batch norm's settings and the initialisers of the original definitions;
  * in the ResNets, a first max pooling that pads as TF-Slim's does (Keras pads both sides, which shifts every window
    by a pixel), and in v1 no biases before batch norm.
Keras's ResNets v1 have their strides in other places, which is the same function.
"""

import re

import keras

from tfbench.models.layers import BuildOptions, Dropout, keras_application, truncated_normal, variance_scaling

# Initialisers of the convolutions in the original definitions: TF-Slim's, DenseNet's in torchvision.
INITIALIZERS = {
    "vgg": keras.initializers.GlorotUniform,
    "resnet_v1": variance_scaling,
    "resnet_v2": variance_scaling,
    "densenet": lambda: keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal"),
    "mobilenet": lambda: truncated_normal(0.09),
}


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py. None has an auxiliary classifier."""
    shipped = keras_application(network, include_top=False, input_shape=(size, size, 3))
    clone = keras.models.clone_model(shipped, clone_function=lambda layer: repaired(layer, network.family, options))
    net = clone.output
    if network.family == "vgg":  # fully connected layers as convolutions: larger images give a map to average
        for name, kernel in (("fc6", 7), ("fc7", 1)):
            net = Dropout(options.dropout, name=f"{name}_dropout")(net) if name == "fc7" else net
            net = keras.layers.Conv2D(4096, kernel, activation="relu", name=name,
                                      kernel_initializer=options.initializer(INITIALIZERS["vgg"]()))(net)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(net)
    return clone.input, features, None


def classifier_initializer(network) -> keras.initializers.Initializer:
    """The original definition's."""
    if network.family == "densenet":
        return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return INITIALIZERS[network.family]()


def repaired(layer: keras.layers.Layer, family: str, options: BuildOptions) -> keras.layers.Layer:
    """A layer of the original network in place of Keras's `layer`."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config |= {"scale": options.bn_scale, "epsilon": options.bn_epsilon, "momentum": options.bn_momentum}
    elif isinstance(layer, keras.layers.DepthwiseConv2D):
        config["depthwise_initializer"] = options.initializer(INITIALIZERS[family]())
    elif isinstance(layer, keras.layers.Conv2D):
        config["kernel_initializer"] = options.initializer(INITIALIZERS[family]())
        if family == "resnet_v1":
            config["use_bias"] = False
    elif family.startswith("resnet") and layer.name == "pool1_pad":
        config["padding"] = 0
    elif family.startswith("resnet") and layer.name == "pool1_pool":
        config["padding"] = "same"
    return type(layer).from_config(config)


def original_scope(network, layer_name: str) -> str:
    """Scope of a layer's variables in the TF-Slim checkpoint (DenseNet: in torchvision's state)."""
    scope = {"vgg": _vgg_scope, "resnet_v1": _resnet_scope, "resnet_v2": _resnet_scope,
             "densenet": _densenet_scope, "mobilenet": _mobilenet_scope}[network.family]
    return f"{network.keras_application.scope}/{scope(network, layer_name)}"


def _vgg_scope(network, name: str) -> str:
    del network
    return {"logits": "fc8"}.get(name) or re.sub(r"block(\d)_conv(\d)", r"conv\1/conv\1_\2", name)


def _resnet_scope(network, name: str) -> str:
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(preact|[0-3])_(conv|bn)", name):
        stage, unit, position, kind = match.groups()
        inner = {"preact": "preact", "0": "shortcut"}.get(position, f"conv{position}")
        norm = "/BatchNorm" if kind == "bn" and inner != "preact" else ""
        return f"block{int(stage) - 1}/unit_{unit}/bottleneck_{network.family[-2:]}/{inner}{norm}"
    return {"conv1_conv": "conv1", "conv1_bn": "conv1/BatchNorm", "post_bn": "postnorm", "logits": "logits"}[name]


def _mobilenet_scope(network, name: str) -> str:
    name, norm = re.subn(r"^bn_|_bn$|_BN$", "", name)
    if name == "logits":
        return "Logits/Conv2d_1c_1x1"
    if network.name == "mobilenet_v1":
        name = re.sub(r"conv_dw_(\d+)", r"Conv2d_\1_depthwise", name)
        name = re.sub(r"conv_pw_(\d+)", r"Conv2d_\1_pointwise", name).replace("conv1", "Conv2d_0")
    else:
        name = re.sub(r"^(?:block(_\d+)|expanded_conv)_(expand|depthwise|project)$", r"expanded_conv\1/\2", name)
        name = name.replace("Conv1", "Conv")
    return f"{name}/BatchNorm" if norm else name


def _densenet_scope(network, name: str) -> str:
    del network
    if match := re.fullmatch(r"conv(\d)_block(\d+)_([0-2]_(?:bn|conv))", name):
        stage, layer, position = match.groups()
        inner = {"0_bn": "norm1", "1_conv": "conv1", "1_bn": "norm2", "2_conv": "conv2"}[position]
        return f"features/denseblock{int(stage) - 1}/denselayer{layer}/{inner}"
    if match := re.fullmatch(r"pool(\d)_(bn|conv)", name):
        return f"features/transition{int(match[1]) - 1}/{'norm' if match[2] == 'bn' else 'conv'}"
    return {"conv1_conv": "features/conv0", "conv1_bn": "features/norm0", "bn": "features/norm5",
            "logits": "classifier"}[name]
