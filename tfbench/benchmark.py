"""Measures this machine: ratios against the plain library call that does the same work, in one run.

  python -m tfbench.benchmark --what=input
  python -m tfbench.benchmark --what=features --model=resnet_50
  python -m tfbench.benchmark --what=linear --shapes=pets_resnet_50

--what=input: images per second through the input pipeline (decode, crop, resize, batch) from
JPEGs of 500 × 375 pixels in memory, beside bare tf.io.decode_jpeg on the same threads.
--what=features: images per second from a batch, and from JPEGs, to features, beside keras.Model.predict.
--what=linear: seconds of the regression path, beside scikit-learn's LogisticRegression run to the same gap.
"""

import os
import time

from tfbench.cli import app
from tfbench.cli import flags as cli
from tfbench.models.catalog import NETWORKS

IMAGES = 512
SIDES = (375, 500)  # height and width of the JPEGs, those of many photographs in VOC2007 and Caltech-101
SIZE = 224
BATCHES = 4  # of JPEGs, from which features are made
SHAPES = {  # examples, width of the features, classes
    "pets_resnet_50": (3680, 2048, 37),
    "dtd_inception_v4": (3760, 1536, 47),
    "large": (50000, 1024, 100),
}
CHUNK = 50  # iterations of scikit-learn between looks at how far it is


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.flags.DEFINE_enum("what", "input", ["input", "features", "linear"], "what to measure", flag_values=fv)
    cli.flags.DEFINE_integer("rounds", 5, "times each is measured, in turn; the median counts", lower_bound=1,
                             flag_values=fv)
    cli.define_name("model", "resnet_50", "network of --what=features", "network", NETWORKS, fv)
    cli.flags.DEFINE_integer("batch_size", 64, "of --what=features", lower_bound=1, flag_values=fv)
    cli.define_names("shapes", tuple(SHAPES), "problems of --what=linear, comma-separated", "shape", SHAPES, fv)
    cli.flags.DEFINE_integer("peer_strengths", 5, "how many of the 45 strengths scikit-learn solves", lower_bound=1,
                             upper_bound=44, flag_values=fv)
    cli.flags.DEFINE_float("peer_seconds", 40, "how long it tries at each", lower_bound=0.0, flag_values=fv)
    cli.flags.DEFINE_string("output", None, "JSON file to write the figures to", flag_values=fv)


def photographs(count: int):
    """`count` JPEGs of smooth colours with grain, of quality 90 and VOC2007's mean size, 87 kB.

    Returns:
      [count] object, encoded bytes.
    """
    import numpy as np
    import tensorflow as tf

    draw, images = np.random.RandomState(0), []
    for _ in range(16):
        coarse = tf.image.resize(draw.uniform(0, 255, (24, 32, 3)), SIDES, "bicubic").numpy()
        pixels = np.clip(coarse + draw.normal(0, 12.5, (*SIDES, 3)), 0, 255).astype(np.uint8)
        images.append(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return np.array([images[i % len(images)] for i in range(count)], object)


def median_seconds(calls: dict, rounds: int) -> dict[str, float]:
    """How long each of the calls, by name, takes: all in turn, `rounds` times after one that traces and warms up."""
    import numpy as np

    seconds = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times[1:])) for name, times in seconds.items()}


def measure_input(rounds: int) -> dict:
    """Images per second of bare decoding and of both pipelines, and the pipelines' ratios to it."""
    import numpy as np
    import tensorflow as tf

    from tfbench.data import pipeline
    from tfbench.data.examples import Examples

    images = photographs(IMAGES)
    examples = Examples(images, np.zeros(IMAGES, np.int64), [f"{i:04d}" for i in range(IMAGES)], "")
    geometry = {"image_size": SIZE, "batch_size": 64}
    options = tf.data.Options()
    options.autotune.enabled = False
    bare = tf.data.Dataset.from_tensor_slices(tf.constant(images)).map(
        lambda encoded: tf.io.decode_jpeg(encoded, channels=3)[0, 0], num_parallel_calls=4 * os.cpu_count())
    feeds = {
        "decode_jpeg": bare.batch(64).prefetch(2).with_options(options),
        "training": pipeline.training_batches(examples, seed=0, first_step=0, steps=IMAGES // 64, min_crop_area=0.08,
                                              mirror=True, **geometry),
        "evaluation": pipeline.evaluation_batches(examples, **geometry),
    }
    seconds = median_seconds({name: lambda feed=feed: sum(1 for _ in feed) for name, feed in feeds.items()}, rounds)
    rates = {name: IMAGES / time_taken for name, time_taken in seconds.items()}
    return {"images_per_second": rates, "cores": os.cpu_count(), "jpeg_bytes": int(np.mean([len(i) for i in images])),
            "ratio_to_decode_jpeg": {name: rates[name] / rates["decode_jpeg"] for name in ("training", "evaluation")}}


