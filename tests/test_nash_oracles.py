"""The oracles of equilibria against closed forms and each other."""

import itertools
from types import SimpleNamespace

import numpy as np
import oracles_nash as nash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nash_games import random_local_policy, steering_game, steering_pair

from oracles import (
    count_vectors_listed,
    deployed_value_by_labelled_chain,
    fold_to_counts,
    random_game_tables,
    random_policy,
)
from oracles.strategies import game_tables, games_with_policy, seeds

ATOL = 1e-10
CLOSE = {"rtol": 0.0, "atol": ATOL}
TIGHT = {"rtol": 0.0, "atol": 1e-12}
FEW = settings(max_examples=10)
REWARDS = ("selfish", "team")
CLOSURES = ("uniform", "joint", "tagged")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_lone_deviator_steers_the_global_state_as_far_as_it_is_seen(n):
    tables, pair, gamma = steering_game(), steering_pair(), 0.9
    found = nash.gains(tables, pair, n, "selfish")
    assert found.local_value == pytest.approx(0.0, abs=1e-12)
    assert found.local_best == pytest.approx(gamma**2 / (1 - gamma) / n, abs=1e-10)
    assert found.global_value == found.global_best == 0.0
    team = nash.gains(tables, pair, n, "team")
    assert team.local_best == pytest.approx(gamma**2 / (1 - gamma) / n, abs=1e-10)
    assert team.global_best == pytest.approx(gamma / (1 - gamma), abs=1e-10)
    assert team.nash_conv_all_players(n) == pytest.approx(team.global_best + gamma**2 / (1 - gamma), abs=1e-10)


@FEW
@given(games_with_policy(max_k=2, max_sg=2, max_sl=2, gammas=(0.0,)), st.integers(2, 3))
def test_without_a_future_the_best_response_is_the_highest_payment(tables_and_pair, n):
    tables, pair = tables_and_pair
    for reward, player in itertools.product(REWARDS, ("global", "tagged")):
        process = nash.process_of(player, tables, pair, n, reward)
        best = nash.best_response(process).value
        for (s_g, mine, *_), highest, own in zip(
            nash.labelled_states(tables, n), best, nash.value_of_law(process, process.own_law), strict=True
        ):
            paid = tables["r_g"][s_g] if player == "global" else tables["r_l"][s_g, mine]
            share = 1.0 / n if (player, reward) == ("tagged", "team") else 1.0
            if reward == "selfish":
                assert highest == pytest.approx(paid.max(), abs=1e-12)
            assert -1e-12 <= highest - own <= share * np.ptp(paid) + 1e-12


@FEW
@given(games_with_policy(max_sg=2, max_sl=2, max_al=2))
def test_a_team_of_either_kind_is_worth_the_deployed_value_and_best_responses_are_no_worse(tables_and_pair):
    tables, pair = tables_and_pair
    n, (n_sg, n_sl, _) = 3, tables["r_l"].shape
    deployed = deployed_value_by_labelled_chain(tables, pair, n)
    states = nash.labelled_states(tables, n)
    for of_player in nash.pair_value(tables, pair, n, "team"):
        np.testing.assert_allclose(fold_to_counts(of_player, states, n_sg, n_sl), deployed, **CLOSE)
    for reward, player in itertools.product(REWARDS, ("global", "tagged")):
        process = nash.process_of(player, tables, pair, n, reward)
        np.testing.assert_allclose(process.P.sum(axis=2), 1.0, **TIGHT)
        best = nash.best_response(process)
        assert (best.value >= nash.value_of_law(process, process.own_law) - ATOL).all()
        np.testing.assert_allclose(nash.value_of_deviation(process, best.action), best.value, **CLOSE)
        nash.by_sight(process, best.value)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("player", ["global", "tagged"])
@pytest.mark.parametrize(("sizes", "n"), [((2, 2, 2, 2), 3), ((2, 3, 2, 3), 1), ((1, 3, 2, 2), 3)])
def test_listing_all_deviations_and_policy_iteration_agree(rng, player, reward, sizes, n):
    tables = random_game_tables(rng, *sizes)
    pair = random_policy(rng, tables, n, n)
    process = nash.process_of(player, tables, pair, n, reward)
    assert nash.n_deviations(process) <= 5 * nash.MOST_LISTED
    listed, iterated = nash.best_by_listing(process), nash.best_by_iteration(process)
    np.testing.assert_allclose(listed.value, iterated.value, **CLOSE)
    assert listed.action == iterated.action


def test_one_step_of_the_tagged_process_agrees_with_a_walk_over_samples_and_actions(rng):
    tables, n, gamma = random_game_tables(rng, 2, 2, 2, 2), 3, 0.9
    pair = random_policy(rng, tables, 2, 2)
    states = nash.labelled_states(tables, n)
    value = rng.normal(size=len(states))
    process = nash.process_of_tagged(tables, pair, n, "team")
    ranks = {c: i for i, c in enumerate(count_vectors_listed(2, 2))}

    def rank_of(*members):
        return ranks[members.count(0), members.count(1)]

    for i, (s_g, s_1, s_2, s_3) in enumerate(states[::3]):
        for a_1 in range(2):
            q = 0.0
            for seen, of_2, of_3 in itertools.product([(s_1, s_2), (s_1, s_3), (s_2, s_3)], [s_1, s_3], [s_1, s_2]):
                a_g = pair.global_action[s_g, rank_of(*seen)]
                laws = pair.local_action[s_g, s_2, rank_of(s_2, of_2)], pair.local_action[s_g, s_3, rank_of(s_3, of_3)]
                for a_2, a_3 in itertools.product(range(2), repeat=2):
                    played = [(s_1, a_1), (s_2, a_2), (s_3, a_3)]
                    paid = tables["r_g"][s_g, a_g] + sum(tables["r_l"][s_g, s, a] for s, a in played) / n
                    for (t_g, *t), later in zip(states, value, strict=True):
                        moved = [tables["P_l"][s_g, s, a, to] for (s, a), to in zip(played, t, strict=True)]
                        paid += gamma * tables["P_g"][s_g, a_g, t_g] * np.prod(moved) * later
                    q += paid * laws[0][a_2] * laws[1][a_3] / 12
            expected = process.reward[3 * i, a_1] + gamma * process.P[3 * i, a_1] @ value
            assert q == pytest.approx(expected, abs=1e-12)


