"""Mean-field Q-learning with one agent at a time: stateless agents on a graph, picked at random.

One tick picks an agent uniformly. It looks at its neighbours' last actions, draws an action of its own from its table
Q[field value, action], is paid, and learns. A sweep is n ticks. A graph in which everybody moves at once has a different
long-run law, and may oscillate or freeze where this one reaches equilibrium.

Source of the learner: Yang, Luo, Li, Zhou, Zhang and Wang (2018), "Mean field multi-agent reinforcement learning", ICML,
here with π(a|u) ∝ exp(+Q(u, a) / T).

Tick t of a sweep reads word t of the step's random stream alone: the word tells the agent and the uniform number that
its action is drawn with (`split_word`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ..compilation import kernel
from ..streams import PURPOSE_LEARNING, new_stream, next_uint64, seek

NOTHING_PENDING = -1
# Uniform numbers are whole multiples of this.
SPACING = 2.0**-53

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_SHIFT_TO_53_BITS = np.uint64(11)


class Society(NamedTuple):
    """Who sees whom, and what an agent makes of what it sees: nothing of it is changed."""

    indptr: np.ndarray  # int64[n + 1], the neighbours of i are indices[indptr[i] : indptr[i + 1]]
    indices: np.ndarray  # int32[nnz]
    weights: np.ndarray  # int64[n_al], not negative: what an action adds to the total of those who see it
    value_of_total: np.ndarray  # int32[max_degree + 1, max_total + 1], field value for a degree and a total


class Learner(NamedTuple):
    """How an agent chooses and learns. All float64."""

    alpha: float  # step size; 0 leaves the tables as they are
    gamma: float  # below 1; 0 learns at once, otherwise when the agent is picked again
    temperature: float  # 0 is greedy, ties to the lowest action
    epsilon: float  # probability of a uniform action instead


class Play(NamedTuple):
    """The runs, one per row: all that the next sweep needs."""

    run: np.ndarray  # int64[n_runs], number of the run in the random streams
    q: np.ndarray  # float64[n_runs, n_tables, F, n_al], n_tables = n or 1 (one table for all)
    action: np.ndarray  # int32[n_runs, n], last actions
    pending_value: np.ndarray  # int32[n_runs, n], field value of the agent's last tick, or NOTHING_PENDING
    pending_reward: np.ndarray  # float64[n_runs, n], reward of that tick


class OneRun(NamedTuple):
    """A row of a `Play`, and room for an agent's weights."""

    q: np.ndarray  # float64[n_tables, F, n_al]
    action: np.ndarray  # int32[n]
    pending_value: np.ndarray  # int32[n]
    pending_reward: np.ndarray  # float64[n]
    likelihood: np.ndarray  # float64[n_al], scratch


class SweepRecord(NamedTuple):
    """What is noted of every `every`-th sweep: point p belongs to sweep (p + 1) * every - 1."""

    total: np.ndarray  # int64[n_runs, n_points], weights of the actions summed over the agents after the sweep
    reward: np.ndarray  # float64[n_runs, n_points], mean over the ticks of the sweep


@kernel(forceinline=True)
def split_word(word, n):
    """Draw from 64 random bits an integer below n and, independently, a uniform number: the two halves of word * n.

    The joint probability of the integer and of any interval of the number is off by at most 2**-64, so that of the
    interval, given the integer, by n * 2**-64.

    Parameters
    ----------
    word : uint64
    n : uint64   1 to 2**32 - 1

    Returns
    -------
    (int64, int64)   below n; below 2**53, to be multiplied by `SPACING`
    """
    low = (word & _LOW) * n
    high = (word >> _HALF) * n + (low >> _HALF)
    rest = ((high & _LOW) << _HALF) | (low & _LOW)
    return np.int64(high >> _HALF), np.int64(rest >> _SHIFT_TO_53_BITS)


@kernel(forceinline=True)
def inverse_of(temperature):
    """1 / T, and infinity for T = 0.

    Parameters
    ----------
    temperature : float64
    """
    return 1.0 / temperature if temperature > 0.0 else math.inf


