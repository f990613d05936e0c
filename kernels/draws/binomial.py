"""Binomial draws at a cost that does not grow with n."""

import math

import numpy as np

from ..compilation import kernel
from ..streams import next_double, next_open_double
from .factorials import log_factorial_excess

# Below this mean the sequential search is the faster one, and the hat of the rejection is not valid.
_REJECTION_MEAN = 10.0
# With a mean below 10 the mass past this count is under 1e-70.
_SEARCH_END = 110
# Up to this n, squaring (within 2e-15) beats exp and log1p: 27 against 52 ns for a draw with n = 5.
_POWER_END = 32
# Splits a float64 into a part with 23 significant bits, whose product with n <= 2**30 is exact, and the rest.
_SPLITTER = 2.0**30 + 1.0


@kernel(error_model="numpy")
def draw_binomial(n, p, stream):
    """Number of successes in n independent trials of probability p.

    Sequential search for small means and transformed rejection (BTRS) for large ones: Hörmann (1993), "The generation
    of binomial random variates", Journal of Statistical Computation and Simulation 46. A p above ½ is reflected to
    1 − p, which is exact in float64.

    Rounding: the probability of an outcome is off by about 2e-15 in absolute terms (search) or 1e-13 relative to the
    mode's (rejection), whatever n is.

    Parameters
    ----------
    n : int64      number of trials, up to 2**30; counts as 0 if negative
    p : float64    clipped to [0, 1]; NaN counts as 0
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    int64   0 to n
    """
    if n <= 0 or not p > 0.0:
        return np.int64(0)
    if p >= 1.0:
        return np.int64(n)
    rarer = min(p, 1.0 - p)
    if n * rarer < _REJECTION_MEAN:
        count = _search_binomial(n, rarer, stream)
    else:
        count = _reject_binomial(n, rarer, stream)
    return n - count if p > 0.5 else count


@kernel(forceinline=True, error_model="numpy")
def _power(base, exponent):
    """base**exponent for a whole exponent >= 0, by squaring."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@kernel(forceinline=True, error_model="numpy")
def _search_binomial(n, p, stream):
    """Invert the distribution function from 0 upwards. Past the end, which only rounding can reach, draw again."""
    if n == 1:
        return np.int64(next_double(stream) < p)
    odds = p / (1.0 - p)
    mass_at_zero = _power(1.0 - p, n) if n <= _POWER_END else math.exp(n * math.log1p(-p))
    last = min(n, np.int64(_SEARCH_END))
    successes = np.int64(0)
    mass = mass_at_zero
    rest = next_double(stream)
    while rest >= mass:
        rest -= mass
        mass *= odds * ((n - successes) / (successes + 1.0))
        successes += 1
        if successes > last:
            rest = next_double(stream)
            mass = mass_at_zero
            successes = np.int64(0)
    return successes


@kernel(error_model="numpy")
def binomial_hat(n, p):
    """Hörmann's transformation x = (2a/(½ − |u|) + b) u + centre and his bounds, for n p >= 10 and p <= ½.

    Returns
    -------
    (a, b, centre, scale, squeeze) : float64
        `scale` bounds the slope of x times pmf(floor x)/pmf(mode); `squeeze` is a lower bound on that product over
        `scale` wherever ½ − |u| >= 0.07.
    """
    deviation = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    inverse = 1.0 / b
    return a, b, n * p + 0.5, (2.83 + 5.1 * inverse) * deviation, 0.92 - 4.2 * inverse


@kernel(forceinline=True, error_model="numpy")
def _reject_binomial(n, p, stream):
    """Hörmann's BTRS, with the acceptance test relative to the mode."""
    a, b, centre, scale, squeeze = binomial_hat(n, p)
    while True:
        height = next_open_double(stream)
        u = next_open_double(stream) - 0.5
        edge = 0.5 - abs(u)
        x = np.floor((2.0 * a / edge + b) * u + centre)
        if edge >= 0.07 and height <= squeeze:
            return np.int64(x)
        if x < 0.0 or x > n:
            continue
        slope = a / (edge * edge) + b
        if math.log(height * scale / slope) <= log_binomial_ratio(n, p, np.int64(x)):
            return np.int64(x)


@kernel(error_model="numpy")
def log_binomial_ratio(n, p, successes):
    """log of pmf(successes) over pmf(mode), absolute error about 1e-14 within six deviations also at n = 1e9.

    Parameters
    ----------
    n : int64         up to 2**30
    p : float64       in (0, ½]
    successes : int64   0 to n
    """
    q = 1.0 - p
    mode = min(np.int64((n + 1.0) * p), n)
    step = successes - mode
    carried = p * _SPLITTER
    p_high = carried - (carried - p)
    p_low = p - p_high
    # n p − mode, to full relative accuracy: with n = 1e9 the rounding of n p alone would cost 1e-7.
    offset = (n * p_high - mode) + n * p_low
    # One trial's odds at the mode, p (n − mode + 1) / (q (mode + 1)), less one.
    tilt = (offset + 2.0 * p - 1.0) / (q * (mode + 1.0))
    return step * math.log1p(tilt) - log_factorial_excess(mode, step) - log_factorial_excess(n - mode, -step)
