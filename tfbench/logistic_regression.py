"""Logistic regression on the fixed features of a pretrained network: regime 1 of the paper.

Every image passes through the frozen network once; L2-regularised logistic regression is fitted to
the training features for every strength, scored on validation, refitted at the best strength on
both and tested once. The result is a row in RESULTS_DIR/rows; the same command again shows it.

  python -m tfbench.logistic_regression --model=inception_v4 --dataset=birdsnap
  python -m tfbench.logistic_regression --model=resnet_50 --dataset=digits --image_size=32 \\
      --weights=results/weights/FILE.weights.h5
"""

import time

from tfbench import UserError
from tfbench.cli import app, program
from tfbench.cli import flags as cli
from tfbench.results import row as rows
from tfbench.results import store
from tfbench.training import protocol

# The paper's grid (v3 section 3.1).
STRENGTHS = protocol.log_spaced(1e-6, 1e5, 45)


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.define_run_flags(fv)
    cli.define_weights_flag(fv)
    cli.define_numbers("l2", STRENGTHS, "strengths of L2 regularisation to try, comma-separated; each multiplies "
                       "half the squared norm of the weights against the sum of the example losses "
                       "(v3 section 3.1)", fv, inclusive=False)
    cli.flags.DEFINE_integer("max_iterations", 1000, "of L-BFGS at each strength (the paper does not say)",
                             lower_bound=1, flag_values=fv)


def run(options, progress) -> tuple[dict, bool]:
    """Runs or finds the run that `options` describe.

    Returns:
      (its row, whether it was computed now).
    """
    # ---- what to run -------------------------------------------------------------------------------
    network, dataset, manifest, certificate = program.resolve(options, progress)
    spec = rows.make_spec(options, "logistic_regression", dataset=dataset, manifest=manifest, certificate=certificate,
                          l2=list(options.l2), max_iterations=options.max_iterations)
    if finished := store.finished(options.results_dir, spec):
        return finished, False

    import numpy as np  # and TensorFlow, only now that there is something to compute

    from tfbench.data.examples import load_split
    from tfbench.linear import features, logistic
    from tfbench.stats import metrics
    from tfbench.training.devices import set_determinism

    start = time.monotonic()
    set_determinism(options.deterministic)

    # ---- data and features: each image passes through the network once -----------------------------
    train, validation = (load_split(dataset, split, options.data_dir) for split in ("train", "validation"))
    if train.labels.ndim == 1 and (absent := set(range(dataset.classes)) - set(train.labels.tolist())):
        raise UserError(f"{dataset.name} has no training image of class {min(absent)}: every class needs one")
    extractor = features.make_extractor(network.name, program.weights_path(options), certificate["sha256"],
                                        spec["image_size"], spec["value_range"], options.devices)

    def extract(examples):
        return features.extract(extractor, examples, image_size=spec["image_size"], batch_size=options.batch_size,
                                report=progress.images)

    progress.stage("features")
    train_features, validation_features = extract(train), extract(validation)

    # ---- optimize: choose on validation, strongest first, ties to the stronger ---------------------
    progress.stage(f"logistic regression at {len(options.l2)} strengths")
    settings = {"classes": dataset.classes, "max_iterations": options.max_iterations}
    trials = []
    for fit in logistic.path(train_features, train.labels, options.l2, **settings):
        accuracy = metrics.score(dataset.metric, fit.scores(validation_features), validation.labels)
        trials.append({"l2": fit.strength, "validation_accuracy": accuracy, "certified": fit.certified, "gap": fit.gap,
                       "objective": fit.objective, "iterations": fit.iterations, "seconds": round(fit.seconds, 3)})
    best = max(trials, key=lambda trial: trial["validation_accuracy"])
    both = np.concatenate([train_features, validation_features])
    both_labels = np.concatenate([train.labels, validation.labels])
    refit, = logistic.path(both, both_labels, [best["l2"]], **settings)

    # ---- evaluate: one look at the test split ------------------------------------------------------
    test = load_split(dataset, "test", options.data_dir)
    test_scores = refit.scores(extract(test))
    accuracy = metrics.score(dataset.metric, test_scores, test.labels)

    # ---- record ------------------------------------------------------------------------------------
    warnings = rows.edge_warnings({"l2": spec["l2"]}, best)
    if uncertified := [trial["l2"] for trial in trials if not trial["certified"]]:
        warnings.append(f"not certified to be solved: {len(uncertified)} of {len(trials)} strengths")
    if not refit.certified:
        warnings.append("the refit is not certified to be solved")
    row = rows.make_row(
        spec, dataset, manifest, accuracy=accuracy,
        test_split={"n": len(test.labels), "sha256": test.split_sha256}, selected={"l2": best["l2"]},
        validation_accuracy=best["validation_accuracy"], trials=trials, source=rows.source_of(certificate),
        warnings=warnings, seconds=time.monotonic() - start)
    store.write_row(options.results_dir, row, rows.test_predictions(test_scores, test),
                    cli.flagfile(options, "logistic_regression"))
    return row, True


def main(argv) -> None:
    del argv
    program.run_one("logistic_regression", run, cli.own(define_flags))


if __name__ == "__main__":
    define_flags()
    app.run(main)
