"""Alternating best response: every round is a solve, a closure and an answer; the best pair is kept; a stop changes no bit."""

import dataclasses
import functools
import itertools

import h5py
import numba
import numpy as np
import pytest
from command_runs import refusal_of
from processes import assert_same_contents

import kofn
from kofn.engine.backups.selection import TooLargeError
from kofn.engine.deployment import deploy, half_width_of, steps_until
from kofn.engine.equilibrium import valuation as valuation_module
from kofn.engine.equilibrium.alternate import alternate
from kofn.engine.equilibrium.closures import CLOSURES, close, pair_policy
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.equilibrium.files import read_equilibrium, write_equilibrium
from kofn.engine.equilibrium.local_learner import learn_local
from kofn.engine.equilibrium.mean_field import mean_field_gains
from kofn.engine.equilibrium.result import CONVERGED, FIXED_POINT, REVERTED, SPENT
from kofn.engine.equilibrium.settings import AlternationSettings
from kofn.engine.files import KofnFileError
from kofn.engine.game import Game
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solve import Interrupted
from oracles import random_game_tables

K, N = 2, 4
# Seeds of games by how their alternation ends; that of "converged" takes four rounds.
SEEDS = {FIXED_POINT: 0, REVERTED: 1, CONVERGED: 18}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Games this small only wait for a second thread."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@functools.lru_cache
def game_of(number, gamma=0.9):
    return Game(**random_game_tables(np.random.default_rng(number), 2, 2, 3, 2, gamma=gamma), name=f"small-{number}")


@functools.lru_cache
def alternated(number, k=K, n=N, **options):
    return alternate(game_of(number), k, n, **{"exploitability": "none"} | options)


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


def bits_of(value):
    """All that a result holds but times and versions, to be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: bits_of(getattr(value, name)) for name in names if "time_s" not in name and name != "versions"}
    if isinstance(value, list | tuple):
        return [bits_of(entry) for entry in value]
    return repr(value)


def assert_same(left, right):
    left, right = bits_of(left), bits_of(right)
    assert [name for name in right if left[name] != right[name]] == []


# ---- What a round is

EVERY_KIND = [
    *[{"closure": closure, "greedy": greedy} for closure, greedy in itertools.product(CLOSURES, (False, True))],
    {"expectation": "rounded"},
    {"expectation": "sampled", "samples": 3, "seed": 5},
    {"tau_min": 0.02, "tau_scale": 8.0, "rtol": 0.0},
]


@pytest.mark.parametrize("options", EVERY_KIND, ids=lambda options: "-".join(map(str, options.values())))
def test_rounds_are_solve_close_and_learn_local(options):
    game, found = game_of(18), alternated(18, **options)
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
    game = game_of(18)
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
    game, found = game_of(seed), alternated(seed, value="simulated", runs=400)
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
    game = game_of(1)
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
    found = alternate(game_of(3, 0.0), K, N, greedy=True)
    assert found.stop == FIXED_POINT
    assert found.local_policy.argmax(axis=2).tolist() == game_of(3, 0.0).r_l.argmax(axis=2).tolist()
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
    found = alternate(game_of(1), K, N, max_rounds=1, steps=25)
    assert found.rounds[0].exploitability == "mean-field"
    with pytest.raises(TooLargeError):
        alternate(game_of(1), K, N, max_rounds=1, exploitability="exact")
    monkeypatch.setattr(valuation_module, "AUTO_TAGGED_STATES", 1)
    assert alternate(game_of(1), K, N, max_rounds=1, steps=25).rounds[0].exploitability == "mean-field"


def test_what_does_not_fit_is_refused_before_the_first_round():
    game, told = game_of(1), []
    with pytest.raises(TooLargeError):
        alternate(game, K, 300, value="exact", memory_bytes=100_000, progress=told.append)
    assert told == []
    assert not alternate(
        game, 1, 300, memory_bytes=100_000, max_rounds=1, runs=5, steps=5, exploitability="none"
    ).is_exact


# ---- Same bits

RESUMED = {"value": "simulated", "runs": 30, "steps": 10, "exploitability": "exact", "tol": 1e-3}


class Stopper:
    """Asks to stop at its last call."""

    def __init__(self, last=None):
        self.calls, self.last = 0, last

    def __call__(self):
        self.calls += 1
        return self.calls == self.last


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """An alternation of several rounds, its file, and how often it asked whether to stop."""
    folder = tmp_path_factory.mktemp("undisturbed")
    stopper = Stopper()
    found = alternate(game_of(18), K, N, **RESUMED, should_stop=stopper, checkpoint=folder / "c.h5")
    assert len(found.rounds) >= 3
    assert [path.name for path in folder.iterdir()] == ["c.h5"]
    write_equilibrium(folder / "whole.h5", found)
    return found, folder / "whole.h5", stopper.calls


def test_same_bits_for_any_number_of_threads(undisturbed):
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        found = alternate(game_of(18), K, N, **RESUMED)
    finally:
        numba.set_num_threads(1)
    assert_same(found, undisturbed[0])


def test_stopped_and_resumed_at_any_point(undisturbed, tmp_path):
    whole, path, calls = undisturbed
    places = sorted({1, 2, 3, *np.linspace(4, calls, 6).astype(int).tolist()})
    for last in places:
        checkpoint = tmp_path / f"stopped at {last} [1].h5"
        with pytest.raises(Interrupted, match=r"^[^\n]+$") as interrupted:
            alternate(
                game_of(18), K, N, **RESUMED, should_stop=Stopper(last), checkpoint=checkpoint, checkpoint_every_s=0
            )
        assert ("checkpoint" in str(interrupted.value)) <= any(tmp_path.iterdir())
        found = alternate(game_of(18), K, N, **RESUMED, checkpoint=checkpoint, resume=True)
        assert_same(found, whole)
        write_equilibrium(tmp_path / "again.h5", found, overwrite=True)
        assert_same_contents(tmp_path / "again.h5", path)


def test_stopped_over_and_over(undisturbed, tmp_path):
    whole, _, calls = undisturbed
    stops = 0
    # Half of the questions get further than a round, whose answers are not kept one by one.
    while stops < 100:
        try:
            found = alternate(
                game_of(18), K, N, **RESUMED, should_stop=Stopper(calls // 2), checkpoint=tmp_path / "c.h5",
                checkpoint_every_s=0, resume=True,
            )  # fmt: skip
            break
        except Interrupted:
            stops += 1
    assert 2 <= stops < 100
    assert_same(found, whole)
    # Asked once more, there is nothing to do.
    assert_same(alternate(game_of(18), K, N, **RESUMED, checkpoint=tmp_path / "c.h5", resume=True), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["c.h5"]


def test_exact_rounds_go_on_as_they_began(tmp_path, monkeypatch):
    checkpoint = tmp_path / "c.h5"

    def after_the_first_round():
        return checkpoint.exists()

    with pytest.raises(Interrupted):
        alternate(game_of(18), K, N, checkpoint=checkpoint, should_stop=after_the_first_round, exploitability="none")
    # As with another limit of memory.
    monkeypatch.setattr(valuation_module.Valuation, "_fits", lambda self: False)
    found = alternate(game_of(18), K, N, checkpoint=checkpoint, resume=True, exploitability="none")
    assert_same(found, alternated(18))


# ---- Checkpoints and files


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The bytes of a checkpoint of one round."""
    path = tmp_path_factory.mktemp("checkpoint") / "c.h5"
    with pytest.raises(Interrupted, match="stopped"):
        alternate(game_of(18), K, N, exploitability="none", checkpoint=path, should_stop=path.exists)
    assert len(read_equilibrium(path).rounds) == 1
    assert read_equilibrium(path).stop == ""
    return path.read_bytes()


