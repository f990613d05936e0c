"""One exact fixed-policy sweep of `robots`, against the lattice recursion where that is feasible."""

import numpy as np
import pytest

from kofn import load_game, uniform_local_policy
from kofn.engine.action_classes import next_state_laws
from kofn.engine.backups.recursion import Recursion
from kofn.engine.backups.symmetric_power import SymmetricPower


def fixed_game(k):
    game = load_game("robots")
    laws, rewards = next_state_laws(game.P_l, game.r_l, k, "fixed", uniform_local_policy(game))
    return game, laws, rewards


@pytest.mark.parametrize("k", [30, 50])
def test_fixed_sweep_on_all_cores(benchmark, k):
    game, laws, rewards = fixed_game(k)
    backup = SymmetricPower(game.P_g, game.r_g, game.gamma, laws, rewards, k)
    value = np.random.default_rng(2).random((game.n_sg, backup.counts.shape[0]))
    expected, found = np.empty_like(value), np.empty_like(value)
    backup.sweep(value, expected)
    benchmark.extra_info.update(count_vectors=backup.counts.shape[0], pairs=game.n_sg**2, rho=backup.factors.rho)
    benchmark.pedantic(backup.sweep, args=(value, found), rounds=7, warmup_rounds=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["symmetric power", "recursion"])
def test_fixed_sweep_against_the_recursion(benchmark, one_core, method):
    k = 10
    game, laws, rewards = fixed_game(k)
    backups = {
        "symmetric power": SymmetricPower(game.P_g, game.r_g, game.gamma, laws, rewards, k),
        "recursion": Recursion(game.P_g, game.r_g, game.gamma, laws, rewards, np.arange(5), k),
    }
    value = np.random.default_rng(2).random((game.n_sg, backups["symmetric power"].counts.shape[0]))
    expected, found = np.empty_like(value), np.empty_like(value)
    backups["recursion"].sweep(value, expected)
    benchmark.pedantic(backups[method].sweep, args=(value, found), rounds=5, warmup_rounds=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