@kernel(forceinline=True)
def weigh_actions(q, table, value, inverse, out_likelihood):
    """Boltzmann weights of the actions, exp(inverse * (Q - max Q)); 1 for the first best and 0 elsewhere for infinity.

    Parameters
    ----------
    q : float64[n_tables, F, n_al]   finite
    table, value : int64
    inverse : float64
    out_likelihood : float64[n_al]   overwritten

    Returns
    -------
    (int64, float64)   the first best action, sum of the weights
    """
    n_al = q.shape[2]
    best = 0
    for a in range(1, n_al):
        if q[table, value, a] > q[table, value, best]:
            best = a
    total = 0.0
    for a in range(n_al):
        weight = 1.0
        if a != best:
            weight = 0.0 if inverse == math.inf else math.exp((q[table, value, a] - q[table, value, best]) * inverse)
        out_likelihood[a] = weight
        total += weight
    return best, total


@kernel(forceinline=True)
def draw_choice(q, table, value, inverse, epsilon, multiple, scratch):
    """Action of an agent: with probability epsilon uniform, else Boltzmann, or greedy for infinity (T = 0).

    Where rounding leaves no action, the last one is taken.

    Parameters
    ----------
    q : float64[n_tables, F, n_al]
    table, value : int64
    inverse, epsilon : float64   1 / T
    multiple : int64             the uniform number, in units of `SPACING`
    scratch : float64[n_al]

    Returns
    -------
    int64
    """
    n_al = q.shape[2]
    uniform = multiple * SPACING
    if uniform < epsilon:
        return min(np.int64(uniform / epsilon * n_al), n_al - 1)
    best, total = weigh_actions(q, table, value, inverse, scratch)
    if inverse == math.inf:
        return best
    left = (uniform - epsilon) / (1.0 - epsilon) * total
    for a in range(n_al - 1):
        left -= scratch[a]
        if left < 0.0:
            return a
    return n_al - 1


@kernel(forceinline=True)
def boltzmann_value(q, table, value, inverse, scratch):
    """Mean of Q at a field value under its own Boltzmann law, the maximum for infinity (T = 0).

    Parameters
    ----------
    q : float64[n_tables, F, n_al]
    table, value : int64
    inverse : float64
    scratch : float64[n_al]

    Returns
    -------
    float64
    """
    best, total = weigh_actions(q, table, value, inverse, scratch)
    surplus = 0.0
    for a in range(q.shape[2]):
        surplus += scratch[a] * (q[table, value, a] - q[table, value, best])
    return q[table, value, best] + surplus / total


@kernel(forceinline=True)
def look(society, action, i):
    """Field value that agent i sees.

    Parameters
    ----------
    society : Society
    action : int32[n]
    i : int64
    """
    total = 0
    first, last = society.indptr[i], society.indptr[i + 1]
    for place in range(first, last):
        total += society.weights[action[society.indices[place]]]
    return np.int64(society.value_of_total[last - first, total])


@kernel(forceinline=True)
def next_tick(society, learner, inverse, one, stream):
    """Pick an agent, let it learn from its last tick if that has waited for this one, and draw its action.

    Parameters
    ----------
    society : Society
    learner : Learner
    inverse : float64   1 / T
    one : OneRun        `q` and `likelihood` are updated
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    (int64, int64, int64)   agent, field value, action
    """
    i, multiple = split_word(next_uint64(stream), np.uint64(one.action.shape[0]))
    value = look(society, one.action, i)
    table = i if one.q.shape[0] > 1 else 0
    then, last = one.pending_value[i], one.action[i]
    if learner.gamma > 0.0 and then != NOTHING_PENDING:
        ahead = boltzmann_value(one.q, table, value, inverse, one.likelihood)
        target = one.pending_reward[i] + learner.gamma * ahead
        one.q[table, then, last] += learner.alpha * (target - one.q[table, then, last])
    return i, value, draw_choice(one.q, table, value, inverse, learner.epsilon, multiple, one.likelihood)


@kernel(forceinline=True)
def take_reward(learner, one, i, value, a, reward):
    """Pay agent i for action a, which becomes its last one; learn now, or when the agent is picked again.

    Parameters
    ----------
    learner : Learner
    one : OneRun   updated
    i, value, a : int64
    reward : float64
    """
    one.action[i] = a
    if learner.gamma > 0.0:
        one.pending_value[i] = value
        one.pending_reward[i] = reward
    else:
        table = i if one.q.shape[0] > 1 else 0
        one.q[table, value, a] += learner.alpha * (reward - one.q[table, value, a])


