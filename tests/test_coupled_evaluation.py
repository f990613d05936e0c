"""Exact evaluation, refinement and exploitability in games with a field of states, against labelled agents."""

import numpy as np
import pytest
from coupled_games import AXES, at_field, random_coupled_game
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_coupled import best_response_value, deployed_chain, deployed_value, laws_of_policy, on_counts, player_value

from kofn.engine.coupling import Field
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.evaluation.evaluate import build_chain, evaluate, initial_measure
from kofn.engine.evaluation.refine import refine
from kofn.engine.evaluation.refine_sampled import refine_sampled
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.policy import SubsamplePolicy, blind_policy
from kofn.engine.solve import solve
from oracles import random_game_tables, random_policy

MEMORY = 2**30


def random_case(rng, k_global, k_local, axes=AXES, **sizes):
    """(Game, its oracle, SubsamplePolicy, the laws of that policy as the oracle takes them)."""
    game, oracle = random_coupled_game(rng, axes=axes, **sizes)
    tables = random_game_tables(rng, game.n_sg, game.n_ag, game.n_sl, game.n_al)
    policy = random_policy(rng, tables, k_global, k_local)
    return game, oracle, SubsamplePolicy(**policy._asdict()), laws_of_policy(oracle, policy)


axes_sets = st.sets(st.sampled_from(list(AXES)), min_size=1).map(lambda names: {name: name in names for name in AXES})


@given(st.integers(0, 2**32 - 1), axes_sets, st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.0, 0.9]))
@settings(max_examples=20)
def test_the_value_of_a_policy_is_that_of_labelled_agents(seed, axes, k_global, k_local, gamma):
    rng = np.random.default_rng(seed)
    game, oracle, policy, laws = random_case(rng, k_global, k_local, axes, gamma=gamma)
    found = evaluate(game, policy, 3)
    expected = on_counts(oracle, deployed_value(oracle, 3, *laws))
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=found.half_width + 1e-12)


@pytest.mark.parametrize("k_local", [1, 2])
@pytest.mark.parametrize("n_sg", [1, 3])
def test_occupancies_and_the_average_are_those_of_the_labelled_chain(k_local, n_sg, rng):
    game, oracle, policy, laws = random_case(rng, 2, k_local, n_sg=n_sg, n_sl=3)
    n = 2
    found = evaluate(game, policy, n)
    P, reward = deployed_chain(oracle, n, *laws)
    start = game.rho_g
    for _ in range(n):
        start = np.multiply.outer(start, game.rho_l)
    start = start.ravel()
    occupancy = (1 - game.gamma) * np.linalg.solve(np.eye(len(P)) - game.gamma * P.T, start)
    # Sums over the labellings of one count vector, not means.
    expected = folded_sums(oracle, occupancy, n)
    np.testing.assert_allclose(found.discounted_occupancy, expected, rtol=0, atol=1e-10)
    stationary = start @ np.linalg.matrix_power(P, 2**20)
    np.testing.assert_allclose(found.stationary_occupancy, folded_sums(oracle, stationary, n), rtol=0, atol=1e-8)
    assert abs(found.average_reward - stationary @ reward) <= found.average_half_width + 1e-8


def folded_sums(oracle, measure, n):
    n_sg, _, n_sl, _ = oracle.sizes
    labelled = measure.reshape(n_sg, *[n_sl] * n)
    counts = {}
    for index in np.ndindex(*[n_sl] * n):
        key = tuple(np.bincount(index, minlength=n_sl))
        counts[key] = counts.get(key, 0.0) + labelled[(slice(None), *index)]
    return np.stack([counts[key] for key in sorted(counts)], axis=1)


def test_a_step_of_measures_is_the_adjoint_of_a_step_of_values(rng):
    for axes in (AXES, AXES | {"P_g": False}, AXES | {"P_l": False}):
        game, _, policy, _ = random_case(rng, 3, 2, axes, n_sg=3, n_sl=3)
        chain = build_chain(game, policy, 5, tol=None, memory_bytes=MEMORY)
        value, measure = rng.normal(size=(2, game.n_sg, chain.n_c))
        left, right = (measure * chain.step_value(value)).sum(), (chain.step_measure(measure) * value).sum()
        assert abs(left - right) <= 1e-12 * np.abs(measure).sum()
        np.testing.assert_allclose(chain.step_value(np.ones_like(value)), 1.0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("of", ["states", "actions"])
def test_a_field_that_no_table_uses_changes_no_bit(of, rng):
    tables = random_game_tables(rng, 2, 2, 3, 3)
    policy = SubsamplePolicy(**random_policy(rng, tables, 2, 2)._asdict())
    field = Field(of=of, weights=[0.0, 1.0, 2.0], edges=[0.5, 1.5])
    found, expected = (evaluate(Game(**tables, field=x), policy, 4) for x in (field, None))
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.stationary_occupancy, expected.stationary_occupancy)
    found, expected = (exploitability(Game(**tables, field=x), policy, 4) for x in (field, None))
    assert (found.global_gain, found.local_gain) == (expected.global_gain, expected.local_gain)


