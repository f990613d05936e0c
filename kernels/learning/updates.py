"""Steps of mean-field Q-learning and of its actor-critic form on one table.

Source: Yang, Luo, Li, Zhou, Zhang and Wang (2018), "Mean field multi-agent reinforcement learning", ICML. Laws are
proportional to exp(+Q / T), so that a larger Q is more likely.
"""

import numpy as np

from ..compilation import kernel
from ..importance.weights import weighted_step
from .choices import boltzmann_law, value_of_row


@kernel(forceinline=True, error_model="numpy")
def count_visit(visits, o, a, alpha, alpha_power):
    """Count a visit to a cell and return its step size, alpha·visits**(−alpha_power).

    Parameters
    ----------
    visits : int64[n_o, n_al]   changed in one cell
    o, a : int64
    alpha, alpha_power : float64

    Returns
    -------
    float64
    """
    visits[o, a] += 1
    return alpha * visits[o, a] ** -alpha_power


@kernel(forceinline=True, error_model="numpy")
def update_mfq(q, bootstrap, o, a, reward, o_next, alpha, gamma, temperature):
    """Q(o, a) ← (1 − α) Q(o, a) + α (r + γ v(o')), with v the mean of a row of `bootstrap` under its Boltzmann law.

    Parameters
    ----------
    q : float64[n_o, n_al]           changed in one cell
    bootstrap : float64[n_o, n_al]   the target table, or q itself; not read where gamma is 0
    o, a, o_next : int64
    reward, alpha, gamma, temperature : float64
    """
    aim = reward
    if gamma != 0.0:
        aim += gamma * value_of_row(bootstrap[o_next], temperature)
    q[o, a] += alpha * (aim - q[o, a])


@kernel(forceinline=True, error_model="numpy")
def update_mfac(q, bootstrap, theta, o, a, reward, o_next, alpha, actor_alpha, gamma, temperature, scratch):
    """One step of the critic and then, with the critic's new values, of the actor.

    π is the Boltzmann law of theta. Q(o, a) ← (1 − α) Q(o, a) + α (r + γ Σ π(b|o') Q'(o', b)) with Q' = `bootstrap`;
    θ(o, ·) += actor_alpha·(Q(o, a) − Σ π(b|o) Q(o, b))·(1[· = a] − π(·|o)).

    Parameters
    ----------
    q : float64[n_o, n_al]           changed in one cell
    bootstrap : float64[n_o, n_al]   the target table, or q itself; not read where gamma is 0
    theta : float64[n_o, n_al]       changed in one row
    o, a, o_next : int64
    reward, alpha, actor_alpha, gamma, temperature : float64
    scratch : float64[n_al]          overwritten
    """
    n_al = q.shape[1]
    aim = reward
    if gamma != 0.0:
        boltzmann_law(theta[o_next], temperature, scratch)
        for b in range(n_al):
            aim += gamma * scratch[b] * bootstrap[o_next, b]
    q[o, a] += alpha * (aim - q[o, a])
    boltzmann_law(theta[o], temperature, scratch)
    advantage = q[o, a]
    for b in range(n_al):
        advantage -= scratch[b] * q[o, b]
    for b in range(n_al):
        theta[o, b] -= actor_alpha * advantage * scratch[b]
    theta[o, a] += actor_alpha * advantage


@kernel(forceinline=True, error_model="numpy")
def normalised_step(mass, o, a, alpha, weight):
    """Let a cell's mass follow the weights it meets, m ← (1 − alpha) m + alpha w, and return its step size alpha w / m.

    Tables that move by such steps are means of what a cell met, weighed by w and by its age.

    Parameters
    ----------
    mass : float64[n_o, n_al]   changed in one cell; starts with 0
    o, a : int64
    alpha, weight : float64

    Returns
    -------
    float64
    """
    mass[o, a] += alpha * (weight - mass[o, a])
    return alpha * weight / mass[o, a] if mass[o, a] > 0.0 else 0.0


@kernel(error_model="numpy")
def update_agent(tables, rule, t, o, a, reward, o_next, weight, scratch):
    """Learn one transition in table t: a visit is counted if visits are, the actor moves if there is one.

    Parameters
    ----------
    tables : Tables   of one run, changed
    rule : Rule
    t, o, a, o_next : int64
    reward : float64
    weight : float64          of the transition; 1 unless others have changed since
    scratch : float64[n_al]   overwritten
    """
    gamma, temperature = rule.gamma, rule.temperature
    q = tables.q[t]
    bootstrap = tables.target[t] if tables.target.shape[0] > 0 else q
    alpha = rule.alpha
    if tables.visits.shape[0] > 0:
        alpha = count_visit(tables.visits[t], o, a, alpha, rule.alpha_power)
    if tables.mass.shape[0] > 0:
        alpha = normalised_step(tables.mass[t], o, a, alpha, weight)
    else:
        alpha = weighted_step(alpha, weight)
    if tables.theta.shape[0] > 0:
        theta, actor_alpha = tables.theta[t], rule.actor_alpha
        update_mfac(q, bootstrap, theta, o, a, reward, o_next, alpha, actor_alpha, gamma, temperature, scratch)
    else:
        update_mfq(q, bootstrap, o, a, reward, o_next, alpha, gamma, temperature)


@kernel(error_model="numpy")
def _update_agents_mfq(q, bootstrap, visits, rule, seen, actions, rewards, next_seen, present):
    """`update_agent` for every present agent, where there is no actor.

    Written out: a call per agent counts references, and takes 30 ns where this takes 4.
    """
    alpha, alpha_power, gamma, temperature = rule.alpha, rule.alpha_power, rule.gamma, rule.temperature
    shared = q.shape[0] == 1
    for j in range(present.shape[0]):
        i = present[j]
        t = 0 if shared else i
        o, a = seen[i], actions[i]
        step = alpha
        if visits.shape[0] > 0:
            visits[t, o, a] += 1
            step *= visits[t, o, a] ** -alpha_power
        aim = rewards[i]
        if gamma != 0.0:
            aim += gamma * value_of_row(bootstrap[t, next_seen[i]], temperature)
        q[t, o, a] += step * (aim - q[t, o, a])


@kernel(error_model="numpy")
def update_agents(tables, rule, seen, actions, rewards, next_seen, present, scratch):
    """Learn the transitions of all present agents, in order: a shared table's later updates see the earlier ones.

    A visit is counted if visits are, the actor moves if there is one.

    Parameters
    ----------
    tables : Tables               of one run, changed
    rule : Rule
    seen, next_seen : int32[n]    observations before and after
    actions : int32[n]
    rewards : float64[n]
    present : int64[n_present]    agents whose transitions these are
    scratch : float64[n_al]       overwritten
    """
    if tables.theta.shape[0] == 0:
        bootstrap = tables.target if tables.target.shape[0] > 0 else tables.q
        _update_agents_mfq(tables.q, bootstrap, tables.visits, rule, seen, actions, rewards, next_seen, present)
        return
    shared = tables.q.shape[0] == 1
    for j in range(present.shape[0]):
        i = present[j]
        t, o, a = np.int64(0 if shared else i), np.int64(seen[i]), np.int64(actions[i])
        update_agent(tables, rule, t, o, a, rewards[i], np.int64(next_seen[i]), 1.0, scratch)
