"""`Biases`: what each operation of a pass adds of its own, and the gradient that reaches it.

An operation y = F(x) at x is J x + b, with its derivative J and its bias b = F(x) - J x: the bias of a convolution or
of a batch norm, zero for a ReLU, sigma(x) - sigma'(x) x for another activation, -x y for a product. Down a whole model
the score is then g.x + sum g_y.b over its operations, for the gradients g of the inputs and g_y of results.
Srinivas and Fleuret 2019, arXiv:1905.00780, proposition 2 and section 3.3 (implicit biases).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import Bound, is_live, parts, tensors_in
from enodo.core.points import on_gradient
from enodo.core.rules import Rules
from enodo.core.tables import PLAIN, Decompose, Depends, Op, Plain, Pull, Refuse, Rule, Table, Treatment, own

from . import elementwise
from .rescale import RESCALE

Tell = Callable[[int, Tensor], None]  # told of (number of the operation, g_y b), one score after the other

_ONE_NUMBER = elementwise.KINKED | elementwise.SMOOTH | elementwise.SINGULAR
_WEIGHTED = frozenset("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split())
# F(t x) = t F(x) for t > 0
_HOMOGENEOUS = frozenset(
    "relu leaky_relu prelu abs amax amin length max_pool1d max_pool2d max_pool3d max_pool1d_with_indices"
    " max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d"
    " adaptive_max_pool3d".split()
)
# Linear in each of their factors, so that one alone is no place for a bias.
_PRODUCTS = frozenset("mul matmul mm bmm mv einsum tensordot outer dot inner kron".split())
# Sums and joints, of which a part may be constant.
_SUMS = frozenset(
    "add sub rsub addmm baddbmm addmv affine batch_norm cat stack hstack vstack dstack column_stack row_stack"
    " scatter index_put index_copy index_add select_scatter slice_scatter".split()
)


def biased(op: Op) -> Pull:
    """An operation that may add something of its own; its gradient is its own."""
    return own(op)


def _sum(*args: Any, **kwargs: Any) -> Treatment:
    constant = any(t.is_floating_point() and not is_live(t) for _, t in tensors_in(args, kwargs))
    return biased if constant or any(isinstance(a, float) or type(a) is int for a in args[:2]) else PLAIN


def _product(*args: Any, **kwargs: Any) -> Treatment:
    return biased if sum(is_live(t) for _, t in tensors_in(args, kwargs)) > 1 else PLAIN


def _weighted(input: Any, weight: Any, bias: Any = None, *_: Any, **__: Any) -> Treatment:
    return PLAIN if bias is None and not is_live(weight) else biased


def _treated(name: str, treatment: Treatment) -> Treatment:
    """What becomes of an operation's treatment under DeepLIFT."""
    if name in _HOMOGENEOUS:
        return PLAIN
    for names, choose in ((_WEIGHTED, _weighted), (_SUMS, _sum), (_PRODUCTS, _product)):
        if name in names:
            return Depends(choose)
    if isinstance(treatment, Depends):
        inner = treatment.choose
        return Depends(lambda *args, **kwargs: _treated(name, inner(*args, **kwargs)))
    if isinstance(treatment, Refuse):
        return PLAIN
    return treatment if isinstance(treatment, (Plain, Decompose)) else biased


BIASES = Table({name: _treated(name, treatment) for name, treatment in RESCALE.entries.items()}, PLAIN)


class Biases(Rules):
    """The mode of a pass that tells of the bias of each operation times the gradient that reaches it; `keep`: with the
    graph that both come from."""

    one_by_one = True

    def __init__(self, tell: Tell, keep: bool, table: Table = BIASES) -> None:
        super().__init__(table, on_unknown=lambda name, spot: None)
        self._begun = False
        self.tell, self.keep, self.count = tell, keep, 0

    def _ruled(self, call: Bound, name: str, rule: Rule) -> Any:
        out = call(*call.operands)
        y = parts(out)[0]
        if not y.requires_grad:
            return out
        with torch._C.DisableTorchFunction(), torch.set_grad_enabled(self.keep):
            bias = bias_of(call, name, y if self.keep else y.detach(), self.keep)
        number, self.count = self.count, self.count + 1
        # where nothing is passed on, a masked score may be infinite
        on_gradient(y, lambda g: self.tell(number, torch.where(g == 0, 0, g * bias)))
        return out


def bias_of(call: Bound, name: str, y: Tensor, keep: bool) -> Tensor:
    """F(x) - J x of a call; with `keep` in the graph of its operands."""
    live = [is_live(x) for x in call.operands]
    if name in _WEIGHTED and sum(live) == 1:
        bias = call.get(2, "bias")
        channels = [-1] + [1] * (y.ndim - 2 if name != "linear" else 0)
        return y - y if bias is None else bias.view(channels).expand_as(y)
    if name in _SUMS and name not in ("addmm", "baddbmm", "addmv"):
        zeroed = [torch.zeros_like(x) if of else x for x, of in zip(call.operands, live, strict=True)]
        return parts(call(*zeroed))[0]
    with torch.enable_grad():
        if keep:  # each operand apart, so that the path from one to another is not taken
            xs = [x.view_as(x) for x in call.operands]
            z = parts(call(*xs))[0]
        else:
            xs, z, _ = call.traced(call.operands, live)
        wanted = [x for x, of in zip(xs, live, strict=True) if of]
        if name in _ONE_NUMBER and len(wanted) == 1:
            (slope,) = torch.autograd.grad(z, wanted, torch.ones_like(z), create_graph=keep)
            return y - slope * wanted[0]
        through = torch.zeros_like(z).requires_grad_()
        down = torch.autograd.grad(z, wanted, through, create_graph=True, allow_unused=True)
        met = [(d, x) for d, x in zip(down, wanted, strict=True) if d is not None and d.requires_grad]
        ways = [torch.where(x.isfinite(), x, 0) for _, x in met]
        (along,) = torch.autograd.grad([d for d, _ in met], through, ways, create_graph=keep, allow_unused=True)
    return y if along is None else y - along
