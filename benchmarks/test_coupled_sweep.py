"""One exact joint sweep of a game with a field of states, against the same game without one, on one core."""

import math
import statistics
import time

import numpy as np
import pytest

from kofn import Field, Game
from kofn.engine.backups.selection import make_exact

K = 14
EDGES = {
    "share of the middle state": ([0, 1, 0], [0.15, 0.3, 0.5]),
    "mean of the states": ([-1, 0, 1], [-0.3, 0.0, 0.3]),
}


def backup_of(game):
    method = "meet-in-the-middle"
    return make_exact(game, K, "joint", None, method=method, error=1e-6, memory_bytes=10**10)


def coupled(game, field):
    """The game with tables of its size for every field value."""
    rng, n_f = np.random.default_rng(3), field.n_values
    return Game(
        P_g=rng.dirichlet(np.ones(game.n_sg), (game.n_sg, n_f, game.n_ag)),
        P_l=rng.dirichlet(np.ones(game.n_sl), (game.n_sg, n_f, game.n_sl, game.n_al)),
        r_g=rng.random((game.n_sg, n_f, game.n_ag)),
        r_l=rng.random((game.n_sg, n_f, game.n_sl, game.n_al)),
        gamma=game.gamma,
        field=field,
    )


@pytest.mark.parametrize("name", EDGES)
def test_sweep_with_a_field(benchmark, one_core, dense_game, name):
    weights, edges = EDGES[name]
    field = Field(of="states", weights=np.array(weights, float), edges=(edges,))
    plain, backup = backup_of(dense_game), backup_of(coupled(dense_game, field))
    value = np.random.default_rng(2).random((dense_game.n_sg, math.comb(K + 2, 2)))
    expected, found = np.empty_like(value), np.empty_like(value)
    backup.sweep(value, expected)
    plain.sweep(value, found)
    ratios = []
    # In turn, so that both meet the same neighbours on the machine.
    for _ in range(9):
        seconds = []
        for each in (plain, backup):
            began = time.perf_counter()
            each.sweep(value, found)
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[1] / seconds[0])
    benchmark.extra_info.update(times_without_a_field=round(statistics.median(ratios), 2), field_values=field.n_values)
    benchmark.pedantic(backup.sweep, args=(value, found), rounds=7)
    np.testing.assert_array_equal(found, expected)
