"""Exact laws of execution: against listing every sample of labelled agents, and closed forms where n or k is large."""

import itertools
from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy
from kofn.engine.rollouts import arrange_rows
from kofn.kernels import execution
from kofn.kernels.lattice import enumerate_counts, lattice_size
from oracles import (
    count_vectors_listed,
    hypergeometric_pmf,
    lumped_global_law,
    lumped_local_law,
    multivariate_hypergeometric_pmf,
    one_step_law_by_listing_agents,
    random_game_tables,
    random_policy,
)
from oracles.strategies import games_with_policy

ATOL = 1e-12


def local_means(rows, k_local, populations):
    populations = np.array(populations, dtype=np.int64)
    n_sg, n_sl, n_x, _ = rows.shape
    means = np.full((n_sg, len(populations), n_sl, n_x), np.nan)
    execution.tabulate_local_means(rows, populations, execution.make_sample_space(k_local - 1, n_sl), means)
    return means


def global_laws(global_action, k_global, populations, n_ag):
    populations = np.array(populations, dtype=np.int64)
    laws = np.full((len(global_action), len(populations), n_ag), np.nan)
    space = execution.make_sample_space(k_global, populations.shape[1])
    execution.tabulate_global_laws(np.asarray(global_action, dtype=np.int32), populations, space, laws)
    return laws


def as_objects(tables, policy):
    return Game(**tables), SubsamplePolicy(**policy._asdict())


@given(games_with_policy(max_k=4), st.integers(0, 2))
def test_laws_agree_with_listing_samples(game_and_policy, more):
    tables, policy = game_and_policy
    n = max(policy.k_global, policy.k_local) + more
    n_sg, n_ag = tables["r_g"].shape
    n_sl = tables["P_l"].shape[1]
    populations = count_vectors_listed(n, n_sl)
    found_local = local_means(arrange_rows(*as_objects(tables, policy), drawn=True), policy.k_local, populations)
    found_global = global_laws(policy.global_action, policy.k_global, populations, n_ag)
    for s_g, (i, N) in itertools.product(range(n_sg), enumerate(populations)):
        expected = lumped_global_law(policy.global_action, s_g, N, policy.k_global, n_ag)
        np.testing.assert_allclose(found_global[s_g, i], expected, rtol=0, atol=ATOL)
        for s in range(n_sl):
            expected = lumped_local_law(policy.local_action, s_g, s, N, policy.k_local) if N[s] else 0.0
            np.testing.assert_allclose(found_local[s_g, i, s], expected, rtol=0, atol=ATOL)


@given(games_with_policy(max_k=3, max_sl=3), st.integers(0, 1))
def test_one_step_agrees_with_labelled_agents(game_and_policy, more):
    """The law of s_g' and the mean of N' and of the reward, which the rollout's rows and π̄_g make up."""
    tables, policy = game_and_policy
    n = max(policy.k_global, policy.k_local) + more
    n_sg, n_ag = tables["r_g"].shape
    n_sl = tables["P_l"].shape[1]
    populations = count_vectors_listed(n, n_sl)
    outcomes = local_means(arrange_rows(*as_objects(tables, policy), drawn=False), policy.k_local, populations)
    pi_g = global_laws(policy.global_action, policy.k_global, populations, n_ag)
    for s_g, (i, N) in itertools.product(range(n_sg), enumerate(populations)):
        law, reward = one_step_law_by_listing_agents(tables, policy, s_g, N)
        moved = np.array(N) @ outcomes[s_g, i]
        np.testing.assert_allclose(pi_g[s_g, i] @ tables["P_g"][s_g], law.sum(axis=1), rtol=0, atol=ATOL)
        np.testing.assert_allclose(moved[:n_sl], law.sum(axis=0) @ np.array(populations), rtol=0, atol=n * ATOL)
        assert abs(pi_g[s_g, i] @ tables["r_g"][s_g] + moved[n_sl] / n - reward) <= 10 * ATOL


def rows_of_indicators(n_sl, m):
    """Rows whose mean is the law of the others in the sample itself."""
    n_c = lattice_size(m, n_sl)
    return np.ascontiguousarray(np.broadcast_to(np.eye(n_c), (1, n_sl, n_c, n_c)))


