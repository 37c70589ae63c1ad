"""Captum's pictures: the same arrays on the same axes where Captum draws, and an answer where it cannot."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import captum.attr._utils.visualization as theirs
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import enodo.captum.attr as attr
from enodo.core.errors import BadArgument

ours = attr.visualization
RNG = np.random.default_rng(3)
VALUES = RNG.standard_normal((12, 10, 3)) ** 3
PHOTO = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
EVIL = '<img src=x onerror="alert(1)">'
SIGNS = tuple(ours.VisualizeSign.__members__)
METHODS = tuple(ours.ImageVisualizationMethod.__members__)
NEITHER = ("masked_image", "alpha_scaling")  # drawn for one sign only


def drawn(library: Any, method: str, sign: str, values: Any = VALUES, photo: Any = PHOTO, **more: Any) -> Axes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure, axes = library.visualize_image_attr(values, photo, method, sign, use_pyplot=False, **more)
    assert isinstance(figure, Figure)
    assert axes.figure is figure
    return axes


def test_names_and_signatures_are_captums() -> None:
    for name in ours.__all__:
        mine, reference = getattr(ours, name), getattr(theirs, name)
        if inspect.isfunction(reference):
            forms = [[(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
                     for f in (mine, reference)]  # fmt: skip
            assert forms[0] == forms[1], name
        elif name == "VisualizationDataRecord":
            assert sorted(mine.__slots__) == sorted(reference.__slots__)
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(reference).parameters)
        else:
            assert {m.name: m.value for m in mine} == {m.name: m.value for m in reference}
    public = {n for n, v in vars(theirs).items() if getattr(v, "__module__", "") == theirs.__name__ and n[0] != "_"}
    assert public == set(ours.__all__)


@pytest.mark.parametrize(
    ("method", "sign"), [(m, s) for m in METHODS for s in SIGNS if not (s == "all" and m in NEITHER)]
)
def test_images_are_the_arrays_that_captum_draws(method: str, sign: str) -> None:
    mine, reference = drawn(ours, method, sign), drawn(theirs, method, sign)
    assert len(mine.images) == len(reference.images)
    for a, b in zip(mine.images, reference.images, strict=True):
        assert np.allclose(np.asarray(a.get_array(), float), np.asarray(b.get_array(), float), atol=1e-9)
        assert a.get_clim() == b.get_clim()
        assert a.get_alpha() == b.get_alpha()
        assert np.allclose(a.get_extent(), b.get_extent())


@pytest.mark.parametrize("percent", [0, 2, 30, 99])
def test_the_clip_is_captums(percent: int) -> None:
    for sign in SIGNS:
        flat = VALUES.sum(2)
        assert np.allclose(ours.normalized(flat, sign, percent)[0], theirs._normalize_attr(flat, sign, percent))


def test_tensors_grey_rgba_negative_and_channels_first_are_images_too() -> None:
    grey = drawn(ours, "blended_heat_map", "all", torch.as_tensor(VALUES).bfloat16(), torch.as_tensor(PHOTO[..., 0]))
    assert len(grey.images) == 2
    clear = np.concatenate([PHOTO, np.zeros((12, 10, 1), np.uint8)], 2)
    white = drawn(ours, "original_image", "all", photo=clear)
    assert np.all(np.asarray(white.images[0].get_array()) == 255)
    normal = drawn(ours, "original_image", "all", photo=PHOTO / 64.0 - 2)
    assert np.abs(np.asarray(normal.images[0].get_array(), int) - PHOTO).max() <= 2
    turned = drawn(ours, "heat_map", "all", torch.as_tensor(VALUES).permute(2, 0, 1)[None], None)
    assert np.allclose(turned.images[0].get_array(), drawn(ours, "heat_map", "all").images[0].get_array())
    first = drawn(ours, "original_image", "all", photo=torch.as_tensor(PHOTO).permute(2, 0, 1) / 255)
    assert np.array_equal(first.images[0].get_array(), PHOTO)


@pytest.mark.parametrize("method", METHODS)
def test_large_images_are_drawn_as_means_in_their_own_coordinates(method: str) -> None:
    values, photo = np.ones((2100, 3000), np.float32), np.full((2100, 3000, 3), 9, np.uint8)
    axes = drawn(ours, method, "positive", values, photo)
    assert {image.get_array().shape[:2] for image in axes.images} == {(1050, 1500)}
    assert axes.get_xlim() == (-0.5, 2999.5)


def test_multiple_is_side_by_side() -> None:
    given = (VALUES, PHOTO, ["original_image", "heat_map"], ["all", "positive"], ["a", "b"])
    for library in (ours, theirs):
        figure, axes = library.visualize_image_attr_multiple(*given, use_pyplot=False, show_colorbar=True)
        assert isinstance(axes, list)
        assert [ax.get_title() for ax in axes] == ["a", "b"]
        assert len(figure.axes) == 4
    one = ours.visualize_image_attr_multiple(VALUES, None, ["heat_map"], ["all"], use_pyplot=False)[1]
    assert isinstance(one, Axes)


SERIES = np.cumsum(RNG.standard_normal((40, 3)), 0)


@pytest.mark.parametrize("method", tuple(ours.TimeseriesVisualizationMethod.__members__))
@pytest.mark.parametrize("sign", ["all", "negative"])
def test_series_are_drawn_on_a_panel_a_channel(method: str, sign: str) -> None:
    figure, axes = ours.visualize_timeseries_attr(
        torch.as_tensor(SERIES**3), torch.as_tensor(SERIES), np.linspace(0, 1, 40), method, sign,
        channel_labels=["x", "$y", "z"], use_pyplot=False, show_colorbar=True, title="t", linewidth=3,
    )  # fmt: skip
    combined = method == "overlay_combined"
    panels = [axes] if combined else list(axes)
    assert len(panels) == (1 if combined else 3)
    values = SERIES**3
    expected = ours.normalized(values.sum(1)[None] if combined else values.T, sign)[0]
    for i, ax in enumerate(panels):
        colours = ax.collections[0].get_array()
        assert np.allclose(np.ravel(colours), expected[i][: np.size(colours)])
        assert ax.get_xlim() == (0.0, 1.0)
        widths = ax.collections[0].get_linewidth() if method == "colored_graph" else [ax.lines[0].get_linewidth()]
        assert set(np.ravel(widths)) == {3}
    figure.canvas.draw()


def test_pyplot_is_left_alone_unless_asked_for() -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    ours.visualize_image_attr(VALUES, use_pyplot=False)
    ours.visualize_timeseries_attr(SERIES, SERIES, use_pyplot=False)
    assert pyplot.get_fignums() == before


def test_pyplot_draws_and_shows_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    shown: list[bool] = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(True))
    figure, _ = ours.visualize_image_attr(VALUES)
    assert figure.number in pyplot.get_fignums()
    assert shown == [True]
    pyplot.close(figure)


def test_given_axes_are_used() -> None:
    figure = Figure()
    ax = figure.subplots()
    assert ours.visualize_image_attr(VALUES, plt_fig_axis=(figure, ax), use_pyplot=False) == (figure, ax)


@pytest.mark.parametrize("width", [1, 2])
def test_borders_are_captums(width: int) -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:8, 2:] = True
    mask[4, 4] = False
    found = []
    for library in (ours, theirs):
        ax = Figure().subplots()
        library.draw_mask_border(ax, mask, width, "red")
        library.draw_mask_legend(ax, mask, "7")
        library.draw_mask_border(ax, np.zeros((9, 9), bool))
        library.draw_mask_legend(ax, np.zeros((9, 9), bool), "none")
        (image,), (text,) = ax.images, ax.texts
        found.append((np.asarray(image.get_array(), float), text.get_position(), text.get_text()))
    assert np.array_equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


class Tags(HTMLParser):
    """The tags of a text, and what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_words_are_formatted_as_by_captum() -> None:
    words, values = ["<s>", "good", "film", "</s>"], np.array([0.0, 0.7, -0.4, 1.5])
    found = [Tags(library.format_word_importances(words, values)) for library in (ours, theirs)]
    assert found[0].tags == found[1].tags == ["td"] + ["mark", "font"] * 4
    assert found[0].words == found[1].words == ["#s", "good", "film", "#/s"]
    depths = [re.findall(r"75%, (\d+)%", lib.format_word_importances(words, values)) for lib in (ours, theirs)]
    assert depths[0] == depths[1]
    for name, given in (("format_classname", ("cat",)), ("format_special_tokens", ("<pad>",))):
        assert getattr(ours, name)(*given) == getattr(theirs, name)(*given)
    tips = [Tags(library.format_tooltip("a", "b")) for library in (ours, theirs)]
    assert (tips[0].tags, tips[0].words) == (tips[1].tags, tips[1].words)
    assert ours.format_word_importances([], []) == theirs.format_word_importances([], [])


