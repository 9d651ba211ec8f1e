"""Images of every kind: what TensorFlow reads of what is stored is what an image viewer shows of the file."""

import io

import numpy as np
import PIL.features
import PIL.Image
import PIL.ImageCms
import pytest

from tfbench.data.folder_copies import stored_form
from tfbench.data.pipeline import decode
from tfbench.images import decoding

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
ALPHA = np.where(np.arange(20) < 10, 255, RNG.integers(0, 255, (12, 20))).astype(np.uint8)
RGB, GREY16 = PIL.Image.fromarray(PIXELS), PIL.Image.fromarray(RNG.integers(0, 65536, (12, 20)).astype(np.uint16))
RGBA = PIL.Image.fromarray(np.dstack([PIXELS, ALPHA]))
OPAQUE = PIL.Image.fromarray(np.dstack([PIXELS, np.full((12, 20), 255, np.uint8)]))
TURNED = PIL.Image.Exif()
TURNED[0x0112] = 6


def encoded(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def on_white(pixels, alpha):
    """The reference: alpha blending on white, in floats."""
    share = alpha[..., None] / 255
    return pixels * share + 255 * (1 - share)


def wide_canvas(content: bytes) -> bytes:
    """A GIF with a canvas larger than its first frame."""
    return content[:6] + bytes([32, 0, 24, 0]) + content[10:]


PALETTE = RGB.quantize(16)
COLOURS = np.asarray(PALETTE.convert("RGB"))
HOLES = np.where(np.asarray(PALETTE) == 3, 0, 255).astype(np.uint8)
FRAMED = np.full((24, 32, 3), 255, np.uint8)
FRAMED[:12, :20] = COLOURS
GREY = np.repeat(np.asarray(RGB.convert("L"))[..., None], 3, 2)


@pytest.mark.parametrize("content, expected, kept", [
    (encoded(RGB, "PNG"), PIXELS, True),
    (encoded(RGB.convert("L"), "PNG"), GREY, True),
    (encoded(PALETTE, "PNG"), COLOURS, True),
    (encoded(OPAQUE, "PNG"), PIXELS, True),
    (encoded(RGB, "BMP"), PIXELS, True),
    (encoded(PALETTE, "GIF"), COLOURS, True),
    (encoded(RGB, "WEBP", lossless=True), PIXELS, True),
    (encoded(GREY16, "PNG"), np.repeat((np.asarray(GREY16) >> 8)[..., None], 3, 2), True),
    (encoded(RGB, "PNG", save_all=True, append_images=[RGB.transpose(0)]), PIXELS, True),
    (encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.transpose(0)]), COLOURS, None),
    (encoded(RGBA, "PNG"), on_white(PIXELS, ALPHA), False),
    (encoded(RGBA, "WEBP", lossless=True, exact=True), on_white(PIXELS, ALPHA), False),
    (encoded(RGBA, "TIFF"), on_white(PIXELS, ALPHA), False),
    (encoded(PALETTE, "PNG", transparency=3), on_white(COLOURS, HOLES), False),
    (encoded(PALETTE, "GIF", transparency=3), on_white(COLOURS, HOLES), False),
    (wide_canvas(encoded(PALETTE, "GIF")), FRAMED, False),
    (encoded(PALETTE, "BMP"), COLOURS, False),
    (encoded(RGB.convert("1"), "BMP"), np.repeat(np.asarray(RGB.convert("1"))[..., None] * 255, 3, 2), False),
    (encoded(RGB, "TIFF"), PIXELS, False),
    (encoded(GREY16, "TIFF"), np.repeat((np.asarray(GREY16) >> 8)[..., None], 3, 2), False),
    (encoded(GREY16, "PPM"), np.repeat((np.asarray(GREY16) >> 8)[..., None], 3, 2), False),
    (encoded(RGB, "PPM"), PIXELS, False),
    (encoded(RGB, "JPEG2000", irreversible=False), PIXELS, False),
    (encoded(RGB, "PNG", exif=TURNED), np.rot90(PIXELS, -1), False),
    (encoded(RGB, "WEBP", exif=TURNED, lossless=True), np.rot90(PIXELS, -1), False),
])
def test_what_is_stored_is_what_a_viewer_shows(content, expected, kept):
    stored = stored_form(content)
    assert np.abs(decode(stored.content).numpy() - np.asarray(expected, float)).max() <= 1
    assert kept is None or (stored.content is content) == kept == (not stored.reason) == (not stored.pixels_sha256)


