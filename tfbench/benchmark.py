"""Measures this machine: ratios against the plain library call that does the same work, in one run.

  python -m tfbench.benchmark --what=input
  python -m tfbench.benchmark --what=features --model=resnet_50
  python -m tfbench.benchmark --what=linear --shapes=pets_resnet_50
  python -m tfbench.benchmark --what=training --model=resnet_50 --batch_size=16
  python -m tfbench.benchmark --what=search --results_dir=results/halving

--what=input: images per second through the input pipeline (decode, crop, resize, batch) from
JPEGs of 500 × 375 pixels in memory, beside bare tf.io.decode_jpeg on the same threads.
--what=features: images per second from a batch, and from JPEGs, to features, beside keras.Model.predict.
--what=linear: seconds of the regression path, beside scikit-learn's LogisticRegression run to the same gap.
--what=training: images per second of the training step on a batch in memory, beside Keras's own train_step in a loop
(and PyTorch with timm, where they are installed); and how long a second trial takes to its first step.
--what=search: what successive halving saved and missed, of the runs in --results_dir made with it and without.
--what=analysis: seconds and memory of the analysis of the paper's 16 × 12 × 3 cells.
"""

from tfbench.cli import app
from tfbench.cli import flags as cli
from tfbench.files import atomic
from tfbench.models.catalog import NETWORKS

SHAPES = {  # of --what=linear: examples, width of the features, classes
    "pets_resnet_50": (3680, 2048, 37),
    "dtd_inception_v4": (3760, 1536, 47),
    "large": (50000, 1024, 100),
}


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.flags.DEFINE_enum("what", "input", ["input", "features", "linear", "training", "analysis", "search"],
                          "what to measure: a part of tfbench, beside a plain way to do the same where there is one",
                          flag_values=fv)
    cli.flags.DEFINE_integer("rounds", 5, "times each is measured, in turn; the median counts (our choice)",
                             lower_bound=1, flag_values=fv)
    cli.define_name("model", "resnet_50", "network of --what=features and training", "network", NETWORKS, fv)
    cli.flags.DEFINE_integer("batch_size", 64, "images per step of --what=features and training (our choice)",
                             lower_bound=1, flag_values=fv)
    cli.flags.DEFINE_integer("image_size", None, "side of the images of --what=training in pixels; unset: the "
                             "network's own", lower_bound=1, flag_values=fv)
    cli.flags.DEFINE_integer("steps", 10, "training steps of --what=training in each round (our choice)", lower_bound=1,
                             flag_values=fv)
    cli.flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16", "mixed_float16"], "of convolutions and "
                          "matrix products, of --what=training", flag_values=fv)
    cli.define_names("shapes", tuple(SHAPES), "problems of --what=linear, comma-separated", "shape", SHAPES, fv)
    cli.flags.DEFINE_integer("peer_strengths", 5, "of --what=linear: how many of the paper's 45 strengths "
                             "scikit-learn solves", lower_bound=1, upper_bound=44, flag_values=fv)
    cli.flags.DEFINE_integer("predictions", 25000, "test images of each cell of --what=analysis (our choice; "
                             "the paper's largest set has about as many)", lower_bound=100, flag_values=fv)
    cli.flags.DEFINE_float("peer_seconds", 40, "of --what=linear: seconds that scikit-learn tries at each strength "
                           "(our choice)", lower_bound=0.0, flag_values=fv)
    cli.flags.DEFINE_string("results_dir", "results/halving", "results folder of a study that searched both ways, of "
                            "--what=search (flags/halving.flags)", flag_values=fv)
    cli.flags.DEFINE_string("output", None, "JSON file to write the figures to", flag_values=fv)


def measured(options):
    """Yields the figures of what the flags name and the lines that say them, as they come."""
    if options.what == "input":
        from tfbench.benchmarks import input as measuring  # and TensorFlow: --help does without

        results = [measuring.measure(options.rounds)]
    elif options.what == "features":
        from tfbench.benchmarks import features as measuring

        results = [measuring.measure(options.rounds, options.model, options.batch_size)]
    elif options.what == "linear":
        from tfbench.benchmarks import linear as measuring

        results = (measuring.measure(name, SHAPES[name], options.peer_strengths, options.peer_seconds)
                   for name in options.shapes)
    elif options.what == "analysis":
        from tfbench.benchmarks import analysis as measuring

        results = [measuring.measure(options.predictions)]
    elif options.what == "search":
        from tfbench.benchmarks import search as measuring

        results = [measuring.measure(options.results_dir)]
    else:
        from tfbench.benchmarks import training as measuring

        results = [measuring.measure(options.rounds, options.model, options.batch_size, options.image_size,
                                     options.steps, options.precision)]
    for result in results:
        yield result, measuring.report(result)


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    results = []
    for result, lines in measured(options):
        print("\n".join(lines), flush=True)
        results.append(result)
    if options.output:
        atomic.write_json(options.output, results, cure="choose another file with --output=FILE")


if __name__ == "__main__":
    define_flags()
    app.run(main)
