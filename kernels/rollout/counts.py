"""Rollouts of the lumped law: a step draws counts, at a cost that does not grow with the number of agents.

Given the global state and the counts, agents act independently and those of one state are alike, so that what they do
is multinomial with the laws of `kernels.execution`. The global action needs no law: it follows from one drawn sample.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from ..draws import draw_categorical, draw_multinomial, draw_multivariate_hypergeometric
from ..execution import lumped_local_means, make_sample_scratch
from ..lattice import rank_counts
from ..streams import PURPOSE_ROLLOUT, new_stream, seek
from .record import next_weight, note_step, put_down_run, take_up_run


class CountRollout(NamedTuple):
    """The game and the policy as a rollout reads them; nothing of it is changed.

    `rows` come from `arrange_local_outcomes` or, if rewards are drawn, from `arrange_local_laws`. `tabulated` holds
    their means for every population; with one column they do not depend on it; with none, each step computes its own.
    """

    P_g: np.ndarray  # float64[n_sg, n_ag, n_sg]
    P_l: np.ndarray  # float64[n_sg, S, n_al, S]
    r_g: np.ndarray  # float64[n_sg, n_ag]
    r_l: np.ndarray  # float64[n_sg, S, n_al]
    global_action: np.ndarray  # int32[n_sg, |Λ(k_global, S)|]
    rows: np.ndarray  # float64[n_sg, S, n_x, |Λ(k_local − 1, S)|]
    tabulated: np.ndarray  # float64[n_sg, 0 or 1 or |Λ(n, S)|, S, n_x]
    sizes: np.ndarray  # int64[S + 1, m + 1] from `lattice_sizes`, m = k_global, or n if there is a table


@kernel(inline="always", error_model="numpy")
def _move_by_mean(means, population, stream, arrivals, out_population):
    """Draw the next counts from the laws means[s, :S]; return their mean reward, summed over them."""
    n_states = population.shape[0]
    reward = 0.0
    out_population[:] = 0
    for s in range(n_states):
        if population[s] == 0:
            continue
        reward += population[s] * means[s, n_states]
        draw_multinomial(population[s], means[s, :n_states], stream, arrivals)
        for t in range(n_states):
            out_population[t] += arrivals[t]
    return reward


@kernel(inline="always", error_model="numpy")
def _move_by_action(means, P_l, r_l, population, stream, actions, arrivals, out_population):
    """Draw how many agents take each action, and the next counts from that; return the sum of their rewards."""
    n_states = population.shape[0]
    reward = 0.0
    out_population[:] = 0
    for s in range(n_states):
        if population[s] == 0:
            continue
        draw_multinomial(population[s], means[s], stream, actions)
        for a in range(actions.shape[0]):
            if actions[a] == 0:
                continue
            reward += actions[a] * r_l[s, a]
            draw_multinomial(actions[a], P_l[s, a], stream, arrivals)
            for t in range(n_states):
                out_population[t] += arrivals[t]
    return reward


@kernel(inline="always")
def _look_up_means(tabulated, s_g, entry, out_means):
    for s in range(out_means.shape[0]):
        for x in range(out_means.shape[1]):
            out_means[s, x] = tabulated[s_g, entry, s, x]


@kernel(nogil=True, error_model="numpy")
def advance_count_runs(first_step, last_step, seed, n, k_global, gamma, drawn, rollout, space, schedule, record):
    """Advance runs of the lumped law. Stopping in between, or in another place, changes no bit.

    One thread; the interpreter's lock is let go, so that other threads can advance other runs.

    Parameters
    ----------
    first_step, last_step : int64   the runs stand before `first_step` and come to stand before `last_step`
    seed : uint64
    n, k_global : int64   k_global <= n <= 2**30
    gamma : float64
    drawn : bool   draw the agents' actions and count their rewards, instead of taking the mean of both
    rollout : CountRollout
    space : SampleSpace   of Λ(k_local − 1, S), k_local <= n
    schedule : Schedule
    record : Record   changed
    """
    _, n_states, n_x, _ = rollout.rows.shape
    stream = new_stream(seed)
    scratch = make_sample_scratch(space)
    # Copies: a call counts the references of its arrays, and threads that share an array wait for each other.
    sizes = rollout.sizes.copy()
    P_l, r_l = rollout.P_l.copy(), rollout.r_l.copy()
    means = np.zeros((n_states, n_x))
    sample = np.zeros(n_states, np.int64)
    arrivals = np.zeros(n_states, np.int64)
    next_population = np.zeros(n_states, np.int64)
    actions = np.zeros(n_x, np.int64)
    n_entries = rollout.tabulated.shape[1]
    for i in range(record.run.shape[0]):
        s_g, population, weight, discounted, action_uses, population_sums = take_up_run(record, i)
        for step in range(first_step, last_step):
            seek(stream, PURPOSE_ROLLOUT, record.run[i], step)
            draw_multivariate_hypergeometric(population, k_global, stream, sample)
            a_g = np.int64(rollout.global_action[s_g, rank_counts(sample, sizes)])
            if n_entries == 0:
                lumped_local_means(rollout.rows, s_g, population, space, scratch, means)
            else:
                entry = rank_counts(population, sizes) if n_entries > 1 else np.int64(0)
                _look_up_means(rollout.tabulated, s_g, entry, means)
            if drawn:
                total = _move_by_action(
                    means, P_l[s_g], r_l[s_g], population, stream, actions, arrivals, next_population
                )
            else:
                total = _move_by_mean(means, population, stream, arrivals, next_population)
            reward = rollout.r_g[s_g, a_g] + total / n
            discounted += weight * reward
            weight = next_weight(weight, gamma)
            note_step(record, i, step, schedule, s_g, a_g, population, reward, discounted, action_uses, population_sums)
            s_g = draw_categorical(rollout.P_g[s_g, a_g], stream)
            for s in range(n_states):
                population[s] = next_population[s]
        put_down_run(record, i, s_g, population, weight, discounted, action_uses, population_sums)
