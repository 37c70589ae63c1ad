"""DeepLIFT: the change from the baseline, carried through every operation by its finite difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values
from enodo.rules.rescale import RESCALE


@method(
    "deeplift",
    title="DeepLIFT (rescale rule)",
    paper="Shrikumar et al. 2017, arXiv:1704.02685, section 3.5.1",
    when="What integrated gradients ask, in two forward passes and one backward: exact completeness at any depth.",
    needs="gradient score baseline",
    claims="completeness",
)
def deeplift(
    q: Question,
    *,
    multiply: bool = True,
    rules: Mapping[Any, Any] | None = None,
    on_unknown: Any = "error",
    combine: Callable[..., Any] | None = None,
) -> Values:
    """The difference from the baseline times multipliers, which chain the slopes of secants from baseline to inputs.

    a_i = m_i (x_i - x0_i), in units of the score; they sum to f(x) - f(x0). Each operation of the forward pass is
    compared with itself at the baseline: `rules.rescale` says how. multiply=False gives the multipliers m. `rules` adds
    rules of your own, {torch.relu: rule}; an operation without one is an error (`on_unknown`: see `core.rules.Rules`).
    `combine` takes the place of the product: a function of (m, x, x0), tuples of tensors, that returns such a tuple.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: torch.relu(x[:, 0] - x[:, 1]), torch.tensor([[5.0, 2.0]]), "deeplift").tensor
    tensor([[ 5., -2.]])
    """
    x, x0, m = q.multipliers(RESCALE | (rules or {}), on_unknown)
    if combine is not None:
        return Values(combine(m.leaves, x.leaves, x0.leaves))
    return m * (x - x0) if multiply else m
