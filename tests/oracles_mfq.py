"""Mean-field Q-learning with labelled agents: its fixed point from the listed joint chain, and plain simulations.

Observation of agent i: o_i = (s_g * n_sl + s_i) * n_values + b_i, with b_i what its sight makes of the others. Tables are
float64[n_tables, n_o, n_al], one for each agent ("own") or one for all ("shared"). Nothing of the package under test is
imported here.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from oracles_coupled import CoupledTables, count_of_ones, joint_law, labelled_joint_states, stateless_game, step_of

from oracles import counts_of, limit_of_averages, recurrent_classes

NO_MASS = 1e-13
"""A long-run probability up to this counts as zero."""

MOST_ROUNDS = 100_000


@dataclass(frozen=True)
class Sight:
    """What an agent sees of the others: lens(histogram) in 0..n_values - 1, of their states or of their last actions.

    `graph` is "everyone" (itself included), "others", or the list of every agent's neighbours. The lens of a histogram of
    zeros is seen where there is nobody, or no action yet.
    """

    of: str
    lens: Callable[[tuple], int]
    n_values: int
    graph: str | Sequence[Sequence[int]] = "everyone"


BLIND = Sight("states", lambda histogram: 0, 1)
"""Independent Q-learning."""


def ring(n):
    """Neighbours of n >= 3 agents in a circle."""
    return [[(i - 1) % n, (i + 1) % n] for i in range(n)]


def complete(n):
    """All others."""
    return [[j for j in range(n) if j != i] for i in range(n)]


def ising_game(neighbours, of):
    """Spins -1 and 1 with r_l = ½ s_i Σ s_j and γ = 0; every agent has the same number d of neighbours, f counts those up.

    The spin is the action. of="actions": the neighbours' spins of this step pay, and there is one state. of="states": the
    state is the last spin, so that the neighbours' last spins pay.
    """
    degree = len(neighbours[0])
    assert all(len(around) == degree for around in neighbours)
    paid = np.array([[0.5 * spin * (2 * up - degree) for spin in (-1, 1)] for up in range(degree + 1)])
    kind = {"of": of, "field": count_of_ones, "neighbours": neighbours}
    if of == "actions":
        return stateless_game(paid, 0.0, **kind)
    r_l = np.repeat(paid[np.newaxis, :, np.newaxis], 2, axis=2)
    return CoupledTables(np.ones((1, 1, 1)), np.tile(np.eye(2), (1, 2, 1, 1)), np.zeros((1, 1)), r_l, 0.0, **kind)


def observations(game, sight, s_g, agents, last):
    """[o_1, ..., o_n]; `last` are the last executed actions, None before the first."""
    n, (_, _, n_sl, n_al) = len(agents), game.sizes
    graph = (
        {"everyone": [range(n)] * n, "others": complete(n)}[sight.graph]
        if isinstance(sight.graph, str)
        else sight.graph
    )
    listed, n_x = (agents, n_sl) if sight.of == "states" else (last, n_al)
    seen = []
    for s, around in zip(agents, graph, strict=True):
        histogram = (0,) * n_x if listed is None else counts_of([listed[j] for j in around], n_x)
        seen.append((s_g * n_sl + s) * sight.n_values + sight.lens(histogram))
    return seen


def n_observations(game, sight):
    """Number of values of o."""
    n_sg, _, n_sl, _ = game.sizes
    return n_sg * n_sl * sight.n_values


def boltzmann(row, temperature):
    """Law of actions, proportional to exp(Q / T); at T = 0 all on the best, ties to the lowest."""
    best = max(row)
    if temperature == 0:
        return [1.0 if a == list(row).index(best) else 0.0 for a in range(len(row))]
    weights = [math.exp((value - best) / temperature) for value in row]
    return [weight / sum(weights) for weight in weights]


def exploring(row, temperature, epsilon):
    """With probability ε uniform, otherwise Boltzmann."""
    return [epsilon / len(row) + (1.0 - epsilon) * p for p in boltzmann(row, temperature)]


def bootstrap(row, temperature):
    """v of one observation: the mean of Q under the Boltzmann law; at T = 0 the largest Q."""
    return sum(p * value for p, value in zip(boltzmann(row, temperature), row, strict=True))


def reward_of(pay, i, reward):
    """What agent i learns from: "own" r_g + r_l[i], "team" r_g + mean of r_l."""
    return pay[0] + (pay[1 + i] if reward == "own" else sum(pay[1:]) / (len(pay) - 1))


# The fixed point


def learning_states(game, n):
    """Every (s_g, agents, last actions) in itertools.product order."""
    played = list(itertools.product(range(game.sizes[3]), repeat=n))
    return [(s_g, agents, last) for s_g, agents in labelled_joint_states(game, n) for last in played]


def events(game, sight, behaviour, global_law, state):
    """Yield (p, actions, Step) for all that the players may do in one state."""
    s_g, agents, last = state
    _, n_ag, n_sl, n_al = game.sizes
    seen = observations(game, sight, s_g, agents, last)
    laws = [law_of_agent(behaviour, i, o) for i, o in enumerate(seen)]
    of_global = uniform(n_ag) if global_law is None else global_law(s_g, counts_of(agents, n_sl))
    for a_g, actions in itertools.product(range(n_ag), itertools.product(range(n_al), repeat=len(agents))):
        p = of_global[a_g] * math.prod(law[a] for law, a in zip(laws, actions, strict=True))
        if p:
            yield p, actions, step_of(game, s_g, agents, a_g, actions)


def law_of_agent(behaviour, i, o):
    """Row of behaviour [n_o, n_al] (all alike) or [n, n_o, n_al]."""
    return behaviour[i][o] if np.ndim(behaviour) == 3 else behaviour[o]


def uniform(size):
    """The uniform law."""
    return [1.0 / size] * size


def learning_chain(game, n, sight, behaviour, global_law=None):
    """float64[n_states, n_states] over `learning_states`."""
    n_al, states = game.sizes[3], learning_states(game, n)
    P = np.zeros((len(states), len(states) // n_al**n, n_al**n))
    for x, state in enumerate(states):
        for p, actions, step in events(game, sight, behaviour, global_law, state):
            code = sum(a * n_al ** (n - 1 - i) for i, a in enumerate(actions))
            P[x, :, code] += p * joint_law(step.rows).ravel()
    return P.reshape(len(states), len(states))


def long_run(P, start=None):
    """float64[n_states]: limit of the mean over time of the law of the chain. Without a start it must have one class."""
    if start is None:
        found = len(recurrent_classes(P))
        if found != 1:
            raise ValueError(f"start: found None and {found} recurrent classes, expected a law of the start")
        start = np.full(len(P), 1.0 / len(P))
    return np.ravel(start) @ limit_of_averages(P)


class Samples(NamedTuple):
    """Long-run means of what the tables are updated with."""

    mass: np.ndarray  # float64[n_tables, n_o, n_al]
    gain: np.ndarray  # float64[n_tables, n_o, n_al], mass times mean reward
    move: np.ndarray  # float64[n_tables, n_o, n_al, n_o], mass times law of the next observation


def long_run_samples(
    game, n, sight, behaviour, global_law=None, *, tables="shared", reward="own", start=None, per_cell=False
):
    """Samples under a fixed behaviour; the mass of own tables is 1 each, that of the shared table n.

    `per_cell`: agents of one step that share a cell (o, a) of the table weigh one together instead of one each.
    """
    n_o, n_al = n_observations(game, sight), game.sizes[3]
    law = long_run(learning_chain(game, n, sight, behaviour, global_law), start)
    shape = (n if tables == "own" else 1, n_o, n_al)
    mass, gain, move = np.zeros(shape), np.zeros(shape), np.zeros((*shape, n_o))
    next_states = labelled_joint_states(game, n)
    seen_in = {state: observations(game, sight, *state) for state in learning_states(game, n)}
    for d, state in zip(law, learning_states(game, n), strict=True):
        if d <= NO_MASS:
            continue
        seen = seen_in[state]
        for p, actions, step in events(game, sight, behaviour, global_law, state):
            cells = [(i if tables == "own" else 0, seen[i], actions[i]) for i in range(n)]
            weights = [d * p / (cells.count(cell) if per_cell else 1) for cell in cells]
            for i, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
                mass[cell] += weight
                gain[cell] += weight * reward_of(step.pay, i, reward)
            for q, (s_next, agents_next) in zip(joint_law(step.rows).ravel(), next_states, strict=True):
                if q:
                    seen_next = seen_in[s_next, agents_next, actions]
                    for i, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
                        move[*cell, seen_next[i]] += weight * q
    return Samples(mass, gain, move)


def mfq_fixed_point(samples, gamma, temperature, q_start=0.0, tol=1e-12):
    """Q float64[n_tables, n_o, n_al] with Q(o, a) = E[r + γ v(o') | o, a], NaN where (o, a) has no mass.

    Such cells keep `q_start` and enter v with it. At T = 0 the map is a contraction; at T > 0 it need not be, the solution
    is the one that repetition reaches from `q_start`, and RuntimeError if it reaches none.
    """
    known = samples.mass > 0.0
    mass = np.where(known, samples.mass, 1.0)
    reward, law = samples.gain / mass, samples.move / mass[..., np.newaxis]
    q = np.full(mass.shape, float(q_start))
    for _ in range(MOST_ROUNDS):
        v = np.array([[bootstrap(row, temperature) for row in table] for table in q])
        updated = np.where(known, reward + gamma * np.einsum("toan,tn->toa", law, v), q)
        change = np.abs(updated - q).max()
        q = updated
        if change <= tol:
            return np.where(known, q, np.nan)
    raise RuntimeError(f"no fixed point in {MOST_ROUNDS} rounds, last change {change:.1e}")


# Simulations: the law is the promise, not the draws. `rng` is a random.Random.


class Run(NamedTuple):
    """What a simulation leaves."""

    q: list  # [n_tables][n_o][n_al]
    history: list


def draw(rng, law):
    """One index."""
    return rng.choices(range(len(law)), weights=law)[0]


def fresh_table(game, sight, n_tables, value=0.0):
    """[n_tables][n_o][n_al], all cells alike."""
    return [[[value] * game.sizes[3] for _ in range(n_observations(game, sight))] for _ in range(n_tables)]


def simulate_mfq(
    game,
    sight,
    rng,
    *,
    start,
    n_steps,
    alpha,
    temperature=0.0,
    epsilon=0.0,
    behaviour=None,
    global_law=None,
    tables="shared",
    reward="own",
    per_cell=False,
    q=None,
    last=None,
):
    """Synchronous MF-Q from start = (s_g, agents); the history has (s_g, agents, actions, pay) of every step.

    Actions are drawn from `behaviour` if there is one, otherwise from the table: one coin of ε for each agent. All targets of
    a step are taken before its updates. alpha(visits) is the step size at the visits-th update of a cell. In a shared
    table the agents update one after the other; `per_cell`: once for every visited cell, with the mean of the targets.
    """
    (s_g, agents), n, n_ag = start, len(start[1]), game.sizes[1]
    q = (
        fresh_table(game, sight, n if tables == "own" else 1)
        if q is None
        else [[list(row) for row in table] for table in q]
    )
    visits, history = {}, []
    seen = observations(game, sight, s_g, agents, last)
    for _ in range(n_steps):
        which = [i if tables == "own" else 0 for i in range(n)]
        if behaviour is None:
            laws = [exploring(q[which[i]][seen[i]], temperature, epsilon) for i in range(n)]
        else:
            laws = [law_of_agent(behaviour, i, seen[i]) for i in range(n)]
        actions = tuple(draw(rng, law) for law in laws)
        a_g = draw(rng, uniform(n_ag) if global_law is None else global_law(s_g, counts_of(agents, game.sizes[2])))
        step = step_of(game, s_g, agents, a_g, actions)
        history.append((s_g, agents, actions, step.pay))
        s_g, *moved = (draw(rng, row) for row in step.rows)
        agents, before = tuple(moved), seen
        seen = observations(game, sight, s_g, agents, actions)
        updates = {}
        for i in range(n):
            target = reward_of(step.pay, i, reward) + game.gamma * bootstrap(q[which[i]][seen[i]], temperature)
            updates.setdefault((which[i], before[i], actions[i]), []).append(target)
        for (table, o, a), targets in updates.items():
            for target in [sum(targets) / len(targets)] if per_cell else targets:
                visits[table, o, a] = visits.get((table, o, a), 0) + 1
                q[table][o][a] += alpha(visits[table, o, a]) * (target - q[table][o][a])
    return Run(q, history)


def simulate_sequential(
    game, sight, rng, *, actions, n_sweeps, alpha, temperature=0.0, epsilon=0.0, tables="own", q=None, agents=None
):
    """Random-sequential MF-Q without a global state: n times in a sweep one agent, drawn anew, acts, moves and learns.

    The others keep their last actions, which are what it sees and what it is paid by; only its own state moves. The
    history has the actions after every sweep.
    """
    assert game.sizes[:2] == (1, 1)
    actions, n = list(actions), len(actions)
    agents = [0] * n if agents is None else list(agents)
    q = (
        fresh_table(game, sight, n if tables == "own" else 1)
        if q is None
        else [[list(row) for row in table] for table in q]
    )
    visits, history = {}, []
    for _ in range(n_sweeps):
        for _ in range(n):
            i = rng.randrange(n)
            table = i if tables == "own" else 0
            o = observations(game, sight, 0, agents, actions)[i]
            actions[i] = a = draw(rng, exploring(q[table][o], temperature, epsilon))
            step = step_of(game, 0, agents, 0, actions)
            agents[i] = draw(rng, step.rows[1 + i])
            o_next = observations(game, sight, 0, agents, actions)[i]
            target = reward_of(step.pay, i, "own") + game.gamma * bootstrap(q[table][o_next], temperature)
            visits[table, o, a] = visits.get((table, o, a), 0) + 1
            q[table][o][a] += alpha(visits[table, o, a]) * (target - q[table][o][a])
        history.append(tuple(actions))
    return Run(q, history)
