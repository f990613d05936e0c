"""n agents who play one law of their observations, and one agent among them who deviates, with the same random numbers.

All draws of a step come from (seed, PURPOSE_ROLLOUT, run, step) in this order: the global action, one action of every agent, the
next global state, one next state of every agent. Each takes one uniform, whatever its law is, so that an agent's draws keep their
place when another agent does something else: two arms that differ in one agent share all their random numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from ..draws import draw_categorical
from ..learning.fields import FieldScratch, count_values, fill_values, make_field_scratch, value_of_all, value_of_totals
from ..streams import PURPOSE_INITIAL, PURPOSE_ROLLOUT, new_stream, seek
from .tagged import KEEPS_LAW

# Steps 0 to 2 of this purpose are those of deployments and of learners.
START_STEP = 3


class Played(NamedTuple):
    """What everyone plays; an observation is (s_g·n_sl + s_l)·B + b."""

    law: np.ndarray  # float64[n_o, n_al]
    global_law: np.ndarray  # float64[n_sg, n_f or 1, n_ag], of the field of states before anyone acts


class Arms(NamedTuple):
    """What the first agent does in each of two arms, and values that the noise of its returns is told by."""

    response: np.ndarray  # int32[2, n_o], actions by observation, or KEEPS_LAW
    value: np.ndarray  # float64[2, n_o]; must not depend on b where b is of states
    q: np.ndarray  # float64[2, n_o, n_al]


class Crowd(NamedTuple):
    """The agents of one run, and work space."""

    states: np.ndarray  # int32[n]
    actions: np.ndarray  # int32[n], executed last
    seen: np.ndarray  # int32[n], observations
    present: np.ndarray  # int64[n], 0 … n − 1
    alive: np.ndarray  # uint8[0]: all are
    looked: np.ndarray  # int64[n], work space
    env_scratch: FieldScratch
    scratch: FieldScratch


@kernel(error_model="numpy")
def _draw(law, stream):
    """`draw_categorical`, not inlined: with seven copies of it the kernels take a third longer to compile."""
    return draw_categorical(law, stream)


@kernel
def make_crowd(sight, n):
    """Allocate n agents.

    Parameters
    ----------
    sight : Sight
    n : int64

    Returns
    -------
    Crowd
    """
    return Crowd(
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.arange(n),
        np.zeros(0, np.uint8),
        np.zeros(n, np.int64),
        make_field_scratch(sight.env_lens),
        make_field_scratch(sight.lens),
    )


@kernel(error_model="numpy")
def _look(n_sl, sight, s_g, crowd):
    """Observe: field values of the states now, or of the actions executed last."""
    chosen = crowd.actions if sight.lens.of_actions != 0 else crowd.states
    fill_values(sight.lens, sight.graph, crowd.alive, crowd.present, chosen, crowd.scratch, crowd.looked)
    n_values = count_values(sight.lens)
    for i in range(crowd.states.shape[0]):
        crowd.seen[i] = (s_g * n_sl + np.int64(crowd.states[i])) * n_values + crowd.looked[i]


@kernel(error_model="numpy")
def _field_value(sight, crowd, chosen):
    """The environment's field value, of all agents; 0 without a field."""
    if sight.env_lens.weights.shape[0] == 0:
        return np.int64(0)
    return value_of_all(sight.env_lens, crowd.present, chosen, crowd.env_scratch)


@kernel
def start_crowd(scene, sight, seed, run, crowd):
    """Draw the start of a run: s_g and states by the initial laws, uniform actions for the first observations to be of.

    Parameters
    ----------
    scene : Scene
    sight : Sight
    seed : uint64
    run : int64
    crowd : Crowd   overwritten

    Returns
    -------
    int64   s_g
    """
    stream = new_stream(seed)
    seek(stream, PURPOSE_INITIAL, run, START_STEP)
    n_al = scene.r_l.shape[3]
    uniform = np.full(n_al, 1.0 / n_al)
    s_g = _draw(scene.rho_g, stream)
    for i in range(crowd.states.shape[0]):
        crowd.states[i] = _draw(scene.rho_l, stream)
        crowd.actions[i] = _draw(uniform, stream)
    _look(scene.r_l.shape[2], sight, s_g, crowd)
    return s_g


