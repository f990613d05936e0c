"""Heat-bath dynamics of the Ising model on a graph: what sequential learning with the Ising reward settles to.

A site, picked uniformly, forgets its spin and is up with probability 1 / (1 + exp(-2 S / T)), S the sum of its
neighbours' spins. Learners whose Q has reached S · (spin) choose by the same law at T = 2 T_q. The long-run law on an
undirected graph is exp(Σ_edges s_i s_j / T), up to a factor.

Source: Glauber (1963), "Time-dependent statistics of the Ising model", Journal of Mathematical Physics 4.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from ..compilation import kernel
from ..streams import PURPOSE_HEAT_BATH, new_stream, next_uint64, seek
from .sequential import SPACING, split_word


@kernel
def fill_up_laws(temperature, out_up_law):
    """Probability of a spin up for every sum of the neighbours' spins.

    Parameters
    ----------
    temperature : float64                     0 follows the majority, and is fair where there is none
    out_up_law : float64[2 * max_degree + 1]   overwritten, entry S + max_degree for the sum S
    """
    max_degree = out_up_law.shape[0] // 2
    for place in range(out_up_law.shape[0]):
        spins = place - max_degree
        if temperature > 0.0:
            # Past 700 the exponential would overflow, and the law is 0 to all digits.
            out_up_law[place] = 1.0 / (1.0 + math.exp(min(-2.0 * spins / temperature, 700.0)))
        else:
            out_up_law[place] = 0.5 * (1.0 + np.sign(spins))


@kernel(nogil=True)
def _advance_run(seed, run, first_sweep, n_sweeps, every, indptr, indices, up_law, row, up, out_n_up):
    n, max_degree = up.shape[0], up_law.shape[0] // 2
    n_up = np.int64(up.sum())
    stream = new_stream(seed)
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        seek(stream, PURPOSE_HEAT_BATH, run, sweep)
        for _ in range(n):
            i, multiple = split_word(next_uint64(stream), np.uint64(n))
            first, last = indptr[i], indptr[i + 1]
            ups = 0
            for place in range(first, last):
                ups += up[indices[place]]
            spin = np.int32(multiple * SPACING < up_law[2 * ups - (last - first) + max_degree])
            n_up += spin - up[i]
            up[i] = spin
        if (sweep + 1) % every == 0:
            out_n_up[row, (sweep + 1) // every - 1] = n_up


@kernel(parallel=True, nogil=True)
def advance_heat_bath(seed, run, first_sweep, n_sweeps, every, indptr, indices, up_law, up, out_n_up):
    """Go on for some sweeps of n ticks, every run from its own spins.

    Each run owns a row: the same bits for any number of threads, any cut into calls, and any grouping of the runs.
    Magnetisation per site is 2 * out_n_up / n - 1.

    Parameters
    ----------
    seed : uint64
    run : int64[n_runs]                     numbers of the runs in the random streams
    first_sweep, n_sweeps, every : int64    sweeps done before, sweeps to do, sweeps per point
    indptr : int64[n + 1]                   neighbours of i are indices[indptr[i] : indptr[i + 1]]
    indices : int32[nnz]
    up_law : float64[2 * max_degree + 1]    from `fill_up_laws`
    up : int32[n_runs, n]                   updated: 1 is up, 0 down
    out_n_up : int64[n_runs, n_points]      overwritten at the points of these sweeps: point p is sweep (p + 1) * every - 1
    """
    for item in prange(up.shape[0]):
        row = np.int64(item)
        _advance_run(seed, run[row], first_sweep, n_sweeps, every, indptr, indices, up_law, row, up[row], out_n_up)
