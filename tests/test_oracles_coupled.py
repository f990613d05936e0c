"""The oracles of coupled games against closed forms, the oracles without a field, and each other."""

import itertools
from fractions import Fraction

import numpy as np
import oracles_coupled as coupled
import oracles_mfq as mfq
import oracles_nash as nash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import (
    backup_joint,
    deployed_value_by_labelled_chain,
    random_game_tables,
    random_rows,
    solve_by_listing,
    value_map,
)
from oracles.strategies import games_with_policy, seeds

CLOSE = {"rtol": 0.0, "atol": 1e-9}
TIGHT = {"rtol": 0.0, "atol": 1e-12}
FEW = settings(max_examples=10)
KINDS = ("states", "actions")
CLASSES = ("joint", "shared", "histogram", "fixed")
SHARE_OF_ONES = coupled.field_of_histogram([[0, 1]], [[Fraction(1, 3), Fraction(2, 3)]])


def uncoupled(tables, of, n_f=None):
    """A game without a field as a coupled one: without the axis f, or with n_f equal slices along it."""
    names = ("P_g", "P_l", "r_g", "r_l")
    arrays = {name: tables[name] for name in names}
    if n_f is not None:
        arrays = {name: np.repeat(table[:, np.newaxis], n_f, axis=1) for name, table in arrays.items()}
    return coupled.CoupledTables(**arrays, gamma=tables["gamma"], of=of, field=SHARE_OF_ONES)


# The field


def test_fields_by_hand():
    weights, edges = [[0, 1, 2], [5, 0, 0]], [[Fraction(1, 2), 1], [Fraction(5, 3)]]
    value = {
        (): 7,
        (0,): 1,  # means 0 and 5: digits 0 and 1
        (1,): 4,  # mean 1 is on the edge 1
        (0, 1): 3,  # mean 1/2 on the edge 1/2; 5/2
        (0, 0, 2): 3,  # 2/3; 10/3
        (0, 1, 1): 3,  # 2/3; 5/3 on the edge
        (0, 1, 1, 1): 2,  # 3/4; 5/4
        (2, 1, 1): 4,
    }
    for listed, expected in value.items():
        for order in itertools.permutations(listed):
            assert coupled.field_of_list(order, weights, edges, neutral=7) == expected
        histogram = tuple(listed.count(x) for x in range(3))
        assert coupled.field_of_histogram(weights, edges, neutral=7)(histogram) == expected


def test_floats_are_read_as_they_print():
    # In binary 0.1 + 0.1 + 0.1 > 0.3.
    assert coupled.field_of_list([0, 0, 0], [[0.1]], [[0.1]]) == 1
    assert coupled.field_of_list([0, 0, 1], [[0.1, 0.7]], [[0.3]]) == 1
    assert coupled.exact(0.1) == coupled.exact(np.float64(0.1)) == Fraction(1, 10)


# Games


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("actions", CLASSES)
def test_tables_that_ignore_the_field_are_the_game_without_one(rng, of, actions):
    tables = random_game_tables(rng, 2, 2, 2, 2, gamma=0.8)
    policy = random_rows(rng, (2, 2, 2))
    for k in (1, 2, 3):
        expected = solve_by_listing(tables, k, actions, local_policy=policy)
        for n_f in (None, 3):
            game = uncoupled(tables, of, n_f)
            found = coupled.solve_coupled(game, k, actions, local_policy=policy)
            np.testing.assert_allclose(coupled.on_counts(game, found), expected, **CLOSE)


@pytest.mark.parametrize("of", KINDS)
def test_one_update_without_a_field(rng, of):
    tables, k = random_game_tables(rng, 2, 2, 2, 2), 2
    V = rng.normal(size=(2, 3))
    at = value_map(V, k, 2)
    states = coupled.labelled_joint_states(uncoupled(tables, of), k)
    labelled = np.reshape([at[s_g, (agents.count(0), agents.count(1))] for s_g, agents in states], (2, 2, 2))
    values, q = coupled.coupled_backup(uncoupled(tables, of), labelled, k)
    expected_values, expected_q = backup_joint(tables, V, k)
    np.testing.assert_allclose(coupled.on_counts(uncoupled(tables, of), values), expected_values, **CLOSE)
    for (s_g, agents), table in q.items():
        assert table == pytest.approx(expected_q[s_g, (agents.count(0), agents.count(1))], abs=1e-12)


