"""Numbers and arrays as callers give them, checked; a refusal is one line that names the argument."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from .tabulation import shown


def whole_number(name: str, value: Any, least: int, most: int = 2**62) -> int:
    """A whole number from `least` to `most`, of Python or NumPy; ValueError for anything else, also for 2.0 and true."""
    number = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None
    if number is None or not least <= number <= most:
        raise ValueError(f"{name}: found {shown(value)}, expected a whole number from {least} to {most}")
    return number


def real_number(name: str, value: Any, expected: str, *, above: float = -math.inf, least: float = -math.inf) -> float:
    """A number above `above` and at least `least`; infinity may be one. ValueError with what was expected for all else."""
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    # Written so that NaN fails.
    if not (number > above and number >= least):
        raise ValueError(f"{name}: found {shown(value)}, expected {expected}")
    return number


def real_array(name: str, values: Any) -> np.ndarray:
    """A copy of an array of real numbers as float64, of any shape; ValueError for other things, also for ragged lists."""
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "iufbO":
            raise TypeError
        return np.array(found, dtype=np.float64, order="C")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: found {shown(values)}, expected an array of numbers") from None
