"""Builds networks, of the catalog or custom ones, as Keras models with `features` and `logits`."""

import contextlib
import re

import keras

from tfbench.errors import UserError
from tfbench.models import batch_norm, custom
from tfbench.models import weights as weights_files
from tfbench.models.catalog import Network
from tfbench.models.families import builder_of, untouched
from tfbench.models.inspection import all_layers
from tfbench.models.layers import BuildOptions, Dropout
from tfbench.models.lookup import check_image_size, check_switches, get_network, weights_metadata


def build_network(network: str | Network, *, weights: str | None = None, num_classes: int | None = None,
                  image_size: int | None = None, bn_scale: bool | None = None, dropout: float = 0.0,
                  auxiliary_head: bool = False, drop_path: bool = False, initializer: str = "original",
                  seed: int = 0, precision: str = "float32") -> keras.Model:
    """A network of the catalog, the same function as the original (TF-Slim; DenseNet: torchvision).

    The four options of the paper's ablation (v3 appendix) are `bn_scale`, `dropout`, `auxiliary_head` and the label
    smoothing of the loss. They are independent of each other, and so is `drop_path`.

    Args:
      network: a key of NETWORKS, "MODULE:FUNCTION" for a custom network, or what get_network returns for them. To
        custom networks, and those that the catalog calls untouched, only the options `num_classes`, `image_size`,
        `dropout`, `seed` and `precision` apply, and `drop_path` to EfficientNets.
      weights: a file NAME.weights.h5 made by prepare_models or pretrain; "own" for those that a custom network
        loads; None for random weights.
      num_classes: width of the logits of a new classifier; None for the classifier of `weights` or, without,
        a new one for ImageNet's 1,000 classes.
      image_size: side of the square input in pixels; None for the network's own.
      bn_scale: whether batch norm has a scale; None for what the original has (Inception: none), or what
        the weights have. Weights without one can be loaded into a network with it: it starts at 1.
      dropout: fraction of the features dropped in training; the original's is `Network.dropout`.
      auxiliary_head: whether to build the auxiliary classifier. Inception v3, v4, Inception-ResNet v2, NASNet and
        PNASNet have one; for the others it is refused.
      drop_path: whether to drop paths in training, as the definitions of NASNet-A Large, PNASNet-5 Large and
        EfficientNets say; for others it is refused. The paper trained without.
      initializer: "original" for the network's own initialisers, "keras" for Glorot uniform everywhere.
      seed: with the network it determines all initial weights: Keras's global seed is set.
      precision: Keras's dtype policy: "float32", "mixed_bfloat16" or "mixed_float16". Weights, features and logits
        are float32 in all of them.

    Returns:
      A Keras model.
      Input: images [batch, image_size, image_size, 3] float32, in the value range of the weights' metadata or, for
      random weights, in `Network.value_range`.
      Output: {"features": [batch, feature_width] float32, "logits": [batch, num_classes] float32} and, with the
      auxiliary classifier, "auxiliary_logits". Features are the global average of the last feature map (VGG: fc7)
      before dropout.

    Raises:
      UserError: there is no such network, it lacks what is asked for, the size is too small, the weights do not fit, or
        a custom function returns no network.
    """
    if initializer not in ("original", "keras"):
        raise ValueError(f"initializer is 'original' or 'keras', not {initializer!r}")
    network = get_network(network)
    size = image_size or network.image_size
    check_image_size(network, size)
    check_switches(network, auxiliary_head=auxiliary_head, drop_path=drop_path)
    classes = num_classes
    if weights:
        metadata = weights_metadata(network, weights)
        bn_scale = metadata["bn_scale"] if bn_scale is None else bn_scale
        classes = classes or metadata["classes"]
    options = BuildOptions(
        bn_scale=network.bn_scale if bn_scale is None else bn_scale, bn_epsilon=network.bn_epsilon,
        bn_momentum=network.bn_momentum, dropout=dropout, num_classes=classes or 1000,
        auxiliary_head=auxiliary_head, original_initializer=initializer == "original", drop_path=drop_path)

    keras.utils.set_random_seed(seed)
    with _dtype_policy(precision):
        model = _assemble(network, size, options)
    if weights:
        load_weights(model, network, weights, classifier=num_classes is None)
    return model


def load_weights(model: keras.Model, network: str | Network, weights: str, *, classifier: bool) -> None:
    """Assigns pretrained weights to a model of build_network.

    Args:
      network, weights: as of build_network.
      classifier: see weights.load; "own" has none.

    Raises:
      UserError: they do not fit.
    """
    network = get_network(network)
    if builder_of(network) is not untouched:
        weights_files.load(model, weights, classifier=classifier)
        return
    size, body = model.input_shape[1], model.get_layer(untouched.BODY)
    if weights == weights_files.CUSTOM:
        pairs = [(body, custom.build(network.name, size, pretrained=True))]
    else:
        classes = weights_metadata(network, weights)["classes"]
        if classifier and classes is None:
            raise UserError(f"{weights} has no classifier: it is for features, and networks with another classifier")
        donor = build_network(network, num_classes=classes or 1, image_size=size)
        try:
            (donor if classes else keras.Model(donor.input, donor.output["features"])).load_weights(weights)
        except ValueError as error:
            raise UserError(f"{weights} does not fit {network.name} for images of {size} pixels a side: take the "
                            "--image_size at which it was pretrained") from error
        pairs = [(body, donor.get_layer(untouched.BODY))]
        if classifier:
            pairs.append((model.get_layer("logits"), donor.get_layer("logits")))
    for layer, source in pairs:
        for variable, value in zip(layer.weights, source.weights, strict=True):
            variable.assign(value)


def _assemble(network: Network, size: int, options: BuildOptions) -> keras.Model:
    """Body and classifier as one model."""
    builder = builder_of(network)
    images, features, auxiliary_logits = builder.body(network, size, options)
    kept = Dropout(options.dropout, name="dropout")(features)
    initializer = options.initializer(builder.classifier_initializer(network))
    logits = keras.layers.Dense(options.num_classes, kernel_initializer=initializer, dtype="float32",
                                name="logits")(kept)
    outputs = {"features": features, "logits": logits}
    if auxiliary_logits is not None:
        outputs["auxiliary_logits"] = auxiliary_logits
    return keras.Model(images, outputs, name=re.sub(r"\W", "_", network.name).lstrip("_"))


@contextlib.contextmanager
def _dtype_policy(policy: str):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def set_batch_norm(model: keras.Model, *, momentum: float, synchronized: bool = False) -> None:
    """Sets how every batch-norm layer trains (before a step is traced): by one operation, where that can
    (models/batch_norm.py).

    Args:
      momentum: decay of the moving statistics in a step.
      synchronized: whether the statistics are those of all devices' images, not of each device's own.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = momentum, synchronized
            batch_norm.fuse(layer)


def decayed_kernels(model: keras.Model) -> list[keras.Variable]:
    """The variables under L2 regularisation: kernels of convolutions and of the classifiers.

    As TF-Slim's regularisers, it leaves out:
      * batch norm;
      * biases, but for those of Inception-ResNet v2;
      * the depthwise kernels of MobileNets;
      * the separable first convolution of BN-Inception.
    """
    def decayed(layer, variable):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return False
        if model.name == "bn_inception" and isinstance(layer, keras.layers.SeparableConv2D):
            return False
        return "kernel" in variable.name or (model.name == "inception_resnet_v2" and variable.name == "bias")

    holders = {id(variable): layer for layer in all_layers(model) for variable in layer.trainable_variables}
    return [variable for variable in model.trainable_variables if decayed(holders[id(variable)], variable)]