@given(games_with_policy(max_k=2, max_sl=2, max_al=2), st.sampled_from(KINDS))
def test_policies_in_tables_that_ignore_the_field(game_and_policy, of):
    tables, policy = game_and_policy
    game = (
        uncoupled(tables, of)
        if tables["r_l"].shape[1:] == (2, 2)
        else coupled.CoupledTables(**{name: tables[name] for name in ("P_g", "P_l", "r_g", "r_l", "gamma")})
    )
    laws = coupled.laws_of_policy(game, policy)
    value = coupled.deployed_value(game, 2, *laws)
    np.testing.assert_allclose(
        coupled.on_counts(game, value), deployed_value_by_labelled_chain(tables, policy, 2), **CLOSE
    )
    for player, theirs in (("global", nash.best_response_global), (0, nash.best_response_tagged)):
        for reward, name in (("team", "team"), ("local", "selfish")):
            found = coupled.best_response_value(game, 2, player, *laws, reward=reward)
            np.testing.assert_allclose(found.ravel(), theirs(tables, policy, 2, name).value, **CLOSE)
            own = coupled.player_value(game, 2, player, *laws, reward=reward).ravel()
            expected = nash.pair_value(tables, policy, 2, name)[0 if player == "global" else 1]
            np.testing.assert_allclose(own, expected, **CLOSE)


def test_congestion_of_actions():
    # Out pays nothing, in pays 1 to one agent and -1/2 each to two. Two agents, γ = 1/2.
    gamma, paid = 0.5, [[0, 0], [0, 1], [0, -0.5]]
    game = coupled.stateless_game(paid, gamma, of="actions", field=coupled.count_of_ones)
    per_step = {"joint": 1 / 2, "shared": 0, "histogram": 1 / 4 * (1 / 2 + 1 / 2) - 1 / 4 * 1 / 2}
    for actions, reward in per_step.items():
        assert coupled.solve_coupled(game, 2, actions) == pytest.approx(reward / (1 - gamma), abs=1e-9)
    for p in (0.0, 0.3, 1.0):
        expected = (p * (1 - p) - p**2 / 2) / (1 - gamma)
        assert coupled.solve_coupled(game, 2, "fixed", [[[1 - p, p]]]) == pytest.approx(expected, abs=1e-9)
        laws = (lambda s_g, counts: [1.0]), (lambda s_g, s, counts, p=p: [1 - p, p])
        assert coupled.deployed_value(game, 2, *laws) == pytest.approx(expected, abs=1e-12)
        # A lone deviator earns 0, or 1 - p - p / 2.
        best = coupled.best_response_value(game, 2, 1, *laws, reward="local")
        assert best == pytest.approx(max(0, 1 - 1.5 * p) / (1 - gamma), abs=1e-9)
        assert coupled.best_response_value(game, 2, "global", *laws, reward="local") == pytest.approx(0.0, abs=1e-12)


def test_congestion_of_places():
    # The action names the next place; a place pays 1 to an agent that is there alone. Two agents.
    gamma = 0.5
    r_l = np.zeros((1, 3, 2, 2))
    r_l[:, 1] = 1.0
    move = np.tile(np.eye(2), (1, 2, 1, 1))
    game = coupled.CoupledTables(
        np.ones((1, 1, 1)), move, np.zeros((1, 1)), r_l, gamma, "states", coupled.count_of_ones
    )
    mean_next = 0.5 / (1 - gamma)
    values = {  # together, apart
        "joint": (gamma / (1 - gamma), 1 / (1 - gamma)),
        "shared": (0.0, 1 / (1 - gamma)),
        "histogram": (gamma * mean_next, 1 + gamma * mean_next),
    }
    for actions, (together, apart) in values.items():
        V = coupled.solve_coupled(game, 2, actions)
        np.testing.assert_allclose(V, [[[together, apart], [apart, together]]], **CLOSE)


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("k", [2, 3])
def test_labels_do_not_matter_and_no_class_beats_joint(rng, of, k):
    game = coupled.random_coupled_tables(rng, 2, 2, 2, 2, 3, of, SHARE_OF_ONES, gamma=0.8)
    values = {name: coupled.solve_coupled(game, k, name, random_rows(rng, (2, 2, 2))) for name in CLASSES}
    for name, V in values.items():
        assert coupled.on_counts(game, V).shape == (2, k + 1)
        assert (values["joint"] + 1e-9 >= V).all(), name
    joint = values["joint"]
    np.testing.assert_allclose(coupled.coupled_backup(game, joint, k)[0], joint, **CLOSE)
    laws = coupled.random_laws(rng, game, k)
    deployed = coupled.deployed_value(game, k, *laws)
    coupled.on_counts(game, deployed)
    assert (deployed <= joint + 1e-9).all()
    last = coupled.best_response_value(game, k, k - 1, *laws)
    np.testing.assert_allclose(last, np.swapaxes(coupled.best_response_value(game, k, 0, *laws), 1, k), **CLOSE)


