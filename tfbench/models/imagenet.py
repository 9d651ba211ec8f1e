"""Accuracy of converted weights on the validation images of ImageNet, beside the published one.

Images are decoded, cropped and resized as by TF-Slim's evaluation:
  * JPEGs are decoded with TensorFlow's default transform, the fast one: TF-Slim asked for none. data/pipeline.py
    decodes otherwise.
  * Resizing is bilinear as in TensorFlow 1: output pixel i is read at position i * input / output, without half-pixel
    centers and without antialiasing.
"""

import dataclasses
import functools
import pathlib
import re

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from scipy import stats

from tfbench.data.pipeline import to_value_range
from tfbench.errors import UserError
from tfbench.models.public_weights import PublicWeights

VALIDATION_IMAGES = 50_000  # all of them: only they can be compared with a published accuracy
TOLERANCE = 0.3  # percentage points between the two that are not flagged
CENTRAL = 0.875  # of each side, in geometry "inception"; and 224 = 0.875 * 256 in "vgg"
ENDINGS = (".jpeg", ".jpg", ".png")
LABEL_FILES = ("labels.txt", "validation_labels.txt", "ILSVRC2012_validation_ground_truth.txt")


@dataclasses.dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
      labels: [n] int64, indices of the classes among the 1,000 synsets in alphabetical order (0 to 999).
      encoded: of n pairs (scalar string, an encoded image; scalar int64, its label).
    """

    labels: np.ndarray
    encoded: tf.data.Dataset


def read(path) -> Images:
    """The images of a TFDS data folder with imagenet2012 (its validation split), or of read_folder's layouts."""
    path = pathlib.Path(path).expanduser()
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: correct --imagenet_val")
    for folder in (path, path / "imagenet2012"):
        if (folder / "dataset_info.json").exists():
            return _read_tfds(folder)
        versions = [file.parent for file in folder.glob("*.*.*/dataset_info.json")]
        if versions:
            return _read_tfds(max(versions, key=lambda version: [int(part) for part in version.name.split(".")]))
    return read_folder(path)


def read_folder(path) -> Images:
    """Images (.JPEG, .jpg, .png) in one of two layouts, with any number of classes.

    * A folder per class, with its images. The classes are what class_indices makes of the folders' names.
    * All images in one folder with one of LABEL_FILES: a line per image in alphabetical order of their
      names (ILSVRC2012_val_00000001.JPEG, …), which holds its class and nothing else, see class_indices.

    The ground truth of the official development kit is refused: its numbers 1 to 1000 are ILSVRC ids, which
    are not in the order of the synsets.

    Raises:
      UserError: there are no images, or no labels for them.
    """
    path = pathlib.Path(path)
    files = _images_in(path)
    classes = {folder.name: images for folder in sorted(path.iterdir())
               if folder.is_dir() and (images := _images_in(folder))}
    if bool(files) == bool(classes):
        where = "both directly and" if files else "neither directly nor"
        raise UserError(f"{path} holds images {where} in folders: --imagenet_val "
                        "takes a folder with one folder per class, or with all images and labels.txt")
    if classes:
        index = class_indices(classes, path)
        files = [file for images in classes.values() for file in images]
        labels = [index[file.parent.name] for file in files]
    else:
        labels = _read_labels(path, len(files))
    array = np.array(labels, np.int64)
    dataset = tf.data.Dataset.from_tensor_slices(([str(file) for file in files], array))
    return Images(array, dataset.map(lambda file, label: (tf.io.read_file(file), label),
                                      num_parallel_calls=tf.data.AUTOTUNE, deterministic=True))


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(file for file in folder.iterdir()
                  if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file())


def _read_labels(path: pathlib.Path, number: int) -> list[int]:
    """One label per line of the label file of a folder with `number` images."""
    file = next((path / name for name in LABEL_FILES if (path / name).exists()), None)
    if file is None:
        raise UserError(f"{path} has {number:,} images but no labels: put a labels.txt there, one synset per line in "
                        "the order of the images' names (datasets/imagenet2012/validation_labels.txt of "
                        "tensorflow_datasets is that of the validation images)")
    lines = file.read_text(encoding="utf-8").split("\n")
    names = [line.strip() for line in (lines[:-1] if lines[-1] == "" else lines)]
    if len(names) != number:
        raise UserError(f"{file} should have one line for each of {number:,} images and has {len(names):,}: complete "
                        "the images or the labels")
    index = class_indices(names, file)
    return [index[name] for name in names]


