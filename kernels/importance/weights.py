"""Importance weights of what other agents did, and what tells how far they can be relied on.

A sample was stored when the others played μ, now they play π. Its weight is P_π(seen) / P_μ(seen), with mean 1 under μ: as
`seen` either every single action (the product form) or a total of them alone (the marginal form, see `marginal`).
"""

from __future__ import annotations

import math

import numpy as np

from ..compilation import kernel


@kernel
def count_pairs(group, action, out_counts):
    """Count the agents of every (group, action).

    Parameters
    ----------
    group, action : int64[n]
    out_counts : int64[n_groups, n_al]   overwritten
    """
    out_counts[:] = 0
    for i in range(group.shape[0]):
        out_counts[group[i], action[i]] += 1


@kernel(nogil=True)
def log_product_of_others(laws, group, action, out_log):
    """log Π_{j≠i} laws[group[j], action[j]] for every agent i.

    Impossible actions are counted, not subtracted: where one agent alone did what its law rules out, its own value is finite
    and all others are −inf.

    Parameters
    ----------
    laws : float64[n_groups, n_al]
    group, action : int64[n]
    out_log : float64[n]   overwritten
    """
    n = group.shape[0]
    total, zeros = 0.0, 0
    for i in range(n):
        p = laws[group[i], action[i]]
        out_log[i] = math.log(p) if p > 0.0 else -np.inf
        if p > 0.0:
            total += out_log[i]
        else:
            zeros += 1
    for i in range(n):
        impossible = out_log[i] == -np.inf
        if zeros > impossible:
            out_log[i] = -np.inf
        else:
            out_log[i] = total if impossible else total - out_log[i]


@kernel(nogil=True)
def weigh(log_pi, log_mu, clip, out_weights):
    """Weights min(exp(log_pi − log_mu), clip), and how many were above the clip.

    A weight is 0 where log_pi is −inf, whatever log_mu, and `clip` where log_mu alone is.

    Parameters
    ----------
    log_pi, log_mu : float64[n]   −inf for what is impossible
    clip : float64                above 0; infinity for none
    out_weights : float64[n]      overwritten

    Returns
    -------
    int64
    """
    clipped = 0
    for i in range(out_weights.shape[0]):
        weight = 0.0 if log_pi[i] == -np.inf else math.exp(log_pi[i] - log_mu[i])
        if weight > clip:
            weight = clip
            clipped += 1
        out_weights[i] = weight
    return clipped


@kernel(nogil=True)
def summarise_weights(weights):
    """Mean, effective sample size (Σw)²/Σw² and its share of the sample's, turned into χ² = mean(w²)/mean(w)² − 1.

    Taken relative to the largest weight, so that squares do not overflow; infinite weights are as good as the only ones. With
    no weight above 0 the effective size is 0 and χ² infinite.

    Parameters
    ----------
    weights : float64[n]   at least 0

    Returns
    -------
    (mean, effective_size, chi2) : float64
    """
    n = weights.shape[0]
    largest = 0.0
    for i in range(n):
        largest = max(largest, weights[i])
    if largest == 0.0:
        return 0.0, 0.0, np.inf
    first, second = 0.0, 0.0
    for i in range(n):
        if largest < np.inf:
            part = weights[i] / largest
        else:
            part = 1.0 if weights[i] == np.inf else 0.0
        first += part
        second += part * part
    return largest * (first / n), first * first / second, max(n * second / (first * first) - 1.0, 0.0)


@kernel(nogil=True)
def log_second_moment(pi, mu, sizes):
    """log E_μ[w²] of the product form, Σ_g sizes[g] log Σ_a π_g(a)²/μ_g(a); infinite where π does what μ never does.

    Parameters
    ----------
    pi, mu : float64[n_groups, n_al]
    sizes : int64[n_groups]   agents whose actions are in the weight
    """
    total = 0.0
    for g in range(pi.shape[0]):
        if sizes[g] == 0:
            continue
        moment = 0.0
        for a in range(pi.shape[1]):
            if pi[g, a] > 0.0:
                moment += pi[g, a] * (pi[g, a] / mu[g, a]) if mu[g, a] > 0.0 else np.inf
        total += sizes[g] * math.log(moment)
    return total


@kernel(forceinline=True, error_model="numpy")
def weighted_step(alpha, weight):
    """Step size of a sample of weight w, 1 − (1 − alpha)^w ≤ 1: that of w updates in a row, and alpha itself for w = 1.

    Source: Karampatziakis and Langford (2011), "Online importance weight aware updates", UAI; for a squared loss they
    pass to the limit of many small steps, 1 − exp(−alpha w), which is less than alpha for w = 1.

    Parameters
    ----------
    alpha, weight : float64   at least 0, alpha at most 1

    Returns
    -------
    float64
    """
    if weight == 1.0:
        return alpha
    if weight == 0.0 or alpha == 0.0:
        return 0.0
    return -math.expm1(weight * np.log1p(-alpha))
