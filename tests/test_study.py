"""Studies: every cell is what solve and deploy give, resumption redoes nothing, refusals come before the work."""

import h5py
import numpy as np
import pytest

from kofn.engine.cells import read_cell
from kofn.engine.deployment import deploy
from kofn.engine.files import KofnFileError
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.inspection import inspect_file, report_lines
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solve import solve
from kofn.engine.study import study
from kofn.engine.study_files import read_study
from oracles import random_game_tables

FIGURES = ("reward-over-time", "reward-against-k", "solve-time-against-k", "value-against-k")


@pytest.fixture
def game(rng):
    return Game(**random_game_tables(rng, 2, 2, 3, 2), name="small")


def test_cells_are_what_solve_and_deploy_give(game, tmp_path):
    said, finished = [], []
    result = study(
        game, 9, [3, 1, 2], output=tmp_path, steps=30, runs=4, seed=5, jobs=1, on_sensitivity=said.append,
        progress=lambda k, done, total: finished.append((k, done, total)),
    )  # fmt: skip
    assert result.k.tolist() == [1, 2, 3]
    assert len(said) == 1
    assert "count sensitivity at k = 3" in said[0]
    assert finished == [(3, 1, 3), (2, 2, 3), (1, 3, 3)]
    for i, k in enumerate((1, 2, 3)):
        solution = solve(game, k)
        deployment = deploy(game, solution.policy, 9, steps=30, runs=4, seed=5)
        assert result.value[i] == solution.initial_value
        np.testing.assert_array_equal(result.returns[i], deployment.returns)
        np.testing.assert_array_equal(result.trace_return[i], deployment.trace_return)
        assert result.average_reward[i] == deployment.average_reward
        kept_solution, kept_deployment = read_cell(tmp_path / "cells" / f"k={k:04d}.h5")
        np.testing.assert_array_equal(kept_solution.value, solution.value)
        np.testing.assert_array_equal(kept_deployment.returns, deployment.returns)
    for name in FIGURES:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    again = read_study(tmp_path / "study.h5")
    np.testing.assert_array_equal(again.returns, result.returns)
    assert again.config == result.config
    assert again.sensitivity == result.sensitivity


def test_a_study_started_again_redoes_nothing_and_grows(game, tmp_path):
    study(game, 9, [1, 2], output=tmp_path, steps=20, runs=2, jobs=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    result = study(game, 9, [1, 2, 4], output=tmp_path, steps=20, runs=2, jobs=1)
    assert result.k.tolist() == [1, 2, 4]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 3


def test_cells_of_another_study_are_refused_and_kept(game, tmp_path):
    study(game, 9, [2], output=tmp_path, steps=20, runs=2, jobs=1)
    kept = (tmp_path / "cells" / "k=0002.h5").read_bytes()
    with pytest.raises(KofnFileError, match="steps is 20, expected 21"):
        study(game, 9, [2], output=tmp_path, steps=21, runs=2, jobs=1)
    assert (tmp_path / "cells" / "k=0002.h5").read_bytes() == kept
    result = study(game, 9, [2], output=tmp_path, steps=21, runs=2, jobs=1, force=True)
    assert result.config["steps"] == 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": [10]}, r"k: found 10, expected at most n = 9"),
        ({"k": []}, r"k: found no sample size"),
        ({"k": [0]}, r"k: found 0"),
        ({"n": 0}, r"n: found 0"),
        ({"runs": 0}, r"runs: found 0"),
        ({"steps": 0}, r"steps: found 0"),
        ({"jobs": 0}, r"jobs: found 0"),
        ({"memory_bytes": 1000}, r"k: .* lower k"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(game, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        study(game, **{"n": 9, "k": [2], "output": tmp_path / "s", "steps": 20, "runs": 2, "jobs": 1, **arguments})
    assert not list(tmp_path.rglob("*.h5"))


def test_fixed_policy_of_robots(tmp_path):
    robots = load_game("robots")
    result = study(
        robots, 50, [2], output=tmp_path, local_policy=uniform_local_policy(robots), steps=20, runs=2, jobs=1
    )
    assert result.config["actions"] == "fixed"


def test_inspect_tells_what_each_file_is(game, tmp_path):
    study(game, 9, [2], output=tmp_path, steps=20, runs=2, jobs=1)
    for path, what in ((tmp_path / "study.h5", "study"), (tmp_path / "cells" / "k=0002.h5", "cell")):
        report = inspect_file(path)
        assert what in report["what"]
        assert any("value" in array["name"] for array in report["arrays"])
        assert str(path) in report_lines(report)[0]


def test_axes_are_named_for_any_reader(game, tmp_path):
    study(game, 9, [1, 2], output=tmp_path, steps=20, runs=2, jobs=1)
    with h5py.File(tmp_path / "study.h5") as file:
        dimensions = file["trace_return"].dims
        assert [dimensions[i].label for i in range(3)] == ["k", "run", "trace_step"]
        np.testing.assert_array_equal(dimensions[0][0][...], [1, 2])
        assert file["returns"].attrs["units"] == b"reward"
        assert file["returns"].fletcher32
