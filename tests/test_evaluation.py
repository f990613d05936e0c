"""Exact evaluation against dense matrices of labelled agents, its certificates, its refusals, and simulation."""

import time
import tracemalloc
from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kofn
from kofn.engine.backups.selection import TooLargeError
from kofn.engine.evaluation.evaluate import build_chain, certified_value, check_evaluation, evaluate
from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy, blind_policy
from kofn.engine.solve import Interrupted
from oracles import (
    counts_chain,
    deployed_value_by_labelled_chain,
    figures_by_listing_agents,
    figures_of_chain,
    labelled_chain_folded,
    random_game_tables,
    random_policy,
    start_by_listing_agents,
)
from oracles.strategies import games_with_policy

ATOL = 1e-10
TIGHT = 1e-11
MEMORY = 2**30


def as_objects(tables, policy, **changes):
    return Game(**(tables | changes)), SubsamplePolicy(**policy._asdict())


def random_case(rng, sizes, k_global, k_local, sparsity=0.0, deterministic=False, gamma=0.9, pure=False, **changes):
    """(Game, SubsamplePolicy) of sizes (n_sg, n_ag, n_sl, n_al)."""
    tables = random_game_tables(rng, *sizes, sparsity, deterministic, gamma)
    return as_objects(tables, random_policy(rng, tables, k_global, k_local, pure), **changes)


def assert_agrees(found, expected, atol=ATOL):
    """Every figure of an evaluation against those of a dense matrix, and every error that it admits to."""
    scale = 1.0 + np.abs(expected.value).max()
    np.testing.assert_allclose(found.value, expected.value, rtol=0, atol=atol * scale)
    assert np.abs(found.value - expected.value).max() <= found.half_width + 1e-14 * scale
    assert found.half_width <= found.tol / 2
    np.testing.assert_allclose(found.discounted_occupancy, expected.discounted, rtol=0, atol=atol)
    assert np.abs(found.discounted_occupancy - expected.discounted).sum() <= found.occupancy_error + 1e-14
    differs = np.ptp(expected.averages) > 2 * found.tol
    if differs:
        assert np.isnan(found.average_half_width)
    # Where the long run depends on the start it is reached by steps, and known to their residual.
    loose = max(atol, 1e5 * found.stationary_residual) if expected.n_classes > 1 or differs else atol
    assert found.stationary_residual <= 1e-8
    np.testing.assert_allclose(found.stationary_occupancy, expected.stationary, rtol=0, atol=loose)
    assert abs(found.average_reward - expected.average) <= loose * scale
    if not np.isnan(found.average_half_width):
        assert np.abs(found.average_reward - expected.averages).max() <= found.average_half_width + 1e-14 * scale


@pytest.mark.slow
@given(games_with_policy(max_k=4), st.integers(0, 2), st.booleans())
def test_agrees_with_labelled_agents(game_and_policy, more, dirichlet):
    tables, policy = game_and_policy
    n = min(4, max(policy.k_global, policy.k_local) + more)
    changes = {"rho_l": 3.0 * tables["rho_l"], "dirichlet": True} if dirichlet else {}
    game, policy = as_objects(tables, policy, **changes)
    expected = figures_by_listing_agents(game, policy, n)
    found = evaluate(game, policy, n, tol=TIGHT * 100)
    assert_agrees(found, expected)
    assert abs(found.initial_value - (start_by_listing_agents(game, n) * expected.value).sum()) <= ATOL * 100


SIZES = [
    # (n_sg, n_ag, n_sl, n_al), n, k_global, k_local
    ((3, 2, 2, 2), 4, 4, 4),
    ((2, 3, 3, 2), 4, 4, 1),
    ((2, 2, 3, 3), 4, 1, 4),
    ((1, 2, 3, 2), 3, 2, 3),
    ((2, 2, 4, 2), 4, 2, 3),
    ((3, 2, 1, 3), 4, 3, 4),
    ((1, 1, 1, 1), 1, 1, 1),
    ((2, 2, 4, 3), 3, 3, 1),
    ((2, 1, 2, 1), 1, 1, 1),
]


