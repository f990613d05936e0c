"""Exploitability, the tagged chain, closures and both learners against labelled agents."""

import itertools

import numpy as np
import oracles_nash as nash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nash_games import random_local_policy, steering_game, steering_pair

import kofn
from kofn.engine.equilibrium.closures import close
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.equilibrium.local_learner import learn_local
from kofn.engine.equilibrium.tagged_chain import TaggedChain
from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy
from oracles import count_vectors_listed, random_game_tables, random_policy, random_rows
from oracles.strategies import game_tables, games_with_policy, seeds

ATOL = 1e-10
TOL = 1e-11
CLOSE = {"rtol": 0.0, "atol": ATOL}
FEW = settings(max_examples=10)
REWARDS = ("selfish", "team")
CLOSURES = ("uniform", "joint", "tagged")
SIZES = [(2, 2, 2, 2), (2, 3, 2, 2), (2, 2, 2, 3), (1, 2, 3, 2), (3, 2, 2, 2)]
# Transitions float64[2, 2, 2] on which actions have no influence.
STAY = np.repeat(np.eye(2)[:, np.newaxis], 2, axis=1)
SWAP = STAY[::-1]
SAMPLES = [(n, k_global, k_local) for n in (1, 2, 3) for k_global in range(1, n + 1) for k_local in range(1, n + 1)]


def as_game(tables, dirichlet=False):
    changes = {"rho_l": 0.1 + 3.0 * tables["rho_l"], "dirichlet": True} if dirichlet else {}
    return Game(**(tables | changes))


def as_policy(pair):
    return SubsamplePolicy(**pair._asdict())


def assert_response(process, found, expected, states_of):
    """A reported response is an action for each sight, and is worth the best value."""
    action = {sight: int(found[states_of(sight)]) for sight in expected.action}
    np.testing.assert_allclose(nash.value_of_deviation(process, action), expected.value, rtol=0, atol=1e-9)


def check_exploitability(game, pair, n, reward):
    found = exploitability(game, as_policy(pair), n, reward=reward, tol=TOL * 10)
    expected = nash.gains(game, pair, n, reward)
    assert (found.n, found.k_global, found.k_local, found.reward) == (n, pair.k_global, pair.k_local, reward)
    for name in expected._fields:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=0, abs=ATOL), name
    for name in ("global_value", "global_best", "local_value", "local_best"):
        assert abs(getattr(found, name) - getattr(expected, name)) <= found.half_width + 1e-13, name
    for player in ("global", "local"):
        gain = getattr(expected, f"{player}_best") - getattr(expected, f"{player}_value")
        assert getattr(found, f"{player}_gain") == pytest.approx(gain, rel=0, abs=ATOL)
    assert found.nash_conv == pytest.approx(expected.nash_conv, rel=0, abs=2 * ATOL)
    assert found.nash_conv_all_players == pytest.approx(expected.nash_conv_all_players(n), rel=0, abs=4 * ATOL)

    of_all, of_others = (count_vectors_listed(m, game.n_sl) for m in (n, n - 1))
    assert found.global_response.shape == (game.n_sg, len(of_all))
    assert found.local_response.shape == (game.n_sg, game.n_sl, len(of_others))
    process = nash.process_of_global(game, pair, n, reward)
    assert_response(
        process, found.global_response, nash.best_response(process), lambda seen: (seen[0], of_all.index(seen[1]))
    )
    process = nash.process_of_tagged(game, pair, n, reward)
    assert_response(
        process, found.local_response, nash.best_response(process),
        lambda seen: (seen[0], seen[1], of_others.index(seen[2])),
    )  # fmt: skip


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize(("n", "k_global", "k_local"), SAMPLES)
def test_exploitability_against_labelled_agents(rng, n, k_global, k_local, reward):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    pair = random_policy(rng, tables, k_global, k_local)
    check_exploitability(as_game(tables, dirichlet=(k_global + k_local) % 2 == 0), pair, n, reward)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("sizes", SIZES[1:])
def test_exploitability_in_games_of_other_sizes(rng, sizes, reward):
    tables = random_game_tables(rng, *sizes)
    check_exploitability(as_game(tables), random_policy(rng, tables, 2, 2), 3, reward)