def test_a_field_along_which_nothing_varies_changes_nothing(rng):
    game, _ = random_coupled_game(rng, n_sl=3, constant=True)
    alone = at_field(game, 0)
    policy = SubsamplePolicy(**random_policy(rng, alone, 2, 2)._asdict())
    for call in (lambda g: evaluate(g, policy, 4).value, lambda g: exploitability(g, policy, 4).local_gain):
        np.testing.assert_allclose(call(game), call(alone), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_with_every_agent_seen_the_optimal_policy_is_worth_the_optimum(gamma, rng):
    game, _ = random_coupled_game(rng, n_sl=3, gamma=gamma)
    solution = solve(game, 4, "shared", tol=1e-9)
    found = evaluate(game, solution.policy, 4)
    np.testing.assert_allclose(found.value, solution.value, rtol=0, atol=found.half_width + 1e-7)


def test_refinement_raises_the_exact_value(rng):
    game, oracle, policy, _ = random_case(rng, 1, 2, n_sl=2)
    found = refine(game, policy, 3)
    expected = deployed_value(oracle, 3, *laws_of_policy(oracle, found.policy))
    start = initial_measure(game, 3)
    assert abs((start * on_counts(oracle, expected)).sum() - found.value_after) <= found.half_width + 1e-10
    assert found.value_after >= found.value_before
    assert found.n_changed > 0
    # No change at a single observation helps.
    assert found.is_local_optimum
    for place in np.ndindex(*found.policy.global_action.shape):
        action = found.policy.global_action.copy()
        action[place] = 1 - action[place]
        other = SubsamplePolicy(k_global=1, k_local=2, global_action=action, local_action=found.policy.local_action)
        assert evaluate(game, other, 3).initial_value <= found.value_after + 1e-7


def test_sampled_refinement_gains_what_exact_evaluation_says(rng):
    # A wrong row of P_g or r_g would propose changes that fail their tests. Level: the interval misses in 5 % of all seeds.
    game, _, policy, _ = random_case(rng, 2, 1, AXES | {"P_l": False}, n_sl=3)
    found = refine_sampled(game, policy, 20, runs=600, seed=1)
    exact = evaluate(game, found.policy, 20).initial_value - evaluate(game, policy, 20).initial_value
    assert found.rounds > 0
    assert abs(found.gain - exact) <= 2 * found.half_width


@pytest.mark.parametrize("reward", ["selfish", "team"])
@given(st.integers(0, 2**32 - 1), axes_sets, st.integers(1, 2), st.integers(1, 3))
@settings(max_examples=8)
def test_exploitability_is_that_of_labelled_agents(reward, seed, axes, k_global, k_local):
    rng = np.random.default_rng(seed)
    game, oracle, policy, laws = random_case(rng, k_global, k_local, axes, gamma=0.7)
    n = 3
    found = exploitability(game, policy, n, reward=reward, tol=1e-9)
    kind = "team" if reward == "team" else "local"
    start = game.rho_g
    for _ in range(n):
        start = np.multiply.outer(start, game.rho_l)
    for player, value, best in (
        ("global", found.global_value, found.global_best),
        (0, found.local_value, found.local_best),
    ):
        own = (start * player_value(oracle, n, player, *laws, reward=kind)).sum()
        most = (start * best_response_value(oracle, n, player, *laws, reward=kind)).sum()
        assert abs(value - own) <= found.half_width + 1e-9
        assert abs(best - most) <= found.half_width + 1e-9


@pytest.mark.parametrize(
    ("name", "calls"),
    [("gaussian-squeeze", [refine_sampled]), ("ising", [evaluate, exploitability, refine, refine_sampled])],
)
def test_other_couplings_are_refused(name, calls):
    game = load_game(name)
    policy = blind_policy(game)
    for call in calls:
        with pytest.raises(ValueError, match=r"^game: found a .*expected .*; "):
            call(game, policy, 5)
