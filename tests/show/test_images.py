"""Pictures: every kind and sign, photos in every form, segments, large maps."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

import enodo
from enodo.core.result import Attribution
from enodo.show import Map, plot
from enodo.show.choose import Given, view_for
from enodo.show.pixels import as_photo, coarse, enlarged, fits, pixels, with_minus_signs
from enodo.show.scale import AGAINST, FOR, NOT_A_NUMBER, limit_of, number, paint, scale_of
from enodo.show.segments import borders, totals

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(2, 256, (16, 20, 3), dtype=np.uint8)
VALUES = RNG.standard_normal((16, 20))


def answer(values, **more) -> Attribution:
    return Attribution(torch.as_tensor(values), method="integrated_gradients", **more)


def told(axes) -> str:
    """The small print of a drawing."""
    return " ".join(" ".join(t.get_text() for t in axes.texts).split())


def drawn(**options) -> np.ndarray:
    return np.asarray(plot(answer(VALUES[None, None]), data=PHOTO, **options).axes.images[0].get_array())


def test_each_kind_is_what_it_says() -> None:
    share = np.abs(scale_of(VALUES).share(VALUES))[..., None]
    assert np.array_equal(drawn(kind="original"), PHOTO)
    assert np.array_equal(drawn(kind="map"), paint(VALUES, scale_of(VALUES)))
    assert np.array_equal(drawn(kind="masked"), (PHOTO * share).round())
    transparent = drawn(kind="alpha")
    assert np.array_equal(transparent[..., :3], PHOTO)
    assert np.array_equal(transparent[..., 3:], (255 * share).round())
    # blended: one opacity everywhere
    ground = np.repeat((70 + 0.65 * (PHOTO @ np.array([0.299, 0.587, 0.114])))[..., None], 3, 2)
    assert np.abs(drawn(opacity=0.5).astype(float) - (ground + paint(VALUES, scale_of(VALUES))) / 2).max() <= 1


@pytest.mark.parametrize(
    ("sign", "kept", "label"),
    [
        ("positive", VALUES > 0.1, "for \u2192"),
        ("negative", VALUES < -0.1, "\u2190 against"),
        ("absolute", np.abs(VALUES) > 0.1, "size in"),
        ("all", np.abs(VALUES) > 0.1, "against  \u2190"),
    ],
)
def test_signs_choose_values_and_say_so(sign, kept, label) -> None:
    figure, axes = plot(answer(VALUES[None]), kind="map", sign=sign, clip=0)
    blank = paint(np.zeros((1, 1)), scale_of(np.ones(1), 0, sign != "absolute"))[0, 0]
    assert np.array_equal((np.asarray(axes.images[0].get_array()) != blank).any(2) & kept, kept)
    assert label in figure.axes[1].get_ylabel()
    low, high = figure.axes[1].get_ylim()
    assert (low == 0) == (sign in ("positive", "absolute"))
    assert (high == 0) == (sign == "negative")


@pytest.mark.parametrize(
    ("photo", "expected", "words"),
    [
        (PHOTO, PHOTO, ""),
        (PHOTO / 255, PHOTO, ""),
        (torch.as_tensor(PHOTO).permute(2, 0, 1), PHOTO, ""),
        (torch.as_tensor(PHOTO / 255).bfloat16(), PHOTO, ""),
        (PHOTO.astype(float), PHOTO, ""),
        (PHOTO[..., 0], PHOTO[..., [0, 0, 0]], ""),
        (PHOTO[None, ..., 1][0][None], PHOTO[..., [1, 1, 1]], ""),
        (np.concatenate([PHOTO, np.full((16, 20, 1), 255, np.uint8)], 2), PHOTO, ""),
        (np.concatenate([PHOTO, np.zeros((16, 20, 1), np.uint8)], 2), np.full_like(PHOTO, 255), ""),
        (PHOTO / 64.0 - 2, None, "stretched to be seen"),
        (np.where(np.arange(20)[:, None] > 3, PHOTO / 255.0, np.nan), None, "not finite"),
        (np.zeros((16, 20)), np.zeros_like(PHOTO), ""),
        (PHOTO > 99, (PHOTO > 99) * 255, ""),
    ],
)
def test_photos_of_every_form(photo, expected, words) -> None:
    found, said = as_photo(photo)
    assert found.shape == PHOTO.shape
    assert found.dtype == np.uint8
    assert words in said
    if expected is not None:
        assert np.abs(found.astype(int) - expected).max() <= (0 if words or not torch.is_tensor(photo) else 1)


def test_the_shape_of_the_map_decides_where_channels_lie() -> None:
    either = RNG.random((3, 20, 3))
    assert as_photo(either)[0].shape == (3, 20, 3)
    assert as_photo(either, (20, 3))[0].shape == (20, 3, 3)
    assert fits((224, 224), (7, 7))
    assert fits((224, 300), (7, 10))
    assert not fits((224, 448), (7, 7))


def test_pictures_with_channels_last_are_summed_over_channels() -> None:
    values = RNG.standard_normal((1, 16, 20, 3))
    last = plot(answer(values), kind="map").axes.images[0].get_array()
    first = plot(answer(values.transpose(0, 3, 1, 2)), kind="map").axes.images[0].get_array()
    assert np.array_equal(last, first)
    layer = answer(RNG.standard_normal((1, 64, 4, 4)), wrt="features")
    assert plot(layer, kind="map").axes.images[0].get_array().shape == (4, 4, 3)
    assert plot(layer, kind="map", channels="last").axes.images[0].get_array().shape == (64, 4, 3)


def test_what_is_no_number_is_drawn_and_counted() -> None:
    values = VALUES.copy()
    values[0, :3] = np.nan
    values[5, 5], values[6, 6] = np.inf, -np.inf
    axes = plot(answer(values[None]), data=PHOTO).axes
    colours = np.asarray(axes.images[0].get_array()).astype(int)
    assert (colours[0, :3] == NOT_A_NUMBER[True]).all()
    assert np.abs(colours[5, 5] - FOR).max() < 30
    assert np.abs(colours[6, 6] - AGAINST).max() < 30
    assert "3 values are not a number, drawn in yellow" in told(axes)
    assert "2 values are infinite" in told(axes)
    assert scale_of(values).limit == pytest.approx(scale_of(values[np.isfinite(values)]).limit)
    grown = enlarged(values[:8, :10], (16, 20), 1.0)
    assert np.isnan(grown).sum() == 12


@pytest.mark.parametrize(
    ("values", "sign", "words"),
    [
        (np.zeros((4, 4)), "all", "Every value is zero"),
        (-np.ones((4, 4)), "positive", "No value is positive"),
        (np.ones((4, 4)), "negative", "No value is negative"),
    ],
)
def test_nothing_to_see_is_neutral_and_said(values, sign, words) -> None:
    axes = plot(answer(values[None]), kind="map", sign=sign).axes
    assert words in told(axes)
    assert np.ptp(np.asarray(axes.images[0].get_array()).astype(int)) <= 4


def test_few_cells_carry_minus_signs() -> None:
    values = np.zeros((1, 4, 4))
    values[0, 1, 2], values[0, 3, 3] = -1.0, 1.0
    marks = [t for t in plot(answer(values), kind="map").axes.texts if t.get_text() == "\u2212"]
    assert [t.get_position() for t in marks] == [(2.0, 1.0)]


def test_minus_signs_are_painted_into_pages() -> None:
    values = np.array([[1.0, -0.5], [-1.0, -0.1]])
    scale = scale_of(values, 0)
    plain = paint(values, scale)
    marked = with_minus_signs(plain, values, scale)
    assert marked.shape == (16, 16, 3)
    assert (marked[4, 12] == 0).all()  # on a pale cell
    assert (marked[12, 4] == 255).all()  # on a dark one
    for y, x, cell in ((4, 4, (0, 0)), (12, 12, (1, 1)), (1, 9, (0, 1))):
        assert np.array_equal(marked[y, x], plain[cell])
    assert with_minus_signs(plain, values, scale_of(values, 0, False)) is plain
    assert with_minus_signs(plain, -np.ones((21, 2)), scale) is plain


def test_segments_have_borders_and_a_legend() -> None:
    mask = np.zeros((16, 20), int)
    mask[:8, :10], mask[8:, 10:] = 1, 2
    values = np.where(mask == 1, -2.0, np.where(mask == 2, 1.0, 0.0))
    axes = plot(answer(values[None]), data=PHOTO, segments=mask).axes
    assert "Areas by strength (per area, 3 areas in all): 1: \u22122, 2: +1." in told(axes)
    assert [t.get_text() for t in axes.texts][:2] == ["1", "2"]
    lines = borders(mask)
    assert len(lines) == 8 + 8 + 10 + 10  # unit lines: two upright ones of 8, two level ones of 10
    assert sorted(set(lines[:16, :, 0].ravel())) == [10.0]
    assert sorted(set(lines[16:, :, 1].ravel())) == [8.0]
    (drawn_lines,) = axes.collections
    assert np.allclose(np.array(drawn_lines.get_segments()), lines - 0.5)
    summed = totals(VALUES, mask)
    assert summed[1] == pytest.approx([VALUES[mask == i].sum() for i in range(3)])
    assert summed[2]


def test_each_row_has_its_own_segments() -> None:
    masks = np.stack([np.zeros((1, 8, 8), int), np.tile(np.arange(8) // 4, (1, 8, 1))])
    first, second = plot(answer(np.ones((2, 8, 8))), row="all", segments=torch.as_tensor(masks)).axes
    assert "1: +1." in told(first)
    assert "1: +1, 2: +1." in told(second)
    same = plot(answer(np.ones((2, 8, 8))), segments=np.repeat(masks[1:], 3, 1)).axes
    assert "1: +1, 2: +1." in told(same)


def test_a_pixel_and_a_line_are_pictures() -> None:
    for shape in ((1, 1, 1, 1), (1, 3, 1, 1), (1, 1, 1, 400), (1, 4, 500)):
        figure = plot(answer(np.ones(shape)), kind="map").figure
        figure.canvas.draw()


def test_the_clip_of_any_distribution_is_that_of_a_sort() -> None:
    for values in (RNG.random(5000), RNG.standard_cauchy(5000), 10.0 ** RNG.uniform(-30, 30, 5000), np.ones(7)):
        size = np.abs(values)
        order = np.sort(size)
        total = np.cumsum(order)
        for clip in (0.02, 0.3, 0.999):
            assert limit_of(size, clip) == pytest.approx(order[np.searchsorted(total, (1 - clip) * total[-1])])
    assert limit_of(np.zeros(3), 0.02) == 0


def test_blocks_are_means() -> None:
    values = RNG.standard_normal((10, 25))
    small, step = coarse(values, 8)
    assert (small.shape, step) == ((3, 7), 4)
    assert small[1, 2] == pytest.approx(values[4:8, 8:12].mean())
    assert small[2, 6] == pytest.approx(values[8:, 24:].mean())


def test_a_map_of_4096_pixels_takes_little_memory() -> None:
    values, photo = torch.randn(1, 1, 4096, 4096), np.full((4096, 4096, 3), 99, np.uint8)
    tracemalloc.start()
    figure, axes = plot(answer(values), data=photo)
    figure.canvas.draw()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * values.numel() * 4
    assert "4096 \u00d7 4096 values, drawn as means over 4 \u00d7 4" in told(axes)
    assert axes.get_xlim() == (-0.5, 4095.5)


def test_pixels_over_a_photo_have_its_size() -> None:
    assert pixels(Map(VALUES[:8, :10], PHOTO), "overlay", scale_of(VALUES)).shape == (16, 20, 3)


def test_what_was_switched_off_together_is_not_added_up() -> None:
    areas = torch.arange(32)[:, None] // 16 * 2 + torch.arange(32) // 16
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).eval()
    x = torch.randn(1, 3, 32, 32)
    why = enodo.explain(model, x, "feature_ablation", target=0, features=areas.expand(1, 3, 32, 32))
    view = view_for(why, 0, None, Given(x))
    assert view.shared
    assert np.allclose(view.values, why.tensor[0, 0])
    figure, axes = plot(why, data=x, segments=True)
    assert "per area" in figure.axes[1].get_ylabel()
    strongest = why.tensor[0, 0].flatten()[why.tensor[0, 0].abs().argmax()]
    assert f"per area): 1: {number(float(strongest))}" in told(axes)
    assert "Pixel by pixel" not in why.to_html()
    pixels_ = enodo.explain(model, x, "integrated_gradients", target=0)
    assert np.allclose(view_for(pixels_, 0, None, Given()).values, pixels_.tensor[0].sum(0))
