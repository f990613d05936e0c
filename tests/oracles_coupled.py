"""Coupled games with labelled agents: every joint state, joint action and joint outcome is listed.

In a coupled game the tables depend on a number f that is read off the agents' states or actions: one f for all, or one
for each agent from its neighbours. Values are arrays float64[n_sg, n_sl, ..., n_sl], one axis for each labelled agent.
Nothing of the package under test is imported here.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import NamedTuple

import numpy as np

from oracles import (
    count_vectors_listed,
    counts_of,
    fold_to_counts,
    lumped_global_law,
    lumped_local_law,
    random_rows,
    value_iteration,
)
from oracles.bellman import ACTION_CLASSES


def no_field(histogram):
    """The field of a game without one."""
    return 0


@dataclass(frozen=True)
class CoupledTables:
    """A game whose tables carry an axis f right after s_g; of length 1, or left out, where a table ignores f.

    `field` maps a tuple of counts (of states or of actions; all zeros for an agent without neighbours) to f.
    With `neighbours`, agent i has its own f from the agents neighbours[i], and P_g and r_g ignore f.
    """

    P_g: np.ndarray  # [n_sg, F, n_ag, n_sg]
    P_l: np.ndarray  # [n_sg, F, n_sl, n_al, n_sl]
    r_g: np.ndarray  # [n_sg, F, n_ag]
    r_l: np.ndarray  # [n_sg, F, n_sl, n_al]
    gamma: float
    of: str = "states"
    field: Callable[[tuple], int] = no_field
    neighbours: Sequence[Sequence[int]] | None = None

    def __post_init__(self):
        for name, n_axes in (("P_g", 4), ("P_l", 5), ("r_g", 3), ("r_l", 4)):
            table = np.asarray(getattr(self, name), dtype=np.float64)
            table = table[:, np.newaxis] if table.ndim == n_axes - 1 else table
            assert table.ndim == n_axes, name
            object.__setattr__(self, name, table)
        assert self.of in ("states", "actions")
        assert self.neighbours is None or self.P_g.shape[1] == self.r_g.shape[1] == 1

    @property
    def sizes(self):
        """(n_sg, n_ag, n_sl, n_al)."""
        return self.r_g.shape[0], self.r_g.shape[2], *self.r_l.shape[2:]


def random_coupled_tables(rng, n_sg, n_ag, n_sl, n_al, n_f, of, field, neighbours=None, gamma=0.9, sparsity=0.0):
    """A random coupled game; `n_f` is the number of values of f."""
    global_f = () if neighbours is not None else (n_f,)
    return CoupledTables(
        P_g=random_rows(rng, (n_sg, *global_f, n_ag, n_sg), sparsity),
        P_l=random_rows(rng, (n_sg, n_f, n_sl, n_al, n_sl), sparsity),
        r_g=rng.normal(size=(n_sg, *global_f, n_ag)),
        r_l=rng.normal(size=(n_sg, n_f, n_sl, n_al)),
        gamma=gamma,
        of=of,
        field=field,
        neighbours=neighbours,
    )


def stateless_game(paid, gamma, **kind):
    """One global state, which ignores the field, and one local state: paid[f][a] is r_l."""
    r_l = np.asarray(paid, dtype=np.float64)[np.newaxis, :, np.newaxis]
    return CoupledTables(np.ones((1, 1, 1)), np.ones((1, 1, r_l.shape[3], 1)), np.zeros((1, 1)), r_l, gamma, **kind)


# The field


def count_of_ones(histogram):
    """Of two states or actions: how many are 1."""
    return histogram[1]


def exact(number):
    """The number as a Fraction; a float as the shortest decimal that reads as it, so 0.1 is 1/10."""
    return Fraction(repr(float(number))) if isinstance(number, float | np.floating) else Fraction(number)


def field_of_list(listed, weights, edges, neutral=0):
    """f of a list of states or of actions: one mixed-radix digit for each feature, the first the most significant.

    Feature d is the mean over the list of weights[d][x]; its digit is the number of edges[d] that are at most this mean.
    Of an empty list: `neutral`.
    """
    listed = list(listed)
    if not listed:
        return neutral
    f = 0
    for weights_of_feature, edges_of_feature in zip(weights, edges, strict=True):
        mean = sum(exact(weights_of_feature[x]) for x in listed) / Fraction(len(listed))
        f = f * (len(edges_of_feature) + 1) + sum(1 for edge in edges_of_feature if mean >= exact(edge))
    return f


def field_of_histogram(weights, edges, neutral=0):
    """The function from a tuple of counts to f."""

    def field(histogram):
        listed = [x for x, count in enumerate(histogram) for _ in range(count)]
        return field_of_list(listed, weights, edges, neutral)

    return field


def fields_of(game, agents, actions):
    """(f of the global tables, one f for each agent)."""
    n_x = game.sizes[2 if game.of == "states" else 3]
    listed = agents if game.of == "states" else actions
    if game.neighbours is None:
        f = game.field(counts_of(listed, n_x))
        return f, [f] * len(agents)
    return 0, [game.field(counts_of([listed[j] for j in around], n_x)) for around in game.neighbours]


# One step


class Step(NamedTuple):
    """What one step from known states and actions pays, and where it leads."""

    pay: list  # r_g, then r_l of each agent
    rows: list  # law of s_g', then of the next state of each agent


def step_of(game, s_g, agents, a_g, actions):
    """The Step of labelled agents."""
    f_global, f_local = fields_of(game, agents, actions)
    at = list(zip(f_local, agents, actions, strict=True))
    pay = [_at(game.r_g, s_g, f_global)[a_g]] + [_at(game.r_l, s_g, f)[s, a] for f, s, a in at]
    rows = [_at(game.P_g, s_g, f_global)[a_g]] + [_at(game.P_l, s_g, f)[s, a] for f, s, a in at]
    return Step(pay, rows)


def _at(table, s_g, f):
    return table[s_g, f if table.shape[1] > 1 else 0]


def joint_law(rows):
    """float64[n_sg, n_sl, ..., n_sl]: independent next states."""
    return reduce(np.multiply.outer, rows)


def step_by_laws(game, s_g, agents, global_law, laws):
    """(pay float64[1 + n], law of the next joint state) where a_g and every agent's action are independent draws."""
    pay, law = 0.0, 0.0
    for a_g, *actions in itertools.product(*(range(len(row)) for row in [global_law, *laws])):
        p = global_law[a_g] * math.prod(row[a] for row, a in zip(laws, actions, strict=True))
        if p:
            step = step_of(game, s_g, agents, a_g, actions)
            pay, law = pay + p * np.array(step.pay), law + p * joint_law(step.rows)
    return pay, law