@pytest.mark.parametrize(("sizes", "n", "k_global", "k_local"), SIZES)
@pytest.mark.parametrize("gamma", [0.0, 0.95])
def test_sizes_at_their_ends(rng, sizes, n, k_global, k_local, gamma):
    game, policy = random_case(rng, sizes, k_global, k_local, gamma=gamma)
    assert_agrees(evaluate(game, policy, n, tol=TIGHT * 100), figures_by_listing_agents(game, policy, n))


@pytest.mark.slow
@pytest.mark.parametrize(("sparsity", "deterministic"), [(0.0, True), (0.6, False), (0.95, False)])
@pytest.mark.parametrize("k_local", [1, 3])
def test_deterministic_and_sparse_transitions(rng, sparsity, deterministic, k_local):
    for _ in range(5):
        game, policy = random_case(rng, (3, 2, 3, 2), 2, k_local, sparsity, deterministic, pure=True)
        assert_agrees(evaluate(game, policy, 3, tol=TIGHT * 100), figures_by_listing_agents(game, policy, 3))


def test_the_chain_of_counts_is_the_chain_of_labelled_agents(rng):
    """The oracles agree with each other: labelled outcomes one by one, folded afterwards."""
    for sizes, n in (((2, 2, 2, 2), 4), ((2, 2, 3, 2), 3)):
        game, policy = random_case(rng, sizes, 2, n)
        P, reward = counts_chain(game, policy, n)
        folded, folded_reward = labelled_chain_folded(game, policy, n)
        np.testing.assert_allclose(P, folded, rtol=0, atol=1e-13)
        np.testing.assert_allclose(reward, folded_reward, rtol=0, atol=1e-13)
        figures = figures_of_chain(P, reward, start_by_listing_agents(game, n), game.gamma)
        labelled = deployed_value_by_labelled_chain(game, policy, n)
        np.testing.assert_allclose(figures.value, labelled, rtol=0, atol=1e-11)


# Long runs that depend on the start, or come round.


def moving_game(P_l, r_l, gamma=0.9, P_g=None, **laws):
    """A game whose agents have no choice: P_l float64[n_sl, n_sl], r_l float64[n_sl]."""
    n_sl = len(P_l)
    P_g = np.ones((1, 1)) if P_g is None else np.asarray(P_g)
    n_sg = len(P_g)
    return Game(
        P_g=P_g[:, None, :],
        P_l=np.broadcast_to(np.asarray(P_l, dtype=float)[None, :, None, :], (n_sg, n_sl, 1, n_sl)),
        r_g=np.arange(n_sg, dtype=float)[:, None],
        r_l=np.broadcast_to(np.asarray(r_l, dtype=float)[None, :, None], (n_sg, n_sl, 1)),
        gamma=gamma,
        **laws,
    )


