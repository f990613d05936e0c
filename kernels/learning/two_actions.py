"""Sequential learning without look-ahead between two actions, on a graph where all have equally many neighbours.

The meaning and the bits of `advance_sequential`, several times as fast: the random words of many ticks are computed
together, the number of neighbours who play action 1 is kept per agent instead of counted anew, and the exponential is
taken only where a table of bounds on the logistic function leaves the action open.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import prange

from ..compilation import kernel
from ..streams import PURPOSE_LEARNING, fill_uint64, new_stream, seek
from .sequential import SPACING, draw_choice, inverse_of, note_sweep, split_word

# Ticks whose words are computed together; even, since a block holds two words.
_BATCH = 512
# Cells of the logistic function's table: 1/16 wide on [-16, 16), and one for what is left on either side.
_CELLS_PER_UNIT = 16.0
_HALF_OF_CELLS = 256
_N_CELLS = 2 * _HALF_OF_CELLS + 2
# Far more than the rounding of a cell's number, of the logistic function and of the exact draw together.
_MARGIN = 1e-9
# Share of changes from which a branch on them costs more than it saves.
_RESTLESS = 0.2


class Lookup(NamedTuple):
    """What is worked out once per run; nothing of it is changed."""

    neighbours: np.ndarray  # int32[n, degree]
    values: np.ndarray  # int32[degree + 1], field value for a number of neighbours who play 1
    bounds: np.ndarray  # int64[_N_CELLS, 2], see `fill_bounds`
    scale: float  # cells per unit of Q_0 - Q_1


@kernel
def suits_two_actions(society, learner, play):
    """Whether `advance_two_actions` serves: two actions, own tables, gamma 0, equal degrees, neighbours see each other.

    Parameters
    ----------
    society : Society
    learner : Learner
    play : Play

    Returns
    -------
    bool
    """
    n = society.indptr.shape[0] - 1
    if play.q.shape[3] != 2 or society.indptr[1] == 0 or play.q.shape[1] != n or learner.gamma != 0.0:
        return False
    degree = society.indptr[1]
    for i in range(n):
        if society.indptr[i + 1] - society.indptr[i] != degree:
            return False
    for i in range(n):
        for place in range(society.indptr[i], society.indptr[i + 1]):
            j = society.indices[place]
            there = 0
            for other in range(society.indptr[i], society.indptr[i + 1]):
                there += society.indices[other] == j
            for back in range(society.indptr[j], society.indptr[j + 1]):
                there -= society.indices[back] == i
            if there != 0:
                return False
    return True


@kernel
def fill_bounds(inverse, epsilon, out_bounds):
    """Bounds on the uniform number that decides between the actions, per cell of inverse * (Q_0 - Q_1).

    Parameters
    ----------
    inverse, epsilon : float64
    out_bounds : int64[_N_CELLS, 2]   overwritten: multiples of `SPACING`. Below the first, action 0 is certain (but for
        epsilon); the second is how far above it action 1 becomes certain.
    """
    for cell in range(_N_CELLS):
        left = (cell - 1 - _HALF_OF_CELLS) / _CELLS_PER_UNIT
        right = left + 1.0 / _CELLS_PER_UNIT
        low = 0.0 if cell == 0 else 1.0 / (1.0 + math.exp(-left))
        high = 1.0 if cell == _N_CELLS - 1 else 1.0 / (1.0 + math.exp(-right))
        if inverse == math.inf:
            low, high = 0.0, 1.0
        low = epsilon + (1.0 - epsilon) * low - _MARGIN
        high = epsilon + (1.0 - epsilon) * high + _MARGIN
        out_bounds[cell, 0] = np.int64(low / SPACING)
        out_bounds[cell, 1] = np.int64(high / SPACING) - out_bounds[cell, 0]


@kernel(nogil=True)
def fill_ticks(stream, n, words, out_agent, out_multiple):
    """Agents and uniform numbers of the next ticks.

    Parameters
    ----------
    stream : uint64[STREAM_WORDS]   advanced
    n : uint64
    words : uint64[m]               overwritten, m even
    out_agent : int64[m]            overwritten
    out_multiple : int64[m]         overwritten
    """
    fill_uint64(stream, words)
    for tick in range(words.shape[0]):
        out_agent[tick], out_multiple[tick] = split_word(words[tick], n)


@kernel(nogil=True)
def play_ticks(agent, multiple, learner, lookup, r_l, restless, total, count, action, q):
    """Play ticks in turn.

    Indices are unsigned, since numba looks at the sign of the others. The processor can foresee neither the action
    drawn, so there is no branch on it, nor whether it is a new one if every fifth is.

    Parameters
    ----------
    agent, multiple : int64[m]    from `fill_ticks`
    learner : Learner
    lookup : Lookup
    r_l : float64[F, 2]
    restless : bool               whether to add a change of action up without asking if there is one
    total : float64               rewards of the sweep so far
    count : int32[n]              updated: neighbours who play 1
    action : int32[n]             updated
    q : float64[n, F, 2]          updated

    Returns
    -------
    (float64, int64)   rewards of the sweep, changes of action in these ticks
    """
    neighbours, values, bounds, scale = lookup
    inverse = inverse_of(learner.temperature)
    explored = np.int64(learner.epsilon / SPACING) + 1
    likelihood = np.empty(2)
    changes = 0
    for t in range(agent.shape[0]):
        i, drawn = np.uint64(agent[t]), multiple[t]
        value = np.uint64(values[np.uint64(count[i])])
        place = (q[i, value, 0] - q[i, value, 1]) * scale + (_HALF_OF_CELLS + 1.0)
        place = place if place > 0.0 else 0.0
        cell = np.uint64(place if place < _N_CELLS - 1.0 else _N_CELLS - 1.0)
        above, width = drawn - bounds[cell, 0], bounds[cell, 1]
        a = np.uint64(above >= width)
        if np.uint64(above) < np.uint64(width) or drawn < explored:
            a = np.uint64(draw_choice(q, i, value, inverse, learner.epsilon, drawn, likelihood))
        reward = r_l[value, a]
        q[i, value, a] += learner.alpha * (reward - q[i, value, a])
        total += reward
        change = np.int32(a) - action[i]
        changes += change != 0
        if restless or change != 0:
            action[i] = np.int32(a)
            for d in range(neighbours.shape[1]):
                count[np.uint64(neighbours[i, np.uint64(d)])] += change
    return total, changes


@kernel(nogil=True)
def fill_lookup(society, learner, out_values, out_bounds):
    """Work out what `play_ticks` looks up.

    Parameters
    ----------
    society : Society
    learner : Learner
    out_values : int32[degree + 1]    overwritten
    out_bounds : int64[_N_CELLS, 2]   overwritten

    Returns
    -------
    Lookup
    """
    degree = out_values.shape[0] - 1
    for ones in range(degree + 1):
        total = ones * society.weights[1] + (degree - ones) * society.weights[0]
        out_values[ones] = society.value_of_total[degree, total]
    inverse = inverse_of(learner.temperature)
    fill_bounds(inverse, learner.epsilon, out_bounds)
    scale = inverse * _CELLS_PER_UNIT if inverse < math.inf else 0.0
    return Lookup(society.indices.reshape(-1, degree), out_values, out_bounds, scale)


@kernel(nogil=True)
def count_ones(neighbours, action, out_count):
    """Count each agent's neighbours who play 1.

    Parameters
    ----------
    neighbours : int32[n, degree]
    action : int32[n]
    out_count : int32[n]   overwritten
    """
    for i in range(neighbours.shape[0]):
        out_count[i] = 0
        for d in range(neighbours.shape[1]):
            out_count[i] += action[neighbours[i, d]]


@kernel(nogil=True)
def _advance_run(seed, first_sweep, n_sweeps, every, society, learner, r_l, play, row, record):
    n, action, q = play.action.shape[1], play.action[row], play.q[row]
    degree = society.indptr[1]
    lookup = fill_lookup(society, learner, np.empty(degree + 1, np.int32), np.empty((_N_CELLS, 2), np.int64))
    count = np.empty(n, np.int32)
    count_ones(lookup.neighbours, action, count)
    words, agent, multiple = np.empty(_BATCH, np.uint64), np.empty(_BATCH, np.int64), np.empty(_BATCH, np.int64)
    changes, ticks = 0, 1
    stream = new_stream(seed)
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        seek(stream, PURPOSE_LEARNING, play.run[row], sweep)
        total = 0.0
        for first in range(0, n, _BATCH):
            restless = changes > ticks * _RESTLESS
            ticks = min(_BATCH, n - first)
            even = ticks + ticks % 2
            fill_ticks(stream, np.uint64(n), words[:even], agent[:even], multiple[:even])
            total, changes = play_ticks(
                agent[:ticks], multiple[:ticks], learner, lookup, r_l, restless, total, count, action, q
            )
        note_sweep(sweep, every, society.weights, action, total, row, record)


@kernel(parallel=True, nogil=True)
def advance_two_actions(seed, first_sweep, n_sweeps, every, society, learner, r_l, play, record):
    """What `advance_sequential` does, with the same bits, where `suits_two_actions` holds.

    Parameters
    ----------
    seed : uint64
    first_sweep, n_sweeps, every : int64
    society : Society
    learner : Learner
    r_l : float64[F, 2]
    play : Play             updated
    record : SweepRecord    points of these sweeps overwritten
    """
    for item in prange(play.action.shape[0]):
        _advance_run(seed, first_sweep, n_sweeps, every, society, learner, r_l, play, np.int64(item), record)
