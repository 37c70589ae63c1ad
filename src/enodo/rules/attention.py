"""`Attentions`: the attention that a model pays in one pass, whatever code pays it.

A softmax over the last dimension whose result is multiplied with values is attention: in torch's fused operation, in
`nn.MultiheadAttention`, in code that writes out softmax(q k^T) v. The model is not asked for it, nor changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import spelling
from enodo.core.points import on_gradient
from enodo.core.rules import Rules
from enodo.core.tables import PLAIN, Table

from .composites import COMPOSITES
from .seats import Seats
from .tokens import Held, Tokens

TABLE = Table({name: COMPOSITES[name] for name in ("scaled_dot_product_attention",)}, others=PLAIN)
PRODUCTS = frozenset("matmul bmm mm einsum baddbmm tensordot".split())


@dataclass(eq=False)
class Attention:
    """One attention of a pass: probabilities (B, H, Q, K), or with W windows (B, W, H, Q, K), and their gradients."""

    probabilities: Tensor
    queries: Seats | None  # the tokens that look, and those looked at; None where it cannot be told
    keys: Seats | None
    gradients: list[Tensor] = field(default_factory=list)  # like them, one for each score that was pulled back
    read: Tensor | None = None  # (..., B, T), of the last attention: the tokens that an answer depends on after it
    root: Tensor | None = None  # the probabilities as they are in the graph of the pass,
    laid: Callable[[Tensor], Tensor] = torch.Tensor.detach  # and what lays their gradients out like them

    @property
    def windows(self) -> bool:
        """Whether tokens see those of their window only."""
        return self.probabilities.ndim > 4


class Attentions(Rules):
    """The mode of a pass that notes the attention of its rows, in `found`; with `gradients` also what reaches it."""

    one_by_one = True

    def __init__(self, rows: int, gradients: bool = False, keep: bool = False) -> None:
        super().__init__(TABLE, on_unknown=lambda name, spot: None)
        self._begun = False  # until the pass comes to where it is asked about
        self.rows, self.gradients, self.keep = rows, gradients, keep
        self.found: list[Attention] = []
        self.tokens = Tokens(rows)
        self._noted: set[int] = set()

    def start(self, t: Tensor) -> None:
        """Be told of a value that gradients are taken of: its tokens are followed."""
        super().start(t)
        self.tokens.start(t)

    def met(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a call that the model makes, and note what attention it pays."""
        out = super().met(func, args, kwargs)
        if self._begun and isinstance(out, (Tensor, tuple, list)):
            self._watch(spelling(func).name, func, args, kwargs, out)
        return out

    def _watch(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        self.tokens.after(name, func, args, kwargs, out)
        if name == "softmax":
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if out.ndim > 2 and isinstance(dim, int) and dim % out.ndim == out.ndim - 1:
                known = self.tokens.held(out)
                self.tokens.hold(out, Held(self.tokens.asking(known.owners) if known is not None else (), out))
        elif name in PRODUCTS:
            given = [t for a in (*args, *kwargs.values()) for t in (a if isinstance(a, (list, tuple)) else (a,))]
            for held in map(self.tokens.held, given):
                if held is not None and held.root is not None:
                    self._note(held.root)

    def _note(self, root: Tensor) -> None:
        if id(root) in self._noted or root.ndim < 3:  # once only
            return
        seen, laid = self._seated(root) or self._counted(root) or (None, None)
        if seen is None or laid is None:
            return
        self._noted.add(id(root))
        if self.gradients and root.requires_grad:
            on_gradient(root, lambda g: seen.gradients.append(laid(g)))
        elif root.requires_grad:
            seen.root, seen.laid = root, laid
        self.found.append(seen)

    def _seated(self, root: Tensor) -> tuple[Attention, Callable[[Tensor], Tensor]] | None:
        """Attention among tokens that are known, whatever its dimensions mean: rows, windows and heads are sorted."""
        held = self.tokens.held(root)
        if held is None or not held.owners:
            return None
        asks = held.owners[0].amax(-1).flatten(0, -2)  # (N, Q)
        asked = held.owners[1].amax(-2).flatten(0, -2) if len(held.owners) > 1 else None  # (N, K)
        stream = self.tokens.stream_of(asks)
        if stream is None or bool((asks < -1).any()):
            return None
        row = (asks.amax(1, keepdim=True) - stream.first) // stream.count
        groups, member = torch.unique(torch.cat([row, asks], 1), dim=0, return_inverse=True)
        if len(asks) % len(groups) or len(groups) % self.rows:
            return None
        order = member.argsort(stable=True)
        shape = (self.rows, len(groups) // self.rows, len(asks) // len(groups))

        def laid(t: Tensor) -> Tensor:
            t = (t if self.keep else t.detach()).flatten(0, -3)[order].unflatten(0, shape)
            return t[:, 0] if shape[1] == 1 else t

        def seats(numbers: Tensor) -> Seats | None:
            found = numbers[order].unflatten(0, shape)[:, :, 0]
            return self.tokens.seats(found[:, 0] if shape[1] == 1 else found)

        queries = seats(asks)
        if queries is None:
            return None
        return Attention(laid(root), queries, None if asked is None else seats(asked)), laid

    def _counted(self, root: Tensor) -> tuple[Attention, Callable[[Tensor], Tensor]] | None:
        """Attention whose tokens are not known: rows are its first dimension, tokens have the order of the last."""
        lead = root.shape[:-2]
        if lead[0] % self.rows:
            return None
        if len(lead) == 1 or lead[0] != self.rows:  # (B * H, Q, K), or (B * W, H, Q, K)
            lead = torch.Size((self.rows, lead[0] // self.rows, *lead[1:]))

        def laid(t: Tensor) -> Tensor:
            return (t if self.keep else t.detach()).reshape(*lead, *t.shape[-2:])

        def seats(count: int) -> Seats | None:
            # a square says that its tokens are the same; of others, what they are must be known
            stream = self.tokens.alike(count, root.shape[-2] == root.shape[-1]) if len(lead) == 2 else None
            places = torch.arange(count, device=root.device).expand(self.rows, -1)
            return None if stream is None else Seats(stream, places)

        return Attention(laid(root), seats(root.shape[-2]), seats(root.shape[-1])), laid
