"""Figures of agents on a torus who pick one of two actions: magnetisation against temperature, and snapshots of lattices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..figure_parts import (
    EXACT_INK,
    INK,
    LINE_STYLES,
    WIDTH_IN,
    add_titles,
    float_array,
    new_figure,
    sample_size,
    subtitle,
)
from ..figures import LOW_IN
from ..tabulation import shown
from .ising import CRITICAL_TEMPERATURE, onsager_magnetisation

# Methods are told apart by colour and marker: the first is that of all single series.
SERIES = ((INK, "o"), *((colour, marker) for colour, _, marker in LINE_STYLES))
HEAT_BATH_INK = LINE_STYLES[0][0]
MAX_COLUMNS = 4
MAX_PANELS = 12
SPIN_COLOURS = ("#F0E9DA", "#1B4F72")


def draw_magnetisation(
    path: str | Path,
    temperatures: Any,
    mean: Mapping[str, Any],
    half_width: Mapping[str, Any],
    *,
    heat_bath: Any = None,
    heat_bath_half_width: Any = None,
    onsager: bool = True,
    label: str = "Mean magnetisation |m| [per spin]",
    title: str = "Order against temperature",
    note: str = "",
    n_agents: int | None = None,
    n_runs: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Mean |magnetisation| against temperature with 95 % bands, Onsager's curve of the infinite lattice, and the heat bath.

    Parameters
    ----------
    path, svg : as in `engine.figure_parts.new_figure`
    temperatures : float[n_t]                T_q of the learners, in increasing order
    mean, half_width : {method: float[n_t]}  over the runs; NaN half widths where there are none
    heat_bath, heat_bath_half_width : float[n_t], optional    of the heat bath at T = 2 T_q, on the same lattice
    onsager : bool                           draw Onsager's curve and the critical temperature
    label : str                              of the y axis
    title, note : str
    n_agents, n_runs : int, optional         in the subtitle

    Returns : list of the paths written

    Raises : ValueError (arrays that do not fit, or nothing finite to draw), and what `engine.figure_parts.new_figure` raises
    """
    at = float_array("temperatures", temperatures, (None,))
    if not (np.diff(at) > 0).all() or not np.isfinite(at).all():
        raise ValueError(f"temperatures: found {at.tolist()}, expected increasing numbers")
    if len(mean) > len(SERIES):
        raise ValueError(f"mean: found {len(mean)} methods, expected at most {len(SERIES)}")
    with new_figure(path, LOW_IN + 0.4, svg=svg) as (figure, paths):
        axes = figure.subplots()
        handles: list[Any] = []
        tops = [1.0]
        if onsager:
            # The curve falls to 0 with infinite slope: points crowd where it does.
            fine = np.unique(np.concatenate([np.linspace(at[0], at[-1], 400), _near_critical(at[0], at[-1])]))
            handles += axes.plot(
                fine, onsager_magnetisation(fine), color=EXACT_INK, lw=1.2, label="Onsager, infinite lattice"
            )
            if at[0] <= CRITICAL_TEMPERATURE <= at[-1]:
                axes.axvline(CRITICAL_TEMPERATURE, color="0.5", lw=0.8, ls=":", zorder=1.0)
                text = f"critical temperature: {CRITICAL_TEMPERATURE:.4f}"
                handles.append(Line2D([], [], color="0.5", lw=0.8, ls=":", label=text))
        for (name, values), (colour, marker) in zip(mean.items(), SERIES):
            middle = float_array(f"mean[{name}]", values, at.shape)
            half = np.nan_to_num(float_array(f"half_width[{name}]", half_width[name], at.shape, may_be_empty=True))
            seen = np.isfinite(middle)
            if half.any():
                axes.fill_between(at[seen], (middle - half)[seen], (middle + half)[seen], color=colour, alpha=0.2, lw=0)
            handles += axes.plot(at[seen], middle[seen], color=colour, marker=marker, ms=4, lw=1.0, label=name)
            tops.append(float(np.nanmax(middle + half)))
        if heat_bath is not None:
            bath = float_array("heat_bath", heat_bath, at.shape)
            bars = np.full(at.shape, math.nan) if heat_bath_half_width is None else heat_bath_half_width
            bars = np.nan_to_num(float_array("heat_bath_half_width", bars, at.shape, may_be_empty=True))
            drawn = axes.errorbar(
                at, bath, yerr=bars if bars.any() else None, fmt="s", ms=6.5, mfc="none", color=HEAT_BATH_INK,
                elinewidth=1.0, capsize=2.5, label="heat bath at $T = 2 T_q$", zorder=1.8,
            )  # fmt: skip
            handles.append(drawn)
            tops.append(float(np.nanmax(bath + bars)))
        margin = 0.03 * (at[-1] - at[0]) or 0.1
        axes.set_xlim(at[0] - margin, at[-1] + margin)
        axes.set_ylim(-0.03, max(tops) + 0.03)
        axes.set_xlabel("Temperature $T_q$ of the learners [reward units]")
        axes.set_ylabel(label)
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        bands = "bands and bars: 95 % confidence" if n_runs is None or n_runs > 1 else ""
        add_titles(figure, title, subtitle(sample_size(n_agents, n_runs), note, bands))
    return paths


def _near_critical(low: float, high: float) -> np.ndarray:
    near = CRITICAL_TEMPERATURE * (1.0 - np.logspace(-12, -1, 60))
    near = np.append(near, CRITICAL_TEMPERATURE)
    return near[(near >= low) & (near <= high)]


def draw_lattices(
    path: str | Path,
    actions: Any,
    temperatures: Sequence[float],
    *,
    labels: Sequence[str] = ("down", "up"),
    title: str = "Actions on the lattice at the end",
    note: str = "",
    svg: bool = False,
) -> list[Path]:
    """Snapshots of lattices, one panel per temperature.

    Parameters
    ----------
    path, svg : as in `draw_magnetisation`
    actions : int[n_t, rows, columns]    0 or 1
    temperatures : n_t numbers           at most 12
    labels : names of the two actions
    title, note : str

    Returns, Raises : as in `draw_magnetisation`
    """
    found = np.asarray(actions)
    if found.ndim != 3 or found.shape[0] != len(temperatures) or not 1 <= len(temperatures) <= MAX_PANELS:
        raise ValueError(
            f"actions: found shape {found.shape} for {len(temperatures)} temperatures, expected one lattice each, "
            f"at most {MAX_PANELS}"
        )
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 1:
        raise ValueError(f"actions: found {shown(np.unique(found).tolist())}, expected 0 and 1")
    n_columns = min(MAX_COLUMNS, len(temperatures))
    n_rows = -(-len(temperatures) // n_columns)
    height = 1.1 + n_rows * (WIDTH_IN / MAX_COLUMNS * found.shape[1] / found.shape[2] + 0.15)
    with new_figure(path, height, svg=svg) as (figure, paths):
        panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_axis_off()
        for axes, lattice, temperature in zip(panels, found, temperatures):
            axes.imshow(lattice, cmap=ListedColormap(SPIN_COLOURS), vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(f"$T_q$ = {temperature:g}", fontsize=9)
        handles = [
            Patch(facecolor=colour, edgecolor="0.6", lw=0.5, label=name)
            for colour, name in zip(SPIN_COLOURS, labels, strict=True)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        rows, columns = found.shape[1:]
        add_titles(figure, title, subtitle(f"{rows} × {columns} agents", note))
    return paths