def report_input(result: dict) -> list[str]:
    """What measure_input found, in lines."""
    cores = result["cores"]
    lines = [f"JPEGs of {SIDES[1]} × {SIDES[0]} pixels, {result['jpeg_bytes'] / 1000:.0f} kB, to {SIZE} × {SIZE}; "
             f"{cores} cores"]
    for name, rate in result["images_per_second"].items():
        ratio = result["ratio_to_decode_jpeg"].get(name)
        lines.append(f"  {name:<12} {rate:7.0f} images/s {rate / cores:7.0f} per core"
                     + (f"   {ratio:.2f} of decode_jpeg" if ratio else ""))
    return lines


def measure_features(rounds: int, network: str, batch_size: int) -> dict:
    """Images per second through a network with random weights: Keras's predict, ours, ours from JPEGs."""
    import numpy as np
    import tensorflow as tf

    from tfbench.data.examples import Examples
    from tfbench.data.pipeline import evaluation_batches
    from tfbench.linear import features
    from tfbench.models.build import build_network

    row = NETWORKS[network]
    model = build_network(network, num_classes=1)
    pixels = np.random.RandomState(0).randint(0, 256, (batch_size, row.image_size, row.image_size, 3))
    batch = tf.constant(pixels, tf.float32)
    scaled = pixels.astype(np.float32) / 127.5 - 1
    images = photographs(BATCHES * batch_size)
    examples = Examples(images, np.zeros(len(images), np.int64), [f"{i:04d}" for i in range(len(images))], "")
    extractors = {precision: features.make_extractor(network, None, None, row.image_size, "inception", 1, precision)
                  for precision in features.PRECISIONS}
    one = tf.data.Dataset.from_tensors((batch, np.arange(batch_size))).cache()

    def ours(precision):
        return lambda: extractors[precision](one, batch_size, "features")

    def from_jpeg(precision):
        batches = evaluation_batches(examples, image_size=row.image_size, batch_size=batch_size)
        return lambda: extractors[precision](batches, len(images), "features")

    runs = {"keras predict": lambda: model.predict(scaled, batch_size=batch_size, verbose=0)}
    runs |= {f"model, {precision}": ours(precision) for precision in features.PRECISIONS}
    runs |= {f"JPEG to features, {precision}": from_jpeg(precision) for precision in features.PRECISIONS}
    rates = {name: (len(images) if name.startswith("JPEG") else batch_size) / time_taken
             for name, time_taken in median_seconds(runs, rounds).items()}
    exact, reduced = (ours(precision)() for precision in features.PRECISIONS)
    ratios = {}
    for precision in features.PRECISIONS:
        alone, whole = f"model, {precision}", f"JPEG to features, {precision}"
        ratios |= {alone: rates[alone] / rates["keras predict"], whole: rates[whole] / rates[alone]}
    return {"network": network, "batch_size": batch_size, "images_per_second": rates, "ratios": ratios,
            "bfloat16_relative_error": float(np.linalg.norm(reduced - exact) / np.linalg.norm(exact))}


def report_features(result: dict) -> list[str]:
    """What measure_features found, in lines."""
    lines = [f"{result['network']}, random weights, batches of {result['batch_size']}"]
    for name, rate in result["images_per_second"].items():
        peer = "keras predict" if name.startswith("model") else "the model alone"
        lines.append(f"  {name:<28} {rate:7.1f} images/s"
                     + (f"   {result['ratios'][name]:.2f} of {peer}" if name in result["ratios"] else ""))
    return [*lines, f"  features in bfloat16 differ from those in float32 by {result['bfloat16_relative_error']:.1e}, "
            "relative"]


def synthetic_features(count: int, width: int, classes: int):
    """Features like a network's: rectified, correlated, of unequal scale; classes that overlap.

    Returns:
      (float32 [count, width], int64 [count]).
    """
    import numpy as np

    draw = np.random.RandomState(0)
    labels, hidden = np.arange(count) % classes, min(width, 256)
    inner = 0.7 * draw.randn(classes, hidden)[labels] + 1.5 * draw.randn(count, hidden)
    outer = inner @ draw.randn(hidden, width) / np.sqrt(hidden) + 0.3 * draw.randn(count, width)
    return (np.maximum(outer, 0) * np.exp(0.5 * draw.randn(width))).astype(np.float32), labels


