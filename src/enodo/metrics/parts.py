"""What an attribution says about each feature: its sum over what is switched off together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core import tree as trees
from enodo.core.errors import BadType, refuse
from enodo.core.features import Features
from enodo.core.layout import Layout
from enodo.core.question import Question
from enodo.core.registry import methods
from enodo.core.result import Attribution


def features_of(spec: Any, q: Question) -> Features:
    """Features as given; without any, each value, but in pictures (B, C, H, W) each pixel with all its channels."""
    if spec is None and all(t.ndim > 3 for t in q.x.leaves):
        return Features.grid(1)
    return Features.of(spec)


def scores_of(q: Question, attribution: Any, layout: Layout, lead: int) -> Tensor:
    """What an attribution says about each feature of the question's rows, (*lead, B, n): the sum over it.

    A map coarser than the picture is first brought to its size. Methods that switch features off give each value what
    its whole feature has: of theirs, the mean.
    """
    values = attribution.values if isinstance(attribution, Attribution) else attribution
    rows = torch.tensor([key[0] for key in q.keys])
    found = []
    for t, like in zip(_leaves(values, q, lead), q.x.leaves, strict=True):
        own = t if t.shape[lead] == 1 else t.index_select(lead, rows.to(t.device))
        found.append(_fitted(own, like, lead))
    out = total(layout, found, lead)
    if isinstance(attribution, Attribution) and _is_whole(attribution):
        ones = [torch.ones((1,) * lead + t.shape[lead:], device=t.device) for t in found]
        out = out / total(layout, ones, lead).clamp(min=1)
    if not out.isfinite().all():
        refuse("attribution", "NaN or infinity", "finite numbers")
    return out


def total(layout: Layout, values: list[Tensor], lead: int) -> Tensor:
    """The sum over each feature, (*lead, B, n), of values (*lead, B, ...)."""
    if not layout.owners:
        refuse("features", "windows", "features that share no value", "Write Features.grid(size).")
    out: Any = 0
    for t, owner in zip(values, layout.owners, strict=True):
        flat = t.detach().double().flatten(lead + 1)
        which = owner.to(t.device).expand(t.shape[lead], *t.shape[lead + 1 :]).flatten(1).expand_as(flat)
        out = out + flat.new_zeros(*flat.shape[:-1], layout.n + 1).scatter_add(-1, which, flat)
    whole: Tensor = out[..., : layout.n]
    return whole


def _is_whole(attribution: Attribution) -> bool:
    """Whether each value has what its whole feature has."""
    card = methods().get(attribution.method)
    return card is not None and "absence" in card.needs


def _fitted(t: Tensor, like: Tensor, lead: int) -> Tensor:
    """An attribution in the shape of the values it is about: a coarser map enlarged, one channel laid under all."""
    want = (*t.shape[:lead], *like.shape)
    if t.shape == want:
        return t
    if t.ndim == len(want) and like.ndim == 4 and t.shape[lead] == len(like):
        flat = t.flatten(0, lead).sum(1, keepdim=True).double()
        flat = F.interpolate(flat, size=tuple(like.shape[2:]), mode="bilinear", align_corners=False)
        wide: Tensor = flat.unflatten(0, t.shape[: lead + 1])
        return wide.expand(want) / like.shape[1]
    refuse("attribution", t, f"shape {tuple(want)}, as the values it is about, or a map (B, 1, h, w) of a picture")


def _leaves(tree: Any, q: Question, lead: int) -> list[Tensor]:
    """The tensors of a structure like the values at the place, rows after `lead` dimensions, as `Values` have them."""
    sight = q.sight
    places = tree if sight.where.several else (tree,)
    out: list[Tensor] = []
    try:
        for place, form in zip(places, sight.forms, strict=True):
            found = [trees.get(place, path) for path in form.paths]
            out += [t.movedim(lead + d, lead) for t, d in zip(found, form.dims or (0,) * len(found), strict=True)]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        refuse("attribution", tree, "a structure like that of the values it is about", kind=BadType)
    for t in out:
        if not isinstance(t, Tensor) or t.ndim <= lead:
            refuse("attribution", t, "tensors in the structure of the values it is about", kind=BadType)
    return out
