"""Finding the places that a question names, and how its integer inputs are to be met there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import tree as trees
from .errors import refuse
from .places import Visit, Where, lookups_met
from .points import INPUT, OUTPUT, locate, part_of
from .running import Call, forward
from .values import is_continuous

AT_INPUTS = Where((INPUT,), (str(INPUT),))


def where(places: Any, call: Call, gradient: bool, several: bool = False) -> Where:
    """The places, found in the model. Gradients explain integer inputs at their lookups, other methods as they are."""
    if places[0] is INPUT and not several and isinstance(call.inputs, Tensor) and is_continuous(call.inputs):
        return AT_INPUTS
    points, names = zip(*[locate(p, call.model, "wrt") for p in places], strict=True)
    for point, name in zip(points, names, strict=True):
        if point.side == "output":
            refuse("wrt", name, "the inputs or a layer", "The output is what is explained: name it as `of`.")
    ids: list[trees.Path] = []
    whole: list[trees.Path] = []
    for point in points:
        if point.side in ("input", "embedding"):
            kind = ids if gradient or point.side == "embedding" else whole
            integers = _integers(part_of(call.inputs, point), point.path)
            kind += [path for path in integers if path not in kind]
    if len(points) > 1 and ids:
        refuse("wrt", f"{', '.join(names)} with integer inputs", "layers, when several places are asked about at once")
    embedding = points[0].side == "embedding"
    if embedding and not ids:
        refuse("wrt", names[0], "integer inputs (token ids) that are looked up")
    if whole and any(p.side == "input" and not p.path for p in points):
        whole = _tokens(call, whole)
    found = Where(points, names, several, tuple(ids), not embedding, tuple(whole))
    if several:
        found.check_apart([0] * len(points))  # as far as it is known before a pass
    return found


def _integers(value: Any, at: trees.Path) -> list[trees.Path]:
    """The paths of the integer tensors in a part of the inputs."""
    return [
        (*at, *path)
        for path, t in trees.leaves(value)
        if isinstance(t, Tensor) and not is_continuous(t) and t.dtype != torch.bool and t.ndim
    ]


def _tokens(call: Call, found: list[trees.Path]) -> list[trees.Path]:
    """Of several inputs, the integers that the model looks up; others, such as masks, stay as they are.

    A single input is taken as it is, and so are all where none is looked up and there is nothing else to explain.
    """
    tensors = [t for _, t in trees.leaves(call.inputs) if isinstance(t, Tensor) and t.ndim]
    if len(tensors) == 1:
        return found
    visit = Visit(Where((INPUT,), ("INPUT",), ids=tuple(found)), None, False, False, None)
    forward(call.take(torch.tensor([0])), OUTPUT, [visit], grad=False)
    met = [path for path, looked_up in zip(found, lookups_met(visit.sight), strict=True) if looked_up]
    return met if met or any(is_continuous(t) for t in tensors) else found
