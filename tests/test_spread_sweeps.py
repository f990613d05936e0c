"""One solve spread over an executor: the bits of one machine, whatever is lost on the way."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from processes import KOFN, Session

from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.policy import uniform_local_policy
from kofn.engine.solution_files import read_solution
from kofn.engine.solve import solve
from kofn.engine.sweeps import spread as spread_sweeps
from kofn.engine.sweeps.spread import LostExecutorError, as_workers
from oracles import random_game_tables

BITS = ("value", "global_action", "item", "widths", "half_width", "rounding_error", "n_policy_sweeps", "n_dropped")
SHORTCUTS = {
    "plain": dict.fromkeys(("warm_start", "policy_sweeps", "anderson", "drop_actions"), False),
    "policy": {"warm_start": True, "policy_sweeps": True, "drop_actions": True},
    "anderson": {"anderson": True, "drop_actions": True},
}
SOLVES = {
    "joint": {"actions": "joint"},
    "shared": {"actions": "shared", "method": "symmetric-power"},
    "histogram": {"actions": "histogram"},
    "fixed": {"actions": "fixed"},
    "sampled": {"actions": "joint", "expectation": "sampled", "seed": 4},
    "recursion": {"actions": "joint", "method": "recursion"},
}


@pytest.fixture(autouse=True)
def spread_all(monkeypatch):
    """Small solves too go to the executor."""
    monkeypatch.setattr("kofn.engine.surrogate.ITEMS_TO_SPREAD", 0)


@pytest.fixture(scope="module")
def game():
    """Slow enough to need some sweeps, with something to drop, and stable for every method."""
    tables = random_game_tables(np.random.default_rng(5), 3, 3, 3, 2, gamma=0.95)
    tables["P_g"] = 0.8 * np.eye(3)[:, None, :] + 0.2 * tables["P_g"]
    tables["P_l"] = 0.8 * np.eye(3)[None, :, None, :] + 0.2 * tables["P_l"]
    tables["r_g"][:, 0] -= 5.0
    return Game(**tables)


def options_of(game, name):
    policy = {"local_policy": uniform_local_policy(game)} if name == "fixed" else {}
    return {**SOLVES[name], **policy, "tol": 1e-8}


def assert_same(found, expected):
    for name in BITS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.method, found.level_sweeps) == (expected.method, expected.level_sweeps)


@pytest.mark.parametrize("shortcuts", SHORTCUTS)
@pytest.mark.parametrize("name", SOLVES)
def test_same_bits_on_any_number_of_workers(name, shortcuts, game):
    options = {**options_of(game, name), **SHORTCUTS[shortcuts]}
    expected = solve(game, 8, **options)
    # The second time with tables that have served a solve before.
    for n_workers in (2, 7, 7):
        with ThreadPoolExecutor(n_workers) as executor:
            assert_same(solve(game, 8, **options, executor=executor), expected)


def test_parts_are_cut_within_global_states(game):
    with ThreadPoolExecutor(7) as executor:
        backup = spread_sweeps.SpreadBackup(
            spread_sweeps.Problem(
                game=game, k=4, actions="joint", expectation="exact", local_policy=None, method="meet-in-the-middle",
                samples=0, seed=0, error=1e-9, memory_bytes=10**9,
            ),
            as_workers(executor),
        )  # fmt: skip
    assert len(backup._parts) == 15
    assert backup._parts[:6] == [(0, 1, 0, 5), (0, 1, 1, 5), (0, 1, 2, 5), (0, 1, 3, 5), (0, 1, 4, 5), (1, 2, 0, 5)]


class Forgetful(ThreadPoolExecutor):
    """Every part finds the process as new as after its predecessor was killed."""

    def submit(self, function, *arguments):
        def run():
            with spread_sweeps._lock:
                spread_sweeps._kept.clear()
            return function(*arguments)

        return super().submit(run)


def test_lost_tables_are_built_again(game):
    options = {**options_of(game, "joint"), **SHORTCUTS["policy"]}
    with Forgetful(1) as executor:
        assert_same(solve(game, 8, **options, executor=executor), solve(game, 8, **options))


class Breaking(Executor):
    """Breaks after so many parts, as a pool does when a process is killed."""

    _max_workers = 2

    def __init__(self, parts):
        self._left = parts

    def submit(self, function, *arguments):
        future = Future()
        self._left -= 1
        if self._left < 0:
            future.set_exception(BrokenExecutor("a process was killed"))
        else:
            future.set_result(function(*arguments))
        return future


@pytest.mark.parametrize("shortcuts", SHORTCUTS)
def test_lost_executor_leaves_a_checkpoint_that_ends_in_the_same_bits(shortcuts, game, tmp_path):
    options = {**options_of(game, "joint"), **SHORTCUTS[shortcuts]}
    expected = solve(game, 8, **options)
    checkpoint = tmp_path / "c.checkpoint"
    # Lost while the tables are built, in levels, in sweeps, while a policy is followed, and in the last pass.
    for parts in (*range(4, 140, 19), 10**9):
        checkpoint.unlink(missing_ok=True)
        try:
            solve(game, 8, **options, executor=Breaking(parts), checkpoint=checkpoint)
            if parts == 10**9:
                break
            continue
        except LostExecutorError as lost:
            message = str(lost)
        assert message == f"executor: its processes were killed; continue with --resume from {checkpoint}"
        assert_same(solve(game, 8, **options, checkpoint=checkpoint, resume=True), expected)


def test_what_is_no_executor_is_refused(game):
    with pytest.raises(ValueError, match=r"executor: found int, expected a concurrent\.futures\.Executor"):
        solve(game, 3, executor=2)


@pytest.mark.slow
def test_processes_of_a_pool(game):
    options = {**options_of(game, "joint"), **SHORTCUTS["policy"]}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        assert_same(solve(game, 8, **options, executor=executor), solve(game, 8, **options))
        assert executor.submit(os._exit, 1).exception() is not None
        with pytest.raises(LostExecutorError, match="executor: its processes were killed"):
            solve(game, 8, **options, executor=executor)


# Dask.


@contextlib.contextmanager
def local_cluster(n_workers=2):
    """A scheduler with worker processes of one thread, and a client."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield cluster, client


