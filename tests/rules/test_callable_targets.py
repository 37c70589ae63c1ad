"""Callable targets are under the rules of a pass: attributions add up to the score that the callable makes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import enodo
from enodo.core.tables import UnknownOperation
from enodo.core.targets import Each

LABELS = torch.tensor([0, 1, 2, 1])
WEIGHTS = torch.tensor([[0.5, -1.0, 2.0], [1.0, 1.0, 0.3], [-0.7, 0.2, 0.1], [2.0, 0.0, -1.0]]).double()

Score = Callable[[Tensor], Tensor]
SCORES: dict[str, Score] = {
    "a probability": lambda y: y.softmax(1)[:, 1],
    "of one row a number": lambda y: y.softmax(1)[:, 1].squeeze(),
    "log-probabilities": lambda y: y.log_softmax(1),
    "a loss": lambda y: F.cross_entropy(y, LABELS, reduction="none"),
    "a margin": lambda y: y[:, 1] - y[:, [0, 2]].amax(1),
    "the largest": lambda y: y.sort(1).values[:, -1],
    "a distance": lambda y: ((y - WEIGHTS[0]) ** 2).sum(1),
    "of its own a row": lambda y: (y.tanh() * WEIGHTS).sum(1),
    "an entropy": lambda y: torch.distributions.Categorical(logits=y).entropy(),
}
BY_NAME = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)).double().eval()


@pytest.fixture(scope="module")
def points() -> Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def adds_up(found: enodo.Attribution) -> None:
    assert found.delta is not None
    assert found.scores is not None
    assert found.delta.detach().abs().max() <= 1e-9 * max(1.0, float(found.scores.detach().abs().max()))


@BY_NAME
@pytest.mark.parametrize("baseline", ["zero", "of each row"])
def test_deeplift_adds_up_to_what_the_callable_makes(model, points, score, baseline) -> None:
    base = None if baseline == "zero" else points[4:]
    adds_up(enodo.explain(model, points[:4], "deeplift", target=score, baseline=base))


@BY_NAME
def test_so_does_deeplift_shap(model, points, score) -> None:
    found = enodo.explain(model, points[:4], "deeplift_shap", target=score, baseline=points[4:7])
    adds_up(found)
    parts = [
        enodo.explain(model, points[:4], "deeplift", target=score, baseline=b.expand(4, -1)).tensor for b in points[4:7]
    ]
    torch.testing.assert_close(found.tensor, torch.stack(parts).mean(0))


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"wrt": "1"}, {"create_graph": True}, {"of": "2"}], ids=str)
def test_wherever_it_is_asked(model, points, options) -> None:
    score = SCORES["a probability"]
    if options.get("batch_size"):
        whole = enodo.explain(model, points[:4], "deeplift", target=score)
        found = enodo.explain(model, points[:4], "deeplift", target=score, **options)
        torch.testing.assert_close(found.tensor, whole.tensor)
    adds_up(enodo.explain(model, points[:4], "deeplift", target=score, **options))


def test_among_other_targets(model, points) -> None:
    score = SCORES["a probability"]
    found = enodo.explain(model, points[:4], "deeplift", target=Each([2, score, "predicted"]))
    adds_up(found)
    for i, target in enumerate([2, score, "predicted"]):
        alone = enodo.explain(model, points[:4], "deeplift", target=target)
        torch.testing.assert_close(found.tensor[i], alone.tensor)


def test_the_secant_of_a_square(points) -> None:
    """f = (w x)^2: the multiplier is w (f(x) - f(0)) / (w x) = w (w x)."""
    model = nn.Linear(5, 1, bias=False).double().eval()
    found = enodo.explain(model, points, "deeplift", target=lambda y: y[:, 0] ** 2)
    w = model.weight.detach()
    torch.testing.assert_close(found.tensor, points * w * (points @ w.T))


def test_lrp_conserves_what_the_callable_makes() -> None:
    """Of a product LRP gives each factor a half; the gradient would have counted the score twice."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double().eval()
        x = torch.randn(4, 5).double()
    found = enodo.explain(model, x, "lrp", target=lambda y: y[:, 0] * y[:, 1])
    torch.testing.assert_close(found.tensor.sum(1), found.scores, rtol=1e-5, atol=1e-8)


def test_an_operation_without_a_rule_is_named_where_the_target_has_it(model, points) -> None:
    def score(y: Tensor) -> Tensor:
        return torch.linalg.svdvals(y[:, :, None])[:, 0]

    with pytest.raises(UnknownOperation, match=r"svdvals.*test_callable_targets\.py"):
        enodo.explain(model, points[:4], "deeplift", target=score)
    with pytest.warns(UserWarning, match="its own gradient is taken"):
        enodo.explain(model, points[:4], "deeplift", target=score, on_unknown="warn")
