"""NASNet-A Mobile and Large (arXiv 1707.07012): Keras Applications' networks, made the original functions.

TF-Slim's stride-2 poolings leave padding out. Keras's run on a map padded with zeros, which a maximum of negative
values and an average both see. Drop-path (Large), an option, is added where the original has it: behind every
operation of a cell but the identity.
"""

import re

import keras

from tfbench.errors import UserError
from tfbench.models.layers import BuildOptions, DropPath, keras_application

# name -> (normal cells between reductions, last cell below the auxiliary head, counted without reductions)
FAMILY = {
    "nasnet_mobile": (4, 7),
    "nasnet_large": (6, 11),
}

# Side of the kernel of every separable convolution, by kind of cell and position in it.
KERNELS = {
    "normal": {"left1": 5, "right1": 3, "left2": 5, "right2": 3, "left5": 3},
    "reduction": {"left1": 5, "right1": 7, "right2": 7, "right3": 5, "left4": 3},
}
# Position in the original's combinations, where it is not that of the number less one.
COMBINATIONS = {("reduction", "left4"): "comb_iter_4/left"}

# Which of an addition's two inputs come from an operation other than the identity.
ADDED = {"normal_add_1": (True, True), "normal_add_2": (True, True), "normal_add_3": (True, False),
         "normal_add_4": (True, True), "normal_add_5": (True, False), "reduction_add_1": (True, True),
         "reduction_add_2": (True, True), "reduction_add3": (True, True), "add": (False, True),
         "reduction_add4": (True, True)}


def fan_out() -> keras.initializers.Initializer:
    """The originals' initialiser: truncated normal, variance 2 / fan-out."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def classifier_initializer(network) -> keras.initializers.Initializer:
    """The original definition's."""
    del network
    return fan_out()


def keep_probability(cell: int, cells: int, final_keep: float) -> float:
    """Of drop-path at the end of training, falling with depth.

    Args:
      cell: number of the cell, counted from 0 with the two of the stem and the reductions.
      cells: how many there are.
      final_keep: that of the last cell.
    """
    return 1.0 - (cell + 1) / cells * (1.0 - final_keep)


