"""Bellman backups of the sampled and the rounded expectation: next count vectors are listed once, then sweeps look them up."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...kernels.bellman.listed import best_mixed_values, sweep_listed, sweep_single
from ...kernels.bellman.listed_policy import follow_listed
from ...kernels.expectation.rounded import fill_rounded_next
from ...kernels.expectation.sampled import fill_sampled_next
from ...kernels.lattice import lattice_sizes
from .global_tables import GlobalTables, Improvement, RoundingTerms

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
    first : int                           number of the first global state, if the tables are a part of a game's
    own : bool[n_items], optional         the items to list, where these are not all; `item_start` counts them alone
    """

    def __init__(
        self, P_g, r_g, gamma: float, laws, rewards, categories, item_start, k: int, samples: int, seed: int,
        first: int = 0, own: np.ndarray | None = None,
    ):  # fmt: skip
        self.P_g, self.r_g, self.gamma = P_g, r_g, gamma
        self.tables = GlobalTables(P_g, r_g, gamma)
        self.item_start = item_start
        self.method = f"{samples} listed samples" if samples else "rounded mean"
        n_sg, n_h = laws.shape[:2]
        sizes = lattice_sizes(k, laws.shape[3])
        listed: Any = slice(None) if own is None else own
        if own is not None:
            # An item keeps its number, which addresses its draws; one without agents draws nothing.
            categories = np.where(own[:, None], categories, 0)
        drawn = np.empty((categories.shape[0], max(1, samples)), dtype=np.int32)
        n_items = drawn[listed].shape[0]
        self.next_counts = np.empty((n_sg, n_items, max(1, samples)), dtype=np.int32)
        self.rewards = np.empty((n_sg, n_items))
        choice = np.arange(categories.shape[0]) % n_h
        for s_g in range(n_sg):
            self.rewards[s_g] = (categories * rewards[s_g][choice]).sum(axis=1)[listed] / k
            law = np.ascontiguousarray(laws[s_g])
            out = self.next_counts[s_g] if own is None else drawn
            if samples:
                fill_sampled_next(categories, law, sizes, np.uint64(seed), first + s_g, out)
            else:
                fill_rounded_next(categories, law, sizes, out)
            if own is not None:
                self.next_counts[s_g] = drawn[own]

    @property
    def work(self) -> float:
        """Multiplications of a sweep."""
        mixing = float(self.P_g.size * (self.item_start.shape[0] - 1))
        # With one next count vector the action is chosen there, once for all items.
        return mixing + float(self.next_counts.size * (1 if self.next_counts.shape[2] == 1 else self.r_g.shape[1]))

    @property
    def policy_work(self) -> float:
        """Multiplications of a sweep that follows a policy."""
        n_c = self.item_start.shape[0] - 1
        return float(self.P_g.size * n_c + self.next_counts.shape[0] * n_c * self.next_counts.shape[2])

    policy_bytes = 0

    def _sweep(self, value: np.ndarray, tie: float, out_value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        action = np.empty(out_value.shape, dtype=np.int32)
        item = np.empty(out_value.shape, dtype=np.int64)
        mixed = self.tables.mixed(value)
        sweep_listed(mixed, self.item_start, self.rewards, self.next_counts, tie, out_value, action, item)
        return action, item

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one backup of `value`, float64[n_sg, n_c]."""
        if self.next_counts.shape[2] > 1:
            self._sweep(value, -1.0, out_value)
            return
        # The best action depends on the next count vector alone, and rounding keeps the order of sums with one reward.
        tables, best = self.tables, np.empty((out_value.shape[0], value.shape[1]))
        best_mixed_values(value, tables.P_g, tables.r_g, self.gamma, tables.n_kept, best)
        sweep_single(best, self.item_start, self.rewards, self.next_counts, out_value)

    def improve(self, value: np.ndarray, per_action: bool) -> Improvement:
        """TV with the choices that attain it: a_g and the item. Values under each action are not kept."""
        backed_up = np.empty((self.r_g.shape[0], value.shape[1]))
        choice = np.stack(self._sweep(value, 0.0, backed_up), axis=2).astype(np.int64)
        return Improvement(value=backed_up, choice=choice, action_value=np.empty((0, 0, 0)))

    def follow(self, choice: np.ndarray, previous: FollowedItems | None = None) -> FollowedItems:
        """A policy from `improve`, ready to be swept."""
        return FollowedItems(self, choice)

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None, *, tie: float | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV, unless it is known, with the greedy choice.

        Value, a_g int32[n_sg, n_c], item int64[n_sg, n_c]; ties, by default within rounding, go to the lowest (a_g, item).
        """
        # Values and choice come from one pass: a known TV saves nothing.
        backed_up = np.empty((self.r_g.shape[0], self.item_start.shape[0] - 1))
        action, item = self._sweep(value, 2 * self.rounding_error(value) if tie is None else tie, backed_up)
        return backed_up, action, item

    def q(self, value: np.ndarray, s_g: int, c: int) -> np.ndarray:
        """Q(s_g, c; a_g, item) from a value, float64[n_ag, n_items of c]."""
        items = slice(self.item_start[c], self.item_start[c + 1])
        mixed = self.tables.mixed(value)[s_g]
        return mixed[:, self.next_counts[s_g, items]].mean(axis=2) + self.rewards[s_g, items]

    @functools.cached_property
    def rounding_terms(self) -> RoundingTerms:
        """Rounding of a sweep."""
        terms = self.next_counts.shape[2] + self.P_g.shape[2] + 8
        return RoundingTerms(
            relative=terms * EPSILON, r_g=float(np.abs(self.r_g).max()), r_l=float(np.abs(self.rewards).max())
        )

    def rounding_error(self, value: np.ndarray) -> float:
        """Bound on the rounding error of one sweep."""
        return self.rounding_terms.error(value)


class FollowedItems:
    """A policy over listed items."""

    def __init__(self, backup: Listed, choice: np.ndarray):
        self._backup, self._choice = backup, choice

    def apply(self, value: np.ndarray, *, rewards: bool = True) -> np.ndarray:
        """One sweep of the policy, float64[n_sg, n_c]; without rewards its linear part."""
        backup = self._backup
        out = np.empty(self._choice.shape[:2])
        follow_listed(
            backup.tables.mixed(value, rewards=rewards), self._choice, backup.item_start, backup.rewards,
            1.0 if rewards else 0.0, backup.next_counts, out,
        )  # fmt: skip
        return out
