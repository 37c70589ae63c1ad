"""Deletion and insertion curves: closed forms, their random control, and the conduct that methods have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo import Absence, Each, Features
from enodo.core.errors import BadArgument, NotFinite
from enodo.metrics import by_feature, curves, gap
from enodo.testing.models import MLP, Text, seeded

WEIGHTS = torch.tensor([3.0, -2.0, 1.0, 0.5, 0.0, 4.0], dtype=torch.float64)
x = torch.tensor([[1.0, 1, 1, 1, 1, 1], [2, 1, -3, 0, 1, -1]], dtype=torch.float64)


def linear(x: Tensor) -> Tensor:
    return x @ WEIGHTS.to(x) + 7


class Counting(nn.Module):
    """A sum over everything, that remembers how many rows each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return x.flatten(1).sum(1)


def test_of_a_linear_model_the_curves_are_sums_in_order() -> None:
    """f = 7 + sum a; deletion after k parts leaves the n - k smallest of the a, insertion has the k largest."""
    a = x * WEIGHTS
    (found,) = curves(linear, x, a)
    ordered = a.sort(1, descending=True).values
    start = torch.zeros(2, 1, dtype=torch.float64)
    run = torch.cat([start, ordered.cumsum(1)], 1)
    assert torch.allclose(found.insertion.scores, 7 + run)
    assert torch.allclose(found.deletion.scores, 7 + run[:, -1:] - run)
    assert torch.equal(found.deletion.fractions, torch.arange(7.0).double().expand(2, 7) / 6)
    trapezoid = (found.deletion.scores[:, 1:] + found.deletion.scores[:, :-1]).mean(1) / 2
    assert torch.allclose(found.deletion.area, trapezoid)
    assert (found.deletion.beaten == 1).all()
    assert (found.insertion.beaten == 1).all()


def test_a_random_order_of_a_linear_model_is_a_straight_line_on_average() -> None:
    """E f after a share p of the parts has gone is f(x) - p (f(x) - f(x0)); so both areas are the mean of the ends."""
    a = x * WEIGHTS
    (found,) = curves(linear, x, a, draws=4000)
    p = found.deletion.control_fractions
    line = 7 + (1 - p) * a.sum(1, keepdim=True)
    error = found.deletion.control.std(0) / 4000**0.5
    assert ((found.deletion.control.mean(0) - line).abs() <= 4.5 * error + 1e-9).all()
    ends = 7 + a.sum(1) / 2
    for curve in (found.deletion, found.insertion):
        assert ((curve.control_area.mean(0) - ends).abs() < 4.5 * curve.control_area.std(0) / 4000**0.5).all()
    assert torch.allclose(found.insertion.control, found.deletion.control.flip(-1))


def test_an_attribution_that_says_nothing_is_a_random_order() -> None:
    """All values tie: the order is drawn, so that which feature stands first decides nothing."""
    flat = torch.zeros(400, 6, dtype=torch.float64)
    (found,) = curves(linear, x[:1].expand(400, -1), flat, draws=1)
    gone = found.deletion.scores[:, 0] - found.deletion.scores[:, 1]  # what the first part to go was worth
    for value in WEIGHTS:
        share = (gone - value).abs().lt(1e-9).double().mean()
        assert 1 / 6 - 0.09 < share < 1 / 6 + 0.09
    assert 0.4 < found.deletion.beaten.mean() < 0.6


def test_the_wrong_way_round_is_worse_than_chance() -> None:
    (found,) = curves(linear, x, -x * WEIGHTS)
    assert (found.deletion.beaten == 0).all()
    assert (found.insertion.beaten == 0).all()


def test_several_attributions_meet_the_same_random_orders() -> None:
    a = x * WEIGHTS
    first, second = curves(linear, x, a, -a, seed=5)
    (alone,) = curves(linear, x, -a, seed=5)
    assert torch.equal(first.deletion.control, second.deletion.control)
    assert torch.equal(alone.deletion.scores, second.deletion.scores)
    assert torch.equal(alone.insertion.scores, second.insertion.scores)
    (other,) = curves(linear, x, -a, seed=6)
    assert not torch.equal(alone.deletion.control, other.deletion.control)


def test_steps_take_several_parts_at_a_time() -> None:
    a = x * WEIGHTS
    (whole,), (three,) = curves(linear, x, a), curves(linear, x, a, steps=3)
    assert torch.equal(three.deletion.scores, whole.deletion.scores[:, ::2])
    (one,) = curves(linear, x, a, steps=1)
    assert torch.allclose(one.deletion.scores, torch.stack([linear(x), torch.full((2,), 7.0).double()], 1))


def test_features_go_together_and_what_is_none_stays() -> None:
    a = x * WEIGHTS
    (found,) = curves(linear, x, a, features=Features.tokens(["a", "a", None, "b", "b", "c"]))
    parts = torch.stack([a[:, :2].sum(1), a[:, 3:5].sum(1), a[:, 5]], 1)
    stays = 7 + a[:, 2:3]
    run = torch.cat([torch.zeros(2, 1).double(), parts.sort(1, descending=True).values.cumsum(1)], 1)
    assert torch.allclose(found.insertion.scores, stays + run)
    assert torch.allclose(found.deletion.scores, stays + run[:, -1:] - run)