@keras.saving.register_keras_serializable("tfbench")
class DropPathAdd(DropPath):
    """Adds its two inputs after drop-path on those that `dropped` marks."""

    def __init__(self, final_keep: float, dropped: tuple[bool, bool], **kwargs):
        super().__init__(final_keep, **kwargs)
        self.dropped = tuple(dropped)

    def call(self, branches, training=False):
        first, second = (super(DropPathAdd, self).call(branch, training=training, number=number) if dropped else branch
                         for number, (branch, dropped) in enumerate(zip(branches, self.dropped, strict=True)))
        return first + second

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return super().get_config() | {"dropped": self.dropped}


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py."""
    cells, auxiliary_cell = FAMILY[network.name]
    final_keep = network.drop_path_keep if options.drop_path else 1.0
    shipped = keras_application(network, include_top=False, input_shape=(size, size, 3))
    adds = _cells_of_additions(shipped, cells)
    clone = keras.models.clone_model(shipped, clone_function=lambda layer: _repaired(
        layer, adds, 3 * cells + 4, final_keep, options))
    auxiliary = None
    if options.auxiliary_head:
        net = clone.get_layer(f"normal_concat_{auxiliary_cell + 1}").output
        auxiliary = auxiliary_head(network, net, f"aux_{auxiliary_cell}", options)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(clone.output)
    return clone.input, features, auxiliary


def auxiliary_head(network, net, scope: str, options: BuildOptions):
    """Logits of the auxiliary classifier on the output of a cell.

    Raises:
      UserError: the map is too small for it.
    """
    if net.shape[1] < 5:
        raise UserError(f"the auxiliary head of {network.name} needs a map of at least 5 × 5, here it is "
                        f"{net.shape[1]} × {net.shape[2]}: use images of at least 80 pixels a side, or build "
                        "it without")
    scope = f"{scope}.aux_logits"

    def convolution(net, filters, kernel, name, norm):
        net = keras.layers.Conv2D(filters, kernel, use_bias=False, kernel_initializer=options.initializer(fan_out()),
                                  name=f"{scope}.{name}")(net)
        return keras.layers.ReLU()(options.batch_norm(f"{scope}.{norm}")(net))

    net = keras.layers.AveragePooling2D(5, 3, "valid")(keras.layers.ReLU()(net))
    net = convolution(net, 128, 1, "proj", "aux_bn0")
    net = convolution(net, 768, net.shape[1:3], "Conv", "aux_bn1")
    net = keras.layers.Flatten()(net)
    return keras.layers.Dense(options.num_classes, kernel_initializer=options.initializer(fan_out()),
                              dtype="float32", name=f"{scope}.FC")(net)


def original_scope(network, layer_name: str) -> str:
    """Scope of a layer's variables in the original checkpoint, which has no top scope."""
    if layer_name in ("logits", "stem_conv1", "stem_bn1"):
        return {"logits": "final_layer/FC", "stem_conv1": "conv0", "stem_bn1": "conv0_bn"}[layer_name]
    if layer_name.startswith("aux_"):
        return layer_name.replace(".", "/")
    cells = FAMILY[network.name][0]
    (operation, cell), = re.findall(r"^(.*?)_((?:stem|reduce)_\d+|\d+)$", layer_name)
    scope = {"stem_1": "cell_stem_0", "stem_2": "cell_stem_1", f"reduce_{cells}": "reduction_cell_0",
             f"reduce_{2 * cells}": "reduction_cell_1"}.get(cell)
    scope = scope or f"cell_{int(cell) - (int(cell) > cells)}"
    if match := re.fullmatch(r"separable_conv_([12])(_bn)?_(normal|reduction)_((?:left|right)(\d))", operation):
        layer, norm, kind, position, number = match.groups()
        combination = COMBINATIONS.get((kind, position), f"comb_iter_{int(number) - 1}/{position[:-1]}")
        kernel = KERNELS[kind][position]
        return f"{scope}/{combination}/{'bn_sep' if norm else 'separable'}_{kernel}x{kernel}_{layer}"
    halves = cell in ("stem_2", "0", str(cells + 1), str(2 * cells + 1))  # the cell before the last has a larger map
    inner = {"adjust_conv_1": "path1_conv", "adjust_conv_2": "path2_conv", "adjust_conv_projection": "prev_1x1",
             "adjust_bn": "final_path_bn" if halves else "prev_bn", "normal_conv_1": "1x1", "reduction_conv_1": "1x1",
             "normal_bn_1": "beginning_bn", "reduction_bn_1": "beginning_bn"}
    return f"{scope}/{inner[operation]}"


def _repaired(layer, adds: dict[str, tuple[int, tuple[bool, bool]]], cells: int, final_keep: float,
              options: BuildOptions):
    """A layer of the original network in place of Keras's `layer`."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config |= {"scale": options.bn_scale, "epsilon": options.bn_epsilon, "momentum": options.bn_momentum}
    elif isinstance(layer, keras.layers.SeparableConv2D):
        config |= {"depthwise_initializer": options.initializer(fan_out()),
                   "pointwise_initializer": options.initializer(fan_out())}
    elif isinstance(layer, keras.layers.Conv2D):
        config["kernel_initializer"] = options.initializer(fan_out())
    elif layer.name.startswith("reduction_pad_1_"):
        config["padding"] = 0
    elif layer.name.startswith(("reduction_left2_", "reduction_left3_", "reduction_right5_")):
        config["padding"] = "same"
    elif isinstance(layer, keras.layers.Add) and final_keep < 1.0:
        cell, dropped = adds[layer.name]
        return DropPathAdd(keep_probability(cell, cells, final_keep), dropped, name=layer.name)
    return type(layer).from_config(config)


def _cells_of_additions(shipped: keras.Model, cells: int) -> dict[str, tuple[int, tuple[bool, bool]]]:
    """Name of every addition -> (number of its cell, which of its inputs come from an operation)."""
    order = ["stem_1", "stem_2", *map(str, range(cells)), f"reduce_{cells}", *map(str, range(cells + 1, 2 * cells + 1)),
             f"reduce_{2 * cells}", *map(str, range(2 * cells + 1, 3 * cells + 1))]
    additions = {}
    for layer in shipped.layers:
        if isinstance(layer, keras.layers.Add):
            match = re.fullmatch(r"((?:normal|reduction)_add_?\d)_(.*)", layer.name)
            # The fourth addition of a reduction has no name: its second input is a pooling that has.
            addition, cell = match.groups() if match else (
                "add", layer.input[1]._keras_history.operation.name.removeprefix("reduction_left4_"))
            additions[layer.name] = (order.index(cell), ADDED[addition])
    return additions
