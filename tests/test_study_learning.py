"""Studies of learning: cells are what `learn` gives, kills change no bit of learning.h5, refusals are one line."""

import itertools
import math
import shutil
import signal
import time

import h5py
import numba
import numpy as np
import pytest
from command_runs import refused, succeed, unchanged
from learning_studies import SPINS, SQUEEZE, STUDY_FILE, spins, squeeze
from processes import KOFN, Session

from kofn.engine.game_files import load_game
from kofn.engine.learning.files import read_learned
from kofn.engine.learning.ising import crossing, simulate_heat_bath
from kofn.engine.learning.learn import learn
from kofn.engine.learning.settings import LearningSettings
from kofn.engine.solve import Interrupted
from kofn.engine.study.learning import run_learning_study
from kofn.engine.study.learning_files import read_learning_study
from kofn.engine.study.learning_settings import (
    LearningStudySettings,
    load_learning_study,
)
from kofn.engine.study.settings import find_study_file

__all__ = ["spins", "squeeze"]

TIMEOUT_S = 150.0


# ---- What a study holds


def test_cells_are_what_learning_gives(spins):
    said, folder = spins
    result = read_learning_study(folder / "learning.h5")
    assert result.temperature.tolist() == [0.8, 1.2, 1.6]
    assert (result.method.tolist(), result.n.tolist(), result.run.tolist()) == (["mfq"], [16], [0, 1, 2])
    for temperature in (0.8, 1.2, 1.6):
        settings = LearningSettings(
            n=16, steps=60, runs=3, order="sequential", tables="own", temperature=temperature, tail=0.5
        )
        learned = learn(load_game("ising", agents=16), settings)
        at = {"game": "ising", "method": "mfq", "n": 16, "temperature": temperature}
        for name in ("reward", "weight", "abs_weight"):
            tail = learned.tail_means(name)
            np.testing.assert_array_equal(result.sel(name, **at), tail)
            assert result.sel(f"mean_{name}", **at) == tail.mean()
            np.testing.assert_array_equal(result.sel(f"{name}_curve", **at), learned.curves[name].mean(axis=0))
            # 4.3027 is the 97.5 % point of Student's t with 2 degrees of freedom.
            half = 4.30265273 * tail.std(ddof=1) / math.sqrt(3)
            assert result.sel(f"{name}_half_width", **at) == pytest.approx(half, rel=1e-7)
        cell = read_learned(folder / "cells" / f"ising.mfq.n=0016.T={temperature}.h5")
        np.testing.assert_array_equal(cell.q, learned.q)
        np.testing.assert_array_equal(cell.arrays["actions"], learned.arrays["actions"])
        (row,) = [line.split() for line in said.splitlines() if line.split()[:3] == ["mfq", "16", f"{temperature:g}"]]
        assert float(row[3]) == pytest.approx(learned.tail_means("reward").mean(), rel=1e-5)
    np.testing.assert_array_equal(result.step, np.arange(1, 61))
    assert not list(folder.rglob("*.checkpoint"))


def test_ising_study_has_heat_bath_and_crossing(spins):
    _, folder = spins
    result = read_learning_study(folder / "learning.h5")
    right = simulate_heat_bath(4, [0.8, 1.2, 1.6], 60, 3, 0, tail=0.5, every=10)
    np.testing.assert_array_equal(result.sel("heat_bath", game="ising", n=16), right)
    mean, half = (result.arrays[name][0, 0, 0] for name in ("mean_abs_weight", "abs_weight_half_width"))
    for name, values in (("crossing", mean), ("crossing_low", mean - half), ("crossing_high", mean + half)):
        np.testing.assert_array_equal(result.arrays[name][0, 0, 0], crossing([0.8, 1.2, 1.6], values))
    assert {path.name for path in folder.glob("*.png")} == {"lattices.png", "learning-curves.png", "magnetisation.png"}


def test_game_of_totals_is_loaded_for_every_n(squeeze):
    said, folder = squeeze
    result = read_learning_study(folder / "learning.h5")
    for n in (3, 5):
        game = load_game("gaussian-squeeze", agents=n, constants={"mu": 10, "sigma": 5})
        totals = np.array([sum(x) for x in itertools.product(range(10), repeat=n)])
        reward = totals * np.exp(-(((totals - 10) / 5) ** 2))
        assert result.sel("uniform_reward", game="gaussian-squeeze", n=n) == pytest.approx(reward.mean())
        assert result.sel("best_reward", game="gaussian-squeeze", n=n) == pytest.approx(reward.max())
        assert result.config["game_digests"][f"gaussian-squeeze, n = {n}"] == game.digest()
        for method in ("mfq", "iq"):
            settings = LearningSettings(n=n, steps=40, runs=3, seed=4, method=method, bins=4, tables="own")
            found = result.sel("reward", game="gaussian-squeeze", method=method, n=n, temperature=0.0)
            np.testing.assert_array_equal(found, learn(game, settings).tail_means("reward"))
    assert np.isnan(result.arrays["crossing"]).all()
    figures = {"learning-curves.n=3.png", "learning-curves.n=5.png", "score-against-n.png"}
    assert {path.name for path in folder.glob("*.png")} == figures
    assert "n = 5: best team reward" in said


