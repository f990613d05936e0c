"""Where a rollout stands and what it has seen: all that the next step needs, so that it can stop between two steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel

# γ**t below this adds nothing to a return, and would end up as a denormal number, which is slow to multiply.
_NEGLIGIBLE_WEIGHT = 1e-300


class Schedule(NamedTuple):
    """Which steps count for what."""

    n_steps: int
    burn_in: int  # long-run figures leave out the steps before this one
    n_batches: int  # the steps from `burn_in` on are cut into so many batches of (nearly) equal length
    stride: int  # steps per point of the trace


class Record(NamedTuple):
    """The runs of a rollout, one per row. Zero at first, but for `run`, the state and `weight`, which is 1."""

    run: np.ndarray  # int64[n_runs], number of the run in the random streams
    global_state: np.ndarray  # int64[n_runs]
    population: np.ndarray  # int64[n_runs, S]
    weight: np.ndarray  # float64[n_runs], γ**t
    discounted: np.ndarray  # float64[n_runs], Σ γ**t r_t
    batch_rewards: np.ndarray  # float64[n_runs, n_batches], sums
    action_uses: np.ndarray  # int64[n_runs, n_sg, n_ag], steps from `burn_in` on
    population_sums: np.ndarray  # float64[n_runs, S], over the steps from `burn_in` on
    trace_rewards: np.ndarray  # float64[n_runs, n_points], sums over the steps of a point
    trace_discounted: np.ndarray  # float64[n_runs, n_points], after the last step of a point
    trace_global_state: np.ndarray  # int32[n_runs, n_points], before the first step of a point
    trace_global_action: np.ndarray  # int32[n_runs, n_points], in the first step of a point
    trace_population: np.ndarray  # int64[n_runs, n_points, S], before the first step of a point


@kernel(inline="always", error_model="numpy")
def note_step(record, i, step, schedule, s_g, a_g, population, reward, discounted, action_uses, population_sums):
    """Enter one step, seen from the state before it. `discounted` already contains its reward.

    Parameters
    ----------
    record : Record       row i is changed: trace and batches
    i, step : int64
    schedule : Schedule
    s_g, a_g : int64
    population : int64[S]
    reward, discounted : float64
    action_uses : int64[n_sg, n_ag]   changed
    population_sums : float64[S]      changed
    """
    point = step // schedule.stride
    if step == point * schedule.stride:
        record.trace_global_state[i, point] = s_g
        record.trace_global_action[i, point] = a_g
        for s in range(population.shape[0]):
            record.trace_population[i, point, s] = population[s]
    record.trace_rewards[i, point] += reward
    record.trace_discounted[i, point] = discounted
    if step >= schedule.burn_in:
        batch = (step - schedule.burn_in) * schedule.n_batches // (schedule.n_steps - schedule.burn_in)
        record.batch_rewards[i, batch] += reward
        action_uses[s_g, a_g] += 1
        for s in range(population.shape[0]):
            population_sums[s] += population[s]


@kernel(inline="always")
def next_weight(weight, gamma):
    """γ**(t + 1) from γ**t; 0 once it no longer matters."""
    weight *= gamma
    return weight if weight > _NEGLIGIBLE_WEIGHT else 0.0


@kernel(inline="always")
def take_up_run(record, i):
    """The state and the sums that a run carries along: s_g, population, weight, discounted, action_uses, population_sums.

    Arrays are copies: in the record, another thread's row can be on the same cache line.
    """
    return (
        record.global_state[i],
        record.population[i].copy(),
        record.weight[i],
        record.discounted[i],
        record.action_uses[i].copy(),
        record.population_sums[i].copy(),
    )


@kernel(inline="always")
def put_down_run(record, i, s_g, population, weight, discounted, action_uses, population_sums):
    """Put what a run carried along back into row i of its record."""
    record.global_state[i], record.weight[i], record.discounted[i] = s_g, weight, discounted
    # Loops: an assignment of arrays would compile the text of its shape error, which takes seconds.
    for s in range(population.shape[0]):
        record.population[i, s] = population[s]
        record.population_sums[i, s] = population_sums[s]
    for h in range(action_uses.shape[0]):
        for a in range(action_uses.shape[1]):
            record.action_uses[i, h, a] = action_uses[h, a]
