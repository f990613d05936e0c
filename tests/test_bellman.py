"""Every Bellman backup against enumeration over labelled agents, for each action class, expectation and method."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kofn.engine.action_classes import count_items, item_starts, list_counts, list_items
from kofn.engine.backups.selection import TooLargeError, make_exact, make_listed
from kofn.engine.backups.slices import exact_q
from kofn.engine.game import Game
from oracles import backup_fixed, backup_histogram, backup_joint, backup_rounded, backup_shared, random_game_tables
from oracles.strategies import game_tables

ATOL = 1e-12
MEMORY = 10**9
METHODS = {
    "joint": ("meet-in-the-middle", "recursion"),
    "shared": ("meet-in-the-middle", "symmetric-power", "recursion"),
    "histogram": ("symmetric-power", "recursion"),
    "fixed": ("symmetric-power", "meet-in-the-middle", "recursion"),
}


def uniform_policy(game):
    return np.full((game.n_sg, game.n_sl, game.n_al), 1.0 / game.n_al)


def oracle_backup(tables, value, k, actions, local_policy):
    """Backed-up values, and for each (s_g, c) a function from (a_g, item key) to Q."""
    if actions == "joint":
        return backup_joint(tables, value, k)
    if actions == "shared":
        return backup_shared(tables, value, k)
    if actions == "histogram":
        return backup_histogram(tables, value, k)
    return backup_fixed(tables, value, k, local_policy)


def exact_backup(game, k, actions, method, local_policy):
    return make_exact(game, k, actions, local_policy, method=method, error=1e-9, memory_bytes=MEMORY)


@pytest.mark.parametrize(("actions", "method"), [(a, m) for a, ms in METHODS.items() for m in ms])
@given(tables=game_tables(), k=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_exact_backup_equals_enumeration(actions, method, tables, k, seed):
    rng = np.random.default_rng(seed)
    game = Game(**tables)
    policy = rng.dirichlet(np.ones(game.n_al), (game.n_sg, game.n_sl)) if actions == "fixed" else None
    value = rng.normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    expected, _ = oracle_backup(tables, value, k, actions, policy)
    try:
        backup = exact_backup(game, k, actions, method, policy)
    except TooLargeError as refusal:
        # The symmetric power has no stable moves for some matrices, and must say so.
        if method != "symmetric-power" or "amplifies" not in str(refusal):
            raise
        return
    found = np.full_like(value, np.nan)
    backup.sweep(value, found)
    slack = backup.rounding_error(value)
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(ATOL, slack) if method == "symmetric-power" else ATOL)
    assert np.abs(found - expected).max() <= slack, "the stated bound on rounding does not hold"
    again, action, item = backup.greedy(value)
    np.testing.assert_array_equal(again, found)
    for s_g, c in np.ndindex(*value.shape):
        counts = list_counts(k, game.n_sl)[c]
        items = list_items(counts, game.n_al, actions)
        q = exact_q(game, k, actions, policy, value, s_g, counts, items)
        assert q.shape == (game.n_ag, len(items))
        best = np.argwhere(q >= q.max() - 1e-9)[0]
        assert (action[s_g, c], item[s_g, c]) == tuple(best)


@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
def test_q_slice_equals_enumeration_item_by_item(actions, rng):
    tables = random_game_tables(rng, 2, 2, 3, 2)
    game, k = Game(**tables), 3
    policy = rng.dirichlet(np.ones(2), (2, 3)) if actions == "fixed" else None
    counts = list_counts(k, 3)
    value = rng.normal(size=(2, len(counts)))
    _, q_listed = oracle_backup(tables, value, k, actions, policy)
    for s_g, c in np.ndindex(*value.shape):
        items = list_items(counts[c], 2, actions)
        q = exact_q(game, k, actions, policy, value, s_g, counts[c], items)
        for a_g, i in np.ndindex(*q.shape):
            if actions == "fixed":
                expected = q_listed[s_g, c, a_g]
            elif actions == "shared":
                # An empty state's action does not matter: any map that agrees on the occupied states will do.
                f = tuple(int(items[i, s].argmax()) if counts[c][s] else 0 for s in range(3))
                expected = q_listed[s_g, tuple(int(x) for x in counts[c])][a_g, f]
            else:
                expected = q_listed[s_g, tuple(int(x) for x in counts[c])][a_g, tuple(int(x) for x in items[i].ravel())]
            assert abs(q[a_g, i] - expected) < ATOL


@given(k=st.integers(1, 5), n_sl=st.integers(1, 4), n_al=st.integers(1, 3), actions=st.sampled_from(sorted(METHODS)))
def test_item_counts_agree_with_the_lists(k, n_sl, n_al, actions):
    counts = list_counts(k, n_sl)
    lengths = [len(list_items(c, n_al, actions)) for c in counts]
    assert np.diff(item_starts(k, n_sl, n_al, actions)).tolist() == lengths
    assert count_items(k, n_sl, n_al, actions) == sum(lengths)
    if actions in ("joint", "shared"):
        for c in counts:
            items = list_items(c, n_al, actions)
            assert (items.sum(axis=2) == c).all()
            assert len({z.tobytes() for z in items}) == len(items)


@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
@given(tables=game_tables(), k=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_rounded_backup_equals_enumeration(actions, tables, k, seed):
    rng = np.random.default_rng(seed)
    game = Game(**tables)
    policy = uniform_policy(game) if actions == "fixed" else None
    value = rng.normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    expected, _ = backup_rounded(tables, value, k, actions, policy)
    backup = make_listed(game, k, actions, 0, 0, policy, MEMORY)
    found = np.full_like(value, np.nan)
    backup.sweep(value, found)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
def test_sampled_backup_is_the_mean_over_its_own_draws_and_tends_to_the_exact_one(actions, rng):
    """Level: at 4000 draws the mean of every Q is within 6 standard errors of the exact one (about 400 values: 1e-6)."""
    game, k = Game(**random_game_tables(rng, 2, 2, 2, 2)), 3
    policy = uniform_policy(game) if actions == "fixed" else None
    counts = list_counts(k, 2)
    value = rng.normal(size=(2, len(counts)))
    backup = make_listed(game, k, actions, 4000, 11, policy, MEMORY)
    spread = 6 * np.ptp(value) / 2 / np.sqrt(4000)
    worst = 0.0
    for s_g, c in np.ndindex(*value.shape):
        exact = exact_q(game, k, actions, policy, value, s_g, counts[c], list_items(counts[c], 2, actions))
        worst = max(worst, np.abs(backup.q(value, s_g, c) - exact).max())
    assert 0 < worst < spread
    # Power: had the draws ignored the actions, some Q would be off by more than the bound.
    blind = Game(
        P_g=game.P_g, P_l=np.repeat(game.P_l[:, :, :1], 2, axis=2), r_g=game.r_g, r_l=game.r_l, gamma=game.gamma
    )
    off = make_listed(blind, k, actions, 4000, 11, policy, MEMORY)
    gaps = []
    for s_g, c in np.ndindex(*value.shape):
        exact = exact_q(game, k, actions, policy, value, s_g, counts[c], list_items(counts[c], 2, actions))
        gaps.append(np.abs(off.q(value, s_g, c) - exact).max())
    assert max(gaps) > spread


def test_sampled_draws_depend_on_the_seed_alone(rng):
    game = Game(**random_game_tables(rng, 2, 2, 3, 2))
    first, again, other = (make_listed(game, 4, "joint", 5, seed, None, MEMORY).next_counts for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@given(tables=game_tables(gammas=(0.5, 0.9)), k=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_backup_is_a_monotone_contraction_that_passes_constants_on(tables, k, seed):
    rng = np.random.default_rng(seed)
    game = Game(**tables)
    backup = exact_backup(game, k, "joint", "meet-in-the-middle", None)
    first = rng.normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    second = first + rng.random(first.shape)
    out = [np.empty_like(first) for _ in range(3)]
    for value, backed_up in zip((first, second, first + 1.0), out, strict=True):
        backup.sweep(value, backed_up)
    assert (out[1] >= out[0] - ATOL).all()
    assert np.abs(out[1] - out[0]).max() <= game.gamma * np.abs(second - first).max() + ATOL
    np.testing.assert_allclose(out[2], out[0] + game.gamma, rtol=0, atol=ATOL)


@given(tables=game_tables(), k=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_cheaper_classes_are_lower_bounds_of_joint(tables, k, seed):
    game = Game(**tables)
    value = np.random.default_rng(seed).normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    backed_up = {}
    for actions in ("joint", "shared", "histogram"):
        backed_up[actions] = np.empty_like(value)
        exact_backup(game, k, actions, "recursion", None).sweep(value, backed_up[actions])
    assert (backed_up["shared"] <= backed_up["joint"] + ATOL).all()
    assert (backed_up["histogram"] <= backed_up["joint"] + ATOL).all()


def test_larger_lattices_agree_between_methods(rng):
    """Sizes at which tiles are cut, groups of two states are used, and orders other than the identity are needed."""
    for (n_sl, n_al, k), actions in itertools.product(
        ((4, 2, 6), (3, 3, 9), (5, 1, 7), (2, 4, 12)), ("joint", "shared")
    ):
        game = Game(**random_game_tables(rng, 3, 2, n_sl, n_al))
        value = rng.normal(size=(3, len(list_counts(k, n_sl))))
        results = []
        for method in ("meet-in-the-middle", "recursion"):
            backup = exact_backup(game, k, actions, method, None)
            results.append(backup.greedy(value))
        np.testing.assert_allclose(results[0][0], results[1][0], rtol=0, atol=ATOL)
        np.testing.assert_array_equal(results[0][1], results[1][1])
        np.testing.assert_array_equal(results[0][2], results[1][2])
