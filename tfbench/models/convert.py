"""From a checkpoint in the original naming to a network, with strict accounting.

Every variable of the network is assigned exactly once, and every tensor of the checkpoint is used or is
of a kind that is named here as not needed; anything else is refused by name.
"""

import re

import keras
import numpy as np
import tensorflow as tf

from tfbench.errors import UserError
from tfbench.models.build import build_network
from tfbench.models.catalog import Network
from tfbench.models.lookup import get_network
from tfbench.models.original_names import original_names

AVERAGE = "/ExponentialMovingAverage"

# What a training checkpoint holds beside the network: (why it is not needed, pattern of whole names).
NOT_NEEDED = (
    ("optimizer", re.compile(r"(.*/)?(RMSProp(_\d+)?|Momentum|Adam(_\d+)?|Adagrad|Ftrl(_\d+)?|beta[12]_power)")),
    ("step", re.compile(r"(.*/)?(global_step|epoch)")),
    ("auxiliary head", re.compile(r"(.*/)?(AuxLogits|aux_\d+)/.*")),
)


def read_checkpoint(path) -> dict[str, np.ndarray]:
    """All numeric tensors of a TensorFlow checkpoint, V1 (the file) or V2 (its prefix), by name."""
    try:
        reader = tf.train.load_checkpoint(str(path))
        tensors = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no TensorFlow checkpoint that can be read ({str(error).splitlines()[0]}): name "
                        "the file of a V1 checkpoint or the prefix of a V2 one, without .index") from error
    return {name: np.asarray(value) for name, value in tensors.items()
            if isinstance(value, np.ndarray) or np.isscalar(value)}


def build_for(network: str | Network, tensors: dict[str, np.ndarray], *, auxiliary_head: bool = False) -> keras.Model:
    """The network that fits a checkpoint: the checkpoint decides on batch norm's scale and the number of classes.

    Args:
      network: of the catalog, or its name.
      tensors: of read_checkpoint.
      auxiliary_head: whether to convert the auxiliary classifier too.
    """
    network = get_network(network)
    scale = any(tensor.removesuffix(AVERAGE).endswith("/gamma") for tensor in tensors) or network.family == "vgg"
    classes = {value.shape[-1] for tensor, value in tensors.items()
               if re.search(r"(logits|Logits|FC|fc8|classifier)(/[^/]+)?/biases$", tensor) and not is_auxiliary(tensor)}
    if len(classes) != 1:
        raise UserError(f"the checkpoint has {len(classes) or 'no'} classifiers: {network.name}'s has one. Is it one "
                        "of another network?")
    count = classes.pop()
    return build_network(network, bn_scale=scale, num_classes=1000 if count == 1001 else count,
                         auxiliary_head=auxiliary_head)


def assign(model: keras.Model, tensors: dict[str, np.ndarray]) -> dict:
    """Assigns a checkpoint in the original naming to a network, strictly.

    Exponential moving averages of the variables win where the checkpoint has them. A classifier of 1,001
    classes loses the first, the background; one that is a 1×1 convolution becomes a matrix.

    Args:
      model: of build_network.
      tensors: of read_checkpoint; nothing else may be in it than what NOT_NEEDED names.

    Returns:
      For the metadata: {"tensors_used", "averaged", "not_needed": {why: count}}.

    Raises:
      UserError: naming every tensor that is missing, left over or of another shape.
    """
    wanted = original_names(get_network(model.name), model)
    names = [name for name, _ in wanted]
    assert len(set(names)) == len(names), "two variables bear one original name"
    missing = [name for name in names if name not in tensors and name + AVERAGE not in tensors]
    misshapen, values, used = [], [], set()
    for name, variable in wanted:
        source = name + AVERAGE if name + AVERAGE in tensors else name
        if source in tensors:
            value = _fitted(tensors[source], tuple(variable.shape))
            used.add(source)
            values.append((variable, value))
            if value is None:
                misshapen.append(f"{source} {list(tensors[source].shape)} for {list(variable.shape)}")
    not_needed: dict[str, int] = {}
    extra = []
    for name in sorted(set(tensors) - used):
        why = "raw value of an average" if name + AVERAGE in used else _why_not_needed(name.removesuffix(AVERAGE))
        if why:
            not_needed[why] = not_needed.get(why, 0) + 1
        else:
            extra.append(name)
    problems = [f"{title}: {_first_of(names)}" for title, names in (
        ("missing", missing), ("left over", extra), ("of another shape", misshapen)) if names]
    if problems:
        raise UserError(f"the checkpoint is not {model.name}'s – {'; '.join(problems)}. Take the checkpoint that "
                        "prepare_models fetches, or one of the same network")
    for variable, value in values:
        variable.assign(value)
    return {"tensors_used": len(used), "averaged": sum(name.endswith(AVERAGE) for name in used),
            "not_needed": not_needed}


def is_auxiliary(name: str) -> bool:
    """Whether an original name is of an auxiliary classifier."""
    return re.search(r"(^|/)(AuxLogits|aux_\d+)/", name) is not None


def _first_of(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _why_not_needed(name: str) -> str | None:
    return next((why for why, pattern in NOT_NEEDED if pattern.fullmatch(name)), None)


def _fitted(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """`value` in `shape`: as it is, without the unit sides of a 1×1 convolution, without background; else None."""
    if value.ndim == 4 and len(shape) == 2 and value.shape[:2] == (1, 1):
        value = value[0, 0]
    if shape and value.shape == (*shape[:-1], 1001) and shape[-1] == 1000:
        value = value[..., 1:]
    return value if value.shape == shape else None
