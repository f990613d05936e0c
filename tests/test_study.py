"""Studies: every cell is what solve, evaluate and deploy give, resumption redoes nothing, refusals come before the work."""

import hashlib
import math

import h5py
import numpy as np
import pytest

from kofn.engine.backups.selection import TooLargeError
from kofn.engine.deployment import deploy
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.evaluation.refine import refine
from kofn.engine.evaluation.refine_sampled import refine_sampled
from kofn.engine.files import KofnFileError
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.inspection import inspect_file, report_lines
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solve import solve
from kofn.engine.study import plan as study_plan
from kofn.engine.study import run as study_module
from kofn.engine.study.cells import REFINING_RUNS, REFINING_SEED, read_cell
from kofn.engine.study.estimates import Estimate
from kofn.engine.study.files import read_games, read_study, read_timings
from kofn.engine.study.results import ARRAYS
from kofn.engine.study.run import study
from kofn.engine.study.settings import StudySettings
from kofn.engine.study.table import study_lines
from oracles import random_game_tables

FIGURES = ("reward-over-time", "reward-against-k", "solve-time-against-k", "value-against-k", "gap-against-k")
# The best a_g of this seed's tables depends on the counts.
SMALL = {"steps": 20, "runs": 2, "jobs": 1}


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("kofn.engine.study.figures.draw_figures", lambda *_: [])


@pytest.fixture
def game(rng):
    return Game(**random_game_tables(rng, 2, 2, 3, 2), name="small")


@pytest.fixture
def other(rng):
    return Game(**random_game_tables(rng, 3, 2, 2, 2), name="other / game", n_agents=5)


@pytest.mark.slow
def test_cells_are_what_solve_evaluate_and_deploy_give(game, tmp_path):
    said, finished = [], []
    result = study(
        game, 9, [3, 1, 2], output=tmp_path, steps=30, runs=4, seeds=5, jobs=1, on_sensitivity=said.append,
        progress=lambda cell, done, total: finished.append((cell, done, total)),
    )  # fmt: skip
    assert result.k.tolist() == [1, 2, 3]
    assert len(said) == 1
    assert "count sensitivity at k = 3" in said[0]
    # The longest first; the optimum of all agents is a cell of its own.
    names = ["k=0009.optimum", "k=0003", "k=0002", "k=0001"]
    settings = StudySettings(games=game, n=9, k=[3, 1, 2], steps=30, runs=4, seeds=5)
    planned = [planned.cell.name for planned in study_plan.plan_study(settings).cells]
    assert finished == [(name, i + 1, 4) for i, name in enumerate(planned)]
    assert sorted(planned) == sorted(f"small.joint.exact.{name}" for name in names)
    best = solve(game, 9)
    assert result.sel("optimal_upper")[()] == best.initial_value + best.half_width
    assert result.sel("optimal_lower")[()] == best.initial_value - best.half_width
    for k in (1, 2, 3):
        solution = solve(game, k)
        deployment = deploy(game, solution.policy, 9, steps=30, runs=4, seed=5)
        exact = evaluate(game, solution.policy, 9, tol=1e-7)
        at = {"k": k}
        assert result.sel("value", **at) == solution.initial_value
        np.testing.assert_array_equal(result.sel("returns", **at), deployment.returns)
        np.testing.assert_array_equal(result.sel("trace_return", **at), deployment.trace_return.mean(axis=0))
        assert result.sel("average_reward", **at) == deployment.average_reward
        assert result.sel("exact_value", **at) == exact.initial_value
        assert result.sel("gap", **at) == pytest.approx(best.initial_value - exact.initial_value, abs=1e-12)
        assert result.sel("gap_half_width", **at) == pytest.approx(best.half_width + exact.half_width, rel=1e-9)
        assert result.sel("worst_gap", **at) == (best.value - exact.value).max()
        kept = read_cell(tmp_path / "cells" / f"small.joint.exact.k={k:04d}.h5")
        np.testing.assert_array_equal(kept.solution.value, solution.value)
        np.testing.assert_array_equal(kept.deployments[9, 5].returns, deployment.returns)
        np.testing.assert_array_equal(kept.exact[9].value, exact.value)
    for name in FIGURES:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.glob("*.png"))) == len(FIGURES)
    assert_equal_studies(read_study(tmp_path / "study.h5"), result)
    assert read_games(tmp_path / "study.h5")["small"].same_tables(game)
    times = read_timings(tmp_path / "timings.h5")
    assert set(times) == {f"small.joint.exact.{name}" for name in names}
    assert all(entry["solve_time_s"] > 0 and entry["host"] for entry in times.values())