CYCLE = np.roll(np.eye(3), 1, axis=1)
LEAKY = np.array([[1.0, 0.0, 0.0], [0.3, 0.5, 0.2], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("game", "n_classes"),
    [
        (moving_game(CYCLE, [1.0, 0.0, -2.0], rho_l=[0.6, 0.3, 0.1]), 2),
        (moving_game(np.eye(2), [1.0, 0.0], P_g=[[0.0, 1.0], [1.0, 0.0]], rho_l=[0.9, 0.1]), 4),
        (moving_game(np.eye(2), [1.0, 1.0], rho_l=[0.9, 0.1]), 4),
        (moving_game(LEAKY, [2.0, 5.0, -1.0], rho_l=[0.2, 0.5, 0.3]), 4),
        (moving_game(LEAKY, [2.0, 2.0, 2.0], rho_l=[0.2, 0.5, 0.3]), 4),
        (moving_game(LEAKY, [2.0, 5.0, -1.0], rho_l=[0.4, 1.0, 0.7], dirichlet=True), 4),
        (moving_game(LEAKY, [0.0, 0.0, 0.0], P_g=np.eye(2), rho_g=[0.25, 0.75]), 8),
    ],
)
def test_long_run_that_depends_on_the_start(game, n_classes):
    n = 3
    policy = blind_policy(game, k_global=2)
    expected = figures_by_listing_agents(game, policy, n)
    assert expected.n_classes >= n_classes
    found = evaluate(game, policy, n, tol=TIGHT * 100)
    assert_agrees(found, expected)
    np.testing.assert_allclose(found.stationary_occupancy, expected.stationary, rtol=0, atol=1e-11)
    assert abs(found.average_reward - expected.average) <= 1e-11
    if np.ptp(expected.averages) == 0.0:
        assert found.average_half_width <= found.tol


@pytest.mark.parametrize("k_local", [1, 2])
def test_periodic_chain_with_one_class(k_local):
    """The global state goes round and nothing else recurs: lazy or not, the average is over the whole period."""
    game = moving_game([[0.5, 0.5], [0.1, 0.9]], [1.0, -1.0], P_g=CYCLE, rho_g=[1.0, 0.0, 0.0])
    policy = blind_policy(game, k_local=k_local)
    expected = figures_by_listing_agents(game, policy, 3)
    found = evaluate(game, policy, 3, tol=TIGHT * 100)
    assert expected.n_classes == 1
    assert_agrees(found, expected)
    assert found.average_half_width <= found.tol / 2
    np.testing.assert_allclose(found.stationary_occupancy.sum(axis=1), 1 / 3, rtol=0, atol=1e-12)


# Certificates.


@pytest.mark.slow
@given(games_with_policy(max_k=3, gammas=(0.5, 0.9, 0.99)), st.sampled_from([1.0, 0.1, 1e-3]))
def test_half_width_covers_the_error_at_any_tolerance(game_and_policy, tol):
    game, policy = as_objects(*game_and_policy)
    n = policy.k
    expected = figures_by_listing_agents(game, policy, n)
    found = evaluate(game, policy, n, tol=tol, occupancies=False)
    assert np.abs(found.value - expected.value).max() <= found.half_width + 1e-12
    assert found.half_width <= tol / 2
    if not np.isnan(found.average_half_width):
        assert np.abs(found.average_reward - expected.averages).max() <= found.average_half_width + 1e-12


def test_half_width_is_reached():
    """Two absorbing states and a start that is off by ±e: the certified interval has no room to spare."""
    game = moving_game(np.eye(2), [1.0, 0.0], gamma=0.75)
    chain = build_chain(game, blind_policy(game), 1, tol=1.0, memory_bytes=MEMORY)
    # Populations are (0, 1), (1, 0).
    exact = np.array([[0.0, 4.0]])
    value, half_width = certified_value(chain, 1.0, start=exact + np.array([[-0.25, 0.25]]))
    error = np.abs(value - exact).max()
    assert error == pytest.approx(0.75 * 0.25, rel=1e-12)
    assert error <= half_width <= error * (1 + 1e-9)


@pytest.mark.parametrize("reward", [1e-9, 1.0, 12345.678, 1e12])
@pytest.mark.parametrize("gamma", [0.5, 0.999])
def test_half_width_covers_rounding(reward, gamma):
    game = moving_game([[0.7, 0.3], [0.2, 0.8]], [reward, reward], gamma=gamma)
    found = evaluate(game, blind_policy(game, k_local=2), 5)
    exact = Fraction(reward) / (1 - Fraction(gamma))
    assert max(abs(Fraction(v) - exact) for v in found.value.ravel().tolist()) <= Fraction(found.half_width)


@pytest.mark.parametrize("tol", [1e-17, 1e-300])
def test_tolerance_below_rounding(rng, tol):
    game, policy = random_case(rng, (2, 2, 3, 2), 2, 2)
    with pytest.raises(ValueError, match=rf"^tol: found {tol:.3g}, expected more than [^\n]+$"):
        evaluate(game, policy, 3, tol=tol)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (2, {}, r"^n: found 2 agents, expected at least 3[^\n]*$"),
        (0, {}, r"^n: found 0[^\n]*$"),
        (3, {"tol": 0.0}, r"^tol: found 0.0[^\n]*$"),
        (3, {"tol": float("nan")}, r"^tol: found nan[^\n]*$"),
    ],
)
def test_bad_input(rng, n, options, message):
    game, policy = random_case(rng, (2, 2, 2, 2), 3, 2)
    with pytest.raises(ValueError, match=message):
        evaluate(game, policy, n, **options)


