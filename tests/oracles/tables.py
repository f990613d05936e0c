"""Game tables: reading them from a dict or an object, and drawing random ones."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Tables(NamedTuple):
    """The four tables and the discount, as plain float64 arrays."""

    P_g: np.ndarray  # [n_sg, n_ag, n_sg]
    P_l: np.ndarray  # [n_sg, n_sl, n_al, n_sl]
    r_g: np.ndarray  # [n_sg, n_ag]
    r_l: np.ndarray  # [n_sg, n_sl, n_al]
    gamma: float


def tables_of(game):
    """Tables of a dict with the keys P_g, P_l, r_g, r_l, gamma, or of any object with these attributes."""
    read = game.__getitem__ if isinstance(game, Mapping) else lambda name: getattr(game, name)
    arrays = [np.asarray(read(name), dtype=np.float64) for name in ("P_g", "P_l", "r_g", "r_l")]
    return Tables(*arrays, float(read("gamma")))


def random_rows(rng, shape, sparsity=0.0, deterministic=False):
    """Random probability rows along the last axis.

    `sparsity` is the chance that an entry is set to zero (one entry of each row is always kept);
    `deterministic` puts each row's whole mass on one entry.
    """
    kept = np.eye(shape[-1], dtype=bool)[rng.integers(shape[-1], size=shape[:-1])]
    if deterministic:
        return kept.astype(np.float64)
    kept |= rng.random(shape) >= sparsity
    rows = rng.exponential(size=shape) * kept
    return rows / rows.sum(axis=-1, keepdims=True)


def random_game_tables(rng, n_sg, n_ag, n_sl, n_al, sparsity=0.0, deterministic=False, gamma=0.9):
    """Dict of the tables of a random game, with the initial laws: P_g, P_l, r_g, r_l, gamma, rho_g, rho_l."""
    return {
        "P_g": random_rows(rng, (n_sg, n_ag, n_sg), sparsity, deterministic),
        "P_l": random_rows(rng, (n_sg, n_sl, n_al, n_sl), sparsity, deterministic),
        "r_g": rng.normal(size=(n_sg, n_ag)),
        "r_l": rng.normal(size=(n_sg, n_sl, n_al)),
        "gamma": gamma,
        "rho_g": random_rows(rng, (n_sg,)),
        "rho_l": random_rows(rng, (n_sl,)),
    }


def splitting_game(gamma=0.5):
    """Tables of a game in which the local action names the next local state (two of each) and nothing is paid.

    With a V that is large where the agents are in different states, they have to act differently: `joint` manages,
    independent play from a mixed row does so on average, and `shared` cannot.
    """
    return {
        "P_g": np.ones((1, 1, 1)),
        "P_l": np.tile(np.eye(2), (1, 2, 1, 1)),
        "r_g": np.zeros((1, 1)),
        "r_l": np.zeros((1, 2, 2)),
        "gamma": gamma,
        "rho_g": np.ones(1),
        "rho_l": np.full(2, 0.5),
    }
