"""Series, bars, waterfalls, swarms, rows, dependence and channels: what is drawn is what was computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from enodo.core.errors import BadArgument
from enodo.core.result import Attribution
from enodo.show import plot
from enodo.show.many import swarm
from enodo.show.rows import column
from enodo.show.scale import AGAINST, FOR, chosen, scale_of
from enodo.show.series import blocks, edges_of
from tests.show.test_images import told

RNG = np.random.default_rng(1)
SERIES = RNG.standard_normal((3, 40))
NAMES = ["a", "$b", "c"]


def answer(values, **more) -> Attribution:
    return Attribution(torch.as_tensor(values), method="integrated_gradients", **more)


def mesh(ax) -> np.ndarray:
    (found,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return np.ravel(found.get_array())


def test_a_series_has_a_panel_a_channel() -> None:
    values = RNG.standard_normal((2, 3, 40))
    figure, axes = plot(answer(values, feature_names=NAMES), row=1, data=np.stack([0 * SERIES, SERIES]))
    assert [ax.get_ylabel() for ax in axes] == NAMES
    share = scale_of(values[1]).share(values[1])
    for i, ax in enumerate(axes):
        assert np.allclose(mesh(ax), share[i])
        assert np.array_equal(ax.lines[0].get_ydata(), SERIES[i])
    figure.canvas.draw()
    turned = plot(answer(values.transpose(0, 2, 1), feature_names=NAMES), row=1, data=SERIES.T).axes
    assert np.allclose(mesh(turned[2]), share[2])


def test_channels_in_one_panel_are_summed() -> None:
    ax = plot(answer(SERIES[None]), kind="combined", data=SERIES).axes
    assert np.allclose(mesh(ax), scale_of(SERIES.sum(0)).share(SERIES.sum(0)))
    assert len(ax.lines) == 3
    assert "summed over the channels" in told(ax)


def test_a_line_has_the_colours_of_its_values() -> None:
    axes = plot(answer(SERIES[None]), kind="line", data=SERIES).axes
    for i, ax in enumerate(axes):
        (line,) = [c for c in ax.collections if isinstance(c, LineCollection)]
        assert np.allclose(line.get_array(), scale_of(SERIES).share(SERIES)[i])
        assert [s[1].tolist() for s in line.get_segments()] == np.stack([np.arange(40.0), SERIES[i]], 1).tolist()


def test_marks_tell_the_sign_apart_without_colours() -> None:
    values = np.zeros((1, 1, 12))
    values[0, 0, 2:5], values[0, 0, 7] = 1.0, -1.0
    ax = plot(answer(values)).axes
    top, bottom = [c for c in ax.collections if not isinstance(c, QuadMesh)]
    for marks, where in ((top, [[1.5, 0.95], [4.5, 1.0]]), (bottom, [[6.5, 0.0], [7.5, 0.05]])):
        corners = np.concatenate([path.vertices for path in marks.get_paths()])
        assert np.allclose([corners.min(0), corners.max(0)], where)
    assert "Marks at the top: for" in told(ax)


def test_long_series_keep_their_peaks_and_their_means() -> None:
    data = RNG.standard_normal((1, 100_000))
    ax = plot(answer(data[None]), data=data).axes
    assert (ax.lines[0].get_ydata().max(), ax.lines[0].get_ydata().min()) == (data.max(), data.min())
    small = blocks(data, 50)
    assert np.allclose(small[0, 3], data[0, 150:200].mean())
    assert np.allclose(mesh(ax), scale_of(small).share(small)[0])
    assert "100,000 steps: attributions are means over 50" in told(ax)


def test_steps_end_halfway_to_their_neighbours() -> None:
    assert edges_of(np.array([0.0, 1.0, 3.0])).tolist() == [-0.5, 0.5, 2.0, 4.0]


def test_times_are_those_of_the_clock() -> None:
    when = np.array([0.0, 1.0, 3.0, 4.0])
    ax = plot(answer(np.ones((1, 1, 4))), kind="individual", data=np.arange(4.0), times=when).axes
    assert ax.lines[0].get_xdata().tolist() == when.tolist()
    assert ax.get_xlim() == (-0.5, 4.5)


def test_of_many_channels_the_strongest_are_drawn() -> None:
    values = RNG.standard_normal((20, 60)) * np.arange(20)[:, None]
    axes = plot(answer(values[None]), kind="individual").axes
    assert [ax.get_ylabel() for ax in axes] == [f"channel {i}" for i in range(8, 20)]
    assert "The 12 strongest of 20 channels" in told(axes[-1])


def test_a_waterfall_leads_from_baseline_to_score() -> None:
    scores = {"scores": torch.tensor([3.0]), "baseline_scores": torch.tensor([1.0])}
    ax = plot(answer([[1.5, -0.5, 0.25, 0.05]], **scores), kind="waterfall", shown=2, data=[["x", 2.0, 3, "$"]]).axes
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["baseline: 1", "0 = x", "1 = 2", "2 weaker features", "unaccounted for", "score: 3"]
    arrows = [p.get_xy() for p in ax.patches if isinstance(p, Polygon)]
    ends = [[xy[0, 0], xy[2, 0]] for xy in arrows]
    assert np.allclose(ends, [[1.0, 2.5], [2.5, 2.0], [2.0, 2.3], [2.3, 3.0]])
    colours = [p.get_facecolor()[:3] for p in ax.patches]
    assert colours[:2] == [tuple(np.array(FOR) / 255), tuple(np.array(AGAINST) / 255)]
    assert np.ptp(colours[3]) == 0  # what is unaccounted for is grey
    exact = plot(answer([[1.5, 0.5]], **scores), kind="waterfall").axes
    assert "unaccounted for" not in [t.get_text() for t in exact.get_yticklabels()]


def test_bars_are_ordered_named_and_counted() -> None:
    values = RNG.standard_normal(30)
    ax = plot(answer(values[None], feature_names=[f"${i}" for i in range(30)]), kind="bar", shown=5).axes
    order = np.argsort(-np.abs(values))[:5][::-1]
    assert [p.get_width() for p in ax.patches] == pytest.approx(values[order])
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"${i}" for i in order]
    assert "And 25 weaker ones." in told(ax)


def test_the_mean_size_of_many_rows_is_a_bar() -> None:
    values = RNG.standard_normal((50, 3))
    ax = plot(answer(values, feature_names=NAMES), kind="mean").axes
    sizes = np.abs(values).mean(0)
    assert [p.get_width() for p in ax.patches] == pytest.approx(np.sort(sizes))
    assert "mean size over 50 rows" in ax.get_xlabel()


def points(ax) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def test_a_swarm_has_a_point_a_row_and_its_colour_is_the_value() -> None:
    values = RNG.standard_normal((50, 3)) * np.array([1, 3, 2])
    data = np.arange(150.0).reshape(50, 3)
    ax = plot(answer(values, feature_names=NAMES), kind="beeswarm", data=data).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["$b", "c", "a"]
    for y, (found, feature) in enumerate(zip(points(ax), (1, 2, 0), strict=True)):
        x, height = found.get_offsets().T
        assert np.allclose(x, np.sort(values[:, feature]))
        assert np.abs(height - y).max() < 0.5
    assert np.unique(points(ax)[0].get_facecolor(), axis=0).shape[0] > 20
    plain = plot(answer(values), kind="beeswarm").axes
    red = points(plain)[0].get_facecolor()[:, 0] == FOR[0] / 255
    assert np.array_equal(red, np.sort(values[:, 1]) >= 0)


def test_points_of_like_value_do_not_lie_on_each_other() -> None:
    values = np.sort(RNG.normal(size=800))
    heights = swarm(values, 4.0)
    assert len(np.unique(np.stack([np.floor(values / 4.0 * 60), heights]), axis=1).T) == 800
    assert np.abs(heights).max() <= 0.4


def test_of_many_rows_a_swarm_keeps_the_extremes() -> None:
    values = RNG.standard_normal((20_000, 1))
    x = points(plot(answer(values), kind="beeswarm").axes)[0].get_offsets()[:, 0]
    assert len(x) == 1500
    assert (x.min(), x.max()) == (values.min(), values.max())


def test_rows_are_a_map_of_features() -> None:
    values = RNG.standard_normal((30, 4))
    scores = torch.as_tensor(RNG.standard_normal(30))
    ax = plot(answer(values, scores=scores), kind="heatmap", order="score").axes
    features = np.argsort(-np.abs(values).mean(0))
    drawn = np.asarray(ax.images[0].get_array())
    expected = values[np.argsort(scores.numpy())][:, features].T
    red = drawn[..., 0].astype(int) - drawn[..., 2]
    strong = np.abs(expected) > 0.5
    assert np.array_equal(red[strong] > 0, expected[strong] > 0)
    similar = plot(answer(values), kind="heatmap").axes
    assert "similar ones side by side" in similar.get_xlabel()
    assert not similar.child_axes
    (line,) = ax.child_axes[0].lines
    assert np.allclose(line.get_ydata(), np.sort(scores.numpy()))


def test_tokens_and_units_are_a_map() -> None:
    words = ["<s>", "good", "film"]
    ax = plot(answer(RNG.standard_normal((1, 3, 20)), tokens=[words]), kind="heatmap").axes
    assert [t.get_text() for t in ax.get_xticklabels()] == words
    assert len(ax.get_yticklabels()) == 12


def test_dependence_shows_values_against_attributions() -> None:
    data = RNG.standard_normal((60, 3))
    values = np.stack([data[:, 0] * data[:, 2], 0.1 * data[:, 1], 0 * data[:, 2]], 1)
    figure, ax = plot(answer(values, feature_names=NAMES), kind="dependence", data=data)
    (found,) = points(ax)
    assert np.allclose(np.sort(found.get_offsets()[:, 0]), np.sort(data[:, 0]))
    assert ax.get_xlabel() == "a"
    assert figure.axes[1].get_ylabel() == "c"  # the feature it interacts with
    chosen_ = plot(answer(values, feature_names=NAMES), kind="dependence", data=data, feature="$b", colour=0)
    assert (chosen_.axes.get_xlabel(), chosen_.figure.axes[1].get_ylabel()) == ("$b", "a")


def test_columns_of_words_are_categories() -> None:
    found = column(["b", "a", "b"])
    assert (found.words, found.numbers.tolist()) == (["a", "b"], [1.0, 0.0, 1.0])
    assert column([True, 2, 3.5]).numbers.tolist() == [1.0, 2.0, 3.5]
    assert column(np.array([1.0, np.nan, 3.0])).shades[[0, 2]].tolist() == [0.0, 1.0]


def test_channels_are_ordered_by_strength_on_one_scale() -> None:
    values = RNG.standard_normal((30, 4, 5)) * np.arange(30)[:, None, None]
    figure, ax = plot(answer(values[None], wrt="features"), kind="channels", shown=4)
    order = np.argsort(-np.abs(values).sum((1, 2)))[:4]
    assert [int(t.get_text().split(":")[0]) for t in ax.texts[:4]] == order.tolist()
    assert len(ax.images) == 4
    assert "The 4 strongest of 30 channels" in told(ax)
    both = plot(answer(values[None], wrt="features"), kind="channels", shown=4, data=np.abs(values)).axes
    assert len(both.images) == 8
    assert "Above: what it computed" in told(both)
    assert figure.axes[1].get_ylim()[1] == pytest.approx(scale_of(chosen(values[order], "all")).limit)


def test_a_volume_is_drawn_in_slices() -> None:
    ax = plot(answer(np.ones((1, 2, 3, 4, 4)))).axes
    assert [t.get_text() for t in ax.texts[:3]] == [f"{i}:  +32" for i in range(3)]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("beeswarm", (6, 3)), ("heatmap", (6, 3)), ("bar", (6, 3)), ("combined", (1, 3, 9)), ("channels", (1, 3, 4, 4))],
)
def test_what_is_no_number_does_not_stop_a_drawing(kind, shape) -> None:
    values = RNG.standard_normal(shape)
    values.flat[0], values.flat[1] = np.nan, np.inf
    figure, axes = plot(answer(values), kind=kind)
    figure.canvas.draw()
    assert "not a number" in told(axes)


def test_axes_are_checked_and_used() -> None:
    axes = Figure().subplots(3, 1)
    assert plot(answer(SERIES[None]), kind="individual", ax=axes).axes == list(axes)
    with pytest.raises(BadArgument, match="ax: got 2 axes; expected 3"):
        plot(answer(SERIES[None]), kind="individual", ax=axes[:2])