@pytest.mark.parametrize("of", KINDS)
def test_all_others_as_neighbours_make_a_field_of_everyone(rng, of):
    """Where f is the number of ones, the agent's own is known to it: f of all = f of the others + its own."""
    n = 3
    everyone = coupled.random_coupled_tables(rng, 2, 2, 2, 2, n + 1, of, coupled.count_of_ones, gamma=0.8)
    P_l, r_l = (np.empty((2, n, *table.shape[2:])) for table in (everyone.P_l, everyone.r_l))
    for f, mine in itertools.product(range(n), range(2)):
        at = (slice(None), mine) if of == "states" else (slice(None), slice(None), mine)
        P_l[:, f][at], r_l[:, f][at] = everyone.P_l[:, f + mine][at], everyone.r_l[:, f + mine][at]
    blind = {
        "P_g": everyone.P_g[:, 0],
        "r_g": everyone.r_g[:, 0],
        "gamma": 0.8,
        "of": of,
        "field": coupled.count_of_ones,
    }
    by_neighbours = coupled.CoupledTables(P_l=P_l, r_l=r_l, neighbours=mfq.complete(n), **blind)
    by_field = coupled.CoupledTables(P_l=everyone.P_l, r_l=everyone.r_l, **blind)
    laws = coupled.random_laws(rng, by_field, n)
    for solve in (lambda game: coupled.solve_coupled(game, n), lambda game: coupled.deployed_value(game, n, *laws)):
        np.testing.assert_allclose(solve(by_neighbours), solve(by_field), **CLOSE)


@pytest.mark.parametrize("of", KINDS)
def test_a_ring_can_be_turned_and_a_lonely_agent_is_neutral(rng, of):
    n, field = 4, coupled.field_of_histogram([[0, 1]], [[Fraction(1, 2), 1]], neutral=2)
    game = coupled.random_coupled_tables(rng, 1, 2, 2, 2, 3, of, field, mfq.ring(n), gamma=0.7)
    V = coupled.deployed_value(game, n, *coupled.random_laws(rng, game, n))
    np.testing.assert_allclose(V.transpose(0, 2, 3, 4, 1), V, **TIGHT)
    assert np.abs(V.transpose(0, 2, 1, 3, 4) - V).max() > 1e-3  # who sits next to whom matters
    alone = coupled.CoupledTables(game.P_g, game.P_l, game.r_g, game.r_l, 0.7, of, field, [[], []])
    neutral = coupled.CoupledTables(game.P_g, game.P_l[:, 2], game.r_g, game.r_l[:, 2], 0.7)
    np.testing.assert_allclose(coupled.solve_coupled(alone, 2), coupled.solve_coupled(neutral, 2), **CLOSE)


@FEW
@given(seeds(), st.sampled_from(KINDS), st.sampled_from(["team", "local"]), st.sampled_from(["global", 0, 1]))
def test_best_responses_are_values_of_policies(seed, of, reward, player):
    rng, n = np.random.default_rng(seed), 2
    game = coupled.random_coupled_tables(rng, 2, 2, 2, 2, 3, of, SHARE_OF_ONES, gamma=0.9)
    laws = coupled.random_laws(rng, game, n)
    process = coupled.process_of_player(game, n, player, *laws, reward=reward)
    np.testing.assert_allclose(process.P.sum(axis=2), 1.0, **TIGHT)
    best = coupled.best_response_value(game, n, player, *laws, reward=reward)
    greedy = np.eye(2)[(process.reward + 0.9 * process.P @ best.ravel()).argmax(axis=1)]
    np.testing.assert_allclose(coupled.value_in_process(game, n, process, greedy), best, **CLOSE)
    own = coupled.player_value(game, n, player, *laws, reward=reward)
    assert (own <= best + 1e-9).all()
    if reward == "team":
        np.testing.assert_allclose(own, coupled.deployed_value(game, n, *laws), **CLOSE)


@pytest.mark.parametrize("of", KINDS)
def test_the_global_best_response_solves_the_fixed_class(rng, of):
    game = coupled.random_coupled_tables(rng, 2, 2, 2, 2, 3, of, SHARE_OF_ONES, gamma=0.8)
    policy = random_rows(rng, (2, 2, 2))
    laws = (lambda s_g, counts: [1.0, 0.0]), (lambda s_g, s, counts: policy[s_g, s])
    best = coupled.best_response_value(game, 3, "global", *laws)
    np.testing.assert_allclose(best, coupled.solve_coupled(game, 3, "fixed", policy), **CLOSE)
