"""Exact E[V(c') | z] by the lattice recursion: always stable, no large tables, the fallback of the other two.

With (T_p V)(c) = Σ_j p_j V(c + e_j), which maps values on Λ(m) to values on Λ(m - 1), the operators of different
agents commute and E[V(c') | z] is the product of one operator for every agent, applied to V. The kernel walks all z as a
tree over the categories, so that what joint actions have in common is applied once. (This is de Casteljau's algorithm:
V is the control net of a Bézier polynomial of degree k on the simplex.)
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel


@kernel
def apply_agent(values, law, successors, out_values):
    """Apply one agent's operator: out[c] = Σ_j law[j] values[c + e_j] for every c in Λ(m - 1, S).

    `out_values` may be `values`: entry c reads entries of rank c and above only.

    Parameters
    ----------
    values : float64[≥ |Λ(m, S)|]
    law : float64[S]
    successors : int32[|Λ(m - 1, S)|, S]    from `fill_successors`
    out_values : float64[≥ |Λ(m - 1, S)|]   overwritten
    """
    for c in range(successors.shape[0]):
        total = 0.0
        for j in range(law.shape[0]):
            total += law[j] * values[successors[c, j]]
        out_values[c] = total


@kernel
def fill_repeated_law(law, k, successors, level_start, out_pmf):
    """Laws of the next counts of m agents that follow one row, for m = 0 … k, one after the other.

    Parameters
    ----------
    law : float64[S]
    k : int
    successors : int32[…, S]     all levels, flat: level m from level_start[m]
    level_start : int64[k + 2]   |Λ(0, S)| + … + |Λ(m - 1, S)|
    out_pmf : float64[level_start[k + 1]]    overwritten
    """
    out_pmf[:] = 0.0
    out_pmf[0] = 1.0
    for m in range(k):
        here, above = level_start[m], level_start[m + 1]
        for c in range(above - here):
            for j in range(law.shape[0]):
                out_pmf[above + successors[here + c, j]] += law[j] * out_pmf[here + c]


@kernel
def expect_by_recursion(values, laws, k, successors, level_start, scratch, out_expected):
    """E[V(c') | z] for every z in Λ(k, C), in rank order.

    Costs about |Λ(k, S + C)| · S multiplications.

    Parameters
    ----------
    values : float64[|Λ(k, S)|]
    laws : float64[C, S]         next-state law of each category of agents
    k : int
    successors, level_start : as in `fill_repeated_law`
    scratch : float64[C + 1, ≥ level_start[k + 1]]
    out_expected : float64[|Λ(k, C)|]    overwritten
    """
    n_categories = laws.shape[0]
    last = n_categories - 1
    pmf = scratch[n_categories]
    fill_repeated_law(laws[last], k, successors, level_start, pmf)
    for c in range(values.shape[0]):
        scratch[0, c] = values[c]
    # After categories 0 … i - 1 the values stand in scratch row at[i], on the lattice of the agents still left.
    at = np.zeros(n_categories, np.int64)
    z = np.zeros(n_categories, np.int64)
    rest = np.int64(k)
    position = 0
    while True:
        leaf = scratch[at[last]]
        start = level_start[rest]
        total = 0.0
        for c in range(level_start[rest + 1] - start):
            total += pmf[start + c] * leaf[c]
        out_expected[position] = total
        position += 1
        # Step z to its successor: the last category but one that can take an agent takes it, those after it give theirs back.
        i = last - 1
        while i >= 0 and rest == 0:
            rest += z[i]
            z[i] = 0
            i -= 1
        if i < 0:
            return
        z[i] += 1
        rest -= 1
        source = scratch[at[i]] if z[i] == 1 else scratch[i + 1]
        apply_agent(source, laws[i], successors[level_start[rest] : level_start[rest + 1]], scratch[i + 1])
        for later in range(i + 1, n_categories):
            at[later] = i + 1
