"""Solves of games with a field of actions against labelled agents; sizes and refusals."""

import concurrent.futures

import numpy as np
import oracles_inventory_exact as labelled
import pytest
from coupled_games import AXES, at_field, random_coupled_game
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_coupled import CoupledTables, coupled_backup, field_of_histogram, on_counts, shaped, solve_coupled

from kofn.engine.action_classes import count_items, item_starts, list_counts, list_items
from kofn.engine.backups.action_fields import ActionFieldBackup, JointActionTables, list_joint_actions, plan_joint
from kofn.engine.backups.item_laws import ItemLaws, ItemTree
from kofn.engine.backups.selection import TooLargeError
from kofn.engine.backups.slices import exact_q
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.game_files import load_game
from kofn.engine.policy import blind_policy
from kofn.engine.solution_files import read_solution, write_solution
from kofn.engine.solve import Interrupted, solve

CLASSES = ("joint", "shared", "histogram", "fixed")
axes_sets = st.sets(st.sampled_from(list(AXES)), min_size=1).map(lambda names: {name: name in names for name in AXES})


def policy_for(game, actions, rng):
    return rng.dirichlet(np.ones(game.n_al), (game.n_sg, game.n_sl)) if actions == "fixed" else None


@pytest.mark.parametrize("actions", CLASSES)
@given(
    seed=st.integers(0, 2**32 - 1), sizes=st.sampled_from([(2, 2, 3), (3, 2, 2), (2, 3, 2), (2, 2, 1)]), axes=axes_sets
)
@settings(max_examples=6)
def test_a_backup_equals_enumeration(actions, seed, sizes, axes):
    rng = np.random.default_rng(seed)
    n_sl, n_al, k = sizes
    game, oracle = random_coupled_game(rng, n_sl=n_sl, n_al=n_al, of="actions", axes=axes)
    policy = policy_for(game, actions, rng)
    value = rng.normal(size=(game.n_sg, len(list_counts(k, n_sl))))
    by_agents = labelled.from_counts(value, n_sl, k)
    expected, _ = coupled_backup(oracle, by_agents, k, actions, policy)
    backup = ActionFieldBackup(game, k, actions, policy)
    found = np.full_like(value, np.nan)
    backup.sweep(value, found)
    assert np.abs(found - on_counts(oracle, expected)).max() <= backup.rounding_error(value)
    again, action, item = backup.greedy(value)
    np.testing.assert_array_equal(again, found)
    for s_g, c in np.ndindex(*value.shape):
        alone = ActionFieldBackup(game, k, actions, policy, list_counts(k, n_sl)[c])
        q = alone.q_of_choices(s_g, value)
        best = np.argwhere(q >= q.max() - 2 * backup.rounding_error(value))
        assert (action[s_g, c], item[s_g, c]) == tuple(best[0])
        assert abs(q.max() - found[s_g, c]) <= 2 * backup.rounding_error(value)


@pytest.mark.parametrize("gamma", [0.0, 0.8])
@pytest.mark.parametrize("actions", CLASSES)
def test_a_solve_equals_enumeration(actions, gamma, rng):
    game, oracle = random_coupled_game(rng, n_sl=2, n_al=3, of="actions", gamma=gamma)
    policy = policy_for(game, actions, rng)
    expected = on_counts(oracle, solve_coupled(oracle, 2, actions, policy))
    found = solve(game, 2, actions, tol=1e-8, local_policy=policy)
    assert found.method == "recursion"
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=found.half_width + 1e-9)
    for s_g, c in np.ndindex(*found.value.shape):
        q = found.q(s_g, found.counts[c])
        assert q.shape == (game.n_ag, len(found.joint_actions(found.counts[c])))
        assert abs(q.max() - found.value[s_g, c]) <= 2 * found.half_width + 1e-12
        assert q[found.global_action[s_g, c], found.item[s_g, c]] >= q.max() - 3 * found.half_width - 1e-12


@pytest.mark.parametrize("actions", CLASSES)
def test_a_field_along_which_nothing_varies_changes_nothing(actions, rng):
    game, _ = random_coupled_game(rng, n_sl=3, of="actions", constant=True)
    alone, policy, value = at_field(game, 0), policy_for(game, actions, rng), rng.normal(size=(2, 10))
    for counts in list_counts(3, 3):
        items = list_items(counts, game.n_al, actions)
        expected = exact_q(alone, 3, actions, policy, value, 1, counts, items)
        found = exact_q(game, 3, actions, policy, value, 1, counts, items)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 4), actions=st.sampled_from(["joint", "shared", "histogram"]))
