"""Order, augmentation and geometry of the batches."""

import dataclasses
import io

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tfbench.data import pipeline
from tfbench.data.catalog import DATASETS
from tfbench.data.examples import Examples, StoredImages, load_split, select
from tfbench.data.pipeline import (
    InputShard,
    decode,
    distort_color,
    evaluation_batches,
    random_crop,
    resize,
    to_network,
    to_value_range,
    training_batches,
    training_order,
)

GEOMETRY = {"image_size": 16}
AUGMENTATION = {"batch_size": 4, "seed": 7, "min_crop_area": 0.3, "mirror": True}


@pytest.fixture(scope="module")
def examples():
    """Ten pictures of different sizes; number i is of grey level 20 i, with a white left column."""
    pictures = []
    for i in range(10):
        picture = np.full((20 + i, 24, 3), 20 * i, np.uint8)
        picture[:, 0] = 255
        pictures.append(tf.io.encode_png(picture).numpy())
    return Examples(images=np.array(pictures, object), labels=np.arange(10), keys=[f"{i}" for i in range(10)],
                    split_sha256="")


def test_every_epoch_is_another_permutation_and_any_part_can_be_drawn():
    def draw(first, number, seed=1):
        return np.array(list(training_order(10, first, seed).take(number).as_numpy_iterator()))

    order = draw(0, 40)
    for epoch in range(4):
        assert sorted(order[10 * epoch:10 * epoch + 10]) == list(range(10))
    assert not np.array_equal(order[:10], order[10:20])
    assert not np.array_equal(order, draw(0, 40, seed=2))
    for first, number in ((0, 7), (9, 2), (13, 20), (30, 10)):
        np.testing.assert_array_equal(draw(first, number), order[first:first + number])


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shard", [InputShard(), InputShard(host=1, num_hosts=2, num_batches=2)])
def test_small_images_that_are_seen_whole_are_decoded_once_to_the_same_batches(method, shard, monkeypatch):
    draw = np.random.RandomState(0)
    images = [tf.io.encode_png(draw.randint(0, 256, (8, 9, 1)).astype(np.uint8)).numpy() for _ in range(10)]
    examples = Examples(np.array(images, object), np.arange(10), [f"{i}" for i in range(10)], "")
    settings = {**AUGMENTATION, "batch_size": 8, "min_crop_area": 1.0, "image_size": 12, "method": method,
                "shard": shard, "first_step": 1, "steps": 6}
    assert pipeline.whole_images(examples).shape == (10, 8, 9, 3)
    once = list(training_batches(examples, **settings).as_numpy_iterator())
    monkeypatch.setattr(pipeline, "PIXEL_BYTES", 10 * 8 * 9 * 3 - 1)
    assert pipeline.whole_images(examples) is None
    again = list(training_batches(examples, **settings).as_numpy_iterator())
    assert len(once) == 5 * shard.num_batches
    for batch, other in zip(tf.nest.flatten(once), tf.nest.flatten(again), strict=True):
        np.testing.assert_array_equal(batch, other)


def test_images_of_several_sizes_or_kinds_are_decoded_as_they_come(examples):
    grey = np.zeros((8, 8, 3), np.uint8)
    jpegs, png = [tf.io.encode_jpeg(grey).numpy()] * 2, tf.io.encode_png(grey).numpy()
    assert pipeline.whole_images(examples) is None
    for images in (jpegs, [jpegs[0], png], [b""], [b"\x89PNG"]):
        assert pipeline.whole_images(dataclasses.replace(examples, images=np.array(images, object))) is None
    cropped = dataclasses.replace(examples, images=np.array([png] * 2, object), crop_bottom_rows=2)
    assert pipeline.whole_images(cropped) is None


@pytest.mark.parametrize("color_distortion", [False, True])
def test_resumed_training_sees_what_an_uninterrupted_one_sees(color_distortion, examples):
    settings = {**AUGMENTATION, **GEOMETRY, "color_distortion": color_distortion, "steps": 6}
    whole, rest = (list(training_batches(examples, first_step=step, **settings).as_numpy_iterator()) for step in (0, 4))
    assert len(whole) == 6 and len(rest) == 2
    for ((images, mirrored), labels), again in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(images, again[0][0])
        np.testing.assert_array_equal(mirrored, again[0][1])
        np.testing.assert_array_equal(labels, again[1])
    assert whole[0][0][0].shape == (4, 16, 16, 3) and whole[0][0][0].dtype == np.float32