@FEW
@given(games_with_policy(max_sl=2, max_al=2), st.integers(0, 2), st.booleans(), st.sampled_from(REWARDS))
def test_exploitability_in_sparse_and_certain_games(tables_and_pair, more, dirichlet, reward):
    tables, pair = tables_and_pair
    n = min(3, max(pair.k_global, pair.k_local) + more)
    check_exploitability(as_game(tables, dirichlet), pair, n, reward)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_exploitability_of_the_steering_pair(n):
    for reward in REWARDS:
        check_exploitability(as_game(steering_game()), steering_pair(), n, reward)


@pytest.mark.parametrize(("n", "k_global", "k_local"), SAMPLES)
def test_the_tagged_chain_against_labelled_agents(rng, n, k_global, k_local):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    game, pair = as_game(tables, dirichlet=True), random_policy(rng, tables, k_global, k_local)
    chain = TaggedChain(game, as_policy(pair), n, truncation=0.0, memory_bytes=2**30, error=1e-13)
    others = count_vectors_listed(n - 1, 2)
    np.testing.assert_array_equal(chain.populations, others)
    states, start = nash.labelled_states(game, n), nash.labelled_start(game, n)
    value = rng.normal(size=(2, 2, len(others)))
    initial = np.zeros_like(value)
    for reward in REWARDS:
        process = nash.process_of_tagged(game, pair, n, reward)
        place = [(s_g, s, others.index(N_o)) for s_g, s, N_o in process.seen]
        q = process.reward + game.gamma * process.P @ np.array([value[at] for at in place])
        found, own = chain.q(value, reward), chain.own_law
        for i in range(len(states)):
            s_g, s, rank = place[i]
            np.testing.assert_allclose(found[s_g, s, :, rank], q[i], **CLOSE)
            np.testing.assert_allclose(own[s_g, s, :, rank], process.own_law[i], **CLOSE)
    for at, p in zip(place, start, strict=True):
        initial[at] += p
    np.testing.assert_allclose(chain.initial, initial, **CLOSE)


def check_g_learn(game, k, local_policy):
    found = kofn.solve(game, k, local_policy=local_policy, tol=TOL * 10)
    process = nash.process_of_g_learn(game, k, local_policy)
    best = nash.best_response(process)
    lattice = count_vectors_listed(k, game.n_sl)
    assert found.policy.k_global == k
    for (s_g, c), value in nash.by_sight(process, best.value).items():
        assert found.value[s_g, lattice.index(c)] == pytest.approx(value, rel=0, abs=ATOL)
    assert_response(process, found.global_action, best, lambda seen: (seen[0], lattice.index(seen[1])))
    assert found.initial_value == pytest.approx(nash.labelled_start(game, k) @ best.value, rel=0, abs=ATOL)


