"""Alternating best response: every round is a solve, a closure and an answer; the best pair is kept."""

import itertools

import numpy as np
import pytest
from nash_games import K, N, alternated, assert_same, small_game

import kofn
from kofn.engine.backups.selection import TooLargeError
from kofn.engine.deployment import deploy, half_width_of, steps_until
from kofn.engine.equilibrium import valuation as valuation_module
from kofn.engine.equilibrium.alternate import alternate
from kofn.engine.equilibrium.closures import CLOSURES, close, pair_policy
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.equilibrium.local_learner import learn_local
from kofn.engine.equilibrium.mean_field import mean_field_gains
from kofn.engine.equilibrium.result import CONVERGED, FIXED_POINT, REVERTED, SPENT
from kofn.engine.equilibrium.settings import AlternationSettings
from kofn.engine.game import Game
from kofn.engine.policy import uniform_local_policy
from oracles import random_game_tables

pytestmark = pytest.mark.usefixtures("one_thread")

# Seeds of games by how their alternation ends; that of "converged" takes four rounds.
SEEDS = {FIXED_POINT: 0, REVERTED: 1, CONVERGED: 18}


def replayed(game, settings, n_rounds, first=None):
    """Round by round what an alternation consists of: (answered policy, solution, local solution)."""
    answered = uniform_local_policy(game) if first is None else first
    for _ in range(n_rounds):
        solution = kofn.solve(
            game, settings.k, local_policy=answered, expectation=settings.expectation, tol=settings.tol,
            samples=settings.samples, seed=settings.seed,
        )  # fmt: skip
        closure = close(game, solution.global_action, settings.k, answered, settings.closure)
        local = learn_local(
            game, closure.transition, tau_min=settings.tau_min, tau_scale=settings.tau_scale, greedy=settings.greedy,
            tol=settings.tol,
        )  # fmt: skip
        yield answered, solution, local
        answered = local.policy


# ---- What a round is

EVERY_KIND = [
    *[{"closure": closure, "greedy": greedy} for closure, greedy in itertools.product(CLOSURES, (False, True))],
    {"expectation": "rounded"},
    {"expectation": "sampled", "samples": 3, "seed": 5},
    {"tau_min": 0.02, "tau_scale": 8.0, "rtol": 0.0},
]


@pytest.mark.parametrize("options", EVERY_KIND, ids=lambda options: "-".join(map(str, options.values())))
def test_rounds_are_solve_close_and_learn_local(options):
    game, found = small_game(18), alternated(18, **options)
    rounds = list(replayed(game, found.settings, len(found.rounds)))
    for entry, (answered, solution, local) in zip(found.rounds, rounds, strict=True):
        assert entry.surrogate_value == solution.initial_value
        assert entry.n_sweeps == solution.n_sweeps
        for value, laws in ((entry.global_value, answered), (entry.value, local.policy)):
            exact = kofn.evaluate(game, pair_policy(game, K, solution.global_action, laws), N, occupancies=False)
            assert abs(value - exact.initial_value) <= entry.half_width + exact.half_width
    _, solution, local = rounds[found.best_round]
    np.testing.assert_array_equal(found.solution.value, solution.value)
    np.testing.assert_array_equal(found.solution.global_action, solution.global_action)
    np.testing.assert_array_equal(found.local_policy, local.policy)
    np.testing.assert_array_equal(found.policy.global_action, solution.global_action)
    for name in ("q", "value", "temperature"):
        np.testing.assert_array_equal(getattr(found.local, name), getattr(local, name))
    last = found.rounds[-1]
    dropped = last.change + last.change_half_width < 0.0
    np.testing.assert_array_equal(found.next_local_policy, found.local_policy if dropped else rounds[-1][2].policy)
    if found.settings.greedy:
        assert set(np.unique(found.local_policy)) == {0.0, 1.0}
    else:
        assert found.local_policy.min() > 0.0


def test_settings_matter():
    policies = [alternated(18, **options).local_policy.tobytes() for options in EVERY_KIND if not options.get("greedy")]
    assert len(set(policies)) >= 4


def test_first_policy_is_answered_first(rng):
    game = small_game(18)
    first = rng.dirichlet(np.ones(2), size=(2, 3))
    found = alternate(game, K, N, local_policy=first, max_rounds=1, exploitability="none")
    _, solution, local = next(replayed(game, found.settings, 1, first / first.sum(axis=2, keepdims=True)))
    np.testing.assert_array_equal(found.solution.value, solution.value)
    np.testing.assert_array_equal(found.local_policy, local.policy)


