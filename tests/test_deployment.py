"""The deployment's door: what it refuses, what it reports, how it stops, and its files; and policies as objects."""

import math
import pickle
import threading

import h5py
import numpy as np
import pytest
from scipy import stats

from kofn.engine import rollouts
from kofn.engine.backups.selection import TooLargeError
from kofn.engine.deployment import deploy
from kofn.engine.deployment_files import read_deployment, write_deployment
from kofn.engine.files import write_atomically
from kofn.engine.game import Game
from kofn.engine.policy import (
    SubsamplePolicy,
    blind_policy,
    checked_local_policy,
    load_local_policy,
    uniform_local_policy,
)
from oracles import random_game_tables, random_policy, random_rows


@pytest.fixture
def game(rng):
    return Game(**random_game_tables(rng, 2, 3, 3, 2), name="random")


@pytest.fixture
def policy(rng, game):
    return SubsamplePolicy(**random_policy(rng, game, 2, 3)._asdict())


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"n": 2},
            "n: found 2 agents, expected at least 3, as many as the policy looks at (k_global = 2, k_local = 3)",
        ),
        ({"n": 0}, "n: found 0, expected a whole number of at least 1 that fits 64 bits"),
        ({"n": 2.5}, "n: found 2.5, expected a whole number of at least 1 that fits 64 bits"),
        ({"n": 2**30 + 1}, "n: found 1073741825, expected a whole number from 1 to 1073741824"),
        ({"steps": 0}, "steps: found 0, expected a whole number of at least 1 that fits 64 bits"),
        ({"steps": True}, "steps: found True, expected a whole number of at least 1 that fits 64 bits"),
        ({"steps": 2**57}, f"steps: found {2**57}, expected a whole number from 1 to {2**56}"),
        ({"runs": -1}, "runs: found -1, expected a whole number of at least 1 that fits 64 bits"),
        ({"runs": 2**32}, None),
        ({"first_run": 2**32}, f"first_run: found {2**32}, expected a whole number from 0 to {2**32 - 1}"),
        ({"first_run": 2**32 - 1, "runs": 2}, "runs: found 2, expected a whole number from 1 to 1"),
        ({"seed": -1}, "seed: found -1, expected a whole number from 0 to 2**64 - 1"),
        ({"seed": 2**64}, f"seed: found {2**64}, expected a whole number from 0 to 2**64 - 1"),
        ({"level": "all"}, "level: found 'all', expected one of ('counts', 'agents')"),
        ({"rewards": "some"}, "rewards: found 'some', expected one of ('mean', 'drawn')"),
        (
            {"level": "agents", "rewards": "mean"},
            "rewards: found 'mean' with level 'agents', expected 'drawn': agents have drawn rewards only",
        ),
        ({"trace_points": 0}, "trace_points: found 0, expected a whole number of at least 1 that fits 64 bits"),
        ({"trace_agents": 2}, "trace_agents: found 2 with level 'counts', expected 0, or level 'agents'"),
        ({"level": "agents", "n": 2**30}, None),
        ({"initial": 3}, "initial: found 3, expected a pair (global_state, counts)"),
        ({"initial": (2, [1, 2, 3])}, "initial: global_state: found 2, expected a whole number from 0 to 1"),
        (
            {"initial": (0, [1, 2, 4])},
            "initial: found counts [1, 2, 4], expected 3 whole numbers >= 0 that add up to 6",
        ),
        (
            {"initial": (0, [7, -1, 0])},
            "initial: found counts [7, -1, 0], expected 3 whole numbers >= 0 that add up to 6",
        ),
        ({"initial": (0, [3.0, 3.0, 0.0])}, None),
        ({"initial": (0, [3, 3])}, None),
    ],
)
def test_bad_input_is_one_line(game, policy, change, message):
    arguments = {"n": 6, "steps": 5} | change
    with pytest.raises(ValueError) as caught:
        deploy(game, policy, **arguments)
    found = str(caught.value)
    assert "\n" not in found
    assert message is None or found == message


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 3, 3, 2), "policy: found n_sg = 2, expected 3 as in the game"),
        ((2, 3, 2, 2), "policy: found n_sl = 3, expected 2 as in the game"),
        ((2, 3, 3, 1), "policy: found n_al = 2, expected 1 as in the game"),
        ((2, 2, 3, 2), "policy: found global action 2, expected 0 to 1 as in the game"),
    ],
)
def test_a_policy_for_another_game_is_refused(rng, policy, sizes, message):
    with pytest.raises(ValueError) as caught:
        deploy(Game(**random_game_tables(rng, *sizes)), policy, 6, steps=5)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "lower"),
    [
        ({"runs": 10**7, "memory_bytes": 10**9}, "runs, trace_points or k"),
        ({"steps": 10**9, "trace_points": 10**9, "memory_bytes": 10**9}, "runs, trace_points or k"),
        ({"n": 10**8, "level": "agents", "memory_bytes": 10**8}, "runs, trace_points or n"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_allocated(game, policy, change, lower):
    with pytest.raises(
        TooLargeError, match=rf"^deployment: needs [0-9.]+ [kMGT]B, expected at most .*; lower {lower}$"
    ):
        deploy(game, policy, **{"n": 6, "steps": 5} | change)


def test_memory_of_a_large_policy_is_counted(game):
    policy = blind_policy(game, k_local=300)
    with pytest.raises(TooLargeError, match="lower runs, trace_points or k"):
        deploy(game, policy, 10**9, steps=5, memory_bytes=10**6)
    needed = rollouts.count_runs_bytes(game, policy, 10**9, False, 1)
    rows = rollouts.arrange_rows(game, policy, False)
    assert rows.nbytes < needed < 2 * rows.nbytes


# What is reported


def test_report_of_one_run(game, policy):
    found = deploy(game, policy, 6, steps=1050, trace_points=100, seed=4)
    assert found.config["steps"] == 1050
    assert found.config["burn_in"] == 105
    assert (found.config["level"], found.config["rewards"]) == ("counts", "mean")
    assert found.config["game_digest"] == game.digest()
    assert found.trace_step.tolist() == list(range(0, 1050, 11))
    assert found.trace_reward.shape == found.trace_return.shape == found.trace_global_state.shape == (1, 96)
    assert found.trace_global_action.shape == (1, 96)
    assert found.trace_population.shape == (1, 96, 3)
    assert found.trace_agents.shape == (1, 96, 0)
    assert found.returns[0] == found.trace_return[0, -1] == found.mean_return
    assert math.isnan(found.return_half_width)
    assert found.batch_means.shape == (1, 32)
    assert set(found.versions) >= {"kofn", "numpy", "numba"}
    assert found.wall_time_s > 0
    assert "n=6" in repr(found)
    with pytest.raises(ValueError, match="read-only"):
        found.returns[0] = 0.0


def test_figures_are_those_of_the_full_trace(game, policy):
    """Long-run figures, batches and returns recomputed from a trace of every step."""
    steps, n = 333, 7
    found = deploy(game, policy, n, steps=steps, runs=3, trace_points=steps)
    rewards, burn_in = found.trace_reward, steps // 10
    np.testing.assert_allclose(found.returns, rewards @ game.gamma ** np.arange(steps), rtol=1e-12)
    np.testing.assert_allclose(
        found.trace_return, np.cumsum(rewards * game.gamma ** np.arange(steps), axis=1), rtol=1e-9
    )
    np.testing.assert_allclose(found.average_reward, rewards[:, burn_in:].mean(), rtol=1e-12)
    batch_of_step = np.arange(steps - burn_in) * 32 // (steps - burn_in)
    batches = [rewards[:, burn_in:][:, batch_of_step == batch].mean(axis=1) for batch in range(32)]
    np.testing.assert_allclose(found.batch_means, np.transpose(batches), rtol=1e-12)
    low, high = stats.t.interval(0.95, 95, found.batch_means.mean(), stats.sem(found.batch_means, axis=None))
    np.testing.assert_allclose(2 * found.average_half_width, high - low, rtol=1e-9)
    low, high = stats.t.interval(0.95, 2, found.mean_return, stats.sem(found.returns))
    np.testing.assert_allclose(2 * found.return_half_width, high - low, rtol=1e-9)
    occupancy = np.bincount(found.trace_global_state[:, burn_in:].ravel(), minlength=2) / (3 * (steps - burn_in))
    np.testing.assert_allclose(found.occupancy, occupancy, rtol=1e-12)
    np.testing.assert_allclose(
        found.mean_population, found.trace_population[:, burn_in:].mean(axis=(0, 1)) / n, rtol=1e-12
    )


def test_a_coarse_trace_is_the_mean_of_a_fine_one(game, policy):
    fine, coarse = (deploy(game, policy, 6, steps=100, trace_points=points) for points in (100, 8))
    assert coarse.trace_step.tolist() == list(range(0, 100, 13))
    means = [fine.trace_reward[0, start : start + 13].mean() for start in range(0, 100, 13)]
    np.testing.assert_allclose(coarse.trace_reward[0], means, rtol=1e-12)
    ends = np.minimum(np.arange(12, 112, 13), 99)
    np.testing.assert_array_equal(coarse.trace_return[0], fine.trace_return[0, ends])
    np.testing.assert_array_equal(coarse.trace_population[0], fine.trace_population[0, ::13])
    assert coarse.average_reward == fine.average_reward


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 33])
def test_few_steps(game, policy, steps):
    found = deploy(game, policy, 6, steps=steps, trace_points=1000)
    assert found.batch_means.shape[1] == min(32, steps - steps // 10)
    np.testing.assert_allclose(found.average_reward, found.trace_reward[0, steps // 10 :].mean(), rtol=1e-12)
    assert math.isnan(found.average_half_width) == (steps == 1)


def test_the_interval_of_the_average_covers(game, policy):
    """95 % intervals of 40 runs of 2000 steps against a long run: at least 30 cover, below 1e-5 if they do not hold."""
    truth = deploy(game, policy, 6, steps=400_000, seed=7).average_reward
    runs = [deploy(game, policy, 6, steps=2000, seed=8, first_run=run) for run in range(40)]
    assert sum(abs(run.average_reward - truth) < run.average_half_width for run in runs) >= 30


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99])
def test_truncation_bound(rng, gamma):
    tables = random_game_tables(rng, 2, 2, 2, 2, gamma=gamma)
    game = Game(**tables)
    policy = blind_policy(game)
    short, long = (deploy(game, policy, 5, steps=steps) for steps in (20, 5000))
    gap = abs(long.returns - short.returns)[0]
    assert gap <= short.truncation_bound <= gamma**20 * (abs(game.r_g).max() + abs(game.r_l).max()) / (1 - gamma)
    assert long.truncation_bound < 1e-18


# How it stops


def test_progress_reaches_the_end(game, policy):
    calls = []
    deploy(game, policy, 6, steps=20_000, runs=3, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (60_000, 60_000)
    assert calls == sorted(calls)


def test_progress_can_stop(game, policy):
    def stop(done, total):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        deploy(game, policy, 6, steps=10**9, runs=3, progress=stop)
    assert threading.active_count() == before


# Files


@pytest.mark.parametrize(
    "options", [{}, {"level": "agents", "trace_agents": 2}, {"initial": (1, [1, 2, 3]), "runs": 1}]
)
def test_a_file_gives_back_every_bit(tmp_path, game, policy, options):
    written = deploy(game, policy, 6, **{"steps": 50, "runs": 3, "seed": 2**64 - 1} | options)
    path = tmp_path / "deployment.h5"
    write_atomically(path, lambda file: write_deployment(file.create_group("deployment"), written))
    with h5py.File(path) as file:
        found = read_deployment(file["deployment"])
        assert file["deployment/trace_reward"].fletcher32
        assert [dim.label for dim in file["deployment/trace_population"].dims] == ["run", "trace_step", "local_state"]
        assert file["deployment/trace_reward"].dims[1][0].name == "/deployment/trace_step"
    for name, value in vars(written).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value, strict=True)
        else:
            assert getattr(found, name) == value, name
    assert found.average_half_width == written.average_half_width


def test_a_damaged_file_is_refused(tmp_path, game, policy):
    with h5py.File(tmp_path / "damaged.h5", "w") as file:
        write_deployment(file, deploy(game, policy, 6, steps=50, runs=3))
        del file["returns"]
        with pytest.raises(KeyError):
            read_deployment(file)
        file["returns"] = np.zeros(2)
        with pytest.raises(
            ValueError, match=r"^returns: found shape \(2,\), expected \(3,\), as other arrays have it$"
        ):
            read_deployment(file)


def test_a_file_from_before_global_actions_were_traced_is_read(tmp_path, game, policy):
    written = deploy(game, policy, 6, steps=50, runs=3, trace_points=10)
    with h5py.File(tmp_path / "older.h5", "w") as file:
        write_deployment(file, written)
        del file["trace_global_action"]
        found = read_deployment(file)
    np.testing.assert_array_equal(found.trace_global_action, np.full((3, 10), -1, np.int32), strict=True)
    np.testing.assert_array_equal(found.trace_global_state, written.trace_global_state, strict=True)
    assert not found.trace_global_action.flags.writeable


def test_a_deployment_travels_to_another_process(game, policy):
    found = deploy(game, policy, 6, steps=20)
    copy = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(copy.returns, found.returns)
    assert not copy.returns.flags.writeable


# Policies


def valid_policy():
    return {
        "k_global": 2,
        "k_local": 1,
        "global_action": np.zeros((2, 6), int),
        "local_action": np.full((2, 3, 3, 2), 0.5),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_global": 0}, "k_global: found 0"),
        ({"k_local": 2}, "local_action: found 3 samples, expected 6 for k_local = 2"),
        (
            {"k_global": 1},
            "global_action: found int64 of shape (2, 6), expected integers of shape (2, 3) for k_global = 1",
        ),
        ({"global_action": np.zeros((2, 6))}, "global_action: found float64 of shape (2, 6), expected integers"),
        ({"global_action": np.full((2, 6), -1)}, "global_action: found -1 to -1, expected positions from 0 upwards"),
        ({"global_action": np.full((2, 6), 2**31)}, "global_action: found 2147483648 to 2147483648"),
        ({"local_action": np.full((2, 3, 3), 0.5)}, "local_action: found float64 of shape (2, 3, 3), expected"),
        ({"local_action": [[0.5], [0.5, 0.5]]}, "local_action: found lists of unequal lengths"),
        ({"local_action": np.full((2, 3, 3, 2), "a")}, "local_action: found <U1 of shape (2, 3, 3, 2), expected"),
        (
            {"local_action": np.full((2, 3, 3, 2), np.nan)},
            "local_action: found a row that is no law, [nan, nan] at [0, 0, 0], expected probabilities",
        ),
        ({"local_action": np.tile([1.5, -0.5], (2, 3, 3, 1))}, "local_action: found a row that is no law, [1.5, -0.5]"),
        ({"local_action": np.full((2, 3, 3, 2), 0.6)}, "local_action: found a row that is no law, [0.6, 0.6]"),
    ],
)
def test_a_bad_policy_is_refused_in_one_line(change, message):
    with pytest.raises(ValueError) as caught:
        SubsamplePolicy(**valid_policy() | change)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_policy_keeps_its_own_read_only_copy():
    arrays = valid_policy()
    policy = SubsamplePolicy(**arrays)
    arrays["local_action"][:] = 7.0
    for copy in (policy, pickle.loads(pickle.dumps(policy))):
        assert copy.local_action.max() == 0.5
        assert copy.k == 2
        assert not copy.local_action.flags.writeable
        assert not copy.global_action.flags.writeable


