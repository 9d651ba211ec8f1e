"""From a checkpoint in the original naming to a network, with strict accounting.

Every variable of the network is assigned exactly once, and every tensor of the checkpoint is used or is
of a kind that is named here as not needed; anything else is refused by name.
"""

import dataclasses
import re

import keras
import numpy as np

from tfbench.errors import UserError
from tfbench.models import checkpoints
from tfbench.models.build import build_network
from tfbench.models.catalog import Network
from tfbench.models.families import builder_of, untouched
from tfbench.models.lookup import get_network, list_networks
from tfbench.models.original_names import original_names

AVERAGE = "/ExponentialMovingAverage"

# What a training checkpoint holds beside the network: (why it is not needed, pattern of whole names).
NOT_NEEDED = (
    ("optimizer", re.compile(r"(.*/)?((RMSProp|Momentum|Adam|Adagrad|Adadelta|AdaMax|Ftrl|LARS|LAMB)(_\d+)?|"
                             r"beta[12]_power|\.OPTIMIZER_SLOT/.*)")),
    ("step", re.compile(r"(.*/)?(global_step|epoch|save_counter.*)")),
    ("state of an average", re.compile(r"(.*/)?(biased|local_step)")),
    ("auxiliary head", re.compile(r"(.*/)?(AuxLogits|aux_\d+)/.*")),
)


@dataclasses.dataclass(frozen=True)
class Taken:
    """A checkpoint taken for a network's.

    Attributes:
      tensors: by original name, without the scope that others stand in.
      classes: width of the classifier, the background class included; None without a classifier.
      words: what was taken for what, in sentences.
      elsewhere: number of tensors outside of the scope.
    """

    tensors: dict[str, np.ndarray]
    classes: int | None
    words: tuple[str, ...] = ()
    elsewhere: int = 0


def take(network: str | Network, tensors: dict[str, np.ndarray]) -> Taken:
    """Takes the tensors of a checkpoint for a network's: which scope they stand in, and how many classes it has.

    Args:
      network: of the catalog, or its name.
      tensors: by name (checkpoints.read).

    Raises:
      UserError: they are another network's; its text names which.
    """
    network = get_network(network)
    classifier = _classifier(network)
    scope = _scope(classifier, tensors)
    inside = {name.removeprefix(scope): value for name, value in tensors.items() if name.startswith(scope)}
    words = [f"the scope {scope} is left off"] if scope else []
    weights = inside.get(classifier, inside.get(classifier + AVERAGE))
    if weights is None or np.ndim(weights) < 2 or weights.shape[-2] != network.feature_width:
        _refuse_another(network, tensors)
    if weights is None:
        words.append("no classifier in it: the file will have features only")
        return Taken(inside, None, tuple(words), len(tensors) - len(inside))
    classes = weights.shape[-1]
    words.append(f"{classes:,} classes" + (", the first (background) is left off" if classes == 1001 else ""))
    return Taken(inside, classes, tuple(words), len(tensors) - len(inside))


def _classifier(network: Network) -> str:
    """Original name of the classifier's weights; "" for an untouched network."""
    builder = builder_of(network)
    return "classifier/weights" if builder is untouched else f"{builder.original_scope(network, 'logits')}/weights"


def _scope(classifier: str, tensors: dict[str, np.ndarray]) -> str:
    """What all names of the network begin with beside its own scope, such as "module/"; "" for nothing."""
    sought = [classifier, classifier + AVERAGE]
    top = classifier.split("/")[0] + "/"
    if any(name in tensors for name in sought):
        return ""
    scopes = {name[:-len(one)] for name in tensors for one in sought if name.endswith("/" + one)}
    if not scopes and not any(name.startswith(top) for name in tensors):  # without a classifier: by the top scope
        scopes = {match[1] for name in tensors if (match := re.match(rf"(.+?/){re.escape(top)}", name))
                  and name.rpartition("/")[2] in checkpoints.KINDS}
    if len(scopes) > 1:
        raise UserError(f"the checkpoint has the network in {len(scopes)} scopes, {_first_of(sorted(scopes), 5)}: save "
                        "one of them alone, with tf.compat.v1.train.Saver({name: variable, …})")
    return scopes.pop() if scopes else ""


def _refuse_another(network: Network, tensors: dict[str, np.ndarray]) -> None:
    """Raises UserError if the tensors are those of another network, by the names and widths of the classifiers."""
    width = ""
    for other in list_networks():
        classifier = _classifier(other) if other.has_original else ""
        for name, value in tensors.items():
            plain = name.removesuffix(AVERAGE)
            if not classifier or np.ndim(value) < 2 or not f"/{plain}".endswith(f"/{classifier}"):
                continue
            if value.shape[-2] == other.feature_width and other.name != network.name:
                raise UserError(f"the checkpoint is {other.name}'s, not {network.name}'s ({plain} "
                                f"{list(value.shape)}): take --model={other.name}")
            if value.shape[-2] != other.feature_width and other.name == network.name:
                width = f"{plain} has {value.shape[-2]:,} features, {network.name}'s {network.feature_width:,}"
    if width:
        raise UserError(f"the checkpoint is no network's of the catalog: {width}. It may be of another width or depth; "
                        "a custom network (MODULE:FUNCTION) can load it")
    top = _classifier(network).split("/")[0]
    if not any(re.search(rf"(^|/){re.escape(top)}/", name) for name in tensors) and "final_layer" not in top:
        scopes = list(dict.fromkeys(name.split("/")[0] for name in tensors))
        parts = {part for name in tensors for part in name.split("/")}
        others = [other.name for other in list_networks() if other.has_original
                  and _classifier(other).split("/")[0] in parts]
        fits = f": take --model={others[0]}" if others else (
            ": none of the catalog's networks is called so. A custom network (MODULE:FUNCTION) can load it")
        raise UserError(f"the checkpoint is not {network.name}'s, whose names begin with {top}/; it has no classifier "
                        f"of it, and {len(tensors)} tensors in {_first_of(scopes, 5) or 'nothing'}{fits}")


