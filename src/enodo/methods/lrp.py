"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values
from enodo.rules import lrp as rules_of_lrp


@method(
    "lrp",
    title="Layer-wise relevance propagation",
    paper="Bach et al. 2015, doi:10.1371/journal.pone.0130140; Achtibat et al. 2024, arXiv:2402.05602 (transformers)",
    when="The score itself handed down layer by layer, in one backward pass; no baseline. Calm if gradients shatter.",
)
def lrp(
    q: Question,
    *,
    composite: str = "epsilon",
    epsilon: float = 1e-9,
    gamma: float = 0.25,
    rules: Mapping[Any, Any] | None = None,
    on_unknown: Any = "error",
) -> Values:
    """The relevance of each value: its share of the score, which every operation hands to its operands in proportion.

    R_i = x_i c_i in units of the score. Relevance is conserved but for what biases and `epsilon` absorb; `delta` is the
    sum less f(x). `composite` names the rules of layers with weights: zero, epsilon, gamma, epsilon_gamma and
    epsilon_plus (the latter for convolutions), epsilon_alpha2_beta1, alpha1_beta0, cp (attention weights and gates as
    constants). The others treat softmax, attention and norms as AttnLRP. `rules` adds your own: `rules.lrp`.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: torch.relu(3 * x[:, 0] - x[:, 1]), torch.tensor([[2.0, 5.0]]), "lrp").tensor
    tensor([[ 6., -5.]])
    """
    table = rules_of_lrp.composite(composite, epsilon, gamma) | (rules or {})
    x, c = q.gradient_under(table, on_unknown)
    relevance = x * c
    q.memo["delta"] = (relevance.rowsum(q.scores) - q.scores).detach()
    return relevance
