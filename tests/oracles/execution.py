"""Deployment with n labelled agents: every sample of every agent is listed."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from .bellman import best_keys
from .counts import agents_of, count_vectors_listed, counts_of, ranks_listed
from .mdp import fold_to_counts
from .tables import random_rows, tables_of


class ListedPolicy(NamedTuple):
    """A subsample policy. Any object with these four attributes serves as well."""

    k_global: int
    k_local: int
    global_action: np.ndarray  # int[n_sg, |Λ(k_global, n_sl)|]
    local_action: np.ndarray  # float64[n_sg, n_sl, |Λ(k_local, n_sl)|, n_al]; counts include the agent itself


def random_policy(rng, game, k_global, k_local, pure=False):
    """A random policy; with `pure` every local action is certain."""
    tables = tables_of(game)
    n_sg, n_ag = tables.r_g.shape
    _, n_sl, n_al = tables.r_l.shape
    n_global, n_local = (len(count_vectors_listed(k, n_sl)) for k in (k_global, k_local))
    global_action = rng.integers(n_ag, size=(n_sg, n_global))
    local_action = random_rows(rng, (n_sg, n_sl, n_local, n_al), deterministic=pure)
    return ListedPolicy(k_global, k_local, global_action, local_action)


def greedy_policy_from_joint_q(game, q, k, atol=1e-9):
    """The policy that plays the best (a_g, z) of `backup_joint`'s q: row s of z divided by c[s].

    Choices within `atol` of the best count as tied, and the lexicographically lowest (a_g, z) is taken. Rows of
    states that are absent from c are uniform; no execution reads them.
    """
    tables = tables_of(game)
    n_sg, n_sl, n_al = tables.r_l.shape
    lattice = count_vectors_listed(k, n_sl)
    global_action = np.empty((n_sg, len(lattice)), dtype=np.int64)
    local_action = np.full((n_sg, n_sl, len(lattice), n_al), 1.0 / n_al)
    for s_g, (rank, counts) in itertools.product(range(n_sg), enumerate(lattice)):
        a_g, z = min(best_keys(q[s_g, counts], atol))
        global_action[s_g, rank] = a_g
        for s in range(n_sl):
            if counts[s]:
                local_action[s_g, s, rank] = np.array(z[s * n_al : (s + 1) * n_al]) / counts[s]
    return ListedPolicy(k, k, global_action, local_action)


def lumped_global_law(global_action, s_g, N, k, n_ag):
    """float64[n_ag]: law of a_g when the global agent sees k of the agents, by listing all subsets."""
    return _global_law(global_action[s_g], agents_of(N), k, len(N), n_ag)


def lumped_local_law(local_action, s_g, s, N, k):
    """float64[n_al]: law of the action of one agent in s that sees itself and k - 1 of the others, by listing subsets.

    N[s] must be positive.
    """
    agents = agents_of(N)
    return _local_law(local_action[s_g], agents, agents.index(s), k, len(N))


def _global_law(action_at, agents, k, n_sl, n_ag):
    ranks = ranks_listed(k, n_sl)
    law = np.zeros(n_ag)
    for sample in itertools.combinations(agents, k):
        law[action_at[ranks[counts_of(sample, n_sl)]]] += 1.0
    return law / math.comb(len(agents), k)


def _local_law(law_at, agents, i, k, n_sl):
    ranks = ranks_listed(k, n_sl)
    own, others = agents[i], agents[:i] + agents[i + 1 :]
    samples = [(own, *sample) for sample in itertools.combinations(others, k - 1)]
    return sum(np.asarray(law_at[own][ranks[counts_of(sample, n_sl)]]) for sample in samples) / len(samples)


def labelled_step(game, policy, s_g, agents):
    """One step from labelled agents: (law of s_g', one row of next-state probabilities per agent, mean reward)."""
    tables = tables_of(game)
    n_ag, n_sl = tables.r_g.shape[1], tables.r_l.shape[1]
    global_law = _global_law(policy.global_action[s_g], agents, policy.k_global, n_sl, n_ag)
    reward = sum(p * tables.r_g[s_g, a_g] for a_g, p in enumerate(global_law))
    next_global = sum(p * tables.P_g[s_g, a_g] for a_g, p in enumerate(global_law))
    rows = []
    for i, s in enumerate(agents):
        law = _local_law(policy.local_action[s_g], agents, i, policy.k_local, n_sl)
        reward += sum(p * tables.r_l[s_g, s, a] for a, p in enumerate(law)) / len(agents)
        rows.append(sum(p * tables.P_l[s_g, s, a] for a, p in enumerate(law)))
    return next_global, rows, reward


def one_step_law_by_listing_agents(game, policy, s_g, N):
    """(law, reward): law float64[n_sg, |Λ(n, n_sl)|] of (s_g', N') given (s_g, N), and the mean reward of the step.

    The global agent and every local agent draw samples of their own, so that they are independent given (s_g, N);
    all n_sl**n labelled outcomes are walked.
    """
    n, n_sl = sum(N), len(N)
    ranks = ranks_listed(n, n_sl)
    next_global, rows, reward = labelled_step(game, policy, s_g, agents_of(N))
    law = np.zeros((len(next_global), len(ranks)))
    for outcome in itertools.product(range(n_sl), repeat=n):
        p = math.prod(row[t] for row, t in zip(rows, outcome, strict=True))
        law[:, ranks[counts_of(outcome, n_sl)]] += next_global * p
    return law, float(reward)


def labelled_chain(game, policy, n):
    """(P, reward, states) of the Markov chain of n labelled agents under the policy."""
    tables = tables_of(game)
    n_sg, n_sl, _ = tables.r_l.shape
    states = list(itertools.product(range(n_sg), *[range(n_sl)] * n))
    P, reward = np.ones((len(states), len(states))), np.empty(len(states))
    for i, (s_g, *agents) in enumerate(states):
        next_global, rows, reward[i] = labelled_step(tables, policy, s_g, tuple(agents))
        for j, (s_next, *outcome) in enumerate(states):
            P[i, j] = next_global[s_next] * math.prod(row[t] for row, t in zip(rows, outcome, strict=True))
    return P, reward, states


def deployed_value_by_labelled_chain(game, policy, n):
    """float64[n_sg, |Λ(n, n_sl)|]: discounted value of the deployed policy, from the labelled chain's linear system."""
    tables = tables_of(game)
    n_sg, n_sl, _ = tables.r_l.shape
    P, reward, states = labelled_chain(tables, policy, n)
    values = np.linalg.solve(np.eye(len(P)) - tables.gamma * P, reward)
    return fold_to_counts(values, states, n_sg, n_sl)