def assert_equal_studies(left, right):
    assert left.config == right.config
    assert left.sensitivity == right.sensitivity
    for name in vars(right):
        if name not in ("config", "sensitivity"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@pytest.mark.slow
def test_grid_of_everything(game, other, tmp_path, monkeypatch):
    # What figures look like is tested elsewhere; here it matters where they are.
    monkeypatch.setattr("kofn.engine.figure_parts._rendered", lambda *_: b"")
    result = study(
        [game, other], "4,6", "1,3,n", output=tmp_path, actions="joint,shared", expectation=["exact", "sampled"], samples=3,
        seeds="0:1", steps=10, runs=2, jobs=1,
    )  # fmt: skip
    assert result.game.tolist() == ["small", "other / game"]
    assert (result.n.tolist(), result.k.tolist(), result.seed.tolist()) == ([4, 6], [1, 3, 4, 6], [0, 1])
    # k > n is left out; nothing else is.
    expected = np.broadcast_to(
        (result.k[None, :] <= result.n[:, None])[None, None, None, :, :, None], (2, 2, 2, 2, 4, 2)
    )
    for name in ("mean_return", "exact_value", "gap", "worst_gap"):
        np.testing.assert_array_equal(np.isfinite(getattr(result, name)), expected, err_msg=name)
    np.testing.assert_array_equal(result.exact_route != "", expected)
    assert np.isfinite(result.value).all()
    # Three states and two: the rest of the axis stays empty.
    np.testing.assert_array_equal(np.isnan(result.mean_population[1, 0, 0, 0, 0, 0]), [False, False, True])
    np.testing.assert_array_equal(np.isnan(result.occupancy[0, 0, 0, 0, 0, 0]), [False, False, True])
    sampled = result.sel("value", game="small", actions="joint", expectation="sampled", k=3)
    assert sampled[0] != sampled[1] == solve(game, 3, expectation="sampled", samples=3, seed=1).initial_value
    exact = result.sel("value", game="small", actions="joint", expectation="exact", k=3)
    assert exact[0] == exact[1]
    returns = result.sel("returns", game="small", actions="joint", expectation="exact", n=6, k=3, seed=1)
    np.testing.assert_array_equal(returns, deploy(game, solve(game, 3).policy, 6, steps=10, runs=2, seed=1).returns)
    gaps = result.gap + result.gap_half_width
    assert (gaps[np.isfinite(gaps)] >= 0).all()
    assert (result.gap <= result.worst_gap + result.gap_half_width)[expected].all()
    # k = n of the joint class is the optimum itself: no further cells.
    names = sorted(path.name for path in (tmp_path / "cells").iterdir())
    assert len(names) == 2 * 2 * 4 * (1 + 2)
    assert "small.shared.sampled.k=0004.seed=1.h5" in names
    assert not any("optimum" in name for name in names)
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "cells")
    digest = hashlib.sha256(f"other / game {other.digest()}".encode()).hexdigest()[:8]
    assert len(folders) == 8
    assert f"other-game-{digest}.shared.sampled" in folders
    for n in (4, 6):
        assert len(list((tmp_path / "small.joint.exact" / f"n={n}").glob("*.png"))) == 3
    assert_equal_studies(read_study(tmp_path / "study.h5"), result)
    assert list(read_games(tmp_path / "study.h5")) == ["small", "other / game"]


@pytest.mark.parametrize("name", ["small", "servers"])
def test_optimum_that_is_not_solved_is_bracketed(name, game, tmp_path, monkeypatch, no_figures):
    game = game if name == "small" else load_game(name)
    planned = study_plan._planned

    def refuse_optimum(cell, memory):
        if "optimum" in cell.name:
            raise TooLargeError("k: too many")
        return planned(cell, memory)

    monkeypatch.setattr(study_plan, "_planned", refuse_optimum)
    result = study(game, 8, [1, 2, 4], output=tmp_path, tol=1e-4, **SMALL)
    assert result.config["notes"] == [f"{name}, n = 8: the joint optimum is not solved, only bounded (k: too many)"]
    best = solve(game, 8)
    low, high = result.sel("optimal_lower")[()], result.sel("optimal_upper")[()]
    assert low <= best.initial_value <= high
    values = result.sel("value") + result.sel("value_half_width")
    assert high == values.min()
    assert np.isnan(result.worst_gap).all()
    # Within a wide bracket a slope would mean nothing.
    if name == "servers":
        assert np.isnan(result.slope).all()
        assert "  no slope: the optimum is not solved, only bounded" in study_lines(result, {})
    exact = result.sel("exact_value")
    true = best.initial_value - exact
    assert (np.abs(result.sel("gap") - true) <= result.sel("gap_half_width") + 1e-9).all()