def build_for(network: str | Network, tensors: dict[str, np.ndarray], *, auxiliary_head: bool = False) -> keras.Model:
    """The network that fits a checkpoint: the checkpoint decides on batch norm's scale and the number of classes.

    Args:
      network: of the catalog, or its name.
      tensors: of Taken, by original name. Without a classifier the network's has one class.
      auxiliary_head: whether to convert the auxiliary classifier too.

    Raises:
      UserError: the tensors are another network's.
    """
    network = get_network(network)
    classes = take(network, tensors).classes
    scale = any(tensor.removesuffix(AVERAGE).endswith("/gamma") for tensor in tensors) or network.family == "vgg"
    return build_network(network, bn_scale=scale, num_classes=1000 if classes == 1001 else classes or 1,
                         auxiliary_head=auxiliary_head)


def assign(model: keras.Model, tensors: dict[str, np.ndarray]) -> dict:
    """Assigns a checkpoint in the original naming to a network, strictly.

    Exponential moving averages of the variables win where the checkpoint has them. A classifier of 1,001
    classes loses the first, the background; one that is a 1×1 convolution becomes a matrix.

    Args:
      model: of build_network.
      tensors: of Taken; beside the network's own there may be what NOT_NEEDED names, what is kept beside a weight
        (names below its own) and single numbers. Without the classifier's, it is left as it is.

    Returns:
      For the metadata: {"tensors_used", "averaged", "not_needed": {why: count}}.

    Raises:
      UserError: naming every tensor that is missing, left over, of another shape or type, or not finite.
    """
    wanted, head = original_names(get_network(model.name), model), _classifier(get_network(model.name))
    head = head.rpartition("/")[0] + "/"
    if not any(name.startswith(head) for name in tensors):
        wanted = [(name, variable) for name, variable in wanted if not name.startswith(head)]
    names = [name for name, _ in wanted]
    assert len(set(names)) == len(names), "two variables bear one original name"
    missing = [name for name in names if name not in tensors and name + AVERAGE not in tensors]
    misshapen, infinite, values, used = [], [], [], set()
    for name, variable in wanted:
        source = name + AVERAGE if name + AVERAGE in tensors else name
        if source in tensors:
            value = _fitted(tensors[source], tuple(variable.shape))
            used.add(source)
            values.append((variable, value))
            if value is None:
                given = tensors[source]
                misshapen.append(f"{source} {list(given.shape)} {given.dtype} for {list(variable.shape)}")
            elif not np.isfinite(value).all():
                infinite.append(source)
    not_needed: dict[str, int] = {}
    extra = []
    for name in sorted(set(tensors) - used):
        plain = name.removesuffix(AVERAGE)
        why = "raw value of an average" if name + AVERAGE in used else _why_not_needed(plain)
        if not why and np.ndim(tensors[name]) == 0:
            why = "single number"
        if not why and any(name.startswith(f"{weight}/") for weight in names):
            why = "kept beside a weight"
        if why:
            not_needed[why] = not_needed.get(why, 0) + 1
        else:
            extra.append(name)
    problems = [f"{title}: {_first_of(names)}" for title, names in (
        ("missing", missing), ("left over", extra), ("of another shape or type", misshapen),
        ("not finite", infinite)) if names]
    if problems:
        what = "has values that are not finite" if infinite and len(problems) == 1 else f"is not {model.name}'s"
        raise UserError(f"the checkpoint {what} – {'; '.join(problems)}. Take the checkpoint that prepare_models "
                        "fetches, or one of the same network")
    for variable, value in values:
        variable.assign(value)
    return {"tensors_used": len(used), "averaged": sum(name.endswith(AVERAGE) for name in used),
            "not_needed": not_needed}


def which_values(account: dict) -> str:
    """Whether averages or raw values were taken, in words; `account` as of assign."""
    averages = account["averaged"]
    if averages == account["tensors_used"]:
        return "moving averages are taken, not raw values"
    return f"moving averages are taken of {averages} tensors, raw values of the others" if averages else (
        "raw values are taken, there are no moving averages")


def is_auxiliary(name: str) -> bool:
    """Whether an original name is of an auxiliary classifier."""
    return re.search(r"(^|/)(AuxLogits|aux_\d+)/", name) is not None


def _first_of(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _why_not_needed(name: str) -> str | None:
    return next((why for why, pattern in NOT_NEEDED if pattern.fullmatch(name)), None)


def _fitted(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """`value` in `shape`, float32: without the unit sides of a 1×1 convolution, without background; else None."""
    if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
        return None
    value = value.astype(np.float32)
    if value.ndim == 4 and len(shape) == 2 and value.shape[:2] == (1, 1):
        value = value[0, 0]
    if shape and value.shape == (*shape[:-1], 1001) and shape[-1] == 1000:
        value = value[..., 1:]
    return value if value.shape == shape else None