def team_reward(pay):
    """r_g + mean of r_l."""
    return pay[0] + sum(pay[1:]) / (len(pay) - 1)


def labelled_joint_states(game, n):
    """Every (s_g, (s_1, ..., s_n)) in itertools.product order."""
    n_sg, _, n_sl, _ = game.sizes
    return list(itertools.product(range(n_sg), itertools.product(range(n_sl), repeat=n)))


def shaped(game, n, values):
    """Flat values of the labelled joint states as float64[n_sg, n_sl, ..., n_sl]."""
    n_sg, _, n_sl, _ = game.sizes
    return np.reshape(values, (n_sg, *[n_sl] * n))


def on_counts(game, values):
    """float64[n_sg, n_c], counts in lexicographic order; agents in any order must have one value."""
    n_sg, _, n_sl, _ = game.sizes
    n = values.ndim - 1
    for order in itertools.permutations(range(1, n + 1)):
        np.testing.assert_allclose(values.transpose(0, *order), values, rtol=0, atol=1e-9)
    states = [(s_g, *agents) for s_g, agents in labelled_joint_states(game, n)]
    return fold_to_counts(values.ravel(), states, n_sg, n_sl)


# The surrogate of k agents


def list_options(game, k, actions="joint", local_policy=None):
    """Dict (s_g, agents) -> list of (a_g, key, team reward, flat law of the next joint state).

    Classes and keys are those of the updates without a field: "joint" (flat z), "shared" (one action per state),
    "histogram" (h; each agent draws from h / k) and "fixed" (key (); draws from local_policy[s_g][s]). a_g does not
    see what is drawn.
    """
    _, n_ag, n_sl, n_al = game.sizes
    options = {}
    for s_g, agents in labelled_joint_states(game, k):
        if actions == "fixed":
            listed = [((), [local_policy[s_g][s] for s in agents])]
        else:
            listed = list(ACTION_CLASSES[actions](agents, n_sl, n_al))
        options[s_g, agents] = []
        for a_g, (key, laws) in itertools.product(range(n_ag), listed):
            pay, law = step_by_laws(game, s_g, agents, np.eye(n_ag)[a_g], laws)
            options[s_g, agents].append((a_g, key, team_reward(pay), law.ravel()))
    return options


def coupled_backup(game, V, k, actions="joint", local_policy=None):
    """One update of V float64[n_sg, n_sl, ..., n_sl]: the new values, and q[s_g, agents][a_g, key].

    Where labellings of one z differ in value (neighbours), q has the best.
    """
    q = {}
    for state, options in list_options(game, k, actions, local_policy).items():
        table = q[state] = {}
        for a_g, key, reward, law in options:
            table[a_g, key] = max(reward + game.gamma * float(law @ V.ravel()), table.get((a_g, key), -math.inf))
    return shaped(game, k, [max(table.values()) for table in q.values()]), q


