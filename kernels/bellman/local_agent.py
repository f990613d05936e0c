"""The decision process of one local agent that sees (s_g, s_l): L-LEARN of Anand and Karmarkar (2026, ALTERNATING-MARL)."""

from __future__ import annotations

import math

from ..compilation import kernel


@kernel
def back_up_local_agent(value, transition, P_l, r_l, gamma, s_g, s, a, out_mixed):
    """Q(s_g, s, a) = r_l[s_g, s, a] + γ Σ_{s'} P_l[s_g, s, a, s'] Σ_{s_g'} transition[s_g, s, s_g'] V(s_g', s').

    Parameters
    ----------
    value : float64[n_sg, S]
    transition : float64[n_sg, S, n_sg]    law of s_g' given (s_g, s)
    P_l : float64[n_sg, S, n_al, S]
    r_l : float64[n_sg, S, n_al]
    gamma : float
    s_g, s, a : int64
    out_mixed : float64[S]    scratch

    Returns
    -------
    float
    """
    n_sg, n_sl = value.shape
    for t in range(n_sl):
        out_mixed[t] = 0.0
    for g in range(n_sg):
        weight = transition[s_g, s, g]
        for t in range(n_sl):
            out_mixed[t] += weight * value[g, t]
    q = 0.0
    for t in range(n_sl):
        q += P_l[s_g, s, a, t] * out_mixed[t]
    return r_l[s_g, s, a] + gamma * q


@kernel
def sweep_local_agent(value, transition, P_l, r_l, gamma, scratch, out_q, out_value):
    """Back up every (s_g, s) over the local actions.

    Parameters
    ----------
    value : float64[n_sg, S]
    transition : float64[n_sg, S, n_sg]    law of s_g' given (s_g, s)
    P_l : float64[n_sg, S, n_al, S]
    r_l : float64[n_sg, S, n_al]
    gamma : float
    scratch : float64[S]
    out_q : float64[n_sg, S, n_al]    overwritten
    out_value : float64[n_sg, S]      overwritten, max_a Q; must not alias `value`
    """
    n_sg, n_sl, n_al = r_l.shape
    for s_g in range(n_sg):
        for s in range(n_sl):
            best = -math.inf
            for a in range(n_al):
                q = back_up_local_agent(value, transition, P_l, r_l, gamma, s_g, s, a, scratch)
                out_q[s_g, s, a] = q
                best = max(best, q)
            out_value[s_g, s] = best


@kernel
def follow_local_agent(value, choice, transition, P_l, r_l, gamma, scratch, out_value):
    """Back up every (s_g, s) under a deterministic local policy.

    Parameters
    ----------
    value : float64[n_sg, S]
    choice : int64[n_sg, S]    action in each state
    transition : float64[n_sg, S, n_sg]    law of s_g' given (s_g, s)
    P_l : float64[n_sg, S, n_al, S]
    r_l : float64[n_sg, S, n_al]
    gamma : float
    scratch : float64[S]
    out_value : float64[n_sg, S]    overwritten; must not alias `value`
    """
    n_sg, n_sl = value.shape
    for s_g in range(n_sg):
        for s in range(n_sl):
            out_value[s_g, s] = back_up_local_agent(value, transition, P_l, r_l, gamma, s_g, s, choice[s_g, s], scratch)


@kernel
def soften(q, tau_min, tau_scale, out_policy, out_temperature):
    """Boltzmann policy with a temperature of its own in every state: τ = max(τ_min, (max_a Q − min_a Q) / τ_scale).

    Parameters
    ----------
    q : float64[n_sg, S, n_al]
    tau_min, tau_scale : float    above 0
    out_policy : float64[n_sg, S, n_al]     overwritten, π(a) ∝ exp(Q / τ)
    out_temperature : float64[n_sg, S]      overwritten, units of reward
    """
    n_sg, n_sl, n_al = q.shape
    for s_g in range(n_sg):
        for s in range(n_sl):
            low, high = q[s_g, s, 0], q[s_g, s, 0]
            for a in range(1, n_al):
                low, high = min(low, q[s_g, s, a]), max(high, q[s_g, s, a])
            tau = max(tau_min, (high - low) / tau_scale)
            out_temperature[s_g, s] = tau
            total = 0.0
            for a in range(n_al):
                out_policy[s_g, s, a] = math.exp((q[s_g, s, a] - high) / tau)
                total += out_policy[s_g, s, a]
            for a in range(n_al):
                out_policy[s_g, s, a] /= total
