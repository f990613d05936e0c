"""Exact values, best responses and refinement in games with a field of actions: against labelled agents, and simulations."""

import json

import numpy as np
import pytest
from command_runs import succeed
from coupled_games import AXES
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_coupled import best_response_value, deployed_chain, deployed_value, laws_of_policy, on_counts, player_value
from scipy import stats
from test_coupled_evaluation import axes_sets, folded_sums, random_case

from kofn.engine.backups.selection import TooLargeError
from kofn.engine.deployment import deploy
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.evaluation.evaluate import build_chain, check_evaluation, evaluate, initial_measure
from kofn.engine.evaluation.refine import refine
from kofn.engine.game_files import load_game
from kofn.engine.policy import blind_policy
from kofn.engine.solve import solve

MEMORY = 2**30


def start_of(game, n):
    """The law of (s_g, s_1, ..., s_n) at the start."""
    start = game.rho_g
    for _ in range(n):
        start = np.multiply.outer(start, game.rho_l)
    return start


@given(st.integers(0, 2**32 - 1), axes_sets, st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.0, 0.9]))
@settings(max_examples=12)
def test_the_value_of_a_policy_is_that_of_labelled_agents(seed, axes, k_global, k_local, gamma):
    rng = np.random.default_rng(seed)
    game, oracle, policy, laws = random_case(rng, k_global, k_local, axes, of="actions", gamma=gamma)
    found = evaluate(game, policy, 3, occupancies=False, average=False)
    expected = on_counts(oracle, deployed_value(oracle, 3, *laws))
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=found.half_width + 1e-12)
    assert found.route == "joint actions"


@pytest.mark.parametrize(("n", "n_sl", "n_al", "k_local"), [(2, 3, 3, 2), (1, 3, 2, 1), (3, 2, 3, 1)])
def test_occupancies_and_the_average_are_those_of_the_labelled_chain(n, n_sl, n_al, k_local, rng):
    game, oracle, policy, laws = random_case(rng, 1, k_local, of="actions", n_sl=n_sl, n_al=n_al)
    found = evaluate(game, policy, n)
    P, reward = deployed_chain(oracle, n, *laws)
    start = start_of(game, n).ravel()
    occupancy = (1 - game.gamma) * np.linalg.solve(np.eye(len(P)) - game.gamma * P.T, start)
    np.testing.assert_allclose(found.discounted_occupancy, folded_sums(oracle, occupancy, n), rtol=0, atol=1e-10)
    stationary = start @ np.linalg.matrix_power(P, 2**20)
    np.testing.assert_allclose(found.stationary_occupancy, folded_sums(oracle, stationary, n), rtol=0, atol=1e-8)
    assert abs(found.average_reward - stationary @ reward) <= found.average_half_width + 1e-8


@pytest.mark.parametrize("without", ["", "P_g", "P_l"])
def test_a_step_of_measures_is_the_adjoint_of_a_step_of_values(without, rng):
    axes = {name: name != without for name in AXES}
    game, _, policy, _ = random_case(rng, 3, 2, axes, of="actions", n_sg=3, n_sl=3)
    chain = build_chain(game, policy, 5, tol=None, memory_bytes=MEMORY)
    value, measure = rng.normal(size=(2, game.n_sg, chain.n_c))
    left, right = (measure * chain.step_value(value)).sum(), (chain.step_measure(measure) * value).sum()
    assert abs(left - right) <= 1e-12 * np.abs(measure).sum()
    assert np.abs(chain.step_value(np.ones_like(value)) - 1.0).max() <= chain.relative_error()


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_with_every_agent_seen_the_optimal_shared_policy_is_worth_its_optimum(gamma, rng):
    game, _, _, _ = random_case(rng, 1, 1, of="actions", n_sl=3, gamma=gamma)
    solution = solve(game, 4, "shared", tol=1e-9)
    found = evaluate(game, solution.policy, 4, occupancies=False, average=False)
    np.testing.assert_allclose(found.value, solution.value, rtol=0, atol=found.half_width + 1e-7)


