"""A solved surrogate game: certified value, greedy policy, and Q rebuilt wherever it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..kernels.lattice import lattice_size, lattice_sizes, rank_counts
from .action_classes import list_counts, list_items, local_laws
from .backups.coupled import CoupledListed
from .backups.listed import Listed
from .backups.slices import exact_q
from .game import Game
from .initial_law import initial_mean
from .policy import SubsamplePolicy


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """The result of `solve`.

    Parameters
    ----------
    game : Game
    k : int                               agents of the surrogate game
    actions : "joint", "shared", "histogram" or "fixed"
    expectation : "exact", "sampled" or "rounded"
    method : str                          how the expectation was computed
    samples, seed : int                   of the sampled expectation; 0 otherwise
    tol : float                           certified width that was asked for
    value : float64[n_sg, n_c]            midpoint of the certified interval
    half_width : float                    |V* - value| is at most this, rounding included. V* is the optimal value of the game with
        this action class and this expectation
    global_action : int32[n_sg, n_c]      greedy a_g; ties go to the lowest (a_g, item)
    item : int64[n_sg, n_c]               greedy local decision, see `joint_actions`
    local_policy : float64[n_sg, n_sl, n_al] or None    given policy of class `fixed`
    widths : float64[n_sweeps]            certified width after each sweep
    rounding_error : float                bound on the rounding error of the last sweep
    wall_time_s : float
    n_policy_sweeps : int                 sweeps that followed a policy, between the certified ones
    n_combined : int                      sweeps that started from a combination of those before
    level_sweeps : dict[int, int]         certified sweeps made for fewer agents on the way, by their number
    n_dropped : int                       (s_g, a_g) that the certificate ruled out, and that later sweeps left out
    versions : dict                       of kofn and of the libraries that computed this
    """

    game: Game
    k: int
    actions: str
    expectation: str
    method: str
    samples: int
    seed: int
    tol: float
    value: np.ndarray
    half_width: float
    global_action: np.ndarray
    item: np.ndarray
    local_policy: np.ndarray | None
    widths: np.ndarray
    rounding_error: float
    wall_time_s: float
    n_policy_sweeps: int = 0
    n_combined: int = 0
    level_sweeps: dict[int, int] = field(default_factory=dict)
    n_dropped: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def n_sweeps(self) -> int:
        """Certified sweeps made."""
        return self.widths.shape[0]

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """The count vectors of the second axis of `value`, int64[n_c, n_sl]."""
        return list_counts(self.k, self.game.n_sl)

    @functools.cached_property
    def policy(self) -> SubsamplePolicy:
        """The greedy policy as one that n ≥ k agents can play."""
        laws = local_laws(self.k, self.game.n_sl, self.game.n_al, self.actions, self.item, self.local_policy)
        return SubsamplePolicy(
            k_global=self.k,
            k_local=1 if self.actions == "fixed" else self.k,
            global_action=self.global_action,
            local_action=laws,
        )

    @property
    def initial_value(self) -> float:
        """Mean of the value under the game's initial law, within `half_width`."""
        return initial_mean(self.game, self.value, self.k)

    def rank(self, counts: Sequence[int] | np.ndarray) -> int:
        """Position of a count vector on the second axis of `value`."""
        vector = np.asarray(counts)
        if (
            vector.shape != (self.game.n_sl,)
            or vector.dtype.kind not in "iu"
            or (vector < 0).any()
            or vector.sum() != self.k
        ):
            raise ValueError(
                f"counts: found {vector.tolist()}, expected {self.game.n_sl} whole numbers ≥ 0 that add up to {self.k}"
            )
        return int(rank_counts(vector.astype(np.int64), lattice_sizes(self.k, self.game.n_sl)))

    def joint_actions(self, counts: Sequence[int] | np.ndarray) -> np.ndarray:
        """The items of a count vector, in the order of the second axis of `q`.

        Returns
        -------
        int64[n_items, n_sl, n_al] for `joint` and `shared`, how many agents of each state play each action;
        int64[n_items, n_al] for `histogram`; int64[1, 0] for `fixed`.
        """
        return list_items(self.counts[self.rank(counts)], self.game.n_al, self.actions)

    def q(self, s_g: int, counts: Sequence[int] | np.ndarray) -> np.ndarray:
        """Q(s_g, c; a_g, item), one backup of `value`: within γ · half_width of the optimal Q.

        Parameters
        ----------
        s_g : int                position of the global state
        counts : int[n_sl]       adds up to k

        Returns
        -------
        float64[n_ag, n_items]   items as in `joint_actions`
        """
        if not 0 <= s_g < self.game.n_sg:
            raise ValueError(f"s_g: found {s_g}, expected a position from 0 to {self.game.n_sg - 1}")
        c = self.rank(counts)
        if self.expectation != "exact":
            return self._listed.q(self.value, s_g, c)
        items = self.joint_actions(counts)
        return exact_q(self.game, self.k, self.actions, self.local_policy, self.value, s_g, self.counts[c], items)

    @functools.cached_property
    def _listed(self) -> Listed | CoupledListed:
        from .backups.selection import default_memory_bytes, make_listed

        return make_listed(
            self.game, self.k, self.actions, self.samples, self.seed, self.local_policy, default_memory_bytes()
        )

    def __repr__(self) -> str:
        return (
            f"Solution({self.game.name or 'game'}, k={self.k}, actions={self.actions!r}, {self.expectation}: {self.method}, "
            f"{lattice_size(self.k, self.game.n_sl)} count vectors, half_width={self.half_width:.2g})"
        )
