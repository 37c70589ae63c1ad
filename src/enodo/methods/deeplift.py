"""DeepLIFT: the change from the baseline, carried through every operation by its finite difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from enodo.core.comparing import crossed
from enodo.core.errors import nearest, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.tables import Table
from enodo.core.values import Values
from enodo.rules.rescale import RESCALE
from enodo.rules.reveal import reveal_cancel


def _table(q: Question, rule: str, rules: Mapping[Any, Any] | None) -> Table:
    tables = {"rescale": lambda: RESCALE, "reveal_cancel": reveal_cancel}
    if rule not in tables:
        refuse("rule", repr(rule), " or ".join(map(repr, tables)), nearest(str(rule), tables))
    return tables[rule]().within(q.call.model, rules)


@method(
    "deeplift",
    title="DeepLIFT",
    paper="Shrikumar et al. 2017, arXiv:1704.02685, section 3.5",
    when="What integrated gradients ask, in two forward passes and one backward: exact completeness at any depth.",
    needs="gradient score baseline",
    claims="completeness once",
)
def deeplift(
    q: Question,
    *,
    rule: str = "rescale",
    multiply: bool = True,
    rules: Mapping[Any, Any] | None = None,
    on_unknown: Any = "error",
    combine: Callable[..., Any] | None = None,
) -> Values:
    """The difference from the baseline times multipliers, which chain the slopes of secants from baseline to inputs.

    a_i = m_i (x_i - x0_i), in units of the score; they sum to f(x) - f(x0). Each operation of the forward pass is
    compared with itself at the baseline: `rules.rescale` says how; rule="reveal_cancel" has positive and negative
    contributions to a function pass apart (`rules.reveal`). multiply=False gives the multipliers m. `rules` adds rules
    of your own for operations and modules, {torch.relu: rule, "block.3": rule} (docs/rules.md); an operation without
    one is an error (`on_unknown`: see `core.rules.Rules`).
    `combine` takes the place of the product: a function of (m, x, x0), tuples of tensors, that returns such a tuple.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: torch.relu(x[:, 0] - x[:, 1]), torch.tensor([[5.0, 2.0]]), "deeplift").tensor
    tensor([[ 5., -2.]])
    """
    x, x0, m = q.multipliers(_table(q, rule, rules), on_unknown)
    if combine is not None:
        return Values(combine(m.leaves, x.leaves, x0.leaves))
    return m * (x - x0) if multiply else m


@method(
    "deeplift_shap",
    title="DeepLIFT SHAP",
    paper="Lundberg and Lee 2017, arXiv:1705.07874, section 4.2",
    when="DeepLIFT where no single baseline is right: the mean over a background of examples, given as baseline.",
    needs="gradient score background",
    claims="completeness",
    aliases=("deep_shap",),
)
def deeplift_shap(
    q: Question,
    *,
    rule: str = "rescale",
    multiply: bool = True,
    rules: Mapping[Any, Any] | None = None,
    on_unknown: Any = "error",
    combine: Callable[..., Any] | None = None,
    sample_deltas: bool = False,
) -> Values:
    """The mean of `deeplift` over the rows of a background, for every row explained.

    The sum is f(x) - mean f(b), in units of the score. Options as in `deeplift`; with sample_deltas, `delta` is that of
    each row of the background for itself, (R, B).
    """
    total, scores, deltas, size = None, [], [], 0
    for x0, m, base in crossed(q, _table(q, rule, rules), on_unknown):
        found = _attributed(q.x, x0, m, multiply, combine)
        total = found.map(lambda t: t.sum(0)) if total is None else total + found.map(lambda t: t.sum(0))
        scores.append(base)
        if sample_deltas:
            deltas.append(found.rowsum(base) - (q.scores - base))
        size += len(base)
    q.memo["baseline scores"] = torch.cat(scores).mean(0)
    if sample_deltas:
        q.memo["delta"] = torch.cat(deltas).detach()
    return q.x if total is None else total / size


def _attributed(x: Values, x0: Values, m: Values, multiply: bool, combine: Callable[..., Any] | None) -> Values:
    """Multipliers (k, B, ...) or (k, T, B, ...) against k baselines (k, B or 1, ...), made attributions."""
    if combine is not None:
        every = [
            [t[r].expand_as(a) for t, a in zip(x0.leaves, x.leaves, strict=True)] for r in range(len(x0.leaves[0]))
        ]
        parts = [Values(combine(tuple(t[r] for t in m.leaves), x.leaves, tuple(b))) for r, b in enumerate(every)]
        return parts[0].map(lambda *ts: torch.stack(ts), *parts[1:])
    return m.map(lambda m, x, x0: m * aligned(x - x0, m), x, x0) if multiply else m


def aligned(t: Tensor, like: Tensor) -> Tensor:
    """Values (k, B, ...) beside multipliers (k, T, B, ...)."""
    return t if t.ndim == like.ndim else t.unsqueeze(1)
