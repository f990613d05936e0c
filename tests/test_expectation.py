"""The expectation kernels on their own: the symmetric power and its moves, the recursion, rounding by largest remainders."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kofn.engine.action_classes import list_counts
from kofn.engine.backups.recursion import level_tables
from kofn.engine.backups.symmetric_power import Factorisation, row_tables
from kofn.kernels.expectation import symmetric_power as sp
from kofn.kernels.expectation.recursion import expect_by_recursion
from kofn.kernels.expectation.rounded import round_largest_remainder
from kofn.kernels.lattice import fill_relabelled, lattice_size, lattice_sizes, rank_counts
from oracles import expected_value_by_listing_agents, largest_remainder_counts

ATOL = 1e-12


def symmetric_power_of(matrix, values, k):
    """E[V(c') | c] by the moves, with relabelling where the factorisation asks for it; also ρ."""
    n = matrix.shape[0]
    factors = Factorisation(matrix[None, None], k)
    sizes = lattice_sizes(k, n)
    relabelled = np.empty((len(factors.order_list), len(values)), np.int32)
    for order, out in zip(factors.order_list, relabelled, strict=True):
        fill_relabelled(k, np.array(order), sizes, out)
    work, result = np.empty_like(values), np.full_like(values, np.nan)
    rows, columns = factors.orders[0, 0]
    work[relabelled[columns]] = values
    sp.apply_moves(work, result, factors.probability[0, 0], relabelled[0], np.empty((k + 1, k + 1)), *row_tables(k, n))
    return result[relabelled[rows]], factors


def stochastic(rng, n, kind):
    if kind == "deterministic":
        return np.eye(n)[rng.integers(0, n, n)]
    if kind == "dominant":
        return 0.7 * np.eye(n) + 0.3 * rng.dirichlet(np.ones(n), n)
    if kind == "sparse":
        matrix = rng.random((n, n)) * (rng.random((n, n)) < 0.4) + np.eye(n)[rng.integers(0, n, n)]
        return matrix / matrix.sum(axis=1, keepdims=True)
    return rng.dirichlet(np.ones(n), n)


@pytest.mark.parametrize("kind", ["dense", "dominant", "deterministic", "sparse"])
@given(n=st.integers(1, 4), k=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_symmetric_power_equals_enumeration(kind, n, k, seed):
    rng = np.random.default_rng(seed)
    matrix = stochastic(rng, n, kind)
    counts = list_counts(k, n)
    values = rng.normal(size=(len(counts), 2))
    found, factors = symmetric_power_of(matrix, values, k)
    if not np.isfinite(factors.rho):
        return  # refused: the caller takes another method
    tolerance = max(ATOL, factors.relative_error(k) * np.abs(values).max())
    for c in range(0, len(counts), 1 + len(counts) // 6):
        agents = tuple(s for s in range(n) for _ in range(counts[c, s]))
        for column in range(2):
            value_at = {tuple(int(x) for x in d): values[i, column] for i, d in enumerate(counts)}
            P_l = matrix[None, :, None, :]
            expected = expected_value_by_listing_agents(value_at, P_l, 0, agents, (0,) * k)
            assert abs(found[c, column] - expected) <= tolerance


@given(n=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_factors_multiply_to_the_matrix_and_have_row_sum_one(n, seed):
    matrix = stochastic(np.random.default_rng(seed), n, "dense")
    lower, upper = np.full((n, n), np.nan), np.full((n, n), np.nan)
    order = np.arange(n)
    if sp.factorise(matrix, order, order, lower, upper):
        scale = np.abs(lower).max() * np.abs(upper).max()
        np.testing.assert_allclose(lower @ upper, matrix, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(upper.sum(axis=1), 1, rtol=0, atol=1e-9)
        np.testing.assert_allclose(lower.sum(axis=1), 1, rtol=0, atol=1e-9 * scale)
        np.testing.assert_array_equal(lower, np.tril(lower))
        np.testing.assert_array_equal(upper, np.triu(upper))


def test_two_states_always_have_stable_moves():
    rng = np.random.default_rng(5)
    orders = np.array(list(itertools.permutations(range(2))))
    chosen = np.empty(2, np.int64), np.empty(2, np.int64)
    for _ in range(500):
        matrix = rng.dirichlet([0.3, 0.3], 2)
        assert sp.best_orders(matrix, orders, 1.0, *chosen) == 1.0


def test_stability_bound_holds_and_is_not_vacuous():
    """Against the recursion on a matrix whose moves amplify: the error stays below the bound, and grows with k."""
    rng = np.random.default_rng(3)
    matrix = rng.dirichlet(np.ones(4), 4)
    errors = []
    for k in (4, 10, 16):
        values = rng.normal(size=(lattice_size(k, 4), 1))
        found, factors = symmetric_power_of(matrix, values, k)
        successors, starts = level_tables(k, 4)
        expected = np.empty(len(values))
        expect_by_recursion(values[:, 0].copy(), matrix, k, successors, starts, np.empty((5, starts[-1])), expected)
        assert factors.rho > 1
        errors.append(np.abs(found[:, 0] - expected).max())
        assert errors[-1] <= factors.relative_error(k) * np.abs(values).max()
    assert errors[-1] > 1e-16


@given(n_sl=st.integers(1, 3), categories=st.integers(1, 5), k=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
def test_recursion_equals_enumeration(n_sl, categories, k, seed):
    rng = np.random.default_rng(seed)
    laws = rng.dirichlet(np.ones(n_sl), categories)
    values = rng.normal(size=lattice_size(k, n_sl))
    successors, starts = level_tables(k, n_sl)
    found = np.full(lattice_size(k, categories), np.nan)
    expect_by_recursion(values, laws, k, successors, starts, np.empty((categories + 1, starts[-1])), found)
    sizes = lattice_sizes(k, n_sl)
    for z, expectation in zip(list_counts(k, categories), found, strict=True):
        rows = [laws[category] for category in range(categories) for _ in range(z[category])]
        total = 0.0
        for outcome in itertools.product(range(n_sl), repeat=k):
            counts = np.bincount(np.array(outcome, dtype=int), minlength=n_sl)
            total += (
                np.prod([row[s] for row, s in zip(rows, outcome, strict=True)]) * values[rank_counts(counts, sizes)]
            )
        assert abs(total - expectation) < ATOL


@given(weights=st.lists(st.floats(0, 1), min_size=1, max_size=6), k=st.integers(0, 60))
def test_largest_remainders(weights, k):
    if sum(weights) == 0:
        weights = [1.0] * len(weights)
    mean = np.array(weights) / sum(weights) * k
    counts = np.full(len(mean), -7)
    round_largest_remainder(mean.copy(), counts)
    assert counts.sum() == k
    assert (np.abs(counts - mean) < 1 + 1e-9).all()
    assert tuple(counts) == tuple(largest_remainder_counts(mean))
