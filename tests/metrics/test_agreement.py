"""Agreement of attributions: closed forms, and scipy's rank correlation."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import rankdata, spearmanr

from enodo.core.errors import BadArgument
from enodo.core.result import Attribution
from enodo.metrics import agreement, agreements
from enodo.metrics.order import ranks


def test_rank_correlation_is_that_of_scipy_also_with_ties() -> None:
    drawn = torch.Generator().manual_seed(0)
    a = torch.randint(0, 5, (6, 40), generator=drawn).double()
    b = a + torch.randint(0, 4, (6, 40), generator=drawn)
    expected = [spearmanr(p, q).statistic for p, q in zip(a.numpy(), b.numpy(), strict=True)]
    assert agreement(a, b).correlation.tolist() == pytest.approx(expected)
    assert torch.equal(ranks(a), torch.as_tensor(rankdata(a.numpy(), axis=1)))


def test_an_attribution_agrees_with_itself_and_with_any_scale_of_it() -> None:
    a = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    same, turned = agreement(a, 3 * a), agreement(a, -a)
    assert torch.allclose(same.correlation, torch.ones(3).double())
    assert torch.equal(same.overlap, torch.ones(3).double())
    assert torch.equal(same.signs, torch.ones(3).double())
    assert torch.allclose(turned.correlation, -torch.ones(3).double())
    assert torch.equal(turned.overlap, torch.ones(3).double())  # the same are strong
    assert torch.equal(turned.signs, torch.zeros(3).double())  # in the other direction
    assert torch.allclose(agreement(a, -a, absolute=True).correlation, torch.ones(3).double())


def test_strangers_share_what_chance_gives_them() -> None:
    drawn = torch.Generator().manual_seed(2)
    a, b = torch.randn(4000, 20, generator=drawn), torch.randn(4000, 20, generator=drawn)
    found = agreement(a, b, k=5)
    assert found.chance == 0.25
    assert found.overlap.mean().item() == pytest.approx(0.25, abs=0.01)
    assert found.correlation.mean().item() == pytest.approx(0, abs=0.02)


def test_features_that_tie_for_the_last_place_share_it() -> None:
    a, b = torch.tensor([[5.0, 2, 2, 2]]), torch.tensor([[5.0, 3, 0, 0]])
    assert agreement(a, b, k=2).overlap.item() == pytest.approx((1 + 1 / 3) / 2)
    flat = torch.ones(1, 4)
    assert agreement(flat, b, k=2).overlap.item() == 0.5
    assert agreement(flat, b).correlation.isnan().all()


def test_maps_of_different_size_meet_at_the_coarser_one() -> None:
    coarse = torch.arange(16.0).view(1, 1, 4, 4)
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(1, 3, 8, 8)
    assert agreement(coarse, Attribution(fine)).correlation.item() == pytest.approx(1)


def test_each_with_each() -> None:
    a, b = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[4.0, 3, 2, 1]])
    correlation, overlap = agreements([a, b, a], k=2)
    assert correlation[..., 0].tolist() == [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
    assert overlap[..., 0].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("b", "more", "said"),
    [
        (torch.ones(2, 3), {}, "b: got shape (2, 3) beside (2, 4)"),
        ("ig", {}, "b: got ig; expected an Attribution or a tensor"),
        (torch.ones(2, 4), {"k": 5}, "k: got 5; expected a whole number from 1 to 4"),
        (torch.ones(2, 4), {"k": 0.5}, "k: got 0.5"),
    ],
)
def test_what_cannot_be_compared_is_refused(b, more, said) -> None:
    with pytest.raises(BadArgument) as error:
        agreement(torch.ones(2, 4), b, **more)
    assert str(error.value).startswith(said)
