"""Replay of past steps while policies move on: what the others did then is weighed by how likely it is now.

The weight of agent i's transition is P_π(what the others did | what they saw) / P_μ(the same), with μ the law by which they acted
then and π that by which they act now, exploration included. What they did is every one of their actions (product form) or the field
values that these made (marginal form), all that agent i's reward and next observation can tell of them. The law μ is known
when a step is stored, so that each step is folded twice: once when it is stored, once when it is replayed.

Sources: Precup, Sutton and Singh (2000), "Eligibility traces for off-policy policy evaluation", ICML, for importance
weights; the marginal form is the mean of the product form given the field value (Rao 1945, Blackwell 1947).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from ..importance.marginal import TRIM, MarginalWork, log_marginal_of_others, make_marginal_work
from ..importance.weights import log_product_of_others
from ..streams import next_below
from .choices import behaviour_law
from .parts import MARGINAL, PRODUCT
from .updates import update_agent

NO_GROUP = -1

# Weights of steps further back than this many replays fade from the effective sample size.
MEMORY = 100

# Above this an exponential, and what is summed of it, may overflow.
LARGEST_LOG = 300.0


class DriftWork(NamedTuple):
    """Work space of one run. A group are agents who saw the same."""

    group_of_seen: np.ndarray  # int64[n_o], NO_GROUP between calls
    group: np.ndarray  # int64[n]
    action: np.ndarray  # int64[n]
    counts: np.ndarray  # int64[n, n_al], agents of a group by their action
    laws: np.ndarray  # float64[n, n_al]
    low: np.ndarray  # int64[n, n_al], totals of the others that make the same field values, by group and own action
    high: np.ndarray  # int64[n, n_al]
    log_of_group: np.ndarray  # float64[n, n_al]
    log_law: np.ndarray  # float64[n]
    weight: np.ndarray  # float64[n]
    folds: MarginalWork


@kernel
def make_drift_work(drift, n, n_o, n_al):
    """Allocate the work space of one run; None without a Drift.

    Parameters
    ----------
    drift : Drift or None
    n, n_o, n_al : int64

    Returns
    -------
    DriftWork or None
    """
    if drift is None:
        return None
    folded = n if drift.form == MARGINAL else 0
    return DriftWork(
        np.full(n_o, NO_GROUP, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros((n, n_al), np.int64),
        np.zeros((n, n_al)),
        np.zeros((folded, n_al), np.int64),
        np.zeros((folded, n_al), np.int64),
        np.zeros((folded, n_al)),
        np.zeros(n),
        np.zeros(n),
        make_marginal_work(max(folded, 1), max(folded, 1), drift.units),
    )


@kernel(error_model="numpy")
def _form_groups(drift, table, temperature, epsilon, acted, actions, work):
    """Group agents by what they saw, with the law of each group; return the number of groups and the total of the units."""
    n_groups, total = np.int64(0), np.int64(0)
    for i in range(acted.shape[0]):
        g = work.group_of_seen[acted[i]]
        if g == NO_GROUP:
            g = n_groups
            n_groups += 1
            work.group_of_seen[acted[i]] = g
            work.counts[g, :] = 0
            behaviour_law(table[0, acted[i]], temperature, epsilon, work.laws[g])
        work.group[i], work.action[i] = g, actions[i]
        work.counts[g, actions[i]] += 1
        total += drift.units[actions[i]]
    for i in range(acted.shape[0]):
        work.group_of_seen[acted[i]] = NO_GROUP
    return n_groups, total


@kernel
def _fill_intervals(drift, total, out_low, out_high):
    """Totals of the others that make both field values what they were, by an agent's own action; the same for all groups."""
    whole = drift.whole_value[total]
    for a in range(drift.units.shape[0]):
        others = total - drift.units[a]
        # Empty for an action that nobody can have taken.
        low, high = np.int64(1), np.int64(0)
        if 0 <= others < drift.others_value.shape[0]:
            seen = drift.others_value[others]
            low = max(drift.whole_low[whole] - drift.units[a], drift.others_low[seen])
            high = min(drift.whole_high[whole] - drift.units[a], drift.others_high[seen])
        out_low[:, a] = low
        out_high[:, a] = high


@kernel(error_model="numpy")
def fill_log_laws(drift, table, temperature, epsilon, acted, actions, work):
    """Fill work.log_law: for each agent the log probability of what the others did, if everyone acts by `table`.

    Parameters
    ----------
    drift : Drift
    table : float64[1, n_o, n_al]   whose Boltzmann law everyone plays
    temperature, epsilon : float64
    acted : int32[n]                observations acted on
    actions : int32[n]
    work : DriftWork                overwritten
    """
    n_groups, total = _form_groups(drift, table, temperature, epsilon, acted, actions, work)
    laws = work.laws[:n_groups]
    if drift.form == PRODUCT:
        log_product_of_others(laws, work.group, work.action, work.log_law)
        return
    counts, low, high = work.counts[:n_groups], work.low[:n_groups], work.high[:n_groups]
    _fill_intervals(drift, total, low, high)
    log_marginal_of_others(laws, counts, drift.units, low, high, TRIM, work.folds, work.log_of_group[:n_groups])
    for i in range(acted.shape[0]):
        work.log_law[i] = work.log_of_group[work.group[i], actions[i]]