def test_several_games_have_numbers_of_agents_of_their_own(tmp_path):
    settings = LearningStudySettings(games=["ising", "epidemic"], method="mfq", temperature=1.0, steps=3, runs=2)
    result = run_learning_study(settings, output=tmp_path)
    own = {"ising": load_game("ising").n_agents, "epidemic": load_game("epidemic").n_agents}
    assert {name: result.ns_of(name) for name in own} == {name: [n] for name, n in own.items()}
    assert np.isfinite(result.arrays["mean_reward"]).sum() == 2
    assert {path.parent.name for path in tmp_path.rglob("learning-curves.png")} == set(own)


def test_study_file_is_what_flags_say(squeeze, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY_FILE)
    succeed("study", tmp_path / "study.toml", "-o", tmp_path / "out", "-q")
    assert (tmp_path / "out" / "learning.h5").read_bytes() == (squeeze[1] / "learning.h5").read_bytes()
    changed = load_learning_study(tmp_path / "study.toml", steps=7, learning={"alpha": 0.3})
    assert (changed.config["steps"], changed.config["learning"]["alpha"], changed.config["learning"]["bins"]) == (
        7,
        0.3,
        4,
    )


def test_shipped_studies_of_learning_load():
    ising = load_learning_study(find_study_file("ising-transition"))
    assert len(ising.cells) == len(ising.temperature) == 21
    assert (ising.cells[0].settings.order, ising.cells[0].settings.n) == ("sequential", 400)
    squeeze = load_learning_study(find_study_file("gaussian-squeeze-scaling"))
    assert [cell.settings.n for cell in squeeze.cells] == [100, 100, 500, 500, 1000, 1000]
    for cell in squeeze.cells:
        assert cell.game.n_f == 9 * cell.settings.n + 1
    assert len(squeeze.notes) == 2


def test_dry_run_lists_the_cells(squeeze, tmp_path):
    lines = succeed("study", *SQUEEZE, "--dry-run").splitlines()
    assert len(lines) == 6
    assert lines[-1].startswith("4 cells, 0 finished")
    with unchanged(squeeze[1]):
        assert "4 cells, 4 finished" in succeed("study", *SQUEEZE, "--dry-run", "-o", squeeze[1])


def test_large_tables_of_own_agents_are_left_out_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("kofn.engine.study.learning_settings.MAX_KEPT_TABLES_BYTES", 100)
    said = succeed("study", *SQUEEZE, "-o", tmp_path / "without", "-q")
    assert said.count("are not kept; ask for them with --keep-tables") == 4
    cell = tmp_path / "without" / "cells" / "gaussian-squeeze.mfq.n=0003.T=0.0.h5"
    with h5py.File(cell) as file:
        assert "q" not in file["learners"]
    with pytest.raises(ValueError, match="tables: found learned curves without their tables"):
        _ = read_learned(cell).q
    # Asked for later, they are learned again.
    assert "kept" not in succeed("study", *SQUEEZE, "-o", tmp_path / "without", "-q", "--keep-tables")
    assert read_learned(cell).q.shape == (3, 3, 4, 10)


# ---- Kills, and folders of other studies


def test_stopped_study_goes_on_to_the_same_bytes(spins, tmp_path, monkeypatch):
    expected = (spins[1] / "learning.h5").read_bytes()
    monkeypatch.setattr("kofn.engine.learning.learn.CHUNK_S", 0.0)
    settings = LearningStudySettings(
        games="ising", n=16, temperature="0.8:1.6:0.4", steps=60, runs=3,
        learning={"order": "sequential", "tables": "own", "tail": 0.5},
    )  # fmt: skip
    for asked in range(1, 200):
        questions = itertools.count()
        try:
            # Every attempt is stopped after a few more questions than the last.
            run_learning_study(settings, output=tmp_path, should_stop=lambda a=asked, q=questions: next(q) >= 7 * a)
            break
        except Interrupted:
            continue
    assert asked > 3
    assert (tmp_path / "learning.h5").read_bytes() == expected
    assert not list(tmp_path.rglob("*.checkpoint"))


