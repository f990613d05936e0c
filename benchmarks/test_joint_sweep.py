"""One exact joint sweep against the bare matrix products that it needs, on one core."""

import math
import statistics
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kofn import load_game
from kofn.engine.backups.meet_in_the_middle import MeetInTheMiddle


def time_of_the_bare_products(backup, repeats=5):
    """Median seconds of the sweep's matrix products alone, as NumPy calls on one thread, operands warm."""
    rng = np.random.default_rng(1)
    n_ag = backup.r_g.shape[1]
    shapes = {}
    for task in backup.tasks:
        n_first, n_second, n_rows = (int(x) for x in task[1:4])
        segments = backup.segments[task[9] : task[10]]
        columns = int((segments[:, 1] - segments[:, 0]).sum())
        shape = (n_rows, n_first, n_second, columns)
        shapes[shape] = shapes.get(shape, 0) + 1
    operands = {
        s: (rng.random(s[:2]), rng.random(s[1:3]), rng.random((n_ag * s[0], s[2])), rng.random((s[3], s[2])))
        for s in shapes
    }
    times = []
    with threadpool_limits(limits=1, user_api="blas"):
        for _ in range(repeats):
            began = time.perf_counter()
            for shape, times_needed in shapes.items():
                laws, hankel, stack, second = operands[shape]
                for _ in range(times_needed):
                    for _ in range(n_ag):
                        laws @ hankel
                    stack @ second.T
            times.append(time.perf_counter() - began)
    return statistics.median(times)


@pytest.mark.parametrize("k", [14, 20])
@pytest.mark.parametrize("name", ["formation", "dense"])
def test_joint_sweep_against_bare_products(benchmark, enough, one_core, dense_game, name, k):
    enough(k == 14)
    game = dense_game if name == "dense" else load_game(name)
    backup = MeetInTheMiddle(game.P_g, game.P_l, game.r_g, game.r_l, game.gamma, k, "joint")
    value = np.random.default_rng(2).random((game.n_sg, backup.counts.shape[0]))
    expected, found = np.empty_like(value), np.empty_like(value)
    backup.sweep(value, expected)
    products_s = time_of_the_bare_products(backup)
    benchmark.extra_info.update(
        joint_actions=math.comb(k + 8, 8),
        pairs=game.n_sg * game.n_ag,
        bare_products_s=products_s,
        law_bytes=backup.laws.nbytes,
    )
    benchmark.pedantic(backup.sweep, args=(value, found), rounds=7 if k == 14 else 3, warmup_rounds=1)
    np.testing.assert_array_equal(found, expected)
