"""Learning in rounds: everyone looks, acts, is rewarded, moves and learns at once, in many runs side by side.

A step, with all draws from its own place (seed, PURPOSE_LEARNING, run, step), in this order:
1. the global agent acts, by the environment's field: that of the states, or of the actions executed before;
2. the local agents act by their observations, each with a coin of its own;
3. fields of actions now follow from what was executed, and everyone is rewarded;
4. the global agent moves, then the local agents;
5. the next observations: of the states moved to, or of the actions just executed, after `inner` rounds in which the
   mean action answers itself by the tables as they are. They are those of the bootstrap, and those acted on next;
6. the tables learn, from this step or from past ones, then the target follows.

A draw with one outcome is not made. The global agent learns from its own last transition only, without a target.
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..draws import draw_categorical
from ..streams import PURPOSE_INITIAL, PURPOSE_LEARNING, new_stream, seek
from .choices import draw_action, draw_actions, epsilon_at
from .drift import make_drift_work, replay_steps
from .fields import count_values, fill_values
from .observation import observe
from .parts import EVERYONE
from .replay import move_target, replay_transitions, store_transition
from .runs import Sight, make_work, mean_weight, note_step, ratio_sums, take_up_run
from .updates import count_visit, update_agents, update_mfq


@kernel
def draw_learners(scene, seed, population):
    """Draw the start of every run: s_g, the agents' states, and uniform actions for the first observations to be of.

    Parameters
    ----------
    scene : Scene
    seed : uint64
    population : Population   s_g, states and actions are overwritten
    """
    stream = new_stream(seed)
    n_al = scene.r_l.shape[3]
    uniform = np.full(n_al, 1.0 / n_al)
    for i in range(population.run.shape[0]):
        # Steps 0 and 1 of this purpose draw and place the agents of a deployment.
        seek(stream, PURPOSE_INITIAL, population.run[i], 2)
        population.s_g[i] = draw_categorical(scene.rho_g, stream)
        for agent in range(population.states.shape[1]):
            population.states[i, agent] = draw_categorical(scene.rho_l, stream)
            population.actions[i, agent] = draw_categorical(uniform, stream)


@kernel
def observe_start(scene, env_lens, env_graph, lens, graph, rule, population, step):
    """Fill the observations before the first step, from the runs' states and last actions.

    Parameters
    ----------
    scene : Scene
    env_lens, lens : Lens
    env_graph, graph : Graph
    rule : Rule
    population : Population   `seen` is overwritten
    step : int64              that comes next
    """
    sight = Sight(env_lens, env_graph, lens, graph)
    epsilon = epsilon_at(rule.epsilon_start, rule.epsilon_end, rule.epsilon_steps, step)
    for i in range(population.run.shape[0]):
        learners = take_up_run(population, i)
        work = make_work(sight, learners, scene.r_g.shape[2])
        n_sl, s_g = scene.r_l.shape[2], population.s_g[i]
        observe(lens, graph, n_sl, s_g, rule, learners, work, epsilon, learners.seen)


@kernel
def _look_at_environment(sight, learners, work):
    """Fill the values of the environment's field; return the one of all agents, 0 where each has its own."""
    chosen = learners.actions if sight.env_lens.of_actions != 0 else learners.states
    fill_values(sight.env_lens, sight.env_graph, learners.alive, work.present, chosen, work.env_scratch, work.env)
    if sight.env_graph.kind != EVERYONE or sight.env_lens.weights.shape[0] == 0:
        return np.int64(0)
    if work.present.shape[0] == 0:
        return np.int64(sight.env_lens.neutral)
    return work.env[work.present[0]]


@kernel(forceinline=True)
def _global_row(q_global, n_sg, s_g, f):
    n_f = q_global.shape[0] // n_sg
    return s_g * n_f + (f if n_f > 1 else 0)


@kernel(error_model="numpy")
def _act_globally(scene, rule, learners, work, s_g, f, epsilon, stream):
    n_sg, _, n_ag = scene.r_g.shape
    if n_ag == 1:
        return np.int64(0)
    if rule.global_learns != 0:
        row = learners.q_global[_global_row(learners.q_global, n_sg, s_g, f)]
        return draw_action(row, rule.temperature, epsilon, stream, work.law)
    return draw_categorical(rule.global_law[s_g, f if rule.global_law.shape[1] > 1 else 0], stream)


