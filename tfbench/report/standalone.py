"""What pages beside the report share: the frame of a file that opens from disk, and images inside it."""

import base64
import io
import pathlib
from html import escape

from tfbench.wording import printable


def page(title: str, body: str, style: str = "") -> str:
    """A page with the report's style inside, on light and on dark.

    Args:
      title: plain text. body: HTML below it. style: CSS after the report's.
    """
    common = (pathlib.Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    name = escape(printable(title))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<style>
{common}{style}</style>
</head>
<body>
<h1>{name}</h1>
<main>
{body}
</main>
</body>
</html>
"""


def image(encoded: bytes, name: str, side: int, bottom_rows: int = 0) -> str:
    """An <img> element with the image inside, as JPEG; small ones are enlarged by whole factors.

    Args:
      encoded: as a prepared data set holds it. name: for those who cannot see it.
      side: pixels of the longer side, at most. bottom_rows: rows at the lower edge that are not to be seen.
    """
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as opened:
        small = opened.convert("RGB")
    if bottom_rows:
        small = small.crop((0, 0, small.width, max(small.height - bottom_rows, 1)))
    small.thumbnail((side, side))
    if max(small.size) <= side // 2:
        factor = side // max(small.size)
        small = small.resize((small.width * factor, small.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img loading="lazy" alt="{escape(printable(name), quote=True)}" src="data:image/jpeg;base64,{data}">'
