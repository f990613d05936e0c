"""Groups of seeds compared: differences with intervals, tests, effect sizes, and p-values corrected for their number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..checked import real_number, whole_number
from ..tabulation import shown
from .intervals import (
    DEFAULT_LEVEL,
    RESAMPLES,
    bootstrap_difference,
    bootstrap_interval,
    checked_values,
    cliffs_delta,
    common_language,
    hedges_g,
    is_constant,
    t_interval,
)

CORRECTIONS = ("holm", "fdr", "none")
MAX_COMPARISONS = 10_000


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One group against another; differences are group − reference.

    Parameters
    ----------
    metric, group, reference : str
    n, n_reference : int            seeds
    mean, mean_reference : float
    difference : float
    t_low, t_high : float           interval of the difference: Student's t of the paired differences, or Welch's
    boot_low, boot_high : float     the same by bootstrap over seeds
    p_t : float                     paired t test, or Welch's
    p_rank : float                  Wilcoxon's signed ranks, or Mann and Whitney's U
    p_t_adjusted, p_rank_adjusted : float    corrected for all comparisons
    hedges_g : float                difference over the pooled standard deviation
    cliffs_delta : float            P(group > reference) − P(group < reference), over all pairs of seeds
    common_language : float         P(group > reference), ties counting half
    paired : bool
    """

    metric: str
    group: str
    reference: str
    n: int
    n_reference: int
    mean: float
    mean_reference: float
    difference: float
    t_low: float
    t_high: float
    boot_low: float
    boot_high: float
    p_t: float
    p_rank: float
    p_t_adjusted: float
    p_rank_adjusted: float
    hedges_g: float
    cliffs_delta: float
    common_language: float
    paired: bool

    def row(self) -> dict[str, Any]:
        """All fields, in their order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def compare(
    groups: Mapping[str, Any],
    *,
    reference: str | None = None,
    paired: bool = True,
    metric: str = "value",
    level: float = DEFAULT_LEVEL,
    correction: str = "holm",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare groups of seeds, each against the reference, or all pairs.

    Parameters
    ----------
    groups : {name: float64[n_seeds]}    paired groups have the same seeds in the same order
    reference : str, optional            by default all pairs are compared, later groups against earlier ones
    paired : bool
    metric : str                         named in the rows
    level : float                        of the intervals
    correction : "holm" (Holm 1979), "fdr" (Benjamini and Hochberg 1995) or "none"
    resamples, seed : int                of the bootstrap

    Returns
    -------
    list of Comparison

    Raises
    ------
    ValueError    one line: fewer than two groups or seeds, NaN, unequal lengths of paired groups
    """
    if not isinstance(groups, Mapping):
        raise ValueError(f"groups: found {shown(groups)}, expected values by name")
    found = {name: checked_values(f"{metric} of {name}", values) for name, values in groups.items()}
    if len(found) < 2:
        raise ValueError(f"groups: found {', '.join(map(str, found)) or 'none'}, expected at least two to compare")
    if reference is not None and reference not in list(found):
        raise ValueError(f"reference: found {shown(reference)}, expected one of {', '.join(map(str, found))}")
    if not 0.0 < real_number("level", level, "a number between 0 and 1") < 1.0:
        raise ValueError(f"level: found {level}, expected a number between 0 and 1")
    resamples, seed = whole_number("resamples", resamples, 2, 10**7), whole_number("seed", seed, 0, 2**64 - 1)
    _check_number(len(found), reference)
    pairs = [(later, earlier) for earlier, later in itertools.combinations(found, 2)]
    if reference is not None:
        pairs = [(name, reference) for name in found if name != reference]
    rows = []
    for name, other in pairs:
        if paired and found[name].size != found[other].size:
            raise ValueError(
                f"seeds: found {found[name].size} of {name} and {found[other].size} of {other}, expected as many for pairs"
            )
        options = {"level": level, "resamples": resamples, "seed": seed}
        rows.append(_compared(metric, (name, found[name]), (other, found[other]), paired, options))
    return corrected(rows, correction)


def _check_number(n_groups: int, reference: str | None) -> None:
    n_pairs = n_groups * (n_groups - 1) // 2 if reference is None else n_groups - 1
    if n_pairs > MAX_COMPARISONS:
        raise ValueError(
            f"groups: found {n_groups}, {n_pairs} comparisons, expected at most {MAX_COMPARISONS}"
            + ("; name a reference" if reference is None else "")
        )


