"""One run of learning: its rows of a population, its work space, its entries in the records."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from .fields import FieldScratch, make_field_scratch
from .parts import Graph, Lens, Ring, Tables


class Sight(NamedTuple):
    """What the game's tables depend on, and what agents condition on."""

    env_lens: Lens
    env_graph: Graph
    lens: Lens
    graph: Graph


class Learners(NamedTuple):
    """The agents of one run: rows of a `Population`, which they change."""

    states: np.ndarray  # int32[n]
    actions: np.ndarray  # int32[n]
    seen: np.ndarray  # int32[n]
    alive: np.ndarray  # uint8[n] or uint8[0]
    tables: Tables
    q_global: np.ndarray  # float64[n_sg·(n_f or 1), n_ag]
    visits_global: np.ndarray  # int64 like q_global
    ring: Ring


class Work(NamedTuple):
    """Work space of one run."""

    present: np.ndarray  # int64[n_present], agents that are alive
    env: np.ndarray  # int64[n], values of the environment's field
    looked: np.ndarray  # int64[n], values of the observation lens
    looked_before: np.ndarray  # int64[n]
    reward: np.ndarray  # float64[n]
    next_seen: np.ndarray  # int32[n]
    rows: np.ndarray  # int32[n], observations with the means executed
    law: np.ndarray  # float64[max(n_al, n_ag)]
    means: np.ndarray  # float64[n, D], expected weights
    env_scratch: FieldScratch
    scratch: FieldScratch


@kernel
def take_up_run(population, i):
    """Row i of a Population, as views.

    Parameters
    ----------
    population : Population   changed through them
    i : int64

    Returns
    -------
    Learners
    """
    n_rows = population.q_global.shape[1] * population.q_global.shape[2]
    n_ag = population.q_global.shape[3]
    tables = Tables(
        population.q[i], population.target[i], population.theta[i], population.visits[i], population.mass[i]
    )
    ring = Ring(
        population.ring_seen[i], population.ring_action[i], population.ring_reward[i], population.ring_next[i],
        population.ring_acted[i], population.ring_log_law[i],
    )  # fmt: skip
    return Learners(
        population.states[i],
        population.actions[i],
        population.seen[i],
        population.alive[i],
        tables,
        population.q_global[i].reshape((n_rows, n_ag)),
        population.visits_global[i].reshape((n_rows if population.visits_global.shape[1] > 0 else 0, n_ag)),
        ring,
    )


@kernel
def list_present(alive, n):
    """Agents that are alive, in order.

    Parameters
    ----------
    alive : uint8[n] or uint8[0]   without entries everyone is
    n : int64

    Returns
    -------
    int64[n_present]
    """
    present = np.zeros(n, np.int64)
    n_present = 0
    for agent in range(n):
        if alive.shape[0] == 0 or alive[agent] != 0:
            present[n_present] = agent
            n_present += 1
    return present[:n_present].copy()


@kernel
def make_work(sight, learners, n_ag):
    """Allocate the work space of one run.

    Parameters
    ----------
    sight : Sight
    learners : Learners
    n_ag : int64

    Returns
    -------
    Work
    """
    n = learners.states.shape[0]
    n_al = learners.tables.q.shape[2]
    return Work(
        list_present(learners.alive, n),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(max(n_al, n_ag)),
        np.zeros((n, sight.lens.weights.shape[0])),
        make_field_scratch(sight.env_lens),
        make_field_scratch(sight.lens),
    )


@kernel(error_model="numpy")
def mean_weight(lens, present, chosen):
    """Mean over the present agents of the first feature's weight; 0 without features or agents.

    Parameters
    ----------
    lens : Lens
    present : int64[n_present]
    chosen : int32[n]   states or actions

    Returns
    -------
    float64
    """
    if lens.weights.shape[0] == 0 or present.shape[0] == 0:
        return 0.0
    total = 0.0
    for j in range(present.shape[0]):
        total += lens.weights[0, chosen[present[j]]]
    return total / present.shape[0]


@kernel(error_model="numpy")
def note_step(records, i, step, reward, weight):
    """Enter one step into the running means of its point.

    Parameters
    ----------
    records : Records   row i is changed; without points nothing is
    i, step : int64
    reward, weight : float64
    """
    point = step // records.every
    if records.reward.shape[1] == 0:
        return
    share = 1.0 / (step - point * records.every + 1)
    if share == 1.0:
        records.reward[i, point] = 0.0
        records.weight[i, point] = 0.0
        records.abs_weight[i, point] = 0.0
    records.reward[i, point] += share * (reward - records.reward[i, point])
    records.weight[i, point] += share * (weight - records.weight[i, point])
    records.abs_weight[i, point] += share * (abs(weight) - records.abs_weight[i, point])


@kernel
def ratio_sums(records, i, step):
    """Sums over the replayed steps of the point that a step belongs to, started anew at its first step.

    Parameters
    ----------
    records : Records   changed at the first step of a point
    i, step : int64

    Returns
    -------
    float64[RATIO_SUMS] or float64[0]   a view; of size 0 without points
    """
    if records.ratios.shape[1] == 0:
        return np.zeros(0)
    if step % records.every == 0:
        records.ratios[i, step // records.every, :] = 0.0
    return records.ratios[i, step // records.every]
