"""Scores of methods of learning against the number of agents, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ..figure_parts import EXACT_INK, INK, LINE_STYLES, add_titles, new_figure, sample_size, subtitle
from .scores import OPTIMUM, RULES, ScoreLine

HIGH_IN = 6.4
PANELS = {
    "profit": "Profit\n[money per retailer and period]", "played": "Reward in play\n[per step]",
    "on_hand": "Stock on hand\n[units per retailer]", "backlog": "Backlog\n[units per retailer]",
    "nash_conv": "NashConv\n[discounted reward]",
}  # fmt: skip
SERIES = ((INK, "-", "o"), *LINE_STYLES)
# Points of one n stand side by side over this part of the way to the next.
SPREAD = 0.6


def draw_scores(path: str | Path, lines: Sequence[ScoreLine], *, n_runs: int, svg: bool = False) -> list[Path]:
    """Mean scores with 95 % intervals over runs, by method and n: a panel a score. Base stock, if it is there, in black.

    Parameters
    ----------
    path, svg : as `figure_parts.new_figure` takes and raises
    lines : sequence of ScoreLine    of one game and one temperature
    n_runs : int

    Returns
    -------
    list of the paths written

    Raises
    ------
    ValueError      several games or temperatures, or more methods than can be told apart
    """
    learned = [line for line in lines if line.method not in (*RULES, OPTIMUM)]
    games, methods = {line.game for line in lines}, list(dict.fromkeys(line.method for line in learned))
    temperatures = {line.temperature for line in learned}
    if len(games) != 1 or len(temperatures) != 1:
        raise ValueError(
            f"figure: found {len(games)} games and {len(temperatures)} temperatures, expected scores of one of each"
        )
    if len(methods) > len(SERIES):
        raise ValueError(f"figure: found {len(methods)} methods, expected at most {len(SERIES)} to tell apart")
    ns = sorted({line.n for line in learned})
    shown = [name for name in PANELS if any(name in line.means for line in learned)]
    with new_figure(path, HIGH_IN if len(shown) > 2 else 0.6 * HIGH_IN, svg=svg) as (figure, paths):
        panels = figure.subplots(-(-len(shown) // 2), min(2, len(shown)), squeeze=False).ravel()
        for axes, name in zip(panels, shown, strict=False):
            _draw_panel(axes, name, lines, methods, ns)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        note = subtitle(
            sample_size(None, n_runs), f"T = {float(temperatures.pop()):g}", "means with 95 % intervals over runs"
        )
        add_titles(figure, f"{games.pop()}: scores against the number of agents", note)
    return paths


def _draw_panel(axes: Axes, name: str, lines: Sequence[ScoreLine], methods: list[str], ns: list[int]) -> None:
    places = {n: float(i) for i, n in enumerate(ns)}
    for i, method in enumerate(methods):
        colour, _, marker = SERIES[i]
        found = [line for line in lines if line.method == method and name in line.means]
        at = np.array([places[line.n] for line in found]) + SPREAD * ((i + 0.5) / len(methods) - 0.5)
        mean, half = (np.array([line.means[name][part] for line in found]) for part in (0, 1))
        axes.errorbar(at, mean, np.nan_to_num(half), color=colour, ls="", marker=marker, ms=4.5, lw=1.2, label=method)
    rules = [line for line in lines if line.method == RULES[0] and name in line.means and line.n in places]
    for i, line in enumerate(sorted(rules, key=lambda line: line.n)):
        centre = places[line.n]
        label = "best base stock" if i == 0 else None
        axes.plot([centre - 0.42, centre + 0.42], [line.means[name][0]] * 2, color=EXACT_INK, lw=1.4, label=label)
    axes.set_xticks(list(places.values()), [f"{n:,}" for n in ns])
    axes.set_xlim(-0.5, len(ns) - 0.5)
    axes.set_xlabel("Agents n [agents]")
    axes.set_ylabel(PANELS[name])
