"""A year of simulated retailers as a figure: stock on hand, backlog and orders by period, beside base stock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ...kernels.inventory import parts
from ..figure_parts import LINE_STYLES, add_titles, new_figure, sample_size, subtitle
from ..learning.result import mean_curve
from .comparison import BASE_STOCK, InventoryComparison
from .result import InventoryRuns

HIGH_IN = 6.4
MOST_PERIODS = 730
"""Periods that are drawn, the first ones."""

_PANELS = (
    ("On hand\n[units per retailer]", parts.ON_HAND),
    ("Backlog\n[units per retailer]", parts.BACKLOG),
    ("Orders\n[units per retailer\nand period]", parts.ORDERED),
)


def draw_inventory(path: str | Path, comparison: InventoryComparison, *, svg: bool = False) -> list[Path]:
    """Three panels over the periods, means over runs with 95 % bands; grey ground: the seasons of odd number.

    Parameters
    ----------
    path, svg : as in `engine.figure_parts.new_figure`
    comparison : InventoryComparison    with series

    Returns : list of the paths written

    Raises : ValueError (no series was kept), and what `engine.figure_parts.new_figure` raises
    """
    played = comparison.runs[comparison.played]
    curves = {name: comparison.runs[name] for name in dict.fromkeys((comparison.played, BASE_STOCK))}
    if any(runs.series.shape[1] == 0 for runs in curves.values()):
        raise ValueError("series: found none kept, expected the totals of every period")
    config = played.config
    with new_figure(path, HIGH_IN, svg=svg) as (figure, paths):
        panels = figure.subplots(len(_PANELS), 1, sharex=True)
        for axes, (label, place) in zip(panels, _PANELS, strict=True):
            _shade_seasons(axes, played)
            if place == parts.ORDERED:
                _draw(axes, played, parts.DEMANDED, "0.45", ":", "demand")
            for (name, runs), (colour, style, _) in zip(curves.items(), LINE_STYLES, strict=False):
                label_of = "" if place != parts.ORDERED else runs.config["policy"]
                _draw(axes, runs, place, colour, style if name != comparison.played else "-", label_of)
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0.0)
            axes.margins(x=0.01)
        panels[-1].set_xlabel("Period [days]")
        figure.legend(loc="outside lower center", ncols=3)
        bands = "bands: 95 % confidence" if config["runs"] > 1 else ""
        seasons = "grey: the seasons of odd number" if _has_seasons(played) else ""
        add_titles(
            figure,
            f"{config['game']}: {config['policy']}, {config['units']} by {config['units']}",
            subtitle(sample_size(config["n"], config["runs"]), bands, seasons),
        )
    return paths


def _draw(axes: Axes, runs: InventoryRuns, place: int, colour: Any, style: Any, label: str) -> None:
    values = runs.series[:, :MOST_PERIODS, place] / runs.config["n"]
    mean, half = mean_curve(values)
    periods = np.arange(mean.size)
    axes.plot(periods, mean, color=colour, ls=style, lw=1.2, label=label or None)
    # Demand is there to compare with.
    if np.isfinite(half).all() and place != parts.DEMANDED:
        axes.fill_between(periods, mean - half, mean + half, color=colour, alpha=0.2, lw=0)


def _has_seasons(runs: InventoryRuns) -> bool:
    """Whether all runs are in the same season at a time, and there are several."""
    return runs.config["seasons"] == "day" and runs.config["spec"]["n_seasons"] > 1


def _shade_seasons(axes: Axes, runs: InventoryRuns) -> None:
    if not _has_seasons(runs):
        return
    odd = np.pad(runs.series[0, :MOST_PERIODS, parts.SEASON] % 2, 1)
    for first, last in zip(np.flatnonzero(np.diff(odd) == 1), np.flatnonzero(np.diff(odd) == -1), strict=True):
        axes.axvspan(first - 0.5, last - 0.5, color="0.92", lw=0, zorder=0)
