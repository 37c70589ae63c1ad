"""Standard output, for people and for pipes."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED = 400  # columns where nobody looks: nothing is cut or wrapped that another program may want to read


def output() -> Console:
    """A console on standard output; colours only on a terminal, and not with NO_COLOR."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED)