@pytest.mark.parametrize("mode, options", [("RGB", {}), ("L", {}), ("RGB", {"progressive": True}), ("CMYK", {}),
                                           ("RGB", {"subsampling": 0}), ("RGB", {"exif": b"Exif\0\0broken"})])
def test_a_jpeg_stays_as_it_is_and_tensorflow_reads_what_pillow_does(mode, options):
    content = encoded(RGB.convert(mode), "JPEG", **options)
    assert stored_form(content).content is content
    with PIL.Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(decode(content), image.convert("RGB"))


def test_a_jpeg_is_turned_as_exif_says():
    smooth = PIL.Image.fromarray(np.linspace(0, 255, 12 * 20 * 3).reshape(12, 20, 3).astype(np.uint8))
    for orientation in range(10):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        content = encoded(smooth, "JPEG", exif=exif, quality=95)
        stored = stored_form(content)
        with PIL.Image.open(io.BytesIO(content)) as image:
            plain = np.asarray(image)
        turns = {2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.transpose(1, 0, 2),
                 6: lambda p: np.rot90(p, -1), 7: lambda p: np.rot90(p, 2).transpose(1, 0, 2), 8: np.rot90}
        np.testing.assert_array_equal(decode(stored.content), turns.get(orientation, np.asarray)(plain))
        assert (stored.content is content) == (orientation not in turns)


@pytest.mark.skipif(not PIL.features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read():
    shown = decode(stored_form(encoded(RGB.resize((64, 64)), "AVIF", quality=100, subsampling="4:4:4")).content)
    assert np.abs(shown.numpy().astype(int) - np.asarray(RGB.resize((64, 64)))).mean() < 3


# ---- colour profiles --------------------------------------------------------------------------------


def icc(space: str, tags: dict[str, bytes], pcs="XYZ ", kind="mntr") -> bytes:
    """An ICC profile, version 2."""
    tags = {"desc": b"desc\0\0\0\0" + (5).to_bytes(4, "big") + b"made\0" + bytes(78), **tags}
    table, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name.encode() + (offset + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += content
    body = len(tags).to_bytes(4, "big") + table + data
    head = (128 + len(body)).to_bytes(4, "big") + b"none" + bytes([2, 16, 0, 0])
    head += (kind + space + pcs).encode().ljust(24)[:12] + bytes(12) + b"acsp" + bytes(28) + xyz(D50)[8:]
    return head.ljust(128, b"\0") + body


def xyz(values) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(round(65536 * value).to_bytes(4, "big", signed=True) for value in values)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + (1).to_bytes(4, "big") + round(256 * value).to_bytes(2, "big")


D50 = (0.9642, 1.0, 0.8249)
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]  # columns, at D50
P3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]


def matrix_profile(columns, exponent: float) -> bytes:
    tags = {f"{channel}XYZ": xyz(column) for channel, column in zip("rgb", columns, strict=True)}
    return icc("RGB ", {"wtpt": xyz(D50)} | tags | {f"{channel}TRC": gamma(exponent) for channel in "rgb"})


