"""Exact laws of what n agents do when each of them looks at a few others.

An agent acts on the counts c of a sample without replacement. Given the counts N of all n agents, the law of its action
is a mean of the policy's rows under the multivariate hypergeometric law HG(c; N, m), which is proportional to
Π_s C(N_s, c_s): with one table of factors per state, a term of the sum costs one product per state whatever n is.

An agent in state s knows itself and sees m = k − 1 others, HG(c; N − e_s, m) ∝ HG(c; N, m) (N_s − c_s), so one set of
weights serves the agents of all states. What is averaged is therefore laid out over the *others* in the sample: see
`arrange_local_laws` and `arrange_local_outcomes`.

The steps of one population's sum are inlined: counting the references of their arrays would take longer than the sum
itself (36 samples of 3 states: 390 ns with three nested calls, 190 ns inlined). The sum as a whole is a function of its
own, so that a table and a step that does without one get the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compilation import kernel
from .lattice import advance_counts, lattice_sizes

# A sum over 1275 samples takes 110 ns reassociated into vector lanes, 430 ns in order.
_SUMS = {"nsz", "reassoc"}


class SampleSpace(NamedTuple):
    """Λ(m, S), the samples of m agents, listed once for all threads; see `make_sample_space`."""

    sizes: np.ndarray  # int64[S + 1, m + 1], from `lattice_sizes`
    entries: np.ndarray  # uint32[S, n_c]: entry s of every sample; unsigned, so that they index without a sign check
    starts: np.ndarray  # int64[m + 2]: the samples with first entry j are at starts[j] … starts[j + 1]


class SampleScratch(NamedTuple):
    """Room for the weights of one population; every thread needs its own. See `make_sample_scratch`."""

    factors: np.ndarray  # float64[S, m + 1]
    weights: np.ndarray  # float64[n_c]
    tilted: np.ndarray  # float64[n_c]
    cells: np.ndarray  # int64[n_c]
    counts: np.ndarray  # int64[2, S]


@kernel
def make_sample_space(m, n_states):
    """List Λ(m, n_states) as a SampleSpace."""
    sizes = lattice_sizes(m, n_states)
    entries = np.empty((n_states, sizes[n_states, m]), np.uint32)
    starts = np.zeros(m + 2, np.int64)
    sample = np.zeros(n_states, np.int64)
    sample[n_states - 1] = m
    for c in range(entries.shape[1]):
        for s in range(n_states):
            entries[s, c] = sample[s]
        starts[sample[0] + 1] = c + 1
        advance_counts(sample)
    return SampleSpace(sizes, entries, starts)


@kernel
def make_sample_scratch(space):
    """Allocate a SampleScratch for a SampleSpace."""
    n_states, n_c = space.entries.shape
    return SampleScratch(
        np.zeros((n_states, space.sizes.shape[1])),
        np.zeros(n_c),
        np.zeros(n_c),
        np.zeros(n_c, np.int64),
        np.zeros((2, n_states), np.int64),
    )


@kernel(inline="always", error_model="numpy")
def fill_sample_factors(population, m, out_factors):
    """Factors whose products are proportional to HG(c; N, m): f_s(j) ∝ C(N_s, j) (m/(n − m))**j, largest 1.

    With these odds the factors of state s are the law of a binomial with mean N_s m/n, so that the products do not
    overflow and, where they matter, do not underflow, for any n and m.

    Parameters
    ----------
    population : int64[S]   N, adding up to at least m
    m : int64
    out_factors : float64[S, m + 1]   overwritten
    """
    n_states = population.shape[0]
    n = np.int64(0)
    for s in range(n_states):
        n += population[s]
    for s in range(n_states):
        count = population[s]
        if n == m:
            for j in range(m + 1):
                out_factors[s, j] = 1.0 if j == count else 0.0
            continue
        odds = m / (n - m)
        mode = (count + 1) * m // n
        factor = 1.0
        for j in range(mode, m):
            out_factors[s, j] = factor
            factor *= max(count - j, 0) * (odds / (j + 1.0))
        out_factors[s, m] = factor
        factor = 1.0
        for j in range(mode, 0, -1):
            factor *= j / ((count - j + 1.0) * odds)
            out_factors[s, j - 1] = factor


@kernel(forceinline=True)
def _first_factors(factors, entries, out_weights):
    for c in range(out_weights.shape[0]):
        out_weights[c] = factors[entries[c]]


@kernel(forceinline=True)
def _times_factors(factors, entries, out_weights):
    for c in range(out_weights.shape[0]):
        out_weights[c] *= factors[entries[c]]


@kernel(inline="always", error_model="numpy")
def fill_sample_weights(population, space, scratch):
    """Weights proportional to HG(c; N, m), into `scratch.weights[begin:end]`; all others are 0.

    Returns
    -------
    (begin, end) : int64   the samples whose first entry is possible
    """
    n_states = population.shape[0]
    m = space.sizes.shape[1] - 1
    fill_sample_factors(population, m, scratch.factors)
    others = np.int64(0)
    for s in range(1, n_states):
        others += population[s]
    begin = space.starts[max(0, m - others)]
    end = space.starts[min(m, population[0]) + 1]
    weights = scratch.weights[begin:end]
    _first_factors(scratch.factors[0], space.entries[0, begin:end], weights)
    for s in range(1, n_states):
        _times_factors(scratch.factors[s], space.entries[s, begin:end], weights)
    return begin, end


@kernel(error_model="numpy")
def fill_sparse_weights(population, space, scratch):
    """The same weights where some states are empty: walk the samples of the other states alone.

    `scratch.cells` gets their ranks, in ascending order, and `scratch.weights` their weights.

    Returns
    -------
    int64   how many
    """
    n_states = population.shape[0]
    m = space.sizes.shape[1] - 1
    fill_sample_factors(population, m, scratch.factors)
    n_occupied = 0
    for s in range(n_states):
        if population[s] > 0:
            scratch.counts[0, n_occupied] = s
            n_occupied += 1
    occupied = scratch.counts[0, :n_occupied]
    sample = scratch.counts[1, :n_occupied]
    sample[:] = 0
    sample[n_occupied - 1] = m
    n_cells = 0
    while True:
        weight, rank, rest = 1.0, np.int64(0), np.int64(m)
        for i in range(n_occupied):
            s = occupied[i]
            weight *= scratch.factors[s, sample[i]]
            # As in `rank_counts`, where an entry of 0 adds nothing.
            rank += space.sizes[n_states - s, rest] - space.sizes[n_states - s, rest - sample[i]]
            rest -= sample[i]
        if weight > 0.0:
            scratch.cells[n_cells] = rank
            scratch.weights[n_cells] = weight
            n_cells += 1
        if not advance_counts(sample):
            return n_cells


@kernel(forceinline=True, fastmath=_SUMS)
def _tilt(weights, entries, count, out_tilted):
    """Weights times (N_s − c_s); returns their sum."""
    total = 0.0
    for c in range(weights.shape[0]):
        tilted = weights[c] * (count - entries[c])
        out_tilted[c] = tilted
        total += tilted
    return total


@kernel(forceinline=True, fastmath=_SUMS)
def _weighted_sum(weights, values):
    total = 0.0
    for c in range(weights.shape[0]):
        total += weights[c] * values[c]
    return total


@kernel(error_model="numpy")
def lumped_local_means(rows, s_g, population, space, scratch, out_means):
    """Mean row of an agent in each state, over the sample that it draws: Σ_c HG(c; N − e_s, k − 1) rows[s_g, s, :, c].

    With the rows of `arrange_local_laws` these are the laws of the action π̄_l(a | s_g, s, N).

    Parameters
    ----------
    rows : float64[n_sg, S, n_x, |Λ(k − 1, S)|]
    s_g : int64
    population : int64[S]   N, adding up to at least k
    space : SampleSpace     of Λ(k − 1, S)
    scratch : SampleScratch   overwritten
    out_means : float64[S, n_x]   overwritten; 0 where a state is empty
    """
    n_states, n_x = out_means.shape
    n_occupied = 0
    for s in range(n_states):
        n_occupied += population[s] > 0
    if n_occupied < n_states:
        _sparse_local_means(rows, s_g, population, space, scratch, out_means)
        return
    begin, end = fill_sample_weights(population, space, scratch)
    weights = scratch.weights[begin:end]
    tilted = scratch.tilted[begin:end]
    for s in range(n_states):
        total = _tilt(weights, space.entries[s, begin:end], float(population[s]), tilted)
        for x in range(n_x):
            out_means[s, x] = _weighted_sum(tilted, rows[s_g, s, x, begin:end]) / total


@kernel(error_model="numpy")
def _sparse_local_means(rows, s_g, population, space, scratch, out_means):
    n_states, n_x = out_means.shape
    n_cells = fill_sparse_weights(population, space, scratch)
    for s in range(n_states):
        total = 0.0
        for x in range(n_x):
            out_means[s, x] = 0.0
        if population[s] == 0:
            continue
        for i in range(n_cells):
            cell = scratch.cells[i]
            tilted = scratch.weights[i] * (population[s] - np.int64(space.entries[s, cell]))
            total += tilted
            for x in range(n_x):
                out_means[s, x] += tilted * rows[s_g, s, x, cell]
        for x in range(n_x):
            out_means[s, x] /= total


@kernel(inline="always", error_model="numpy")
def lumped_global_law(global_action, s_g, population, space, scratch, out_law):
    """Law of the global action, π̄_g(a_g | s_g, N) = Σ_c HG(c; N, k) 1[global_action[s_g, c] = a_g].

    Parameters
    ----------
    global_action : int32[n_sg, |Λ(k, S)|]
    s_g : int64
    population : int64[S]   N, adding up to at least k
    space : SampleSpace     of Λ(k, S)
    scratch : SampleScratch   overwritten
    out_law : float64[n_ag]   overwritten
    """
    begin, end = fill_sample_weights(population, space, scratch)
    out_law[:] = 0.0
    total = 0.0
    for c in range(begin, end):
        total += scratch.weights[c]
        out_law[global_action[s_g, c]] += scratch.weights[c]
    for a in range(out_law.shape[0]):
        out_law[a] /= total


@kernel
def arrange_local_laws(local_action, successors, out_rows):
    """Lay the local policy out for `lumped_local_means`: rows[s_g, s, a, c] = local_action[s_g, s, c + e_s, a].

    Parameters
    ----------
    local_action : float64[n_sg, S, |Λ(k, S)|, n_al]
    successors : int32[|Λ(k − 1, S)|, S]   from `fill_successors`
    out_rows : float64[n_sg, S, n_al, |Λ(k − 1, S)|]   overwritten
    """
    n_sg, n_states, n_al, n_c = out_rows.shape
    for s_g in range(n_sg):
        for s in range(n_states):
            for c in range(n_c):
                for a in range(n_al):
                    out_rows[s_g, s, a, c] = local_action[s_g, s, successors[c, s], a]


@kernel
def arrange_local_outcomes(local_action, P_l, r_l, successors, out_rows):
    """As `arrange_local_laws`, for what comes of the action: rows[s_g, s, :S, c] is the law of the next local state,
    and rows[s_g, s, S, c] the mean local reward.

    Parameters
    ----------
    local_action : float64[n_sg, S, |Λ(k, S)|, n_al]
    P_l : float64[n_sg, S, n_al, S]
    r_l : float64[n_sg, S, n_al]
    successors : int32[|Λ(k − 1, S)|, S]
    out_rows : float64[n_sg, S, S + 1, |Λ(k − 1, S)|]   overwritten
    """
    n_sg, n_states, _, n_c = out_rows.shape
    out_rows[:] = 0.0
    for s_g in range(n_sg):
        for s in range(n_states):
            for c in range(n_c):
                for a in range(r_l.shape[2]):
                    p = local_action[s_g, s, successors[c, s], a]
                    for t in range(n_states):
                        out_rows[s_g, s, t, c] += p * P_l[s_g, s, a, t]
                    out_rows[s_g, s, n_states, c] += p * r_l[s_g, s, a]


@kernel(nogil=True, error_model="numpy")
def tabulate_local_means(rows, populations, space, out_means):
    """`lumped_local_means` of many populations.

    Parameters
    ----------
    rows : float64[n_sg, S, n_x, |Λ(k − 1, S)|]
    populations : int64[n_populations, S]
    space : SampleSpace     of Λ(k − 1, S)
    out_means : float64[n_sg, n_populations, S, n_x]   overwritten
    """
    scratch = make_sample_scratch(space)
    for s_g in range(rows.shape[0]):
        for i in range(populations.shape[0]):
            lumped_local_means(rows, s_g, populations[i], space, scratch, out_means[s_g, i])


@kernel(nogil=True, error_model="numpy")
def tabulate_global_laws(global_action, populations, space, out_laws):
    """`lumped_global_law` of many populations.

    Parameters
    ----------
    global_action : int32[n_sg, |Λ(k, S)|]
    populations : int64[n_populations, S]
    space : SampleSpace     of Λ(k, S)
    out_laws : float64[n_sg, n_populations, n_ag]   overwritten
    """
    scratch = make_sample_scratch(space)
    for s_g in range(global_action.shape[0]):
        for i in range(populations.shape[0]):
            lumped_global_law(global_action, s_g, populations[i], space, scratch, out_laws[s_g, i])
