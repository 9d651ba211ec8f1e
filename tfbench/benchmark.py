"""Measures this machine: ratios against the plain library call that does the same work.

  python -m tfbench.benchmark --what=input
  python -m tfbench.benchmark --what=features --model=resnet_50
  python -m tfbench.benchmark --what=linear --shapes=pets_resnet_50
  python -m tfbench.benchmark --what=training --model=resnet_50 --batch_size=16
  python -m tfbench.benchmark --what=search --results_dir=results/halving
  python -m tfbench.benchmark --what=duplicates --dataset=pets

--what=input: images per second through the input pipeline (decode, crop, resize, batch) from
JPEGs of 500 × 375 pixels in memory, beside bare tf.io.decode_jpeg on the same threads.
--what=features: images per second from a batch, and from JPEGs, to features, beside keras.Model.predict and PyTorch.
--what=linear: seconds of the regression path, beside scikit-learn's LogisticRegression run to the same gap.
--what=training: images per second of the training step on a batch in memory, beside Keras's fit and PyTorch; and
how long a second trial takes to its first step. PyTorch runs timm's network, in a process of its own: --torch_python.
--what=search: what successive halving saved and missed, of the runs in --results_dir made with it and without.
--what=analysis: seconds and memory of the analysis of the paper's 16 × 12 × 3 cells.
--what=duplicates: which altered copies of a data set's images tfbench.duplicates finds, and what it takes for a copy.
"""

import dataclasses

from tfbench.cli import app
from tfbench.config import FIELDS, Setting
from tfbench.files import atomic
from tfbench.models.catalog import NETWORKS
from tfbench.wording import say

SHAPES = {  # of --what=linear: examples, width of the features, classes
    "pets_resnet_50": (3680, 2048, 37),
    "dtd_inception_v4": (3760, 1536, 47),
    "large": (50000, 1024, 100),
}


PART, SIZE = "what to measure", "size of the measurement"  # groups of --help

SETTINGS = {
    "what": Setting("input", "choice", "a part of tfbench, beside a plain way to do the same where there is one", PART,
                    choices=("input", "features", "linear", "training", "analysis", "search", "duplicates")),
    "model": Setting("resnet_50", "name", "network of --what=features and training", PART, choices=NETWORKS,
                     alias="models"),
    "shapes": Setting(tuple(SHAPES), "names", "problems of --what=linear, comma-separated", PART,
                      choices=tuple(SHAPES)),
    "results_dir": Setting("results/halving", "text", "results folder of a study that searched both ways, of "
                           "--what=search (flags/halving.flags)", PART),
    "dataset": dataclasses.replace(FIELDS["dataset"], default="glyphs", required=False, group=PART, help="data set of "
                                   "--what=duplicates: photographs, none of one class a copy of one of another"),
    "data_dir": dataclasses.replace(FIELDS["data_dir"], group=PART),
    "output": Setting(None, "text", "JSON file to write the figures to", PART),
    "rounds": Setting(5, "integer", "times each is measured, in turn; the median counts (our choice)", SIZE, minimum=1),
    "batch_size": Setting(64, "integer", "images per step of --what=features and training (our choice)", SIZE,
                          minimum=1),
    "image_size": Setting(None, "integer", "side of the images of --what=features and training in pixels; unset: "
                          "the network's own", SIZE, minimum=1),
    "torch_python": Setting(None, "text", "Python interpreter with torch and timm, for --what=features and training; "
                            "unset: this one, which may lack them", PART),
    "steps": Setting(10, "integer", "training steps of --what=training in each round (our choice)", SIZE, minimum=1),
    "precision": dataclasses.replace(FIELDS["precision"], group=SIZE, help="of convolutions and matrix products, of "
                                     "--what=training"),
    "peer_strengths": Setting(5, "integer", "of --what=linear: how many of the paper's 45 strengths scikit-learn "
                              "solves", SIZE, minimum=1, maximum=44),
    "peer_seconds": Setting(40.0, "number", "of --what=linear: seconds that scikit-learn tries at each strength (our "
                            "choice)", SIZE, minimum=0),
    "predictions": Setting(25000, "integer", "test images of each cell of --what=analysis (our choice; the paper's "
                           "largest set has about as many)", SIZE, minimum=100),
}


def measured(options):
    """Yields the figures of what the flags name and the lines that say them, as they come."""
    if options.what == "input":
        from tfbench.benchmarks import input as measuring  # and TensorFlow: --help does without

        results = [measuring.measure(options.rounds)]
    elif options.what == "features":
        from tfbench.benchmarks import features as measuring

        results = [measuring.measure(options.rounds, options.model, options.batch_size, options.image_size,
                                     options.torch_python)]
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
    elif options.what == "duplicates":
        from tfbench.benchmarks import duplicates as measuring
        from tfbench.cli.progress import Silent
        from tfbench.data.lookup import get_dataset
        from tfbench.inputs import prepare_data

        dataset = get_dataset(options.dataset, options.data_dir)
        results = [measuring.measure(prepare_data(options, dataset, Silent()))]
    else:
        from tfbench.benchmarks import training as measuring

        results = [measuring.measure(options.rounds, options.model, options.batch_size, options.image_size,
                                     options.steps, options.precision, options.torch_python)]
    for result in results:
        yield result, measuring.report(result)


def main(options) -> None:
    results = []
    for result, lines in measured(options):
        for line in lines:
            say(line)
        results.append(result)
    if options.output:
        atomic.write_json(options.output, results, cure=atomic.make_writable("--output"))


if __name__ == "__main__":
    app.start("benchmark", __doc__, SETTINGS, main)
