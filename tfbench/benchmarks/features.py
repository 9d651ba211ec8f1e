"""Images per second from a batch, and from JPEGs, to features, beside keras.Model.predict."""

import numpy as np
import tensorflow as tf

from tfbench.benchmarks.input import photographs
from tfbench.benchmarks.timing import median_seconds
from tfbench.data.examples import Examples
from tfbench.data.pipeline import evaluation_batches
from tfbench.linear import features
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS

BATCHES = 4  # of JPEGs, from which features are made


def measure(rounds: int, network: str, batch_size: int) -> dict:
    """Images per second through a network with random weights: by Keras's predict, by ours, and by ours from JPEGs."""
    size, model = NETWORKS[network].image_size, build_network(network, num_classes=1)
    pixels = np.random.RandomState(0).randint(0, 256, (batch_size, size, size, 3))
    batch = tf.constant(pixels, tf.float32)
    scaled = pixels.astype(np.float32) / 127.5 - 1
    images = photographs(BATCHES * batch_size)
    examples = Examples(images, np.zeros(len(images), np.int64), [f"{i:04d}" for i in range(len(images))], "")
    extractors = {precision: features.make_extractor(
        network, weights_file=None, weights_sha256=None, image_size=size, value_range="inception", devices=1,
        precision=precision) for precision in features.PRECISIONS}
    one_batch = tf.data.Dataset.from_tensors((batch, np.arange(batch_size))).cache()

    def from_batch(precision):
        return lambda: extractors[precision](lambda part: one_batch, batch_size, "features")

    def from_jpeg(precision):
        return lambda: extractors[precision](
            lambda shard: evaluation_batches(examples, image_size=size, batch_size=batch_size, shard=shard),
            len(images), "features")

    runs = {"keras predict": lambda: model.predict(scaled, batch_size=batch_size, verbose=0)}
    runs |= {f"model, {precision}": from_batch(precision) for precision in features.PRECISIONS}
    runs |= {f"JPEG to features, {precision}": from_jpeg(precision) for precision in features.PRECISIONS}
    rates = {name: (len(images) if name.startswith("JPEG") else batch_size) / time_taken
             for name, time_taken in median_seconds(runs, rounds).items()}
    exact, reduced = (from_batch(precision)() for precision in features.PRECISIONS)
    ratios: dict[str, float] = {}
    for precision in features.PRECISIONS:
        model_only, from_files = f"model, {precision}", f"JPEG to features, {precision}"
        ratios |= {model_only: rates[model_only] / rates["keras predict"],
                   from_files: rates[from_files] / rates[model_only]}
    return {"network": network, "batch_size": batch_size, "images_per_second": rates, "ratios": ratios,
            "bfloat16_relative_error": float(np.linalg.norm(reduced - exact) / np.linalg.norm(exact))}


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['network']}, random weights, batches of {result['batch_size']}"]
    for name, rate in result["images_per_second"].items():
        line = f"  {name:<28} {rate:7.1f} images/s"
        if name in result["ratios"]:
            reference = "keras predict" if name.startswith("model") else "the model alone"
            line += f"   {result['ratios'][name]:.2f} of {reference}"
        lines.append(line)
    return [*lines, f"  features in bfloat16 differ from those in float32 by {result['bfloat16_relative_error']:.1e}, "
            "relative"]
