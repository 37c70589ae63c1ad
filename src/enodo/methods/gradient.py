"""Gradients at a single point."""

from __future__ import annotations

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values


@method(
    "gradient",
    title="Gradient (saliency)",
    paper="Simonyan et al. 2013, arXiv:1312.6034, section 3",
    when="A first look, one backward pass. Says where the score is sensitive, not how much a value contributed.",
    claims="once",
    aliases=("saliency",),
    counts="{} per unit of input",
)
def gradient(q: Question, *, absolute: bool = False) -> Values:
    """The derivative of the score: how much it changes for a small change of each value.

    a_i = df(x) / dx_i, in units of score per unit of x; `absolute` takes |a_i| (the saliency map of the paper).

    >>> import torch, enodo
    >>> enodo.explain(lambda x: 3 * x[:, 0] - x[:, 1], torch.ones(1, 2), "gradient").tensor
    tensor([[ 3., -1.]])
    """
    _, g = q.gradient()
    return g.map(abs) if absolute else g


@method(
    "input_x_gradient",
    title="Input x gradient",
    paper="Shrikumar et al. 2016, arXiv:1605.01713, section 2",
    when="One backward pass; exact for linear models and bias-free ReLU networks, a rough guide elsewhere.",
    claims="once",
)
def input_x_gradient(q: Question) -> Values:
    """The value times the gradient: the first-order share of each value in the score.

    a_i = x_i df(x) / dx_i, in units of the score. At a layer this is gradient x activation.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: 3 * x[:, 0] - x[:, 1], torch.tensor([[2.0, 5.0]]), "input_x_gradient").tensor
    tensor([[ 6., -5.]])
    """
    x, g = q.gradient()
    return g * x


@method(
    "gradient_x_activation",
    title="Gradient x activation",
    paper="Shrikumar et al. 2016, arXiv:1605.01713, section 2",
    when="Which units of a layer support the score, in one backward pass. `multiply=False` gives the bare gradient.",
    claims="once",
)
def gradient_x_activation(q: Question, *, multiply: bool = True) -> Values:
    """The activation times the gradient of the score with respect to it, at a layer.

    a_i = h_i df / dh_i for the values h at `wrt`, in units of the score; df / dh_i alone with multiply=False.
    """
    return input_x_gradient(q) if multiply else gradient(q)
