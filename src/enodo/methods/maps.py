"""How the values of a layer lie in the picture: channels, places, the tokens of a transformer as a grid.

Values (B, C, ...) have channels in dimension 1. Where the inputs are images, (B, T, C) are tokens: those of the patches
are laid out as a grid of the picture's proportions, and what stands before them (a class token, register tokens) is
left out; values (B, h, w, C) are met too. The tokens of a sentence are places in a row. A map has one channel:
(B, 1, ...), for tokens in a row (B, T, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core.errors import refuse
from enodo.core.question import Question
from enodo.core.values import Values

from .raster import check_order

PREFIXES = (
    0,
    1,
    2,
    5,
)  # tokens before the patches: none, a class token, one to distil into, a class and four registers


@dataclass(frozen=True)
class Layout:
    """How values of `ndim` dimensions are turned into (..., B, C, *places), of which places are made a map."""

    ndim: int
    channel: int  # the dimension of channels, counted from the end
    grid: tuple[int, ...] | None = None  # of the last tokens
    fn: Callable[[Tensor], Tensor] | None = None  # (N, ...) -> (N, C, *places), given by the user

    @property
    def in_a_row(self) -> bool:
        """Whether places are tokens that are no grid."""
        return self.grid is None and self.fn is None and self.ndim == 3 and self.channel == -1

    def open(self, t: Tensor) -> Tensor:
        """Values, any dimensions before their rows, as (..., B, C, *places)."""
        if self.ndim == 1:
            return t.unsqueeze(-1)
        if self.fn is not None:
            lead = t.shape[: t.ndim - self.ndim + 1]
            made: Tensor = self.fn(t.flatten(0, len(lead) - 1)).unflatten(0, lead)
            return made
        t = t.movedim(self.channel, 1 - self.ndim)
        if self.grid is None:
            return t
        count = torch.Size(self.grid).numel()
        laid: Tensor = t[..., t.shape[-1] - count :].unflatten(-1, self.grid)
        return laid

    def close(self, found: Tensor) -> Tensor:
        """A map (..., B, 1, *places) as the values lie, or as a picture."""
        if self.ndim == 1:
            return found.squeeze(-1)
        return found.movedim(1 - self.ndim, self.channel) if self.in_a_row else found


def layouts(q: Question, channel: int | None, reshape: Any) -> list[Layout]:
    """The Layout of each tensor of the values at `wrt`; see `maps` for the options."""
    found = [_layout(q, x, channel, reshape) for x in q.x.leaves]
    if reshape in (None, True) and len(q.wrt.points) == len(found):
        for i, layout in enumerate(found):
            if layout.grid is not None:
                check_order(q, i, layout.grid)
    return found


def _layout(q: Question, x: Tensor, channel: int | None, reshape: Any) -> Layout:
    if callable(reshape):
        return Layout(x.ndim, -1, None, reshape)
    if channel is not None:
        if not -x.ndim < channel < x.ndim or channel % x.ndim == 0:
            refuse("channel", channel, f"a dimension of values of shape {tuple(x.shape)} other than the first")
        channel = channel % x.ndim - x.ndim
    if x.ndim == 2 and reshape is None:
        q.log.note(
            f"Rows of {x.shape[1]} values have no places to make a map of: this is one number a row. "
            "Ask at a layer with places (wrt=), or ask another method."
        )
    images = [t.shape[2:] for t in q.entry_x.leaves if t.ndim > 3 and not q.entry.ids]
    layer = bool(images) and not q.wrt.at_inputs
    if channel is None:
        channel = -1 if _last(x, images, layer, bool(q.wrt.ids or q.entry.ids)) else 1 - x.ndim
    tokens = x.ndim == 3 and channel == -1
    if isinstance(reshape, (tuple, list)):
        return Layout(x.ndim, channel, _checked(reshape, x, tokens))
    if reshape not in (None, True, False):
        refuse("reshape", reshape, "None, False, the grid (h, w) or a function of values")
    if not tokens or reshape is False or not (layer or reshape):
        return Layout(x.ndim, channel)
    return Layout(x.ndim, channel, _grid(x.shape[1], images[0] if images else None, f"values {tuple(x.shape)}"))


def _last(x: Tensor, images: list[torch.Size], layer: bool, words: bool) -> bool:
    """Whether channels come last: in tokens, and in maps laid out so."""
    if x.ndim == 3:
        return words or layer
    return layer and x.ndim == 4 and _ends_in_channels(x.shape, images[0])


def _ends_in_channels(shape: Sequence[int], size: Any) -> bool:
    """Whether values (B, h, w, C) are a map of which h and w are in proportion to the picture."""
    return not _fits(shape[2:], size) and _fits(shape[1:3], size)


def places_of(shape: Sequence[int], size: Any) -> tuple[int, ...]:
    """The dimensions of places of a layer's values, as they are found out for a picture (H, W); () if it is no map."""
    if len(shape) == 4:
        places = (1, 2) if _ends_in_channels(shape, size) else (2, 3)
        return places if min(shape[d] for d in places) > 1 else ()
    grids = _grids(shape[1], size) if len(shape) == 3 else []
    return (1,) if len(grids) == 1 and max(grids[0]) > 1 else ()


