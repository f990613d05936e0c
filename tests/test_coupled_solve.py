"""Solves of games with a field of states against enumeration over labelled agents; and what has to be refused."""

import concurrent.futures

import numpy as np
import pytest
from coupled_games import AXES, at_field, random_coupled_game
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_coupled import coupled_backup, on_counts, shaped, solve_coupled
from test_bellman import METHODS, exact_backup

from kofn.engine.action_classes import list_counts
from kofn.engine.backups.selection import make_exact, make_listed
from kofn.engine.coupling import Field, Neighbourhood
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.solve import solve
from oracles import random_game_tables

MEMORY = 10**9
CLASSES = ("joint", "shared", "histogram", "fixed")


def policy_for(game, actions, rng):
    return rng.dirichlet(np.ones(game.n_al), (game.n_sg, game.n_sl)) if actions == "fixed" else None


def with_field_axes(names):
    return {name: name in names for name in AXES}


@pytest.mark.parametrize(("actions", "method"), [(a, m) for a, ms in METHODS.items() for m in ms])
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 3), axes=st.sets(st.sampled_from(list(AXES)), min_size=1))
@settings(max_examples=6)
def test_a_backup_equals_enumeration(actions, method, seed, k, axes):
    rng = np.random.default_rng(seed)
    game, oracle = random_coupled_game(rng, axes=with_field_axes(axes))
    policy = policy_for(game, actions, rng)
    value = rng.normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    labelled = shaped(oracle, k, [value[s_g, rank] for s_g in range(2) for rank in ranks_of_labelled(k, game.n_sl)])
    expected, _ = coupled_backup(oracle, labelled, k, actions, policy)
    backup = exact_backup(game, k, actions, method, policy)
    found = np.full_like(value, np.nan)
    backup.sweep(value, found)
    np.testing.assert_allclose(
        found, on_counts(oracle, expected), rtol=0, atol=max(1e-12, backup.rounding_error(value))
    )
    assert np.abs(found - on_counts(oracle, expected)).max() <= backup.rounding_error(value)
    again, action, item = backup.greedy(value)
    np.testing.assert_array_equal(again, found)
    known, *choice = backup.greedy(value, found)
    np.testing.assert_array_equal(known, found)
    np.testing.assert_array_equal(choice, [action, item])


def ranks_of_labelled(k, n_sl):
    """Rank of the counts of each tuple of labelled agents, in product order."""
    listed = [tuple(c) for c in list_counts(k, n_sl)]
    agents = np.indices([n_sl] * k).reshape(k, -1).T
    return [listed.index(tuple(np.bincount(row, minlength=n_sl))) for row in agents]


@pytest.mark.parametrize("gamma", [0.0, 0.8])
@pytest.mark.parametrize("actions", CLASSES)
@pytest.mark.parametrize(("n_sl", "k"), [(2, 3), (3, 2)])
def test_a_solve_equals_enumeration(actions, gamma, n_sl, k, rng):
    game, oracle = random_coupled_game(rng, n_sl=n_sl, gamma=gamma)
    policy = policy_for(game, actions, rng)
    expected = on_counts(oracle, solve_coupled(oracle, k, actions, policy))
    found = solve(game, k, actions, tol=1e-8, local_policy=policy)
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=found.half_width + 1e-9)
    for s_g, c in np.ndindex(*found.value.shape):
        q = found.q(s_g, found.counts[c])
        assert abs(q.max() - found.value[s_g, c]) <= 2 * found.half_width + 1e-12
        assert q[found.global_action[s_g, c], found.item[s_g, c]] >= q.max() - 3 * found.half_width - 1e-12


@pytest.mark.parametrize("actions", CLASSES)
@pytest.mark.parametrize("samples", [0, 1, 3])
def test_listed_items_draw_what_they_draw_in_the_game_of_their_field_value(actions, samples, rng):
    game, k = random_coupled_game(rng, n_sl=3)[0], 4
    policy = policy_for(game, actions, rng)
    counts = list_counts(k, 3)
    value = rng.normal(size=(game.n_sg, len(counts)))
    coupled = make_listed(game, k, actions, samples, 7, policy, MEMORY)
    found = [np.empty_like(value), *coupled.greedy(value)]
    coupled.sweep(value, found[0])
    values = game.field.value_of(counts)
    assert len(set(values)) > 2
    for f in set(values):
        alone = make_listed(at_field(game, f), k, actions, samples, 7, policy, MEMORY)
        expected = [np.empty_like(value), *alone.greedy(value)]
        alone.sweep(value, expected[0])
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine[:, values == f], theirs[:, values == f])
        c = int(np.flatnonzero(values == f)[0])
        np.testing.assert_array_equal(coupled.q(value, 1, c), alone.q(value, 1, c))


@pytest.mark.parametrize("method", ["meet-in-the-middle", "recursion"])
@pytest.mark.parametrize("n_sl", [3, 4])
def test_each_count_vector_gets_the_backup_of_its_field_value(method, n_sl, rng):
    game, k = random_coupled_game(rng, n_sl=n_sl)[0], 5
    counts = list_counts(k, n_sl)
    value = rng.normal(size=(game.n_sg, len(counts)))
    backup = exact_backup(game, k, "joint", method, None)
    found = [np.empty_like(value), *backup.greedy(value)]
    backup.sweep(value, found[0])
    values = game.field.value_of(counts)
    for f in set(values):
        alone = exact_backup(at_field(game, f), k, "joint", method, None)
        expected = alone.greedy(value)
        np.testing.assert_allclose(found[0][:, values == f], expected[0][:, values == f], rtol=0, atol=1e-13)
        for mine, theirs in zip(found[2:], expected[1:], strict=True):
            np.testing.assert_array_equal(mine[:, values == f], theirs[:, values == f])


