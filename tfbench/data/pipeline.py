"""From encoded images to batches for a network: training (random) and evaluation (exact).

Training order and augmentation are pure functions of (seed, position), the position being the
number of images drawn before: a run resumed at step s sees what an uninterrupted one would.

JPEGs are decoded with the accurate integer transform, which equals Pillow's decoder bit for bit
(TensorFlow's default does not); of a training image only the crop is decoded, which is the same pixels
but for the crop's last column where colours are stored at half resolution. Resizing samples where TensorFlow
1 did, with which the paper and TF-Slim's weights were made: output pixel i at input position i · scale,
no half-pixel shift and no antialiasing.

What costs more to write than to compute is left to the device that holds the network (`to_network`): a batch
has 256 levels, as float32, until then.
"""

import dataclasses
import os
import struct

import numpy as np
import tensorflow as tf

from tfbench.data.examples import Examples, StoredImages
from tfbench.errors import UserError

# Per-channel statistics of ImageNet: Caffe's mean (B, G, R; 0 to 255), torchvision's (R, G, B; 0 to 1).
CAFFE_MEAN = (103.939, 116.779, 123.68)
RGB_MEAN = (123.68, 116.78, 103.94)  # as TF-Slim rounds it
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_STD = (0.229, 0.224, 0.225)

ASPECT_RATIOS = (3 / 4, 4 / 3)  # of random crops, as in Inception's training
MAX_BRIGHTNESS, SATURATION = 32.0, (0.5, 1.5)  # of distort_color: added, of 255; factor

READERS, READ_AT_ONCE = 8, 16  # threads that read stored images, and images that each reads at a time
CORES_PER_COPIER = 16  # of which one copies images into batches
PIXEL_BYTES = 1 << 28  # of decoded images, up to which a training decodes each once

as_written = tf.autograph.experimental.do_not_convert  # loops and conditions are Python's; converting them takes time


@dataclasses.dataclass(frozen=True)
class InputShard:
    """The images of every global batch that one host reads. What a global batch holds does not depend on it.

    Attributes:
      host, num_hosts: index of this host, and how many there are; each reads an equal, contiguous part of every batch.
      num_batches: elements per step, one for each device of the host and micro-batch, in this order.
    """

    host: int = 0
    num_hosts: int = 1
    num_batches: int = 1

    def local_batch_size(self, batch_size: int) -> int:
        """Images of a global batch that this host reads."""
        return batch_size // self.num_hosts

    def per_replica_batch_size(self, batch_size: int) -> int:
        """Images of one element: of one micro-batch on one device.

        Raises:
          UserError: not all elements can be of one size.
        """
        elements = self.num_hosts * self.num_batches
        if batch_size % elements:
            raise UserError(f"--batch_size={batch_size} cannot be shared equally by {elements} devices or "
                            f"micro-batches: take a multiple of {elements}")
        return batch_size // elements


WHOLE = InputShard()


def to_network(images, value_range: str, mirrored=None):
    """The last steps from a batch to what a network takes, on its device.

    Args:
      images: [batch, size, size, 3] float32, RGB, about 0 to 255: bicubic interpolation overshoots.
      value_range: of the network, or of its weights' metadata.
      mirrored: [batch] bool, which images to mirror.
    """
    if mirrored is not None:
        images = tf.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    return to_value_range(tf.clip_by_value(images, 0.0, 255.0), value_range)


def to_value_range(image, value_range: str):
    """Maps RGB images, float32 in [0, 255], to the value range of a network.

    Args:
      image: [..., 3].
      value_range: "inception" (-1 to 1), "unit" (0 to 1), "pixels" (as they are), "caffe" (BGR), "rgb_mean" or "torch".

    Raises:
      ValueError: another value range.
    """
    if value_range == "inception":
        return image / 127.5 - 1.0
    if value_range == "unit":
        return image / 255.0
    if value_range == "pixels":
        return image
    if value_range == "caffe":
        return image[..., ::-1] - tf.constant(CAFFE_MEAN)
    if value_range == "rgb_mean":
        return image - tf.constant(RGB_MEAN)
    if value_range == "torch":
        return (image / 255.0 - tf.constant(TORCH_MEAN)) / tf.constant(TORCH_STD)
    raise ValueError(f"unknown value range {value_range!r}")