@kernel(forceinline=True)
def note_sweep(sweep, every, weights, action, reward, row, record):
    """Enter a sweep, if it is one of those to note.

    Parameters
    ----------
    sweep, every : int64
    weights : int64[n_al]
    action : int32[n]
    reward : float64       sum over the ticks of the sweep
    row : int64
    record : SweepRecord   the sweep's point is overwritten
    """
    if (sweep + 1) % every == 0:
        point = (sweep + 1) // every - 1
        total = 0
        for i in range(action.shape[0]):
            total += weights[action[i]]
        record.total[row, point] = total
        record.reward[row, point] = reward / action.shape[0]


@kernel(forceinline=True)
def take_up(play, row):
    """Row of a `Play`; its arrays are those of the play.

    Parameters
    ----------
    play : Play   updated through it
    row : int64

    Returns
    -------
    OneRun
    """
    likelihood = np.empty(play.q.shape[3])
    return OneRun(play.q[row], play.action[row], play.pending_value[row], play.pending_reward[row], likelihood)


@kernel(nogil=True)
def _advance_run(seed, first_sweep, n_sweeps, every, society, learner, r_l, play, row, record):
    one, stream = take_up(play, row), new_stream(seed)
    inverse = inverse_of(learner.temperature)
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        seek(stream, PURPOSE_LEARNING, play.run[row], sweep)
        total = 0.0
        for _ in range(one.action.shape[0]):
            i, value, a = next_tick(society, learner, inverse, one, stream)
            reward = r_l[value, a]
            take_reward(learner, one, i, value, a, reward)
            total += reward
        note_sweep(sweep, every, society.weights, one.action, total, row, record)


@kernel(parallel=True, nogil=True)
def advance_sequential(seed, first_sweep, n_sweeps, every, society, learner, r_l, play, record):
    """Go on for some sweeps, rewarded by a table.

    The same bits for any number of threads, any cut into calls, and any grouping of the runs.

    Parameters
    ----------
    seed : uint64
    first_sweep, n_sweeps : int64        sweeps done before, sweeps to do; their sum below 2**56
    every : int64                        sweeps per point of the record
    society : Society                    a graph of n agents, 1 <= n < 2**32
    learner : Learner
    r_l : float64[F, n_al]               reward of an action where the agent sees a field value
    play : Play                          updated
    record : SweepRecord                 points of these sweeps overwritten
    """
    for item in prange(play.action.shape[0]):
        _advance_run(seed, first_sweep, n_sweeps, every, society, learner, r_l, play, np.int64(item), record)


# Not `kernel`: on disk, code compiled for a user's function would be found by no other process, and pile up.
@njit(nogil=True)
def _advance_run_with(reward_of, seed, first_sweep, n_sweeps, every, society, learner, play, row, record):
    one, stream = take_up(play, row), new_stream(seed)
    inverse = inverse_of(learner.temperature)
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        seek(stream, PURPOSE_LEARNING, play.run[row], sweep)
        total = 0.0
        for _ in range(one.action.shape[0]):
            i, value, a = next_tick(society, learner, inverse, one, stream)
            reward = reward_of(value, a)
            take_reward(learner, one, i, value, a, reward)
            total += reward
        note_sweep(sweep, every, society.weights, one.action, total, row, record)


@njit(parallel=True, nogil=True)
def advance_sequential_with(reward_of, seed, first_sweep, n_sweeps, every, society, learner, play, record):
    """Go on for some sweeps, rewarded by a jitted function `reward_of(value, action) -> float`; see `advance_sequential`.

    The function is called from several threads, once per tick, in the order of the ticks within a run.

    Parameters
    ----------
    reward_of : jitted function of (int64, int64), which numba compiles this kernel for
    seed, first_sweep, n_sweeps, every, society, learner : as in `advance_sequential`
    play : Play             updated
    record : SweepRecord    points of these sweeps overwritten
    """
    for item in prange(play.action.shape[0]):
        _advance_run_with(reward_of, seed, first_sweep, n_sweeps, every, society, learner, play, np.int64(item), record)
