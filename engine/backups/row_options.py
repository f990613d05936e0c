"""Row options: what the agents that share a state may do together, for each action class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.lattice import enumerate_counts, fill_successors, lattice_size, lattice_sizes


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """The rows z[s, :] open to the x agents of one state, for x = 0 … k.

    Class `joint` has every count vector of Λ(x, n_al); `shared` has the n_al pure rows (one empty row for x = 0).
    """

    n_options: np.ndarray  # int64[k + 1]
    row_offset: np.ndarray  # int64[k + 2]    the rows of x agents are row_offset[x] … row_offset[x + 1] - 1
    row_counts: np.ndarray  # int64[n_rows, n_al]
    row_parent: np.ndarray  # int64[n_rows]   rank, among the rows of x - 1 agents, of the row with an agent less
    row_action: np.ndarray  # int64[n_rows]   the action of that agent

    @property
    def k(self) -> int:
        return self.n_options.shape[0] - 1


def count_row_options(agents: int, n_al: int, actions: str) -> int:
    """Number of rows open to `agents` agents of one state, as an exact integer."""
    if actions == "shared":
        return n_al if agents > 0 else 1
    return lattice_size(agents, n_al)


def make_row_options(k: int, n_al: int, actions: str) -> RowOptions:
    """List the row options of 0 … k agents for the action class `joint` or `shared`."""
    n_options = np.array([count_row_options(x, n_al, actions) for x in range(k + 1)], dtype=np.int64)
    row_offset = np.concatenate([[0], np.cumsum(n_options)]).astype(np.int64)
    row_counts = np.zeros((row_offset[-1], n_al), dtype=np.int64)
    row_parent = np.zeros(row_offset[-1], dtype=np.int64)
    row_action = np.zeros(row_offset[-1], dtype=np.int64)
    sizes = lattice_sizes(k, n_al)
    actions_of = np.arange(n_al)
    for agents in range(1, k + 1):
        here = slice(row_offset[agents], row_offset[agents + 1])
        if actions == "shared":
            row_counts[here] = agents * np.eye(n_al, dtype=np.int64)
            row_parent[here] = actions_of if agents > 1 else 0
            row_action[here] = actions_of
            continue
        enumerate_counts(agents, row_counts[here])
        row_action[here] = (row_counts[here] > 0).argmax(axis=1)
        # The agent less is one of the lowest action: every smaller row is the parent by each action not above its own lowest.
        below = row_counts[row_offset[agents - 1] : row_offset[agents]]
        successor = np.empty((len(below), n_al), dtype=np.int32)
        fill_successors(agents - 1, sizes, successor)
        lowest = (below > 0).argmax(axis=1) if agents > 1 else np.full(1, n_al - 1)
        parent, action = np.nonzero(actions_of <= lowest[:, None])
        row_parent[row_offset[agents] + successor[parent, action]] = parent
    return RowOptions(
        n_options=n_options, row_offset=row_offset, row_counts=row_counts, row_parent=row_parent, row_action=row_action
    )