@pytest.mark.parametrize(
    ("N", "k"),
    [
        ((5 * 10**8, 5 * 10**8), 301),
        ((3, 10**9 - 3), 301),
        ((10**9 - 1, 1), 40),
        ((299, 301), 600),
        ((1, 599), 599),
        ((10**9 // 3, 2 * 10**9 // 3), 1),
    ],
)
def test_weights_of_two_states_are_hypergeometric(N, k):
    found = local_means(rows_of_indicators(2, k - 1), k, [N])[0, 0]
    for s in range(2):
        others = np.array(N) - np.eye(2, dtype=int)[s]
        expected = hypergeometric_pmf(int(others[0]), int(others[1]), k - 1)
        np.testing.assert_allclose(found[s], expected, rtol=1e-11, atol=1e-300)


def test_weights_with_a_global_sample_of_everybody(rng):
    actions = rng.integers(3, size=(2, lattice_size(400, 2))).astype(np.int32)
    laws = global_laws(actions, 400, [(150, 250), (400, 0)], 3)
    np.testing.assert_array_equal(laws, np.eye(3)[actions[:, [150, 400]]])


def moment_rows(n_sl, m):
    """Rows with the entries c_t and c_t (c_u − [t = u]) of the others in a sample."""
    counts = np.empty((lattice_size(m, n_sl), n_sl), np.int64)
    enumerate_counts(m, counts)
    second = counts[:, :, None] * (counts[:, None, :] - np.eye(n_sl, dtype=int))
    moments = np.concatenate([counts, second.reshape(len(counts), -1)], axis=1).T.astype(float)
    return np.ascontiguousarray(np.broadcast_to(moments, (1, n_sl, *moments.shape)))


def exact_moments(N, s, m):
    n_sl, others = len(N), sum(N) - 1
    M = [count - (t == s) for t, count in enumerate(N)]
    first = [Fraction(m * M[t], others) for t in range(n_sl)]
    second = [
        Fraction(m * (m - 1) * M[t] * (M[u] - (t == u)), others * (others - 1))
        for t, u in itertools.product(range(n_sl), repeat=2)
    ]
    return np.array([float(moment) for moment in first + second])


@pytest.mark.parametrize(
    ("N", "k"),
    [
        ((10**9 - 70, 3, 47, 20), 13),
        ((250_000_000, 250_000_000, 250_000_000, 250_000_000), 13),
        ((0, 10**9 - 5, 0, 5), 13),
        ((0, 0, 0, 50), 13),
        ((2, 900, 0, 98), 21),
        ((20, 30, 40), 90),
        ((0, 450, 451), 400),
    ],
)
def test_moments_of_large_samples_and_populations(N, k):
    found = local_means(moment_rows(len(N), k - 1), k, [N])[0, 0]
    for s, count in enumerate(N):
        expected = exact_moments(N, s, k - 1) if count else 0.0
        np.testing.assert_allclose(found[s], expected, rtol=1e-12, atol=1e-18)


def test_the_comparison_has_power(rng):
    """Samples that contain the agent twice, HG(c; N, k − 1), are off by far more than the tolerance."""
    tables = random_game_tables(rng, 1, 1, 2, 2)
    policy = random_policy(rng, tables, 1, 3)
    N = (3, 3)
    rows = arrange_rows(*as_objects(tables, policy), drawn=True)
    wrong = multivariate_hypergeometric_pmf(N, 2) @ rows[0, 0].T
    right = local_means(rows, 3, [N])[0, 0, 0]
    assert abs(wrong - lumped_local_law(policy.local_action, 0, 0, N, 3)).max() > 1e-3
    assert abs(right - lumped_local_law(policy.local_action, 0, 0, N, 3)).max() <= ATOL


@numba.njit
def law_from_a_users_kernel(rows, s_g, population, k_local):
    space = execution.make_sample_space(k_local - 1, population.shape[0])
    means = np.empty(rows.shape[1:3])
    execution.lumped_local_means(rows, s_g, population, space, execution.make_sample_scratch(space), means)
    return means


def test_any_kernel_can_call_it(rng):
    tables = random_game_tables(rng, 2, 2, 3, 2)
    rows = arrange_rows(*as_objects(tables, random_policy(rng, tables, 2, 4)), drawn=True)
    N = np.array([3, 4, 2])
    np.testing.assert_array_equal(law_from_a_users_kernel(rows, 1, N, 4), local_means(rows, 4, [N])[1, 0])
