"""Policies that see k of n agents, and local policies that see no other agent at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..kernels.lattice import lattice_size
from .files import read_array, reason_of
from .game import Game, positive_integer
from .tabulation import ROW_SUM_ATOL, shown

UNIFORM = "uniform"
"""The name of the local policy that plays every action with the same probability."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SubsamplePolicy:
    """A policy for any number n ≥ max(k_global, k_local) of local agents.

    Samples are count vectors in lexicographic order. Arrays are checked, copied and read-only.

    Parameters
    ----------
    k_global : int    agents that the global agent sees
    k_local : int     agents that a local agent sees, itself included; 1 is blind to the others
    global_action : int32[n_sg, n_c(k_global)]    a_g for each sample
    local_action : float64[n_sg, n_sl, n_c(k_local), n_al]    law of a_l, given own state and the counts of the sample.
        Samples without the own state never occur, but have to hold laws too.

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
        local_action = _as_laws("local_action", self.local_action, ("s_g", "s_l", "sample", "a_l"))
        n_sg, n_sl, n_samples, _ = local_action.shape
        if n_samples != lattice_size(k_local, n_sl):
            raise ValueError(
                f"local_action: found {n_samples} samples, expected {lattice_size(k_local, n_sl)} "
                f"for k_local = {k_local}"
            )
        global_action = np.asarray(self.global_action)
        expected = (n_sg, lattice_size(k_global, n_sl))
        if global_action.shape != expected or global_action.dtype.kind not in "iu":
            raise ValueError(
                f"global_action: found {global_action.dtype} of shape {global_action.shape}, "
                f"expected integers of shape {expected} for k_global = {k_global}"
            )
        if not 0 <= global_action.min() <= global_action.max() < 2**31:
            raise ValueError(
                f"global_action: found {global_action.min()} to {global_action.max()}, "
                "expected positions from 0 upwards"
            )
        object.__setattr__(self, "k_global", k_global)
        object.__setattr__(self, "k_local", k_local)
        object.__setattr__(self, "global_action", np.array(global_action, dtype=np.int32, order="C"))
        object.__setattr__(self, "local_action", local_action)
        self._freeze()

    @property
    def k(self) -> int:
        """The larger of the two sample sizes: the fewest agents that can play the policy."""
        return max(self.k_global, self.k_local)

    @property
    def law_alone(self) -> np.ndarray:
        """What local agents that see themselves alone do, π_l(a | s_g, s_l), float64[n_sg, n_sl, n_al].

        In state s such an agent's sample is e_s, of rank n_sl − 1 − s.

        Raises
        ------
        ValueError    k_local is above 1
        """
        if self.k_local != 1:
            raise ValueError(f"policy: found local agents that see {self.k_local}, expected 1: themselves alone")
        own = np.arange(self.local_action.shape[1])
        return self.local_action[:, own, own[::-1]]

    def check_fits(self, game: Game) -> None:
        """Refuse a game of other sizes, or one with too few global actions, with a ValueError of one line."""
        n_sg, n_sl, _, n_al = self.local_action.shape
        for size, found in (("n_sg", n_sg), ("n_sl", n_sl), ("n_al", n_al)):
            if found != getattr(game, size):
                raise ValueError(f"policy: found {size} = {found}, expected {getattr(game, size)} as in the game")
        highest = int(self.global_action.max())
        if highest >= game.n_ag:
            raise ValueError(f"policy: found global action {highest}, expected 0 to {game.n_ag - 1} as in the game")

    def __repr__(self) -> str:
        n_sg, n_sl, _, n_al = self.local_action.shape
        sizes = f"n_sg={n_sg}, n_sl={n_sl}, n_al={n_al}"
        return f"SubsamplePolicy(k_global={self.k_global}, k_local={self.k_local}, {sizes})"

    def __setstate__(self, state: dict) -> None:
        # Arrays come out of a pickle writeable: a copy sent to a worker process must be as fixed as the original.
        self.__dict__.update(state)
        self._freeze()

    def _freeze(self) -> None:
        self.global_action.setflags(write=False)
        self.local_action.setflags(write=False)


def blind_policy(
    game: Game, local_policy: Any = None, global_action: Any = None, *, k_global: int = 1, k_local: int = 1
) -> SubsamplePolicy:
    """The policy that takes no notice of its samples.

    Parameters
    ----------
    local_policy : float64[n_sg, n_sl, n_al]    default uniform
    global_action : int[n_sg]    a_g in every s_g, default 0
    k_global, k_local : int      sizes of the samples that it ignores
    """
    laws = uniform_local_policy(game) if local_policy is None else checked_local_policy(local_policy, game)
    actions = np.zeros(game.n_sg, np.int32) if global_action is None else np.asarray(global_action)
    if actions.shape != (game.n_sg,):
        raise ValueError(f"global_action: found shape {actions.shape}, expected ({game.n_sg},), one per global state")
    n_global = lattice_size(positive_integer("k_global", k_global), game.n_sl)
    n_local = lattice_size(positive_integer("k_local", k_local), game.n_sl)
    policy = SubsamplePolicy(
        k_global=k_global,
        k_local=k_local,
        global_action=np.repeat(actions[:, np.newaxis], n_global, axis=1),
        local_action=np.repeat(laws[:, :, np.newaxis, :], n_local, axis=2),
    )
    policy.check_fits(game)
    return policy


def uniform_local_policy(game: Game) -> np.ndarray:
    """The local policy that plays every action with the same probability, float64[n_sg, n_sl, n_al]."""
    return np.full((game.n_sg, game.n_sl, game.n_al), 1.0 / game.n_al)


def checked_local_policy(local_policy: Any, game: Game) -> np.ndarray:
    """A local policy π_l(a | s_g, s) as float64[n_sg, n_sl, n_al], rows divided by their sum; ValueError if none."""
    expected = (game.n_sg, game.n_sl, game.n_al)
    policy = _as_laws("local_policy", local_policy, ("s_g", "s_l", "a_l"), expected)
    return policy / policy.sum(axis=-1, keepdims=True)


def load_local_policy(source: str | Path, game: Game) -> np.ndarray:
    """A local policy by name or from a file.

    Parameters
    ----------
    source : "uniform", a .npy file, or an .h5 file with a dataset `local_policy`; float64[n_sg, n_sl, n_al]

    Raises
    ------
    ValueError
    """
    if str(source) == UNIFORM:
        return uniform_local_policy(game)
    path = Path(source)
    if not path.exists():
        raise ValueError(f"local_policy: found {str(source)!r}, expected {UNIFORM!r} or a .npy or .h5 file that exists")
    try:
        return checked_local_policy(_read(path), game)
    # Damage shows as almost any exception of h5py.
    except Exception as error:
        raise ValueError(f"local_policy: {path}: {reason_of(error).removeprefix('local_policy: ')}") from error


def _read(path: Path) -> np.ndarray:
    if path.suffix not in (".npy", ".h5", ".hdf5"):
        raise ValueError(f"found the ending {path.suffix!r}, expected .npy or .h5")
    # Opening a pipe would wait for a writer.
    if not path.is_file():
        raise ValueError("is no regular file, expected one")
    if path.suffix == ".npy":
        try:
            # Mapped: a damaged header must not ask for more memory than the file has bytes. Never unpickled.
            return np.lib.format.open_memmap(path, mode="r")
        # A damaged header is parsed as Python, and fails in any way that Python can.
        except Exception as error:
            raise ValueError(f"found no array of numbers as numpy.save writes it ({reason_of(error)})") from None
    with h5py.File(path, "r") as file:
        # The second is where a pair of alternating best response has it.
        for name in ("local_policy", "local/policy"):
            if name in file:
                return read_array(file, name)
        raise ValueError("found no dataset 'local_policy', expected one")


def _as_laws(name: str, value: Any, axes: tuple[str, ...], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Copy to float64 in C order; check the axes or the shape, and that the rows along the last axis are laws."""
    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: found lists of unequal lengths, expected axes ({', '.join(axes)})") from None
    if shape is not None and found.shape != shape:
        raise ValueError(f"{name}: found shape {found.shape}, expected {shape} ({', '.join(axes)})")
    if found.dtype.kind not in "biuf" or found.ndim != len(axes) or found.size == 0:
        raise ValueError(
            f"{name}: found {found.dtype} of shape {found.shape}, expected probabilities with axes ({', '.join(axes)})"
        )
    laws = np.array(found, dtype=np.float64, order="C")
    sums = laws.sum(axis=-1)
    # Written so that NaN fails.
    if not (laws.min() >= 0.0 and np.abs(sums - 1.0).max() <= ROW_SUM_ATOL):
        good = (laws >= 0.0).all(axis=-1) & (np.abs(sums - 1.0) <= ROW_SUM_ATOL)
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(
            f"{name}: found a row that is no law, {shown(laws[where].tolist())} at {list(where)}, "
            "expected probabilities that add up to 1"
        )
    return laws