@pytest.mark.parametrize("shard", [InputShard(), InputShard(host=1, num_hosts=2, num_batches=2)])
@pytest.mark.parametrize("at_once, cores", [(3, 64), (1000, 2)])
def test_images_read_from_records_make_the_batches_of_those_in_memory_from_any_step_on(at_once, cores, shard, data_dir,
                                                                                      monkeypatch):
    monkeypatch.setattr(pipeline, "READ_AT_ONCE", at_once)
    monkeypatch.setattr(pipeline.os, "cpu_count", lambda: 2)
    chosen = np.arange(5, 42)
    held, stored = (select(load_split(DATASETS["digits"], "test", data_dir, memory=memory), chosen)
                    for memory in (1 << 30, 0))
    assert isinstance(held.images, np.ndarray) and isinstance(stored.images, StoredImages)
    settings = {**AUGMENTATION, "batch_size": 8, "image_size": 12, "steps": 10, "shard": shard}
    for first_step in (0, 7):
        batches = list(training_batches(held, first_step=first_step, **settings).as_numpy_iterator())
        monkeypatch.setattr(pipeline.os, "cpu_count", lambda: cores)
        again = list(training_batches(stored, first_step=first_step, **settings).as_numpy_iterator())
        assert len(batches) == (10 - first_step) * shard.num_batches
        for batch, other in zip(tf.nest.flatten(batches), tf.nest.flatten(again), strict=True):
            np.testing.assert_array_equal(batch, other)
    batches, again = (list(evaluation_batches(part, batch_size=8, image_size=12, shard=shard).as_numpy_iterator())
                      for part in (held, stored))
    for batch, other in zip(tf.nest.flatten(batches), tf.nest.flatten(again), strict=True):
        np.testing.assert_array_equal(batch, other)


@pytest.mark.parametrize("hosts, num_batches", [(1, 4), (2, 1), (2, 2)])
def test_hosts_and_devices_share_the_same_batches(hosts, num_batches, examples):
    settings = {**AUGMENTATION, **GEOMETRY, "batch_size": 8, "first_step": 2, "steps": 5}
    whole = list(training_batches(examples, **settings).as_numpy_iterator())
    shards = [InputShard(host, hosts, num_batches) for host in range(hosts)]
    parts = [list(training_batches(examples, shard=shard, **settings).as_numpy_iterator()) for shard in shards]
    for number, ((images, mirrored), labels) in enumerate(whole):
        step = [element for part in parts for element in part[number * num_batches:(number + 1) * num_batches]]
        np.testing.assert_array_equal(np.concatenate([element[0][0] for element in step]), images)
        np.testing.assert_array_equal(np.concatenate([element[0][1] for element in step]), mirrored)
        np.testing.assert_array_equal(np.concatenate([element[1] for element in step]), labels)
    seen = [list(evaluation_batches(examples, batch_size=8, shard=shard, **GEOMETRY).as_numpy_iterator())
            for shard in shards]
    indices = [element[1] for number in range(2) for part in seen
               for element in part[number * num_batches:(number + 1) * num_batches]]
    np.testing.assert_array_equal(np.concatenate(indices), [*range(10), *[-1] * 6])


def test_training_crops_and_mirrors_at_random(examples):
    def draw(**changes):
        batches = training_batches(examples, first_step=0, steps=25, **{**AUGMENTATION, **changes}, **GEOMETRY)
        return np.concatenate([to_network(images, "inception", mirrored) for (images, mirrored), _ in batches])

    def bright(images, column):  # images whose column shows the white line
        return (images[:, 8, column, 0] > images[:, 8, 7, 0] + 0.01).mean()

    plain = draw(min_crop_area=1.0, mirror=False)
    assert bright(plain, 0) > 0.85 and bright(plain, -1) == 0
    mirrored = draw(min_crop_area=1.0)
    assert 0.25 < bright(mirrored, 0) < 0.75 and 0.25 < bright(mirrored, -1) < 0.75
    assert bright(draw(mirror=False), 0) < 0.7  # most crops lose the line at the edge
    assert not np.array_equal(draw(), draw(seed=8))


