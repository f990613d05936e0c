"""Rollouts agent by agent: everyone draws a sample of its own, looks, acts and moves.

This is the definition that the lumped law is derived from, at a cost of n (k + 2) draws per step; it also tells what
single agents go through.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from ..draws import draw_categorical
from ..lattice import rank_counts
from ..streams import PURPOSE_INITIAL, PURPOSE_ROLLOUT, new_stream, next_below, seek
from .field import FieldBins, field_value, row_of, rows_per_state
from .record import next_weight, note_step, put_down_run, take_up_run


class AgentRollout(NamedTuple):
    """The game and the policy as a rollout reads them, tables by row as in `CountRollout`; nothing of it is changed."""

    P_g: np.ndarray  # float64[n_rows, n_ag, n_sg]
    P_l: np.ndarray  # float64[n_rows, S, n_al, S]
    r_g: np.ndarray  # float64[n_rows, n_ag]
    r_l: np.ndarray  # float64[n_rows, S, n_al]
    global_action: np.ndarray  # int32[n_sg, |Λ(k_global, S)|]
    local_action: np.ndarray  # float64[n_sg, S, |Λ(k_local, S)|, n_al]
    field: FieldBins
    sizes: np.ndarray  # int64[S + 1, m + 1] from `lattice_sizes`, m the larger of k_global and k_local


class AgentRecord(NamedTuple):
    """The agents of the runs, one run per row, next to a `Record`."""

    state: np.ndarray  # int32[n_runs, n]
    trace: np.ndarray  # int32[n_runs, n_points, n_traced]: the first agents' states before the first step of a point


@kernel(nogil=True)
def place_agents(seed, record, agent_record):
    """Hand the states of every run's population out to its agents, in random order.

    Parameters
    ----------
    seed : uint64
    record : Record
    agent_record : AgentRecord   `state` is overwritten
    """
    stream = new_stream(seed)
    for i in range(record.run.shape[0]):
        state = agent_record.state[i]
        agent = 0
        for s in range(record.population.shape[1]):
            for _ in range(record.population[i, s]):
                state[agent] = s
                agent += 1
        # Step 0 of this purpose drew the population.
        seek(stream, PURPOSE_INITIAL, record.run[i], 1)
        for last in range(state.shape[0] - 1, 0, -1):
            other = next_below(last + 1, stream)
            held = state[last]
            state[last] = state[other]
            state[other] = held


@kernel(inline="always")
def _count_sample(pool, n_drawn, stream, picks, out_counts):
    """Count the states of agents drawn without replacement from a pool.

    A partial Fisher-Yates shuffle that is undone, so that a draw depends on no draw before it.
    """
    for s in range(out_counts.shape[0]):
        out_counts[s] = 0
    for drawn in range(n_drawn):
        pick = drawn + next_below(pool.shape[0] - drawn, stream)
        s = pool[pick]
        pool[pick] = pool[drawn]
        pool[drawn] = s
        picks[drawn] = pick
        out_counts[s] += 1
    for drawn in range(n_drawn - 1, -1, -1):
        pick = picks[drawn]
        s = pool[pick]
        pool[pick] = pool[drawn]
        pool[drawn] = s


@kernel(inline="always")
def _play_agents(
    s_g, row_P, row_r, moves, k_local, rollout, sizes, stream, pool, picks, sample, state, actions, out_next_state
):  # fmt: skip
    """Let every agent draw its sample and act, and with `moves` move as well; return the sum of their rewards, 0 without."""
    last = pool.shape[0] - 1
    others = pool[:last]
    total = 0.0
    for agent in range(pool.shape[0]):
        own = np.int64(state[agent])
        # The last agent of the pool stands in for this one, who does not draw itself.
        pool[agent] = pool[last]
        _count_sample(others, k_local - 1, stream, picks, sample)
        pool[agent] = own
        sample[own] += 1
        action = draw_categorical(rollout.local_action[s_g, own, rank_counts(sample, sizes)], stream)
        if moves:
            total += rollout.r_l[row_r, own, action]
            out_next_state[agent] = draw_categorical(rollout.P_l[row_P, own, action], stream)
        else:
            actions[agent] = action
    return total


@kernel
def _value_of_actions(field, actions, out_totals):
    """Field value of the agents' actions, which are counted on the way."""
    out_totals[:] = 0
    for agent in range(actions.shape[0]):
        out_totals[actions[agent]] += 1
    return field_value(field, out_totals)