def test_results_are_read_only_and_progress_is_told(rng):
    game, policy = random_case(rng, (2, 2, 2, 2), 2, 2)
    told = []
    found = evaluate(game, policy, 6, progress=lambda what, steps: told.append((what, steps)))
    assert {what for what, _ in told} >= {"value", "discounted occupancy", "stationary occupancy"}
    assert [steps for _, steps in told] == list(range(1, found.n_steps + 1))
    for array in (found.value, found.discounted_occupancy, found.stationary_occupancy):
        assert not array.flags.writeable
    with pytest.raises(Interrupted, match=r"^stopped after 3 steps[^\n]*$"):
        evaluate(game, policy, 6, should_stop=iter([False] * 3 + [True]).__next__)


# Sizes.


def too_large_cases():
    robots = kofn.load_game("robots")
    return [(robots, 2, 1, 1000), (robots, 2, 2, 1000), (robots, 3, 1, 10**9), (robots, 30, 30, 300)]


@pytest.mark.parametrize("case", range(4))
def test_too_large_is_said_before_anything_is_allocated(case):
    game, k_global, k_local, n = too_large_cases()[case]
    policy = blind_policy(game, k_global=k_global, k_local=k_local)
    for attempt in (
        lambda: check_evaluation(game, k_global, k_local, n, 10**9),
        lambda: evaluate(game, policy, n, memory_bytes=10**9),
    ):
        tracemalloc.start()
        began = time.perf_counter()
        try:
            with pytest.raises(
                TooLargeError, match=rf"^n: {n} agents in 5 states have \S+ populations[^\n]+$"
            ) as raised:
                attempt()
            assert time.perf_counter() - began < 1.0
            assert tracemalloc.get_traced_memory()[1] < 10**6
        finally:
            tracemalloc.stop()
        assert "lower n" in str(raised.value)


def test_a_plan_names_what_the_evaluation_does(rng):
    game, policy = random_case(rng, (2, 2, 3, 2), 2, 2)
    plan = check_evaluation(game, 2, 2, 12)
    assert (plan.route, plan.n_populations) == ("stored laws", 91)
    assert evaluate(game, policy, 12).route == plan.route
    tighter = check_evaluation(game, 2, 2, 12, plan.bytes_needed - 1)
    assert tighter.route == "laws built anew"
    assert evaluate(game, policy, 12, memory_bytes=plan.bytes_needed - 1).route == tighter.route
    with pytest.raises(TooLargeError):
        check_evaluation(game, 2, 2, 12, tighter.bytes_needed - 1)
    assert check_evaluation(game, 2, 1, 12).route == "symmetric power"


@pytest.mark.parametrize("k_local", [1, 3])
@pytest.mark.parametrize("memory", [None, "least"])
def test_same_bits_on_any_number_of_threads(rng, k_local, memory, all_threads):
    game, policy = random_case(rng, (3, 2, 3, 2), 3, k_local)
    n = 20
    limit = None
    if memory == "least":
        stored = check_evaluation(game, 3, k_local, n)
        limit = stored.bytes_needed - (k_local > 1)
    found = []
    for threads in (numba.get_num_threads(), 1):
        numba.set_num_threads(threads)
        found.append(evaluate(game, policy, n, memory_bytes=limit))
    for name in ("value", "discounted_occupancy", "stationary_occupancy"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))
    for name in ("half_width", "average_reward", "average_half_width", "n_steps"):
        assert getattr(found[0], name) == getattr(found[1], name)
