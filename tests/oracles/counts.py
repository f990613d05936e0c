"""Count vectors by listing, and the way between counts and labelled agents."""

import functools
import itertools

import numpy as np


def count_vectors_listed(m, S):
    """Λ(m, S): every tuple of S non-negative integers that add up to m, in lexicographic order; (m + 1)**S steps."""
    return list(_count_vectors(m, S))


@functools.cache
def _count_vectors(m, S):
    return tuple(c for c in itertools.product(range(m + 1), repeat=S) if sum(c) == m)


def ranks_listed(m, S):
    """Dict from every count vector of Λ(m, S) to its place in the list."""
    return {c: rank for rank, c in enumerate(_count_vectors(m, S))}


def counts_of(labelled_states, S):
    """How many of the labelled agents are in each of the S states, as a tuple."""
    return tuple(sum(1 for state in labelled_states if state == s) for s in range(S))


def agents_of(counts):
    """One list of labelled states with these counts: the sorted one, as a tuple."""
    return tuple(s for s, count in enumerate(counts) for _ in range(count))


def pairs_of(agents, actions, n_sl, n_al):
    """The flat z of labelled (state, action) pairs: a tuple of n_sl * n_al counts, entry s * n_al + a."""
    return counts_of([s * n_al + a for s, a in zip(agents, actions, strict=True)], n_sl * n_al)


def value_map(values, m, S):
    """Dict from (s_g, count vector) to value, for an array [n_sg, |Λ(m, S)|]."""
    return {(s_g, c): row[rank] for s_g, row in enumerate(values) for rank, c in enumerate(_count_vectors(m, S))}


@functools.cache
def ranks_of_labelled_outcomes(k, S):
    """int64[S**k]: the rank of the counts of every k-tuple of states, tuples in itertools.product order."""
    ranks = ranks_listed(k, S)
    listed = [ranks[counts_of(outcome, S)] for outcome in itertools.product(range(S), repeat=k)]
    result = np.array(listed, dtype=np.int64)
    result.flags.writeable = False
    return result
