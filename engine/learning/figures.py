"""Figures of learning: curves with bands over runs, and scores against n. Those of spins are in `lattice_figures`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from ..figure_parts import (
    EXACT_INK,
    LINE_STYLES,
    add_key,
    add_titles,
    colours_in_order,
    float_array,
    increasing_ks,
    limit_and_compare,
    new_figure,
    plain_numbers,
    sample_size,
    set_k_axis,
    subtitle,
)
from ..figures import LOW_IN, NOISE
from .baselines import best_team_reward
from .lattice_figures import SERIES, draw_lattices, draw_magnetisation
from .result import Learned, mean_curve
from .settings import rule_in_words, unit_of_time

__all__ = ["draw_curves", "draw_lattices", "draw_learning_curve", "draw_magnetisation", "draw_scores"]

MAX_BANDS = 6
"""Of more curves than this only the first and the last have a band."""
# Two series at the same places stand so far apart.
APART_PT = 9.0


def draw_learning_curve(path: str | Path, learned: Learned, *, svg: bool = False) -> list[Path]:
    """System reward against steps: mean and 95 % t band over the runs, and the best team reward where it is known.

    Parameters
    ----------
    path, svg : as in `engine.figure_parts.new_figure`
    learned : Learned

    Returns : list of the paths written

    Raises : ValueError (no point of the curve is there yet), and what `engine.figure_parts.new_figure` raises
    """
    settings = learned.settings
    mean, half = mean_curve(learned.curves["reward"][:, : learned.n_points])
    best = best_team_reward(learned.game)
    return draw_curves(
        path, learned.point_steps, mean[None], half[None], [settings.method], svg=svg, n_agents=settings.n,
        n_runs=settings.runs, lines={"best team reward": best} if math.isfinite(best) else {},
        unit_of_time=unit_of_time(settings.order), note=f"{settings.method}, {rule_in_words(settings.temperature)}",
        title=f"{learned.game.name or 'game'}: reward while learning",
    )  # fmt: skip


def draw_curves(
    path: str | Path,
    steps: Any,
    means: Any,
    half_widths: Any,
    labels: Sequence[Any],
    *,
    title: str = "Reward while learning",
    label: str = "System reward per step\n[reward units]",
    unit_of_time: str = "steps",
    key: str = "",
    lines: Mapping[str, float] | None = None,
    note: str = "",
    n_agents: int | None = None,
    n_runs: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Learning curves on the same axes, each with its 95 % band.

    Parameters
    ----------
    path, svg : as in `draw_learning_curve`
    steps : float[n_points]                  end of each point
    means : float[n_curves, n_points]        over the runs; points that are NaN are left out
    half_widths : float[n_curves, n_points]  NaN where there are none
    labels : n_curves texts, or n_curves numbers in increasing order, which get colours in order
    title, label : str                       label is that of the y axis, with the unit in brackets
    unit_of_time : "steps" or "sweeps"
    key : str                                what the numbers are, with their unit
    lines : {label: value}                   horizontal lines to compare with
    note : str                               in the subtitle
    n_agents, n_runs : int, optional         in the subtitle

    Returns, Raises : as in `draw_learning_curve`
    """
    steps = float_array("steps", steps, (None,))
    means = float_array("means", means, (len(labels), steps.size))
    half = np.nan_to_num(float_array("half_widths", half_widths, means.shape, may_be_empty=True))
    ordered = len(labels) > 1 and not isinstance(labels[0], str)
    if not ordered and len(labels) > len(SERIES):
        raise ValueError(f"labels: found {len(labels)} curves, expected at most {len(SERIES)}")
    colours = colours_in_order(len(labels)) if ordered else [SERIES[i][0] for i in range(len(labels))]
    with new_figure(path, LOW_IN, svg=svg) as (figure, paths):
        axes = figure.subplots()
        banded = range(len(labels)) if len(labels) <= MAX_BANDS else (0, len(labels) - 1)
        for i, (mean, margin, colour) in enumerate(zip(means, half, colours, strict=True)):
            axes.plot(steps, mean, color=colour, lw=1.2, marker="o" if steps.size == 1 else None, ms=4)
            if margin.any() and i in banded:
                axes.fill_between(steps, mean - margin, mean + margin, color=colour, alpha=0.2, lw=0)
        handles = [Line2D([], [], color=colour, lw=2, label=str(x)) for x, colour in zip(labels, colours, strict=True)]
        handles = [] if ordered or len(labels) == 1 else handles
        for name, value in (lines or {}).items():
            handles.append(
                axes.axhline(value, color=EXACT_INK, ls="--", lw=1.2, zorder=1.5, label=f"{name}: {value:.6g}")
            )
        ends = [means[i] + sign * half[i] for i in banded for sign in (-1, 1)] + [
            means,
            list((lines or {}).values()) or means,
        ]
        low, high = min(float(np.nanmin(x)) for x in ends), max(float(np.nanmax(x)) for x in ends)
        limit_and_compare(figure, axes, low, high, NOISE * max(abs(low), abs(high)), {}, handles)
        axes.set_xlabel(f"Time [{unit_of_time}]")
        axes.set_ylabel(label)
        axes.margins(x=0.01)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        plain_numbers(axes)
        if ordered:
            add_key(figure, [axes], [f"{x:g}" for x in labels], np.asarray(colours), key)
        bands = "bands: 95 % confidence over the runs" if half[list(banded)].any() else ""
        if bands and len(banded) < len(labels):
            first, last = (x if isinstance(x, str) else f"{x:g}" for x in (labels[0], labels[-1]))
            bands = f"{bands}, of {first} and {last} alone"
        add_titles(figure, title, subtitle(sample_size(n_agents, n_runs), note, bands))
    return paths


