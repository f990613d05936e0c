"""The game of k labelled agents as an ordinary Markov decision process, with nothing compressed."""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from .counts import agents_of, count_vectors_listed
from .tables import tables_of


class LabelledMdp(NamedTuple):
    """States (s_g, s_1, ..., s_k) and actions (a_g, a_1, ..., a_k), both in itertools.product order."""

    R: np.ndarray  # float64[n_states, n_actions]
    P: np.ndarray  # float64[n_states, n_actions, n_states]
    states: list
    actions: list


def labelled_mdp(game, k):
    """The explicit MDP; n_sg * n_sl**k states, n_ag * n_al**k actions."""
    tables = tables_of(game)
    n_sg, n_ag = tables.r_g.shape
    _, n_sl, n_al = tables.r_l.shape
    states = list(itertools.product(range(n_sg), *[range(n_sl)] * k))
    actions = list(itertools.product(range(n_ag), *[range(n_al)] * k))
    R = np.empty((len(states), len(actions)))
    P = np.empty((len(states), len(actions), len(states)))
    for i, (s_g, *agents) in enumerate(states):
        for j, (a_g, *played) in enumerate(actions):
            pairs = list(zip(agents, played, strict=True))
            R[i, j] = tables.r_g[s_g, a_g] + sum(tables.r_l[s_g, s, a] for s, a in pairs) / k
            rows = [tables.P_g[s_g, a_g]] + [tables.P_l[s_g, s, a] for s, a in pairs]
            P[i, j] = functools.reduce(np.multiply.outer, rows).ravel()
    return LabelledMdp(R, P, states, actions)


def value_iteration(R, P, gamma, tol):
    """Optimal values float64[n_states], every entry within `tol`."""
    V = np.zeros(len(R))
    while True:
        updated = (R + gamma * (P @ V)).max(axis=1)
        change = np.abs(updated - V).max()
        V = updated
        if gamma * change <= (1.0 - gamma) * tol:
            return V


def fold_to_counts(labelled_values, states, n_sg, n_sl):
    """float64[n_sg, n_c] from one value per labelled state, read where the agents are in sorted order."""
    k = len(states[0]) - 1
    value_of = dict(zip(states, labelled_values, strict=True))
    lattice = count_vectors_listed(k, n_sl)
    return np.array([[value_of[s_g, *agents_of(c)] for c in lattice] for s_g in range(n_sg)])


def solve_joint_by_labelled_mdp(game, k, tol=1e-10):
    """Optimal V float64[n_sg, n_c] of the k-agent game, through the labelled MDP."""
    tables = tables_of(game)
    n_sg, n_sl, _ = tables.r_l.shape
    mdp = labelled_mdp(tables, k)
    return fold_to_counts(value_iteration(mdp.R, mdp.P, tables.gamma, tol), mdp.states, n_sg, n_sl)
