"""Exploitability, closures and learners against labelled agents, and these oracles against closed forms and each other."""

import itertools
from types import SimpleNamespace

import numpy as np
import oracles_nash as nash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kofn
from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy
from oracles import (
    ListedPolicy,
    count_vectors_listed,
    deployed_value_by_labelled_chain,
    fold_to_counts,
    random_game_tables,
    random_policy,
    random_rows,
)
from oracles.strategies import game_tables, games_with_policy, seeds

ATOL = 1e-10
TOL = 1e-11
CLOSE = {"rtol": 0.0, "atol": ATOL}
TIGHT = {"rtol": 0.0, "atol": 1e-12}
FEW = settings(max_examples=10)
REWARDS = ("selfish", "team")
CLOSURES = ("uniform", "joint", "tagged")
SIZES = [(2, 2, 2, 2), (2, 3, 2, 2), (2, 2, 2, 3), (1, 2, 3, 2), (3, 2, 2, 2)]
# Transitions float64[2, 2, 2] on which actions have no influence.
STAY = np.repeat(np.eye(2)[:, np.newaxis], 2, axis=1)
SWAP = STAY[::-1]
SAMPLES = [(n, k_global, k_local) for n in (1, 2, 3) for k_global in range(1, n + 1) for k_local in range(1, n + 1)]


def steering_game(gamma=0.9):
    """Both kinds of action name the next state, and a local agent is paid 1 wherever s_g = 1."""
    return {
        "P_g": np.tile(np.eye(2), (2, 1, 1)),
        "P_l": np.tile(np.eye(2), (2, 2, 1, 1)),
        "r_g": np.zeros((2, 2)),
        "r_l": np.broadcast_to(np.array([0.0, 1.0])[:, np.newaxis, np.newaxis], (2, 2, 2)),
        "gamma": gamma,
        "rho_g": np.array([1.0, 0.0]),
        "rho_l": np.array([1.0, 0.0]),
    }


def steering_pair():
    """The global agent goes where the one agent is that it sees; every local agent goes to 0."""
    local_action = np.broadcast_to(np.array([1.0, 0.0]), (2, 2, 2, 2))
    return ListedPolicy(1, 1, np.array([[1, 0], [1, 0]]), local_action)


def random_local_policy(rng, tables, deterministic=False):
    return random_rows(rng, tables["r_l"].shape, deterministic=deterministic)


def as_game(tables, dirichlet=False):
    changes = {"rho_l": 0.1 + 3.0 * tables["rho_l"], "dirichlet": True} if dirichlet else {}
    return Game(**(tables | changes))


def as_policy(pair):
    return SubsamplePolicy(**pair._asdict())


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


# The package against the oracles.


def assert_response(process, found, expected, states_of):
    """A reported response is an action for each sight, and is worth the best value."""
    action = {sight: int(found[states_of(sight)]) for sight in expected.action}
    np.testing.assert_allclose(nash.value_of_deviation(process, action), expected.value, rtol=0, atol=1e-9)


def check_exploitability(game, pair, n, reward):
    from kofn.engine.equilibrium.exploitability import exploitability

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
    from kofn.engine.equilibrium.tagged_chain import TaggedChain

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
    from kofn.engine.equilibrium.closures import close

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
    from kofn.engine.equilibrium.local_learner import learn_local

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
    from kofn.engine.equilibrium.local_learner import learn_local

    tables = steering_game()
    tables["r_l"] = np.broadcast_to(np.array([0.1 + 0.2, 0.3]), (2, 2, 2))
    stay = np.broadcast_to(np.eye(2)[:, np.newaxis], (2, 2, 2))
    greedy = learn_local(as_game(tables), stay, greedy=True)
    np.testing.assert_array_equal(greedy.policy[:, :, 0], 1.0)
