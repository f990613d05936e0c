"""Expectation replaced by one next count vector: the mean, rounded by largest remainders. A baseline, not an expectation."""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..lattice import rank_counts

# Means that differ by rounding only must round alike.
DECIMALS_SCALE = 1e9


@kernel
def round_largest_remainder(mean, out_counts):
    """Round a vector with an integer sum to integers of the same sum.

    Every entry is rounded down; the missing units go to the largest remainders, ties to the lowest index. Entries are first
    rounded to nine decimals, so that the rounding error of the mean decides nothing.

    Parameters
    ----------
    mean : float64[S]        non-negative, adds up to an integer; overwritten by the remainders
    out_counts : int64[S]    overwritten
    """
    total = 0.0
    floors = np.int64(0)
    for s in range(mean.shape[0]):
        total += mean[s]
        exact = np.round(mean[s] * DECIMALS_SCALE) / DECIMALS_SCALE
        out_counts[s] = np.int64(np.floor(exact))
        mean[s] = exact - out_counts[s]
        floors += out_counts[s]
    for _ in range(np.int64(np.round(total)) - floors):
        best = 0
        for s in range(1, mean.shape[0]):
            if mean[s] > mean[best] + 0.5 / DECIMALS_SCALE:
                best = s
        out_counts[best] += 1
        mean[best] = -1.0


@kernel
def fill_rounded_next(categories, laws, sizes, out_next):
    """Rank of the rounded mean next counts, for each item.

    Parameters
    ----------
    categories : int64[n_items, C]         agents of each category
    laws : float64[n_laws, C, n_sl]        next-state law of each category; item i uses law i mod n_laws
    sizes : int64[n_sl + 1, k + 1]
    out_next : int32[n_items, 1]           overwritten
    """
    n_sl = laws.shape[2]
    mean, counts = np.empty(n_sl), np.empty(n_sl, np.int64)
    for item in range(categories.shape[0]):
        mean[:] = 0.0
        for category in range(categories.shape[1]):
            for s in range(n_sl):
                mean[s] += categories[item, category] * laws[item % laws.shape[0], category, s]
        round_largest_remainder(mean, counts)
        out_next[item, 0] = rank_counts(counts, sizes)
