"""Colour profiles (ICC) of image files: what their colours are in sRGB, which is what networks are trained on.

Importing this module imports no Pillow.
"""

import functools
import io
from collections.abc import Callable

SAME = 2  # levels of 255: a profile that changes no colour by more is sRGB, whatever it is called
_STEPS = 9  # levels of each channel that are tried
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC's colour spaces by Pillow's modes
_LIGHT = ("1", "L", "LA", "La", "I", "F")  # modes of grey images, with I;16 and the like


class UnusableProfile(ValueError):
    """A profile cannot be applied; its text says in a few words why."""


def change(image) -> tuple[Callable | None, str]:
    """What shows the colours of a PIL.Image as its embedded profile means them.

    Returns:
      (function from the image without its alpha to an image of mode "RGB" in sRGB, None where the colours are as they
      should be; why a profile that is there cannot be applied, in words, "" where it can).
    """
    if "icc_profile" not in image.info or image.mode == "LAB":
        return None, ""
    mode = "CMYK" if image.mode == "CMYK" else "RGB"
    if image.mode in _LIGHT or image.mode.startswith("I;16"):
        mode = "L"
    try:
        return _change(image.info["icc_profile"], mode), ""
    except UnusableProfile as error:
        return None, str(error)


@functools.lru_cache(maxsize=16)  # a camera's photographs have one; those for printing have half a megabyte
def _change(profile: bytes | None, mode: str) -> Callable | None:
    from PIL import ImageCms

    if not profile:
        raise UnusableProfile("an incomplete colour profile")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = _SPACES.get(opened.profile.xcolor_space.strip(), opened.profile.xcolor_space.strip())
        if mode != space and (mode, space) != ("L", "RGB"):
            raise UnusableProfile(f"a colour profile of {space} in an image of {mode}")
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), space, "RGB",
                                            ImageCms.Intent.PERCEPTUAL)
        tried = _colours(mode)
        before, after = tried.convert("RGB"), ImageCms.applyTransform(tried.convert(space), transform)
    except UnusableProfile:
        raise
    except Exception as error:  # LittleCMS has many ways to refuse one
        raise UnusableProfile("a damaged colour profile") from error
    assert after is not None
    if mode != "CMYK" and _difference(before, after) <= SAME:
        return None
    return lambda image: ImageCms.applyTransform(image.convert(mode).convert(space), transform)


def _colours(mode: str):
    """An image with colours from the whole of a mode's range."""
    import numpy as np
    from PIL import Image

    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    levels = np.linspace(0, 255, _STEPS).astype(np.uint8)
    colours = np.stack(np.meshgrid(*[levels] * len(mode), indexing="ij"), -1)
    return Image.frombytes(mode, (colours.size // len(mode), 1), colours.tobytes())


def _difference(one, other) -> int:
    import numpy as np

    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())
