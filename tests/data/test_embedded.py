"""The embedded sets: the same bytes everywhere, and what their labels promise."""

import io

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from tfbench.data import examples
from tfbench.data.catalog import DATASETS, EMBEDDED_DATASETS
from tfbench.data.embedded import diacritics, digits, digits_grid, glyphs, png, typefaces
from tfbench.data.examples import load_split
from tfbench.data.prepare import prepare

# Of everything in a set (manifests.content_hash). Another hash is another data set: raise its version.
CONTENT = {
    "glyphs": "63efd0e7ee5230b0eb8a65fc5a1c466943b759b34554a55cfbdec3c7e138e151",
    "digits": "2f13c5c2661bc0cbe1faf374fbba5aa7fb033362f1e05a78f0f1618ae7277d3e",
    "digits_grid": "da6537390a57671d3b4403cfc84d4870b37f7f99daa9182d69e7cfca88730d25",
    "diacritics": "f7ccfe67af44a2737eb2c65d05825d28e614df02d2580dab30ee6065132476f5",
}


def decoded(split: examples.Examples) -> np.ndarray:
    return np.stack([tf.io.decode_png(image).numpy() for image in split.images])


@pytest.mark.parametrize("dataset", EMBEDDED_DATASETS, ids=lambda row: row.name)
def test_content_is_the_published_one(dataset, data_dir):
    assert prepare(dataset, data_dir)["content"] == CONTENT[dataset.name]


@pytest.mark.parametrize("dataset", EMBEDDED_DATASETS, ids=lambda row: row.name)
def test_splits_have_the_catalogs_sizes_and_share_nothing(dataset, data_dir):
    parts = {split: examples.load_split(dataset, split, data_dir)
             for split in ("train", "validation", "test")}
    for split, part in parts.items():
        assert len(part.keys) == len(part.images) == len(part.labels) == getattr(dataset, split)
    assert len({key for part in parts.values() for key in part.keys}) == sum(
        len(part.keys) for part in parts.values())
    assert len({image for part in parts.values() for image in part.images}) > 0.99 * sum(
        len(part.keys) for part in parts.values())


@pytest.mark.parametrize("module, split", [(glyphs, "validation"), (diacritics, "test")])
def test_an_image_depends_on_its_index_only(module, split):
    many = module.draw(split, range(40, 60))
    np.testing.assert_array_equal(module.draw(split, [47])[0], many[7])
    np.testing.assert_array_equal(module.draw(split, [59, 40]), many[[19, 0]])
    assert (module.draw("train", [47])[0] != many[7]).mean() > 0.5


@pytest.mark.parametrize("module", [glyphs, diacritics])
def test_letters_stand_out_from_their_ground(module):
    uniform, _ = typefaces.numbers(3, 0, range(500), 40)
    first, second, ink = (colour @ typefaces.LUMINANCE for colour in module.colours(typefaces.taker(uniform)))
    assert np.minimum(np.abs(ink - first), np.abs(ink - second)).min() >= module.CONTRAST - 1e-6
    assert ((ink > first) == (ink > second)).all()
    assert np.abs(first - second).max() <= 40 + 1e-6


def test_inks_have_their_luminance_and_are_colours():
    luminance = np.linspace(0, 255, 100)
    tints = np.random.RandomState(0).uniform(-200, 200, [3, 100])
    colours = typefaces.inks(luminance, *tints)
    np.testing.assert_allclose(colours @ typefaces.LUMINANCE, luminance, atol=1e-9)
    assert colours.min() >= -1e-9
    assert colours.max() <= 255 + 1e-9
    assert np.ptp(colours, axis=1)[10:90].mean() > 40


def test_apart_keeps_its_distance_and_uses_both_sides():
    values = typefaces.apart(np.full(1000, 100.0), np.full(1000, 120.0), 60, np.linspace(0, 0.999, 1000))
    assert ((values <= 40) | (values >= 180)).all()
    assert 0 <= values.min() < 1
    assert 254 < values.max() <= 255
    assert abs((values < 100).mean() - 40 / 115) < 0.01


