"""Scales, colours and views: what is drawn is what was computed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.figure import Figure

from enodo.core.errors import BadArgument
from enodo.core.result import Attribution
from enodo.show import Bars, Map, Sample, Words, plot, view_of
from enodo.show.scale import AGAINST, FOR, number, overlay, paint, scale_of
from enodo.show.tokens import spaced, words_of
from enodo.show.view import regions, resize

PHOTO = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def answer(values, **more) -> Attribution:
    return Attribution(torch.as_tensor(values), method="integrated_gradients", **more)


def test_the_clip_leaves_out_two_percent_of_the_sum() -> None:
    values = np.array([1.0] * 98 + [2.0, -100.0])
    scale = scale_of(values)
    # In ascending order the sums reach 98 % of 200 with the last value only, so that nothing is above the limit.
    assert (scale.limit, scale.peak, scale.clipped) == (100.0, 100.0, False)
    many = np.array([1.0] * 1000 + [10.0])
    assert scale_of(many).limit == 1.0
    assert scale_of(many).clipped
    assert scale_of(many, clip=0.0).limit == 10.0
    assert scale_of(many, limit=4.0).share(many).max() == 1.0


def test_captum_clips_at_the_same_value() -> None:
    from captum.attr._utils.visualization import _cumulative_sum_threshold

    values = np.random.default_rng(1).standard_normal((40, 40)) ** 3
    assert scale_of(values).limit == pytest.approx(_cumulative_sum_threshold(np.abs(values), 98))


@given(st.floats(1e-30, 1e30))
def test_colours_are_symmetric_about_zero(size: float) -> None:
    scale = scale_of(np.array([size, -size / 3]), 0.0)
    assert scale.share(np.array([-size, 0.0, size])).tolist() == [-1.0, 0.0, 1.0]
    middle = paint(np.array([[0.0]]), scale)[0, 0].astype(int)
    assert np.ptp(middle) <= 4  # grey, hence neutral
    red, blue = paint(np.array([[size, -size]]), scale)[0].astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50


def test_paint_is_the_colour_map_of_matplotlib() -> None:
    scale = scale_of(np.array([1.0]), 0.0)
    assert paint(np.array([[0.5]]), scale)[0, 0].tolist() == list(colormaps["RdBu_r"](0.75, bytes=True)[:3])


def test_opacity_grows_with_the_value() -> None:
    values = np.zeros((16, 16))
    values[0] = np.linspace(0, 1, 16)
    values[1] = -values[0]
    scale = scale_of(values, 0.0)
    flat = np.full_like(PHOTO, 128)
    drawn = overlay(values, flat, scale).astype(float)
    ground = drawn[5, 5]
    far = np.abs(drawn[0] - ground).sum(1)
    assert (np.diff(far) >= 0).all()
    assert far[-1] > 100
    assert np.ptp(ground) == 0
    assert np.abs(drawn[0, -1] - FOR).max() < 30
    assert np.abs(drawn[1, -1] - AGAINST).max() < 30


def test_zero_everywhere_is_neutral_and_said() -> None:
    from enodo.show.image import fragment

    view = Map(np.zeros((16, 16)), PHOTO)
    drawn = overlay(view.values, PHOTO, scale_of(view.values))
    assert (np.ptp(drawn, axis=2) == 0).all()
    assert "Every value is zero" in fragment(view, "points")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "0"),
        (1.234, "+1.23"),
        (-0.5, "\u22120.5"),
        (12345.6, "+12,346"),
        (-1e-7, "\u22121e\u221207"),
        (float("nan"), "not a number"),
    ],
)
def test_numbers_for_readers(value, told) -> None:
    assert number(value) == told


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_regions_keep_the_sum(height: int, width: int, cells: int) -> None:
    values = np.random.default_rng(height * 41 + width).standard_normal((height, width))
    coarse = regions(values, cells)
    assert coarse.shape == (min(cells, height), min(cells, width))
    assert coarse.sum() == pytest.approx(values.sum())


def test_regions_lie_where_their_pixels_do() -> None:
    values = np.zeros((8, 8))
    values[0:2, 6:8] = 1.0
    assert np.array_equal(regions(values, 4), [[0, 0, 0, 4], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert np.unravel_index(resize(regions(values, 4), (8, 8)).argmax(), (8, 8))[1] >= 6


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["[CLS]", "un", "##believ", "##able", "!", "[SEP]"], ["[CLS]", "unbelievable", "!", "[SEP]"]),
        (["<s>", "\u2581un", "believ", "able", "\u2581film", "</s>"], ["<s>", "unbelievable", "film", "</s>"]),
        (["Un", "believ", "\u0120film", "s"], ["Unbeliev", "films"]),
        (["a", "b"], ["a", "b"]),
        (["##x", "\u2581"], ["x", "\u2581"]),
    ],
)
def test_pieces_become_words(tokens, words) -> None:
    scores = np.arange(1.0, len(tokens) + 1)
    view = words_of(tokens, scores)
    assert view.words == words
    assert view.values.sum() == scores.sum()
    assert view.special == [w[0] in "[<" for w in words]


def test_print_has_no_space_before_a_comma() -> None:
    told = spaced(["do", "n", "'", "t", ",", "(", "he", ")", "said", "."])
    assert "".join(told) == "do n't, (he) said."


def test_the_view_fits_the_sample() -> None:
    text = Sample("text", "t", tokens=["a", "##b", "c"])
    per_token = answer([[1.0, 2.0, 3.0]])
    assert view_of(per_token, text).values.tolist() == [3.0, 3.0]
    assert view_of(answer([[[1.0, 1.0], [2.0, 0.0], [3.0, 0.0]]]), text).values.tolist() == [4.0, 3.0]
    table = Sample("table", "t", names=["age", "job"], cells=["3", "b"], groups=[0, 1, 1])
    bars = view_of(per_token, table)
    assert (bars.names, bars.cells, bars.values.tolist()) == (["age", "job"], ["3", "b"], [1.0, 5.0])
    photo = view_of(answer(np.ones((1, 3, 8, 8))), Sample("image", "p", photo=PHOTO))
    assert isinstance(photo, Map)
    assert (photo.values == 3.0).all()
    assert isinstance(view_of(answer([[1.0] * 5]), table), Bars)
    assert view_of(answer([[1.0] * 5]), table).names == ["0", "1", "2", "3", "4"]


def test_labels_on_the_attribution_are_used() -> None:
    rows = answer([[1.0, 2.0], [3.0, 4.0]], tokens=[["a", "b"], ["c", "d"]])
    view = view_of(rows, row=1)
    assert isinstance(view, Words)
    assert view.words == ["c", "d"]
    assert view_of(answer([[1.0, 2.0]], feature_names=["x", "y"])).names == ["x", "y"]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(BadArgument, match="row"):
        view_of(answer([[1.0]]), row=1)
    with pytest.raises(BadArgument, match="2 tensors"):
        view_of(Attribution((torch.ones(1, 2), torch.ones(1, 2))))
    assert view_of(Attribution((torch.ones(1, 2), torch.zeros(1, 3)))).values.tolist() == [1.0, 1.0]
    with pytest.raises(BadArgument, match="data"):
        plot(answer(np.ones((1, 3, 8, 8))), data=np.zeros((3, 8, 20)))


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.ones((1, 3, 16, 16)), {}),
        (np.random.default_rng(0).standard_normal((1, 3, 16, 16)), {"data": PHOTO}),
        (
            np.random.default_rng(0).standard_normal((1, 5, 4, 4)),
            {"data": PHOTO / 255.0, "kind": "regions", "clip": 0},
        ),
        (np.zeros((1, 16, 16)), {"data": PHOTO, "opacity": 0.5}),
        ([[1.0, -2.0, 0.0]], {}),
        ([[0.0, 0.0]], {"shown": 1}),
        ([2.0], {}),
    ],
)
def test_everything_can_be_plotted(values, options, tmp_path) -> None:
    figure, axes = plot(answer(values), **options)
    assert isinstance(figure, Figure)
    assert axes.figure is figure
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_text_is_plotted_as_it_stands(tmp_path) -> None:
    tokens = [["$x", "\\frac{", "<b>", "long" * 10, *["word"] * 60]]
    figure = answer(np.linspace(-1, 1, 64)[None], tokens=tokens).plot(title="T")
    figure.savefig(tmp_path / "t.svg")
    drawn = [text.get_text() for text in figure.axes.texts]
    assert drawn[:4] == tokens[0][:4]


def test_given_axes_are_drawn_on() -> None:
    axes = Figure().subplots(1, 2)
    assert plot(answer([[1.0, 2.0]]), ax=axes[1]) == (axes[1].figure, axes[1])
    assert len(axes[1].patches) == 2
    assert not axes[0].patches


def test_no_state_of_pyplot_is_touched() -> None:
    code = (
        "import sys, torch; from enodo.core.result import Attribution as A; from enodo import show\n"
        "show.plot(A(torch.randn(1, 3, 8, 8))); A(torch.ones(1, 2)).to_html()\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=path)
    assert done.stdout.strip() == "False", done.stderr