def epoch_order(count: int, epoch: int, seed: int) -> np.ndarray:
    """The order of the images in an epoch, a permutation of 0 … count-1, int64."""
    return np.random.RandomState([seed, epoch]).permutation(count)


def training_order(count: int, first: int, seed: int) -> tf.data.Dataset:
    """Indices of the images at positions first, first+1, … without end: one permutation per epoch."""
    @as_written
    def of_epoch(epoch):
        order = tf.numpy_function(lambda number: epoch_order(count, int(number), seed), [epoch], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, [count]))

    epochs = tf.data.Dataset.counter(first // count, dtype=tf.int64)
    return epochs.flat_map(of_epoch).skip(first % count)


def training_batches(examples: Examples, *, image_size: int, batch_size: int, seed: int, first_step: int, steps: int,
                     min_crop_area: float, mirror: bool, method: str = "bilinear", color_distortion: bool = False,
                     shard: InputShard = WHOLE) -> tf.data.Dataset:
    """Batches of randomly cropped images for steps first_step … steps-1.

    Args:
      image_size: side of the square images in pixels.
      batch_size: images per step over all hosts and devices, a multiple of shard.num_hosts · shard.num_batches.
      seed: of order and augmentation.
      min_crop_area: smallest area of a crop, a fraction of the image's; 1 takes whole images.
      mirror: whether images are mirrored at random.
      color_distortion: whether their colours are changed at random (distort_color).
      method: "bilinear" or "bicubic" (resize).

    Returns:
      A data set of (steps-first_step) · shard.num_batches elements ((images, mirrored), labels) of
      n = shard.per_replica_batch_size(batch_size) images: images [n, image_size, image_size, 3] float32 in [0, 255] and
      mirrored [n] bool for `to_network`, labels as in `examples`.
    """
    first, local = first_step * batch_size, shard.local_batch_size(batch_size)
    size, labels = shard.per_replica_batch_size(batch_size), tf.constant(examples.labels)
    pixels = None
    if min_crop_area == 1.0 and not color_distortion and (steps - first_step) * local >= len(examples.labels):
        pixels = whole_images(examples)  # always the same ones, each drawn once and again
    encoded, jpeg = reader(examples.images), all_jpeg(examples.images)

    @as_written
    def load(index, position, *record):
        draw = tf.stack([tf.constant(seed, tf.int64), position])
        image = random_crop(encoded(index, *record), image_size, min_crop_area, draw, method=method, jpeg=jpeg,
                            crop_bottom_rows=examples.crop_bottom_rows)
        if color_distortion:
            image = distort_color(image, draw)
        return image, index, position

    @as_written
    def finish(images, indices, positions):  # what a whole batch needs only one operation for
        within = positions[0] % batch_size
        draw = tf.stack([tf.constant(seed, tf.int64), (1 << 40) + positions[0] - within])
        coins = tf.random.stateless_uniform([batch_size], draw) if mirror else tf.ones([batch_size])
        return (images, coins[within:within + size] < 0.5), tf.gather(labels, indices)

    positions = tf.data.Dataset.range(first, steps * batch_size)
    elements = tf.data.Dataset.zip(training_order(len(examples.labels), first, seed), positions)
    if shard.num_hosts > 1:
        elements = elements.filter(lambda index, position: position % batch_size // local == shard.host)
    if pixels is None:
        return _batched(with_records(elements, examples.images), load, size, finish)
    held = tf.constant(pixels)

    @as_written
    def gather(indices, positions):
        return finish(resize_all(tf.gather(held, indices), image_size, method), indices, positions)

    return _batched(elements, None, size, gather)


def whole_images(examples: Examples) -> np.ndarray | None:
    """All images, decoded, uint8 [n, height, width, 3]; None unless they are PNGs of one size, and few or small."""
    images = examples.images
    headers = {image[:8] + image[16:24] for image in images} if isinstance(images, np.ndarray) else ()
    if len(headers) != 1 or examples.crop_bottom_rows:
        return None
    signature, width, height = struct.unpack(">8sII", headers.pop().ljust(16))
    if signature != b"\x89PNG\r\n\x1a\n" or len(images) * width * height * 3 > PIXEL_BYTES:
        return None
    load = as_written(lambda image: tf.ensure_shape(
        tf.io.decode_image(image, channels=3, expand_animations=False), [height, width, 3]))
    decoded = tf.data.Dataset.from_tensor_slices(images).map(load, num_parallel_calls=os.cpu_count() or 1)
    return decoded.batch(len(images)).get_single_element().numpy()


def _batched(elements: tf.data.Dataset, load, batch_size: int, finish=None) -> tf.data.Dataset:
    """Elements loaded in parallel, in order, in full batches, `finish` applied to each; without `load` as they are."""
    cores = os.cpu_count() or 1
    if load is not None:
        elements = elements.map(load, num_parallel_calls=4 * cores, deterministic=True)
    # One thread copies some 10,000 images of 224 pixels a second into batches: more only where so many can be decoded.
    batches = elements.batch(batch_size, drop_remainder=True, num_parallel_calls=cores // CORES_PER_COPIER or None)
    if finish is not None:
        batches = batches.map(finish)
    batches = batches.prefetch(2)
    options = tf.data.Options()
    # It halves the rate in half of all runs on two cores (docs/measurements.md, "Input").
    options.autotune.enabled = False
    return batches.with_options(options)


def all_jpeg(images) -> bool:
    """Whether all images are known to be JPEGs: their graph then needs no other decoder."""
    return isinstance(images, np.ndarray) and all(image[:2] == b"\xff\xd8" for image in images)


def with_records(elements: tf.data.Dataset, images) -> tf.data.Dataset:
    """Elements of which the first part is the number of an example, with the example's record as the last part.

    READERS threads read READ_AT_ONCE records each, in the order of the elements: called once an image, Python takes
    longer than reading does. Images in memory have no records; their elements stay as they are.

    Args:
      images: of Examples. A negative number is read as 0.
    """
    if not isinstance(images, StoredImages):
        return elements

    @as_written
    def read(numbers, *rest):
        records = tf.numpy_function(images.records, [tf.maximum(numbers, 0)], tf.string)
        return numbers, *rest, tf.ensure_shape(records, [None])

    return elements.batch(READ_AT_ONCE).map(read, num_parallel_calls=READERS, deterministic=True).unbatch()


def reader(images):
    """A function to the encoded image of an example, scalar string, from its number, scalar int64, and its record.

    Args:
      images: of Examples; those in memory have no records.
    """
    if not isinstance(images, StoredImages):
        held = tf.constant(images)
        return lambda index: held[index]
    name = images.entries.image_key
    feature = {name: tf.io.FixedLenFeature([], tf.string)}
    return lambda index, record: tf.io.parse_single_example(record, feature)[name]


def decode(encoded, *, crop_bottom_rows: int = 0, jpeg: bool = False):
    """An encoded JPEG, PNG, GIF (its first frame) or BMP image as RGB.

    Args:
      encoded: scalar string; grey, alpha, palette and CMYK images too.
      crop_bottom_rows: rows of pixels at the lower edge to leave out.
      jpeg: whether it is known to be a JPEG.

    Returns:
      uint8 [height, width, 3].
    """
    def from_jpeg():
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

    image = from_jpeg() if jpeg else tf.cond(
        tf.io.is_jpeg(encoded), from_jpeg, lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False))
    return image[:tf.shape(image)[0] - crop_bottom_rows] if crop_bottom_rows else image


def resize(image, size: int, method: str):
    """An image as a square, sampled as TensorFlow 1 did.

    Args:
      image: uint8 [height, width, 3].
      method: "bilinear" or "bicubic".

    Returns:
      float32 [size, size, 3]; bicubic overshoots [0, 255].
    """
    return resize_all(image[None], size, method)[0]


def resize_all(images, size: int, method: str):
    """`resize` of images of one size: uint8 [n, height, width, 3] to float32 [n, size, size, 3]."""
    kernel = {"bilinear": tf.raw_ops.ResizeBilinear, "bicubic": tf.raw_ops.ResizeBicubic}[method]
    images = tf.cast(images, tf.float32)  # the kernels are quicker on floats than on bytes
    resized = kernel(images=images, size=[size, size], align_corners=False, half_pixel_centers=False)
    return tf.ensure_shape(resized, [None, size, size, 3])


def random_crop(encoded, size: int, min_area: float, draw, *, method: str = "bilinear", crop_bottom_rows: int = 0,
                jpeg: bool = False):
    """A random crop of the image, min_area to 1 of its area, aspect 3/4 to 4/3, resized.

    Args:
      encoded, crop_bottom_rows, jpeg: see decode.
      draw: int64 [2], seed of the random choice.
      method: see resize.

    Returns:
      float32 [size, size, 3]; bicubic overshoots [0, 255].
    """
    def choose(shape):
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.stack([shape[0] - crop_bottom_rows, shape[1], 3]), bounding_boxes=tf.zeros([1, 0, 4]), seed=draw,
            min_object_covered=0.0, aspect_ratio_range=ASPECT_RATIOS, area_range=(min_area, 1.0), max_attempts=100,
            use_image_if_no_bounding_boxes=True)
        return begin, extent

    def from_jpeg():
        begin, extent = choose(tf.io.extract_jpeg_shape(encoded))
        return tf.image.decode_and_crop_jpeg(encoded, tf.concat([begin[:2], extent[:2]], 0), channels=3,
                                             dct_method="INTEGER_ACCURATE")

    def from_other():
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return tf.slice(image, *choose(tf.shape(image)))

    if min_area == 1.0:
        image = decode(encoded, crop_bottom_rows=crop_bottom_rows, jpeg=jpeg)
    else:
        image = from_jpeg() if jpeg else tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_other)
    return resize(image, size, method)


