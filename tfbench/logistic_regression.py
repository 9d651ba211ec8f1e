"""Logistic regression on the fixed features of a pretrained network: regime 1 of the paper.

Every image passes through the frozen network once; L2-regularised logistic regression is fitted to
the training features for every strength, scored on validation, refitted at the best strength on
both and tested once. The result is a row in RESULTS_DIR/rows; the same command again shows it.

  python -m tfbench.logistic_regression --model=inception_v4 --dataset=birdsnap
  python -m tfbench.logistic_regression --model=resnet_50 --dataset=digits --image_size=32 \\
      --weights=results/weights/FILE.weights.h5
  python -m tfbench.logistic_regression --features=mine.npz      features of your own: X, y, split (no network)
"""

import time

from tfbench import paper
from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.cli.progress import Display
from tfbench.data.catalog import Dataset
from tfbench.errors import UserError
from tfbench.results import record as records
from tfbench.results import store


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_run_flags(fv, required=False)
    cli.define_weights_flag(fv)
    cli.define_numbers("l2", paper.L2_STRENGTHS, "strengths of L2 regularisation to try, comma-separated; each multiplies "
                       "half the squared norm of the weights against the sum of the example losses "
                       "(v3 section 3.1)", fv, inclusive=False)
    cli.flags.DEFINE_integer("max_iterations", 10000, "of L-BFGS at each strength (our choice: one that is solved "
                             "needs fewer)", lower_bound=1, flag_values=fv)
    cli.flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "of the network's convolutions and matrix "
                          "products; bfloat16 is faster where the processor has it", flag_values=fv)
    cli.flags.DEFINE_string("features", None, "instead of --model and --dataset: an .npz file with X [n, width] float, "
                            "y [n] int or [n, classes] of 0 and 1, split [n] of train, validation and test",
                            flag_values=fv)
    cli.define_subset_flags(fv)
    cli.flags.register_multi_flags_validator(
        ["model", "dataset", "features", "examples_per_class"],
        lambda given: (given["model"] and given["dataset"] and not given["features"])
        or (given["features"] and not given["model"] and not given["dataset"] and not given["examples_per_class"]),
        "expected --model=NAME and --dataset=NAME, or --features=FILE.npz alone", flag_values=fv)


def specify(options, found: program.Resolved) -> dict:
    """What determines the outcome of the run that `options` describe (results/record.py)."""
    return records.make_spec(options, "logistic_regression", dataset=found.dataset, manifest=found.manifest,
                          metadata=found.metadata, l2=list(options.l2), max_iterations=options.max_iterations,
                          precision=options.precision, **records.subset_spec(options))


def run(options, progress) -> tuple[dict, bool]:
    """Runs or finds the run that `options` describe.

    Returns:
      (its row, whether it was computed now).
    """
    # ---- what to run -------------------------------------------------------------------------------
    found = program.resolve(options, progress)
    network, dataset, manifest, metadata = found
    spec = specify(options, found)
    if finished := store.finished(options.results_dir, spec):
        return finished, False

    from tfbench.data.examples import load_split  # and TensorFlow, only now that there is something to compute
    from tfbench.linear import cache, features
    from tfbench.training.devices import processor, set_determinism

    start = time.monotonic()
    set_determinism(options.deterministic)

    # ---- data and features: each image passes through the network once -----------------------------
    train, validation = (load_split(dataset, split, options.data_dir) for split in ("train", "validation"))
    if train.labels.ndim == 1 and (absent := set(range(dataset.classes)) - set(train.labels.tolist())):
        raise UserError(f"{dataset.name} has no training image of class {min(absent)}: every class needs one")
    kept = cache.open_cache(options.results_dir, cache.make_key(spec, manifest, processor=processor()))
    fixed = features.FixedFeatures(
        lambda precision: features.make_extractor(
            network.name, program.weights_path(options), metadata["sha256"], spec["image_size"],
            spec["value_range"], options.devices, precision),
        options.precision, kept, spec["image_size"], options.batch_size, progress)
    progress.stage("features")
    parts = labelled(fixed, train, validation, spec)

    # ---- optimize: choose on validation, refit on both ---------------------------------------------
    refit, chosen = choose(*parts, options, classes=dataset.classes, metric=dataset.metric, progress=progress)

    # ---- evaluate: one look at the test split ------------------------------------------------------
    test = load_split(dataset, "test", options.data_dir)
    test_scores = refit.scores(fixed.of(test, "test"))

    # ---- record ------------------------------------------------------------------------------------
    error = fixed.reduced_error(train)
    if error == 0:
        chosen["warnings"].append("--precision=bfloat16 changed nothing: this processor has no such instructions, so "
                                  "TensorFlow computed in float32")
    row = records.make_record(
        spec, dataset, manifest, accuracy=score(dataset.metric, test_scores, test.labels),
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, source=records.source_of(metadata),
        features={"folder": kept.folder.name, "precision": options.precision, "relative_error": error},
        seconds=time.monotonic() - start, **chosen)
    store.write_record(options.results_dir, row, records.test_predictions(test_scores, test),
                    cli.flagfile(options, "logistic_regression"))
    return row, True


