"""Vector-Jacobian products: gradients of one or several scores a row, batched where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .budget import is_out_of_memory
from .values import Values

# What `torch.autograd.grad` asks, once it has seen to cotangents of every kind: 6 us, when there is but the number one.
_pull: Callable[..., tuple[Tensor | None, ...]] = torch.autograd.Variable._execution_engine.run_backward
REMEDY = "The model may detach its values, round them, or run under no_grad."


def gradients(scores: Tensor, x: Values, parallel: int, create_graph: bool) -> list[Tensor | None]:
    """d scores / d x for scores (B,): a tensor like each leaf; for scores (T, B): (T, *leaf). None for unused leaves.

    Rows do not mix, so the gradient of the sum over rows holds each row's own.
    """
    if scores.ndim == 1:
        if not scores.requires_grad:
            return [None] * len(x)
        total = scores
        if scores.numel() > 1:
            with torch.enable_grad():  # one number needs no cotangents, for which torch would import sympy
                total = scores.sum()
        return list(_pull((total,), (torch.ones_like(total),), create_graph, create_graph, x.leaves, True, False))
    return pulled([scores], x, [one_hot(scores)], parallel, create_graph)


def one_hot(scores: Tensor) -> Tensor:
    """What picks each of the scores (T, B): (T, T, B)."""
    eye = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    return eye[:, :, None].expand(-1, -1, scores.shape[1])


def pulled(
    outputs: Sequence[Tensor],
    x: Values,
    cotangents: Sequence[Tensor],
    parallel: int,
    create_graph: bool,
    keep: bool = False,
) -> list[Tensor | None]:
    """Cotangents of the outputs pulled back to x: like x for cotangents like the outputs (parallel=0), or (T, *leaf).

    For T cotangents, `parallel` of them share one backward pass (vmap over the graph); they go one at a time where the
    graph has an operation that cannot be batched. With `keep` the graph can be gone through again.
    """
    used = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if y.requires_grad]
    if not used:
        return [None] * len(x)
    ys, cs = [y for y, _ in used], [c for _, c in used]
    again = keep or create_graph or parallel > 0
    kept: Any = {"allow_unused": True, "create_graph": create_graph, "retain_graph": again}
    if not parallel:
        return list(torch.autograd.grad(ys, x.leaves, cs, **kept))
    count = len(cs[0])
    if parallel > 1 and count > 1:
        groups = [[c[i : i + parallel] for c in cs] for i in range(0, count, parallel)]
        try:
            parts = [torch.autograd.grad(ys, x.leaves, group, is_grads_batched=True, **kept) for group in groups]
        except RuntimeError as error:  # whatever cannot be batched; a true error is met again below
            if is_out_of_memory(error):
                raise
        else:
            return _joined(parts, torch.cat)
    return _joined([torch.autograd.grad(ys, x.leaves, [c[i] for c in cs], **kept) for i in range(count)], torch.stack)


def _joined(parts: Sequence[tuple[Tensor | None, ...]], join: Callable[[list[Tensor]], Tensor]) -> list[Tensor | None]:
    """Parts, each a tuple over leaves, joined over the targets; the graph uses a leaf for all of them or for none."""
    by_leaf = zip(*parts, strict=True)
    return [None if found[0] is None else join([g for g in found if g is not None]) for found in by_leaf]