def test_colours_are_distorted_as_by_tensorflows_functions_in_either_order():
    image = tf.random.stateless_uniform([5, 6, 3], [1, 2]) * 255
    seen, deltas = set(), []
    for position in range(40):
        draw = tf.constant([3, position], tf.int64)
        changed = distort_color(image, draw).numpy()
        np.testing.assert_array_equal(changed, distort_color(image, draw))
        u = tf.random.stateless_uniform([3], draw + tf.constant([0, 1 << 41], tf.int64)).numpy()
        delta, factor = (2 * u[0] - 1) * 32 / 255, 0.5 + u[1]
        unit = image / 255
        orders = (tf.image.adjust_brightness(tf.image.adjust_saturation(unit, factor), delta),
                  tf.image.adjust_saturation(tf.image.adjust_brightness(unit, delta), factor))
        same = [np.allclose(changed / 255, order, atol=1e-5) for order in orders]
        assert any(same)
        seen.add(tuple(same))
        deltas.append(delta * 255)
    assert seen >= {(True, False), (False, True)} and -32 <= min(deltas) < -20 and 20 < max(deltas) <= 32


def jpeg(picture):
    return tf.io.encode_jpeg(picture, quality=100, chroma_downsampling=False)


@pytest.mark.parametrize("encode", [tf.io.encode_png, jpeg])
def test_crops_keep_to_area_and_aspect(encode):
    """A picture of its own coordinates tells what part of it a crop shows."""
    rows, columns = np.meshgrid(np.arange(100), np.arange(200), indexing="ij")
    encoded = encode(np.stack([rows, columns, 0 * rows], -1).astype(np.uint8))
    areas, aspects = [], []
    for i in range(200):
        crop = random_crop(encoded, 64, 0.25, tf.constant([3, i], tf.int64)).numpy()
        height, width = np.ptp(crop[..., 0]) + 1, np.ptp(crop[..., 1]) + 1
        areas.append(height * width / 20000)
        aspects.append(width / height)
    assert min(areas) > 0.22 and max(areas) < 0.67 and np.ptp(areas) > 0.25  # 4/3 of the short side at most
    assert min(aspects) > 0.7 and max(aspects) < 1.4 and np.ptp(aspects) > 0.4


def test_a_crop_of_a_jpeg_is_part_of_the_whole_jpeg():
    """The same draw from a JPEG, whose crop is decoded alone, and from its pixels as PNG."""
    encoded = jpeg(np.random.RandomState(0).randint(0, 255, (120, 160, 3), np.uint8))
    pixels = tf.io.encode_png(decode(encoded))
    for i in range(20):
        draw = tf.constant([5, i], tf.int64)
        crops = [random_crop(source, 32, 0.1, draw) for source in (encoded, pixels)]
        np.testing.assert_array_equal(*crops)


def test_decoding_equals_pillow():
    picture = np.random.RandomState(0).randint(0, 255, (33, 47, 3), np.uint8)
    encoded = tf.io.encode_jpeg(picture, quality=80).numpy()
    np.testing.assert_array_equal(decode(encoded), PIL.Image.open(io.BytesIO(encoded)))


@pytest.mark.parametrize("mode, kind", [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("LA", "PNG"),
                                        ("P", "GIF"), ("RGB", "BMP"), ("1", "PNG")])
