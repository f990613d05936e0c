"""Figures of equilibria, drawn from plain arrays and written atomically as PNG, if asked for also as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from ..figure_parts import (
    INK,
    LINE_STYLES,
    add_titles,
    float_array,
    increasing_ks,
    new_figure,
    plain_numbers,
    sample_size,
    set_k_axis,
    set_log_y,
    show_at_least,
    subtitle,
)
from ..figures import LOW_IN, NOISE, TALL_IN
from .heat_maps import draw_heat_maps
from .result import Equilibrium

__all__ = ["draw_convergence", "draw_heat_maps", "draw_mode_accuracy", "draw_reward", "draw_rounds"]

SECOND_INK = LINE_STYLES[0][0]
# Two series at the same places stand so far apart.
APART_PT = 5.0
PLAYERS = ("global agent", "local agent")


def draw_reward(
    path: str | Path,
    k: Any,
    mean: Any,
    spread: Any,
    *,
    refined: Any = None,
    refined_spread: Any = None,
    label: str = "Mean discounted return\n[reward units]",
    title: str = "Reward against k",
    n_agents: int | None = None,
    n_seeds: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Mean discounted return against k, with the standard deviation over the evaluation seeds.

    Parameters
    ----------
    path : path                    of the PNG; an SVG gets the same name with its own suffix
    k : int[n_k]                   in increasing order
    mean : float[n_k]              over the seeds; points that are NaN are left out, here and below
    spread : float[n_k]            standard deviation over the seeds; NaN where there is none
    refined, refined_spread : float[n_k], optional    the same for the policies refined for n agents
    label : str                    of the y axis, with the unit in brackets
    title : str
    n_agents, n_seeds : int, optional    named in the subtitle
    svg : bool                     whether to write an SVG as well

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      arrays that do not fit, or nothing finite to draw
    KofnFileError   a file cannot be written
    """
    ks = increasing_ks(k)
    series = [_with_bars("mean", mean, "spread", spread, ks.shape)]
    if refined is not None:
        bars = np.full(ks.shape, np.nan) if refined_spread is None else refined_spread
        series.append(_with_bars("refined", refined, "refined_spread", bars, ks.shape))
    with new_figure(path, LOW_IN, svg=svg) as (figure, paths):
        axes = figure.subplots()
        if len(series) == 1:
            _draw_series(figure, axes, ks, *series[0], INK, "o")
        else:
            whom = "n agents" if n_agents is None else f"n = {n_agents:,} agents"
            _draw_series(figure, axes, ks, *series[0], INK, "o", "learned with k agents", -APART_PT / 2)
            _draw_series(figure, axes, ks, *series[1], SECOND_INK, "s", f"refined for {whom}", APART_PT / 2)
            figure.legend(loc="outside lower center", ncols=2)
        _fit_y(axes, series)
        _finish_k_axis(axes, ks, [middle for middle, _ in series])
        axes.set_ylabel(label)
        plain_numbers(axes)
        add_titles(figure, title, subtitle(sample_size(n_agents, None), _note_on_bars([x for _, x in series], n_seeds)))
    return paths