def test_without_exact_values_and_without_simulation(game, tmp_path):
    result = study(game, 6, [2], output=tmp_path / "a", exact=False, **SMALL)
    assert np.isnan(result.exact_value).all()
    assert np.isfinite(result.mean_return).all()
    assert result.sel("optimal_upper")[()] >= solve(game, 6).initial_value
    assert not (tmp_path / "a" / "gap-against-k.png").exists()
    result = study(game, 6, [2], output=tmp_path / "b", simulate=False, **SMALL)
    assert np.isnan(result.mean_return).all()
    assert np.isfinite(result.exact_value).all()
    assert all(size >= 1 for name in ARRAYS for size in getattr(result, name).shape)
    assert not (tmp_path / "b" / "reward-over-time.png").exists()
    assert_equal_studies(read_study(tmp_path / "b" / "study.h5"), result)


def test_refined_policies(game, tmp_path, no_figures):
    result = study(game, 6, [1, 2], output=tmp_path, refine=True, simulate=False, jobs=1)
    for k in (1, 2):
        found = refine(game, solve(game, k).policy, 6, tol=1e-7)
        assert result.sel("refined_value", k=k) == found.value_after
        assert result.sel("refined_gain", k=k) == found.value_after - found.value_before >= 0.0
    assert (result.sel("refined_value") <= result.sel("optimal_upper") + 1e-7).all()
    assert_equal_studies(read_study(tmp_path / "study.h5"), result)


def test_refinement_without_exact_values_is_sampled(game, tmp_path, no_figures):
    result = study(game, 6, [2], output=tmp_path, refine=True, exact=False, **SMALL)
    policy = solve(game, 2).policy
    found = refine_sampled(game, policy, 6, runs=REFINING_RUNS, seed=REFINING_SEED)
    assert result.sel("refined_gain", k=2) == found.gain
    assert result.sel("refined_gain_half_width", k=2) == found.half_width
    assert np.isnan(result.sel("refined_value", k=2))
    again = deploy(game, found.policy, 6, steps=SMALL["steps"], runs=SMALL["runs"], seed=0)
    assert result.sel("refined_mean_return", k=2) == again.mean_return
    assert_equal_studies(read_study(tmp_path / "study.h5"), result)


def test_where_k_cannot_matter_there_is_no_slope_but_a_reason(rng, tmp_path, no_figures):
    tables = random_game_tables(rng, 2, 1, 2, 2)
    result = study(Game(**tables, name="alone"), 8, [1, 2, 4], output=tmp_path, **SMALL)
    assert not result.sensitivity["alone"]["joint"]["can_matter"]
    assert np.isnan(result.slope).all()
    assert "  no slope: k cannot matter here" in study_lines(result, {})


