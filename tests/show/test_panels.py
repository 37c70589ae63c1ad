"""`plot`, `to_html` and `save`: what suits the data, several of anything, one scale, dark grounds, files."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.text import Text

import enodo
from enodo.captum.attr import visualization
from enodo.core.errors import BadArgument
from enodo.core.result import Attribution
from enodo.show import Bars, Map, Words, plot, save
from enodo.show.choose import Given, view_for
from enodo.show.layers import Channels
from enodo.show.series import Series
from tests.show.test_images import PHOTO, told

RNG = np.random.default_rng(2)


def answer(values, **more) -> Attribution:
    return Attribution(torch.as_tensor(values), method="integrated_gradients", **more)


@pytest.mark.parametrize(
    ("shape", "labels", "expected"),
    [
        ((2, 3, 8, 8), {}, Map),
        ((2, 8, 8), {}, Map),
        ((2, 1, 300), {}, Series),
        ((2, 300, 2), {}, Series),
        ((2, 4, 50), {"feature_names": list("abcd")}, Series),
        ((2, 6), {}, Bars),
        ((2, 6), {"tokens": [list("abcdef")] * 2}, Words),
        ((2, 6, 9), {"tokens": [list("abcdef")] * 2}, Words),
        ((2, 2, 3, 4, 4), {}, Channels),
        ((2,), {}, Bars),
    ],
)
def test_the_drawing_suits_labels_and_shape(shape, labels, expected) -> None:
    attribution = answer(RNG.standard_normal(shape), **labels)
    assert type(view_for(attribution, 1, None, Given())) is expected
    assert plot(attribution, row=1).figure.axes


def test_several_rows_are_panels_or_a_swarm() -> None:
    figure, axes = plot(answer(RNG.standard_normal((3, 3, 8, 8))), row="all")
    assert [ax.get_title() for ax in axes] == ["row 0", "row 1", "row 2"]
    assert len(plot(answer(RNG.standard_normal((3, 3, 8, 8))), row=[2, 0]).axes) == 2
    assert len(plot(answer(RNG.standard_normal((30, 4))), row="all").axes.collections) == 4  # a swarm a feature
    texts = plot(answer(RNG.standard_normal((2, 2)), tokens=[["a", "b"], ["c", "d"]]), row="all").axes
    assert [{"a", "c"} & {t.get_text() for t in ax.texts} for ax in texts] == [{"a"}, {"c"}]
    figure.canvas.draw()


def test_kinds_side_by_side() -> None:
    axes = plot(answer(RNG.standard_normal((1, 3, 16, 20))), kind=["original", "overlay", "map"], data=PHOTO).axes
    assert [ax.get_title() for ax in axes] == ["original", "overlay", "map"]


def test_batches_of_photos_go_with_their_rows() -> None:
    photos = np.stack([PHOTO, 255 - PHOTO])
    values = answer(np.ones((2, 3, 16, 20)))
    for given in (photos, torch.as_tensor(photos).permute(0, 3, 1, 2), [PHOTO, 255 - PHOTO]):
        axes = plot(values, row="all", kind="original", data=given).axes
        assert [np.array_equal(ax.images[0].get_array(), p) for ax, p in zip(axes, photos, strict=True)] == [True] * 2


def test_one_scale_is_shared() -> None:
    weak, strong = answer(np.full((1, 1, 4, 4), 0.1)), answer(np.full((1, 1, 4, 4), -1.0))
    for shared, limits in ((True, [1.0, 1.0]), (False, [0.1, 1.0])):
        figure, axes = plot([weak, strong], one_scale=shared)
        assert [ax.get_ylim()[1] for ax in figure.axes if ax not in axes] == pytest.approx(limits)
    bars = plot([answer([[1.0, 2.0]]), answer([[0.1, 0.3]])], one_scale=True).axes
    assert bars[0].get_xlim() == bars[1].get_xlim() == (-2.5, 2.5)


def test_targets_have_their_classes_as_titles() -> None:
    many = answer(RNG.standard_normal((2, 1, 4)), scores=torch.zeros(2, 1), target=[2, 0], class_names=["x", "y", "$z"])
    assert [ax.get_title() for ax in plot(many, target="all").axes] == ["$z", "x"]
    assert plot(many, target=1).axes.get_title() == "Integrated gradients, for \u201cx\u201d"
    one = answer(RNG.standard_normal((2, 4)), target=[1, 2], class_names=["x", "y", "$z"])
    assert plot(one, row=1).axes.get_title() == "Integrated gradients, for \u201c$z\u201d"
    assert plot(one, title="mine").axes.get_title() == "mine"


def test_every_input_is_a_panel() -> None:
    both = Attribution({"x": torch.ones(1, 3), "image": torch.ones(1, 1, 5, 5), "unused": torch.zeros(1, 2)})
    axes = plot(both).axes
    assert [ax.get_title() for ax in axes] == ["x", "image"]
    assert "data:image/svg+xml" in both._repr_html_()
    alone = Attribution({"ids": torch.ones(1, 3), "mask": torch.zeros(1, 3)}, method="gradient", target="<lambda>")
    assert plot(alone).axes.get_title() == "Gradient (saliency)"  # a mask that has no part is not shown, nor named


def test_methods_are_compared_on_a_real_model() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    ).eval()
    x = torch.randn(2, 3, 10, 10)
    model(x)
    asked = [enodo.explain(model, x, name, target=1) for name in ("integrated_gradients", "gradient")]
    axes = plot(asked, data=x, row=1, one_scale=True).axes
    assert [ax.get_title() for ax in axes] == ["Integrated gradients", "Gradient (saliency)"]
    assert "stretched to be seen" in told(axes[0])


def test_dark_grounds_have_light_letters() -> None:
    figure, axes = plot(answer(RNG.standard_normal((6, 4))), kind="heatmap", dark=True)
    assert max(figure.get_facecolor()[:3]) < 0.2
    letters = [t for t in figure.findobj(Text) if t.get_text() and t.get_text() != "\u2212"]
    assert min(max(to_rgb(t.get_color())) for t in letters) > 0.8
    middle = plot(answer(np.zeros((1, 4, 4))), kind="map", dark=True).axes.images[0].get_array()
    assert ("berlin" in colormaps) == (np.asarray(middle).max() < 60)  # a map of matplotlib 3.10
    assert axes.figure is figure


@pytest.mark.parametrize("ending", ["html", "png", "svg", "pdf"])
def test_files_by_their_ending(ending, tmp_path) -> None:
    path = tmp_path / f"x.{ending}"
    answer(RNG.standard_normal((5, 3)), feature_names=["<img src=x onerror=1>", "b", "c"]).save(path, kind="bar", row=1)
    start = {"html": b"<!doctype html>", "png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start)
    assert b"<img src=x" not in path.read_bytes()


@pytest.mark.parametrize("kind", ["waterfall", "beeswarm", None])
def test_drawings_are_pages_in_light_and_dark(kind) -> None:
    values = answer(RNG.standard_normal((5, 3) if kind else (5, 1, 90)), scores=torch.ones(5))
    page = values.to_html(kind=kind)
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "prefers-color-scheme: dark" in page
    assert "default-src &#x27;none&#x27;" in page


def test_a_drawing_shows_itself_in_notebooks() -> None:
    drawing = plot(answer([[1.0, 2.0]]))
    assert drawing._repr_png_().startswith(b"\x89PNG")
    assert drawing.svg() == plot(answer([[1.0, 2.0]])).svg() or "<svg" in drawing.svg()
    assert "iframe" in answer(RNG.standard_normal((1, 1, 90)))._repr_html_()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (plot, Attribution.to_html, lambda a: visualization.visualize_image_attr(a.tensor[0])):
        with pytest.raises(ImportError, match=r"need matplotlib; write: pip install 'enodo\[show\]'"):
            draw(answer(np.ones((1, 4, 4))))
    assert answer(np.ones((1, 4, 4)))._repr_html_() is None
    assert "iframe" in answer(np.ones((1, 3)))._repr_html_()  # bars and words of a page need none


def test_threads_may_draw_at_once() -> None:
    values = [answer(RNG.standard_normal((1, 3, 8, 8)) * (i + 1)) for i in range(8)]
    alone = [plot(v).figure for v in values]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda v: plot(v).figure, values))
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a.axes[0].images[0].get_array(), b.axes[0].images[0].get_array())
        assert a.axes[1].get_ylim() == b.axes[1].get_ylim()


BAD = {
    "no rows": (lambda: plot(answer(np.ones((0, 3)))), "attribution: .*no rows"),
    "no values": (lambda: plot(answer(np.ones((2, 3, 0, 4)))), "attribution: .*holds no value"),
    "row": (lambda: plot(answer(np.ones((2, 3))), row=2), "row: got 2; expected 'all', or positions among the 2 rows"),
    "rows": (lambda: plot(answer(np.ones((2, 3))), row=[0, True]), "row: got True"),
    "kind": (lambda: plot(answer(np.ones((2, 3))), kind="waterfal"), "kind: .*Did you mean 'waterfall'"),
    "kind that does not fit": (lambda: plot(answer(np.ones((2, 3))), kind="channels"), r"kind: .*\(C, h, w\)"),
    "text": (lambda: plot(answer(np.ones((2, 3, 8, 8))), kind="text"), "kind: .*tokens"),
    "series": (lambda: plot(answer(np.ones((2, 3, 4, 4))), kind="line"), r"attribution: .*\(C, T\)"),
    "table": (lambda: plot(answer(np.ones((2, 3, 4, 4))), kind="beeswarm"), r"attribution: .*\(rows, features\)"),
    "photo": (lambda: plot(answer(np.ones((1, 3, 8, 8))), data=np.ones((8, 20, 3))), "data: .*20 . 8 for"),
    "no photo": (lambda: plot(answer(np.ones((1, 3, 8, 8))), kind="masked"), "kind: .*without the picture"),
    "odd photo": (lambda: plot(answer(np.ones((1, 3, 8, 8))), data=np.ones((8, 8, 2))), "data: .*1, 3 or 4 channels"),
    "words as photo": (lambda: plot(answer(np.ones((1, 3, 8, 8))), data="cat.jpg"), "data: .*numbers"),
    "cells": (lambda: plot(answer(np.ones((2, 3))), data=np.ones((2, 4))), "data: .*each of 3 features"),
    "rows of data": (lambda: plot(answer(np.ones((2, 3))), kind="beeswarm", data=np.ones((3, 3))), r"data: .*\(2, 3\)"),
    "no data": (lambda: plot(answer(np.ones((2, 3))), kind="dependence"), "data: got nothing"),
    "feature": (
        lambda: plot(answer(np.ones((2, 3)), feature_names=["age", "b", "c"]), kind="dependence", data=np.ones((2, 3)),
                     feature="aeg"),
        "feature: .*'age'",
    ),
    "order": (lambda: plot(answer(np.ones((2, 3))), kind="heatmap", order="score"), "order: .*'similar', 'given'"),
    "segments": (lambda: plot(answer(np.ones((1, 8, 8))), segments=np.ones((4, 4))), "segments: .*8 . 8"),
    "times": (lambda: plot(answer(np.ones((1, 1, 9))), times=np.zeros(9)), "times: .*9 rising"),
    "masks": (lambda: plot(answer(np.ones((2, 4, 4))), segments=np.arange(48).reshape(3, 4, 4)), "each of 2 rows"),
    "parts of segments": (lambda: plot(answer(np.ones((1, 8, 8))), segments=np.full((8, 8), 0.5)), "fractions"),
    "sign": (lambda: plot(answer(np.ones((1, 8, 8))), sign="both"), "sign: .*'positive'"),
    "clip": (lambda: plot(answer(np.ones((1, 8, 8))), clip=2), "clip: .*0.02"),
    "limit": (lambda: plot(answer(np.ones((1, 8, 8))), limit=0), "limit: got 0"),
    "opacity": (lambda: plot(answer(np.ones((1, 8, 8))), data=np.ones((8, 8)), opacity=7), "opacity: got 7"),
    "colours": (lambda: plot(answer(np.ones((1, 8, 8))), colours="viridiss"), "colours: .*'viridis'"),
    "channels": (lambda: plot(answer(np.ones((1, 8, 8))), channels="middle"), "channels: .*'first', 'last'"),
    "option": (lambda: plot(answer(np.ones((2, 3))), colors="viridis"), "options: got 'colors'"),
    "series data": (lambda: plot(answer(np.ones((1, 2, 9))), data=np.ones((3, 9))), "data: .*a series"),
    "activations": (lambda: plot(answer(np.ones((1, 2, 4, 4))), kind="channels", data=np.ones((2, 3, 3))), "data: "),
    "nothing": (lambda: plot([]), "attribution: got an empty list"),
    "thousands of classes": (
        lambda: plot(answer(np.ones((1000, 1, 3)), scores=torch.zeros(1000, 1)), target="all"),
        "1,000 panels; expected at most 64",
    ),
    "waterfall of NaN": (lambda: plot(answer([[1.0, np.nan]]), kind="waterfall"), "1 value that is"),
    "ending": (lambda: save(answer(np.ones((1, 2))), "x.gif"), "path: got 'x.gif'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_sentence(name) -> None:
    call, words = BAD[name]
    with pytest.raises(BadArgument, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_every_dtype_is_drawn(dtype) -> None:
    values = torch.ones(1, 3, 8, 8).to(dtype)
    assert plot(Attribution(values), data=torch.ones(3, 8, 8).bfloat16()).axes.images
    assert plot(Attribution(torch.ones(3, 4).to(dtype)), kind="beeswarm").axes.collections


def test_attributions_that_keep_their_graph_and_values_elsewhere_are_drawn() -> None:
    values = torch.ones(1, 3, requires_grad=True) * 2
    assert plot(Attribution(values)).axes.patches
    with pytest.raises(BadArgument, match="meta"):
        plot(Attribution(torch.ones(1, 3, device="meta")))


def test_thousands_of_features_are_drawn() -> None:
    values = answer(RNG.standard_normal((50, 5000)))
    assert "4,988 weaker ones" in told(plot(values).axes)
    for kind in ("beeswarm", "heatmap"):
        assert "of 5,000 features" in told(plot(values, kind=kind).axes)