def test_the_best_pair_is_kept():
    found = [alternated(seed, **options) for seed in (0, 1, 18) for options in ({}, {"greedy": True})]
    for equilibrium in found:
        values = equilibrium.column("value")
        assert equilibrium.best_round == values.argmax()
        assert equilibrium.value == values.max()
        best = -np.inf
        for entry in equilibrium.rounds:
            if best > -np.inf:
                assert entry.change == entry.value - best
            assert entry.kept == (entry.value > best)
            best = max(best, entry.value)
    assert {equilibrium.best_round > 0 for equilibrium in found} == {True, False}


@pytest.mark.parametrize("seed", SEEDS.values())
def test_simulated_values_hold_the_exact_ones(seed):
    game, found = small_game(seed), alternated(seed, value="simulated", runs=400)
    exact = alternated(seed, max_rounds=1)
    assert (found.is_exact, exact.is_exact) == (False, True)
    entry = found.rounds[0]
    # What the steps leave out, and the interval that one in twenty misses.
    slack = 1e-3 * (np.abs(game.r_g).max() + np.abs(game.r_l).max()) / (1.0 - game.gamma)
    assert abs(entry.value - exact.value) <= 1.5 * entry.half_width + slack
    assert entry.half_width > exact.half_width
    played = deploy(game, found.policy, N, steps=steps_until(game), runs=400, seed=0, trace_points=1)
    assert found.value == played.mean_return
    assert found.half_width == half_width_of(played.returns)


def test_changes_of_simulated_values_are_on_common_random_numbers():
    game = small_game(1)
    found = alternated(1, value="simulated", runs=100, steps=30, seed=3, max_rounds=2)
    assert len(found.rounds) == 2
    samples = []
    for _, solution, local in replayed(game, found.settings, 2):
        policy = pair_policy(game, K, solution.global_action, local.policy)
        samples.append(deploy(game, policy, N, steps=30, runs=100, seed=3, trace_points=1).returns)
    difference = samples[1] - samples[0]
    assert found.rounds[1].change == difference.mean()
    assert found.rounds[1].change_half_width == half_width_of(difference)
    assert found.rounds[1].change_half_width < found.rounds[1].half_width


# ---- When it ends


@pytest.mark.parametrize("stop", [CONVERGED, FIXED_POINT, REVERTED, SPENT])
def test_every_reason_to_stop(stop):
    found = alternated(18, max_rounds=2) if stop == SPENT else alternated(SEEDS[stop])
    values, settings = found.column("value"), found.settings
    assert found.stop == stop
    answered, *_ = list(replayed(found.game, settings, len(values)))[-1]
    changes = np.abs(np.diff(values))
    if stop == SPENT:
        assert len(values) == settings.max_rounds
    elif stop == FIXED_POINT:
        np.testing.assert_allclose(found.next_local_policy, answered, rtol=0, atol=1e-12)
    else:
        small = changes < settings.rtol * np.abs(values[:-1])
        assert small[-1] == (stop == CONVERGED)
        assert not small[:-1].any()


def test_after_a_drop_the_pair_before_it_comes_back():
    found, before = alternated(SEEDS[REVERTED]), alternated(SEEDS[REVERTED], max_rounds=1)
    entry = found.rounds[-1]
    assert entry.change + entry.change_half_width < 0.0
    assert not entry.kept
    assert found.best_round == len(found.rounds) - 2 == 0
    for name in ("solution", "local"):
        assert_same(getattr(found, name), getattr(before, name))
    np.testing.assert_array_equal(found.next_local_policy, before.local_policy)


def test_a_wide_tolerance_ends_with_the_second_round():
    found = alternated(18, rtol=0.5)
    assert (found.stop, len(found.rounds)) == (CONVERGED, 2)


@pytest.mark.parametrize(
    ("sizes", "k", "n"), [((1, 1, 1, 1), 1, 1), ((2, 2, 2, 2), 1, 1), ((1, 2, 2, 2), 3, 3), ((2, 1, 2, 2), 2, 3)]
)
def test_smallest_games(sizes, k, n):
    game = Game(**random_game_tables(np.random.default_rng(4), *sizes), n_agents=n)
    found = alternate(game, k, closure="tagged")
    assert found.settings.n == n
    assert found.stop in (CONVERGED, FIXED_POINT, REVERTED)
    exact = kofn.evaluate(game, found.policy, n, occupancies=False)
    assert abs(found.value - exact.initial_value) <= found.half_width + exact.half_width
    # With k = n and greedy local agents nobody's own reward is hidden from the gains.
    assert np.isfinite(found.rounds[found.best_round].gains).all()


