"""The drawn ranking: where dots and intervals lie, what is filled, and names of any kind."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from tfbench.report import ranking_plot


def drawn(**columns):
    rows = pd.DataFrame({
        "regime": "finetune", "network": ["vgg_16", "<b>&\x1b", "x" * 60], "accuracy": [0.9, 0.89, 0.5],
        "low": [0.85, 0.84, 0.45], "high": [0.93, 0.92, 0.55], "like_best": pd.array([pd.NA, True, False], "boolean"),
        "p_best": [np.nan, 0.4, 1e-6]} | columns)
    figure = ElementTree.fromstring(ranking_plot.ranking(rows, "Ranking on <pets>"))
    return figure.find(".//svg"), figure


def test_dots_lie_on_the_axis_and_ties_of_the_best_are_filled():
    svg, _ = drawn()
    dots = svg.findall(".//circle")
    assert [dot.get("class") for dot in dots] == ["filled", "filled", "hollow"]
    axis = {float(text.text): float(text.get("x")) for text in svg.findall("text")}
    low, high = min(axis), max(axis)
    for dot, percent in zip(dots, (90, 89, 50), strict=True):
        expected = axis[low] + (axis[high] - axis[low]) * (percent - low) / (high - low)
        assert float(dot.get("cx")) == pytest.approx(expected, abs=0.2)
    titles = [title.text for title in svg.iter("title")]
    assert titles[0] == "VGG-16: 90.0 %, 95 % interval 85.0 to 93.0"
    assert titles[2].endswith("p against the best < .001") and "\x1b" not in titles[1]


def test_without_predictions_only_the_best_is_filled():
    svg, _ = drawn(low=[np.nan] * 3, high=[np.nan] * 3, like_best=pd.array([pd.NA] * 3, "boolean"),
                   p_best=[np.nan] * 3)
    assert [dot.get("class") for dot in svg.findall(".//circle")] == ["filled", "hollow", "hollow"]
    assert not svg.findall(".//line[@class='interval']")


def test_equally_accurate_networks_are_all_the_best():
    svg, _ = drawn(accuracy=[0.9, 0.9, 0.5], like_best=pd.array([pd.NA] * 3, "boolean"), p_best=[np.nan, 1.0, 1e-6])
    assert [dot.get("class") for dot in svg.findall(".//circle")] == ["filled", "filled", "hollow"]
    assert len(svg.findall(".//text[@class='best']")) == 2
    assert not any("against the best" in title.text for title in list(svg.iter("title"))[:2])


@pytest.mark.parametrize("accuracy", ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.50001, 0.5, 0.5]))
def test_equal_and_extreme_accuracies_lie_inside(accuracy):
    svg, _ = drawn(accuracy=accuracy, low=accuracy, high=accuracy)
    assert all(ranking_plot.NAMES <= float(dot.get("cx")) <= ranking_plot.WIDTH for dot in svg.findall(".//circle"))


def test_one_network_needs_no_ranking():
    assert ranking_plot.ranking(pd.DataFrame({"network": ["vgg_16"]}), "") == ""
