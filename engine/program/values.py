"""Values, limits and the running state of a program text.

A program knows whole numbers, floats, booleans, text, ``None``, lists, tuples and ranges, nothing else. Every operation
whose work is not bounded by the length of the text pays for it in steps *before* it does the work, so that the step
budget bounds time and memory.
"""

from __future__ import annotations

import numbers
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .randomness import Branches

MAX_SOURCE_LENGTH = 20_000
MAX_NESTING = 100
MAX_STEPS = 200_000
MAX_LENGTH = 100_000
MAX_TEXT_LENGTH = 1_000
MAX_VALUE_DEPTH = 20
INT_LIMIT = 2**64


class Refusal(Exception):
    """A program asked for what it may not have, or failed; turned into a ``ProgramError`` with the program's name."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Function(NamedTuple):
    """A function that a program may call: ``call(run, *arguments)``, how many arguments, and which keywords."""

    call: Callable[..., Any]
    least: int
    most: int
    keywords: frozenset[str] = frozenset()


class ConstantList(list[Any]):
    """A list that came from outside the program: it reads as a list, and element assignment refuses it."""

    __slots__ = ()


NUMBERS = frozenset({bool, int, float})
SCALARS = frozenset({bool, int, float, str, type(None)})
CONTAINERS = frozenset({list, ConstantList, tuple})
SEQUENCES = frozenset({list, ConstantList, tuple, str, range})
ITERATORS = frozenset({type(iter([])), types.GeneratorType})
_KINDS = {
    bool: "a boolean",
    int: "a whole number",
    float: "a float",
    str: "text",
    type(None): "None",
    list: "a list",
    ConstantList: "a list",
    tuple: "a tuple",
    range: "a range",
}


class Run:
    """One run of a program from its start.

    Attributes
    ----------
    variables : list
        One value per variable, ``UNBOUND`` until assigned.
    steps : int
        What is left of the step budget; one step is about one node of the syntax tree, or one element handled.
    branches : Branches or None
        Decides the draws; ``None`` where draws are not possible.
    line : int
        The line being run, for messages.
    result
        The value of the ``return`` statement.
    """

    __slots__ = ("branches", "line", "result", "steps", "variables")

    def __init__(self, variables: list[Any], branches: Branches | None, line: int) -> None:
        self.variables = variables
        self.steps = MAX_STEPS
        self.branches = branches
        self.line = line
        self.result: Any = None

    def spend(self, steps: int) -> None:
        """Pay for work that is about to be done."""
        if steps > self.steps:
            raise Refusal(f"runs for more than {MAX_STEPS:,} steps")
        self.steps -= steps


def kind(value: Any) -> str:
    """Say in words what a value is."""
    return _KINDS.get(type(value)) or str(getattr(value, "kind", "an iterator"))


def bounded(value: Any) -> Any:
    """Pass a result on unless it is a whole number out of bounds."""
    if type(value) is int and not -INT_LIMIT < value < INT_LIMIT:
        raise Refusal("a whole number of 2**64 or more, expected a smaller one")
    return value


def iterable(value: Any) -> Iterable[Any]:
    """Pass on what a ``for`` loop may walk; the walker pays for the steps."""
    if type(value) in SEQUENCES or type(value) in ITERATORS:
        return value
    raise Refusal(f"expected a list, a tuple or a range to go through, found {kind(value)}")


def items_of(run: Run, value: Any) -> Any:
    """Take all elements of an iterable as a sequence, and pay for them."""
    sequence = iterable(value)
    if type(value) in ITERATORS:
        sequence = list(sequence)
    run.spend(len(sequence))  # type: ignore[arg-type]
    return sequence


def weigh(run: Run, value: Any, depth: int = 0) -> int:
    """Count a value's elements at all levels, and pay for them: what comparing or copying it may cost.

    A list can hold another one many times over, so the count can be exponential in the memory used.
    """
    if type(value) not in CONTAINERS:
        return 1
    if depth == MAX_VALUE_DEPTH:
        raise Refusal(f"lists nested more than {MAX_VALUE_DEPTH} deep")
    run.spend(len(value) + 1)
    return 1 + sum(weigh(run, item, depth + 1) for item in value)


def admit(value: Any, depth: int = 0) -> Any:
    """Turn a value from outside into one that programs know; lists become unchangeable.

    Raises
    ------
    Refusal
        For anything but numbers, text, ``None``, and lists, tuples or arrays of these.
    """
    if type(value) in SCALARS:
        return bounded(value)
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        if depth == MAX_VALUE_DEPTH:
            raise Refusal(f"lists nested more than {MAX_VALUE_DEPTH} deep")
        items = (admit(item, depth + 1) for item in value)
        return ConstantList(items) if isinstance(value, list) else tuple(items)
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, numbers.Integral):
        return bounded(int(value))
    if isinstance(value, numbers.Real):
        return float(value)
    raise Refusal(f"found {type(value).__name__}, expected numbers, text or lists of these")


def release(run: Run, value: Any, depth: int = 0) -> Any:
    """Turn a returned value into one for outside: a number, text, or a tuple (lists become tuples) of these."""
    if type(value) in NUMBERS or type(value) is str:
        return value
    if type(value) not in CONTAINERS:
        raise Refusal(f"the value is {kind(value)}, expected a number, text, or a tuple of these")
    if depth == MAX_VALUE_DEPTH:
        raise Refusal(f"lists nested more than {MAX_VALUE_DEPTH} deep")
    run.spend(len(value) + 1)
    return tuple(release(run, item, depth + 1) for item in value)