def test_study_started_again_takes_finished_cells_over(spins, tmp_path):
    folder = shutil.copytree(spins[1], tmp_path / "copy")
    cells = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    lost = next(iter(sorted(cells)))
    (folder / "cells" / lost).unlink()
    (folder / "learning.h5").unlink()
    succeed("study", *SPINS, "-o", folder, "-q")
    assert (folder / "learning.h5").read_bytes() == (spins[1] / "learning.h5").read_bytes()
    for path in (folder / "cells").iterdir():
        assert (path.stat().st_mtime_ns == cells[path.name]) == (path.name != lost)


def test_threads_change_no_bit(squeeze, all_threads, tmp_path):
    for threads in (numba.get_num_threads(), 1):
        numba.set_num_threads(threads)
        folder = tmp_path / str(threads)
        succeed("study", *SQUEEZE, "-o", folder, "-q")
        assert (folder / "learning.h5").read_bytes() == (squeeze[1] / "learning.h5").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_study_goes_on_to_the_same_bytes(number, tmp_path):
    words = ["study", "ising", "-n", 100, "--method", "mfq", "--order", "sequential", "--tables", "own", "-q"]
    words += ["--temperature", "0.9,1.3", "--steps", 60_000, "--runs", 4, "-o"]
    with Session(KOFN, *words, "whole", folder=tmp_path) as command:
        assert command.finish(TIMEOUT_S)[0] == 0
    with Session(KOFN, *words, "killed", folder=tmp_path) as command:
        first = tmp_path / "killed" / "cells" / "ising.mfq.n=0100.T=0.9.h5"
        command.wait_for(first.exists)
        time.sleep(0.1)
        command.kill(number)
        code, out, err = command.finish(TIMEOUT_S)
    assert code != 0
    assert out == ""
    assert not (tmp_path / "killed" / "learning.h5").exists()
    if number == signal.SIGTERM:
        (line,) = err.splitlines()
        assert "start again to go on" in line
        assert list((tmp_path / "killed").rglob("*.checkpoint"))
    with Session(KOFN, *words, "killed", folder=tmp_path) as command:
        assert command.finish(TIMEOUT_S)[0] == 0
    assert (tmp_path / "killed" / "learning.h5").read_bytes() == (tmp_path / "whole" / "learning.h5").read_bytes()
    assert not list(tmp_path.rglob("*.checkpoint"))


@pytest.mark.slow
def test_workers_of_a_cluster_make_the_same_bytes(squeeze, tmp_path):
    pytest.importorskip("distributed")
    from test_cluster import Cluster

    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster") as cluster:
        words = ["study", *SQUEEZE, "--scheduler", cluster.address, "-o", "out", "-q"]
        with Session(KOFN, *words, folder=tmp_path) as command:
            code, out, err = command.finish(TIMEOUT_S)
    assert (code, err) == (0, "")
    assert "4 cells and 3 figures" in out
    assert (tmp_path / "out" / "learning.h5").read_bytes() == (squeeze[1] / "learning.h5").read_bytes()


def test_cells_of_another_study_are_refused(spins, squeeze, tmp_path):
    folder = shutil.copytree(spins[1], tmp_path / "copy")
    with unchanged(folder):
        message = refused("study", *SPINS, "--alpha", 0.2, "-o", folder)
        assert message.endswith("alpha is 0.1, expected 0.2; take another folder, or --force")
        assert "cells/ising.mfq.n=0016.T=0.8.h5: cell of another study" in message
        changed = [61 if word == 60 else word for word in SPINS]
        assert "steps is 60, expected 61" in refused("study", *changed, "-o", folder)
        assert "learning.h5: study of ising" in refused("study", *SQUEEZE, "-o", folder)
    succeed("study", *SPINS, "--alpha", 0.2, "-o", folder, "-q", "--force")
    assert read_learning_study(folder / "learning.h5").config["learning"]["alpha"] == 0.2


def test_checkpoint_of_other_learning_is_refused(spins, tmp_path):
    cell = "ising.mfq.n=0016.T=0.8.h5"
    (tmp_path / "cells").mkdir()
    shutil.copy(spins[1] / "cells" / cell, tmp_path / "cells" / f"{cell}.checkpoint")
    assert "checkpoint of other learning, alpha is 0.1" in refused(
        "study", *SPINS, "--alpha", 0.2, "-o", tmp_path, "-q"
    )
    (tmp_path / "cells" / f"{cell}.checkpoint").write_bytes(b"no file of ours")
    assert "damaged or not a kofn file" in refused("study", *SPINS, "-o", tmp_path, "-q")


def test_folder_of_another_kind_of_study_is_refused(tmp_path):
    (tmp_path / "study.h5").write_bytes(b"")
    with unchanged(tmp_path):
        assert "a study of another kind" in refused("study", *SPINS, "-o", tmp_path)