@kernel(error_model="numpy")
def play_step(scene, sight, played, response, s_g, stream, crowd):
    """One step of all agents, the first of whom may deviate.

    Parameters
    ----------
    scene : Scene
    sight : Sight
    played : Played
    response : int32[n_o]   action of the first agent by its observation, or KEEPS_LAW
    s_g : int64
    stream : uint64[STREAM_WORDS]   at the step; advanced
    crowd : Crowd           changed

    Returns
    -------
    (int64, int64, float64)   next s_g, the field value of the step, the first agent's reward r_g + r_l
    """
    f = np.int64(0)
    if sight.env_lens.of_actions == 0:
        f = _field_value(sight, crowd, crowd.states)
    a_g = _draw(played.global_law[s_g, f if played.global_law.shape[1] > 1 else 0], stream)
    for i in range(crowd.states.shape[0]):
        crowd.actions[i] = _draw(played.law[crowd.seen[i]], stream)
    if response[crowd.seen[0]] != KEEPS_LAW:
        crowd.actions[0] = response[crowd.seen[0]]
    if sight.env_lens.of_actions != 0:
        f = _field_value(sight, crowd, crowd.actions)
    f_l = f if scene.r_l.shape[1] > 1 else 0
    reward = scene.r_g[s_g, f if scene.r_g.shape[1] > 1 else 0, a_g]
    reward += scene.r_l[s_g, f_l, crowd.states[0], crowd.actions[0]]
    s_g_next = _draw(scene.P_g[s_g, f if scene.P_g.shape[1] > 1 else 0, a_g], stream)
    f_p = f if scene.P_l.shape[1] > 1 else 0
    for i in range(crowd.states.shape[0]):
        crowd.states[i] = _draw(scene.P_l[s_g, f_p, crowd.states[i], crowd.actions[i]], stream)
    _look(scene.r_l.shape[2], sight, s_g_next, crowd)
    return s_g_next, f, reward


@kernel(error_model="numpy")
def _noise_of_action(law, q, a):
    """Q of the action less its mean under the law that it was drawn from."""
    mean = 0.0
    for x in range(law.shape[0]):
        mean += law[x] * q[x]
    return q[a] - mean


@kernel(error_model="numpy")
def _noise_of_move(global_row, row, value, o, n_values):
    """Value of the observation less its mean over the next s_g and the own next state, which are independent given b."""
    mean = 0.0
    for t in range(global_row.shape[0]):
        if global_row[t] == 0.0:
            continue
        first = t * row.shape[0] * n_values + o % n_values
        at_t = 0.0
        for s in range(row.shape[0]):
            at_t += row[s] * value[first + s * n_values]
        mean += global_row[t] * at_t
    return value[o] - mean


@kernel(error_model="numpy")
def _fill_global_row(scene, played, s_g, f, out_row):
    """Law of the next s_g over the global agent's actions."""
    law = played.global_law[s_g, f if played.global_law.shape[1] > 1 else 0]
    moves = scene.P_g[s_g, f if scene.P_g.shape[1] > 1 else 0]
    out_row[:] = 0.0
    for a_g in range(law.shape[0]):
        for t in range(out_row.shape[0]):
            out_row[t] += law[a_g] * moves[a_g, t]


@kernel(error_model="numpy")
def _play_arm(scene, sight, played, arms, arm, seed, run, steps, gamma, s_g, crowd, out_return):
    """Discounted rewards of the first agent over some steps, and the noise in them; `crowd` goes on from where it is."""
    stream = new_stream(seed)
    response, value, q = arms.response[arm], arms.value[arm], arms.q[arm]
    n_values = count_values(sight.lens)
    global_row = np.zeros(scene.P_g.shape[0])
    out_return[:] = 0.0
    weight = 1.0
    for step in range(steps[0], steps[1]):
        seek(stream, PURPOSE_ROLLOUT, run, step)
        o, s, s_g_before = crowd.seen[0], crowd.states[0], s_g
        s_g, f, reward = play_step(scene, sight, played, response, s_g, stream, crowd)
        out_return[0] += weight * reward
        a = crowd.actions[0]
        if response[o] == KEEPS_LAW:
            out_return[1] += weight * _noise_of_action(played.law[o], q[o], a)
        weight *= gamma
        row = scene.P_l[s_g_before, f if scene.P_l.shape[1] > 1 else 0, s, a]
        _fill_global_row(scene, played, s_g_before, f, global_row)
        out_return[1] += weight * _noise_of_move(global_row, row, value, np.int64(crowd.seen[0]), n_values)


