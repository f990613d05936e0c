"""Ratios of factorials without the cancellation of large logarithms: the base of both rejection samplers."""

import math

import numpy as np

from ..compilation import kernel

# Stirling's remainder for x = 0 (unused), 1, …, 9, from 50-digit arithmetic; the series below takes over at 10.
_REMAINDERS = np.array(
    [
        0.0,
        0.08106146679532726,
        0.0413406959554093,
        0.02767792568499834,
        0.020790672103765093,
        0.016644691189821193,
        0.013876128823070748,
        0.01189670994589177,
        0.010411265261972096,
        0.009255462182712733,
    ]
)
_SERIES_LIMIT = 0.2


@kernel(forceinline=True, error_model="numpy")
def stirling_remainder(x):
    """log Γ(x) − ((x − ½) log x − x + ½ log 2π), for a whole number x >= 1, within 1e-15.

    Parameters
    ----------
    x : float64   a whole number, at least 1
    """
    if x < 10.0:
        return _REMAINDERS[np.int64(x)]
    inverse = 1.0 / x
    square = inverse * inverse
    series = -691.0 / 360360.0 + square * (1.0 / 156.0)
    series = 1.0 / 1188.0 + square * series
    series = -1.0 / 1680.0 + square * series
    series = 1.0 / 1260.0 + square * series
    series = -1.0 / 360.0 + square * series
    return inverse * (1.0 / 12.0 + square * series)


@kernel(forceinline=True, error_model="numpy")
def log1p_minus(x):
    """log(1 + x) − x for x > -1, to a relative 1e-15 also where both terms nearly cancel.

    With r = x/(2 + x): log(1 + x) = 2 atanh r = 2r + 2r³(1/3 + r²/5 + …) and 2r − x = −x r.
    """
    if abs(x) > _SERIES_LIMIT:
        return math.log1p(x) - x
    r = x / (2.0 + x)
    square = r * r
    series = 1.0 / 15.0 + square * (1.0 / 17.0)
    series = 1.0 / 13.0 + square * series
    series = 1.0 / 11.0 + square * series
    series = 1.0 / 9.0 + square * series
    series = 1.0 / 7.0 + square * series
    series = 1.0 / 5.0 + square * series
    series = 1.0 / 3.0 + square * series
    return r * (2.0 * square * series - x)


@kernel(error_model="numpy")
def log_factorial_excess(start, step):
    """log((start + step)! / start!) − step log(start + 1): the part that is small when `step` is small.

    Stirling's formula with the powers of `start + 1` taken out by hand; absolute error about 1e-14 for results of
    order 1, whatever the size of `start`.

    Parameters
    ----------
    start : int64   at least 0
    step : int64    at least -start
    """
    distance = float(step)
    base = float(start) + 1.0
    end = base + distance
    x = distance / base
    curvature = log1p_minus(x)
    remainders = stirling_remainder(end) - stirling_remainder(base)
    return end * curvature + distance * x - 0.5 * (curvature + x) + remainders
