"""`Removal`: tokens taken out of a sequence, by the attention mask or altogether."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import tree as trees
from .errors import describe, refuse
from .running import Call

POSITIONS = "position_ids"  # which count what is there, and stay in order


@dataclass(frozen=True)
class Removal:
    """How absent tokens are taken out: `mask` names the argument that hides them; `close` moves up what follows."""

    mask: str
    close: bool

    def edit(self, call: Call, path: trees.Path, present: Tensor) -> Call:
        """The call with the tokens at `path`, (B, L), of which some are present."""
        ids = trees.get(call.inputs, path)
        if ids.ndim != 2:
            refuse("baseline", f"tokens of shape {tuple(ids.shape)} to be taken out", "token ids of shape (B, L)")
        given = self._given(call)
        mask = torch.ones_like(ids) if given is None else given
        call = self._with(call, mask * present.to(mask.dtype))
        return self._closed(call, present) if self.close else call

    def _given(self, call: Call) -> Tensor | None:
        """The mask that the user gave, if any."""
        for place in (call.inputs, call.kwargs):
            if isinstance(place, Mapping) and isinstance(place.get(self.mask), Tensor):
                mask: Tensor = place[self.mask]
                return mask
        model = call.model.forward if isinstance(call.model, nn.Module) else call.model
        known = inspect.signature(model).parameters.values()
        if not any(p.name == self.mask or p.kind is p.VAR_KEYWORD for p in known):
            given = f"tokens to be taken out, with a model that has no argument {self.mask!r}"
            refuse("baseline", given, "the name of its attention mask", 'Write Absence.masked("its name").')
        return None

    def _with(self, call: Call, mask: Tensor) -> Call:
        if isinstance(call.inputs, Mapping) and self.mask in call.inputs:
            return replace(call, inputs=trees.put(call.inputs, (self.mask,), mask))
        return replace(call, kwargs={**call.kwargs, self.mask: mask})

    def _closed(self, call: Call, present: Tensor) -> Call:
        """All that has one entry a token in the order of those present, the absent ones behind."""
        order = torch.argsort((~present).to(torch.uint8), dim=1, stable=True)

        def moved(path: trees.Path, t: Any) -> Any:
            along = isinstance(t, Tensor) and t.shape == order.shape and path[-1:] != (POSITIONS,)
            return t.gather(1, order.to(t.device)) if along else t

        inputs, kwargs = call.inputs, dict(call.kwargs)
        for path, t in list(trees.leaves(inputs)):
            inputs = trees.put(inputs, path, moved(path, t))
        return replace(call, inputs=inputs, kwargs={k: moved((k,), t) for k, t in kwargs.items()})


def tokens_of(call: Call, paths: tuple[trees.Path, ...]) -> trees.Path:
    """The one input of token ids that tokens are taken out of."""
    if len(paths) == 1:
        return paths[0]
    given = f"tokens to be taken out of {describe(call.inputs)}"
    refuse("baseline", given, "one input of token ids at wrt", 'Name it: wrt=INPUT["input_ids"].')