@pytest.mark.parametrize("face", glyphs.FACES)
def test_masks_look_like_matplotlibs_outlines(face):
    """Independent oracle: FreeType's outline of "R", tested point by point by matplotlib's Agg."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    outline = TextPath((0, 0), "R", size=100, prop=FontProperties(
        fname=f"{matplotlib.get_data_path()}/fonts/ttf/{face}.ttf"))
    polygons = outline.to_polygons()
    low, high = np.concatenate(polygons).min(axis=0), np.concatenate(polygons).max(axis=0)
    places = (np.arange(64) + 0.5 - 32) * (high - low).max() / 60
    x, y = np.meshgrid((low[0] + high[0]) / 2 + places, (low[1] + high[1]) / 2 - places)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    # One polygon at a time: for a whole outline, contains_points fills the holes.
    inside = np.logical_xor.reduce([Path(polygon).contains_points(points) for polygon in polygons])
    inside = inside.reshape(64, 64)
    mask = typefaces.mask(face, "R")
    assert ((mask > 127) == inside).mean() > 0.97  # the rest are pixels on the edge
    assert inside[mask == 255].mean() > 0.998
    assert inside[mask == 0].mean() < 0.002
    assert 0 < inside.mean() < 0.6
    assert not (mask[:2].any() or mask[-2:].any() or mask[:, :2].any() or mask[:, -2:].any())


def test_letters_are_placed_and_turned_as_asked():
    def centre_and_spread(**change):
        where = {"size": 20.0, "x": 16.0, "y": 16.0, "angle": 0.0, "shear": 0.0, "aspect": 1.0} | change
        cover = typefaces.letters([("DejaVuSans", "I")], **{k: np.array([v]) for k, v in where.items()})[0]
        rows, columns = np.arange(32) + 0.5, np.arange(32) + 0.5
        total = cover.sum()
        centre = (cover.sum(0) @ columns) / total, (cover.sum(1) @ rows) / total
        return centre, np.flatnonzero(cover.sum(1)).size, np.flatnonzero(cover.sum(0)).size

    centre, height, width = centre_and_spread()
    np.testing.assert_allclose(centre, (16, 16), atol=0.3)
    assert (height, width) in {(20, 3), (20, 4), (21, 3), (21, 4)}
    assert centre_and_spread(x=11.0, y=20.0)[0] == pytest.approx((11, 20), abs=0.3)
    _, height, width = centre_and_spread(angle=np.pi / 2)
    assert width >= 20 and height <= 4
    assert centre_and_spread(size=10.0)[1] in (10, 11)


def test_glyphs_have_all_sizes_and_lie_anywhere_within_the_image(monkeypatch):
    drawn, letters = [], typefaces.letters
    monkeypatch.setattr(typefaces, "letters", lambda letter, **where: drawn.append(where) or letters(letter, **where))
    glyphs.draw("train", range(500))
    first_stray, second_stray, own = drawn
    assert own["size"].min() < 14.5 and own["size"].max() > 27.5
    for middle in (own["x"], own["y"]):
        assert (middle - own["size"] / 2).min() >= 0 and (middle + own["size"] / 2).max() <= 32
        small = middle[own["size"] < 18]
        assert small.min() < 9 and small.max() > 23  # digits_grid's places
    assert all((stray["size"] < own["size"]).all() for stray in (first_stray, second_stray))


def test_glyph_classes_are_equal_to_within_one():
    for split in glyphs.SPLITS:
        counts = np.bincount(glyphs.labels(split), minlength=37)
        assert counts.max() - counts.min() <= 1
    assert (np.diff(glyphs.labels("train")[:100]) == 1).mean() < 0.2  # not in cycles


def test_diacritics_have_a_long_tail_and_several_letters_each():
    for split, size in (("train", 1250), ("test", 1000)):
        counts = np.bincount(diacritics.labels(split), minlength=12)
        assert counts.sum() == size
        assert (np.diff(counts) < 0).all()
        assert 5.5 < counts[0] / counts[-1] < 6.5
    for label in range(12):
        chars = diacritics.spellings(label)
        assert len(chars) >= 4
        assert all(typefaces.has(face, char) for face in typefaces.DEJAVU for char in chars)


def test_digits_are_those_of_scikit_learn(data_dir):
    source = load_digits()
    for split in ("train", "validation", "test"):
        part = examples.load_split(DATASETS["digits"], split, data_dir)
        rows = [int(key.removeprefix("digit_")) for key in part.keys]
        np.testing.assert_array_equal(part.labels, source.target[rows])
        np.testing.assert_allclose(decoded(part)[..., 0], source.images[rows] * 255 / 16, atol=0.5)
        shares = np.bincount(part.labels) / len(rows) - np.bincount(source.target) / 1797
        assert np.abs(shares).max() < 1 / len(rows)


def test_grid_labels_are_vocs(data_dir):
    dataset = DATASETS["digits_grid"]
    for split in digits_grid.SPLITS:
        labels = load_split(dataset, split, data_dir).labels
        for index in range(0, len(labels), 7):
            _, shown, difficult = digits_grid.draw(split, index)
            plain = {label for label, hard in zip(shown, difficult, strict=True) if not hard}
            assert labels[index].tolist() == [
                1 if digit in plain else 0 if digit in shown else -1 for digit in range(10)]
        assert ((labels == 1).sum(axis=1) >= 1).all()
        assert ((labels == 1).sum(axis=0) >= 50).all()
        assert ((labels == 0).sum(axis=0) >= 5).all()
        assert 1.5 < (labels == 1).sum(axis=1).mean() < 3


def test_grid_digits_come_from_the_same_split(monkeypatch):
    keys, pixels, classes = digits.load()
    for split in digits_grid.SPLITS:
        erased = pixels.copy()
        erased[digits.members(split)] = 0
        monkeypatch.setattr(digits, "load", lambda erased=erased: (keys, erased, classes))
        image, _, _ = digits_grid.draw(split, 0)
        assert np.ptp(image) <= 25  # noise is all that is left
        monkeypatch.undo()
        assert np.ptp(digits_grid.draw(split, 0)[0]) > 60


def test_difficult_digits_are_faint():
    spread = {True: [], False: []}
    for index in range(300):
        image, shown, difficult = digits_grid.draw("train", index)
        if len(shown) == 4:  # every tile is filled: the k-th digit is in tile k
            tiles = image.reshape(2, 16, 2, 16).transpose(0, 2, 1, 3).reshape(4, 256)
            for tile, hard in zip(tiles, difficult, strict=True):
                spread[hard].append(np.percentile(tile, 98) - np.percentile(tile, 10))
    assert np.percentile(spread[True], 95) < np.percentile(spread[False], 5)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (32, 32, 3)])
def test_png_is_read_by_tensorflow_and_pillow(shape):
    from PIL import Image

    image = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    content = png.encode(image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))).reshape(shape), image)
    np.testing.assert_array_equal(tf.io.decode_png(content).numpy().reshape(shape), image)


@pytest.mark.parametrize("image", [np.zeros([4, 4], np.float32), np.zeros([4, 4, 2], np.uint8),
                                   np.zeros([200, 200, 3], np.uint8)])
def test_png_refuses_other_arrays(image):
    with pytest.raises(ValueError, match="expected"):
        png.encode(image)
