"""Weights files: NAME.weights.h5, a network with its classifier, and NAME.json, its metadata.

The metadata says what the weights are: network, source data set and the accuracy reached there, value range of the
images, whether batch norm has a scale, SHA-256 of the file. Programs take the pair as `--weights=NAME.weights.h5`, or
`--weights=imagenet` for what prepare_models made. A file whose SHA-256 is another is refused. Reading metadata needs no
TensorFlow.
"""

import os
import pathlib
import tempfile

from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.fields import COUNT, FRACTION, GROUP, SWITCH, TEXT, short, wrong
from tfbench.files.paths import Path, Remote, as_path, beside, readable
from tfbench.models.catalog import VALUE_RANGES, Network

ENDING = ".weights.h5"
SCHEMA = 1  # version of the layout of metadata; the first do not say theirs
IMAGENET, CUSTOM = "imagenet", "own"  # values of --weights: those of prepare_models; those that a custom network loads


def metadata_path(path) -> Path:
    """The metadata beside a weights file."""
    text = str(path)
    return beside(text[:-len(ENDING)] + ".json" if text.lower().endswith(ENDING) else text + ".json", ".json")


def imagenet_path(weights_dir, network_name: str) -> Path:
    """The file into which prepare_models puts a network's public ImageNet weights."""
    return as_path(weights_dir).expanduser() / f"{network_name}{ENDING}"


def read_metadata(path, network: Network) -> dict:
    """Checks that `path` holds weights for `network` and returns their metadata.

    Returns:
      {"network", "dataset", "accuracy", "n_test", "sha256", "value_range", "bn_scale", "classes", ...}:
      accuracy is the test accuracy on the source data set in [0, 1], "crop" what of each image was seen there (files
      of before this was noted have none), "image_size" its size where the weights are public.

    Raises:
      UserError: the file or its metadata is missing, damaged or of another network.
    """
    remake = f"`python -m tfbench.pretrain --model={network.name} --dataset=glyphs`"
    if network.weights:
        remake = f"`python -m tfbench.prepare_models --model={network.name}` (public ImageNet weights) or {remake}"
    remake = f"make it with {remake}"
    for file in (as_path(path), metadata_path(path)):
        if not file.is_file():
            raise UserError(f"there is no weights file {file}: {remake}, or correct --weights")
    again = f"move {path} and {metadata_path(path).name} to another folder and {remake}"
    metadata = atomic.read_json(metadata_path(path), cure=again, schema=SCHEMA)
    if fault := _fault_of(metadata, network):
        raise UserError(f"{metadata_path(path)} is no metadata of weights ({fault}): {again}")
    if metadata["network"] != network.name:
        raise UserError(f"{path} holds weights of {metadata['network']}, not of {network.name}: "
                        "correct --weights or --model")
    if network.custom and metadata["spec"]["architecture"] != network.architecture:
        raise UserError(f"{path} holds weights of another architecture of {network.name}, which has changed since: "
                        f"{remake}, or take the function back")
    if metadata["sha256"] != atomic.file_sha256(path):
        raise UserError(f"{path} is not the file its metadata {metadata_path(path)} describes "
                        f"(SHA-256 differs): put that file back, or {again}")
    return metadata


_METADATA = {"network": TEXT, "dataset": TEXT, "accuracy": FRACTION, "n_test": COUNT, "sha256": TEXT,
             "value_range": TEXT, "bn_scale": SWITCH, "classes": COUNT, "spec": GROUP}


def _fault_of(metadata, network: Network) -> str | None:
    """What is wrong with the metadata of weights, in words; None where nothing is. This is the one check of them."""
    if fault := wrong(metadata, _METADATA, required=("network", "dataset", "sha256", "value_range")):
        return fault
    if metadata["value_range"] not in VALUE_RANGES:
        return f"expected value_range as one of {', '.join(VALUE_RANGES)}, found {short(metadata['value_range'])}"
    if absent := [name for name in ("accuracy", "n_test", "bn_scale") if name not in metadata]:
        return f"it lacks {absent[0]}"
    if metadata["accuracy"] is not None and metadata["n_test"] is None:
        return "expected n_test as a positive whole number, found null"
    if network.custom:
        return wrong(metadata.get("spec"), {"architecture": TEXT}, "spec.", ("architecture",))
    return None


