"""Rollouts of the lumped law: a step draws counts, at a cost that does not grow with the number of agents.

Given the global state and the counts, agents act independently and those of one state are alike, so that what they do
is multinomial with the laws of `kernels.execution`. The global action needs no law: it follows from one drawn sample.

A table of a coupled game has n_sg · n_f rows, (s_g, f), or n_sg where it does not depend on the field value f. A field of states is
that of the counts before the step; with one of actions all agents act before anything of the step is drawn that depends on it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from ..draws import draw_categorical, draw_multinomial, draw_multivariate_hypergeometric
from ..execution import lumped_local_means, make_sample_scratch
from ..lattice import rank_counts
from ..streams import PURPOSE_ROLLOUT, new_stream, seek
from .field import FieldBins, field_value, row_of, rows_per_state
from .record import next_weight, note_step, put_down_run, take_up_run


class CountRollout(NamedTuple):
    """The game and the policy as a rollout reads them; nothing of it is changed.

    `rows` come from `arrange_local_outcomes` or, if rewards are drawn, from `arrange_local_laws`. `tabulated` holds
    their means for every population; with one column they do not depend on it; with none, each step computes its own.
    """

    P_g: np.ndarray  # float64[n_rows, n_ag, n_sg]
    P_l: np.ndarray  # float64[n_rows, S, n_al, S]
    r_g: np.ndarray  # float64[n_rows, n_ag]
    r_l: np.ndarray  # float64[n_rows, S, n_al]
    global_action: np.ndarray  # int32[n_sg, |Λ(k_global, S)|]
    rows: np.ndarray  # float64[n_rows, S, n_x, |Λ(k_local − 1, S)|]
    tabulated: np.ndarray  # float64[n_rows, 0 or 1 or |Λ(n, S)|, S, n_x], each population with its own field value
    field: FieldBins
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


@kernel(inline="always", error_model="numpy")
def _act_all(means, population, stream, actions, out_pairs, out_totals):
    """Draw how many agents of each state take each action, and count the actions."""
    out_totals[:] = 0
    for s in range(population.shape[0]):
        draw_multinomial(population[s], means[s], stream, actions)
        for a in range(actions.shape[0]):
            out_pairs[s, a] = actions[a]
            out_totals[a] += actions[a]


@kernel(inline="always", error_model="numpy")
def _move_all(pairs, P_l, r_l, stream, arrivals, out_population):
    """Draw the next counts from those of the (state, action) pairs; return the sum of their rewards."""
    reward = 0.0
    out_population[:] = 0
    for s in range(pairs.shape[0]):
        for a in range(pairs.shape[1]):
            if pairs[s, a] == 0:
                continue
            reward += pairs[s, a] * r_l[s, a]
            draw_multinomial(pairs[s, a], P_l[s, a], stream, arrivals)
            for t in range(out_population.shape[0]):
                out_population[t] += arrivals[t]
    return reward


@kernel(inline="always")
def _look_up_means(tabulated, row, entry, out_means):
    for s in range(out_means.shape[0]):
        for x in range(out_means.shape[1]):
            out_means[s, x] = tabulated[row, entry, s, x]


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
    drawn : bool   draw the agents' actions and count their rewards, instead of taking the mean of both; with a field of
        actions they are drawn in any case
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
    actions, totals, pairs = np.zeros(n_x, np.int64), np.zeros(n_x, np.int64), np.zeros((n_states, n_x), np.int64)
    n_entries, field = rollout.tabulated.shape[1], rollout.field
    sees_states, acts_first = field.n_values.shape[0] > 0 and field.of_actions == 0, field.of_actions != 0
    n_sg = rollout.global_action.shape[0]
    n_f_rows, n_f_means = rollout.rows.shape[0] // n_sg, rollout.tabulated.shape[0] // n_sg
    n_f_P_g, n_f_P_l, n_f_r_g, n_f_r_l = rows_per_state(rollout)
    for i in range(record.run.shape[0]):
        s_g, population, weight, discounted, action_uses, population_sums = take_up_run(record, i)
        for step in range(first_step, last_step):
            seek(stream, PURPOSE_ROLLOUT, record.run[i], step)
            draw_multivariate_hypergeometric(population, k_global, stream, sample)
            a_g = np.int64(rollout.global_action[s_g, rank_counts(sample, sizes)])
            f = field_value(field, population) if sees_states else np.int64(0)
            if n_entries == 0:
                lumped_local_means(rollout.rows, row_of(n_f_rows, s_g, f), population, space, scratch, means)
            else:
                entry = rank_counts(population, sizes) if n_entries > 1 else np.int64(0)
                _look_up_means(rollout.tabulated, row_of(n_f_means, s_g, f), entry, means)
            if acts_first:
                _act_all(means, population, stream, actions, pairs, totals)
                f = field_value(field, totals)
                P_f, r_f = P_l[row_of(n_f_P_l, s_g, f)], r_l[row_of(n_f_r_l, s_g, f)]
                total = _move_all(pairs, P_f, r_f, stream, arrivals, next_population)
            elif drawn:
                P_f, r_f = P_l[row_of(n_f_P_l, s_g, f)], r_l[row_of(n_f_r_l, s_g, f)]
                total = _move_by_action(means, P_f, r_f, population, stream, actions, arrivals, next_population)
            else:
                total = _move_by_mean(means, population, stream, arrivals, next_population)
            reward = rollout.r_g[row_of(n_f_r_g, s_g, f), a_g] + total / n
            discounted += weight * reward
            weight = next_weight(weight, gamma)
            note_step(record, i, step, schedule, s_g, a_g, population, reward, discounted, action_uses, population_sums)
            s_g = draw_categorical(rollout.P_g[row_of(n_f_P_g, s_g, f), a_g], stream)
            for s in range(n_states):
                population[s] = next_population[s]
        put_down_run(record, i, s_g, population, weight, discounted, action_uses, population_sums)
