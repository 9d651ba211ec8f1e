"""The regime of logistic regression: features of the frozen network, then a fit at every L2 strength.

Every image passes through the network once. Every strength is fitted on the training features and scored on
validation; the best is fitted again on both and tested once.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from tfbench.config import SCHEMA, RunConfig, metric_of
from tfbench.data.catalog import Dataset, own_metric, scored_by
from tfbench.data.examples import Examples, join, subset
from tfbench.data.splits import split_hash
from tfbench.errors import UserError
from tfbench.files.atomic import check_writable
from tfbench.inputs import RunInputs
from tfbench.linear import cache, logistic
from tfbench.linear.feature_file import FeatureFile
from tfbench.models import weights
from tfbench.models.catalog import CUSTOM_FEATURES
from tfbench.results import kept_models, store
from tfbench.results.record import Record, edge_warnings, make_record, source_of, test_predictions
from tfbench.stats import metrics, transferability
from tfbench.stats.row_blocks import Rows
from tfbench.training.devices import processor, set_determinism
from tfbench.wording import agree

if TYPE_CHECKING:
    from tfbench.linear.features import FixedFeatures

RAISE = "raise --max_iterations"
Labelled = tuple[Rows, np.ndarray]  # features [n, width], labels


def run(inputs: RunInputs, progress) -> Record:
    """Computes the regime for a network and a data set, and writes its record.

    Where the record is there and only the network is wanted, the strength that the record names is fitted again.
    """
    config, spec, data = inputs.config, inputs.spec, inputs.data
    finished = store.finished(config.results_dir, spec)
    if finished:
        config = dataclasses.replace(config, l2=(finished.selected["l2"],))
    assert inputs.metadata and inputs.weights  # of pretrained weights, from which this regime starts
    start = time.monotonic()
    set_determinism(config.deterministic)

    # ---- data and features: each image passes through the network once -----------------------------
    train, validation = data.load("train"), data.load("validation")
    if train.labels.ndim == 1 and (absent := set(range(data.dataset.classes)) - set(train.labels.tolist())):
        raise UserError(f"{data.dataset.name} has no training image of class {min(absent)}: every class needs one")
    fixed = fixed_features(inputs, progress)
    progress.stage("features")
    parts = labelled(fixed, train, validation, spec)

    # ---- optimize: choose on validation, refit on both ---------------------------------------------
    classifier = None if inputs.weights == weights.CUSTOM else weights.classifier(inputs.weights)
    refit, chosen = choose(*parts, config, classes=data.dataset.classes, metric=data.dataset.metric, progress=progress,
                           source_classifier=classifier)
    del parts  # before the features of the test split come

    # ---- evaluate: one look at the test split ------------------------------------------------------
    test = data.load("test")
    scores = refit.scores(fixed.of(test, "test"))

    # ---- record ------------------------------------------------------------------------------------
    error = fixed.reduced_error(train)
    if error == 0:
        chosen["warnings"].append("--precision=bfloat16 changed nothing: this processor has no such instructions, so "
                                  "TensorFlow computed in float32")
    accuracy = metrics.score(data.dataset.metric, scores, test.labels)
    chosen["warnings"] += metrics.absent_classes(data.dataset.metric, test.labels, data.class_names)
    if finished:
        keep(inputs, refit, finished, accuracy)
        return finished
    record = make_record(
        spec, inputs.network, data.dataset, data.manifest, accuracy=accuracy,
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, source=source_of(inputs.metadata),
        features={"folder": fixed.cache.folder.name, "precision": config.precision, "relative_error": error,
                  "images_per_second": fixed.images_per_second()},
        seconds=time.monotonic() - start, **chosen)
    if config.keep_model:
        keep(inputs, refit, record, accuracy)
    return store.write_record(config.results_dir, record, test_predictions(scores, test, data.class_names),
                              config.flagfile())


def keep(inputs: RunInputs, fit: logistic.Fit, record: Record, accuracy: float) -> None:
    """Keeps the network with the regression as its classifier."""
    from tfbench.models.build import build_network

    model = build_network(inputs.network, weights=inputs.weights, num_classes=inputs.data.dataset.classes,
                          image_size=inputs.spec["image_size"])
    model.get_layer("logits").set_weights([fit.weights, fit.bias])
    kept_models.save(model, inputs, record, accuracy, resize="bicubic", test_crop="whole")


def fixed_features(inputs: RunInputs, progress) -> FixedFeatures:
    """The features of a run's network on its data set, as they lie in the cache or will."""
    from tfbench.linear import features  # Keras: features of one's own need none

    config, spec, metadata = inputs.config, inputs.spec, inputs.metadata
    assert metadata
    kept = cache.open_cache(config.results_dir, cache.make_key(spec, inputs.data.manifest, processor=processor()))
    return features.FixedFeatures(
        lambda precision: features.make_extractor(
            inputs.network, weights_file=inputs.weights, weights_sha256=metadata["sha256"],
            image_size=spec["image_size"], value_range=spec["value_range"], devices=config.devices,
            precision=precision),
        config.precision, kept, spec["image_size"], config.batch_size, progress)


