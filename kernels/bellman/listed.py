"""Bellman sweeps over listed next count vectors: the sampled and the rounded expectation, every action class."""

from __future__ import annotations

import numpy as np
from numba import prange

from ..compilation import kernel

BLOCK = 512


@kernel
def q_of_item(mixed, next_counts, reward):
    """Mean of the mixed values over the listed next counts, plus the local reward."""
    total = 0.0
    for sample in range(next_counts.shape[0]):
        total += mixed[next_counts[sample]]
    return total / next_counts.shape[0] + reward


@kernel(parallel=True)
def best_mixed_values(value, P_g, r_g, gamma, n_kept, out_best):
    """The largest mixed value: max_a r_g[s_g, a_g] + γ Σ_{s_g'} P_g[s_g, a_g, s_g'] V(s_g', ·), in blocks that stay in the cache.

    Parameters
    ----------
    value : float64[n_next, n_c]
    P_g : float64[n_sg, n_ag, n_next]
    r_g : float64[n_sg, n_ag]
    gamma : float
    n_kept : int64[n_sg]              global actions to look at, from the first
    out_best : float64[n_sg, n_c]     overwritten
    """
    n_sg, n_c = out_best.shape
    for block in prange(-(-n_c // BLOCK)):
        first = np.int64(block) * BLOCK
        last = min(first + BLOCK, n_c)
        mixed = np.empty(last - first)
        for s_g in range(n_sg):
            best = out_best[s_g, first:last]
            best[:] = -np.inf
            for a_g in range(n_kept[s_g]):
                mixed[:] = r_g[s_g, a_g]
                for s_next in range(value.shape[0]):
                    # The order of sums, and the terms left out, are those of `global_agent.mix_pair`: the same bits.
                    weight = gamma * P_g[s_g, a_g, s_next]
                    if weight != 0.0:
                        _add_scaled(value[s_next, first:last], weight, mixed)
                _keep_larger(mixed, best)


@kernel
def _add_scaled(row, weight, out_sum):
    for c in range(out_sum.shape[0]):
        out_sum[c] += weight * row[c]


@kernel
def _keep_larger(row, out_best):
    for c in range(out_best.shape[0]):
        out_best[c] = row[c] if row[c] > out_best[c] else out_best[c]


@kernel(parallel=True)
def sweep_single(best, item_start, rewards, next_counts, out_value):
    """Back up every (s_g, count vector) over its items where each has one next count vector: the action is chosen there.

    Parameters
    ----------
    best : float64[n_sg, n_next]           from `best_mixed_values`
    item_start : int64[n_c + 1]            items of count vector c are item_start[c] … item_start[c + 1] - 1
    rewards : float64[n_sg, n_items]       mean local reward
    next_counts : int32[n_sg, n_items, 1]
    out_value : float64[n_sg, n_c]         overwritten; of all next count vectors, or of some of them
    """
    n_sg, n_c = out_value.shape
    for block in prange(-(-n_c // BLOCK)):
        first = np.int64(block) * BLOCK
        last = min(first + BLOCK, n_c)
        for s_g in range(n_sg):
            row = best[s_g]
            for c in range(first, last):
                highest = -np.inf
                for item in range(item_start[c], item_start[c + 1]):
                    highest = max(highest, row[next_counts[s_g, item, 0]] + rewards[s_g, item])
                out_value[s_g, c] = highest


@kernel(parallel=True)
def sweep_listed(mixed, item_start, rewards, next_counts, tie, out_value, out_action, out_item):
    """Back up every (s_g, count vector) over its items and the global actions.

    Parameters
    ----------
    mixed : float64[n_sg, n_ag, n_next]    from `global_agent.mix_values`
    item_start : int64[n_c + 1]            items of count vector c are item_start[c] … item_start[c + 1] - 1
    rewards : float64[n_sg, n_items]       mean local reward
    next_counts : int32[n_sg, n_items, m]
    tie : float                            the lowest (a_g, item) within this of the maximum is reported; negative: none
    out_value : float64[n_sg, n_c]         overwritten; of all next count vectors, or of some of them
    out_action : int32[n_sg, n_c], out_item : int64[n_sg, n_c]    overwritten; the item counts from 0 in its
        count vector; -1 where none is reported
    """
    n_sg, n_ag = mixed.shape[:2]
    n_c = out_value.shape[1]
    for cell in prange(n_sg * n_c):
        s_g, c = np.int64(cell) // n_c, np.int64(cell) % n_c
        best = -np.inf
        for a_g in range(n_ag):
            for item in range(item_start[c], item_start[c + 1]):
                q = q_of_item(mixed[s_g, a_g], next_counts[s_g, item], rewards[s_g, item])
                best = q if q > best else best
        out_value[s_g, c] = best
        out_action[s_g, c] = -1
        out_item[s_g, c] = -1
        if tie < 0.0:
            continue
        for a_g in range(n_ag):
            if out_action[s_g, c] >= 0:
                break
            for item in range(item_start[c], item_start[c + 1]):
                if q_of_item(mixed[s_g, a_g], next_counts[s_g, item], rewards[s_g, item]) >= best - tie:
                    out_action[s_g, c] = a_g
                    out_item[s_g, c] = item - item_start[c]
                    break
