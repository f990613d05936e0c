"""Warm starts, policy sweeps, Anderson acceleration and dropped actions: the answer of plain sweeps, certified, in fewer."""

import itertools

import h5py
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kofn.engine.action_classes import list_counts, list_items
from kofn.engine.backups.selection import make_exact, make_listed
from kofn.engine.backups.slices import exact_q
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solution_files import read_solution, write_solution
from kofn.engine.solve import Interrupted, solve
from kofn.engine.sweeps.anderson import SweepHistory
from kofn.engine.sweeps.certified import Shortcuts, SweepState, certify
from kofn.engine.sweeps.policy import evaluate_policy
from kofn.engine.sweeps.warm_start import ladder, prolong, start_value
from oracles import (
    backup_fixed,
    backup_histogram,
    backup_joint,
    backup_shared,
    count_vectors_listed,
    multivariate_hypergeometric_pmf,
    random_game_tables,
    solve_by_listing,
)
from oracles.strategies import game_tables

NAMES = ("warm_start", "policy_sweeps", "anderson", "drop_actions")
PLAIN = dict.fromkeys(NAMES, False)
ALONE = [{**PLAIN, name: True} for name in NAMES]
TOGETHER = [
    {**PLAIN, "warm_start": True, "policy_sweeps": True, "drop_actions": True},
    {**PLAIN, "warm_start": True, "anderson": True, "drop_actions": True},
]
CLASSES = ("joint", "shared", "histogram", "fixed")
BITS = ("value", "global_action", "item", "widths", "half_width", "n_policy_sweeps", "n_combined", "n_dropped")


def name_of(shortcuts):
    return "+".join(name for name in NAMES if shortcuts[name]) or "plain"


def assert_same(first, second):
    for name in BITS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert first.level_sweeps == second.level_sweeps


def slow_tables(rng, *sizes, gamma):
    """A game whose states hardly move: a solve takes many sweeps."""
    tables = random_game_tables(rng, *sizes, gamma=gamma)
    tables["P_g"] = 0.9 * np.eye(sizes[0])[:, None, :] + 0.1 * tables["P_g"]
    tables["P_l"] = 0.9 * np.eye(sizes[2])[None, :, None, :] + 0.1 * tables["P_l"]
    return tables


# The answer.


