"""Oracles of deployment and of count sensitivity against hand calculation and each other."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import (
    ListedPolicy,
    additive_fit_residual,
    agents_of,
    backup_joint,
    backup_shared,
    best_count_blind_value,
    count_blind_value,
    count_vectors_listed,
    counts_of,
    deployed_value_by_labelled_chain,
    greedy_policy_from_joint_q,
    initial_value,
    lumped_global_law,
    lumped_local_law,
    multivariate_hypergeometric_pmf,
    next_counts_law,
    one_step_law_by_listing_agents,
    random_game_tables,
    random_policy,
    solve_by_listing,
    solve_joint_by_labelled_mdp,
    splitting_game,
)
from oracles.strategies import game_tables, games_with_policy, seeds

CLOSE = {"rtol": 0.0, "atol": 1e-12}


@given(games_with_policy(), st.integers(3, 4), seeds())
def test_subsets_follow_the_multivariate_hypergeometric_law(game_and_policy, n, seed):
    tables, policy = game_and_policy
    rng = np.random.default_rng(seed)
    n_ag, n_sl, n_al = tables["r_g"].shape[1], *tables["r_l"].shape[1:]
    N = counts_of(rng.integers(n_sl, size=n), n_sl)
    sampled = multivariate_hypergeometric_pmf(N, policy.k_global)
    expected = np.bincount(policy.global_action[0], weights=sampled, minlength=n_ag)
    np.testing.assert_allclose(lumped_global_law(policy.global_action, 0, N, policy.k_global, n_ag), expected, **CLOSE)
    s = next(s for s in range(n_sl) if N[s])
    unit = np.eye(n_sl, dtype=int)[s]
    others = multivariate_hypergeometric_pmf(np.array(N) - unit, policy.k_local - 1)
    lattice = count_vectors_listed(policy.k_local, n_sl)
    expected = np.zeros(n_al)
    for c, p in zip(count_vectors_listed(policy.k_local - 1, n_sl), others, strict=True):
        expected += p * policy.local_action[0, s, lattice.index(tuple(c + unit))]
    np.testing.assert_allclose(lumped_local_law(policy.local_action, 0, s, N, policy.k_local), expected, **CLOSE)


def walk_everything(tables, policy, s_g, agents):
    """Law of (s_g', N') and mean reward with every combination of samples, actions and next states in one loop."""
    n, (n_sg, n_sl, n_al) = len(agents), tables["r_l"].shape
    lattices = {m: count_vectors_listed(m, n_sl) for m in (policy.k_global, policy.k_local, n)}
    law, mean_reward = np.zeros((n_sg, len(lattices[n]))), 0.0
    own_samples = [list(itertools.combinations([j for j in range(n) if j != i], policy.k_local - 1)) for i in range(n)]
    global_samples = list(itertools.combinations(range(n), policy.k_global))
    chance = 1.0 / (len(global_samples) * math.prod(len(samples) for samples in own_samples))
    for seen, *samples in itertools.product(global_samples, *own_samples):
        a_g = policy.global_action[s_g, lattices[policy.k_global].index(counts_of([agents[j] for j in seen], n_sl))]
        laws = []
        for i, sample in enumerate(samples):
            rank = lattices[policy.k_local].index(counts_of([agents[i], *(agents[j] for j in sample)], n_sl))
            laws.append(policy.local_action[s_g, agents[i], rank])
        for actions in itertools.product(range(n_al), repeat=n):
            p = chance * math.prod(row[a] for row, a in zip(laws, actions, strict=True))
            pairs = list(zip(agents, actions, strict=True))
            mean_reward += p * (tables["r_g"][s_g, a_g] + sum(tables["r_l"][s_g, s, a] for s, a in pairs) / n)
            moved = next_counts_law([tables["P_l"][s_g, s, a] for s, a in pairs])
            law += p * np.outer(tables["P_g"][s_g, a_g], moved)
    return law, mean_reward


@pytest.mark.parametrize(("k_global", "k_local"), [(2, 2), (1, 3), (3, 1)])
def test_one_step_agrees_with_a_walk_over_everything(rng, k_global, k_local):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    policy = random_policy(rng, tables, k_global, k_local)
    for s_g, N in itertools.product(range(2), count_vectors_listed(3, 2)):
        law, reward = one_step_law_by_listing_agents(tables, policy, s_g, N)
        expected_law, expected_reward = walk_everything(tables, policy, s_g, agents_of(N))
        np.testing.assert_allclose(law, expected_law, **CLOSE)
        assert reward == pytest.approx(expected_reward, abs=1e-12)


@given(games_with_policy())
def test_the_labelled_chain_and_the_chain_of_counts_have_one_value(game_and_policy):
    tables, policy = game_and_policy
    n, n_sg, n_sl = 3, len(tables["r_g"]), len(tables["rho_l"])
    V = deployed_value_by_labelled_chain(tables, policy, n)
    for s_g, (rank, N) in itertools.product(range(n_sg), enumerate(count_vectors_listed(n, n_sl))):
        law, reward = one_step_law_by_listing_agents(tables, policy, s_g, N)
        assert law.sum() == pytest.approx(1.0, abs=1e-12)
        assert V[s_g, rank] == pytest.approx(reward + tables["gamma"] * (law * V).sum(), abs=1e-10)


@given(game_tables(max_sl=2, max_al=2), st.integers(1, 3))
def test_no_deployed_policy_beats_the_optimum(tables, k):
    best = solve_joint_by_labelled_mdp(tables, 3, tol=1e-10)
    surrogate = solve_by_listing(tables, k)
    policy = greedy_policy_from_joint_q(tables, backup_joint(tables, surrogate, k)[1], k)
    deployed = deployed_value_by_labelled_chain(tables, policy, 3)
    assert (deployed <= best + 1e-8).all()
    pure = np.isin(policy.local_action, (0.0, 1.0)).all() if tables["r_l"].shape[2] > 1 else True
    if k == 3 and pure:
        np.testing.assert_allclose(deployed, best, rtol=0, atol=1e-8)


def test_full_samples_and_shared_actions_reach_the_shared_optimum(rng):
    tables = random_game_tables(rng, 2, 2, 3, 2)
    V = solve_by_listing(tables, 3, "shared")
    _, q = backup_shared(tables, V, 3)
    lattice = count_vectors_listed(3, 3)
    best = {at: max(table, key=table.get) for at, table in q.items()}
    global_action = np.array([[best[s_g, c][0] for c in lattice] for s_g in range(2)])
    local_action = np.array([[[np.eye(2)[best[s_g, c][1][s]] for c in lattice] for s in range(3)] for s_g in range(2)])
    policy = ListedPolicy(3, 3, global_action, local_action)
    np.testing.assert_allclose(deployed_value_by_labelled_chain(tables, policy, 3), V, rtol=0, atol=1e-8)


def test_greedy_rows_that_mix_are_hit_only_on_average():
    """Two agents that should split: row 11 / 2 succeeds half the time, and that is the coordination gap."""
    tables = splitting_game()
    _, q = backup_joint(tables, np.array([[0.0, 1.0, 0.0]]), 2)
    policy = greedy_policy_from_joint_q(tables, q, 2)
    np.testing.assert_array_equal(policy.local_action[0, 0, 2], [0.5, 0.5])
    law, _ = one_step_law_by_listing_agents(tables, policy, 0, (2, 0))
    np.testing.assert_allclose(law, [[0.25, 0.5, 0.25]], **CLOSE)


@given(game_tables(gammas=(0.5, 0.8)), st.integers(1, 3))
def test_count_blind_value_is_the_optimum_when_the_global_action_is_forced(tables, k):
    tables["P_g"], tables["r_g"] = tables["P_g"][:, :1], tables["r_g"][:, :1]
    value, g = best_count_blind_value(tables, tables["rho_g"], tables["rho_l"])
    V = solve_by_listing(tables, k)
    assert g == (0,) * len(V)
    assert initial_value(V, tables["rho_g"], tables["rho_l"], k) == pytest.approx(value, abs=1e-9)
    counts = count_vectors_listed(k, len(tables["rho_l"]))
    assert additive_fit_residual(V, counts) < 1e-8
    expected = count_blind_value(tables, g) @ np.array(counts).T / k
    np.testing.assert_allclose(V, expected, rtol=0, atol=1e-8)


@given(game_tables(gammas=(0.5, 0.8)), st.integers(1, 3))
def test_ignoring_the_counts_never_helps(tables, k):
    value, _ = best_count_blind_value(tables, tables["rho_g"], tables["rho_l"])
    best = initial_value(solve_by_listing(tables, k), tables["rho_g"], tables["rho_l"], k)
    assert value <= best + 1e-9


def test_the_best_count_blind_value_is_the_best_over_all_maps(rng):
    for _ in range(5):
        tables = random_game_tables(rng, 2, 3, 2, 2, gamma=0.8)
        value, best = best_count_blind_value(tables, tables["rho_g"], tables["rho_l"])
        values = {
            g: tables["rho_g"] @ count_blind_value(tables, g) @ tables["rho_l"]
            for g in itertools.product(range(3), repeat=2)
        }
        assert best == max(values, key=values.get)
        assert value == max(values.values())


def test_the_best_count_blind_value_by_hand():
    """Global state 1 is absorbing and pays 1; action 1 leads there for a cost of 2, worth it at gamma = 0.8 only."""
    tables = {
        "P_g": np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]),
        "P_l": np.ones((2, 1, 2, 1)),
        "r_g": np.array([[0.0, -2.0], [1.0, 0.0]]),
        "r_l": np.array([[[0.5, 0.25]], [[0.0, 0.5]]]),
        "gamma": 0.8,
    }
    value, g = best_count_blind_value(tables, [1.0, 0.0], [1.0])
    assert g == (1, 0)
    assert value == pytest.approx(-2 + 0.5 + 0.8 * (1 + 0.5) / 0.2)
    assert best_count_blind_value(tables | {"gamma": 0.5}, [1.0, 0.0], [1.0]) == (pytest.approx(1.0), (0, 0))


def test_additive_fit_residual_by_hand():
    counts = count_vectors_listed(2, 2)
    # The line through 0, 1, 0 at 0, 1/2, 1 is flat at 1/3.
    assert additive_fit_residual([[5.0, 5.0, 5.0], [0.0, 1.0, 0.0]], counts) == pytest.approx(2 / 3)
    assert additive_fit_residual([[1.0, 2.0, 3.0]], counts) == pytest.approx(0.0, abs=1e-12)
