"""All that can stand in for what is absent, against the same done by hand."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

import enodo
from enodo import Absence
from enodo.testing.models import MLP, normal, seeded

W = torch.tensor([[0.5, -1.0, 2.0, 3.0, -0.25, 1.5], [1.0, 1.0, -2.0, 0.5, 4.0, -3.0]], dtype=torch.float64)
x, base = normal(3, 6), normal(3, 6, seed=1)


def linear(t: Tensor) -> Tensor:
    return t @ W.T + 1


def test_a_background_is_the_mean_over_its_rows() -> None:
    model, rows = seeded(MLP()), normal(5, 6, seed=4)
    groups = torch.tensor([0, 0, 1, 1, 2, 2])

    def brute(keep: Tensor) -> Tensor:
        each = [model(torch.where(keep[groups], x, row))[:, 2] for row in rows]
        return torch.stack(each).mean(0).detach()

    q = enodo.ask(
        model, x, target=2, baseline=Absence.background(rows), batch_size=7, needs=frozenset({"score", "absence"})
    )
    game = q.game(groups)
    coalitions = torch.tensor(list(itertools.product((False, True), repeat=3)))
    expected = torch.stack([brute(c) for c in coalitions])
    torch.testing.assert_close(game.play(coalitions), expected)
    torch.testing.assert_close(game.empty, expected[0])
    torch.testing.assert_close(game.full, model(x)[:, 2].detach())
    found = enodo.explain(model, x, "feature_ablation", target=2, baseline=Absence.background(rows), features=groups)
    losses = torch.stack([model(x)[:, 2] - brute(~(torch.arange(3) == i)) for i in range(3)], 1)
    torch.testing.assert_close(found.tensor, losses[:, groups].detach())


def test_a_sample_of_a_background_is_the_rows_own() -> None:
    model, rows = seeded(MLP()), normal(50, 6, seed=4)
    ask = {"model": model, "target": 2, "method": "feature_ablation", "baseline": Absence.background(rows, samples=4)}
    found = enodo.explain(inputs=x, **ask)
    assert found.rows == 3 + 3 * 6 * 4
    torch.testing.assert_close(enodo.explain(inputs=x, batch_size=1, **ask).tensor, found.tensor)
    assert not torch.equal(enodo.explain(inputs=x, seed=1, **ask).tensor, found.tensor)


def test_blurred_and_levelled_stand_ins() -> None:
    """A constant stays what it is under a blur; an impulse becomes the Gaussian; the mean is each channel's."""
    flat = torch.full((1, 2, 7, 9), 3.0, dtype=torch.float64)
    none = enodo.explain(
        lambda t: t.sum((1, 2, 3)), flat, "feature_ablation", baseline=Absence.blurred(2.0), features=4
    )
    assert none.tensor.abs().max() < 1e-12
    impulse = torch.zeros(1, 1, 21, dtype=torch.float64)
    impulse[..., 10] = 1
    kept = enodo.explain(lambda t: -t[:, 0, 8], impulse, "feature_ablation", baseline=Absence.blurred(1.5))
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    gauss = torch.softmax(-(offsets**2) / (2 * 1.5**2), 0)
    torch.testing.assert_close(kept.tensor[0, 0, 8], gauss[3])
    photo = normal(2, 3, 4, 4)
    got = enodo.explain(lambda t: t[:, 1, 2, 3], photo, "feature_ablation", baseline=Absence.mean())
    torch.testing.assert_close(got.tensor[:, 1, 2, 3], photo[:, 1, 2, 3] - photo[:, 1].mean((1, 2)))
    column = enodo.explain(linear, x, "integrated_gradients", target=1, baseline=Absence.mean(base)).tensor
    torch.testing.assert_close(column, W[1] * (x - base.mean(0)))


def test_values_of_another_row_and_values_painted_in() -> None:
    other = enodo.explain(linear, x, "feature_ablation", target=1, baseline=Absence.permuted(2)).tensor
    rows = x - other / W[1]
    assert sorted((rows[:, None] - x).abs().sum(-1).argmin(1).tolist()) == [0, 1, 2]
    assert (rows != x).all()

    def before(values: Tensor, absent: Tensor) -> Tensor:
        return torch.where(absent, values.roll(1, 1), values)

    painted = enodo.explain(linear, x, "feature_ablation", target=1, baseline=Absence.painted(before)).tensor
    torch.testing.assert_close(painted, W[1] * (x - x.roll(1, 1)))

    def over(values: Tensor, absent: Tensor) -> Tensor:
        values[absent] = 9.0
        return values

    for size in (1, 2, "auto"):  # the values are the function's own to write into
        painted = enodo.explain(
            linear, x, "feature_ablation", target=1, baseline=Absence.painted(over), batch_size=size
        )
        torch.testing.assert_close(painted.tensor, W[1] * (x - 9))


class Masked(nn.Module):
    """A weighted mean of the vectors of the tokens that the mask shows, weights by position."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(9, 2), nn.Embedding(5, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        shown = torch.ones_like(ids) if attention_mask is None else attention_mask
        h = self.words(ids) * torch.sigmoid(self.places(torch.arange(ids.shape[1])))
        return (h * shown[..., None]).sum(1) / shown.sum(1, keepdim=True)


def test_tokens_taken_out() -> None:
    model = seeded(Masked())
    ids, mask = torch.tensor([[1, 5, 3, 0, 2], [8, 1, 1, 7, 0]]), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    full = model(ids, mask)[:, 1]
    for inputs, kwargs in (({"ids": ids, "attention_mask": mask}, {}), (ids, {"attention_mask": mask})):
        for absence, short in ((Absence.masked(), False), (Absence.dropped(), True)):
            ask = {"model": model, "inputs": inputs, "kwargs": kwargs, "target": 1, "baseline": absence}
            found = enodo.explain(method="feature_ablation", **ask)
            values = found["ids"] if isinstance(inputs, dict) else found.tensor
            for i in range(4):
                keep = [p for p in range(5) if p != i]
                changed = mask.clone()
                changed[:, i] = 0
                without = model(ids[:, keep], mask[:, keep]) if short else model(ids, changed)
                torch.testing.assert_close(values[:, i], (full - without[:, 1]).detach())
            assert values[1, 4].abs() < 1e-12  # was hidden before