@FEW
@given(game_tables(max_sg=2, max_sl=2), st.integers(1, 3), seeds())
def test_g_learn_is_the_best_team_response_to_agents_blind_to_each_other(tables, k, seed):
    rng = np.random.default_rng(seed)
    local_policy = random_local_policy(rng, tables)
    n_sl = local_policy.shape[1]
    blind = np.repeat(local_policy[:, :, np.newaxis], n_sl, axis=2)
    pair = random_policy(rng, tables, 1, 1)._replace(local_action=blind)
    expected = nash.best_response_global(tables, pair, k, "team").value
    np.testing.assert_allclose(nash.g_learn(tables, k, local_policy).value, expected, **CLOSE)


def test_the_dirichlet_start_is_the_mean_over_drawn_laws(rng):
    game = SimpleNamespace(**random_game_tables(rng, 2, 1, 2, 1), dirichlet=True)
    game.rho_l = np.array([2.0, 1.0])
    # Beta(2, 1) has density 2p: moments of p by Gauss-Legendre, exact for polynomials of this degree.
    x, weight = np.polynomial.legendre.leggauss(8)
    p, weight = (x + 1) / 2, weight * (x + 1) / 2
    for (s_g, *agents), found in zip(nash.labelled_states(game, 3), nash.labelled_start(game, 3), strict=True):
        expected = (weight * p ** agents.count(0) * (1 - p) ** agents.count(1)).sum()
        assert found == pytest.approx(game.rho_g[s_g] * expected, abs=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_closures_of_a_mixing_chain(rng, k):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    local_policy = random_local_policy(rng, tables)
    global_action = rng.integers(2, size=(2, k + 1))
    chain = nash.labelled_pair_chain(tables, global_action, k, local_policy)
    lazy = np.linalg.matrix_power((np.eye(len(chain)) + chain) / 2, 4096)
    np.testing.assert_allclose(
        nash.long_run_law(tables, global_action, k, local_policy), nash.labelled_start(tables, k) @ lazy, **CLOSE
    )
    laws = {name: nash.closure_law(tables, global_action, k, local_policy, name) for name in CLOSURES}
    for law in laws.values():
        np.testing.assert_allclose(law.transition.sum(axis=2), 1.0, **TIGHT)
    # What an agent sees at random is what anybody sees.
    mass = laws["tagged"].mass
    mixed = (mass[:, :, np.newaxis] * laws["tagged"].transition).sum(axis=1) / mass.sum(axis=1)[:, np.newaxis]
    np.testing.assert_allclose(laws["joint"].transition, np.repeat(mixed[:, np.newaxis], 2, axis=1), **TIGHT)
    np.testing.assert_allclose(mass.sum(axis=1) @ mixed, mass.sum(axis=1), **TIGHT)
    if k == 1:
        listed = tables["P_g"][np.arange(2)[:, np.newaxis], global_action[:, ::-1]]
        np.testing.assert_allclose(laws["tagged"].transition, listed, **TIGHT)


def test_where_the_long_run_never_comes_the_law_is_that_of_uniform():
    tables, local_policy = steering_game(), np.broadcast_to(np.array([1.0, 0.0]), (2, 2, 2))
    global_action = np.array([[1, 0], [0, 1]])  # rank 0 is the agent in 1
    laws = {name: nash.closure_law(tables, global_action, 1, local_policy, name).transition for name in CLOSURES}
    np.testing.assert_allclose(laws["uniform"], [[[1, 0], [1, 0]], [[0, 1], [0, 1]]], **TIGHT)
    # From (0, 0) all stay there; (0, 1) and s_g = 1 never come.
    for name in ("joint", "tagged"):
        np.testing.assert_allclose(laws[name], laws["uniform"], **TIGHT)


def test_the_local_learner_in_closed_form():
    tables = steering_game(0.5)
    tables["r_l"] = np.broadcast_to(np.array([[0.0, 1.0], [0.0, 3.0]])[:, np.newaxis], (2, 2, 2))
    stay = np.broadcast_to(np.eye(2)[:, np.newaxis], (2, 2, 2))
    found = nash.solve_local_mdp(tables, stay)
    np.testing.assert_allclose(found.value, [[2.0, 2.0], [6.0, 6.0]], **TIGHT)
    np.testing.assert_allclose(found.q[:, 0], [[1.0, 2.0], [3.0, 6.0]], **TIGHT)
    np.testing.assert_allclose(found.temperature[:, 0], [1 / 3, 1.0], **TIGHT)
    expected = np.exp(-3.0) / (1 + np.exp(-3.0))
    np.testing.assert_allclose(found.policy[:, :, 0], expected, **TIGHT)
