"""Probability of what an agent sees of all other agents' actions, without each agent in turn.

Agents with one law form a group, and the law of their total is a power of the law of one. An agent of group g faces the
product of all groups' powers with one factor of g's law left out. Dividing it out would cancel, so the products are handed
down a binary tree over the groups: what a node's agents face from outside is what its parent's face times the law of its
sibling, and group g's leaf adds the power of its own law less one. Only the powers that a question needs are computed on the
way down, which makes the whole about as dear as two products of all groups per level of the tree.

Probabilities far in a tail are asked of tilted laws, law[a]·exp(θ·units[a]) normalised, with θ such that the others' mean
total is near the question, and scaled back (Esscher 1932, "On the probability function in the collective theory of risk").
So what is trimmed is small beside the answer and not only beside 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from .polynomials import MAX_POWER, MIN_POWER, Polynomials, multiply, multiply_by_law, raise_law, set_to_one

# Ends of a polynomial below this part of its largest coefficient are cut off.
TRIM = 1e-30

_LOG_2 = math.log(2.0)


class MarginalWork(NamedTuple):
    """Room for `log_marginal_of_others`; every thread needs its own. See `make_marginal_work`."""

    slots: Polynomials  # nodes 1 … 2G − 1 of the tree, G powers less one, one row per level of what is outside, a spare
    groups: np.ndarray  # int64[n_groups]: those with agents
    sizes: np.ndarray  # int64[2 n_groups]: agents of every node
    first: np.ndarray  # int64[2 n_groups]: least total that a node's agents are asked about
    last: np.ndarray  # int64[2 n_groups]: largest
    laws: np.ndarray  # float64[n_groups, n_al]: tilted
    log_norms: np.ndarray  # float64[n_groups]


@kernel
def _spare_slot(n_groups):
    """The last slot: after the nodes, the powers less one and a row for every level of the tree."""
    levels = np.int64(1)
    while 1 << levels < 2 * n_groups:
        levels += 1
    return 3 * n_groups + levels


@kernel
def marginal_work_size(n, n_groups, span):
    """Doubles that `make_marginal_work` allocates for its polynomials, as a float64.

    Parameters
    ----------
    n, n_groups, span : int64   span: largest less smallest of the units
    """
    levels = _spare_slot(n_groups) - 3 * n_groups
    return (2.0 * levels + 2.0) * (float(n) * span + 1.0) + 3.0 * n_groups


@kernel
def make_marginal_work(n, n_groups, units):
    """Allocate a MarginalWork for up to n agents in up to n_groups groups that have any of them.

    Parameters
    ----------
    n, n_groups : int64   at least 1
    units : int64[n_al]   at least 0
    """
    span = units.max() - units.min()
    n_slots = _spare_slot(n_groups) + 1
    capacity = np.int64(marginal_work_size(n, n_groups, span))
    empty = np.zeros(n_slots, np.int64)
    slots = Polynomials(np.zeros(capacity), empty, empty.copy(), empty.copy(), empty.copy(), empty.copy())
    nodes = np.zeros(2 * n_groups, np.int64)
    laws = np.zeros((n_groups, units.shape[0]))
    return MarginalWork(
        slots, np.zeros(n_groups, np.int64), nodes, nodes.copy(), nodes.copy(), laws, np.zeros(n_groups)
    )


@kernel
def _gather_groups(counts, low, high, work):
    """List the groups with agents, and for every node its agents and what they are asked; return how many groups."""
    n_groups = np.int64(0)
    for g in range(counts.shape[0]):
        for a in range(counts.shape[1]):
            if counts[g, a] > 0:
                if n_groups == work.groups.shape[0]:
                    raise ValueError("counts: found more groups with agents than the work space was made for")
                work.groups[n_groups] = g
                n_groups += 1
                break
    for i in range(n_groups):
        g, leaf = work.groups[i], n_groups + i
        work.sizes[leaf], work.first[leaf], work.last[leaf] = 0, MAX_POWER, -1
        for a in range(counts.shape[1]):
            work.sizes[leaf] += counts[g, a]
            if counts[g, a] > 0 and low[g, a] <= high[g, a]:
                work.first[leaf] = min(work.first[leaf], max(low[g, a], 0))
                work.last[leaf] = max(work.last[leaf], high[g, a])
    for node in range(n_groups - 1, 0, -1):
        work.sizes[node] = work.sizes[2 * node] + work.sizes[2 * node + 1]
        work.first[node] = min(work.first[2 * node], work.first[2 * node + 1])
        work.last[node] = max(work.last[2 * node], work.last[2 * node + 1])
    return n_groups


@kernel
def _tilt(laws, units, theta, n_groups, work):
    """Tilt the laws of all groups with agents; return the mean and the variance of the total of all agents."""
    highest = theta * units[0]
    for a in range(1, units.shape[0]):
        highest = max(highest, theta * units[a])
    mean, variance = 0.0, 0.0
    for i in range(n_groups):
        law = work.laws[i]
        norm, first, second = 0.0, 0.0, 0.0
        for a in range(units.shape[0]):
            law[a] = laws[work.groups[i], a]
            if theta != 0.0:
                law[a] *= math.exp(theta * units[a] - highest)
            norm += law[a]
            first += law[a] * units[a]
            second += law[a] * float(units[a]) * units[a]
        work.log_norms[i] = 0.0
        if norm > 0.0:
            first, second = first / norm, second / norm
            if theta != 0.0:
                work.log_norms[i] = math.log(norm) + highest
                for a in range(units.shape[0]):
                    law[a] /= norm
        mean += work.sizes[n_groups + i] * first
        variance += work.sizes[n_groups + i] * max(second - first * first, 0.0)
    return mean, variance


@kernel
def _choose_tilt(laws, units, n_groups, work):
    """Find θ that brings the others' mean total to within two standard deviations of what is asked; leave the laws so.

    Returns
    -------
    (theta, target) : float64
    """
    others = (work.sizes[1] - 1.0) / work.sizes[1]
    span = max(units.max() - units.min(), 1)
    below, above, theta = -500.0 / span, 500.0 / span, 0.0
    mean, variance = _tilt(laws, units, 0.0, n_groups, work)
    # Within the range of the questions there is nothing to gain.
    target = min(max(others * mean, float(work.first[1])), float(work.last[1]))
    for _ in range(60):
        gap = target - others * mean
        if gap * gap <= 4.0 * others * variance or work.last[1] < 0:
            break
        if gap > 0.0:
            below = theta
        else:
            above = theta
        theta += gap / max(others * variance, 1e-300)
        if not below < theta < above:
            theta = 0.5 * (below + above)
        mean, variance = _tilt(laws, units, theta, n_groups, work)
    return theta, target


@kernel
def _grow_tree(units, trim, n_groups, work):
    """Make room for all slots, fill the powers less one and the laws of all nodes' totals; return the row of level 0."""
    slots = work.slots
    span = units.max() - units.min()
    level_0, spare = 3 * n_groups, _spare_slot(n_groups)
    room = np.int64(0)
    for slot in range(1, spare + 1):
        slots.base[slot] = room
        if slot < 2 * n_groups:
            room += work.sizes[slot] * span + 1
        elif slot < 3 * n_groups:
            room += (work.sizes[slot - n_groups] - 1) * span + 1
        else:
            room += work.sizes[1] * span + 1
    for i in range(n_groups):
        less_one = 2 * n_groups + i
        raise_law(slots, work.laws[i], units, work.sizes[n_groups + i] - 1, trim, spare, less_one)
        multiply_by_law(slots, less_one, work.laws[i], units, trim, n_groups + i)
    for node in range(n_groups - 1, 1, -1):
        multiply(slots, 2 * node, 2 * node + 1, MIN_POWER, MAX_POWER, trim, node)
    set_to_one(slots, level_0)
    return level_0


