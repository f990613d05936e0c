"""Count-blind policies: the global agent plays a_g = g(s_g) whatever the counts are.

Then no local agent can influence another: each faces a Markov decision process of its own on (s_g, s_l), with the
global reward as a part of its reward, and the value of a population is the mean of theirs.
"""

from __future__ import annotations

import numpy as np

from .compilation import kernel


@kernel
def mean_rows(P_g, P_l, r_g, r_l, gamma, option, action, out_matrix, out_reward):
    """Linear system (I - γP) U = r of one agent under given actions.

    Parameters
    ----------
    P_g : float64[n_sg, n_ag, n_sg]
    P_l : float64[n_sg, n_h, n_sl, n_al, n_sl]
    r_g : float64[n_sg, n_ag]
    r_l : float64[n_sg, n_h, n_sl, n_al]
    gamma : float
    option : int64[n_sg]                        a_g · n_h + h
    action : int64[n_sg, n_sl]
    out_matrix : float64[n_sg · n_sl, n_sg · n_sl]    overwritten with I - γP
    out_reward : float64[n_sg · n_sl]                 overwritten
    """
    n_sg, n_h, n_sl = P_l.shape[0], P_l.shape[1], P_l.shape[2]
    for s_g in range(n_sg):
        a_g, h = option[s_g] // n_h, option[s_g] % n_h
        for s in range(n_sl):
            row, a = s_g * n_sl + s, action[s_g, s]
            out_reward[row] = r_g[s_g, a_g] + r_l[s_g, h, s, a]
            for next_g in range(n_sg):
                weight = -gamma * P_g[s_g, a_g, next_g]
                for t in range(n_sl):
                    out_matrix[row, next_g * n_sl + t] = weight * P_l[s_g, h, s, a, t]
            out_matrix[row, row] += 1.0


@kernel
def improve_actions(P_g, P_l, r_l, gamma, option, value, action):
    """Make the local actions greedy, in place; ties keep the action, and else go to the lowest.

    Parameters
    ----------
    P_g, P_l, r_l, gamma, option : as in `mean_rows`
    value : float64[n_sg · n_sl]
    action : int64[n_sg, n_sl]    changed

    Returns
    -------
    bool    whether any action changed
    """
    n_sg, n_h, n_sl, n_al = r_l.shape[0], r_l.shape[1], r_l.shape[2], r_l.shape[3]
    ahead = np.empty(n_sl)
    changed = False
    for s_g in range(n_sg):
        a_g, h = option[s_g] // n_h, option[s_g] % n_h
        ahead[:] = 0.0
        for next_g in range(n_sg):
            for t in range(n_sl):
                ahead[t] += gamma * P_g[s_g, a_g, next_g] * value[next_g * n_sl + t]
        for s in range(n_sl):
            kept, best, best_action = 0.0, -np.inf, 0
            for a in range(n_al):
                q = r_l[s_g, h, s, a]
                for t in range(n_sl):
                    q += P_l[s_g, h, s, a, t] * ahead[t]
                if a == action[s_g, s]:
                    kept = q
                if q > best:
                    best, best_action = q, a
            if best > kept:
                action[s_g, s] = best_action
                changed = True
    return changed


@kernel
def evaluate_count_blind(P_g, P_l, r_g, r_l, gamma, option, action, work, out_value):
    """Value of the best local response to a count-blind global agent, by policy iteration.

    Exact up to the rounding of one linear system: it goes on for as long as the sum of the values rises, so that ties
    broken by rounding cannot make it cycle.

    Parameters
    ----------
    P_g, P_l, r_g, r_l, gamma : as in `mean_rows`; h tells apart what the agents may be made to do together
    option : int64[n_sg]                  a_g · n_h + h for each global state
    action : int64[n_sg, n_sl]            where the iteration starts; overwritten with a best response
    work : float64[n_sg · n_sl, n_sg · n_sl]    overwritten
    out_value : float64[n_sg · n_sl]      overwritten with the value at (s_g, s_l), s_l last
    """
    reward = np.empty(out_value.shape[0])
    total = -np.inf
    while True:
        mean_rows(P_g, P_l, r_g, r_l, gamma, option, action, work, reward)
        value = np.linalg.solve(work, reward)
        if not value.sum() > total:
            return
        total = value.sum()
        out_value[:] = value
        if not improve_actions(P_g, P_l, r_l, gamma, option, value, action):
            return
