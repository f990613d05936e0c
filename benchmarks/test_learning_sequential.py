"""Ticks of sequential learning on the Ising model's 20 × 20 torus, against a plain numba loop and NumPy."""

import math
import time

import numba
import numpy as np
import pytest
from numba import njit, prange

from kofn.kernels.learning.heat_bath import advance_heat_bath, fill_up_laws
from kofn.kernels.learning.sequential import (
    NOTHING_PENDING,
    Learner,
    Play,
    Society,
    SweepRecord,
    advance_sequential,
)
from kofn.kernels.learning.two_actions import advance_two_actions
from kofn.kernels.streams import checked_seed

LENGTH = 20
N = LENGTH**2
ALPHA = 0.1
SEED = checked_seed(3)
REWARD = np.array([[2.0 - u, u - 2.0] for u in range(5)])


def torus():
    sites = np.arange(N, dtype=np.int32).reshape(LENGTH, LENGTH)
    return np.stack([np.roll(sites, by, axis) for axis in (0, 1) for by in (1, -1)], axis=-1).reshape(N, 4)


def society():
    lookup = np.zeros((5, 5), np.int32)
    lookup[4] = np.arange(5)
    return Society(np.arange(0, 4 * N + 1, 4), torus().ravel(), np.array([0, 1]), lookup)


def play_of(n_runs):
    actions = np.random.default_rng(1).integers(0, 2, (n_runs, N)).astype(np.int32)
    pending = np.full((n_runs, N), NOTHING_PENDING, np.int32)
    return Play(np.arange(n_runs), np.zeros((n_runs, N, 5, 2)), actions, pending, np.zeros((n_runs, N)))


def run(advance, n_runs, n_sweeps, t_q):
    """Sweeps from a random start; returns the record and the play."""
    play = play_of(n_runs)
    record = SweepRecord(np.zeros((n_runs, n_sweeps), np.int64), np.zeros((n_runs, n_sweeps)))
    advance(SEED, 0, n_sweeps, 1, society(), Learner(ALPHA, 0.0, t_q, 0.0), REWARD, play, record)
    return record, play


@njit
def plain_loop(neighbours, up, q, n_ticks, t_q):
    """What one would write first in numba."""
    for _ in range(n_ticks):
        i = np.random.randint(up.shape[0])  # noqa: NPY002
        u = 0
        for d in range(4):
            u += up[neighbours[i, d]]
        p = 1.0 / (1.0 + math.exp(-(q[i, u, 1] - q[i, u, 0]) / t_q))
        a = 1 if np.random.random() < p else 0  # noqa: NPY002
        q[i, u, a] += ALPHA * ((u - 2.0 if a else 2.0 - u) - q[i, u, a])
        up[i] = a


def numpy_program(neighbours, up, q, n_ticks, t_q, rng):
    """The same in NumPy: draws in one call, ticks one after the other, since each sees what the last one did."""
    agents, uniforms = rng.integers(0, N, n_ticks), rng.random(n_ticks)
    for i, uniform in zip(agents, uniforms, strict=True):
        u = up[neighbours[i]].sum()
        row = q[i, u]
        a = int(uniform < 1.0 / (1.0 + np.exp(-(row[1] - row[0]) / t_q)))
        row[a] += ALPHA * (REWARD[u, a] - row[a])
        up[i] = a


def numpy_script(neighbours, up, q, n_ticks, t_q, rng):
    """The same as scripts write it: one law and one choice for each agent, with NumPy's own functions."""
    for _ in range(n_ticks):
        i = rng.integers(N)
        u = np.sum(up[neighbours[i]])
        law = np.exp(q[i, u] / t_q)
        law /= np.sum(law)
        a = rng.choice(2, p=law)
        q[i, u, a] = (1 - ALPHA) * q[i, u, a] + ALPHA * REWARD[u, a]
        up[i] = a


