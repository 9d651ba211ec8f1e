"""Images per second from a batch, and from JPEGs, to features, beside keras.Model.predict, and PyTorch with timm."""

import numpy as np
import tensorflow as tf

from tfbench.benchmarks.input import photographs
from tfbench.benchmarks.timing import median_seconds
from tfbench.benchmarks.torch_peer import TorchPeer
from tfbench.data.examples import Examples
from tfbench.data.pipeline import evaluation_batches
from tfbench.linear import features
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS

BATCHES = 4  # of JPEGs, from which features are made


def measure(rounds: int, network: str, batch_size: int, image_size: int | None = None,
            torch_python: str | None = None) -> dict:
    """Images per second through a network with random weights: by Keras's predict, by ours, and by ours from JPEGs.

    PyTorch's, where the interpreter `torch_python` has it, are timm's network on one batch, in a process of its own.
    """
    size = image_size or NETWORKS[network].image_size
    model = build_network(network, num_classes=1, image_size=size)
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
    peers = {f"PyTorch + timm, {precision}": TorchPeer(
        torch_python, network, train=False, batch_size=batch_size, image_size=size, steps=1, precision=precision,
        classes=1, learning_rate=0.0, momentum=0.0, l2=0.0) for precision in features.PRECISIONS}
    runs |= {name: peer for name, peer in peers.items() if peer.loops}
    try:
        seconds = median_seconds(runs, rounds)
    finally:
        for peer in peers.values():
            peer.close()
    rates = {name: (len(images) if name.startswith("JPEG") else batch_size) / time_taken
             for name, time_taken in seconds.items()}
    exact, reduced = (from_batch(precision)() for precision in features.PRECISIONS)
    ratios: dict[str, float] = {}
    for precision in features.PRECISIONS:
        model_only, from_files = f"model, {precision}", f"JPEG to features, {precision}"
        ratios |= {model_only: rates[model_only] / rates["keras predict"],
                   from_files: rates[from_files] / rates[model_only]}
    ratios |= {name: rates[f"model, {precision}"] / rates[name] for precision in features.PRECISIONS
               if (name := f"PyTorch + timm, {precision}") in rates}
    return {"network": network, "batch_size": batch_size, "image_size": size, "images_per_second": rates,
            "ratios": ratios, "peer": peers[f"PyTorch + timm, {features.PRECISIONS[0]}"].lines(),
            "bfloat16_relative_error": float(np.linalg.norm(reduced - exact) / np.linalg.norm(exact))}


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['network']}, random weights, batches of {result['batch_size']} images of "
             f"{result['image_size']} pixels"]
    for name, rate in result["images_per_second"].items():
        line = f"  {name:<28} {rate:7.1f} images/s"
        if name.startswith("PyTorch"):
            line += f"   our model runs at {result['ratios'][name]:.2f} of it"
        elif name in result["ratios"]:
            reference = "keras predict" if name.startswith("model") else "the model alone"
            line += f"   {result['ratios'][name]:.2f} of {reference}"
        lines.append(line)
    return [*lines, *result["peer"], "  features in bfloat16 differ from those in float32 by "
            f"{result['bfloat16_relative_error']:.1e}, relative"]