def test_a_table_of_texts_is_escaped_and_needs_no_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    record = ours.VisualizationDataRecord(torch.tensor([0.5, -1.0]), 0.9, EVIL, EVIL, EVIL, 1.234, [EVIL, "b"], 0.01)
    page = ours.visualize_text([record])
    assert page.data == page._repr_html_()
    found = Tags(page.data)
    assert "img" not in found.tags
    assert found.tags.count("tr") == 2
    assert "(0.90)" in page.data
    assert "1.23" in found.words
    assert "Legend:" in found.words
    assert "Legend:" not in Tags(ours.visualize_text([record], legend=False).data).words
    cells = (ours.format_classname(EVIL), ours.format_tooltip(EVIL, EVIL), ours.format_word_importances([EVIL], [1]))
    for text in cells:
        assert "img" not in Tags(text).tags


def test_a_notebook_shows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(HTML=lambda t: ("HTML", t), display=shown.append)
    )
    given = ours.visualize_text([])
    assert shown == [given]
    assert given[0] == "HTML"


BAD = {
    "method": (lambda: ours.visualize_image_attr(VALUES, method="heatmap"), "heat_map"),
    "sign": (lambda: ours.visualize_image_attr(VALUES, PHOTO, "masked_image", "all"), "tell signs apart"),
    "original_image": (lambda: ours.visualize_image_attr(VALUES, None, "masked_image"), "the image"),
    "attr": (lambda: ours.visualize_image_attr(np.zeros((2, 3, 4, 5))), "attr[0]"),
    "signs": (lambda: ours.visualize_image_attr_multiple(VALUES, None, ["heat_map"], []), "one for each"),
    "x_values": (lambda: ours.visualize_timeseries_attr(SERIES, SERIES, np.arange(3)), "40 steps"),
    "channel_labels": (lambda: ours.visualize_timeseries_attr(SERIES, SERIES, channel_labels=["a"]), "3 channels"),
    "cmap": (lambda: ours.visualize_image_attr(VALUES, cmap="Bluse", use_pyplot=False), "Blues"),
    "outlier_perc": (lambda: ours.visualize_image_attr(VALUES, outlier_perc=101), "0 to 100"),
    "importances": (lambda: ours.format_word_importances(["a", "b"], [1.0]), "2 words"),
    "titles": (lambda: ours.visualize_image_attr_multiple(VALUES, None, ["heat_map"], ["all"], []), "one for each"),
    "mask": (lambda: ours.draw_mask_border(Figure().subplots(), np.zeros(3)), "(H, W)"),
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_arguments_are_named(argument: str) -> None:
    call, words = BAD[argument]
    with pytest.raises(BadArgument, match=f"^{argument}: ") as caught:
        call()
    assert words in str(caught.value)
