"""The commands in one application, and what happens when something goes wrong.

Exit codes: 0 done; 1 the question cannot be answered (bad input, unknown name, a model that returns NaN ...); 2 the
command was typed wrongly; 70 an error nobody foresaw, in the model or in enodo; 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from enodo.cli.explain import compare, explain, report
from enodo.cli.inspect import inspect
from enodo.cli.listing import methods, models
from enodo.core.errors import EnodoError
from enodo.io.packages import MissingPackage
from enodo.version import __version__

DONE, BAD_INPUT, USAGE, FAILED, INTERRUPTED = 0, 1, 2, 70, 130

# The class that every mistake in typing a command is an instance of; typer moved it between its releases.
ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

EPILOG = (
    "Results go to standard output, progress and messages to standard error. Exit codes: 0 done, 1 bad input, 2 wrong "
    "command, 70 unforeseen error, 130 interrupted. NO_COLOR=1 turns colours off."
)

app = typer.Typer(
    name="enodo",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
app.command()(explain)
app.command()(compare)
app.command()(report)
app.command()(methods)
app.command()(models)
app.command()(inspect)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"enodo {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Explain what a PyTorch model answers: which parts of the input spoke for it, and which against."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; errors are told in one sentence on standard error."""
    arguments, debug = _without_debug(list(arguments) or ["--help"])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest, **more: _say(f"note: {message}")
            if not debug:
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                warnings.filterwarnings("ignore", category=FutureWarning)
            code = app(arguments, standalone_mode=False, prog_name="enodo")
            sys.stdout.flush()
        if code == INTERRUPTED:
            raise KeyboardInterrupt  # typer has made an exit code of it already
        return code if isinstance(code, int) else DONE
    except (BrokenPipeError, SystemExit) as error:  # the reader of a pipe went away, as `head` does
        if not isinstance(error.__context__ or error, BrokenPipeError):  # of which rich and typer make an exit
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a program ends with a sentence, not a traceback
        code, sentence = _told(error)
        _say(sentence if debug or code != FAILED else f"{sentence} Run it again with --debug to see where.")
        if debug:
            traceback.print_exception(error)
        return code


def _told(error: BaseException) -> tuple[int, str]:
    """(exit code, sentence) for an error."""
    if isinstance(error, ClickException):
        return USAGE, f"{error.format_message()} (see: enodo --help)"  # type: ignore[attr-defined]
    if isinstance(error, MissingPackage):
        return USAGE, str(error)
    if isinstance(error, ModuleNotFoundError):
        return USAGE, f"this needs the package {error.name}; write: pip install 'enodo[all]'."
    if isinstance(error, EnodoError):
        return BAD_INPUT, " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:  # no right to read it, a name too long ...
        return BAD_INPUT, f"{error.strerror}: {str(error.filename)[:80]!r}."
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED, "interrupted"
    told = " ".join(str(error).split())[:300]
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
    return FAILED, f"the model or enodo failed: {type(error).__name__}: {told}.{notes}"


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without --debug, which may stand before or after the command's name, but not after "--"."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"]
    return kept + arguments[end:], len(kept) < end


def _say(message: str) -> None:
    """A message on standard error, in red where it is a terminal and colours are wanted."""
    name = "enodo:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        name = f"\x1b[1;31m{name}\x1b[0m"
    sys.stderr.write(f"{name} {message}\n")
    sys.stderr.flush()
