"""IDGI: integrated gradients of which each step credits the direction of the gradient alone."""

from __future__ import annotations

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values, along

from .blur_ig import blurred, widest
from .path import check_steps, line, neighbours


@method(
    "idgi",
    title="Important direction gradient integration",
    paper="Yang et al. 2023, arXiv:2303.14242, algorithm 1",
    when="Integrated gradients of pictures with less noise: what moves across the gradient is credited nothing.",
    needs="gradient score baseline",
    claims="completeness",
)
def idgi(q: Question, *, steps: int = 50, path: str = "straight") -> Values:
    """The change of the score on each step of a path, shared out by the squares of the gradient at its start.

    a_i = sum_j (f(x_{j+1}) - f(x_j)) g_i^2 / |g|^2 with g the gradient at x_j: exactly complete, whatever the steps,
    but for steps at whose start the gradient is zero. `path` is "straight" from the baseline to the inputs, or "blur",
    from the inputs blurred away (`blur_ig`).
    """
    check_steps(steps)
    if path not in ("straight", "blur"):
        refuse("path", path, '"straight" or "blur"')
    alphas = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    points = blurred(q, alphas, widest(q.x, None)) if path == "blur" else line(q.x0, q.x, alphas)
    total: Values | None = None
    ends: list[Tensor] = []
    stream = ((i, j, (Values([scores]), g)) for i, j, (scores, g) in q.scored_grads(steps + 1, points))
    # tokens that the model puts in itself are as they are all along the way
    moves = (q.x - q.x0).map(lambda t: (t != 0).to(t.dtype)) if q.wrt.ids else None
    for _, (f0, g), (f1, _) in neighbours(stream):
        (start,), (end,) = f0.leaves, f1.leaves
        ends = [ends[0] if ends else start[0], end[-1]]
        squares = g * g if moves is None else g * g * moves
        size = squares.rowsum(start)  # (k, B) or (k, T, B)
        share = torch.where(size > 0, (end - start) / torch.where(size > 0, size, 1), 0)
        part = squares.map(lambda s, w: (s * along(w, s)).sum(0), share)
        total = part if total is None else total + part
    if total is None:
        refuse("steps", steps, "at least one step")
    q.memo["baseline scores"], q.memo["scores"] = ends[0].detach(), ends[1] if q.create_graph else ends[1].detach()
    return total
