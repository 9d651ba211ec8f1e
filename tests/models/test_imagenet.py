"""Evaluation on ImageNet, on made-up images: geometry against NumPy, layouts, exact counts."""

import dataclasses
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfbench import UserError
from tfbench.models import imagenet
from tfbench.models.catalog import NETWORKS
from tfbench.models.lookup import public_weights

SIZE = 24
PUBLIC = dataclasses.replace(public_weights(NETWORKS["inception_v1"]), eval_size=SIZE)
CLASSES = 7


def legacy_bilinear(image, height, width):
    """Bilinear resizing of [h, w, 3] as in TensorFlow 1: output i lies at i * input / output of the input."""
    for axis, new in ((0, height), (1, width)):
        old = image.shape[axis]
        position = np.arange(new) * (old / new)
        low = np.floor(position).astype(int)
        share = (position - low).reshape([-1 if side == axis else 1 for side in range(3)])
        image = np.take(image, low, axis) * (1 - share) + np.take(image, np.minimum(low + 1, old - 1), axis) * share
    return image


def picture(height, width, seed=0):
    """Smooth colours and some noise, uint8 [height, width, 3]."""
    draw = np.random.RandomState(seed)
    rows, columns = np.mgrid[:height, :width][..., None] / np.array([height, width])[:, None, None, None]
    return np.clip(255 * (0.4 * rows + 0.4 * columns + 0.2 * draw.rand(height, width, 3)), 0, 255).astype(np.uint8)


SIDES = [(375, 500), (500, 375), (333, 499), (224, 224), (256, 300), (100, 131), (257, 1023), (75, 73)]


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("size", [224, 299])
def test_central_part(sides, size):
    image = picture(*sides)
    top, left = (side // 16 for side in sides)  # half of the eighth that goes, rounded down
    part = image[top:sides[0] - top, left:sides[1] - left].astype(float)
    found = imagenet.central_part(tf.constant(image), size)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, legacy_bilinear(part, size, size), atol=0.01)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("size, shorter", [(224, 256), (299, 342), (331, 378)])
def test_central_square(sides, size, shorter):
    image = picture(*sides)
    new = [shorter if side == min(sides) else int(np.rint(side * shorter / min(sides))) for side in sides]
    top, left = ((side - size) // 2 for side in new)
    square = legacy_bilinear(image.astype(float), *new)[top:top + size, left:left + size]
    found = imagenet.central_square(tf.constant(image), size)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, square, atol=0.01)


def test_the_geometries_are_not_todays_resizing():
    image = picture(375, 500)
    found = imagenet.central_part(tf.constant(image), 224)
    today = tf.image.resize(tf.image.central_crop(image, 0.875), [224, 224])
    assert np.abs(found - today).max() > 2


def batches_of(path, geometry, value_range, batch_size=4):
    images = imagenet.read(path)
    return images, list(imagenet.evaluation_images(images, geometry=geometry, eval_size=SIZE, value_range=value_range,
                                                   batch_size=batch_size).as_numpy_iterator())


@pytest.mark.parametrize("geometry", ["inception", "vgg"])
@pytest.mark.parametrize("value_range, means, scale", [
    ("inception", (127.5,) * 3, 127.5), ("rgb_mean", (123.68, 116.78, 103.94), 1),
    ("caffe", (123.68, 116.779, 103.939), 1), ("torch", (123.675, 116.28, 103.53), np.array((58.395, 57.12, 57.375)))])
def test_images_come_decoded_cropped_and_in_their_value_range(tmp_path, geometry, value_range, means, scale):
    (tmp_path / "class").mkdir()
    contents = [tf.io.encode_jpeg(picture(40, 60)), tf.io.encode_jpeg(picture(60, 40)[..., :1]),
                tf.io.encode_png(picture(50, 50))]
    for number, (content, ending) in enumerate(zip(contents, ("JPEG", "jpg", "png"), strict=True)):
        (tmp_path / f"class/{number}.{ending}").write_bytes(content.numpy())
    _, ((batch, labels),) = batches_of(tmp_path, geometry, value_range)
    assert batch.dtype == np.float32 and labels.tolist() == [0, 0, 0, -1]
    for content, found in zip(contents, batch, strict=False):
        expected = imagenet.GEOMETRIES[geometry](tf.io.decode_image(content, channels=3), SIZE)  # default transform
        expected = (expected.numpy() - means) / scale
        np.testing.assert_allclose(found, expected[..., ::-1] if value_range == "caffe" else expected, atol=1e-3)
    assert not batch[3].any()


def grey(label: int) -> bytes:
    """An image that `model` takes for class `label`."""
    return tf.io.encode_jpeg(np.full((30, 40, 3), 30 * label + 20, np.uint8), quality=100).numpy()


