"""Expectation replaced by the mean over m next count vectors, drawn once for each (s_g, item).

Because the draws are fixed, the empirical operator is that of one game, and its sweeps contract.
Source: Anand, Karmarkar and Qu (2024), the empirical adapted Bellman operator.
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..draws import draw_multinomial
from ..lattice import rank_counts
from ..streams import PURPOSE_EMPIRICAL, new_stream, seek


@kernel
def fill_sampled_next(categories, laws, sizes, seed, s_g, out_next):
    """Draw the next counts of every item; the draws of item i belong to stream address (seed, run s_g, step i).

    Parameters
    ----------
    categories : int64[n_items, C]         agents of each category
    laws : float64[n_laws, C, n_sl]        next-state law of each category; item i uses law i mod n_laws
    sizes : int64[n_sl + 1, k + 1]
    seed : int
    s_g : int
    out_next : int32[n_items, m]           overwritten, ranks of the next counts
    """
    n_sl = laws.shape[2]
    total, part = np.empty(n_sl, np.int64), np.empty(n_sl, np.int64)
    stream = new_stream(seed)
    for item in range(categories.shape[0]):
        seek(stream, PURPOSE_EMPIRICAL, s_g, item)
        for sample in range(out_next.shape[1]):
            total[:] = 0
            for category in range(categories.shape[1]):
                if categories[item, category] > 0:
                    draw_multinomial(categories[item, category], laws[item % laws.shape[0], category], stream, part)
                    total += part
            out_next[item, sample] = rank_counts(total, sizes)
