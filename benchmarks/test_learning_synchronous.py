"""Agent-steps of mean-field Q-learning on one core, against plain vectorised NumPy: the Gaussian squeeze."""

import time

import numpy as np
import pytest

from kofn.kernels.learning.parts import (
    EVERYONE,
    OTHERS,
    RATIO_SUMS,
    Graph,
    Lens,
    Population,
    Records,
    Rule,
    Scene,
)
from kofn.kernels.learning.synchronous import draw_learners, learn_synchronous, observe_start

BINS, ACTIONS, ALPHA, EPSILON = 90, 10, 0.1, (0.1, 0.01)


def rewards_of_totals(n):
    total = np.arange((ACTIONS - 1) * n + 1.0)
    return total * np.exp(-((total - 400) ** 2) / 200**2)


def squeeze(n, steps):
    """The arguments of `learn_synchronous` but for seed, steps and records."""
    reward = rewards_of_totals(n)
    n_f = len(reward)
    no_agent, nobody = np.zeros(1, np.int64), np.zeros(0, np.int32)
    weights, edges = np.arange(float(ACTIONS))[None], np.linspace(0, ACTIONS - 1, BINS + 1)[None, 1:-1].copy()
    scene = Scene(
        np.ones((1, 1, 1, 1)),
        np.ones((1, 1, 1, ACTIONS, 1)),
        reward[None, :, None],
        np.zeros((1, 1, 1, ACTIONS)),
        np.ones(1),
        np.ones(1),
    )
    env = Lens(1, weights, (np.arange(1.0, n_f)[None] - 0.5) / n, np.array([n_f]), 0)
    lens = Lens(1, weights, edges, np.array([BINS]), 0)
    rule = Rule(ALPHA, 0.0, 0.0, 0.0, *EPSILON, steps // 2, 0.0, 0, 0, 0, 0, 0, 0, 0, 0.0, 1, 0, np.ones((1, 1, 1)))
    none, ring = (1, 0, 0, 0), (1, 0, 0)
    population = Population(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        *(np.zeros((1, n), np.int32) for _ in range(3)),
        np.zeros((1, 0), np.uint8),
        np.zeros((1, n, BINS, ACTIONS)),
        np.zeros(none),
        np.zeros(none),
        np.zeros(none, np.int64),
        np.zeros(none),
        np.zeros(none),
        np.zeros(none, np.int64),
        np.zeros(ring, np.int32),
        np.zeros(ring, np.int32),
        np.zeros(ring),
        np.zeros(ring, np.int32),
        np.zeros(ring, np.int32),
        np.zeros(ring),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros((1, 0)),
    )
    return scene, env, Graph(EVERYONE, no_agent, nobody), lens, Graph(OTHERS, no_agent, nobody), rule, population


def run_kernel(n, steps, seed):
    """Mean reward over the last tenth of the steps."""
    *game, rule, population = squeeze(n, steps)
    records = Records(steps // 10, *np.zeros((3, 1, 10)), np.zeros((1, 0, RATIO_SUMS)))
    draw_learners(game[0], seed, population)
    observe_start(*game, rule, population, 0)
    learn_synchronous(*game, rule, population, seed, 0, steps, records)
    return records.reward[0, -1]


def run_numpy(n, steps, seed):
    """The same job, all agents at a time."""
    rng = np.random.default_rng(seed)
    reward, agents = rewards_of_totals(n), np.arange(n)
    edges = np.linspace(0, ACTIONS - 1, BINS + 1)[1:-1]
    q, scores = np.zeros((n, BINS, ACTIONS)), np.zeros(steps)
    actions = rng.integers(ACTIONS, size=n)
    for step in range(steps):
        seen = np.searchsorted(edges, (actions.sum() - actions) / (n - 1) + 1e-9, side="right")
        epsilon = EPSILON[0] + (EPSILON[1] - EPSILON[0]) * min(2 * step / steps, 1)
        actions = q[agents, seen].argmax(axis=1)
        coin = rng.random(n) < epsilon
        actions[coin] = rng.integers(ACTIONS, size=coin.sum())
        scores[step] = reward[actions.sum()]
        q[agents, seen, actions] += ALPHA * (scores[step] - q[agents, seen, actions])
    return scores[-(steps // 10) :].mean()


@pytest.mark.parametrize(("n", "steps"), [(100, 20_000), (1000, 5000)])
def test_gaussian_squeeze(benchmark, enough, one_core, n, steps):
    enough(n == 1000)
    seed = np.uint64(1)
    expected = run_kernel(n, steps, seed)
    best = rewards_of_totals(n).max()
    began = time.perf_counter()
    score = run_numpy(n, steps // 10, 1)
    taken = time.perf_counter() - began
    assert 0 <= score <= best
    benchmark.extra_info.update(agent_steps=n * steps, numpy_agent_steps_per_s=n * (steps // 10) / taken)
    assert benchmark.pedantic(run_kernel, args=(n, steps, seed), rounds=3) == expected
    assert 0 < expected <= best
    if benchmark.stats is not None:
        benchmark.extra_info["agent_steps_per_s"] = n * steps / benchmark.stats.stats.min