@pytest.mark.parametrize("dirichlet", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_g_learn_against_labelled_agents(rng, sizes, k, dirichlet):
    tables = random_game_tables(rng, *sizes)
    check_g_learn(as_game(tables, dirichlet), k, random_local_policy(rng, tables))


@FEW
@given(game_tables(max_sl=2), st.integers(1, 3), seeds(), st.booleans())
def test_g_learn_in_sparse_and_certain_games(tables, k, seed, pure):
    local_policy = random_local_policy(np.random.default_rng(seed), tables, pure)
    check_g_learn(as_game(tables), k, local_policy)


def check_closures(game, global_action, k, local_policy):
    for name in CLOSURES:
        found = close(game, global_action, k, local_policy, name)
        expected = nash.closure_law(game, global_action, k, local_policy, name)
        assert found.kind == name
        np.testing.assert_allclose(found.transition, expected.transition, err_msg=name, **CLOSE)
        np.testing.assert_allclose(found.local_law, expected.local_law, err_msg=name, **CLOSE)


@pytest.mark.parametrize("dirichlet", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_closures_against_labelled_agents(rng, sizes, k, dirichlet):
    tables = random_game_tables(rng, *sizes)
    lattice = count_vectors_listed(k, sizes[2])
    global_action = rng.integers(sizes[1], size=(sizes[0], len(lattice))).astype(np.int32)
    check_closures(as_game(tables, dirichlet), global_action, k, random_local_policy(rng, tables))


@pytest.mark.parametrize("stay", [0.0, 0.1, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_closures_where_states_are_left_for_good(rng, k, stay):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    local_policy = random_local_policy(rng, tables)
    global_action = np.arange(2)[:, np.newaxis] ^ np.arange(k + 1) % 2
    leave = np.array([[stay, 1.0 - stay], [stay / 2, 1.0 - stay / 2]])
    # Left by s_g, by the agents in every s_g, and by both where all come to s_g = 1.
    settled = tables | {"P_g": np.array([leave, [[0.0, 1.0], [0.0, 1.0]]])}
    check_closures(as_game(settled), global_action, k, local_policy)
    P_l = np.broadcast_to(np.stack([leave, [[0.0, 1.0], [0.0, 1.0]]]), (2, 2, 2, 2))
    check_closures(as_game(tables | {"P_l": P_l}), global_action, k, local_policy)
    check_closures(as_game(settled | {"P_l": np.stack([tables["P_l"][0], P_l[1]])}), global_action, k, local_policy)


def test_a_closure_does_not_take_rounding_for_mass():
    P_g = [[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.9, 0.1]]]
    P_l = [[[[1.0, 0.0]], [[1.0, 0.0]]], [[[1.0, 0.0]], [[0.4, 0.6]]]]
    game = Game(P_g=P_g, P_l=P_l, r_g=np.zeros((2, 2)), r_l=np.zeros((2, 2, 1)), gamma=0.9)
    # One agent ends in (s_g, s) = (1, 0) for good; in (1, 1), which is left, the global agent would play 1.
    check_closures(game, np.array([[0, 1], [1, 0]]), 1, np.ones((2, 2, 1)))


@pytest.mark.parametrize("dirichlet", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_closures_of_chains_that_split_or_alternate(rng, k, dirichlet):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    local_policy = random_local_policy(rng, tables)
    global_action = np.arange(2)[:, np.newaxis] ^ np.arange(k + 1) % 2
    for P_g, P_l in itertools.product((tables["P_g"], STAY, SWAP), (tables["P_l"], STAY, SWAP)):
        moved = tables | {"P_g": P_g, "P_l": np.broadcast_to(P_l, (2, 2, 2, 2))}
        check_closures(as_game(moved, dirichlet), global_action, k, local_policy)


@FEW
@given(game_tables(max_sl=2), st.integers(1, 3), seeds(), st.booleans(), st.booleans())
def test_closures_in_sparse_and_certain_games(tables, k, seed, pure, dirichlet):
    rng = np.random.default_rng(seed)
    (n_sg, n_ag), n_sl = tables["r_g"].shape, tables["r_l"].shape[1]
    global_action = rng.integers(n_ag, size=(n_sg, len(count_vectors_listed(k, n_sl)))).astype(np.int32)
    check_closures(as_game(tables, dirichlet), global_action, k, random_local_policy(rng, tables, pure))


def check_local_learner(game, transition, **temperatures):
    found = learn_local(game, transition, tol=TOL, **temperatures)
    expected = nash.solve_local_mdp(game, transition, **temperatures)
    for name in expected._fields:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), err_msg=name, **CLOSE)
    assert np.abs(found.value - expected.value).max() <= found.half_width + 1e-13
    greedy = learn_local(game, transition, tol=TOL, greedy=True)
    clear = np.sort(expected.q, axis=2)
    clear = (clear[:, :, -1] - clear[:, :, -2] > 1e-8) if game.n_al > 1 else np.ones(expected.value.shape, bool)
    best = np.eye(game.n_al)[expected.q.argmax(axis=2)]
    np.testing.assert_array_equal(greedy.policy[clear], best[clear])
    assert np.isin(greedy.policy, (0.0, 1.0)).all()


@pytest.mark.parametrize("temperatures", [{}, {"tau_min": 0.05, "tau_scale": 10.0}, {"tau_min": 5.0}])
@pytest.mark.parametrize("sizes", SIZES)
def test_local_learner_against_all_policies(rng, sizes, temperatures):
    game = as_game(random_game_tables(rng, *sizes))
    check_local_learner(game, random_rows(rng, (sizes[0], sizes[2], sizes[0])), **temperatures)


@FEW
@given(game_tables(max_sl=2), seeds())
def test_local_learner_in_sparse_and_certain_games(tables, seed):
    n_sg, n_sl, _ = tables["r_l"].shape
    transition = random_rows(np.random.default_rng(seed), (n_sg, n_sl, n_sg), deterministic=bool(seed % 2))
    check_local_learner(as_game(tables), transition)


def test_greedy_local_learner_takes_the_lowest_of_equal_actions():
    tables = steering_game()
    tables["r_l"] = np.broadcast_to(np.array([0.1 + 0.2, 0.3]), (2, 2, 2))
    stay = np.broadcast_to(np.eye(2)[:, np.newaxis], (2, 2, 2))
    greedy = learn_local(as_game(tables), stay, greedy=True)
    np.testing.assert_array_equal(greedy.policy[:, :, 0], 1.0)