def test_rare_actions_of_many_agents_have_exact_probabilities(rng):
    # 60 agents of one state: the number of those who take action 1 is binomial, and the reward depends on it alone.
    game, _, policy, _ = random_case(rng, 1, 1, of="actions", n_sl=1, n_sg=1, gamma=0.0)
    p = policy.local_action[0, 0, 0, 1]
    counts = np.stack([60 - np.arange(61), np.arange(61)], axis=1)
    f = game.field.value_of(counts)
    paid = game.r_g[0, f, policy.global_action[0, 0]] + (counts * game.r_l[0, f, 0]).sum(axis=1) / 60
    expected = stats.binom.pmf(np.arange(61), 60, p) @ paid
    assert abs(evaluate(game, policy, 60).initial_value - expected) <= 1e-11


def test_a_simulation_agrees_with_the_exact_value(rng):
    # Level 0.1 %; a value that is off by four standard errors, as by rows of another field value, is noticed with a power of 76 %.
    game, _, policy, _ = random_case(rng, 2, 2, of="actions", gamma=0.8)
    exact = evaluate(game, policy, 3, occupancies=False, average=False)
    found = deploy(game, policy, 3, steps=80, runs=2000, seed=5)
    deviation = found.returns.std(ddof=1)
    assert exact.half_width + found.truncation_bound < 0.05 * deviation / np.sqrt(2000)
    assert stats.ttest_1samp(found.returns, exact.initial_value).pvalue > 1e-3


def test_refinement_raises_the_exact_value(rng):
    game, oracle, policy, _ = random_case(rng, 1, 2, of="actions")
    found = refine(game, policy, 3)
    expected = on_counts(oracle, deployed_value(oracle, 3, *laws_of_policy(oracle, found.policy)))
    assert abs((initial_measure(game, 3) * expected).sum() - found.value_after) <= found.half_width + 1e-10
    assert found.value_after > found.value_before
    assert found.is_local_optimum


@pytest.mark.parametrize("reward", ["selfish", "team"])
@given(st.integers(0, 2**32 - 1), axes_sets, st.integers(1, 2), st.sampled_from([1, 2, 3]))
@settings(max_examples=5)
def test_exploitability_is_that_of_labelled_agents(reward, seed, axes, k_local, n):
    rng = np.random.default_rng(seed)
    k_local = min(k_local, n)
    game, oracle, policy, laws = random_case(rng, 1, k_local, axes, of="actions", gamma=0.7)
    found = exploitability(game, policy, n, reward=reward, tol=1e-9)
    kind = "team" if reward == "team" else "local"
    start = start_of(game, n)
    for player, value, best in (
        ("global", found.global_value, found.global_best),
        (0, found.local_value, found.local_best),
    ):
        own = (start * player_value(oracle, n, player, *laws, reward=kind)).sum()
        most = (start * best_response_value(oracle, n, player, *laws, reward=kind)).sum()
        assert abs(value - own) <= found.half_width + 1e-9
        assert abs(best - most) <= found.half_width + 1e-9


def test_commands_serve_such_games(tmp_path):
    solved = tmp_path / "solved.h5"
    succeed("solve", "gaussian-squeeze", "-k", 3, "-o", solved, "-q")
    assert "local agents in 0" in succeed("inspect", solved, "--state", "0:3")
    assert json.loads(succeed("evaluate", solved, "-n", 4, "--json", "-q"))["route"] == "joint actions"
    assert json.loads(succeed("exploitability", solved, "-n", 4, "--json", "-q"))["team"]["local_gain"] > 0.0


def test_what_does_not_fit_is_refused_with_its_sizes():
    game = load_game("gaussian-squeeze")
    policy = blind_policy(game)
    with pytest.raises(
        TooLargeError, match=r"^n: 100 agents in 1 states have 1 populations, .* joint actions, .*lower n"
    ):
        evaluate(game, policy, 100)
    with pytest.raises(
        TooLargeError, match=r"^n: 5 agents .* chain has 1 states and .*, expected at most .* kB; lower n"
    ):
        evaluate(game, policy, 5, memory_bytes=10_000)
    with pytest.raises(TooLargeError, match=r"^n: the 99 agents other than the tagged one, .*lower n"):
        exploitability(game, policy, 100)
    plan = check_evaluation(game, 1, 1, 5)
    assert plan.route == "joint actions"
    assert 10_000 < plan.bytes_needed < 10**7