def save(model, path, metadata: dict, *, cure: str = atomic.make_writable(), classifier: bool = True) -> None:
    """Atomically writes a network's weights, then their metadata with what the network itself tells.

    Args:
      model: of build_network.
      path: NAME.weights.h5.
      metadata: at least "network", "dataset", "accuracy", "value_range"; "classes", "bn_scale" and "sha256" are added.
      cure: what to do where they cannot be written.
      classifier: whether the model's is one that was trained; otherwise it is left out, and "classes" is None.

    Raises:
      UserError: they cannot be written; its text ends with `cure`.
    """
    path = as_path(path)
    try:
        _save_weights(model, path, cure, classifier)
    except OSError as error:
        raise atomic.cannot_write(path, error, cure) from error
    scales = [layer.scale for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    atomic.write_json(metadata_path(path), {"schema": SCHEMA} | metadata | {
        "classes": model.output["logits"].shape[-1] if classifier else None, "bn_scale": all(scales),
        "sha256": atomic.file_sha256(path)}, cure=cure)


def _save_weights(model, path: Path, cure: str, classifier: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    remote = isinstance(path, Remote)
    with tempfile.TemporaryDirectory(dir=None if remote else path.parent, prefix=".weights-") as folder:
        saved, temporary = (os.path.join(folder, name + ENDING) for name in ("saved", "copied"))
        model.save_weights(saved)
        _copy_weights(saved, temporary, classifier)
        if isinstance(path, Remote):
            atomic.write_atomically(path, pathlib.Path(temporary).read_bytes(), cure=cure)
        else:
            os.replace(temporary, path)


def _copy_weights(source, target, classifier: bool) -> None:
    """Copies the layers that have weights.

    Keras numbers the others' names through a process, and the file's hash must not tell what was built before it.
    """
    import h5py

    with h5py.File(source) as file, h5py.File(target, "w") as copy:
        layers = copy.create_group("layers")
        for name, layer in file["layers"].items():
            is_left_out = not classifier and layer["vars"].attrs.get("name") == "logits"
            if not is_left_out and layer.visititems(lambda _, item: isinstance(item, h5py.Dataset) or None):
                file.copy(layer, layers, name)


def load(model, path, *, classifier: bool) -> None:
    """Assigns a weights file to a network, layer by layer, by name.

    A batch norm's scale starts at 1 if the file has none.

    Args:
      model: of build_network.
      classifier: whether to take the classifier from the file; otherwise it is left as it is. An auxiliary
        one is taken where both have it.

    Raises:
      UserError: anything else does not fit; every layer that does not is named.
    """
    import h5py  # here, so that metadata are read without them, and --help is quick
    import numpy as np

    wrong = []
    with h5py.File(readable(path)) as file:
        stored = {group["vars"].attrs["name"]: [group["vars"][str(number)][()] for number in range(len(group["vars"]))]
                  for group in file["layers"].values()}
    for layer in model.layers:
        variables, values = layer.weights, stored.get(layer.name, [])
        if type(layer).__name__ == "BatchNormalization" and layer.scale and len(values) == len(variables) - 1:
            values = [np.ones_like(values[0]), *values]
        if layer.name == "logits" and not classifier:
            continue
        if [tuple(variable.shape) for variable in variables] == [value.shape for value in values]:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        elif not is_auxiliary(layer.name):
            wrong.append(layer.name)
    known = {layer.name for layer in model.layers}
    wrong += [name for name, values in stored.items() if values and name not in known and not is_auxiliary(name)]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(f"{path} does not fit the network {model.name}: {', '.join(wrong[:5])}{more} differ "
                        "in the file or are not in it. Build the network as its weights were made (batch-norm scale, "
                        "see the metadata)")


def classifier(path):
    """The classifier in a weights file, (kernel [feature_width, classes], bias [classes]) float32; None without one."""
    import h5py

    with h5py.File(readable(path)) as file:
        for layer in file["layers"].values():
            if layer["vars"].attrs.get("name") == "logits":
                return layer["vars"]["0"][()], layer["vars"]["1"][()]
    return None


def is_auxiliary(layer_name: str) -> bool:
    """Whether a layer belongs to the auxiliary classifier."""
    return "aux" in layer_name.lower()
