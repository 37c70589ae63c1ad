"""Deliberate differences from Captum in pictures: what it refuses or mixes up is drawn, told apart, and escaped."""

from __future__ import annotations

import sys
from typing import Any

import captum.attr._utils.visualization as theirs
import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap

from enodo.captum.attr import visualization as ours

pytestmark = pytest.mark.filterwarnings("ignore")
# What a deuteranope sees of linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
DEUTERANOPE = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
DOT = '<b onclick="x()">!'


def image(library: Any, values: Any, method: str = "heat_map", sign: str = "all", photo: Any = None) -> Any:
    return library.visualize_image_attr(values, photo, method, sign, use_pyplot=False)[1]


def confusion(colours: Any) -> float:
    """How near, in CIELAB, a deuteranope sees some colour for and some against, both of half strength or more."""
    from skimage.color import rgb2lab

    strong = np.linspace(0.75, 1.0, 26)
    ends = np.stack([colours(strong)[:, :3], colours(1 - strong)[:, :3]])
    linear = np.where(ends <= 0.04045, ends / 12.92, ((ends + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEUTERANOPE.T, 0, 1)
    good, bad = rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
    return float(np.linalg.norm(good[:, None] - bad[None], axis=2).min())


def test_colours_told_apart() -> None:
    values = np.array([[-1.0, 1.0]])
    reference, mine = image(theirs, values).images[0].cmap, image(ours, values).images[0].cmap
    assert isinstance(reference, LinearSegmentedColormap)
    assert confusion(reference) < 5
    assert confusion(mine) > 30
    assert np.allclose(mine(0.75), colormaps["PRGn"](0.75))
    assert "underline" in ours.format_word_importances(["no"], [-1.0])
    assert "underline" not in theirs.format_word_importances(["no"], [-1.0])


def test_nothing_to_draw() -> None:
    for values, sign, words in (
        (np.zeros((2, 2)), "all", "Every value is zero"),
        (-np.ones((2, 2)), "positive", "No value is positive"),
        (np.array([[np.nan, 1.0]]), "all", "1 value is not finite"),
    ):
        with pytest.raises((AssertionError, IndexError)):
            image(theirs, values, sign=sign)
        assert image(ours, values, sign=sign).get_xlabel() == words


def test_series_drawn_again() -> None:
    series = torch.randn(8, 2).numpy()
    with pytest.raises((AttributeError, TypeError)):  # a function that matplotlib 3.9 took away
        theirs.visualize_timeseries_attr(series, series, use_pyplot=False)
    assert len(ours.visualize_timeseries_attr(series, series, use_pyplot=False)[1]) == 2


def test_pictures_of_any_kind() -> None:
    values, grey = np.ones((4, 5)), np.linspace(0, 1, 20).reshape(4, 5)
    with pytest.raises(ValueError, match="axis"):
        image(theirs, values, "blended_heat_map", photo=grey)
    with pytest.raises((AttributeError, TypeError, ValueError)):
        image(theirs, torch.as_tensor(values).bfloat16(), "blended_heat_map", photo=torch.as_tensor(grey))
    assert (
        len(image(ours, torch.as_tensor(values).bfloat16(), "blended_heat_map", photo=torch.as_tensor(grey)).images)
        == 2
    )


def test_words_escaped() -> None:
    assert DOT in theirs.format_word_importances([DOT], [1.0])
    assert DOT not in ours.format_word_importances([DOT], [1.0])


def test_text_without_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theirs, "HAS_IPYTHON", False)
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(AssertionError, match="IPython"):
        theirs.visualize_text([])
    assert "<table" in ours.visualize_text([])._repr_html_()