def _compared(
    metric: str, first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], paired: bool, options: dict[str, Any]
) -> Comparison:
    (group, one), (reference, other) = first, second
    difference = float((one - other).mean()) if paired else float(one.mean() - other.mean())
    if paired:
        low, high = t_interval(one - other, options["level"])
        boot = bootstrap_interval(one - other, **options)
        p_t, p_rank = _paired_tests(one - other)
    else:
        low, high, p_t = _welch(one, other, options["level"])
        boot = bootstrap_difference(one, other, **options)
        p_rank = _mann_whitney(one, other)
    return Comparison(
        metric=metric, group=group, reference=reference, n=one.size, n_reference=other.size, mean=float(one.mean()),
        mean_reference=float(other.mean()), difference=difference, t_low=low, t_high=high,
        boot_low=boot[0], boot_high=boot[1], p_t=p_t, p_rank=p_rank, p_t_adjusted=p_t, p_rank_adjusted=p_rank,
        hedges_g=hedges_g(one, other), cliffs_delta=cliffs_delta(one, other), common_language=common_language(one, other),
        paired=paired,
    )  # fmt: skip


def _paired_tests(differences: np.ndarray) -> tuple[float, float]:
    """p of the paired t test and of Wilcoxon's signed ranks; differences that are all the same are certain, or nothing."""
    from scipy.stats import ttest_1samp, wilcoxon

    if (differences == 0.0).all():
        return 1.0, 1.0
    p_rank = float(wilcoxon(differences, zero_method="pratt").pvalue)
    if is_constant(differences):
        return 0.0, p_rank
    return float(ttest_1samp(differences, 0.0).pvalue), p_rank


def _welch(one: np.ndarray, other: np.ndarray, level: float) -> tuple[float, float, float]:
    """Interval of the difference of means and p of Welch's t test (1947)."""
    from scipy.stats import ttest_ind

    if is_constant(one) and is_constant(other):
        difference = float(one[0] - other[0])
        return difference, difference, 0.0 if difference else 1.0
    test = ttest_ind(one, other, equal_var=False)
    interval = test.confidence_interval(level)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _mann_whitney(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(one, other).pvalue)


def corrected(rows: Sequence[Comparison], correction: str = "holm") -> list[Comparison]:
    """The same comparisons with p-values corrected for all of them together.

    Parameters
    ----------
    rows : sequence of Comparison
    correction : one of CORRECTIONS
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction: found {correction!r}, expected one of {', '.join(CORRECTIONS)}")
    adjusted = {name: adjust([getattr(row, name) for row in rows], correction) for name in ("p_t", "p_rank")}
    return [
        Comparison(**row.row() | {f"{name}_adjusted": float(values[i]) for name, values in adjusted.items()})
        for i, row in enumerate(rows)
    ]


def adjust(p_values: Sequence[float], correction: str = "holm") -> np.ndarray:
    """p-values that may be held against the level each: Holm's step-down, Benjamini's and Hochberg's, or as they are."""
    found = np.array(p_values, dtype=np.float64)
    if correction == "none" or found.size == 0:
        return found
    if correction == "fdr":
        from scipy.stats import false_discovery_control

        return np.asarray(false_discovery_control(found))
    order = np.argsort(found, kind="stable")
    stepped = np.maximum.accumulate((found.size - np.arange(found.size)) * found[order])
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


@dataclass(frozen=True, kw_only=True)
class GroupSummary:
    """One group of seeds: mean with its t interval (half width), median, range."""

    metric: str
    group: str
    n: int
    mean: float
    half_width: float
    median: float
    least: float
    largest: float


def summarise(metric: str, groups: Mapping[str, Any], *, level: float = DEFAULT_LEVEL) -> list[GroupSummary]:
    """Summaries of the groups."""
    found = []
    for name, given in groups.items():
        values = checked_values(f"{metric} of {name}", given, least=1)
        low, high = t_interval(values, level) if values.size > 1 else (math.nan, math.nan)
        summary = GroupSummary(
            metric=metric, group=name, n=values.size, mean=float(values.mean()), half_width=(high - low) / 2,
            median=float(np.median(values)), least=float(values.min()), largest=float(values.max()),
        )  # fmt: skip
        found.append(summary)
    return found
