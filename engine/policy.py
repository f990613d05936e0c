"""Policies that see k of n agents, and local policies that see no other agent at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..kernels.lattice import lattice_size
from .game import ROW_SUM_ATOL, Game, positive_integer


@dataclass(frozen=True, kw_only=True, eq=False)
class SubsamplePolicy:
    """A policy for any number n ≥ max(k_global, k_local) of local agents.

    Parameters
    ----------
    k_global : int    agents that the global agent sees
    k_local : int     agents that a local agent sees, itself included; 1 is blind to the others
    global_action : int32[n_sg, n_c(k_global)]    a_g for each sample
    local_action : float64[n_sg, n_sl, n_c(k_local), n_al]    law of a_l, given own state and the counts of the sample

    Raises
    ------
    ValueError    shapes that do not fit, actions below zero, rows that are no laws
    """

    k_global: int
    k_local: int
    global_action: np.ndarray
    local_action: np.ndarray

    def __post_init__(self) -> None:
        k_global, k_local = positive_integer("k_global", self.k_global), positive_integer("k_local", self.k_local)
        local_action = np.array(self.local_action, dtype=np.float64, order="C")
        if local_action.ndim != 4:
            raise ValueError(f"local_action: found {local_action.ndim} axes, expected 4 (s_g, s_l, sample, a_l)")
        n_sg, n_sl, n_samples, _ = local_action.shape
        if n_samples != lattice_size(k_local, n_sl):
            raise ValueError(
                f"local_action: found {n_samples} samples, expected {lattice_size(k_local, n_sl)} for k_local = {k_local}"
            )
        if not (local_action.min() >= 0.0 and np.abs(local_action.sum(axis=-1) - 1.0).max() <= ROW_SUM_ATOL):
            raise ValueError("local_action: found a row that is no law, expected probabilities that add up to 1")
        global_action = np.asarray(self.global_action)
        expected = (n_sg, lattice_size(k_global, n_sl))
        if global_action.shape != expected or global_action.dtype.kind not in "iu":
            raise ValueError(
                f"global_action: found {global_action.dtype} of shape {global_action.shape}, expected integers of shape {expected}"
            )
        if global_action.min() < 0:
            raise ValueError(f"global_action: found {global_action.min()}, expected positions from 0 upwards")
        global_action = np.array(global_action, dtype=np.int32, order="C")
        for name, array in (("global_action", global_action), ("local_action", local_action)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "k_global", k_global)
        object.__setattr__(self, "k_local", k_local)


def uniform_local_policy(game: Game) -> np.ndarray:
    """The local policy that plays every action with the same probability, float64[n_sg, n_sl, n_al]."""
    return np.full((game.n_sg, game.n_sl, game.n_al), 1.0 / game.n_al)


def checked_local_policy(local_policy: np.ndarray, game: Game) -> np.ndarray:
    """A local policy π_l(a | s_g, s) as float64[n_sg, n_sl, n_al], rows divided by their sum; ValueError if it is none."""
    policy = np.array(local_policy, dtype=np.float64, order="C")
    expected = (game.n_sg, game.n_sl, game.n_al)
    if policy.shape != expected:
        raise ValueError(f"local_policy: found shape {policy.shape}, expected {expected} (s_g, s_l, a_l)")
    sums = policy.sum(axis=-1, keepdims=True)
    if not (policy.min() >= 0.0 and np.abs(sums - 1.0).max() <= ROW_SUM_ATOL):
        raise ValueError("local_policy: found a row that is no law, expected probabilities that add up to 1")
    return policy / sums


def load_local_policy(source: str | Path, game: Game) -> np.ndarray:
    """A local policy by name or from a file.

    Parameters
    ----------
    source : "uniform", a .npy file, or an .h5 file with a dataset `local_policy`; float64[n_sg, n_sl, n_al]

    Raises
    ------
    ValueError
    """
    if str(source) == "uniform":
        return uniform_local_policy(game)
    path = Path(source)
    if not path.exists():
        raise ValueError(f"local_policy: found {str(source)!r}, expected 'uniform' or a .npy or .h5 file that exists")
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        elif path.suffix in (".h5", ".hdf5"):
            with h5py.File(path, "r") as file:
                found = file["local_policy"][...]
        else:
            raise ValueError(f"found the ending {path.suffix!r}, expected .npy or .h5")
        return checked_local_policy(found, game)
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error).removeprefix("local_policy: ")
        raise ValueError(f"local_policy: {path}: {' '.join(reason.split())}") from error
