"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from enodo.core.errors import refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.rules import Rules
from enodo.core.tables import Table
from enodo.core.values import Values
from enodo.rules.balance import Balance
from enodo.rules.carry import read
from enodo.rules.presets import composed
from enodo.rules.propagation import Propagation

NOTED = 0.01  # of the score, from which lost relevance is told


@method(
    "lrp",
    title="Layer-wise relevance propagation",
    paper="Bach et al. 2015, doi:10.1371/journal.pone.0130140; Achtibat et al. 2024, arXiv:2402.05602 (transformers)",
    when="The score itself handed down layer by layer, in one backward pass; no baseline. Calm if gradients shatter.",
)
def lrp(
    q: Question,
    *,
    composite: Any = "epsilon",
    epsilon: float = 1e-9,
    gamma: float = 0.25,
    box: Any = None,
    bias: bool = True,
    rules: Mapping[Any, Any] | None = None,
    balance: bool = False,
    on_unknown: Any = "error",
) -> Values:
    """The relevance of each value: its share of the score, which every operation hands to its operands in proportion.

    R_i = x_i c_i in units of the score, where the network is read as a product: softmax, attention and norms as AttnLRP
    has them, batch norms merged into the layers beside them. `composite` names the rules of layers with weights, or is
    an `enodo.rules.Composite`: docs/rules.md says what each is for; `box` is (low, high) for those that want bounds of
    the inputs. `rules` adds rules for operations, modules, types or names of modules: {"layer4.*": rules.lrp.gamma()}.

    Relevance is conserved but for what biases (with bias=False they take none) and `epsilon` absorb, and what a softmax
    holds back: `delta` is the sum less f(x). With `balance` one more pass a row measures where it went: the result's
    `details` have `constants`, what biases and other constants took, and `lost`, what neither they nor the values got.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: torch.relu(3 * x[:, 0] - x[:, 1]), torch.tensor([[2.0, 5.0]]), "lrp").tensor
    tensor([[ 6., -5.]])
    """
    question = composite, rules or {}, q.call.model, epsilon, gamma, box, bias
    table, follow = composed(*question)
    relevance = _relevance(q, table, follow, on_unknown)
    q.memo["delta"] = (relevance.rowsum(q.scores) - q.scores).detach()
    _tell_lost(q, table, follow)
    if balance:
        if q.many:
            refuse("balance", "True with several targets", "one target", "Ask about one after the other.")
        took = torch.cat([_constants(one, *composed(*question), on_unknown) for one in _rows(q)])
        q.memo["details"] = {"constants": took, "lost": -q.memo["delta"] - took}
    return relevance


def _relevance(q: Question, table: Table, follow: Propagation, on_unknown: Any) -> Values:
    if follow.last is not None:
        q.traced(Rules(table, report=lambda *_: None))
        follow.surveyed()
    x, c = q.gradient_under(table, on_unknown)
    pairs = zip(x.leaves, c.leaves, q.sight.values.leaves, strict=True)
    return Values(read(a, g) if follow.carried_to(seen) else a * g for a, g, seen in pairs)


def _tell_lost(q: Question, table: Table, follow: Propagation) -> None:
    """A note where rules dropped relevance, with the layer that dropped most of it."""
    lost = {call: float(sum(kept)) for call, kept in follow.lost.items() if kept}
    share = abs(sum(lost.values())) / max(float(q.scores.detach().abs().sum()), 1e-30)
    if not share > NOTED:
        return
    follow.names = []
    replace(q, memo={}, create_graph=False).traced(Rules(table, report=lambda *_: None))
    name = follow.names[(max(lost, key=lambda call: abs(lost[call])) - 1) % len(follow.names)]
    at = f"in {name!r}" if name else "in the model itself"
    why = "hand on none where nothing speaks for a sum, as gamma and epsilon do. balance=True says how much"
    q.log.note(f"Relevance was dropped, most of it {at}: z+ and alpha-beta rules {why}.")


def _rows(q: Question) -> Iterator[Question]:
    """The question about each row alone, as often as a pass of the model must have it."""
    settled = replace(q, target=q.settled_target, create_graph=False)
    for i in range(q.rows):
        yield settled.take(torch.tensor([i]).repeat(q.budget.only or 1))


def _constants(q: Question, table: Table, follow: Propagation, on_unknown: Any) -> torch.Tensor:
    """What constants take of the relevance of one row, (1,), which the question may have several times."""
    measured, follow.measures = Balance(), True
    _relevance(q, measured.table(table), follow, on_unknown)
    lost = sum(float(sum(kept)) for kept in follow.lost.values())
    return q.scores.new_full((1,), (sum(measured.constants.values()) - lost) / q.rows)
