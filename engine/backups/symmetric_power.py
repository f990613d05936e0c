"""Exact Bellman backups for fixed next-state laws by the symmetric power in place: stability check, tables, sweeps."""

from __future__ import annotations

import itertools
import math

import numba
import numpy as np

from ...kernels.bellman import fixed_laws
from ...kernels.bellman.global_agent import mix_values
from ...kernels.expectation import symmetric_power as kernels
from ...kernels.lattice import fill_moves, fill_relabelled, lattice_size, lattice_sizes
from ..action_classes import list_counts

EPSILON = float(np.finfo(np.float64).eps)
# All orders of up to this many states are tried on either side; beyond, only shared orders of a few kinds.
MAX_STATES_ALL_ORDERS = 5
# A full search takes some milliseconds for five states.
MAX_LAWS_FULL_SEARCH = 256


def candidate_orders(n_sl: int) -> np.ndarray:
    """State orders to try in the factorisation, the identity first."""
    if n_sl <= MAX_STATES_ALL_ORDERS:
        return np.array(list(itertools.permutations(range(n_sl))), dtype=np.int64)
    shifts = [[(s + d) % n_sl for s in range(n_sl)] for d in range(n_sl)]
    return np.array(shifts + [order[::-1] for order in shifts], dtype=np.int64)


class Factorisation:
    """Moves for every law M[s_g, h], with the amplification ρ that bounds their rounding error.

    Parameters
    ----------
    laws : float64[n_sg, n_h, n_sl, n_sl]
    k : int
    """

    def __init__(self, laws: np.ndarray, k: int):
        n_sg, n_h, n_sl, _ = laws.shape
        self.probability = np.zeros((n_sg, n_h, 2, n_sl, n_sl))
        # Positions in order_list of the row order with the states reversed, and of the column order.
        self.orders = np.zeros((n_sg, n_h, 2), dtype=np.int64)
        self.order_list: list[tuple[int, ...]] = [tuple(reversed(range(n_sl))), tuple(range(n_sl))]
        self.rho = 1.0
        tried = candidate_orders(n_sl)
        lower, upper = np.empty((n_sl, n_sl)), np.empty((n_sl, n_sl))
        row_order, column_order = np.arange(n_sl), np.arange(n_sl)
        # Where there are many laws, an amplification up to a thousand over all k agents, three digits of fifteen, ends the search.
        good_enough = 1.0 if n_sg * n_h <= MAX_LAWS_FULL_SEARCH else 1000.0 ** (1.0 / k)
        for s_g, h in itertools.product(range(n_sg), range(n_h)):
            matrix = np.ascontiguousarray(laws[s_g, h])
            if n_sl == 1:
                continue
            rho = kernels.best_orders(matrix, tried, good_enough, row_order, column_order)
            self.rho = max(self.rho, rho)
            if not math.isfinite(self.rho):
                return
            kernels.factorise(matrix, row_order, column_order, lower, upper)
            kernels.split_into_moves(lower, upper, self.probability[s_g, h])
            self.orders[s_g, h] = self._position(row_order[::-1]), self._position(column_order)

    def _position(self, order: np.ndarray) -> int:
        key = tuple(int(s) for s in order)
        if key not in self.order_list:
            self.order_list.append(key)
        return self.order_list.index(key)

    def relative_error(self, k: int) -> float:
        """Bound on the rounding error of one application, relative to the largest |V|."""
        if not math.isfinite(self.rho) or k * math.log(self.rho) > 600.0:
            return math.inf
        n_sl = self.probability.shape[3]
        n_moves = n_sl * (n_sl - 1)
        return EPSILON * (2 * n_moves + 2) * (k + 4) * self.rho**k