def draw_mode_accuracy(
    path: str | Path,
    k: Any,
    mean: Any,
    spread: Any,
    *,
    title: str = "Mode accuracy against k",
    n_agents: int | None = None,
    n_seeds: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Share of the steps in which the global agent names a most populated local state, against k.

    Parameters
    ----------
    path, k, title, n_agents, n_seeds, svg : as in `draw_reward`
    mean : float[n_k]     over the seeds, from 0 to 1; points that are NaN are left out
    spread : float[n_k]   standard deviation over the seeds; NaN where there is none

    Returns, Raises : as in `draw_reward`
    """
    ks = increasing_ks(k)
    mean, bars = _with_bars("mean", mean, "spread", spread, ks.shape)
    with new_figure(path, LOW_IN, svg=svg) as (figure, paths):
        axes = figure.subplots()
        _draw_series(figure, axes, ks, mean, bars, INK, "o")
        low, high = float(np.nanmin(mean - bars)), float(np.nanmax(mean + bars))
        axes.set_ylim(min(-0.03, low - 0.03), max(1.03, high + 0.03))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0, symbol=None))
        _finish_k_axis(axes, ks, [mean])
        axes.set_ylabel("Mode accuracy [% of the steps]")
        add_titles(figure, title, subtitle(sample_size(n_agents, None), _note_on_bars([bars], n_seeds)))
    return paths


def draw_convergence(
    path: str | Path,
    rounds: Any,
    value: Any,
    half_width: Any,
    exploit: Any = None,
    *,
    accepted: Any = None,
    unit: str = "reward units",
    title: str = "Convergence of alternating best response",
    note: str = "",
    svg: bool = False,
) -> list[Path]:
    """Value of the pair over the outer rounds and, below it, what each player could gain by leaving it.

    Filled markers are rounds that were accepted, open ones those that were reverted; lines join the accepted ones.

    Parameters
    ----------
    path, title, svg : as in `draw_reward`
    rounds : int[n_rounds]              numbers of the rounds, in increasing order
    value : float[n_rounds]             NaN where there is none
    half_width : float[n_rounds]        of intervals about `value`; NaN where there is none
    exploit : float[2, n_rounds, 2], optional    exploitability of the global agent and of a local agent, with the
        two ends of an interval, which are equal where it is exact; NaN where there is none
    accepted : bool[n_rounds]           default: all
    unit : str                          of the reward
    note : str                          subtitle

    Returns, Raises : as in `draw_reward`
    """
    rounds = np.asarray(rounds)
    if rounds.ndim != 1 or rounds.size == 0 or rounds.dtype.kind not in "iu" or (np.diff(rounds) <= 0).any():
        raise ValueError(f"rounds: found {rounds.tolist()}, expected whole numbers in increasing order")
    value, half = _with_bars("value", value, "half_width", half_width, rounds.shape)
    kept = np.ones(rounds.shape, bool) if accepted is None else np.asarray(accepted, dtype=bool)
    if kept.shape != rounds.shape:
        raise ValueError(f"accepted: found shape {kept.shape}, expected {rounds.size}")
    ends = np.full((2, rounds.size, 2), np.nan)
    if exploit is not None:
        ends = float_array("exploit", exploit, ends.shape, may_be_empty=True)
    below = bool(np.isfinite(ends).any())
    with new_figure(path, TALL_IN if below else LOW_IN, svg=svg) as (figure, paths):
        panels = figure.subplots(2 if below else 1, 1, sharex=True, squeeze=False)[:, 0].tolist()
        _draw_rounds(figure, panels[0], rounds, kept, value, half, INK, "o")
        _fit_y(panels[0], [(value, half)])
        panels[0].set_ylabel(f"Value of the pair\n[{unit}]")
        plain_numbers(panels[0])
        handles = []
        if below:
            _draw_exploitability(figure, panels[1], rounds, kept, ends)
            panels[1].set_ylabel(f"Exploitability\n[{unit}]")
            handles += [
                Line2D([], [], color=colour, marker=marker, ms=5, lw=1.0, label=player)
                for player, (colour, marker) in zip(PLAYERS, ((INK, "o"), (SECOND_INK, "s")), strict=True)
            ]
        if not kept.all():
            handles += [
                Line2D([], [], color="0.3", marker="o", ms=5, ls="none", label="accepted"),
                Line2D([], [], color="0.3", marker="o", ms=5, ls="none", mfc="white", label="reverted"),
            ]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        panels[-1].set_xlabel("Outer round")
        panels[-1].xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, steps=[1, 2, 5, 10]))
        margin = max(0.5, 0.03 * float(rounds[-1] - rounds[0]))
        panels[-1].set_xlim(rounds[0] - margin, rounds[-1] + margin)
        bars = "bars: intervals" if half.any() or (ends[..., 0] < ends[..., 1]).any() else ""
        add_titles(figure, title, subtitle(bars, note))
    return paths


def draw_rounds(path: str | Path, pair: Equilibrium, *, svg: bool = False) -> list[Path]:
    """`draw_convergence` of an alternation: gains are in the reward that each player learns with.

    Parameters
    ----------
    path, svg : as in `draw_reward`
    pair : Equilibrium
    """
    gains = np.stack([entry.learned_gains for entry in pair.rounds], axis=1)
    kinds = sorted({entry.exploitability for entry in pair.rounds} - {"none"})
    note = "value: " + ("exact" if pair.is_exact else f"95 % intervals of {pair.settings.runs:,} runs")
    if kinds:
        note += f"; {', '.join(kinds)} gains, global agent: team reward, local agent: its own"
    return draw_convergence(
        path, np.arange(1, len(pair.rounds) + 1), pair.column("value"), pair.column("half_width"),
        gains if np.isfinite(gains).any() else None, accepted=pair.column("kept"), note=note, svg=svg,
        title=f"{pair.game.name or 'game'}: alternating best response, k = {pair.settings.k}, n = {pair.settings.n:,}",
    )  # fmt: skip


def _with_bars(
    name: str, mean: Any, bars_name: str, bars: Any, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64[n]; bars of length 0 where there are none."""
    found = float_array(bars_name, bars, shape, may_be_empty=True)
    return float_array(name, mean, shape), np.nan_to_num(found)


def _note_on_bars(bars: list[np.ndarray], n_seeds: int | None) -> str:
    if not any(x.any() for x in bars):
        return ""
    return "bars: standard deviation over " + ("the evaluation seeds" if n_seeds is None else f"{n_seeds:,} seeds")


def _draw_series(
    figure: Figure,
    axes: Axes,
    x: np.ndarray,
    mean: np.ndarray,
    bars: np.ndarray,
    colour: str,
    marker: str,
    label: str = "",
    aside_pt: float = 0.0,
) -> None:
    """Points with bars, joined by a thin line; those that are NaN are left out."""
    seen = np.isfinite(mean)
    shifted = axes.transData + ScaledTranslation(aside_pt / 72, 0.0, figure.dpi_scale_trans)
    axes.errorbar(
        x[seen], mean[seen], yerr=bars[seen] if bars.any() else None, fmt=marker + "-", ms=4, lw=0.8, color=colour,
        elinewidth=1.1, capsize=2.5, label=label, transform=shifted,
    )  # fmt: skip


def _fit_y(axes: Axes, series: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Fit the y axis to points with bars, without magnifying noise."""
    low = min(float(np.nanmin(middle - bars)) for middle, bars in series)
    high = max(float(np.nanmax(middle + bars)) for middle, bars in series)
    margin = 0.08 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    show_at_least(axes, NOISE * max(abs(low), abs(high)))


def _finish_k_axis(axes: Axes, ks: np.ndarray, series: list[np.ndarray]) -> None:
    set_k_axis(axes, ks[np.isfinite(series).any(axis=0)])


def _spans_a_decade(values: np.ndarray) -> bool:
    return float(np.nanmax(values)) > 10.0 * float(np.nanmin(values))


def _draw_rounds(
    figure: Figure,
    axes: Axes,
    rounds: np.ndarray,
    kept: np.ndarray,
    middle: np.ndarray,
    bars: np.ndarray,
    colour: str,
    marker: str,
    aside_pt: float = 0.0,
) -> None:
    """Accepted rounds filled and joined, reverted ones open, with bars of length `bars` to both sides."""
    shifted = axes.transData + ScaledTranslation(aside_pt / 72, 0.0, figure.dpi_scale_trans)
    for chosen, line, fill in ((kept, "-", colour), (~kept, "", "white")):
        seen = chosen & np.isfinite(middle)
        if not seen.any():
            continue
        axes.errorbar(
            rounds[seen], middle[seen], yerr=bars[seen] if bars.any() else None, fmt=marker + line, ms=5, lw=1.0,
            color=colour, mfc=fill, elinewidth=1.1, capsize=2.5, transform=shifted,
        )  # fmt: skip


def _draw_exploitability(figure: Figure, axes: Axes, rounds: np.ndarray, kept: np.ndarray, ends: np.ndarray) -> None:
    """Both players side by side: the middles of their intervals, with bars to the ends."""
    middle, half = ends.mean(axis=2), np.nan_to_num((ends[..., 1] - ends[..., 0]) / 2)
    for player, (colour, marker, aside) in enumerate(((INK, "o", -APART_PT / 2), (SECOND_INK, "s", APART_PT / 2))):
        _draw_rounds(figure, axes, rounds, kept, middle[player], half[player], colour, marker, aside)
    if float(np.nanmin(ends)) > 0.0 and _spans_a_decade(ends):
        set_log_y(axes, ends)
        return
    # Nothing to gain is what it is about.
    low, high = min(0.0, float(np.nanmin(ends))), max(0.0, float(np.nanmax(ends)))
    margin = 0.08 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    axes.axhline(0.0, color="0.5", lw=0.8, zorder=1.5)
    plain_numbers(axes)
