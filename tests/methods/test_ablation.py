"""Feature ablation, occlusion, leaving k out, and the game under them: closed forms."""

from __future__ import annotations

import itertools
from math import factorial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo import INPUT, Absence, BadArgument, Each, Features
from enodo.testing.faults import Meter, metered
from enodo.testing.models import MLP, normal, seeded

W = torch.tensor([[0.5, -1.0, 2.0, 3.0, -0.25, 1.5], [1.0, 1.0, -2.0, 0.5, 4.0, -3.0]], dtype=torch.float64)
x, base = normal(3, 6), normal(3, 6, seed=1)


def linear(t: Tensor) -> Tensor:
    return t @ W.T + 1


def ablated(features: object = None, **more: object) -> Tensor:
    found = enodo.explain(linear, x, "feature_ablation", target=1, features=features, **more)
    return found.tensor


def test_of_a_linear_model_each_feature_loses_its_term() -> None:
    torch.testing.assert_close(ablated(baseline=base), W[1] * (x - base))
    torch.testing.assert_close(ablated(), W[1] * x)
    everything = enodo.explain(linear, x, "feature_ablation", target=Each([1, "predicted", 0]), baseline=0.5)
    terms = torch.stack([W[1].expand(3, 6), W[linear(x).argmax(1)], W[0].expand(3, 6)]) * (x - 0.5)
    torch.testing.assert_close(everything.tensor, terms)


def test_a_window_of_one_place_is_each_value() -> None:
    conv = seeded(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2)))
    photo = normal(2, 2, 5, 5)
    ask = {"model": conv, "inputs": photo, "target": 1, "baseline": 0.1}
    each = enodo.explain(method="feature_ablation", **ask).tensor
    torch.testing.assert_close(enodo.explain(method="occlusion", window=1, **ask).tensor, each)
    whole = enodo.explain(method="occlusion", window=(2, 5, 5), **ask)
    change = conv(photo)[:, 1] - conv(torch.full_like(photo, 0.1))[:, 1]
    torch.testing.assert_close(whole.tensor, change.view(-1, 1, 1, 1).expand_as(photo))


def test_overlapping_windows_give_their_mean() -> None:
    """Windows of 2 by strides of 1 over 3 values, and of 3 by 2 over 6, of which the last are at the edge."""
    t = torch.tensor([[3.0, 2.0, 1.0]])
    found = enodo.explain(lambda v: v.sum(1), t, "occlusion", window=(2,)).tensor
    torch.testing.assert_close(found, torch.tensor([[5.0, 4.0, 3.0]]))
    terms = (W[1] * x).detach()
    covers = [terms[:, 0:3].sum(1), terms[:, 2:5].sum(1), terms[:, 4:6].sum(1)]
    mean = [covers[0], covers[0], (covers[0] + covers[1]) / 2, covers[1], (covers[1] + covers[2]) / 2, covers[2]]
    found = enodo.explain(linear, x, "occlusion", target=1, window=(3,), strides=2).tensor
    torch.testing.assert_close(found, torch.stack(mean, 1))


def test_the_units_of_a_layer_are_set_as_a_hook_would() -> None:
    model = seeded(MLP())
    hidden = model.act(model.first(x[:, :5]))

    def with_unit(unit: int, value: float) -> Tensor:
        changed = hidden.clone()
        changed[:, unit] = value
        return model.second(changed)[:, 2]

    for value, absence in ((0.0, None), (0.7, Absence.at(0.7))):
        expected = torch.stack([model(x)[:, 2] - with_unit(u, value) for u in range(7)], 1)
        found = enodo.explain(model, x, "feature_ablation", target=2, wrt="act", baseline=absence).tensor
        torch.testing.assert_close(found, expected.detach())
    at_zero = model.act(model.first(torch.zeros(1, 5, dtype=torch.float64)))[0]
    found = enodo.explain(model, x, "feature_ablation", target=2, wrt="act", baseline=0).tensor
    each = [model(x)[:, 2] - with_unit(u, float(at_zero[u].detach())) for u in range(7)]
    torch.testing.assert_close(found, torch.stack(each, 1).detach())


def test_sets_share_what_they_lose() -> None:
    """Of one: ablation. Of all: the Shapley value by permutations. A feature that is not read loses nothing."""
    model, t, rows = seeded(MLP()), normal(2, 6), range(6)
    ask = {"model": model, "inputs": t, "target": 1, "baseline": 0.2}
    one, two, all_ = (enodo.explain(method="k_out", size=size, **ask).tensor for size in (1, 2, 6))
    torch.testing.assert_close(one, enodo.explain(method="feature_ablation", **ask).tensor)
    assert all(found[:, 5].abs().max() < 1e-12 for found in (one, two, all_))

    def lost(members: tuple[int, ...]) -> Tensor:
        changed = t.clone()
        changed[:, list(members)] = 0.2
        return (model(t) - model(changed))[:, 1].detach()

    pairs = [[(lost((i,)) + lost((i, j)) - lost((j,))) / 2 for j in rows if j != i] for i in rows]
    torch.testing.assert_close(two, torch.stack([torch.stack(p).mean(0) for p in pairs], 1))
    shapley = torch.zeros(2, 6, dtype=torch.float64)
    for order in itertools.permutations(range(5)):
        for k, i in enumerate(order):
            shapley[:, i] += lost(order[: k + 1]) - lost(order[:k])
    torch.testing.assert_close(all_, shapley / factorial(5))


