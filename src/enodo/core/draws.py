"""Random numbers that a model draws as it runs: noticed, and the same in every pass of a question.

A model that draws (dropout that stays on, a sampled code, a hash) answers otherwise at each call, so that what two of
its passes differ by says nothing about their inputs. Of such a model every pass starts from the draws that the seed of
the question names and has one row, whose draws then do not depend on its mates: it is a function again, one of many.

Models that are not known to draw are watched. Where torch's global generators have moved during a pass (the first time
also those of numpy, of Python, and those that modules keep), another thread may have moved them: one more pass, in
which the operations of this thread are seen, tells. The answer is kept for as long as the model lives.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .streams import named
from .threads import at_fork

NEVER, TORCH, BEYOND = 0, 1, 2  # a model draws no random numbers, torch's, others
_known: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # by model
_swapped = threading.RLock()  # held while a global generator is in a state of ours: for a whole pass

States = list[tuple[Any, Any]]  # generators, each with its state


def _let_go() -> None:
    """Nobody holds the lock in the child of a fork; who waited for it instead could wait for a pass that forks."""
    global _swapped  # noqa: PLW0603
    _swapped = threading.RLock()


at_fork(after_in_child=_let_go)


class Drew(Exception):
    """A pass drew random numbers, of a model that was not known to: what was asked has to be asked again."""


class Draws:
    """The random numbers of the passes of one question."""

    def __init__(self, model: Any, seed: int) -> None:
        self.model, self.seed = model, seed
        module = isinstance(model, nn.Module)
        self.watched = module or not getattr(model, "watches", False)  # not what makes passes of its own
        try:
            found = _known.get(self.model)
        except TypeError:  # an object that cannot be remembered
            found = None
        self.known = found is not None
        self.kind = found or NEVER
        self.met = NEVER  # what passes of this question drew

    @property
    def note(self) -> str:
        """What a reader is to be told of them."""
        return (
            "The model draws random numbers as it runs. All passes had the draws that"
            f" seed={self.seed} names, so this is the answer of one draw: average answers over seeds, or switch the"
            " drawing off."
        )

    def before(self) -> States | None:
        """The states of generators before a pass that is watched; None of one that is not."""
        if self.kind or not self.watched:
            return None
        return _states([*_globals(), *(() if self.known else _beyond(self.model))])

    def suspects(self, before: States | None, whole: bool) -> bool:
        """Whether a generator has moved since; if none has in a `whole` pass, the model is known to be quiet."""
        if before is None:
            return False
        if any(_state(g) != state for g, state in before):
            return True
        if whole and not self.known:
            self._learn(NEVER)
        return False

    def confirm(self, before: States, run: Callable[[Draws], object]) -> None:
        """Find out in one more pass, which `run` makes, whether it was the model; what it moved is put back."""
        trial = Draws(self.model, self.seed)
        trial.kind = BEYOND
        run(trial)
        self._learn(trial.met)
        if self.kind:
            put_back(before)

    def _learn(self, kind: int) -> None:
        self.known, self.kind = True, kind
        self._remember(kind)

    def _remember(self, kind: int) -> None:
        with suppress(TypeError):
            _known[self.model] = kind

    def contexts(self, whole: bool) -> list[Any]:
        """What a pass of a model that draws has to run within; a `whole` one is not left early."""
        return [self._settled(whole)] if self.kind else []

    @contextmanager
    def _settled(self, whole: bool) -> Iterator[None]:
        """All random numbers come from the seed, and no generator is found to have moved."""
        mode = Settled(named(self.seed, ()))
        with mode if self.kind == TORCH else self._beyond_settled(mode):
            yield
        self.met = max(self.met, TORCH if mode.met else NEVER)
        if whole and self.known and not self.met:  # it used to draw, in train mode perhaps; this question goes on
            self._remember(NEVER)

    @contextmanager
    def _beyond_settled(self, mode: Settled) -> Iterator[None]:
        with _swapped:
            before = _states(_beyond(self.model))
            try:
                for generator, _ in before:
                    _start(generator, mode.seed)
                started = _states(generator for generator, _ in before)
                with mode:
                    yield
                if any(_state(generator) != state for generator, state in started):
                    self.met = BEYOND
            finally:
                put_back(before)


class Certain(Draws):
    """Of a model of which it is certain that it draws nothing."""

    def __init__(self) -> None:
        super().__init__(None, 0)
        self.watched, self.known = False, True


CERTAIN = Certain()


def draws_of(model: Any) -> bool:
    """Whether a model is known to draw random numbers."""
    return bool(Draws(model, 0).kind)


class Settled(TorchDispatchMode):
    """Random operations of torch, wherever they stand, draw from generators of one pass, made from a seed.

    Those that take no generator draw from the global one, which for as long is in the state of ours.
    """

    supports_higher_order_operators = True

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed, self.met = seed, False
        self.ours: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        random, takes = _is_random(func)
        if not random:
            return func(*args, **kwargs)
        device = _device(args, kwargs)
        if device.type == "meta":
            return func(*args, **kwargs)
        if device not in self.ours:
            self.ours[device] = torch.Generator(device).manual_seed(self.seed)
        ours = self.ours[device]
        if takes:
            self.met = True
            return func(*args, **kwargs | {"generator": ours})
        with _swapped:
            theirs = _global_of(device)
            before, started = state_of(theirs), state_of(ours)
            try:
                theirs.set_state(started)
                return func(*args, **kwargs)
            finally:
                ours.set_state(state_of(theirs))
                theirs.set_state(before)
                self.met = self.met or not torch.equal(started, state_of(ours))


@lru_cache(maxsize=4096)
def _is_random(func: Any) -> tuple[bool, bool]:
    """Whether an operation may draw random numbers, and whether it takes a generator to draw from."""
    random = torch.Tag.nondeterministic_seeded in getattr(func, "tags", ())
    return random, random and any(a.name == "generator" for a in func._schema.arguments)


def _device(args: Any, kwargs: Any) -> torch.device:
    """Where an operation takes place."""
    given = kwargs.get("device")
    tensors = (t for a in (*args, *kwargs.values()) for t in (a if isinstance(a, (list, tuple)) else (a,)))
    device = next((t.device for t in tensors if isinstance(t, Tensor)), "cpu") if given is None else given
    device = torch.device(device)
    return torch.device(device.type, torch.cuda.current_device()) if str(device) == "cuda" else device


def _globals() -> list[torch.Generator]:
    """Torch's global generators: of the CPU, and of GPUs that are in use."""
    gpus = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return [torch.default_generator, *gpus]


