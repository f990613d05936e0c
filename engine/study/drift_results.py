"""Results of a study of importance weights: what repeated estimates came to, beside the exact values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ...kernels.importance import replications as kept
from ..drift.bound import drift_bound
from ..drift.exact import (
    excess_of_marginal,
    excess_of_product,
    log_law_of_total,
    log_ratios,
    log_second_moment_of_marginal,
    log_second_moment_of_product,
)
from .drift_settings import DriftCell, DriftStudySettings
from .labelled import LabelledArrays, Layout
from .results import Field

LEVEL = 0.95
"""Of the intervals of covered shares."""

_FORM = ("drift", "n", "samples", "form")
_POINT = (*_FORM, "reward")
_KERNEL_FORM = {"none": 0, "product": 1, "marginal": 2, "selfnorm": 2}

COORDINATES = {
    "drift": Field(("drift",), "laws before and after", "1"),
    "n": Field(("n",), "agents whose actions are reweighted", "agents"),
    "samples": Field(("samples",), "samples of an estimate", "1"),
    "form": Field(("form",), "form of the weights", "1"),
    "reward": Field(("reward",), "function of the mean action", "1"),
}
TEXTS = ("drift", "form", "reward")

ARRAYS = {
    "exact": Field(("drift", "n", "reward"), "exact mean of Y under the law after"),
    "before": Field(("drift", "n", "reward"), "exact mean of Y under the law before"),
    "limit": Field(("drift", "n", "reward"), "Y of the mean action after, of infinitely many agents"),
    "mean_field_term": Field(("drift", "n", "reward"), "last term of the bound"),
    "log_second_moment_product": Field(("drift", "n"), "log of the mean square of the product form, exact", "1"),
    "log_second_moment_marginal": Field(("drift", "n"), "log of the mean square of the marginal form, exact", "1"),
    "excess": Field(("drift", "n", "form"), "mean of what is above the clip, exact", "1"),
    "sampled_second_moment": Field(_FORM, "mean square before clipping, mean over the estimates", "1"),
    "effective_size": Field(_FORM, "effective sample size, mean over the estimates", "1"),
    "clip_rate": Field(_FORM, "share of weights above the clip", "1"),
    "estimate": Field(_POINT, "mean of the estimates"),
    "abs_error": Field(_POINT, "mean absolute error"),
    "rmse": Field(_POINT, "root mean squared error"),
    "variance_term": Field(_POINT, "first term of the bound, mean over the estimates"),
    "range_term": Field(_POINT, "second term of the bound"),
    "clipping_term": Field(_POINT, "third term of the bound, exact"),
    "clipping_term_estimated": Field(_POINT, "third term of the bound from each sample, mean over the estimates"),
    "clipping_term_complement": Field(_POINT, "third term of the bound from 1 less the mean clipped weight, mean"),
    "half_width": Field(_POINT, "sum of the first three terms, mean over the estimates"),
    "covered": Field(_POINT, "share of estimates within the first three terms of the exact value", "1"),
    "covered_low": Field(_POINT, "lower end of its 95 % Clopper-Pearson interval", "1"),
    "covered_high": Field(_POINT, "upper end of its 95 % Clopper-Pearson interval", "1"),
    "covered_estimated": Field(_POINT, "the same share with the third term from each sample", "1"),
    "covered_complement": Field(_POINT, "the same share with the third term from 1 less the mean clipped weight", "1"),
    "covered_limit": Field(_POINT, "share within all four terms of the value of infinitely many agents", "1"),
}


class CellResult(NamedTuple):
    """The estimates of a cell, as `repeat_estimates` leaves them."""

    values: np.ndarray  # float64[n_samples, replications, 3, n_rewards, 2]
    weights: np.ndarray  # float64[n_samples, replications, 3, 5]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DriftStudy(LabelledArrays):
    """Results of a study of importance weights. Axes are named in `COORDINATES`.

    Parameters
    ----------
    config : dict                    what was asked for
    drift, form, reward : str        names along these axes
    n, samples : int64               places along these axes
    arrays : {name: float64}         the `ARRAYS`; NaN where an exact number would have to be listed too long
    """

    layout = Layout(COORDINATES, TEXTS, "iu", ARRAYS)
    drift: np.ndarray
    n: np.ndarray
    samples: np.ndarray
    form: np.ndarray
    reward: np.ndarray

    def __repr__(self) -> str:
        return f"DriftStudy({self.sizes(*COORDINATES)})"


def collect_drift(settings: DriftStudySettings, cells: Sequence[CellResult]) -> DriftStudy:
    """Compare the estimates of all cells, in the order of `settings.cells`, with exact values."""
    coordinates: dict[str, Any] = {
        "drift": np.array([drift.name for drift in settings.drawn_drifts]),
        "n": np.array(settings.n, dtype=np.int64),
        "samples": np.array(settings.samples, dtype=np.int64),
        "form": np.array(settings.form),
        "reward": np.array([reward.name for reward in settings.drawn_rewards]),
    }
    arrays = {
        name: np.full([coordinates[axis].size for axis in field.axes], math.nan) for name, field in ARRAYS.items()
    }
    places = np.ndindex(len(settings.drawn_drifts), len(settings.n))
    for at, cell, result in zip(places, settings.cells, cells, strict=True):
        exact = _fill_exact(arrays, at, settings, cell)
        for i, n_samples in enumerate(settings.samples):
            for j, form in enumerate(settings.form):
                _fill_form(arrays, (*at, i, j), settings, cell, exact[form], form, n_samples, result)
    return DriftStudy(config=settings.config, arrays=arrays, **coordinates)


class _Exact(NamedTuple):
    excess: float
    largest_weight: float


def _fill_exact(
    arrays: dict[str, np.ndarray], at: tuple[int, ...], settings: DriftStudySettings, cell: DriftCell
) -> dict[str, _Exact]:
    """Exact values of a cell; for every form the mean of what is above the clip, and the largest weight."""
    drift, n = cell.drift, cell.n
    log_pi, log_mu = (log_law_of_total(law, drift.units, n) for law in (drift.pi, drift.mu))
    values = settings.values(cell)
    arrays["exact"][at] = values @ np.exp(log_pi)
    arrays["before"][at] = values @ np.exp(log_mu)
    mean = np.array([drift.pi @ drift.units])
    arrays["limit"][at] = [float(reward(mean)[0]) for reward in settings.drawn_rewards]
    arrays["mean_field_term"][at] = [
        reward.lipschitz * drift.span / (2.0 * math.sqrt(n)) for reward in settings.drawn_rewards
    ]
    arrays["log_second_moment_product"][at] = log_second_moment_of_product(drift.pi, drift.mu, n)
    arrays["log_second_moment_marginal"][at] = log_second_moment_of_marginal(log_pi, log_mu)
    with np.errstate(divide="ignore"):
        of_action = log_ratios(np.log(drift.pi), np.log(drift.mu)).max()
    marginal = _Exact(excess_of_marginal(log_pi, log_mu, settings.clip), _power_of_e(log_ratios(log_pi, log_mu).max()))
    exact = {
        "none": _Exact(0.0, 1.0),
        "product": _Exact(excess_of_product(drift.pi, drift.mu, n, settings.clip), _power_of_e(n * of_action)),
        "marginal": marginal,
        "selfnorm": marginal,
    }
    arrays["excess"][at] = [exact[form].excess for form in settings.form]
    return exact


def _power_of_e(log: float) -> float:
    return math.exp(log) if log < 700.0 else math.inf


def _fill_form(
    arrays: dict[str, np.ndarray],
    at: tuple[int, ...],
    settings: DriftStudySettings,
    cell: DriftCell,
    exact: _Exact,
    form: str,
    n_samples: int,
    result: CellResult,
) -> None:
    weights = result.weights[at[2], :, _KERNEL_FORM[form]]
    mean_weight, mean_square = weights[:, kept.MEAN_WEIGHT], weights[:, kept.MEAN_SQUARE]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sizes = np.where(mean_square > 0.0, n_samples * mean_weight**2 / mean_square, 0.0)
        arrays["sampled_second_moment"][at] = weights[:, kept.RAW_SQUARE].mean()
    arrays["effective_size"][at] = sizes.mean()
    arrays["clip_rate"][at] = weights[:, kept.CLIP_RATE].mean()
    for r, reward in enumerate(settings.drawn_rewards):
        moments = result.values[at[2], :, _KERNEL_FORM[form], r]
        estimates = moments[:, kept.MEAN]
        if form == "selfnorm":
            with np.errstate(divide="ignore", invalid="ignore"):
                estimates = estimates / mean_weight
        common: dict[str, Any] = {
            "sample_variance": moments[:, kept.VARIANCE], "n_samples": n_samples,
            "clip": 1.0 if form == "none" else min(settings.clip, exact.largest_weight), "largest": reward.largest,
            "delta": settings.delta, "n_agents": cell.n, "lipschitz": reward.lipschitz, "span": cell.drift.span,
        }  # fmt: skip
        bound = drift_bound(excess=exact.excess, **common)
        # Raw samples have no weights to clip.
        sampled = complement = bound
        if form != "none":
            sampled = drift_bound(excess=weights[:, kept.EXCESS], excess_from="sample", **common)
            spread = np.maximum(mean_square - mean_weight**2, 0.0) * (n_samples / (n_samples - 1))
            complement = drift_bound(
                excess=None, excess_from="complement", clipped_mean=mean_weight, clipped_variance=spread, **common
            )
        place = (*at, r)
        value, limit = arrays["exact"][at[0], at[1], r], arrays["limit"][at[0], at[1], r]
        error = np.abs(estimates - value)
        filled: Mapping[str, Any] = {
            "estimate": estimates.mean(), "abs_error": error.mean(), "rmse": math.sqrt((error**2).mean()),
            "variance_term": np.mean(bound.variance), "range_term": bound.range, "clipping_term": bound.clipping,
            "clipping_term_estimated": np.mean(sampled.clipping), "half_width": np.mean(bound.sampling),
            "covered_estimated": np.mean(error <= sampled.sampling),
            "clipping_term_complement": np.mean(complement.clipping),
            "covered_complement": np.mean(error <= complement.sampling),
        }  # fmt: skip
        if not math.isnan(exact.excess):
            covered = int((error <= bound.sampling).sum())
            low, high = clopper_pearson(covered, error.size)
            filled = {
                **filled, "covered": covered / error.size, "covered_low": low, "covered_high": high,
                "covered_limit": np.mean(np.abs(estimates - limit) <= bound.total),
            }  # fmt: skip
        for name, found in filled.items():
            arrays[name][place] = found


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share that holds the true one with at least this probability (Clopper and Pearson 1934)."""
    tail = (1.0 - level) / 2.0
    low = stats.beta.ppf(tail, successes, trials - successes + 1) if successes > 0 else 0.0
    high = stats.beta.isf(tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)
