"""`Attentions`: the attention that a model pays in one pass, whatever code pays it.

A softmax over the last dimension whose result is multiplied with values is attention: in torch's fused operation, in
`nn.MultiheadAttention`, in code that writes out softmax(q k^T) v. The model is not asked for it, nor changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import spelling
from enodo.core.points import on_gradient
from enodo.core.rules import Rules
from enodo.core.tables import PLAIN, Table

from .composites import COMPOSITES

TABLE = Table({name: COMPOSITES[name] for name in ("scaled_dot_product_attention",)}, others=PLAIN)
# What is done to probabilities between the softmax and the product with values.
_KEPT = frozenset(
    "to type type_as float half bfloat16 double dropout masked_fill where nan_to_num view reshape flatten unflatten"
    " unsqueeze squeeze expand contiguous clone transpose permute mT T movedim view_as".split()
)
_PRODUCTS = frozenset("matmul bmm mm einsum baddbmm tensordot".split())


@dataclass
class Attention:
    """One attention of a pass: probabilities (B, H, Q, K), or with W windows (B, W, H, Q, K), and their gradients."""

    probabilities: Tensor
    gradients: list[Tensor] = field(default_factory=list)  # like them, one for each score that was pulled back


class Attentions(Rules):
    """The mode of a pass that notes the attention of its rows, in `found`; with `gradients` also what reaches it."""

    one_by_one = True

    def __init__(self, rows: int, gradients: bool = False, keep: bool = False) -> None:
        super().__init__(TABLE, on_unknown=lambda name, spot: None)
        self._begun = False  # until the pass comes to where it is asked about
        self.rows, self.gradients, self.keep = rows, gradients, keep
        self.found: list[Attention] = []
        self._met: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the tensor, kept alive, and the softmax it comes from
        self._noted: set[int] = set()

    def met(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a call that the model makes, and note what attention it pays."""
        out = super().met(func, args, kwargs)
        if self._begun and isinstance(out, Tensor):
            self._watch(spelling(func).name, args, kwargs, out)
        return out

    def _watch(self, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
        if name == "softmax":
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if out.ndim > 2 and isinstance(dim, int) and dim % out.ndim == out.ndim - 1:
                self._met[id(out)] = out, out
            return
        if not self._met:
            return
        given = [t for a in (*args, *kwargs.values()) for t in (a if isinstance(a, (list, tuple)) else (a,))]
        for t in given:
            if id(t) in self._met:
                root = self._met[id(t)][1]
                if name in _PRODUCTS:
                    self._note(root)
                elif name in _KEPT:
                    self._met[id(out)] = out, root
                return

    def _note(self, root: Tensor) -> None:
        lead = root.shape[:-2]
        if id(root) in self._noted or not lead or lead[0] % self.rows:  # once only; and where rows pay for themselves
            return
        if len(lead) == 1 or lead[0] != self.rows:  # (B * H, Q, K), or (B * W, H, Q, K)
            lead = torch.Size((self.rows, lead[0] // self.rows, *lead[1:]))
        self._noted.add(id(root))
        seen = Attention(self._laid(root, lead))
        if self.gradients and root.requires_grad:
            on_gradient(root, lambda g: seen.gradients.append(self._laid(g, lead)))
        self.found.append(seen)

    def _laid(self, t: Tensor, lead: Any) -> Tensor:
        t = t if self.keep else t.detach()
        return t.reshape(*lead, *t.shape[-2:])
