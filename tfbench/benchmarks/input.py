"""Images per second through the input pipeline, beside bare tf.io.decode_jpeg on the same threads."""

import os

import numpy as np
import tensorflow as tf

from tfbench import paper
from tfbench.benchmarks.timing import median_seconds
from tfbench.data import pipeline
from tfbench.data.examples import Examples

IMAGES = 512
JPEG_SHAPE = (375, 500)  # height and width, those of many photographs in VOC2007 and Caltech-101
SIZE = 224  # of the network's input
BATCH_SIZE = 64


def photographs(count: int):
    """`count` JPEGs of smooth colours with grain, of quality 90 and VOC2007's mean size, 87 kB.

    Returns:
      [count] object, encoded bytes.
    """
    draw, images = np.random.RandomState(0), []
    for _ in range(16):
        coarse = tf.image.resize(draw.uniform(0, 255, (24, 32, 3)), JPEG_SHAPE, "bicubic").numpy()
        pixels = np.clip(coarse + draw.normal(0, 12.5, (*JPEG_SHAPE, 3)), 0, 255).astype(np.uint8)
        images.append(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return np.array([images[i % len(images)] for i in range(count)], object)


def measure(rounds: int) -> dict:
    """Images per second of bare decoding and of both pipelines, and the pipelines' ratios to it."""
    images = photographs(IMAGES)
    examples = Examples(images, np.zeros(IMAGES, np.int64), [f"{i:04d}" for i in range(IMAGES)], "")
    cores = os.cpu_count() or 1
    options = tf.data.Options()
    options.autotune.enabled = False
    bare = tf.data.Dataset.from_tensor_slices(tf.constant(images)).map(
        lambda encoded: tf.io.decode_jpeg(encoded, channels=3)[0, 0], num_parallel_calls=4 * cores)
    feeds = {
        "decode_jpeg": bare.batch(BATCH_SIZE).prefetch(2).with_options(options),
        "training": pipeline.training_batches(
            examples, image_size=SIZE, batch_size=BATCH_SIZE, seed=0, first_step=0, steps=IMAGES // BATCH_SIZE,
            min_crop_area=paper.MIN_CROP_AREA, mirror=True),
        "evaluation": pipeline.evaluation_batches(examples, image_size=SIZE, batch_size=BATCH_SIZE),
    }
    seconds = median_seconds({name: lambda feed=feed: sum(1 for _ in feed) for name, feed in feeds.items()}, rounds)
    rates = {name: IMAGES / time_taken for name, time_taken in seconds.items()}
    return {"images_per_second": rates, "cores": cores, "jpeg_bytes": int(np.mean([len(i) for i in images])),
            "ratio_to_decode_jpeg": {name: rates[name] / rates["decode_jpeg"] for name in ("training", "evaluation")}}


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    cores, (height, width) = result["cores"], JPEG_SHAPE
    lines = [f"JPEGs of {width} × {height} pixels, {result['jpeg_bytes'] / 1000:.0f} kB, to {SIZE} × {SIZE}; "
             f"{cores} cores"]
    for name, rate in result["images_per_second"].items():
        ratio = result["ratio_to_decode_jpeg"].get(name)
        lines.append(f"  {name:<12} {rate:7.0f} images/s {rate / cores:7.0f} per core"
                     + (f"   {ratio:.2f} of decode_jpeg" if ratio else ""))
    return lines
