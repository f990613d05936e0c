"""From functions of labels to tables of numbers: every combination of inputs is tried once."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

LABEL_RTOL = 1e-9
"""A returned number finds its label within this share of the largest number in the space."""

ROW_SUM_ATOL = 1e-9
"""Rows of probabilities may miss 1 by this much; farther off is an error, closer is rounding and normalised."""

MAX_TABLE_BYTES = 2**31
"""Functions are not tabulated past this size: one call per row would take hours before memory gives out."""

Arguments = Sequence[tuple[str, tuple]]
"""Argument names with the labels that each runs over, in the order of the function's parameters."""


class Outcomes(tuple):
    """A law as (label, probability) pairs, for labels that no dict can hold."""


def as_label(where: str, value: Any) -> Any:
    """Turn a value into a label: an int, a float, a string, or a tuple of numbers. True counts as 1.

    Raises
    ------
    ValueError
        The value is something else, or not finite; `where` names it.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return as_label(where, value[()])
    if isinstance(value, (list, tuple, np.ndarray)):
        entries = tuple(as_label(f"{where}[{i}]", entry) for i, entry in enumerate(value))
        if entries and not any(isinstance(entry, (str, tuple)) for entry in entries):
            return entries
    elif isinstance(value, (numbers.Integral, np.bool_)):
        if abs(int(value)) < 2**63:
            return int(value)
    elif isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{where}: found {shown(value)}, expected a finite number, a string or a tuple of finite numbers")


def check_distinct(where: str, labels: tuple) -> None:
    """Refuse labels of one space that are equal by value."""
    seen: dict = {}
    for i, label in enumerate(labels):
        if label in seen:
            raise ValueError(f"{where}: found {shown(label)} at {seen[label]} and at {i}, expected distinct labels")
        seen[label] = i


def shown(value: Any) -> str:
    """The repr of a value on one line, cut to a readable length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


class Space:
    """Labels with a lookup by value that forgives the rounding of floating-point arithmetic."""

    def __init__(self, labels: tuple) -> None:
        self.labels = labels
        self._exact = {label: i for i, label in enumerate(labels)}
        entries = (entry for label in labels for entry in (label if isinstance(label, tuple) else (label,)))
        self._atol = LABEL_RTOL * max((abs(entry) for entry in entries if not isinstance(entry, str)), default=0.0)

    def find(self, value: Any) -> int | None:
        """Position of the label equal to the value, else of the nearest within LABEL_RTOL, else None."""
        try:
            value = as_label("", value)
        except ValueError:
            return None
        if value in self._exact:
            return self._exact[value]
        if isinstance(value, str):
            return None
        gaps = {self._gap(label, value): i for i, label in reversed(list(enumerate(self.labels)))}
        nearest = min(gaps)
        return gaps[nearest] if nearest <= self._atol else None

    @staticmethod
    def _gap(label: Any, value: Any) -> float:
        if isinstance(label, str) or isinstance(label, tuple) != isinstance(value, tuple):
            return math.inf
        if not isinstance(label, tuple):
            return abs(label - value)
        return max(abs(x - y) for x, y in zip(label, value)) if len(label) == len(value) else math.inf


def tabulate_rewards(name: str, function: Callable, arguments: Arguments) -> np.ndarray:
    """Call `function` on every combination of its arguments.

    Parameters
    ----------
    name : str
        Named in errors.
    function : callable
        Positional arguments; returns a finite number.
    arguments : sequence of (name, labels)

    Returns
    -------
    float64, one axis per argument

    Raises
    ------
    ValueError
        A returned value is not a finite number, or the table would pass MAX_TABLE_BYTES.
    """
    table = _allocate(name, [len(labels) for _, labels in arguments])
    for index, inputs in _combinations(arguments):
        found = function(*inputs)
        if isinstance(found, np.ndarray) and found.ndim == 0:
            found = found[()]
        if not isinstance(found, (numbers.Real, np.bool_)) or not _is_finite(found):
            raise ValueError(f"{call(name, arguments, inputs)}: returned {shown(found)}, expected a finite number")
        table[index] = float(found)
    return table


def tabulate_transitions(name: str, function: Callable, arguments: Arguments, next_states: tuple) -> np.ndarray:
    """Call `function` on every combination of its arguments and collect the laws of the next state.

    Parameters
    ----------
    name, arguments
        As in `tabulate_rewards`.
    function : callable
        Positional arguments; returns a label, a dict {label: probability}, `Outcomes`, or an array law.
    next_states : tuple of labels

    Returns
    -------
    float64, one axis per argument and a last one over `next_states`

    Raises
    ------
    ValueError
        A returned label is outside `next_states`, or a returned law is not one, or the table would pass
        MAX_TABLE_BYTES.
    """
    space = Space(next_states)
    table = _allocate(name, [len(labels) for _, labels in arguments] + [len(next_states)])
    for index, inputs in _combinations(arguments):
        _fill_law(call(name, arguments, inputs), function(*inputs), space, table[index])
    return table


def call(name: str, arguments: Arguments, inputs: tuple) -> str:
    """A function call as text: `local_reward(local_state=0, global_state=1, local_action=-1)`."""
    given = ", ".join(f"{argument}={shown(value)}" for (argument, _), value in zip(arguments, inputs))
    return f"{name}({given})"


def _combinations(arguments: Arguments) -> Iterator[tuple[tuple, tuple]]:
    for pairs in itertools.product(*(enumerate(labels) for _, labels in arguments)):
        yield tuple(i for i, _ in pairs), tuple(label for _, label in pairs)


def _allocate(name: str, shape: list[int]) -> np.ndarray:
    n_bytes = 8 * math.prod(shape)
    if n_bytes > MAX_TABLE_BYTES:
        sizes = " x ".join(str(size) for size in shape)
        raise ValueError(
            f"{name}: found spaces that make a table of {sizes} numbers, {n_bytes:.3g} bytes, "
            f"expected at most {MAX_TABLE_BYTES:.3g} bytes; use fewer states or actions"
        )
    return np.zeros(shape)


def _fill_law(where: str, found: Any, space: Space, out_law: np.ndarray) -> None:
    """Write the law that a transition returned into `out_law`, which starts at zero."""
    if isinstance(found, np.ndarray) and found.ndim > 0:
        if found.shape != out_law.shape or found.dtype.kind not in "biuf":
            raise ValueError(
                f"{where}: returned an array of shape {found.shape} and type {found.dtype}, "
                f"expected {out_law.size} probabilities, one per state"
            )
        out_law[:] = found
    else:
        pairs: Any = ((found, 1.0),)
        if isinstance(found, Mapping):
            pairs = found.items()
        elif isinstance(found, Outcomes):
            pairs = found
        for label, probability in pairs:
            if not isinstance(probability, numbers.Real) or not _is_finite(probability):
                raise ValueError(f"{where}: returned probability {shown(probability)}, expected a finite number")
            target = space.find(label)
            if target is None:
                raise ValueError(
                    f"{where}: returned the next state {shown(label)}, expected one of {shown(list(space.labels))}"
                )
            out_law[target] += float(probability)
    total = out_law.sum()
    if not (out_law.min() >= -ROW_SUM_ATOL and abs(total - 1.0) <= ROW_SUM_ATOL):
        raise ValueError(
            f"{where}: returned probabilities from {out_law.min():.6g} that add up to {total:.12g}, "
            "expected none below 0 and a sum of 1"
        )


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
