"""What threads that ask at once have in common: switches of the process, and values that are worked out once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

__all__ = ["Switch", "at_fork", "cached_property"]

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:
        """`functools.cached_property` as it is from Python 3.12 on: no thread waits for another's value.

        Before, one lock is held for all instances while a value is worked out. Where that takes a pass of the model,
        who waits for a lock of the model's own waits for ever if the one who holds it asks for such a value too.
        """

        def __init__(self, fn: Callable[[Any], Any]) -> None:
            self.fn, self.__doc__ = fn, fn.__doc__

        def __get__(self, owner: Any, kind: type | None = None) -> Any:
            if owner is None:
                return self
            value = owner.__dict__[self.fn.__name__] = self.fn(owner)  # found there before this is asked again
            return value


def at_fork(**calls: Callable[[], object]) -> None:
    """As `os.register_at_fork`, where processes fork: a child has none but the thread that forked.

    A lock that another thread held would stay held there for ever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**calls)


class Switch:
    """A switch of the whole process, which the first thread to come inside turns and the last to leave turns back.

    If each put back what it found, a thread would turn it back on those still inside, and the last to leave would put
    back what another had set.
    """

    def __init__(self, turned: Callable[[], AbstractContextManager[Any]]) -> None:
        self.turned, self.inside, self.context = turned, list[int](), ExitStack()
        self.lock = threading.RLock()  # one that code run by the collection of garbage may take again
        at_fork(before=self.lock.acquire, after_in_parent=self.lock.release, after_in_child=self._forked)

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.context.enter_context(self.turned())
            self.inside.append(threading.get_ident())

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside.remove(threading.get_ident())
            if not self.inside:
                self.context.close()

    def _forked(self) -> None:
        """Forget the threads that a child has not, as they will never leave."""
        self.inside = [thread for thread in self.inside if thread == threading.get_ident()]
        if not self.inside:
            self.context.close()
        self.lock.release()