OTHER = {
    "k": (1, N), "n": (K, 5), "closure": "uniform", "greedy": True, "tau_min": 0.2, "tau_scale": 2.0, "max_rounds": 19,
    "rtol": 1e-3, "tol": 1e-5, "value": "exact", "steps": 7, "runs": 999, "exploitability": "auto", "seed": 1,
    "expectation": "rounded", "samples": 9, "max_sweeps": 999,
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(AlternationSettings)])
def test_checkpoint_of_other_settings_is_refused(field, checkpoint, tmp_path):
    path = tmp_path / "c.h5"
    path.write_bytes(checkpoint)
    k, n = OTHER[field] if field in ("k", "n") else (K, N)
    changes = {} if field in ("k", "n") else {field: OTHER[field]}
    with pytest.raises(KofnFileError) as refusal:
        alternate(game_of(18), k, n, **{"exploitability": "none"} | changes, checkpoint=path, resume=True)
    assert str(refusal.value).startswith(f"{path}: checkpoint of another alternation, {field} is ")
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == checkpoint


def test_checkpoint_of_another_game_or_first_policy_is_refused(checkpoint, tmp_path):
    path = tmp_path / "c.h5"
    path.write_bytes(checkpoint)
    game = game_of(18)
    first = uniform_local_policy(game)
    first[0, 0] = 0.25, 0.75
    for other, policy, field in (
        (dataclasses.replace(game, gamma=0.8), None, "game_digest"),
        (dataclasses.replace(game, name="other"), None, "game"),
        (game, first, "first_policy"),
    ):
        with pytest.raises(KofnFileError, match=rf"checkpoint of another alternation, {field}(_digest)? is [^\n]+$"):
            alternate(other, K, N, exploitability="none", local_policy=policy, checkpoint=path, resume=True)


