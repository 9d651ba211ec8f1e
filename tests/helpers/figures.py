"""What figures' texts are and whether they keep apart, and names that try to break out of them."""

import html
import re
import warnings

import numpy as np

from tfbench.report import plots

HOSTILE = ("$\\frac{", "<script>alert(1)</script>", "--><b>", "a\n\x1b[31mb\x00", "網路 שלום", "x" * 300, "_a",
           "W " * 40)


def texts(figure):
    """All texts of a figure that are drawn, after its layout."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.draw_without_rendering()
    drawn = list(figure.texts) + [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        drawn += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        drawn += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    return [text for text in drawn if text.get_text() and text.get_visible()]


def overlaps(figure, slack=1.0):
    """Pairs of texts whose boxes share more than `slack` pixels across and down, and texts that leave the figure."""
    drawn = texts(figure)
    boxes = np.array([text.get_window_extent().extents for text in drawn])
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    pairs = np.argwhere(np.triu(((high - low) > slack).all(axis=2), 1))
    width, height = figure.bbox.size
    outside = (boxes[:, :2] < -slack).any(axis=1) | (boxes[:, 2:] > np.array([width, height]) + slack).any(axis=1)
    return [tuple(drawn[i].get_text() for i in pair) for pair in pairs] + [
        drawn[i].get_text() for i in np.flatnonzero(outside)]


def hovers(figure):
    """The titles of a figure's marks in its SVG file, in the order they are drawn."""
    return [html.unescape(title) for title in re.findall("<title>(.*?)</title>", plots.save(figure)[0].decode())]
