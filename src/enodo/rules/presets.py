"""Composites of relevance propagation: which rule for which layer, by name; and the table that follows from one."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core.errors import BadType, describe, nearest, refuse
from enodo.core.operations import is_live
from enodo.core.tables import PLAIN, TREATMENTS, Decompose, Depends, Op, Pull, Rule, Table, Treatment, modules_of, own

from . import composites, elementwise, lrp
from .extremes import EXTREMES, clamps
from .layer import CONVOLUTIONS, WEIGHTED, Weighted
from .linear import LINEAR, MOVES
from .losses import LOSSES
from .propagation import Propagation
from .recurrent import RECURRENT
from .sequences import SEQUENCES

FIRST, LAST = "<first>", "<last>"  # as keys of rules: layers that no other with weights stands before, or after
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_CHOICES = (
    "where masked_fill max min amax amin maximum minimum fmax fmin sort msort topk kthvalue median nanmedian"
    " cummax cummin"
).split()
_POOLS = [f"{kind}max_pool{n}d{end}" for kind in ("", "adaptive_") for n in (1, 2, 3) for end in ("", "_with_indices")]
# y = x c for a c that does not depend on the size of x: what goes back is the gradient.
_HOMOGENEOUS = "relu leaky_relu prelu rrelu abs".split()
_ELEMENTWISE = [*elementwise.KINKED, *elementwise.SMOOTH, *elementwise.SINGULAR]
_BILINEAR = "einsum tensordot outer ger dot vdot inner kron cross linalg_cross bilinear".split()
# They say how much passes of what they are multiplied with.
_GATES = frozenset(
    "sigmoid hardsigmoid softplus logsigmoid log_sigmoid exp exp2 cos cosh erfc rsqrt reciprocal".split()
)
_LAID_OUT = frozenset("view reshape_alias expand unsqueeze squeeze transpose permute t clone repeat alias".split())
_SUMMING_MOVES = frozenset("fold col2im index_add".split())
_EXACT = frozenset((*MOVES, *_CHOICES, *_POOLS)) - _SUMMING_MOVES  # their results are values that they were given


@dataclass(frozen=True)
class Composite:
    """Rules for dense layers, convolutions, and layers that no other with weights stands before (`first`) or after.

    None is LRP-0, which needs no rule. `product` is for products of values on the path, such as those of attention.
    """

    dense: Weighted | None = None
    convolution: Weighted | None = None
    first: Weighted | None = None
    last: Weighted | None = None
    product: Rule = lrp.shared
    softmax: Rule = own  # AttnLRP, proposition 3.1
    merge: bool = True  # batch norms into the layers beside them

    def following(
        self, ends: Mapping[Any, Weighted], by_name: Mapping[str, Weighted], by_module: Mapping[nn.Module, Weighted]
    ) -> Propagation:
        """What follows one pass, with a user's rules."""
        rules = {name: self.convolution if name in CONVOLUTIONS else self.dense for name in WEIGHTED}
        first, last = ends.get(FIRST, self.first), ends.get(LAST, self.last)
        return Propagation(rules, self.product, first, last, by_name, by_module, self.merge)

    def table(self, follow: Propagation | None = None) -> Table:
        """The table of one pass."""
        follow = self.following({}, {}, {}) if follow is None else follow
        entries: dict[str, Treatment] = {
            **LINEAR,
            **composites.COMPOSITES,
            **LOSSES,
            **SEQUENCES,
            **RECURRENT,
            **dict.fromkeys([*_CHOICES, *_POOLS], PLAIN),
            **dict.fromkeys(("log_softmax", "logsumexp"), own),
            "aminmax": EXTREMES["aminmax"],
            **dict.fromkeys(_ELEMENTWISE, lrp.identity),
            **clamps(lrp.identity),
            **dict.fromkeys(_HOMOGENEOUS, PLAIN),
            **dict.fromkeys(_BILINEAR, _if_several(self.product)),
            "mul": _mul(self.product),
            "div": Depends(_div),
            "standardise": lrp.standardised,
            "length": lrp.shared,
            "softmax": self.softmax,
        }
        return Table(follow.treatments(entries, _EXACT), trail=follow)


def _if_several(rule: Treatment) -> Depends:
    def choose(*args: Any, **kwargs: Any) -> Treatment:
        return rule if sum(map(is_live, [*args, *kwargs.values()])) > 1 or any(map(_several, args)) else PLAIN

    return Depends(choose)