@pytest.mark.parametrize("expectation", ["exact", "sampled", "rounded"])
@pytest.mark.parametrize("of", ["states", "actions"])
def test_a_field_that_no_table_uses_changes_no_bit(of, expectation, rng):
    tables = random_game_tables(rng, 2, 2, 3, 3)
    field = Field(of=of, weights=[0.0, 1.0, 2.0], edges=[0.5, 1.5])
    for extra in ({"field": field}, {"field": field, "neighbourhood": Neighbourhood(graph="complete")}):
        expected = solve(Game(**tables), 3, expectation=expectation)
        found = solve(Game(**tables, **extra), 3, expectation=expectation)
        np.testing.assert_array_equal(found.value, expected.value)
        np.testing.assert_array_equal(found.item, expected.item)
        assert found.half_width == expected.half_width
        np.testing.assert_array_equal(found.q(1, [1, 1, 1]), expected.q(1, [1, 1, 1]))


@pytest.mark.parametrize("expectation", ["exact", "sampled", "rounded"])
@pytest.mark.parametrize("actions", CLASSES)
def test_a_field_along_which_nothing_varies_changes_nothing(actions, expectation, rng):
    game, _ = random_coupled_game(rng, n_sl=3, constant=True)
    policy = policy_for(game, actions, rng)
    expected = solve(at_field(game, 0), 3, actions, expectation, local_policy=policy)
    found = solve(game, 3, actions, expectation, local_policy=policy)
    np.testing.assert_allclose(found.value, expected.value, rtol=0, atol=found.half_width + expected.half_width)
    np.testing.assert_array_equal(found.global_action, expected.global_action)
    np.testing.assert_array_equal(found.item, expected.item)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 4), actions=st.sampled_from(["joint", "shared", "histogram"]))
@settings(max_examples=15)
def test_a_backup_contracts_is_monotone_and_shifts(seed, k, actions):
    rng = np.random.default_rng(seed)
    game, _ = random_coupled_game(rng)
    backup = make_exact(game, k, actions, None, method=None, error=1e-6, memory_bytes=MEMORY)
    low = rng.normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    high = low + rng.exponential(size=low.shape)
    shifted = low + 3.0
    found = [np.empty_like(low) for _ in range(3)]
    for value, out in zip((low, high, shifted), found, strict=True):
        backup.sweep(value, out)
    slack = 2 * backup.rounding_error(shifted)
    assert (found[1] >= found[0] - slack).all()
    assert np.abs(found[1] - found[0]).max() <= game.gamma * np.abs(high - low).max() + slack
    np.testing.assert_allclose(found[2], found[0] + 3.0 * game.gamma, rtol=0, atol=slack)


def test_shortcuts_that_do_not_serve_change_nothing(rng):
    game, _ = random_coupled_game(rng, n_sl=3)
    plain = solve(game, 8, anderson=False)
    for options in ({"warm_start": True}, {"policy_sweeps": True}, {"drop_actions": True}, {"anderson": True}):
        found = solve(game, 8, **options)
        np.testing.assert_allclose(found.value, plain.value, rtol=0, atol=found.half_width + plain.half_width)
        np.testing.assert_array_equal(found.item, plain.item)
        assert found.n_policy_sweeps == found.n_dropped == 0


def test_meeting_in_the_middle_serves_each_count_vector_once(rng):
    game, k = random_coupled_game(rng, n_sl=3)[0], 6
    inner = exact_backup(game, k, "joint", "meet-in-the-middle", None)._inner
    served = np.zeros((inner.r_g.shape[0], len(inner.counts)), int)
    for task in inner.tasks:
        assert task[10] > task[9]
        served[task[0], inner.segments[task[9] : task[10], 2]] += 1
    classes = game.field.value_of(inner.counts)
    _, classes = np.unique(classes, return_inverse=True)
    n_f = classes.max() + 1
    expected = np.arange(len(served))[:, None] % n_f == classes
    np.testing.assert_array_equal(served, expected)


def test_games_on_graphs_are_refused():
    with pytest.raises(
        ValueError, match=r"^game: found a game on a graph, expected one where all agents share a field; only"
    ):
        solve(load_game("ising"), 2)


def test_an_executor_is_refused(rng):
    game, _ = random_coupled_game(rng)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.raises(ValueError, match=r"^executor: found one for a game with a field, expected none"),
    ):
        solve(game, 2, executor=pool)


def test_epidemic():
    game = load_game("epidemic")
    found = solve(game, 12, "shared", tol=1e-4)
    assert found.half_width <= 0.5e-4
    # With nobody infected gatherings are allowed and all go out; each agent that is infected instead of well is a loss.
    open_, well = 0, found.rank([12, 0, 0])
    assert found.global_action[open_, well] == 0
    assert found.policy.local_action[open_, 0, well].tolist() == [0.0, 1.0]
    assert (np.diff([found.value[open_, found.rank([12 - x, x, 0])] for x in range(13)]) < 0).all()
