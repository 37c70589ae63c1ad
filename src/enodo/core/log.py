"""What a call leaves behind besides its answer: notes, counts, errors, and its progress while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .errors import BadType, describe, refuse
from .values import Values, concat


class Log:
    """Evidence gathered while a method runs; one for the whole call, shared by its blocks of rows."""

    def __init__(self, progress: bool | Callable[[int, int], None] = False) -> None:
        self.notes: list[str] = []
        self.rows = 0  # rows forwarded through the model
        self.planned = 0
        self.stderr: list[Values] = []
        self.error: list[Tensor] = []
        if not isinstance(progress, bool) and not callable(progress):
            refuse(
                "progress", describe(progress), "True, False or a function of (rows done, rows planned)", kind=BadType
            )
        self._bar = _bar() if progress is True else progress or None

    def note(self, text: str) -> None:
        """A sentence for the reader of the result, said once."""
        if text not in self.notes:
            self.notes.append(text)

    def plan(self, rows: int) -> None:
        """Announce rows still to be forwarded, for the progress bar."""
        self.planned += rows
        self.show()

    def forwarded(self, rows: int) -> None:
        """Count rows forwarded."""
        self.rows += rows
        self.show()

    def show(self) -> None:
        """Report progress: rows done, rows known to come."""
        if self._bar is not None:
            self._bar(self.rows, max(self.planned, self.rows))

    def close(self) -> None:
        """End the progress bar."""
        close = getattr(self._bar, "close", None)
        if close is not None:
            close()

    def whole(self, many: bool) -> tuple[Values | None, Tensor | None]:
        """Standard error and attribution error of all rows."""
        stderr = concat(self.stderr, int(many)) if self.stderr else None
        return stderr, torch.cat(self.error, -1) if self.error else None


def _bar() -> Callable[[int, int], None]:
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError(
            "progress=True needs tqdm: pip install tqdm, or give a function of (rows done, rows planned)"
        ) from None
    bar: Any = tqdm(unit="row", leave=False)

    def update(done: int, planned: int) -> None:
        bar.total = planned
        bar.update(done - bar.n)

    update.close = bar.close  # type: ignore[attr-defined]
    return update
