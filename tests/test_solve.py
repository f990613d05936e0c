"""Certified solves against plain value iteration on the explicit MDP, certificates, threads, checkpoints."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kofn.engine.checkpoints import read_checkpoint
from kofn.engine.files import KofnFileError
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solution_files import read_solution, write_solution
from kofn.engine.solve import ConvergenceError, Interrupted, solve
from oracles import initial_value, random_game_tables, solve_by_listing, solve_joint_by_labelled_mdp
from oracles.strategies import game_tables


@given(tables=game_tables(gammas=(0.0, 0.5, 0.9)), k=st.integers(1, 3))
@settings(max_examples=15)
def test_joint_solution_equals_the_labelled_mdp(tables, k):
    solution = solve(Game(**tables), k, tol=1e-9)
    expected = solve_joint_by_labelled_mdp(tables, k, tol=1e-11)
    assert np.abs(solution.value - expected).max() <= solution.half_width + 1e-10


def test_one_agent_is_a_plain_mdp_as_another_library_solves_it(rng):
    markov = pytest.importorskip("quantecon.markov", reason="quantecon is in the extra [test]")
    game = Game(**random_game_tables(rng, 3, 2, 4, 3, gamma=0.85))
    states = [(g, s) for g in range(3) for s in range(4)]
    actions = [(b, a) for b in range(2) for a in range(3)]
    R = np.array([[game.r_g[g, b] + game.r_l[g, s, a] for b, a in actions] for g, s in states])
    Q = np.array([[np.outer(game.P_g[g, b], game.P_l[g, s, a]).ravel() for b, a in actions] for g, s in states])
    result = markov.DiscreteDP(R, Q, game.gamma).solve(method="policy_iteration")
    solution = solve(game, 1, tol=1e-10)
    # Rank order of Λ(1, 4): the agent in the last state comes first.
    np.testing.assert_allclose(solution.value[:, ::-1].ravel(), result.v, rtol=0, atol=1e-9)


@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
@pytest.mark.parametrize("expectation", ["exact", "rounded"])
def test_every_class_and_expectation_equals_enumeration(actions, expectation, rng):
    tables = random_game_tables(rng, 2, 2, 3, 2, gamma=0.8)
    game = Game(**tables)
    policy = rng.dirichlet(np.ones(2), (2, 3)) if actions == "fixed" else None
    solution = solve(game, 3, actions, expectation, tol=1e-9, local_policy=policy)
    expected = solve_by_listing(tables, 3, actions, expectation, policy, tol=1e-11)
    assert np.abs(solution.value - expected).max() <= solution.half_width + 1e-10
    np.testing.assert_allclose(
        solution.initial_value, initial_value(solution.value, game.rho_g, game.rho_l, 3), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(
    ("actions", "expectation"), [("joint", "exact"), ("shared", "sampled"), ("histogram", "exact")]
)
def test_loose_certificate_contains_the_tight_value(actions, expectation, rng):
    game = Game(**random_game_tables(rng, 3, 3, 3, 2, gamma=0.95))
    tight = solve(game, 4, actions, expectation, tol=1e-8, seed=5)
    for tol in (1.0, 1e-2, 1e-4):
        loose = solve(game, 4, actions, expectation, tol=tol, seed=5)
        assert 2 * loose.half_width <= tol
        assert np.abs(loose.value - tight.value).max() <= loose.half_width + tight.half_width
        assert loose.n_sweeps <= tight.n_sweeps


@pytest.mark.parametrize("expectation", ["exact", "sampled", "rounded"])
@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
def test_q_has_the_value_as_its_maximum_and_the_policy_as_its_argmax(actions, expectation, rng):
    game = Game(**random_game_tables(rng, 2, 3, 3, 2))
    policy = uniform_local_policy(game) if actions == "fixed" else None
    solution = solve(game, 3, actions, expectation, tol=1e-9, local_policy=policy)
    for s_g in range(2):
        for c, counts in enumerate(solution.counts):
            q = solution.q(s_g, counts)
            assert abs(q.max() - solution.value[s_g, c]) <= solution.half_width + 1e-12
            assert q[solution.global_action[s_g, c], solution.item[s_g, c]] >= q.max() - 1e-9
            assert len(solution.joint_actions(counts)) == q.shape[1]


def test_pure_rows_of_the_policy_follow_the_items(rng):
    game = Game(**random_game_tables(rng, 2, 2, 3, 3))
    solution = solve(game, 4)
    for s_g in range(2):
        for c, counts in enumerate(solution.counts):
            z = solution.joint_actions(counts)[solution.item[s_g, c]]
            for s in np.flatnonzero(counts):
                np.testing.assert_allclose(solution.policy.local_action[s_g, s, c], z[s] / counts[s])


@pytest.mark.parametrize(
    ("actions", "expectation", "method"),
    [
        ("joint", "exact", "meet-in-the-middle"),
        ("joint", "exact", "recursion"),
        ("shared", "exact", "symmetric-power"),
        ("joint", "sampled", None),
        ("histogram", "rounded", None),
    ],
)
def test_same_bits_for_one_and_two_threads(actions, expectation, method, rng, all_threads):
    if numba.get_num_threads() < 2:
        pytest.skip("this machine runs one thread")
    # Stable moves for the symmetric power: most agents stay where they are.
    tables = random_game_tables(rng, 3, 3, 3, 3)
    tables["P_l"] = 0.8 * np.eye(3)[None, :, None, :] + 0.2 * tables["P_l"]
    game = Game(**tables)
    results = []
    for n_threads in (2, 1):
        numba.set_num_threads(n_threads)
        results.append(solve(game, 7, actions, expectation, tol=1e-7, method=method))
    for name in ("value", "global_action", "item", "widths"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


def test_stopped_and_resumed_solve_ends_in_the_same_bits(tmp_path, rng):
    game = Game(**random_game_tables(rng, 3, 2, 3, 2, gamma=0.97))
    undisturbed = solve(game, 5)
    checkpoint, resumptions = tmp_path / "c.checkpoint", 0
    while True:
        sweeps_until_stop = iter([False] * 3 + [True] * 1000)
        try:
            resumed = solve(
                game, 5, checkpoint=checkpoint, checkpoint_every_s=0, resume=True,
                should_stop=lambda stops=sweeps_until_stop: next(stops),
            )  # fmt: skip
            break
        except Interrupted:
            resumptions += 1
    assert resumptions > 3
    for name in ("value", "global_action", "item", "widths"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(undisturbed, name))


def test_checkpoint_of_another_solve_is_refused_and_kept(tmp_path, rng):
    game = Game(**random_game_tables(rng, 2, 2, 2, 2, gamma=0.97))
    checkpoint = tmp_path / "c.checkpoint"
    with pytest.raises(Interrupted, match=str(checkpoint)):
        solve(game, 3, checkpoint=checkpoint, should_stop=lambda: True)
    before = checkpoint.read_bytes()
    with pytest.raises(KofnFileError, match="k is 3, expected 4"):
        solve(game, 4, checkpoint=checkpoint, resume=True)
    with pytest.raises(KofnFileError, match="tol is"):
        solve(game, 3, tol=1e-3, checkpoint=checkpoint, resume=True)
    assert checkpoint.read_bytes() == before
    damaged = bytearray(before)
    damaged[len(damaged) // 2] ^= 1
    checkpoint.write_bytes(damaged[: len(damaged) - 50])
    with pytest.raises(KofnFileError, match="damaged"):
        read_checkpoint(checkpoint, {}, (2, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k: found 0, expected a whole number of at least 1"),
        ({"k": 2.5}, r"k: found 2.5"),
        ({"actions": "any"}, r"actions: found 'any', expected one of joint, shared, histogram, fixed"),
        ({"actions": "fixed"}, r"local_policy: missing"),
        ({"expectation": "guess"}, r"expectation: found 'guess'"),
        ({"tol": 0.0}, r"tol: found 0.0, expected a positive number"),
        ({"tol": float("nan")}, r"tol: found nan"),
        ({"tol": 1e-17}, r"tol: found 1e-17, expected more than the rounding error"),
        ({"method": "magic"}, r"method: found 'magic'"),
        ({"actions": "histogram", "method": "meet-in-the-middle"}, r"method: .* does not serve"),
        ({"seed": -1, "expectation": "sampled"}, r"seed: found -1"),
        ({"samples": 0, "expectation": "sampled"}, r"samples: found 0"),
        ({"k": 10**6}, r"k: 1000000 agents in 3 states have 5e\+11 count vectors, .* lower k"),
        ({"k": 60, "memory_bytes": 10**6}, r"k: no exact method can do joint actions with k = 60 in 1 MB .* lower k"),
        ({"local_policy": np.ones((2, 2, 2))}, r"local_policy: found shape \(2, 2, 2\), expected \(5, 3, 3\)"),
        ({"local_policy": np.full((5, 3, 3), np.nan)}, r"local_policy: found a row that is no law"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message):
    game = load_game("formation")
    with pytest.raises(ValueError, match=message) as refusal:
        solve(game, **{"k": 3, **arguments})
    assert "\n" not in str(refusal.value)


def test_spent_sweeps_raise():
    with pytest.raises(ConvergenceError, match=r"max_sweeps: 2 sweeps reached a certified width"):
        solve(load_game("robots"), 3, local_policy=uniform_local_policy(load_game("robots")), max_sweeps=2)


@pytest.mark.parametrize("actions", ["joint", "histogram", "fixed"])
def test_solution_file_round_trip_is_exact(actions, tmp_path, rng):
    game = Game(**random_game_tables(rng, 2, 2, 3, 2))
    policy = uniform_local_policy(game) if actions == "fixed" else None
    solution = solve(game, 3, actions, local_policy=policy)
    path = tmp_path / "s.h5"
    write_solution(path, solution)
    again = read_solution(path)
    for name in ("value", "global_action", "item", "widths", "counts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(solution, name))
    for name in (
        "k",
        "actions",
        "expectation",
        "method",
        "tol",
        "half_width",
        "rounding_error",
        "wall_time_s",
        "versions",
    ):
        assert getattr(again, name) == getattr(solution, name)
    np.testing.assert_array_equal(again.policy.local_action, solution.policy.local_action)
    np.testing.assert_array_equal(again.q(1, again.counts[4]), solution.q(1, solution.counts[4]))
    with pytest.raises(KofnFileError, match="exists already"):
        write_solution(path, solution)
    assert not list(tmp_path.glob("*.partial"))


def test_stored_q_is_what_q_rebuilds(tmp_path, rng):
    import h5py

    solution = solve(Game(**random_game_tables(rng, 2, 3, 3, 2)), 3)
    write_solution(tmp_path / "s.h5", solution, store_q=True)
    write_solution(tmp_path / "without.h5", solution, store_q=False)
    with h5py.File(tmp_path / "s.h5") as file:
        starts = file["item_start"][...]
        for s_g in range(2):
            for c, counts in enumerate(solution.counts):
                np.testing.assert_array_equal(file["q"][s_g, starts[c] : starts[c + 1]].T, solution.q(s_g, counts))
    with h5py.File(tmp_path / "without.h5") as file:
        assert "q" not in file
