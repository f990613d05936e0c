"""The optimality gap against k, on logarithmic axes: exact, simulated, fitted, and as the theory bounds it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..figure_parts import (
    EXACT_INK,
    INK,
    LINE_STYLES,
    MAX_LEGEND,
    add_titles,
    colours_in_order,
    draw_exact,
    float_array,
    increasing_ks,
    new_figure,
    sample_size,
    set_log_k_axis,
    set_log_y,
    spread_evenly,
    subtitle,
)

HEIGHT_IN = 4.6
# A bound this many times above all gaps is named, not drawn: it would flatten them.
FAR_FACTOR = 10.0
HIDDEN_PART = 0.05


def plot_gap_against_k(
    ks: Any,
    gap: Any,
    half_width: Any,
    out_path: str | Path,
    title: str,
    *,
    simulated: Any = None,
    simulated_half_width: Any = None,
    bound: Any = None,
    slope: tuple[float, float, float] | None = None,
    n_agents: int | None = None,
    n_runs: int | None = None,
    note: str = "",
    unit: str = "reward units",
    svg: bool = False,
) -> list[Path]:
    """Optimality gap against k.

    Only what is certified to be positive is drawn: logarithmic axes have no place for the rest, which the subtitle names.

    Parameters
    ----------
    ks : int[n_k]                in increasing order
    gap : float[n_k]             exact; NaN where there is none
    half_width : float[n_k]      of its certified intervals
    out_path, title, n_agents, n_runs, unit, svg : as in `plot_cumulative_reward`
    simulated, simulated_half_width : float[n_k], optional    gap of the simulated returns with its confidence interval
    bound : float[n_k], optional     upper bound of the gap by theory
    slope : (slope, low, high), optional    of log gap against log k, with an interval; NaN for none
    note : str                   for the subtitle

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing finite to draw
    KofnFileError   a file cannot be written
    """
    ks = increasing_ks(ks)
    gap = float_array("gap", gap, ks.shape)
    half = np.nan_to_num(float_array("half_width", half_width, ks.shape, may_be_empty=True))
    seen = gap - half > 0.0
    hidden = np.isfinite(gap) & ~seen
    with new_figure(out_path, HEIGHT_IN, svg=svg) as (figure, paths):
        axes = figure.subplots()
        handles: list[Any] = []
        shown: list[np.ndarray] = []
        if seen.any():
            points = np.where(seen, gap, np.nan)
            handles += draw_exact(axes, ks, points, "exact")
            # A bar that its marker hides would only blot it.
            bars = np.where(seen & (half > HIDDEN_PART * gap), half, np.nan)
            if np.isfinite(bars).any():
                axes.errorbar(ks, points, yerr=bars, fmt="none", ecolor=EXACT_INK, elinewidth=1.0, capsize=2)
            shown += [gap[seen] - np.nan_to_num(bars[seen]), gap[seen] + np.nan_to_num(bars[seen])]
        if simulated is not None:
            handles += _draw_simulated(axes, ks, simulated, simulated_half_width, shown)
        if shown:
            handles += _draw_slopes(axes, ks, gap, seen & (ks < (n_agents or math.inf)), slope, shown)
            if bound is not None:
                handles += _draw_bound(axes, ks, np.array(bound, dtype=np.float64), shown)
        _finish_axes(axes, ks, shown, f"Optimality gap [{unit}]")
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
        drawn = any(str(handle.get_label()).startswith("simulated") for handle in handles)
        bars_note = "" if n_runs is None else "bars: 95 % confidence" if drawn else "no simulated gap is above 0"
        unseen = ""
        if hidden.any():
            largest = float((np.abs(gap) + half)[hidden].max())
            unseen = f"not above 0 for certain: k = {_listed(ks[hidden])} (at most {largest:.1g})"
        add_titles(figure, title, subtitle(sample_size(n_agents, n_runs), bars_note, note, unseen))
    return paths


def plot_gaps_of_all_n(
    ks: Any,
    gaps: Any,
    half_widths: Any,
    ns: Any,
    out_path: str | Path,
    title: str,
    *,
    unit: str = "reward units",
    svg: bool = False,
) -> list[Path]:
    """Exact optimality gaps against k, a curve for each number of agents.

    Parameters
    ----------
    ks : int[n_k]                   in increasing order
    gaps, half_widths : float[n_n, n_k]    NaN where there is none; what is not certified to be positive is left out
    ns : int[n_n]                   in increasing order
    out_path, title, unit, svg : as in `plot_cumulative_reward`

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing finite to draw
    KofnFileError   a file cannot be written
    """
    ks, ns = increasing_ks(ks), increasing_ks(ns)
    gaps = float_array("gaps", gaps, (ns.size, ks.size))
    half = np.nan_to_num(float_array("half_widths", half_widths, gaps.shape, may_be_empty=True))
    gaps = np.where(gaps - half > 0.0, gaps, np.nan)
    with new_figure(out_path, HEIGHT_IN, svg=svg) as (figure, paths):
        axes = figure.subplots()
        shown: list[np.ndarray] = []
        for gap, n, colour in zip(gaps, ns, colours_in_order(ns.size), strict=True):
            seen = np.isfinite(gap)
            if seen.any():
                axes.plot(ks[seen], gap[seen], color=colour, marker="D", ms=4.5, lw=1.0, label=f"n = {n:,}")
                shown.append(gap[seen])
        handles: list[Any] = list(axes.get_lines())
        if len(handles) > MAX_LEGEND:
            handles = [handles[i] for i in spread_evenly(len(handles), MAX_LEGEND)]
        if shown:
            handles += _draw_slopes(axes, ks, gaps[-1], np.isfinite(gaps[-1]), None, shown)
        _finish_axes(axes, ks, shown, f"Optimality gap [{unit}]")
        if handles:
            figure.legend(handles=handles, loc="outside right center")
        add_titles(figure, title, "exact; only gaps that are certified to be above 0")
    return paths


def _draw_simulated(axes: Axes, ks: np.ndarray, simulated: Any, half_width: Any, shown: list[np.ndarray]) -> list[Any]:
    """Simulated gaps; what noise takes below zero has no place."""
    mean = float_array("simulated", simulated, ks.shape, may_be_empty=True)
    half = np.nan_to_num(float_array("simulated_half_width", half_width, ks.shape, may_be_empty=True))
    positive = mean > 0.0
    if not positive.any():
        return []
    points = np.where(positive, mean, np.nan)
    # A bar that reaches zero ends where the axis does.
    low = np.where(mean - half > 0.0, half, (1.0 - 1e-9) * np.abs(mean))
    drawn = axes.errorbar(
        ks, points, yerr=[low, half], fmt="o", ms=4, color=INK, ecolor=INK, elinewidth=1.0, capsize=2.5, alpha=0.8,
        label="simulated" + ("" if positive[np.isfinite(mean)].all() else ", where above 0"), zorder=1.8,
    )  # fmt: skip
    lows = np.where(mean - half > 0.0, mean - half, mean)
    shown += [lows[positive], (mean + half)[positive]]
    return [drawn]


def _draw_slopes(
    axes: Axes,
    ks: np.ndarray,
    gap: np.ndarray,
    seen: np.ndarray,
    slope: tuple[float, float, float] | None,
    shown: list[np.ndarray],
) -> list[Any]:
    """The fitted power of k and 1/√k, both through the middle of the exact points, or of all if there are none."""
    if seen.any():
        centre_k, centre = np.log(ks[seen]).mean(), np.log(gap[seen]).mean()
    else:
        centre_k, centre = np.log(ks).mean(), float(np.mean([np.log(x).mean() for x in shown]))
    span = np.geomspace(ks[0], ks[-1], 50)
    lines = [(-0.5, "1/√k", LINE_STYLES[0])]
    if slope is not None and math.isfinite(slope[0]):
        label = f"fit: slope {slope[0]:.2f}, 95 % [{slope[1]:.2f}, {slope[2]:.2f}]"
        lines.insert(0, (slope[0], label, LINE_STYLES[1]))
    handles = []
    for power, label, (colour, dashes, _) in lines:
        curve = np.exp(centre + power * (np.log(span) - centre_k))
        handles += axes.plot(span, curve, color=colour, ls=dashes, lw=1.3, label=label, zorder=1.5)
    return handles


def _draw_bound(axes: Axes, ks: np.ndarray, bound: np.ndarray, shown: list[np.ndarray]) -> list[Any]:
    usable = np.isfinite(bound) & (bound > 0.0)
    if not usable.any():
        return []
    colour, dashes, _ = LINE_STYLES[2]
    label = "bound by theory"
    highest = max(float(x.max()) for x in shown)
    if bound[usable].min() > FAR_FACTOR * highest:
        label += f": {bound[usable].min():.1g} and more, above the axis"
        return axes.plot([], [], color=colour, ls=dashes, lw=1.3, label=label)
    shown.append(bound[usable])
    return axes.plot(ks, np.where(usable, bound, np.nan), color=colour, ls=dashes, lw=1.3, label=label, zorder=1.4)


def _finish_axes(axes: Axes, ks: np.ndarray, shown: list[np.ndarray], ylabel: str) -> None:
    set_log_k_axis(axes, ks)
    if shown:
        set_log_y(axes, np.concatenate(shown))
    else:
        axes.text(0.5, 0.5, "no gap is certified to be above 0", transform=axes.transAxes, ha="center", color="0.3")
        axes.set_yticks([])
    axes.set_ylabel(ylabel)


def _listed(ks: np.ndarray) -> str:
    texts = [str(k) for k in ks]
    return ", ".join(texts) if len(texts) <= 4 else f"{', '.join(texts[:3])}, … {texts[-1]}"
