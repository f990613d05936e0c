"""The four action classes: which local decisions (*items*) a count vector offers, and what each makes an agent do.

* `joint`: every z with row sums c. Items in mixed radix, the first state slowest, a state's digit the rank of its row.
* `shared`: all agents of one state take one action; items likewise, a state's digit its action.
* `histogram`: a histogram h over the local actions; each agent draws its action from h / k. Items are the ranks of h.
* `fixed`: a given local policy; one item.

Every item of `shared` and `histogram` is something that k agents with all of `joint` could at least match, so their
values are lower bounds of that of `joint`. They are not ordered among themselves.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..kernels.lattice import enumerate_counts, lattice_size
from .backups.row_options import count_row_options, make_row_options

ACTION_CLASSES = ("joint", "shared", "histogram", "fixed")


def list_counts(m: int, n_states: int) -> np.ndarray:
    """All count vectors of Λ(m, n_states) in rank order, int64[n_c, n_states]."""
    counts = np.empty((lattice_size(m, n_states), n_states), dtype=np.int64)
    enumerate_counts(m, counts)
    return counts


def item_starts(k: int, n_sl: int, n_al: int, actions: str) -> np.ndarray:
    """First item of every count vector and the number of items at the end, int64[n_c + 1]."""
    n_c = lattice_size(k, n_sl)
    if actions in ("joint", "shared"):
        options = np.array([count_row_options(x, n_al, actions) for x in range(k + 1)], dtype=np.int64)
        items = options[list_counts(k, n_sl)].prod(axis=1)
    else:
        items = np.full(n_c, lattice_size(k, n_al) if actions == "histogram" else 1, dtype=np.int64)
    return np.concatenate([[0], np.cumsum(items)]).astype(np.int64)


def count_items(k: int, n_sl: int, n_al: int, actions: str) -> int:
    """Items over all count vectors, as an exact Python integer (nothing allocated)."""
    if actions == "joint":
        return lattice_size(k, n_sl * n_al)
    if actions == "histogram":
        return lattice_size(k, n_sl) * lattice_size(k, n_al)
    if actions == "fixed":
        return lattice_size(k, n_sl)
    # `shared`: choose the j states that are occupied; each has n_al options.
    return sum(math.comb(n_sl, j) * lattice_size(k - j, j) * n_al**j for j in range(1, min(n_sl, k) + 1))


def list_items(counts: np.ndarray, n_al: int, actions: str) -> np.ndarray:
    """The items of one count vector.

    Parameters
    ----------
    counts : int64[n_sl]
    n_al : int
    actions : "joint", "shared", "histogram" or "fixed"

    Returns
    -------
    int64[n_items, n_sl, n_al]
        z for `joint` and `shared`; for `histogram` int64[n_items, n_al], the histograms; for `fixed` int64[1, 0].
    """
    k = int(counts.sum())
    if actions == "histogram":
        return list_counts(k, n_al)
    if actions == "fixed":
        return np.zeros((1, 0), dtype=np.int64)
    options = make_row_options(int(counts.max(initial=0)), n_al, actions)
    digits = np.indices([int(options.n_options[x]) for x in counts]).reshape(len(counts), -1)
    return np.stack([options.row_counts[options.row_offset[x] + digits[s]] for s, x in enumerate(counts)], axis=1)


def local_laws(
    k: int, n_sl: int, n_al: int, actions: str, item: np.ndarray, local_policy: np.ndarray | None
) -> np.ndarray:
    """Law of a_l for an agent that sees a sample of k agents with itself in it.

    Parameters
    ----------
    item : int64[n_sg, n_c]    the greedy items
    local_policy : float64[n_sg, n_sl, n_al] for class `fixed`, else None

    Returns
    -------
    float64[n_sg, n_sl, n_c, n_al]    for `fixed` float64[n_sg, n_sl, 1, n_al]: it ignores the sample. Uniform for samples in
        which the agent's own state does not occur.
    """
    if actions == "fixed":
        assert local_policy is not None
        # With k_local = 1 the sample is the agent itself: one count vector for each own state.
        return np.repeat(local_policy[:, :, None, :], n_sl, axis=2)
    n_sg, n_c = item.shape
    if actions == "histogram":
        return np.repeat((list_counts(k, n_al)[item] / k)[:, None], n_sl, axis=1)
    counts = list_counts(k, n_sl)
    options = make_row_options(k, n_al, actions)
    laws = np.full((n_sg, n_sl, n_c, n_al), 1.0 / n_al)
    rest = item
    for s in reversed(range(n_sl)):
        agents = counts[:, s]
        rest, digit = np.divmod(rest, options.n_options[agents])
        rows = options.row_counts[options.row_offset[agents] + digit]
        laws[:, s] = np.where(agents[:, None] > 0, rows / np.maximum(agents, 1)[:, None], laws[:, s])
    return laws


def next_state_laws(P_l: np.ndarray, r_l: np.ndarray, k: int, actions: str, local_policy: np.ndarray | None):
    """Next-state laws and mean rewards where every local decision is one law per state.

    Returns
    -------
    (float64[n_sg, n_h, n_sl, n_sl], float64[n_sg, n_h, n_sl])
        h runs over the histograms, the maps from states to actions (first state slowest), or the one given policy.
    """
    n_sg, n_sl, n_al, _ = P_l.shape
    if actions == "histogram":
        action_laws = np.broadcast_to(
            (list_counts(k, n_al) / k)[None, :, None, :], (n_sg, lattice_size(k, n_al), n_sl, n_al)
        )
    elif actions == "shared":
        maps = np.array(list(itertools.product(range(n_al), repeat=n_sl)), dtype=np.int64)
        action_laws = np.broadcast_to(np.eye(n_al)[maps][None], (n_sg, len(maps), n_sl, n_al))
    else:
        assert local_policy is not None
        action_laws = local_policy[:, None]
    laws = np.einsum("ghsa,gsat->ghst", action_laws, P_l)
    return np.ascontiguousarray(laws), np.ascontiguousarray(np.einsum("ghsa,gsa->ghs", action_laws, r_l))


def shared_items_of_maps(k: int, n_sl: int, n_al: int, item: np.ndarray) -> np.ndarray:
    """Turn ranks of maps S_l → A_l into items of class `shared`, which leave the empty states out; int64[n_sg, n_c]."""
    counts = list_counts(k, n_sl)
    shared = np.zeros_like(item)
    for s in range(n_sl):
        digit = item // n_al ** (n_sl - 1 - s) % n_al
        occupied = (counts[:, s] > 0)[None, :]
        shared = np.where(occupied, shared * n_al + digit, shared)
    return shared