@pytest.mark.parametrize("shortcuts", ALONE + TOGETHER, ids=name_of)
@pytest.mark.parametrize("actions", CLASSES)
@given(tables=game_tables(gammas=(0.0, 0.5, 0.95)), k=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_certified_value_contains_that_of_enumeration(actions, shortcuts, tables, k, seed):
    rng = np.random.default_rng(seed)
    game = Game(**tables)
    policy = rng.dirichlet(np.ones(game.n_al), (game.n_sg, game.n_sl)) if actions == "fixed" else None
    solution = solve(game, k, actions, tol=1e-7, local_policy=policy, **shortcuts)
    expected = solve_by_listing(tables, k, actions, "exact", policy, tol=1e-11)
    assert 2 * solution.half_width <= 1e-7
    assert np.abs(solution.value - expected).max() <= solution.half_width + 1e-10
    for s_g, c in np.ndindex(*solution.value.shape):
        counts = list_counts(k, game.n_sl)[c]
        q = exact_q(game, k, actions, policy, expected, s_g, counts, list_items(counts, game.n_al, actions))
        chosen = solution.global_action[s_g, c], solution.item[s_g, c]
        assert q[chosen] >= q.max() - 2e-7
        # Lower pairs are worse, unless rounding or the certified width lies between them.
        clearly_best = np.argwhere(q >= q.max() - 2e-7)
        if len(clearly_best) == 1:
            assert tuple(clearly_best[0]) == chosen


@pytest.mark.parametrize("shortcuts", ALONE + TOGETHER, ids=name_of)
@pytest.mark.parametrize("expectation", ["sampled", "rounded"])
@pytest.mark.parametrize("actions", CLASSES)
def test_listed_expectations_too(actions, expectation, shortcuts, rng):
    game = Game(**slow_tables(rng, 2, 3, 3, 2, gamma=0.95))
    policy = uniform_local_policy(game) if actions == "fixed" else None
    options = {"local_policy": policy, "tol": 1e-8, "seed": 3}
    plain = solve(game, 8, actions, expectation, **options, **PLAIN)
    fast = solve(game, 8, actions, expectation, **options, **shortcuts)
    assert np.abs(fast.value - plain.value).max() <= fast.half_width + plain.half_width
    np.testing.assert_array_equal(fast.global_action, plain.global_action)
    np.testing.assert_array_equal(fast.item, plain.item)


BUILT_IN = [
    (name, k, actions)
    for name, k in (("formation", 8), ("robots", 8), ("irrigation", 16), ("cooling", 8), ("servers", 8), ("traffic", 8))
    for actions in CLASSES
    if (name, actions) not in (("robots", "joint"), ("robots", "histogram"), ("robots", "shared"))
]


@pytest.mark.slow
@pytest.mark.parametrize("shortcuts", TOGETHER, ids=name_of)
@pytest.mark.parametrize(("name", "k", "actions"), BUILT_IN)
def test_built_in_games_have_the_policy_of_plain_sweeps(name, k, actions, shortcuts):
    game = load_game(name)
    policy = uniform_local_policy(game) if actions == "fixed" else None
    plain = solve(game, k, actions, local_policy=policy, **PLAIN)
    fast = solve(game, k, actions, local_policy=policy, **shortcuts)
    assert np.abs(fast.value - plain.value).max() <= fast.half_width + plain.half_width
    assert fast.n_sweeps <= plain.n_sweeps
    for s_g, c in np.argwhere((fast.global_action != plain.global_action) | (fast.item != plain.item)):
        # Only where neither solve can tell which is better: both within their certified widths of the best.
        q = plain.q(s_g, plain.counts[c])
        gap = q.max() - q[fast.global_action[s_g, c], fast.item[s_g, c]]
        assert gap <= 2 * game.gamma * (fast.half_width + plain.half_width) + 4 * plain.rounding_error


def test_shortcuts_save_what_they_promise():
    robots, irrigation = load_game("robots"), load_game("irrigation")
    policy = uniform_local_policy(robots)
    plain = solve(robots, 10, local_policy=policy, **PLAIN)
    fast = solve(robots, 10, local_policy=policy, **{**PLAIN, "anderson": True})
    assert plain.n_sweeps == 56
    assert fast.n_sweeps <= 20
    assert fast.n_combined == fast.n_sweeps - 1
    plain = solve(irrigation, 32, **PLAIN)
    fast = solve(irrigation, 32, **TOGETHER[0])
    assert plain.n_sweeps > 90
    assert fast.n_sweeps <= 5
    assert list(fast.level_sweeps) == [4, 8, 16]
    assert fast.n_policy_sweeps > 0
    assert fast.n_dropped > 0


def test_small_games_are_swept_plainly_and_large_ones_not(rng):
    game = Game(**slow_tables(rng, 2, 2, 3, 2, gamma=0.97))
    assert solve(game, 4).n_policy_sweeps == 0
    assert solve(load_game("irrigation"), 40).level_sweeps
    # What a method cannot do it goes without.
    recursion = solve(game, 8, method="recursion", **{**TOGETHER[0], "tol": 1e-3})
    assert recursion.n_policy_sweeps == recursion.n_dropped == 0
    assert recursion.level_sweeps


# Certificates, bits, interruptions.


@pytest.mark.parametrize("shortcuts", TOGETHER, ids=name_of)
@pytest.mark.parametrize(
    ("actions", "expectation", "method"),
    [
        ("joint", "exact", "meet-in-the-middle"),
        ("shared", "exact", "symmetric-power"),
        ("histogram", "exact", "symmetric-power"),
        ("fixed", "exact", "symmetric-power"),
        ("joint", "sampled", None),
    ],
)
def test_same_bits_for_one_and_two_threads(actions, expectation, method, shortcuts, rng, all_threads):
    if numba.get_num_threads() < 2:
        pytest.skip("this machine runs one thread")
    game = Game(**slow_tables(rng, 3, 3, 3, 3, gamma=0.95))
    policy = uniform_local_policy(game) if actions == "fixed" else None
    results = []
    for n_threads in (2, 1):
        numba.set_num_threads(n_threads)
        results.append(solve(game, 9, actions, expectation, method=method, local_policy=policy, **shortcuts))
    assert_same(*results)


@pytest.mark.parametrize("shortcuts", TOGETHER, ids=name_of)
@pytest.mark.parametrize("actions", ["joint", "fixed"])
def test_solve_stopped_at_any_moment_ends_in_the_same_bits(actions, shortcuts, tmp_path, rng):
    """Every question of whether to stop is answered with yes once: in a level, after a sweep, while a policy is followed."""
    game = Game(**slow_tables(rng, 3, 2, 3, 2, gamma=0.97))
    options = {"local_policy": uniform_local_policy(game) if actions == "fixed" else None, "tol": 1e-7, **shortcuts}
    whole = solve(game, 9, actions, **options)
    checkpoint, stops = tmp_path / "c.checkpoint", []
    for patience in range(1, 1000, 4):
        questions = itertools.count(1)
        try:
            resumed = solve(
                game, 9, actions, **options, checkpoint=checkpoint, checkpoint_every_s=0, resume=True,
                should_stop=lambda questions=questions, patience=patience: next(questions) >= patience,
            )  # fmt: skip
            break
        except Interrupted as stop:
            stops.append(str(stop))
    assert_same(resumed, whole)
    assert any("while solving for 4 agents first" in stop for stop in stops)
    assert any("stopped after sweep" in stop for stop in stops)


def test_checkpoint_remembers_shortcuts(tmp_path, rng):
    game = Game(**slow_tables(rng, 2, 2, 2, 2, gamma=0.97))
    checkpoint = tmp_path / "c.checkpoint"
    with pytest.raises(Interrupted):
        solve(game, 3, checkpoint=checkpoint, should_stop=lambda: True, **ALONE[2])
    with pytest.raises(OSError, match=r"checkpoint of another solve, anderson is true, expected false"):
        solve(game, 3, checkpoint=checkpoint, resume=True, **PLAIN)
    with h5py.File(checkpoint, "r+") as file:
        assert "history" in file
        file["history/results"][0, 0] += 1.0
    with pytest.raises(OSError, match="damaged checkpoint"):
        solve(game, 3, checkpoint=checkpoint, resume=True, **ALONE[2])


@pytest.mark.parametrize("shortcuts", ALONE + TOGETHER, ids=name_of)
def test_loose_certificates_contain_the_tight_value(shortcuts, rng):
    game = Game(**slow_tables(rng, 3, 3, 3, 2, gamma=0.95))
    tight = solve(game, 8, tol=1e-9, **PLAIN)
    for tol in (10.0, 1.0, 1e-2, 1e-4):
        loose = solve(game, 8, tol=tol, **shortcuts)
        assert 2 * loose.half_width <= tol
        assert np.abs(loose.value - tight.value).max() <= loose.half_width + tight.half_width


def test_useless_acceleration_gives_way_to_plain_sweeps(monkeypatch, rng):
    """Nonsense from either accelerator costs time, not the certificate."""
    game = Game(**slow_tables(rng, 2, 2, 3, 2, gamma=0.9))
    expected = solve(game, 4, **PLAIN)

    def nonsense(_policy, value, *_):
        return value + rng.normal(size=value.shape), 1

    monkeypatch.setattr("kofn.engine.sweeps.certified.evaluate_policy", nonsense)
    monkeypatch.setattr(SweepHistory, "accelerate", lambda _self, value, _backed_up: nonsense(None, value)[0])
    for shortcuts in (ALONE[1], ALONE[2]):
        found = solve(game, 4, **shortcuts, max_sweeps=5000)
        assert np.abs(found.value - expected.value).max() <= found.half_width + expected.half_width


def test_spent_sweeps_raise_in_fast_solves_too(rng):
    game = Game(**slow_tables(rng, 2, 2, 3, 2, gamma=0.97))
    with pytest.raises(RuntimeError, match="max_sweeps: 2 sweeps reached a certified width"):
        solve(game, 8, max_sweeps=2, **TOGETHER[1])


# Parts.


@given(m=st.integers(1, 4), more=st.integers(0, 3), n_sl=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_prolonged_value_is_the_mean_over_samples(m, more, n_sl, seed):
    k = m + more
    value = np.random.default_rng(seed).normal(size=(2, len(count_vectors_listed(m, n_sl))))
    found = prolong(value, m, k, n_sl)
    for c, counts in enumerate(count_vectors_listed(k, n_sl)):
        np.testing.assert_allclose(found[:, c], value @ multivariate_hypergeometric_pmf(counts, m), rtol=0, atol=1e-12)


def test_start_is_exact_where_the_value_is_linear_in_one_over_k(rng):
    """V_k = A + B / k with A, B linear in the counts' shares, which means over samples keep."""
    a, b = rng.normal(size=(2, 2, 3))
    values = {k: (a + b / k) @ list_counts(k, 3).T / k for k in (4, 8, 16)}
    np.testing.assert_allclose(start_value({4: values[4], 8: values[8]}, 16, 3), values[16], rtol=0, atol=1e-12)
    assert ladder(33) == [4, 8, 16]
    assert ladder(7) == []


@pytest.mark.parametrize(
    ("actions", "method"),
    [("joint", "meet-in-the-middle"), ("shared", "meet-in-the-middle"), ("fixed", "meet-in-the-middle"),
     ("shared", "symmetric-power"), ("histogram", "symmetric-power"), ("fixed", "symmetric-power"), ("joint", None)],
)  # fmt: skip
@given(tables=game_tables(), k=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_improvement_attains_the_backup_and_following_it_repeats_it(actions, method, tables, k, seed):
    rng = np.random.default_rng(seed)
    tables["P_l"] = 0.8 * np.eye(tables["P_l"].shape[3])[None, :, None, :] + 0.2 * tables["P_l"]
    game = Game(**tables)
    policy = rng.dirichlet(np.ones(game.n_al), (game.n_sg, game.n_sl)) if actions == "fixed" else None
    if method is None:
        backup = make_listed(game, k, actions, 3, 1, None, 10**9)
    else:
        backup = make_exact(game, k, actions, policy, method=method, error=1e-6, memory_bytes=10**9)
    value = rng.normal(size=(game.n_sg, len(list_counts(k, game.n_sl))))
    expected = np.full_like(value, np.nan)
    backup.sweep(value, expected)
    slack = max(1e-12, 2 * backup.rounding_error(value))
    found = backup.improve(value, True)
    np.testing.assert_array_equal(found.value, expected)
    followed = backup.follow(found.choice)
    np.testing.assert_allclose(followed.apply(value), expected, rtol=0, atol=slack)
    # The linear part: what is left when the rewards are taken away.
    other = rng.normal(size=value.shape)
    np.testing.assert_allclose(
        followed.apply(other, rewards=False), followed.apply(other) - followed.apply(np.zeros_like(value)),
        rtol=0, atol=2 * slack,
    )  # fmt: skip
    if method is None:
        return
    oracle = {"joint": backup_joint, "shared": backup_shared, "histogram": backup_histogram}
    q = backup_fixed(tables, value, k, policy)[1] if actions == "fixed" else oracle[actions](tables, value, k)[1]
    for s_g, c in np.ndindex(*value.shape):
        for a_g in range(game.n_ag):
            if actions == "fixed":
                best = q[s_g, c, a_g]
            else:
                table = q[s_g, tuple(int(x) for x in list_counts(k, game.n_sl)[c])]
                best = max(v for key, v in table.items() if key[0] == a_g)
            assert abs(found.action_value[s_g, a_g, c] - best) <= slack
    # A second policy takes over the laws that it shares with the first.
    again = backup.improve(other, False)
    np.testing.assert_allclose(
        backup.follow(again.choice, followed).apply(value), backup.follow(again.choice).apply(value), rtol=0, atol=1e-13
    )


def test_value_of_a_policy_solves_its_linear_system(rng):
    game = Game(**slow_tables(rng, 3, 2, 3, 2, gamma=0.97))
    backup = make_exact(game, 4, "joint", None, method="meet-in-the-middle", error=1e-9, memory_bytes=10**9)
    shape = (3, 15)
    policy = backup.follow(backup.improve(rng.normal(size=shape), False).choice)
    columns = [policy.apply(unit.reshape(shape), rewards=False).ravel() for unit in np.eye(45)]
    expected = np.linalg.solve(np.eye(45) - np.array(columns).T, policy.apply(np.zeros(shape)).ravel())
    found, n_sweeps = evaluate_policy(policy, np.zeros(shape), game.gamma, 1e-13, 1e-13, lambda: False)
    np.testing.assert_allclose(found.ravel(), expected, rtol=0, atol=1e-9)
    assert n_sweeps < 60
    assert evaluate_policy(policy, np.zeros(shape), game.gamma, 1e-13, 1e-13, lambda: True) is None


@pytest.mark.parametrize("actions", CLASSES)
@given(tables=game_tables(gammas=(0.5, 0.9)), k=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_dropped_actions_are_optimal_nowhere(actions, tables, k, seed):
    rng = np.random.default_rng(seed)
    # Some actions are clearly bad, so that there is something to drop; others are copies, which must stay.
    tables["r_g"] = tables["r_g"] - 3.0 * rng.integers(0, 2, tables["r_g"].shape)
    game = Game(**tables)
    policy = uniform_local_policy(game) if actions == "fixed" else None
    backup = make_exact(game, k, actions, policy, method=None, error=1e-9, memory_bytes=10**9)
    if not hasattr(backup, "keep"):
        return
    state = SweepState(value=np.zeros((game.n_sg, len(list_counts(k, game.n_sl)))))
    certify(
        backup,
        state,
        game.gamma,
        1e-6,
        Shortcuts(drop_actions=True),
        after_sweep=lambda: None,
        should_stop=lambda: False,
    )
    if state.kept is None:
        return
    value = solve_by_listing(tables, k, actions, "exact", policy, tol=1e-11)
    for s_g, a_g in np.argwhere(~state.kept):
        for counts in list_counts(k, game.n_sl):
            q = exact_q(game, k, actions, policy, value, s_g, counts, list_items(counts, game.n_al, actions))
            assert q[a_g].max() < q.max() - 1e-6


def test_copies_of_an_action_are_never_dropped(rng):
    tables = random_game_tables(rng, 2, 3, 3, 2, gamma=0.9)
    tables["r_g"][:, 0] -= 5.0
    tables["P_g"][:, 2], tables["r_g"][:, 2] = tables["P_g"][:, 1], tables["r_g"][:, 1]
    for shortcuts in (ALONE[3], *TOGETHER):
        found = solve(Game(**tables), 8, **shortcuts)
        assert found.n_dropped == 2
        assert (found.global_action == 1).all()


def test_savings_survive_the_file(tmp_path, rng):
    solution = solve(Game(**slow_tables(rng, 2, 2, 3, 2, gamma=0.9)), 8, **TOGETHER[0])
    assert solution.level_sweeps
    write_solution(tmp_path / "s.h5", solution)
    assert_same(read_solution(tmp_path / "s.h5"), solution)
