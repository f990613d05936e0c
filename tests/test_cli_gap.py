"""`kofn gap`: what it prints and writes, and refusals in one line."""

import h5py
import numpy as np
import pytest
from command_runs import refused, strict_json, succeed

from kofn.engine.equilibrium.flow_gaps import learned_gaps
from kofn.engine.equilibrium.gap_files import read_clusters, read_gap_numbers
from kofn.engine.learning.files import read_learned


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Learned tables: of epidemics, and of spins on a graph."""
    folder = tmp_path_factory.mktemp("learned")
    common = ("--steps", 200, "--temperature", 0.2, "-q")
    succeed("learn", "epidemic", "-n", 6, "--runs", 3, *common, "-o", folder / "e.h5")
    succeed("learn", "ising", "-n", 9, "--runs", 2, *common, "-o", folder / "i.h5")
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """An empty working folder beside the learned tables."""
    monkeypatch.chdir(tmp_path)
    return folder


def test_gap_is_what_the_engine_finds(here):
    words = ("gap", here / "e.h5", "--steps", 300, "--check", 20, "--seed", 3, "-q")
    said = strict_json(succeed(*words, "--json", "-o", "g.h5", "--figure", "g.png"))
    expected = learned_gaps(read_learned(here / "e.h5"), steps=300, check_runs=20, seed=3)
    assert said["gain"] == expected.column("gain").tolist()
    assert said["check_gain"] == [check.gain for check in expected.checks]
    assert said["clusters"]["labels"] == expected.clusters.labels.tolist()
    numbers = read_gap_numbers("g.h5")
    np.testing.assert_array_equal(numbers["nash_conv"], expected.column("nash_conv"))
    np.testing.assert_array_equal(numbers["check_gain"], said["check_gain"])
    kept = read_clusters("g.h5")
    for name, matrix in expected.clusters.distances.items():
        np.testing.assert_array_equal(kept.distances[name], matrix)
    assert kept.verdict() == expected.clusters.verdict()
    with h5py.File("g.h5") as file:
        np.testing.assert_array_equal(file["check_returns"][0], expected.checks[0].returns)
    text = succeed(*words)
    assert f"{expected.gaps[0].value:.6g}" in text
    assert expected.clusters.verdict() in text
    assert "global agent    gains" in text


def test_single_runs_of_n_agents(here):
    said = strict_json(
        succeed(
            "gap", here / "e.h5", "-n", 4, "--run", 1, "--flow", "agents", "--steps", 200, "--check", 0, "--json", "-q"
        )
    )
    assert said["n"] == 4
    assert said["runs"] == [1]
    assert "clusters" not in said
    assert "check_gain" not in said
    assert said["gain"][0] > -1e-9


def test_refusals_are_one_line(here, tmp_path):
    e = here / "e.h5"
    assert "no law of (s_g, s_l, b), its agents see their neighbours" in refused("gap", here / "i.h5", "-q")
    assert refused("gap", e, "--run", 3, "-q") == "run: found 3, expected 0 to 2"
    assert "at least two" in refused("gap", e, "--run", 1, "--figure", "x.png", "-q", code=2)
    assert ".png" in refused("gap", e, "--figure", "x.pdf", "-q", code=2)
    assert "found a Wasserstein distance for actions that are no numbers" in refused(
        "gap", e, "--measure", "policy_w1", "--check", 0, "--steps", 10, "-q"
    )
    assert "what the command reads" in refused("gap", e, "-o", e, "--force", "-q", code=2)
    assert "no such file" in refused("gap", "none.h5", "-q")
    (tmp_path / "mine.h5").write_text("mine")
    assert "exists already" in refused("gap", e, "-o", "mine.h5", "-q")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.h5"]
