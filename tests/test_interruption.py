"""Solves and studies that are killed or stopped, then continued: same bits as if nothing had happened, nothing left behind."""

import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import KOFN, Session, assert_same_contents, catches_sigterm

from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.solve import Interrupted
from kofn.engine.study.run import study
from oracles import random_game_tables

pytestmark = pytest.mark.slow

TIMEOUT_S = 120.0
ONE_ERROR = "Error: "
KILLS_PER_SOLVE = 10

SOLVES = {
    "joint": ["-k", 5],
    "sampled": ["-k", 8, "--expectation", "sampled", "--seed", 7],
}
N_CELLS = 5
# Long deployments of small games, so that the cells take a while; one cell solves the game of all nine agents.
STUDY = ["-n", 9, "-k", "1:4", "--tol", 1e-3, "--steps", 250_000, "--runs", 3, "--seed", 5, "-o", "study", "-q"]


def write_slow_game(path, gamma):
    """A game whose states hardly move, so that a solve takes many sweeps."""
    tables = random_game_tables(np.random.default_rng(3), 2, 2, 3, 2)
    tables["P_g"] = 0.98 * np.eye(2)[:, None, :] + 0.02 * tables["P_g"]
    tables["P_l"] = 0.99 * np.eye(3)[None, :, None, :] + 0.01 * tables["P_l"]
    lines = [f"name = 'slow'\ngamma = {gamma}"]
    for player, states, actions in (("global", 2, 2), ("local", 3, 2)):
        lines.append(f"[{player}]\nstates = {list(range(states))}\nactions = {list(range(actions))}")
    lines.append("[tables]")
    lines += [f"{name} = {tables[name].tolist()}" for name in ("P_g", "P_l", "r_g", "r_l")]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """Paths of games by their discount."""
    folder = tmp_path_factory.mktemp("games")
    return {gamma: write_slow_game(folder / f"slow-{gamma}.toml", gamma) for gamma in (0.9, 0.98, 0.99)}


def run(folder, *words, code=0, threads=1):
    """Run a command to its end."""
    with Session(KOFN, *words, folder=folder, threads=threads) as command:
        found, out, err = command.finish(TIMEOUT_S)
    assert found == code, err
    return out, err


def error_line(err):
    """The one line on stderr."""
    assert err.startswith(ONE_ERROR), err
    assert err.count("\n") == 1, err
    return err[len(ONE_ERROR) :].rstrip("\n")


def n_sweeps_of(checkpoint):
    with h5py.File(checkpoint) as file:
        return file["widths"].shape[0]


# Solves.


def kill_and_continue(folder, game, options, delays):
    """Kill a solve again and again, then let it end; how many sweeps its checkpoint had at each kill."""
    sweeps = [0]
    checkpoint = folder / "killed.h5.checkpoint"
    command = ["solve", game, *options, "-o", "killed.h5", "--threads", 1, "--resume", "-q"]
    for _ in range(KILLS_PER_SOLVE):
        goal = sweeps[-1] + delays.randint(1, 12)
        with Session(KOFN, *command, "--checkpoint-every", 0, folder=folder) as solve:
            solve.wait_for(lambda goal=goal: checkpoint.exists() and n_sweeps_of(checkpoint) >= goal)
            # Most of the time goes into writing the next checkpoint.
            time.sleep(delays.uniform(0.0, 0.02))
            solve.kill(signal.SIGKILL)
            assert solve.finish(TIMEOUT_S)[0] == -signal.SIGKILL
            assert solve.is_empty_soon()
        assert not (folder / "killed.h5").exists()
        sweeps.append(n_sweeps_of(checkpoint))
        assert sweeps[-1] >= goal
    run(folder, *command)


def test_killed_solves_end_in_the_bits_of_undisturbed_ones(games, tmp_path):
    def one_class(name):
        folder = tmp_path / name
        folder.mkdir()
        run(folder, "solve", games[0.98], *SOLVES[name], "-o", "undisturbed.h5", "--threads", 2, threads=2)
        kill_and_continue(folder, games[0.98], SOLVES[name], random.Random(name))
        assert_same_contents(folder / "killed.h5", folder / "undisturbed.h5")
        assert sorted(path.name for path in folder.iterdir()) == ["killed.h5", "undisturbed.h5"]

    with ThreadPoolExecutor(len(SOLVES)) as pool:
        list(pool.map(one_class, SOLVES))


