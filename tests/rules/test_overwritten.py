"""Values that code of the model writes to after their use: rules compare what they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.core.ledger import Ledger
from enodo.core.rules import Rules
from enodo.rules import RESCALE
from enodo.testing.models import normal


def test_what_is_written_down_survives_in_place_code() -> None:
    ledger, x = Ledger(), normal(2, 4).requires_grad_()
    rules = Rules(RESCALE, record=ledger)
    with rules:
        rules.start(x)
        a = torch.tanh(x * 1)
        kept = a.detach().clone()
        b = torch.sigmoid(a)
        a[:, :2] = 7.0
        b.mul_(a).zero_()
    assert [entry.name for entry in ledger.entries] == ["tanh", "sigmoid", "mul"]
    torch.testing.assert_close(ledger.entries[0].y, kept)
    torch.testing.assert_close(ledger.entries[1].xs[0], kept)
    torch.testing.assert_close(ledger.entries[1].y, kept.sigmoid())


class Scratch(nn.Module):
    """Computes a constant, and where it keeps it writes over it."""

    def __init__(self, use: Any, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.use, self.before, self.after = use, before, after
        self.kept = torch.zeros(2, 4, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        constant = torch.full((4, 4), 0.5, dtype=x.dtype)
        if self.before is not None:
            constant = self.before(self.kept.resize_(len(x), 4), x.detach())
        y = self.use(x, constant).tanh()
        if self.after is not None:
            self.after(constant)
        return y.sum(1)


OVERWRITTEN: dict[str, Any] = {
    "factor": Scratch(lambda x, c: x * c[0], after=Tensor.zero_),
    "divisor": Scratch(lambda x, c: x / c[0], after=lambda c: torch.mul(c, 3, out=c)),
    "matrix": Scratch(torch.matmul, after=Tensor.zero_),
    "einsum": Scratch(lambda x, c: torch.einsum("bi,ij->bj", x, c), after=lambda c: torch.mul(c, 3, out=c)),
    "in the next pass": Scratch(torch.mul, before=lambda kept, x: kept.copy_(x + 1)),
}


@pytest.mark.parametrize("options", [{}, {"rule": "reveal_cancel"}, {"create_graph": True}])
@pytest.mark.parametrize("name", OVERWRITTEN)
def test_constants_that_the_model_overwrites_count_as_they_were(name: str, options: dict[str, Any]) -> None:
    """The plain gradient of most of these is an error."""
    it = OVERWRITTEN[name]
    it, apart = it.eval(), Scratch(it.use, it.before and (lambda kept, x: x + 1)).eval()
    x, x0 = normal(2, 4), normal(3, 4, seed=1)
    found, expected = (enodo.explain(f, x, "deeplift", baseline=x0[:2], **options) for f in (it, apart))
    torch.testing.assert_close(found.tensor, expected.tensor)
    if not options:
        found, expected = (enodo.explain(f, x, "deeplift_shap", baseline=x0) for f in (it, apart))
        torch.testing.assert_close(found.tensor, expected.tensor)


@pytest.mark.parametrize("method", ["deeplift", "deeplift_shap", "lrp", "guided_backprop"])
def test_what_autograd_would_refuse_is_not_taken_for_something_else(method: str) -> None:
    def picks(x: Tensor) -> Tensor:
        which = torch.arange(4)
        y = x[:, which]
        which.zero_()
        return y.tanh().sum(1)

    def chooses(x: Tensor) -> Tensor:
        which = torch.arange(4) < 2
        y = torch.where(which, x, 2 * x)
        which.zero_()
        return y.tanh().sum(1)

    for model in (picks, chooses):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            enodo.explain(model, normal(2, 4), method, baseline=normal(3, 4, seed=1) if "shap" in method else None)