@kernel(error_model="numpy")
def _weigh(drift, log_then, work):
    """Turn log laws now and then into weights; return their mean, mean square, share clipped and mean excess over the clip."""
    n = log_then.shape[0]
    mean, square, clipped, excess = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        # What was done then had a probability, so that only the law of today can be 0.
        weight = np.exp(min(work.log_law[i] - log_then[i], LARGEST_LOG)) if work.log_law[i] > -np.inf else 0.0
        if weight > drift.clip:
            excess += weight - drift.clip
            clipped += 1.0
            weight = drift.clip
        work.weight[i] = weight
        mean += weight
        square += weight * weight
    return mean / n, square / n, clipped / n, excess / n


@kernel(error_model="numpy")
def _note_weights(drift, ratio_means, mean, square):
    """Let the recent means follow; return whether the effective sample is too small to weigh anything."""
    ratio_means[0] += 1.0
    share = max(1.0 / ratio_means[0], 1.0 / MEMORY)
    ratio_means[1] += share * (mean - ratio_means[1])
    ratio_means[2] += share * (square - ratio_means[2])
    return ratio_means[1] * ratio_means[1] < drift.least_ess * ratio_means[2] or ratio_means[2] == 0.0


@kernel(error_model="numpy")
def _add_sums(found, weighed, rewards, weights, out_sums):
    mean, square, clipped, excess = found
    paid = 0.0
    for i in range(rewards.shape[0]):
        paid += weights[i] * rewards[i]
    paid /= rewards.shape[0]
    out_sums[0] += 1.0
    out_sums[1] += mean
    out_sums[2] += square
    out_sums[3] += clipped
    out_sums[4] += excess
    out_sums[5] += paid
    out_sums[6] += paid * paid
    out_sums[7] += 0.0 if weighed else 1.0


@kernel(error_model="numpy")
def _learn_step(drift, tables, rule, ring, place, weighed, work, law):
    """Learn the transitions of one stored step, in order of the agents."""
    for i in range(ring.seen.shape[1]):
        weight = 1.0
        if drift is not None:
            weight = work.weight[i] if weighed else 1.0
        o, a, o_next = np.int64(ring.seen[place, i]), np.int64(ring.action[place, i]), np.int64(ring.next[place, i])
        update_agent(tables, rule, 0, o, a, ring.reward[place, i], o_next, weight, law)


@kernel(error_model="numpy")
def replay_steps(drift, tables, rule, ring, head, n_filled, epsilon, stream, law, work, ratio_means, out_sums):
    """Learn from `rule.batch` stored steps, drawn uniformly with replacement: from the transitions of all agents, in order.

    One table for all agents. With a `drift`, the law of the step just stored is noted, and transitions are weighed, unless
    the weights of recent replays leave too small an effective share of the sample.

    Parameters
    ----------
    drift : Drift or None
    tables : Tables              of one run, changed
    rule : Rule
    ring : Ring                  `log_law` of place `head` is overwritten where there is a drift
    head, n_filled : int64       the place stored last, and how many hold a step
    epsilon : float64            exploration now
    stream : uint64[STREAM_WORDS]   advanced
    law : float64[n_al]          overwritten
    work : DriftWork or None     overwritten
    ratio_means : float64[3]     changed where there are weights
    out_sums : float64[RATIO_SUMS] or float64[0]    sums that are added to
    """
    # The step just stored is folded at its turn −1: kernels that call the folding twice take twice as long to compile.
    for turn in range(-1 if drift is not None else 0, rule.batch):
        place = next_below(n_filled, stream) if turn >= 0 else np.int64(head)
        weighed = False
        if drift is not None:
            table = tables.theta if tables.theta.shape[0] > 0 else tables.q
            acted = ring.acted[place] if ring.acted.shape[0] > 0 else ring.seen[place]
            fill_log_laws(drift, table, rule.temperature, epsilon, acted, ring.action[place], work)
            if turn < 0:
                ring.log_law[place, :] = work.log_law
                continue
            found = _weigh(drift, ring.log_law[place], work)
            weighed = not _note_weights(drift, ratio_means, found[0], found[1])
            if out_sums.shape[0] > 0:
                _add_sums(found, weighed, ring.reward[place], work.weight, out_sums)
        _learn_step(drift, tables, rule, ring, place, weighed, work, law)
