"""`Rules`: the gradient under other laws.

A rule says what "gradient" means for one operation. `Rules(table)` is a function mode: it sees each operation of a
forward pass as the model runs, however it is spelt (a function, a method, an operator, in place, inside a module), and
gives those in the table their rule as backward. Autograd stays the tape.

    >>> import torch
    >>> from enodo.core.tables import PLAIN_TABLE
    >>> import torch.nn.functional as F
    >>> def straight_through(op):                       # the gradient passes as if the operation were not there
    ...     return lambda gy: [gy]
    >>> x = torch.tensor([-1.0, 2.0], requires_grad=True)
    >>> with Rules(PLAIN_TABLE | {F.relu: straight_through}):
    ...     y = (3 * x).relu()
    >>> torch.autograd.grad(y.sum(), x)[0]
    tensor([3., 3.])

A rule is a function of an `Op`, run during the forward pass; what it returns is run in the backward pass, on the
gradient of the operation's result, and returns a gradient (or None) for each operand. It keeps what it computes, not
the tensors it was given: code of the model may write into those later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import tree as trees
from .errors import refuse, warn
from .ledger import Ledger
from .nodes import Waiting, made_within, ruled
from .operations import (
    Bound,
    Spelling,
    Spot,
    caller,
    computes,
    is_live,
    mark_constants,
    opened,
    out_of_place,
    parts,
    rests,
    running_module,
    spelling,
    unmark,
)
from .pairs import Pairs
from .points import bend
from .products import done
from .tables import Bend, Decompose, Depends, Plain, Refuse, Rule, Table, UnknownOperation, own
from .transforms import has_path, level

_MOVES = frozenset("view reshape flatten transpose permute squeeze unsqueeze clone contiguous expand getitem".split())
_SEALED = "Write it in operations of torch, or give its function a rule (enodo.rules.operation)"
_TAKE_GRADIENTS = frozenset((torch.autograd.grad, torch.autograd.backward, Tensor.backward))
_UNRULED = "Give a rule of your own, rules={{{!r}: rule}}"
_TAKEN = "Use a method without rules, such as integrated_gradients, or explain what it takes gradients of"
_sequence: Callable[[], int] = torch._C._autograd._get_sequence_nr  # counts the nodes that this thread's graphs get


class Rules(TorchFunctionMode):
    """The mode of a pass under a table.

    table       what each operation means
    on_unknown  "error", "warn" (its own gradient, and a warning), or a function of (name, Spot)
    record      write what ruled operations work on into a ledger, and leave their gradients alone
    at          the ledger of a pass at the baseline, for tables that compare
    true        the ledger of a pass at the inputs that kept its graph, so that what rules compute is differentiable
    pairs       in the place of `at`, where rules wait for the backward pass to name the baselines
    beside      a ledger still to be read, which the model is not to write to (what it keeps lies where it lay before)
    report      told of each operation on the path: (name, kind, Spot)
    """

    one_by_one = False  # whether gradients of several scores are taken one after the other

    def __init__(
        self,
        table: Table,
        *,
        on_unknown: str | Callable[[str, Spot], None] = "error",
        record: Ledger | None = None,
        at: Ledger | None = None,
        true: Ledger | None = None,
        pairs: Pairs | None = None,
        beside: Ledger | None = None,
        report: Callable[[str, str, Spot], None] | None = None,
    ) -> None:
        super().__init__()
        if not callable(on_unknown) and on_unknown not in ("error", "warn"):
            refuse("on_unknown", on_unknown, '"error", "warn" or a function')
        alone = record is None and at is None and pairs is None
        if table.compares and alone and report is None:
            refuse("table", "one that compares with a baseline", "a ledger of a pass at the baseline", "Give `at`.")
        self.table, self.on_unknown = table, on_unknown
        self.record, self.at, self.true, self.pairs, self.report = record, at, true, pairs, report
        here = None if pairs is None else pairs.here
        self._ledgers = [ledger for ledger in (record, at, true, here, beside) if ledger is not None]
        self._begun = alone and true is None  # else a pass says when (`start`)
        self._bends = self._begun and report is None and table.trail is None
        # whether the graph of this pass reaches back to parameters and inputs
        self._keeps = true is not None or (record is not None and record.keep)
        self._hidden: list[range] = []  # numbers of the nodes that were made out of sight
        self._inside: list[Any] = []  # composites that are now being done; one met within itself is none

    def __enter__(self) -> Rules:
        super().__enter__()  # type: ignore[no-untyped-call]
        self.begin()
        return self

    def begin(self) -> None:
        """Be told that a pass begins, or goes on."""
        self._nodes = _sequence()
        if not self._inside:
            self._level = level()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.met(func, args, kwargs or {})

    def met(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a call that the model makes, as the table has it."""
        met = spelling(func)
        if met.about:
            return func(*args, **kwargs)
        in_place = (met.in_place or bool(kwargs.get("inplace"))) and not rests(met.name, args, kwargs)
        if in_place or "out" in kwargs:
            self._before_write(kwargs["out"] if "out" in kwargs else args[0] if args else kwargs.get("input"))
        if not torch.is_grad_enabled():  # also inside an autograd.Function, whose node is there already
            return func(*args, **kwargs)
        if self._begun and level() != self._level and has_path((args, kwargs)):
            if not isinstance(self.table.entries.get(met.name, self.table.others), Plain):
                self._refuse(met.name, "within torch.func (vmap, grad, jvp ...), where rules have no say", _SEALED)
            out = func(*args, **kwargs)
            self._nodes = _sequence()
            return out
        if self._begun and (now := _sequence()) != self._nodes:  # also before a call on constants, which is forgotten
            self._look_back(now)
        if self._begun and (any(map(is_live, args)) or (kwargs and any(map(is_live, kwargs.values())))):
            if self._hidden:
                self._check((args, kwargs))
            out = self._treat(func, met, in_place, args, kwargs)
            if in_place and args:
                unmark(args[0])
        else:
            out = func(*args, **kwargs)
            if self._keeps:
                mark_constants(args, kwargs, out)
        if self.table.trail is not None:
            self.table.trail.after(met.name, args, kwargs, out)
        self._nodes = _sequence()
        return out

    def _before_write(self, target: Any) -> None:
        """Be told what a call is about to write to."""
        for t in parts(target):
            for ledger in self._ledgers if isinstance(t, Tensor) else ():
                ledger.before_write(t)
        if self.table.trail is not None:
            self.table.trail.before_write()

    def _found(self, func: Any, met: Spelling, in_place: bool, args: Any, kwargs: Any) -> Any:
        """What the table says of a call: for the module that is running, or for the operation."""
        treatment = self.table.entries.get(met.name)
        if self.table.modules and not self._inside and met.name not in _MOVES:
            special = self.table.modules.get(running_module())
            if special is not None and (treatment is not None or in_place or computes(func, args, kwargs)):
                treatment = special
        return treatment.choose(*args, **kwargs) if isinstance(treatment, Depends) else treatment

    def _treat(self, func: Any, met: Spelling, in_place: bool, args: Any, kwargs: Any) -> Any:
        if func in _TAKE_GRADIENTS:
            self._refuse(met.name, "which takes gradients within the model, and rules would bend those", _TAKEN, False)
            return func(*args, **kwargs)
        treatment = self._found(func, met, in_place, args, kwargs)
        if treatment is None:
            if met.composite and func not in self._inside:
                self._tell(met.name, "decomposed")
                with self._within(func):
                    return opened(func)(*args, **kwargs)
            if self.table.others is None or self.report is not None:
                return self._unknown(func, met.name, args, kwargs)
            treatment = self.table.others
        if isinstance(treatment, Plain):
            self._tell(met.name, "linear")
            if not self._keeps or treatment.moves or not (in_place or computes(func, args, kwargs)):
                return done((treatment.by if treatment.alone or self.pairs else None) or func, args, kwargs)
            treatment = own  # what its gradient keeps are then values that no rule has bent
        if isinstance(treatment, Bend) and self._bends and not (in_place and args and args[0]._is_view()):
            out = func(*args, **kwargs)
            bend(out, treatment.fn)
            return out
        if isinstance(treatment, Refuse):
            self._refuse(met.name, f"which {treatment.why}")
            return func(*args, **kwargs)
        if in_place and args:
            return self._in_place(func, met.name, args, kwargs, getattr(treatment, "closed", False))
        if isinstance(treatment, Decompose):
            self._tell(met.name, "decomposed")
            with self._within(None):
                return treatment.fn(*args, **kwargs)
        self._tell(met.name, "ruled")
        return self._ruled(Bound(func, args, kwargs), met.name, treatment)

    def _ruled(self, call: Bound, name: str, rule: Rule) -> Any:
        xs = call.operands
        if self.report is not None:
            return call.as_given()
        if self.record is not None:
            out = call.as_given()
            self.record.add(call, name, parts(out), getattr(rule, "needs_result", True))
            self._follow(call, rule, out)
            return out
        if self.pairs is not None:
            out = Waiting.apply(call, name, rule, self.pairs, *xs)  # type: ignore[no-untyped-call]
        else:
            at = self.at.next(name, xs) if self.at is not None else None
            true = self.true.next(name, xs) if self.true is not None else None
            out = ruled(call, name, rule, at, true)
        self._follow(call, rule, out)
        return call.named(out) if isinstance(out, tuple) else out

    def _follow(self, call: Bound, rule: Rule, out: Any) -> None:
        if self.table.trail is not None:
            self.table.trail.made(call, rule, out)

    def _in_place(self, func: Any, name: str, args: Any, kwargs: Any, closed: bool) -> Any:
        """What an in-place operation writes is computed beside it, and then written; from a copy, if that is kept."""
        kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
        target: Tensor = args[0]
        kept = not (closed and self.true is None and self.record is None and self.pairs is None)
        with self:
            y = out_of_place(func, name)(target.clone() if kept else target, *args[1:], **kwargs)
        return target.copy_(y)

    @contextmanager
    def _within(self, func: Any) -> Iterator[None]:
        self._inside.append(func)
        try:
            with self:
                yield
        finally:
            self._inside.pop()

    def start(self, t: Tensor) -> None:
        """Be told of a tensor that gradients are taken of: what the pass did before is no business of rules."""
        self._begun = True
        unmark(t)

    def finish(self, output: Any) -> None:
        """Refuse an output that was made out of sight."""
        if (now := _sequence()) != self._nodes:
            self._look_back(now)
        if self._hidden:
            self._check(output)

    def _look_back(self, now: int) -> None:
        """Take note of nodes that have come into the graph since the last operation seen: made out of sight."""
        self._hidden.append(range(self._nodes, now))
        self._nodes = now

    def _check(self, values: Any) -> None:
        """Refuse values that were made out of sight."""
        name = made_within(self._hidden, values)
        if name is not None:
            self._refuse(name, "code into which rules cannot see", _SEALED)

    def _unknown(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        if not any(isinstance(t, Tensor) and t.requires_grad for _, t in trees.leaves(out)):
            return out  # a comparison, a shape, a detached value
        if self.table.others is None:
            self._refuse(name, "for which there is no rule")
        else:
            self._tell(name, "plain")
        return out

    def _refuse(self, name: str, why: str, remedy: str = _UNRULED, lenient: bool = True) -> None:
        spot = caller()
        if self.report is not None:
            self.report(name, "unknown", spot)
        elif lenient and callable(self.on_unknown):
            self.on_unknown(name, spot)
        elif lenient and self.on_unknown == "warn":
            warn(f"{name!r} at {spot}, {why}: its own gradient is taken.")
        else:
            given = f"the operation {name!r} at {spot}, {why}"
            instead = remedy.format(name) + (", or take its own gradient: on_unknown='warn'." if lenient else ".")
            raise UnknownOperation("model", given, "operations that the table of rules treats", instead)

    def _tell(self, name: str, kind: str) -> None:
        if self.report is not None and not self._inside:
            self.report(name, kind, caller())