def class_indices(names, where) -> dict[str, int]:
    """The index of the class that each name stands for.

    * Synsets (n01440764, …) have their index in the alphabetical list of ImageNet's 1,000, also when only some occur.
    * Numbers are such indices themselves, 0 to 999.
    * Other names count in alphabetical order.

    Args:
      names: labels or names of folders, repeated or not.
      where: the file or folder that holds them, for the error lines.

    Raises:
      UserError: a synset is not one of the 1,000, or the numbers are ILSVRC ids.
    """
    names = sorted(set(names))
    if all(re.fullmatch(r"n\d{8}", name) for name in names):
        index = {name: number for number, name in enumerate(synsets())}
        unknown = [name for name in names if name not in index]
        if unknown:
            raise UserError(f"{where} names {unknown[0]}, which is none of the 1,000 classes of ImageNet 2012: take "
                            "its validation images")
        return {name: index[name] for name in names}
    if all(re.fullmatch(r"\d+", name) for name in names):
        index = {name: int(name) for name in names}
        if max(index.values()) > 999 or "ground_truth" in str(getattr(where, "name", where)):
            raise UserError(f"{where} holds numbers of the official development kit (ILSVRC ids, 1 to 1000), which are "
                            "not in the order of the synsets: replace them by synsets such as n01440764 or by indices "
                            "of the sorted synsets, 0 to 999")
        return index
    return {name: number for number, name in enumerate(names)}


@functools.cache
def synsets() -> tuple[str, ...]:
    """ImageNet's 1,000 synsets in alphabetical order, the order of every public checkpoint's classes."""
    import tensorflow_datasets as tfds  # here: it is slow to import, and not needed for other names

    return tuple(tfds.builder("imagenet2012").info.features["label"].names)


def _read_tfds(folder: pathlib.Path) -> Images:
    """The validation split of a prepared imagenet2012; nothing is downloaded."""
    import tensorflow_datasets as tfds

    cure = "prepare it anew, or name another folder with --imagenet_val"
    try:
        builder = tfds.builder_from_directory(folder)
        if builder.name != "imagenet2012" or "validation" not in builder.info.splits:
            raise UserError(f"{folder} holds {builder.name} with splits {', '.join(builder.info.splits)}, not the "
                            f"validation split of imagenet2012: {cure}")
        encoded = builder.as_dataset(split="validation", shuffle_files=False, as_supervised=True,
                                     decoders={"image": tfds.decode.SkipDecoding()})
        labels = np.concatenate([*encoded.map(lambda _, label: label).batch(4096).as_numpy_iterator()])
    except (tf.errors.OpError, OSError, ValueError, KeyError, json_format.ParseError) as error:
        raise UserError(f"{folder} cannot be read ({str(error).splitlines()[0]}): {cure}") from error
    expected = builder.info.splits["validation"].num_examples
    if len(labels) != expected:
        raise UserError(f"{folder} should hold {expected:,} validation images and holds {len(labels):,}: {cure}")
    return Images(labels, encoded)


def central_part(image, size: int):
    """Geometry "inception": the central 87.5 % of each side, resized to a square whatever the aspect.

    Args:
      image: uint8 [height, width, 3].

    Returns:
      float32 [size, size, 3] in [0, 255].
    """
    return _resized(tf.image.central_crop(image, CENTRAL), [size, size])