def solve_coupled(game, k, actions="joint", local_policy=None, tol=1e-10):
    """Optimal value of the k-agent game, within `tol`, by value iteration over labelled joint states and actions."""
    options = list_options(game, k, actions, local_policy).values()
    rewards = [np.array([reward for _, _, reward, _ in listed]) for listed in options]
    laws = [np.array([law for _, _, _, law in listed]) for listed in options]
    V = np.zeros(len(rewards))
    while True:
        updated = np.array([(r + game.gamma * (P @ V)).max() for r, P in zip(rewards, laws, strict=True)])
        change = np.abs(updated - V).max()
        V = updated
        if game.gamma * change <= (1.0 - game.gamma) * tol:
            return shaped(game, k, V)


# Policies of n agents: global_law(s_g, counts) and local_law(s_g, s, counts) return laws of actions; counts of all agents


def laws_of_policy(game, policy):
    """(global_law, local_law) of a subsample policy (`oracles.ListedPolicy`), by listing every sample."""
    n_ag = game.sizes[1]

    def global_law(s_g, counts):
        return lumped_global_law(policy.global_action, s_g, counts, policy.k_global, n_ag)

    def local_law(s_g, s, counts):
        return lumped_local_law(policy.local_action, s_g, s, counts, policy.k_local)

    return global_law, local_law


def random_laws(rng, game, n, deterministic=False):
    """(global_law, local_law) that depend on everything that they see."""
    n_sg, n_ag, n_sl, n_al = game.sizes
    lattice = {counts: rank for rank, counts in enumerate(count_vectors_listed(n, n_sl))}
    of_global = random_rows(rng, (n_sg, len(lattice), n_ag), deterministic=deterministic)
    of_local = random_rows(rng, (n_sg, n_sl, len(lattice), n_al), deterministic=deterministic)
    return (
        lambda s_g, counts: of_global[s_g, lattice[counts]],
        lambda s_g, s, counts: of_local[s_g, s, lattice[counts]],
    )


class PlayerProcess(NamedTuple):
    """The decision process of one player while all others play their laws; states are flat labelled joint states."""

    reward: np.ndarray  # float64[n_states, n_actions]
    P: np.ndarray  # float64[n_states, n_actions, n_states]
    own_law: np.ndarray  # float64[n_states, n_actions], what the policy has this player play


def process_of_player(game, n, player, global_law, local_law, reward="team"):
    """The process of the "global" agent or of agent 0, ..., n - 1.

    reward "team": r_g + mean of r_l; "local": the player's own table alone, r_g or its r_l.
    """
    n_sl = game.sizes[2]
    place = 0 if player == "global" else player + 1
    rewards, P, own = [], [], []
    for s_g, agents in labelled_joint_states(game, n):
        counts = counts_of(agents, n_sl)
        laws = [np.asarray(global_law(s_g, counts)), *(np.asarray(local_law(s_g, s, counts)) for s in agents)]
        own.append(laws[place])
        rewards.append([])
        P.append([])
        for pure in np.eye(len(laws[place])):
            played = [*laws[:place], pure, *laws[place + 1 :]]
            pay, law = step_by_laws(game, s_g, agents, played[0], played[1:])
            rewards[-1].append(team_reward(pay) if reward == "team" else pay[place])
            P[-1].append(law.ravel())
    return PlayerProcess(np.array(rewards), np.array(P), np.array(own))


def value_in_process(game, n, process, law):
    """float64[n_sg, n_sl, ...]: the player draws from `law` float64[n_states, n_actions]; a linear system."""
    P = np.einsum("ia,iaj->ij", law, process.P)
    return shaped(game, n, np.linalg.solve(np.eye(len(P)) - game.gamma * P, (law * process.reward).sum(axis=1)))


def player_value(game, n, player, global_law, local_law, reward="team"):
    """What the player earns where all play their laws."""
    process = process_of_player(game, n, player, global_law, local_law, reward)
    return value_in_process(game, n, process, process.own_law)


def best_response_value(game, n, player, global_law, local_law, reward="team", tol=1e-10):
    """The most that the player can earn, seeing the whole labelled state, while all others play their laws."""
    process = process_of_player(game, n, player, global_law, local_law, reward)
    return shaped(game, n, value_iteration(process.reward, process.P, game.gamma, tol))


def deployed_chain(game, n, global_law, local_law):
    """(P float64[n_states, n_states], team reward float64[n_states]) of n labelled agents that play their laws."""
    P, rewards = [], []
    for s_g, agents in labelled_joint_states(game, n):
        counts = counts_of(agents, game.sizes[2])
        laws = [local_law(s_g, s, counts) for s in agents]
        pay, law = step_by_laws(game, s_g, agents, global_law(s_g, counts), laws)
        P.append(law.ravel())
        rewards.append(team_reward(pay))
    return np.array(P), np.array(rewards)


def deployed_value(game, n, global_law, local_law):
    """float64[n_sg, n_sl, ...]: discounted team reward of n labelled agents, from the chain's linear system."""
    P, reward = deployed_chain(game, n, global_law, local_law)
    return shaped(game, n, np.linalg.solve(np.eye(len(P)) - game.gamma * P, reward))
