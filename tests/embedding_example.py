"""A simulator of one's own around a learned policy: now and then a storm throws agents into the first local state.

The learned policy knows nothing of storms, and the built-in rollout has none: the loop below is written for the occasion, and
takes what it needs from the kernels. Its cost does not depend on the number of agents.
"""

import numpy as np
from numba import njit

from kofn.kernels.draws import draw_categorical, draw_multinomial, draw_multivariate_hypergeometric
from kofn.kernels.execution import arrange_local_outcomes, lumped_local_means, make_sample_scratch, make_sample_space
from kofn.kernels.lattice import fill_successors, lattice_sizes, rank_counts
from kofn.kernels.streams import PURPOSE_ROLLOUT, new_stream, seek


@njit
def return_with_storms(game, policy, rows, population, steps, storm_every, storm_size, seed, run):
    """Discounted return of one run; every `storm_every` steps so many agents, whoever they are, land in local state 0."""
    P_g, r_g, gamma = game
    global_action, k, space, sizes = policy
    n_sl = population.shape[0]
    stream, scratch, means = new_stream(seed), make_sample_scratch(space), np.empty((n_sl, n_sl + 1))
    sample, moved, population = np.zeros(n_sl, np.int64), np.zeros(n_sl, np.int64), population.copy()
    n, s_g, weight, total = population.sum(), 0, 1.0, 0.0
    for step in range(steps):
        seek(stream, PURPOSE_ROLLOUT, run, step)
        draw_multivariate_hypergeometric(population, k, stream, sample)  # whom the global agent sees
        a_g = global_action[s_g, rank_counts(sample, sizes)]
        lumped_local_means(rows, s_g, population, space, scratch, means)  # where agents go and what they earn
        after, earned = np.zeros(n_sl, np.int64), 0.0
        for s in range(n_sl):
            earned += population[s] * means[s, n_sl]
            draw_multinomial(population[s], means[s, :n_sl], stream, moved)
            after += moved
        total += weight * (r_g[s_g, a_g] + earned / n)
        weight *= gamma
        s_g = draw_categorical(P_g[s_g, a_g], stream)
        if step % storm_every == storm_every - 1:
            draw_multivariate_hypergeometric(after, storm_size, stream, sample)
            after -= sample
            after[0] += storm_size
        population[:] = after
    return total


def tables_for_storms(game, policy):
    """The arguments `game`, `policy` and `rows` of `return_with_storms`, from a Game and a SubsamplePolicy."""
    k, n_sl = policy.k_local, game.n_sl
    space = make_sample_space(k - 1, n_sl)  # the others whom an agent sees
    successors = np.empty((space.entries.shape[1], n_sl), np.int32)
    fill_successors(k - 1, lattice_sizes(k, n_sl), successors)
    rows = np.empty((game.n_sg, n_sl, n_sl + 1, successors.shape[0]))
    arrange_local_outcomes(policy.local_action, game.P_l, game.r_l, successors, rows)
    seen = (policy.global_action, policy.k_global, space, lattice_sizes(policy.k_global, n_sl))
    return (game.P_g, game.r_g, game.gamma), seen, rows