def test_a_study_started_again_redoes_nothing_and_grows(game, tmp_path, no_figures):
    study(game, 9, [1, 2], output=tmp_path, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    result = study(game, 9, [1, 2, 4], output=tmp_path, **SMALL)
    assert result.k.tolist() == [1, 2, 4]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_cells_of_another_study_are_refused_and_kept(game, tmp_path, no_figures):
    study(game, 9, [2], output=tmp_path, **SMALL)
    cell = tmp_path / "cells" / "small.joint.exact.k=0002.h5"
    kept = cell.read_bytes()
    with pytest.raises(KofnFileError, match=r"k=0002\.h5: cell of another study, steps is 20, expected 21"):
        study(game, 9, [2], output=tmp_path, **SMALL | {"steps": 21})
    assert cell.read_bytes() == kept
    result = study(game, 9, [2], output=tmp_path, force=True, **SMALL | {"steps": 21})
    assert result.config["steps"] == 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": [10]}, r"k: found 10, expected at most n = 9"),
        ({"k": [4, 10], "n": [3, 9]}, r"k: found 10, expected at most n = 9"),
        ({"k": []}, r"k: found no sample size"),
        ({"k": [0]}, r"k: found 0"),
        ({"k": [2, 2]}, r"k: found 2 twice"),
        ({"k": "1:3,m"}, r"k: found 'm', expected numbers such as"),
        ({"n": 0}, r"n: found 0"),
        ({"n": ()}, r"n: missing, and game small does not say"),
        ({"runs": 0}, r"runs: found 0"),
        ({"steps": 0}, r"steps: found 0"),
        ({"jobs": 0}, r"jobs: found 0"),
        ({"seeds": []}, r"seeds: found none"),
        ({"seeds": -1}, r"seeds: found -1"),
        ({"actions": "fixed"}, r"local_policy: found none with actions fixed"),
        ({"actions": ["joint", "cruel"]}, r"actions: found 'cruel', expected one of"),
        ({"expectation": "exact,exact"}, r"expectation: found 'exact' twice"),
        ({"exact": "always"}, r"exact: found 'always'"),
        ({"memory_bytes": 1000}, r"k: .* lower k.*\(cell small\.joint\.exact\.k=0002\)"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(game, tmp_path, arguments, message):
    settings = {"n": 9, "k": [2], "output": tmp_path / "s", **SMALL}
    with pytest.raises(ValueError, match=message):
        study(game, **settings | arguments)
    assert not (tmp_path / "s").exists()


def test_two_games_of_one_name_are_refused(game, tmp_path):
    with pytest.raises(ValueError, match="games: found 2 games named 'small'"):
        study([game, game], 9, 2, output=tmp_path / "s")


def test_fixed_policy_of_robots(tmp_path, no_figures):
    robots = load_game("robots")
    result = study(robots, 12, [2], output=tmp_path, local_policy=uniform_local_policy(robots), **SMALL)
    assert result.actions.tolist() == result.config["actions"] == ["fixed"]


def test_inspect_tells_what_each_file_is(game, tmp_path, no_figures):
    study(game, 9, [2], output=tmp_path, **SMALL)
    cell = tmp_path / "cells" / "small.joint.exact.k=0002.h5"
    for path, what, array in (
        (tmp_path / "study.h5", "study", "value"),
        (cell, "cell", "solution/value"),
        (tmp_path / "timings.h5", "times", "solve_time_s"),
    ):
        report = inspect_file(path)
        assert what in report["what"]
        assert array in [entry["name"] for entry in report["arrays"]]
        assert str(path) in report_lines(report)[0]


def test_axes_are_named_for_any_reader(game, tmp_path, no_figures):
    study(game, 9, [1, 2], output=tmp_path, **SMALL)
    with h5py.File(tmp_path / "study.h5") as file:
        dimensions = file["trace_return"].dims
        axes = ["game", "actions", "expectation", "n", "k", "seed", "trace_step"]
        assert [dimensions[i].label for i in range(7)] == axes
        np.testing.assert_array_equal(dimensions[4][0][...], [1, 2])
        assert file["returns"].attrs["units"] == b"reward"
        assert file["returns"].fletcher32
        assert file["game"].attrs["_Encoding"] == b"utf-8"
        assert "created" not in file.attrs


def test_study_opens_in_xarray(game, tmp_path, no_figures):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    result = study(game, "4,9", [1, 2], output=tmp_path, **SMALL)
    with xarray.open_dataset(tmp_path / "study.h5", engine="h5netcdf") as data:
        found = data["gap"].sel(game="small", actions="joint", n=9, k=2).item()
        assert found == result.sel("gap", n=9, k=2)


def test_sel_names_what_is_wrong(game, tmp_path, no_figures):
    result = study(game, "4,9", [1, 2], output=tmp_path, **SMALL)
    assert result.sel("gap", n=4).shape == (2,)
    assert result.sel("returns", n=4, k=1).shape == (2,)
    for arguments, message in (
        (("gap", {"n": 5}), "n: found 5, expected one of 4, 9"),
        (("gapp", {}), "name: found 'gapp', expected one of value"),
        (("value", {"n": 4}), "n: no axis of value"),
    ):
        with pytest.raises(ValueError, match=message):
            result.sel(arguments[0], **arguments[1])


def test_same_bytes_whenever_it_is_computed(game, tmp_path, monkeypatch, no_figures):
    arguments = {"n": "4,6", "k": "1,2,n", "actions": "joint,shared", "seeds": "0:1", "steps": 10, "runs": 2}
    study(game, output=tmp_path / "a", jobs=1, **arguments)
    ordered = study_module.plan_study

    def reversed_plan(*args):
        plan = ordered(*args)
        object.__setattr__(plan, "cells", plan.cells[::-1])
        return plan

    monkeypatch.setattr(study_module, "plan_study", reversed_plan)
    study(game, output=tmp_path / "b", jobs=1, **arguments)
    assert (tmp_path / "a" / "study.h5").read_bytes() == (tmp_path / "b" / "study.h5").read_bytes()
    assert math.isfinite(read_study(tmp_path / "a" / "study.h5").sel("value", actions="joint", k=2, seed=0))


@pytest.mark.parametrize(("name", "blind"), [("servers", True), ("traffic", False)])
def test_evaluation_that_only_some_policies_make_quick(name, blind, tmp_path, monkeypatch, no_figures):
    """Where the sizes speak against exact values, a policy whose local agents look at nobody has them all the same."""
    monkeypatch.setattr(study_plan, "_evaluation", _only_if_blind)
    result = study(name, 8, [3], output=tmp_path, exact="auto", **SMALL)
    game = load_game(name)
    exact = result.sel("exact_value", k=3)
    assert "exact values only if no local agent looks at others" in result.config["notes"][0]
    assert np.isfinite(exact) == blind
    if blind:
        assert exact == evaluate(game, solve(game, 3).policy, 8, tol=1e-7).initial_value
        assert result.sel("exact_route", k=3) == "symmetric power"
    assert_equal_studies(read_study(tmp_path / "study.h5"), result)


def _only_if_blind(*_, blind=None):
    if not blind:
        raise TooLargeError("n: too many")
    return Estimate("symmetric power", 1, 1.0)
