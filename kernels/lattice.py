"""Count vectors: the lattice Λ(m, S) of S non-negative integers that add up to m.

One rank order everywhere: lexicographic in (c_0, …, c_{S-1}), ascending. Λ(2, 3) is 002, 011, 020, 101, 110, 200.
The number of vectors below c with the same first entries is a difference of two lattice sizes, so a rank costs S
table look-ups and no loop over entries.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import kernel

# Ranks are stored as int32 in index tables.
MAX_RANK = 2**31 - 1


def lattice_size(m: int, n_states: int) -> int:
    """Number of count vectors |Λ(m, n_states)| = C(m + n_states - 1, n_states - 1), as an exact Python integer."""
    if n_states == 0:
        return int(m == 0)
    return math.comb(m + n_states - 1, n_states - 1)


@kernel
def lattice_sizes(m, n_states):
    """Table of lattice sizes: entry [S, j] is |Λ(j, S)|.

    Returns
    -------
    int64[n_states + 1, m + 1]    the caller makes sure that the largest entry fits (see `lattice_size`)
    """
    sizes = np.zeros((n_states + 1, m + 1), np.int64)
    sizes[0, 0] = 1
    for states in range(1, n_states + 1):
        total = 0
        for j in range(m + 1):
            total += sizes[states - 1, j]
            sizes[states, j] = total
    return sizes


@kernel
def rank_counts(counts, sizes):
    """Position of a count vector in the lexicographic order of its lattice.

    Parameters
    ----------
    counts : int[S]
    sizes : int64[≥ S + 1, ≥ m + 1]    from `lattice_sizes`

    Returns
    -------
    int64
    """
    n_states = counts.shape[0]
    rest = np.int64(0)
    for s in range(n_states):
        rest += counts[s]
    rank = np.int64(0)
    for s in range(n_states - 1):
        left = rest - counts[s]
        rank += sizes[n_states - s, rest] - sizes[n_states - s, left]
        rest = left
    return rank


@kernel
def unrank_counts(rank, m, sizes, out_counts):
    """Write the count vector of the given rank in Λ(m, S); the inverse of `rank_counts`.

    Parameters
    ----------
    rank : int    in [0, |Λ(m, S)|)
    m : int
    sizes : int64[≥ S + 1, ≥ m + 1]
    out_counts : int[S]    overwritten
    """
    n_states = out_counts.shape[0]
    below = np.int64(rank)
    rest = np.int64(m)
    for s in range(n_states - 1):
        entry = np.int64(0)
        while below >= sizes[n_states - s - 1, rest - entry]:
            below -= sizes[n_states - s - 1, rest - entry]
            entry += 1
        out_counts[s] = entry
        rest -= entry
    out_counts[n_states - 1] = rest


@kernel
def advance_counts(counts):
    """Step a count vector to its successor in the same lattice, in place; False (and unchanged) at the last one."""
    last = counts.shape[0] - 1
    for s in range(last - 1, -1, -1):
        tail = np.int64(0)
        for t in range(s + 1, last + 1):
            tail += counts[t]
        if tail > 0:
            counts[s] += 1
            for t in range(s + 1, last):
                counts[t] = 0
            counts[last] = tail - 1
            return True
    return False


@kernel
def enumerate_counts(m, out_counts):
    """List Λ(m, S) in rank order.

    Parameters
    ----------
    m : int
    out_counts : int64[|Λ(m, S)|, S]    overwritten
    """
    n_counts, n_states = out_counts.shape
    counts = np.zeros(n_states, np.int64)
    counts[n_states - 1] = m
    for i in range(n_counts):
        # Entry by entry: numba compiles the message of a failed array assignment for three seconds.
        for s in range(n_states):
            out_counts[i, s] = counts[s]
        advance_counts(counts)


@kernel
def fill_successors(m, sizes, out_rank):
    """Ranks in Λ(m + 1, S) of c + e_j, for every c in Λ(m, S) and every j.

    Parameters
    ----------
    m : int
    sizes : int64[≥ S + 1, ≥ m + 2]
    out_rank : int32[|Λ(m, S)|, S]    overwritten
    """
    n_counts, n_states = out_rank.shape
    counts = np.zeros(n_states, np.int64)
    counts[n_states - 1] = m
    for i in range(n_counts):
        for j in range(n_states):
            counts[j] += 1
            out_rank[i, j] = rank_counts(counts, sizes)
            counts[j] -= 1
        advance_counts(counts)


@kernel
def fill_moves(m, sizes, out_rank):
    """Ranks of the neighbours c - e_i + e_j of every c in Λ(m, S); -1 where c_i = 0.

    Parameters
    ----------
    m : int
    sizes : int64[≥ S + 1, ≥ m + 1]
    out_rank : int32[|Λ(m, S)|, S, S]    overwritten, axes are c, i, j
    """
    n_counts, n_states = out_rank.shape[0], out_rank.shape[1]
    counts = np.zeros(n_states, np.int64)
    counts[n_states - 1] = m
    for c in range(n_counts):
        for i in range(n_states):
            for j in range(n_states):
                out_rank[c, i, j] = -1
            if counts[i] == 0:
                continue
            counts[i] -= 1
            for j in range(n_states):
                counts[j] += 1
                out_rank[c, i, j] = rank_counts(counts, sizes)
                counts[j] -= 1
            counts[i] += 1
        advance_counts(counts)


@kernel
def fill_sums(first_counts, second_counts, sizes, out_rank):
    """Ranks of c + c' for every pair of two lattices over the same states.

    Parameters
    ----------
    first_counts : int64[n_first, S]
    second_counts : int64[n_second, S]
    sizes : int64[≥ S + 1, ≥ m + 1]    m the sum of both totals
    out_rank : int32[n_first, n_second]    overwritten
    """
    n_states = first_counts.shape[1]
    total = np.zeros(n_states, np.int64)
    for i in range(first_counts.shape[0]):
        for j in range(second_counts.shape[0]):
            for s in range(n_states):
                total[s] = first_counts[i, s] + second_counts[j, s]
            out_rank[i, j] = rank_counts(total, sizes)


@kernel
def fill_relabelled(m, order, sizes, out_rank):
    """Ranks of the vectors d with d_j = c_{order[j]}, for every c in Λ(m, S).

    Parameters
    ----------
    m : int
    order : int64[S]    a permutation of the states
    sizes : int64[≥ S + 1, ≥ m + 1]
    out_rank : int32[|Λ(m, S)|]    overwritten
    """
    n_states = order.shape[0]
    counts = np.zeros(n_states, np.int64)
    relabelled = np.zeros(n_states, np.int64)
    counts[n_states - 1] = m
    for i in range(out_rank.shape[0]):
        for j in range(n_states):
            relabelled[j] = counts[order[j]]
        out_rank[i] = rank_counts(relabelled, sizes)
        advance_counts(counts)
