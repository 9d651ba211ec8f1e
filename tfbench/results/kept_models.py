"""Trained networks that are kept: RESULTS_DIR/models/NAME.weights.h5 and NAME.json, NAME that of the run's record.

The weights file holds network and classifier and can be taken as any other (models/weights.py). Its metadata says
besides how an image becomes what the network takes, what the classes are called, and what the run was.
"""

from collections.abc import Mapping
from typing import Any

from tfbench.config import name_of
from tfbench.data.catalog import VOC_MAP
from tfbench.errors import UserError
from tfbench.files import atomic
from tfbench.files.fields import COUNT, GROUP, SWITCH, TEXT, wrong
from tfbench.files.paths import Path, as_path, beside
from tfbench.inputs import RunInputs
from tfbench.models import weights
from tfbench.models.catalog import CUSTOM_FEATURES, Network
from tfbench.models.lookup import get_network
from tfbench.results import record as records
from tfbench.results import store
from tfbench.results.store import CURE

METADATA = {"regime": TEXT, "key": TEXT, "image_size": COUNT, "resize": TEXT, "test_crop": TEXT, "precision": TEXT,
            "multi_label": SWITCH, "data": GROUP}  # beside models.weights' own
RESIZES, CROPS = ("bilinear", "bicubic"), ("whole", "central")


def path_of(results_dir, spec: dict) -> Path:
    """Where the model of the run that `spec` describes lies, if it was kept."""
    return as_path(results_dir) / "models" / f"{name_of(spec)}{weights.ENDING}"


def is_kept(results_dir, spec: dict) -> bool:
    """Whether it was."""
    path = path_of(results_dir, spec)
    return path.exists() and weights.metadata_path(path).exists()


def find_run(results_dir, run: str) -> records.Record:
    """store.find_run, where "latest" is the last run that kept its network, if any did."""
    return store.find_run(results_dir, run, lambda record: is_kept(results_dir, record.spec))


def save(model, inputs: RunInputs, record: records.Record, accuracy: float, *, resize: str, test_crop: str) -> Path:
    """Keeps a trained network.

    Args:
      model: of models.build.build_network, with the weights that were tested.
      record: of the run. accuracy: of these weights on the test split, in [0, 1].
      resize, test_crop: how test images were read, of RESIZES and CROPS.

    Returns:
      The path of the weights file.

    Raises:
      UserError: it cannot be written.
    """
    path, dataset = path_of(inputs.config.results_dir, record.spec), inputs.data.dataset
    metadata = {
        "network": record.network, "dataset": dataset.name, "metric": dataset.metric, "accuracy": accuracy,
        "n_test": record.n_test, "value_range": inputs.spec["value_range"], "spec": record.spec,
        "regime": record.regime, "key": record.key, "image_size": inputs.spec["image_size"], "resize": resize,
        "test_crop": test_crop, "precision": inputs.config.precision, "multi_label": dataset.multi_label,
        "class_names": list(inputs.data.class_names), "data": {
            "title": dataset.title, "splits": inputs.data.manifest["splits"],
            "crop_bottom_rows": dataset.banner if dataset.crop_banner else 0},
        "selected": record.selected, "deviations": list(record.deviations or ()), "source": record.source,
        "versions": records.versions()}
    atomic.patiently(lambda: weights.save(model, path, metadata, cure=CURE))
    return path


def read(record: Mapping[str, Any]) -> tuple[Path, Network, dict]:
    """The kept model of a record that store.find_run gave.

    Returns:
      (its weights file, its network, its metadata).

    Raises:
      UserError: it was not kept, with the command that makes it; it is damaged; or its custom network is not as it was.
    """
    of_record = as_path(record["path"])
    earlier = record["metric"] == VOC_MAP and ":" in record["dataset"]  # from when it was own data's only one
    asked = f" --metric={VOC_MAP}" if earlier else ""
    again = (f"`python -m tfbench.{record['regime']} --flagfile={beside(of_record, '.flags')}{asked} --keep_model`, in "
             "the folder that the run was started in")
    results_dir = of_record.parent.parent
    if not is_kept(results_dir, record["spec"]):
        if record["network"] != CUSTOM_FEATURES:
            raise UserError(f"the trained network of {of_record} was not kept: {again} trains it once more at the "
                            "chosen hyperparameters, without the search, and keeps it")
        raise UserError(f"{of_record} is of features in a file: there is no network to take")
    path = path_of(results_dir, record["spec"])
    network = get_network(record["network"])
    metadata = weights.read_metadata(path, network)
    again = f"move it to another folder and make it again with {again}"
    fault = wrong(metadata, METADATA, required=METADATA)
    names = metadata.get("class_names")
    if not fault and not (isinstance(names, list) and len(names) == metadata["classes"]):
        fault = f"expected class_names, {metadata['classes']} of them"
    if not fault and (metadata["resize"] not in RESIZES or metadata["test_crop"] not in CROPS):
        fault = f"expected resize among {RESIZES} and test_crop among {CROPS}"
    if fault:
        raise UserError(f"{weights.metadata_path(path)} is no metadata of a kept model ({fault}): {again}")
    if metadata["key"] != record["key"]:
        raise UserError(f"{path} is of the run {metadata['key']}, not of {record['key']}: {again}")
    return path, network, metadata