def draw_scores(
    path: str | Path,
    ns: Any,
    scores: Mapping[str, Any],
    half_widths: Mapping[str, Any],
    *,
    uniform: Any = None,
    best: Any = None,
    title: str = "Reward against the number of agents",
    label: str = "System reward per step\n[reward units]",
    note: str = "",
    svg: bool = False,
) -> list[Path]:
    """Reward against n: of each method the mean with its 95 % interval, and every run as a dot.

    Parameters
    ----------
    path, svg : as in `draw_learning_curve`
    ns : int[n_n]                        in increasing order
    scores : {method: float[n_n, n_runs]}
    half_widths : {method: float[n_n]}   of 95 % intervals of the means; NaN where there are none
    uniform, best : float[n_n], optional    of uniform play, and the best team reward; NaN where it is not known
    title, label, note : str

    Returns, Raises : as in `draw_learning_curve`
    """
    ns = increasing_ks(ns)
    if len(scores) > len(SERIES):
        raise ValueError(f"scores: found {len(scores)} methods, expected at most {len(SERIES)}")
    found = {name: float_array(f"scores[{name}]", runs, (ns.size, None)) for name, runs in scores.items()}
    with new_figure(path, LOW_IN, svg=svg) as (figure, paths):
        axes = figure.subplots()
        handles = []
        for i, (name, runs) in enumerate(found.items()):
            aside = APART_PT * (i - (len(found) - 1) / 2)
            half = np.nan_to_num(float_array(f"half_widths[{name}]", half_widths[name], ns.shape, may_be_empty=True))
            handles.append(_draw_runs(figure, axes, ns, runs, half, SERIES[i], name, aside))
        set_k_axis(axes, ns)
        _widen(axes)
        drawn = list(found.values())
        for values, name, (colour, dashes, _) in (
            (best, "best team reward", LINE_STYLES[1]), (uniform, "uniform play", LINE_STYLES[3]),
        ):  # fmt: skip
            values = np.full(ns.shape, math.nan) if values is None else np.asarray(values, dtype=np.float64)
            if np.isfinite(values).any():
                handles += axes.plot(
                    ns, values, color=colour, ls=dashes, marker="x", ms=4, lw=1.3, label=name, zorder=1.5
                )
                drawn.append(values)
        low = min(float(np.nanmin(values)) for values in drawn)
        high = max(float(np.nanmax(values)) for values in drawn)
        limit_and_compare(figure, axes, low, high, NOISE * max(abs(low), abs(high)), {}, handles)
        axes.set_xlabel("Local agents n [agents]")
        axes.set_ylabel(label)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
        plain_numbers(axes)
        n_runs = max(runs.shape[1] for runs in found.values())
        bars = "bars: 95 % confidence" if n_runs > 1 else ""
        below = subtitle(sample_size(None, n_runs), note, bars, "dots: runs")
        add_titles(figure, title, below)
    return paths


def _widen(axes: Axes) -> None:
    """Leave room at both ends for what stands beside a place."""
    low, high = axes.transData.transform([(x, 0.0) for x in axes.get_xlim()])[:, 0]
    margin = 0.05 * (high - low)
    ends = axes.transData.inverted().transform([(low - margin, 0.0), (high + margin, 0.0)])[:, 0]
    axes.set_xlim(*ends)


def _draw_runs(
    figure: Figure,
    axes: Axes,
    ns: np.ndarray,
    runs: np.ndarray,
    half: np.ndarray,
    style: tuple[str, str],
    name: str,
    aside_pt: float,
) -> Any:
    colour, marker = style

    def moved(points: float) -> Any:
        return axes.transData + ScaledTranslation(points / 72, 0.0, figure.dpi_scale_trans)

    dots = np.broadcast_to(ns[:, None], runs.shape)
    axes.plot(
        dots.ravel(), runs.ravel(), ls="none", marker=".", ms=5.5, color=colour, alpha=0.45, mew=0,
        transform=moved(aside_pt + 4.0),
    )  # fmt: skip
    return axes.errorbar(
        ns, np.nanmean(runs, axis=1), yerr=half if half.any() else None, fmt=marker + "-", ms=4.5, lw=0.8, color=colour,
        elinewidth=1.2, capsize=2.5, label=name, transform=moved(aside_pt),
    )  # fmt: skip
