"""Long-run law of a small Markov chain."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


def long_run_law(matrix: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The limit of the average law over time, from a start: stationary in each recurrent class, weighted by how it is reached.

    Parameters
    ----------
    matrix : float64[n, n]    rows are laws
    start : float64[n]

    Returns
    -------
    float64[n]    adds up to 1; 0 for transient states

    Source: Kemeny and Snell (1960), Finite Markov Chains, chapters 3 and 5.
    """
    n = matrix.shape[0]
    n_classes, label = connected_components(csr_array(matrix > 0.0), directed=True, connection="strong")
    closed = np.ones(n_classes, dtype=bool)
    rows, columns = np.nonzero(matrix)
    closed[label[rows[label[rows] != label[columns]]]] = False
    transient = ~closed[label]
    reached = start.copy()
    if transient.any():
        inner = matrix[np.ix_(transient, transient)]
        # Expected visits to transient states, then the mass that leaves them.
        visits = np.linalg.solve((np.eye(inner.shape[0]) - inner).T, start[transient])
        reached = start + visits @ matrix[transient]
    law = np.zeros(n)
    for c in np.flatnonzero(closed):
        inside = np.flatnonzero(label == c)
        system = matrix[np.ix_(inside, inside)].T - np.eye(inside.size)
        system[-1] = 1.0
        right = np.zeros(inside.size)
        right[-1] = 1.0
        law[inside] = np.maximum(np.linalg.solve(system, right), 0.0) * reached[inside].sum()
    return law / law.sum()
