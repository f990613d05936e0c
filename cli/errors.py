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
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            if isinstance(error, BrokenPipeError):
                # The reader of stdout left, as `head` does: nothing to report.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                ctx.exit(1)
            raise click.ClickException(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    if isinstance(error, MemoryError):
        return "memory: this needs more than the machine has; lower k or n"
    text = " ".join(str(error).split())
    return text or type(error).__name__
