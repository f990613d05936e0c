"""What studies of learning refuse, in one line each, and what other commands make of them."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest
from command_runs import refused, strict_json, succeed, unchanged
from learning_studies import STUDY_FILE, spins, squeeze

from kofn.cli.learning_options import NAMES
from kofn.cli.learning_options import OTHERS as LEARNING_OPTIONS
from kofn.engine.files import KofnFileError
from kofn.engine.game_files import load_game
from kofn.engine.report.page import write_report
from kofn.engine.study.learning_files import read_learning_study
from kofn.engine.study.learning_settings import (
    LEARNING_FIELDS,
    LearningStudySettings,
    learning_settings_from,
)
from kofn.engine.study.numbers import reals_of

__all__ = ["spins", "squeeze"]


# ---- Refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ising", "--method", "mfq,solve", "--steps", 9], "--method mfq,solve: expected solve or nash alone"),
        (["ising", "--method", "solve,nash", "-k", 2], "--method solve,nash: expected solve or nash alone"),
        (["ising", "--method", "mfq", "--steps", 9, "-k", 2], "-k is for --method solve or nash"),
        (["ising", "--method", "mfq", "--steps", 9, "--tol", 1], "--tol is for --method solve or nash"),
        (["ising", "--method", "mfq", "--steps", 9, "--jobs", 2], "--jobs is for --method solve or nash"),
        (["ising", "--method", "mfq", "--steps", 9, "--tau-min", 1], "--tau-min is for --method solve or nash"),
        (["formation", "-k", 2, "--temperature", 1], "--temperature is for --method mfq, mfac or iq"),
        (["formation", "-k", 2, "--keep-tables"], "--keep-tables is for --method mfq, mfac or iq"),
        (["formation", "-k", 2, "--set", "a=1"], "--set is for --method mfq, mfac or iq"),
        (["ising", "--method", "mfq"], "Missing option '--steps'."),
        (["ising", "--method", "mfq", "--steps", 9, "--seeds", "0:3"], "--seeds: found 4, expected one"),
        (
            ["ising", "--method", "mfq", "--steps", 9, "--temperature", "1:0:1"],
            "expected a range FIRST:LAST:STEP that grows",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(words, message, tmp_path):
    with unchanged(tmp_path):
        assert message in refused("study", *words, "-o", tmp_path / "out", code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ising", "--steps", 9, "-n", 10], "n: found 10 agents, expected a square number"),
        (["ising", "--steps", 9, "--alpha", 2], "alpha: found 2"),
        (["ising", "--steps", 9, "--start", "sideways"], "start: found 'sideways'"),
        (["formation", "--steps", 9, "--sees", "field"], "sees: found 'field' for a game without one"),
        (["formation", "--steps", 9, "--order", "sequential", "--temperature", 1, "--sees", "actions"], "order: found"),
        (["ising", "--steps", 9, "--memory", "1kB"], "expected at most 1 kB"),
    ],
)
def test_what_a_cell_would_refuse_is_refused_before_anything_runs(words, message, tmp_path):
    with unchanged(tmp_path):
        assert message in refused("study", *words, "--method", "mfq", "-o", tmp_path / "out", "-q")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 40", "stepz = 40", "stepz: unknown, expected one of games, method, n"),
        ("steps = 40", "", "steps: missing, expected a whole number"),
        ("steps = 40", "steps = 0", "steps: found 0"),
        ("n = [3, 5]", "n = [3, 3]", "n: found 3 twice"),
        ('["mfq", "iq"]', '["mfq", "solve"]', "method: found 'solve' beside"),
        ("bins = 4", "binz = 4", "learning: 'binz': unknown"),
        ("bins = 4", "bins = 0", "bins: found 0"),
        ("seed = 4", "temperature = [-1]", "temperature: found -1, expected at least 0"),
        ("seed = 4", 'temperature = "1:2"', "temperature: found '1:2'"),
    ],
)
def test_bad_study_files_are_one_line(old, new, message, tmp_path):
    assert old in STUDY_FILE
    (tmp_path / "study.toml").write_text(STUDY_FILE.replace(old, new))
    found = refused("study", tmp_path / "study.toml", "-o", tmp_path / "out", "-q")
    assert message in found


def test_file_of_learning_is_no_study_of_another_method(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY_FILE)
    message = refused("study", tmp_path / "study.toml", "--method", "solve", "-k", 2, "-o", tmp_path / "out")
    assert "study.toml: seed: found it in a study of solve or nash" in message


def test_settings_of_python_are_checked():
    base = {"games": "ising", "steps": 5}
    for change, message in (
        ({"method": "solve"}, "method: found 'solve'"),
        ({"method": ("mfq", "mfq")}, "method: found 'mfq' twice"),
        ({"games": ()}, "games: found none"),
        ({"games": ("ising", "ising")}, "games: found several games named 'ising'"),
        ({"games": load_game("ising"), "constants": {"a": 1}}, "constants: found some"),
        ({"learning": {"n": 3}}, "learning: 'n': unknown"),
        ({"keep_tables": 1}, "keep_tables: found 1"),
    ):
        with pytest.raises(ValueError, match=message):
            LearningStudySettings(**base | change)
    with pytest.raises(ValueError, match="where: k: found it in a study of learning"):
        learning_settings_from({"games": "ising", "k": 3}, where="where", method="mfq", steps=3)


def test_lists_of_real_numbers():
    assert reals_of("t", "0.7:1.1:0.1,0.5") == (0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
    assert reals_of("t", [1, "2:3:0.5"]) == (1.0, 2.0, 2.5, 3.0)
    assert reals_of("t", 0) == (0.0,)
    for value in ("", "a", "1:2", "1:2:0", "2:1:1", "1,1", "nan", "1e400", [], "0:1:1e-9", True, "-1"):
        with pytest.raises(ValueError, match="t: found"):
            reals_of("t", value)


def test_options_of_the_command_are_the_fields_of_learning():
    assert set(NAMES) == set(LEARNING_FIELDS)
    assert len(NAMES) == len(LEARNING_OPTIONS)


# ---- Other commands


def test_inspect_tells_the_cells(spins):
    lines = succeed("inspect", spins[1] / "learning.h5")
    assert "study of learning" in lines
    assert "falls through 0.5" in lines or "mfq     16" in lines
    found = strict_json(succeed("inspect", "--json", spins[1] / "learning.h5"))
    result = read_learning_study(spins[1] / "learning.h5")
    rewards = [cell["mean_reward"] for cell in found["learned"]["cells"]]
    assert rewards == result.arrays["mean_reward"].ravel().tolist()
    cell = spins[1] / "cells" / "ising.mfq.n=0016.T=1.2.h5"
    (one,) = json.loads(succeed("inspect", "--json", cell))["learned"]["cells"]
    assert one["mean_reward"] == rewards[1]


def test_export_gives_tables_of_cells_runs_and_curves(squeeze, tmp_path):
    _, folder = squeeze
    result = read_learning_study(folder / "learning.h5")
    tables = {}
    for what in ("cells", "runs", "curves"):
        succeed("export", folder, "-o", tmp_path / f"{what}.csv", "--what", what)
        with open(tmp_path / f"{what}.csv", newline="") as file:
            tables[what] = list(csv.DictReader(file))
    assert [len(rows) for rows in tables.values()] == [4, 12, 160]
    for row in tables["runs"]:
        at = {
            "game": row["game"],
            "method": row["method"],
            "n": int(row["n"]),
            "temperature": float(row["temperature"]),
        }
        assert float(row["reward"]) == result.sel("reward", **at)[int(row["run"])]
    assert [float(row["mean_reward"]) for row in tables["cells"]] == result.arrays["mean_reward"].ravel().tolist()
    assert float(tables["curves"][-1]["reward_curve"]) == result.arrays["reward_curve"].ravel()[-1]
    cell = folder / "cells" / "gaussian-squeeze.iq.n=0005.T=0.0.h5"
    succeed("export", cell, "-o", tmp_path / "cell.csv")
    with open(tmp_path / "cell.csv", newline="") as file:
        assert [row["reward"] for row in csv.DictReader(file)] == [x["reward"] for x in tables["runs"][-3:]]
    succeed("export", folder, "-o", tmp_path / "study.nc")
    assert "what: found 'states'" in refused("export", folder, "-o", tmp_path / "x.csv", "--what", "states")


def test_report_of_a_study_and_of_a_cell(spins, squeeze, tmp_path):
    from test_report import Page

    for i, source in enumerate((spins[1], squeeze[1], squeeze[1] / "cells" / "gaussian-squeeze.iq.n=0005.T=0.0.h5")):
        path = tmp_path / f"{i}.html"
        succeed("report", source, "-o", path)
        page = Page(path.read_text())
        assert {tag for tag, _, _ in page.tags}.isdisjoint({"script", "img", "iframe"})
        for tag, attrs, _ in page.tags:
            assert not [name for name in attrs if name in ("src", "srcset", "style")], tag
        names = [attrs["id"] for _, attrs, _ in page.tags if "id" in attrs]
        assert len(names) == len(set(names))
        for attrs in page.all("a"):
            assert attrs["href"][1:] in names
        assert "alpha: 0.1" in page.text
        assert len(page.all("svg")) >= 2
    text = Page((tmp_path / "0.html").read_text()).text
    assert "Order against temperature" in text
    assert "heat bath at 2 T" in text
    assert "Reward against the number of agents" in Page((tmp_path / "1.html").read_text()).text
    again = tmp_path / "again.html"
    write_report(spins[1], again)
    assert again.read_bytes() == (tmp_path / "0.html").read_bytes()


def test_damaged_studies_are_refused(squeeze, tmp_path):
    path = tmp_path / "learning.h5"
    shutil.copy(squeeze[1] / "learning.h5", path)
    with h5py.File(path, "r+") as file:
        del file["reward"]
        file["reward"] = np.zeros((1, 2, 3))
    with pytest.raises(KofnFileError, match="reward is float64 of shape"):
        read_learning_study(path)
    assert "reward is float64 of shape" in refused("report", tmp_path, "-o", tmp_path / "a.html")
