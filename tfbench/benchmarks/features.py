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
    """Images per second through a network with random weights: Keras's predict, ours, ours from JPEGs."""
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
        return lambda: extractors[precision](lambda part: one, batch_size, "features")

    def from_jpeg(precision):
        return lambda: extractors[precision](
            lambda part: evaluation_batches(examples, image_size=row.image_size, batch_size=batch_size, shard=part),
            len(images), "features")

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


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['network']}, random weights, batches of {result['batch_size']}"]
    for name, rate in result["images_per_second"].items():
        peer = "keras predict" if name.startswith("model") else "the model alone"
        lines.append(f"  {name:<28} {rate:7.1f} images/s"
                     + (f"   {result['ratios'][name]:.2f} of {peer}" if name in result["ratios"] else ""))
    return [*lines, f"  features in bfloat16 differ from those in float32 by {result['bfloat16_relative_error']:.1e}, "
            "relative"]
