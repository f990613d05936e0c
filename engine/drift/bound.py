"""How far an estimate from reweighted samples can be from the truth, with the parts of the bound apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.importance.weights import summarise_weights
from ..checked import real_array, real_number, whole_number
from ..tabulation import shown


@dataclass(frozen=True, kw_only=True)
class DriftBound:
    """A bound of |estimate − truth| that holds with probability 1 − δ, as a sum of four terms.

    Of independent samples with |Y| ≤ V, weights w with E_μ[w] = 1, and the mean of min(w, c)·Y as the estimate of E_π[Y].
    The first two terms are the empirical Bernstein bound for a variable within ±cV, on both sides (Maurer and Pontil 2009,
    "Empirical Bernstein bounds and sample variance penalization", COLT, Theorem 4). Entries are arrays where the bound was
    asked for many estimates.
    """

    variance: Any
    """√(2 S² ln(4/δ) / N), with S² the sample variance of min(w, c)·Y."""
    range: Any
    """14 c V ln(4/δ) / (3 (N − 1)): what the sample variance may have missed."""
    clipping: Any
    """V E[(w − c)⁺]: the bias of the clip."""
    mean_field: Any
    """L·(largest − smallest weight of an action) / (2√n): how far E_π[Y(ā)] of n agents may be from Y(E_π[ā]), for a Y of the
    mean action with Lipschitz constant L. 0 where the estimate is read as the value of n agents."""
    delta: float
    clipping_from: str
    """Where E[(w − c)⁺] is from: "given", "sample" or "complement", see `corrected_estimate`; δ does not cover "sample"."""

    @property
    def sampling(self) -> Any:
        """The bound for the value of n agents: all terms but the last."""
        return self.variance + self.range + self.clipping

    @property
    def total(self) -> Any:
        """The bound for the value of the infinite population."""
        return self.sampling + self.mean_field


@dataclass(frozen=True, kw_only=True)
class DriftEstimate:
    """E_π[Y] from samples of μ, and how far it can be relied on."""

    value: float
    """Mean of min(w, c)·Y."""
    self_normalised: float
    """Σ min(w, c)·Y / Σ min(w, c): bias of order 1/N, no guarantee; NaN if every weight is 0."""
    effective_size: float
    """(Σw)²/Σw² of the clipped weights."""
    clip_rate: float
    """Share of weights above the clip."""
    chi2: float
    """mean(w²)/mean(w)² − 1 of the clipped weights."""
    bound: DriftBound


EXCESSES = ("complement", "sample")


def drift_bound(
    *,
    sample_variance: Any,
    n_samples: int,
    clip: float,
    largest: float,
    delta: float,
    excess: Any,
    excess_from: str = "given",
    clipped_mean: Any = None,
    clipped_variance: Any = None,
    n_agents: int | None = None,
    lipschitz: float = 0.0,
    span: float = 0.0,
) -> DriftBound:
    """The four terms from their ingredients; see `DriftBound`.

    Parameters
    ----------
    sample_variance : float or array     S² of min(w, c)·Y, with N − 1 in its denominator
    n_samples : int                      N, at least 2
    clip : float                         c; the largest weight that is possible will do, infinity gives an infinite bound
    largest : float                      V
    delta : float                        above 0, below 1
    excess : float or array              E[(w − c)⁺], exact or the sample's mean; not read for "complement"
    excess_from : "given", "sample" or "complement"
    clipped_mean, clipped_variance : float or array    of the sample's min(w, c), for "complement"
    n_agents, lipschitz, span            n, L, and largest less smallest weight of an action; without n no last term
    """
    if excess_from == "complement":
        excess = _excess_by_complement(clipped_mean, clipped_variance, n_samples, clip, delta / 2.0)
    log_term = math.log((8.0 if excess_from == "complement" else 4.0) / delta)
    return DriftBound(
        variance=np.sqrt(2.0 * np.asarray(sample_variance) * (log_term / n_samples))[()],
        range=14.0 * clip * largest * log_term / (3.0 * (n_samples - 1)) if largest > 0 else 0.0,
        clipping=largest * excess,
        mean_field=0.0 if n_agents is None else lipschitz * span / (2.0 * math.sqrt(n_agents)),
        delta=delta,
        clipping_from=excess_from,
    )


def _excess_by_complement(mean: Any, variance: Any, n_samples: int, clip: float, delta: float) -> Any:
    """Upper bound of E[(w − c)⁺] = 1 − E[min(w, c)] that fails with at most this probability, by the same theorem."""
    log_term = math.log(2.0 / delta)
    deviation = np.sqrt(2.0 * np.asarray(variance) * (log_term / n_samples)) + 7.0 * clip * log_term / (
        3.0 * (n_samples - 1)
    )
    return np.clip(1.0 - mean + deviation, 0.0, 1.0)[()]


def corrected_estimate(
    values: np.ndarray,
    weights: np.ndarray,
    *,
    clip: float,
    largest: float,
    delta: float = 0.05,
    excess: float | str = "complement",
    n_agents: int | None = None,
    lipschitz: float = 0.0,
    span: float = 1.0,
) -> DriftEstimate:
    """Estimate E_π[Y] from independent samples of μ.

    Parameters
    ----------
    values : float64[N]     Y, at most `largest` in absolute value
    weights : float64[N]    P_π/P_μ of each sample, before clipping
    clip : float            largest weight, above 0
    largest : float         V, known beforehand: not read off the values
    delta : float           the bound fails with at most this probability, for independent samples
    excess : float, "complement" or "sample"
        E_μ[(w − clip)⁺] where it is known. "complement" bounds it from the sample by 1 − E[min(w, clip)], which is the same as
        weights have mean 1, and needs no heavy tail to show; half of delta is spent on it. "sample" takes the mean of what
        is above the clip: too small where few samples have most of the weight, so that delta does not cover it.
    n_agents : int, optional    agents whose mean action Y depends on, to read the estimate as the value of an infinite
        population
    lipschitz, span : float     of Y in the mean action; largest less smallest weight of an action

    Raises
    ------
    ValueError    one line that names the argument
    """
    values, weights = real_array("values", values), real_array("weights", weights)
    if values.ndim != 1 or values.shape != weights.shape or values.size < 2:
        raise ValueError(
            f"values, weights: found shapes {values.shape} and {weights.shape}, expected [N] and [N] with N at least 2"
        )
    bad = weights[~(np.isfinite(weights) & (weights >= 0.0))]
    if bad.size:
        raise ValueError(f"weights: found {shown(float(bad[0]))}, expected at least 0, and finite")
    clip = real_number("clip", clip, "above 0", above=0.0)
    largest = real_number("largest", largest, "at least 0", least=0.0)
    lipschitz = real_number("lipschitz", lipschitz, "at least 0", least=0.0)
    span = real_number("span", span, "at least 0", least=0.0)
    if not (np.abs(values) <= largest).all():
        raise ValueError(f"values: found {np.abs(values).max():.6g} in absolute value, expected at most {largest:.6g}")
    if not 0.0 < real_number("delta", delta, "between 0 and 1") < 1.0:
        raise ValueError(f"delta: found {shown(delta)}, expected between 0 and 1")
    if not (isinstance(excess, str) and excess in EXCESSES):
        excess = real_number("excess", excess, f"at least 0, or {' or '.join(EXCESSES)}", least=0.0)
    if isinstance(n_agents, int) and n_agents < 1:
        raise ValueError(f"n_agents: found {shown(n_agents)}, expected at least 1")
    n_agents = None if n_agents is None else whole_number("n_agents", n_agents, 1)
    clipped = np.minimum(weights, clip)
    mean, effective_size, chi2 = summarise_weights(clipped)
    products = clipped * values
    above = weights > clip
    bound = drift_bound(
        sample_variance=products.var(ddof=1),
        n_samples=values.size,
        clip=clip,
        largest=largest,
        delta=delta,
        excess=float((weights[above] - clip).sum() / values.size) if isinstance(excess, str) else excess,
        excess_from=excess if isinstance(excess, str) else "given",
        clipped_mean=mean,
        clipped_variance=clipped.var(ddof=1),
        n_agents=n_agents,
        lipschitz=lipschitz,
        span=span,
    )
    return DriftEstimate(
        value=float(products.mean()),
        self_normalised=float(products.mean() / mean) if mean > 0.0 else math.nan,
        effective_size=effective_size,
        clip_rate=float(above.mean()),
        chi2=chi2,
        bound=bound,
    )
