"""What a row holds, and the facts about the machine and the deviations that go into it.

A row is a JSON object:

    schema            version of this layout
    key               hash of `spec` (results/store.py)
    regime, network, dataset, metric
    accuracy          on the test split, fraction in [0, 1]
    n_test            test examples, each counted once
    validation_accuracy, selected, trials
                      how the hyperparameters were chosen; trials have their own accuracy and seconds. Where the whole
                      network is trained: test_crop, the part of the image that is seen, "whole" or "central" (87.5 %
                      of its sides), each trial's accuracy at both in "validation", "diverged" (it counts as the
                      worst), "images_per_second", "input_wait" (share of the time in [0, 1]), "replicas" and "steps"
    search            where the whole network is trained: {"kind": "grid" or "halving", "steps", "grid_steps"}, the
                      steps of all trials, and those of every point trained in full
    refit             the last fit, on training + validation. Logistic regression (trials have these too): {"objective",
                      "gap", "certified", "iterations", "seconds"}, where gap bounds how far the objective lies above
                      its minimum, and certified says whether that is little enough (linear/logistic.py). Otherwise
                      {"finite", "seconds", "images_per_second", "input_wait", "images"} (training/trial.py)
    features          logistic regression only: {"folder", "precision", "relative_error"} of the cached features, the
                      error being that of less precision, null in float32
    distribution      where the whole network is trained: {"strategy", "replicas", "hosts", "images_per_replica"}; batch
                      norm averages over the images of one replica, or of all with spec's sync_batch_norm
    source            data set, accuracy and weights' hash of the pretrained network; null without
    own_network       of a network of the user's own only: {"architecture", "parameters", "multiply_adds", "image_size",
                      "feature_width"}, as in models/catalog.py
    test_split        {"n", "expected", "sha256"}: hash of the sorted keys of the test examples; "expected" is
                      the number that the paper's data set has, null for a set of the user's own
    verification      {level: "PASS", "FAIL" or "UNKNOWN"} of the data set (data/verify.py)
    spec              everything that determines the outcome
    deviations        where the run departs from the paper, in words
    warnings          what to mind, e.g. the best value on the edge of its grid
    versions, hardware, seconds, finished
    host              name of the machine that wrote it and did its refit; trials of a search have their own
"""

import datetime
import importlib.metadata
import os
import platform
import socket
import statistics

import numpy as np

from tfbench import paper
from tfbench.data import verify
from tfbench.data.catalog import DATASETS, Dataset
from tfbench.models.catalog import CUSTOM_FEATURES, NETWORKS, Network
from tfbench.models.lookup import get_network, is_custom
from tfbench.regimes import REGIMES
from tfbench.results import store
from tfbench.version import __version__

SCHEMA = 6

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "tf-models-official", "numpy", "scikit-learn")

READING = "JPEG by the accurate integer transform, resized as TensorFlow 1 did"  # data/pipeline.py

IMAGENET = ("imagenet", "imagenet2012")  # as a source: the public weights, or ImageNet as pretrained on here


def _search(run: dict, regime: str | None = None) -> paper.Search | None:
    """The paper's search of a regime that trains the whole network; None for other runs, or another than `regime`."""
    return (REGIMES[run["regime"]].search if run["regime"] in REGIMES else None) if regime in (None, run["regime"]) else None


def _recipe(run: dict) -> bool:
    """Whether a pretraining departs from the paper's recipe for ImageNet, its four switches left aside."""
    switches = ("bn_scale", "label_smoothing", "dropout", "auxiliary_head")
    return run["regime"] == "pretrain" and any(
        run.get(name) != value for name, value in paper.PRETRAINING.items() if name not in switches)


# Figures: benchmark --what=search on the study of flags/halving.flags.
HALVING = ("hyperparameters searched by successive halving (Optuna) instead of training every point of the grid in "
           "full; in six searches of the miniature it took 32 % of the steps, chose the grid's point once and lost 1.4 "
           "points on validation and 0.3 on test on average")

