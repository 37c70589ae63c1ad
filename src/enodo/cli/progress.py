"""The progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[[int, int], None]


@contextmanager
def progress_bar(wanted: bool | None) -> Iterator[Callable[[str], Update | bool]]:
    """A maker of progress functions, one a task; by default there is a bar only where standard error is a terminal."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield lambda title: False
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=sys.stderr.isatty()) as progress:

        def task(title: str) -> Update:
            number = progress.add_task(title, total=None)
            return lambda done, planned: progress.update(number, completed=done, total=planned)

        yield task