def test_stopped_solve_leaves_a_checkpoint_and_one_line(games, tmp_path):
    delays = random.Random(1)
    command = ["solve", games[0.99], "-k", 8, "--method", "recursion", "-q"]
    run(tmp_path, *command, "-o", "undisturbed.h5")
    sweeps = [0]
    for number in (signal.SIGTERM, signal.SIGINT):
        with Session(KOFN, *command, "-o", "stopped.h5", "--resume", folder=tmp_path) as solve:
            solve.wait_for(lambda: catches_sigterm(solve.pid))
            time.sleep(delays.uniform(0.0, 0.5))
            solve.kill(number)
            code, out, err = solve.finish(TIMEOUT_S)
        assert (code, out) == (1, "")
        sweeps.append(n_sweeps_of(tmp_path / "stopped.h5.checkpoint"))
        assert error_line(err).startswith(f"stopped after sweep {sweeps[-1]} at certified width ")
        assert err.endswith("; continue with --resume from stopped.h5.checkpoint\n")
        assert sweeps[-1] > sweeps[-2]
    _, err = run(tmp_path, *command, "-o", "stopped.h5", code=1)
    assert (
        error_line(err)
        == "stopped.h5.checkpoint: exists already, expected --resume to continue or --force to start anew"
    )
    run(tmp_path, *command, "-o", "stopped.h5", "--resume")
    assert_same_contents(tmp_path / "stopped.h5", tmp_path / "undisturbed.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.h5", "undisturbed.h5"]


# Studies.