def run_file(config: RunConfig, file: FeatureFile, progress) -> tuple[Record, bool]:
    """The same for --features=FILE: no network, no data set. Returns (record, whether it was computed now)."""
    sizes = {split: len(numbers) for split, numbers in file.rows.items()}
    several = file.labels.ndim == 2
    dataset = scored_by(Dataset(f"features:{file.name}", file.name, "", file.classes, own_metric(several),
                                sizes["train"], sizes["validation"], sizes["test"], multi_label=several), config.metric)
    keys = {split: [f"{number:09d}" for number in numbers] for split, numbers in file.rows.items()}
    splits: dict[str, dict] = {split: {"n": sizes[split], "sha256": split_hash(keys[split])} for split in sizes}
    manifest = {"splits": splits, "content": file.sha256, "verification": {}}
    spec = {
        "schema": SCHEMA, "regime": config.regime, "network": CUSTOM_FEATURES, "dataset": dataset.name,
        "data": {split: facts["sha256"] for split, facts in splits.items()} | {"content": file.sha256},
        "source_dataset": None, "weights_sha256": None, "image_size": None, "precision": None,
        "l2": list(config.l2), "max_iterations": config.max_iterations, **metric_of(dataset)}
    if file.reading:  # else a record of an earlier reading of the same file would be taken for this one
        spec["labels"] = file.reading
    if config.standardize:
        spec["standardize"] = True
    if finished := store.finished(config.results_dir, spec):
        return finished, False
    for line in store.scored_otherwise(config.results_dir, spec):
        progress.line(line)
    check_writable(config.results_dir, cure=store.CURE)

    start = time.monotonic()
    rows = file.rows | {"both": np.concatenate([file.rows["train"], file.rows["validation"]])}
    parts = {part: (Rows(file.features, numbers), file.labels[numbers]) for part, numbers in rows.items()}
    refit, chosen = choose(parts["train"], parts["validation"], parts["both"], config, classes=file.classes,
                           metric=dataset.metric, progress=progress,
                           remedy="add --standardize" if file.scale_problem else RAISE)
    chosen["warnings"] += [file.scale_problem] if file.scale_problem else []
    scores = refit.scores(parts["test"][0])
    test = Examples(np.empty(0, object), parts["test"][1], keys["test"], splits["test"]["sha256"])
    chosen["warnings"] += metrics.absent_classes(dataset.metric, test.labels, file.class_names)
    record = make_record(spec, None, dataset, manifest, accuracy=metrics.score(dataset.metric, scores, test.labels),
                         test_split=splits["test"], seconds=time.monotonic() - start, **chosen)
    return store.write_record(config.results_dir, record, test_predictions(scores, test, file.class_names),
                              config.flagfile()), True


def labelled(fixed: FixedFeatures, train: Examples, validation: Examples,
             spec: dict) -> tuple[Labelled, Labelled, Labelled]:
    """Features and labels of the training and the validation examples, and of those of the refit, both together.

    With examples_per_class in `spec`, the first are so many of each class, and the refit is on the same (v3 section
    4.7); features are computed, and cached, of all.
    """
    values = fixed.of_splits([(train, "train"), (validation, "validation")])
    index = {key: position for position, key in enumerate([*train.keys, *validation.keys])}
    both = join(train, validation)
    if spec["examples_per_class"]:
        train = both = subset(train, spec["examples_per_class"], spec["subset_seed"] or 0)
    first, second, third = ((Rows(values, np.array([index[key] for key in examples.keys])), examples.labels)
                            for examples in (train, validation, both))
    return first, second, third


def choose(train: Labelled, validation: Labelled, both: Labelled, config: RunConfig, *, classes: int, metric: str,
           progress, remedy: str = RAISE, source_classifier=None) -> tuple[logistic.Fit, dict]:
    """Fits every strength on the training features and the best on those of the refit.

    Args:
      train, validation, both: features and labels; see linear.logistic.path.
      remedy: what warnings of strengths that are not solved advise.
      source_classifier: of the pretrained weights (weights.classifier), which "features" are the input of; or None.

    Returns:
      (the refit; the fields of a record that say how it came about).
    """
    trials: list[dict] = []
    best, best_fit = None, None
    progress.stage(f"logistic regression at {len(config.l2)} strengths")
    problem = logistic.make_problem(*train, classes)
    for fit in logistic.solve(problem, config.l2, max_iterations=config.max_iterations):
        accuracy = metrics.score(metric, fit.scores(validation[0]), validation[1])
        trials.append({"l2": fit.l2_strength, "validation_accuracy": accuracy, **fit.facts()})
        if best is None or accuracy > best["validation_accuracy"]:  # of equal ones the first, the strongest
            best, best_fit = trials[-1], fit
        progress.work(f"{len(trials)} of {len(config.l2)} strengths")
    assert best
    estimates = None
    if problem.kind == "softmax":
        estimates = transferability.estimates(
            transferability.Spectrum(problem.features, problem.mean, problem.axes, problem.energy), train[1],
            source_classifier and transferability.Probabilities(problem.features, *source_classifier))
    refit, = logistic.path(*both, [best["l2"]], classes=classes, max_iterations=config.max_iterations, start=best_fit)
    warnings = edge_warnings({"l2": config.l2}, best)
    if uncertified := sum(not trial["certified"] for trial in trials):
        warnings.append(f"{uncertified} of {len(trials)} strengths {agree(uncertified, 'is', 'are')} not "
                        f"certified to be solved: {remedy}")
    if not refit.certified:
        warnings.append(f"the refit is not certified to be solved: {remedy}")
    return refit, {"selected": {"l2": best["l2"]}, "validation_accuracy": best["validation_accuracy"],
                   "trials": trials, "refit": refit.facts(), "warnings": warnings, "estimates": estimates}
