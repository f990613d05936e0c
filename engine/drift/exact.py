"""Exact values under drift, from laws of totals by plain convolution in logarithms: what estimates are compared with.

Shares no code with the weights: numpy and scipy alone.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.special import gammaln, logsumexp

MAX_LISTED = 2_000_000
"""Count vectors that are listed for the product form."""


def log_law_of_total(law: np.ndarray, units: np.ndarray, n: int) -> np.ndarray:
    """float64[n·max(units) + 1]: log law of the sum of n independent units, one agent after the other.

    In logarithms throughout: the ends of the law of a thousand agents are far below what a double can hold.
    """
    highest = int(units.max())
    total = np.full(n * highest + 1, -np.inf)
    total[0] = 0.0
    for agents in range(n):
        before, length = total[: agents * highest + 1].copy(), agents * highest + 1
        total[: length + highest] = -np.inf
        for u, p in zip(units.tolist(), law.tolist(), strict=True):
            if p > 0.0:
                part = total[u : u + length]
                np.logaddexp(part, before + math.log(p), out=part)
    return total


def log_ratios(log_pi: np.ndarray, log_mu: np.ndarray) -> np.ndarray:
    """log π − log μ, −inf where π is 0 and infinite where μ alone is."""
    found = np.full(log_pi.shape, -np.inf)
    seen = log_pi > -np.inf
    found[seen] = log_pi[seen] - log_mu[seen]
    return found


def log_second_moment_of_marginal(log_pi: np.ndarray, log_mu: np.ndarray) -> float:
    """log E_μ[w²] of w = π/μ for laws of a total; infinite where π does what μ never does."""
    return float(logsumexp(log_pi + log_ratios(log_pi, log_mu)))


def excess_of_marginal(log_pi: np.ndarray, log_mu: np.ndarray, clip: float) -> float:
    """E_μ[(w − clip)⁺] = Σ (π − clip·μ)⁺ for laws of a total."""
    return 0.0 if clip == math.inf else float(np.maximum(np.exp(log_pi) - clip * np.exp(log_mu), 0.0).sum())


def excess_of_product(pi: np.ndarray, mu: np.ndarray, n: int, clip: float) -> float:
    """The same of the product form, over all count vectors of n agents; NaN if there are too many to list."""
    n_al = len(pi)
    if clip == math.inf:
        return 0.0
    if math.comb(n + n_al - 1, n_al - 1) > MAX_LISTED:
        return math.nan
    terms = []
    for first in itertools.product(range(n + 1), repeat=max(n_al - 2, 0)):
        left = n - sum(first)
        if left < 0:
            continue
        last = np.arange(left + 1) if n_al > 1 else np.array([left])
        counts = [np.full(last.shape, c) for c in first] + ([last, left - last] if n_al > 1 else [last])
        log_ways = gammaln(n + 1) - sum(gammaln(c + 1) for c in counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_pi, log_mu = (
                log_ways + sum(np.where(c > 0, c * np.log(law[a]), 0.0) for a, c in enumerate(counts))
                for law in (pi, mu)
            )
        terms.append(np.maximum(np.exp(log_pi) - clip * np.exp(log_mu), 0.0).sum())
    return math.fsum(terms)


def log_second_moment_of_product(pi: np.ndarray, mu: np.ndarray, n: int) -> float:
    """log E_μ[w²] = n log(1 + χ²) of the product form."""
    with np.errstate(divide="ignore"):
        return float(n * logsumexp(2.0 * np.log(pi[pi > 0.0]) - np.log(mu[pi > 0.0])))
