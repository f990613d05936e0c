"""The learning kernels in a simulator that brings its own random numbers, against a program that shares nothing with them."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from kofn.kernels.learning.synchronous import learn_synchronous

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "squeeze_own_draws.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@njit
def plain_program(n, n_bins, steps, epsilon_steps, seed):
    """Rewards of each step: Q(previous mean of the others, action) of each agent, all in one function."""
    np.random.seed(seed)
    table, bins = np.zeros((n, n_bins, 10)), np.zeros(n, np.int64)
    last, actions, rewards = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(steps)
    for i in range(n):
        last[i] = np.random.randint(0, 10)
    for t in range(steps):
        epsilon = 0.1 - 0.09 * min(1.0, t / epsilon_steps)
        total = last.sum()
        for i in range(n):
            bins[i] = min(n_bins - 1, (total - last[i]) * n_bins // (9 * (n - 1)))
            if np.random.random() < epsilon:
                actions[i] = np.random.randint(0, 10)
            else:
                actions[i] = np.argmax(table[i, bins[i]])
        x = actions.sum()
        rewards[t] = x * math.exp(-(((x - 400.0) / 200.0) ** 2))
        for i in range(n):
            table[i, bins[i], actions[i]] += 0.1 * (rewards[t] - table[i, bins[i], actions[i]])
        last[:] = actions
    return rewards


@pytest.mark.parametrize("n", [2, 70, 250])
@pytest.mark.parametrize("method", ["iq", "mfq"])
def test_own_draws_learn_what_a_plain_program_learns(script, n, method):
    rewards = script.learn_squeeze(3, *script.make_squeeze(n, method, steps=12_000).arguments(0, 12_000))
    expected = plain_program(n, 90 if method == "mfq" else 1, 12_000, 10_000, 3)
    np.testing.assert_array_equal(rewards, expected)


def test_the_simulator_on_kofns_streams_is_the_learning_of_the_command(script):
    ours, theirs = script.make_squeeze(300, "mfq", steps=2000), script.make_squeeze(300, "mfq", steps=2000)
    rewards = script.learn_squeeze(-1, *ours.arguments(0, 2000))
    learn_synchronous(*theirs.arguments(0, 2000))
    for name, array in theirs.arrays().items():
        np.testing.assert_array_equal(ours.arrays()[name], array)
    every = 2000 // theirs.curves()["reward"].shape[1]
    np.testing.assert_allclose(theirs.curves()["reward"][0], rewards.reshape(-1, every).mean(1), rtol=1e-12)


@pytest.mark.slow
def test_published_shares_of_the_best(script):
    """Twenty runs of 100 agents as published, and the worst and the best of those of 1000."""
    assert round(np.mean([script.share_of_best(100, "iq", seed) for seed in range(20)]), 3) == 0.955
    assert round(np.mean([script.share_of_best(100, "mfq", seed) for seed in range(20)]), 3) == 0.169
    assert [round(script.share_of_best(1000, "mfq", seed), 3) for seed in (5, 13)] == [0.456, 0.992]
