"""Laws of sums of whole numbers as polynomials with non-negative coefficients, many of them in one flat array.

A slot holds one polynomial: its coefficients from power `low` on, times 2**exponent. Coefficients are only ever added and
multiplied, so that each keeps a relative accuracy of a few units in the last place per product, however small it is. After
every product the largest coefficient is brought to [1/2, 1) by a power of two, which costs no accuracy, and the ends that are
below `trim` times the largest are cut off.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..compilation import VECTORISABLE, kernel

# Typed, since numba compiles once more for a literal.
MIN_POWER = np.int64(0)
MAX_POWER = np.int64(2**62)


class Polynomials(NamedTuple):
    """Slots of a flat array; see the module."""

    coefficients: np.ndarray  # float64[capacity]
    base: np.ndarray  # int64[n_slots]: where the room of a slot begins
    start: np.ndarray  # int64[n_slots]: where its coefficients begin
    low: np.ndarray  # int64[n_slots]: power of the first coefficient
    length: np.ndarray  # int64[n_slots]: 0 for the polynomial 0
    exponent: np.ndarray  # int64[n_slots]


@kernel(fastmath=VECTORISABLE)
def _add_multiple(source, factor, out):
    for i in range(out.shape[0]):
        out[i] += factor * source[i]


@kernel(fastmath=VECTORISABLE)
def _add_four_multiples(source, f_0, f_1, f_2, f_3, out):
    for i in range(out.shape[0]):
        out[i] += f_0 * source[i + 3] + f_1 * source[i + 2] + f_2 * source[i + 1] + f_3 * source[i]


@kernel
def set_to_one(slots, target):
    """Put the polynomial 1 into a slot.

    Parameters
    ----------
    slots : Polynomials   changed in slot `target`
    target : int64
    """
    slots.start[target] = slots.base[target]
    slots.low[target] = 0
    slots.length[target] = 1
    slots.exponent[target] = 0
    slots.coefficients[slots.base[target]] = 1.0


@kernel
def _settle(slots, target, low, length, exponent, trim):
    """Rescale and trim what was written at the base of a slot."""
    base = slots.base[target]
    values = slots.coefficients[base : base + length]
    largest = 0.0
    for i in range(length):
        largest = max(largest, values[i])
    slots.length[target] = 0
    if not largest > 0.0:
        return
    _, shift = math.frexp(largest)
    begin, end = np.int64(0), np.int64(length)
    while values[begin] <= trim * largest:
        begin += 1
    while values[end - 1] <= trim * largest:
        end -= 1
    # Within what a double can hold: a coefficient of 2**-1074 stays small.
    shift = max(shift, -1000)
    factor = math.ldexp(1.0, -shift)
    for i in range(begin, end):
        values[i] *= factor
    slots.start[target] = base + begin
    slots.low[target] = low + begin
    slots.length[target] = end - begin
    slots.exponent[target] = exponent + shift


@kernel
def multiply(slots, first, second, lowest, highest, trim, target):
    """Multiply two polynomials into a third slot, computing only the powers from `lowest` to `highest`.

    Parameters
    ----------
    slots : Polynomials   changed in slot `target`, which has room for the product and is neither factor
    first, second, target : int64
    lowest, highest : int64
    trim : float64        below 1; 0 cuts off zeros alone
    """
    if slots.length[first] < slots.length[second]:
        first, second = second, first
    n_long, n_short = slots.length[first], slots.length[second]
    offset = slots.low[first] + slots.low[second]
    lowest = max(lowest, offset)
    length = min(highest, offset + n_long + n_short - 2) - lowest + 1
    if n_short == 0 or length <= 0:
        slots.length[target] = 0
        return
    out = slots.coefficients[slots.base[target] : slots.base[target] + length]
    out[:] = 0.0
    long = slots.coefficients[slots.start[first] : slots.start[first] + n_long]
    short = slots.coefficients[slots.start[second] : slots.start[second] + n_short]
    # Row j of the product, short[j]·long, begins at out[at + j].
    at = offset - lowest
    j = np.int64(0)
    while j < n_short:
        begin, end = max(at + j, 0), min(at + j + n_long, length)
        if j + 4 <= n_short:
            # Rows j … j + 3 overlap from where the last begins to where the first ends.
            inner = max(at + j + 3, 0)
            if end > inner:
                source = long[inner - at - j - 3 : end - at - j]
                _add_four_multiples(source, short[j], short[j + 1], short[j + 2], short[j + 3], out[inner:end])
                for row in range(j, j + 4):
                    for x in range(max(at + row, 0), inner):
                        out[x] += short[row] * long[x - at - row]
                    for x in range(end, min(at + row + n_long, length)):
                        out[x] += short[row] * long[x - at - row]
                j += 4
                continue
        if end > begin:
            _add_multiple(long[begin - at - j : end - at - j], short[j], out[begin:end])
        j += 1
    _settle(slots, target, lowest, length, slots.exponent[first] + slots.exponent[second], trim)


@kernel
def multiply_by_law(slots, source, law, units, trim, target):
    """Multiply by Σ_a law[a] x**units[a] into another slot.

    Parameters
    ----------
    slots : Polynomials   changed in slot `target`, which has room for the product
    source, target : int64
    law : float64[n_al]
    units : int64[n_al]   at least 0
    trim : float64
    """
    n = slots.length[source]
    if n == 0:
        slots.length[target] = 0
        return
    least, most = units[0], units[0]
    for a in range(1, units.shape[0]):
        least, most = min(least, units[a]), max(most, units[a])
    length = n + most - least
    out = slots.coefficients[slots.base[target] : slots.base[target] + length]
    out[:] = 0.0
    values = slots.coefficients[slots.start[source] : slots.start[source] + n]
    for a in range(units.shape[0]):
        if law[a] > 0.0:
            at = units[a] - least
            _add_multiple(values, law[a], out[at : at + n])
    _settle(slots, target, slots.low[source] + least, length, slots.exponent[source], trim)


@kernel
def copy_polynomial(slots, source, target):
    """Copy a polynomial into another slot.

    Parameters
    ----------
    slots : Polynomials   changed in slot `target`, which has room for it
    source, target : int64
    """
    begin, n, base = slots.start[source], slots.length[source], slots.base[target]
    for i in range(n):
        slots.coefficients[base + i] = slots.coefficients[begin + i]
    slots.start[target] = base
    slots.low[target] = slots.low[source]
    slots.length[target] = n
    slots.exponent[target] = slots.exponent[source]


@kernel
def raise_law(slots, law, units, power, trim, spare, target):
    """Put the `power`-th power of Σ_a law[a] x**units[a] into a slot, by squaring.

    Parameters
    ----------
    slots : Polynomials   changed in slots `target` and `spare`, which have room for the power
    law : float64[n_al]
    units : int64[n_al]
    power : int64         at least 0
    trim : float64
    spare, target : int64
    """
    set_to_one(slots, target)
    for bit in range(62, -1, -1):
        if power >> bit == 0:
            continue
        multiply(slots, target, target, MIN_POWER, MAX_POWER, trim, spare)
        if (power >> bit) & 1:
            multiply_by_law(slots, spare, law, units, trim, target)
        else:
            copy_polynomial(slots, spare, target)