def test_images_of_every_mode_become_rgb(mode, kind):
    colour = {"L": 200, "CMYK": (0, 55, 55, 0), "RGBA": (255, 200, 200, 255), "LA": (200, 255), "1": 1,
              "RGB": (255, 200, 200)}
    picture = PIL.Image.new("RGB", (20, 10), (255, 200, 200)).quantize(4) if mode == "P" else PIL.Image.new(
        mode, (20, 10), colour[mode])
    file = io.BytesIO()
    picture.save(file, kind)
    expected = {"L": (200,) * 3, "LA": (200,) * 3, "1": (255,) * 3}.get(mode, (255, 200, 200))
    for image in (decode(file.getvalue()), random_crop(file.getvalue(), 16, 0.5, tf.constant([1, 1], tf.int64))):
        assert image.shape[-1] == 3
        np.testing.assert_allclose(np.asarray(image, np.float32).mean((0, 1)), expected, atol=2)


def test_evaluation_is_ordered_whole_and_padded(examples):
    batches = list(evaluation_batches(examples, batch_size=4, **GEOMETRY).as_numpy_iterator())
    indices = np.concatenate([index for _, index in batches])
    np.testing.assert_array_equal(indices, [*range(10), -1, -1])
    images = np.concatenate([to_network(images, "inception") for images, _ in batches])
    np.testing.assert_allclose(images[:10, 8, 8, 0], np.arange(10) * 20 / 127.5 - 1, atol=1e-5)
    assert images.min() >= -1 and images.max() <= 1  # bicubic overshoot is clipped


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_resizing_is_tensorflow_1s(method, examples):
    image = np.random.RandomState(0).randint(0, 255, (37, 50, 3), np.uint8)
    expected = getattr(tf.compat.v1.image, f"resize_{method}")(image[None], [24, 24])[0]
    np.testing.assert_allclose(resize(tf.constant(image), 24, method), expected, atol=1e-4)
    assert np.abs(tf.image.resize(image, [24, 24], method) - expected).max() > 1  # that one shifts
    one = dataclasses.replace(examples, images=np.array([tf.io.encode_png(image).numpy()], object), labels=np.zeros(1))
    (trained, _), _ = next(iter(training_batches(one, image_size=24, batch_size=1, seed=0, first_step=0, steps=1,
                                                 min_crop_area=1.0, mirror=False, method=method)))
    (tested, _), = evaluation_batches(one, image_size=24, batch_size=1, method=method)
    for batch in (trained, tested):  # training and testing alike
        np.testing.assert_allclose(batch[0], expected, atol=1e-4)


def test_the_middle_is_seen_alone(examples):
    """Of a picture of its own columns, 87.5 % show columns from a sixteenth on."""
    columns = np.tile(np.arange(160, dtype=np.uint8)[None, :, None], (80, 1, 3))
    picture = tf.io.encode_png(columns).numpy()
    one = dataclasses.replace(examples, images=np.array([picture], object), labels=np.zeros(1))
    for fraction, first, last in ((1.0, 0, 159), (0.875, 10, 149)):
        (images, _), = evaluation_batches(one, batch_size=1, image_size=160, central_fraction=fraction)
        assert abs(float(images[0, 80, 0, 0]) - first) <= 1 and abs(float(images[0, 80, -1, 0]) - last) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_credit_line_is_cut_off(examples, kind):
    picture = np.zeros((64, 48, 3), np.uint8)
    picture[-16:] = 255
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, kind, **({"quality": 100} if kind == "JPEG" else {}))
    one = dataclasses.replace(examples, images=np.array([file.getvalue()], object), labels=np.zeros(1, np.int64))
    for cut, brightest in ((0, 255), (16, 20)):
        shown = dataclasses.replace(one, crop_bottom_rows=cut)
        evaluated = [images for images, _ in evaluation_batches(shown, batch_size=1, **GEOMETRY)]
        trained = [images for (images, _), _ in training_batches(
            shown, first_step=0, steps=40, batch_size=1, seed=1, min_crop_area=0.5, mirror=False, **GEOMETRY)]
        for images in (evaluated, trained):
            found = max(float(tf.reduce_max(image)) for image in images)
            assert found > 250 if brightest == 255 else found < brightest


@pytest.mark.parametrize("value_range, mode", [("inception", "tf"), ("caffe", "caffe"), ("torch", "torch")])
def test_value_ranges_equal_keras(value_range, mode):
    images = np.random.RandomState(0).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    np.testing.assert_allclose(to_value_range(tf.constant(images), value_range), expected, atol=1e-4)