def distort_color(image, draw):
    """Brightness plus up to ± MAX_BRIGHTNESS and saturation times SATURATION at random, in random order.

    These are the two changes of TF-Slim's fast mode, which has brightness first, in the random order of Inception's
    training. As there, values are kept in range at the end only (to_network).

    Args:
      image: float32 [size, size, 3], RGB in [0, 255].
      draw: int64 [2], seed of the random choice.
    """
    uniform = tf.random.stateless_uniform([3], draw + tf.constant([0, 1 << 41], tf.int64))  # other than the crop's
    brightness = (2.0 * uniform[0] - 1.0) * MAX_BRIGHTNESS
    saturation = SATURATION[0] + (SATURATION[1] - SATURATION[0]) * uniform[1]
    first = tf.where(uniform[2] < 0.5, brightness, 0.0)
    return tf.image.adjust_saturation(image + first, saturation) + (brightness - first)


def central_crop(image, fraction: float):
    """The middle of an image, `fraction` of its height and of its width, as TF-Slim cuts it.

    Args:
      image: uint8 [height, width, 3].
    """
    return image if fraction == 1.0 else tf.image.central_crop(image, fraction)


def evaluation_batches(examples: Examples, *, image_size: int, batch_size: int, central_fraction: float = 1.0,
                       method: str = "bicubic", shard: InputShard = WHOLE) -> tf.data.Dataset:
    """Images, resized, in order; the last batch is padded to full size.

    Args:
      batch_size: images over all hosts and devices, a multiple of shard.num_hosts · shard.num_batches.
      central_fraction: of height and width, what is seen of each image: 1 (all) or 0.875, between which the paper
        chooses on validation where it trains the whole network.
      method: "bicubic", the paper's for fixed features (v3 section 3.1), or "bilinear" (resize).

    Returns:
      Elements (images [n, image_size, image_size, 3] float32 for `to_network`, indices [n] int64) with
      n = shard.per_replica_batch_size(batch_size). An index is the example's, or -1 for padding.
    """
    count = len(examples.labels)
    encoded, jpeg = reader(examples.images), all_jpeg(examples.images)
    indices = np.full(-(-count // batch_size) * batch_size, -1, np.int64)
    indices[:count] = np.arange(count)
    indices = indices.reshape(-1, shard.num_hosts, shard.local_batch_size(batch_size))[:, shard.host].ravel()

    @as_written
    def load(index, *record):
        image = decode(encoded(tf.maximum(index, 0), *record), crop_bottom_rows=examples.crop_bottom_rows, jpeg=jpeg)
        return resize(central_crop(image, central_fraction), image_size, method), index

    elements = with_records(tf.data.Dataset.from_tensor_slices(indices), examples.images)
    return _batched(elements, load, shard.per_replica_batch_size(batch_size))
