"""Alternating best response on `robots`: rollouts against vectorised NumPy, and the authors' experiment as whole commands."""

import subprocess
import sys
import time

import numba
import numpy as np
import pytest

import kofn
from kofn.kernels.lattice import lattice_sizes, rank_counts

KOFN = [sys.executable, "-c", "from kofn.cli import main; main()"]
N_AGENTS, STEPS = 1000, 50
# One local policy by the closure of the authors' code; 15 evaluation seeds of 50 rollouts of 50 steps.
EXPERIMENT = (
    "study", "robots", "--method", "nash", "-n", str(N_AGENTS), "--steps", str(STEPS), "--runs", "50", "--seeds", "0:14",
    "--closure", "uniform", "--rtol", "0.01", "--max-rounds", "5", "-q",
)  # fmt: skip


@pytest.fixture(scope="module")
def robots():
    return kofn.load_game("robots")


@pytest.fixture(scope="module")
def pairs(robots):
    """Pairs of alternating best response by k, with the closure of the authors' code."""
    options = {"closure": "uniform", "rtol": 0.01, "max_rounds": 5, "tol": 1e-4, "exploitability": "none", "runs": 200}
    return {k: kofn.alternate(robots, k, N_AGENTS, **options) for k in (1, 30)}


def numpy_returns(game, pair, runs, *, sees_next_state, seed=0):
    """Discounted returns agent by agent, every step vectorised over the agents, as research code has it.

    With `sees_next_state` local agents move by the next global state, as in the authors' evaluation; in the model it is the
    present one.
    """
    rng = np.random.default_rng(seed)
    k, global_action = pair.policy.k_global, pair.policy.global_action
    sizes = lattice_sizes(k, game.n_sl)
    acts, moves = np.cumsum(pair.local_policy, axis=-1), np.cumsum(game.P_l, axis=-1)
    returns = np.zeros(runs)
    for run in range(runs):
        s_g = rng.choice(game.n_sg, p=game.rho_g)
        state = rng.choice(game.n_sl, size=N_AGENTS, p=rng.dirichlet(game.rho_l))
        for step in range(STEPS):
            sample = rng.choice(N_AGENTS, size=k, replace=False)
            counts = np.bincount(state[sample], minlength=game.n_sl).astype(np.int64)
            a_g = global_action[s_g, rank_counts(counts, sizes)]
            action = np.minimum((rng.random((N_AGENTS, 1)) >= acts[s_g, state]).sum(axis=1), game.n_al - 1)
            reward = game.r_g[s_g, a_g] + game.r_l[s_g, state, action].mean()
            returns[run] += game.gamma**step * reward
            s_next = rng.choice(game.n_sg, p=game.P_g[s_g, a_g])
            seen = s_next if sees_next_state else s_g
            law = moves[seen, state, action]
            state = np.minimum((rng.random((N_AGENTS, 1)) >= law).sum(axis=1), game.n_sl - 1)
            s_g = s_next
    return returns


@pytest.mark.parametrize("k", [1, 30])
def test_evaluation_against_numpy(benchmark, robots, pairs, k, one_core, request):
    """Steps per second on one core, the same law; and what the order of moves in the authors' evaluation changes."""
    pair, runs = pairs[k], 4 if request.config.getoption("benchmark_disable") else 200
    began = time.perf_counter()
    naive = numpy_returns(robots, pair, runs, sees_next_state=False)
    naive_s = (time.perf_counter() - began) / (runs * STEPS)
    other = numpy_returns(robots, pair, runs, sees_next_state=True)

    def deploy():
        return kofn.deploy(robots, pair.policy, N_AGENTS, steps=STEPS, runs=2000, seed=1, trace_points=1)

    found = benchmark(deploy)
    if runs > 4:
        spread = np.hypot(naive.std(ddof=1) / runs**0.5, found.returns.std(ddof=1) / 2000**0.5)
        assert abs(naive.mean() - found.mean_return) < 4.5 * spread
    assert numba.get_num_threads() == 1
    benchmark.extra_info.update(
        steps=2000 * STEPS, naive_steps_per_s=1.0 / naive_s, mean_return=found.mean_return,
        mean_return_next_state=float(other.mean()), half_width=float(1.96 * other.std(ddof=1) / runs**0.5),
    )  # fmt: skip


@pytest.mark.parametrize("expectation", ["rounded", "exact"])
def test_authors_nash_experiment(benchmark, enough, tmp_path, expectation, request):
    """k = 1 … 50, pair and figures included, as one command."""
    enough(expectation == "rounded")
    size = ["-k", "1:3", "--seeds", "0:2"] if request.config.getoption("benchmark_disable") else ["-k", "1:50"]
    warm_up = [
        *KOFN,
        "study",
        "robots",
        "--method",
        "nash",
        "-k",
        "1,2",
        "-n",
        "1000",
        "--steps",
        "2",
        "--runs",
        "2",
        "-q",
    ]
    subprocess.run(
        [*warm_up, "--expectation", expectation, "-o", str(tmp_path / "warm")], check=True, capture_output=True
    )
    command = [*KOFN, *EXPERIMENT, *size, "--expectation", expectation, "-o", str(tmp_path / "study")]
    benchmark.pedantic(subprocess.run, args=(command,), kwargs={"check": True, "capture_output": True}, rounds=1)
    study = kofn.read_study(tmp_path / "study" / "study.h5")
    returns = study.sel("mean_return")
    assert np.isfinite(returns).all()
    assert returns[-1].mean() > returns[0].mean()


def test_exploitability(benchmark):
    """Both rewards, exact: a hundred agents of `irrigation`."""
    game = kofn.load_game("irrigation")
    policy = kofn.solve(game, 5, local_policy=kofn.uniform_local_policy(game)).policy

    def both():
        return [kofn.exploitability(game, policy, 100, reward=reward) for reward in ("selfish", "team")]

    both()
    found = benchmark.pedantic(both, rounds=3)
    assert all(each.nash_conv >= 0.0 for each in found)
    benchmark.extra_info.update(
        states=int(found[0].local_response.size), half_width=max(each.half_width for each in found)
    )
