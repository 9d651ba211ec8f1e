"""From encoded images to batches for a network: training (random) and evaluation (exact).

Training order and augmentation are pure functions of (seed, position), the position being the
number of images drawn before: a run resumed at step s sees what an uninterrupted one would.

JPEGs are decoded with the accurate integer transform, which equals Pillow's decoder bit for bit
(TensorFlow's default does not); of a training image only the crop is decoded, which is the same pixels
but for the crop's last column where colours are stored at half resolution.
"""

import numpy as np
import tensorflow as tf

from tfbench.data.examples import Examples

# Per-channel statistics of ImageNet: Caffe's mean (B, G, R; 0 to 255), torchvision's (R, G, B; 0 to 1).
CAFFE_MEAN = (103.939, 116.779, 123.68)
RGB_MEAN = (123.68, 116.78, 103.94)  # as TF-Slim rounds it
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_STD = (0.229, 0.224, 0.225)

ASPECT_RATIOS = (3 / 4, 4 / 3)  # of random crops, as in Inception's training


def to_value_range(image, value_range: str):
    """Maps RGB images, float32 in [0, 255], to the value range of a network's row."""
    if value_range == "inception":
        return image / 127.5 - 1.0
    if value_range == "caffe":
        return image[..., ::-1] - tf.constant(CAFFE_MEAN)
    if value_range == "rgb_mean":
        return image - tf.constant(RGB_MEAN)
    if value_range == "torch":
        return (image / 255.0 - tf.constant(TORCH_MEAN)) / tf.constant(TORCH_STD)
    raise ValueError(f"unknown value range {value_range!r}")


def training_order(count: int, first: int, number: int, seed: int) -> np.ndarray:
    """Indices of the images at positions first … first+number-1: one permutation per epoch.

    Args:
      count: number of training images.

    Returns:
      int64 [number], each in [0, count).
    """
    epochs = range(first // count, -(-(first + number) // count))
    order = np.concatenate([np.random.RandomState([seed, epoch]).permutation(count) for epoch in epochs])
    start = first - epochs[0] * count
    return order[start:start + number]


def training_batches(examples: Examples, *, image_size: int, value_range: str, batch_size: int, seed: int,
                     first_step: int, steps: int, min_crop_area: float, mirror: bool) -> tf.data.Dataset:
    """Batches of randomly cropped (and mirrored) images for steps first_step … steps-1.

    Returns:
      A data set of steps-first_step pairs: images [batch_size, image_size, image_size, 3] float32 in
      the value range, labels as in `examples`.
    """
    first = first_step * batch_size
    number = (steps - first_step) * batch_size
    order = training_order(len(examples.labels), first, number, seed)
    encoded, labels = reader(examples.images), tf.constant(examples.labels)

    def load(index, position):
        draw = tf.stack([tf.constant(seed, tf.int64), position])
        image = random_crop(encoded(index), image_size, min_crop_area, draw, mirror)
        return to_value_range(image, value_range), labels[index]

    positions = np.arange(first, first + number)
    batches = tf.data.Dataset.from_tensor_slices((order, positions))
    batches = batches.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def reader(images):
    """A function from the number of an example, scalar int64, to its encoded image, scalar string.

    Args:
      images: of Examples, in memory or stored.
    """
    if isinstance(images, np.ndarray):
        held = tf.constant(images)
        return lambda index: held[index]
    return lambda index: tf.ensure_shape(
        tf.numpy_function(lambda number: images[int(number)], [index], tf.string), [])


def decode(encoded):
    """An encoded JPEG, PNG, GIF (its first frame) or BMP image as RGB.

    Args:
      encoded: scalar string; grey, alpha, palette and CMYK images too.

    Returns:
      uint8 [height, width, 3].
    """
    return tf.cond(tf.io.is_jpeg(encoded),
                   lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
                   lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False))


def random_crop(encoded, size: int, min_area: float, draw, mirror: bool):
    """A random part of the image, min_area to 1 of its area, aspect 3/4 to 4/3, resized bilinearly.

    Args:
      encoded: scalar string, the encoded image.
      draw: int64 [2], seed of the random choice.
      mirror: whether every other crop is mirrored, at random.

    Returns:
      float32 [size, size, 3] in [0, 255].
    """
    def choose(shape):
        return tf.image.stateless_sample_distorted_bounding_box(
            shape, bounding_boxes=tf.zeros([1, 0, 4]), seed=draw, min_object_covered=0.0,
            aspect_ratio_range=ASPECT_RATIOS, area_range=(min_area, 1.0), max_attempts=100,
            use_image_if_no_bounding_boxes=True)[:2]

    def from_jpeg():
        begin, extent = choose(tf.concat([tf.io.extract_jpeg_shape(encoded)[:2], [3]], 0))
        return tf.image.decode_and_crop_jpeg(encoded, tf.concat([begin[:2], extent[:2]], 0), channels=3,
                                             dct_method="INTEGER_ACCURATE")

    def from_other():
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return tf.slice(image, *choose(tf.shape(image)))

    image = tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_other) if min_area < 1.0 else decode(encoded)
    if mirror:  # before resizing: bytes are quicker to turn than floats
        image = tf.image.stateless_random_flip_left_right(image, seed=draw + tf.constant([0, 1 << 40], tf.int64))
    return tf.ensure_shape(tf.image.resize(image, [size, size]), [size, size, 3])


def evaluation_batches(examples: Examples, *, image_size: int, value_range: str,
                       batch_size: int) -> tf.data.Dataset:
    """Whole images, resized bicubically, in order; the last batch is padded to full size.

    Returns:
      Batches (images [batch_size, image_size, image_size, 3] float32, indices [batch_size] int64):
      the example's index, or -1 for padding.
    """
    count = len(examples.labels)
    encoded = reader(examples.images)
    indices = np.full(-(-count // batch_size) * batch_size, -1, np.int64)
    indices[:count] = np.arange(count)

    def load(index):
        image = decode(encoded(tf.maximum(index, 0)))
        image = tf.image.resize(image, [image_size, image_size], method="bicubic")
        image = tf.ensure_shape(tf.clip_by_value(image, 0.0, 255.0), [image_size, image_size, 3])
        return to_value_range(image, value_range), index

    batches = tf.data.Dataset.from_tensor_slices(indices)
    batches = batches.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