def _fits(grid: Any, size: Any) -> bool:
    """Whether a grid has the proportions of a picture, to the rounding of strides."""
    return len(grid) == len(size) == 2 and abs(grid[0] / size[0] - grid[1] / size[1]) < 1 / min(size)


def _checked(reshape: Any, x: Tensor, tokens: bool) -> tuple[int, ...]:
    count = torch.Size(reshape).numel() if all(isinstance(n, int) and n > 0 for n in reshape) else 0
    if not tokens or not 0 < count <= x.shape[1]:
        given = f"{tuple(reshape)} for values of shape {tuple(x.shape)}"
        refuse("reshape", given, "the grid (h, w) of the last h * w of T tokens, (B, T, C)")
    return tuple(reshape)


def grid_of(count: int, picture: Tensor, reshape: Any) -> tuple[int, ...]:
    """The grid of the patches of pictures (B, C, H, W) among `count` tokens, found out or as `reshape` says."""
    if reshape in (None, True):
        return _grid(count, picture.shape[2:], f"{count} tokens")
    if not isinstance(reshape, (tuple, list)) or not 0 < torch.Size(reshape).numel() <= count:
        refuse("reshape", reshape, f"the grid (h, w) of the last h * w of {count} tokens")
    return tuple(reshape)


def _grids(count: int, size: Any) -> list[tuple[int, int]]:
    """The grids of patches that `count` tokens may be, of a picture of some size."""
    ratio = 1.0 if size is None or len(size) != 2 else size[0] / size[1]
    found = []
    for first in PREFIXES if size is None or len(size) == 2 else ():
        h = round(((count - first) * ratio) ** 0.5) if count > first else 0
        if h and (count - first) % h == 0 and abs(h / ((count - first) // h) / ratio - 1) < 0.02:
            found.append((h, (count - first) // h))
    return [g for g in found if size is not None and size[0] % g[0] == 0 and size[1] % g[1] == 0] or found


def _grid(count: int, size: Any, what: str) -> tuple[int, ...]:
    """The grid of patches among `count` tokens; `size` is that of the picture."""
    found = _grids(count, size)
    if len(found) == 1:
        return found[0]
    several = " or ".join(str(g) for g in found)
    given = f"None, for {what}" + (f", which may be a grid of {several}" if several else "")
    refuse(
        "reshape",
        given,
        f"as many tokens as a grid of the picture's proportions has, with {', '.join(map(str, PREFIXES))} before them",
        "Give the grid, reshape=(h, w), a function of the values, or reshape=False for a number a token.",
    )


def maps(
    q: Question,
    make: Callable[..., Tensor],
    *beside: Values,
    channel: int | None = None,
    reshape: Any = None,
    upsample: Any = False,
) -> Values:
    """The map that `make` makes of each tensor of x, and of what is given `beside`, all as (..., B, C, *places).

    channel   the dimension of channels, where it is not found out
    reshape   of tokens: None finds out the grid; (h, w) is that of the last tokens; a function (N, T, C) -> (N, C, h,
              w) makes it; False leaves them in a row
    upsample  True brings the map to the size of the input, linearly; (H, W) to another
    """
    made = []
    for i, layout in enumerate(layouts(q, channel, reshape)):
        x = layout.open(q.x.leaves[i])
        found = make(x, *(layout.open(v.leaves[i]) for v in beside))
        q.memo["lead"] = found.ndim - x.ndim
        made.append(sized(q, found, layout, upsample) if upsample is not False else layout.close(found))
    return Values(made)


def sized(q: Question, found: Tensor, layout: Layout, size: Any) -> Tensor:
    """A map (..., B, C, *places) in another size; True is that of the inputs."""
    places = found.ndim - q.memo["lead"] - 2
    if size is True:
        sizes = [t.shape[2:] for t in q.entry_x.leaves if t.ndim > 2 and not q.entry.ids]
        if not sizes:
            refuse("upsample", "True, for inputs without places", "images or series, (B, C, ...)")
        size = sizes[0]
    if not isinstance(size, (tuple, list)) or not all(isinstance(n, int) and n > 0 for n in size):
        refuse("upsample", size, "True, False or a size such as (224, 224)")
    if len(size) != places or layout.in_a_row:
        given = f"{tuple(size)} for a map of {places} dimensions" + (" (tokens in a row)" if layout.in_a_row else "")
        refuse("upsample", given, "as many dimensions of places", "Say how the tokens lie: reshape=(h, w).")
    return resized(found, found.ndim - places - 1, size)


def resized(found: Tensor, lead: int, size: Any, mode: str | None = None) -> Tensor:
    """(..., C, *places) with `lead` dimensions before the channels, in another size; linearly, unless `mode` is set."""
    linear = ("linear", "bilinear", "trilinear")[len(size) - 1]
    smooth = linear if mode is None else mode
    known = ["nearest", "nearest-exact", "area", linear, *["bicubic"][: len(size) == 2]]
    if smooth not in known:
        refuse("mode", repr(mode), f"one of {', '.join(known)} for {len(size)} dimensions of places")
    aligned = {} if smooth in known[:3] else {"align_corners": False}
    flat = F.interpolate(found.flatten(0, lead - 1), size=tuple(size), mode=smooth, **aligned)
    made: Tensor = flat.unflatten(0, found.shape[:lead])
    return made