def test_rows_may_have_fewer_parts_than_others() -> None:
    a = x * WEIGHTS
    groups = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1]])
    (found,) = curves(linear, x, a, features=groups, steps=6)
    (alone,) = curves(linear, x[1:], a[1:], features=groups[1:], steps=2)
    assert found.deletion.fractions[1].unique().tolist() == [0, 0.5, 1]
    assert torch.equal(found.deletion.scores[1].unique(), alone.deletion.scores[0].unique())


def test_a_picture_loses_pixels_with_their_channels_and_coarse_maps_are_enlarged() -> None:
    model, photo = Counting().eval(), torch.rand(2, 3, 4, 4).double()
    fine, coarse = curves(model, photo, photo, torch.tensor([[[[1.0, 0], [0, 0]]]]).double().expand(2, 1, 2, 2))
    whole = photo.sum(1).flatten(1).sort(1, descending=True).values.cumsum(1)
    assert torch.allclose(fine.insertion.scores[:, 1:], whole)
    corner = photo[:, :, 0, 0].sum(1)
    assert torch.allclose(coarse.insertion.scores[:, 1], corner)


def test_what_is_said_about_each_part_is_the_sum_over_it() -> None:
    photo = torch.rand(3, 3, 4, 4).double()
    squares = (torch.arange(4)[:, None] // 2 * 2 + torch.arange(4) // 2).view(1, 1, 4, 4)
    fine, coarse = by_feature(
        lambda x: x.flatten(1).sum(1), photo, photo, torch.ones(3, 1, 2, 2).double(), features=squares, batch_size=2
    )
    assert torch.allclose(fine, photo.unfold(2, 2, 2).unfold(3, 2, 2).sum((1, 4, 5)).flatten(1))
    assert torch.allclose(coarse, torch.full((3, 4), 4.0).double())


def test_the_gap_of_anything_is_what_its_sum_leaves_over() -> None:
    a = x * WEIGHTS
    whole, half = gap(linear, x, a, a / 2)
    assert torch.allclose(whole, torch.zeros(2).double())
    assert torch.allclose(half, -a.sum(1) / 2)
    made = enodo.explain(linear, x, "feature_ablation", features=2)  # each value has its whole block's
    assert torch.allclose(gap(linear, x, made, features=2)[0], torch.zeros(2).double())
    model = seeded(MLP())
    rough = enodo.explain(model, x, target="all", steps=2)
    assert torch.allclose(gap(model, x, rough, target="all", batch_size=1)[0], rough.delta)


def test_of_a_method_that_takes_parts_away_the_mean_over_each_part_counts() -> None:
    a, mask = x * WEIGHTS, torch.tensor([[0, 0, 0, 0, 1, 2]])
    found = enodo.explain(linear, x, "feature_ablation", features=mask)
    (told,) = by_feature(linear, x, found, features=mask)
    assert torch.allclose(told, torch.stack([a[:, :4].sum(1), a[:, 4], a[:, 5]], 1))


def test_no_pass_is_larger_than_asked_and_rows_do_not_depend_on_their_mates() -> None:
    model, many = Counting().eval(), torch.rand(5, 6).double()
    (whole,) = curves(model, many, many)
    assert max(model.rows) > 2
    model.rows.clear()
    (cut,) = curves(model, many, many, batch_size=2)
    assert max(model.rows) <= 2
    for a, b in ((whole.deletion, cut.deletion), (whole.insertion, cut.insertion)):
        assert torch.allclose(a.scores, b.scores)
        assert torch.allclose(a.control, b.control)
    (head,) = curves(model, many[:2], many[:2])
    assert torch.allclose(head.deletion.control, whole.deletion.control[:, :2])


def test_several_targets_are_as_many_questions() -> None:
    model, inputs = seeded(MLP()), torch.linspace(-1, 1, 12).view(2, 6).double()
    found = enodo.explain(model, inputs, target=Each([0, 2]))
    (both,) = curves(model, inputs, found, target=Each([0, 2]))
    assert both.deletion.area.shape == (2, 2)
    assert both.deletion.control.shape == (10, 2, 2, 7)
    for t, target in enumerate((0, 2)):
        (one,) = curves(model, inputs, found.tensor[t], target=target)
        assert torch.allclose(both.deletion.scores[t], one.deletion.scores)
        assert torch.allclose(both.insertion.scores[t], one.insertion.scores)
        assert torch.allclose(both.deletion.control[:, t], one.deletion.control)
    with pytest.raises(BadArgument, match="attribution of several targets"):
        curves(model, inputs, found, target=0)


def test_tokens_are_replaced_by_the_baselines_words() -> None:
    model, ids = seeded(Text()), torch.tensor([[1, 2, 3], [4, 5, 0]])
    found = enodo.explain(model, ids, target=1)
    (cut,) = curves(model, ids, found, target=1, baseline=7)
    for row in range(2):
        first = int(found.tensor[row].argmax())
        changed = ids.clone()
        changed[row, first] = 7
        assert torch.allclose(cut.deletion.scores[row, 1], model(changed)[row, 1])
    assert torch.allclose(cut.deletion.scores[:, 0], model(ids)[:, 1])
    assert torch.allclose(cut.deletion.scores[:, -1], model(torch.full_like(ids, 7))[:, 1])
    grouped = Features.tokens([[0, 0, None], [0, 1, 1]])
    (words,) = curves(model, ids, found, target=1, baseline=7, features=grouped)
    kept = torch.tensor([[7, 7, 3], [7, 7, 7]])
    assert torch.allclose(words.deletion.scores[:, -1], model(kept)[:, 1])


def test_units_of_a_layer_can_be_taken_away() -> None:
    model, inputs = seeded(MLP()), torch.linspace(-1, 1, 12).view(2, 6).double()
    found = enodo.explain(model, inputs, "conductance", target=1, wrt="first")
    (units,) = curves(model, inputs, found, target=1, wrt="first", baseline=0)
    assert torch.allclose(units.deletion.scores[:, 0], model(inputs)[:, 1])
    assert torch.allclose(units.deletion.scores[:, -1], model(torch.zeros_like(inputs))[:, 1])


def test_what_stands_in_may_be_anything_that_perturbation_knows() -> None:
    background = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    (found,) = curves(linear, x, x * WEIGHTS, baseline=Absence.background(background))
    assert torch.allclose(found.deletion.scores[:, -1], linear(background).mean().expand(2))
    first = (x * WEIGHTS).argmax(1)
    for row in range(2):
        changed = x[row].expand(5, 6).clone()
        changed[:, first[row]] = background[:, first[row]]
        assert torch.allclose(found.deletion.scores[row, 1], linear(changed).mean())
    model, ids = seeded(Text()), torch.tensor([[1, 2, 3], [4, 5, 0]])
    (zero,) = curves(model, ids, torch.rand(2, 3), target=1)
    assert torch.allclose(zero.deletion.scores[:, -1], model(torch.zeros_like(ids))[:, 1])


def test_probabilities_in_the_place_of_scores() -> None:
    model, inputs = seeded(MLP()), torch.linspace(-1, 1, 12).view(2, 6).double()
    found = enodo.explain(model, inputs, target="predicted")
    (cut,) = curves(model, inputs, found, target="predicted", probability=True)
    top = model(inputs).softmax(1).max(1)
    assert torch.allclose(cut.deletion.scores[:, 0], top.values)
    zero = model(torch.zeros_like(inputs)).softmax(1)[torch.arange(2), top.indices]
    assert torch.allclose(cut.deletion.scores[:, -1], zero)
    (each,) = curves(model, inputs, found.tensor.expand(4, 2, 6), target="all", probability=True)
    assert torch.allclose(each.deletion.scores[..., 0], model(inputs).softmax(1).T)


BAD = [
    ({"steps": 0}, "steps: got 0"),
    ({"steps": 1.5}, "steps: got 1.5"),
    ({"draws": 0}, "draws: got 0"),
    ({"features": torch.rand(1, 6)}, "features: got a float32 tensor"),
    ({"features": Features.windows((2,))}, "features: got windows; expected features that share no value"),
    ({"features": Features.tokens([[1] * 6, [None] * 6])}, "features: got a row without any"),
    ({"features": torch.zeros(1, 5).long()}, "features: got an int64 tensor of shape (1, 5)"),
    ({"probability": True, "target": 0, "of": "OUTPUT"}, "probability: got True for an output of shape"),
    ({"target": 3}, "target: got an index into 1 dimensions"),
    ({"baseline": torch.zeros(5)}, "baseline: got"),
]


@pytest.mark.parametrize(("given", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_input_is_refused(given, said) -> None:
    with pytest.raises(BadArgument) as error:
        curves(linear, x, x, **given)
    assert said in str(error.value)


def test_a_score_that_is_not_finite_on_the_way_is_refused() -> None:
    with pytest.raises(NotFinite, match="baseline: got one with which the score is not finite once features are away"):
        curves(lambda x: 1 / (x.sum(1) - 3), x[:1], x[:1], draws=1)  # 1 / 0 with three of the six ones away
    with pytest.raises(NotFinite, match="with None for special tokens"):
        curves(lambda x: x.sum(1).log(), x.abs() + 1, x)


def test_what_is_no_attribution_of_the_inputs_is_refused() -> None:
    for wrong, said in ((x[:, :5], "shape (2, 6)"), ({"a": x}, "structure"), (x * torch.nan, "NaN")):
        with pytest.raises(BadArgument, match="attribution: got") as error:
            curves(linear, x, wrong)
        assert said in str(error.value)
    with pytest.raises(BadArgument, match="attribution: got 3 targets; expected the 4 that are asked about"):
        curves(seeded(MLP()), x, x.expand(3, 2, 6), target="all")
    with pytest.raises(BadArgument, match="attributions: got none"):
        curves(linear, x)