# (applies?, what deviates); quoted in every row and in the report. `run` is the specification with the
# catalog's "embedded" and "own_size" added, and "own" for a data set of the user's.
DEVIATIONS = (
    (lambda run: run["embedded"], "embedded data set instead of one of the paper's twelve"),
    (lambda run: run["own"], "the user's own data set instead of one of the paper's twelve"),
    (lambda run: is_custom(run["network"]), "the user's own network instead of one of the paper's"),
    (lambda run: run.get("precision") == "bfloat16", "features computed in bfloat16"),
    (lambda run: run.get("precision") in ("mixed_bfloat16", "mixed_float16"), "trained in mixed precision"),
    (lambda run: run["data"].get("difficult") in ("negative", "positive"),
     "objects that VOC calls difficult count as present or absent (the official scoring ignores them)"),
    (lambda run: run["source_dataset"] not in (None, *IMAGENET),
     "network pretrained on a small source set instead of ImageNet"),
    (lambda run: run["source_dataset"] == "imagenet" and not is_custom(run["network"]),
     "public ImageNet weights (the paper trained all networks anew, with batch-norm scale, without label smoothing, "
     "dropout and auxiliary head)"),
    (lambda run: run["image_size"] != run["own_size"], "image size differs from the network's ImageNet size"),
    (lambda run: _search(run, "finetune") and run["steps"] != paper.FINE_TUNING.steps,
     f"other than {paper.FINE_TUNING.steps:,} steps"),
    (lambda run: _search(run, "train_from_scratch") and run["steps"] != paper.FROM_SCRATCH.steps,
     f"other than {paper.FROM_SCRATCH.steps:,} steps"),
    (lambda run: _search(run) and run["batch_size"] != paper.BATCH_SIZE, f"batch size other than {paper.BATCH_SIZE}"),
    (lambda run: _search(run) and (run["learning_rate"], run["weight_decay"]) != tuple(map(list, _search(run)[1:])),
     "other than the paper's grid of 7 learning rates by 8 weight decays"),
    (lambda run: run.get("search") == "halving", HALVING),
    (lambda run: run.get("min_crop_area", paper.MIN_CROP_AREA) != paper.MIN_CROP_AREA,
     "random crops of other than 8 to 100 % of the image"),
    (lambda run: run.get("accumulate", 1) > 1,
     "gradients of micro-batches are added: batch norm sees fewer images at once"),
    (lambda run: run.get("examples_per_class") and _search(run),
     "few examples: the hyperparameters are chosen on the whole validation split (the paper does not say)"),
    (lambda run: run["regime"] == "logistic_regression" and run["l2"] != list(paper.L2_STRENGTHS),
     "other than the paper's grid of 45 strengths of L2 regularisation"),
    (_recipe, "pretraining other than by the paper's recipe for ImageNet: batches of 4,096, 300 epochs, learning rate "
     "1.6 after 10 epochs of warm-up, × 0.975 per epoch, weight decay 8e-5, weights averaged with 0.9999"),
)


def make_spec(options, regime: str, *, dataset: Dataset, manifest: dict, metadata: dict | None, **more) -> dict:
    """What determines a run's outcome.

    Args:
      options: flag values of the program.
      dataset: its row, with its options of reading.
      manifest: of the prepared data set (data/prepare.py).
      metadata: of the pretrained weights (models/weights.py), or None for random ones.
      more: what only this regime has, e.g. its grid.
    """
    network = get_network(options.model)
    metadata = metadata or {"dataset": None, "sha256": None, "bn_scale": options.bn_scale,
                                  "value_range": network.value_range}
    own = {"architecture": network.architecture} if network.custom else {}
    return {
        "schema": SCHEMA, "regime": regime, "network": options.model, "dataset": dataset.name,
        "data": {split: manifest["splits"][split]["sha256"] for split in ("train", "validation", "test")} | {
            "content": manifest["content"], "verification": verify.fingerprint(manifest["verification"]),
            "split_seed": dataset.split_seed, "reading": READING}
        | ({"difficult": dataset.difficult} if dataset.multi_label else {})
        | ({"crop_banner": dataset.crop_banner} if dataset.banner else {}),
        "source_dataset": metadata["dataset"], "weights_sha256": metadata["sha256"],
        "bn_scale": None if own else metadata["bn_scale"], "value_range": metadata["value_range"],
        "image_size": options.image_size or network.image_size,
        "batch_size": options.batch_size, "seed": options.seed, "deterministic": options.deterministic,
        "devices": options.devices, **own, **more}


def make_features_spec(dataset: Dataset, manifest: dict, **more) -> dict:
    """make_spec for logistic regression on features of the user's own (linear/feature_file.py)."""
    return {
        "schema": SCHEMA, "regime": "logistic_regression", "network": CUSTOM_FEATURES, "dataset": dataset.name,
        "data": {split: part["sha256"] for split, part in manifest["splits"].items()} | {
            "content": manifest["content"]},
        "source_dataset": None, "weights_sha256": None, "image_size": None, "precision": None, **more}


def search_spec(options, regime: str, search: dict, **arguments) -> dict:
    """make_spec for a regime that searches a grid by training the whole network (cli.flags.search_of)."""
    return make_spec(options, regime, **search, **step_spec(options), **subset_spec(options), **arguments)


def step_spec(options) -> dict:
    """What of define_step_flags determines the outcome; which devices computed is a row's `distribution`."""
    return {name: options[name].value for name in ("sync_batch_norm", "precision", "jit_compile", "accumulate",
                                                   "min_crop_area")}