def test_identical_coalitions_and_known_scores_run_once() -> None:
    q = enodo.ask(linear, x, target=1, needs=frozenset({"score", "absence"}))
    game = q.game(3)
    same = torch.tensor([[True, False, True]] * 5 + [[False, False, True]])
    scores = game.play(same)
    assert q.log.rows == 3 + 2 * 3
    torch.testing.assert_close(scores[:5], scores[:1].expand(5, 3))
    _ = game.full, game.empty, game.empty
    assert q.log.rows == 3 + 2 * 3 + 3


def test_coalitions_of_each_row() -> None:
    q = enodo.ask(linear, x, target=Each([0, 1]), baseline=base, needs=frozenset({"score", "absence"}))
    keep = torch.rand(7, 3, 6, generator=torch.Generator().manual_seed(1)) > 0.5
    expected = linear(torch.where(keep, x, base)).movedim(-1, 1)
    torch.testing.assert_close(q.game().play(keep), expected)
    parts = list(q.game().stream(7, lambda i, j: keep[i:j], empty=True))
    torch.testing.assert_close(torch.cat([s for _, _, s in parts]), expected)


def test_windows_absent_together() -> None:
    """In a coalition a value is absent where one of the windows over it is."""
    q = enodo.ask(linear, x, target=1, baseline=base, needs=frozenset({"score", "absence"}))
    game = q.game(Features.windows((3,), 2))
    coalitions = torch.tensor(list(itertools.product((False, True), repeat=3)))
    under = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1]], dtype=torch.bool)
    keep = ~((~coalitions)[:, :, None] & under).any(1)
    torch.testing.assert_close(game.play(coalitions), linear(torch.where(keep[:, None], x, base))[..., 1])


@pytest.mark.parametrize("size", [1, 2, 4, 64])
def test_passes_have_no_more_rows_than_asked_for(size: int) -> None:
    model, meter = seeded(MLP()), Meter()
    expected = enodo.explain(model, x, "feature_ablation", target=1).tensor
    with metered(model, meter) as watched:
        found = enodo.explain(watched, x, "feature_ablation", target=1, batch_size=size)
    assert meter.largest <= size
    assert found.rows == 3 * 7
    torch.testing.assert_close(found.tensor, expected)


def test_integers_are_changed_as_integers() -> None:
    """Token ids that the model one-hot encodes itself; beside others, only those that it looks up."""

    def counts(ids: Tensor) -> Tensor:
        return (F.one_hot(ids, 9).double() * torch.arange(9.0, dtype=torch.float64)).sum((1, 2))

    ids = torch.tensor([[1, 5, 3], [2, 2, 8]])
    found = enodo.explain(counts, ids, "feature_ablation", baseline=1)
    torch.testing.assert_close(found.tensor, (ids - 1).double())
    assert found.tensor.dtype == torch.float64
    zero = enodo.explain(counts, ids, "feature_ablation")
    torch.testing.assert_close(zero.tensor, ids.double())
    assert "mask token" in zero.notes[0]
    named = enodo.explain(lambda a, b: counts(a) * b.sum(1), (ids, x[:2]), "feature_ablation", wrt=[INPUT[0], INPUT[1]])
    torch.testing.assert_close(named[0], ids * x[:2].sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("argument", "words", "given"),
    [
        ("features", "float32|whole numbers", {"features": torch.zeros(6)}),
        ("features", "(5,)|(3, 6)", {"features": torch.arange(5)}),
        ("features", "(2, 6)|(3, 6)", {"features": torch.arange(12).view(2, 6)}),
        ("features", "0|at least 1", {"features": 0}),
        ("baseline", "2, 6|(3, 6)", {"baseline": Absence.at(torch.zeros(2, 6))}),
        ("baseline", "(3, 6)|places", {"baseline": Absence.blurred(1.0)}),
        ("baseline", "token ids|wrt=", {"baseline": Absence.masked()}),
        ("baseline", "(9,)|as it was given", {"baseline": Absence.painted(lambda v, a: v[0].new_zeros(9))}),
    ],
)
def test_what_cannot_be_asked(argument: str, words: str, given: dict[str, object]) -> None:
    with pytest.raises(BadArgument) as raised:
        enodo.explain(linear, x, "feature_ablation", target=1, **given)
    assert str(raised.value).startswith(argument)
    assert [w for w in words.split("|") if w not in str(raised.value)] == []


SCORED = [name for name, card in enodo.methods().items() if "score" in card.needs and "gradient" not in card.needs]


@pytest.mark.parametrize("method", SCORED)
def test_counts_and_decisions_are_scores_like_any_other(method: str) -> None:
    """Differences of unsigned numbers wrap round, and those of truth values are none."""

    def sign(t: Tensor) -> Tensor:
        return t.sum(1) * t[:, 0] > 0

    expected = enodo.explain(lambda t: sign(t).double(), x, method)
    for dtype in (torch.bool, torch.uint8, torch.int64):
        got = enodo.explain(lambda t, dtype=dtype: sign(t).to(dtype), x, method)
        torch.testing.assert_close(got.tensor, expected.tensor)


def test_a_model_that_returns_numpy() -> None:
    def model(t: Tensor) -> object:
        return linear(t).numpy()

    for target in (1, lambda out: torch.as_tensor(out)[:, 1]):
        found = enodo.explain(model, x, "feature_ablation", target=target)
        torch.testing.assert_close(found.tensor, W[1] * x)
