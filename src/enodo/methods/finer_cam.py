"""Finer-CAM: class activation maps of what tells a class from the ones that are nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from enodo.core import targets
from enodo.core.errors import BadType, describe, refuse
from enodo.core.question import Question
from enodo.core.registry import inside, method
from enodo.core.values import Values


@method(
    "finer_cam",
    title="Finer-CAM",
    paper="Zhang et al. 2025, arXiv:2501.11309, section 3",
    when="Between classes that look alike (kinds of birds, makes of cars): where the one differs from the others.",
    claims="map size layer",
)
def finer_cam(
    q: Question,
    *,
    inner: Any = "grad_cam",
    against: int | Sequence[int] = 3,
    alpha: float = 1.0,
    weighted: bool = True,
    **options: Any,
) -> Values:
    """A map of what sets a class apart: of its score less a share of the scores of classes like it.

    That is f_c - alpha sum_d p_d f_d / sum_d p_d.

    inner     the method that makes the map, asked with `options`
    against   how many classes to compare with, those of the nearest scores at the inputs; or the classes, [3, 7]
    weighted  p_d is the probability of class d at the inputs; otherwise one
    """
    card, more = inside(inner)
    if "map" not in card.claims or card.fn is finer_cam:
        refuse("inner", card.name, "a method that makes a class activation map, such as grad_cam or layer_cam")
    y = _classes(q)
    main = _numbers(q.settled_target, len(y), y.shape[1]).to(y.device)  # (B,) or (T, B)
    others = _others(y, main, against)  # (..., B, K)
    near = y.expand(*main.shape, -1).gather(-1, others) if weighted else torch.zeros_like(others).to(y)
    shares = alpha * near.softmax(-1)  # p_d / sum_d p_d, also where all of these p_d are too small for a number

    def difference(output: Any) -> Tensor:
        scores = targets.tensor_of(output)
        tiles = len(scores) // len(y)
        mine, theirs, w = (_tiled(t, main.ndim - 1, tiles) for t in (main, others, shares))
        spread = scores.expand(*mine.shape, -1)
        score: Tensor = spread.gather(-1, mine[..., None])[..., 0] - (w * spread.gather(-1, theirs)).sum(-1)
        return score if score.ndim == 1 else score.T

    known = {k: v for k, v in q.memo.items() if k in ("sight", "x", "entry", "unshifted", "entry x0")}
    asked = replace(q, target=difference, memo=known)
    found: Values = card.fn(asked, **more, **options)
    q.memo["lead"] = asked.lead_of(found)
    return found


def _classes(q: Question) -> Tensor:
    """The scores of all classes at the inputs, (B, C)."""
    every = replace(q, target=lambda output: _scores(output, q.rows), memo={}).scores
    return every.detach().reshape(-1, q.rows).T


def _scores(output: Any, rows: int) -> Tensor:
    y = targets.tensor_of(output)
    if y.ndim != 2 or len(y) != rows or y.shape[1] < 2:
        refuse("of", f"an output of shape {tuple(y.shape)}", "scores of two or more classes, (B, C), for finer_cam")
    return y


def _numbers(target: Any, rows: int, classes: int) -> Tensor:
    """The number of the class that is explained, (B,), or (T, B) for several."""
    if isinstance(target, targets.Each):
        return torch.stack([_numbers(t, rows, classes) for t in target.targets])
    if isinstance(target, str):  # "all"
        return torch.arange(classes)[:, None].expand(-1, rows)
    if isinstance(target, tuple) and len(target) == 1 and isinstance(target[0], int):
        return torch.full((rows,), target[0] % classes)
    if isinstance(target, Tensor) and target.shape[-1] == 1:
        return target[:, 0] % classes
    refuse("target", describe(target), 'classes: a number, one a row, "predicted" or "all"', kind=BadType)


def _others(y: Tensor, main: Tensor, against: int | Sequence[int]) -> Tensor:
    """The classes to compare with, (..., B, K)."""
    count = y.shape[1]
    if isinstance(against, (list, tuple)):
        if not against or not all(isinstance(d, int) and -count <= d < count for d in against):
            refuse("against", against, f"numbers of classes from 0 to {count - 1}")
        found = torch.tensor(against, device=y.device) % count
        if (found == main.unsqueeze(-1)).any():
            refuse("against", against, "other classes than the one explained")
        return found.expand(*main.shape, -1)
    if isinstance(against, bool) or not isinstance(against, int) or against < 1:
        refuse("against", against, "how many classes to compare with, or a list of their numbers", kind=BadType)
    mine = main.unsqueeze(-1)
    spread = y.expand(*main.shape, -1)
    gap = (spread - spread.gather(-1, mine)).abs().scatter(-1, mine, float("inf"))
    return gap.argsort(dim=-1, stable=True)[..., : min(against, count - 1)]


def _tiled(t: Tensor, dim: int, tiles: int) -> Tensor:
    """Repeated along the rows, as the points of a pass repeat them."""
    return torch.cat([t] * tiles, dim)
