"""PNASNet-5 Mobile and Large (arXiv 1712.00559), as TF-Slim defines them.

One cell, used 9 or 12 times after two in the stem; every third or fourth halves the map. Layers bear the scopes of the
original checkpoints with "." for "/".
"""

import keras

from tfbench.models.families.nasnet import auxiliary_head, classifier_initializer, fan_out, keep_probability
from tfbench.models.layers import BuildOptions, DropPath

__all__ = ["body", "classifier_initializer", "original_scope"]

# The five combinations, each the sum of two (operation, state): state 0 is the cell's input, 1 that of the cell
# before, 2 and up the sums so far. All sums are concatenated (figure 1 of the paper).
CELL = (
    (("separable_5x5", 1), ("max_pool", 1)),
    (("separable_7x7", 0), ("max_pool", 0)),
    (("separable_5x5", 0), ("separable_3x3", 0)),
    (("separable_3x3", 4), ("max_pool", 0)),
    (("separable_3x3", 1), ("identity", 0)),
)

# name -> (cells, filters of the first, filters of the stem's convolution)
FAMILY = {
    "pnasnet_mobile": (9, 54, 32),
    "pnasnet_large": (12, 216, 96),
}


def body(network, size: int, options: BuildOptions):
    """Builds a network below its classifier; see families/__init__.py."""
    cells, filters, stem = FAMILY[network.name]
    final_keep = network.drop_path_keep if options.drop_path else 1.0
    reductions = (cells // 3, 2 * cells // 3)
    images = keras.Input((size, size, 3), name="images")
    net = keras.layers.Conv2D(stem, 3, 2, "valid", use_bias=False, name="conv0",
                              kernel_initializer=options.initializer(fan_out()))(images)
    before, net = None, options.batch_norm("conv0_bn")(net)
    auxiliary = None
    plan = [("cell_stem_0", filters // 4, 2), ("cell_stem_1", filters // 2, 2)]
    for cell in range(cells):
        widenings = sum(cell >= reduction for reduction in reductions)
        plan.append((f"cell_{cell}", filters * 2 ** widenings, 2 if cell in reductions else 1))
    for number, (scope, width, stride) in enumerate(plan):
        keep = keep_probability(number, len(plan), final_keep)
        before, net = net, _cell(net, before, scope, width, stride, keep, options)
        if scope == f"cell_{reductions[1] - 1}" and options.auxiliary_head:
            auxiliary = auxiliary_head(network, net, f"aux_{reductions[1] - 1}", options)
    net = keras.layers.ReLU()(net)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(net)
    return images, features, auxiliary


def original_scope(network, layer_name: str) -> str:
    """Scope of a layer's variables in the original checkpoint, which has no top scope."""
    del network
    return "final_layer/FC" if layer_name == "logits" else layer_name.replace(".", "/")


def _cell(net, before, scope: str, filters: int, stride: int, keep: float, options: BuildOptions):
    """One cell.

    Args:
      net: output of the last cell; before: of the one before it, or None.
      keep: of drop-path at the end of training.
    """
    states = [_projected(net, filters, 1, f"{scope}.1x1", f"{scope}.beginning_bn", options),
              _adjusted(before, net, filters, scope, options)]
    for number, combination in enumerate(CELL):
        terms = []
        for side, (operation, state) in zip(("left", "right"), combination, strict=True):
            name = f"{scope}.comb_iter_{number}.{side}"
            term = _operation(operation, states[state], filters, stride if state < 2 else 1, name, options)
            if operation != "identity" and keep < 1.0:
                term = DropPath(keep, name=f"{name}.drop_path")(term)
            terms.append(term)
        states.append(keras.layers.Add(name=f"{scope}.comb_iter_{number}.add")(terms))
    return keras.layers.Concatenate(name=f"{scope}.concat")(states[2:])


def _operation(operation: str, net, filters: int, stride: int, scope: str, options: BuildOptions):
    if operation.startswith("separable"):
        size = operation[-3:]
        for layer in (1, 2):
            net = keras.layers.SeparableConv2D(
                filters, int(size[0]), stride if layer == 1 else 1, "same", use_bias=False,
                depthwise_initializer=options.initializer(fan_out()),
                pointwise_initializer=options.initializer(fan_out()),
                name=f"{scope}.separable_{size}_{layer}")(keras.layers.ReLU()(net))
            net = options.batch_norm(f"{scope}.bn_sep_{size}_{layer}")(net)
        return net
    if operation == "max_pool":
        net = keras.layers.MaxPooling2D(3, stride, "same")(net)
        if net.shape[-1] == filters:
            return net
        return _projected(net, filters, 1, f"{scope}.1x1", f"{scope}.bn_1", options, activate=False)
    if stride > 1 or net.shape[-1] != filters:
        return _projected(net, filters, stride, f"{scope}.1x1", f"{scope}.bn_1", options)
    return net


def _projected(net, filters: int, stride: int, name: str, norm: str, options: BuildOptions, activate: bool = True):
    """relu, 1×1 convolution, batch norm."""
    net = keras.layers.ReLU()(net) if activate else net
    net = keras.layers.Conv2D(filters, 1, stride, "same", use_bias=False, name=name,
                              kernel_initializer=options.initializer(fan_out()))(net)
    return options.batch_norm(norm)(net)


def _adjusted(before, net, filters: int, scope: str, options: BuildOptions):
    """The output of the cell before the last in the last one's size and, but for the first cell's, in `filters`."""
    if before is None:
        return net
    if before.shape[1] != net.shape[1]:  # two halves of every other pixel, the second shifted by one
        before = keras.layers.ReLU()(before)
        shifted = keras.layers.Cropping2D(((1, 0), (1, 0)))(keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(before))
        halves = [keras.layers.Conv2D(
            width, 1, use_bias=False, kernel_initializer=options.initializer(fan_out()),
            name=f"{scope}.path{number}_conv")(keras.layers.AveragePooling2D(1, 2, "valid")(half))
            for number, half, width in ((1, before, filters // 2), (2, shifted, filters - filters // 2))]
        return options.batch_norm(f"{scope}.final_path_bn")(keras.layers.Concatenate()(halves))
    if before.shape[-1] != filters:
        return _projected(before, filters, 1, f"{scope}.prev_1x1", f"{scope}.prev_bn", options)
    return before
