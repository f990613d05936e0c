"""Studies of method "nash": one pair for each game, whose local policy every k answers; kills change no bit of study.h5."""

import random
import shutil
import signal
import time

import numpy as np
import pytest
from command_runs import refused, succeed, unchanged
from command_runs import write_game as write_rooms
from nash_games import small_game, write_tables
from processes import KOFN, Session, assert_same_contents

from kofn.engine.equilibrium.alternate import alternate
from kofn.engine.equilibrium.files import read_equilibrium
from kofn.engine.evaluation.refine_sampled import refine_sampled
from kofn.engine.files import KofnFileError
from kofn.engine.game_files import load_game
from kofn.engine.mode_tracking import mode_accuracy
from kofn.engine.policy import checked_local_policy
from kofn.engine.solve import Interrupted, solve
from kofn.engine.study.cells import REFINING_RUNS, REFINING_SEED, read_cell
from kofn.engine.study.files import read_study
from kofn.engine.study.run import study
from kofn.engine.study.settings import StudySettings, load_study

pytestmark = pytest.mark.usefixtures("one_thread")

TIMEOUT_S = 120.0
FIGURES = {"convergence.png", "heat-maps.png", "mode-accuracy.png", "reward.png"}
QUICK = {"steps": 10, "runs": 2, "jobs": 1, "method": "nash"}
STUDY_FILE = """
games = "game.toml"
n = 6
k = "1:3"
method = "nash"
steps = 20
runs = 3
seeds = [0, 1]
[nash]
closure = "tagged"
tau_min = 0.2
max_rounds = 3
"""


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("kofn.engine.study.figures.draw_figures", lambda *_: [])
    monkeypatch.setattr("kofn.engine.study.nash_figures.draw_nash_figures", lambda *_: [])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with a game, a study file and the study that it made."""
    folder = tmp_path_factory.mktemp("done")
    write_tables(folder / "game.toml", small_game(18))
    (folder / "study.toml").write_text(STUDY_FILE)
    succeed("study", folder / "study.toml", "-o", folder / "study", "--jobs", 1, "-q")
    return folder


@pytest.fixture
def copied(done, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(done, tmp_path / "copied")


# ---- What a study holds


def test_every_k_answers_the_local_policy_of_the_pair(done):
    game = load_game(str(done / "game.toml"))
    pair = read_equilibrium(done / "study" / "equilibria" / "small-18.h5")
    right = alternate(game, 3, 6, closure="tagged", tau_min=0.2, max_rounds=3)
    np.testing.assert_array_equal(pair.local_policy, right.local_policy)
    np.testing.assert_array_equal(pair.column("value"), right.column("value"))
    result = read_study(done / "study" / "study.h5")
    assert result.k.tolist() == [1, 2, 3]
    for k in (1, 2, 3):
        cell = read_cell(done / "study" / "cells" / f"small-18.fixed.exact.k={k:04d}.h5")
        solution = solve(game, k, local_policy=checked_local_policy(pair.local_policy, game))
        np.testing.assert_allclose(cell.solution.local_policy, pair.local_policy, rtol=1e-15)
        np.testing.assert_array_equal(cell.solution.value, solution.value)
        assert (result.sel("value", k=k) == solution.initial_value).all()
        # The labels of the global actions are those of local states.
        for seed in (0, 1):
            accuracy = mode_accuracy(cell.deployments[6, seed], game).mean()
            assert result.sel("mode_accuracy", k=k, seed=seed) == accuracy
    assert {path.name for path in (done / "study" / "nash").iterdir()} == FIGURES
    for path in (done / "study" / "nash").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    assert (done / "study" / "solve-time-against-k.png").exists()
    assert [path.name for path in (done / "study" / "equilibria").iterdir()] == ["small-18.h5"]


def test_several_games_and_expectations(tmp_path, no_figures):
    games = [small_game(0, n_agents=3), small_game(18, n_agents=4)]
    result = study(
        games, k="1,2", expectation="exact,rounded", output=tmp_path, nash={"exploitability": "none"}, **QUICK
    )
    for game in games:
        pair = read_equilibrium(tmp_path / "equilibria" / f"{game.name}.h5")
        assert (pair.settings.k, pair.settings.n, pair.settings.expectation) == (2, game.n_agents, "exact")
        for expectation in ("exact", "rounded"):
            policy = checked_local_policy(pair.local_policy, game)
            right = solve(game, 2, local_policy=policy, expectation=expectation)
            found = result.sel("value", game=game.name, k=2, expectation=expectation)
            assert found == right.initial_value


def test_given_local_policy_is_what_the_pair_begins_with(tmp_path, no_figures):
    game = small_game(18, n_agents=4)
    first = np.random.default_rng(2).dirichlet(np.ones(2), size=(2, 3))
    nash = {"max_rounds": 1, "exploitability": "none"}
    study(game, k=2, local_policy=first, nash=nash, output=tmp_path, **QUICK)
    right = alternate(game, 2, local_policy=first, **nash)
    pair = tmp_path / "equilibria" / "small-18.h5"
    np.testing.assert_array_equal(read_equilibrium(pair).local_policy, right.local_policy)
    with pytest.raises(KofnFileError, match=r"pair of another study, first_policy is [^\n]+ --force$"):
        study(game, k=2, nash=nash, output=tmp_path, **QUICK)


def test_robots(tmp_path):
    nash = {"max_rounds": 1, "value": "simulated", "runs": 10, "steps": 10, "exploitability": "none"}
    result = study("robots", 7, [1, 2], output=tmp_path, nash=nash, exact=False, **QUICK | {"tol": 1e-2})
    accuracy = result.sel("mode_accuracy")
    assert np.isfinite(accuracy).all()
    assert ((accuracy >= 0.0) & (accuracy <= 1.0)).all()
    assert {path.name for path in (tmp_path / "nash").iterdir()} == FIGURES


def test_no_mode_accuracy_where_no_action_is_named_like_a_state(tmp_path):
    game = load_game(str(write_rooms(tmp_path)))
    result = study(game, 4, [1, 2], output=tmp_path / "study", nash={"exploitability": "none"}, **QUICK)
    assert np.isnan(result.sel("mode_accuracy")).all()
    assert np.isfinite(result.sel("mean_return")).all()
    assert {path.name for path in (tmp_path / "study" / "nash").iterdir()} == FIGURES - {"mode-accuracy.png"}


def test_refinement_is_sampled_where_the_chain_does_not_fit(tmp_path, no_figures):
    game = small_game(18)
    nash = {"max_rounds": 1, "value": "simulated", "runs": 10, "steps": 10, "exploitability": "none"}
    result = study(game, 40, [1, 2], output=tmp_path, nash=nash, exact=False, refine=True, **QUICK)
    for k in (1, 2):
        cell = read_cell(tmp_path / "cells" / f"small-18.fixed.exact.k={k:04d}.h5")
        refined = cell.refined[40]
        assert refined.method == "sampled"
        assert result.sel("refined_gain", k=k) == refined.gain
        assert result.sel("refined_gain_half_width", k=k) == refined.half_width
        assert result.sel("refined_mean_return", k=k) == refined.deployments[0].mean_return
        assert result.sel("refined_mode_accuracy", k=k) == mode_accuracy(refined.deployments[0], game).mean()
        assert np.isnan(result.sel("refined_value", k=k))
    right = refine_sampled(game, cell.solution.policy, 40, runs=REFINING_RUNS, seed=REFINING_SEED)
    assert refined.gain == right.gain


# ---- Started again


def test_a_second_start_takes_everything_over(done, copied):
    folder = copied / "study"

    def state():
        kept = [*folder.glob("cells/*"), *folder.glob("equilibria/*")]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}

    before = state()
    succeed("study", copied / "study.toml", "-o", folder, "--jobs", 2, "-q")
    assert state() == before
    assert (folder / "study.h5").read_bytes() == (done / "study" / "study.h5").read_bytes()


def test_another_study_in_the_same_folder_is_refused(copied, no_figures):
    for words, field in ((["--closure", "joint"], "closure"), (["-k", "1:4"], "k"), (["--tol", 1e-5], "tol")):
        with unchanged(copied):
            message = refused("study", copied / "study.toml", "-o", copied / "study", "--jobs", 1, "-q", *words)
        assert f"small-18.h5: pair of another study, {field} is " in message
        assert message.endswith("; take another folder, or --force")
    words = ("-o", copied / "study", "--jobs", 1, "-q", "--force", "--closure", "uniform")
    succeed("study", copied / "study.toml", *words)
    assert read_equilibrium(copied / "study" / "equilibria" / "small-18.h5").settings.closure == "uniform"


def test_damaged_pair_is_refused(copied):
    path = copied / "study" / "equilibria" / "small-18.h5"
    path.write_bytes(path.read_bytes()[:3000])
    with unchanged(copied):
        message = refused("study", copied / "study.toml", "-o", copied / "study", "--jobs", 1, "-q")
    assert message.startswith(f"{path}: damaged or not a kofn file (")


def test_stopped_in_the_first_phase(done, tmp_path, no_figures):
    settings = load_study(done / "study.toml")
    arguments = {"n": settings.n, "k": settings.k, "nash": settings.nash, "seeds": settings.seeds}
    arguments |= {"steps": settings.steps, "runs": settings.runs, "method": "nash", "jobs": 1, "output": tmp_path}
    left = tmp_path / "equilibria" / "small-18.h5.checkpoint"
    expected = "stopped in the pair of small-18; finished rounds are kept, start again to go on"
    with pytest.raises(Interrupted, match=f"^{expected}$"):
        study(settings.games, should_stop=left.exists, **arguments)
    assert len(read_equilibrium(left).rounds) == 1
    # What is there of another alternation is said.
    other = arguments | {"nash": {**settings.nash, "tau_min": 0.7}}
    with pytest.raises(KofnFileError, match=r"checkpoint of another alternation, tau_min is 0\.2, expected 0\.7"):
        study(settings.games, **other)
    study(settings.games, **arguments)
    assert [path.name for path in left.parent.iterdir()] == ["small-18.h5"]
    assert (tmp_path / "study.h5").read_bytes() == (done / "study" / "study.h5").read_bytes()
    assert_same_contents(left.parent / "small-18.h5", done / "study" / "equilibria" / "small-18.h5")


# Long simulations in both phases.
LONG_FILE = """
games = "game.toml"
n = 5
k = "1:3"
method = "nash"
steps = 60_000
runs = 3
[nash]
value = "simulated"
exploitability = "none"
runs = 200
steps = 1500
max_rounds = 3
"""


@pytest.fixture(scope="module")
def undisturbed(done, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(done / "game.toml", folder)
    (folder / "long.toml").write_text(LONG_FILE)
    succeed("study", folder / "long.toml", "-o", folder / "study", "--jobs", 1, "-q")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_in_both_phases(jobs, undisturbed, tmp_path, no_figures):
    delays = random.Random(jobs)
    for name in ("game.toml", "long.toml"):
        shutil.copy(undisturbed / name, tmp_path)
    folder = tmp_path / "study"
    for phase in (1, 2):
        with Session(KOFN, "study", "long.toml", "-o", "study", "--jobs", jobs, "-q", folder=tmp_path) as command:
            begun = folder / "equilibria" / "small-18.h5.checkpoint" if phase == 1 else folder / "sensitivity.json"
            command.wait_for(begun.exists)
            time.sleep(delays.uniform(0.0, 0.2))
            command.kill(signal.SIGKILL)
            assert command.finish(TIMEOUT_S)[0] == -signal.SIGKILL
            assert command.is_empty_soon()
        assert not (folder / "study.h5").exists()
    assert (folder / "equilibria" / "small-18.h5").exists()
    succeed("study", tmp_path / "long.toml", "-o", folder, "--jobs", 1, "-q")
    assert (folder / "study.h5").read_bytes() == (undisturbed / "study" / "study.h5").read_bytes()
    for place in ("cells", "equilibria"):
        names = sorted(path.name for path in (undisturbed / "study" / place).iterdir())
        assert sorted(path.name for path in (folder / place).iterdir()) == names
    assert_same_contents(folder / "equilibria" / "small-18.h5", undisturbed / "study" / "equilibria" / "small-18.h5")


# ---- Settings


def test_study_file_is_what_flags_say(done):
    settings = load_study(done / "study.toml")
    assert settings.nash == {"closure": "tagged", "tau_min": 0.2, "max_rounds": 3}
    asked = settings.alternation_of(settings.games[0])
    assert (asked.k, asked.n, asked.closure, asked.tau_min, asked.max_rounds) == (3, 6, "tagged", 0.2, 3)
    right = StudySettings(
        games=done / "game.toml", n=6, k="1:3", method="nash", steps=20, runs=3, seeds=[0, 1], nash=settings.nash
    )
    assert right.config == settings.config
    assert settings.actions == ("fixed",)


def test_dry_run_prints_the_cells(done, tmp_path):
    said = succeed("study", done / "study.toml", "--dry-run")
    for k in (1, 2, 3):
        assert f"small-18.fixed.exact.k={k:04d}" in said
    with unchanged(tmp_path):
        succeed("study", done / "study.toml", "--dry-run", "-o", tmp_path / "none")


def test_dry_run_of_a_finished_study_counts_its_cells(done):
    with unchanged(done):
        said = succeed("study", done / "study.toml", "--dry-run", "-o", done / "study")
    fresh = succeed("study", done / "study.toml", "--dry-run")
    assert said != fresh
    assert "3 of" in said or "finished" in said or "done" in said
    with unchanged(done):
        message = refused("study", done / "study.toml", "--dry-run", "-o", done / "study", "--greedy")
    assert "pair of another study, greedy is False, expected True" in message


def test_flags_go_before_the_fields_of_a_study_file_one_by_one(done):
    with unchanged(done):
        message = refused("study", done / "study.toml", "-o", done / "study", "--jobs", 1, "-q", "--tau-min", 0.3)
    assert "small-18.h5: pair of another study, tau_min is 0.2, expected 0.3" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nash": {"closure": "open"}}, "nash: closure: found 'open', expected one of"),
        ({"nash": {"tau_min": 0}}, "nash: tau_min: found 0, expected a finite number above 0"),
        ({"nash": {"tau_min": 10**400}}, "nash: tau_min: found "),
        ({"nash": {"max_rounds": 1.5}}, "nash: max_rounds: found 1.5, expected a whole number"),
        ({"nash": {"k": 2}}, "nash: 'k': unknown, expected one of closure"),
        ({"nash": {"seed": 2}}, "nash: 'seed': unknown, expected one of closure"),
        ({"nash": {"greedy": "yes"}}, "nash: greedy: found 'yes', expected true or false"),
        ({"nash": 3}, "nash: found 3, expected fields"),
        ({"nash": {"rtol": 1e-3}, "method": "solve"}, "nash: found rtol with method 'solve', expected method 'nash'"),
        ({"method": "guess"}, "method: found 'guess', expected one of solve, nash"),
        ({"actions": "joint"}, "actions: found joint with method 'nash', expected 'fixed'"),
        ({"k": 5}, "k: found 5, expected at most n = 4"),
        ({"local_policy": np.ones((2, 2))}, "local_policy: found "),
    ],
)
def test_bad_settings_are_one_line(settings, message, tmp_path):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        study(small_game(0, n_agents=4), output=tmp_path / "s", **{"k": [2], **QUICK} | settings)
    assert str(error.value).startswith(message)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[nash]\nclosure = 'open'", "nash: closure: found 'open'"),
        ("[nash]\nn = 3", "nash: 'n': unknown"),
        ("nash = 'yes'", "nash: found 'yes'"),
        ("method = 'solve'\n[nash]\ngreedy = true", "nash: found greedy with method 'solve'"),
        ("method = 3", "method: found 3"),
        ("[alternation]\nk = 3", "alternation: unknown"),
    ],
)
def test_bad_study_files_are_one_line(line, message, done, tmp_path):
    shutil.copy(done / "game.toml", tmp_path)
    path = tmp_path / "bad.toml"
    method = "" if line.startswith("method") else "method = 'nash'\n"
    path.write_text(f"games = 'game.toml'\nn = 3\nk = 2\n{method}{line}\n")
    with unchanged(tmp_path):
        assert refused("study", path, "-o", tmp_path / "s", "-q").startswith(f"{path}: {message}")


def test_flags_for_the_other_method_are_refused(done, tmp_path):
    words = ("study", done / "game.toml", "-k", 2, "-n", 3, "-o", tmp_path / "s", "-q")
    with unchanged(tmp_path):
        assert "--tau-min is for --method nash" in refused(*words, "--method", "solve", "--tau-min", 0.2, code=2)
        assert "--method" in refused(*words, "--method", "guess", code=2)
        assert "actions: found joint with method 'nash'" in refused(*words, "--method", "nash", "--actions", "joint")