@settings(max_examples=10)
def test_a_backup_contracts_is_monotone_and_shifts(seed, k, actions):
    rng = np.random.default_rng(seed)
    game, _ = random_coupled_game(rng, of="actions")
    backup = ActionFieldBackup(game, k, actions, None)
    low = rng.normal(size=(game.n_sg, k + 1))
    high = low + rng.exponential(size=low.shape)
    found = [np.empty_like(low) for _ in range(3)]
    for value, out in zip((low, high, low + 3.0), found, strict=True):
        backup.sweep(value, out)
    slack = 2 * backup.rounding_error(low + 3.0)
    assert (found[1] >= found[0] - slack).all()
    assert np.abs(found[1] - found[0]).max() <= game.gamma * np.abs(high - low).max() + slack
    np.testing.assert_allclose(found[2], found[0] + 3.0 * game.gamma, rtol=0, atol=slack)


def test_joint_actions_are_listed_as_the_items_are():
    counts = list_counts(4, 3)
    np.testing.assert_array_equal(
        list_joint_actions(4, 3, 2), np.concatenate([list_items(c, 2, "joint") for c in counts])
    )
    assert item_starts(4, 3, 2, "joint")[-1] == count_items(4, 3, 2, "joint")


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_laws_of_items_keep_mass_and_have_an_adjoint(sparsity, rng):
    game, _ = random_coupled_game(rng, n_sl=3, n_al=2, of="actions", sparsity=sparsity)
    items = list_joint_actions(3, 3, 2)
    tables = JointActionTables(game, items)
    laws = tables.laws(1)
    n_c = len(list_counts(3, 3))
    np.testing.assert_allclose(laws.expect(np.ones((n_c, 1))), 1.0, rtol=0, atol=1e-14)
    f, m = rng.normal(size=(n_c, 2)), rng.exponential(size=(len(items), 2))
    np.testing.assert_allclose((m * laws.expect(f)).sum(), (laws.spread(m) * f).sum(), rtol=1e-12)
    assert laws.n_entries <= plan_joint(game, 3, len(items)).n_entries
    value, masses = rng.normal(size=(2, n_c)), rng.normal(size=(2, len(items)))
    np.testing.assert_allclose(
        (masses * tables.expect(1, value)).sum(), (tables.spread(1, masses) * value).sum(), rtol=1e-11
    )


def test_laws_of_nobody_are_certain():
    laws = ItemLaws(ItemTree(np.zeros((2, 4), dtype=np.int64), np.array([0, 1]), 2), np.full((2, 4, 2), 0.5))
    np.testing.assert_array_equal(laws.expect(np.array([[2.0, 3.0]])), [[2.0, 3.0], [2.0, 3.0]])
    np.testing.assert_array_equal(laws.spread(np.array([[2.0], [3.0]])), [[5.0]])


def test_shortcuts_that_do_not_serve_change_nothing(rng):
    game, _ = random_coupled_game(rng, n_sl=3, of="actions")
    plain = solve(game, 4, anderson=False)
    for options in ({"warm_start": True}, {"policy_sweeps": True}, {"drop_actions": True}, {"anderson": True}):
        found = solve(game, 4, **options)
        np.testing.assert_allclose(found.value, plain.value, rtol=0, atol=found.half_width + plain.half_width)
        np.testing.assert_array_equal(found.item, plain.item)
        assert found.n_policy_sweeps == found.n_dropped == 0


def test_a_resumed_solve_has_the_same_bits_and_a_file_brings_it_back(rng, tmp_path):
    game, _ = random_coupled_game(rng, of="actions")
    expected = solve(game, 4, anderson=False)
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        solve(game, 4, anderson=False, checkpoint=tmp_path / "c.h5", should_stop=lambda: next(asked))
    found = solve(game, 4, anderson=False, checkpoint=tmp_path / "c.h5", resume=True)
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.widths, expected.widths)
    write_solution(tmp_path / "s.h5", found)
    again = read_solution(tmp_path / "s.h5")
    np.testing.assert_array_equal(again.q(1, [2, 2]), expected.q(1, [2, 2]))
    assert again.method == "recursion"


