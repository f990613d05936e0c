"""Best responses, closures and learners with labelled agents: every sample, joint state and deviation is listed.

States are tuples (s_g, s_1, ..., s_n) in itertools.product order; the tagged agent is agent 1. Nothing of the package
under test is imported here.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from oracles import counts_of, limit_of_averages, ranks_listed, tables_of

MOST_LISTED = 1000
"""Deviations up to this many are all listed; beyond, Howard's policy iteration on the labelled process."""

NO_MASS = 1e-12
"""A long-run probability up to this counts as zero."""


class Process(NamedTuple):
    """The Markov decision process of one player among n labelled agents while all the others play the pair."""

    reward: np.ndarray  # float64[n_states, n_actions]
    P: np.ndarray  # float64[n_states, n_actions, n_states]
    own_law: np.ndarray  # float64[n_states, n_actions], what the pair has this player play
    seen: list  # what the player sees in each state
    gamma: float


class Response(NamedTuple):
    """A best response: its value in every labelled state, and an action for each thing that the player can see."""

    value: np.ndarray  # float64[n_states]
    action: dict


def labelled_states(game, n):
    """Every (s_g, s_1, ..., s_n)."""
    n_sg, n_sl, _ = tables_of(game).r_l.shape
    return list(itertools.product(range(n_sg), *[range(n_sl)] * n))


def labelled_start(game, n):
    """float64[n_states]: the initial law of (s_g, s_1, ..., s_n).

    Under a Dirichlet law of concentration α the agents' states have probability Π_s α_s^(c_s) / (Σ α)^(n), in rising
    factorials: the integral of Π_i p[s_i] over the law of p.
    """
    read = game.get if isinstance(game, Mapping) else functools.partial(getattr, game)
    rho_g, rho_l, dirichlet = read("rho_g"), np.asarray(read("rho_l")), read("dirichlet", False)
    law = []
    for s_g, *agents in labelled_states(game, n):
        if dirichlet:
            ways = math.prod(_rising(rho_l[s], count) for s, count in enumerate(counts_of(agents, len(rho_l))))
            p = ways / _rising(rho_l.sum(), n)
        else:
            p = math.prod(rho_l[s] for s in agents)
        law.append(rho_g[s_g] * p)
    return np.array(law)


def _rising(x, count):
    return math.prod(x + i for i in range(count))


def global_law(tables, pair, s_g, agents):
    """float64[n_ag]: law of a_g, from every k_global-subset of the labelled agents."""
    n_ag, n_sl = tables.r_g.shape[1], tables.r_l.shape[1]
    ranks = ranks_listed(pair.k_global, n_sl)
    law = np.zeros(n_ag)
    samples = list(itertools.combinations(range(len(agents)), pair.k_global))
    for sample in samples:
        law[pair.global_action[s_g][ranks[counts_of([agents[i] for i in sample], n_sl)]]] += 1.0 / len(samples)
    return law


def agent_law(tables, pair, s_g, agents, i):
    """float64[n_al]: law of the action of agent i, from every (k_local - 1)-subset of the others."""
    _, n_sl, n_al = tables.r_l.shape
    ranks = ranks_listed(pair.k_local, n_sl)
    law = np.zeros(n_al)
    samples = list(itertools.combinations([j for j in range(len(agents)) if j != i], pair.k_local - 1))
    for sample in samples:
        counts = counts_of([agents[i], *(agents[j] for j in sample)], n_sl)
        law += np.asarray(pair.local_action[s_g][agents[i]][ranks[counts]]) / len(samples)
    return law


def process_of_global(game, pair, n, reward):
    """The process of a global agent that sees (s_g, counts of all n agents) and picks a_g."""
    tables = tables_of(game)
    n_sl, states = tables.r_l.shape[1], labelled_states(tables, n)
    rewards, P, own, seen = [], [], [], []
    for s_g, *agents in states:
        laws = [agent_law(tables, pair, s_g, agents, i) for i in range(n)]
        paid = sum(law @ tables.r_l[s_g, s] for s, law in zip(agents, laws, strict=True)) / n
        moves = [law @ tables.P_l[s_g, s] for s, law in zip(agents, laws, strict=True)]
        rewards.append([r + (paid if reward == "team" else 0.0) for r in tables.r_g[s_g]])
        P.append([_joint([row, *moves]) for row in tables.P_g[s_g]])
        own.append(global_law(tables, pair, s_g, agents))
        seen.append((s_g, counts_of(agents, n_sl)))
    return Process(np.array(rewards), np.array(P), np.array(own), seen, tables.gamma)