@kernel(inline="always")
def _move_agents(row_P, row_r, rollout, stream, state, actions, out_next_state):
    """Let every agent, whose action is known, move; return the sum of their rewards."""
    total = 0.0
    for agent in range(actions.shape[0]):
        own, action = np.int64(state[agent]), np.int64(actions[agent])
        total += rollout.r_l[row_r, own, action]
        out_next_state[agent] = draw_categorical(rollout.P_l[row_P, own, action], stream)
    return total


@kernel(nogil=True, error_model="numpy")
def advance_agent_runs(first_step, last_step, seed, k_global, k_local, gamma, rollout, schedule, record, agent_record):
    """Advance runs agent by agent. Stopping in between, or in another place, changes no bit.

    One thread; the interpreter's lock is let go, so that other threads can advance other runs.

    Parameters
    ----------
    first_step, last_step : int64   the runs stand before `first_step` and come to stand before `last_step`
    seed : uint64
    k_global, k_local : int64   at most n
    gamma : float64
    rollout : AgentRollout
    schedule : Schedule
    record : Record              changed
    agent_record : AgentRecord   changed
    """
    n, n_states = agent_record.state.shape[1], record.population.shape[1]
    stream = new_stream(seed)
    sizes = rollout.sizes.copy()
    pool = np.zeros(n, np.int32)
    picks = np.zeros(max(k_global, k_local), np.int64)
    sample = np.zeros(n_states, np.int64)
    next_state, actions = np.zeros(n, np.int32), np.zeros(n, np.int32)
    totals, field = np.zeros(rollout.P_l.shape[2], np.int64), rollout.field
    sees_states, acts_first = field.n_values.shape[0] > 0 and field.of_actions == 0, field.of_actions != 0
    n_f_P_g, n_f_P_l, n_f_r_g, n_f_r_l = rows_per_state(rollout)
    for i in range(record.run.shape[0]):
        s_g, population, weight, discounted, action_uses, population_sums = take_up_run(record, i)
        state = agent_record.state[i]
        for agent in range(n):
            pool[agent] = state[agent]
        for step in range(first_step, last_step):
            seek(stream, PURPOSE_ROLLOUT, record.run[i], step)
            _count_sample(pool, k_global, stream, picks, sample)
            a_g = np.int64(rollout.global_action[s_g, rank_counts(sample, sizes)])
            f = field_value(field, population) if sees_states else np.int64(0)
            row_P, row_r = row_of(n_f_P_l, s_g, f), row_of(n_f_r_l, s_g, f)
            total = _play_agents(
                s_g, row_P, row_r, not acts_first, k_local, rollout, sizes, stream, pool, picks, sample, state, actions,
                next_state,
            )  # fmt: skip
            if acts_first:
                f = _value_of_actions(field, actions, totals)
                row_P, row_r = row_of(n_f_P_l, s_g, f), row_of(n_f_r_l, s_g, f)
                total = _move_agents(row_P, row_r, rollout, stream, state, actions, next_state)
            reward = rollout.r_g[row_of(n_f_r_g, s_g, f), a_g] + total / n
            discounted += weight * reward
            weight = next_weight(weight, gamma)
            if step % schedule.stride == 0:
                for agent in range(agent_record.trace.shape[2]):
                    agent_record.trace[i, step // schedule.stride, agent] = state[agent]
            note_step(record, i, step, schedule, s_g, a_g, population, reward, discounted, action_uses, population_sums)
            s_g = draw_categorical(rollout.P_g[row_of(n_f_P_g, s_g, f), a_g], stream)
            for s in range(n_states):
                population[s] = 0
            for agent in range(n):
                state[agent] = next_state[agent]
                pool[agent] = next_state[agent]
                population[state[agent]] += 1
        put_down_run(record, i, s_g, population, weight, discounted, action_uses, population_sums)
