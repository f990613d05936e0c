"""Bellman backups of the sampled and the rounded expectation: next count vectors are listed once, then sweeps look them up."""

from __future__ import annotations

import numpy as np

from ...kernels.bellman.global_agent import mix_values
from ...kernels.bellman.listed import sweep_listed
from ...kernels.expectation.rounded import fill_rounded_next
from ...kernels.expectation.sampled import fill_sampled_next
from ...kernels.lattice import lattice_sizes

EPSILON = float(np.finfo(np.float64).eps)


class Listed:
    """Backups for k agents over listed items.

    Parameters
    ----------
    P_g, r_g, gamma : tables of the global agent
    laws : float64[n_sg, n_h, C, n_sl]    next-state laws; item i of a global state uses choice i mod n_h
    rewards : float64[n_sg, n_h, C]
    categories : int64[n_items, C]        agents of each category, for each item
    item_start : int64[n_c + 1]
    k : int
    samples : int                         0 for the rounded expectation, else m
    seed : int
    """

    def __init__(self, P_g, r_g, gamma: float, laws, rewards, categories, item_start, k: int, samples: int, seed: int):
        self.P_g, self.r_g, self.gamma = P_g, r_g, gamma
        self.item_start = item_start
        self.method = f"{samples} listed samples" if samples else "rounded mean"
        n_sg, n_h = laws.shape[:2]
        sizes = lattice_sizes(k, laws.shape[3])
        self.next_counts = np.empty((n_sg, categories.shape[0], max(1, samples)), dtype=np.int32)
        self.rewards = np.empty((n_sg, categories.shape[0]))
        choice = np.arange(categories.shape[0]) % n_h
        for s_g in range(n_sg):
            self.rewards[s_g] = (categories * rewards[s_g][choice]).sum(axis=1) / k
            law = np.ascontiguousarray(laws[s_g])
            if samples:
                fill_sampled_next(categories, law, sizes, np.uint64(seed), s_g, self.next_counts[s_g])
            else:
                fill_rounded_next(categories, law, sizes, self.next_counts[s_g])

    def _sweep(self, value: np.ndarray, tie: float, out_value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mixed = self._mixed(value)
        action = np.empty(value.shape, dtype=np.int32)
        item = np.empty(value.shape, dtype=np.int64)
        sweep_listed(mixed, self.item_start, self.rewards, self.next_counts, tie, out_value, action, item)
        return action, item

    def _mixed(self, value: np.ndarray) -> np.ndarray:
        mixed = np.empty((*self.r_g.shape, value.shape[1]))
        mix_values(value, self.P_g, self.r_g, self.gamma, mixed)
        return mixed

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one backup of `value`, float64[n_sg, n_c]."""
        self._sweep(value, -1.0, out_value)

    def greedy(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV with the greedy choice: value, a_g int32[n_sg, n_c], item int64[n_sg, n_c]; ties go to the lowest (a_g, item)."""
        backed_up = np.empty_like(value)
        action, item = self._sweep(value, 2 * self.rounding_error(value), backed_up)
        return backed_up, action, item

    def q(self, value: np.ndarray, s_g: int, c: int) -> np.ndarray:
        """Q(s_g, c; a_g, item) from a value, float64[n_ag, n_items of c]."""
        items = slice(self.item_start[c], self.item_start[c + 1])
        mixed = self._mixed(value)[s_g]
        return mixed[:, self.next_counts[s_g, items]].mean(axis=2) + self.rewards[s_g, items]

    def rounding_error(self, value: np.ndarray) -> float:
        """Bound on the rounding error of one sweep."""
        terms = self.next_counts.shape[2] + self.r_g.shape[0] + 8
        scale = float(np.abs(value).max(initial=0.0) + np.abs(self.r_g).max() + np.abs(self.rewards).max())
        return terms * EPSILON * scale