def process_of_tagged(game, pair, n, reward):
    """The process of agent 1, that sees (s_g, its own state, counts of the others) and picks its action."""
    tables = tables_of(game)
    n_sl, states = tables.r_l.shape[1], labelled_states(tables, n)
    rewards, P, own, seen = [], [], [], []
    for s_g, mine, *others in states:
        agents = [mine, *others]
        of_global = global_law(tables, pair, s_g, agents)
        laws = [agent_law(tables, pair, s_g, agents, i) for i in range(n)]
        row = []
        for paid_to_me in tables.r_l[s_g, mine]:
            paid = paid_to_me
            if reward == "team":
                to_others = sum(law @ tables.r_l[s_g, s] for s, law in zip(others, laws[1:], strict=True))
                paid = of_global @ tables.r_g[s_g] + (paid_to_me + to_others) / n
            row.append(paid)
        moves = [law @ tables.P_l[s_g, s] for s, law in zip(others, laws[1:], strict=True)]
        rewards.append(row)
        P.append([_joint([of_global @ tables.P_g[s_g], mine_next, *moves]) for mine_next in tables.P_l[s_g, mine]])
        own.append(laws[0])
        seen.append((s_g, mine, counts_of(others, n_sl)))
    return Process(np.array(rewards), np.array(P), np.array(own), seen, tables.gamma)


def process_of(player, game, pair, n, reward):
    """The process of the "global" or of the "tagged" player."""
    return {"global": process_of_global, "tagged": process_of_tagged}[player](game, pair, n, reward)


def _joint(rows):
    """Law of independent variables over their product, flat in itertools.product order."""
    return functools.reduce(np.multiply.outer, rows).ravel()


def value_of_law(process, law):
    """float64[n_states]: value where the player draws its action from `law` float64[n_states, n_actions]."""
    reward = (law * process.reward).sum(axis=1)
    P = np.einsum("ia,iaj->ij", law, process.P)
    return np.linalg.solve(np.eye(len(P)) - process.gamma * P, reward)


def value_of_deviation(process, action):
    """float64[n_states]: value where the player plays `action[seen]`."""
    law = np.eye(process.reward.shape[1])[[action[seen] for seen in process.seen]]
    return value_of_law(process, law)


def pair_value(game, pair, n, reward):
    """(value for the global agent, value for agent 1), each float64[n_states], where all play the pair."""
    processes = (process_of(player, game, pair, n, reward) for player in ("global", "tagged"))
    return tuple(value_of_law(process, process.own_law) for process in processes)


def best_response_global(game, pair, n, reward):
    """The best deterministic function (s_g, counts) -> a_g, as a Response."""
    return best_response(process_of_global(game, pair, n, reward))


def best_response_tagged(game, pair, n, reward):
    """The best deterministic function (s_g, own state, counts of the others) -> a_l, as a Response."""
    return best_response(process_of_tagged(game, pair, n, reward))


def n_deviations(process):
    """How many deterministic functions of what the player sees there are."""
    return process.reward.shape[1] ** len(set(process.seen))


def best_response(process):
    """The best deviation: by listing all where they are few, otherwise by policy iteration."""
    return best_by_listing(process) if n_deviations(process) <= MOST_LISTED else best_by_iteration(process)


def best_by_listing(process):
    """Evaluate every deterministic function of what the player sees; one of them must be best in every state."""
    n_actions, sights = process.reward.shape[1], sorted(set(process.seen))
    place = [sights.index(seen) for seen in process.seen]
    deviations = np.array(list(itertools.product(range(n_actions), repeat=len(sights))))
    action, state = deviations[:, place], np.arange(len(place))
    matrices = np.eye(len(place)) - process.gamma * process.P[state, action]
    values = np.linalg.solve(matrices, process.reward[state, action][:, :, np.newaxis])[:, :, 0]
    best = values.sum(axis=1).argmax()
    np.testing.assert_allclose(values[best], values.max(axis=0), rtol=0, atol=1e-11)
    return Response(values[best], {sight: int(a) for sight, a in zip(sights, deviations[best], strict=True)})


