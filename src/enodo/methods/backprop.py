"""Gradients through ReLUs that let only some of them pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values
from enodo.rules.relu import DECONVOLUTION, GUIDED


@method(
    "guided_backprop",
    title="Guided backpropagation",
    paper="Springenberg et al. 2014, arXiv:1412.6806, section 3.4",
    when="Crisp pictures of what a ReLU network reacts to. They change little with the class: see `sanity` checks.",
    aliases=("guided_backpropagation",),
)
def guided_backprop(q: Question, *, rules: Mapping[Any, Any] | None = None) -> Values:
    """The gradient, of which each ReLU lets only the positive part pass, and only where it is on itself.

    In units of score per unit of x; as any gradient's, its sign is no vote for or against: read its size. ReLUs count
    in every spelling: nn.ReLU, F.relu, x.relu_(), x.clamp(min=0) ...; also those that stop at a number, nn.ReLU6,
    F.hardtanh(x, 0, 4), x.clamp(0, 6). Other operations have their own gradient, or what `rules` says, {F.gelu: rule}.

    >>> import torch, enodo
    >>> model = lambda x: torch.relu(x[:, 0]) - x[:, 0].clamp(min=0) + 2 * x[:, 1].relu()
    >>> enodo.explain(model, torch.tensor([[1.0, 1.0]]), "guided_backprop").tensor
    tensor([[1., 2.]])
    """
    _, g = q.gradient_under(GUIDED.within(q.call.model, rules))
    return g


@method(
    "deconvolution",
    title="Deconvolution",
    paper="Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1",
    when="As guided backpropagation, without regard to which ReLUs were on.",
)
def deconvolution(q: Question, *, rules: Mapping[Any, Any] | None = None) -> Values:
    """The gradient with each ReLU applied to it, on the way back, in place of its own gradient.

    In units of score per unit of x; `rules` as in `guided_backprop`.
    """
    _, g = q.gradient_under(DECONVOLUTION.within(q.call.model, rules))
    return g