def model(classes=CLASSES, calls=None):
    """Takes images in [-1, 1] for the class with the nearest grey; the second best is the next nearest."""
    images = keras.Input([SIZE, SIZE, 3])
    means = keras.layers.GlobalAveragePooling2D()(images)[:, :1]
    centers = (30 * np.arange(classes) + 20) / 127.5 - 1
    dense = keras.layers.Dense(classes)
    logits = dense(means)
    dense.set_weights([2 * centers[None], -centers ** 2])  # -(mean - center)^2 + mean^2
    network = keras.Model(images, {"features": means, "logits": logits})
    call = network.call

    def counting(*arguments, **options):
        calls.append(1)
        return call(*arguments, **options)

    if calls is not None:
        network.call = counting
    return network


# What is shown (a grey) and what is said (a label): of 11 images 6 are right, 9 among the best five of seven.
SHOWN = [0, 1, 2, 3, 4, 5, 0, 6, 1, 4, 3]
LABELS = [0, 1, 2, 3, 4, 5, 1, 5, 6, 0, 6]
RIGHT5 = sum(label in sorted(range(CLASSES), key=lambda c: (abs(c - shown), c))[:5]
             for shown, label in zip(SHOWN, LABELS, strict=True))


def class_folders(path, names):
    for number, (shown, label) in enumerate(zip(SHOWN, LABELS, strict=True)):
        (path / names[label]).mkdir(exist_ok=True, parents=True)
        (path / names[label] / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(grey(shown))
    (path / "README.txt").write_text("not an image")
    (path / "empty").mkdir()
    return path


def flat(path, names, file="labels.txt"):
    path.mkdir(exist_ok=True, parents=True)
    for number, shown in enumerate(SHOWN):
        (path / f"ILSVRC2012_val_{number + 1:08d}.JPEG").write_bytes(grey(shown))
    (path / file).write_text("".join(f"{names[label]}\n" for label in LABELS))
    return path


with tfds.core.registered.skip_registration():  # the real one stays the one of that name
    class Imagenet2012(tfds.core.GeneratorBasedBuilder):
        """As TFDS's imagenet2012, with eleven validation images."""

        VERSION = tfds.core.Version("5.1.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, supervised_keys=("image", "label"), features=(
                tfds.features.FeaturesDict({"image": tfds.features.Image(encoding_format="jpeg"),
                                            "label": tfds.features.ClassLabel(num_classes=CLASSES),
                                            "file_name": tfds.features.Text()})))

        def _split_generators(self, _):
            return {"validation": self._generate_examples()}

        def _generate_examples(self):
            for number, (shown, label) in enumerate(zip(SHOWN, LABELS, strict=True)):
                yield number, {"image": io.BytesIO(grey(shown)), "label": label, "file_name": f"{number}.JPEG"}


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    Imagenet2012(data_dir=path).download_and_prepare()
    return path


NAMES = "abcdefg"


