"""Lists of numbers as people write them: 8, 1:20, 2:14:4, 1:5,10,n, or 0.7:1.8:0.1. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_NUMBERS = 10_000

_PART = re.compile(r"\s*(\d{1,20})(?::(\d{1,20})(?::(\d{1,20}))?)?\s*")


def numbers_of(name: str, value: Any, lowest: int, highest: int, *, word: str = "") -> tuple[int | str, ...]:
    """The numbers that a value lists, in the order given.

    Parameters
    ----------
    name : str           of the field, for messages
    value : int, str such as "1:5,10" (ranges include both ends), or a sequence of these
    lowest, highest : int
    word : str           a word that may stand in the place of a number

    Raises
    ------
    ValueError    one line: not such a list, a number out of range, a number given twice
    """
    parts = [value] if isinstance(value, str | int) or not isinstance(value, Iterable) else list(value)
    found: list[int | str] = []
    for part in parts:
        if isinstance(part, str):
            for piece in part.split(","):
                found += _piece(name, piece, lowest, highest, word)
        else:
            found.append(_number(name, part, lowest, highest))
        if len(found) > MAX_NUMBERS:
            raise ValueError(f"{name}: found more than {MAX_NUMBERS} numbers, expected at most as many")
    seen: set[int | str] = set()
    for number in found:
        if number in seen:
            raise ValueError(f"{name}: found {number} twice, expected each once")
        seen.add(number)
    return tuple(found)


def _piece(name: str, piece: str, lowest: int, highest: int, word: str) -> list[int | str]:
    if word and piece.strip() == word:
        return [word]
    match = _PART.fullmatch(piece)
    if match is None:
        also = f" or {word}" if word else ""
        raise ValueError(f"{name}: found {_shortened(piece)}, expected numbers such as 8, 1:20, 2:14:4 or 1:5,10{also}")
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    step = int(match[3]) if match[3] else 1
    if last < first or step < 1 or (last - first) // step >= MAX_NUMBERS:
        raise ValueError(
            f"{name}: found {_shortened(piece)}, expected a range FIRST:LAST that grows, at most {MAX_NUMBERS} numbers"
        )
    _number(name, first, lowest, highest)
    _number(name, last, lowest, highest)
    return list(range(first, last + 1, step))


def _number(name: str, value: Any, lowest: int, highest: int) -> int:
    try:
        number = value.__index__()
    except (AttributeError, TypeError):
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name}: found {_shortened(value)}, expected whole numbers")
    if number < lowest:
        raise ValueError(f"{name}: found {number}, expected at least {lowest}")
    if number > highest:
        raise ValueError(f"{name}: found {_shortened(number)}, expected at most {highest}")
    return number


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        # Python does not print whole numbers of many thousand digits.
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def reals_of(name: str, value: Any, lowest: float = 0.0) -> tuple[float, ...]:
    """The real numbers that a value lists, in increasing order; steps of a range are decimal, so that 0.7:1.8:0.1 holds 0.8.

    Parameters
    ----------
    name : str           of the field, for messages
    value : number, str such as "0.5,0.7:1.8:0.1" (ranges include both ends), or a sequence of these
    lowest : float

    Raises
    ------
    ValueError    one line: not such a list, a number out of range, a number given twice
    """
    parts = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    found: list[float] = []
    for part in parts:
        pieces = part.split(",") if isinstance(part, str) else [part]
        for piece in pieces:
            found += _reals(name, piece)
        if len(found) > MAX_NUMBERS:
            raise ValueError(f"{name}: found more than {MAX_NUMBERS} numbers, expected at most as many")
    # Without the sign of a negative zero.
    found = sorted(number + 0.0 for number in found)
    for i, number in enumerate(found):
        if number < lowest:
            raise ValueError(f"{name}: found {number:g}, expected at least {lowest:g}")
        if i and number == found[i - 1]:
            raise ValueError(f"{name}: found {number:g} twice, expected each once")
    if not found:
        raise ValueError(f"{name}: found none, expected at least one")
    return tuple(found)


def _reals(name: str, piece: Any) -> list[float]:
    texts = piece.split(":") if isinstance(piece, str) else [str(piece)]
    try:
        numbers = [Decimal(text.strip()) for text in texts]
    except InvalidOperation:
        numbers = []
    if len(numbers) not in (1, 3) or not all(x.is_finite() and abs(x) < 10**15 for x in numbers) or piece is True:
        raise ValueError(f"{name}: found {_shortened(piece)}, expected numbers such as 0.5, or FIRST:LAST:STEP")
    if len(numbers) == 1:
        return [float(numbers[0])]
    first, last, step = numbers
    if last < first or step <= 0 or (last - first) / step >= MAX_NUMBERS:
        raise ValueError(
            f"{name}: found {_shortened(piece)}, expected a range FIRST:LAST:STEP that grows, at most {MAX_NUMBERS} numbers"
        )
    return [float(first + i * step) for i in range(int((last - first) / step) + 1)]
