"""One tagged local agent among n: what its actions are worth while everyone else goes on playing a policy.

The state is (s_g, s, N_o): the global state, the tagged agent's own state, and the counts of the other n − 1 agents; the
population is N = N_o + e_s. Given it the global agent, the tagged agent and the others move independently, so that

    Q(s_g, s, N_o; a) = r(s_g, s, N_o; a) + γ Σ_x w_x(N_o) Σ_{s'} P_l[s_g, s, a, s'] E[V_x(N_o', s') | s_g, s, N_o]

where x runs over what the global agent's move is listed by, either of

    global actions       w_x = π̄_g(x | s_g, N),                        V_x = Σ_{s_g'} P_g[s_g, x, s_g'] V(s_g', ·, ·)
    next global states   w_x = Σ_{a_g} π̄_g(a_g | s_g, N) P_g[s_g, a_g, x],  V_x = V(x, ·, ·)

The weights are taken after the expectation over N_o', for they depend on N_o. The mean of Q over the actions under any
law of its own (`follow_response`), or the largest (`best_actions`), turn Q into values: of a policy that is kept, of a best
response, or of one agent's action against the mean over its own law, which is its share of the credit.
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel

KEEPS_LAW = -1
"""A response that stays with the law that is given, instead of an action."""


@kernel(nogil=True)
def tagged_q(expected, weights, P_l, shared_reward, own_reward, gamma, out_q):
    """Q(s_g, s, N_o; a) of a tagged agent, for one (s_g, s) and all N_o.

    The reward is `shared_reward[N_o] + own_reward[a]`: for its own reward 0 and r_l[s_g, s, a]; for the system's, what all
    others earn and a share of r_l. With a reward of 0 and γ = 1 it is E[V(s_g', s', N_o') | s_g, s, N_o, a].

    Parameters
    ----------
    expected : float64[n_x, n_sl, n_No]      E[V_x(N_o', s') | s_g, s, N_o], axis 1 is s'
    weights : float64[n_x, n_No]             w_x(N_o)
    P_l : float64[n_al, n_sl]                P_l[s_g, s, :, :]
    shared_reward : float64[n_No]
    own_reward : float64[n_al]
    gamma : float
    out_q : float64[n_al, n_No]              overwritten, must not alias an input
    """
    n_x, n_states, n_others = expected.shape
    n_actions = out_q.shape[0]
    for a in range(n_actions):
        for i in range(n_others):
            out_q[a, i] = shared_reward[i] + own_reward[a]
    mixed = np.empty(n_others)
    for t in range(n_states):
        for i in range(n_others):
            mixed[i] = weights[0, i] * expected[0, t, i]
        for x in range(1, n_x):
            for i in range(n_others):
                mixed[i] += weights[x, i] * expected[x, t, i]
        for a in range(n_actions):
            p = gamma * P_l[a, t]
            if p != 0.0:
                for i in range(n_others):
                    out_q[a, i] += p * mixed[i]


@kernel
def best_actions(q, tolerance, out_best, out_action):
    """Largest Q over the actions, and the lowest action whose Q is within `tolerance` of it.

    Parameters
    ----------
    q : float64[n_rows, n_actions, n_columns]
    tolerance : float                         0 for the lowest of exact ties
    out_best : float64[n_rows, n_columns]     overwritten
    out_action : int32[n_rows, n_columns]     overwritten
    """
    n_rows, n_actions, n_columns = q.shape
    for row in range(n_rows):
        for i in range(n_columns):
            best = q[row, 0, i]
            for a in range(1, n_actions):
                best = max(best, q[row, a, i])
            action = np.int32(0)
            while q[row, action, i] < best - tolerance:
                action += np.int32(1)
            out_best[row, i], out_action[row, i] = best, action


@kernel
def follow_response(own_law, response, table, out_mean):
    """What a table over actions comes to under a response: the entry of its action, or the mean under the own law.

    Parameters
    ----------
    own_law, table : float64[n_rows, n_actions, n_columns]
    response : int32[n_rows, n_columns]       an action, or KEEPS_LAW
    out_mean : float64[n_rows, n_columns]     overwritten
    """
    n_rows, n_actions, n_columns = table.shape
    for row in range(n_rows):
        for i in range(n_columns):
            if response[row, i] != KEEPS_LAW:
                out_mean[row, i] = table[row, response[row, i], i]
                continue
            mean = 0.0
            for a in range(n_actions):
                mean += own_law[row, a, i] * table[row, a, i]
            out_mean[row, i] = mean
