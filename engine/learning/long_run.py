"""Long-run law of a Markov chain that fits the memory."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ..evaluation.linear_systems import solve_linear

# A dense system of so many states takes a fifth of a second.
DENSE_STATES = 1500
# Euclidean norm that a large system may be off by before it is solved as a dense one.
ATOL = 1e-14
RESIDUAL = 1e-12


def long_run_law(matrix: np.ndarray | csr_array, start: np.ndarray) -> np.ndarray:
    """The limit of the average law over time, from a start: stationary in each recurrent class, weighted by how it is reached.

    Parameters
    ----------
    matrix : float64[n, n], dense or sparse    rows are laws
    start : float64[n]

    Returns
    -------
    float64[n]    adds up to 1; 0 for transient states

    Source: Kemeny and Snell (1960), Finite Markov Chains, chapters 3 and 5.
    """
    matrix = csr_array(matrix)
    n = matrix.shape[0]
    n_classes, label = connected_components(matrix > 0.0, directed=True, connection="strong")
    entries = matrix.tocoo()
    leaving = (label[entries.row] != label[entries.col]) & (entries.data > 0.0)
    closed = np.ones(n_classes, dtype=bool)
    closed[label[entries.row[leaving]]] = False
    transient = np.flatnonzero(~closed[label])
    reached = start.copy()
    if transient.size:
        # Expected visits to transient states, then the mass that leaves them.
        inner = matrix[transient][:, transient]
        visits = _solve(inner, start[transient], np.zeros(transient.size))
        reached = start + matrix[transient].T @ visits
    law = np.zeros(n)
    for c in np.flatnonzero(closed):
        inside = np.flatnonzero(label == c)
        inner = matrix[inside][:, inside]
        uniform = np.full(inside.size, 1.0 / inside.size)
        found = np.maximum(_solve(inner, uniform, uniform), 0.0)
        law[inside] = found / found.sum() * reached[inside].sum()
    return law / law.sum()


def _solve(inner: csr_array, right: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Solve x (I − P) + (Σ x) added = right."""
    size = inner.shape[0]
    transposed = inner.T.tocsr()
    if size > DENSE_STATES:

        def apply(x: np.ndarray) -> np.ndarray:
            return x - transposed @ x + x.sum() * added

        found = solve_linear(apply, right, right, atol=ATOL, max_restarts=20)
        if np.abs(apply(found) - right).sum() <= RESIDUAL * max(1.0, np.abs(found).sum()):
            return found
    return np.linalg.solve(np.eye(size) - transposed.toarray() + added[:, None], right)