def test_a_blind_policy_ignores_its_samples(rng, game):
    laws, actions = random_rows(rng, (2, 3, 2)), [1, 2]
    policy = blind_policy(game, laws, actions, k_global=2, k_local=3)
    assert (policy.global_action == np.array(actions)[:, None]).all()
    np.testing.assert_allclose(policy.local_action, np.repeat(laws[:, :, None], 10, axis=2), rtol=1e-15)
    smallest = blind_policy(game)
    assert (smallest.k_global, smallest.k_local) == (1, 1)
    np.testing.assert_array_equal(smallest.local_action[:, :, 0], uniform_local_policy(game))
    with pytest.raises(ValueError, match=r"^global_action: found shape \(3,\), expected \(2,\), one per global state$"):
        blind_policy(game, laws, [0, 0, 0])
    with pytest.raises(ValueError, match=r"^policy: found global action 3, expected 0 to 2 as in the game$"):
        blind_policy(game, laws, [0, 3])


def test_local_policies_are_read(tmp_path, rng, game):
    laws = random_rows(rng, (2, 3, 2))
    np.save(tmp_path / "laws.npy", laws)
    with h5py.File(tmp_path / "laws.h5", "w") as file:
        file["local_policy"] = laws
    for name in ("laws.npy", "laws.h5"):
        np.testing.assert_array_equal(load_local_policy(tmp_path / name, game), checked_local_policy(laws, game))
    np.testing.assert_array_equal(load_local_policy("uniform", game), np.full((2, 3, 2), 0.5))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.npy", None, "expected 'uniform' or a .npy or .h5 file that exists"),
        ("laws.csv", b"0.5,0.5", "found the ending '.csv', expected .npy or .h5"),
        ("laws.npy", b"", ""),
        ("laws.npy", b"not an array", ""),
        ("laws.h5", b"not an HDF5 file", ""),
        ("laws.npy", np.array({"a": 1}), ""),
        ("laws.npy", np.ones((2, 3, 2)), "found a row that is no law"),
        ("laws.npy", np.ones((2, 2)), "found shape (2, 2), expected (2, 3, 2)"),
        ("laws.h5", {"policy": np.ones(3)}, "found no dataset 'local_policy', expected one"),
        ("laws.h5", {"local_policy": np.full((1, 2, 2), 0.5)}, "found shape (1, 2, 2), expected (2, 3, 2)"),
    ],
)
def test_bad_local_policies_are_refused_in_one_line(tmp_path, game, name, content, reason):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        with h5py.File(path, "w") as file:
            file.update(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(ValueError) as caught:
        load_local_policy(path, game)
    found = str(caught.value)
    assert found.startswith("local_policy: ")
    assert str(path) in found
    assert reason in found
    assert "\n" not in found


def test_a_header_cannot_ask_for_all_memory(tmp_path, game):
    np.save(tmp_path / "small.npy", np.zeros((10, 10, 10)))
    content = (tmp_path / "small.npy").read_bytes()
    (tmp_path / "huge.npy").write_bytes(content.replace(b"(10, 10, 10), }     ", b"(1000000, 900000, 2)}", 1))
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("local_policy", shape=(10**6, 10**6, 2), dtype=float, chunks=(1, 1000, 2))
    for name in ("huge.npy", "huge.h5"):
        with pytest.raises(ValueError, match=r"^local_policy: "):
            load_local_policy(tmp_path / name, game)