def measure_linear(shape: str, peer_strengths: int, peer_seconds: float) -> dict:
    """Seconds of our path of 45 strengths and the refit, and of scikit-learn's solver for some of the strengths.

    The refit has a quarter more examples, as validation adds them, and starts from the fit without these. Each of
    scikit-learn's runs, in float32 and float64, of which the faster counts if any came as close, is started from our
    optimum at the strength before and stopped when F is as close to its minimum as our certificate demands, or when it
    can do no more, or after `peer_seconds`. So the ratio is a lower bound where it did not come as close.
    """
    import numpy as np

    from tfbench.cli.plan import matrix_rate
    from tfbench.linear import logistic
    from tfbench.logistic_regression import STRENGTHS

    count, width, classes = SHAPES[shape]
    more_features, more_labels = synthetic_features(count + count // 4, width, classes)
    features, labels = more_features[:count], more_labels[:count]
    settings = {"classes": classes, "max_iterations": 10000}
    list(logistic.path(features[:2 * classes], labels[:2 * classes], [1.0], **settings))  # traces
    start = time.perf_counter()
    fits = list(logistic.path(features, labels, STRENGTHS, **settings))
    path_seconds = time.perf_counter() - start
    middle = fits[len(fits) // 2]
    refit, = logistic.path(more_features, more_labels, [middle.strength], start=middle, **settings)
    ours = time.perf_counter() - start
    iterations = sum(fit.iterations for fit in fits)
    peers = []
    for number in np.linspace(1, len(fits) - 1, peer_strengths).round().astype(int):
        target = fits[number].objective + logistic.allowed_gap(fits[number].strength, fits[number].objective, count,
                                                               classes)
        tries = [peer(features.astype(kind), labels, fits[number - 1], fits[number].strength, target, peer_seconds)
                 for kind in (np.float32, np.float64)]
        reached = sorted((found for found in tries if found["reached"]), key=lambda found: found["seconds"])
        peers.append({"l2": fits[number].strength, **(reached or tries)[0 if reached else -1]})
    estimate = float(np.mean([found["seconds"] for found in peers])) * (len(fits) + 1)
    return {"shape": shape, "count": count, "width": width, "classes": classes, "seconds": ours,
            "path_seconds": path_seconds, "iterations": iterations,
            "certified": sum(fit.certified for fit in fits) + refit.certified, "fits": len(fits) + 1, "peers": peers,
            "peer_seconds": estimate, "ratio": estimate / ours,
            "matrix_share": iterations * 4 * count * width * classes / path_seconds / matrix_rate()}


def peer(features, labels, before, strength: float, target: float, most: float) -> dict:
    """scikit-learn's L-BFGS from the Fit `before` until F ≤ `target`, or `most` seconds are over."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    from tfbench.linear import logistic

    model = LogisticRegression(C=1 / strength, solver="lbfgs", warm_start=True, tol=1e-14, max_iter=CHUNK)
    model.coef_, model.intercept_ = before.weights.T.copy(), before.bias.copy()
    seconds, iterations, reached = 0.0, 0, False
    while seconds < most and not reached:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
        seconds += time.perf_counter() - start
        iterations += int(model.n_iter_[0])
        reached = logistic.objective(features, labels, strength, model.coef_.T, model.intercept_) <= target
        if model.n_iter_[0] < CHUNK and not reached:  # it can do no more
            break
    return {"seconds": seconds, "iterations": iterations, "reached": bool(reached), "dtype": str(features.dtype)}


def report_linear(result: dict) -> list[str]:
    """What measure_linear found, in lines."""
    lines = [f"{result['shape']}: {result['count']:,} × {result['width']:,} features, {result['classes']} classes",
             f"  45 strengths and the refit: {result['seconds']:.1f} s, {result['iterations']} iterations, "
             f"{result['certified']} of {result['fits']} certified, {100 * result['matrix_share']:.0f} % of the rate "
             "of matrix products"]
    for found in result["peers"]:
        lines.append(f"  scikit-learn, λ = {found['l2']:.3g}: {found['seconds']:.1f} s, {found['iterations']} "
                     f"iterations, {found['dtype']}" + ("" if found["reached"] else ", without coming as close"))
    at_least = "" if all(found["reached"] for found in result["peers"]) else "at least "
    return [*lines, f"  scikit-learn for all: {at_least}{result['peer_seconds']:.0f} s, {at_least}"
            f"{result['ratio']:.0f} times as long"]


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    if options.what == "input":
        found = [(measure_input(options.rounds), report_input)]
    elif options.what == "features":
        found = [(measure_features(options.rounds, options.model, options.batch_size), report_features)]
    else:
        found = ((measure_linear(shape, options.peer_strengths, options.peer_seconds), report_linear)
                 for shape in options.shapes)
    results = []
    for result, report in found:
        print("\n".join(report(result)), flush=True)
        results.append(result)
    if options.output:
        from tfbench.results import store

        store.write_json(options.output, results)


if __name__ == "__main__":
    define_flags()
    app.run(main)
