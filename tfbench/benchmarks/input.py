"""Images per second through the input pipeline, from memory and from record files, beside bare tf.io.decode_jpeg.

All is measured in one process and in two at once: networks that a study trains side by side read on one machine.
"""

import concurrent.futures
import functools
import hashlib
import multiprocessing
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tfbench import paper
from tfbench.benchmarks.timing import medians, seconds_of_rounds
from tfbench.data import index, pipeline
from tfbench.data.examples import Examples, StoredImages

IMAGES = 512
JPEG_SHAPE = (375, 500)  # height and width, those of many photographs in ImageNet, VOC2007 and Caltech-101
GRAIN = 21.5  # by which they have ImageNet's mean size, 110 kB
SIZE = 224  # of the network's input
BATCH_SIZE = 64
FILES = 8  # of records
PROCESSES = 2

_meet = None  # of the processes that measure at the same time: waits for all of them


def photographs(count: int):
    """`count` JPEGs of smooth colours with grain, of quality 90 and ImageNet's mean size, 110 kB.

    Returns:
      [count] object, encoded bytes.
    """
    draw, images = np.random.RandomState(0), []
    for _ in range(16):
        coarse = tf.image.resize(draw.uniform(0, 255, (24, 32, 3)), JPEG_SHAPE, "bicubic").numpy()
        pixels = np.clip(coarse + draw.normal(0, GRAIN, (*JPEG_SHAPE, 3)), 0, 255).astype(np.uint8)
        images.append(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return np.array([images[i % len(images)] for i in range(count)], object)


def write_records(images, folder) -> None:
    """Images in FILES files of records with their index, as those of a prepared data set lie in its folder."""
    files, rows = [f"made_up-train.tfrecord-{number:05d}-of-{FILES:05d}" for number in range(FILES)], []
    for shard, name in enumerate(files):
        offset = 0
        with tf.io.TFRecordWriter(str(pathlib.Path(folder) / name)) as writer:
            for number in range(shard, len(images), FILES):
                image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[images[number]]))
                record = tf.train.Example(features=tf.train.Features(feature={"image": image})).SerializeToString()
                writer.write(record)
                rows.append((f"{number:09d}", shard, offset + index.HEADER_BYTES, len(record), len(images[number]),
                             hashlib.sha256(record).digest()))
                offset += index.HEADER_BYTES + len(record) + index.FOOTER_BYTES
    *columns, digests = zip(*sorted(rows), strict=True)
    keys, shards, offsets, lengths, sizes = map(np.array, columns)
    hashes = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    index.Index(np.array(files), keys, np.zeros(len(keys), np.int64), np.full(len(keys), "train"), shards, offsets,
                lengths, hashes, sizes, hashes).save(pathlib.Path(folder) / index.FILE)


def feeds(folder) -> dict[str, tf.data.Dataset]:
    """What is measured, by name: data sets that go through all images of a folder of `write_records` once."""
    entries = index.load(folder)
    count = len(entries.keys)
    stored = StoredImages(str(folder), entries, np.arange(count))
    images = np.array([stored[position] for position in range(count)], object)
    examples, on_disk = (Examples(content, entries.labels, entries.keys.tolist(), "") for content in (images, stored))
    options = tf.data.Options()
    options.autotune.enabled = False

    def batches(elements):
        return elements.batch(BATCH_SIZE).prefetch(2).with_options(options)

    def training(content: Examples):
        return pipeline.training_batches(
            content, image_size=SIZE, batch_size=BATCH_SIZE, seed=0, first_step=0, steps=count // BATCH_SIZE,
            min_crop_area=paper.MIN_CROP_AREA, mirror=True)

    encoded = pipeline.reader(stored)
    return {
        "decode_jpeg": batches(tf.data.Dataset.from_tensor_slices(tf.constant(images)).map(
            lambda image: tf.io.decode_jpeg(image, channels=3)[0, 0], num_parallel_calls=4 * (os.cpu_count() or 1))),
        "training": training(examples),
        "evaluation": pipeline.evaluation_batches(examples, image_size=SIZE, batch_size=BATCH_SIZE),
        "training_from_files": training(on_disk),
        "files_alone": batches(pipeline.with_records(pipeline.training_order(count, 0, 0).take(count), stored).map(
            lambda number, record: tf.strings.length(encoded(number, record)), num_parallel_calls=os.cpu_count() or 1)),
    }


def seconds(folder, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds that all images take by `feeds`, by name: of the clock and of the processor.

    Of several processes, each waits after each pass until all of them are through.
    """
    if _meet:
        tf.config.set_visible_devices([], "GPU")  # which one process alone can hold

    def go_through(feed) -> None:
        for _ in feed:
            pass
        if _meet:
            _meet.wait()

    calls = {name: functools.partial(go_through, feed) for name, feed in feeds(folder).items()}
    clock, processor = map(medians, seconds_of_rounds(calls, rounds))
    return {name: (clock[name], processor[name]) for name in calls}


def measure(rounds: int) -> dict:
    """Images per second of bare decoding and of the pipelines, their ratios to it, and milliseconds of a processor."""
    with tempfile.TemporaryDirectory() as folder:
        images = photographs(IMAGES)
        write_records(images, folder)
        alone = seconds(folder, rounds)
        results = {1: alone} | ({PROCESSES: _side_by_side(folder, rounds)} if PROCESSES > 1 else {})
    rates = {name: IMAGES / time_taken for name, (time_taken, _) in alone.items()}
    return {"images_per_second": rates, "cores": os.cpu_count() or 1,
            "jpeg_bytes": int(np.mean([len(image) for image in images])),
            "ratio_to_decode_jpeg": {name: rates[name] / rates["decode_jpeg"]
                                     for name in rates if name not in ("decode_jpeg", "files_alone")},
            "processes": {str(number): {name: number * IMAGES / time_taken for name, (time_taken, _) in result.items()}
                          for number, result in results.items()},
            "processor_ms_per_image": {name: 1000 * used / IMAGES for name, (_, used) in alone.items()}}


def _side_by_side(folder, rounds: int) -> dict[str, tuple[float, float]]:
    """`seconds` of one of PROCESSES processes that go through the images at the same time."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
            PROCESSES, context, initializer=_join, initargs=(context.Barrier(PROCESSES),)) as pool:
        return [task.result() for task in [pool.submit(seconds, folder, rounds) for _ in range(PROCESSES)]][0]


def _join(barrier) -> None:
    global _meet
    _meet = barrier


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    cores, (height, width) = result["cores"], JPEG_SHAPE
    several = {number: rates for number, rates in result["processes"].items() if number != "1"}
    lines = [f"JPEGs of {width} × {height} pixels, {result['jpeg_bytes'] / 1000:.0f} kB, to {SIZE} × {SIZE}; "
             f"{cores} cores"]
    for name, rate in result["images_per_second"].items():
        ratio = result["ratio_to_decode_jpeg"].get(name)
        lines.append(f"  {name:<19} {rate:7.0f} images/s {rate / cores:7.0f} per core "
                     f"{result['processor_ms_per_image'][name]:6.2f} ms of a core each"
                     + "".join(f" {rates[name]:7.0f} images/s in {number} processes"
                               for number, rates in several.items())
                     + (f"   {ratio:.2f} of decode_jpeg" if ratio else ""))
    return lines
