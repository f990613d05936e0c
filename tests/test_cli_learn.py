"""`kofn learn`: what it prints and writes, refusals, kills and stops that change no bit, and the commands that take its files."""

from __future__ import annotations

import json
import random
import signal
import time

import h5py
import numpy as np
import pytest
from command_runs import refused, strict_json, succeed
from processes import KOFN, Session, assert_same_contents

from kofn.engine.game_files import load_game
from kofn.engine.learning.files import read_learned
from kofn.engine.learning.learn import learn
from kofn.engine.learning.settings import LearningSettings

TIMEOUT_S = 120.0
KILLS = 10
# Everything that learners can have, in a game with states, with large enough tables to take a while.
KILLED = [
    "epidemic", "-n", 40, "--steps", 300_000, "--runs", 2, "--tables", "own", "--replay", 300, "--batch", 2, "--target-every", 50,
    "--alpha-power", 0.6, "--temperature", 0.2, "--record-every", 500, "--seed", 6,
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_learn_is_learn(here):
    said = succeed(
        "learn", "epidemic", "-n", 6, "--steps", 200, "--runs", 3, "--temperature", 0.2, "--seed", 5, "--epsilon", "0.3:0.1",
        "--alpha", 0.2, "--sees", "states", "--bins", 4, "--reward", "team", "--tail", 0.5, "--set", "ban=0.4", "-o", "e.h5", "-q",
    )  # fmt: skip
    expected = learn(
        load_game("epidemic", constants={"ban": 0.4}),
        LearningSettings(
            n=6, steps=200, runs=3, temperature=0.2, seed=5, epsilon=(0.3, 0.1), alpha=0.2, sees="states", bins=4,
            reward="team", tail=0.5,
        ),
    )  # fmt: skip
    found = read_learned("e.h5")
    np.testing.assert_array_equal(found.q, expected.q)
    assert found.settings == expected.settings
    assert f"{expected.summary()['reward']['mean']:.6g}" in said
    assert sorted(path.name for path in here.iterdir()) == ["e.h5"]


def test_json_is_the_summary(here):
    said = strict_json(succeed("learn", "ising", "-n", 16, "--steps", 20, "--runs", 2, "-o", "i.h5", "-q", "--json"))
    assert said["n"] == 16
    assert said["finished"] is True
    assert json.dumps(said["reward"]["mean"]) == json.dumps(read_learned("i.h5").summary()["reward"]["mean"])


def test_agents_and_constants_change_a_game_of_totals(here):
    succeed("learn", "gaussian-squeeze", "-n", 30, "--set", "mu=60", "--steps", 5, "--runs", 1, "-o", "g.h5", "-q")
    game = read_learned("g.h5").game
    assert game.n_f == 271
    assert game.field.values[int(game.r_g.argmax())] == pytest.approx(
        60 + 200**2 / (60 + np.sqrt(60**2 + 2 * 200**2)), abs=200
    )


def test_deploy_plays_learned_spins_and_deploys_learned_policies(here):
    succeed(
        "learn", "ising", "-n", 16, "--order", "sequential", "--tables", "own", "--temperature", 0.5, "--steps", 300, "--runs", 2,
        "-o", "i.h5", "-q",
    )  # fmt: skip
    said = succeed("deploy", "i.h5", "--steps", 50, "-o", "played.h5", "-q")
    assert "mean action" in said
    refused("deploy", "i.h5", "--runs", 7, code=2)
    np.testing.assert_array_equal(read_learned("played.h5").q, read_learned("i.h5").q)
    succeed("learn", "epidemic", "-n", 5, "--steps", 300, "--runs", 2, "-o", "e.h5", "-q")
    assert "global states" in succeed("deploy", "e.h5", "-n", 50, "--steps", 100, "-q")
    assert strict_json(succeed("evaluate", "e.h5", "-n", 5, "--json", "-q"))["n"] == 5
    assert "gain" in succeed("exploitability", "e.h5", "-n", 5, "-q")
    assert "learned" in succeed("inspect", "e.h5")


def test_measured_learning_says_what_is_left_to_gain(here):
    said = succeed(
        "learn", "epidemic", "-n", 3, "--steps", 200, "--runs", 2, "--measure", 3, "--figure", "m.png", "-o", "m.h5", "-q"
    )  # fmt: skip
    assert "optimum" in said
    assert "best response" in said
    assert (here / "m.png").stat().st_size > 10_000
    measured = read_learned("m.h5").measured
    assert measured.step.tolist() == [1, 14, 200]
    assert (measured.gap > -1e-5).all()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["robots"], "sees: found 'field' for a game without one, expected 'actions' or 'states'"),
        (["ising", "-n", 17], "n: found 17 agents, expected a square number of at least 9 for a torus without a shape"),
        (["ising", "--measure", 3], "measure: found tables that will be no policy"),
        (["epidemic", "--alpha", 2], "alpha: found 2.0, expected a finite number from 0 to 1"),
        (["epidemic", "--set", "bam=1"], "constants: found bam, expected one of"),
        (["epidemic", "--start", "x"], "start: found 'x', expected 'random' or one of"),
        (["epidemic", "--method", "mfac"], "temperature: found 0, expected a positive one"),
    ],
)
def test_bad_input_is_one_line(here, words, line):
    assert line in refused("learn", *words, "--steps", 10, "-o", "x.h5", "-q")
    assert list(here.iterdir()) == []


