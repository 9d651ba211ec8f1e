"""Measures this machine: ratios against the plain library call that does the same work, in one run.

  python -m tfbench.benchmark --what=input

--what=input: images per second through the input pipeline (decode, crop, resize, batch) from
JPEGs of 500 × 375 pixels in memory, beside bare tf.io.decode_jpeg on the same threads.
"""

import os
import time

from tfbench.cli import app
from tfbench.cli import flags as cli

IMAGES = 512
SIDES = (375, 500)  # height and width of the JPEGs, those of many photographs in VOC2007 and Caltech-101
SIZE = 224


def define_flags(fv=cli.flags.FLAGS) -> None:
    """The flags of this program."""
    cli.flags.DEFINE_enum("what", "input", ["input"], "what to measure", flag_values=fv)
    cli.flags.DEFINE_integer("rounds", 5, "times each is measured, in turn; the median counts", lower_bound=1,
                             flag_values=fv)
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
    seconds = {name: [] for name in feeds}
    for _ in range(rounds + 1):  # the first warms up
        for name, feed in feeds.items():
            start = time.perf_counter()
            for _batch in feed:
                pass
            seconds[name].append(time.perf_counter() - start)
    rates = {name: IMAGES / float(np.median(times[1:])) for name, times in seconds.items()}
    return {"images_per_second": rates, "cores": os.cpu_count(), "jpeg_bytes": int(np.mean([len(i) for i in images])),
            "ratio_to_decode_jpeg": {name: rates[name] / rates["decode_jpeg"] for name in ("training", "evaluation")}}


def main(argv) -> None:
    del argv
    options = cli.own(define_flags)
    result = measure_input(options.rounds)
    cores = result["cores"]
    print(f"JPEGs of {SIDES[1]} × {SIDES[0]} pixels, {result['jpeg_bytes'] / 1000:.0f} kB, to {SIZE} × {SIZE}; "
          f"{cores} cores")
    for name, rate in result["images_per_second"].items():
        ratio = result["ratio_to_decode_jpeg"].get(name)
        print(f"  {name:<12} {rate:7.0f} images/s {rate / cores:7.0f} per core"
              + (f"   {ratio:.2f} of decode_jpeg" if ratio else ""))
    if options.output:
        from tfbench.results import store

        store.write_json(options.output, result)


if __name__ == "__main__":
    define_flags()
    app.run(main)