# Dask leaves sockets and tasks behind when workers are killed.
dask = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
@dask
def test_dask_workers_and_lost_ones(game):
    robots = load_game("robots")
    options = {"local_policy": uniform_local_policy(robots), "tol": 1e-7, **SHORTCUTS["anderson"]}
    expected = solve(robots, 12, **options)
    joint = {**options_of(game, "joint"), **SHORTCUTS["policy"]}
    killed = []

    def kill(pid):
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    with local_cluster() as (cluster, client):
        assert_same(solve(game, 8, **joint, executor=client), solve(game, 8, **joint))

        def kill_one_in_the_next_sweep(report):
            if report.sweep == 4:
                threading.Timer(0.01, kill, [cluster.workers[0].pid]).start()

        assert_same(solve(robots, 12, **options, executor=client, progress=kill_one_in_the_next_sweep), expected)
        assert len(killed) == 1

        def kill_one_that_waits_for_its_value(report):
            if report.sweep == 4:
                # It takes nothing any more, so the value of the next sweep is on its way to it when it ends.
                pid = cluster.workers[1].pid
                os.kill(pid, signal.SIGSTOP)
                threading.Timer(1.0, kill, [pid]).start()

        # The value goes first to either worker; a broadcast never ends where that is the other one: found in 7 of 8 runs.
        for n_killed in (2, 3, 4):
            client.wait_for_workers(2, timeout=60)
            asked = {**options, "executor": client, "progress": kill_one_that_waits_for_its_value}
            assert_same(solve(robots, 12, **asked), expected)
            assert len(killed) == n_killed


@pytest.mark.slow
@dask
def test_lost_scheduler_is_one_line_with_a_checkpoint(tmp_path):
    command = ["solve", "robots", "-k", 20, "--local-policy", "uniform", "--no-anderson", "--tol", "1e-8", "-q"]
    with Session(KOFN, *command, "-o", "whole.h5", folder=tmp_path) as session:
        assert session.finish(120.0)[0] == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    port = address.rpartition(":")[2]
    python = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = subprocess.Popen([*python, "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **silent)
    python = [sys.executable, "-m", "distributed.cli.dask_worker"]
    worker = subprocess.Popen([*python, address, "--nthreads", "1", "--no-dashboard", "--no-nanny"], **silent)
    try:
        time.sleep(6.0)
        checkpoint = tmp_path / "spread.h5.checkpoint"
        spread = [*command, "--scheduler", address, "--checkpoint-every", 0, "-o", "spread.h5"]
        with Session(KOFN, *spread, folder=tmp_path) as session:
            session.wait_for(checkpoint.exists)
            time.sleep(0.05)
            scheduler.kill()
            code, out, err = session.finish(120.0)
        assert (code, out) == (1, "")
        assert err == f"Error: scheduler: {address} was lost; continue with --resume from spread.h5.checkpoint\n"
        assert checkpoint.exists()
        with Session(KOFN, *command, "--resume", "-o", "spread.h5", folder=tmp_path) as session:
            assert session.finish(120.0)[0] == 0
        assert_same(read_solution(tmp_path / "spread.h5"), read_solution(tmp_path / "whole.h5"))
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_scheduler_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("distributed")
    with Session(
        KOFN, "solve", "formation", "-k", 3, "--scheduler", "tcp://127.0.0.1:9", "-o", "s.h5", folder=tmp_path
    ) as session:
        code, out, err = session.finish(120.0)
    assert (code, out) == (1, "")
    assert err.startswith("Error: scheduler: tcp://127.0.0.1:9 does not answer")
    assert err.count("\n") == 1
