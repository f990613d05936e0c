"""What a command does with bad input: one line on stderr and the right exit code, never a traceback."""

from __future__ import annotations

import os
import sys
from typing import Any

import click


class KofnCommand(click.Command):
    """A command that turns the engine's refusals into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, RuntimeError, ArithmeticError, MemoryError) as error:
            message = one_line(error)
            if isinstance(error, OSError) and not _stdout_takes_what_it_got():
                if isinstance(error, BrokenPipeError):
                    # The reader of stdout left, as `head` does: nothing to report.
                    ctx.exit(1)
                message = f"stdout: {error.strerror}"
            raise click.ClickException(message) from error


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    if isinstance(error, MemoryError):
        return "memory: this needs more than the machine has; lower k or n"
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split()) or type(error).__name__


def _stdout_takes_what_it_got() -> bool:
    """Whether stdout can be written; if not, the rest goes nowhere, as it would fail once more at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