def row_tables(k: int, n_sl: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The rows of Λ(k, n_sl), as `apply_moves` takes them: starts, counts, lines, and the rows sorted by length."""
    row_counts = list_counts(k, max(1, n_sl - 1))
    row_moves = np.empty((row_counts.shape[0], row_counts.shape[1], row_counts.shape[1]), dtype=np.int32)
    fill_moves(k, lattice_sizes(k, row_counts.shape[1]), row_moves)
    n_states = row_counts.shape[1]
    lines = np.empty((n_states * (n_states - 1) // 2, row_counts.shape[0]), dtype=np.int32)
    kernels.fill_lines(row_counts, row_moves, lines)
    lengths = row_counts[:, -1] + 1
    row_start = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return row_start, row_counts, lines, np.argsort(lengths, kind="stable")


class SymmetricPower:
    """Exact backups for k agents that follow given laws.

    Parameters
    ----------
    P_g, r_g, gamma : tables of the global agent
    laws : float64[n_sg, n_h, n_sl, n_sl]    next-state law of an agent, for each choice h
    rewards : float64[n_sg, n_h, n_sl]       its mean reward
    k : int
    factorisation : Factorisation
    """

    method = "symmetric power"

    def __init__(self, P_g, r_g, gamma: float, laws, rewards, k: int, factorisation: Factorisation | None = None):
        self.P_g, self.r_g, self.gamma, self.k = P_g, r_g, gamma, k
        self.n_sl = laws.shape[2]
        self.factors = factorisation or Factorisation(laws, k)
        self.rewards = np.ascontiguousarray(rewards / k)
        n_c = lattice_size(k, self.n_sl)
        sizes = lattice_sizes(k, self.n_sl)
        self.counts = list_counts(k, self.n_sl)
        self.relabelled = np.empty((len(self.factors.order_list), n_c), dtype=np.int32)
        for order, out in zip(self.factors.order_list, self.relabelled, strict=True):
            fill_relabelled(k, np.array(order, dtype=np.int64), sizes, out)
        self.rows = row_tables(k, self.n_sl)

    def _mixed(self, value: np.ndarray) -> np.ndarray:
        mixed = np.empty((*self.r_g.shape, value.shape[1]))
        mix_values(value, self.P_g, self.r_g, self.gamma, mixed)
        return mixed

    def _tasks(self, n_workers: int) -> tuple[np.ndarray, np.ndarray]:
        """Deal the global states to the workers; what is left over is split by global actions, not to leave cores idle."""
        n_sg, n_ag = self.r_g.shape
        together = n_sg - n_sg % n_workers
        dealt: list[list[tuple[int, int, int]]] = [[] for _ in range(n_workers)]
        for s_g in range(together):
            dealt[s_g % n_workers].append((s_g, 0, n_ag))
        parts = min(n_ag, n_workers // max(1, n_sg - together))
        edges = [n_ag * i // parts for i in range(parts + 1)]
        rest = [(s_g, edges[i], edges[i + 1]) for s_g in range(together, n_sg) for i in range(parts)]
        for i, task in enumerate(rest):
            dealt[i % n_workers].append(task)
        tasks = np.array(list(itertools.chain.from_iterable(dealt)), dtype=np.int64)
        return tasks, np.concatenate([[0], np.cumsum([len(d) for d in dealt])]).astype(np.int64)

    def _law_tables(self) -> tuple:
        return self.factors.probability, self.factors.orders, self.relabelled, self.rows, self.counts, self.rewards

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one exact Bellman backup of `value`, float64[n_sg, n_c]."""
        tasks, task_start = self._tasks(numba.get_num_threads())
        parts = np.empty((tasks.shape[0], value.shape[1]))
        fixed_laws.sweep_laws(self._mixed(value), tasks, task_start, *self._law_tables(), parts)
        out_value[:] = -np.inf
        for task, part in zip(tasks, parts, strict=True):
            np.maximum(out_value[task[0]], part, out=out_value[task[0]])

    def greedy(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV with the greedy choice: value, a_g int32[n_sg, n_c], law int64[n_sg, n_c]; ties go to the lowest (a_g, law)."""
        backed_up = np.empty_like(value)
        self.sweep(value, backed_up)
        action = np.empty(value.shape, dtype=np.int32)
        item = np.full(value.shape, -1, dtype=np.int64)
        threshold = backed_up - 2 * self.rounding_error(value)
        fixed_laws.greedy_laws(self._mixed(value), threshold, *self._law_tables(), action, item)
        return backed_up, action, item

    def rounding_error(self, value: np.ndarray) -> float:
        """Bound on the rounding error of one sweep."""
        scale = float(np.abs(value).max(initial=0.0) + np.abs(self.r_g).max() + self.k * np.abs(self.rewards).max())
        return scale * (self.factors.relative_error(self.k) + EPSILON * (self.r_g.shape[0] + self.n_sl + 4))
