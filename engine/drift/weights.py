"""Importance weights of what other agents did, for arrays of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.importance.marginal import TRIM, log_marginal_of_others, make_marginal_work, marginal_work_size
from ...kernels.importance.weights import count_pairs, log_product_of_others, summarise_weights, weigh
from ..backups.selection import TooLargeError, readable_bytes
from ..checked import real_array, real_number
from ..tabulation import shown

FORMS = ("product", "marginal")

ROW_SUM_ATOL = 1e-9

MAX_BYTES = 2**32
"""Room for the laws of totals; whole weights of actions with a common divisor can be divided by it."""


@dataclass(frozen=True, kw_only=True)
class ImportanceWeights:
    """Weights P_π / P_μ of what every agent of every sample saw of the others, and how far they can be relied on."""

    form: str
    clip: float
    weights: np.ndarray
    """float64[N, n], cut at `clip`."""
    log_weights: np.ndarray
    """float64[N, n], before it; −inf for what π rules out."""
    mean: float
    """1 in expectation before clipping, where samples were drawn from μ."""
    effective_size: float
    """(Σw)²/Σw² of the clipped weights: that many samples with equal weights tell as much."""
    chi2: float
    """mean(w²)/mean(w)² − 1 of the clipped weights: 0 without drift; infinite if every weight is 0."""
    clip_rate: float
    """Share of weights above the clip."""


def importance_weights(
    pi: np.ndarray,
    mu: np.ndarray,
    group: np.ndarray,
    action: np.ndarray,
    *,
    form: str = "marginal",
    units: np.ndarray | None = None,
    edges: np.ndarray | None = None,
    count_own: bool = False,
    clip: float = np.inf,
) -> ImportanceWeights:
    """Weigh stored samples of n agents' actions, drawn from μ, as if the agents played π.

    Parameters
    ----------
    pi, mu : float64[n_groups, n_al] or float64[N, n_groups, n_al]
        Laws of an action under what its agent observed (its group), now and when the samples were stored, one for all samples
        or one for each.
    group, action : int64[N, n] or int64[n]
        Group and action of every agent, for N samples or for one.
    form : "product" or "marginal"
        Weight of every single action of the others, or of a total of their actions alone. The second is the mean of the first
        given the total, so it varies less, and it serves whatever depends on the others through the total.
    units : int64[n_al]        what an action adds to the total, at least 0; the action's index unless given
    edges : int64[n_bins − 1]  ascending; the others are seen through the bin of their total alone, [edge, next edge)
    count_own : bool           whether the agent's own action is in the total that is binned
    clip : float               largest weight, above 0

    Raises
    ------
    ValueError      for a bad argument, by name
    TooLargeError   where the laws of the totals would not fit the memory
    """
    group, action = np.atleast_2d(_whole("group", group)), np.atleast_2d(_whole("action", action))
    n_samples, n = group.shape if group.ndim == 2 else (0, 0)
    if not isinstance(form, str) or form not in FORMS:
        raise ValueError(f"form: found {shown(form)}, expected {' or '.join(FORMS)}")
    if action.shape != group.shape or n_samples == 0 or n == 0:
        raise ValueError(
            f"group, action: found shapes {group.shape} and {action.shape}, expected both [samples, agents], not empty"
        )
    clip = real_number("clip", clip, "above 0", above=0.0)
    laws = [_laws("pi", pi, n_samples), _laws("mu", mu, n_samples)]
    if laws[0].shape != laws[1].shape:
        raise ValueError(f"pi, mu: found shapes {laws[0].shape[1:]} and {laws[1].shape[1:]}, expected the same")
    n_groups, n_al = laws[0].shape[1:]
    _require_below("group", group, n_groups)
    _require_below("action", action, n_al)
    if form == "product":
        logs = [_log_products(of, group, action) for of in laws]
    else:
        weights_of = np.arange(n_al) if units is None else _whole("units", units)
        if weights_of.shape != (n_al,) or weights_of.min() < 0:
            raise ValueError(f"units: found {shown(units)}, expected {n_al} whole numbers from 0 on")
        logs = _log_marginals(laws, group, action, weights_of, _edges(edges), count_own)
    weights = np.empty(n_samples * n)
    log_pi, log_mu = (log.ravel() for log in logs)
    clipped = weigh(log_pi, log_mu, clip, weights)
    mean, effective_size, chi2 = summarise_weights(weights)
    return ImportanceWeights(
        form=form,
        clip=clip,
        weights=weights.reshape(group.shape),
        log_weights=np.where(log_pi == -np.inf, -np.inf, log_pi - np.where(log_pi == -np.inf, 0.0, log_mu)).reshape(
            group.shape
        ),
        mean=mean,
        effective_size=effective_size,
        chi2=chi2,
        clip_rate=clipped / weights.size,
    )


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: found {shown(values)}, expected whole numbers in rows of one length") from None
    # An empty list has no type of its own.
    if array.dtype.kind not in "iu" and array.shape != (0,):
        raise ValueError(f"{name}: found {array.dtype} values, expected whole numbers")
    return np.ascontiguousarray(array, np.int64)


def _require_below(name: str, values: np.ndarray, bound: int) -> None:
    if values.min() < 0 or values.max() >= bound:
        raise ValueError(f"{name}: found {values.min()} to {values.max()}, expected 0 to {bound - 1}")


def _laws(name: str, laws: np.ndarray, n_samples: int) -> np.ndarray:
    table = real_array(name, laws)
    if table.ndim == 2:
        table = np.broadcast_to(table, (n_samples, *table.shape))
    if table.ndim != 3 or table.shape[0] != n_samples or 0 in table.shape:
        raise ValueError(
            f"{name}: found shape {table.shape}, expected [groups, actions] or [{n_samples}, groups, actions]"
        )
    gap = np.abs(table.sum(axis=-1) - 1.0).max()
    if not (table.min() >= 0.0 and gap <= ROW_SUM_ATOL):
        raise ValueError(f"{name}: rows must be probabilities, worst row sum is off by {gap:.1e}")
    return table


def _edges(edges: np.ndarray | None) -> np.ndarray | None:
    if edges is None:
        return None
    array = _whole("edges", edges)
    if array.ndim != 1 or (np.diff(array) <= 0).any():
        raise ValueError(f"edges: found {shown(edges)}, expected ascending whole numbers")
    return array


def _log_products(laws: np.ndarray, group: np.ndarray, action: np.ndarray) -> np.ndarray:
    out = np.empty(group.shape)
    for sample in range(len(group)):
        log_product_of_others(laws[sample].copy(), group[sample], action[sample], out[sample])
    return out


def _log_marginals(
    laws: list[np.ndarray],
    group: np.ndarray,
    action: np.ndarray,
    units: np.ndarray,
    edges: np.ndarray | None,
    count_own: bool,
) -> list[np.ndarray]:
    n, (n_groups, n_al) = group.shape[1], laws[0].shape[1:]
    most_groups = min(n, n_groups)
    n_bytes = 8 * int(marginal_work_size(n, most_groups, int(units.max() - units.min())))
    if n_bytes > MAX_BYTES:
        raise TooLargeError(
            f"units: the laws of totals of {n} agents take {readable_bytes(n_bytes)}, expected at most "
            f"{readable_bytes(MAX_BYTES)}; take smaller whole numbers"
        )
    work = make_marginal_work(n, most_groups, units)
    counts, found = np.zeros((n_groups, n_al), np.int64), np.empty((n_groups, n_al))
    out = [np.empty(group.shape), np.empty(group.shape)]
    for sample in range(len(group)):
        count_pairs(group[sample], action[sample], counts)
        low, high = _intervals(int(units[action[sample]].sum()), units, edges, count_own)
        low, high = (np.broadcast_to(bound, counts.shape).copy() for bound in (low, high))
        for of, rows in zip(laws, out):
            log_marginal_of_others(of[sample].copy(), counts, units, low, high, TRIM, work, found)
            rows[sample] = found[group[sample], action[sample]]
    return out


def _intervals(
    total: int, units: np.ndarray, edges: np.ndarray | None, count_own: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Totals of the others, by the agent's own action, that look the same to it as the total of all agents does."""
    others = total - units
    if edges is None:
        return others, others
    bounds = np.concatenate([[np.iinfo(np.int64).min // 4], edges, [np.iinfo(np.int64).max // 4]])
    own = units if count_own else np.zeros_like(units)
    cell = np.searchsorted(edges, others + own, side="right")
    return bounds[cell] - own, bounds[cell + 1] - 1 - own
