"""Stopped and resumed alternations have the bits of undisturbed ones; checkpoints and files that do not fit are refused."""

import dataclasses

import h5py
import numba
import numpy as np
import pytest
from command_runs import refusal_of
from nash_games import K, N, alternated, assert_same, bits_of, small_game
from processes import assert_same_contents

from kofn.engine.equilibrium import valuation as valuation_module
from kofn.engine.equilibrium.alternate import alternate
from kofn.engine.equilibrium.files import read_equilibrium, write_equilibrium
from kofn.engine.equilibrium.settings import AlternationSettings
from kofn.engine.files import KofnFileError
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solve import Interrupted

pytestmark = pytest.mark.usefixtures("one_thread")

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
    found = alternate(small_game(18), K, N, **RESUMED, should_stop=stopper, checkpoint=folder / "c.h5")
    assert len(found.rounds) >= 3
    assert [path.name for path in folder.iterdir()] == ["c.h5"]
    write_equilibrium(folder / "whole.h5", found)
    return found, folder / "whole.h5", stopper.calls


def test_same_bits_for_any_number_of_threads(undisturbed):
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        found = alternate(small_game(18), K, N, **RESUMED)
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
                small_game(18), K, N, **RESUMED, should_stop=Stopper(last), checkpoint=checkpoint, checkpoint_every_s=0
            )
        assert ("checkpoint" in str(interrupted.value)) <= any(tmp_path.iterdir())
        found = alternate(small_game(18), K, N, **RESUMED, checkpoint=checkpoint, resume=True)
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
                small_game(18), K, N, **RESUMED, should_stop=Stopper(calls // 2), checkpoint=tmp_path / "c.h5",
                checkpoint_every_s=0, resume=True,
            )  # fmt: skip
            break
        except Interrupted:
            stops += 1
    assert 2 <= stops < 100
    assert_same(found, whole)
    # Asked once more, there is nothing to do.
    assert_same(alternate(small_game(18), K, N, **RESUMED, checkpoint=tmp_path / "c.h5", resume=True), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["c.h5"]


def test_exact_rounds_go_on_as_they_began(tmp_path, monkeypatch):
    expected, checkpoint = alternated(18), tmp_path / "c.h5"

    def after_the_first_round():
        return checkpoint.exists()

    with pytest.raises(Interrupted):
        alternate(small_game(18), K, N, checkpoint=checkpoint, should_stop=after_the_first_round, exploitability="none")
    # As with another limit of memory.
    monkeypatch.setattr(valuation_module.Valuation, "_fits", lambda self: False)
    found = alternate(small_game(18), K, N, checkpoint=checkpoint, resume=True, exploitability="none")
    assert_same(found, expected)


# ---- Checkpoints and files


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The bytes of a checkpoint of one round."""
    path = tmp_path_factory.mktemp("checkpoint") / "c.h5"
    with pytest.raises(Interrupted, match="stopped"):
        alternate(small_game(18), K, N, exploitability="none", checkpoint=path, should_stop=path.exists)
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
        alternate(small_game(18), k, n, **{"exploitability": "none"} | changes, checkpoint=path, resume=True)
    assert str(refusal.value).startswith(f"{path}: checkpoint of another alternation, {field} is ")
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == checkpoint


def test_checkpoint_of_another_game_or_first_policy_is_refused(checkpoint, tmp_path):
    path = tmp_path / "c.h5"
    path.write_bytes(checkpoint)
    game = small_game(18)
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
        alternate(small_game(0), K, N, checkpoint=path, checkpoint_every_s=0, should_stop=Stopper(2))
    assert [left.name for left in tmp_path.iterdir()] == ["c [1].h5.round-1"]
    with pytest.raises(KofnFileError, match=r"round-1: checkpoint of another solve, \w+ is [^\n]+$"):
        alternate(small_game(18), K, N, exploitability="none", checkpoint=path, resume=True)
    path.write_bytes(checkpoint)
    found = alternate(small_game(18), K, N, exploitability="none", checkpoint=path, greedy=True)
    assert_same(found, alternated(18, greedy=True))
    assert [left.name for left in tmp_path.iterdir()] == ["c [1].h5"]


def test_what_is_kept_is_said(tmp_path):
    for place, kept in ((None, "nothing kept"), (tmp_path / "c.h5", "nothing kept")):
        with pytest.raises(Interrupted, match=f"0 finished, {kept}"):
            alternate(small_game(0), K, N, tol=100.0, checkpoint=place, should_stop=Stopper(2))


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