def test_game_without_discounted_future():
    found = alternate(small_game(3, 0.0), K, N, greedy=True)
    assert found.stop == FIXED_POINT
    assert found.local_policy.argmax(axis=2).tolist() == small_game(3, 0.0).r_l.argmax(axis=2).tolist()
    assert abs(found.rounds[found.best_round].gains[0]).max() < 1e-6


# ---- Exploitability of the rounds


def test_gains_are_those_of_the_pair():
    found = alternated(1, exploitability="exact", max_rounds=1)
    for r, reward in enumerate(("selfish", "team")):
        right = exploitability(found.game, found.policy, N, reward=reward)
        for p, gain in enumerate((right.global_gain, right.local_gain)):
            low, high = found.rounds[0].gains[r, p]
            assert low <= gain <= high
            assert high - low == pytest.approx(4.0 * right.half_width)
    low, high = found.rounds[0].nash_conv("team")
    right = exploitability(found.game, found.policy, N, reward="team")
    assert low <= right.nash_conv <= high
    entry = found.rounds[0]
    np.testing.assert_array_equal(entry.learned_gains, [entry.gains[1, 0], entry.gains[0, 1]])
    assert entry.nash_conv() == tuple(np.maximum(entry.learned_gains, 0.0).sum(axis=0))
    assert entry.exploitability == "exact"


def test_mean_field_gains_and_none():
    found = alternated(1, exploitability="mean-field", steps=25, max_rounds=1, value="exact")
    right = mean_field_gains(found.game, found.policy, N, steps=25, seed=0)
    np.testing.assert_array_equal(found.rounds[0].gains, right.gains)
    found = alternated(1, exploitability="none", max_rounds=1)
    assert np.isnan(found.rounds[0].gains).all()


def test_automatic_exploitability_is_exact_where_it_fits(monkeypatch):
    assert alternated(1, exploitability="auto", max_rounds=1).rounds[0].exploitability == "exact"

    def too_large(*_, **__):
        raise TooLargeError("n: found 4, expected fewer")

    monkeypatch.setattr("kofn.engine.equilibrium.exploitability.exploitability", too_large)
    found = alternate(small_game(1), K, N, max_rounds=1, steps=25)
    assert found.rounds[0].exploitability == "mean-field"
    with pytest.raises(TooLargeError):
        alternate(small_game(1), K, N, max_rounds=1, exploitability="exact")
    monkeypatch.setattr(valuation_module, "AUTO_TAGGED_STATES", 1)
    assert alternate(small_game(1), K, N, max_rounds=1, steps=25).rounds[0].exploitability == "mean-field"


def test_what_does_not_fit_is_refused_before_the_first_round():
    game, told = small_game(1), []
    with pytest.raises(TooLargeError):
        alternate(game, K, 300, value="exact", memory_bytes=100_000, progress=told.append)
    assert told == []
    assert not alternate(
        game, 1, 300, memory_bytes=100_000, max_rounds=1, runs=5, steps=5, exploitability="none"
    ).is_exact


# ---- Settings

BAD = [
    ("k", 0), ("k", 2.5), ("k", True), ("k", N + 1), ("k", 10**400), ("n", 2**31), ("n", None), ("samples", 0),
    ("max_rounds", 0), ("max_sweeps", -1), ("steps", 0), ("steps", "many"), ("runs", 0), ("expectation", "guessed"),
    ("closure", "none"), ("closure", 3), ("value", ""), ("exploitability", "maybe"), ("tau_min", 0.0),
    ("tau_min", 10**400), ("tau_scale", float("nan")), ("tau_scale", float("inf")), ("tol", 0), ("tol", "small"),
    ("tol", True), ("rtol", -1e-9), ("rtol", float("nan")), ("greedy", 1), ("seed", -1), ("seed", 2**64), ("seed", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD, ids=str)
def test_bad_settings_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: found [^\n]+, expected [^\n]+$") as error:
        AlternationSettings(**{"k": K, "n": N} | {field: value})
    assert len(str(error.value)) < 200


def test_settings_come_once():
    game, settings = small_game(0), AlternationSettings(k=K, n=N)
    for arguments, message in (
        ({}, "n: missing"),
        ({"n": N}, "k: missing"),
        ({"k": K, "settings": settings}, "settings: found together with k"),
        ({"rtol": 0.1, "settings": settings}, "settings: found together with k"),
    ):
        with pytest.raises(ValueError, match=message):
            alternate(game, **arguments)
    assert_same(alternate(game, settings=settings), alternate(game, K, N))