@pytest.mark.parametrize("batch_size", [1, 4, 11, 64])
def test_accuracies_are_exact(tmp_path, batch_size):
    calls, reported = [], []
    result = imagenet.evaluate(model(calls=calls), imagenet.read(class_folders(tmp_path, NAMES)), PUBLIC,
                               batch_size=batch_size, report=reported.append)
    assert (result["n"], result["top1"], result["top5"]) == (11, 6 / 11, RIGHT5 / 11) and 6 < RIGHT5 < 11
    assert sum(reported) == 11 and len(reported) == -(-11 // batch_size)
    assert len(calls) == 1  # traced once
    assert (result["published_top1"], result["published_top5"]) == (0.698, 0.896)
    assert (result["geometry"], result["eval_size"], result["value_range"]) == ("inception", SIZE, "inception")


def test_every_layout_gives_the_same(tmp_path, tfds_folder):
    folders = [class_folders(tmp_path / "a", NAMES), class_folders(tmp_path / "b", "0123456"),
               flat(tmp_path / "c", "0123456"), flat(tmp_path / "d", NAMES, "validation_labels.txt"),
               tfds_folder, tfds_folder / "imagenet2012", tfds_folder / "imagenet2012/5.1.0"]
    network = model()
    for folder in folders:
        images = imagenet.read(folder)
        assert images.labels.dtype == np.int64 and sorted(images.labels) == sorted(LABELS)
        assert [label for _, label in images.encoded.as_numpy_iterator()] == images.labels.tolist()
        result = imagenet.evaluate(network, images, PUBLIC, batch_size=4)
        assert (result["n"], result["top1"], result["top5"]) == (11, 6 / 11, RIGHT5 / 11)
    assert imagenet.read(str(tmp_path / "c")).labels.tolist() == LABELS  # in the order of the files' names


def test_synsets_keep_their_places_when_some_are_missing(tmp_path):
    synsets = imagenet.synsets()
    assert len(synsets) == 1000 and list(synsets) == sorted(synsets)
    assert (synsets[0], synsets[1], synsets[999]) == ("n01440764", "n01443537", "n15075141")
    for folder in (flat(tmp_path / "a", synsets[200:]), class_folders(tmp_path / "b", synsets[200:])):
        assert sorted(imagenet.read(folder).labels) == sorted(label + 200 for label in LABELS)
    with pytest.raises(UserError, match="names n02084071, which is none of the 1,000 classes"):  # dogs at large
        imagenet.read(flat(tmp_path / "c", [*synsets[:6], "n02084071"]))


def test_ilsvrc_ids_are_refused(tmp_path):
    ids = ["490", "361", "171", "822", "297", "482", "1000"]
    for file, names in (("labels.txt", ids), ("ILSVRC2012_validation_ground_truth.txt", ids[:6] + ["13"])):
        with pytest.raises(UserError, match=f"{file} holds numbers of the official development kit .*not in the ord"):
            imagenet.read(flat(tmp_path / file, names, file))
    synsets = imagenet.synsets()
    assert imagenet.read(flat(tmp_path / "x", synsets, "ILSVRC2012_validation_ground_truth.txt")).labels.max() == 6


def test_what_is_missing_is_told(tmp_path, tfds_folder):
    with pytest.raises(UserError, match="no folder .*none: correct --imagenet_val"):
        imagenet.read(tmp_path / "none")
    with pytest.raises(UserError, match="neither directly nor in folders"):
        imagenet.read(tmp_path)
    path = flat(tmp_path / "flat", NAMES)
    (path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="one line for each of 11 images and has 2"):
        imagenet.read(path)
    (path / "labels.txt").unlink()
    with pytest.raises(UserError, match="11 images but no labels: put a labels.txt there"):
        imagenet.read(path)
    class_folders(path, NAMES)
    with pytest.raises(UserError, match="both directly and in folders"):
        imagenet.read(path)
    (tmp_path / "imagenet2012/5.1.0").mkdir(parents=True)
    (tmp_path / "imagenet2012/5.1.0/dataset_info.json").write_text("{")
    with pytest.raises(UserError, match="5.1.0 cannot be read .*prepare it anew"):
        imagenet.read(tmp_path)


def test_images_that_do_not_fit_are_told(tmp_path):
    images = imagenet.read(class_folders(tmp_path, NAMES))
    with pytest.raises(UserError, match="class 6, but the network's last is 5"):
        imagenet.evaluate(model(classes=6), images, PUBLIC)
    (tmp_path / "b/ILSVRC2012_val_00000006.JPEG").write_bytes(b"no image")
    with pytest.raises(UserError, match="one of the images 3 to 4 .* cannot be decoded"):
        imagenet.evaluate(model(), imagenet.read(tmp_path), PUBLIC, batch_size=2)


def constant(value) -> keras.Model:
    images = keras.Input([SIZE, SIZE, 3])
    logits = keras.layers.Lambda(lambda x: 0 * keras.ops.mean(x, (1, 2, 3))[:, None] + np.float32([[value] * CLASSES]))
    return keras.Model(images, {"logits": logits(images)})


def test_equal_logits_are_not_all_right_and_nan_is_never(tmp_path):
    images = imagenet.read(class_folders(tmp_path, NAMES))
    result = imagenet.evaluate(constant(1.0), images, PUBLIC)
    assert result["top1"] == LABELS.count(0) / 11 and result["top5"] == sum(label < 5 for label in LABELS) / 11
    result = imagenet.evaluate(constant(np.nan), images, PUBLIC)
    assert (result["top1"], result["top5"]) == (0, 0)


@pytest.mark.parametrize("top1, top5, flag", [(0.698, 0.896, False), (0.6951, 0.8989, False), (0.701, 0.893, False),
                                              (0.6949, 0.896, True), (0.7011, 0.896, True), (0.698, 0.8929, True)])
def test_a_gap_of_more_than_three_tenths_of_a_point_is_flagged(top1, top5, flag):
    result = imagenet.compare(50_000, round(50_000 * top1), round(50_000 * top5), PUBLIC)
    assert result["flag"] is flag
    assert result["gap_points"] == pytest.approx(100 * (top1 - 0.698), abs=1e-3)
    assert result["gap_points_top5"] == pytest.approx(100 * (top5 - 0.896), abs=1e-3)
    text = imagenet.describe(result)
    assert "on 50,000 images; published 69.80 % and 89.60 %" in text and ("FLAGGED" in text) is flag


def test_a_sample_is_not_compared_but_gets_an_interval():
    result = imagenet.compare(10, 2, 9, PUBLIC)
    assert result["flag"] is None and result["gap_points"] == pytest.approx(-49.8)
    np.testing.assert_allclose(result["top1_interval"], [0.02521, 0.55610], atol=1e-5)  # Clopper and Pearson's tables
    assert "on 10 images" in imagenet.describe(result) and "between 2.52 % and 55.61 %" in imagenet.describe(result)


def test_without_a_published_accuracy_there_is_no_gap():
    public = dataclasses.replace(PUBLIC, top1=None, top5=None)
    result = imagenet.compare(50_000, 25_000, 40_000, public)
    assert (result["flag"], result["gap_points"], result["gap_points_top5"]) == (None, None, None)
    assert "published unknown and unknown" in imagenet.describe(result)
