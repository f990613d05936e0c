"""Laws of the next counts of joint actions, one agent after the other, where a field ties agents to what they all do.

The joint action z tells the field value of a field of actions, and so which tables its agents move by. The expectation of V(c')
given z is V contracted with one law for each agent; joint actions that begin with the same agents under the same field value share
these steps, and each step is one sparse matrix. Nothing is subtracted: rounding grows with the number of terms alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from ...kernels.lattice import fill_successors, lattice_size, lattice_sizes
from .selection import TooLargeError, readable_bytes, readable_number

EPSILON = float(np.finfo(np.float64).eps)
# Stored probabilities of the steps from which a sweep would take minutes.
MAX_STEPS = 10**10
BYTES_OF_ENTRY = 12


@dataclass(frozen=True, kw_only=True)
class ItemPlan:
    """What the laws of joint actions take, from sizes alone.

    Parameters
    ----------
    n_items : int
    bytes_needed : int    tables of all global states, and what is made on the way
    n_entries : int       probabilities of the steps of one global state, at most
    """

    n_items: int
    bytes_needed: int
    n_entries: int


def plan_items(
    n_sg: int,
    n_states: int,
    n_categories: int,
    n_laws: int,
    k: int,
    width: int,
    n_items: int,
    *,
    columns: int | None = None,
) -> ItemPlan:
    """Sizes of the laws of `n_items` joint actions of k agents; nothing is allocated.

    Parameters
    ----------
    n_categories : int    what one agent may be and do
    n_laws : int          values of the field that laws depend on and that occur; 1 if none do
    width : int           most next states that one agent may reach from one category
    columns : int         functions whose expectation is taken at a time, by default n_sg
    """
    entries, rows_most = 0, 0
    for j in range(1, k + 1):
        nodes = n_items if j == k else min(n_laws * lattice_size(j, n_categories), n_items)
        rows = nodes * lattice_size(k - j, n_states)
        rows_most = max(rows_most, rows)
        entries += rows * (width + 1)
    listing = n_items * (40 * n_categories + 32 * k)
    making = rows_most * n_states * 17
    vectors = 8 * (n_sg if columns is None else columns) * (2 * rows_most + 6 * n_items)
    needed = BYTES_OF_ENTRY * n_sg * entries + listing + making + vectors
    return ItemPlan(n_items=n_items, bytes_needed=needed, n_entries=entries)


def check_items(plan: ItemPlan, what: str, memory_bytes: int, lower: str) -> None:
    """TooLargeError, with the sizes, unless the laws fit the memory and a sweep ends in time."""
    if plan.bytes_needed > memory_bytes:
        raise TooLargeError(
            f"{what} {readable_number(plan.n_items)} joint actions, whose laws take {readable_bytes(plan.bytes_needed)}, "
            f"expected at most {readable_bytes(memory_bytes)}; {lower}"
        )
    if plan.n_entries > MAX_STEPS:
        raise TooLargeError(
            f"{what} {readable_number(plan.n_items)} joint actions, whose laws take {readable_number(plan.n_entries)} "
            f"multiplications, expected at most {readable_number(MAX_STEPS)}; {lower}"
        )


def agents_of(categories: np.ndarray) -> np.ndarray:
    """The agents' categories in ascending order, int64[n_items, k], of counts int64[n_items, C] that add up to k."""
    n_items, n_categories = categories.shape
    listed = np.repeat(np.tile(np.arange(n_categories), n_items), categories.ravel())
    return listed.reshape(n_items, int(categories[0].sum()))


