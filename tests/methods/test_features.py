"""Features of every kind, by what feature ablation says of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import enodo
from enodo import Features
from enodo.testing.models import Text, normal, seeded

W = torch.tensor([[0.5, -1.0, 2.0, 3.0, -0.25, 1.5], [1.0, 1.0, -2.0, 0.5, 4.0, -3.0]], dtype=torch.float64)
x, base = normal(3, 6), normal(3, 6, seed=1)


def linear(t: Tensor) -> Tensor:
    return t @ W.T + 1


def ablated(features: object = None, **more: object) -> Tensor:
    found = enodo.explain(linear, x, "feature_ablation", target=1, features=features, **more)
    return found.tensor


def test_groups_lose_what_their_members_do_whatever_they_are_called() -> None:
    terms = W[1] * (x - base)
    expected = torch.stack([terms[:, [0, 3]].sum(1), terms[:, 1], terms[:, [2, 4, 5]].sum(1)], 1)[:, [0, 1, 2, 0, 2, 2]]
    for mask in ([0, 1, 2, 0, 2, 2], [-1, 70, -9, -1, -9, -9], torch.tensor([[2, 1, 0, 2, 0, 0]], dtype=torch.int8)):
        torch.testing.assert_close(ablated(mask, baseline=base), expected)


def test_a_number_of_groups_by_row_costs_each_row_its_own() -> None:
    mask = torch.tensor([[0, 0, 0, 5, 5, 5], [-1, 1, 2, 3, 4, 9], [7, 7, 7, 7, 7, 7]])
    found = enodo.explain(linear, x, "feature_ablation", target=1, features=mask, baseline=base)
    terms = W[1] * (x - base)
    first, last = terms[0].view(2, 3).sum(1).repeat_interleave(3), terms[2].sum().expand(6)
    torch.testing.assert_close(found.tensor, torch.stack([first, terms[1], last]))
    assert found.rows == 3 + 2 + 6 + 1
    for size in (1, 2):
        torch.testing.assert_close(ablated(mask, baseline=base, batch_size=size), found.tensor)


@pytest.mark.parametrize("method", ["shapley_interactions", "lime", "sobol"])
def test_what_is_found_beside_the_values_does_not_depend_on_blocks_of_rows(method: str) -> None:
    """Numbers a feature, or a pair, are filled up behind where another row has more features."""
    mask = torch.tensor([[7, 7, 7, 7, 7, 7], [-1, 1, 2, 3, 4, 9], [0, 0, 0, 5, 5, 5]])
    given = {"target": 1, "features": mask, "max_evaluations": 200}
    whole = enodo.explain(linear, x, method, **given)
    for size in (1, 2):
        cut = enodo.explain(linear, x, method, batch_size=size, **given)
        assert cut.details.keys() == whole.details.keys()
        for name, found in whole.details.items():
            torch.testing.assert_close(cut.details[name], found, equal_nan=True)


def test_a_number_in_two_inputs_is_one_feature() -> None:
    def product(a: Tensor, b: Tensor) -> Tensor:
        return a.sum(1) * b.sum(1)

    a, b = normal(2, 3), normal(2, 2, seed=1)
    masks = (torch.tensor([0, 1, 7]), torch.tensor([7, 3]))
    found = enodo.explain(product, (a, b), "feature_ablation", features=masks)
    whole = product(a, b)
    shared = whole - a[:, :2].sum(1) * b[:, 1]
    torch.testing.assert_close(found[0][:, 2], shared)
    torch.testing.assert_close(found[1][:, 0], shared)
    torch.testing.assert_close(found[1][:, 1], whole - a.sum(1) * b[:, 0])


def test_features_by_place() -> None:
    """Grids, channels, stretches and columns against masks written by hand."""
    photo = normal(2, 2, 4, 6)

    def score(t: Tensor) -> Tensor:
        return (t * torch.arange(48, dtype=torch.float64).view(2, 4, 6)).sum((1, 2, 3)).tanh() + t.prod(1).sum((1, 2))

    def both(features: Features, mask: Tensor) -> None:
        one, other = (enodo.explain(score, photo, "feature_ablation", features=f).tensor for f in (features, mask))
        torch.testing.assert_close(one, other)

    rows, cols = torch.arange(4).view(4, 1), torch.arange(6)
    both(Features.grid((2, 4)), rows // 2 * 2 + cols // 4)
    both(Features.grid(3), rows // 3 * 2 + cols // 3)
    both(Features.channels(), torch.arange(2).view(2, 1, 1))
    both(Features.stretches(3), cols // 2)
    both(Features.stretches(length=4), cols // 4)
    both(Features.stretches(2, dim=2), rows // 2)
    both(Features.columns([[0, 5], [2, 3]]), torch.tensor([0, 1, 2, 2, 4, 0]))
    both(Features.each(), torch.arange(48).view(2, 4, 6))
    both(Features.of(5), (torch.arange(48) * 5 // 48).view(2, 4, 6))


def test_superpixels_are_each_pictures_own() -> None:
    """Quarters of one colour are found exactly; another picture's segments are not mixed with them."""
    pytest.importorskip("skimage")
    colours = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(3))
    pictures = colours.repeat_interleave(8, 2).repeat_interleave(8, 3)
    pictures[1, :, :8] = pictures[1, :, :1, :1]
    quarters = torch.tensor([[[0, 1], [2, 3]], [[0, 0], [1, 2]]])[:, None]
    mask = quarters.repeat_interleave(8, 2).repeat_interleave(8, 3)

    def score(t: Tensor) -> Tensor:
        return (t.mean((2, 3)) ** 2).sum(1)

    ask = {"model": score, "inputs": pictures, "method": "feature_ablation", "baseline": -1.0}
    by_hand = enodo.explain(**ask, features=mask)
    found = enodo.explain(**ask, features=Features.superpixels("felzenszwalb", min_size=20, sigma=0))
    torch.testing.assert_close(found.tensor, by_hand.tensor)
    assert found.rows == by_hand.rows == 2 + 4 + 3
    for method, options in (("slic", {"n_segments": 6}), ("quickshift", {"kernel_size": 1, "max_dist": 4})):
        features = Features.superpixels(method, **options)
        alone = enodo.explain(**{**ask, "inputs": pictures[1:]}, features=features)
        torch.testing.assert_close(enodo.explain(**ask, features=features).tensor[1:], alone.tensor)
        assert alone.rows > 3


def test_tokens_stand_together_and_some_are_never_absent() -> None:
    text = seeded(Text())
    ids = torch.tensor([[1, 5, 3, 0, 2], [8, 1, 1, 7, 4]])
    words = [[None, "a", "a", "b", None], [None, "x", "y", "z"]]
    found = enodo.explain(text, ids, "feature_ablation", target=1, baseline=6, features=Features.tokens(words)).tensor
    full = text(ids)[:, 1]

    def without(row: int, places: list[int]) -> Tensor:
        changed = ids[row : row + 1].clone()
        changed[:, places] = 6
        return full[row] - text(changed)[0, 1]

    zero = full.new_zeros(())
    first = [zero, *[without(0, [1, 2])] * 2, without(0, [3]), zero]
    second = [zero, without(1, [1]), without(1, [2]), without(1, [3]), zero]
    torch.testing.assert_close(found, torch.stack([torch.stack(first), torch.stack(second)]))