def _several(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and sum(map(is_live, value)) > 1


def _div(input: Any, other: Any, **_: Any) -> Treatment:
    if not is_live(other):
        return PLAIN
    return lrp.divided if is_live(input) else Decompose(_inverse)


def _inverse(input: Any, other: Tensor, **_: Any) -> Tensor:
    """A constant by what is on the path: 1 / x is x.reciprocal(), and a gate as that is."""
    y = torch.reciprocal(other)
    return y if isinstance(input, (int, float)) and input == 1 else y * input


def _is_gate(t: Any) -> bool:
    """Whether a factor was made by a gate; also where it was laid out for the product, `gate(y).view(b, c, 1, 1)`."""
    node = getattr(t, "grad_fn", None)
    while node is not None and _rearranges(type(node).__name__):
        node = node.next_functions[0][0]
    return getattr(node, "operation", None) in _GATES


@functools.cache
def _rearranges(node: str) -> bool:
    """Whether a node of autograd, such as ExpandBackward0, only lays out one value anew."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.partition("Backward")[0]).lower()
    return name.removeprefix("unsafe_") in _LAID_OUT


def _mul(product: Rule) -> Depends:
    def choose(input: Any, other: Any) -> Treatment:
        if not (is_live(input) and is_live(other)):
            return PLAIN
        gates = _is_gate(input), _is_gate(other)
        return product if gates[0] == gates[1] else _taken_by(int(gates[0]))

    return Depends(choose)


def _taken_by(other: int) -> Rule:
    """All to one factor: the other one is a gate, whose value says how much passes (Arras et al. 2017)."""

    def rule(op: Op) -> Pull:
        return lambda gy: [g if i == other else None for i, g in enumerate(op.vjp(gy))]

    return rule


def composite(name: str, eps: float = 1e-9, amount: float = 0.25, box: Any = None, bias: bool = True) -> Composite:
    """A composite by name; see `docs/rules.md` for what each is for."""
    for option, value in (("epsilon", eps), ("gamma", amount)):
        if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            refuse(option, repr(value), "a number, 0 or more", kind=BadType)

    def boxed() -> Weighted:
        if not isinstance(box, (tuple, list)) or len(box) != 2:
            given = f"{box!r} with the composite {name!r}"
            refuse("box", given, "box=(low, high), the lowest and highest values that the first layer can be given")
        return lrp.box(box[0], box[1], eps)

    dense, sharp = lrp.epsilon(eps, bias), lrp.gamma(amount, eps, bias)
    bare = lrp.z_plus(eps, bias=False)
    plus, split = lrp.z_plus(eps, bias), lrp.alpha_beta(2.0, 1.0, eps, bias)
    makers: Mapping[str, Callable[[], Composite]] = {
        "zero": Composite,
        "epsilon": lambda: Composite(dense, dense),
        "gamma": lambda: Composite(sharp, sharp),
        "epsilon_gamma": lambda: Composite(dense, sharp),
        "epsilon_gamma_box": lambda: Composite(dense, sharp, boxed()),
        "epsilon_plus": lambda: Composite(dense, plus),
        "epsilon_plus_flat": lambda: Composite(dense, plus, lrp.flat(eps)),
        "epsilon_alpha2_beta1": lambda: Composite(dense, split),
        "epsilon_alpha2_beta1_flat": lambda: Composite(dense, split, lrp.flat(eps)),
        "alpha1_beta0": lambda: Composite(plus, plus),
        "deep_taylor": lambda: Composite(plus, plus, lrp.w_square(eps) if box is None else boxed()),
        "excitation_backprop": lambda: Composite(bare, bare),
        "cp": lambda: Composite(dense, dense, product=lrp.gated, softmax=lrp.constant),
    }
    if not isinstance(name, str) or name not in makers:
        refuse("composite", repr(name), "the name of a composite", nearest(str(name), makers))
    return makers[name]()


def composed(
    given: Any,
    rules: Mapping[Any, Any],
    model: Any,
    eps: float,
    amount: float,
    box: Any,
    bias: bool,
) -> tuple[Table, Propagation]:
    """The table of a composite, by name or as it is, with the user's rules; and what follows its pass.

    Keys of the rules are FIRST, LAST, operations, modules, types of modules, and names of modules: also patterns of
    them, as "layer4.*", and names of containers, for all that is in them. The name of an operation is taken as such.
    """
    if not isinstance(rules, Mapping):
        refuse("rules", describe(rules), "a mapping, {where: rule}", kind=BadType)
    made = given if isinstance(given, Composite) else composite(given, eps, amount, box, bias)
    table = made.table()
    ends: dict[Any, Weighted] = {key: rule for key, rule in rules.items() if key in (FIRST, LAST)}
    by_name: dict[str, Weighted] = {}
    by_module: dict[nn.Module, Weighted] = {}
    others: dict[Any, Any] = {}
    for key, rule in rules.items():
        if not (callable(rule) or isinstance(rule, TREATMENTS)):
            refuse("rules", f"{rule!r} for {key!r}", "a rule, such as enodo.rules.lrp.gamma()", kind=BadType)
        if key in ends:
            continue
        modules = None if isinstance(key, str) and key in table.entries else modules_of(key, model)
        if modules is None:
            name = table.name_of(key)
            placed = isinstance(rule, Weighted) and name in WEIGHTED
            (by_name if placed else others)[name] = rule
            continue
        without = all(map(_without_weights, modules))
        if isinstance(rule, Weighted):
            _check_weights(key, rule, modules if without else [])
            by_module.update(dict.fromkeys(modules, rule))
        itself = key in modules and not isinstance(key, _LAYERS)
        if not isinstance(rule, Weighted) or (rule.otherwise and (without or itself)):
            others.update(dict.fromkeys(modules, rule))
    follow = made.following(ends, by_name, by_module)
    return made.table(follow) | others, follow


def _without_weights(module: nn.Module) -> bool:
    """Whether a module of torch's own has no weights that values are multiplied and summed up with, as a norm."""
    inner = next(module.children(), None) is not None or any(p.ndim > 1 for p in module.parameters())
    return type(module).__module__.startswith("torch.nn.") and not inner


def _check_weights(key: Any, rule: Weighted, bare: list[nn.Module]) -> None:
    """Refuse a rule of weights for modules that have none, of which it would be passed over."""
    if bare and rule.otherwise is None:
        kinds = ", ".join(sorted({type(module).__name__ for module in bare}))
        instead = "A batch norm is merged into the layer beside it: set the rule there. `epsilon` fits any operation."
        refuse("rules", f"{rule!r} for {key!r} ({kinds})", "layers with weights, as Linear or Conv2d", instead)
