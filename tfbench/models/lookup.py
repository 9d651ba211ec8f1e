"""The network behind a name that --model takes: of the catalog, or custom.

    resnet_50          a row of NETWORKS
    MODULE:FUNCTION    a function that returns a Keras model (docs/manual.md, "Use a custom network")
    PATH.keras         a model that Keras saved; also PATH.h5

This module imports no TensorFlow; the module of a custom network does.
"""

from tfbench.errors import UserError
from tfbench.models import weights as weights_files
from tfbench.models.catalog import NETWORKS, SWITCHES, Network
from tfbench.models.public_weights import PublicWeights
from tfbench.models.weights import CUSTOM
from tfbench.wording import unknown

MODEL_FILES = (".keras", ".h5", ".hdf5")  # endings of models that Keras saved


def is_custom(name: str) -> bool:
    """Whether a name is that of a custom network."""
    return ":" in name or is_model_file(name)


def is_model_file(name: str) -> bool:
    """Whether a custom network's name is that of a file."""
    return name.lower().endswith(MODEL_FILES)


def list_networks() -> list[Network]:
    """The networks of the catalog, in its order."""
    return list(NETWORKS.values())


def get_network(network: str | Network) -> Network:
    """The facts of a network by its name; a Network is returned as it is.

    Raises:
      UserError: there is no such network, or a custom one is not what it should be (models/custom.py).
    """
    if isinstance(network, Network):
        return network
    if is_custom(network):
        from tfbench.models import custom  # Keras

        return custom.network_of(network)
    if network not in NETWORKS:
        raise UserError(unknown("network", network, NETWORKS))
    return NETWORKS[network]


def check_image_size(network: Network, image_size: int) -> None:
    """Raises UserError unless the network can be built for images of `image_size` pixels a side."""
    if network.custom:
        from tfbench.models import custom

        custom.check_size(network, image_size)
    elif image_size < network.minimum_size and not network.fixed_size:
        raise UserError(f"{network.name} needs images of at least {network.minimum_size} pixels a side, not "
                        f"{image_size}: raise --image_size")
    elif network.fixed_size and image_size != network.image_size:
        raise UserError(f"{network.name} takes images of {network.image_size} pixels a side only, as its first dense "
                        f"layer does, not {image_size}: leave out --image_size, or take "
                        f"{network.name.removeprefix('keras_')}")


def check_switches(network: Network, **switches: bool) -> None:
    """Raises UserError where one is on, by its name of catalog.SWITCHES, that the network's definition lacks."""
    for name, on in switches.items():
        if on and name not in network.switches:
            other = next(known for known, other in NETWORKS.items() if name in other.switches)
            raise UserError(f"the definition of {network.name} has no {SWITCHES[name]}: leave out --{name}, or take a "
                            f"network that has, e.g. {other}")


def weights_metadata(network: Network, weights: str) -> dict:
    """The metadata of pretrained weights: of a file (weights.read_metadata), or of those that a custom network loads.

    Args:
      weights: NAME.weights.h5, or "own".

    Raises:
      UserError: the file is missing, damaged or of another network; or the network loads no weights.
    """
    if weights != CUSTOM:
        return weights_files.read_metadata(weights, network)
    if not network.custom:
        raise UserError(f"--weights={CUSTOM} means those that a custom network loads; {network.name} is the catalog's: "
                        "take --weights=imagenet or a file")
    from tfbench.models import custom

    return custom.metadata(network)


def public_weights(network: Network, source: str | None = None) -> PublicWeights:
    """The public ImageNet weights of a network.

    Args:
      source: "slim" or "keras"; None: TF-Slim's where there are some, else Keras's.

    Raises:
      UserError: there are none; its text names those that exist.
    """
    for weights in network.weights:
        if source in (None, weights.source):
            return weights
    if network.weights:
        sources = ", ".join(weights.source for weights in network.weights)
        raise UserError(f"{network.name} has no public weights from {source!r}, only from {sources}: choose another "
                        "--weights_source, or leave it out")
    raise UserError(f"{network.name} has no public weights: pretrain it with `python -m tfbench.pretrain "
                    f"--model={network.name} --dataset=glyphs`, or take a network that has, e.g. mobilenet_v1")


def download_bytes(network: Network, weights: PublicWeights) -> int:
    """Bytes of a public file; about, by the network's parameters, where its size is not known."""
    return weights.size or 4 * (network.parameters + weights.classes * network.feature_width)