def subset_spec(options) -> dict:
    """Which examples of the training split a run trains on, as one of cli.flags.single_runs says."""
    if not options.examples_per_class:
        return {"examples_per_class": None, "subset_seed": None}
    (number,), (seed,) = options.examples_per_class, options.subset_seeds
    return {"examples_per_class": number, "subset_seed": seed}


def source_of(metadata: dict) -> dict:
    """The `source` field of a row: where the pretrained weights come from and how good they were."""
    return {name: metadata[name] for name in ("dataset", "accuracy", "n_test")} | {
        "weights_sha256": metadata["sha256"]}


def make_record(spec: dict, dataset: Dataset, manifest: dict, *, accuracy: float, test_split: dict, seconds: float,
             validation_accuracy: float | None = None, selected: dict | None = None, trials=(), source=None,
             warnings=(), **more) -> dict:
    """A row as the module's docstring lays it out; `more` is added as it is."""
    expected = None if dataset.custom else dataset.test
    return {
        "schema": SCHEMA, "key": store.key_of(spec), "regime": spec["regime"], "network": spec["network"],
        "dataset": spec["dataset"], "metric": dataset.metric, "accuracy": accuracy, "n_test": test_split["n"],
        "validation_accuracy": validation_accuracy, "selected": selected or {}, "trials": list(trials),
        "source": source, "test_split": {name: test_split[name] for name in ("n", "sha256")} | {"expected": expected},
        "verification": verify.results(manifest["verification"]), "spec": spec,
        "deviations": deviations(spec), "warnings": list(warnings),
        "versions": versions(), "hardware": hardware(), "host": socket.gethostname(), "seconds": round(seconds, 2),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **({"own_network": _facts(get_network(spec["network"]))} if is_custom(spec["network"]) else {}), **more}


def _facts(network: Network) -> dict:
    """What the analysis, which builds none, is to know of a network of the user's own."""
    return {name: getattr(network, name) for name in ("architecture", "parameters", "multiply_adds", "image_size",
                                                      "feature_width")}


def deviations(spec: dict) -> list[str]:
    """Where the run departs from the paper."""
    dataset = DATASETS.get(spec["dataset"])
    run = spec | {"embedded": bool(dataset and dataset.embedded), "own": dataset is None,
                  "own_size": get_network(spec["network"]).image_size if spec["network"] in NETWORKS or is_custom(
                      spec["network"]) else None}
    return [text for applies, text in DEVIATIONS if applies(run)]


def test_predictions(scores, test) -> dict[str, np.ndarray]:
    """What is kept of every test example: key, label and predicted class, or all scores if multi-label.

    Args:
      scores: float [n, classes].
      test: the Examples scored.
    """
    kept = {"keys": np.array(test.keys), "labels": test.labels}
    if test.labels.ndim == 2:
        return kept | {"scores": scores.astype(np.float32)}
    return kept | {"predictions": scores.argmax(axis=1).astype(np.int32)}


def summary(row: dict) -> str:
    """One line on a row for the terminal."""
    chosen = ", ".join(f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, 'g')}"
                       for name, value in row["selected"].items())
    expected = row["test_split"].get("expected")
    number = f"{row['n_test']:,}" + (f" of {expected:,}" if expected not in (None, row["n_test"]) else "")
    spec, search = row["spec"], _search(row["spec"])
    variant = f" {spec['steps']:,} steps" if search and spec["steps"] != search.steps else ""
    if spec.get("examples_per_class"):
        variant += f" {spec['examples_per_class']} per class, subset {spec['subset_seed']}"
    return (f"{row['regime']} {row['network']} {row['dataset']}{variant}: {100 * row['accuracy']:.1f} % "
            f"{row['metric'].replace('_', ' ')} on {number} test images" + (f" ({chosen})" if chosen else ""))


def fits(row: dict) -> list[dict]:
    """The trials of a row, or of what is recorded of one, and its refit."""
    return [fit for fit in (*(row.get("trials") or ()), row.get("refit")) if isinstance(fit, dict)]


def images_per_second(row: dict) -> float | None:
    """Median over the fits of a row; None where none was a training."""
    speeds = [fit["images_per_second"] for fit in fits(row) if fit.get("images_per_second")]
    return float(statistics.median(speeds)) if speeds else None


def edge_warnings(grids: dict[str, list[float]], selected: dict[str, float]) -> list[str]:
    """A warning for each selected value that lies on the edge of a grid of three or more."""
    return [f"the selected {name} {selected[name]:g} lies on the edge of its grid"
            for name, grid in grids.items()
            if len(grid) > 2 and selected[name] in (min(grid), max(grid)) and selected[name] != 0]


def versions() -> dict[str, str]:
    """Versions of tfbench, Python and the packages that compute."""
    return {"tfbench": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES}


def hardware() -> dict[str, object]:
    """Processor, cores and system this process runs on."""
    return {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}
