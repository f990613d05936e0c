"""A million lumped steps on one core, against a plain NumPy simulation of the agents."""

import time

import numpy as np
import pytest

from kofn import deploy, load_game, solve
from kofn.engine.action_classes import list_counts

STEPS = 1_000_000


@pytest.fixture(scope="session")
def learned(dense_game):
    """Policies learned on 8 agents."""
    games = {"formation": load_game("formation"), "dense": dense_game}
    return {name: (game, solve(game, 8).policy) for name, game in games.items()}


def numpy_steps_per_second(game, policy, n, seconds=1.0):
    """Steps per second of n agents simulated with vectorised NumPy, each drawing its own sample of the others."""
    rng = np.random.default_rng(0)
    k = policy.k_local
    counts = list_counts(k, game.n_sl)
    rank = {tuple(c): i for i, c in enumerate(counts.tolist())}
    states, s_g, steps = rng.integers(0, game.n_sl, n), 0, 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        # The k - 1 others of each agent: the smallest of n random keys, its own excluded.
        keys = rng.random((n, n))
        np.fill_diagonal(keys, 2.0)
        samples = np.concatenate([states[np.argpartition(keys, k - 1, axis=1)[:, : k - 1]], states[:, None]], axis=1)
        seen = np.stack([(samples == s).sum(axis=1) for s in range(game.n_sl)], axis=1)
        cells = np.array([rank[tuple(c)] for c in seen.tolist()])
        laws = policy.local_action[s_g, states, cells]
        actions = (laws.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=game.n_al - 1)
        drawn = np.bincount(states[rng.permutation(n)[:k]], minlength=game.n_sl)
        a_g = policy.global_action[s_g, rank[tuple(drawn.tolist())]]
        rows = game.P_l[s_g, states, actions]
        states = (rows.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=game.n_sl - 1)
        s_g = rng.choice(game.n_sg, p=game.P_g[s_g, a_g])
        steps += 1
    return steps / (time.perf_counter() - began)


@pytest.mark.parametrize("n", [14, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("name", ["formation", "dense"])
def test_million_steps(benchmark, enough, one_core, learned, name, n):
    enough(n == 1000 or (n > 1000 and name == "dense"))
    game, policy = learned[name]
    expected = deploy(game, policy, n, steps=STEPS, seed=1)
    if n <= 1000:
        benchmark.extra_info["numpy_agents_steps_per_s"] = numpy_steps_per_second(game, policy, n)
    found = benchmark.pedantic(deploy, args=(game, policy, n), kwargs={"steps": STEPS, "seed": 1}, rounds=3)
    np.testing.assert_array_equal(found.returns, expected.returns)
    benchmark.extra_info["steps"] = STEPS


def test_agent_level_steps(benchmark, one_core, learned):
    game, policy = learned["dense"]
    deploy(game, policy, 1000, steps=2, level="agents")
    found = benchmark.pedantic(deploy, args=(game, policy, 1000), kwargs={"steps": 200, "level": "agents"}, rounds=3)
    assert found.returns.shape == (1,)
    benchmark.extra_info["steps"] = 200