def test_existing_files_are_kept(here):
    (here / "x.h5").write_text("mine")
    assert "exists already" in refused("learn", "epidemic", "--steps", 10, "-o", "x.h5", "-q")
    assert (here / "x.h5").read_text() == "mine"


def steps_of(checkpoint):
    with h5py.File(checkpoint) as file:
        return int(file.attrs["step"])


@pytest.mark.slow
def test_killed_learning_ends_in_the_bits_of_an_undisturbed_one(tmp_path):
    words = ["learn", *KILLED, "-q"]
    with Session(KOFN, *words, "-o", "undisturbed.h5", folder=tmp_path, threads=2) as whole:
        code, _, err = whole.finish(TIMEOUT_S)
        assert code == 0, err
    delays, done = random.Random(3), [0]
    checkpoint = tmp_path / "killed.h5.checkpoint"
    for _ in range(KILLS):
        goal = done[-1] + delays.randint(1, 3000)
        with Session(KOFN, *words, "-o", "killed.h5", "--resume", "--checkpoint-every", 0, folder=tmp_path) as learning:
            learning.wait_for(lambda goal=goal: checkpoint.exists() and steps_of(checkpoint) >= goal)
            time.sleep(delays.uniform(0.0, 0.1))
            learning.kill(signal.SIGKILL)
            assert learning.finish(TIMEOUT_S)[0] == -signal.SIGKILL
        done.append(steps_of(checkpoint))
        assert not (tmp_path / "killed.h5").exists()
    assert done[-1] < 300_000
    with Session(KOFN, *words, "-o", "killed.h5", "--resume", folder=tmp_path) as last:
        code, _, err = last.finish(TIMEOUT_S)
        assert code == 0, err
    assert_same_contents(tmp_path / "killed.h5", tmp_path / "undisturbed.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.h5", "undisturbed.h5"]


@pytest.mark.slow
def test_stopped_learning_leaves_a_checkpoint_and_one_line(tmp_path):
    words = ["learn", "ising", "--order", "sequential", "--tables", "own", "--temperature", 1, "--steps", "1e8", "-q"]
    with Session(KOFN, *words, "-o", "s.h5", "--checkpoint-every", 0, folder=tmp_path) as learning:
        learning.wait_for((tmp_path / "s.h5.checkpoint").exists)
        learning.kill(signal.SIGTERM)
        code, out, err = learning.finish(TIMEOUT_S)
    assert code == 1
    assert out == ""
    assert err.startswith("Error: stopped after ")
    assert "continue with --resume from s.h5.checkpoint" in err
    assert err.count("\n") == 1
    assert steps_of(tmp_path / "s.h5.checkpoint") > 0
