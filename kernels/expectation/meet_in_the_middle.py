"""Exact E[V(c') | z] for many joint actions at once, by two matrix products.

The states are split into two groups. For the agents of one group, `laws` has a row per group action (how many agents of
each state play each action) with the law of their next counts. If the first group has m agents, then

    E[V(c') | z_first, z_second] = laws_first[m] · H[m] · laws_second[k - m]ᵀ,     H[m][i, j] = V(c_i + c_j).

Group actions of level m (m agents) are sorted by their row sums, in the order of Λ(m, states of the group); inside one
block of row sums they are counted in mixed radix, the first state slowest. The digit of a state with x agents is its
*row option*: the rank of its row in Λ(x, n_al), or one of n_al pure rows, or the only row of a given local policy.
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..lattice import advance_counts, rank_counts


@kernel
def fill_block_starts(m, n_options, out_start):
    """First group action of every block of row sums, and the number of group actions at the end.

    Parameters
    ----------
    m : int                           agents in the group
    n_options : int64[≥ m + 1]        row options of a state with x agents
    out_start : int64[|Λ(m, S)| + 1, S]    column 0 holds the starts; the shape tells the S states of the group
    """
    n_states = out_start.shape[1]
    counts = np.zeros(n_states, np.int64)
    if n_states > 0:
        counts[n_states - 1] = m
    total = np.int64(0)
    for block in range(out_start.shape[0] - 1):
        out_start[block, 0] = total
        size = np.int64(1)
        for s in range(n_states):
            size *= n_options[counts[s]]
        total += size
        advance_counts(counts)
    out_start[out_start.shape[0] - 1, 0] = total


@kernel
def fill_group_parents(
    m, sizes, n_options, row_offset, row_parent, row_action, start, start_below, out_parent, out_category
):
    """For every group action: the one with an agent less that it grows from, and that agent's (state, action).

    The agent taken away is in the first state that has any and plays the first action played there.

    Parameters
    ----------
    m : int, at least 1
    sizes : int64[≥ S + 1, ≥ m + 1]     from `lattice_sizes`
    n_options : int64[≥ m + 1]
    row_offset : int64[≥ m + 1]         where the rows of x agents start in the next two
    row_parent, row_action : int64[…]   rank of the row with an agent less, and the action it loses
    start, start_below : int64[n_blocks + 1, S]    from `fill_block_starts` for m and m - 1
    out_parent : int64[n_z]             overwritten
    out_category : int64[n_z, 2]        overwritten, position of the state in the group, and the action
    """
    n_states = start.shape[1]
    counts = np.zeros(n_states, np.int64)
    counts[n_states - 1] = m
    for block in range(start.shape[0] - 1):
        first = 0
        while counts[first] == 0:
            first += 1
        agents = counts[first]
        tail = np.int64(1)
        for s in range(first + 1, n_states):
            tail *= n_options[counts[s]]
        counts[first] -= 1
        below = start_below[rank_counts(counts, sizes), 0]
        counts[first] += 1
        for row in range(n_options[agents]):
            parent = below + row_parent[row_offset[agents] + row] * tail
            z = start[block, 0] + row * tail
            for t in range(tail):
                out_parent[z + t] = parent + t
                out_category[z + t, 0] = first
                out_category[z + t, 1] = row_action[row_offset[agents] + row]
        advance_counts(counts)


@kernel
def grow_group_laws(laws_below, rewards_below, parent, category, rows, rewards, successors, out_laws, out_rewards):
    """Laws of the next counts with one agent more: shift and add along the new agent's row.

    Parameters
    ----------
    laws_below : float64[n_z_below, |Λ(m - 1, n_sl)|]
    rewards_below : float64[n_z_below]
    parent, category : from `fill_group_parents`
    rows : float64[S, n_al, n_sl]       next-state laws of the group's states
    rewards : float64[S, n_al]          per agent, already divided by k
    successors : int32[|Λ(m - 1, n_sl)|, n_sl]    from `fill_successors`
    out_laws : float64[n_z, |Λ(m, n_sl)|]    overwritten
    out_rewards : float64[n_z]          overwritten
    """
    n_below, n_sl = successors.shape
    for z in range(out_laws.shape[0]):
        source = parent[z]
        s, a = category[z, 0], category[z, 1]
        out_rewards[z] = rewards_below[source] + rewards[s, a]
        for i in range(out_laws.shape[1]):
            out_laws[z, i] = 0.0
        for j in range(n_sl):
            p = rows[s, a, j]
            if p == 0.0:
                continue
            for i in range(n_below):
                out_laws[z, successors[i, j]] += p * laws_below[source, i]
