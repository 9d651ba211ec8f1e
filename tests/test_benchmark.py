"""The benchmark program measures what it says, on a small number of images."""

import io

import numpy as np
import PIL.Image
import pytest

from tfbench import benchmark


def test_photographs_are_jpegs_of_the_stated_size():
    images = benchmark.photographs(20)
    assert len(images) == 20 and images[0] == images[16]
    picture = PIL.Image.open(io.BytesIO(images[0]))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (500, 375), "RGB")
    assert 30_000 < len(images[0]) < 200_000 and np.asarray(picture).std() > 30


def test_input_ratios_are_of_the_rates(monkeypatch):
    monkeypatch.setattr(benchmark, "IMAGES", 128)
    result = benchmark.measure_input(rounds=1)
    rates = result["images_per_second"]
    assert set(rates) == {"decode_jpeg", "training", "evaluation"} and min(rates.values()) > 10
    for name, ratio in result["ratio_to_decode_jpeg"].items():
        assert ratio == pytest.approx(rates[name] / rates["decode_jpeg"])
