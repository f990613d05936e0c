"""E[V(c')] over the next states of k labelled agents, and the rounded mean that replaces it in the baseline."""

import functools
import itertools
import math

import numpy as np

from .counts import count_vectors_listed, counts_of, ranks_of_labelled_outcomes

REMAINDER_UNIT = 10**9
"""Means are rounded to one part in this before floors and remainders are taken, so that 0.1 + 0.2 ties with 0.3."""


def expected_value_by_listing_agents(value_at, P_l, s_g, agents, actions):
    """E[value_at[c']] given the states and actions of labelled agents; walks all n_sl**k outcomes.

    `value_at` maps count tuples to numbers. Returns a float (an array if the values are arrays).
    """
    n_sl = len(P_l[s_g])
    expected = 0.0
    for outcome in itertools.product(range(n_sl), repeat=len(agents)):
        p = math.prod(P_l[s_g][s][a][t] for s, a, t in zip(agents, actions, outcome, strict=True))
        expected = expected + p * value_at[counts_of(outcome, n_sl)]
    return expected


def q_by_listing_agents(value_at, P_g, P_l, r_g, r_l, gamma, s_g, agents, a_g, actions):
    """Q of labelled agents by walking every joint outcome; n_sg * n_sl**k terms, keep k <= 5.

    `value_at` maps (s_g', count tuple) to a number.
    """
    k = len(agents)
    q = r_g[s_g][a_g] + sum(r_l[s_g][s][a] for s, a in zip(agents, actions, strict=True)) / k
    for s_next in range(len(P_g)):
        for outcome in itertools.product(range(len(P_l[s_g])), repeat=k):
            p = math.prod(P_l[s_g][s][a][t] for s, a, t in zip(agents, actions, outcome, strict=True))
            q += gamma * P_g[s_g][a_g][s_next] * p * value_at[s_next, counts_of(outcome, len(P_l[s_g]))]
    return q


def next_counts_law(rows):
    """float64[|Λ(k, S)|]: law of the counts of k labelled agents, agent i moving by the probability row rows[i].

    The law of the labelled outcome is the outer product of the rows; outcomes with equal counts are added up.
    """
    k, S = len(rows), len(rows[0])
    labelled = functools.reduce(np.multiply.outer, rows).ravel()
    return np.bincount(ranks_of_labelled_outcomes(k, S), weights=labelled, minlength=len(count_vectors_listed(k, S)))


def largest_remainder_counts(mean):
    """Round a mean that adds up to an integer k to a count vector of k, as a tuple.

    Every state gets the floor of its mean; what is left goes one by one to the largest remainders. Remainders are
    compared after rounding to 1e-9, ties to the lowest index (and floors are taken after that rounding as well).
    """
    k = round(math.fsum(mean))
    floors, remainders = zip(*(divmod(round(x * REMAINDER_UNIT), REMAINDER_UNIT) for x in mean), strict=True)
    by_remainder = sorted(range(len(floors)), key=lambda s: (-remainders[s], s))
    counts = list(floors)
    for s in by_remainder[: k - sum(floors)]:
        counts[s] += 1
    return tuple(counts)


def rounded_next_counts(P_l, s_g, z):
    """The largest-remainder rounding of Σ z[s, a] P_l[s_g, s, a, :], as a tuple.

    `z` has the shape [n_sl, n_al] or is flat, and adds up to an integer; its entries may be fractions.
    """
    _, n_sl, n_al, _ = np.shape(P_l)
    z = np.reshape(z, (n_sl, n_al))
    pairs = list(itertools.product(range(n_sl), range(n_al)))
    mean = [math.fsum(float(z[s, a]) * float(P_l[s_g][s][a][t]) for s, a in pairs) for t in range(n_sl)]
    return largest_remainder_counts(mean)
