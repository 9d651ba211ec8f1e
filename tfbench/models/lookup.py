"""The row behind a name that --model takes: of the catalog, or of a function of the user's own.

    resnet_50          a row of NETWORKS
    MODULE:FUNCTION    a function that returns a Keras model (BUILD.md, "Your own network")

This module imports no TensorFlow; the module of a function of the user's own does.
"""

from tfbench.errors import UserError
from tfbench.models import weights as weights_files
from tfbench.models.catalog import NETWORKS, Network
from tfbench.models.weights import CUSTOM


def is_custom(name: str) -> bool:
    """Whether a network's name is that of a function of the user's own."""
    return ":" in name


def get_network(name: str) -> Network:
    """The row of a network.

    Raises:
      UserError: a function of the user's own is not there, or what it returns is no network (models/custom.py).
    """
    if not is_custom(name):
        return NETWORKS[name]
    from tfbench.models import custom  # Keras

    return custom.row_of(name)


def check_image_size(row: Network, image_size: int) -> None:
    """Raises UserError unless the network can be built for images of `image_size` pixels a side."""
    if row.custom:
        from tfbench.models import custom

        custom.check_size(row, image_size)
    elif image_size < row.minimum_size:
        raise UserError(f"{row.name} needs images of at least {row.minimum_size} pixels a side, not "
                        f"{image_size}: raise --image_size")


def weights_metadata(row: Network, weights: str) -> dict:
    """The metadata of pretrained weights: of a file (weights.read_metadata), or of those that a function loads.

    Args:
      weights: NAME.weights.h5, or "own".

    Raises:
      UserError: the file is missing, damaged or of another network; or the network has no weights of its own.
    """
    if weights != CUSTOM:
        return weights_files.read_metadata(weights, row)
    if not row.custom:
        raise UserError(f"--weights={CUSTOM} means those that a network of your own loads; {row.name} is the catalog's: "
                        "take --weights=imagenet or a file")
    from tfbench.models import custom

    return custom.metadata(row)
