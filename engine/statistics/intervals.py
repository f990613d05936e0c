"""Intervals of means over seeds, and effect sizes of two groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checked import real_array

DEFAULT_LEVEL = 0.95
RESAMPLES = 9999
# With fewer seeds BCa has too little to correct by.
LEAST_FOR_BCA = 5
# With more the two intervals are the same, and leaving out each seed in turn takes their number squared.
MOST_FOR_BCA = 2000

MAX_SEEDS = 100_000
LARGEST = 1e100
"""Values that are squared and summed may be this large."""

# Drawn at once in a bootstrap.
BATCH = 5_000_000


def checked_values(name: str, values: Any, least: int = 2) -> np.ndarray:
    """Raw values of the seeds as float64[n]; ValueError for NaN, infinity, too few or too many."""
    found = real_array(name, values)
    if found.ndim != 1 or found.size < least:
        seeds = f"{found.size} seed{'s' if found.size != 1 else ''}" if found.ndim == 1 else f"shape {found.shape}"
        raise ValueError(f"{name}: found {seeds}, expected at least {least}")
    if found.size > MAX_SEEDS:
        raise ValueError(f"{name}: found {found.size} seeds, expected at most {MAX_SEEDS}")
    bad = np.flatnonzero(~(np.abs(found) <= LARGEST))
    if bad.size:
        raise ValueError(
            f"{name}: found {found[bad[0]]} at place {bad[0]}, expected finite numbers"
            + (f" up to {LARGEST:g}" if np.isfinite(found[bad[0]]) else "")
        )
    return found


def is_constant(values: np.ndarray) -> bool:
    """Whether values are all the same but for rounding, so that they have no spread to divide by."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def t_interval(values: np.ndarray, level: float = DEFAULT_LEVEL) -> tuple[float, float]:
    """Student's t interval of the mean of float64[n], n ≥ 2."""
    from scipy.special import stdtrit

    if is_constant(values):
        return float(values[0]), float(values[0])
    half = float(stdtrit(values.size - 1, 0.5 + level / 2)) * float(values.std(ddof=1)) / math.sqrt(values.size)
    mean = float(values.mean())
    return mean - half, mean + half


def _seeded(seed: int) -> dict[str, Any]:
    """The generator, by the name that this SciPy has for it: it was renamed in 1.15."""
    from scipy import __version__

    old = tuple(int(part) for part in __version__.split(".")[:2]) < (1, 15)
    return {"random_state" if old else "rng": np.random.default_rng(seed)}


def bootstrap_interval(
    values: np.ndarray, level: float = DEFAULT_LEVEL, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean over seeds: BCa (Efron 1987), the percentile one for fewer than 5 or over 2000.

    Values that are all the same have an interval of no width.

    Parameters
    ----------
    values : float64[n]
    level : float
    resamples : int
    seed : int            of the resampling
    """
    from scipy.stats import bootstrap

    if is_constant(values):
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples, method=bootstrap_kind(values.size), vectorized=True,
        batch=max(1, BATCH // values.size), **_seeded(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def bootstrap_difference(
    one: np.ndarray, other: np.ndarray, level: float = DEFAULT_LEVEL, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of mean(one) − mean(other) over independent seeds, each group resampled by itself."""
    from scipy.stats import bootstrap

    if is_constant(one) and is_constant(other):
        return float(one[0] - other[0]), float(one[0] - other[0])
    found = bootstrap(
        (one, other), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), confidence_level=level, n_resamples=resamples,
        method=bootstrap_kind(one.size, other.size), vectorized=True,
        batch=max(1, BATCH // max(one.size, other.size)), **_seeded(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def bootstrap_kind(*sizes: int) -> str:
    """Which bootstrap interval groups of so many seeds have: "BCa" or "percentile"."""
    return "BCa" if all(LEAST_FOR_BCA <= size <= MOST_FOR_BCA for size in sizes) else "percentile"


def hedges_g(one: np.ndarray, other: np.ndarray) -> float:
    """Difference of means over the pooled standard deviation, with the exact correction for small groups (Hedges 1981, eq. 6e).

    0 for equal means of groups without spread, infinite for different ones.
    """
    from scipy.special import gammaln

    if is_constant(one) and is_constant(other):
        difference = float(one[0] - other[0])
        return math.copysign(math.inf, difference) if difference else 0.0

    freedom = one.size + other.size - 2
    pooled = math.sqrt(((one.size - 1) * one.var(ddof=1) + (other.size - 1) * other.var(ddof=1)) / freedom)
    difference = float(one.mean() - other.mean())
    correction = math.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return correction * difference / pooled


def cliffs_delta(one: np.ndarray, other: np.ndarray) -> float:
    """Probability that a value of one group exceeds one of the other, minus that it is exceeded (Cliff 1993)."""
    ranked = np.sort(other)
    above = np.searchsorted(ranked, one, side="left").sum()
    below = one.size * other.size - np.searchsorted(ranked, one, side="right").sum()
    return float(above - below) / (one.size * other.size)


def common_language(one: np.ndarray, other: np.ndarray) -> float:
    """Probability that a value of one group exceeds one of the other, ties counting half (McGraw and Wong 1992)."""
    return 0.5 * (cliffs_delta(one, other) + 1.0)
