"""Images of every kind: what TensorFlow reads of what is stored is what an image viewer shows of the file."""

import io

import numpy as np
import PIL.features
import PIL.Image
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
