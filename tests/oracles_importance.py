"""Weights of other agents' actions by listing what n labelled agents can do. Nothing of the package is imported here.

`laws[g][a]` is the law of an action of an agent of group g, `group[i]` the group of agent i.
"""

import itertools
import math


def joint_actions(laws, group):
    """Every tuple of actions with its probability."""
    for actions in itertools.product(range(len(laws[0])), repeat=len(group)):
        yield actions, math.prod(laws[g][a] for g, a in zip(group, actions))


def without(items, i):
    return [item for j, item in enumerate(items) if j != i]


def product_weight(pi, mu, group, actions, i):
    """Π over the others, of what they did, π/μ."""
    return math.prod(pi[g][a] / mu[g][a] for g, a in zip(without(group, i), without(actions, i)))


def probability_of_total(laws, group, units, i, low, high):
    """P(low ≤ total of all but agent i ≤ high)."""
    return math.fsum(
        p for actions, p in joint_actions(laws, without(group, i)) if low <= sum(units[a] for a in actions) <= high
    )


def weight_moments(pi, mu, group, weight):
    """E_μ[w] and E_μ[w²], for weight(actions) of the agents of `group`."""
    listed = [(p, weight(actions)) for actions, p in joint_actions(mu, group) if p > 0.0]
    return math.fsum(p * w for p, w in listed), math.fsum(p * w * w for p, w in listed)


def laws_of_total(laws, group, units):
    """Law of the total as a dict, one agent after the other."""
    law = {0: 1.0}
    for g in group:
        after: dict = {}
        for total, p in law.items():
            for a, q in enumerate(laws[g]):
                after[total + units[a]] = after.get(total + units[a], 0.0) + p * q
        law = after
    return law
