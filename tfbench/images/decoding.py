"""Image files: what kind a file is by its first bytes, and its pixels as an image viewer shows them.

One decoder for all kinds. Where TensorFlow reads the same pixels, a file is stored as it is; otherwise its pixels are
stored as PNG, which loses nothing. As a viewer shows it means:

    * turned as its EXIF orientation says;
    * what is transparent on white, also what a GIF's first frame leaves uncovered;
    * the first frame or page;
    * of 16 bits a channel the upper eight;
    * in sRGB, as the embedded colour profile says (images/profiles.py); CMYK without one by Pillow's formula.

Importing this module imports neither TensorFlow nor Pillow.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfbench.images import profiles

if TYPE_CHECKING:
    import numpy as np  # --help does without

VERSION = 2  # of what is seen, kept with each copy of a folder: from 2 on colour profiles are applied, 1 says none
MAX_PIXELS = 100_000_000  # of an image: 300 MB as RGB, four times that while it is resized
HEAD_BYTES = 32  # that `sniff` looks at

# Endings that are taken for images without a look into the file. Others are looked into.
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff",
           ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k")
# Endings that never are images to learn from: not looked into; nor what ends in "~".
OTHER_ENDINGS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".md", ".rst", ".yaml", ".yml",
                 ".py", ".ipynb", ".sh", ".m", ".mat", ".npy", ".npz", ".pkl", ".h5", ".db", ".ini", ".log", ".zip",
                 ".gz", ".tar", ".7z", ".rar", ".doc", ".docx", ".xls", ".xlsx", ".parquet", ".lst", ".sha256", ".md5",
                 ".bak", ".orig", ".old", ".tmp", ".part", ".crdownload", ".download")  # copies, and halves of files
_TO_JPEG = "convert them to JPEG or PNG"
_HEIF = "convert them to JPEG, or `pip install pillow-heif`"
# Images that are not read, by ending, with the remedy. A camera's raw file is a TIFF by its first bytes, and what other
# programs find in it is a thumbnail.
UNREAD_ENDINGS = {
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"),
                    "develop the camera's raw files to JPEG or PNG"),
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIF),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai", ".pdf", ".psd", ".xcf", ".jxl", ".tga", ".ico", ".dcm", ".nii",
                     ".exr", ".hdr"), _TO_JPEG),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm"), "save frames of the videos as JPEG or PNG")}
# Kinds that `sniff` knows, with Pillow's names; () where Pillow has none.
KINDS = {"JPEG": ("JPEG", "MPO"), "PNG": ("PNG",), "GIF": ("GIF",), "BMP": ("BMP", "DIB"), "WebP": ("WEBP",),
         "TIFF": ("TIFF",), "AVIF": ("AVIF",), "JPEG 2000": ("JPEG2000",), "PNM": ("PPM",), "HEIC": ("HEIF",),
         "JPEG XL": (), "PSD": (), "PDF": ()}
_ORIENTATION = 0x0112


class UnreadableImage(ValueError):
    """A file is no image that can be read; its text says in a few words why."""


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """An image as it is stored in a prepared data set.

    Attributes:
      content: the file's bytes as they are, or the pixels as PNG.
      reason: why its pixels were stored anew, "" where they were not.
      pixels_sha256: of the pixels that were stored anew, in hex, "" where they were not. Other than the bytes of a PNG,
        they do not depend on who compressed them.
      format, mode: of the file, in Pillow's words.
      sides: (the shorter, the longer), in pixels.
      remark: why its colour profile was not applied, "" where it was or where there is none.
    """

    content: bytes
    reason: str
    pixels_sha256: str
    format: str
    mode: str
    sides: tuple[int, int]
    remark: str = ""


def sniff(head: bytes) -> str:
    """The kind of image that a file is, a key of KINDS, by its first HEAD_BYTES bytes; "" for none."""
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[:2] == b"BM" and head[14:18] in [bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)]:
        return "BMP"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return "AVIF"
        if head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
            return "HEIC"
    if head[:8] == b"\0\0\0\x0cjP  " or head[:4] == b"\xff\x4f\xff\x51":
        return "JPEG 2000"
    if head[:2] == b"\xff\x0a" or head[:8] == b"\0\0\0\x0cJXL ":
        return "JPEG XL"
    if re.match(rb"P[1-6]\s[\s\d#]", head):
        return "PNM"
    return {b"8BPS": "PSD", b"%PDF": "PDF"}.get(head[:4], "")


@functools.cache
def readable_kinds() -> dict[str, tuple[str, ...]]:
    """The kinds that can be read here, with Pillow's names: HEIC needs pillow-heif, AVIF a Pillow of 2025."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # Birdsnap's largest would be taken for an attack; MAX_PIXELS is asked instead
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd EXIF and palettes: what comes out is what counts
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    kinds = {kind: tuple(name for name in names if name in Image.OPEN) for kind, names in KINDS.items()}
    return {kind: names for kind, names in kinds.items() if names}


def remedy(kind: str) -> str:
    """What to do with images of a kind that is not read."""
    return {"HEIC": _HEIF, "AVIF": f"{_TO_JPEG}, or `pip install -U pillow`"}.get(kind, _TO_JPEG)


