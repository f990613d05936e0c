"""What the counts are worth: against enumeration over labelled agents, every count-blind map, and games made for it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kofn.engine import count_blind
from kofn.engine.count_blind import best_count_blind
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.sensitivity import count_sensitivity
from kofn.engine.solve import solve
from kofn.kernels.count_blind import evaluate_count_blind
from oracles import (
    additive_fit_residual,
    backup_fixed,
    backup_histogram,
    backup_joint,
    backup_rounded,
    backup_shared,
    best_count_blind_value,
    count_blind_value,
    count_vectors_listed,
    deployed_value_by_labelled_chain,
    initial_value,
    random_game_tables,
    solve_by_listing,
)
from oracles.strategies import game_tables, seeds

CLASSES = ("joint", "shared", "histogram", "fixed")
ATOL = 1e-8


def random_local_policy(tables, seed):
    n_sg, n_sl, n_al = tables["r_l"].shape
    return np.random.default_rng(seed).dirichlet(np.ones(n_al), (n_sg, n_sl))


def with_local_laws(tables, local_policy):
    """Tables of the game in which the agents have no choice but the policy."""
    return tables | {
        "P_l": np.einsum("gsa,gsat->gst", local_policy, tables["P_l"])[:, :, None],
        "r_l": np.einsum("gsa,gsa->gs", local_policy, tables["r_l"])[:, :, None],
    }


def best_by_listing(tables, k, actions, local_policy):
    """Best count-blind value by listing every map, and in class `histogram` every histogram for each s_g."""
    laws = tables["rho_g"], tables["rho_l"]
    if actions in ("joint", "shared"):
        return best_count_blind_value(tables, *laws)[0]
    if actions == "fixed":
        return best_count_blind_value(with_local_laws(tables, local_policy), *laws)[0]
    n_sg, n_sl, n_al = tables["r_l"].shape
    histograms = np.array(count_vectors_listed(k, n_al)) / k
    choices = itertools.product(histograms, repeat=n_sg)
    policies = (np.repeat(np.array(choice)[:, None], n_sl, axis=1) for choice in choices)
    return max(best_count_blind_value(with_local_laws(tables, policy), *laws)[0] for policy in policies)


def regret_by_listing(tables, value, k, actions, local_policy, expectation="exact"):
    """For each s_g, the least over a_g of what a_g gives up at its worst count vector."""
    if expectation == "rounded":
        _, q = backup_rounded(tables, value, k, actions, local_policy)
    elif actions == "fixed":
        q = backup_fixed(tables, value, k, local_policy)[1]
        return (q.max(axis=2, keepdims=True) - q).max(axis=1).min(axis=1)
    else:
        backup = {"joint": backup_joint, "shared": backup_shared, "histogram": backup_histogram}[actions]
        _, q = backup(tables, value, k)
    n_sg, n_ag = tables["r_g"].shape
    regret = np.empty(n_sg)
    for s_g in range(n_sg):
        best = np.array(
            [
                [max(v for (a, _), v in table.items() if a == a_g) for a_g in range(n_ag)]
                for (g, _), table in q.items()
                if g == s_g
            ]
        )
        regret[s_g] = (best.max(axis=1, keepdims=True) - best).max(axis=0).min()
    return regret


def watching_game(gamma=0.5):
    """A global action of 1 leads to s_g = 1, where agents in state 0 are paid; nobody ever moves.

    With no agent in state 0 both actions are worth the same and the greedy choice is the lower one, yet action 1 is
    optimal at every count vector.
    """
    to_state = np.broadcast_to(np.eye(2), (2, 2, 2))
    stay = np.broadcast_to(np.eye(2)[:, None], (2, 2, 1, 2))
    r_l = np.zeros((2, 2, 1))
    r_l[1, 0] = 1.0
    return Game(P_g=to_state, P_l=stay, r_g=np.zeros((2, 2)), r_l=r_l, gamma=gamma)


def following_game(gamma=0.5):
    """The agents of the state that a_g names are paid in the next step; nobody ever moves: follow the majority."""
    to_state = np.broadcast_to(np.eye(2), (2, 2, 2))
    stay = np.broadcast_to(np.eye(2)[:, None], (2, 2, 1, 2))
    return Game(P_g=to_state, P_l=stay, r_g=np.zeros((2, 2)), r_l=np.eye(2)[:, :, None], gamma=gamma)


# The count-blind search.


@given(game_tables(), st.sampled_from(["joint", "shared"]))
def test_best_count_blind_value_equals_the_search_over_every_map(tables, actions):
    found = best_count_blind(Game(**tables), actions)
    expected, g = best_count_blind_value(tables, tables["rho_g"], tables["rho_l"])
    assert found.is_best
    assert found.n_tried == tables["r_g"].shape[1] ** tables["r_g"].shape[0]
    assert found.value == pytest.approx(expected, abs=1e-9)
    # Of maps that tie, rounding may pick either: what counts is that the reported one has the reported value.
    own = tables["rho_g"] @ count_blind_value(tables, found.global_action) @ tables["rho_l"]
    assert own == pytest.approx(expected, abs=1e-9)
    assert found.global_action.shape == np.shape(g)


@given(game_tables(max_sg=2, max_al=2), st.integers(1, 3), st.sampled_from(["histogram", "fixed"]), seeds())
@settings(max_examples=20)
def test_best_count_blind_value_of_given_local_laws_equals_the_search(tables, k, actions, seed):
    policy = random_local_policy(tables, seed) if actions == "fixed" else None
    found = best_count_blind(Game(**tables), actions, k, policy)
    assert found.is_best
    assert found.value == pytest.approx(best_by_listing(tables, k, actions, policy), abs=1e-9)


@given(game_tables(max_sg=2, max_sl=2), st.sampled_from(CLASSES), st.integers(1, 3), seeds())
@settings(max_examples=20)
def test_any_number_of_agents_that_deploy_the_policy_earn_its_value(tables, actions, n, seed):
    local_policy = random_local_policy(tables, seed) if actions == "fixed" else None
    found = best_count_blind(Game(**tables), actions, 2, local_policy)
    deployed = deployed_value_by_labelled_chain(tables, found.policy, n)
    assert initial_value(deployed, tables["rho_g"], tables["rho_l"], n) == pytest.approx(found.value, abs=1e-9)


def test_a_dirichlet_start_counts_by_its_mean_law(rng):
    tables = random_game_tables(rng, 3, 2, 3, 2)
    concentration = np.array([0.3, 1.0, 2.0])
    drawn = best_count_blind(Game(**(tables | {"rho_l": concentration, "dirichlet": True})))
    mean = best_count_blind(Game(**(tables | {"rho_l": concentration / concentration.sum()})))
    assert drawn.value == pytest.approx(mean.value, abs=1e-12)


@pytest.mark.parametrize("actions", CLASSES)
def test_coordinate_ascent_is_a_lower_bound_with_a_policy_to_show_for_it(actions, rng, monkeypatch):
    tables = random_game_tables(rng, 4, 3, 2, 2)
    local_policy = random_local_policy(tables, 1) if actions == "fixed" else None
    game = Game(**tables)
    best = best_count_blind(game, actions, 2, local_policy)
    assert best.is_best
    for limit in (1, 5, 80):
        monkeypatch.setattr(count_blind, "MAX_MAPS", limit)
        found = best_count_blind(game, actions, 2, local_policy)
        assert not found.is_best
        assert 1 <= found.n_tried <= limit
        assert found.value <= best.value + 1e-12
        deployed = deployed_value_by_labelled_chain(tables, found.policy, 2)
        assert initial_value(deployed, tables["rho_g"], tables["rho_l"], 2) == pytest.approx(found.value, abs=1e-9)
    # Eight starts and more, none of which can be left while a single change helps, find the best of 81 maps.
    if actions in ("joint", "shared"):
        assert found.value == pytest.approx(best.value, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_no_change_in_one_global_state_helps_where_the_ascent_ends(seed, monkeypatch):
    tables = random_game_tables(np.random.default_rng(seed), 5, 3, 2, 2)
    monkeypatch.setattr(count_blind, "MAX_MAPS", 3**5 - 1)
    monkeypatch.setattr(count_blind, "_start_options", lambda search, maps: [np.zeros(5, dtype=np.int64)])
    found = best_count_blind(Game(**tables))
    assert not found.is_best
    for s_g, a_g in itertools.product(range(5), range(3)):
        changed = found.global_action.copy()
        changed[s_g] = a_g
        assert tables["rho_g"] @ count_blind_value(tables, changed) @ tables["rho_l"] <= found.value + 1e-9


def test_ascent_from_the_best_map_stays_there(rng, monkeypatch):
    game = Game(**random_game_tables(rng, 4, 3, 2, 2))
    best = best_count_blind(game)
    monkeypatch.setattr(count_blind, "MAX_MAPS", 1)
    found = best_count_blind(game, starts=[best.global_action])
    assert found.value == best.value
    np.testing.assert_array_equal(found.global_action, best.global_action)
    np.testing.assert_array_equal(found.local_action, best.local_action)


def test_too_many_histograms_leave_the_single_actions(rng, monkeypatch):
    tables = random_game_tables(rng, 2, 2, 2, 3)
    best = best_count_blind(Game(**tables), "histogram", 3)
    monkeypatch.setattr(count_blind, "MAX_OPTIONS", 19)
    found = best_count_blind(Game(**tables), "histogram", 3)
    assert not found.is_best
    assert set(np.unique(found.local_action)) == {0.0, 1.0}
    assert found.value <= best.value + 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actions": "all"}, "actions: found 'all', expected one of joint"),
        ({"k": 0}, "k: found 0, expected a whole number"),
        ({"actions": "fixed"}, "local_policy: found none for actions 'fixed'"),
        ({"local_policy": np.ones((2, 2, 1))}, "local_policy: found one for actions 'joint'"),
        ({"actions": "fixed", "local_policy": np.ones((2, 2, 2))}, "local_policy: found shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        best_count_blind(watching_game(), **arguments)


def test_a_system_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(count_blind, "MAX_EQUATIONS", 3)
    with pytest.raises(ValueError, match=r"game: found n_sg · n_sl = 4, expected at most 3"):
        best_count_blind(watching_game())


def test_kernel_fills_its_outputs_and_leaves_its_inputs_alone(rng):
    tables = random_game_tables(rng, 3, 2, 2, 3)
    P_g, P_l, r_g, r_l = tables["P_g"], tables["P_l"][:, None], tables["r_g"], tables["r_l"][:, None]
    option, start = np.array([1, 0, 1]), rng.integers(3, size=(3, 2))
    inputs = P_g, P_l, r_g, r_l, option
    before = [array.copy() for array in inputs]
    work, value = np.full((6, 6), np.nan), np.full(6, np.nan)
    evaluate_count_blind(P_g, P_l, r_g, r_l, 0.9, option, start, work, value)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_allclose(value.reshape(3, 2), count_blind_value(tables, option), rtol=0, atol=1e-10)
    # The response is optimal: no other local policy has a larger value anywhere.
    response = np.eye(3)[start]
    own = count_blind_value(with_local_laws(tables, response), option)
    np.testing.assert_allclose(value.reshape(3, 2), own, rtol=0, atol=1e-10)


# The report of a solution.


@pytest.mark.parametrize("actions", CLASSES)
@given(tables=game_tables(max_sg=2), k=st.integers(1, 3), seed=seeds())
@settings(max_examples=8)
def test_sensitivity_equals_enumeration(actions, tables, k, seed):
    assume(actions != "histogram" or tables["r_l"].shape[2] < 3)
    policy = random_local_policy(tables, seed) if actions == "fixed" else None
    found = count_sensitivity(solve(Game(**tables), k, actions, tol=1e-9, local_policy=policy))
    value = solve_by_listing(tables, k, actions, local_policy=policy)
    regret = regret_by_listing(tables, value, k, actions, policy)
    np.testing.assert_allclose(found.regret, regret, rtol=0, atol=ATOL)
    assert found.tie < ATOL
    assert found.share_of_global_states == (regret > ATOL).mean()
    residual = additive_fit_residual(value, count_vectors_listed(k, tables["r_l"].shape[1]))
    assert found.additive_residual == pytest.approx(residual, abs=ATOL)
    assert found.relative_residual * np.ptp(value) == pytest.approx(residual, abs=10 * ATOL)
    optimum = initial_value(value, tables["rho_g"], tables["rho_l"], k)
    assert found.initial_value == pytest.approx(optimum, abs=ATOL)
    assert found.count_blind.is_best
    gap = optimum - best_by_listing(tables, k, actions, policy)
    assert found.blind_gap == pytest.approx(gap, abs=ATOL)


@given(tables=game_tables(max_sl=2, max_al=2), actions=st.sampled_from(["joint", "shared", "fixed"]), seed=seeds())
@settings(max_examples=25)
def test_where_k_cannot_matter_no_number_of_agents_makes_a_difference(tables, actions, seed):
    policy = random_local_policy(tables, seed) if actions == "fixed" else None
    found = count_sensitivity(solve(Game(**tables), 2, actions, tol=1e-10, local_policy=policy))
    values = [solve_by_listing(tables, k, actions, local_policy=policy) for k in (1, 2, 3)]
    optima = [initial_value(V, tables["rho_g"], tables["rho_l"], k) for k, V in enumerate(values, start=1)]
    if found.can_matter:
        assert found.share_of_global_states > 0.0
        return
    assert found.verdict.startswith("k cannot matter here")
    np.testing.assert_allclose(optima, found.count_blind.value, rtol=0, atol=ATOL)
    for k, V in enumerate(values, start=1):
        assert (
            additive_fit_residual(V, count_vectors_listed(k, V.shape[1] if k == 1 else tables["r_l"].shape[1])) < ATOL
        )


@pytest.mark.parametrize("expectation", ["sampled", "rounded"])
@pytest.mark.parametrize("actions", CLASSES)
def test_other_expectations_have_a_share_but_no_count_blind_value(actions, expectation, rng):
    tables = random_game_tables(rng, 3, 2, 2, 2)
    policy = random_local_policy(tables, 1) if actions == "fixed" else None
    solution = solve(Game(**tables), 3, actions, expectation, tol=1e-9, local_policy=policy, samples=2, seed=5)
    found = count_sensitivity(solution)
    q = np.array([[solution.q(s_g, c).max(axis=1) for c in solution.counts] for s_g in range(3)])
    regret = (q.max(axis=2, keepdims=True) - q).max(axis=1).min(axis=1)
    np.testing.assert_allclose(found.regret, regret, rtol=0, atol=1e-12)
    if expectation == "rounded":
        listed = regret_by_listing(tables, solution.value, 3, actions, policy, "rounded")
        np.testing.assert_allclose(found.regret, listed, rtol=0, atol=1e-12)
    assert found.count_blind is None
    assert math.isnan(found.blind_gap)
    assert found.can_matter
    assert found.verdict.endswith(f"not known: the {expectation} expectation does not decouple the agents.")


def test_a_tie_does_not_make_a_state_vary():
    solution = solve(watching_game(), 3)
    assert (solution.global_action.min(axis=1) < solution.global_action.max(axis=1)).all(), "the greedy a_g must vary"
    found = count_sensitivity(solution)
    assert found.share_of_global_states == 0.0
    assert not found.can_matter
    assert found.count_blind.global_action.tolist() == [1, 1]
    assert found.blind_gap <= found.half_width
    assert found.additive_residual < 1e-9


def test_equal_global_actions_do_not_make_a_state_vary(rng):
    tables = random_game_tables(rng, 3, 1, 3, 2)
    doubled = tables | {"P_g": np.repeat(tables["P_g"], 2, axis=1), "r_g": np.repeat(tables["r_g"], 2, axis=1)}
    found = count_sensitivity(solve(Game(**doubled), 3))
    assert found.regret.max() == 0.0
    assert found.verdict.startswith("k cannot matter here: in every global state one global action is optimal")


def test_following_the_majority_needs_the_counts():
    # k = 2, γ = 1/2: the majority is worth γ/(1-γ) max(c)/k for ever after; blind play earns half of it, on average.
    found = count_sensitivity(solve(following_game(), 2))
    assert found.share_of_global_states == 1.0
    assert found.blind_gap == pytest.approx(0.25, abs=1e-6)
    # V(s_g, c) = c_{s_g}/2 + max(c)/2: the fit of 1, 1/2, 1 is 5/6 everywhere.
    assert found.additive_residual == pytest.approx(1 / 3, abs=1e-6)
    assert found.relative_residual == pytest.approx((1 / 3) / (1.5 - 0.5), abs=1e-6)
    assert "varies with the counts in 100 % of the global states, and the value departs" in found.verdict
    assert found.verdict.endswith("falls short of the 2-agent optimum of 1.25 by 0.25.")


def test_with_one_agent_every_value_is_additive_and_the_verdict_does_not_dwell_on_it():
    found = count_sensitivity(solve(following_game(), 1))
    assert found.additive_residual < 1e-12
    assert found.share_of_global_states == 1.0
    assert "departs" not in found.verdict


def test_a_start_that_tells_everything_leaves_nothing_to_look_for():
    tables = following_game()
    game = Game(
        P_g=tables.P_g, P_l=tables.P_l, r_g=tables.r_g, r_l=tables.r_l, gamma=tables.gamma, rho_l=np.array([0.0, 1.0])
    )
    found = count_sensitivity(solve(game, 3))
    assert found.share_of_global_states == 1.0
    assert found.blind_gap <= found.half_width
    assert found.verdict.startswith("k hardly matters here")


def test_an_incomplete_search_says_at_most(rng, monkeypatch):
    monkeypatch.setattr(count_blind, "MAX_MAPS", 3)
    found = count_sensitivity(solve(following_game(), 2))
    assert not found.count_blind.is_best
    assert "by at most 0.25" in found.verdict


def test_a_large_system_is_named_instead_of_solved(monkeypatch):
    monkeypatch.setattr("kofn.engine.sensitivity.MAX_EQUATIONS", 3)
    found = count_sensitivity(solve(following_game(), 2))
    assert found.count_blind is None
    assert found.verdict.endswith("not known: n_sg · n_sl = 4 is above 3.")


@pytest.mark.parametrize("method", ["meet-in-the-middle", "symmetric-power", "recursion"])
def test_every_exact_method_gives_the_same_answer(method, rng):
    tables = random_game_tables(rng, 3, 3, 2, 2)
    policy = random_local_policy(tables, 3)
    expected = count_sensitivity(solve(Game(**tables), 4, local_policy=policy, tol=1e-9))
    found = count_sensitivity(solve(Game(**tables), 4, local_policy=policy, method=method, tol=1e-9))
    np.testing.assert_allclose(found.regret, expected.regret, rtol=0, atol=ATOL)
    assert found.blind_gap == pytest.approx(expected.blind_gap, abs=ATOL)


@pytest.mark.parametrize("name", ["irrigation", "traffic"])
def test_in_a_built_in_game_the_keeper_must_look(name):
    found = count_sensitivity(solve(load_game(name), 4, "shared"))
    assert found.can_matter
    assert found.count_blind.is_best
    assert found.blind_gap > 0.05 * abs(found.initial_value)
