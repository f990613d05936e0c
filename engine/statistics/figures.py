"""Densities of groups of seeds, with every seed in sight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..figure_parts import INK, LINE_STYLES, add_titles, new_figure
from .intervals import checked_values

PANEL_IN, TITLE_IN = 2.3, 0.9
MAX_COLUMNS = 2
GRID_POINTS = 400
# The axis goes so many bandwidths beyond the outermost seeds.
BEYOND = 3.0
SERIES = ((INK, "-"), *((colour, dashes) for colour, dashes, _ in LINE_STYLES))


def draw_densities(
    path: str | Path,
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    title: str = "Values of single seeds",
    note: str = "",
    svg: bool = False,
) -> list[Path]:
    """Kernel density estimates of groups, one panel a metric, with a rug of the seeds and a mark at each mean.

    Gaussian kernels of Scott's bandwidth (Scott 1992). A group whose seeds are all the same is a line.

    Parameters
    ----------
    path, svg : as in `engine.figure_parts.new_figure`
    metrics : {metric: {group: float64[n_seeds]}}
    title, note : str

    Returns : list of the paths written

    Raises : ValueError (no metric, more than seven groups, NaN), and what `engine.figure_parts.new_figure` raises
    """
    names = list(dict.fromkeys(name for groups in metrics.values() for name in groups))
    if not 1 <= len(names) <= len(SERIES):
        raise ValueError(f"groups: found {len(names)}, expected 1 to {len(SERIES)} to tell apart in a figure")
    columns = min(MAX_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    with new_figure(path, TITLE_IN + PANEL_IN * rows + 0.3, svg=svg) as (figure, paths):
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (metric, groups) in zip(panels, metrics.items(), strict=False):
            _draw_panel(axes, metric, groups, names)
        for axes in panels[len(metrics) :]:
            axes.set_visible(False)
        handles = [Line2D([], [], color=SERIES[i][0], ls=SERIES[i][1], label=name) for i, name in enumerate(names)]
        if len(names) > 1:
            figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)))
        add_titles(figure, title, note)
    return paths


def _draw_panel(axes: Axes, metric: str, groups: Mapping[str, Any], names: list[str]) -> None:
    from scipy.stats import gaussian_kde

    values = {name: checked_values(f"{metric} of {name}", given, least=1) for name, given in groups.items()}
    estimates = {
        name: gaussian_kde(found) for name, found in values.items() if np.ptp(found) > 1e-9 * np.abs(found).max()
    }
    width = max((math.sqrt(float(estimate.covariance[0, 0])) for estimate in estimates.values()), default=0.0)
    low = min(float(found.min()) for found in values.values())
    high = max(float(found.max()) for found in values.values())
    margin = BEYOND * width or 0.05 * max(abs(high), 1.0)
    at = np.linspace(low - margin, high + margin, GRID_POINTS)
    for name, found in values.items():
        place = names.index(name)
        colour, dashes = SERIES[place]
        if name in estimates:
            density = estimates[name](at)
            axes.plot(at, density, color=colour, ls=dashes, lw=1.6)
            axes.fill_between(at, density, color=colour, alpha=0.12, lw=0)
        else:
            axes.axvline(float(found[0]), color=colour, ls=dashes, lw=1.6)
        # A rug of its own line for each group, below the axis of densities.
        axes.plot(
            found, np.full(found.size, -0.05 - 0.06 * place), "|", color=colour, ms=6, mew=1.0,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        axes.plot(
            [float(found.mean())], [-0.05 - 0.06 * place], "D", color=colour, ms=4, mec="white", mew=0.6,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    axes.set_xlim(at[0], at[-1])
    axes.set_ylim(bottom=0.0)
    axes.tick_params(axis="x", pad=4 + 0.06 * (len(names) + 0.6) * PANEL_IN * 72 * 0.62)
    axes.set_xlabel(metric)
    axes.set_ylabel("Density")
