"""Games with a field of actions by labelled agents, as tensors: one axis for each agent, one sum for each joint action.

A value is float64[n_sg, n_sl, ..., n_sl] with one axis for each labelled agent. The expectation of the next value contracts each
axis with the law of that agent's next state. Nothing is counted, and nothing of the package under test is imported here. Games are
`oracles_coupled.CoupledTables` with a field of actions.
"""

import itertools
import math
from functools import reduce

import numpy as np

from oracles import counts_of


def _at(table, s_g, f):
    return table[s_g, f if table.shape[1] > 1 else 0]


def _contract(tensor, laws):
    """Axis i of `tensor` against the next state in laws[i][state, next]: a tensor over the present states."""
    for axis, law in enumerate(laws):
        tensor = np.moveaxis(np.tensordot(law, tensor, axes=(1, axis)), 0, axis)
    return tensor


def _outer_mean(columns):
    """Mean over the agents of columns[i][state of agent i], as a tensor."""
    n = len(columns)
    total = 0.0
    for i, column in enumerate(columns):
        shape = [1] * n
        shape[i] = len(column)
        total = total + np.reshape(column, shape)
    return total / n


def q_of_joint_action(game, V, s_g, a_g, actions):
    """Team Q[s_1, ..., s_n] where agent i plays actions[i], whatever its state."""
    f = game.field(counts_of(actions, game.sizes[3]))
    r_l, P_l = _at(game.r_l, s_g, f), _at(game.P_l, s_g, f)
    reward = _at(game.r_g, s_g, f)[a_g] + _outer_mean([r_l[:, a] for a in actions])
    laws = [P_l[:, a] for a in actions]
    P_g = _at(game.P_g, s_g, f)[a_g]
    return reward + game.gamma * sum(p * _contract(V[t], laws) for t, p in enumerate(P_g) if p > 0.0)


def optimal_backup(game, V):
    """One update of V where all agents are chosen for, each knowing all."""
    n_sg, n_ag, _, n_al = game.sizes
    n = V.ndim - 1
    updated = np.full(V.shape, -np.inf)
    for s_g, a_g, actions in itertools.product(range(n_sg), range(n_ag), itertools.product(range(n_al), repeat=n)):
        np.maximum(updated[s_g], q_of_joint_action(game, V, s_g, a_g, actions), out=updated[s_g])
    return updated


def policy_backup(game, V, global_law, local_law):
    """One update of V where a_g is drawn from global_law[s_g] and each agent's action from local_law[s_g, own state]."""
    n_sg, n_ag, _, n_al = game.sizes
    n = V.ndim - 1
    updated = np.zeros(V.shape)
    for s_g, a_g, actions in itertools.product(range(n_sg), range(n_ag), itertools.product(range(n_al), repeat=n)):
        p = global_law[s_g][a_g] * reduce(np.multiply.outer, [local_law[s_g][:, a] for a in actions])
        if p.any():
            updated[s_g] += p * q_of_joint_action(game, V, s_g, a_g, actions)
    return updated


def distance_from_fixed_point(game, V, updated):
    """Bound on |V - V*|, with V* the fixed point of the contraction that took V to `updated`."""
    return float(np.abs(updated - V).max()) / (1.0 - game.gamma)


def iterate(game, backup, n, tol):
    """The fixed point of a backup within `tol`, by iteration from the middle of each certified interval (MacQueen 1966)."""
    n_sg, _, n_sl, _ = game.sizes
    V = np.zeros((n_sg, *[n_sl] * n))
    while True:
        updated = backup(game, V)
        change = updated - V
        low, high = change.min(), change.max()
        factor = game.gamma / (1.0 - game.gamma)
        V = updated + factor * (low + high) / 2.0
        if factor * (high - low) / 2.0 <= tol:
            return V


def from_counts(values, n_sl, n):
    """Values float64[n_sg, n_c] of count vectors in lexicographic order, by labelled agents."""
    ranks = {counts: i for i, counts in enumerate(_count_vectors(n, n_sl))}
    order = [ranks[counts_of(agents, n_sl)] for agents in itertools.product(range(n_sl), repeat=n)]
    return np.asarray(values)[:, order].reshape(-1, *[n_sl] * n)


def _count_vectors(n, n_sl):
    """Counts of n agents in lexicographic order."""
    bars = itertools.combinations(range(n + n_sl - 1), n_sl - 1)
    found = [tuple(b - a - 1 for a, b in zip((-1, *cut), (*cut, n + n_sl - 1), strict=True)) for cut in bars]
    assert len(found) == math.comb(n + n_sl - 1, n)
    return sorted(found)
