"""Certified interval around the optimal value after a Bellman sweep.

With δ = TV - V: V* lies in [TV + γ/(1-γ) min δ, TV + γ/(1-γ) max δ].
Source: MacQueen (1966), A modified dynamic programming method for Markovian decision problems, J. Math. Anal. Appl. 14.
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel


@kernel
def change_range(value, backed_up):
    """Smallest and largest entry of TV - V.

    Parameters
    ----------
    value, backed_up : float64[n_sg, n_c]

    Returns
    -------
    (float, float)
    """
    low, high = np.inf, -np.inf
    for s_g in range(value.shape[0]):
        for c in range(value.shape[1]):
            change = backed_up[s_g, c] - value[s_g, c]
            low = min(low, change)
            high = max(high, change)
    return low, high


@kernel
def certified_offsets(low, high, gamma, sweep_error):
    """Offsets (below, above) such that TV + below ≤ V* ≤ TV + above.

    Parameters
    ----------
    low, high : float        from `change_range`
    gamma : float            in [0, 1)
    sweep_error : float      bound on the rounding error of TV

    Returns
    -------
    (float, float)
    """
    # A sweep that is off by e moves δ by at most e, and TV itself by e.
    slack = sweep_error / (1.0 - gamma)
    factor = gamma / (1.0 - gamma)
    return factor * low - slack, factor * high + slack
