"""Whether the tokens of a layer stand in the picture line by line, as a grid found out by their number takes it.

Some models put tokens in another order at first (by the units that they are masked or pooled in). So a few tokens are
asked which part of the picture they come from, in a pass in which attention carries no gradient: what is left of each
is its own place, and what layers around it add.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core import tree as trees
from enodo.core.errors import EnodoError, refuse
from enodo.core.operations import spelling, tensors_in
from enodo.core.question import Question
from enodo.rules.attention import PRODUCTS, Attentions

MOST = 0.5  # share of a token's slopes within one cell of a place, where the token has a place


class Apart(Attentions):
    """The mode of a pass in which no gradient passes from one token to another by attention."""

    def met(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a call; the result of attention is a constant."""
        out = super().met(func, args, kwargs)
        if isinstance(out, Tensor) and spelling(func).name in PRODUCTS:
            held = [self.tokens.held(t) for _, t in tensors_in(args, kwargs)]
            if any(h is not None and h.root is not None for h in held):
                return out.detach()
        return out


def check_order(q: Question, i: int, grid: tuple[int, ...]) -> None:
    """Refuse tokens of the i-th layer that a grid would put elsewhere than they come from."""
    if out_of_place(q, i, grid):
        given = f"None, for values {tuple(q.x.leaves[i].shape)} that stand in another order than the picture's"
        instead = "Give a function of the values (N, T, C) that lays them out, (N, C, h, w), or ask at another layer."
        refuse("reshape", given, "tokens line by line", instead)


def out_of_place(q: Question, i: int, grid: tuple[int, ...]) -> bool:
    """Whether a token of the i-th layer, of a grid of the first row's picture, comes from elsewhere in the picture."""
    h, w = grid
    try:
        one = q.take(torch.tensor([0])).at_entry
        given, value = replace(one, of=q.wrt.points[i], of_name=q.wrt.names[i]).followed(Apart(1))
    except (EnodoError, RuntimeError):  # a pass that cannot be watched so
        return False
    pictures, shape = [t for t in given.leaves if t.ndim == 4], q.x.leaves[i].shape[1:]
    found = [t for _, t in trees.leaves(value) if isinstance(t, Tensor) and t.shape[1:] == shape and t.requires_grad]
    if not found or len(pictures) != 1:
        return False
    with torch.enable_grad():
        last = found[0][0, -h * w :]
        along = (last @ torch.arange(last.shape[1], device=last.device).cos().to(last)).unbind()  # norms leave a slope
    for token in (w - 1, (h - 1) * w, h // 2 * w + w // 2):
        (slope,) = torch.autograd.grad(along[token], pictures[0], retain_graph=True, allow_unused=True)
        if slope is not None and _elsewhere(slope.abs().sum(1), (h, w), token):
            return True
    return False


def _elsewhere(slopes: Tensor, grid: tuple[int, int], token: int) -> bool:
    """Whether slopes (1, H, W) are gathered around another cell of the grid than the token's."""
    cells = F.adaptive_avg_pool2d(slopes, grid)
    around = F.avg_pool2d(cells, 3, 1, 1, divisor_override=1).flatten()
    return bool(around.max() > MOST * cells.sum()) and bool(around[token] < MOST * around.max())
