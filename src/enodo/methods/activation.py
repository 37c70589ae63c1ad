"""The values themselves."""

from __future__ import annotations

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values


@method(
    "activation",
    title="Activation",
    when="What a layer computes for these inputs; asks nothing about the score.",
    needs="gradient",
    claims="once size",
    counts="activation",
)
def activation(q: Question) -> Values:
    """The values at `wrt`, as the model computes them for the inputs, in their own units.

    >>> import torch, enodo
    >>> enodo.explain(torch.nn.ReLU().eval(), torch.tensor([[2.0, -5.0]]), "activation", wrt="").tensor
    tensor([[2., 0.]])
    """
    return q.activation()