def stored(content: bytes, decode: "Callable[[bytes], np.ndarray]", *, apply_profiles: bool = True) -> StoredImage:
    """An image file as it is to be stored.

    Args:
      decode: from encoded images to their RGB pixels, [height, width, 3] uint8, as they will be read.
      apply_profiles: whether colours are changed as a colour profile says.

    Raises:
      UnreadableImage: it is empty, damaged, too large, or no image of a kind that can be read.
    """
    kind = _kind_of(content)
    try:
        return _stored(content, kind, decode, apply_profiles)
    except UnreadableImage:
        raise
    except Exception as error:  # TensorFlow and Pillow have dozens of ways to refuse an image
        raise UnreadableImage(f"damaged or cut {kind}: {_first_line(error)}") from error


def _kind_of(content: bytes) -> str:
    if not content:
        raise UnreadableImage("an empty file")
    kind = sniff(content[:HEAD_BYTES])
    if not kind:
        if re.match(rb"\s*(<!doctype|<html|<\?xml|<)", content[:200].lower()):
            raise UnreadableImage("a web page, no image")
        raise UnreadableImage("no image of a known kind")
    if kind not in readable_kinds():
        raise UnreadableImage(f"{kind}, which is not read here: {remedy(kind)}")
    return kind


def _stored(content: bytes, kind: str, decode, apply_profiles: bool) -> StoredImage:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=readable_kinds()[kind]) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UnreadableImage(f"{width:,} × {height:,} pixels, more than {MAX_PIXELS:,}: make it smaller")
        change, remark = profiles.change(image) if apply_profiles else (None, "")
        sides = min(width, height), max(width, height)
        as_it_is = StoredImage(content, "", "", image.format, image.mode, sides, remark)
        plain = (image.mode in ("L", "RGB", "P") and not _transparent(image) and _orientation(image) == 1
                 and change is None)
        if kind == "JPEG" and image.mode != "P" and plain or kind == "PNG" and plain:
            decode(content)  # the same libraries: only whether it can be decoded is left to see
            return as_it_is
        reason = _reason(image, kind, change is not None)
        pixels = np.asarray(viewed(image, change))
    try:
        same = np.array_equal(decode(content), pixels)
    except Exception:  # as in `stored`
        same = False
    if same:
        return as_it_is
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    sha256 = hashlib.sha256(f"RGB {pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return dataclasses.replace(as_it_is, content=buffer.getvalue(), reason=reason, pixels_sha256=sha256)


def changes_colours(content: bytes) -> bool:
    """Whether an image file has a colour profile that makes it look another than without."""
    from PIL import Image

    kind = sniff(content[:HEAD_BYTES])
    if kind not in readable_kinds():
        return False
    try:
        with Image.open(io.BytesIO(content), formats=readable_kinds()[kind]) as image:
            return profiles.change(image)[0] is not None
    except Exception:  # as in `stored`
        return False


def viewed(image, change=None):
    """The RGB image, mode "RGB", that an image viewer shows of a PIL.Image just opened.

    Args:
      change: of profiles.change.

    Raises:
      UnreadableImage: its numbers have no agreed meaning as colours.
    """
    import numpy as np
    from PIL import Image, ImageOps

    kind, covered = image.format, (0, 0, *image.size)
    if kind == "GIF" and image.tile:
        covered = tuple(image.tile[0][1])  # the first frame may be smaller than the picture
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM")):
        values = np.asarray(image)
        grey = np.clip(values, 0, 65535).astype(np.uint16)
        levels = (grey >> 8).astype(np.uint8)
        if isinstance(hidden := image.info.get("transparency"), int):
            levels = np.where(grey == hidden, np.uint8(255), levels)
        return (change or _to_rgb)(Image.fromarray(levels))
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"pixels of 32 bits ({image.mode}), which every viewer shows in another way: convert it "
                              "to 8 bits")
    if not _transparent(image):
        rgb = (change or _to_rgb)(image)
    else:
        rgba = image.convert("RGBA")
        if change is not None:
            alpha = rgba.getchannel("A")
            rgba = change(rgba.convert("RGB"))
            rgba.putalpha(alpha)
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if kind == "GIF" and covered != (0, 0, *image.size):
        white = Image.new("RGB", image.size, "white")
        white.paste(rgb.crop(covered), covered[:2])
        return white
    return rgb


def _to_rgb(image):
    return image.convert("RGB")


def _transparent(image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _orientation(image) -> int:
    if "exif" not in image.info and "xmp" not in image.info and image.format not in ("TIFF", "WEBP", "AVIF"):
        return 1
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF tells nothing
        return 1


def _reason(image, kind: str, coloured: bool) -> str:
    """Why TensorFlow would show something else, for people; `coloured`: by a colour profile."""
    if coloured:
        return "by their colour profile" + ("" if _orientation(image) in (0, 1) else " and turned as EXIF says")
    if _orientation(image) not in (0, 1):
        return "turned as EXIF says"
    if _transparent(image):
        return "alpha on white"
    if getattr(image, "n_frames", 1) > 1:
        return f"first frame of several ({kind})"
    if image.mode.startswith("I"):
        return "16 bits a channel"
    return kind if image.mode in ("L", "RGB") else f"{kind} with {_MODES.get(image.mode, image.mode)}"


_MODES = {"P": "a palette", "1": "one bit a pixel", "CMYK": "CMYK colours", "YCbCr": "YCbCr colours"}


def _first_line(error: Exception) -> str:
    text = re.sub(r"\{\{.*?\}\}\s*| <_io\.BytesIO[^>]*>", "", str(error)).strip() or type(error).__name__
    return text.splitlines()[0][:150]
