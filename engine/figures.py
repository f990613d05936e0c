"""Figures of a study, drawn from plain arrays and written atomically as PNG, if asked for also as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .figure_parts import (
    INK,
    add_key_of_ks,
    add_titles,
    colours_in_order,
    draw_exact,
    draw_points,
    float_array,
    increasing_ks,
    limit_and_compare,
    new_figure,
    plain_numbers,
    repeated_styles,
    sample_size,
    set_k_axis,
    set_log_y,
    short_power,
    show_at_least,
    subtitle,
)

LOW_IN, TALL_IN = 4.0, 5.8

MAX_BANDS = 3
"""Of more curves than this only the first and the last have a confidence band."""

NOISE = 1e-6
"""Differences below this part of the largest number drawn are not magnified."""

# Roughly: a bar shorter than its marker, on axes this high, cannot be seen.
AXES_HEIGHT_IN, MARKER_IN = 2.8, 0.06


def plot_cumulative_reward(
    steps: Any,
    curves: Any,
    ks: Any,
    title: str,
    out_path: str | Path,
    bands: Any = None,
    *,
    n_agents: int | None = None,
    n_runs: int | None = None,
    unit: str = "reward units",
    svg: bool = False,
) -> list[Path]:
    """Cumulative discounted reward over time, a curve for each k; below, how far each is from that of the largest k.

    Parameters
    ----------
    steps : float[n_points]           time of each point, in steps
    curves : float[n_k, n_points]     mean over the runs
    ks : int[n_k]                     in increasing order
    title : str
    out_path : path                   of the PNG; an SVG gets the same name with its own suffix
    bands : float[n_k, n_points], optional    half-widths of 95 % confidence intervals of `curves`
    n_agents, n_runs : int, optional         named in the subtitle
    unit : str                        of the reward
    svg : bool                        whether to write an SVG as well

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing finite to draw
    KofnFileError   a file cannot be written
    """
    ks = increasing_ks(ks)
    steps = float_array("steps", steps, (None,))
    curves = float_array("curves", curves, (ks.size, steps.size))
    half = None if bands is None else float_array("bands", bands, curves.shape, may_be_empty=True)
    banded = range(ks.size) if ks.size <= MAX_BANDS else (0, ks.size - 1)
    note = ""
    if half is not None:
        note = "bands: 95 % confidence" + ("" if ks.size <= MAX_BANDS else f", of k = {ks[0]} and {ks[-1]} alone")
    colours = colours_in_order(ks.size)
    with new_figure(out_path, LOW_IN if ks.size == 1 else TALL_IN, svg=svg) as (figure, paths):
        ratios = [1] if ks.size == 1 else [3, 2]
        panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0].tolist()
        for curve, colour in zip(curves, colours, strict=True):
            panels[0].plot(steps, curve, color=colour, lw=1.3)
            for axes in panels[1:]:
                axes.plot(steps, curve - curves[-1], color=colour, lw=1.3)
        if half is not None:
            for i in banded:
                ends = curves[i] - half[i], curves[i] + half[i]
                panels[0].fill_between(steps, *ends, color=colours[i], alpha=0.2, lw=0)
        panels[0].set_ylabel(f"Cumulative discounted reward\n[{unit}]")
        panels[-1].set_xlabel("Time [steps]")
        for axes in panels:
            axes.margins(x=0.01)
            plain_numbers(axes)
            show_at_least(axes, NOISE * float(np.nanmax(np.abs(curves))))
        if ks.size > 1:
            panels[1].set_ylabel(f"Difference to k = {ks[-1]}\n[{unit}]")
        add_key_of_ks(figure, panels, ks, colours)
        whose = f"k = {ks[0]}" if ks.size == 1 else ""
        add_titles(figure, title, subtitle(sample_size(n_agents, n_runs), whose, note))
    return paths


def plot_reward_against_k(
    ks: Any,
    mean: Any,
    half_width: Any,
    out_path: str | Path,
    title: str,
    ylabel: str,
    *,
    exact: Any = None,
    lines: Mapping[str, float] | None = None,
    n_agents: int | None = None,
    n_runs: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Reward against k with 95 % confidence intervals, next to exact values where there are any.

    Parameters
    ----------
    ks : int[n_k]              in increasing order
    mean : float[n_k]          NaN where there is none
    half_width : float[n_k]    of the confidence intervals; NaN where there is none
    out_path, title, n_agents, n_runs, svg : as in `plot_cumulative_reward`
    ylabel : str               with the unit in brackets
    exact : float[n_k], optional    exact values to compare with; NaN where there is none
    lines : {label: value}     horizontal lines to compare with; one that is far from all data is named in the legend,
        not drawn

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing finite to draw
    KofnFileError   a file cannot be written
    """
    ks = increasing_ks(ks)
    mean = float_array("mean", mean, ks.shape)
    half = float_array("half_width", half_width, ks.shape, may_be_empty=True)
    points = None if exact is None else float_array("exact", exact, ks.shape, may_be_empty=True)
    note = "bars: 95 % confidence" if np.isfinite(half).any() else "no confidence intervals"
    least = NOISE * float(np.nanmax(np.abs(mean)))
    with new_figure(out_path, LOW_IN, svg=svg) as (figure, paths):
        _draw_against_k(figure, ks, mean, half, least, ylabel, lines or {}, points)
        add_titles(figure, title, subtitle(sample_size(n_agents, n_runs), note))
    return paths