@kernel(error_model="numpy")
def _learn_globally(scene, rule, learners, s_g, f, a_g, reward, s_g_next, f_next):
    n_sg = scene.r_g.shape[0]
    q, visits = learners.q_global, learners.visits_global
    row = _global_row(q, n_sg, s_g, f)
    alpha = rule.alpha
    if visits.shape[0] > 0:
        alpha = count_visit(visits, row, a_g, alpha, rule.alpha_power)
    update_mfq(q, q, row, a_g, reward, _global_row(q, n_sg, s_g_next, f_next), alpha, rule.gamma, rule.temperature)


@kernel(error_model="numpy")
def _reward_agents(reward, scene, sight, rule, learners, work, s_g, r_g):
    """Fill the agents' rewards; return the system's."""
    present = work.present
    n_f = scene.r_l.shape[1]
    n_values = count_values(sight.lens)
    total = 0.0
    for j in range(present.shape[0]):
        i = present[j]
        f = np.int64(learners.seen[i]) % n_values if rule.reward_at_seen != 0 else work.env[i]
        s, a = np.int64(learners.states[i]), np.int64(learners.actions[i])
        if reward is None:
            own = scene.r_l[s_g, f if n_f > 1 else 0, s, a]
        else:
            own = reward(s_g, f, s, a)
        work.reward[i] = own + r_g
        total += own
    system = r_g + total / max(present.shape[0], 1)
    if rule.team != 0:
        for j in range(present.shape[0]):
            work.reward[present[j]] = system
    return system


@kernel(error_model="numpy")
def _move_agents(scene, learners, work, s_g, stream):
    _, n_f, n_sl, _, _ = scene.P_l.shape
    if n_sl == 1:
        return
    for j in range(work.present.shape[0]):
        i = work.present[j]
        f = work.env[i] if n_f > 1 else 0
        row = scene.P_l[s_g, f, learners.states[i], learners.actions[i]]
        learners.states[i] = draw_categorical(row, stream)


@kernel
def _rows_to_update(sight, rule, learners, work):
    """Observations whose rows the step's transitions update: those acted on, or with the means executed in the step."""
    if rule.index_executed == 0:
        return learners.seen
    n_values = count_values(sight.lens)
    for j in range(work.present.shape[0]):
        agent = work.present[j]
        work.rows[agent] = learners.seen[agent] // n_values * n_values + work.next_seen[agent] % n_values
    return work.rows


# What follows is put into the kernels that call it before anything is compiled: as functions of their own every level would be
# optimised once more with all below it, and take half as long again to compile.
@kernel(error_model="numpy", inline="always")
def _learn_locally(drift, drift_work, sight, rule, learners, work, population, i, step, epsilon, stream, records):
    """Learn from the step's own transitions or from past ones, and let the target follow."""
    tables, ring, law = learners.tables, learners.ring, work.law
    rows = _rows_to_update(sight, rule, learners, work)
    capacity = ring.seen.shape[0]
    head = population.ring_head[i]
    if capacity > 0:
        store_transition(ring, head, rows, learners.actions, work.reward, work.next_seen)
        if ring.acted.shape[0] > 0:
            ring.acted[head, :] = learners.seen
        population.ring_head[i] = (head + 1) % capacity
        population.ring_filled[i] = min(population.ring_filled[i] + 1, capacity)
    filled = population.ring_filled[i]
    if rule.batch > 0 and rule.by_step != 0:
        means, sums = population.ratio_means[i], ratio_sums(records, i, step)
        replay_steps(drift, tables, rule, ring, head, filled, epsilon, stream, law, drift_work, means, sums)
    elif rule.batch > 0:
        replay_transitions(tables, rule, ring, filled, work.present, stream, law)
    else:
        update_agents(tables, rule, rows, learners.actions, work.reward, work.next_seen, work.present, law)
    if tables.target.shape[0] > 0:
        move_target(tables, step, rule.target_every, rule.target_tau)