def _global_of(device: torch.device) -> torch.Generator:
    if device.type == "cpu":
        return torch.default_generator
    found: torch.Generator = torch.get_device_module(device).default_generators[device.index or 0]
    return found


_KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def _beyond(model: Any) -> Iterator[Any]:
    """Generators beyond torch's global ones: of numpy and of Python, and those that a model keeps in attributes."""
    yield from (np.random, random)
    owner = getattr(model, "__self__", model)
    for holder in owner.modules() if isinstance(owner, nn.Module) else [owner]:
        yield from (value for value in getattr(holder, "__dict__", {}).values() if isinstance(value, _KINDS))


def _states(generators: Any) -> States:
    return [(generator, _state(generator)) for generator in generators]


def state_of(generator: torch.Generator) -> Tensor:
    """The state of one of torch's generators, read off a copy, so that threads cannot block each other.

    torch locks a generator until there is a tensor to return. If making that has Python collect garbage, code may run
    and another thread get its turn: should that one want the lock too, it waits for it, and all others for that one.
    The copy is nobody else's, and making it collects no garbage.
    """
    return generator.clone_state().get_state()


def _state(generator: Any) -> Any:
    """The state of a generator, as what can be compared."""
    if isinstance(generator, torch.Generator):
        return state_of(generator).numpy().tobytes()
    if generator is random or isinstance(generator, random.Random):
        return generator.getstate()
    own = isinstance(generator, np.random.Generator)
    return _frozen(generator.bit_generator.state if own else generator.get_state(legacy=False))


def _frozen(state: Any) -> Any:
    if isinstance(state, Mapping):
        return tuple((name, _frozen(part)) for name, part in state.items())
    return (state.tobytes(), state.dtype.str) if isinstance(state, np.ndarray) else state


def _thawed(state: Any) -> Any:
    """The inverse of `_frozen`."""
    if isinstance(state, tuple) and isinstance(state[0], tuple):
        return {name: _thawed(part) for name, part in state}
    return np.frombuffer(*state).copy() if isinstance(state, tuple) else state


def put_back(states: States) -> None:
    """Generators in the states that they had."""
    for generator, state in states:
        if isinstance(generator, torch.Generator):
            generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
        elif generator is random or isinstance(generator, random.Random):
            generator.setstate(state)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = _thawed(state)
        else:
            generator.set_state(_thawed(state))


def _start(generator: Any, seed: int) -> None:
    """A generator at the start of a seed."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    else:
        generator.seed(seed)
