"""What a command does with bad input: one line on stderr and the right exit code, never a traceback."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from typing import Any

import click


class StdoutError(Exception):
    """What is printed for the user does not arrive."""


def say(text: str) -> None:
    """Print data on stdout; StdoutError if it cannot be written, so that this is no error of the command's work."""
    try:
        click.echo(text)
    except OSError as error:
        raise StdoutError(f"stdout: {error.strerror}") from error


def say_json(values: dict[str, Any]) -> None:
    """Print JSON on stdout. It has no NaN and no infinity: an interval that cannot be given is null."""
    import json

    say(json.dumps(_finite(values), indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class KofnCommand(click.Command):
    """A command that turns the engine's refusals into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StdoutError as error:
            discard(sys.stdout)
            if isinstance(error.__cause__, BrokenPipeError):
                # The reader left, as `head` does: nothing to report.
                ctx.exit(1)
            raise click.ClickException(str(error)) from error
        except (ValueError, OSError, RuntimeError, ArithmeticError, MemoryError) as error:
            raise click.ClickException(one_line(error)) from error


class KofnGroup(click.Group):
    """A group whose help and whose error messages can meet a full disk as well."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            discard(sys.stdout)
            try:
                click.ClickException(f"stdout: {error.strerror}").show()
            except OSError:
                discard(sys.stderr)
            sys.exit(1)


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    if isinstance(error, MemoryError):
        return "memory: this needs more than the machine has; lower k or n"
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split()) or type(error).__name__


def discard(stream: Any) -> None:
    """Let what is still to be written go nowhere: it would fail once more when the process ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
