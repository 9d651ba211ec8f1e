"""Images per second from a batch, and from JPEGs, to features, beside keras.Model.predict, and PyTorch with timm."""

import numpy as np
import tensorflow as tf

from tfbench.benchmarks.input import photographs
from tfbench.benchmarks.timing import medians, ratios_of_rounds, say_ratio, seconds_of_rounds
from tfbench.benchmarks.torch_peer import TorchPeer
from tfbench.data.examples import Examples
from tfbench.data.pipeline import evaluation_batches
from tfbench.linear import features
from tfbench.models.build import build_network
from tfbench.models.catalog import NETWORKS
from tfbench.training.devices import graph_rewriting, without_autotuner

BATCHES = 4  # in a round: a call has costs of its own


def measure(rounds: int, network: str, batch_size: int, image_size: int | None = None,
            torch_python: str | None = None) -> dict:
    """Images per second through a network with random weights: by Keras's predict, by ours, and by ours from JPEGs.

    Each passes BATCHES batches in a round, but for the JPEGs one and the same batch. PyTorch's, where the interpreter
    `torch_python` has it, are timm's network in a process of its own.
    """
    size = image_size or NETWORKS[network].image_size
    model = build_network(network, num_classes=1, image_size=size)
    pixels = np.random.RandomState(0).randint(0, 256, (batch_size, size, size, 3))
    batch = tf.constant(pixels, tf.float32)
    scaled = without_autotuner(tf.data.Dataset.from_tensors(batch / 127.5 - 1).repeat(BATCHES))
    images = photographs(BATCHES * batch_size)
    examples = Examples(images, np.zeros(len(images), np.int64), [f"{i:04d}" for i in range(len(images))], "")
    extractors = {precision: features.make_extractor(
        network, weights_file=None, weights_sha256=None, image_size=size, value_range="inception", devices=1,
        precision=precision) for precision in features.PRECISIONS}
    same_batches = tf.data.Dataset.zip(tf.data.Dataset.from_tensors(batch).repeat(BATCHES),
                                       tf.data.Dataset.range(len(images)).batch(batch_size))

    def from_batch(precision):
        return lambda: extractors[precision](lambda shard: same_batches, len(images), "features")

    def from_jpeg(precision):
        return lambda: extractors[precision](
            lambda shard: evaluation_batches(examples, image_size=size, batch_size=batch_size, shard=shard),
            len(images), "features")

    def by_keras():
        with graph_rewriting():  # TensorFlow's own setting
            model.predict(scaled, verbose=0)

    runs = {"keras predict": by_keras}
    runs |= {f"model, {precision}": from_batch(precision) for precision in features.PRECISIONS}
    runs |= {f"JPEG to features, {precision}": from_jpeg(precision) for precision in features.PRECISIONS}
    peers = {f"PyTorch + timm, {precision}": TorchPeer(
        torch_python, network, train=False, batch_size=batch_size, image_size=size, steps=BATCHES,
        precision=precision, classes=1, learning_rate=0.0, momentum=0.0, l2=0.0) for precision in features.PRECISIONS}
    runs |= {name: peer for name, peer in peers.items() if peer.loops}
    try:
        seconds, processor_seconds = seconds_of_rounds(runs, rounds)
    finally:
        for peer in peers.values():
            peer.close()
    rates = {name: len(images) / time_taken for name, time_taken in medians(seconds).items()}
    exact, reduced = (from_batch(precision)() for precision in features.PRECISIONS)
    compared = {name: (f"model, {name.split(', ')[1]}", name) for name in peers if name in rates}  # ours, theirs
    for precision in features.PRECISIONS:
        model_only, from_files = f"model, {precision}", f"JPEG to features, {precision}"
        compared |= {model_only: (model_only, "keras predict"), from_files: (from_files, model_only)}
    return {"network": network, "batch_size": batch_size, "image_size": size, "images_per_second": rates,
            "seconds": seconds, **ratios_of_rounds(seconds, compared),
            "processor_seconds": processor_seconds, "by_processor": ratios_of_rounds(processor_seconds, compared),
            "peer": peers[f"PyTorch + timm, {features.PRECISIONS[0]}"].lines(),
            "bfloat16_relative_error": float(np.linalg.norm(reduced - exact) / np.linalg.norm(exact))}


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['network']}, random weights, batches of {result['batch_size']} images of "
             f"{result['image_size']} pixels"]
    for name, rate in result["images_per_second"].items():
        line = f"  {name:<28} {rate:7.1f} images/s"
        if name in result["ratios"]:
            times = f"{say_ratio(result, name)}, {say_ratio(result['by_processor'], name)} by the processor's seconds,"
            if name.startswith("PyTorch"):
                line += f"   our model runs at {times} of it"
            else:
                line += f"   {times} of {'keras predict' if name.startswith('model') else 'the model alone'}"
        lines.append(line)
    return [*lines, *result["peer"], "  features in bfloat16 differ from those in float32 by "
            f"{result['bfloat16_relative_error']:.1e}, relative"]