def test_without_resume_everything_starts_anew(checkpoint, tmp_path):
    path = tmp_path / "c [1].h5"
    with pytest.raises(Interrupted, match="stopped in round 1; 0 finished, checkpoint in"):
        alternate(game_of(0), K, N, checkpoint=path, checkpoint_every_s=0, should_stop=Stopper(2))
    assert [left.name for left in tmp_path.iterdir()] == ["c [1].h5.round-1"]
    with pytest.raises(KofnFileError, match=r"round-1: checkpoint of another solve, \w+ is [^\n]+$"):
        alternate(game_of(18), K, N, exploitability="none", checkpoint=path, resume=True)
    path.write_bytes(checkpoint)
    found = alternate(game_of(18), K, N, exploitability="none", checkpoint=path, greedy=True)
    assert_same(found, alternated(18, greedy=True))
    assert [left.name for left in tmp_path.iterdir()] == ["c [1].h5"]


def test_what_is_kept_is_said(tmp_path):
    for place, kept in ((None, "nothing kept"), (tmp_path / "c.h5", "nothing kept")):
        with pytest.raises(Interrupted, match=f"0 finished, {kept}"):
            alternate(game_of(0), K, N, tol=100.0, checkpoint=place, should_stop=Stopper(2))


@pytest.mark.parametrize("options", [{}, {"greedy": True, "exploitability": "exact"}, RESUMED])
def test_round_trip(options, tmp_path):
    found = alternated(18, **options)
    write_equilibrium(tmp_path / "a.h5", found)
    again = read_equilibrium(tmp_path / "a.h5")
    assert_same(again, found)
    assert again.versions == found.versions
    assert (again.wall_time_s, again.summary()["value"]) == (found.wall_time_s, found.value)
    np.testing.assert_array_equal(again.column("wall_time_s"), found.column("wall_time_s"))
    with pytest.raises(KofnFileError, match="exists already"):
        write_equilibrium(tmp_path / "a.h5", found)
    write_equilibrium(tmp_path / "a.h5", again, overwrite=True)
    assert repr(read_equilibrium(tmp_path / "a.h5")) == repr(found)


def test_very_many_rounds_can_be_written(tmp_path):
    found = alternated(18)
    many = dataclasses.replace(found, rounds=found.rounds * 2500)
    write_equilibrium(tmp_path / "many.h5", many)
    assert_same(read_equilibrium(tmp_path / "many.h5"), many)


def test_a_flipped_bit_is_noticed_or_harmless(checkpoint, tmp_path, rng):
    path, content = tmp_path / "flipped.h5", bytearray(checkpoint)
    path.write_bytes(content)
    right, refusals = bits_of(read_equilibrium(path)), 0
    for position in [*range(0, 48, 6), *rng.choice(len(content), size=120, replace=False)]:
        bit = 1 << int(rng.integers(8))
        content[position] ^= bit
        path.write_bytes(content)
        content[position] ^= bit
        message = refusal_of(read_equilibrium, path)
        refusals += message is not None
        if message is None:
            assert bits_of(read_equilibrium(path)) == right, (position, bit)
        else:
            assert message.startswith(f"{path}: ")
    assert refusals > 30


def test_a_file_cut_short_is_refused(checkpoint, tmp_path):
    path = tmp_path / "cut.h5"
    for length in [*range(0, len(checkpoint), len(checkpoint) // 10), len(checkpoint) - 1]:
        path.write_bytes(checkpoint[:length])
        with pytest.raises(KofnFileError, match=r"cut\.h5: damaged or not a kofn file \([^\n]+\)$"):
            read_equilibrium(path)


def test_parts_that_do_not_fit_each_other_are_refused(checkpoint, tmp_path):
    def set_best_round(file):
        file.attrs["best_round"] = 1

    def change_policy(file):
        file["policy/local_action"][...] = 0.5

    def lose_a_round(file):
        del file["rounds/value"]

    def make_value_nan(file):
        file["rounds/value"][...] = np.nan

    for change in (set_best_round, change_policy, lose_a_round, make_value_nan):
        path = tmp_path / f"{change.__name__}.h5"
        path.write_bytes(checkpoint)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(KofnFileError, match=r"damaged or not a kofn file \([^\n]+\)$"):
            read_equilibrium(path)


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
    game, settings = game_of(0), AlternationSettings(k=K, n=N)
    for arguments, message in (
        ({}, "n: missing"),
        ({"n": N}, "k: missing"),
        ({"k": K, "settings": settings}, "settings: found together with k"),
        ({"rtol": 0.1, "settings": settings}, "settings: found together with k"),
    ):
        with pytest.raises(ValueError, match=message):
            alternate(game, **arguments)
    assert_same(alternate(game, settings=settings), alternate(game, K, N))