def central_square(image, size: int):
    """Geometry "vgg": the shorter side resized to size / 0.875 (256 for 224), then the central square of `size`.

    The longer side is rounded to whole pixels, the square's offset down.

    Args:
      image: uint8 [height, width, 3].

    Returns:
      float32 [size, size, 3] in [0, 255].
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    new = tf.cast(tf.round(sides * (round(size / CENTRAL) / tf.reduce_min(sides))), tf.int32)
    top, left = tf.unstack((new - size) // 2)
    return _resized(image, new)[top:top + size, left:left + size]


def _resized(image, size):
    return tf.compat.v1.image.resize_bilinear(image[None], size, align_corners=False, half_pixel_centers=False)[0]


GEOMETRIES = {"inception": central_part, "vgg": central_square}


def evaluation_images(images: Images, *, geometry: str, eval_size: int, value_range: str,
                      batch_size: int) -> tf.data.Dataset:
    """Every image once, in order; the last batch is filled up.

    Args:
      geometry, eval_size, value_range: see public_weights.PublicWeights.

    Returns:
      Batches (images [batch_size, eval_size, eval_size, 3] float32, labels [batch_size] int64): -1 for filling.
    """
    def prepare(encoded, label):
        image = GEOMETRIES[geometry](tf.io.decode_jpeg(encoded, channels=3), eval_size)  # PNG too
        return to_value_range(tf.ensure_shape(image, [eval_size, eval_size, 3]), value_range), label

    batches = images.encoded.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    filling = tf.data.Dataset.from_tensors((tf.zeros([eval_size, eval_size, 3]), tf.constant(-1, tf.int64)))
    batches = batches.concatenate(filling.repeat(-len(images.labels) % batch_size))
    return batches.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluate(model, images: Images, public: PublicWeights, *, value_range: str | None = None, batch_size: int = 64,
             report=lambda number: None) -> dict:
    """Top-1 and top-5 accuracy of a network in the way its published ones were measured.

    Args:
      model: its call on images [batch, eval_size, eval_size, 3] returns {"logits": [batch, classes], …}.
      public: tell size, geometry and the published accuracy.
      value_range: of the model's images; None for that of `public`.
      report: called with numbers of further images.

    Returns:
      A dictionary:
      "n": number of images; "top1", "top5": accuracies in [0, 1]; "top1_interval": the exact binomial 95 % interval;
      "published_top1", "published_top5": as `public` has them;
      "gap_points", "gap_points_top5": measured minus published in percentage points, None without a published one;
      "flag": whether a gap exceeds 0.3 points, None unless these are all 50,000 images;
      "geometry", "eval_size", "value_range": how it was measured.
    """
    value_range = value_range or public.value_range
    classes, count = model.output["logits"].shape[-1], len(images.labels)
    if images.labels.max() >= classes:
        raise UserError(f"an image is of class {images.labels.max()}, but the network's last is {classes - 1}: the "
                        "images of --imagenet_val are not those it was trained for")

    @tf.function
    def right(batch, labels):
        logits = tf.cast(model(batch, training=False)["logits"], tf.float32)
        best = tf.cast(tf.math.top_k(logits, min(5, classes)).indices, tf.int64)  # of equals the first
        hits = (best == labels[:, None]) & tf.reduce_all(tf.math.is_finite(logits), 1, keepdims=True)
        return tf.reduce_sum(tf.cast([tf.reduce_any(hits[:, :k], 1) for k in (1, 5)], tf.int64), 1)

    total, done = np.zeros(2, np.int64), 0
    try:
        for batch, labels in evaluation_images(images, geometry=public.geometry, eval_size=public.eval_size,
                                               value_range=value_range, batch_size=batch_size):
            total += right(batch, labels).numpy()
            number = int(np.sum(labels.numpy() >= 0))
            done += number
            report(number)
    except tf.errors.InvalidArgumentError as error:
        raise UserError(f"one of the images {done + 1:,} to {min(done + batch_size, count):,} (in the order of their "
                        f"names) cannot be decoded ({str(error).splitlines()[0]}): replace it") from error
    assert done == count, f"{done} of {count} images"
    return compare(count, int(total[0]), int(total[1]), public) | {
        "geometry": public.geometry, "eval_size": public.eval_size, "value_range": value_range}


def compare(count: int, right1: int, right5: int, public: PublicWeights) -> dict:
    """What evaluate returns of the accuracies, from how many of `count` images are right."""
    published = (public.top1, public.top5)
    gaps = [None if accuracy is None else round(100 * (number / count - accuracy), 3)
            for number, accuracy in zip((right1, right5), published, strict=True)]
    known = [abs(gap) for gap in gaps if gap is not None]
    interval = stats.binomtest(right1, count).proportion_ci(0.95, method="exact")
    return {"n": count, "top1": right1 / count, "top5": right5 / count,
            "top1_interval": [float(interval.low), float(interval.high)],
            "published_top1": published[0], "published_top5": published[1],
            "gap_points": gaps[0], "gap_points_top5": gaps[1],
            "flag": max(known) > TOLERANCE if known and count == VALIDATION_IMAGES else None}


def describe(result: dict) -> str:
    """What evaluate returned, for people."""
    def percent(number):
        return "unknown" if number is None else f"{100 * number:.2f} %"

    line = (f"top-1 {percent(result['top1'])}, top-5 {percent(result['top5'])} on {result['n']:,} images; published "
            f"{percent(result['published_top1'])} and {percent(result['published_top5'])}")
    if result["n"] != VALIDATION_IMAGES:
        low, high = result["top1_interval"]
        return line + (f". Only a sample of the {VALIDATION_IMAGES:,}: with 95 % confidence, top-1 is between "
                       f"{percent(low)} and {percent(high)}")
    if result["flag"] is None:
        return line
    gaps = " and ".join(f"{gap:+.2f}" for gap in (result["gap_points"], result["gap_points_top5"]) if gap is not None)
    line += f": {gaps} points"
    if result["flag"]:
        line += f". FLAGGED: more than {TOLERANCE} points, so weights or preprocessing are not the published ones"
    return line