def srgb_of(light) -> np.ndarray:
    """sRGB's curve, the reference: light in [0, 1] as levels."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def as_meant(pixels, columns, exponent) -> np.ndarray:
    return srgb_of((pixels / 255) ** exponent @ np.array(columns) @ np.linalg.inv(np.array(SRGB)))


def ink_profile() -> bytes:
    """CMYK in which light is paper white less each ink: a table of 2⁴ corners to Lab."""
    corners = b""
    for number in range(16):
        c, m, y, k = (number >> bit & 1 for bit in (3, 2, 1, 0))
        lab = (0 if k else 100 - 20 * (c + m + y), -40 * c * (1 - k) + 40 * m * (1 - k), 60 * y * (1 - k))
        corners += bytes([round(2.55 * lab[0]), round(lab[1] + 128), round(lab[2] + 128)])
    identity = b"".join((65536 * one).to_bytes(4, "big") for one in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4 + corners + bytes(range(256)) * 3
    return icc("CMYK", {"wtpt": xyz(D50), "A2B0": lut}, pcs="Lab ", kind="prtr")


WIDE, LINEAR = matrix_profile(P3, 2.2), matrix_profile(SRGB, 1.0)
DARK = icc("GRAY", {"wtpt": xyz(D50), "kTRC": gamma(1.8)})
BUILT_IN = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
LIGHT = np.asarray(RGB.convert("L"))
GREYS = np.repeat(LIGHT[..., None], 3, 2) / 255


@pytest.mark.parametrize("content, expected", [
    (encoded(RGB, "PNG", icc_profile=WIDE), as_meant(PIXELS, P3, 2.2)),
    (encoded(RGB, "TIFF", icc_profile=WIDE), as_meant(PIXELS, P3, 2.2)),
    (encoded(RGB, "WEBP", lossless=True, icc_profile=WIDE), as_meant(PIXELS, P3, 2.2)),
    (encoded(RGB, "PNG", icc_profile=LINEAR), srgb_of(PIXELS / 255)),
    (encoded(PALETTE, "PNG", icc_profile=LINEAR), srgb_of(COLOURS / 255)),
    (encoded(RGBA, "PNG", icc_profile=LINEAR), on_white(srgb_of(PIXELS / 255), ALPHA)),
    (encoded(RGB, "PNG", icc_profile=LINEAR, exif=TURNED), np.rot90(srgb_of(PIXELS / 255), -1)),
    (encoded(RGB.convert("L"), "PNG", icc_profile=DARK), srgb_of(GREYS ** 1.8)),
    (encoded(RGB.convert("L"), "PNG", icc_profile=LINEAR), srgb_of(GREYS)),
    (encoded(RGB.convert("LA"), "PNG", icc_profile=DARK), srgb_of(GREYS ** 1.8)),
    (encoded(GREY16, "PNG", icc_profile=DARK),
     np.repeat(srgb_of(((np.asarray(GREY16) >> 8) / 255) ** 1.8)[..., None], 3, 2)),
])
def test_colours_are_those_that_the_profile_means(content, expected):
    stored = stored_form(content)
    shown = decode(stored.content).numpy()
    assert np.abs(shown - expected).max() <= 2 and stored.pixels_sha256 and not stored.remark
    assert stored.reason.startswith("by their colour profile") and decoding.changes_colours(content)
    as_tensorflow = decoding.stored(content, lambda content: decode(content).numpy(), apply_profiles=False)
    assert "profile" not in as_tensorflow.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_with_srgb_profile_stays_as_it_is(kind):
    content = encoded(RGB, kind, icc_profile=BUILT_IN)
    with PIL.Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == BUILT_IN
    stored = stored_form(content)
    assert stored.content is content and not (stored.reason or stored.remark or decoding.changes_colours(content))


def test_inks_have_the_colours_of_their_profile():
    inks = PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0))  # pure cyan: Lab 80, -40, 0
    light = np.array(D50) * np.array([96 / 116 - 40 / 500, 96 / 116, 96 / 116]) ** 3  # CIE's formula
    stored = stored_form(encoded(inks, "JPEG", quality=100, icc_profile=ink_profile()))
    assert stored.reason == "by their colour profile"
    assert np.abs(decode(stored.content).numpy()[8, 8] - srgb_of(light @ np.linalg.inv(np.array(SRGB)))).max() <= 3
    assert not stored_form(encoded(inks, "JPEG", quality=100)).reason


@pytest.mark.parametrize("image, profile, remark", [
    (RGB, b"no profile", "a damaged colour profile"), (RGB, WIDE[:200], "a damaged colour profile"),
    (RGB, WIDE[:132] + bytes(len(WIDE) - 132), "a damaged colour profile"),
    (RGB, ink_profile(), "a colour profile of CMYK in an image of RGB"),
    (RGB, DARK, "a colour profile of L in an image of RGB")])
def test_a_profile_that_cannot_be_applied_is_left_with_a_word(image, profile, remark):
    content = encoded(image, "JPEG", icc_profile=profile)
    stored = stored_form(content)
    assert stored.content is content and stored.remark == remark and not decoding.changes_colours(content)


def test_heic_is_read_as_a_viewer_shows_it():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    smooth = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    image, fade = PIL.Image.fromarray(smooth), np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    for one, options, expected in (
            (image, {}, smooth), (image, {"exif": TURNED}, np.rot90(smooth, -1)),
            (image, {"icc_profile": WIDE}, as_meant(smooth, P3, 2.2)),
            (PIL.Image.fromarray(np.dstack([smooth, fade])), {}, on_white(smooth, fade))):
        content = encoded(one, "HEIF", quality=95, **options)
        assert decoding.sniff(content[:decoding.HEAD_BYTES]) == "HEIC"
        assert np.abs(decode(stored_form(content).content).numpy() - expected).max() <= 4


def test_pixels_and_not_their_compression_tell_images_apart():
    first, other = (stored_form(encoded(RGB, "TIFF", compression=how)) for how in (None, "tiff_lzw"))
    assert first.pixels_sha256 == other.pixels_sha256
    assert first.pixels_sha256 != stored_form(encoded(RGB.transpose(0), "TIFF")).pixels_sha256


@pytest.mark.parametrize("content, told", [
    (b"", "^an empty file$"), (b"<!DOCTYPE html><html>", "^a web page, no image$"), (b"\n <html>", "a web page"),
    (b"hello", "no image of a known kind"), (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC|damaged"),
    (b"%PDF-1.5", "PDF, which is not read here: convert them"), (b"\xff\xd8\xff\xe0", "damaged or cut JPEG"),
    (encoded(RGB, "JPEG")[:-100], "damaged or cut JPEG"), (encoded(RGB, "PNG")[:-100], "damaged or cut PNG"),
    (encoded(PALETTE, "GIF")[:-40], "damaged or cut GIF"), (encoded(RGB, "TIFF")[:-100], "damaged or cut TIFF"),
    (encoded(RGB, "BMP")[:-100], "damaged or cut BMP"), (encoded(RGB, "WEBP")[:-40], "damaged or cut WebP"),
    (encoded(RGB.convert("F"), "TIFF"), "pixels of 32 bits"),
])
def test_what_is_no_image_is_told_in_a_few_words(content, told):
    with pytest.raises(decoding.UnreadableImage, match=told) as error:
        stored_form(content)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def test_an_image_of_too_many_pixels_is_refused_before_it_takes_memory():
    content = encoded(PIL.Image.new("1", (20_000, 20_000)), "PNG")
    told = "20,000 × 20,000 pixels, more than 100,000,000: make it smaller"
    with pytest.raises(decoding.UnreadableImage, match=told):
        decoding.stored(content, lambda content: pytest.fail("decoded"))


def test_kinds_are_told_by_first_bytes():
    for kind, name in (("JPEG", "JPEG"), ("PNG", "PNG"), ("GIF", "GIF"), ("BMP", "BMP"), ("WEBP", "WebP"),
                       ("TIFF", "TIFF"), ("PPM", "PNM"), ("JPEG2000", "JPEG 2000")):
        assert decoding.sniff(encoded(RGB, kind)[:decoding.HEAD_BYTES]) == name
    for text in (b"BM is a text", b"P1 also", b"RIFF....WAVE", b"", b"II", b"....ftypisom"):
        assert not decoding.sniff(text)