def plot_value_against_k(
    ks: Any,
    value: Any,
    half_width: Any,
    out_path: str | Path,
    title: str,
    *,
    lines: Mapping[str, float] | None = None,
    unit: str = "reward units",
    svg: bool = False,
) -> list[Path]:
    """Certified value of the k-agent game from the initial law, against k.

    Differences that the certified intervals leave open are not magnified.

    Parameters
    ----------
    ks : int[n_k]              in increasing order
    value : float[n_k]         midpoints of the certified intervals
    half_width : float[n_k]    of these intervals
    out_path, title, lines, svg : as in `plot_reward_against_k`
    unit : str                 of the reward

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing finite to draw
    KofnFileError   a file cannot be written
    """
    ks = increasing_ks(ks)
    value = float_array("value", value, ks.shape)
    half = float_array("half_width", half_width, ks.shape)
    widest = float(np.nanmax(half))
    least = max(8 * widest, NOISE * float(np.nanmax(np.abs(value))))
    with new_figure(out_path, LOW_IN, svg=svg) as (figure, paths):
        _draw_against_k(figure, ks, value, half, least, f"Value from the initial law\n[{unit}]", lines or {})
        low, high = figure.axes[0].get_ylim()
        hidden = 2 * widest / (high - low) * AXES_HEIGHT_IN < MARKER_IN
        note = f"certified to ± {short_power(widest)}, too little to be seen" if hidden else "bars: certified intervals"
        add_titles(figure, title, note)
    return paths


def plot_solve_time_against_k(
    ks: Any,
    seconds: Any,
    out_path: str | Path,
    title: str,
    extra_sizes: Mapping[str, Any] | None = None,
    *,
    note: str = "",
    svg: bool = False,
) -> list[Path]:
    """Time to solve against k, on a logarithmic scale, with the sizes that explain it in a second panel.

    Parameters
    ----------
    ks : int[n_k]             in increasing order
    seconds : float[n_k]      wall time; what is not positive is left out
    out_path, title, svg : as in `plot_cumulative_reward`
    extra_sizes : {label: float[n_k]}, optional    such as the numbers of count vectors and of joint actions
    note : str                subtitle, such as the machine and its threads

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing positive to draw
    KofnFileError   a file cannot be written
    """
    ks = increasing_ks(ks)
    seconds = _positive("seconds", seconds, ks)
    sizes = {label: _positive(f"extra_sizes[{label!r}]", size, ks) for label, size in (extra_sizes or {}).items()}
    with new_figure(out_path, TALL_IN if sizes else LOW_IN, svg=svg) as (figure, paths):
        panels = figure.subplots(2 if sizes else 1, 1, sharex=True, squeeze=False)[:, 0].tolist()
        panels[0].plot(ks, seconds, color=INK, marker="o", ms=4, lw=1.2)
        panels[0].set_ylabel("Time to solve [s]")
        set_log_y(panels[0], seconds)
        if sizes:
            for (label, size), (colour, dashes, marker) in zip(sizes.items(), repeated_styles(len(sizes)), strict=True):
                panels[1].plot(ks, size, color=colour, ls=dashes, marker=marker, ms=4, lw=1.2, label=label)
            panels[1].set_ylabel("Size [entries]")
            set_log_y(panels[1], np.concatenate(list(sizes.values())))
            panels[1].legend(loc="best")
        set_k_axis(panels[-1], ks)
        add_titles(figure, title, note)
    return paths


def _positive(name: str, value: Any, ks: np.ndarray) -> np.ndarray:
    array = np.array(value, dtype=np.float64)
    return float_array(name, np.where(array > 0.0, array, np.nan), ks.shape)


def _draw_against_k(
    figure: Figure, ks: np.ndarray, mean: np.ndarray, half: np.ndarray, least: float, ylabel: str,
    lines: Mapping[str, float], exact: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Points with bars on axes that fit them, with horizontal lines, and with exact values as points without bars."""
    axes = figure.subplots()
    bars = np.nan_to_num(half)
    shown, series = [mean - bars, mean + bars], []
    if exact is not None and np.isfinite(exact).any():
        series = draw_points(axes, ks, mean, half, "simulated") + draw_exact(axes, ks, exact, "exact")
        shown.append(exact)
    else:
        draw_points(axes, ks, mean, half)
    limit_and_compare(figure, axes, float(np.nanmin(shown)), float(np.nanmax(shown)), least, lines, series)
    plain_numbers(axes)
    set_k_axis(axes, ks)
    axes.set_ylabel(ylabel)