def best_by_iteration(process):
    """Howard's policy iteration over all labelled states, until no action promises more than rounding.

    It may use the labels, which the player does not see: that no action then depends on them is checked.
    """
    state = np.arange(len(process.reward))
    action = process.reward.argmax(axis=1)
    while True:
        value = value_of_law(process, np.eye(process.reward.shape[1])[action])
        q = process.reward + process.gamma * process.P @ value
        better = q.max(axis=1) > q[state, action] + 1e-12
        if not better.any():
            break
        action = np.where(better, q.argmax(axis=1), action)
    first = {seen: action[i] for i, seen in reversed(list(enumerate(process.seen)))}
    np.testing.assert_allclose(value_of_deviation(process, first), value, rtol=0, atol=1e-10)
    return Response(value, {seen: int(a) for seen, a in first.items()})


class Gains(NamedTuple):
    """What each kind of player is paid, and could be paid, from the game's initial law."""

    global_value: float
    global_best: float
    local_value: float
    local_best: float
    global_worst_gain: float
    local_worst_gain: float

    @property
    def nash_conv(self):
        """One term per kind of player."""
        return max(self.global_best - self.global_value, 0.0) + max(self.local_best - self.local_value, 0.0)

    def nash_conv_all_players(self, n):
        """The local term n times."""
        return max(self.global_best - self.global_value, 0.0) + n * max(self.local_best - self.local_value, 0.0)


def gains(game, pair, n, reward):
    """Values and best responses of both players."""
    start = labelled_start(game, n)
    of_global, of_tagged = pair_value(game, pair, n, reward)
    best_global = best_response_global(game, pair, n, reward).value
    best_tagged = best_response_tagged(game, pair, n, reward).value
    return Gains(
        global_value=float(start @ of_global),
        global_best=float(start @ best_global),
        local_value=float(start @ of_tagged),
        local_best=float(start @ best_tagged),
        global_worst_gain=float((best_global - of_global).max()),
        local_worst_gain=float((best_tagged - of_tagged).max()),
    )


class ClosureLaw(NamedTuple):
    """What a closure says of the next global state."""

    transition: np.ndarray  # float64[n_sg, n_sl, n_sg]
    local_law: np.ndarray  # float64[n_sl], long-run law of one agent's state
    mass: np.ndarray  # float64[n_sg, n_sl], long-run law of (s_g, state of agent 1); of "uniform": without zeros


def closure_law(game, global_action, k, local_policy, closure):
    """The law of s_g' given (s_g, own state) under the closure "uniform", "joint" or "tagged".

    The joint law is the Cesàro limit of the chain of k labelled agents from the game's initial law. "joint" averages over
    all joint states with this s_g, "tagged" over those in which agent 1 is in this state. Where the stationary law of
    "uniform" is not unique it is the limit from the initial law, for a Dirichlet law its mean.
    """
    tables = tables_of(game)
    n_sg, n_sl, _ = tables.r_l.shape
    fallback, mu = _uniform_closure(game, global_action, k, local_policy)
    if closure == "uniform":
        return ClosureLaw(fallback, mu, np.full((n_sg, n_sl), 1.0))
    states, law = labelled_states(tables, k), long_run_law(game, global_action, k, local_policy)
    transition, mass, seen_mass = (np.zeros(shape) for shape in (fallback.shape, (n_sg, n_sl), (n_sg, n_sl)))
    for (s_g, mine, *others), p in zip(states, law, strict=True):
        mass[s_g, mine] += p
        row = tables.P_g[s_g, _action_at(global_action, s_g, [mine, *others], n_sl)]
        for s in [mine] if closure == "tagged" else range(n_sl):
            transition[s_g, s] += p * row
            seen_mass[s_g, s] += p
    known = seen_mass > NO_MASS
    transition[known] /= seen_mass[known][:, np.newaxis]
    transition[~known] = fallback[~known]
    return ClosureLaw(transition, mass.sum(axis=0), mass)


def _uniform_closure(game, global_action, k, local_policy):
    tables = tables_of(game)
    n_sg, n_sl, _ = tables.r_l.shape
    M = sum(_local_moves(tables, local_policy)) / n_sg
    rho_l = np.asarray(game["rho_l"] if isinstance(game, dict) else game.rho_l)
    mu = rho_l / rho_l.sum() @ limit_of_averages(M)
    transition = np.zeros((n_sg, n_sl, n_sg))
    for s_g, agents in itertools.product(range(n_sg), itertools.product(range(n_sl), repeat=k)):
        p = math.prod(mu[s] for s in agents)
        transition[s_g] += p * tables.P_g[s_g, _action_at(global_action, s_g, agents, n_sl)]
    return transition, mu


