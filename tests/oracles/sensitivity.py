"""Does the count vector matter? The best count-blind value, the additive fit, and values from the initial law."""

import itertools

import numpy as np

from .laws import multinomial_pmf
from .mdp import value_iteration
from .tables import tables_of


def initial_value(V, rho_g, rho_l, k):
    """Mean of V[n_sg, n_c] when s_g ~ rho_g and k agents draw their states independently from rho_l."""
    return float(np.asarray(rho_g) @ np.asarray(V) @ multinomial_pmf(k, rho_l))


def count_blind_value(game, g):
    """float64[n_sg, n_sl]: what one local agent and its share of the global reward are worth when a_g = g[s_g].

    With g fixed no agent can influence another, so each plays the best policy of its own on (s_g, s_l).
    """
    tables = tables_of(game)
    n_sg, n_sl, n_al = tables.r_l.shape
    states = list(itertools.product(range(n_sg), range(n_sl)))
    R = np.array([[tables.r_l[s_g, s, a] for a in range(n_al)] for s_g, s in states])
    P = np.array(
        [[np.outer(tables.P_g[s_g, g[s_g]], tables.P_l[s_g, s, a]).ravel() for a in range(n_al)] for s_g, s in states]
    )
    local = value_iteration(R, P, tables.gamma, tol=1e-12).reshape(n_sg, n_sl)
    every = np.arange(n_sg)
    moves = tables.P_g[every, list(g)]
    return local + np.linalg.solve(np.eye(n_sg) - tables.gamma * moves, tables.r_g[every, list(g)])[:, None]


def best_count_blind_value(game, rho_g, rho_l):
    """(value, g): the best value from the initial law over all maps g: S_g -> A_g that ignore the counts.

    Values are the same for any number of agents. The first g in itertools.product order wins a tie (to 1e-12).
    """
    n_sg, n_ag = tables_of(game).r_g.shape
    best, best_g = -np.inf, None
    for g in itertools.product(range(n_ag), repeat=n_sg):
        value = float(np.asarray(rho_g) @ count_blind_value(game, g) @ np.asarray(rho_l))
        if value > best + 1e-12:
            best, best_g = value, g
    return best, best_g


def additive_fit_residual(V, counts):
    """Largest absolute residual of the least-squares fit V(s_g, c) ≈ A(s_g) + Σ_s (c_s / k) W(s_g, s), over all s_g."""
    counts = np.asarray(counts, dtype=np.float64)
    design = np.column_stack([np.ones(len(counts)), counts / counts[0].sum()])
    worst = 0.0
    for row in np.asarray(V):
        coefficients = np.linalg.lstsq(design, row)[0]
        worst = max(worst, float(np.abs(design @ coefficients - row).max()))
    return worst
