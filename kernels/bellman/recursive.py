"""Bellman sweeps by the lattice recursion: the fallback where the faster exact methods are too large or unstable.

A *choice* h fixes the next-state law of every category of agents. Class `joint` has one choice, whose categories are the
(state, action) pairs; the other classes have a choice for each local policy or histogram, with the states as categories.
An *item* is one local decision for a count vector; items are numbered within their count vector in the order of
(choice, z).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..compilation import kernel
from ..expectation.recursion import expect_by_recursion
from ..lattice import advance_counts, rank_counts


@kernel
def fold_items(
    expected, k, rewards, category_state, sizes, threshold, a_g, item_count, out_value, out_action, out_item
):
    """Fold Q of one (a_g, choice) into the maximum, or record the first items that reach the threshold.

    Parameters
    ----------
    expected : float64[|Λ(k, C)|]
    k : int
    rewards : float64[C]            per agent, divided by k
    category_state : int64[C]
    sizes : int64[n_sl + 1, k + 1]
    threshold : float64[n_c]        -inf everywhere means: fold the maximum
    a_g : int
    item_count : int64[n_c]         items seen so far under this a_g; updated
    out_value : float64[n_c]        updated
    out_action : int32[n_c], out_item : int64[n_c]    updated where still negative and the threshold is reached
    """
    z = np.zeros(rewards.shape[0], np.int64)
    z[rewards.shape[0] - 1] = k
    counts = np.zeros(sizes.shape[0] - 1, np.int64)
    for position in range(expected.shape[0]):
        counts[:] = 0
        q = expected[position]
        for category in range(z.shape[0]):
            counts[category_state[category]] += z[category]
            q += z[category] * rewards[category]
        c = rank_counts(counts, sizes)
        if q > out_value[c]:
            out_value[c] = q
        if out_action[c] < 0 and q >= threshold[c]:
            out_action[c] = a_g
            out_item[c] = item_count[c]
        item_count[c] += 1
        advance_counts(z)


@kernel(parallel=True)
def sweep_recursion(
    mixed, laws, rewards, category_state, k, sizes, successors, level_start, threshold, out_value, out_action, out_item
):
    """Back up every (s_g, count vector) over all items and global actions; one s_g to a thread.

    Ties go to the lowest (a_g, item) among those that reach the threshold.

    Parameters
    ----------
    mixed : float64[n_sg, n_ag, n_c]          from `global_agent.mix_values`
    laws : float64[n_sg, n_h, C, n_sl]        next-state laws of the categories under each choice
    rewards : float64[n_sg, n_h, C]           of one agent, divided by k
    category_state : int64[C]
    k : int
    sizes : int64[n_sl + 1, k + 1]
    successors, level_start : as in `expect_by_recursion`
    threshold : float64[n_sg, n_c]            +inf: no greedy item is looked for
    out_value : float64[n_sg, n_c]            overwritten
    out_action : int32[n_sg, n_c], out_item : int64[n_sg, n_c]    overwritten, -1 where nothing reaches the threshold
    """
    n_sg, n_ag, n_c = mixed.shape
    n_categories = laws.shape[2]
    n_z = np.int64(1)
    for i in range(1, n_categories):
        n_z = n_z * (k + i) // i
    for state in prange(n_sg):
        s_g = np.int64(state)
        scratch = np.empty((n_categories + 1, level_start[k + 1]))
        expected = np.empty(n_z)
        item_count = np.empty(n_c, np.int64)
        out_value[s_g, :] = -np.inf
        out_action[s_g, :] = -1
        out_item[s_g, :] = -1
        for a_g in range(n_ag):
            item_count[:] = 0
            for h in range(laws.shape[1]):
                expect_by_recursion(mixed[s_g, a_g], laws[s_g, h], k, successors, level_start, scratch, expected)
                fold_items(
                    expected, k, rewards[s_g, h], category_state, sizes, threshold[s_g], a_g, item_count,
                    out_value[s_g], out_action[s_g], out_item[s_g],
                )  # fmt: skip