def ticks_per_second(function, n_ticks, rounds=5):
    """Median over calls, the first left out."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return n_ticks / float(np.median(seconds[1:]))


def peers(t_q):
    """Ticks per second of the two programs and of the kernel, in turn, from a settled state of the kernel."""
    _, play = run(advance_two_actions, 1, 1000, t_q)
    neighbours, up, q = torus().astype(np.int64), play.action[0], play.q[0]
    rng = np.random.default_rng(0)
    return {
        "plain_numba_loop": ticks_per_second(lambda: plain_loop(neighbours, up, q, 10**6, t_q), 10**6),
        "numpy_program": ticks_per_second(lambda: numpy_program(neighbours, up, q, 10**4, t_q, rng), 10**4),
        "numpy_script": ticks_per_second(lambda: numpy_script(neighbours, up, q, 10**4, t_q, rng), 10**4),
        "general_kernel": ticks_per_second(lambda: run(advance_sequential, 1, 2500, t_q), 2500 * N),
        "two_actions": ticks_per_second(lambda: run(advance_two_actions, 1, 2500, t_q), 2500 * N),
    }


@pytest.mark.parametrize("t_q", [0.8, 1.0, 1.3, 2.0])
def test_ticks_on_one_core(benchmark, enough, one_core, t_q):
    enough(t_q == 1.0)
    n_sweeps = 10_000
    expected, _ = run(advance_two_actions, 1, n_sweeps, t_q)
    speeds = peers(t_q)
    found, _ = benchmark.pedantic(run, args=(advance_two_actions, 1, n_sweeps, t_q), rounds=7)
    np.testing.assert_array_equal(found.total, expected.total)
    general, _ = run(advance_sequential, 1, 100, t_q)
    np.testing.assert_array_equal(general.total, expected.total[:, :100])
    benchmark.extra_info.update({f"{name}_ticks_per_s": round(speed) for name, speed in speeds.items()})
    for name in ("plain_numba_loop", "numpy_program", "numpy_script"):
        benchmark.extra_info[f"times_{name}"] = round(speeds["two_actions"] / speeds[name], 2)
    benchmark.extra_info["ticks"] = n_sweeps * N


@njit(parallel=True)
def bare_arithmetic(out):
    """Four streams of shifts per item that read nothing and fill the units of a core: what the second core is worth."""
    for item in prange(out.shape[0]):
        a, b, c, d = np.uint64(item + 1), np.uint64(item + 2), np.uint64(item + 3), np.uint64(item + 4)
        for _ in range(8_000_000):
            a ^= a << np.uint64(13)
            b ^= b << np.uint64(13)
            c ^= c << np.uint64(13)
            d ^= d << np.uint64(13)
            a ^= a >> np.uint64(7)
            b ^= b >> np.uint64(7)
            c ^= c >> np.uint64(7)
            d ^= d >> np.uint64(7)
        out[item] = a ^ b ^ c ^ d


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread")
def test_two_threads(benchmark, request):
    n_sweeps, n_runs = 5000, 8
    # The cores differ from second to second: few pairs say 1.6 or 2.1.
    n_pairs = 2 if request.config.getoption("benchmark_disable") else 50
    before, seconds, bare = numba.get_num_threads(), {1: [], 2: []}, {1: [], 2: []}
    out = np.zeros(n_runs, np.uint64)
    try:
        # In turn, so that both meet the same neighbours on the machine.
        for _ in range(1 + n_pairs):
            for threads, times in seconds.items():
                numba.set_num_threads(threads)
                began = time.perf_counter()
                expected, _ = run(advance_two_actions, n_runs, n_sweeps, 1.0)
                times.append(time.perf_counter() - began)
                began = time.perf_counter()
                bare_arithmetic(out)
                bare[threads].append(time.perf_counter() - began)
        numba.set_num_threads(2)
        found, _ = benchmark.pedantic(run, args=(advance_two_actions, n_runs, n_sweeps, 1.0), rounds=5)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(found.total, expected.total)
    gain, best = (float(np.median(np.array(times[1][1:]) / np.array(times[2][1:]))) for times in (seconds, bare))
    benchmark.extra_info.update(ticks=n_runs * n_sweeps * N, times_one_thread=round(gain, 2), bare=round(best, 2))


def test_heat_bath(benchmark, one_core):
    n_sweeps, law, graph = 5000, np.empty(9), society()
    fill_up_laws(2.0, law)

    def bathe():
        up, n_up = play_of(1).action, np.zeros((1, n_sweeps), np.int64)
        advance_heat_bath(SEED, np.arange(1), 0, n_sweeps, 1, graph.indptr, graph.indices, law, up, n_up)
        return n_up

    expected = bathe()
    np.testing.assert_array_equal(benchmark.pedantic(bathe, rounds=5), expected)
    benchmark.extra_info["ticks"] = n_sweeps * N