@kernel(error_model="numpy", inline="always")
def _advance(
    reward, drift, drift_work, scene, sight, rule, learners, work, population, i, s_g, f_seen, step, stream, records
):
    """One step of run i, learning included: return the next s_g, the executed f, the system reward and the mean weight."""
    epsilon = epsilon_at(rule.epsilon_start, rule.epsilon_end, rule.epsilon_steps, step)
    a_g = _act_globally(scene, rule, learners, work, s_g, f_seen, epsilon, stream)
    table = learners.tables.theta if learners.tables.theta.shape[0] > 0 else learners.tables.q
    draw_actions(table, learners.seen, work.present, rule.temperature, epsilon, stream, work.law, learners.actions)
    f = _look_at_environment(sight, learners, work) if sight.env_lens.of_actions != 0 else f_seen
    r_g = scene.r_g[s_g, f if scene.r_g.shape[1] > 1 else 0, a_g]
    system = _reward_agents(reward, scene, sight, rule, learners, work, s_g, r_g)
    weight = mean_weight(sight.lens, work.present, learners.actions if sight.lens.of_actions != 0 else learners.states)
    s_g_next = s_g
    if scene.P_g.shape[0] > 1:
        s_g_next = draw_categorical(scene.P_g[s_g, f if scene.P_g.shape[1] > 1 else 0, a_g], stream)
    _move_agents(scene, learners, work, s_g, stream)
    if sight.env_lens.of_actions == 0:
        f = _look_at_environment(sight, learners, work)
    epsilon_next = epsilon_at(rule.epsilon_start, rule.epsilon_end, rule.epsilon_steps, step + 1)
    observe(sight.lens, sight.graph, scene.r_l.shape[2], s_g_next, rule, learners, work, epsilon_next, work.next_seen)
    if rule.learning != 0:
        if rule.global_learns != 0:
            _learn_globally(scene, rule, learners, s_g, f_seen, a_g, system, s_g_next, f)
        _learn_locally(drift, drift_work, sight, rule, learners, work, population, i, step, epsilon, stream, records)
    for j in range(work.present.shape[0]):
        learners.seen[work.present[j]] = work.next_seen[work.present[j]]
    return s_g_next, f, system, weight


@kernel(error_model="numpy", inline="always")
def _learn_run(reward, drift, i, scene, sight, rule, population, seed, first_step, n_steps, records):
    """Advance one run; `reward` is a function of (s_g, f, s, a), or None for the table r_l; `drift` a Drift, or None."""
    stream = new_stream(seed)
    learners = take_up_run(population, i)
    work = make_work(sight, learners, scene.r_g.shape[2])
    _, n_o, n_al = learners.tables.q.shape
    drift_work = make_drift_work(drift, learners.states.shape[0], n_o, n_al)
    if rule.by_step != 0 and work.present.shape[0] < learners.states.shape[0]:
        raise ValueError("alive: found absent agents, expected everyone where past steps are replayed")
    s_g = population.s_g[i]
    f = _look_at_environment(sight, learners, work)
    for step in range(first_step, first_step + n_steps):
        seek(stream, PURPOSE_LEARNING, population.run[i], step)
        s_g, f, system, weight = _advance(
            reward, drift, drift_work, scene, sight, rule, learners, work, population, i, s_g, f, step, stream, records
        )
        note_step(records, i, step, system, weight)
    population.s_g[i] = s_g


@kernel
def _check_steps(population, first_step, n_steps, records):
    """Refuse run numbers, steps and records out of range."""
    for i in range(population.run.shape[0]):
        if not 0 <= population.run[i] < 2**32:
            raise ValueError("run: found one out of range, expected 0 to 2**32 - 1")
    if first_step < 0 or n_steps < 0 or first_step + n_steps > 2**56:
        raise ValueError("first_step, n_steps: found one out of range, expected steps from 0 to 2**56 - 1")
    n_points = records.reward.shape[1]
    if records.every < 1 or (n_points > 0 and first_step + n_steps > n_points * records.every):
        raise ValueError("records: found too few points, expected one for every `every` steps, or none")


@kernel(nogil=True, error_model="numpy")
def learn_synchronous(scene, env_lens, env_graph, lens, graph, rule, population, seed, first_step, n_steps, records):
    """Let n agents and one global agent play and learn in rounds, in every run of a population.

    Within a run agents act and learn in order. One thread, which lets the interpreter's lock go, so that other threads can
    advance other rows of the same arrays: a parallel loop here would take twice as long to compile, and be no faster.
    Stopping after any step and going on changes no bit.

    Parameters
    ----------
    scene : Scene
    env_lens : Lens           what the tables' axis n_f is made of
    env_graph : Graph         for an own field value of each agent; then r_g and P_g have no such axis
    lens : Lens               what agents condition on
    graph : Graph
    rule : Rule
    population : Population   changed; before the first step `observe_start` fills `seen`
    seed : uint64
    first_step, n_steps : int64   step number that the runs stand before, number of steps
    records : Records         changed at the points of these steps
    """
    _check_steps(population, first_step, n_steps, records)
    sight = Sight(env_lens, env_graph, lens, graph)
    for i in range(population.run.shape[0]):
        _learn_run(None, None, i, scene, sight, rule, population, seed, first_step, n_steps, records)
