"""Builds networks, of the catalog or the user's own, as Keras models with `features` and `logits`."""

import contextlib
import re

import keras

from tfbench.errors import UserError
from tfbench.models import custom
from tfbench.models import weights as weights_files
from tfbench.models.layers import BuildOptions, Dropout, truncated_normal, variance_scaling
from tfbench.models.lookup import check_image_size, get_network, is_custom, weights_metadata
from tfbench.models.original_names import FAMILIES

# Initialiser of the classifier in the original definitions, by network or family.
CLASSIFIERS = {
    "inception_v4": keras.initializers.GlorotUniform,
    "inception_resnet_v2": keras.initializers.GlorotUniform,
    "inception": variance_scaling,
    "resnet_v1": variance_scaling,
    "resnet_v2": variance_scaling,
    "vgg": keras.initializers.GlorotUniform,
    "mobilenet": lambda: truncated_normal(0.09),
    "densenet": lambda: keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
    "nasnet": lambda: keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal"),
    "pnasnet": lambda: keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal"),
    "custom": keras.initializers.GlorotUniform,
}


def build_network(name: str, *, weights: str | None = None, num_classes: int | None = None,
                  image_size: int | None = None, bn_scale: bool | None = None, dropout: float = 0.0,
                  auxiliary_head: bool = False, initializer: str = "original", seed: int = 0,
                  precision: str = "float32") -> keras.Model:
    """A network of the catalog, the same function as the original (TF-Slim; DenseNet: torchvision).

    The four switches of the paper's ablation (v3 appendix) are `bn_scale`, `dropout`, `auxiliary_head`
    and the label smoothing of the loss; they are independent of each other.

    Args:
      name: a key of NETWORKS; or "MODULE:FUNCTION" of the user's own, to which the options but `num_classes`,
        `image_size`, `dropout`, `seed` and `precision` do not apply.
      weights: a file NAME.weights.h5 made by prepare_models or pretrain; "own" for those that a function of the
        user's own loads; None for random weights.
      num_classes: width of the logits of a new classifier; None for the classifier of `weights` or, without,
        a new one for ImageNet's 1,000 classes.
      image_size: side of the square input in pixels; None for the network's own.
      bn_scale: whether batch norm has a scale; None for what the original has (Inception: none), or what
        the weights have. Weights without one can be loaded into a network with it: it starts at 1.
      dropout: fraction of the features dropped in training; the originals' are in the network's row.
      auxiliary_head: whether to build the auxiliary classifier (Inception v3, v4, Inception-ResNet v2,
        NASNet, PNASNet; the others have none, and ignore it).
      initializer: "original" for the network's own initialisers, "keras" for Glorot uniform everywhere.
      seed: all initial weights are a function of it (and of the network): Keras's global seed is set.
      precision: Keras's dtype policy: "float32", "mixed_bfloat16" or "mixed_float16". Weights, features and logits
        are float32 in all of them.

    Returns:
      A Keras model. Input: images [batch, image_size, image_size, 3] float32 in the value range of the
      weights' metadata or, for random ones, of the network's row. Output: {"features": [batch,
      feature_width] float32, the global average of the last feature map (VGG: fc7) before dropout,
      "logits": [batch, num_classes] float32} and, with the auxiliary classifier, "auxiliary_logits".

    Raises:
      UserError: the size is too small, the weights do not fit, or a function of the user's own returns no network.
    """
    if initializer not in ("original", "keras"):
        raise ValueError(f"initializer is 'original' or 'keras', not {initializer!r}")
    row = get_network(name)
    size = image_size or row.image_size
    check_image_size(row, size)
    if weights:
        metadata = weights_metadata(row, weights)
        bn_scale = metadata["bn_scale"] if bn_scale is None else bn_scale
    classes = num_classes or (metadata["classes"] if weights else None) or 1000
    options = BuildOptions(
        bn_scale=row.bn_scale if bn_scale is None else bn_scale, bn_epsilon=row.bn_epsilon,
        bn_momentum=row.bn_momentum, dropout=dropout, num_classes=classes,
        auxiliary_head=auxiliary_head, original_initializer=initializer == "original")

    keras.utils.set_random_seed(seed)
    with _dtype_policy(precision):
        model = _assemble(name, row, size, options)
    if weights:
        load_weights(model, name, weights, classifier=num_classes is None)
    return model


def load_weights(model: keras.Model, name: str, weights: str, *, classifier: bool) -> None:
    """Assigns pretrained weights to a model of build_network.

    Args:
      name, weights: as of build_network. classifier: see weights.load; "own" has none.

    Raises:
      UserError: they do not fit.
    """
    if not is_custom(name):
        weights_files.load(model, weights, classifier=classifier)
        return
    row, size = get_network(name), model.input_shape[1]
    if weights == weights_files.CUSTOM:
        pairs = [(model.get_layer(custom.BODY), custom.build(name, size, pretrained=True))]
    else:
        donor = build_network(name, num_classes=weights_metadata(row, weights)["classes"], image_size=size)
        try:
            donor.load_weights(weights)
        except ValueError as error:
            raise UserError(f"{weights} does not fit {name} for images of {size} pixels a side: take the --image_size "
                            "at which it was pretrained") from error
        pairs = [(model.get_layer(part), donor.get_layer(part)) for part in (custom.BODY, "logits")[:1 + classifier]]
    for layer, source in pairs:
        for variable, value in zip(layer.weights, source.weights, strict=True):
            variable.assign(value)


def _assemble(name: str, row, size: int, options: BuildOptions) -> keras.Model:
    """Body and classifier as one model."""
    images, features, auxiliary_logits = FAMILIES[row.family].body(row, size, options)
    kept = Dropout(options.dropout, name="dropout")(features)
    classifier = CLASSIFIERS.get(name) or CLASSIFIERS[row.family]
    logits = keras.layers.Dense(options.num_classes, kernel_initializer=options.initializer(classifier()),
                                dtype="float32", name="logits")(kept)
    outputs = {"features": features, "logits": logits}
    if auxiliary_logits is not None:
        outputs["auxiliary_logits"] = auxiliary_logits
    return keras.Model(images, outputs, name=re.sub(r"\W", "_", name))


@contextlib.contextmanager
def _dtype_policy(policy: str):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def set_batch_norm(model: keras.Model, *, momentum: float, synchronized: bool = False) -> None:
    """Sets how every batch-norm layer trains (before a step is traced).

    Args:
      momentum: decay of the moving statistics in a step.
      synchronized: whether images are normalised with the statistics of all devices' images, not of their device's.
    """
    for layer in custom.all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = momentum, synchronized


def decayed_kernels(model: keras.Model) -> list[keras.Variable]:
    """The variables under L2 regularisation: kernels of convolutions and of the classifiers.

    As TF-Slim's regularisers: no batch norm, no biases but those of Inception-ResNet v2, none of
    MobileNet's depthwise kernels and not the separable first convolution of BN-Inception.
    """
    def decayed(layer, variable):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return False
        if model.name == "bn_inception" and isinstance(layer, keras.layers.SeparableConv2D):
            return False
        return "kernel" in variable.name or (model.name == "inception_resnet_v2" and variable.name == "bias")

    holders = {id(variable): layer for layer in custom.all_layers(model) for variable in layer.trainable_variables}
    return [variable for variable in model.trainable_variables if decayed(holders[id(variable)], variable)]