def distinct_items(laws: np.ndarray, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct pair of a law and a joint action first occurs, and the position of each item's pair among them.

    Parameters
    ----------
    laws : int64[n_items]
    categories : int64[n_items, C]
    """
    _, first, node = np.unique(laws, return_index=True, return_inverse=True)
    # Far faster than sorting whole rows.
    for column in agents_of(categories).T:
        _, first, node = np.unique(node * categories.shape[1] + column, return_index=True, return_inverse=True)
    return first, node


class ItemTree:
    """What joint actions have in common: the nodes of each step, from the first agent to the last.

    Parameters
    ----------
    categories : int64[n_items, C]    agents of each category, k in all, which may be 0
    laws : int64[n_items]             which of the tables of laws each item's agents move by
    n_states : int                    local states that an agent may move to

    Attributes
    ----------
    levels : list of (parent, category, law), each int64[n_nodes]    the nodes of the last level are the items
    """

    def __init__(self, categories: np.ndarray, laws: np.ndarray, n_states: int):
        n_items, n_categories = categories.shape
        agents = agents_of(categories)
        self.k, self.n_states, self.n_items = agents.shape[1], n_states, n_items
        self.levels: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        # A node is the law that is followed and the first agents' categories.
        _, node = np.unique(laws, return_inverse=True)
        parent = np.zeros(n_items, dtype=np.int64)
        for j in range(self.k):
            key = node * n_categories + agents[:, j]
            if j == self.k - 1:
                self.levels.append((parent, agents[:, j], laws))
                break
            _, first, node = np.unique(key, return_index=True, return_inverse=True)
            self.levels.append((parent[first], agents[first, j], laws[first]))
            parent = node
        sizes = lattice_sizes(self.k, n_states)
        self.successors = []
        for j in range(1, self.k + 1):
            successors = np.empty((lattice_size(self.k - j, n_states), n_states), dtype=np.int32)
            fill_successors(self.k - j, sizes, successors)
            self.successors.append(successors)


class ItemLaws:
    """E[f(c') | item] and its adjoint, for the joint actions of a tree at one global state.

    Parameters
    ----------
    tree : ItemTree
    rows : float64[n_laws, C, n_states]    law of the next state of an agent of each category, under each table
    """

    def __init__(self, tree: ItemTree, rows: np.ndarray):
        self.n_items = tree.n_items
        self.steps: list[csr_array] = []
        n_above = lattice_size(tree.k, tree.n_states)
        n_columns = n_above
        for (parent, category, law), successors in zip(tree.levels, tree.successors, strict=True):
            step = _step(rows[law, category], parent, successors, n_above, n_columns)
            self.steps.append(step)
            n_above, n_columns = len(successors), step.shape[0]

    @property
    def n_entries(self) -> int:
        """Probabilities stored: the multiplications of one expectation."""
        return sum(step.nnz for step in self.steps)

    def expect(self, functions: np.ndarray) -> np.ndarray:
        """E[f(c') | item], float64[n_items, n_functions], of functions float64[n_c, n_functions]."""
        if not self.steps:
            # Nobody moves.
            return np.repeat(functions, self.n_items, axis=0)
        for step in self.steps:
            functions = step @ functions
        return functions

    def spread(self, masses: np.ndarray) -> np.ndarray:
        """Σ_item m(item) Pr[c' | item], float64[n_c, n_functions], of masses float64[n_items, n_functions]."""
        if not self.steps:
            return masses.sum(axis=0, keepdims=True)
        for step in reversed(self.steps):
            masses = step.T @ masses
        return masses

    def laws_of(self, weights: csr_array) -> csr_array:
        """Mixtures of the items' laws, sparse float64[n_mixtures, n_c], by weights sparse float64[n_mixtures, n_items]."""
        for step in reversed(self.steps):
            weights = weights @ step
        return weights


def _step(laws: np.ndarray, parent: np.ndarray, successors: np.ndarray, n_above: int, n_columns: int) -> csr_array:
    """One agent more: from functions of (parent, counts c + e_t) to functions of (node, counts c), Σ_t law(t) f(c + e_t)."""
    n_nodes, n_here = len(laws), len(successors)
    shape = (n_nodes, n_here, laws.shape[1])
    there = np.broadcast_to((laws > 0.0)[:, None, :], shape)
    indices = (parent[:, None, None] * n_above + successors).astype(np.int64)[there]
    data = np.broadcast_to(laws[:, None, :], shape)[there]
    starts = np.concatenate([[0], np.cumsum(np.repeat((laws > 0.0).sum(axis=1), n_here))])
    if max(data.size, n_columns) < 2**31:
        indices, starts = indices.astype(np.int32), starts.astype(np.int32)
    return csr_array((data, indices, starts), shape=(n_nodes * n_here, n_columns))