def _local_moves(tables, local_policy):
    """One matrix per s_g: how an agent moves under a local policy that sees no other agent."""
    return [
        np.array([law @ P for law, P in zip(laws, moves, strict=True)])
        for laws, moves in zip(local_policy, tables.P_l, strict=True)
    ]


def _action_at(global_action, s_g, agents, n_sl):
    return global_action[s_g][ranks_listed(len(agents), n_sl)[counts_of(agents, n_sl)]]


def long_run_law(game, global_action, k, local_policy):
    """float64[n_states]: limit of the mean over time of the law of k labelled agents, all of them seen by π_g."""
    return labelled_start(game, k) @ limit_of_averages(labelled_pair_chain(game, global_action, k, local_policy))


def labelled_pair_chain(game, global_action, k, local_policy):
    """float64[n_states, n_states]: k labelled agents under π_l, and π_g that sees all of them."""
    tables = tables_of(game)
    n_sl, moves = tables.r_l.shape[1], _local_moves(tables, local_policy)
    rows = []
    for s_g, *agents in labelled_states(tables, k):
        of_global = tables.P_g[s_g, _action_at(global_action, s_g, agents, n_sl)]
        rows.append(_joint([of_global, *(moves[s_g][s] for s in agents)]))
    return np.array(rows)


class LocalMdp(NamedTuple):
    """The solved process of one agent in (s_g, s) and its softmax policy."""

    q: np.ndarray  # float64[n_sg, n_sl, n_al]
    value: np.ndarray  # float64[n_sg, n_sl]
    policy: np.ndarray  # float64[n_sg, n_sl, n_al]
    temperature: np.ndarray  # float64[n_sg, n_sl]


def solve_local_mdp(game, transition, tau_min=0.3, tau_scale=3.0):
    """Best value of one agent in (s_g, s) by listing all deterministic policies, Q, and softmax(Q / τ)."""
    tables = tables_of(game)
    n_sg, n_sl, n_al = tables.r_l.shape
    states = list(itertools.product(range(n_sg), range(n_sl)))
    P = np.array([[_joint([transition[s_g, s], row]) for row in tables.P_l[s_g, s]] for s_g, s in states])
    own = np.full((len(states), n_al), 1.0 / n_al)
    process = Process(tables.r_l.reshape(len(states), n_al), P, own, states, tables.gamma)
    value = best_by_listing(process).value
    q = (process.reward + tables.gamma * P @ value).reshape(n_sg, n_sl, n_al)
    policy, temperature = np.empty_like(q), np.empty((n_sg, n_sl))
    for s_g, s in states:
        highest, lowest = max(q[s_g, s]), min(q[s_g, s])
        temperature[s_g, s] = max(tau_min, (highest - lowest) / tau_scale)
        weights = [math.exp((x - highest) / temperature[s_g, s]) for x in q[s_g, s]]
        policy[s_g, s] = np.array(weights) / math.fsum(weights)
    return LocalMdp(q, value.reshape(n_sg, n_sl), policy, temperature)


def process_of_g_learn(game, k, local_policy):
    """The process of a global agent that sees the counts of k labelled agents, who play π_l; the reward is the team's."""
    tables = tables_of(game)
    n_ag, n_sl = tables.r_g.shape[1], tables.r_l.shape[1]
    moves, states = _local_moves(tables, local_policy), labelled_states(tables, k)
    rewards, P = [], []
    for s_g, *agents in states:
        paid = sum(local_policy[s_g][s] @ tables.r_l[s_g, s] for s in agents) / k
        rewards.append(tables.r_g[s_g] + paid)
        P.append([_joint([row, *(moves[s_g][s] for s in agents)]) for row in tables.P_g[s_g]])
    own = np.full((len(states), n_ag), 1.0 / n_ag)
    seen = [(s_g, counts_of(agents, n_sl)) for s_g, *agents in states]
    return Process(np.array(rewards), np.array(P), own, seen, tables.gamma)


def g_learn(game, k, local_policy):
    """The best global answer to a local policy in the game of k agents, as a Response."""
    return best_response(process_of_g_learn(game, k, local_policy))


def by_sight(process, values):
    """Dict from what the player sees to its value; states that look the same must have one value."""
    found = dict(zip(process.seen, values, strict=True))
    np.testing.assert_allclose(values, [found[seen] for seen in process.seen], rtol=0, atol=1e-10)
    return found
