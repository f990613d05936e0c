"""The field of a coupled game in a rollout: from counts to the rows of tables that depend on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel


class FieldBins(NamedTuple):
    """How counts become a field value; without features every step has the value 0."""

    of_actions: int  # 1: the counts are those of the actions of a step, 0: those of the states before it
    weights: np.ndarray  # float64[D, n_x]
    edges: np.ndarray  # float64[D, E], increasing, lowered by their tolerance and padded with infinity
    n_values: np.ndarray  # int64[D], one more than the edges of a feature


@kernel
def field_value(field, counts):
    """Field value of counts that do not add up to 0: the bins of the features' means as one number, the first slowest.

    Parameters
    ----------
    field : FieldBins
    counts : int64[n_x]

    Returns
    -------
    int64
    """
    value = np.int64(0)
    for d in range(field.n_values.shape[0]):
        sum_of_weights, n = 0.0, np.int64(0)
        for x in range(counts.shape[0]):
            sum_of_weights += field.weights[d, x] * counts[x]
            n += counts[x]
        low, high = np.int64(0), field.n_values[d] - 1
        while low < high:
            middle = (low + high) >> 1
            if sum_of_weights / n >= field.edges[d, middle]:
                low = middle + 1
            else:
                high = middle
        value = value * field.n_values[d] + low
    return value


@kernel(inline="always")
def rows_per_state(rollout):
    """Rows that P_g, P_l, r_g and r_l of a rollout have for each s_g: its field values, or 1 for a table that ignores them.

    Parameters
    ----------
    rollout : CountRollout or AgentRollout
    """
    n_sg = rollout.global_action.shape[0]
    return (
        rollout.P_g.shape[0] // n_sg,
        rollout.P_l.shape[0] // n_sg,
        rollout.r_g.shape[0] // n_sg,
        rollout.r_l.shape[0] // n_sg,
    )


@kernel(inline="always")
def row_of(n_f, s_g, f):
    """Row of (s_g, f) in a table.

    Parameters
    ----------
    n_f : int    rows for each s_g, from `rows_per_state`
    s_g, f : int
    """
    return s_g * n_f + min(f, n_f - 1)