@kernel(nogil=True, error_model="numpy")
def play_two_arms(scene, sight, played, arms, seed, runs, burn_in, n_steps, gamma, n, out_start, out_returns):
    """Discounted returns of the first of n agents in two arms, with the noise that is known to be in them; one row a run.

    All keep to the law for `burn_in` steps before; both arms go on from there with the same random numbers. The noise is a sum of
    martingale differences, so that its mean is 0 whatever the values are: what the agent's own action, its next state and the
    next s_g were worth, by `arms.q` and `arms.value`, less the mean of that over their laws. Returns less noise have the same mean
    as returns (Henderson and Glynn 2002, Approximating martingales for variance reduction in Markov process simulation).

    Parameters
    ----------
    scene : Scene
    sight : Sight
    played : Played
    arms : Arms
    seed : uint64
    runs : int64[n_runs]                 numbers of the runs in the random streams, 0 to 2**32 − 1
    burn_in, n_steps : int64
    gamma : float64
    n : int64
    out_start : int64[n_runs]            observation of the first agent after the burn-in; overwritten
    out_returns : float64[n_runs, 2, 2]  axes (arm, return or noise); overwritten
    """
    stream = new_stream(seed)
    keep = np.full(arms.response.shape[1], np.int32(KEEPS_LAW), np.int32)
    crowd, other = make_crowd(sight, n), make_crowd(sight, n)
    steps = (burn_in, burn_in + n_steps)
    for row in range(runs.shape[0]):
        run = runs[row]
        s_g = start_crowd(scene, sight, seed, run, crowd)
        for step in range(burn_in):
            seek(stream, PURPOSE_ROLLOUT, run, step)
            s_g, _, _ = play_step(scene, sight, played, keep, s_g, stream, crowd)
        other.states[:] = crowd.states
        other.actions[:] = crowd.actions
        other.seen[:] = crowd.seen
        out_start[row] = crowd.seen[0]
        _play_arm(scene, sight, played, arms, 0, seed, run, steps, gamma, s_g, crowd, out_returns[row, 0])
        _play_arm(scene, sight, played, arms, 1, seed, run, steps, gamma, s_g, other, out_returns[row, 1])


@kernel(error_model="numpy")
def _fill_fields_of_actions(sight, crowd, i, f, out_fields):
    """Field value of the step for every action that agent i could have executed, all else as it was; `f` is that of all."""
    lens = sight.env_lens
    if lens.of_actions == 0 or lens.weights.shape[0] == 0:
        out_fields[:] = f
        return
    totals, shifted = crowd.env_scratch.totals, crowd.env_scratch.shifted
    n = crowd.actions.shape[0]
    for a in range(out_fields.shape[0]):
        for d in range(totals.shape[0]):
            shifted[d] = totals[d] - lens.weights[d, crowd.actions[i]] + lens.weights[d, a]
        out_fields[a] = value_of_totals(lens, shifted, n)


@kernel(nogil=True, error_model="numpy")
def record_flow(scene, sight, played, seed, run, first_step, s_g, crowd, n_f, out_links, out_visits):
    """What agents meet in some steps: contexts c = s_g·B + b, and by the own action the field value and the next b.

    The first agents are recorded at every step, for every action that they could have executed while the others did what they
    did. A link is ((c·n_al + a)·n_f + f)·B + b'. Steps may be taken in any pieces: the same bits.

    Parameters
    ----------
    scene : Scene
    sight : Sight
    played : Played
    seed : uint64
    run, first_step : int64                         of the random streams
    s_g : int64                                     as `start_crowd` or the piece before returned it
    crowd : Crowd                                   changed
    n_f : int64                                     field values of the environment
    out_links : int64[n_steps, n_recorded, n_al]    overwritten
    out_visits : int64[n_sg·B, n_sl]                steps of all agents in a context and a state; overwritten

    Returns
    -------
    int64   s_g after the last step
    """
    stream = new_stream(seed)
    n_steps, n_recorded, n_al = out_links.shape
    n_sl, n_values = scene.r_l.shape[2], count_values(sight.lens)
    keep = np.full(played.law.shape[0], np.int32(KEEPS_LAW), np.int32)
    before = np.zeros(crowd.seen.shape[0], np.int32)
    fields = np.zeros(n_al, np.int64)
    out_visits[:] = 0
    for step in range(n_steps):
        seek(stream, PURPOSE_ROLLOUT, run, first_step + step)
        before[:] = crowd.seen
        s_g, f, _ = play_step(scene, sight, played, keep, s_g, stream, crowd)
        for i in range(before.shape[0]):
            row, b = before[i] // n_values, before[i] % n_values
            out_visits[row // n_sl * n_values + b, row % n_sl] += 1
        for i in range(n_recorded):
            c = before[i] // n_values // n_sl * n_values + before[i] % n_values
            _fill_fields_of_actions(sight, crowd, i, f, fields)
            for a in range(n_al):
                link = (c * n_al + a) * n_f + fields[a]
                out_links[step, i, a] = link * n_values + crowd.seen[i] % n_values
    return s_g