@pytest.fixture(scope="module")
def undisturbed(games, tmp_path_factory):
    """Folder of a study that one process made without interruption."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, "study", games[0.9], *STUDY, "--jobs", 1, threads=2)
    return folder / "study"


class Cells:
    """The finished cells of a study, none of which may ever be written again."""

    def __init__(self, folder):
        self._folder = folder / "study" / "cells"
        self._known = {}

    def count(self):
        return len(list(self._folder.glob("*.h5")))

    def all_done(self):
        return self.count() == N_CELLS

    def check(self):
        """Fail if a finished cell is no longer the file it was."""
        found = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in self._folder.glob("*.h5")}
        assert self._known.items() <= found.items()
        self._known = found


def finish_study(folder, game, cells, undisturbed, *options):
    """Run a study to its end; what was finished stays, and all ends in the bits of the undisturbed one."""
    run(folder, "study", game, *STUDY, *options)
    cells.check()
    names = sorted(path.name for path in undisturbed.rglob("*"))
    assert sorted(path.name for path in (folder / "study").rglob("*")) == names
    for path in undisturbed.rglob("*.h5"):
        assert_same_contents(folder / "study" / path.relative_to(undisturbed), path)
    # Not a byte of the results tells that anything happened.
    assert (folder / "study" / "study.h5").read_bytes() == (undisturbed / "study.h5").read_bytes()
    assert (folder / "study" / "sensitivity.json").read_bytes() == (undisturbed / "sensitivity.json").read_bytes()


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_study_redoes_no_finished_cell(jobs, games, undisturbed, tmp_path):
    delays = random.Random(2)
    cells = Cells(tmp_path)
    for kill in range(3):
        with Session(KOFN, "study", games[0.9], *STUDY, "--jobs", jobs, folder=tmp_path) as command:
            if kill == 0:
                # They import; or the command itself has come to its work.
                command.wait_for(command.workers if jobs > 1 else lambda: catches_sigterm(command.pid))
                time.sleep(delays.uniform(0.0, 1.0))
            else:
                goal = min(N_CELLS, cells.count() + 1)
                command.wait_for(lambda goal=goal: cells.count() >= goal)
                time.sleep(delays.uniform(0.0, 0.3))
            command.kill(signal.SIGKILL)
            assert command.finish(TIMEOUT_S)[0] == -signal.SIGKILL
            assert command.is_empty_soon()
        cells.check()
        if cells.all_done():
            break
    assert cells.count() > 0
    finish_study(tmp_path, games[0.9], cells, undisturbed, "--jobs", 3 - jobs)


def test_stopped_study_says_so_in_one_line_and_goes_on(games, undisturbed, tmp_path):
    delays = random.Random(3)
    cells = Cells(tmp_path)

    def interrupt_as_a_terminal(command):
        command.wait_for(command.workers)
        time.sleep(delays.uniform(0.0, 1.0))
        command.kill_all(signal.SIGINT)
        return "stopped; finished cells are kept, start again to go on"

    def kill_a_worker(command):
        workers = command.wait_for(lambda: [pid for pid in command.workers() if catches_sigterm(pid)])
        time.sleep(delays.uniform(0.0, 1.0))
        command.kill_one(delays.choice(workers), signal.SIGKILL)
        return "jobs: a worker process was killed; finished cells are kept, start again to go on"

    def end_the_command(command):
        goal = cells.count() + 1
        command.wait_for(lambda: cells.count() >= goal)
        command.kill(signal.SIGTERM)
        return "stopped; finished cells are kept, start again to go on"

    for disturb in (interrupt_as_a_terminal, kill_a_worker, end_the_command):
        with Session(KOFN, "study", games[0.9], *STUDY, "--jobs", 2, folder=tmp_path) as command:
            expected = disturb(command)
            code, _, err = command.finish(TIMEOUT_S)
            assert (code, error_line(err)) == (1, expected)
            assert command.is_empty_soon()
        cells.check()
    finish_study(tmp_path, games[0.9], cells, undisturbed, "--jobs", 1)


def stop_after(n_sweeps, folder):
    """A function that wants the first cell of a study to stop after so many sweeps."""
    questions = 0

    def should_stop():
        nonlocal questions
        # What comes before the cells ends with this file; the first question after that is whether to begin.
        questions += (folder / "sensitivity.json").exists()
        return questions > n_sweeps

    return should_stop


def test_study_stopped_within_a_cell_continues_from_its_checkpoint(one_thread, games, tmp_path):
    game = load_game(str(games[0.9]))
    small = {"steps": 50, "runs": 2, "jobs": 1, "exact": False}
    whole = study(game, 6, [2, 3], output=tmp_path / "whole", **small)
    with pytest.raises(Interrupted, match="stopped after sweep"):
        study(game, 6, [2, 3], output=tmp_path / "stopped", should_stop=stop_after(5, tmp_path / "stopped"), **small)
    checkpoint = tmp_path / "stopped" / "cells" / "slow.joint.exact.k=0003.h5.checkpoint"
    assert n_sweeps_of(checkpoint) == 5
    with pytest.raises(OSError, match=r"checkpoint of another solve, tol is 1e-06, expected 0\.001"):
        study(game, 6, [2, 3], output=tmp_path / "stopped", tol=1e-3, **small)
    again = study(game, 6, [2, 3], output=tmp_path / "stopped", **small)
    np.testing.assert_array_equal(again.n_sweeps, whole.n_sweeps)
    assert not checkpoint.exists()
    for path in (tmp_path / "whole").rglob("*.h5"):
        assert_same_contents(tmp_path / "stopped" / path.relative_to(tmp_path / "whole"), path)


def test_force_also_forgets_checkpoints(one_thread, games, tmp_path):
    game = load_game(str(games[0.9]))
    with pytest.raises(Interrupted):
        study(game, 6, [2], output=tmp_path, steps=50, jobs=1, exact=False, should_stop=stop_after(3, tmp_path))
    assert (tmp_path / "cells" / "slow.joint.exact.k=0002.h5.checkpoint").exists()
    study(game, 6, [2], output=tmp_path, steps=50, jobs=1, exact=False, tol=1e-3, force=True)
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["slow.joint.exact.k=0002.h5"]


def test_units_of_the_rewards_do_not_matter_to_a_study(one_thread, games, tmp_path):
    game = load_game(str(games[0.9]))
    scaled = Game(
        **{name: getattr(game, name) for name in ("P_g", "P_l", "gamma")}, r_g=1e15 * game.r_g, r_l=1e15 * game.r_l
    )
    result = study(scaled, 4, [2], output=tmp_path, steps=20, runs=2, jobs=1, tol=1e12)
    assert result.sel("value_half_width") <= 5e11
    assert result.sel("exact_half_width") <= 5e11


# Pools of processes.


@pytest.mark.parametrize(
    ("scenario", "outcome", "told"),
    [
        ("all_finish", "finished 0 1 2 3 4 5 6 7", ""),
        ("worker_killed_while_it_asks", "RuntimeError: jobs: a worker process was killed", "told-a"),
        ("idle_worker_killed", "RuntimeError: jobs: a worker process was killed", "told-a"),
        ("worker_killed_at_birth", "RuntimeError: jobs: a worker process was killed", ""),
        ("stopped_while_warming_up", "Interrupted: stopped", ""),
        ("job_fails", "ValueError: k: found 0, expected more", "told-a"),
        ("warm_up_fails", "ValueError: tol: found 0, expected more", ""),
        ("group_is_told_to_end", "Interrupted: stopped", "told-a told-b"),
    ],
)
def test_pool_neither_hangs_nor_leaves_anyone_behind(scenario, outcome, told, tmp_path):
    program = Path(__file__).with_name("pool_scenarios.py")
    with Session(sys.executable, "-W", "error", program, scenario, tmp_path, folder=tmp_path) as pool:
        code, out, err = pool.finish(60.0)
        assert pool.is_empty_soon()
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(outcome)
    assert second.split() == ["told:", *told.split()]


def test_workers_do_not_outlive_a_killed_parent_by_a_sweep(tmp_path):
    program = Path(__file__).with_name("pool_scenarios.py")
    with Session(sys.executable, program, "parent_killed_in_the_middle_of_sweeps", tmp_path, folder=tmp_path) as pool:
        assert pool.wait_for_end(60.0) == -signal.SIGKILL
        assert pool.is_empty_soon()


def test_script_that_makes_a_study_needs_no_guard(games, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import kofn\n"
        "print('once')\n"
        f"game = kofn.load_game({str(games[0.9])!r})\n"
        "print(kofn.study(game, 4, [1, 2], output='study', steps=10, runs=2, tol=1.0, jobs=2).k)\n"
    )
    with Session(sys.executable, script, folder=tmp_path) as command:
        assert command.finish(TIMEOUT_S) == (0, "once\n[1 2]\n", "")
