"""The builders of networks, layer by layer; a network's row of the catalog names its builder.

A builder is a module with three functions:

    body(network, size, options)          (images, features, auxiliary logits or None), Keras tensors
    classifier_initializer(network)       the initialiser of the classifier in the original definition
    original_scope(network, layer_name)   the scope of a layer's variables in the original checkpoint

where `network` is a row of the catalog, `size` the side of the images in pixels and `options` layers.BuildOptions.
"""

import importlib


def builder_of(network):
    """The module that builds a network."""
    return importlib.import_module(f"tfbench.models.families.{network.builder}")