def run_file(options, progress) -> tuple[dict, bool]:
    """The same for --features=FILE.npz: no network, no data set."""
    import numpy as np

    from tfbench.data.examples import Examples
    from tfbench.data.splits import split_hash
    from tfbench.linear import feature_file

    store.check_writable(options.results_dir)
    file = feature_file.read(options.features)
    sizes = {split: len(rows_of) for split, rows_of in file.rows.items()}
    dataset = Dataset(f"features:{file.name}", file.name, "", file.classes,
                      "voc_map" if file.labels.ndim == 2 else "top1", **sizes)
    keys = {split: [f"{number:09d}" for number in numbers] for split, numbers in file.rows.items()}
    manifest = {"splits": {split: {"n": sizes[split], "sha256": split_hash(keys[split])} for split in sizes},
                "content": file.sha256, "verification": {}}
    spec = records.make_features_spec(dataset, manifest, l2=list(options.l2), max_iterations=options.max_iterations)
    if finished := store.finished(options.results_dir, spec):
        return finished, False

    start = time.monotonic()
    parts = {split: (file.features[numbers], file.labels[numbers]) for split, numbers in file.rows.items()}
    both = tuple(np.concatenate(pair) for pair in zip(parts["train"], parts["validation"], strict=True))
    refit, chosen = choose(parts["train"], parts["validation"], both, options, classes=file.classes,
                           metric=dataset.metric, progress=progress)
    scores = refit.scores(parts["test"][0])
    test = Examples(None, parts["test"][1], keys["test"], manifest["splits"]["test"]["sha256"])
    row = records.make_record(spec, dataset, manifest, accuracy=score(dataset.metric, scores, test.labels),
                        test_split=manifest["splits"]["test"], seconds=time.monotonic() - start, **chosen)
    store.write_record(options.results_dir, row, records.test_predictions(scores, test),
                    cli.flagfile(options, "logistic_regression"))
    return row, True


def labelled(fixed, train, validation, spec: dict) -> tuple:
    """Features and labels of the training and the validation examples, and of those of the refit, both together.

    With examples_per_class in `spec`, so many of each class of the first and of the last; features are computed, and
    cached, of all.

    Args:
      fixed: linear.features.FixedFeatures. train, validation: data.examples.Examples.

    Returns:
      Three pairs (float32 [n, width], labels).
    """
    import numpy as np

    from tfbench.data.examples import join, subset

    values = np.concatenate([fixed.of(train, "train"), fixed.of(validation, "validation")])
    place = {key: row for row, key in enumerate(train.keys + validation.keys)}
    parts = [train, validation, join(train, validation)]
    if spec["examples_per_class"]:
        parts[0], parts[2] = (subset(part, spec["examples_per_class"], spec["subset_seed"]) for part in parts[::2])
    return tuple((values[[place[key] for key in part.keys]], part.labels) for part in parts)


def choose(train, validation, both, options, *, classes: int, metric: str, progress):
    """Fits every strength on the training features and the best on those of the refit.

    Args:
      train, validation, both: pairs (float [n, width], labels); for the labels see linear.logistic.path.

    Returns:
      (the refit, a linear.logistic.Fit; the fields of a row that say how it came about).
    """
    from tfbench.linear import logistic

    settings = {"classes": classes, "max_iterations": options.max_iterations}
    trials, best, best_fit = [], None, None
    progress.stage(f"logistic regression at {len(options.l2)} strengths")
    for fit in logistic.path(*train, options.l2, **settings):
        accuracy = score(metric, fit.scores(validation[0]), validation[1])
        trials.append({"l2": fit.strength, "validation_accuracy": accuracy, **fit.facts()})
        if best is None or accuracy > best["validation_accuracy"]:  # of equal ones the first, the strongest
            best, best_fit = trials[-1], fit
        progress.work(f"{len(trials)} of {len(options.l2)} strengths")
    refit, = logistic.path(*both, [best["l2"]], start=best_fit, **settings)
    warnings = records.edge_warnings({"l2": options.l2}, best)
    if uncertified := sum(not trial["certified"] for trial in trials):
        warnings.append(f"{uncertified} of {len(trials)} strengths are not certified to be solved: raise "
                        "--max_iterations")
    if not refit.certified:
        warnings.append("the refit is not certified to be solved: raise --max_iterations")
    return refit, {"selected": {"l2": best["l2"]}, "validation_accuracy": best["validation_accuracy"],
                   "trials": trials, "refit": refit.facts(), "warnings": warnings}


def score(metric: str, scores, labels) -> float:
    """The metric of that name, in [0, 1]."""
    from tfbench.stats import metrics

    return metrics.score(metric, scores, labels)


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    if options.features is None:
        program.run_each("logistic_regression", run, options)
        return
    with Display(1) as progress:
        row, new = run_file(options, progress)
    program.tell(row, new, options)


if __name__ == "__main__":
    define_flags()
    app.run(main)
