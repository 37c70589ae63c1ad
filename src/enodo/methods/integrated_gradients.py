"""Integrated gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from enodo.core import quadrature as rules
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .path import MAX_STEPS, check_steps, line, nodes_and_ends, settle, sizes_up_to, weighted_sum

SMALLEST = 3  # the nested rule that error control begins with, of 7 nodes


@method(
    "integrated_gradients",
    title="Integrated gradients",
    paper="Sundararajan et al. 2017, arXiv:1703.01365, equation 1",
    when="The default for differentiable models: contributions that add up to the change of the score from a baseline.",
    needs="gradient score baseline",
    claims="completeness once",
    aliases=("ig",),
)
def integrated_gradients(
    q: Question,
    *,
    steps: int = 50,
    quadrature: str = "gausslegendre",
    saturation: float = 0.0,
    tol: float | None = None,
    max_steps: int = MAX_STEPS,
    multiply: bool = True,
) -> Values:
    """The gradient averaged along the straight path from the baseline, times the way: each value's share of the change.

    a_i = (x_i - x0_i) * integral over [0, 1] of df(x0 + alpha (x - x0)) / dx_i dalpha; sum(a) = f(x) - f(x0), in units
    of the score. With multiply=False the averaged gradient alone.

    steps       points on the path, each one gradient row
    quadrature  a rule of `core.quadrature.rule`
    saturation  c > 0 crowds the points towards the baseline, where scores saturate (`core.quadrature.saturating`)
    tol         add points (nested rules of 7, 15, 31 ... up to max_steps) until the attribution changes by at most this
                much (relative, L2); replaces `steps` and `quadrature`, and the result reports the change reached

    >>> import torch, enodo
    >>> enodo.explain(lambda x: x[:, 0] * x[:, 1], torch.tensor([[2.0, 3.0]])).tensor.round(decimals=4)
    tensor([[3., 3.]])
    """
    x, x0 = q.x, q.x0
    way = x - x0 if multiply else x.map(torch.ones_like)
    if tol is None:
        check_steps(steps)
        alphas, weights = nodes_and_ends(quadrature, steps, saturation, x.leaves[0].dtype)
        return weighted_sum(q.grads(weights.shape[0], line(x0, x, alphas), ends=True), weights) * way
    sizes = sizes_up_to(max_steps)

    def attempt(part: Question, rows: Tensor, level: int, totals: list[Values]) -> tuple[Values, list[Values]]:
        """The answer at this level from the nodes new to it; `totals` holds the sums under all later weights too."""
        here, there, step = (v.map(lambda t: t[rows.to(t.device)]) for v in (x0, x, way))
        alphas, weights = _new_nodes(level, len(sizes), saturation)
        sums = totals
        for i, j, g in part.grads(len(alphas), line(here, there, alphas)):
            parts = [g.weighted(w[i:j]) for w in weights]
            sums = [s + p for s, p in zip(sums, parts, strict=True)] if sums else parts
        return sums[0] * step, sums[1:]

    return settle(q, tol, sizes, attempt)


def _new_nodes(level: int, levels: int, saturation: float) -> tuple[Tensor, list[Tensor]]:
    """Nodes that a level adds to the ones before, and their weights in its own rule and in each later one.

    A rule has the nodes of the one before at every second place, from the second on; what stands between is new.
    """
    found = [rules.saturating(*rules.nested(m + SMALLEST), saturation) for m in range(level, levels)]
    every = 2 if level else 1  # of the first level all nodes are new
    weights = [w[2**d - 1 :: 2**d * every] for d, (_, w) in enumerate(found)]
    return torch.tensor(found[0][0][::every]), [torch.tensor(w) for w in weights]
