"""Exact Bellman updates of V(s_g, c) for each action class, by listing what k labelled agents can do.

Every choice of the local agents is a list of k action laws, one per labelled agent: the classes differ in which lists
they allow and in nothing else.
"""

import itertools
from typing import NamedTuple

import numpy as np

from .counts import agents_of, count_vectors_listed, pairs_of, ranks_listed
from .expectation import largest_remainder_counts, next_counts_law
from .tables import tables_of


class Choice(NamedTuple):
    """What the local agents may do at one (s_g, c), what it pays on average and where it leads."""

    s_g: int
    counts: tuple
    key: tuple
    reward: float  # mean local reward
    law: np.ndarray  # float64[n_c], law of the next counts


def _joint_actions(agents, n_sl, n_al):
    for actions in itertools.product(range(n_al), repeat=len(agents)):
        yield pairs_of(agents, actions, n_sl, n_al), np.eye(n_al)[list(actions)]


def _shared_actions(agents, n_sl, n_al):
    for action_in_state in itertools.product(range(n_al), repeat=n_sl):
        yield action_in_state, np.eye(n_al)[[action_in_state[s] for s in agents]]


def _histogram_actions(agents, n_sl, n_al):
    k = len(agents)
    for histogram in count_vectors_listed(k, n_al):
        yield histogram, np.tile(np.array(histogram) / k, (k, 1))


ACTION_CLASSES = {"joint": _joint_actions, "shared": _shared_actions, "histogram": _histogram_actions}


def list_choices(game, k, actions="joint", expectation="exact", local_policy=None):
    """Every Choice of the local agents, at every (s_g, c), in lexicographic order.

    `actions` is "joint" (key: flat z), "shared" (key: f, one action per state), "histogram" (key: h) or "fixed"
    (key: (), needs local_policy[n_sg, n_sl, n_al]). `expectation` is "exact" or "rounded". "joint" lists all
    n_al**k labelled joint actions, so that one z appears once for every labelling of it.
    """
    tables = tables_of(game)
    n_sg, n_sl, n_al = tables.r_l.shape
    for s_g, counts in itertools.product(range(n_sg), count_vectors_listed(k, n_sl)):
        agents = agents_of(counts)
        if actions == "fixed":
            listed = [((), [local_policy[s_g][s] for s in agents])]
        else:
            listed = ACTION_CLASSES[actions](agents, n_sl, n_al)
        for key, action_laws in listed:
            reward = sum(law @ tables.r_l[s_g, s] for s, law in zip(agents, action_laws, strict=True)) / k
            rows = [law @ tables.P_l[s_g, s] for s, law in zip(agents, action_laws, strict=True)]
            yield Choice(s_g, counts, key, reward, _next_law(rows, expectation))


def _next_law(rows, expectation):
    if expectation == "exact":
        return next_counts_law(rows)
    k, n_sl = len(rows), len(rows[0])
    ranks = ranks_listed(k, n_sl)
    return np.eye(len(ranks))[ranks[largest_remainder_counts(np.sum(rows, axis=0))]]


def _backup(game, V, k, **kind):
    tables = tables_of(game)
    V = np.asarray(V, dtype=np.float64)
    n_ag = tables.r_g.shape[1]
    q = {}
    for s_g, counts, key, reward, law in list_choices(game, k, **kind):
        expected = V @ law
        table = q.setdefault((s_g, counts), {})
        for a_g in range(n_ag):
            value = tables.r_g[s_g, a_g] + reward + tables.gamma * (tables.P_g[s_g, a_g] @ expected)
            table[a_g, key] = max(value, table.get((a_g, key), -np.inf))
    values = np.array([max(table.values()) for table in q.values()])
    return values.reshape(V.shape), q


def backup_joint(game, V, k):
    """One update, maximum over a_g and all labelled joint actions.

    Returns values float64[n_sg, n_c] and q, where q[s_g, c][a_g, z] is the value of a_g with the flat z
    (c and z tuples).
    """
    return _backup(game, V, k, actions="joint")


def backup_shared(game, V, k):
    """One update, maximum over a_g and all maps f: S_l -> A_l. Returns values and q[s_g, c][a_g, f]."""
    return _backup(game, V, k, actions="shared")


def backup_histogram(game, V, k):
    """One update, maximum over a_g and all h in Λ(k, n_al); agents play independently from h / k.

    Returns values and q[s_g, c][a_g, h].
    """
    return _backup(game, V, k, actions="histogram")


def backup_fixed(game, V, k, local_policy):
    """One update with the local policy [n_sg, n_sl, n_al] given. Returns values and q float64[n_sg, n_c, n_ag]."""
    values, q = _backup(game, V, k, actions="fixed", local_policy=local_policy)
    return values, np.array([list(table.values()) for table in q.values()]).reshape(*values.shape, -1)


def backup_rounded(game, V, k, actions="joint", local_policy=None):
    """One update of any action class in which c' is the largest-remainder rounding of its mean; returns values and q.

    q is keyed as in the exact update of that class ("fixed" has the keys (a_g, ())).
    """
    return _backup(game, V, k, actions=actions, expectation="rounded", local_policy=local_policy)


def best_keys(q_at, atol=1e-9):
    """The set of keys of one dict q[s_g, c] whose value is within `atol` of the best."""
    best = max(q_at.values())
    return {key for key, value in q_at.items() if value >= best - atol}


def solve_by_listing(game, k, actions="joint", expectation="exact", local_policy=None, tol=1e-10):
    """Fixed point of the update, to `tol` in the largest entry: V float64[n_sg, n_c]. Plain value iteration."""
    tables = tables_of(game)
    groups = {}
    for s_g, counts, _, reward, law in list_choices(game, k, actions, expectation, local_policy):
        rewards, laws = groups.setdefault((s_g, counts), ([], []))
        rewards.append(reward)
        laws.append(law)
    groups = [(s_g, np.array(rewards), np.array(laws)) for (s_g, _), (rewards, laws) in groups.items()]
    n_sg = len(tables.r_g)
    V = np.zeros((n_sg, len(groups) // n_sg))
    while True:
        updated = [
            np.max(rewards[:, None] + tables.r_g[s_g] + tables.gamma * (laws @ V.T @ tables.P_g[s_g].T))
            for s_g, rewards, laws in groups
        ]
        change = np.abs(np.reshape(updated, V.shape) - V).max()
        V = np.reshape(updated, V.shape)
        if tables.gamma * change <= (1.0 - tables.gamma) * tol:
            return V
