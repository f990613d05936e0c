"""Optimality gaps against k: the slope of exact numbers, and the bound that theory gives.

V*_n(s_g, N) ≤ E_{c ~ HG(N, k)} V*_k(s_g, c) for k ≤ n, in the classes joint, shared and fixed: watch k of the n agents, and the
others become private randomness of whoever controls the k, which cannot make them earn more than V*_k; the n-agent reward is
the mean of the rewards of such groups. (With a field the others are no private randomness: they count in it, and neither bound
holds.) So any k that is solved bounds V*_n from above, V*_k from an exchangeable initial law
never rises with k, and every policy that is evaluated bounds V*_n from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..game import Game, positive_integer
from ..lifting import refuse_field

CONFIDENCE = 0.95
MIN_POINTS = 3
RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class SlopeFit:
    """Least-squares line through log gap against log k.

    Parameters
    ----------
    slope : float            −1/2 where the gap falls like 1/√k; NaN without a fit
    intercept : float        log gap at k = 1
    low, high : float        95 % percentile bootstrap over the points: how far they are from one line, not noise
    n_points : int           points that the fit used
    note : str               why there is no fit; else empty
    """

    slope: float
    intercept: float
    low: float
    high: float
    n_points: int
    note: str = ""

    def at(self, k: np.ndarray | float) -> np.ndarray | float:
        """The line at k."""
        return np.exp(self.intercept + self.slope * np.log(k))


def fit_slope(k: np.ndarray, gap: np.ndarray, *, resolution: float, seed: int = 0) -> SlopeFit:
    """Fit gap ∝ k^slope, with a bootstrap interval (Efron 1979: points drawn with replacement).

    Leave k = n out: there the sample is the population, and what is left of the gap is not due to sampling.

    Parameters
    ----------
    k : int64[n_points]
    gap : float64[n_points]    NaN where it is not known
    resolution : float         gaps of at most this may be zero, and are left out
    seed : int                 of the bootstrap

    Returns
    -------
    SlopeFit
    """
    k, gap = np.asarray(k, dtype=np.float64), np.asarray(gap, dtype=np.float64)
    if k.ndim != 1 or k.shape != gap.shape:
        raise ValueError(f"gap: found shape {gap.shape}, expected {k.shape}, one for each k")
    # Written so that NaN fails.
    usable = (gap > resolution) & (k >= 1)
    n_points = int(usable.sum())
    if np.unique(k[usable]).size < MIN_POINTS:
        note = f"{n_points} gaps are larger than their error of {resolution:.1g}, a slope takes {MIN_POINTS}"
        return SlopeFit(slope=math.nan, intercept=math.nan, low=math.nan, high=math.nan, n_points=n_points, note=note)
    x, y = np.log(k[usable]), np.log(gap[usable])
    draws = np.random.default_rng(seed).integers(n_points, size=(RESAMPLES, n_points))
    slopes = _slopes(x[draws], y[draws])
    # A resample of a single k has no slope.
    low, high = np.quantile(slopes[np.isfinite(slopes)], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    slope = float(_slopes(x[None], y[None])[0])
    return SlopeFit(
        slope=slope, intercept=float(y.mean() - slope * x.mean()), low=float(low), high=float(high), n_points=n_points
    )


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares slopes along the last axis; NaN where all x are equal."""
    centred = x - x.mean(axis=1, keepdims=True)
    spread = (centred**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-12, (centred * y).sum(axis=1) / spread, np.nan)


def sampling_bound(game: Game, n: int, k: int) -> float:
    """The bound on the optimality gap of SUBSAMPLE-MFQ, with constants: Õ(1/√k), and true for every game without a field.

        2 r̃ / (1 − γ)² · ( √( (n − k + 1) / (2 n k) · ln(2 |S_l| |A_l| |A_g| √k) ) + 1/√k ),    r̃ = max |r_g| + max |r_l|

    It is put together as in the papers: the counts of k agents drawn without replacement are off by TV ≤ √((n − k + 1) /
    (8 n k) · ln(2 |S_l| |A_l| / δ)) with probability 1 − δ, Q is Lipschitz in TV with constant 2 r̃ / (1 − γ), the performance
    difference adds another 2 / (1 − γ), and δ = 1 / (|A_g| √k). Expect it to lie orders of magnitude above the gap.

    Parameters
    ----------
    game : Game
    n, k : int    1 ≤ k ≤ n

    Returns
    -------
    float

    References
    ----------
    Anand, Karmarkar and Qu (2024), Mean-Field Sampling for Cooperative Multi-Agent Reinforcement Learning, arXiv 2412.00661;
    Anand and Qu (2024), arXiv 2403.00222.
    """
    n, k = positive_integer("n", n), positive_integer("k", k)
    refuse_field(game, "the bound is proved for agents that touch each other through the global agent alone")
    if k > n:
        raise ValueError(f"k: found {k}, expected at most n = {n}")
    largest = float(np.abs(game.r_g).max() + np.abs(game.r_l).max())
    logarithm = math.log(2.0 * game.n_sl * game.n_al * game.n_ag * math.sqrt(k))
    sampling = math.sqrt((n - k + 1) / (2.0 * n * k) * logarithm)
    return 2.0 * largest / (1.0 - game.gamma) ** 2 * (sampling + 1.0 / math.sqrt(k))
