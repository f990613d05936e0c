"""Commands run in this process, and what each refusal of one has to look like."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner, Result
from processes import KOFN

from kofn.cli import main
from kofn.engine.files import KofnFileError
from kofn.engine.game_files import load_game

# A lamp and walkers between two rooms: solved in a few sweeps, with randomness in both transitions.
GAME = """
name = "rooms"
description = "A lamp and walkers"
gamma = 0.5
agents = 4
[global]
states = ["off", "on"]
actions = [0, 1]
[local]
states = ["a", "b"]
actions = ["stay", "swap"]
[functions]
global_reward = "1.0 if global_state == 'on' else 0.0"
global_transition = "return 'on' if random.random() < 0.3 + 0.4 * global_action else 'off'"
local_reward = "(2.0 if local_state == 'a' else 0.5) - (0.2 if local_action == 'swap' else 0.0)"
local_transition = '''
def walk(local_state, global_state, local_action):
    if local_action == "swap" and random.random() < 0.8:
        return "b" if local_state == "a" else "a"
    return "a" if global_state == "on" and random.random() < 0.5 else local_state
'''
"""


def write_game(folder: Path, *replacements: tuple[str, str], name: str = "rooms.toml") -> Path:
    """Write the game, with some of its text replaced; fail if a text to replace is not there once."""
    text = GAME
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def run(*arguments: Any) -> Result:
    """Run a command; an exception that would be a traceback is raised here.

    Lines of progress that only come when work takes seconds do not come: machines differ.
    """
    with mock.patch("kofn.cli.progress.LOG_INTERVAL_S", math.inf):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def succeed(*arguments: Any) -> str:
    """Run a command that has to succeed; what it says on stdout."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*arguments: Any, code: int = 1) -> str:
    """Run a command that has to be refused in one line on stderr, with click's lines of usage for exit code 2."""
    result = run(*arguments)
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert result.stdout == ""
    *before, message = result.stderr.splitlines()
    if code == 2:
        before = [line for line in before if line and not line.startswith(("Usage: ", "Try ", " "))]
    assert before == []
    assert message.startswith("Error: ")
    return message.removeprefix("Error: ")


def refusal_of(function: Any, *arguments: Any, **settings: Any) -> str | None:
    """The message of the KofnFileError that a call raises, which is one line; None if it raises none."""
    try:
        function(*arguments, **settings)
    except KofnFileError as error:
        message = str(error)
    else:
        return None
    assert "\n" not in message
    return message


def refusal_of_game(path: str | Path) -> str:
    """The message of the ValueError with which `load_game` refuses a file or a name, which is one line."""
    with pytest.raises(ValueError) as caught:
        load_game(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def strict_json(text: str) -> Any:
    """Parse JSON as its standard has it, without NaN and Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Fail unless every file below a folder is as it was, with no file more and none less."""
    before = _bytes_of_files(folder)
    yield
    after = _bytes_of_files(folder)
    assert after.keys() == before.keys()
    assert after == before


def _bytes_of_files(folder: Path) -> dict[str, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def shell(line: str, folder: Path, **environment: str | None) -> tuple[int, str, str]:
    """Run a line of bash with the present kofn first on the path; exit code, stdout, stderr. None unsets a variable."""
    env = {key: value for key, value in (os.environ | environment).items() if value is not None}
    env["PATH"] = f"{KOFN.parent}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, errors="replace", timeout=300
    )
    return done.returncode, done.stdout, done.stderr