@kernel
def _answer(leaf, counts, low, high, theta, target, n_groups, work, out_log):
    """Sum the probabilities of a leaf's questions; its agents face what is in the spare slot."""
    slots, spare = work.slots, _spare_slot(n_groups)
    values = slots.coefficients[slots.start[spare] : slots.start[spare] + slots.length[spare]]
    i = leaf - n_groups
    g = work.groups[i]
    log_scale = slots.exponent[spare] * _LOG_2 - theta * target - work.log_norms[i]
    for j in range(n_groups):
        log_scale += work.sizes[n_groups + j] * work.log_norms[j]
    for a in range(counts.shape[1]):
        out_log[g, a] = -np.inf
        if counts[g, a] == 0:
            continue
        total = 0.0
        begin = max(low[g, a] - slots.low[spare], 0)
        for x in range(begin, min(high[g, a] - slots.low[spare] + 1, values.shape[0])):
            total += values[x] if theta == 0.0 else values[x] * math.exp(-theta * (slots.low[spare] + x - target))
        if total > 0.0:
            out_log[g, a] = math.log(total) + log_scale


@kernel(nogil=True)
def log_marginal_of_others(laws, counts, units, low, high, trim, work, out_log):
    """log P(low ≤ Σ_{j≠i} units[a_j] ≤ high) for an agent i of every group, with the interval of its own action.

    The other agents act independently, those of group g by laws[g]. Exact but for rounding and for `trim`: per product, what
    is cut off is below trim times the number of coefficients times the largest of them.

    Parameters
    ----------
    laws : float64[n_groups, n_al]
    counts : int64[n_groups, n_al]   agents of a group that took an action; groups without agents cost nothing
    units : int64[n_al]              what an action adds to the total, at least 0
    low, high : int64[n_groups, n_al]   interval of the others' total, both ends included; read where counts > 0
    trim : float64                   TRIM, or 0 to cut off nothing
    work : MarginalWork              overwritten
    out_log : float64[n_groups, n_al]   overwritten; −inf for an empty or impossible interval and where counts are 0

    Raises
    ------
    ValueError   for more groups with agents, or more agents, than the work space was made for
    """
    out_log[:] = -np.inf
    n_groups = _gather_groups(counts, low, high, work)
    if n_groups == 0:
        return
    slots, spare = work.slots, _spare_slot(n_groups)
    span = units.max() - units.min()
    if marginal_work_size(work.sizes[1], n_groups, span) > slots.coefficients.shape[0]:
        raise ValueError("counts: found more agents than the work space was made for")
    theta, target = _choose_tilt(laws, units, n_groups, work)
    level_0 = _grow_tree(units, trim, n_groups, work)
    # From a node to its first child, else to the sibling of the nearest ancestor that has one to come.
    node, level = np.int64(1), np.int64(0)
    while node > 0:
        if node > 1:
            first = work.first[node] - slots.low[node] - slots.length[node] + 1
            last = work.last[node] - slots.low[node] + units.max()
            multiply(slots, level_0 + level - 1, node ^ 1, max(first, 0), last, trim, level_0 + level)
        if node < n_groups:
            node, level = 2 * node, level + 1
            continue
        multiply(slots, level_0 + level, node + n_groups, work.first[node], work.last[node], 0.0, spare)
        _answer(node, counts, low, high, theta, target, n_groups, work, out_log)
        while node & 1:
            node, level = node >> 1, level - 1
        node += node > 0