# The inventory game: 18,522 joint states of labelled agents.


@pytest.fixture(scope="module")
def inventory():
    game = load_game("inventory-tiny")
    field = field_of_histogram([game.field.weights[0]], [game.field.edges[0]])
    return game, CoupledTables(game.P_g, game.P_l, game.r_g, game.r_l, game.gamma, of="actions", field=field)


def test_the_optimum_of_the_inventory_game_is_that_of_labelled_agents(inventory):
    game, oracle = inventory
    found = solve(game, 3, tol=1e-8)
    value = labelled.from_counts(found.value, 21, 3)
    bound = labelled.distance_from_fixed_point(oracle, value, labelled.optimal_backup(oracle, value))
    assert bound <= 1e-7
    assert found.half_width <= 0.5e-8


@pytest.mark.parametrize("stock", [None, 2, 4])
def test_values_of_policies_in_the_inventory_game_are_those_of_labelled_agents(inventory, stock):
    # Without a stock to order up to, agents draw their orders from laws of their own for each state.
    game, oracle = inventory
    if stock is None:
        law = np.random.default_rng(4).dirichlet(np.ones(3), (2, 21))
    else:
        orders = [int(np.clip(stock - x - z, 0, 2)) for x, z in game.labels.local_states]
        law = np.tile(np.eye(3)[orders], (2, 1, 1))
    found = evaluate(game, blind_policy(game, law), 3, occupancies=False, average=False)
    value = labelled.from_counts(found.value, 21, 3)
    updated = labelled.policy_backup(oracle, value, np.ones((2, 1)), law)
    assert labelled.distance_from_fixed_point(oracle, value, updated) <= 1e-7


def test_labelled_agents_by_tensors_are_those_by_lists(rng):
    game, oracle = random_coupled_game(rng, n_sl=2, n_al=3, of="actions")
    V = shaped(oracle, 2, rng.normal(size=8))
    V = (V + V.transpose(0, 2, 1)) / 2
    np.testing.assert_allclose(labelled.optimal_backup(oracle, V), coupled_backup(oracle, V, 2)[0], rtol=0, atol=1e-12)
    expected = solve_coupled(oracle, 2, tol=1e-9)
    found = labelled.iterate(oracle, labelled.optimal_backup, 2, 1e-9)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-9)
    policy = policy_for(game, "fixed", rng)
    expected = solve_coupled(oracle, 2, "fixed", policy)
    even = np.full((2, 2), 0.5)
    mean = np.mean([labelled.policy_backup(oracle, expected, np.eye(2)[[a, a]], policy) for a in (0, 1)], axis=0)
    np.testing.assert_allclose(labelled.policy_backup(oracle, expected, even, policy), mean, rtol=0, atol=1e-12)


# What is refused.


def test_what_does_not_fit_is_refused_with_its_sizes():
    game = load_game("gaussian-squeeze")
    with pytest.raises(
        TooLargeError, match=r"^k: 100 agents have 4.2e\+12 joint actions, .* PB, expected at most .*; lower k"
    ):
        solve(game, 100)
    with pytest.raises(
        TooLargeError, match=r"^k: 4 agents have 715 joint actions, .*B, expected at most 10 kB; lower k"
    ):
        solve(game, 4, memory_bytes=10_000)


@pytest.mark.parametrize("expectation", ["sampled", "rounded"])
def test_listed_expectations_are_refused(expectation, rng):
    game, _ = random_coupled_game(rng, of="actions")
    with pytest.raises(
        ValueError, match=r"^game: found a field of actions, expected .*'exact' serves a field of actions"
    ):
        solve(game, 2, expectation=expectation)


def test_other_methods_and_executors_are_refused(rng):
    game, _ = random_coupled_game(rng, of="actions")
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.raises(ValueError, match=r"^executor: found one for a game with a field, expected none"),
    ):
        solve(game, 2, executor=pool)
    assert solve(game, 2, method="recursion").method == "recursion"
    with pytest.raises(ValueError, match=r"^method: found 'symmetric-power', expected 'recursion' for a game with"):
        solve(game, 2, method="symmetric-power")
